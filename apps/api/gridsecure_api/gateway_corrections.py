"""Routes of the gateway for corrections of a finished month: by files, books and late batches.

Files and books are ordered by a person, who says why; late batches are their sources' own word.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query

from gridsecure.errors import InvalidMessageError
from gridsecure.gateway.approvals import LONGEST_REASON, Author
from gridsecure.gateway.correction_orders import Corrected, order_correction
from gridsecure.gateway.correction_plan import save_correction
from gridsecure.wire.gateway import CorrectionStatus
from gridsecure_api.deps import require
from gridsecure_api.gateway_state import FILE_LIST, Form, Service, form_files
from gridsecure_api.gateway_validation import Operator, read_rule_book

router = APIRouter(prefix="/months/{month}/corrections", tags=["corrections"])

_PARTS: Final = ("readings", "tariffs", "rules")
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": dict.fromkeys(_PARTS, FILE_LIST)
                    | {"rules": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


Why = Annotated[
    str,
    Query(max_length=LONGEST_REASON, description="Why files or books correct it; it is kept."),
]
ByBooks = Annotated[bool, Query(description="Whether the month counts by the books of now.")]


@router.post("", openapi_extra=_FORM, status_code=202)
def start_correction(
    month: str,
    *,
    service: Service,
    form: Form,
    claims: Operator,
    reason: Why = "",
    books: ByBooks = False,
) -> CorrectionStatus:
    """Correct a finished month in the background, by what is sent and by batches that came late.

    Files of readings lie over all that came before, interval by interval; a tariff takes the place
    of the one with its id, and a rule book that of the one before. With `books`, contracts, days
    and multipliers count as the gateway's books have them now. Whoever sends files, or asks for
    books, says why. Files that change more than the rule book lets a person edit alone, tariffs,
    rule books and books wait until a second person approves the order. The same again resumes the
    same correction. One that was interrupted before is finished first.
    """
    readings, tariffs, rules = (form_files(form, name) for name in _PARTS)
    if set(form) - set(_PARTS) or (reason and not (form or books)) or len(rules) > 1:
        raise InvalidMessageError(
            "A correction has files named readings and tariffs, one named rules, and a reason.",
            reason="message.correction-files",
            remedy="Send them as multipart/form-data, or nothing for late batches alone.",
        )
    if not form and not books:
        return service.worker.correct(month, lambda: save_correction(service.zone, month))
    book = read_rule_book(rules[0].read()) if rules else ""
    at = service.clock()
    return service.worker.order(
        month,
        lambda: order_correction(
            service.zone,
            month,
            corrected=Corrected(readings, tariffs, book, books),
            author=Author(claims.subject, reason),
            at=at,
        ),
        at=at,
    )


@router.get("", dependencies=[Depends(require("operator", "billing"))])
def read_corrections(month: str, service: Service) -> list[CorrectionStatus]:
    """The corrections of a month, in order, and where each stands."""
    return service.worker.corrections(month)
