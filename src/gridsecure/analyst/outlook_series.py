"""Series of days and months from verified releases, in which nothing is filled in.

Invariants: a number is the sum of released cells of one group; a day or month of which anything is
withheld or missing has none. A group is what a release tells together: zones and classes that were
merged in one release and not in another are other groups. Corrections (`rebill`) are not added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Final, Literal

from gridsecure.analyst.releases import BILL, LOAD_CURVE, Release, ReleasedCell
from gridsecure.errors import InputError
from gridsecure.plans.cells import ENERGY, MONEY, Place

Grain = Literal["day", "month"]
UNITS: Final[Mapping[str, tuple[str, int]]] = {ENERGY: ("kWh", 1000), MONEY: ("yuan", 100)}
"""Of a measure: the unit that people read, and how many of a release's units are one."""
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class OutlookSeries:
    """One quantity of one group over time.

    Args:
        parts: The zones and classes of the group.
        measure: `energy_wh` or `amount_fen`.
        numbers: By day, or by the first day of a month; None where it was not told as a whole.
    """

    parts: tuple[Place, ...]
    measure: str
    grain: Grain
    numbers: Mapping[date, int | None]

    @property
    def told(self) -> dict[date, int]:
        """What was told, in order."""
        return {at: n for at, n in sorted(self.numbers.items()) if n is not None}


def read_series(releases: Iterable[Release]) -> list[OutlookSeries]:
    """Days from load curves and months from bills, by group.

    Raises:
        InputError: Two releases tell the same with different numbers (`outlook.two-releases`).
    """
    found: dict[tuple[tuple[Place, ...], str, Grain], dict[date, int | None]] = defaultdict(dict)
    for release in releases:
        for parts, measure, grain, at, number in _numbers(release):
            series = found[parts, measure, grain]
            before = series.get(at)
            if before is not None and number not in (None, before):
                raise InputError(
                    f"Two releases tell {at} of one group, with different numbers.",
                    reason="outlook.two-releases",
                    remedy="Give the releases of one version of a month.",
                )
            series[at] = before if number is None else number
    return [OutlookSeries(*key, numbers) for key, numbers in sorted(found.items())]


def _numbers(
    release: Release,
) -> Iterator[tuple[tuple[Place, ...], str, Grain, date, int | None]]:
    if release.plan == BILL:
        for cell in release.cells:
            if cell.measure in UNITS:
                yield cell.parts, cell.measure, "month", cell.start.date(), cell.value
    if release.plan == LOAD_CURVE:
        days: dict[tuple[tuple[Place, ...], date], list[ReleasedCell]] = defaultdict(list)
        for cell in release.cells:
            days[cell.parts, cell.start.date()].append(cell)
        for (parts, day), cells in days.items():
            yield parts, ENERGY, "day", day, _sum_day(day, cells)


def _sum_day(day: date, cells: list[ReleasedCell]) -> int | None:
    """The energy of a local day [Wh]; None unless every part of it is told."""
    ordered = sorted(cells, key=lambda cell: cell.start)
    is_whole = (
        ordered[0].start.time() == time(0)
        and _local(ordered[-1].end) == datetime.combine(day + _DAY, time(0))
        and all(one.end == other.start for one, other in pairwise(ordered))
    )
    values = [cell.value for cell in ordered if cell.value is not None]
    return sum(values) if is_whole and len(values) == len(ordered) else None


def _local(moment: datetime) -> datetime:
    """A moment as the clock of the supply area showed it."""
    return moment.replace(tzinfo=None)
