"""Settling a month's intervals for packing: the settlement frame, from a table instead of a frame.

The same functions derive demand, use in the order of time and power factor as in `billing`; only
the sums are taken here, because the table has them cheaply.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.measures import MonthIntervals, derive_measures, needs_intervals
from gridsecure.billing.rules import EXPORT, POWER_FACTOR, line_rules
from gridsecure.billing.settlement_columns import (
    EXPORT_COLUMN,
    POWER_FACTOR_COLUMN,
    REACTIVE_COLUMN,
    TOTAL_COLUMN,
    YEAR_BEFORE_COLUMN,
    register_column,
)
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.power_factor import power_factors
from gridsecure.tariffs.tariff import Tariff


def settle_energies(
    energies: IntervalEnergies,
    *,
    tariff: Tariff,
    period: BillingPeriod,
    contracts: pd.DataFrame,
) -> pd.DataFrame:
    """Settle the intervals of some meter points.

    Args:
        energies: Their intervals over the period.
        tariff: The tariff.
        period: The month.
        contracts: Public facts in the same order.

    Raises:
        InvalidReadingsError: A register or the energy since 1 January is missing
            (`settlement.…-missing`), or as `derive_measures`.
    """
    rules = line_rules(tariff, period)
    total = energies.totals_wh
    columns: dict[str, NDArray[np.int64]] = {TOTAL_COLUMN: total}
    for tou_period, energy_wh in energies.registers_wh(tariff).items():
        columns[register_column(tou_period)] = energy_wh
    if tariff.tier_reset == YEAR:
        columns[YEAR_BEFORE_COLUMN] = _given(energies.year_before_wh, "year")
    if any(rule.basis == POWER_FACTOR for rule in rules):
        reactive = _given(energies.reactive_varh, "reactive")
        columns[REACTIVE_COLUMN] = reactive
        columns[POWER_FACTOR_COLUMN] = power_factors(total, reactive)
    if any(rule.basis == EXPORT for rule in rules):
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
