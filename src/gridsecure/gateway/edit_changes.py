"""What edits may be of, and how much they change of what a month's readings say without them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import pandas as pd

from gridsecure.billing.interval_lengths import UNKNOWN, interval_minutes
from gridsecure.billing.readings import join_readings
from gridsecure.billing.rule_books import parse_kept_book
from gridsecure.errors import InputError
from gridsecure.gateway.approvals import (
    Change,
    energies_by_interval,
    measure_change,
    read_estimates,
)
from gridsecure.gateway.batch_readings import meter_books, read_month_batches
from gridsecure.gateway.books.as_of import contracts_as_of
from gridsecure.gateway.books.facts import point_of
from gridsecure.gateway.books.register import find_held, is_held_in, newest_revision
from gridsecure.gateway.collection import MonthFiles, read_files
from gridsecure.gateway.ingestion.batches import find_batches, newest_batch
from gridsecure.gateway.ingestion.stored_readings import read_edit
from gridsecure.gateway.rule_sets import rules_of
from gridsecure.gateway.zone import GatewayZone

_READING: Final = threading.Lock()  # a month's readings are held once, whoever asks


def check_place(zone: GatewayZone, month: str, readings: pd.DataFrame, *, at: datetime) -> None:
    """Refuse readings that no bill of the month can count, whoever approves them.

    Raises:
        InputError: `edit.meter-point`, `edit.month`, `edit.future`, `edit.unknown-meter-point`.
    """
    period = zone.period(month)
    starts = pd.DatetimeIndex(readings["start"])
    if readings["meter_point_id"].nunique() != 1:
        raise InputError(
            "An edit is of one meter point.",
            reason="edit.meter-point",
            remedy="Hand in one edit for each meter point.",
        )
    if starts.min() < period.start or starts.max() >= period.end:
        raise InputError(
            "A reading lies outside the month.",
            reason="edit.month",
            remedy="Hand in one edit for each month, and only readings of it.",
        )
    lengths = pd.to_timedelta(interval_minutes(readings, known=UNKNOWN), unit="min")
    if (starts + lengths).max() > at:
        raise InputError(
            "An interval has not ended yet, so it cannot have been read.",
            reason="edit.future",
            remedy="Check the year and the month of the readings, or wait until the interval ends.",
        )
    name = str(readings["meter_point_id"].iloc[0])
    # Readings may come before the month's contracts do; until then nobody is unknown.
    is_unknown = is_held_in(zone, period) and not find_held(zone, [point_of(name)], period=period)
    if is_unknown and name not in _compared(zone, month):
        raise InputError(
            f"Nobody holds the meter point {name!r} in {month}, by the books.",
            reason="edit.unknown-meter-point",
            remedy="Check its id; if it is new, import it first: gridsecure books import.",
        )


def _compared(zone: GatewayZone, month: str) -> frozenset[str]:
    """Meter points that the rule book compares with others; they may be nobody's."""
    children = parse_kept_book(rules_of(zone, month)).children
    return frozenset(children).union(*children.values())


def measure_lone(
    zone: GatewayZone,
    month: str,
    readings: pd.DataFrame,
    files: MonthFiles | None,
    alone: Sequence[Path],
    *,
    counted: bool = True,
) -> Change:
    """What an edit changes with all those of its meter point that nobody approved.

    Many small edits are as large as one, so the readings are compared that stand without any of
    them.

    Args:
        readings: The edit's.
        files: What was handed in for the month; None where nothing but batches is there.
        alone: Files of those, in order.
        counted: Whether what stands without them counts; else all of their energy is the change.
    """
    period = zone.period(month)
    name = str(readings["meter_point_id"].iloc[0])
    earlier = [read_edit(path, period=period) for path in alone]
    every = pd.concat([energies_by_interval(one) for one in (*earlier, readings)])
    laid = every[~every.index.duplicated(keep="last")]
    stands = laid.iloc[:0]
    if counted:
        own = read_without(zone, month, files, name)
        # A holder that moved in or out is another name of the meter point.
        stands = energies_by_interval(own.assign(meter_point_id=name)) if len(own) else stands
    estimates = read_estimates([zone.folder / "months" / month], {name})
    change = measure_change(stands, laid, estimates=estimates)
    return replace(change, intervals=len(laid))


def read_without(
    zone: GatewayZone, month: str, files: MonthFiles | None, name: str
) -> pd.DataFrame:
    """Readings of a meter point, or of who holds it, as they stand without edits."""
    period = zone.period(month)
    with _READING:
        if files is None:
            batches = find_batches(zone, period, until=newest_batch(zone))
            books = contracts_as_of(zone, period=period, revision=newest_revision(zone))
            registers = meter_books(books, timezone=zone.timezone)
            found = []
            if batches:
                told = read_month_batches(batches, period=period, books=registers)
                found.append(told.readings)
        else:
            bare = replace(files, edits=())
            found = [
                one.readings for one in read_files(bare, timezone=zone.timezone, period=period)
            ]
            name = {one.holder: one.meter_point_id for one in files.contracts().moved}.get(
                name, name
            )
        own = [one[one["meter_point_id"].isin([name])] for one in found]
    return join_readings(own) if own else pd.DataFrame()
