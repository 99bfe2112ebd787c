"""`gridsecure rebill`: first bills, then their corrections, on ciphertext in one process.

A corrected file lies over the readings file, interval by interval: what it says replaces what was
read, what it does not mention stays. Meter points whose settlement changes by that are billed
anew; with another tariff all that were billed by it are. An issued bill is printed as it was
issued, and beside it stands the correction: the bill that is cancelled, the new one, and the
adjustment (退补).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridsecure.billing.interval_lengths import UNKNOWN
from gridsecure.billing.reading_versions import changed_settlements, overlaid
from gridsecure.cli.bill import BillOrder, PreparedBills, by_meter, prepared, settled_part
from gridsecure.cli.bill_notices import BillNotices
from gridsecure.cli.bill_readings import billable
from gridsecure.cli.bill_tariffs import BilledTariff, Report, given_tariffs, imported
from gridsecure.cli.in_process import LocalGrid, issued, local_grid, sent
from gridsecure.cli.local_months import IssuedMonth, TariffPart
from gridsecure.compute import intake
from gridsecure.errors import InputError
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.rosters import Roster, retariffed
from gridsecure.messages import FIRST_REVISION
from gridsecure.periods import BillingPeriod

_SECOND = FIRST_REVISION + 1


@dataclass(frozen=True, slots=True)
class RebillOrder:
    """What to bill and how it was corrected; one of the corrections at least.

    Args:
        first: What is billed at first.
        corrected: Readings file that lies over the first one.
        corrected_tariff: Tariff file or catalogue id in place of the first one.
    """

    first: BillOrder
    corrected: Path | None = None
    corrected_tariff: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _LaterPart:
    """The later version of one tariff's meter points."""

    part: TariffPart
    meters: frozenset[str]
    is_retariffed: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Corrected:
    """The later version of all, and who is billed anew."""

    parts: tuple[_LaterPart, ...]
    changed: set[tuple[str, pd.Timestamp]]
    notices: BillNotices

    def of(self, meter_point_id: str) -> _LaterPart:
        """The part that a meter point is in."""
        return next(later for later in self.parts if meter_point_id in later.meters)


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
            "There is nothing to correct the bills with.",
            reason="correction.nothing",
            remedy="Give --corrected, --corrected-tariff, or both.",
        )
    first = prepared(order.first, report=report)
    later = _later(order, first, report)
    meters: dict[str, Any] = {}
    left_out: list[dict[str, str]] = []
    with local_grid() as grid:
        for period in first.periods:
            month = first.bill(grid, period, report=report)
            left_out += first.without_bill(month, report)
            corrections = _corrections(grid, month, later, report)
            for name, document in month.bills.items():
                periods = [{**document, "version": FIRST_REVISION}]
                if name in corrections:
                    correction = corrections[name]
                    periods.append(later.notices.beside(name, correction, period=period))
                meters.setdefault(name, {"periods": []})["periods"].extend(periods)
    return {"meters": dict(sorted(meters.items())), "not_billed": left_out}


def _later(order: RebillOrder, first: PreparedBills, report: Report) -> _Corrected:
    """Lay the corrected file over the first one, and settle again."""
    readings = first.readings
    if order.corrected is not None:
        file = read_readings(
            order.corrected,
            timezone=first.timezone,
            interval=UNKNOWN,
            meaning=order.first.meaning,
        )
        chosen = np.ones(len(file.readings), dtype=bool)
        if order.first.meters:
            chosen = np.asarray(file.readings["meter_point_id"].isin(order.first.meters))
        corrected = billable(file, chosen=chosen, report=report).readings
        readings = overlaid(readings, later=corrected)
    replaced = _replaced_tariff(order, first, report)
    changed: set[tuple[str, pd.Timestamp]] = set()
    parts = []
    for part in first.parts:
        billed = replaced.get(part.billed.tariff.tariff_id, part.billed)
        again = settled_part(
            readings, part.billed, contracts=part.contracts, interval=first.interval
        )
        if billed is part.billed:
            changed |= changed_settlements(part.settlements, again.settlements)
        else:
            own = part.contracts.assign(tariff_id=billed.tariff.tariff_id)
            again = settled_part(readings, billed, contracts=own, interval=first.interval)
            rows = part.settlements
            changed |= set(zip(rows["meter_point_id"], rows["period_start"], strict=True))
        meters = frozenset(part.contracts["meter_point_id"])
        parts.append(_LaterPart(again, meters, billed is not part.billed))
    _report_unbilled(first, readings, report)
    notices = replace(first.notices, readings=by_meter(readings))
    return _Corrected(tuple(parts), changed, notices)


def _report_unbilled(first: PreparedBills, readings: pd.DataFrame, report: Report) -> None:
    """Say how much the corrected file knows that no bill was issued for."""
    months = readings["start"].dt.strftime("%Y-%m")
    billed = sum(len(part.settlements) for part in first.parts)
    count = len(readings.groupby(["meter_point_id", months], observed=True).size()) - billed
    if count:
        report(f"{count} bills of the corrected file have no first bill; bill them by themselves")


def _replaced_tariff(
    order: RebillOrder, first: PreparedBills, report: Report
) -> dict[str, BilledTariff]:
    """The corrected tariff under the id of the one that it replaces.

    Raises:
        InputError: Several tariffs are billed, and it has the id of none
            (`correction.other-tariff`).
        GridSecureError: It cannot be read.
    """
    if order.corrected_tariff is None:
        return {}
    options = replace(order.first.tariffs, names=(order.corrected_tariff,), what_if=False)
    file = read_readings(order.first.readings, timezone=first.timezone, meaning=order.first.meaning)
    given = given_tariffs(options, None)
    made = imported(given, file, timezone=first.timezone, report=report)
    ((tariff_id, billed),) = made.items()
    if billed.tariff.timezone != first.timezone:
        raise InputError(
            "The corrected tariff is in a different time zone from the first.",
            reason="tariff.timezone",
            remedy="Give a tariff in the same time zone, because months are counted in local time.",
        )
    ids = [part.billed.tariff.tariff_id for part in first.parts]
    if len(ids) == 1:
        return {ids[0]: billed}
    if tariff_id not in ids:
        raise InputError(
            f"The corrected tariff {tariff_id!r} replaces none of the billed tariffs "
            f"({', '.join(ids)}).",
            reason="correction.other-tariff",
            remedy="Give a file with the tariff_id of the one it replaces, or choose meter points"
            " of one tariff with --meter.",
        )
    return {tariff_id: billed}


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
        own = later.of(ids[0])
        seats = _seats(grid, roster, own, period=month.period)
        correction = sent(
            grid,
            own.part.settlements,
            roster=seats,
            tariff_text=own.part.billed.text,
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


def _seats(grid: LocalGrid, roster: Roster, later: _LaterPart, *, period: BillingPeriod) -> Roster:
    """The roster to bill with: the same, or the same seats under the corrected tariff."""
    if not later.is_retariffed:
        return roster
    digest = intake.install_tariff(grid.platform, later.part.billed.text)
    if digest == roster.manifest.tariff:
        return roster
    other = retariffed(roster, tariff=digest)
    return grid.identity.seated(other, start=period.start.isoformat(), now=datetime.now(UTC))
