"""Removing what killed processes left among the objects of a zone that keeps few of them.

An object is stored first, and then a row names it, within the text of a message or a plan. A
process killed in between leaves an object that no row names, or a draft. An object stays if its
name stands anywhere in the texts in which a zone's rows name objects.

Somebody may store the same bytes again at the very moment at which they are swept, and name them
then. So a sweep works while nobody else has the database open. The platform, whose objects are many
and whose rows name each, sweeps beside its service (`compute.containers`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.errors import ConflictError
from gridsecure.store.database import read_session, sole_session
from gridsecure.store.objects import CONTAINER, ObjectStore

LOOKED_FOR: Final = 20
"""So many objects that a database named last are looked for before anything is removed."""
_REMOVED_AT_ONCE: Final = 100
_NAME: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed, or would.

    Args:
        objects: How many objects of the store.
        size: What they take [bytes].
    """

    objects: int
    size: int


@dataclass(frozen=True, slots=True)
class NamedObjects:
    """How a zone's rows name its objects.

    Args:
        texts: All texts in which they do.
        newest: At most `LOOKED_FOR` names of what this zone alone stores, newest first.
    """

    texts: Callable[[Session], Iterable[str]]
    newest: Callable[[Session], Sequence[str]]


def sweep_objects(
    store: ObjectStore, engine: Engine, *, named: NamedObjects, before: datetime, dry_run: bool
) -> Swept:
    """Remove what no row names.

    Args:
        before: Only what was last written before this aware moment.
        dry_run: Only count, which may be done beside the running service.

    Raises:
        ConflictError: The store lacks most of what the database named last, or is a platform's
            (`objects.zone`); or another process has the database open (`storage.in-use`).
        StorageError: The store or the database is out of reach or refuses. What was removed stays
            removed, and sweeping again goes on.
    """
    with (read_session if dry_run else sole_session)(engine) as session:
        check_zone(store, named.newest(session))
        left = {one.digest: one for one in store.list_stored()}
        if any(name.endswith(CONTAINER) for name in left):
            raise another_zone()
        left = {name: one for name, one in left.items() if one.at < before}
        for text in named.texts(session):
            for name in _NAME.findall(text):
                left.pop(name, None)
        garbage = list(left.values())
        if not dry_run:
            for start in range(0, len(garbage), _REMOVED_AT_ONCE):
                store.remove(garbage[start : start + _REMOVED_AT_ONCE])
    return Swept(len(garbage), sum(one.size for one in garbage))


def check_zone(store: ObjectStore, newest: Sequence[str]) -> None:
    """Refuse to sweep a store by the database of another zone.

    Args:
        newest: Names of what the database named last.

    Raises:
        ConflictError: Most of it is missing, or the database names nothing (`objects.zone`).
    """
    # Most of them, not any: zones bill with the same published tariffs.
    if 2 * sum(map(store.has, newest)) <= len(newest):
        raise another_zone()


def another_zone() -> ConflictError:
    """That a store is not of the zone whose database it is swept by."""
    return ConflictError(
        "The store lacks most of what the database names, or the database names nothing yet.",
        reason="objects.zone",
        remedy="Name the database and the object store of one zone.",
    )
