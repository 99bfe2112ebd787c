"""`gridsecure rebill`: first bills, then their corrections, on ciphertext in one process.

A corrected file lies over the readings file, interval by interval: what it says replaces what was
read, what it does not mention stays. Meter points whose settlement changes by that are billed
anew; with another tariff all of them are. An issued bill is printed as it was issued, and beside it
stands the correction: the bill that is cancelled, the new one, and the adjustment (退补).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from apps.cli.bill import BillOrder, PreparedBills, Report, prepared, read_once, tariff_and_readings
from apps.cli.in_process import LocalGrid, issued, local_grid, sent
from apps.cli.local_months import IssuedMonth
from gridsecure.billing.periods import BillingPeriod
from gridsecure.billing.reading_versions import changed_settlements, other_interval, overlaid
from gridsecure.billing.settlements import settle
from gridsecure.billing.tariffs import parse_tariff
from gridsecure.compute import intake
from gridsecure.errors import InputError
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.rosters import Roster, retariffed
from gridsecure.messages import FIRST_REVISION

_SECOND = FIRST_REVISION + 1


@dataclass(frozen=True, slots=True)
class RebillOrder:
    """What to bill and how it was corrected; one of the corrected files at least.

    Args:
        first: What is billed at first.
        corrected: Readings file that lies over the first one.
        corrected_tariff: Tariff file in place of the first one.
    """

    first: BillOrder
    corrected: Path | None = None
    corrected_tariff: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Corrected:
    """The later version: its tariff and settlements, and who is billed anew."""

    tariff_text: str
    settlements: pd.DataFrame
    changed: set[tuple[str, pd.Timestamp]]
    is_retariffed: bool


def rebill_file(order: RebillOrder, *, report: Report) -> dict[str, Any]:
    """Bill a readings file, then correct it.

    Returns:
        {"meters": {meter point: {"periods": [...]}}}: the first bills with `version` 1, and after
        each the correction with `version` 2, `cancels` and `adjustment`, where there is one.

    Raises:
        GridSecureError: With a reason code and a remedy.
    """
    if order.corrected is None and order.corrected_tariff is None:
        raise InputError(
            "Nothing is given to correct the bills with.",
            reason="correction.nothing",
            remedy="Give --corrected, --corrected-tariff, or both.",
        )
    first = prepared(order.first, report=report)
    later = _later(order, first, report)
    meters: dict[str, Any] = {}
    with local_grid() as grid:
        for period in first.periods:
            month = first.bill(grid, period, report=report)
            corrections = _corrections(grid, month, later, report)
            for name, document in month.bills.items():
                periods = [{**document, "version": FIRST_REVISION}]
                periods += [corrections[name]] if name in corrections else []
                meters.setdefault(name, {"periods": []})["periods"].extend(periods)
    return {"meters": dict(sorted(meters.items()))}


def _later(order: RebillOrder, first: PreparedBills, report: Report) -> _Corrected:
    """Lay the corrected file over the first one, and settle again."""
    text, readings = first.tariff_text, first.readings
    tariff = parse_tariff(text)
    if order.corrected is not None:
        file = read_readings(order.corrected, timezone=tariff.timezone, interval=first.interval)
        if file.interval != first.interval:
            raise other_interval()
        corrected = file.readings
        if order.first.meters:
            corrected = corrected[corrected["meter_point_id"].isin(order.first.meters)]
        corrected = read_once(corrected.reset_index(drop=True), report)
        readings = overlaid(readings, later=corrected, interval=first.interval)
    again = settle(readings, tariff=tariff, interval=first.interval, contracts=first.contracts)
    _report_unbilled(first, again, report)
    changed = changed_settlements(first.settlements, again)
    if order.corrected_tariff is None:
        return _Corrected(text, again, changed, is_retariffed=False)
    text, _ = tariff_and_readings(replace(order.first, tariff=order.corrected_tariff), report)
    billed = first.settlements
    everybody = zip(billed["meter_point_id"], billed["period_start"], strict=True)
    anew = settle(
        readings,
        tariff=parse_tariff(text),
        interval=first.interval,
        contracts=first.contracts,
    )
    return _Corrected(text, anew, set(everybody), is_retariffed=True)


def _report_unbilled(first: PreparedBills, again: pd.DataFrame, report: Report) -> None:
    """Say how much the corrected file knows that no bill was issued for."""
    count = len(again) - len(first.settlements)
    if count:
        report(f"{count} bills of the corrected file have no first bill; bill them by themselves")


def _corrections(
    grid: LocalGrid, month: IssuedMonth, later: _Corrected, report: Report
) -> dict[str, Any]:
    """Meter point -> its correction of a month."""
    changed = {name for name, start in later.changed if start == month.period.start}
    pairs = []
    for roster, upload in zip(month.rosters, month.uploads, strict=True):
        ids = roster.meter_point_ids
        slots = [slot for slot, name in enumerate(ids) if name in changed]
        if not slots:
            continue
        seats = _seats(grid, roster, later, period=month.period)
        correction = sent(
            grid,
            later.settlements,
            roster=seats,
            tariff_text=later.tariff_text,
            period=month.period,
            revision=_SECOND,
            corrects=upload.digest,
            corrected_slots=slots,
        )
        pairs.append((seats, correction))
    report(f"{month.period.start:%Y-%m}: {len(changed)} meter points corrected")
    if not pairs:
        return {}
    rosters, uploads = zip(*pairs, strict=True)
    bills = issued(grid, rosters, uploads, period=month.period, plan="rebill")
    return {month.names[name]: document for name, document in bills.items()}


def _seats(grid: LocalGrid, roster: Roster, later: _Corrected, *, period: BillingPeriod) -> Roster:
    """The roster to bill with: the same, or the same seats under the corrected tariff."""
    if not later.is_retariffed:
        return roster
    digest = intake.install_tariff(grid.platform, later.tariff_text)
    if digest == roster.manifest.tariff:
        return roster
    other = retariffed(roster, tariff=digest)
    return grid.identity.seated(other, start=period.start.isoformat(), now=datetime.now(UTC))
