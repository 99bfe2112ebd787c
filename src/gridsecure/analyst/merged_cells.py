"""What the cells of a certificate are made of, and whether they were merged as its policy says.

The certificate has the counts of every zone and class, and the steps of its policy. From these the
cells are merged again; a certificate with other cells is refused as a whole. Certificates of before
cells were merged have no counts: each of their cells is a zone and class.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gridsecure.errors import ReleaseRefusedError
from gridsecure.messages import CellTotal, CountedPlace, ReleaseCertificate
from gridsecure.plans.cells import UNMERGED, WHOLE, Crowd, Member, Minima, Place, is_enough
from gridsecure.plans.merging import Merged, merge_cells

NAMED: Final = 3
"""So many zones or classes of a cell are named."""

_Span = tuple[str, str]


@dataclass(frozen=True, slots=True)
class CellRule:
    """What a certificate's own policy says of a cell.

    Args:
        parts: The zones and classes that it is made of.
        minimum: Fewest customers that a measure of it may be about; None where it permits none.
        is_met: Whether its customers are enough, also without those of any one owner of gateways.
        limit: Largest share of it that one customer may have [%]; `WHOLE` is no limit.
    """

    parts: tuple[Place, ...]
    minimum: int | None
    is_met: bool
    limit: int = WHOLE


def pick_named(words: Iterable[str]) -> tuple[list[str], int]:
    """Which of a cell's zones or classes are named, and how many more there are.

    >>> pick_named(["futian", "luohu", "futian"]), pick_named("edcba")
    ((['futian', 'luohu'], 0), (['a', 'b'], 3))
    """
    found = sorted(set(words))
    shown = found if len(found) <= NAMED else found[: NAMED - 1]
    return shown, len(found) - len(shown)


def name_cell(parts: Iterable[Place]) -> tuple[str, str]:
    """The zones and the classes of a cell in English, for the command."""
    zones, classes = zip(*parts, strict=True)
    return _named_english(zones), _named_english(classes)


def _named_english(words: Iterable[str]) -> str:
    shown, more = pick_named(words)
    return " + ".join([*shown, *([f"{more} more"] if more else [])])


def list_policies(certificate: ReleaseCertificate) -> list[Minima]:
    """What a certificate's policy permits, of each resolution."""
    merging, shares = certificate.merging, certificate.dominance
    return [
        Minima(by_class, merging.get(resolution, UNMERGED), shares.get(resolution, {}))
        for resolution, by_class in certificate.minima.items()
    ]


class CellRules:
    """The rules of a certificate's cells.

    Args:
        policies: What its policy permits, of each resolution.
        least: The smallest minimum, which certificates of before there were policies have alone.
        is_hidden: Whether nothing says of which classes the members of a cell are, as in answers to
            sealed questions: then the smallest minimum of any class is all that can be checked.

    Raises:
        ReleaseRefusedError: Cells are not those that the policy makes of the counts
            (`release.merged`).
    """

    def __init__(
        self,
        cells: Sequence[CellTotal],
        *,
        places: Sequence[CountedPlace],
        policies: Sequence[Minima],
        least: int,
        is_hidden: bool = False,
    ) -> None:
        self._is_hidden = is_hidden
        self._places = places
        self._least = least
        self._policies = policies
        self._merged: dict[_Span, tuple[Merged, Mapping[Place, Crowd]]] = {}
        if places:
            self._merge_again(cells)

    def find(self, cell: CellTotal) -> CellRule:
        """The rule of a cell."""
        place = (cell.zone, cell.customer_class)
        if not self._places:
            minimum = self._of_plain(place, cell.measure)
            return CellRule((place,), minimum, minimum is not None and cell.members >= minimum)
        merged, crowds = self._merged[cell.start, cell.end]
        minimum = merged.minima[place].get(cell.measure)
        is_met = minimum is not None and is_enough(crowds[place], minimum=minimum)
        limit = merged.limits.get(place, WHOLE)
        return CellRule(tuple(self._named(cell.parts)), minimum, is_met, limit)

    def _of_plain(self, place: Place, measure: str) -> int | None:
        if not self._policies:
            return self._least
        fewest = [
            own.get(measure)
            for policy in self._policies
            for own in (policy.by_class.values() if self._is_hidden else [policy.of(place)])
        ]
        # Of several resolutions the certificate does not say which a cell is of: the smallest
        # holds.
        return min((one for one in fewest if one is not None), default=None)

    def _merge_again(self, cells: Iterable[CellTotal]) -> None:
        by_span: dict[_Span, dict[Place, tuple[int, ...]]] = defaultdict(dict)
        for cell in cells:
            made = by_span[cell.start, cell.end]
            place, parts = (cell.zone, cell.customer_class), tuple(cell.parts)
            points = sum(one.points for part in self._look_up(parts) for one in part.counts)
            if made.setdefault(place, parts) != parts or points != cell.members:
                raise _other_cells()
        # A month of half-hours has the same cells again and again.
        known: dict[tuple[tuple[Place, tuple[int, ...]], ...], tuple[Merged, dict[Place, Crowd]]]
        known = {}
        for span, made in by_span.items():
            key = tuple(sorted(made.items()))
            if key not in known:
                known[key] = self._check(made)
            self._merged[span] = known[key]

    def _check(self, made: Mapping[Place, tuple[int, ...]]) -> tuple[Merged, dict[Place, Crowd]]:
        """Merge the places of one time again, by the policy of each resolution in turn."""
        crowds: dict[Place, Crowd] = {}
        joint: dict[Place, Crowd] = defaultdict(Crowd)
        into: dict[Place, Place] = {}
        for cell, parts in made.items():
            for part in self._look_up(parts):
                place = (part.zone, part.customer_class)
                if place in into:
                    raise _other_cells()
                into[place], crowds[place] = cell, _crowd(part)
                joint[cell].add_all(crowds[place])
        for policy in self._policies:
            merged = merge_cells(crowds, minima=policy)
            if merged.into == into:
                return merged, joint
        raise _other_cells()

    def _look_up(self, parts: Iterable[int]) -> list[CountedPlace]:
        try:
            return [self._places[number] for number in parts]
        except IndexError as error:
            raise _other_cells() from error

    def _named(self, parts: Iterable[int]) -> list[Place]:
        return [(part.zone, part.customer_class) for part in self._look_up(parts)]


def _crowd(part: CountedPlace) -> Crowd:
    crowd = Crowd()
    for one in part.counts:
        owner = str(one.owner)
        crowd.add(Member("", owner, True), times=one.customers)
        crowd.add(Member("", owner, False), times=one.points - one.customers)
    return crowd


def _other_cells() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "The cells of the release are not those that its policy makes of the counts in it.",
        reason="release.merged",
        remedy="Nothing of it is shown. Tell the security officer.",
    )
