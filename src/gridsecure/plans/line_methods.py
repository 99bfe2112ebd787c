"""How every kind of bill line is computed, in words: what `plan explain` and the docs say.

The formulas are those of `circuit`, `parts` and `power_factors`; x is the energy, w the whole
number that thresholds compare, T a public threshold, P a capacity or demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gridsecure.billing.rules import (
    CONTRACT,
    DEMAND,
    DISCOUNT,
    DYNAMIC,
    EXPORT,
    MINIMUM,
    OWN_DEMAND,
    POWER_FACTOR,
    QUOTA,
    RATCHET,
    REGISTER,
    SHARE,
    SPLIT,
    TIER_PART,
    TOTAL,
    LineRule,
)
from gridsecure.plans.quantities import counts_hours
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.rows import KWH_PER_KVA

LINEAR: Final = "linear"
THRESHOLD: Final = "threshold on digits"
GATED_LIMBS: Final = "threshold on digits, in limbs"
PRODUCT_LIMBS: Final = "product of columns, in limbs"
PUBLIC: Final = "public quantity"
DECRYPTED: Final = "from decrypted lines"


@dataclass(frozen=True, slots=True)
class Method:
    """How a line is computed.

    Args:
        operation: The class of operation, one of the names above.
        how: In a sentence.
        depth: Ciphertext products in a row.
    """

    operation: str
    how: str
    depth: int = 0


_FIXED: Final = {
    TOTAL: Method(LINEAR, "energy of the month × rate"),
    REGISTER: Method(LINEAR, "energy of the register × rate"),
    EXPORT: Method(LINEAR, "energy of the export register × rate"),
    DEMAND: Method(LINEAR, "maximum demand, which the gateway takes over the intervals, × rate"),
    OWN_DEMAND: Method(
        LINEAR,
        "the month's demand, or zero where the gateway found a share of an earlier one"
        " higher, × rate",
    ),
    RATCHET: Method(
        LINEAR, "the earlier demand where the gateway found its share higher, × share × rate"
    ),
    SPLIT: Method(
        LINEAR, "energy that the gateway placed into the tier interval by interval, × rate"
    ),
    DYNAMIC: Method(
        LINEAR,
        "Σ price × energy over the intervals, prices split into limbs before the sum",
    ),
    DISCOUNT: Method(
        GATED_LIMBS,
        "demand·[w >= T], w = kWh per contracted kVA, four limbs of eight bits",
        depth=2,
    ),
    QUOTA: Method(
        THRESHOLD, "x - (x - T)·[w >= T], w = whole kWh, T the slot's free quota", depth=2
    ),
    POWER_FACTOR: Method(
        PRODUCT_LIMBS,
        "percentage × Σ rate × quantity: the percentage is looked up by the thermometer that the"
        " gateway encrypts; limb of rate by limb of quantity; divided by 10,000 after decryption",
        depth=1,
    ),
    CONTRACT: Method(PUBLIC, "contracted kVA, months or days × rate; nothing is encrypted"),
    MINIMUM: Method(DECRYPTED, "what the other lines lack to the amount, from decrypted lines"),
}
_MONTH_TIER: Final = "(x - T)·[w >= T], lower limit minus upper, w = whole kWh"


def method_of(line: int, rules: Sequence[LineRule]) -> Method:
    """How a line is computed."""
    rule = rules[line]
    if rule.basis == POWER_FACTOR:
        deepest = max((method_of(part, rules).depth for part in rule.base), default=0)
        return replace(_FIXED[POWER_FACTOR], depth=deepest + 1)
    if rule.basis == TIER_PART:
        return _tier_part(rule)
    if rule.basis == QUOTA and rule.step_wh:
        return Method(GATED_LIMBS, f"x - (x - T)·[w >= T] in limbs, {_steps(rule)}", depth=2)
    if rule.basis == SHARE:
        part = _tier_part(rule)
        how = "tier part × limbs of the register, divided by the total after decryption; the part: "
        return Method(PRODUCT_LIMBS, how + part.how, depth=part.depth + 1)
    return _FIXED[rule.basis]


def _tier_part(rule: LineRule) -> Method:
    if counts_hours(rule):
        size = "contracted kVA, public" if rule.limit_unit == KWH_PER_KVA else "maximum demand"
        how = f"(x - T·P)·[w >= T] in limbs, lower limit minus upper, w = floor(x / P), P = {size}"
        return Method(GATED_LIMBS, how, depth=2)
    if rule.step_wh:
        how = f"(x - T)·[w >= T] in limbs, lower limit minus upper, {_steps(rule)}"
        return Method(GATED_LIMBS, how, depth=2)
    if rule.reset == YEAR:
        how = f"{_MONTH_TIER}; of the year with the month less that of the year without it"
        return Method(THRESHOLD, how, depth=2)
    own = " of the register alone" if rule.basis == TIER_PART and rule.tou_period else ""
    return Method(THRESHOLD, _MONTH_TIER + own, depth=2)


def _steps(rule: LineRule) -> str:
    return f"w = floor(x / {rule.step_wh:,} Wh), a step that divides every limit of the roster"
