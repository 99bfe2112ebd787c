"""What whoever hands readings in says of their numbers and times."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Unit = Literal["", "Wh", "kWh", "MWh", "W", "kW", "MW"]
"""Of energies, or of average powers of intervals; empty where nobody says it."""


class Values(StrEnum):
    """What the numbers are."""

    INTERVAL = "interval"
    REGISTER = "register"
    POWER = "power"


class Stamps(StrEnum):
    """What the times are."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What whoever hands the file in says about it; None leaves it to the file.

    Args:
        values: Energies of intervals, faces of a cumulative register, or average powers of
            intervals.
        stamps: Starts or ends of intervals.
        zone: Zone of the clock that the times are read from [IANA name, or offset as `+05:30`]. A
            time with another offset than it has at that moment contradicts it.
        meter_point_id: The one whose readings they are, where a file is of one and names none.
        unit: Of values that stand without one; empty for kWh, where a format leaves none open.
    """

    values: Values | None = None
    stamps: Stamps | None = None
    zone: str | None = None
    meter_point_id: str = ""
    unit: Unit = ""


NOTHING_SAID: Final = Meaning()
