"""Many records in one transaction: kept in groups, fetched by name, forgotten when they are over.

A group is kept whole or not at all, and none is hurt by another. It is written behind a savepoint:
what is taken by other content rolls back to it, and so does the loser of a race on a database that
lets both look first (PostgreSQL). Told by the unique index, it looks once more, now sees who won,
and is refused alone or finds its own content there.

Give groups in an order that every process uses, best by name: two transactions that wait for each
other's rows in opposite orders would both stand still until the database ends one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final, Literal

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, delete, select

from gridsecure.errors import ConflictError, StorageError
from gridsecure.store.records import Record, RecordRow, check_texts, moment_text, record

_LOOKS: Final = 2
_PORTION: Final = 500  # names in one query; databases limit how many values a statement may have


def record_groups(
    session: Session, groups: Sequence[Sequence[Record]], *, at: datetime
) -> list[list[bool] | ConflictError]:
    """Keep groups of records; say for each record of a group whether it is new.

    Args:
        session: From `write_session`.
        groups: The groups, in an order all processes use.
        at: The present, aware.

    Returns:
        By group, whether each record is new, or why none of the group was kept
        (`conflict.<kind>`).

    Raises:
        StorageError: A group lost its race twice (`storage.busy`).
    """
    return [_kept(session, group, at) for group in groups]


def fetch_many(
    session: Session, names: Sequence[str], *, kind: str, by: Literal["name", "scope"] = "name"
) -> dict[str, Record]:
    """Those records of a kind that there are, by name or by scope.

    Args:
        session: Any session.
        names: Their names, or their scopes.
        kind: Their kind.
        by: Which of the two is given.
    """
    column, found = getattr(RecordRow, by), {}
    for start in range(0, len(names), _PORTION):
        portion = col(column).in_(names[start : start + _PORTION])
        for row in session.exec(select(RecordRow).where(RecordRow.kind == kind, portion)):
            entry = Record(row.kind, row.name, row.scope, row.digest, row.state, row.text)
            found[getattr(entry, by)] = entry
    return found


def keep_all(session: Session, entries: Sequence[Record], *, at: datetime) -> None:
    """Keep records of one kind in few statements, all of them or none.

    Args:
        session: From `write_session`.
        entries: The records, each with its name for its scope.
        at: The present, aware.

    Raises:
        ConflictError: One of the names is taken by other content (`conflict.<kind>`).
        InvalidMessageError: As `record`.
    """
    if not entries:
        return
    for entry in entries:
        check_texts(entry)
    kind = entries[0].kind
    known = fetch_many(session, [entry.name for entry in entries], kind=kind)
    if any(entry.name in known and known[entry.name].digest != entry.digest for entry in entries):
        raise ConflictError(f"Another {kind} was recorded here before.", reason=f"conflict.{kind}")
    when = moment_text(at)
    session.add_all(
        RecordRow(**asdict(entry), at=when) for entry in entries if entry.name not in known
    )
    session.flush()


def forget_before(session: Session, moment: datetime, *, kind: str) -> None:
    """Delete the records of a kind that were made before a moment: they mean nothing any more.

    Args:
        session: From `write_session`.
        moment: An aware datetime.
        kind: A kind whose records are good for a limited time.
    """
    earlier = col(RecordRow.at) < moment_text(moment)
    session.exec(delete(RecordRow).where(col(RecordRow.kind) == kind, earlier))


def _kept(session: Session, group: Sequence[Record], at: datetime) -> list[bool] | ConflictError:
    for _ in range(_LOOKS):
        try:
            with session.begin_nested():
                return [record(session, entry, at=at) for entry in group]
        except ConflictError as taken:
            return taken
        except IntegrityError:
            continue
    raise StorageError(
        "Other processes were faster at every attempt.", reason="storage.busy", remedy="Try again."
    )
