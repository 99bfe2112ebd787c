"""`gridsecure bill`: the bills of a readings file, computed on ciphertext in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.contracts import align_contracts, default_contracts, load_contracts
from gridsecure.billing.interval_periods import assign_periods, month_numbers
from gridsecure.billing.readings import ReadingProblem
from gridsecure.billing.settlements import settle
from gridsecure.cli.bill_notices import BillNotices, notice
from gridsecure.cli.bill_readings import select_billable
from gridsecure.cli.bill_registers import BilledRegisters
from gridsecure.cli.bill_tariffs import (
    WRITTEN_CLOCK,
    BilledTariff,
    GivenTariff,
    Report,
    TariffOptions,
    assign_tariffs,
    common_timezone,
    import_given,
    offset_timezone,
    read_given_tariffs,
    report_doubts,
)
from gridsecure.cli.bill_year import add_year_to_date, check_year_to_date, find_stated_opening
from gridsecure.cli.local_months import IssuedMonth, TariffPart, bill_month
from gridsecure.cli.local_parties import LocalParties, local_parties
from gridsecure.cli.online import utc_now
from gridsecure.errors import InputError, NotFoundError
from gridsecure.gateway.face_energies import MeterBooks
from gridsecure.gateway.formats import ReadingsFile, read_offsets, read_readings
from gridsecure.gateway.meanings import NOTHING_SAID, Meaning, Stamps, Values
from gridsecure.month_texts import CALENDAR, year_text
from gridsecure.periods import BillingPeriod, check_cycle_day
from gridsecure.plans.quantities import MAX_TIER_WH


@dataclass(frozen=True, slots=True)
class BillOrder:
    """What to bill.

    Args:
        readings: Readings file, long or wide.
        tariffs: How its meter points find their tariffs.
        contract: Contract file, or None for meter points without quota and capacity.
        meters: Meter points to bill; empty for all.
        meaning: What the values and times of the readings are, where they leave a doubt.
        year_to_date: Energies since 1 January before the first month, as KWH or ID=KWH.
        cycle_day: Day of the month that billing periods begin on.
        register_hours: Which hours the registers of each meter counted; empty if unknown.
    """

    readings: Path
    tariffs: TariffOptions
    contract: Path | None = None
    meters: tuple[str, ...] = ()
    meaning: Meaning = NOTHING_SAID
    year_to_date: tuple[str, ...] = ()
    cycle_day: int = CALENDAR
    register_hours: str = ""


def bill_file(order: BillOrder, *, report: Report) -> dict[str, Any]:
    """Bill a readings file; what it says is billed as it stands, gaps are reported, not filled.

    Returns:
        {"meters": {meter point: {"periods": [...]}}, "not_billed": [...]}, as docs/formats.md says.

    Raises:
        GridSecureError: With a reason code and a remedy.
    """
    first = prepare_bills(order, report=report)
    meters: dict[str, Any] = {}
    left_out: list[dict[str, str]] = []
    with first.parties() as local:
        for period in first.periods:
            month = first.bill(local, period, report=report)
            left_out += first.list_unbilled(month, report)
            for meter_point_id, document in month.bills.items():
                meters.setdefault(meter_point_id, {"periods": []})["periods"].append(document)
    return {"meters": dict(sorted(meters.items())), "not_billed": left_out}


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBills:
    """A readings file, read and settled.

    Args:
        parts: Its meter points by tariff, with their settlements.
        readings: What it says of the chosen meter points.
        timezone: The local time that all tariffs are in.
        known: All meter points that the file names, of those chosen.
        cycle_day: Day of the month that the periods begin on.
        registers: Whose energies registers of hours told.
    """

    parts: tuple[TariffPart, ...]
    file: Path
    readings: pd.DataFrame
    interval: pd.Timedelta
    timezone: str
    notices: BillNotices
    periods: tuple[BillingPeriod, ...]
    known: frozenset[str]
    cycle_day: int
    registers: BilledRegisters

    def parties(self) -> AbstractContextManager[LocalParties]:
        """The parties that bill it, for as long as the block lasts."""
        years = sorted({year_text(period.start.isoformat()) for period in self.periods})
        return local_parties(years=years, timezone=self.timezone, cycle_day=self.cycle_day)

    def bill(self, local: LocalParties, period: BillingPeriod, *, report: Report) -> IssuedMonth:
        """Bill one of the months.

        Raises:
            GridSecureError: As `bill_month`.
        """
        count = sum(len(part.settle(period)) for part in self.parts)
        report(f"{period.name}: {count} meter points, computed on ciphertext")
        month = bill_month(local, self.parts, period=period, readings=self.file)
        bills = {
            name: self.notices.beside(name, bill, period=period)
            for name, bill in month.bills.items()
        }
        _report_gaps(bills, period, report)
        return replace(month, bills=bills)

    def list_unbilled(self, month: IssuedMonth, report: Report) -> list[dict[str, str]]:
        """Meter points of the file that have no reading in a month, which others have."""
        start, end = month.period.start.isoformat(), month.period.end.isoformat()
        names = sorted(self.known.difference(month.bills))
        if names:
            report(f"{month.period.name}: {len(names)} meter points have no reading at all")
        return [
            {"meter_point_id": name, "start": start, "end": end, "code": "no-readings"}
            for name in names
        ]


def prepare_bills(order: BillOrder, *, report: Report) -> PreparedBills:
    """Read what an order names, and settle it.

    Length: the steps of a bill in order.

    Raises:
        GridSecureError: A file cannot be read or settled.
    """
    check_cycle_day(order.cycle_day)
    contracts = None if order.contract is None else read_contracts(order.contract)
    given = read_given_tariffs(order.tariffs, contracts)
    registers = BilledRegisters(order.register_hours)
    timezone, file, common = _readings(order, given, registers.books(), report)
    registers = registers.beside(file)
    chosen = choose_meters(file.readings, order.meters)
    taken = select_billable(file, chosen=chosen, report=report)
    readings = taken.readings
    now = utc_now()
    names_chosen = set(readings["meter_point_id"].unique())
    noted = [one for one in file.problems if one.meter_point_id in names_chosen]
    for problem in noted:
        report(str(problem))
    _report_future(readings, file.interval, now, report)
    names = sorted(readings["meter_point_id"].unique())
    known = default_contracts(names) if contracts is None else contracts
    cycle_day = order.cycle_day
    own = align_contracts(known, meter_point_ids=names)
    own, large = _with_large(own, readings, report, cycle_day=cycle_day)
    own, opening = add_year_to_date(own, order.year_to_date)
    tariffs = import_given(given, file, timezone=timezone, report=report)
    billed = own.assign(tariff_id=assign_tariffs(own, tariffs, options=order.tariffs))
    report_doubts((tariffs[str(name)] for name in billed["tariff_id"].unique()), report)
    lengths = readings["minutes"].to_numpy(np.int64)
    _, periods = assign_periods(
        readings["start"], interval=lengths, timezone=timezone, cycle_day=cycle_day
    )
    for name, ids in billed.groupby("tariff_id")["meter_point_id"]:
        registers.check_prices(tariffs[str(name)], names=ids, periods=periods)
    parts = tuple(
        settle_part(
            readings,
            tariffs[str(name)],
            contracts=part,
            interval=file.interval,
            cycle_day=cycle_day,
        )
        for name, part in billed.groupby("tariff_id", sort=True)
    )
    opening |= set() if order.contract is None else find_stated_opening(order.contract)
    what_if: dict[str, str] | None = None
    if order.tariffs.what_if:
        what_if = dict(zip(own["meter_point_id"], own["tariff_id"], strict=True))
        report(f"What-if: billed by {next(iter(tariffs))}, whatever the contracts say")
    notices = BillNotices(
        readings=split_by_meter(readings),
        superseded=taken.superseded,
        interval=file.interval,
        now=now,
        common=common,
        of_meter=_about_meters(parts, noted, large=large, opening=opening),
        what_if=what_if,
    )
    everybody = frozenset(file.readings["meter_point_id"][chosen].unique())
    return PreparedBills(
        parts,
        order.readings,
        readings,
        file.interval,
        timezone,
        notices,
        tuple(periods),
        everybody,
        cycle_day,
        registers,
    )


def _about_meters(
    parts: Sequence[TariffPart],
    noted: Sequence[ReadingProblem],
    *,
    large: Sequence[str],
    opening: set[str],
) -> dict[str, list[dict[str, Any]]]:
    """Notices by meter point: what was concluded of its readings, who is large, a year's start."""
    found = {name: [notice("large-assumed", kwh=MAX_TIER_WH // 1000)] for name in large}
    for problem in noted:
        start = "" if problem.start is None else problem.start.isoformat(timespec="minutes")
        note = notice("readings-noted", start=start, rule=problem.rule, detail=problem.detail)
        found.setdefault(problem.meter_point_id, []).append(note)
    for part in parts:
        for name, kwh in check_year_to_date(part, known=opening).items():
            found.setdefault(name, []).append(notice("year-to-date-given", kwh=kwh))
    return found


def split_by_meter(readings: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Meter point -> its readings."""
    groups = readings.groupby("meter_point_id", observed=True, sort=False)
    return {str(name): rows for name, rows in groups}


def settle_part(
    readings: pd.DataFrame,
    billed: BilledTariff,
    *,
    contracts: pd.DataFrame,
    interval: pd.Timedelta,
    cycle_day: int,
) -> TariffPart:
    """Settle the meter points of one tariff.

    Args:
        readings: Readings of at least those.
        contracts: Their contracts, with the tariff's id.

    Raises:
        GridSecureError: As `settle`.
    """
    contracts = contracts.reset_index(drop=True)
    own = readings[readings["meter_point_id"].isin(contracts["meter_point_id"])]
    settlements = settle(
        own.reset_index(drop=True),
        tariff=billed.tariff,
        interval=interval,
        contracts=contracts,
        cycle_day=cycle_day,
    )
    return TariffPart(billed, contracts, settlements)


def _readings(
    order: BillOrder, given: Sequence[GivenTariff], books: MeterBooks, report: Report
) -> tuple[str, ReadingsFile, tuple[dict[str, Any], ...]]:
    """The local time that is billed in, the readings, and what was assumed about their times."""
    timezone = common_timezone(given, order.tariffs)
    if timezone is not None:
        file = read_readings(order.readings, timezone=timezone, meaning=order.meaning, books=books)
        return timezone, file, _about_file(file)
    timezone = offset_timezone(read_offsets(order.readings))
    if timezone == WRITTEN_CLOCK:
        clock = notice("clock-as-written")
        report(f"{clock['text']} Pass --timezone where it does change.")
    else:
        clock = notice("clock-of-offset", timezone=timezone)
        report(clock["text"])
    file = read_readings(order.readings, timezone=timezone, meaning=order.meaning, books=books)
    return timezone, file, (clock, *_about_file(file))


def _about_file(file: ReadingsFile) -> tuple[dict[str, Any], ...]:
    """Notices of what the file's values and times were taken for, and of what is not read."""
    codes = []
    if file.meaning.stamps is Stamps.END:
        codes.append("stamps-at-end")
    if file.meaning.values is Values.REGISTER:
        codes.append("register-values")
    if file.meaning.values is Values.POWER:
        codes.append("power-values")
    unbilled = (
        notice(f"passed-over-{name}", count=count)
        for name, count in sorted(file.passed_over.items())
    )
    return (*map(notice, codes), *unbilled)


def read_contracts(path: Path) -> pd.DataFrame:
    """Read a contract file.

    Raises:
        InputError: There is none (`contract.file`), or as `load_contracts`.
    """
    if not path.is_file():
        raise InputError(
            f"There is no contract file {path.name!r}.",
            reason="contract.file",
            remedy="Check the path given to --contract.",
        )
    return load_contracts(path)


def choose_meters(readings: pd.DataFrame, meters: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which readings are of the chosen meter points; all if none is chosen.

    Raises:
        NotFoundError: A meter point has no reading.
    """
    if not meters:
        return np.ones(len(readings), dtype=bool)
    missing = sorted(set(meters) - set(readings["meter_point_id"]))
    if missing:
        raise NotFoundError(
            f"The readings file has no meter point {missing[0]!r}.",
            remedy="Check the id given to --meter.",
        )
    return np.asarray(readings["meter_point_id"].isin(meters))


def _report_future(
    readings: pd.DataFrame, interval: pd.Timedelta, now: datetime, report: Report
) -> None:
    """Say so when a file reaches into the future: fine for a what-if, not for a bill."""
    count = int((readings["start"] + interval > pd.Timestamp(now)).sum())
    if count:
        report(f"{count} readings end in the future; billed as read, as a what-if")


def _with_large(
    contracts: pd.DataFrame, readings: pd.DataFrame, report: Report, *, cycle_day: int
) -> tuple[pd.DataFrame, list[str]]:
    """Say of meter points beyond a household's energy that they are large, as a contract would."""
    numbers = month_numbers(pd.DatetimeIndex(readings["start"]), cycle_day=cycle_day)
    months = readings.groupby(["meter_point_id", numbers], observed=True)["energy_wh"].sum()
    beyond = set(months[months > MAX_TIER_WH].index.get_level_values(0))
    found = contracts["meter_point_id"].isin(beyond) & (contracts["large"] == "")
    if found.any():
        report(f"{int(found.sum())} meter points billed as large customers")
    large = contracts["meter_point_id"][found].tolist()
    return contracts.assign(large=contracts["large"].mask(found, "yes")), large


def _report_gaps(bills: Mapping[str, Any], period: BillingPeriod, report: Report) -> None:
    """Say which part of a month the file covers: a bill on part of a month looks like a whole."""
    short = [bill["readings"] for bill in bills.values() if bill["readings"]["missing"]]
    if short:
        missing = sum(read["missing"] for read in short)
        report(
            f"{period.name}: {len(short)} of {len(bills)} meter points lack readings"
            f" ({missing} intervals in all); billed as read, nothing estimated"
        )
