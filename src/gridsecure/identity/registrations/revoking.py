"""Revoking by pseudonym.

Revoking is immediate and needs no opening. The pseudonyms of one presentation go together: where
somebody acts and where its bills are. It does not block the person, whom nobody knows: with a
credential of another period the same holder registers again, under another pseudonym. A search by
person finds all it has and blocks it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session, select

from gridsecure.credentials.log_details import ACTOR
from gridsecure.errors import NotFoundError
from gridsecure.identity.registrations.tables import RegistrationRow
from gridsecure.store.database import write_session
from gridsecure.store.evidence import append
from gridsecure.store.rows import advance, find

REVOKED: Final = "identity.revoked"


def revoke(
    engine: Engine, *, subject: str, reference: str, now: datetime, actor: str = ACTOR
) -> int:
    """Revoke a pseudonym at once, and what was registered with it; say how many were active.

    The log names the pseudonym it was asked about and not its partner: beside each other they
    would link what a holder does to what it is billed.

    Args:
        subject: The pseudonym.
        reference: Of the order, for the log.
        now: The present, aware.

    Raises:
        NotFoundError: There is no such registration (`not-found.registration`).
    """
    with write_session(engine) as session:
        return revoke_in(session, [subject], reference=reference, now=now, actor=actor)


def revoke_in(
    session: Session,
    subjects: Iterable[str],
    *,
    reference: str,
    now: datetime,
    actor: str = ACTOR,
) -> int:
    """As `revoke`, for many in one transaction.

    Args:
        session: From `write_session`.
        subjects: The pseudonyms.
        reference: Of the order, for the log.
        now: The present, aware.

    Raises:
        NotFoundError: One of them is not registered (`not-found.registration`).
    """
    count = 0
    for subject in subjects:
        names = _together(session, subject)
        detail = {"subject": subject, "warrant": reference}
        append(session, at=now, actor=actor, action=REVOKED, detail=detail)
        count += sum(
            advance(session, RegistrationRow, source="active", target="denied", subject=name)
            for name in names
        )
    return count


def _together(session: Session, subject: str) -> list[str]:
    entry = find(session, RegistrationRow, subject=subject)
    if entry is None:
        raise NotFoundError(
            "No holder is registered under this pseudonym.", reason="not-found.registration"
        )
    if entry.settlement:
        return [subject, entry.settlement]
    acting = select(RegistrationRow.subject).where(RegistrationRow.settlement == subject)
    return [subject, *session.exec(acting)]
