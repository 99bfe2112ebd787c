"""Batches that are answered before they are read: their bodies wait on the disk, and in order.

    readings/queue/<name>       a body; the row that names it is what makes it waiting

The body is synchronised before its row is kept, and the row before it is answered for. So what was
answered for is there after a kill, and a file without a row is nobody's: the next start removes it.
Reading a body takes the batch in like any other; the row goes afterwards. Killed in between, the
batch is found taken in and the row goes then, so nothing counts twice.

A source's batches are taken in in the order in which they came, because of equal readings the later
ones count: as long as one of a source waits, what it sends behind it waits too.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlmodel import Session, col, delete, select, update

from gridsecure.errors import GridSecureError, InvalidReadingsError, StorageError
from gridsecure.gateway.ingestion.batch_rules import NoteReadings
from gridsecure.gateway.ingestion.batches import (
    REFUSED,
    WAITING,
    Arrival,
    BatchName,
    KnownNames,
    batch_folder,
    is_taken_in,
    take_in,
)
from gridsecure.gateway.ingestion.sources import Source, find_stopped
from gridsecure.gateway.ingestion.spooled_bodies import DiskShare, SpooledBody
from gridsecure.gateway.tables import QueuedBatchRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.store.rows import find

MOST_ATTEMPTS: Final = 5
"""How often a body is begun whose reading ends the gateway, before it is refused."""

_KEPT_REFUSALS: Final = timedelta(days=30)


class BatchQueue:
    """The bodies that wait; one for a gateway's folder, safe for threads.

    Attributes:
        share: What bodies may take of the disk.
        changes: Differs whenever another batch waits, or one waits no longer.
    """

    def __init__(self, zone: GatewayZone, *, limit: int) -> None:
        """Find what waits, and remove what belongs to nobody; call it while nobody sends.

        Args:
            limit: What bodies may take of the disk together [bytes].
        """
        self._zone = zone
        self._lock = threading.Lock()
        waiting = select(QueuedBatchRow).where(QueuedBatchRow.state == WAITING)
        with read_session(zone.engine) as session:
            rows = session.exec(waiting).all()
        names = {row.file for row in rows}
        for path in self._folder.glob("*"):
            if path.name not in names:
                path.unlink(missing_ok=True)
        self._sources = Counter(row.source for row in rows)
        self.share = DiskShare(limit, taken=sum(row.size for row in rows))
        self.changes = (secrets.token_hex(8), 0)

    def has_waiting(self, source: str) -> bool:
        """Whether a batch of a source waits."""
        with self._lock:
            return self._sources[source] > 0

    def waiting_sources(self) -> frozenset[str]:
        """Sources of which a batch waits."""
        with self._lock:
            return frozenset(source for source, number in self._sources.items() if number > 0)

    def add(self, body: SpooledBody, arrival: Arrival) -> bool:
        """Have a batch wait, durably; one that waits or was taken in before changes nothing.

        Args:
            body: Whose bytes `share` counts; it is finished here.

        Returns:
            Whether it waits; if not, it was taken in before.

        Raises:
            InputError: Its name is none (`batch.name`).
            ConflictError: Its id or its sequence is another batch's (`conflict.batch`).
            GridSecureError: Its source may send no longer, as `find_source`; it does not wait.
            StorageError: The disk or the database could not take it; it does not wait.
        """
        arrival.name.check()
        digest = body.finish()
        if is_taken_in(self._zone, arrival, digest):
            return False
        name = secrets.token_hex(16)
        body.keep(self._folder / name)
        with write_session(self._zone.engine) as session:
            for stopped in find_stopped(session, [arrival.source]).values():
                raise stopped
            if KnownNames(session, [arrival]).check(arrival, digest):
                return False
            known = _find(session, arrival.source.name, arrival.name.batch_id)
            if known is not None and known.state == WAITING:
                return True
            if known is not None:  # nothing of it was taken in, so its id is free
                session.delete(known)
                session.flush()
            session.add(_row(arrival, digest, size=body.size, file=name))
        body.leave()
        self._count(arrival.source.name, 1)
        return True

    def find(self, source: str, batch_id: str) -> QueuedBatchRow | None:
        """A batch that waits or was refused."""
        with read_session(self._zone.engine) as session:
            return _find(session, source, batch_id)

    def first(self, *, but: Collection[str] = ()) -> QueuedBatchRow | None:
        """The batch that waits longest.

        Args:
            but: Sources whose batches have to wait for now.
        """
        waiting = select(QueuedBatchRow).where(
            QueuedBatchRow.state == WAITING, col(QueuedBatchRow.source).not_in(but)
        )
        with read_session(self._zone.engine) as session:
            return session.exec(waiting.order_by(col(QueuedBatchRow.id))).first()

    def read(self, row: QueuedBatchRow, *, note: NoteReadings) -> None:
        """Take a batch in, and have it wait no longer.

        Args:
            note: As for `take_in`; what it raises ends the reading and leaves the batch waiting.

        Raises:
            InvalidReadingsError: The body cannot be read, now or ever (`readings.unreadable`,
                or as `take_in`); it still waits.
            StorageError: It cannot be read or stored now; it still waits.
        """
        if row.attempts >= MOST_ATTEMPTS:
            raise InvalidReadingsError(
                f"The gateway ended {row.attempts} times while it read this body.",
                reason="readings.unreadable",
                remedy="Send the readings in smaller batches.",
            )
        self._note_attempts(row, row.attempts + 1)
        try:
            with SpooledBody.reopen(self._folder / row.file) as body:
                if body.finish() != row.body_digest:
                    raise _altered()
                take_in(self._zone, body, arrival=_arrival(row), note=note)
        except BaseException:  # also an interrupt
            # Only a process that ends here has not counted this attempt back.
            self._note_attempts(row, row.attempts)
            raise
        with write_session(self._zone.engine) as session:
            session.exec(delete(QueuedBatchRow).where(col(QueuedBatchRow.id) == row.id))
        self._remove(row)

    def refuse(self, row: QueuedBatchRow, refusal: str, *, at: datetime) -> None:
        """Have a batch wait no longer, because it cannot be taken in.

        Args:
            refusal: Why, as JSON; kept for thirty days.
            at: The present.
        """
        old = delete(QueuedBatchRow).where(
            col(QueuedBatchRow.state) == REFUSED, col(QueuedBatchRow.at) < at - _KEPT_REFUSALS
        )
        changed = {"state": REFUSED, "refusal": refusal, "file": "", "at": at}
        with write_session(self._zone.engine) as session:
            session.exec(old)
            session.exec(
                update(QueuedBatchRow).where(col(QueuedBatchRow.id) == row.id).values(**changed)
            )
        self._remove(row)

    def _note_attempts(self, row: QueuedBatchRow, attempts: int) -> None:
        changed = update(QueuedBatchRow).where(col(QueuedBatchRow.id) == row.id)
        with write_session(self._zone.engine) as session:
            session.exec(changed.values(attempts=attempts))

    def _remove(self, row: QueuedBatchRow) -> None:
        (self._folder / row.file).unlink(missing_ok=True)
        self.share.give(row.size)
        self._count(row.source, -1)

    def _count(self, source: str, more: int) -> None:
        """Count what waits of a source, once that is kept."""
        with self._lock:
            self._sources[source] += more
            self.changes = (self.changes[0], self.changes[1] + 1)

    @property
    def _folder(self) -> Path:
        return batch_folder(self._zone) / "queue"


def list_queued(
    session: Session, asked: PageAsked, *, state: str
) -> tuple[Sequence[QueuedBatchRow], int | None]:
    """Batches that wait, or that were refused, in the order in which they came, page by page.

    Args:
        state: `WAITING` or `REFUSED`.
    """
    found = select(QueuedBatchRow).where(QueuedBatchRow.state == state)
    page = read_page(session, found, key=QueuedBatchRow.id, asked=asked)
    return page.rows, page.after


def _find(session: Session, source: str, batch_id: str) -> QueuedBatchRow | None:
    return find(session, QueuedBatchRow, source=source, batch_id=batch_id)


def _row(arrival: Arrival, digest: str, *, size: int, file: str) -> QueuedBatchRow:
    return QueuedBatchRow(
        source=arrival.source.name,
        batch_id=arrival.name.batch_id,
        sequence=arrival.name.sequence,
        body_digest=digest,
        size=size,
        file=file,
        declared=json.dumps(asdict(arrival.source)),
        state=WAITING,
        attempts=0,
        refusal="",
        at=arrival.at,
    )


def _arrival(row: QueuedBatchRow) -> Arrival:
    declared = json.loads(row.declared)
    lists = {name: tuple(declared.get(name, ())) for name in ("meter_points", "formats")}
    source = Source(**declared | lists)
    return Arrival(source, BatchName(row.batch_id, row.sequence), row.at, is_answered=True)


def is_for_later(error: GridSecureError) -> bool:
    """Whether a batch that could not be read may be read later."""
    return isinstance(error, StorageError) and error.reason != "storage.read"


def _altered() -> StorageError:
    return StorageError(
        "The body of a batch that waited is not the one that came.",
        reason="storage.read",
        remedy="Send the batch again.",
    )
