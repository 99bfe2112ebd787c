"""Routes of the gateway for whoever looks after readings: the rules that they are validated by."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from gridsecure.billing.rule_books import parse_book
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import InputError
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.rule_sets import keep_rules, rules_of
from gridsecure.month_texts import MONTH_PATTERN
from gridsecure.wire.gateway import ValidationRules
from gridsecure_api.deps import RawBody, require
from gridsecure_api.gateway_readings import OPERATOR, In

router = APIRouter(prefix="/v1", tags=["validation"])

Operator = Annotated[TokenClaims, Depends(require(OPERATOR))]
Month = Annotated[
    str, Query(pattern=f"^(?:{MONTH_PATTERN})?$", description="A month, as 2026-07; empty: all.")
]

_RULES: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/toml": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put("/validation-rules", openapi_extra=_RULES)
def put_rules(body: RawBody, intake: In, claims: Operator, month: Month = "") -> ValidationRules:
    """Let a rule book hold for what is validated from now on: of one month, or of all others."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            "The rule book is not UTF-8.", reason="rules.syntax", remedy="Save it as UTF-8."
        ) from error
    keep_rules(intake.zone, text, month=month, person=claims.subject, at=intake.clock())
    return _shown(text)


@router.get("/validation-rules", dependencies=[Depends(require(OPERATOR))])
def read_rules(intake: In, month: Month = "") -> ValidationRules:
    """The rule book of a month: of a fixed one, the one that was fixed with it."""
    plan = find_plan(intake.zone, month) if month else None
    return _shown(rules_of(intake.zone, month, plan=plan))


def _shown(text: str) -> ValidationRules:
    version = parse_book(text).version
    return ValidationRules(digest=sm3_hex(text.encode()), version=version, text=text)
