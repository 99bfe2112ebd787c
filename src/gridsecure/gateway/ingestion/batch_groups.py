"""Small batches that came at once, taken in together, each as if it had come alone.

What costs the same for many as for one is done once: finding the sources, asking for names, the
wait for the disk, the commit. Each body is read, judged, counted, written and signed for by
itself, so that nothing of a batch depends on those beside it. A fault of one concerns that one
alone; a fault of the disk or the commit concerns all that it was for, and none of them is kept.

Only bodies of the plainest form are taken in here; what else came is given back for `take_in`. Of
batches that share an id or a sequence the first one is done before the next one is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError, StorageError
from gridsecure.gateway.books.register import find_contracted
from gridsecure.gateway.ingestion.batch_packs import BatchPack
from gridsecure.gateway.ingestion.batch_rules import Counts, broken_rules
from gridsecure.gateway.ingestion.batches import (
    Arrival,
    BatchName,
    KnownNames,
    TakenIn,
    WrittenBatch,
    batch_folder,
    keep_batches,
    load_batch,
    prepare_batch,
    states_of,
)
from gridsecure.gateway.ingestion.plain_lines import read_plain_lines
from gridsecure.gateway.ingestion.sources import Source, find_sources
from gridsecure.gateway.ingestion.stored_readings import batch_file, disk_errors, energies_file
from gridsecure.gateway.zone import IntakeZone
from gridsecure.store.database import read_session

Outcome = TakenIn | Source | GridSecureError
"""What became of a batch: it is taken in; it is its source's, and was left; or why it is not."""


_Name = tuple[str, str | int]
"""A source, and the id or the sequence of a batch of it."""


@dataclass(frozen=True, slots=True)
class SmallBatch:
    """A batch as it came, in memory.

    Args:
        thumbprint: Of its source's key.
        at: When it came.
    """

    thumbprint: str
    name: BatchName
    at: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A batch whose source is known.

    Args:
        digest: Of its body.
    """

    arrival: Arrival
    body: bytes
    digest: str

    @property
    def names(self) -> set[_Name]:
        """Its id and its sequence, which it shares with no other batch."""
        source, name = self.arrival.source.name, self.arrival.name
        return {(source, name.batch_id), (source, name.sequence)}


def take_in_together(
    zone: IntakeZone, sent: Sequence[SmallBatch], *, waiting: Collection[str]
) -> list[Outcome]:
    """Take in batches, in the order in which they came.

    Args:
        waiting: Sources of which a batch waits; those behind it are left.

    Raises:
        StorageError: The database could not be read; nothing was taken in.
    """
    sources = find_sources(zone, {one.thumbprint for one in sent})
    outcomes: list[Outcome] = [sources[one.thumbprint] for one in sent]
    arrived = {
        number: _Arrived(Arrival(source, one.name, one.at), one.body, sm3_hex(one.body))
        for number, (one, source) in enumerate(zip(sent, outcomes, strict=True))
        if isinstance(source, Source) and source.name not in waiting
    }
    left: set[_Name] = set()
    while arrived:
        group = _without_namesakes(arrived)
        found = _take_in(zone, [arrived[number] for number in group])
        for number, outcome in zip(group, found, strict=True):
            outcomes[number] = outcome
            own = arrived.pop(number).names
            if isinstance(outcome, Source):
                left |= own
        # Whoever has the name of one that was left comes behind it, and so is left, too.
        for number, one in tuple(arrived.items()):
            if one.names & left:
                left |= arrived.pop(number).names
    return outcomes


def _without_namesakes(arrived: Mapping[int, _Arrived]) -> list[int]:
    """The first batches of each name."""
    taken: set[_Name] = set()
    group = []
    for number, one in arrived.items():
        if not one.names & taken:
            group.append(number)
        taken |= one.names
    return group


def _take_in(zone: IntakeZone, group: Sequence[_Arrived]) -> list[Outcome]:
    """Take in batches of different names."""
    outcomes: dict[int, Outcome] = {}
    written: dict[int, WrittenBatch] = {}
    pack = BatchPack(batch_folder(zone))
    with read_session(zone.engine) as session:
        known = KnownNames(session, [one.arrival for one in group])
    for number, one in enumerate(group):
        found = _read(zone, one, known=known, pack=pack)
        if isinstance(found, WrittenBatch):
            written[number] = found
        else:
            outcomes[number] = found
    if written:
        outcomes |= _keep(zone, written, pack=pack)
    return [outcomes[number] for number in range(len(group))]


def _read(
    zone: IntakeZone, one: _Arrived, *, known: KnownNames, pack: BatchPack
) -> WrittenBatch | Outcome:
    """Put a batch's readings into a pack, or say why there are none."""
    try:
        one.arrival.name.check()
        if known.check(one.arrival, one.digest):
            return _first_receipt(zone, one.arrival)
        return _write(zone, one, pack=pack) or one.arrival.source
    except GridSecureError as refused:
        return refused
    except Exception:  # noqa: BLE001 - whatever one body breaks, the others are taken in
        return one.arrival.source  # its route meets the same, and answers for it alone


def _write(zone: IntakeZone, one: _Arrived, *, pack: BatchPack) -> WrittenBatch | None:
    """Write a batch's readings and count them; None if it is not of the plainest form."""
    source = one.arrival.source
    plain = read_plain_lines(one.body, source)
    if plain is None:
        return None
    columns, counts = plain.columns, Counts(zone.timezone, zone.cycle_day)
    broken = broken_rules(columns, scope=source.meter_points, at=one.arrival.at)
    counts.add(columns, broken)
    data = energies_file(columns, energy_wh=plain.energy_wh, broken=broken, timezone=zone.timezone)
    digest = sm3_hex(data)
    pack.add(batch_file(digest, has_faces=False), data)
    return WrittenBatch(one.arrival, counts, one.digest, digest, pack.name)


def _keep(
    zone: IntakeZone, written: Mapping[int, WrittenBatch], *, pack: BatchPack
) -> dict[int, Outcome]:
    """Sign for batches and keep them."""
    counts = [one.counts for one in written.values()]
    months = states_of(zone, set().union(*(one.months for one in counts)))
    contracted = find_contracted(zone, set().union(*(one.meter_points for one in counts)))
    prepared = [
        prepare_batch(zone, one, months=months, contracted=contracted) for one in written.values()
    ]
    kept: Sequence[bool | GridSecureError]
    try:
        with disk_errors():
            pack.keep()
        kept = keep_batches(prepared)
    except StorageError as failed:
        kept = [failed] * len(prepared)
    outcomes: dict[int, Outcome] = {}
    for number, batch, outcome in zip(written, prepared, kept, strict=True):
        if isinstance(outcome, GridSecureError):
            outcomes[number] = outcome
        elif outcome:
            outcomes[number] = batch.taken_in
        else:
            outcomes[number] = _first_receipt(zone, batch.written.arrival)
    return outcomes


def _first_receipt(zone: IntakeZone, arrival: Arrival) -> TakenIn | GridSecureError:
    """What the source of a batch that was taken in before is told."""
    try:
        return load_batch(zone, source=arrival.source.name, batch_id=arrival.name.batch_id)
    except GridSecureError as failed:
        return failed
