"""`gridsecure bill`: the bills of a readings file, computed on ciphertext in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from apps.cli.in_process import LocalGrid, local_grid
from apps.cli.local_months import IssuedMonth, bill_month
from gridsecure.billing.contracts import align_contracts, default_contracts, load_contracts
from gridsecure.billing.periods import BillingPeriod, assign_periods
from gridsecure.billing.settlements import settle
from gridsecure.billing.tariffs import parse_tariff
from gridsecure.billing.urdb import UrdbOptions, import_rate, rate_timezone
from gridsecure.billing.urdb_elements import only_item, parse_urdb
from gridsecure.errors import InputError, InvalidTariffError, NotFoundError
from gridsecure.gateway.formats import ReadingsFile, read_readings
from gridsecure.plans.quantities import MAX_TIER_WH

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BillOrder:
    """What to bill.

    Args:
        tariff: Tariff file, or a URDB rate (JSON).
        readings: Readings file, long or wide.
        contract: Contract file, or None for meter points without quota and capacity.
        meters: Meter points to bill; empty for all.
    """

    tariff: Path
    readings: Path
    contract: Path | None = None
    meters: tuple[str, ...] = ()


def bill_file(order: BillOrder, *, report: Report) -> dict[str, Any]:
    """Bill a readings file; what it says is billed as it stands, gaps are reported, not filled.

    Returns:
        {"meters": {meter point: {"periods": [...]}}}, as `billing.bills.bills_to_json` defines.

    Raises:
        GridSecureError: With a reason code and a remedy.
    """
    first = prepared(order, report=report)
    meters: dict[str, Any] = {}
    with local_grid() as grid:
        for period in first.periods:
            month = first.bill(grid, period, report=report)
            for meter_point_id, document in month.bills.items():
                meters.setdefault(meter_point_id, {"periods": []})["periods"].append(document)
    return {"meters": dict(sorted(meters.items()))}


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBills:
    """A readings file, read and settled.

    Args:
        tariff_text: The tariff file's text.
        readings: What the file says of the chosen meter points.
        interval: Interval length.
        contracts: Contracts of all of them.
        settlements: Their settlements.
        periods: The months the readings touch.
    """

    tariff_text: str
    readings: pd.DataFrame
    interval: pd.Timedelta
    contracts: pd.DataFrame
    settlements: pd.DataFrame
    periods: tuple[BillingPeriod, ...]

    def bill(self, grid: LocalGrid, period: BillingPeriod, *, report: Report) -> IssuedMonth:
        """Bill one of the months.

        Raises:
            GridSecureError: As `bill_month`.
        """
        count = int((self.settlements["period_start"] == period.start).sum())
        _report_gaps(self.readings, self.interval, period, report)
        report(f"{period.start:%Y-%m}: {count} meter points, computed on ciphertext")
        return bill_month(
            grid,
            self.settlements,
            contracts=self.contracts,
            tariff_text=self.tariff_text,
            period=period,
        )


def prepared(order: BillOrder, *, report: Report) -> PreparedBills:
    """Read what an order names, and settle it.

    Raises:
        GridSecureError: A file cannot be read or settled.
    """
    text, file = tariff_and_readings(order, report)
    tariff = parse_tariff(text)
    readings = read_once(_chosen(file.readings, order.meters), report)
    _report_future(readings, file.interval, report)
    contracts = _with_large(_contracts(order.contract, readings), readings, report)
    settlements = settle(readings, tariff=tariff, interval=file.interval, contracts=contracts)
    _, periods = assign_periods(readings["start"], interval=file.interval, timezone=tariff.timezone)
    return PreparedBills(text, readings, file.interval, contracts, settlements, tuple(periods))


def tariff_and_readings(order: BillOrder, report: Report) -> tuple[str, ReadingsFile]:
    """Read both files; a URDB rate without a first day begins with the year of the readings.

    Raises:
        GridSecureError: A file cannot be read.
    """
    text = _tariff_text(order.tariff)
    if not text.lstrip().startswith(("{", "[{")):
        return text, read_readings(order.readings, timezone=parse_tariff(text).timezone)
    rate = parse_urdb(text)
    zone = rate_timezone(rate)
    file = read_readings(order.readings, timezone=zone)
    first = file.readings["start"].min().tz_convert(zone)
    label = only_item(rate).get("label")
    options = UrdbOptions(
        year=int(first.year), timezone=zone, tariff_id=None if label else order.tariff.stem
    )
    made = import_rate(rate, options=options)
    for note in made.notes:
        report(f"URDB: {note}")
    return made.text, file


def _tariff_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(
            f"There is no tariff file {path.name!r}.", remedy="Check the path given to --tariff."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTariffError(
            f"The tariff file {path.name!r} cannot be read as UTF-8 text."
        ) from error


def _chosen(readings: pd.DataFrame, meters: tuple[str, ...]) -> pd.DataFrame:
    if not meters:
        return readings
    missing = sorted(set(meters) - set(readings["meter_point_id"]))
    if missing:
        raise NotFoundError(
            f"The readings file has no meter point {missing[0]!r}.",
            remedy="Check the id given to --meter.",
        )
    return readings[readings["meter_point_id"].isin(meters)].reset_index(drop=True)


def read_once(readings: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Take a line that repeats another to the letter once; contradictions are refused later."""
    kept = readings.drop_duplicates().reset_index(drop=True)
    if len(kept) < len(readings):
        report(f"{len(readings) - len(kept)} repeated lines taken once")
    return kept


def _report_future(readings: pd.DataFrame, interval: pd.Timedelta, report: Report) -> None:
    """Say so when a file reaches into the future: fine for a what-if, not for a bill."""
    count = int((readings["start"] + interval > pd.Timestamp.now(tz="UTC")).sum())
    if count:
        report(f"{count} readings end in the future; billed as read, as a what-if")


def _contracts(path: Path | None, readings: pd.DataFrame) -> pd.DataFrame:
    names = sorted(readings["meter_point_id"].unique())
    if path is None:
        return default_contracts(names)
    if not path.is_file():
        raise InputError(
            f"There is no contract file {path.name!r}.",
            reason="contract.file",
            remedy="Check the path given to --contract.",
        )
    return align_contracts(load_contracts(path), meter_point_ids=names)


def _with_large(contracts: pd.DataFrame, readings: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Say of meter points beyond a household's energy that they are large, as a contract would."""
    local = readings["start"].dt.strftime("%Y-%m")
    months = readings.groupby(["meter_point_id", local], observed=True)["energy_wh"].sum()
    beyond = set(months[months > MAX_TIER_WH].index.get_level_values(0))
    found = contracts["meter_point_id"].isin(beyond) & (contracts["large"] == "")
    if found.any():
        report(f"{int(found.sum())} meter points billed as large customers")
    return contracts.assign(large=contracts["large"].mask(found, "yes"))


def _report_gaps(
    readings: pd.DataFrame, interval: pd.Timedelta, period: BillingPeriod, report: Report
) -> None:
    """Say which part of a month the file covers: a bill on part of a month looks like a whole."""
    inside = readings[(readings["start"] >= period.start) & (readings["start"] < period.end)]
    expected = (pd.Timestamp(period.end) - pd.Timestamp(period.start)) // interval
    counts = inside.groupby("meter_point_id")["start"].nunique()
    short = int((counts < expected).sum())
    if short:
        report(
            f"{period.start:%Y-%m}: {short} of {len(counts)} meter points lack readings"
            f" (of {expected} intervals); billed as read, nothing estimated"
        )
