"""Column files of a benchmark, by digest, with the manifest entries that name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.messages import ColumnEntry
from gridsecure.periods import BillingPeriod
from gridsecure.plans.quantities import ColumnNeed

ROSTER_ID: Final = "bench"
GATEWAY_ID: Final = "be" * 32


def column_file(
    column: EncryptedColumn, *, quantity: str, high: int, period: BillingPeriod
) -> tuple[ColumnEntry, bytes]:
    """Write a column as the gateway or the platform does."""
    start, end = period.start.isoformat(), period.end.isoformat()
    label = ColumnLabel(
        quantity=quantity,
        unit="Wh",
        roster_id=ROSTER_ID,
        start=start,
        end=end,
        slots=column.slots,
        high=high,
    )
    data = column_bytes(column, label=label)
    evaluation = column.evaluation
    entry = ColumnEntry(
        quantity=quantity,
        parameters=evaluation.parameters.name,
        key_id=evaluation.key_id,
        unit="Wh",
        start=start,
        end=end,
        high=high,
        digest=sm3_hex(data),
        size=len(data),
    )
    return entry, data


def column_files(
    columns: Mapping[str, EncryptedColumn],
    *,
    needs: tuple[ColumnNeed, ...],
    period: BillingPeriod,
) -> dict[str, tuple[ColumnEntry, bytes]]:
    """Write the columns a plan reads, by quantity."""
    return {
        need.quantity: column_file(
            columns[need.quantity], quantity=need.quantity, high=need.high, period=period
        )
        for need in needs
    }
