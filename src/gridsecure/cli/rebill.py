"""`gridsecure rebill`: first bills, then their corrections, on ciphertext in one process.

A corrected file lies over the readings file, interval by interval: what it says replaces what was
read, what it does not mention stays. Meter points whose settlement changes by that are billed
anew; with another tariff all that were billed by it are. An issued bill is printed as it was
issued, and beside it stands the correction: the bill that is cancelled, the new one, and the
adjustment (退补).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridsecure.billing.interval_lengths import UNKNOWN
from gridsecure.billing.interval_periods import month_numbers
from gridsecure.billing.reading_versions import overlay_readings
from gridsecure.cli.bill import BillOrder, PreparedBills, prepare_bills, settle_part, split_by_meter
from gridsecure.cli.bill_notices import BillNotices
from gridsecure.cli.bill_readings import select_billable
from gridsecure.cli.bill_tariffs import BilledTariff, Report, import_given, read_given_tariffs
from gridsecure.cli.local_months import CorrectedFiles, TariffPart, rebill_month
from gridsecure.errors import InputError
from gridsecure.gateway.formats import read_readings
from gridsecure.messages import FIRST_REVISION


@dataclass(frozen=True, slots=True)
class RebillOrder:
    """What to bill and how it was corrected; one of the corrections at least.

    Args:
        corrected: Readings file that lies over the first one.
        corrected_tariff: Tariff file or catalogue id in place of the first one.
    """

    first: BillOrder
    corrected: Path | None = None
    corrected_tariff: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Later:
    """The later version of all.

    Args:
        parts: By the tariff id that they were first billed with.
    """

    parts: Mapping[str, TariffPart]
    files: CorrectedFiles
    notices: BillNotices


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
    first = prepare_bills(order.first, report=report)
    later = _later(order, first, report)
    meters: dict[str, Any] = {}
    left_out: list[dict[str, str]] = []
    with first.parties() as local:
        for period in first.periods:
            month = first.bill(local, period, report=report)
            left_out += first.list_unbilled(month, report)
            corrections = rebill_month(local, month, later.parts, corrected=later.files)
            report(f"{period.name}: {len(corrections)} meter points corrected")
            for name, document in month.bills.items():
                periods = [{**document, "version": FIRST_REVISION}]
                if name in corrections:
                    correction = corrections[name]
                    periods.append(later.notices.beside(name, correction, period=period))
                meters.setdefault(name, {"periods": []})["periods"].extend(periods)
    return {"meters": dict(sorted(meters.items())), "not_billed": left_out}


def _later(order: RebillOrder, first: PreparedBills, report: Report) -> _Later:
    """Lay the corrected file over the first one, and settle again."""
    readings, registers = first.readings, first.registers
    if order.corrected is not None:
        file = read_readings(
            order.corrected,
            timezone=first.timezone,
            interval=UNKNOWN,
            meaning=order.first.meaning,
            books=registers.books(),
        )
        registers = registers.beside(file)
        chosen = np.ones(len(file.readings), dtype=bool)
        if order.first.meters:
            chosen = np.asarray(file.readings["meter_point_id"].isin(order.first.meters))
        corrected = select_billable(file, chosen=chosen, report=report).readings
        readings = overlay_readings(readings, later=corrected)
    replaced = _replaced_tariff(order, first, report)
    parts = {}
    for part in first.parts:
        name = part.billed.tariff.tariff_id
        billed = replaced.get(name, part.billed)
        own = part.contracts.assign(tariff_id=billed.tariff.tariff_id)
        registers.check_prices(billed, names=own["meter_point_id"], periods=first.periods)
        parts[name] = settle_part(
            readings,
            billed,
            contracts=own,
            interval=first.interval,
            cycle_day=first.cycle_day,
        )
    _report_unbilled(first, readings, report)
    files = CorrectedFiles(order.corrected, tuple(billed.text for billed in replaced.values()))
    return _Later(parts, files, replace(first.notices, readings=split_by_meter(readings)))


def _report_unbilled(first: PreparedBills, readings: pd.DataFrame, report: Report) -> None:
    """Say how much the corrected file knows that no bill was issued for."""
    months = month_numbers(pd.DatetimeIndex(readings["start"]), cycle_day=first.cycle_day)
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
    given = read_given_tariffs(options, None)
    made = import_given(given, file, timezone=first.timezone, report=report)
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
