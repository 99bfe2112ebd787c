"""Routes of the gateway that validate a month before it is processed, by other rules too."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from gridsecure.errors import InputError
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.months import Progress
from gridsecure.gateway.rule_trials import Trial, find_trial, require_tryable, try_rules
from gridsecure.month_texts import MONTH_PATTERN
from gridsecure.wire.gateway import MonthStatus, RuleCounts, RuleTrial
from gridsecure_api.deps import RawBody, require
from gridsecure_api.gateway_readings import OPERATOR
from gridsecure_api.gateway_state import Service
from gridsecure_api.gateway_validation import Operator

router = APIRouter(prefix="/v1/rule-trials", tags=["validation"])

_RULES: Final = {
    "requestBody": {
        "content": {"application/toml": {"schema": {"type": "string", "format": "binary"}}}
    }
}
OfMonth = Annotated[str, Query(pattern=f"^{MONTH_PATTERN}$", description="A month, as 2026-07.")]


@router.post("", status_code=202, openapi_extra=_RULES)
def post_trial(body: RawBody, service: Service, claims: Operator, month: OfMonth) -> MonthStatus:
    """Validate a month that is not fixed, and compare with another rule book where one is sent.

    Brings the work list up to what the rules in force find. Nothing is encrypted or fixed.
    """
    try:
        trial = Trial(body.decode(), claims.subject)
    except UnicodeDecodeError as error:
        raise InputError(
            "The rule book is not UTF-8.", reason="rules.syntax", remedy="Save it as UTF-8."
        ) from error
    require_tryable(service.zone, month, trial)

    def work(files: MonthFiles, progress: Progress) -> None:
        try_rules(service.zone, files, trial, clock=service.clock, progress=progress)

    return service.worker.validate(month, work)


@router.get("", dependencies=[Depends(require(OPERATOR))])
def read_trial(service: Service, month: OfMonth) -> RuleTrial:
    """The newest trial of a month: counts by rule, before and after."""
    row, counts = find_trial(service.zone, month)
    problems = [RuleCounts(rule=one.rule, before=one.before, after=one.after) for one in counts]
    return RuleTrial.model_validate(
        {
            **row.model_dump(include=set(RuleTrial.model_fields)),
            "at": row.at.isoformat(),
            "problems": problems,
        }
    )
