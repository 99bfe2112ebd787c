"""Profiles of earlier months, which estimates may start from.

A month whose rule book looks into other months leaves a private file with the means of its meter
points by time of day, beside its readings. Another month finds what there is; where there is
nothing, the next method of the book's order estimates.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import pandas as pd

from gridsecure.billing.estimation_methods import PROFILE_COLUMNS, make_profile
from gridsecure.billing.rule_books import PAST_METHODS, Estimation
from gridsecure.errors import StorageError
from gridsecure.gateway.private_files import write_private
from gridsecure.month_texts import read_month

_FILE: Final = "profiles.parquet"
_MONTHS: Final = 12


def keep_profiles(folder: Path, readings: pd.DataFrame, rules: Estimation) -> None:
    """Write a month's profiles, if its rules look into other months.

    Args:
        folder: The month's.
        readings: Its accepted readings, with `minutes`.

    Raises:
        StorageError: The disk could not take it; nothing half-written is left.
    """
    if not set(PAST_METHODS) & set(rules.order):
        return
    out = io.BytesIO()
    make_profile(readings).to_parquet(out, compression="zstd", index=False)
    write_private(folder / _FILE, [out.getvalue()], what="The month's profiles")


def find_profiles(months: Path, *, month: str, rules: Estimation) -> dict[str, pd.DataFrame]:
    """Method -> profiles of the month that it looks into, where they were kept.

    Args:
        months: The folder that holds a folder for every month.
        month: The month that is estimated, or that the day is of, YYYY-MM.

    Raises:
        StorageError: Profiles are there and cannot be read (`storage.read`).
    """
    year, named = read_month(month)
    number = year * _MONTHS + named - 1
    places = dict(zip(PAST_METHODS, (number - 1, number - _MONTHS), strict=True))
    found: dict[str, pd.DataFrame] = {}
    for method in PAST_METHODS:
        if method in rules.order:
            past_year, past_month = divmod(places[method], _MONTHS)
            profiles = _load(months / f"{past_year:04d}-{past_month + 1:02d}" / _FILE)
            if profiles is not None:
                found[method] = profiles
    return found


def _load(path: Path) -> pd.DataFrame | None:
    try:
        return pd.read_parquet(path, columns=list(PROFILE_COLUMNS))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(
            "The profiles of an earlier month cannot be read.",
            reason="storage.read",
            remedy="Restore the month's folder from a backup, or take the file away: other methods"
            " estimate then.",
        ) from error
