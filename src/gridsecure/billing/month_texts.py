"""How a month is written: where a service reads one and needs no table for it."""

from __future__ import annotations

from typing import Final

MONTH_PATTERN: Final = r"[0-9]{4}-(?:0[1-9]|1[0-2])"
"""A month, as 2026-07."""
