"""A bill's receipt as the customer gets it: beside a printed statement, or out of a sealed bill.

It is above statements, which know nothing of receipts.
"""

from __future__ import annotations

import json

from gridsecure.bill_receipts import DeliveredReceipt
from gridsecure.errors import InputError, InvalidMessageError
from gridsecure.statements.render import StatementOrder


def has_receipt(order: StatementOrder) -> bool:
    """Whether the bill, which was read as one already, comes with a receipt."""
    return order.period.get("receipt") is not None


def delivered_receipt(order: StatementOrder) -> bytes:
    """A bill's receipt as it goes to the customer beside the statement.

    Raises:
        InputError: The document has another thing in its place (`statement.receipt`).
    """
    period = dict(order.period)
    content = {
        "meter_point_id": order.meter_point_id,
        "receipt": period.pop("receipt"),
        "period": period,
    }
    text = json.dumps(content, ensure_ascii=False)
    try:
        DeliveredReceipt.parse(text)
    except InvalidMessageError as error:
        raise InputError(
            "The bill file has a receipt that is none.",
            reason="statement.receipt",
            remedy="Write the bill file anew with `gridsecure period bills`.",
        ) from error
    return text.encode()
