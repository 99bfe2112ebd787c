"""Merging cells that are too small to be told of with their neighbours, along published steps.

A cell is a zone and customer class. One that is below its minimum is put together with all others
of its area that are, and told as one cell if they are enough together; if not, they all go up to
the next larger area, or to the group of their class. What is too small at the last step is told in
no cell. So whoever is in a cell of its own zone and class stays there, every meter point is in one
cell or in none, and no released number includes whoever is in none.

Only counts are looked at: meter points and customers of each zone, class and owner of gateways.
The platform, the checker, the vault and whoever reads a certificate come to the same cells from the
same counts. What was told before is no part of it: the ledger withholds a merged cell that cannot
be told beside that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gridsecure.messages import MergeStep
from gridsecure.plans.cells import WHOLE, Crowd, Member, Minima, Place, is_enough

OTHERS = "*"
"""Stands for whatever no area or group of a step names."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What cells there are after merging.

    Args:
        into: Zone and class -> the cell that it is told in: its own, or a merged one.
        minima: Cell -> measure -> fewest customers.
        limits: Cell -> the largest share of it that one customer may have [%]; what is not in it
            has no limit.
    """

    into: Mapping[Place, Place]
    minima: Mapping[Place, Mapping[str, int]]
    limits: Mapping[Place, int] = field(default_factory=dict)

    def parts(self) -> dict[Place, list[Place]]:
        """The zones and classes of every cell, both in order."""
        found: dict[Place, list[Place]] = defaultdict(list)
        for place in sorted(self.into):
            found[self.into[place]].append(place)
        return dict(sorted(found.items()))

    def total(self, values: Mapping[Place, int]) -> Counter[Place]:
        """Numbers of zones and classes, added up by cell."""
        sums = Counter[Place]()
        for place, value in values.items():
            sums[self.into[place]] += value
        return sums


def merge_cells(crowds: Mapping[Place, Crowd], *, minima: Minima) -> Merged:
    """Put zones and classes that are too small together, as the module says.

    Args:
        crowds: Who is in each zone and class.

    >>> from gridsecure.messages import Merging
    >>> city = Merging(classes=["*"], steps=[MergeStep(areas={"city": ["*"]})])
    >>> minima = Minima({"*": {"energy_wh": 15}}, city)
    >>> crowds = {(zone, "home"): Crowd() for zone in ("a", "b", "c")}
    >>> for (zone, _), count in zip(crowds, (20, 9, 8), strict=True):
    ...     crowds[zone, "home"].add(Member("", "utility", True), times=count)
    >>> merge_cells(crowds, minima=minima).into
    {('a', 'home'): ('a', 'home'), ('b', 'home'): ('city', 'home'), ('c', 'home'): ('city', 'home')}
    """
    into = {place: place for place in crowds}
    small = [p for p in sorted(crowds) if minima.merges(p) and not _is_told([p], crowds, minima)]
    for step in minima.merging.steps:
        beside: dict[Place, list[Place]] = defaultdict(list)
        for place in small:
            if (node := find_node(step, place)) is not None:
                beside[node].append(place)
        for node, places in sorted(beside.items()):
            if len(places) > 1 and _is_told(places, crowds, minima):
                name = _free_name(node, {*into, *into.values()})
                into |= dict.fromkeys(places, name)
                small = [place for place in small if place not in places]
    cells: dict[Place, list[Place]] = defaultdict(list)
    for place, cell in into.items():
        cells[cell].append(place)
    shares = {cell: min(map(minima.limit_of, places)) for cell, places in cells.items()}
    return Merged(
        into,
        {cell: _joint(places, minima) for cell, places in cells.items()},
        {cell: share for cell, share in shares.items() if share < WHOLE},
    )


def find_node(step: MergeStep, place: Place) -> Place | None:
    """Where a step puts a zone and class; None if it leaves them as they are."""
    area = find_name(step.areas, place[0])
    group = find_name(step.groups, place[1]) if step.groups else place[1]
    return None if area is None or group is None else (area, group)


def find_name(named: Mapping[str, Collection[str]], word: str) -> str | None:
    """The name of the list that a word is in, or that stands for all that is in none."""
    for wanted in (word, OTHERS):
        for name, words in named.items():
            if wanted in words:
                return name
    return None


def gather_crowds(rows: Iterable[tuple[Place, Member]]) -> dict[Place, Crowd]:
    """Who is in each zone and class."""
    crowds: dict[Place, Crowd] = defaultdict(Crowd)
    for place, member in rows:
        crowds[place].add(member)
    return dict(crowds)


def _joint(places: Iterable[Place], minima: Minima) -> dict[str, int]:
    """By measure, the largest minimum of some zones and classes, where all of them have one."""
    own = [minima.of(place) for place in places]
    shared = frozenset(own[0]).intersection(*own)
    return {measure: max(one[measure] for one in own) for measure in sorted(shared)}


def _is_told(places: Collection[Place], crowds: Mapping[Place, Crowd], minima: Minima) -> bool:
    """Whether some zones and classes have enough customers together."""
    fewest = _joint(places, minima)
    crowd = Crowd()
    for place in places:
        crowd.add_all(crowds[place])
    return bool(fewest) and is_enough(crowd, minimum=max(fewest.values()))


def _free_name(node: Place, taken: Collection[Place]) -> Place:
    """A step's name for a cell, or with a number where a zone and class have that name already."""
    name, number = node, 1
    while name in taken:
        number += 1
        name = (f"{node[0]} ({number})", node[1])
    return name
