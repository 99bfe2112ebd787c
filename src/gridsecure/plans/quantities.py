"""The settlement columns a gateway encrypts: their names, their bounds, and their values.

| quantity                | what a slot holds                                   | set          |
|-------------------------|-----------------------------------------------------|--------------|
| `total`, `register:…`   | energy of the month, of a time-of-use register      | REGISTER     |
| `demand…`, `export`     | maximum demand, energy fed in                       | REGISTER     |
| `split:P:K`             | a period's energy that fell into a tier by time     | REGISTER     |
| `priced:I`              | energy of interval I, where each has its own price  | REGISTER     |
| `tier:total`            | energy of the month, with the digits of its kWh     | TIER/PRODUCT |
| `tier:register:P`       | a register's energy, with the digits of its kWh     | TIER/PRODUCT |
| `year:before`, `:after` | energy since 1 January without and with the month   | TIER/PRODUCT |
| `steps:Q:G`             | digits of floor(Wh of a quantity / G)               | TIER/PRODUCT |
| `use-hours`, `…:Q`      | digits of floor(kWh per contracted kVA)             | TIER/PRODUCT |
| `peak-hours`, `…:Q`     | digits of floor(kWh per kW of maximum demand)       | TIER/PRODUCT |
| `limb:Q:I`              | bits 8·I to 8·I + 7 of a quantity                   | TIER/PRODUCT |
| `power-factor…`         | the power factor, as a number and a thermometer     | PRODUCT      |

What a tariff may change after encryption is the value of every limit and rate, because digits do
not depend on them; which families of columns exist follows from its form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gridsecure.billing.rules import (
    DEMAND,
    DISCOUNT,
    DYNAMIC,
    EXPORT,
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
from gridsecure.homomorphic.parameters import PRODUCT, TIER, Parameters
from gridsecure.homomorphic.parameters import REGISTER as REGISTER_SET
from gridsecure.homomorphic.thresholds import MONTH_DIGITS, YEAR_DIGITS, DigitSystem
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.rows import KWH_PER_KVA, KWH_PER_KW, KWH_PER_KW_DAY

TOTAL_QUANTITY: Final = "total"
TIER_TOTAL: Final = "tier:total"
EXPORT_QUANTITY: Final = "export"
OWN_DEMAND_QUANTITY: Final = "demand-own"
RATCHET_QUANTITY: Final = "demand-ratchet"
FACTOR_QUANTITY: Final = "power-factor"
STEPS_PREFIX: Final = "steps:"
PRICED_PREFIX: Final = "priced:"

MAX_REGISTER_WH: Final = 2**31 - 1
"""2.1 GWh a month in one register; larger customers are metered in several."""
MAX_TIER_WH: Final = 2**23 - 1
"""8,388 kWh a month: the largest household a tier bill takes."""
MAX_YEAR_WH: Final = 2**25 - 1
"""33,554 kWh a year: the largest household under tiers of a year."""
MAX_PRICED_WH: Final = 2**22 - 1
"""4,194 kWh in an interval that has a price of its own."""

LIMB_BITS: Final = 8
LIMBS: Final = 4
"""Four limbs hold `MAX_REGISTER_WH`."""

LOWEST_STEP: Final = 55
"""Up to this factor every national table is one straight line, so one integer column tells it."""


@dataclass(frozen=True, slots=True)
class ColumnNeed:
    """A column a plan reads: its quantity, set and largest value."""

    quantity: str
    parameters: Parameters
    high: int


@dataclass(frozen=True, slots=True)
class Measure:
    """A whole number that thresholds compare, and the quantity it was taken from.

    Args:
        prefix: Start of the digit columns' names.
        digits: How the number is written.
        energy: The quantity whose kWh the digits spell, or "" for use hours.
        high: Largest value of that quantity [Wh].
    """

    prefix: str
    digits: DigitSystem
    energy: str
    high: int

    def digit(self, digit: int, step: int) -> str:
        """Name of the column [digit >= step]."""
        return f"{self.prefix}:digit:{digit}:{step}"

    def needs(self, parameters: Parameters) -> list[ColumnNeed]:
        """The quantity and all its digits."""
        energy = [ColumnNeed(self.energy, parameters, self.high)] if self.energy else []
        return energy + [
            ColumnNeed(self.digit(*place), parameters, 1) for place in self.digits.places
        ]


MONTH_MEASURE: Final = Measure("tier", MONTH_DIGITS, TIER_TOTAL, MAX_TIER_WH)
YEAR_BEFORE: Final = Measure("year:before", YEAR_DIGITS, "year:before", MAX_YEAR_WH)
YEAR_AFTER: Final = Measure("year:after", YEAR_DIGITS, "year:after", MAX_YEAR_WH)
USE_HOURS: Final = Measure("use-hours", MONTH_DIGITS, "", 0)
PEAK_HOURS: Final = Measure("peak-hours", MONTH_DIGITS, "", 0)


def register_measure(tou_period: str | None) -> Measure:
    """A register whose own energy is compared."""
    name = f"tier:register:{tou_period}"
    return Measure(name, MONTH_DIGITS, name, MAX_TIER_WH)


def hours_measure(quantity: str, *, by_capacity: bool) -> Measure:
    """A quantity counted per contracted kVA, or per kW of the month's maximum demand."""
    hours = USE_HOURS if by_capacity else PEAK_HOURS
    return (
        hours if quantity == TOTAL_QUANTITY else replace(hours, prefix=f"{hours.prefix}:{quantity}")
    )


def step_measure(quantity: str, *, step_wh: int, radix: int) -> Measure:
    """A quantity counted in steps of so many Wh."""
    name = f"{STEPS_PREFIX}{quantity}:{step_wh}"
    return Measure(name, DigitSystem((radix, radix, radix)), "", 0)


def register_quantity(tou_period: str) -> str:
    """Name of a register's column."""
    return f"register:{tou_period}"


def demand_quantity(tou_period: str | None) -> str:
    """Name of the column of the month's maximum demand, or of one demand period's."""
    return "demand" if tou_period is None else f"demand:{tou_period}"


def split_quantity(tou_period: str, tier: int) -> str:
    """Name of the column of a period's energy in a tier, in the order of time."""
    return f"split:{tou_period}:{tier}"


def priced_quantity(index: int) -> str:
    """Name of the column of an interval that has a price of its own."""
    return f"{PRICED_PREFIX}{index:04d}"


def limb_quantity(quantity: str, limb: int) -> str:
    """Name of the column of bits 8·limb to 8·limb + 7 of a quantity."""
    return f"limb:{quantity}:{limb}"


def factor_quantity(step: int) -> str:
    """Name of the column [power factor >= step / 100]."""
    return f"{FACTOR_QUANTITY}:{step}"


def circuit_parameters(rules: Sequence[LineRule]) -> Parameters:
    """The set of everything that is multiplied under these rules."""
    deep = any(rule.basis in (SHARE, POWER_FACTOR) for rule in rules)
    return PRODUCT if deep else TIER


def counts_hours(rule: LineRule) -> bool:
    """Whether a rule's limits count kWh per kVA or kW."""
    return rule.limit_unit in (KWH_PER_KVA, KWH_PER_KW, KWH_PER_KW_DAY)


def in_limbs(rule: LineRule) -> bool:
    """Whether a rule's energy is computed limb by limb, so that it may be of any size."""
    return counts_hours(rule) or rule.step_wh > 0


def tiered_quantity(rule: LineRule) -> str:
    """The energy whose tiers a rule counts: the total, or a register with a ladder of its own."""
    own = rule.basis == TIER_PART and rule.tou_period is not None
    return register_quantity(rule.tou_period) if own and rule.tou_period else TOTAL_QUANTITY


def rule_measures(rule: LineRule) -> tuple[Measure, ...]:
    """What a rule compares with its limits; before and after for tiers of a year."""
    if rule.basis == DISCOUNT:
        return (USE_HOURS,)
    if rule.basis not in (TIER_PART, SHARE, QUOTA):
        return ()
    quantity = tiered_quantity(rule)
    if counts_hours(rule):
        return (hours_measure(quantity, by_capacity=rule.limit_unit == KWH_PER_KVA),)
    if rule.step_wh:
        return (step_measure(quantity, step_wh=rule.step_wh, radix=rule.step_radix),)
    if rule.reset == YEAR and rule.basis != QUOTA:
        return (YEAR_BEFORE, YEAR_AFTER)
    return (MONTH_MEASURE if quantity == TOTAL_QUANTITY else register_measure(rule.tou_period),)


def linear_quantity(rule: LineRule) -> str | None:
    """The one column that a linear rule multiplies, or None for a rule of another kind."""
    label, tier = rule.tou_period, rule.tier
    if rule.basis == REGISTER and label is not None:
        return register_quantity(label)
    if rule.basis == SPLIT and label is not None and tier is not None:
        return split_quantity(label, tier)
    if rule.basis == DEMAND:
        return demand_quantity(label)
    fixed = {
        TOTAL: TOTAL_QUANTITY,
        OWN_DEMAND: OWN_DEMAND_QUANTITY,
        RATCHET: RATCHET_QUANTITY,
        EXPORT: EXPORT_QUANTITY,
    }
    return fixed.get(rule.basis)


def limbed_quantities(rules: Sequence[LineRule]) -> tuple[str, ...]:
    """The quantities that products need in limbs, in the order of the rules."""
    found: list[str] = []
    for rule in rules:
        if rule.basis in (TIER_PART, SHARE, QUOTA) and in_limbs(rule):
            found.append(tiered_quantity(rule))
            by_demand = rule.limit_unit in (KWH_PER_KW, KWH_PER_KW_DAY)
            found += [demand_quantity(None)] if by_demand else []
        if rule.basis == SHARE and in_limbs(rule):
            found.append(TOTAL_QUANTITY)
        if rule.basis == DISCOUNT:
            found.append(demand_quantity(None))
        if rule.basis == SHARE and rule.tou_period is not None:
            found.append(register_quantity(rule.tou_period))
        if rule.basis == POWER_FACTOR:
            found += [q for n in rule.base if (q := linear_quantity(rules[n])) is not None]
    return tuple(dict.fromkeys(found))


def published_needs(
    rules: Sequence[LineRule], *, tou_periods: Sequence[str]
) -> tuple[ColumnNeed, ...]:
    """Every settlement column a gateway encrypts for a tariff's form.

    The digits do not depend on the tariff's limits, which may change after encryption.

    Args:
        rules: The compiled lines of the month.
        tou_periods: The tariff's time-of-use labels.
    """
    linear = [TOTAL_QUANTITY, *(register_quantity(label) for label in tou_periods)]
    linear += [q for rule in rules if (q := linear_quantity(rule)) is not None]
    needs = [ColumnNeed(q, REGISTER_SET, MAX_REGISTER_WH) for q in dict.fromkeys(linear)]
    for rule in rules:
        if rule.basis == DYNAMIC:
            needs += [
                ColumnNeed(priced_quantity(n), REGISTER_SET, MAX_PRICED_WH)
                for n in range(len(rule.prices))
            ]
    parameters = circuit_parameters(rules)
    measures = dict.fromkeys(measure for rule in rules for measure in rule_measures(rule))
    needs += [need for measure in measures for need in measure.needs(parameters)]
    if any(rule.basis == SHARE and not in_limbs(rule) for rule in rules):
        needs.append(ColumnNeed(TIER_TOTAL, parameters, MAX_TIER_WH))
    for quantity in limbed_quantities(rules):
        needs += [
            ColumnNeed(limb_quantity(quantity, n), parameters, 2**LIMB_BITS - 1)
            for n in range(LIMBS)
        ]
    if any(rule.basis == POWER_FACTOR for rule in rules):
        needs.append(ColumnNeed(FACTOR_QUANTITY, parameters, LOWEST_STEP))
        needs += [
            ColumnNeed(factor_quantity(n), parameters, 1) for n in range(LOWEST_STEP + 1, 101)
        ]
    return tuple({need.quantity: need for need in needs}.values())


def largest_total_wh(rules: Sequence[LineRule]) -> int:
    """The largest energy of a month that a bill under these rules takes [Wh]."""
    household = any(
        rule.basis in (TIER_PART, SHARE, QUOTA) and not in_limbs(rule) for rule in rules
    )
    return MAX_TIER_WH if household else MAX_REGISTER_WH
