"""Routes of the gateway for receipts of bills: to the billing office, and what opens them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from gridsecure.bill_receipts import ReadingsOpening, ReceiptTree
from gridsecure.gateway.bill_commitments import list_receipt_trees, open_readings
from gridsecure_api.deps import require
from gridsecure_api.gateway_state import Service
from gridsecure_api.lists import KEPT_ANSWERS, answer_whole

router = APIRouter(prefix="/months", tags=["months"])

MeterPoint = Annotated[str, Query(min_length=1, max_length=200)]


@router.get(
    "/{month}/bill-receipts",
    dependencies=[Depends(require("billing"))],
    response_model=list[ReceiptTree],
    responses=KEPT_ANSWERS,
)
async def read_receipts(month: str, request: Request, service: Service) -> Response:
    """Commitments to what a month's bills and corrections are made of, proved in the log.

    They go with the statements. Nobody learns a reading from them.
    """
    return await answer_whole(
        request,
        lambda: list_receipt_trees(service.zone, service.log, month),
    )


@router.get("/{month}/readings-openings", dependencies=[Depends(require("operator"))])
def read_openings(month: str, meter_point: MeterPoint, service: Service) -> list[ReadingsOpening]:
    """What opens the commitments of a meter point's month, version by version.

    It is for whoever may read the meter point's readings: salts, facts of the bill, estimates.
    """
    return open_readings(service.zone, month, meter_point_id=meter_point)
