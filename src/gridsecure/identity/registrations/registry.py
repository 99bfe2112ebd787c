"""What the token service remembers of pseudonyms and grants, one row a fact; never of people.

Each fact that may happen once is a row with a unique key, inserted in one transaction: of two
processes that race for it, one finds it taken. A loser on a database that lets both look first
(PostgreSQL) is told by the unique index, looks again, and finds it too.

Who somebody is, `enrolments` knows, in another database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gridsecure.credentials.issuer_keys import Role
from gridsecure.credentials.log_details import ACTOR
from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AccessDeniedError, ConflictError, StaleMessageError
from gridsecure.identity.one_use import OneUse
from gridsecure.identity.registrations.tables import (
    CarriedRow,
    ChallengeRow,
    RegistrationRow,
    SpentGrantRow,
)
from gridsecure.identity_messages import NO_FACTS, Facts
from gridsecure.store.evidence import append
from gridsecure.store.rows import Draft, find_many, keep_groups, keep_once

CHALLENGES: Final = OneUse(ChallengeRow, timedelta(minutes=2))
"""What presentations and log-ins answer."""

_PORTION: Final = 500  # pseudonyms in one query, as in `store.rows`


@dataclass(frozen=True, slots=True)
class Registration:
    """A pseudonym in one domain.

    Args:
        subject: Its name in tokens and tables.
        domain: `platform/purpose/period`.
        nym: The point [33 bytes].
        holder: The SM2 key that acts under it [65 bytes]; empty where nobody acts, only bills are.
        escrow: The enrolled key, for both openers together [66 bytes].
        carried: Earlier pseudonyms of the same platform and purpose, shown in the same proof.
        settlement: The pseudonym in the settlement domain, shown in the same proof; or "".
    """

    subject: str
    domain: str
    nym: bytes
    holder: bytes
    escrow: bytes
    carried: tuple[str, ...] = ()
    role: Role = "meter-point"
    settlement: str = ""
    facts: Facts = NO_FACTS

    @property
    def thumbprint(self) -> str:
        """The holder key's name."""
        return sm3_hex(self.holder)

    def row(self, at: datetime) -> Draft:
        """The registration as it is kept, active."""
        return RegistrationRow.draft(
            subject=self.subject,
            domain=self.domain,
            nym=self.nym,
            holder=self.holder,
            escrow=self.escrow,
            role=self.role,
            settlement=self.settlement or None,
            zone=self.facts.zone,
            customer_class=self.facts.customer_class,
            counted=self.facts.counted,
            owner=self.facts.owner,
            state="active",
            at=at,
        )


def keep_registrations(
    session: Session, holders: Sequence[tuple[Registration, ...]], *, now: datetime
) -> list[AccessDeniedError | None]:
    """Register pseudonyms, each holder's together or not at all, each holder on its own.

    The same key and role again change nothing; the first escrow, facts and what it carries stay.
    Another one is the clone and Sybil alarm: a copied credential, or a holder that lost its key. It
    is logged and refused. Rows follow names, not the order of the request, which might be that of
    an enrolment.

    Args:
        session: From `write_session`, on the database of registrations.
        holders: By holder, its pseudonyms of this period; the first one acts.
        now: The present, aware.

    Returns:
        By holder None, or why it is refused: it was revoked, or an earlier pseudonym is unknown
        or was (`authenticity.registration`); another key has it (`authenticity.cloned`).

    Raises:
        StorageError: The database refuses.
    """
    refused = _barred(session, holders)
    order = sorted(set(range(len(holders))) - set(refused), key=lambda at: holders[at][0].subject)
    # The settlement pseudonym first: where somebody acts refers to it.
    groups = [[entry.row(now) for entry in reversed(holders[at])] for at in order]
    for at, outcome in zip(order, keep_groups(session, groups), strict=True):
        if isinstance(outcome, ConflictError):
            refused[at] = _cloned(session, holders[at][0], now=now)
            continue
        kept = zip(reversed(holders[at]), outcome, strict=True)
        session.add_all(
            CarriedRow(subject=entry.subject, place=place, earlier=earlier)
            for entry, is_new in kept
            if is_new
            for place, earlier in enumerate(entry.carried)
        )
    session.flush()
    return [refused.get(at) for at in range(len(holders))]


def _barred(
    session: Session, holders: Sequence[tuple[Registration, ...]]
) -> dict[int, AccessDeniedError]:
    """Whose own pseudonym is revoked, or an earlier one not there to be carried on."""
    named = {
        name for entries in holders for entry in entries for name in (entry.subject, *entry.carried)
    }
    found = find_many(session, RegistrationRow, sorted(named), by="subject")
    active = {name for name, entry in found.items() if entry.state == "active"}
    revoked = set(found) - active
    return {
        at: not_registered_error()
        for at, entries in enumerate(holders)
        if any(
            entry.subject in revoked or not active.issuperset(entry.carried) for entry in entries
        )
    }


def _cloned(session: Session, entry: Registration, *, now: datetime) -> AccessDeniedError:
    detail = {"subject": entry.subject, "second": entry.thumbprint, "domain": entry.domain}
    append(session, at=now, actor=ACTOR, action="identity.clone-alarm", detail=detail)
    return AccessDeniedError(
        "Another key is registered for this pseudonym.",
        reason="authenticity.cloned",
        remedy="The alarm was logged; replace a lost holder key through the utility.",
    )


def find_registration(engine: Engine, *, subject: str) -> Registration:
    """A registered pseudonym that may act.

    Raises:
        AccessDeniedError: Unknown or revoked, told apart by nobody (`authenticity.registration`).
    """
    with Session(engine) as session:
        found = find_active(session, [subject])
    if subject not in found:
        raise not_registered_error()
    return found[subject]


def find_active(session: Session, subjects: Sequence[str]) -> dict[str, Registration]:
    """Those registrations that there are and that were not revoked, by subject."""
    rows = find_many(session, RegistrationRow, subjects, by="subject")
    return read_registrations(
        session, {name: row for name, row in rows.items() if row.state == "active"}
    )


def read_registrations(
    session: Session, rows: Mapping[str, RegistrationRow]
) -> dict[str, Registration]:
    """The registrations in rows, by subject, whatever their state.

    Args:
        session: The session they were read in.
        rows: By subject.
    """
    carried: dict[str, list[str]] = {}
    names = sorted(rows)
    for start in range(0, len(names), _PORTION):
        portion = col(CarriedRow.subject).in_(names[start : start + _PORTION])
        for one in session.exec(select(CarriedRow).where(portion).order_by(col(CarriedRow.place))):
            carried.setdefault(one.subject, []).append(one.earlier)
    return {
        name: Registration(
            name,
            row.domain,
            row.nym,
            row.holder,
            row.escrow,
            carried=tuple(carried.get(name, ())),
            role=cast("Role", row.role),
            settlement=row.settlement or "",
            facts=Facts(**row.model_dump(include=set(Facts.model_fields))),
        )
        for name, row in rows.items()
    }


def spend_tag(engine: Engine, *, tag: bytes, quota: bytes, digest: bytes, now: datetime) -> None:
    """Spend a grant's tag.

    Args:
        tag: From a verified grant.
        quota: Names the quota it was counted in.
        digest: The query's digest.
        now: The present, aware.

    Raises:
        StaleMessageError: It was spent before, for whatever query (`authenticity.spent`).
    """
    name = sm3_hex(frame_parts(quota, tag))
    row = SpentGrantRow(tag=name, digest=sm3_hex(frame_parts(quota, tag, digest)), at=now)
    try:
        is_new = keep_once(engine, row)
    except ConflictError:
        is_new = False
    if not is_new:
        raise StaleMessageError(
            "A query grant was used before.",
            reason="authenticity.spent",
            remedy="Use another nonce of this epoch, if any is left.",
        )


def not_registered_error() -> AccessDeniedError:
    """The one refusal of a pseudonym that is unknown, revoked or elsewhere at home."""
    return AccessDeniedError(
        "The pseudonym was revoked or is not registered.",
        reason="authenticity.registration",
        remedy="Register in this domain and period.",
    )
