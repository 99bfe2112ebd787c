"""Energy since 1 January, which tiers of a year begin with and a file of a later month cannot tell.

It is never taken as zero by silence: a meter point whose first month is not January needs it from
the command, from its contract, or from a contract whose service begins with that month.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from gridsecure.billing.bill_documents import decimal_text
from gridsecure.billing.contracts import meter_points_stating
from gridsecure.billing.energy_text import KWH_DECIMALS, EnergyStatus, kwh_to_wh
from gridsecure.cli.local_months import TariffPart
from gridsecure.errors import InputError
from gridsecure.tariffs.consistency import YEAR

_COLUMN = "year_to_date_kwh"
_SHOWN = 3
_INSTANT = pd.Timedelta(1, unit="ns")
"""Before the end of a period is its last day, whose month has its name."""


def add_year_to_date(
    contracts: pd.DataFrame, given: Sequence[str]
) -> tuple[pd.DataFrame, set[str]]:
    """Put the energies that the command gives into the contracts.

    Args:
        contracts: Contracts of the meter points that are billed.
        given: KWH for all of them, or ID=KWH for one.

    Returns:
        The contracts, and the meter points that an energy was given for.

    Raises:
        InputError: It is no energy, or names a meter point that is not billed
            (`bill.year-to-date`).
    """
    energies = contracts["year_to_date_wh"].copy()
    known: set[str] = set()
    for text in sorted(given, key=lambda one: "=" in one):
        name, mark, kwh = text.rpartition("=")
        read = kwh_to_wh(pd.Series([kwh], dtype=str))
        energy = int(read.energy_wh[0])
        if read.status[0] != EnergyStatus.EXACT or energy < 0:
            raise InputError(
                "The value of --year-to-date is not an energy in kWh.",
                reason="bill.year-to-date",
                remedy="Write --year-to-date 2150.5 for all meter points, or ID=2150.5 for one.",
            )
        rows = contracts["meter_point_id"] == name if mark else contracts["meter_point_id"] != ""
        if not rows.any():
            raise InputError(
                f"--year-to-date names the meter point {name!r}, which is not billed.",
                reason="bill.year-to-date",
                remedy="Check the id before the equals sign.",
            )
        energies = energies.mask(rows, energy)
        known |= set(contracts["meter_point_id"][rows])
    return contracts.assign(year_to_date_wh=energies.astype("int64")), known


def find_stated_opening(contract: Path) -> set[str]:
    """Meter points whose contract states the energy, be it zero.

    Raises:
        InputError: As `load_contracts`.
    """
    return meter_points_stating(contract, column=_COLUMN)


def check_year_to_date(part: TariffPart, *, known: Collection[str]) -> dict[str, str]:
    """Refuse tiers of a year whose energy since 1 January nobody stated.

    Args:
        part: The meter points of one tariff.
        known: Those for whom it is stated.

    Returns:
        Meter point -> stated energy [kWh], of those whose first month is not January.

    Raises:
        InputError: `bill.year-to-date`, naming meter points.
    """
    if part.billed.tariff.tier_reset != YEAR or part.settlements.empty:
        return {}
    _refuse_skipped_months(part)
    first = part.settlements.groupby("meter_point_id")["period_end"].min() - _INSTANT
    facts = part.contracts.set_index("meter_point_id")
    months = first.dt.strftime("%Y-%m")
    begun = facts["service_from"].reindex(first.index)
    later = first[(first.dt.month != 1) & (months != begun)].index
    unknown = [str(name) for name in later if name not in known]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise InputError(
            f"The tariff {part.billed.tariff.tariff_id!r} counts tiers from 1 January, and nothing"
            f" says what was used before {months[unknown[0]]}:"
            f" {', '.join(unknown[:_SHOWN])}{more}.",
            reason="bill.year-to-date",
            remedy="Give --year-to-date KWH, or --year-to-date ID=KWH for one meter point (0 if"
            f" nothing), or fill in {_COLUMN} or service_from in the contract file.",
        )
    energies = facts["year_to_date_wh"]
    return {str(name): decimal_text(energies[name], KWH_DECIMALS) for name in later}


def _refuse_skipped_months(part: TariffPart) -> None:
    """A month without readings within a year would count as one without energy."""
    rows = part.settlements.sort_values(["meter_point_id", "period_start"])
    last = rows["period_end"] - _INSTANT
    numbers = last.dt.year * 12 + last.dt.month - 1
    follows = rows["meter_point_id"] == rows["meter_point_id"].shift()
    # January begins anew, whatever came before it.
    skipped = rows[follows & (numbers.diff() > 1) & (numbers % 12 != 0)]
    if len(skipped):
        name, end = skipped["meter_point_id"].iloc[0], skipped["period_end"].iloc[0]
        raise InputError(
            f"Tiers count from 1 January, and {name!r} has no readings of the month before"
            f" {end - _INSTANT:%Y-%m}.",
            reason="bill.year-to-date",
            remedy="Bill the later months from a file of their own, and say with --year-to-date"
            " what was used before them.",
        )
