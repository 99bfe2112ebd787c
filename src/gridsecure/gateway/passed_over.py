"""What a file holds that no bill is computed from: named and counted, never lost in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REACTIVE_FED_IN: Final = "reactive-fed-in"
REACTIVE_PART: Final = "reactive-part"
BY_HOURS: Final = "by-hours"
COMBINED: Final = "combined-energy"
DEMAND: Final = "demand"
FACES: Final = "register-faces"
DAYS: Final = "daily-values"
OTHER: Final = "other-quantity"

WORDS: Final[Mapping[str, str]] = {
    REACTIVE_FED_IN: "reactive energy fed in",
    REACTIVE_PART: "reactive energy of a quadrant, of hours, or without a total of energy",
    BY_HOURS: "energy by hours that no total stands beside, or fed in by hours",
    COMBINED: "combined energy of both directions",
    DEMAND: "demand",
    FACES: "faces of registers beside intervals",
    DAYS: "energies of days beside intervals",
    OTHER: "other quantities, such as power, voltage, net energy or cost",
}
"""Name -> what the values are."""
