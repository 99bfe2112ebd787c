"""Routes of the gateway for orders of corrections: what waits for a second person, decisions."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import TypeAdapter

from gridsecure.errors import ConflictError
from gridsecure.gateway import correction_orders
from gridsecure.gateway.approvals import Author
from gridsecure.gateway.correction_plan import order_name
from gridsecure.gateway.tables import CorrectionOrderRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.wire.gateway import CorrectionOrder
from gridsecure_api.deps import require
from gridsecure_api.gateway_edits import Decision
from gridsecure_api.gateway_readings import OPERATOR
from gridsecure_api.gateway_state import Service
from gridsecure_api.gateway_validation import Month, Operator
from gridsecure_api.lists import PAGED, Paging, RowNumber, answer_page

router = APIRouter(prefix="/v1/correction-orders", tags=["corrections"])

_readers = [Depends(require(OPERATOR, "billing"))]
_LISTED: Final = TypeAdapter(list[CorrectionOrder])
State = Literal["", "pending", "approved", "applied", "rejected"]


@router.get("", dependencies=_readers, response_model=list[CorrectionOrder], responses=PAGED)
async def read_orders(
    request: Request,
    service: Service,
    asked: Paging,
    month: Month = "",
    state: Annotated[State, Query()] = "",
) -> Response:
    """Orders, in the order in which they were made, page by page. No reading is in the list."""
    return await answer_page(
        request,
        service.zone.engine,
        revision=correction_orders.read_revision,
        read=lambda session: correction_orders.list_orders(
            session, asked, month=month, state=state
        ),
        write=lambda rows: _LISTED.dump_json([_shown(row, service.zone) for row in rows]),
    )


@router.get("/{number}", dependencies=_readers)
def read_order(number: RowNumber, service: Service) -> CorrectionOrder:
    """An order: of what, who, why, and what became of it."""
    return _shown(correction_orders.load_order(service.zone, number), service.zone)


@router.post("/{number}/decision")
def post_decision(
    number: RowNumber, wanted: Decision, service: Service, claims: Operator
) -> CorrectionOrder:
    """Approve another person's order, or reject one whose correction is not fixed.

    What is approved is begun at once; while a month or day is being worked on, as soon as it is
    done.
    """
    row = correction_orders.decide_order(
        service.zone,
        number,
        approve=wanted.approve,
        by=Author(claims.subject, wanted.reason),
        at=service.clock(),
    )
    if wanted.approve:
        with suppress(ConflictError):  # a month is being worked on: the timetable begins it
            service.worker.correct(
                row.month,
                lambda: correction_orders.begin_order(service.zone, number, at=service.clock()),
            )
    return _shown(row, service.zone)


def _shown(row: CorrectionOrderRow, zone: GatewayZone) -> CorrectionOrder:
    known = set(CorrectionOrder.model_fields) - {"readings", "tariffs", "at"}
    return CorrectionOrder.model_validate(
        {
            **row.model_dump(include=known),
            "correction": order_name(row.month, row.id or 0),
            "readings": row.readings.split(),
            "tariffs": row.tariffs.split(),
            "at": zone.local_text(row.at),
        }
    )
