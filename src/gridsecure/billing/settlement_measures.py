"""Adding to a settlement frame what its tariff needs beside sums of energy.

For a tariff of energy, tiers of a month and standing charges that is nothing. The columns are named
in `settlement_columns`:

* `year_before_wh`, energy since 1 January before the month, under tiers of a year;
* `demand_w` and its kin, `split:…`, `interval:…`, which `measures` derives from the intervals;
* `reactive_varh` with `power_factor`, and `export_wh`, from registers of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridsecure.billing.charges import needs_intervals
from gridsecure.billing.contracts import align_contracts
from gridsecure.billing.measures import (
    MonthIntervals,
    apply_ratchet,
    carry_year,
    derive_measures,
    uniform_minutes,
)
from gridsecure.billing.rules import line_rules, scale_decimal
from gridsecure.billing.settlement_columns import (
    DEMAND_COLUMN,
    EXPORT_COLUMN,
    OWN_DEMAND_COLUMN,
    POWER_FACTOR_COLUMN,
    RATCHET_COLUMN,
    REACTIVE_COLUMN,
    TOTAL_COLUMN,
    YEAR_BEFORE_COLUMN,
)
from gridsecure.errors import InvalidReadingsError
from gridsecure.periods import BillingPeriod, Lengths
from gridsecure.tariffs.consistency import CHRONOLOGICAL, YEAR
from gridsecure.tariffs.power_factor import power_factors
from gridsecure.tariffs.pricing import FEED_IN_CHARGE
from gridsecure.tariffs.rows import KWH_PER_KW, KWH_PER_KW_DAY, PER_KW
from gridsecure.tariffs.tariff import Tariff

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


def add_measures(
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
        name = {REACTIVE_COLUMN: "reactive", EXPORT_COLUMN: "export"}[column]
        raise InvalidReadingsError(
            f"The tariff bills {what}, and the readings have none.",
            reason=f"settlement.{name}-missing",
            remedy="Add the column kvarh (reactive) or export_kwh (feed-in) to the readings.",
        )
    return placed.add_up(column, rows=rows)


def _year_before(frame: pd.DataFrame, contracts: pd.DataFrame) -> npt.NDArray[np.int64]:
    meters, names = pd.factorize(frame["meter_point_id"])
    facts = align_contracts(contracts, meter_point_ids=list(names))
    return carry_year(
        frame[TOTAL_COLUMN].to_numpy(np.int64),
        meters=meters.astype(np.int64),
        years=frame["period_start"].dt.year.to_numpy(np.int64),
        opening_wh=facts["year_to_date_wh"].to_numpy(np.int64),
    )


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
    numbers = (frame["period_start"].dt.year * 12 + frame["period_start"].dt.month).to_numpy()
    months = frame["period_start"].dt.month.to_numpy()
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
