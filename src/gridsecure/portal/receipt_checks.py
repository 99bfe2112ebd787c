"""What a customer checks a bill's receipt with, in the portal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridsecure.portal.folder import BillFolder
from gridsecure.portal.own_bills import OwnBill
from gridsecure.portal.receipts import delivered_receipt, has_receipt
from gridsecure.statements.render import StatementOrder


@dataclass(frozen=True, slots=True)
class ReceiptMaterial:
    """All that a check takes.

    Args:
        receipt: As `gridsecure receipt verify` takes it.
        opening: The file that came with the readings.
        readings: A file of the meter's readings.
        tariff: The tariff's file; empty for the one of the catalogue that the bill names.
        earlier: Receipt of the bill that this one cancels, where it is in the folder.
    """

    receipt: bytes
    opening: bytes
    readings: Path
    tariff: bytes
    earlier: bytes | None


ReceiptCheck = Callable[[ReceiptMaterial], dict[str, Any]]
"""Checks a receipt as `gridsecure receipt verify` does, and says what was found."""


def receipt_of(bill: OwnBill) -> bytes | None:
    """A bill's receipt in a file of its own; None where it has none."""
    order = StatementOrder(bill.facts.account, bill.period, bill.code)
    return delivered_receipt(order) if has_receipt(order) else None


def find_cancelled(bill: OwnBill, folder: BillFolder) -> OwnBill | None:
    """The bill that a correction cancels, if the folder has it."""
    said = (bill.facts.account, bill.facts.start, bill.facts.version - 1)
    for one in folder.bills().opened.values():
        if (one.facts.account, one.facts.start, one.facts.version) == said:
            return one
    return None
