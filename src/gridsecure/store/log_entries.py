"""The evidence log as it travels to an office, which checks the tree for itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.errors import InvalidMessageError
from gridsecure.identity_messages import LogEntry
from gridsecure.month_texts import read_moment
from gridsecure.store.evidence import EvidenceEntry, list_entries_after, list_entries_among


def log_after(engine: Engine, index: int, *, actions: Sequence[str] = ()) -> list[LogEntry]:
    """Entries of a log behind an index, in order, at most a thousand.

    Args:
        index: -1 for all from the first one.
        actions: Those of these actions alone; none for all.
    """
    with Session(engine) as session:
        if actions:
            entries = list_entries_among(session, index, actions)
        else:
            entries = list_entries_after(session, index)
        return [shown_entry(entry) for entry in entries]


def shown_entry(entry: EvidenceEntry) -> LogEntry:
    """An entry as it travels."""
    return LogEntry(
        index=entry.index,
        at=entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        actor=entry.actor,
        action=entry.action,
        detail=entry.detail,
        previous=entry.previous,
        hash=entry.hash,
        salt=entry.salt,
    )


def read_entry(message: LogEntry) -> EvidenceEntry:
    """An entry that came, not yet verified; see `store.evidence.verify_entries`.

    Raises:
        InvalidMessageError: Its time is malformed.
    """
    at = read_moment(message.at)
    if at is None:
        raise InvalidMessageError("A log entry's time is malformed.")
    return EvidenceEntry(
        index=message.index,
        at=at,
        actor=message.actor,
        action=message.action,
        detail=message.detail,
        previous=message.previous,
        hash=message.hash,
        salt=message.salt,
    )
