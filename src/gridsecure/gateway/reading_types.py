"""Reading types of IEC 61968-9: what a code of 18 numbers says of a value, and what is read of it.

The code is `macroPeriod.aggregate.measuringPeriod.accumulation.flowDirection.commodity.kind`, two
numbers each of an interharmonic and of an argument, `tou.cpp.tier.phases.multiplier.unit.currency`;
0 leaves a part unsaid. The numbers are those of Annex C of IEC 61968-9:2013. Three parts of it are
shared with ESPI, whose schema `espi.xsd` names the same numbers.

Read are energies of electricity of the whole meter point: of intervals (accumulation 4, delta) or
faces of a register (1 bulk, 2 and 3 cumulative, 9 summation). Parts of a total (a time-of-use
bucket, a critical-peak bucket, a tier, one phase), averages and extremes, net energies and all that
is no energy are no energy that is billed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gridsecure.billing.readings import DAY_MINUTES
from gridsecure.gateway import passed_over

_CODE: Final = re.compile(r"\d{1,5}(\.-?\d{1,5}){17}")
_MOST_TENS: Final = 9

_ENERGY_KIND: Final = 12
_WATT_HOURS: Final = 72
_VAR_HOURS: Final = 73
_ELECTRICITY: Final = (0, 1, 2)
_FACES: Final = (1, 2, 3, 9)
_DELTA: Final = 4
_ALL_PHASES: Final = (0, 224)
_TAKEN: Final = (0, 1)
_FED_IN: Final = (19,)
REACTIVE_TAKEN: Final = (0, 1, 5)
"""Flow of reactive energy: forward, or the first and second quadrants together."""
_REACTIVE_FED_IN: Final = (19, 13)
"""Likewise: reverse, or the third and fourth quadrants together."""
_PERIODS: Final = {6: 5, 1: 10, 2: 15, 5: 30, 7: 60}
"""Measuring period -> minutes."""
_DAILY_MACRO: Final = 11
_DAILY: Final = 4


class _Part(IntEnum):
    """Places in the code."""

    MACRO_PERIOD = 0
    AGGREGATE = 1
    MEASURING_PERIOD = 2
    ACCUMULATION = 3
    FLOW = 4
    COMMODITY = 5
    KIND = 6
    TOU = 11
    PHASES = 14
    MULTIPLIER = 15
    UNIT = 16


@dataclass(frozen=True, slots=True)
class ReadingType:
    """What is read of values of a type.

    Attributes:
        column: The column of a readings frame that they count for.
        minutes: Length of their intervals, a day's for daily values; 0 for faces of a register.
        tens: Power of ten of their unit.
    """

    column: str
    minutes: int
    tens: int

    @property
    def is_face(self) -> bool:
        """Whether they are faces of a register."""
        return self.minutes == 0


def is_code(written: str) -> bool:
    """Whether text is a reading type's code, which is public and may be shown."""
    return _CODE.fullmatch(written) is not None


def read_type(code: str) -> ReadingType | None:
    """What is read of values of a type, or None where it is no energy that is billed.

    Args:
        code: One for which `is_code` holds.

    >>> read_type("0.0.2.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0")
    ReadingType(column='energy_wh', minutes=15, tens=3)
    """
    parts = _parts(code)
    column = _column(parts)
    if column is None or abs(parts[_Part.MULTIPLIER]) > _MOST_TENS:
        return None
    tens = parts[_Part.MULTIPLIER]
    if parts[_Part.ACCUMULATION] in _FACES:
        return ReadingType(column, 0, tens)
    minutes = _PERIODS.get(parts[_Part.MEASURING_PERIOD], 0)
    if _is_of_days(parts):
        minutes = DAY_MINUTES
    elif parts[_Part.MACRO_PERIOD]:
        return None
    if parts[_Part.ACCUMULATION] != _DELTA or not minutes:
        return None
    return ReadingType(column, minutes, tens)


def unbilled_name(code: str) -> str:
    """The name that values of a type are counted under which nothing is billed from."""
    if not is_code(code):
        return passed_over.OTHER
    parts = _parts(code)
    if parts[_Part.UNIT] == _VAR_HOURS:
        is_fed_in = parts[_Part.FLOW] in _REACTIVE_FED_IN
        return passed_over.REACTIVE_FED_IN if is_fed_in else passed_over.REACTIVE_PART
    if read_type(code) is not None:
        return passed_over.FACES
    is_part = any(parts[_Part.TOU : _Part.PHASES]) and parts[_Part.UNIT] == _WATT_HOURS
    return passed_over.BY_HOURS if is_part else passed_over.OTHER


def _parts(code: str) -> list[int]:
    return [int(part) for part in code.split(".")]


def _is_of_days(parts: list[int]) -> bool:
    macro, measured = parts[_Part.MACRO_PERIOD], parts[_Part.MEASURING_PERIOD]
    return macro == _DAILY_MACRO or (macro == 0 and measured == _DAILY)


def _column(parts: list[int]) -> str | None:
    """The column that a meter point's whole energy of that flow and unit counts for."""
    # A harmonic, an argument, a bucket of the time of use or a tier: none is all of the energy.
    if (
        any(parts[_Part.KIND + 1 : _Part.PHASES])
        or parts[_Part.AGGREGATE]
        or parts[_Part.PHASES] not in _ALL_PHASES
        or parts[_Part.KIND] != _ENERGY_KIND
        or parts[_Part.COMMODITY] not in _ELECTRICITY
    ):
        return None
    flow = parts[_Part.FLOW]
    if parts[_Part.UNIT] == _WATT_HOURS:
        if flow in _TAKEN:
            return "energy_wh"
        return "export_wh" if flow in _FED_IN else None
    is_reactive = parts[_Part.UNIT] == _VAR_HOURS and flow in REACTIVE_TAKEN
    return "reactive_varh" if is_reactive else None
