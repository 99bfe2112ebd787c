"""How tiers in kWh are counted: in whole kWh, or in steps that all limits of the roster share.

Digits of whole kWh know nothing of the tariff, so every limit may change after encryption; they
take households (8,388 kWh a month) and limits of whole kWh up to 3,839. Where that does not do (a
large customer, a limit of 316.2 kWh, one of 20,000 kWh) the gateway encrypts digits of
floor(x / g) instead, g being the largest number of Wh that divides every limit of the roster. A
limit T is then a whole number of steps and [floor(x / g) >= T / g] = [x >= T] exactly, with energy
taken in limbs, of any size. The price is that limits can afterwards change only to multiples of g.

Platform, checker and gateway decide by the same public facts, with this one function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd
from typing import Final

import numpy as np

from gridsecure.billing.rules import LineRule
from gridsecure.billing.table_rows import TableRows
from gridsecure.errors import OutOfRangeError
from gridsecure.homomorphic.thresholds import MONTH_DIGITS, WH_PER_KWH, DigitSystem
from gridsecure.periods import BillingPeriod
from gridsecure.plans.lines.registry import kind_of

RADICES: Final = (16, 24, 64)
"""45, 69 or 189 digit columns."""

MOST_STEPS: Final = DigitSystem((RADICES[-1],) * 3).highest_threshold
"""258,047 steps: the highest limit a roster's limits may be, in steps that divide them all."""


def circuit_rules(
    rules: Sequence[LineRule], *, contracts: TableRows, period: BillingPeriod, large: bool
) -> tuple[LineRule, ...]:
    """Bill lines with the steps that their tiers are counted in.

    Args:
        contracts: Contract rows in slot order.
        large: Whether the roster is one of large customers.

    Returns:
        The same lines; `step_wh` is set where limits are counted in steps.

    Raises:
        OutOfRangeError: The limits share no step that digits can count (`plan.threshold`).
        InputError: As `tier_limits_wh`.
    """
    limits = {
        line: found
        for line, rule in enumerate(rules)
        if (found := kind_of(rule).limits_wh(rule, contracts, period)) is not None
    }
    every = np.unique(np.concatenate([*limits.values(), np.zeros(0, dtype=np.int64)]))
    highest = MONTH_DIGITS.highest_threshold * WH_PER_KWH
    plain = not large and not (every % WH_PER_KWH).any() and not (every > highest).any()
    if plain or not limits:
        return tuple(rules)
    step = gcd(*every.tolist()) or WH_PER_KWH  # limits that are all zero divide into any step
    return tuple(
        replace(rule, step_wh=step, step_radix=_radix(int(every.max()) // step))
        if line in limits
        else rule
        for line, rule in enumerate(rules)
    )


def _radix(steps: int) -> int:
    """The smallest digits that hold the highest limit; the largest hold 258,047 steps."""
    for radix in RADICES:
        if DigitSystem((radix, radix, radix)).highest_threshold >= steps:
            return radix
    raise OutOfRangeError(
        "The tier limits of a roster have no common step that is large enough to count in.",
        reason="plan.threshold",
        remedy="State limits and quotas in multiples of a larger amount, or bill these meter"
        " points in rosters by quota.",
    )
