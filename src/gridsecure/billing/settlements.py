"""Settlements: a meter point's energy in a billing period, in total and per time-of-use register.

A settlement frame has one row per meter point and period with at least one reading, ordered by
period and meter point: `meter_point_id`, `period_start`, `period_end` (aware, local), `total_wh`
and one column `<tou_period>_wh` per label of the tariff, all int64 [Wh]. What else a tariff needs
is added after the sums; the columns are named in `settlement_columns`:

* `year_before_wh`, energy since 1 January before the month, under tiers of a year;
* `demand_w` and its kin, `split:…`, `interval:…`, which `measures` derives from the intervals;
* `reactive_varh` with `power_factor`, and `export_wh`, from registers of their own.

Invariants: no energy is negative, and the registers of a row add up to its total.

Not handled here: whether the readings are complete. Validation finds gaps before; a settlement
adds up what is there and refuses what nobody measured or estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridsecure.billing.calendars import label_intervals
from gridsecure.billing.charges import needs_intervals
from gridsecure.billing.contracts import align_contracts, default_contracts
from gridsecure.billing.interval_lengths import UNKNOWN_MINUTES, find_overlapping
from gridsecure.billing.interval_periods import Lengths, assign_periods
from gridsecure.billing.measures import (
    MonthIntervals,
    apply_ratchet,
    carry_year,
    derive_measures,
    uniform_minutes,
)
from gridsecure.billing.readings import MINUTES_COLUMN, start_us
from gridsecure.billing.rules import line_rules, scale_decimal
from gridsecure.billing.settlement_columns import (
    DEMAND_COLUMN,
    EXPORT_COLUMN,
    INT64_MAX,
    OWN_DEMAND_COLUMN,
    POWER_FACTOR_COLUMN,
    RATCHET_COLUMN,
    REACTIVE_COLUMN,
    TOTAL_COLUMN,
    YEAR_BEFORE_COLUMN,
    register_column,
)
from gridsecure.errors import InputError, InvalidReadingsError
from gridsecure.month_texts import CALENDAR
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.consistency import CHRONOLOGICAL, YEAR
from gridsecure.tariffs.power_factor import power_factors
from gridsecure.tariffs.pricing import FEED_IN_CHARGE
from gridsecure.tariffs.rows import KWH_PER_KW, KWH_PER_KW_DAY, PER_KW
from gridsecure.tariffs.tariff import Tariff

BILLABLE_QUALITIES = ("actual", "estimated")
_SHARE_DECIMALS = 4


@dataclass(frozen=True, slots=True, eq=False)
class PlacedReadings:
    """Readings, and the settlement row each belongs to.

    Args:
        readings: The readings, with `reactive_varh` and `export_wh` where there are such registers.
        lengths: Interval length of all readings, or of each [minutes].
        row_of_reading: Settlement row of each reading.
        month_of_row: Month number of each settlement row.
    """

    readings: pd.DataFrame
    lengths: Lengths
    row_of_reading: npt.NDArray[np.intp]
    periods: tuple[BillingPeriod, ...]
    month_of_row: npt.NDArray[np.int64]

    def add_up(self, column: str, *, rows: int) -> npt.NDArray[np.int64]:
        """Sum a register over the readings of each settlement row."""
        sums = np.zeros(rows, dtype=np.int64)
        np.add.at(sums, self.row_of_reading, self.readings[column].to_numpy(np.int64))
        return sums

    def month(self, number: int) -> tuple[npt.NDArray[np.intp], MonthIntervals]:
        """Settlement rows of one month, and their intervals in the same order."""
        rows = np.flatnonzero(self.month_of_row == number)
        inside = self.month_of_row[self.row_of_reading] == number
        starts = pd.DatetimeIndex(self.readings["start"])[inside]
        columns, distinct = pd.factorize(starts, sort=True)
        energy = np.zeros((len(rows), len(distinct)), dtype=np.int64)
        places = np.searchsorted(rows, self.row_of_reading[inside])
        energy[places, columns] = self.readings["energy_wh"].to_numpy(np.int64)[inside]
        if isinstance(self.lengths, pd.Timedelta):
            minutes = uniform_minutes(self.lengths)
        else:
            minutes = np.zeros(energy.shape, dtype=np.int64)
            minutes[places, columns] = self.lengths[inside]
        return rows, MonthIntervals(pd.DatetimeIndex(distinct), minutes, energy)


def settle(
    readings: pd.DataFrame,
    *,
    tariff: Tariff,
    interval: pd.Timedelta,
    contracts: pd.DataFrame | None = None,
    cycle_day: int = CALENDAR,
) -> pd.DataFrame:
    """Add readings up to settlements, one row per meter point and billing period.

    Length: one column of the settlement after the other.

    Args:
        readings: Validated readings: `meter_point_id`, `start`, `energy_wh` [Wh], `quality`.
        tariff: Gives the local time and the time-of-use windows.
        interval: Interval length of readings that do not state their own (`minutes`).
        contracts: Contracts of at least these meter points, for tariffs whose settlement depends on
            them (energy of the year, limits in the order of time); defaults without them.
        cycle_day: Day of the month that billing periods begin on.

    Returns:
        The settlement frame described at the top of this module.

    Raises:
        InvalidReadingsError: A missing, repeated, overlapping or negative reading, one of unknown
            length, sums beyond 63 bits, or an interval across a border (`settlement.*`,
            `period.*`, `calendar.*`).
        InputError: A month outside the tariff's validity, where a measure depends on its rates.
    """
    meters, meter_point_ids = _number_meter_points(readings["meter_point_id"])
    energy_wh = readings["energy_wh"].to_numpy(np.int64)
    _check_readings(readings, meters=meters, energy_wh=energy_wh)
    lengths = _checked_lengths(readings, meters=meters, interval=interval)
    months, periods = assign_periods(
        readings["start"], interval=lengths, timezone=tariff.timezone, cycle_day=cycle_day
    )
    # One row per pair (period, meter point) that has readings, in that order.
    pairs = months * len(meter_point_ids) + meters
    row_of_reading, present = pd.factorize(pairs, sort=True)
    month_of_row, meter_of_row = np.divmod(present, max(len(meter_point_ids), 1))
    dtype = pd.DatetimeTZDtype("ns", tariff.timezone)
    frame = pd.DataFrame(
        {
            "meter_point_id": meter_point_ids.take(meter_of_row),
            "period_start": pd.DatetimeIndex([p.start for p in periods], dtype=dtype)[month_of_row],
            "period_end": pd.DatetimeIndex([p.end for p in periods], dtype=dtype)[month_of_row],
            "total_wh": _add_up(energy_wh, row_of_reading, len(present)),
        }
    )
    if tariff.windows:
        labels = label_intervals(
            readings["start"], interval=lengths, tariff=tariff, cycle_day=cycle_day
        )
        width = len(tariff.tou_periods)
        cells = row_of_reading * width + labels.cat.codes.to_numpy(np.int64)
        registers = _add_up(energy_wh, cells, len(present) * width).reshape(len(present), width)
        for number, tou_period in enumerate(tariff.tou_periods):
            frame[register_column(tou_period)] = registers[:, number]
    placed = PlacedReadings(
        readings,
        lengths=lengths,
        row_of_reading=row_of_reading,
        periods=periods,
        month_of_row=month_of_row,
    )
    facts = default_contracts(list(meter_point_ids)) if contracts is None else contracts
    return _add_measures(frame, placed=placed, tariff=tariff, contracts=facts)


def _number_meter_points(
    ids: pd.Series[str],
) -> tuple[npt.NDArray[np.int64], pd.Index[str]]:
    """Number meter points in the order of their names, whether text or categorical."""
    codes, uniques = pd.factorize(ids)
    names = pd.Index(np.asarray(uniques), dtype=str)
    order = names.argsort()
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[codes], names.take(order)


def _add_up(
    energy_wh: npt.NDArray[np.int64], places: npt.NDArray[np.intp], size: int
) -> npt.NDArray[np.int64]:
    """Sum by place in int64; numpy's weighted bincount would go through floats."""
    sums = np.zeros(size, dtype=np.int64)
    np.add.at(sums, places, energy_wh)
    return sums


def _check_readings(
    readings: pd.DataFrame, *, meters: npt.NDArray[np.int64], energy_wh: npt.NDArray[np.int64]
) -> None:
    missing = ~readings["quality"].isin(BILLABLE_QUALITIES).to_numpy()
    if missing.any():
        raise _refusal_at(
            readings[missing],
            "missing and not estimated",
            code="missing-reading",
            remedy="Leave the line out, or send the reading.",
        )
    if bool((energy_wh < 0).any()):
        raise _refusal_at(
            readings[energy_wh < 0],
            "below zero",
            code="negative-energy",
            remedy="Correct the reading; energy fed in goes into the column export_kwh.",
        )
    if int(energy_wh.max(initial=0)) * len(energy_wh) > INT64_MAX:
        raise _refusal_at(
            readings[energy_wh == energy_wh.max()],
            "too large to add up exactly",
            code="too-large",
            remedy="Check the unit of the readings: kWh of one interval are wanted.",
        )
    starts, distinct = pd.factorize(pd.DatetimeIndex(readings["start"]))
    twice = pd.Index(meters * len(distinct) + starts).duplicated()
    if twice.any():
        raise _refusal_at(
            readings[twice],
            "given twice for one interval",
            code="duplicate-reading",
            remedy="Take one of the two out, or give the better one its quality.",
        )


def _refusal_at(
    readings: pd.DataFrame, what: str, *, code: str, remedy: str
) -> InvalidReadingsError:
    """Refuse readings by meter point and time; how much they are is not said."""
    first = readings.iloc[0]
    count = f"{len(readings)} readings are" if len(readings) > 1 else "1 reading is"
    return InvalidReadingsError(
        f"{count} {what}; the first is of meter point {str(first['meter_point_id'])!r},"
        f" {first['start']:%Y-%m-%d %H:%M}.",
        reason=f"settlement.{code}",
        remedy=remedy,
    )


def _checked_lengths(
    readings: pd.DataFrame, *, meters: npt.NDArray[np.int64], interval: pd.Timedelta
) -> Lengths:
    """The length of each interval; none reaches into the next one of its meter point."""
    if MINUTES_COLUMN not in readings:
        return interval
    minutes = readings[MINUTES_COLUMN].to_numpy(np.int64)
    unknown = np.flatnonzero(minutes == UNKNOWN_MINUTES)
    if len(unknown):
        row = readings.iloc[unknown[0]]
        raise InvalidReadingsError(
            f"The readings of meter point {row['meter_point_id']!r} from "
            f"{row['start']:%Y-%m-%d %H:%M} are not 5, 10, 15, 30 or 60 minutes apart.",
            reason="settlement.interval",
            remedy="Send its interval readings, or leave it out of the file.",
        )
    clashes = find_overlapping(meters, start_us(readings), minutes)
    if len(clashes):
        row = readings.iloc[clashes[0]]
        raise InvalidReadingsError(
            f"Meter point {row['meter_point_id']!r}: another reading begins within the "
            f"{row['minutes']}-minute interval from {row['start']:%Y-%m-%d %H:%M}.",
            reason="settlement.overlap",
            remedy="Correct the start of one of the two, or take one of them out.",
        )
    return minutes


def _refusal(why: str, code: str) -> InvalidReadingsError:
    return InvalidReadingsError(
        f"{why}.",
        reason=f"settlement.{code}",
        remedy="Settle the readings again, with the tariff that they are billed with.",
    )


def _add_measures(
    frame: pd.DataFrame, *, placed: PlacedReadings, tariff: Tariff, contracts: pd.DataFrame
) -> pd.DataFrame:
    """Add the columns that the tariff's lines need.

    Args:
        placed: The readings they come from.
        contracts: Contracts of at least the settled meter points.

    Raises:
        InvalidReadingsError: A register is missing (`settlement.reactive-missing`,
            `settlement.export-missing`), or as `derive_measures`.
        InputError: As `line_rules` and `align_contracts`.
    """
    added: dict[str, npt.NDArray[np.int64]] = {}
    if tariff.power_factor is not None:
        reactive = _register(placed, REACTIVE_COLUMN, rows=len(frame), what="reactive energy")
        total = frame[TOTAL_COLUMN].to_numpy(np.int64)
        added[REACTIVE_COLUMN] = reactive
        added[POWER_FACTOR_COLUMN] = power_factors(total, reactive)
    if any(rate.charge == FEED_IN_CHARGE for rate in tariff.rates):
        added[EXPORT_COLUMN] = _register(placed, EXPORT_COLUMN, rows=len(frame), what="export")
    if tariff.tier_reset == YEAR:
        added[YEAR_BEFORE_COLUMN] = _year_before(frame, contracts)
    frame = _joined(frame, added)
    frame = _joined(frame, _interval_measures(frame, placed, tariff, contracts))
    if tariff.ratchet is not None and DEMAND_COLUMN in frame:
        frame = _joined(frame, _ratchets(frame, tariff))
    return frame


def _joined(frame: pd.DataFrame, columns: dict[str, npt.NDArray[np.int64]]) -> pd.DataFrame:
    if not columns:
        return frame
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)


def _register(
    placed: PlacedReadings, column: str, *, rows: int, what: str
) -> npt.NDArray[np.int64]:
    if column not in placed.readings:
        raise _no_register(column, what)
    values = placed.add_up(column, rows=rows)
    if (values < 0).any():
        raise _no_register(column, what)
    return values


def _no_register(column: str, what: str) -> InvalidReadingsError:
    name = {REACTIVE_COLUMN: "reactive", EXPORT_COLUMN: "export"}[column]
    return InvalidReadingsError(
        f"The tariff bills {what}, and readings that it counts have none.",
        reason=f"settlement.{name}-missing",
        remedy="Add the column kvarh (reactive) or export_kwh (feed-in) to the readings.",
    )


def _year_before(frame: pd.DataFrame, contracts: pd.DataFrame) -> npt.NDArray[np.int64]:
    meters, names = pd.factorize(frame["meter_point_id"])
    facts = align_contracts(contracts, meter_point_ids=list(names))
    return carry_year(
        frame[TOTAL_COLUMN].to_numpy(np.int64),
        meters=meters.astype(np.int64),
        years=_last_days(frame).year.to_numpy(np.int64),
        opening_wh=facts["year_to_date_wh"].to_numpy(np.int64),
    )


def _last_days(frame: pd.DataFrame) -> pd.DatetimeIndex:
    """A moment of the last day of each row's period, whose month has its name."""
    return pd.DatetimeIndex(frame["period_end"]) - pd.Timedelta(1, unit="ns")


def _interval_measures(
    frame: pd.DataFrame, placed: PlacedReadings, tariff: Tariff, contracts: pd.DataFrame
) -> dict[str, npt.NDArray[np.int64]]:
    """Columns derived month by month; a column that another month lacks is zero there."""
    if not _may_need_intervals(tariff):
        return {}
    columns: dict[str, npt.NDArray[np.int64]] = {}
    for number, period in enumerate(placed.periods):
        rules = line_rules(tariff, period)
        if not needs_intervals(rules):
            continue
        rows, intervals = placed.month(number)
        settled = frame.iloc[rows].reset_index(drop=True)
        facts = align_contracts(contracts, meter_point_ids=settled["meter_point_id"].tolist())
        found = derive_measures(
            intervals, rules=rules, tariff=tariff, settled=settled, contracts=facts, period=period
        )
        for name, values in found.items():
            columns.setdefault(name, np.zeros(len(frame), dtype=np.int64))[rows] = values
    return columns


def _may_need_intervals(tariff: Tariff) -> bool:
    from_tiers = any(tier.unit in (KWH_PER_KW, KWH_PER_KW_DAY) for tier in tariff.tiers)
    demand = any(rate.per == PER_KW for rate in tariff.rates)
    split = tariff.tier_convention == CHRONOLOGICAL
    return from_tiers or demand or split or tariff.dynamic is not None


def _ratchets(frame: pd.DataFrame, tariff: Tariff) -> dict[str, npt.NDArray[np.int64]]:
    """Own and earlier demand as billed; only months in the frame are known as earlier ones."""
    ratchet = tariff.ratchet
    if ratchet is None:
        return {}
    demand = frame[DEMAND_COLUMN].to_numpy(np.int64)
    last = _last_days(frame)
    numbers, months = (last.year * 12 + last.month).to_numpy(), last.month.to_numpy()
    meters, _ = pd.factorize(frame["meter_point_id"])
    counted = np.isin(months, ratchet.months)
    earlier = np.zeros(len(frame), dtype=np.int64)
    for row in range(len(frame)):
        age = numbers[row] - numbers
        seen = counted & (meters == meters[row]) & (age > 0) & (age <= ratchet.range_months)
        earlier[row] = demand[seen].max(initial=0)
    own, former = apply_ratchet(
        demand,
        earlier,
        share_units=scale_decimal(ratchet.share, _SHARE_DECIMALS),
        scale=10**_SHARE_DECIMALS,
    )
    return {OWN_DEMAND_COLUMN: own, RATCHET_COLUMN: former}


def check_settlements(settlements: pd.DataFrame, *, tou_periods: tuple[str, ...]) -> None:
    """Refuse settlements that break the invariants, wherever they come from.

    Args:
        settlements: A settlement frame.
        tou_periods: The labels whose registers must add up to the total; empty without
            time-of-use.

    Raises:
        InputError: Repeated meter point, negative energy, a register missing, or registers that
            do not add up (`settlement.*`).
    """
    columns = [register_column(tou_period) for tou_period in tou_periods]
    wanted = ["meter_point_id", "period_start", "total_wh", *columns]
    absent = [column for column in wanted if column not in settlements]
    if absent:
        raise InputError(
            f"Settlements have no column {absent[0]!r}.",
            reason="settlement.missing-column",
            remedy="Settle the readings with the tariff they are billed with.",
        )
    if bool(settlements.duplicated(["meter_point_id", "period_start"]).any()):
        raise _refusal("A meter point has two settlements", "duplicate-settlement")
    energy = settlements[["total_wh", *columns]].to_numpy(np.int64)
    if bool((energy < 0).any()):
        raise _refusal("A settlement is below zero", "negative-energy")
    # Wrapping round could make wrong registers add up, so sums that could wrap are refused first.
    if int(energy.max(initial=0)) * max(len(columns), 1) > INT64_MAX:
        raise _refusal("Registers are too large to add up exactly", "too-large")
    if columns and bool((energy[:, 1:].sum(axis=1) != energy[:, 0]).any()):
        raise _refusal("Registers do not add up to their total", "register-sum")
