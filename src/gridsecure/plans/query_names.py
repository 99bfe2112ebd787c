"""The names of totals, as questions and those who compute them say them."""

from __future__ import annotations

from typing import Final

ENERGY_TOTAL: Final = "energy"
"""Of intervals; in moments, of the month."""
SQUARED: Final = ":squared"
AT_LEAST: Final = "at-least:"
BILL: Final = "bill"
BILL_WHAT_IF: Final = "bill:what-if"
LINE: Final = "line:"
TIER: Final = "tier:"
REGISTER_TOTAL: Final = "register:"
EXPORT_TOTAL: Final = "export"
DEMAND_TOTAL: Final = "demand"
MOMENTS: Final = (ENERGY_TOTAL, ENERGY_TOTAL + SQUARED)
INTERVALS: Final = (ENERGY_TOTAL,)
"""The totals that are added up of intervals, and nothing else is."""
