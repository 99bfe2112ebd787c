"""Energy since 1 January, which tiers of a year need and only the gateway can know.

Each month leaves a private file with the energy of its meter points beside its readings, and each
correction of it another one. A later month of the same year adds up the latest. What came before
the first month that was processed here is in the contract (`year_to_date_kwh`); a meter point with
a gap in between is not billed by guess.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.errors import StorageError
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.private_files import write_private
from gridsecure.month_texts import read_month
from gridsecure.periods import BillingPeriod

UNKNOWN: Final = -1
"""In place of an energy that cannot be told."""
_FILE: Final = "totals.csv"


def keep_totals(folder: Path, totals: Mapping[str, int]) -> None:
    """Write a month's energies by meter point; only the owner may read the file.

    Args:
        totals: Meter point -> its energy in the month [Wh].

    Raises:
        StorageError: The disk could not take it; nothing half-written is left.
    """
    frame = pd.DataFrame({"meter_point_id": list(totals), "total_wh": list(totals.values())})
    text = frame.to_csv(index=False, lineterminator="\n")
    write_private(folder / _FILE, [text.encode()], what="The month's energies")


def adopt_totals(corrected: Path, *, into: Path, number: int) -> None:
    """Let later months count what a correction found; bills that are issued do not change.

    Args:
        number: Number of the correction, from 1.

    Raises:
        StorageError: The disk could not take it; what was there before stays.
    """
    try:
        text = (corrected / _FILE).read_bytes()
    except OSError as error:
        raise _unreadable() from error
    write_private(into / _corrected(number), [text], what="The month's energies")


def _corrected(number: int) -> str:
    return f"totals-corrected-{number:06d}.csv"


def _latest(folder: Path) -> Path:
    """A month's energies as they were last corrected."""
    return max(folder.glob(_corrected(0).replace("0" * 6, "*")), default=folder / _FILE)


def load_totals(folder: Path) -> dict[str, int]:
    """A month's energies by meter point as they were last corrected [Wh]; empty without any.

    Raises:
        StorageError: They cannot be read (`storage.year-to-date`).
    """
    return _totals(_latest(folder))


def year_before_wh(
    months: Path, *, energies: IntervalEnergies, contracts: pd.DataFrame, period: BillingPeriod
) -> NDArray[np.int64]:
    """Energy of each meter point since the year began, before the period [Wh], or `UNKNOWN`.

    Args:
        months: The folder that holds a folder for every month.
        energies: The period's energies; the result is in their order.
        contracts: Contracts with `year_to_date_wh` and `service_from`.

    Raises:
        StorageError: An earlier month's file is there and cannot be read.
    """
    year, month = period.month
    recorded = {n: load_totals(months / f"{year}-{n:02d}") for n in range(1, month)}
    facts = contracts.set_index("meter_point_id")
    opening = facts["year_to_date_wh"].to_dict()
    begun = facts["service_from"].to_dict()
    before = [
        _before(
            {n: totals[name] for n, totals in recorded.items() if name in totals},
            month=month,
            opening=int(opening.get(name, 0)),
            begun=_month_of(str(begun.get(name, "")), year=year),
        )
        for name in energies.meter_point_ids
    ]
    return np.array(before, dtype=np.int64)


def _before(own: dict[int, int], *, month: int, opening: int, begun: int) -> int:
    """Add up; where nothing is known before the first month here, service must begin with it."""
    first = min(own, default=month)
    if len(own) != month - first:
        return UNKNOWN  # a month in between is missing
    if first > begun and not opening:
        return UNKNOWN
    return opening + sum(own.values())


def _month_of(service_from: str, *, year: int) -> int:
    """The first month of service in a year: January for whoever began before it."""
    begun, month = read_month(service_from) if service_from else (0, 1)
    return month if begun == year else 1


def _totals(path: Path) -> dict[str, int]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["meter_point_id"]: int(row["total_wh"]) for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable() from error


def _unreadable() -> StorageError:
    return StorageError(
        "The energy totals of an earlier month cannot be read.",
        reason="storage.year-to-date",
        remedy="Restore the month's folder, or process that month again.",
    )
