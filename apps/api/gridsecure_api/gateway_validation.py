"""Routes of the gateway for whoever looks after readings: rules, and the list of exceptions.

No answer holds a reading.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gridsecure.billing.rule_books import parse_kept_book
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import InputError
from gridsecure.gateway import exceptions
from gridsecure.gateway.exceptions import LONGEST_NAME, LONGEST_TEXT, Change, Wanted
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.rule_sets import keep_rules, rules_of
from gridsecure.gateway.tables import ExceptionNoteRow, ExceptionRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.month_texts import MONTH_PATTERN
from gridsecure.wire.gateway import (
    ExceptionNote,
    ExceptionStatus,
    ReadingException,
    ValidationRules,
)
from gridsecure_api.deps import RawBody, require
from gridsecure_api.gateway_readings import OPERATOR, In
from gridsecure_api.lists import PAGED, Paging, RowNumber, answer_page

router = APIRouter(prefix="/v1", tags=["validation"])

_operators = [Depends(require(OPERATOR))]
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


def read_rule_book(body: bytes) -> str:
    """The text of a rule book that was sent.

    Raises:
        InputError: It is not UTF-8 (`rules.syntax`).
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            "The rule book is not UTF-8.", reason="rules.syntax", remedy="Save it as UTF-8."
        ) from error


@router.put("/validation-rules", openapi_extra=_RULES)
def put_rules(body: RawBody, intake: In, claims: Operator, month: Month = "") -> ValidationRules:
    """Let a rule book hold for what is validated from now on: of one month, or of all others."""
    text = read_rule_book(body)
    keep_rules(intake.zone, text, month=month, person=claims.subject, at=intake.clock())
    return _shown(text)


@router.get("/validation-rules", dependencies=_operators)
def read_rules(intake: In, month: Month = "") -> ValidationRules:
    """The rule book of a month: of a fixed one, the one that was fixed with it."""
    plan = find_plan(intake.zone, month) if month else None
    return _shown(rules_of(intake.zone, month, plan=plan))


State = Literal["open", "assigned", "resolved", "waived"]
_LISTED: Final = TypeAdapter(list[ReadingException])


class ExceptionChange(BaseModel):
    """What is to be done to an exception; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    state: State | None = None
    owner: str | None = Field(default=None, max_length=LONGEST_NAME)
    due: str | None = Field(default=None, pattern=r"^(?:\d{4}-\d{2}-\d{2})?$")
    note: str = Field(default="", max_length=LONGEST_TEXT)
    revision: int | None = Field(default=None, description="The revision that you saw.")


async def _filter(
    month: Month = "",
    state: Annotated[State | Literal[""], Query()] = "",
    owner: Annotated[str, Query(max_length=LONGEST_NAME)] = "",
    meter_point_id: Annotated[str, Query(max_length=256)] = "",
) -> Wanted:
    return Wanted(month, state, owner, meter_point_id)


Filter = Annotated[Wanted, Depends(_filter)]


@router.get(
    "/exceptions",
    dependencies=_operators,
    response_model=list[ReadingException],
    responses=PAGED,
)
async def read_exceptions(request: Request, intake: In, asked: Paging, wanted: Filter) -> Response:
    """The work list, in the order in which exceptions were opened, page by page."""
    return await answer_page(
        request,
        intake.zone.engine,
        revision=exceptions.read_revision,
        read=lambda session: exceptions.list_exceptions(session, asked, wanted=wanted),
        write=lambda rows: _LISTED.dump_json([_listed(row, intake.zone) for row in rows]),
    )


@router.get("/exceptions/{number}", dependencies=_operators)
def read_exception(number: RowNumber, intake: In) -> ExceptionStatus:
    """An exception, and all that was done to it and said of it."""
    return _status(intake.zone, number)


@router.post("/exceptions/{number}/changes")
def change_exception(
    number: RowNumber, wanted: ExceptionChange, intake: In, claims: Operator
) -> ExceptionStatus:
    """Assign an exception, give it a day, note something, close it or open it again.

    A waived exception no longer holds its meter point's bill, where a rule holds it. Closing needs
    a note.
    """
    change = Change(**wanted.model_dump())
    exceptions.change_exception(
        intake.zone, number, change, person=claims.subject, at=intake.clock()
    )
    return _status(intake.zone, number)


def _status(zone: GatewayZone, number: int) -> ExceptionStatus:
    row, notes = exceptions.load_exception(zone, number)
    return ExceptionStatus(exception=_listed(row, zone), notes=[_noted(one, zone) for one in notes])


def _listed(row: ExceptionRow, zone: GatewayZone) -> ReadingException:
    return ReadingException.model_validate(
        {
            **row.model_dump(include=set(ReadingException.model_fields)),
            "first": "" if row.first_at is None else zone.local_text(row.first_at),
            "unbilled": row.is_unbilled,
            "opened_at": zone.local_text(row.opened_at),
            "changed_at": zone.local_text(row.changed_at),
        }
    )


def _noted(note: ExceptionNoteRow, zone: GatewayZone) -> ExceptionNote:
    return ExceptionNote(person=note.person, text=note.text, at=zone.local_text(note.at))


def _shown(text: str) -> ValidationRules:
    version = parse_kept_book(text).version
    return ValidationRules(digest=sm3_hex(text.encode()), version=version, text=text)
