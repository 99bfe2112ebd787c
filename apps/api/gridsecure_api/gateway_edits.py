"""Routes of the gateway for edits: readings that a person replaces or confirms, and approvals."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gridsecure.errors import NotFoundError
from gridsecure.gateway import edits
from gridsecure.gateway.approvals import LONGEST_REASON, Author
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.tables import EditRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.month_texts import MONTH_PATTERN
from gridsecure.wire.gateway import ReadingEdit
from gridsecure_api.deps import RawBody, require
from gridsecure_api.gateway_readings import OPERATOR, In, Intake
from gridsecure_api.gateway_validation import Month, Operator
from gridsecure_api.lists import PAGED, Paging, RowNumber, answer_page

router = APIRouter(prefix="/v1/edits", tags=["validation"])

_operators = [Depends(require(OPERATOR))]
_LISTED: Final = TypeAdapter(list[ReadingEdit])
_READINGS: Final = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("text/csv", "application/json")
        },
    }
}
OfMonth = Annotated[str, Query(pattern=f"^{MONTH_PATTERN}$", description="A month, as 2026-07.")]
Reason = Annotated[str, Query(max_length=LONGEST_REASON, description="Why; it is kept.")]
State = Literal["", "pending", "in-force", "rejected", "late"]


class Marked(BaseModel):
    """Readings that are confirmed, or estimated: those that begin from `first` to `last`."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    month: str = Field(pattern=f"^{MONTH_PATTERN}$")
    meter_point_id: str = Field(max_length=256)
    first: str = Field(max_length=40)
    last: str = Field(max_length=40)
    reason: str = Field(max_length=LONGEST_REASON)

    @property
    def meant(self) -> edits.Meant:
        """Which readings these are."""
        return edits.Meant(self.meter_point_id, self.first, self.last)


class Decision(BaseModel):
    """What is decided on an edit, and why."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    approve: bool
    reason: str = Field(default="", max_length=LONGEST_REASON)


@router.post("", openapi_extra=_READINGS)
def post_edit(
    body: RawBody, intake: In, claims: Operator, month: OfMonth, reason: Reason
) -> ReadingEdit:
    """Put readings of one meter point in place of others. Times begin their intervals."""
    author, files = Author(claims.subject, reason), _files(intake.zone, month)
    number = edits.replace_readings(
        intake.zone, month, body, files=files, author=author, at=intake.clock()
    )
    return _show(intake, number)


@router.post("/confirmations")
def post_confirmation(wanted: Marked, intake: In, claims: Operator) -> ReadingEdit:
    """Vouch for readings that validation set aside: they count as they came."""
    number = edits.confirm_readings(
        intake.zone,
        wanted.month,
        meant=wanted.meant,
        author=Author(claims.subject, wanted.reason),
        at=intake.clock(),
    )
    return _show(intake, number)


@router.post("/estimates")
def post_estimate(wanted: Marked, intake: In, claims: Operator) -> ReadingEdit:
    """Order an estimate: readings that count do not any more, and are estimated like missing ones.

    The same order again is answered with the edit that is there.
    """
    number = edits.order_estimate(
        intake.zone,
        wanted.month,
        meant=wanted.meant,
        files=_files(intake.zone, wanted.month),
        author=Author(claims.subject, wanted.reason),
        at=intake.clock(),
    )
    return _show(intake, number)


@router.get("", dependencies=_operators, response_model=list[ReadingEdit], responses=PAGED)
async def read_edits(
    request: Request,
    intake: In,
    asked: Paging,
    month: Month = "",
    state: Annotated[State, Query()] = "",
) -> Response:
    """Edits, in the order in which they were made, page by page. No reading is in the list."""
    return await answer_page(
        request,
        intake.zone.engine,
        revision=edits.read_revision,
        read=lambda session: edits.list_edits(session, asked, month=month, state=state),
        write=lambda rows: _LISTED.dump_json([_shown(row, intake.zone) for row in rows]),
    )


@router.get("/{number}", dependencies=_operators)
def read_edit(number: RowNumber, intake: In) -> ReadingEdit:
    """An edit: which intervals, who, why, and what became of it."""
    return _show(intake, number)


@router.post("/{number}/decision")
def post_decision(number: RowNumber, wanted: Decision, intake: In, claims: Operator) -> ReadingEdit:
    """Approve another person's edit, or reject one before its month is fixed."""
    decision = Author(claims.subject, wanted.reason)
    edits.decide_edit(
        intake.zone, number, approve=wanted.approve, decision=decision, at=intake.clock()
    )
    return _show(intake, number)


def _files(zone: GatewayZone, month: str) -> MonthFiles | None:
    """What was handed in for a month; None where nothing but batches is there, so far."""
    try:
        return load_files(zone, month)
    except NotFoundError:
        return None


def _show(intake: Intake, number: int) -> ReadingEdit:
    return _shown(edits.load_edit(intake.zone, number), intake.zone)


def _shown(row: EditRow, zone: GatewayZone) -> ReadingEdit:
    return ReadingEdit.model_validate(
        {
            **row.model_dump(include=set(ReadingEdit.model_fields)),
            "first": zone.local_text(row.first_at),
            "last": zone.local_text(row.last_at),
            "at": zone.local_text(row.at),
        }
    )
