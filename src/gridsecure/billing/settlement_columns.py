"""Names of the columns a settlement frame may have; `settlements` says which it has when."""

from __future__ import annotations

import numpy as np

INT64_MAX = int(np.iinfo(np.int64).max)

TOTAL_COLUMN = "total_wh"
DEMAND_COLUMN = "demand_w"
OWN_DEMAND_COLUMN = "demand_own_w"
RATCHET_COLUMN = "demand_ratchet_w"
REACTIVE_COLUMN = "reactive_varh"
POWER_FACTOR_COLUMN = "power_factor"
EXPORT_COLUMN = "export_wh"
YEAR_BEFORE_COLUMN = "year_before_wh"


def register_column(tou_period: str) -> str:
    """Name the settlement column of a time-of-use period.

    >>> register_column("deep-valley")
    'deep-valley_wh'
    """
    return f"{tou_period}_wh"


def demand_column(tou_period: str | None) -> str:
    """Name the column of the highest demand of the month, or of one demand period [W]."""
    return DEMAND_COLUMN if tou_period is None else f"demand:{tou_period}_w"


def split_column(tou_period: str, tier: int) -> str:
    """Name the column of a period's energy that fell into a tier in the order of time [Wh]."""
    return f"split:{tou_period}:{tier}_wh"


def interval_column(index: int) -> str:
    """Name the column of a period's interval number `index`, from 0 [Wh]."""
    return f"interval:{index:04d}_wh"
