"""What the identity authority says of pseudonyms to others: who may act, who no longer, whose bill.

All of it comes from the registrations alone. Nobody is told why a pseudonym is not vouched for:
unknown, revoked and elsewhere at home are one answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import Engine
from sqlmodel import Session, func, select

from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import NotFoundError
from gridsecure.identity.registrations.registry import find_active
from gridsecure.identity.registrations.tables import RegistrationRow
from gridsecure.identity_messages import DenyList, Registered, Registrations, SettlementNames
from gridsecure.store.database import write_session
from gridsecure.store.evidence import JSON, append
from gridsecure.store.rows import find_many

TOLD: Final = "identity.settlement-names"

ActingRole = Literal["meter-point", "gateway"]
"""Who acts under a pseudonym."""


def vouch_registrations(
    engine: Engine, subjects: Sequence[str], *, domain: str, role: ActingRole, now: datetime
) -> tuple[Registrations | None, list[str]]:
    """The identity authority's word on some pseudonyms of one domain, to be signed.

    Args:
        subjects: The pseudonyms.
        domain: Where they act.
        now: The present, aware.

    Returns:
        The registrations in the order asked, None if there are none; and the pseudonyms nobody
        vouches for: unknown, revoked, of another domain or role, or nobody acts under them.
    """
    with Session(engine) as session:
        found = find_active(session, subjects)
    good = {
        name: Registered(
            subject=name,
            holder=entry.holder.hex(),
            carried=list(entry.carried),
            facts=entry.facts,
        )
        for name, entry in found.items()
        if (entry.domain, entry.role) == (domain, role) and entry.holder
    }
    refused = [name for name in subjects if name not in good]
    entries = [good[name] for name in subjects if name in good]
    if not entries:
        return None, refused
    issued_at = now.astimezone(UTC).isoformat()
    return Registrations(domain=domain, role=role, issued_at=issued_at, entries=entries), refused


def vouch_settlement_names(
    engine: Engine, subjects: Sequence[str], *, domain: str, actor: str, now: datetime
) -> SettlementNames:
    """Under which settlement pseudonym each one's bill is, to be signed; for the key authority.

    A revoked pseudonym has its name too: what was metered before is still billed. That they were
    told goes into the evidence log.

    Args:
        subjects: Pseudonyms of the billing domain.
        now: The present, aware.

    Raises:
        NotFoundError: One of them has no settlement pseudonym (`not-found.settlement`).
    """
    with write_session(engine) as session:
        entries = find_many(session, RegistrationRow, subjects, by="subject")
        names = {
            name: entry.settlement
            for name, entry in entries.items()
            if entry.domain == domain and entry.settlement
        }
        if not names.keys() >= set(subjects):
            raise NotFoundError(
                "A pseudonym has no settlement pseudonym in this domain.",
                reason="not-found.settlement",
                remedy="Ask for meter points of one roster, in its own domain.",
            )
        detail: dict[str, JSON] = {
            "domain": domain,
            "told": len(subjects),
            "digest": sm3_hex(frame_parts(*sorted(set(subjects)))),
        }
        append(session, at=now, actor=actor, action=TOLD, detail=detail)
    return SettlementNames(
        domain=domain, subjects=list(subjects), names=[names[name] for name in subjects]
    )


def vouch_deny_list(session: Session, *, now: datetime) -> DenyList:
    """Every pseudonym that was revoked, to be signed; a longer list has a greater number.

    Args:
        now: The present, aware.
    """
    # A settlement pseudonym beside its billing pseudonym would link them, and nobody acts under it.
    acting = select(RegistrationRow.subject).where(
        RegistrationRow.state == "denied", RegistrationRow.holder != b""
    )
    subjects = sorted(session.exec(acting))
    issued_at = now.astimezone(UTC).isoformat()
    return DenyList(sequence=len(subjects), issued_at=issued_at, subjects=subjects)


def count_denied(session: Session) -> int:
    """Differs whenever the deny list does: what was revoked stays so."""
    denied = select(func.count()).where(RegistrationRow.state == "denied")
    return session.exec(denied).one()
