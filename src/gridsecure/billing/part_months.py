"""Parts of a month: what a line is for who holds a meter point for some days of a period only.

Energy is what was used on the own days, whatever a line multiplies it by. What a tariff states for
a month it says itself how to divide (`[part_month]`), and a charge or limit per day counts the days
held. A line without a rule is billed for a whole period only: `is_divisible`.

    amount = amount of the month x days / 30                          (thirtieths)
    amount = amount of the month x days / days of the period          (days)
    limit  = limit of the month x days / days of the period, half-up to the whole kWh

Thirtieths are how Chinese capacity and demand charges (基本电费) count the days of a supply that
begins or ends within a month; thirty days of thirty-one are then a month. Amounts are cut toward
zero at 1e-11 yuan, like all fractions (`charges`). The encrypted side divides after decryption, by
days that are public, so columns and plans are those of a whole month; limits are public, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from gridsecure.billing.rules import (
    CONTRACT,
    DEMAND,
    EXPORT,
    MINIMUM,
    OWN_DEMAND,
    POWER_FACTOR,
    RATCHET,
    REGISTER,
    SHARE,
    TIER_PART,
    TOTAL,
    LineRule,
)
from gridsecure.billing.table_rows import TableRows, numbers_of
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.elements import BY_DAYS, THIRTIETHS, WHOLE
from gridsecure.tariffs.rows import KWH, KWH_PER_DAY, PER_DAY

UNHELD_COLUMN: Final = "unheld_days"
"""Column of contracts: days of the period that a holder does not hold its meter point."""

_BY_ENERGY: Final = (TOTAL, REGISTER, EXPORT)
_BY_MONTH: Final = (CONTRACT, DEMAND, OWN_DEMAND, RATCHET)
_TIERS: Final = (TIER_PART, SHARE)
_THIRTY: Final = 30
_WH_PER_KWH: Final = 1000

Numbers = npt.NDArray[np.int64]


def days_held(contracts: TableRows, period: BillingPeriod) -> Numbers:
    """Days of the period that each holder holds its meter point."""
    if UNHELD_COLUMN not in contracts:
        return np.full(len(contracts), period.days, dtype=np.int64)
    return np.maximum(period.days - numbers_of(contracts, UNHELD_COLUMN), 0)


def is_per_day(rule: LineRule) -> bool:
    """Whether a line is a public charge per day."""
    return rule.unit.partition("/")[2] == PER_DAY


def is_divided(rule: LineRule) -> bool:
    """Whether a part of a month has a part of a line's amount."""
    return rule.basis in _BY_MONTH and not is_per_day(rule) and rule.part in (THIRTIETHS, BY_DAYS)


def is_divisible(rule: LineRule, rules: Sequence[LineRule]) -> bool:
    """Whether it is published, or follows from the unit, what a line is for a part of a month.

    A power factor is computed on ciphertext, so nothing that it applies to may be divided later.
    """
    if rule.basis == POWER_FACTOR:
        return not any(is_divided(rules[line]) for line in rule.base)
    if rule.basis in _TIERS:
        if rule.reset == YEAR:
            return rule.part == WHOLE
        return rule.limit_unit == KWH_PER_DAY or (rule.limit_unit == KWH and rule.part != "")
    if rule.basis in (CONTRACT, MINIMUM) and is_per_day(rule):
        return True
    return rule.basis in _BY_ENERGY or is_divided(rule)


def counts_days(rules: Sequence[LineRule]) -> bool:
    """Whether a bill depends on the days besides the energy used on them."""
    return any(is_divided(rule) or is_per_day(rule) or _moves_limits(rule) for rule in rules)


def weighs_days(rules: Sequence[LineRule]) -> bool:
    """Whether days decide what a bill tells of what was used, and not a public amount alone."""
    used = (rule for rule in rules if rule.basis != CONTRACT)
    return any(is_divided(rule) or _moves_limits(rule) or rule.basis == MINIMUM for rule in used)


def _moves_limits(rule: LineRule) -> bool:
    return rule.basis in _TIERS and (rule.limit_unit == KWH_PER_DAY or divides_limits(rule))


def divides_limits(rule: LineRule) -> bool:
    """Whether a part of a month has a part of a tier's limits."""
    return rule.basis in _TIERS and rule.part == BY_DAYS and rule.reset != YEAR


def divide_limit(limit_wh: Numbers, contracts: TableRows, *, period: BillingPeriod) -> Numbers:
    """Limits of a month by the days held [Wh], to the whole kWh; of a whole month as they are."""
    held, unit = days_held(contracts, period), period.days * _WH_PER_KWH
    by_days = (2 * limit_wh * held + unit) // (2 * unit) * _WH_PER_KWH
    return np.where(held == period.days, limit_wh, by_days)


def month_share(
    rule: LineRule, contracts: TableRows, period: BillingPeriod
) -> tuple[Numbers, int] | None:
    """The share of a month that a line's amount is for, as a fraction; None for all of it."""
    held = days_held(contracts, period)
    if not is_divided(rule) or (held == period.days).all():
        return None
    whole = _THIRTY if rule.part == THIRTIETHS else period.days
    return np.where(held == period.days, whole, np.minimum(held, whole)), whole
