"""Random meter points for a tariff, with every edge value among them.

Edges: zero, one Wh, the largest energy a column takes, and one Wh below, at and above each tier
limit, with and without a household quota. Every other meter point has random energy: half of those
a household's or shop's, half anything up to the largest. Seeded, so that a failure repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import SHARE, TIER_PART, TOTAL, line_rules
from gridsecure.billing.settlement_columns import (
    POWER_FACTOR_COLUMN,
    YEAR_BEFORE_COLUMN,
    demand_column,
    register_column,
)
from gridsecure.homomorphic.thresholds import WH_PER_KWH
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.plans.quantities import MAX_REGISTER_WH, MAX_TIER_WH, MAX_YEAR_WH
from gridsecure.plans.settlement_values import settlement_values
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.power_factor import HIGHEST_FACTOR
from gridsecure.tariffs.rows import PER_KW
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, load_tariff

TIERS: Final = "shenzhen-residential-tiers"
PEAK_VALLEY: Final = "shenzhen-residential-peak-valley"
FOUR_PERIOD: Final = "shenzhen-commercial-four-period"

QUOTA_WH: Final = 100_000
"""Guangdong's quota for a household of many persons (粤发改价格函〔2021〕826): 100 kWh a month."""

_ORDINARY_WH: Final = 1_500_000


@dataclass(frozen=True, slots=True, eq=False)
class RandomMeters:
    """Meter points of one tariff and month, as the plaintext oracle and as a plan want them.

    Args:
        contracts: One row a meter point.
        settlements: A settlement frame, in the same order.
        values: Every settlement quantity the gateway would encrypt -> energy or digit [slots].
    """

    tariff: Tariff
    period: BillingPeriod
    contracts: pd.DataFrame
    settlements: pd.DataFrame
    values: dict[str, NDArray[np.int64]]


def random_meters(tariff_id: str, *, count: int, seed: int, quotas: bool) -> RandomMeters:
    """Random meter points of a catalogue tariff in July 2026, a month of summer limits.

    Args:
        tariff_id: Name in the catalogue.
        seed: Any integer; the same one gives the same meter points.
        quotas: Every fourth household, at random, has the quota.
    """
    tariff = load_tariff(catalogue_tariffs()[tariff_id])
    return random_meters_of(tariff, count=count, seed=seed, quotas=quotas)


def random_meters_of(tariff: Tariff, *, count: int, seed: int, quotas: bool) -> RandomMeters:
    """Random meter points of any tariff of energy, tiers, capacity, demand and power factor.

    Args:
        seed: Any integer; the same one gives the same meter points.
        quotas: Every fourth household, at random, has the quota.
    """
    period = billing_month(2026, 7, timezone=tariff.timezone)
    source = np.random.default_rng(seed)
    ids = [f"meter-{number:05d}" for number in range(count)]
    contracts = default_contracts(ids, tariff_id=tariff.tariff_id)
    if quotas and tariff.tiers:
        contracts["household_quota_wh"] = source.choice([0, 0, 0, QUOTA_WH], count)
    contracts["contracted_va"] = source.integers(101_000, 3_000_000, count)
    if tariff.tiers:
        total = _totals(tariff, period, contracts, source)
        registers = _shares(total, len(tariff.tou_periods), source)
    else:
        # Where the total is billed too, it must fit one register itself.
        billed = any(rule.basis == TOTAL for rule in line_rules(tariff, period))
        most = MAX_REGISTER_WH // (len(tariff.tou_periods) if billed else 1)
        registers = [_mixture(count, most, source) for _ in tariff.tou_periods]
        total = np.sum(registers, axis=0)
    settlements = _settlements(tariff, period, contracts, total=total, registers=registers)
    settlements = settlements.assign(**_measures(tariff, count, source))
    values = settlement_values(
        settlements,
        rules=line_rules(tariff, period),
        tou_periods=tariff.tou_periods,
        contracted_va=contracts["contracted_va"].to_numpy(np.int64),
    )
    return RandomMeters(tariff, period, contracts, settlements, values)


def _measures(tariff: Tariff, count: int, source: np.random.Generator) -> dict[str, Any]:
    """Energy since 1 January, power factor and demand, where the tariff has a use for them."""
    columns: dict[str, Any] = {}
    if tariff.tier_reset == YEAR:
        columns[YEAR_BEFORE_COLUMN] = _mixture(count, MAX_YEAR_WH - MAX_TIER_WH, source)
    if tariff.power_factor is not None:
        columns[POWER_FACTOR_COLUMN] = source.integers(0, HIGHEST_FACTOR, count, endpoint=True)
    if any(rate.per == PER_KW for rate in tariff.rates):
        columns[demand_column(None)] = _mixture(count, MAX_REGISTER_WH, source)
    return columns


def _totals(
    tariff: Tariff, period: BillingPeriod, contracts: pd.DataFrame, source: np.random.Generator
) -> NDArray[np.int64]:
    total = _mixture(len(contracts), MAX_TIER_WH, source)
    quota = contracts["household_quota_wh"].to_numpy(np.int64)
    limits = {
        int(rule.lower * WH_PER_KWH)
        for rule in line_rules(tariff, period)
        if rule.basis in (TIER_PART, SHARE) and rule.lower and rule.reset != YEAR
    }
    # Own limits: an edge moves with the quota of the household it falls on.
    edges = [quota + limit + step for limit in sorted(limits) for step in (-1, 0, 1)]
    # And the plain limits, which for a household with a quota must not matter.
    edges += [np.full_like(quota, limit + step) for limit in sorted(limits) for step in (-1, 0, 1)]
    slots = np.arange(len(total))
    for number, edge in enumerate(edges):
        chosen = slots % (4 * len(edges)) == 4 * number + 1
        total[chosen] = edge[chosen]
    return total


def _mixture(count: int, highest: int, source: np.random.Generator) -> NDArray[np.int64]:
    """Ordinary and any energy in turn, with zero, 1, 999, 1000 and the largest every 16 slots."""
    values = np.where(
        source.integers(0, 2, count) == 0,
        source.integers(0, _ORDINARY_WH, count),
        source.integers(0, highest, count, endpoint=True),
    ).astype(np.int64)
    extremes = np.array([0, 1, WH_PER_KWH - 1, WH_PER_KWH, highest - 1, highest])
    places = np.arange(0, count, 16)
    values[places] = source.choice(extremes, len(places))
    return values


def _shares(
    total: NDArray[np.int64], parts: int, source: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Split every total into registers at random, so that they add up to it."""
    if parts == 0:
        return []
    cuts = source.integers(0, total[:, None], (len(total), parts - 1), endpoint=True)
    bounds = np.column_stack([np.zeros_like(total), np.sort(cuts, axis=1), total])
    return list(np.diff(bounds, axis=1).T.copy())


def _settlements(
    tariff: Tariff,
    period: BillingPeriod,
    contracts: pd.DataFrame,
    *,
    total: NDArray[np.int64],
    registers: list[NDArray[np.int64]],
) -> pd.DataFrame:
    columns: dict[str, Any] = {"meter_point_id": contracts["meter_point_id"], "total_wh": total}
    for tou_period, register in zip(tariff.tou_periods, registers, strict=True):
        columns[register_column(tou_period)] = register
    return pd.DataFrame(columns).assign(
        period_start=pd.Timestamp(period.start), period_end=pd.Timestamp(period.end)
    )
