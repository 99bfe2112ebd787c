"""Load curves from released interval cells: energy per interval, mean power, peak, load factor.

Invariants: sums run over released cells only; energy is whole Wh; power is the mean over the
interval, P [kW] = E [Wh] / 1000 / t [h], rounded half up to 1 W. Clock times are those written in
the certificate, the local time of the supply area, and are never shifted to the reader's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from operator import itemgetter
from typing import Any, Final, Literal

import pandas as pd

from gridsecure.analyst.releases import LOAD_CURVE, Release, ReleasedCell
from gridsecure.analyst.reports import RELEASED, cell_state, energy_kwh

_WATT: Final = Decimal("0.001")
_COLUMNS: Final = (
    "zone", "customer_class", "start", "end", "parts", "day", "clock", "state", "energy_kwh",
    "energy_wh",
)  # fmt: skip
_HOUR: Final = timedelta(hours=1)

Split = Literal["day", "zone", "customer_class"]


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """What a load curve comes to.

    Args:
        energy_kwh: Energy over all intervals [kWh].
        peak_kw: Largest mean power of an interval [kW].
        peak_start: Start of the first interval with that power.
        mean_kw: Mean power [kW].
        load_factor: Mean power over peak power, 4 decimals half up; None without a peak.
    """

    energy_kwh: Decimal
    peak_kw: Decimal
    peak_start: datetime
    mean_kw: Decimal
    load_factor: Decimal | None


def load_curve_table(release: Release) -> pd.DataFrame:
    """One row per cell and interval of a load-curve release, in order of time.

    Returns:
        Frame with `zone`, `customer_class`, `start`, `end`, `parts`, `day` (local date), `clock`
        (local HH:MM), `state`, `energy_kwh` and `energy_wh`; both energies None unless released.

    Raises:
        ValueError: The release is of another plan.
    """
    if release.plan != LOAD_CURVE:
        raise ValueError("a load-curve table needs a release of the load-curve plan")
    ordered = sorted(release.cells, key=lambda c: (c.start, c.zone, c.customer_class))
    names = {
        start: (start.strftime("%Y-%m-%d"), start.strftime("%H:%M"))
        for start in {cell.start for cell in ordered}
    }
    return pd.DataFrame(
        [_row(cell, names[cell.start], release=release) for cell in ordered],
        columns=list(_COLUMNS),
        dtype=object,
    )


def _row(cell: ReleasedCell, names: tuple[str, str], *, release: Release) -> tuple[object, ...]:
    return (
        cell.zone,
        cell.customer_class,
        cell.start,
        cell.end,
        cell.parts,
        *names,
        cell_state([cell], release=release),
        None if cell.value is None else energy_kwh(cell.value),
        cell.value,
    )


def choose_rows(
    table: pd.DataFrame,
    *,
    days: Collection[str] | None = None,
    zones: Collection[str] | None = None,
    classes: Collection[str] | None = None,
) -> pd.DataFrame:
    """The released rows on the days, in the zones and of the classes named; None takes all."""
    keep = table["state"] == RELEASED
    for column, names in (("day", days), ("zone", zones), ("customer_class", classes)):
        if names is not None:
            keep &= table[column].isin(list(names))
    return table[keep]


def interval_totals(rows: pd.DataFrame) -> pd.DataFrame:
    """Energy and mean power of each interval, summed over cells.

    Returns:
        Frame with `start`, `end`, `day`, `clock`, `energy_wh` and `power_kw` (Decimal).
    """
    names = ["start", "end", "day", "clock"]
    sums: dict[tuple[Any, ...], int] = defaultdict(int)
    for *interval, energy_wh in zip(*(rows[name] for name in (*names, "energy_wh")), strict=True):
        sums[tuple(interval)] += energy_wh
    totals = [
        (start, end, day, clock, wh, power_kw(wh, length=end - start))
        for (start, end, day, clock), wh in sorted(sums.items(), key=itemgetter(0))
    ]
    return pd.DataFrame(totals, columns=[*names, "energy_wh", "power_kw"], dtype=object)


def power_kw(energy_wh: int, *, length: timedelta) -> Decimal:
    """Mean power of an interval [kW], half up to 1 W: P = E / t.

    >>> power_kw(1500, length=timedelta(minutes=30))
    Decimal('3.000')
    """
    milliseconds = length // timedelta(milliseconds=1)
    watt_hours = Decimal(int(energy_wh)) * (_HOUR // timedelta(milliseconds=1))
    return (watt_hours / milliseconds / 1000).quantize(_WATT, rounding=ROUND_HALF_UP)


def load_figures(totals: pd.DataFrame) -> LoadFigures | None:
    """Energy, peak, mean and load factor of interval totals; None if there is no interval."""
    if totals.empty:
        return None
    energy = sum(int(wh) for wh in totals["energy_wh"])
    length = sum((end - start for start, end in zip(totals["start"], totals["end"], strict=True)),
                 timedelta(0))  # fmt: skip
    mean = power_kw(energy, length=length)
    powers = list(totals["power_kw"])
    peak = max(powers)
    factor = (mean / peak).quantize(Decimal("0.0001"), rounding=ROUND_HALF_UP) if peak else None
    return LoadFigures(
        energy_kwh=energy_kwh(energy),
        peak_kw=peak,
        peak_start=totals["start"].iloc[powers.index(peak)],
        mean_kw=mean,
        load_factor=factor,
    )


def daily_figures(totals: pd.DataFrame) -> dict[str, LoadFigures]:
    """What each day's intervals come to, in order of the days.

    Args:
        totals: As `interval_totals` gives them.
    """
    found = {str(day): load_figures(part) for day, part in totals.groupby("day", sort=True)}
    return {day: figures for day, figures in found.items() if figures is not None}


def load_duration(totals: pd.DataFrame) -> pd.DataFrame:
    """The load-duration curve: for how many hours the load was at least so large.

    Args:
        totals: As `interval_totals` gives them.

    Returns:
        Frame with `hours` (Decimal, from which on the power is `power_kw`) and `power_kw`
        (Decimal), the largest first; the last row ends the curve.
    """
    powers = list(totals["power_kw"])
    lengths = [end - start for start, end in zip(totals["start"], totals["end"], strict=True)]
    order = sorted(range(len(powers)), key=lambda index: (-powers[index], index))
    rows, passed = [], timedelta(0)
    for index in order:
        rows.append((_hours(passed), powers[index]))
        passed += lengths[index]
    if order:
        rows.append((_hours(passed), powers[order[-1]]))
    return pd.DataFrame(rows, columns=["hours", "power_kw"], dtype=object)


def _hours(length: timedelta) -> Decimal:
    minutes = Decimal(length // timedelta(minutes=1))
    return (minutes / 60).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def peak_day(table: pd.DataFrame) -> str | None:
    """The day of the largest total over all released cells; None if nothing is released."""
    figures = load_figures(interval_totals(choose_rows(table)))
    return None if figures is None else figures.peak_start.strftime("%Y-%m-%d")


def curves(rows: pd.DataFrame, *, split: Split) -> pd.DataFrame:
    """Mean power over the clock, one curve per day, zone or class.

    Split by zone or class, a curve is the mean over the days of `rows`.

    Returns:
        Frame with `curve` (its name), `clock` and `power_kw` (Decimal).
    """
    parts = []
    for name, part in rows.groupby(split, sort=True):
        totals = interval_totals(part)
        powers = totals.groupby("clock", sort=True)["power_kw"].agg(_mean)
        parts.append(
            pd.DataFrame({"curve": str(name), "clock": powers.index, "power_kw": powers.values})
        )
    if not parts:
        return pd.DataFrame(columns=["curve", "clock", "power_kw"], dtype=object)
    return pd.concat(parts, ignore_index=True)


def _mean(powers: Iterable[Decimal]) -> Decimal:
    powers = list(powers)
    return (sum(powers, Decimal(0)) / len(powers)).quantize(_WATT, rounding=ROUND_HALF_UP)
