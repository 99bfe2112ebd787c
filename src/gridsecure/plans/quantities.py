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

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.thresholds import MONTH_DIGITS, WH_PER_KWH, YEAR_DIGITS, DigitSystem


class Family(StrEnum):
    """What a column holds: the first word of its name, which its makers below write."""

    TOTAL = "total"
    REGISTER = "register"
    EXPORT = "export"
    DEMAND = "demand"
    OWN_DEMAND = "demand-own"
    RATCHET = "demand-ratchet"
    SPLIT = "split"
    PRICED = "priced"
    TIER = "tier"
    YEAR = "year"
    STEPS = "steps"
    USE_HOURS = "use-hours"
    PEAK_HOURS = "peak-hours"
    LIMB = "limb"
    POWER_FACTOR = "power-factor"
    INTERVALS = "intervals"


_WHOLE_NAMES: Final = frozenset(
    {
        Family.TOTAL,
        Family.EXPORT,
        Family.DEMAND,
        Family.OWN_DEMAND,
        Family.RATCHET,
        Family.POWER_FACTOR,
    }
)
"""Families with a column that is named by the family alone."""
_BY_WORD: Final = {family.value: family for family in Family}


def find_family(quantity: str) -> Family | None:
    """The family of a column's name; None for a name that nothing here makes.

    >>> find_family("tier:register:peak"), find_family("tier"), find_family("soup")
    (<Family.TIER: 'tier'>, None, None)
    """
    word, colon, _ = quantity.partition(":")
    family = _BY_WORD.get(word)
    return family if colon or family in _WHOLE_NAMES else None


def interval_bound_wh(customer_class: str) -> int:
    """Declared largest energy of one interval of a customer class [Wh]."""
    return INTERVAL_BOUNDS_WH.get(customer_class, OTHER_BOUND_WH)


TOTAL_QUANTITY: Final = Family.TOTAL.value
TIER_TOTAL: Final = f"{Family.TIER}:total"
EXPORT_QUANTITY: Final = Family.EXPORT.value
OWN_DEMAND_QUANTITY: Final = Family.OWN_DEMAND.value
RATCHET_QUANTITY: Final = Family.RATCHET.value
FACTOR_QUANTITY: Final = Family.POWER_FACTOR.value

INTERVAL_BOUNDS_WH: Final[Mapping[str, int]] = {
    "household": 2**16 - 1,
    "shop": 2**19 - 1,
    "factory": 2**22 - 1,
}
"""Declared largest energy of one interval by customer class [Wh]; public, so never data-driven."""

OTHER_BOUND_WH: Final = 2**22 - 1
"""The bound of every class not named above [Wh]."""

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


class Divisor(Enum):
    """A size of the meter point that an energy is counted per."""

    CAPACITY = Family.USE_HOURS
    DEMAND = Family.PEAK_HOURS


@dataclass(frozen=True, slots=True)
class Measure:
    """A whole number that thresholds compare: a quantity counted in steps, or per kVA or kW.

    Args:
        digits: How the number is written.
        counted: The quantity it was taken from.
        divisor: Wh in a step of it, or the size it is counted per.
        energy: The quantity that is read whole beside the digits, or "" where limbs are.
        high: Largest value of that quantity [Wh].
    """

    prefix: str
    digits: DigitSystem
    counted: str
    divisor: int | Divisor
    energy: str = ""
    high: int = 0

    def digit(self, digit: int, step: int) -> str:
        """Name of the column [digit >= step]."""
        return f"{self.prefix}:digit:{digit}:{step}"

    def needs(self, parameters: Parameters) -> list[ColumnNeed]:
        """The quantity and all its digits."""
        energy = [ColumnNeed(self.energy, parameters, self.high)] if self.energy else []
        return energy + [
            ColumnNeed(self.digit(*place), parameters, 1) for place in self.digits.places
        ]


def _kwh_measure(prefix: str, digits: DigitSystem, energy: str, high: int) -> Measure:
    return Measure(prefix, digits, energy, WH_PER_KWH, energy, high)


def _year_measure(when: str) -> Measure:
    name = f"{Family.YEAR}:{when}"
    return _kwh_measure(name, YEAR_DIGITS, name, MAX_YEAR_WH)


MONTH_MEASURE: Final = _kwh_measure(Family.TIER.value, MONTH_DIGITS, TIER_TOTAL, MAX_TIER_WH)
YEAR_BEFORE: Final = _year_measure("before")
YEAR_AFTER: Final = _year_measure("after")


def register_measure(tou_period: str | None) -> Measure:
    """A register whose own energy is compared."""
    name = f"{Family.TIER}:{Family.REGISTER}:{tou_period}"
    return _kwh_measure(name, MONTH_DIGITS, name, MAX_TIER_WH)


def hours_measure(quantity: str, *, per: Divisor) -> Measure:
    """A quantity counted per contracted kVA, or per kW of the month's maximum demand."""
    prefix = str(per.value) if quantity == TOTAL_QUANTITY else f"{per.value}:{quantity}"
    return Measure(prefix, MONTH_DIGITS, quantity, per)


def step_measure(quantity: str, *, step_wh: int, radix: int) -> Measure:
    """A quantity counted in steps of so many Wh."""
    prefix = f"{Family.STEPS}:{quantity}:{step_wh}"
    return Measure(prefix, DigitSystem((radix, radix, radix)), quantity, step_wh)


def register_quantity(tou_period: str) -> str:
    """Name of a register's column."""
    return f"{Family.REGISTER}:{tou_period}"


def demand_quantity(tou_period: str | None) -> str:
    """Name of the column of the month's maximum demand, or of one demand period's."""
    return Family.DEMAND.value if tou_period is None else f"{Family.DEMAND}:{tou_period}"


def split_quantity(tou_period: str, tier: int) -> str:
    """Name of the column of a period's energy in a tier, in the order of time."""
    return f"{Family.SPLIT}:{tou_period}:{tier}"


def priced_quantity(index: int) -> str:
    """Name of the column of an interval that has a price of its own."""
    return f"{Family.PRICED}:{index:04d}"


def limb_quantity(quantity: str, limb: int) -> str:
    """Name of the column of bits 8·limb to 8·limb + 7 of a quantity."""
    return f"{Family.LIMB}:{quantity}:{limb}"


def factor_quantity(step: int) -> str:
    """Name of the column [power factor >= step / 100]."""
    return f"{FACTOR_QUANTITY}:{step}"
