"""Tier limits of each meter point, in Wh, from the limits a tariff states in its own unit.

Energy `e` has `min(e, upper) - min(e, lower)` in a tier: at exactly the upper limit all of it is
still inside, and the next Wh is the first of the next tier.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import numpy.typing as npt

from gridsecure.billing.part_months import days_held, divide_limit, divides_limits
from gridsecure.billing.rules import LineRule, scale_decimal
from gridsecure.billing.settlement_columns import DEMAND_COLUMN, INT64_MAX
from gridsecure.billing.table_rows import TableRows, numbers_of
from gridsecure.errors import InputError
from gridsecure.month_texts import read_month
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.rows import (
    KWH,
    KWH_PER_DAY,
    KWH_PER_KVA,
    KWH_PER_KW,
    KWH_PER_KW_DAY,
)

# Upper limit of an open tier: no energy in int64 lies above it.
OPEN_LIMIT_WH = INT64_MAX
MONTHS_PER_YEAR = 12
_WH_DECIMALS = 3

Limits = npt.NDArray[np.int64]


def tier_limits_wh(
    rule: LineRule,
    contracts: TableRows,
    *,
    period: BillingPeriod,
    settlements: TableRows | None = None,
) -> tuple[Limits, Limits]:
    """Return each meter point's own limits of a rule's tier [Wh].

    A household quota moves both limits of a tier (Guangdong, 粤发改价格函〔2021〕826: 260/600 kWh
    become 360/700), so the first tier grows and the others keep their width. Limits of a year are
    prorated by the months of service in it, as Shanghai did when it began in July 2012 (1,560 of
    3,120 kWh), and the monthly quota counts once for each of those months.

    Args:
        rule: A rule with limits; any other rule spans all energy.
        contracts: Contract rows in the order wanted.
        settlements: Settlements in the same order; needed where limits count demand.

    Returns:
        Lower and upper limits, int64; an open tier ends at `OPEN_LIMIT_WH`.

    Raises:
        InputError: A limit per kVA and a meter point without capacity (`contract.no-capacity`), a
            prorated limit that is not whole Wh (`tariff.proration`), or one beyond 63 bits.
    """
    size = len(contracts)
    lower = np.zeros(size, dtype=np.int64)
    upper = np.full(size, OPEN_LIMIT_WH, dtype=np.int64)
    if rule.lower:
        lower = _own(rule.lower, rule, contracts, period, settlements)
    if rule.upper is not None:
        upper = _own(rule.upper, rule, contracts, period, settlements)
    return lower, upper


def counts_hours(rule: LineRule) -> bool:
    """Whether a rule's limits count kWh per kVA or kW."""
    return rule.limit_unit in (KWH_PER_KVA, KWH_PER_KW, KWH_PER_KW_DAY)


def use_hours(limit: Decimal, unit: str, *, period: BillingPeriod) -> int:
    """A limit per kVA or kW as whole kWh per kVA or kW of the period."""
    return int(limit) * (period.days if unit == KWH_PER_KW_DAY else 1)


def capacities_va(contracts: TableRows) -> Limits:
    """Contracted capacity of each meter point [VA], where kWh are counted per kVA.

    Raises:
        InputError: A meter point without capacity (`contract.no-capacity`): nothing can be counted
            per kVA of it.
    """
    size = numbers_of(contracts, "contracted_va")
    if (size <= 0).any():
        raise InputError(
            "The tariff counts kWh per kVA, and a meter point's contract states no capacity.",
            reason="contract.no-capacity",
            remedy="State contracted_kva for every meter point of this tariff.",
        )
    return size


def service_months(contracts: TableRows, *, year: int) -> npt.NDArray[np.int64]:
    """Months of service of each meter point in a year, its first month included.

    >>> from gridsecure.billing.table_rows import Columns
    >>> rows = Columns({"service_from": ["", "2012-07", "2011-03", "2013-01"]})
    >>> service_months(rows, year=2012).tolist()
    [12, 6, 12, 0]
    """
    # A roster has few first months, and this is asked for every limit.
    months: dict[str, int] = {}
    for first in set(contracts["service_from"]):
        first_year, first_month = read_month(first) if first else (0, 1)
        before = (first_year - year) * MONTHS_PER_YEAR + first_month - 1
        months[first] = MONTHS_PER_YEAR - min(max(before, 0), MONTHS_PER_YEAR)
    return np.array([months[first] for first in contracts["service_from"]], dtype=np.int64)


def _own(
    limit: Decimal,
    rule: LineRule,
    contracts: TableRows,
    period: BillingPeriod,
    settlements: TableRows | None,
) -> Limits:
    quota = numbers_of(contracts, "household_quota_wh")
    if rule.limit_unit in (KWH, KWH_PER_DAY):
        wh = scale_decimal(limit, _WH_DECIMALS)
        if rule.reset == YEAR:
            months = service_months(contracts, year=period.month[0])
            if (wh * months % MONTHS_PER_YEAR).any():
                raise InputError(
                    "The tier limit for part of a year is not a whole number of Wh.",
                    reason="tariff.proration",
                    remedy="State a yearly limit of which one twelfth is a whole number of Wh.",
                )
            prorated: Limits = np.floor_divide(wh * months, MONTHS_PER_YEAR) + quota * months
            return prorated
        by_day = wh * days_held(contracts, period) if rule.limit_unit == KWH_PER_DAY else 0
        month = quota + (0 if rule.limit_unit == KWH_PER_DAY else wh)
        if divides_limits(rule):
            month = divide_limit(month, contracts, period=period)
        return month + by_day
    hours = use_hours(limit, rule.limit_unit, period=period)
    if rule.limit_unit == KWH_PER_KVA:
        size = capacities_va(contracts)
    elif rule.limit_unit in (KWH_PER_KW, KWH_PER_KW_DAY) and settlements is not None:
        size = numbers_of(settlements, DEMAND_COLUMN)
    else:
        raise ValueError("limits per kW need the settled demand")
    if len(size) and int(size.max()) * hours > OPEN_LIMIT_WH:
        raise InputError(
            "A tier limit is larger than any energy that can be billed.",
            reason="tariff.tier-limit",
            remedy="Correct the tier's limit, in kWh.",
        )
    return size * hours
