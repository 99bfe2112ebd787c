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

from dataclasses import dataclass
from enum import Enum
from typing import Final

from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.thresholds import MONTH_DIGITS, WH_PER_KWH, YEAR_DIGITS, DigitSystem

TOTAL_QUANTITY: Final = "total"
TIER_TOTAL: Final = "tier:total"
EXPORT_QUANTITY: Final = "export"
OWN_DEMAND_QUANTITY: Final = "demand-own"
RATCHET_QUANTITY: Final = "demand-ratchet"
FACTOR_QUANTITY: Final = "power-factor"
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


class Divisor(Enum):
    """A size of the meter point that an energy is counted per."""

    CAPACITY = "use-hours"
    DEMAND = "peak-hours"


@dataclass(frozen=True, slots=True)
class Measure:
    """A whole number that thresholds compare: a quantity counted in steps, or per kVA or kW.

    Args:
        prefix: Start of the digit columns' names.
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


MONTH_MEASURE: Final = _kwh_measure("tier", MONTH_DIGITS, TIER_TOTAL, MAX_TIER_WH)
YEAR_BEFORE: Final = _kwh_measure("year:before", YEAR_DIGITS, "year:before", MAX_YEAR_WH)
YEAR_AFTER: Final = _kwh_measure("year:after", YEAR_DIGITS, "year:after", MAX_YEAR_WH)


def register_measure(tou_period: str | None) -> Measure:
    """A register whose own energy is compared."""
    name = f"tier:register:{tou_period}"
    return _kwh_measure(name, MONTH_DIGITS, name, MAX_TIER_WH)


def hours_measure(quantity: str, *, per: Divisor) -> Measure:
    """A quantity counted per contracted kVA, or per kW of the month's maximum demand."""
    prefix = per.value if quantity == TOTAL_QUANTITY else f"{per.value}:{quantity}"
    return Measure(prefix, MONTH_DIGITS, quantity, per)


def step_measure(quantity: str, *, step_wh: int, radix: int) -> Measure:
    """A quantity counted in steps of so many Wh."""
    prefix = f"steps:{quantity}:{step_wh}"
    return Measure(prefix, DigitSystem((radix, radix, radix)), quantity, step_wh)


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
