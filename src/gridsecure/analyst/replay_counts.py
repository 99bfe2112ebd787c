"""Whether a certificate's cells have the members that its rosters have.

A certificate lists the meter points and customers of every zone and class, by owner under numbers
of its own, and `merged_cells` merges its cells from these counts again. Here they are counted once
more, in the signed rosters that its transcripts were about. Owners' numbers are free; that each
stands for one owner throughout is compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gridsecure.analyst.releases import LOAD_CURVE
from gridsecure.errors import AuditBrokenError
from gridsecure.messages import CellTotal, CountedPlace, ReleaseCertificate, Transcript
from gridsecure.plans.cells import Crowd, Member, Place, roster_members, roster_places
from gridsecure.plans.execution import RosterData
from gridsecure.plans.merging import gather_crowds

_Read = Sequence[tuple[Transcript, Sequence[RosterData]]]
_Owned = tuple[int, Place, int, int]
"""Of which cells, zone and class, meter points and customers of an owner."""


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Who was counted in some time, by zone and class."""

    start: datetime
    end: datetime
    crowds: Mapping[Place, Crowd]


def compare_counts(certificate: ReleaseCertificate, read: _Read) -> AuditBrokenError | None:
    """Why the members of a certificate's cells are not those of its rosters.

    Args:
        certificate: Its own rules were verified. One of before cells were merged has no counts, and
            nothing is compared.
        read: Its transcripts, each with the rosters and uploads that it read.
    """
    counted = list(_count(certificate, read))
    said, true = defaultdict[int, set[_Owned]](set), defaultdict[str, set[_Owned]](set)
    for number, (crowds, places) in enumerate(_pair(certificate, counted)):
        if places is None or places.keys() != crowds.keys():
            return _other_members()
        for place, one in places.items():
            for own in one.counts:
                said[own.owner].add((number, place, own.points, own.customers))
            for owner, (points, customers) in crowds[place].by_owner().items():
                true[owner].add((number, place, points, customers))
    if Counter(map(frozenset, said.values())) != Counter(map(frozenset, true.values())):
        return _other_members()
    return None


def _count(certificate: ReleaseCertificate, read: _Read) -> Iterator[_Counted]:
    """Count the members of all bills together, and of load curves day by day."""
    if certificate.plan != LOAD_CURVE:
        rows = [row for _, datas in read for data in datas for row in _rows(data)]
        start, end = _moment(certificate.start), _moment(certificate.end)
        yield _Counted(start, end, gather_crowds(rows))
        return
    known: dict[tuple[str, ...], dict[Place, Crowd]] = {}
    for transcript, datas in read:
        rosters = tuple(transcript.rosters)
        if rosters not in known:
            known[rosters] = gather_crowds(row for data in datas for row in _rows(data))
        for span in {(entry.start, entry.end) for entry in transcript.outputs.values()}:
            yield _Counted(_moment(span[0]), _moment(span[1]), known[rosters])


def _rows(data: RosterData) -> list[tuple[Place, Member]]:
    """Members with their zone and class: of a correction those whose bills it corrects."""
    rows = list(zip(roster_places(data.roster), roster_members(data.roster), strict=True))
    corrected = data.upload.corrected_slots
    return [rows[slot] for slot in corrected] if corrected else rows


def _pair(
    certificate: ReleaseCertificate, counted: Sequence[_Counted]
) -> Iterator[tuple[Mapping[Place, Crowd], dict[Place, CountedPlace] | None]]:
    """Who was counted, and what the certificate says of them; None where that is not one thing."""
    by_span = defaultdict[tuple[str, str], list[CellTotal]](list)
    for cell in certificate.cells:
        by_span[cell.start, cell.end].append(cell)
    known = set[tuple[int, frozenset[int]]]()
    for (start, end), cells in by_span.items():
        crowds = _find(counted, _moment(start), _moment(end))
        numbers = frozenset(number for cell in cells for number in cell.parts)
        if (id(crowds), numbers) not in known:  # a month of half-hours has the same ones
            known.add((id(crowds), numbers))
            yield crowds, _named(certificate.places, numbers)


def _find(counted: Iterable[_Counted], start: datetime, end: datetime) -> Mapping[Place, Crowd]:
    return next((one.crowds for one in counted if one.start <= start and end <= one.end), {})


def _named(
    places: Sequence[CountedPlace], numbers: frozenset[int]
) -> dict[Place, CountedPlace] | None:
    named = {(one.zone, one.customer_class): one for one in (places[n] for n in numbers)}
    return named if len(named) == len(numbers) else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _other_members() -> AuditBrokenError:
    return AuditBrokenError(
        "The certificate counts other members of its cells than its rosters have.",
        reason="replay.members",
        remedy="Keep certificate and messages, and ask the key authority whom it counted.",
    )
