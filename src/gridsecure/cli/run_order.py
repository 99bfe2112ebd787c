"""What a run is asked to bill."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

TIMEZONE: Final = "Asia/Shanghai"
"""Local time of meters, where nothing else is said."""
DEFAULT_METERS: Final = 503
"""With the measured meter points, 512."""
DEFAULT_MONTHS: Final = 3
"""So many, so that there is something to compare."""
DEFAULT_TARIFF: Final = "shenzhen-residential-tiers"


@dataclass(frozen=True, slots=True)
class RunMeters:
    """Which meters to bill.

    Args:
        readings: The user's own readings files; without them the measured meters join.
        tariff: Tariff of the user's meter points that have no contract.
        month: The last month, YYYY-MM; None takes the demonstration month, or the month of the
            user's file.
        months: How many are billed, the last one and those before it.
    """

    meters: int = DEFAULT_METERS
    readings: tuple[Path, ...] = ()
    contract: Path | None = None
    tariff: str = DEFAULT_TARIFF
    month: str | None = None
    months: int = 1
