"""Packing: validated readings of a roster and month become encrypted columns and a manifest.

1. add the intervals up to registers, exactly [Wh];
2. lay every quantity out by slot;
3. encrypt each column under the public key of its parameter set, after a range check;
4. name each file by SM3 and list it; the caller signs the list.

Two kinds of column leave: one a local day with all its intervals (load curves), and settlement
columns (bills), the latter with base-16 thermometer digits where the tariff has tiers. Only the
public key is here.

Demand, use in the order of time and power factor are derived by the functions of `billing`; only
the sums are taken here, because the table of energies has them cheaply.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.charges import Need, list_needs, needs_intervals
from gridsecure.billing.measures import MonthIntervals, derive_measures
from gridsecure.billing.rules import line_rules
from gridsecure.billing.settlement_columns import (
    EXPORT_COLUMN,
    POWER_FACTOR_COLUMN,
    REACTIVE_COLUMN,
    TOTAL_COLUMN,
    YEAR_BEFORE_COLUMN,
    register_column,
)
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InvalidReadingsError, NotFoundError
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.rosters import Roster, contract_frame
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import INTERVAL, Parameters
from gridsecure.messages import ColumnEntry
from gridsecure.month_texts import day_text
from gridsecure.periods import BillingPeriod
from gridsecure.plans.execution import roster_rules
from gridsecure.plans.load_curve import day_quantity
from gridsecure.plans.needs import published_needs
from gridsecure.plans.quantities import interval_bound_wh
from gridsecure.plans.settlement_values import settlement_values
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.power_factor import power_factors
from gridsecure.tariffs.tariff import Tariff


@dataclass(frozen=True, slots=True)
class PackedColumn:
    """One column file and its manifest entry."""

    data: bytes
    entry: ColumnEntry


@dataclass(frozen=True, slots=True)
class _Quantity:
    name: str
    parameters: Parameters
    high: int
    start: str
    end: str
    values: NDArray[Any]
    intervals: int = 1


def pack_energies(
    energies: IntervalEnergies,
    *,
    roster: Roster,
    tariff: Tariff,
    period: BillingPeriod,
    keys: Mapping[str, PublicKeySet],
    without: Collection[str] | None = (),
) -> Iterator[PackedColumn]:
    """Encrypt a roster's month, column by column (so that memory stays small).

    Args:
        energies: Energies of at least the roster's meter points over the period.
        keys: Public key sets by parameter set name.
        without: Days that have no column of intervals, which load curves are summed from, beside
            those that bills are computed from: they were sealed before [YYYY-MM-DD]. None: no day
            has.

    Raises:
        InvalidReadingsError: A slot has no energies (`readings.incomplete`), or as
            `settle_energies`.
        OutOfRangeError: A value exceeds its column's bound.
        NotFoundError: A key set is missing (`keys.missing`).
    """
    own = energies.of(roster.meter_point_ids)
    facts = contract_frame(roster.manifest)
    settled = settle_energies(own, tariff=tariff, period=period, contracts=facts)
    for quantity in _settlement_quantities(settled, roster=roster, tariff=tariff, period=period):
        yield _encrypted(quantity, roster=roster, keys=keys)
    if without is not None:
        # The load curve has one grid for all rosters of a month; bills keep the meters' own.
        for quantity in _interval_quantities(own.on_grid(energies.grid), roster=roster):
            if day_text(quantity.start) not in without:
                yield _encrypted(quantity, roster=roster, keys=keys)


def pack_day(
    energy_wh: NDArray[np.int64],
    *,
    roster: Roster,
    period: BillingPeriod,
    keys: Mapping[str, PublicKeySet],
) -> PackedColumn:
    """Encrypt the intervals of a roster's local day.

    Args:
        energy_wh: Energies [slots, intervals] in Wh, of intervals that divide the day.
        period: The day.
        keys: Public key sets by parameter set name.

    Raises:
        OutOfRangeError, NotFoundError: As `pack_energies`.
    """
    start, end = period.start.isoformat(), period.end.isoformat()
    quantity = _Quantity(
        day_quantity(day_text(start)),
        INTERVAL,
        _interval_high(roster),
        start,
        end,
        energy_wh.T.ravel(),
        energy_wh.shape[1],
    )
    return _encrypted(quantity, roster=roster, keys=keys)


def pack_settlements(
    settlements: pd.DataFrame,
    *,
    roster: Roster,
    tariff: Tariff,
    period: BillingPeriod,
    keys: Mapping[str, PublicKeySet],
) -> Iterator[PackedColumn]:
    """Encrypt what a roster's bills need, without interval columns.

    Args:
        settlements: A settlement frame with one row in the period for every slot.
        keys: Public key sets by parameter set name.

    Raises:
        InvalidReadingsError: A slot was not settled in the period (`readings.incomplete`).
        OutOfRangeError, NotFoundError: As `pack_energies`.
    """
    settled = settlements[settlements["period_start"] == period.start]
    places = pd.Index(settled["meter_point_id"]).get_indexer(pd.Index(roster.meter_point_ids))
    if (places < 0).any():
        raise InvalidReadingsError(
            "A meter point of the roster was not settled in the billing period.",
            reason="readings.incomplete",
            remedy="Leave meter points without readings out of the roster.",
        )
    ordered = settled.iloc[places]
    for quantity in _settlement_quantities(ordered, roster=roster, tariff=tariff, period=period):
        yield _encrypted(quantity, roster=roster, keys=keys)


def packed_columns(roster: Roster, *, tariff: Tariff, period: BillingPeriod, days: int) -> int:
    """How many columns a roster has in a period, with the intervals of so many days."""
    rules = roster_rules(roster.manifest, tariff=tariff, period=period)
    needs = published_needs(rules, tou_periods=tariff.tou_periods)
    return len(needs) + days


def _settlement_quantities(
    settled: pd.DataFrame, *, roster: Roster, tariff: Tariff, period: BillingPeriod
) -> Iterator[_Quantity]:
    rules = roster_rules(roster.manifest, tariff=tariff, period=period)
    values = settlement_values(
        settled,
        rules=rules,
        tou_periods=tariff.tou_periods,
        contracted_va=np.array(roster.manifest.contracted_va, dtype=np.int64),
    )
    start, end = period.start.isoformat(), period.end.isoformat()
    for need in published_needs(rules, tou_periods=tariff.tou_periods):
        yield _Quantity(
            need.quantity, need.parameters, need.high, start, end, values[need.quantity]
        )


def _interval_quantities(energies: IntervalEnergies, *, roster: Roster) -> Iterator[_Quantity]:
    high = _interval_high(roster)
    days = energies.starts.normalize()
    for day in days.unique():
        own = np.flatnonzero(days == day)
        first, last = energies.starts[own[0]], energies.starts[own[-1]]
        yield _Quantity(
            day_quantity(day.strftime("%Y-%m-%d")),
            INTERVAL,
            high,
            first.isoformat(),
            (last + energies.step).isoformat(),
            energies.energy_wh[:, own[0] : own[-1] + 1].T.ravel(),
            len(own),
        )


def _interval_high(roster: Roster) -> int:
    return max(interval_bound_wh(name) for name in set(roster.manifest.customer_classes))


def _encrypted(
    quantity: _Quantity, *, roster: Roster, keys: Mapping[str, PublicKeySet]
) -> PackedColumn:
    key_set = keys.get(quantity.parameters.name)
    if key_set is None:
        raise NotFoundError(
            f"No key set for {quantity.parameters.name} is in force.",
            reason="keys.missing",
            remedy="Fetch the key sets from the key authority.",
        )
    column = key_set.encrypt(quantity.values, high=quantity.high)
    label = ColumnLabel(
        quantity=quantity.name,
        unit="Wh",
        roster_id=roster.manifest.roster_id,
        start=quantity.start,
        end=quantity.end,
        slots=column.slots,
        high=quantity.high,
    )
    data = column_bytes(column, label=label)
    entry = ColumnEntry(
        quantity=quantity.name,
        parameters=quantity.parameters.name,
        key_id=key_set.key_id,
        unit="Wh",
        start=quantity.start,
        end=quantity.end,
        high=quantity.high,
        digest=sm3_hex(data),
        size=len(data),
        intervals=quantity.intervals,
    )
    return PackedColumn(data, entry)


def settle_energies(
    energies: IntervalEnergies,
    *,
    tariff: Tariff,
    period: BillingPeriod,
    contracts: pd.DataFrame,
) -> pd.DataFrame:
    """Settle the intervals of some meter points.

    Args:
        contracts: Public facts in the same order.

    Raises:
        InvalidReadingsError: A register or the energy since 1 January is missing
            (`settlement.…-missing`), or as `derive_measures`.
    """
    rules = line_rules(tariff, period)
    registers = energies.registers_wh(tariff, cycle_day=period.start.day)
    total = energies.totals_wh
    columns: dict[str, NDArray[np.int64]] = {TOTAL_COLUMN: total}
    for tou_period, energy_wh in registers.items():
        columns[register_column(tou_period)] = energy_wh
    if tariff.tier_reset == YEAR:
        columns[YEAR_BEFORE_COLUMN] = _given(energies.year_before_wh, "year")
    needs = list_needs(rules)
    if Need.REACTIVE in needs:
        reactive = _given(energies.reactive_varh, "reactive")
        columns[REACTIVE_COLUMN] = reactive
        columns[POWER_FACTOR_COLUMN] = power_factors(total, reactive)
    if Need.EXPORT in needs:
        columns[EXPORT_COLUMN] = _given(energies.export_wh, "export")
    settled = pd.DataFrame({"meter_point_id": energies.meter_point_ids, **columns})
    if not needs_intervals(rules):
        return settled
    found = derive_measures(
        MonthIntervals(energies.starts, energies.lengths, energies.energy_wh),
        rules=rules,
        tariff=tariff,
        settled=settled,
        contracts=contracts,
        period=period,
    )
    return pd.concat([settled, pd.DataFrame(found)], axis=1)


def _given(values: NDArray[np.int64] | None, name: str) -> NDArray[np.int64]:
    if values is None:
        raise InvalidReadingsError(
            f"The tariff needs a quantity that this month's data does not have ({name}).",
            reason=f"settlement.{name}-missing",
            remedy="Add the register to the readings, or bill under another tariff.",
        )
    return values
