"""Whom a total is about must be countable: why some totals are refused by their names."""

from __future__ import annotations

from typing import Final

from gridsecure.errors import InputError
from gridsecure.plans.query_names import EXPORT_TOTAL

FEEDS_IN: Final = "most feed in nothing, and no roster says who does"


def uncounted(what: str, why: str) -> InputError:
    """The error for a total of whose customers nobody could say how many there are."""
    return InputError(
        f"Nobody could say how many customers {what} would be about: {why}.",
        reason="query.limits",
        remedy="Ask for the energy of registers and for other lines, or about customers of another"
        " tariff.",
    )


def check_counted(name: str) -> None:
    """Refuse energy fed in: of a whole group one customer may have it all.

    Raises:
        InputError: `query.limits`.
    """
    if name == EXPORT_TOTAL:
        raise uncounted("energy fed in", FEEDS_IN)
