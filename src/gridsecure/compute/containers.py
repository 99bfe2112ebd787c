"""The platform's objects: what comes together is stored together, and an index says where.

A roster's month is some hundred columns, and a store charges by the object and answers by the
request. So what one request brought is one object of the store, a container, and what one job wrote
is one of every few megabytes, so that none is held whole. What lies in it are objects like any
other: found by digest through two tables, read by a range request, and verified by their own
digests. What came alone is stored alone.

A container is stored first; then one transaction names it and all that lies in it. A process killed
in between leaves an object that no row names, which `sweep` removes. A sweep removes while it holds
the write lock, and whoever names a container looks for it under the same lock: so none is named
that a sweep has just taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session, col, delete, exists, insert, or_, select

from gridsecure.compute.tables import ExtentRow, StoredRow
from gridsecure.compute.tallies import STORED_BYTES, count
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, NotFoundError, StorageError
from gridsecure.store.database import read_session, write_session
from gridsecure.store.object_folder import StoredObject
from gridsecure.store.objects import (
    CONTAINER,
    Extent,
    ObjectStore,
    store_together,
)
from gridsecure.store.rows import find_many
from gridsecure.store.sweeping import LOOKED_FOR, Swept, check_zone

_ATTEMPTS: Final = 3
_PORTION: Final = 500  # digests in one query
_SWEPT_AT_ONCE: Final = 100  # removed under one lock


class PlatformObjects:
    """Objects by digest.

    Args:
        store: What keeps them.
        engine: The platform's database, which has the index.
    """

    def __init__(self, store: ObjectStore, engine: Engine) -> None:
        self.store = store
        self._engine = engine

    def put(self, data: bytes, *, digest: str = "") -> str:
        """Store bytes alone and return their name.

        Alone also where a container has them already: a worker, which has no index, finds tariffs
        and keys by their names, and any gateway may bring such bytes as a column.

        Raises:
            StorageError: As `ObjectStore.put`.
        """
        digest = digest or sm3_hex(data)
        self._store({digest: data})
        return digest

    def put_together(self, objects: Mapping[str, bytes]) -> None:
        """Store objects in one container; those that are here and sound stay where they are.

        Args:
            objects: Their bytes by digest.

        Raises:
            StorageError: As `ObjectStore.put`; all of them are stored or none is found.
        """
        known = self.find_extents(objects)
        fresh = {
            digest: data for digest, data in objects.items() if not self._holds(known, digest, data)
        }
        if fresh:
            self._store(fresh)

    def name_extents(self, session: Session, extents: Sequence[Extent]) -> None:
        """Name what `store_together` stored, instead of where it was before, if anywhere.

        Args:
            session: From `write_session`.
            extents: What was stored.

        Raises:
            StorageError: A sweep took a container that lay here unnamed (`storage.swept`).
        """
        # In their order, the last one ends its container.
        sizes = {extent.container: extent.offset + extent.length for extent in extents}
        if not all(self.store.has(name) for name in sizes):
            raise StorageError(
                "Objects were swept while they were stored.",
                reason="storage.swept",
                remedy="Try again.",
            )
        known = find_many(session, StoredRow, list(sizes), by="name")
        new = [{"name": name, "size": sizes[name]} for name in sizes if name not in known]
        if new:
            session.execute(insert(StoredRow), new)
            count(session, STORED_BYTES, sum(sizes[str(row["name"])] for row in new))
            known = find_many(session, StoredRow, list(sizes), by="name")
        within = [extent for extent in extents if extent.container != extent.digest]
        for portion in _portions([extent.digest for extent in extents]):
            session.execute(delete(ExtentRow).where(col(ExtentRow.digest).in_(portion)))
        if within:
            rows = [
                {
                    "digest": extent.digest,
                    "stored_id": known[extent.container].id,
                    "starts": extent.offset,
                    "size": extent.length,
                }
                for extent in within
            ]
            session.execute(insert(ExtentRow), rows)

    def get(self, digest: str) -> bytes:
        """Return an object's bytes after hashing them again.

        Raises:
            GridSecureError: As `ObjectStore.get`.
        """
        (data,) = self.get_first([digest], most=0)
        return data

    def get_first(self, digests: Sequence[str], *, most: int) -> list[bytes]:
        """The first of some objects, hashed again: until they hold so many bytes, and one at least.

        Raises:
            GridSecureError: As `ObjectStore.get`.
        """
        extents, found, size = self.find_extents(digests), list[bytes](), 0
        for digest in digests:
            extent = extents.get(digest)
            data = self.store.get(digest) if extent is None else self.store.get_extent(extent)
            found.append(data)
            size += len(data)
            if size >= most:
                break
        return found

    def has(self, digest: str) -> bool:
        """Say whether an object is stored; its bytes are not checked.

        Raises:
            StorageError: As `ObjectStore.has`.
        """
        return not self.list_missing([digest])

    def size(self, digest: str) -> int:
        """Return an object's length [bytes] without reading it.

        Raises:
            GridSecureError: As `ObjectStore.size`.
        """
        extent = self.find_extents([digest]).get(digest)
        return self.store.size(digest) if extent is None else extent.length

    def list_missing(self, digests: Sequence[str]) -> list[str]:
        """Those of some objects that are not stored, in their order.

        Raises:
            StorageError: As `ObjectStore.has`.
        """
        places = {digest: extent.container for digest, extent in self.find_extents(digests).items()}
        others = [name for name in digests if name not in places and not name.endswith(CONTAINER)]
        with read_session(self._engine) as session:
            places |= {name: name for name in find_many(session, StoredRow, others, by="name")}
        there = {name for name in {*places.values()} if self.store.has(name)}
        return [digest for digest in digests if places.get(digest) not in there]

    def find_extents(self, digests: Iterable[str]) -> dict[str, Extent]:
        """Where those of some objects lie that are in containers; others lie alone."""
        found: dict[str, Extent] = {}
        with read_session(self._engine) as session:
            for portion in _portions(digests):
                asked = (
                    select(ExtentRow, StoredRow.name)
                    .join(StoredRow, col(StoredRow.id) == col(ExtentRow.stored_id))
                    .where(col(ExtentRow.digest).in_(portion))
                )
                for row, name in session.exec(asked):
                    found[row.digest] = Extent(row.digest, name, row.starts, row.size)
        return found

    def sweep(self, *, before: datetime, dry_run: bool) -> Swept:
        """Remove what no row names.

        Args:
            before: Only what was last written before this aware moment; choose one older than any
                request or job that may still be at work.
            dry_run: Only count.

        Raises:
            ConflictError: The store lacks most of what the database named last: one of the two is
                another zone's (`objects.zone`).
            StorageError: The store or the database is out of reach or refuses. What was removed
                stays removed, and sweeping again goes on.
        """
        check_zone(self.store, self._list_newest())
        removed = size = 0
        old = (one for one in self.store.list_stored() if one.at < before)
        while portion := list(islice(old, _SWEPT_AT_ONCE)):
            opened = read_session if dry_run else write_session
            with opened(self._engine) as session:
                garbage = _unnamed(session, portion)
                if garbage and not dry_run:
                    self.store.remove(garbage)
                    names = [one.digest for one in garbage]
                    known = find_many(session, StoredRow, names, by="name")
                    count(session, STORED_BYTES, -sum(row.size for row in known.values()))
                    session.execute(delete(StoredRow).where(col(StoredRow.name).in_(names)))
            removed, size = removed + len(garbage), size + sum(one.size for one in garbage)
        return Swept(removed, size)

    def _list_newest(self) -> Sequence[str]:
        with read_session(self._engine) as session:
            newest = select(StoredRow.name).order_by(col(StoredRow.id).desc())
            return session.exec(newest.limit(LOOKED_FOR)).all()

    def _store(self, fresh: Mapping[str, bytes]) -> None:
        """Store objects and name them; again, if a sweep took them in between."""
        for attempt in range(1, _ATTEMPTS + 1):
            extents = store_together(self.store, fresh)
            try:
                with write_session(self._engine) as session:
                    self.name_extents(session, extents)
            except StorageError as swept:
                if swept.reason != "storage.swept" or attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _holds(self, known: Mapping[str, Extent], digest: str, data: bytes) -> bool:
        """Say whether a container has these very bytes; what is alone, its store compares."""
        if digest not in known:
            return False
        try:
            return self.store.get_extent(known[digest]) == data
        except (AuditBrokenError, NotFoundError):
            return False


def _unnamed(session: Session, stored: Sequence[StoredObject]) -> list[StoredObject]:
    """Those that no row names: not alone, and not as the container of any object."""
    is_container = col(StoredRow.name).endswith(CONTAINER)
    has_extents = exists().where(col(ExtentRow.stored_id) == col(StoredRow.id))
    asked = select(StoredRow.name).where(
        col(StoredRow.name).in_([one.digest for one in stored]), or_(~is_container, has_extents)
    )
    named = set(session.exec(asked))
    return [one for one in stored if one.digest not in named]


def _portions(digests: Iterable[str]) -> Iterator[list[str]]:
    waiting = iter(digests)
    while portion := list(islice(waiting, _PORTION)):
        yield portion
