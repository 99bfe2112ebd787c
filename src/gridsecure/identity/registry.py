"""What the identity authority and the token service remember, one row a fact.

Each fact that may happen once is a record with a unique name, inserted in one transaction: of two
processes that race for it, one finds it taken. A loser on a database that lets both look first
(PostgreSQL) is told by the unique index, looks again, and finds it too.

Two databases, never one: enrolments know who somebody is, registrations know what a pseudonym does.

    enrolment       key Y → identity reference       credential   identity, role, period
    challenge       open → used                      registration pseudonym → holder key, escrow
    spent-grant     a tag
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.suites import framed
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AccessDeniedError,
    ConflictError,
    NotFoundError,
    StaleMessageError,
)
from gridsecure.store.database import write_session
from gridsecure.store.evidence import append
from gridsecure.store.records import Record, advance, fetch, insert_once

ACTOR: Final = "identity"


@dataclass(frozen=True, slots=True)
class Registration:
    """A pseudonym in one domain.

    Args:
        subject: Its name in tokens and tables.
        domain: `platform/purpose/period`.
        nym: The point [33 bytes].
        holder: The SM2 key that acts under it [65 bytes].
        escrow: The enrolled key, for both openers together [66 bytes].
        carried: Earlier pseudonyms of the same holder that it showed in the same proof.
    """

    subject: str
    domain: str
    nym: bytes
    holder: bytes
    escrow: bytes
    carried: tuple[str, ...] = ()

    @property
    def thumbprint(self) -> str:
        """The holder key's name."""
        return sm3_hex(self.holder)


def keep_enrolment(engine: Engine, *, identity: str, key: bytes | None, now: datetime) -> None:
    """Bind an enrolled key to whom it belongs, both ways once and for all.

    Args:
        engine: The identity authority's database.
        identity: A reference to the customer or device in the utility's own books.
        key: Y [33 bytes]; None for a role whose key stays hidden.
        now: The present, aware.

    Raises:
        ConflictError: The identity has another key, or the key another identity
            (`conflict.enrolment`). A new key needs a re-key record of both openers.
    """
    name = key.hex() if key is not None else f"hidden/{identity}"
    entry = Record("enrolment", name, identity, sm3_hex(framed(name, identity)), "", identity)
    insert_once(engine, entry, now=now)


def identity_of(engine: Engine, *, key: bytes) -> str:
    """Whose an opened key is.

    Raises:
        NotFoundError: Nobody's (`not-found.enrolment`).
    """
    with Session(engine) as session:
        return fetch(session, kind="enrolment", name=key.hex()).text


def keep_credential(
    engine: Engine, *, identity: str, context: Context, commitment: bytes, now: datetime
) -> bool:
    """Note that a credential is issued; say whether it is the first for this commitment.

    Issuing again on the same commitment gives the holder nothing new: pseudonyms and tags depend
    on its secret alone. On another one it would be a second person.

    Raises:
        ConflictError: Another commitment has one already for this role and period
            (`conflict.credential`).
    """
    name = framed(identity, context.role, context.period).hex()
    entry = Record("credential", name, name, sm3_hex(commitment), "", context.role)
    return insert_once(engine, entry, now=now)


def open_challenge(
    engine: Engine, *, challenge: bytes, expires_at: datetime, now: datetime
) -> None:
    """Note a one-use challenge that was given out."""
    name = challenge.hex()
    insert_once(
        engine, Record("challenge", name, name, name, "open", expires_at.isoformat()), now=now
    )


def use_challenge(engine: Engine, *, challenge: bytes, now: datetime) -> None:
    """Use a challenge up.

    Raises:
        StaleMessageError: Never given out, used before, or expired (`authenticity.challenge`).
    """
    name = challenge.hex()
    with write_session(engine) as session:
        is_ours = advance(session, kind="challenge", name=name, source="open", target="used")
        is_fresh = is_ours and now < datetime.fromisoformat(
            fetch(session, kind="challenge", name=name).text
        )
    if not is_fresh:
        raise StaleMessageError(
            "A challenge is unknown, used or expired.",
            reason="authenticity.challenge",
            remedy="Ask for a new one.",
        )


def keep_registration(engine: Engine, *, entry: Registration, now: datetime) -> bool:
    """Register a pseudonym with its holder key; say whether it is new.

    The same key again changes nothing; the first escrow stays. Another key is the clone and Sybil
    alarm: a copied credential, or a holder that lost its key. It is logged and refused.

    Raises:
        AccessDeniedError: Another holder key has this pseudonym (`authenticity.cloned`).
    """
    text = json.dumps(
        {
            "domain": entry.domain,
            "nym": entry.nym.hex(),
            "holder": entry.holder.hex(),
            "escrow": entry.escrow.hex(),
            "carried": list(entry.carried),
        }
    )
    row = Record("registration", entry.subject, entry.subject, entry.thumbprint, "active", text)
    try:
        return insert_once(engine, row, now=now)
    except ConflictError as taken:
        with write_session(engine) as session:
            detail = {"subject": entry.subject, "second": entry.thumbprint, "domain": entry.domain}
            append(session, at=now, actor=ACTOR, action="identity.clone-alarm", detail=detail)
        raise AccessDeniedError(
            "Another key is registered for this pseudonym.",
            reason="authenticity.cloned",
            remedy="The alarm was logged; replace a lost holder key through the utility.",
        ) from taken


def registration(engine: Engine, *, subject: str) -> Registration:
    """A registered pseudonym that may act.

    Raises:
        AccessDeniedError: Unknown or revoked, told apart by nobody (`authenticity.registration`).
    """
    with Session(engine) as session:
        try:
            found = fetch(session, kind="registration", name=subject)
        except NotFoundError as unknown:
            raise _not_registered() from unknown
    if found.state != "active":
        raise _not_registered()
    said = json.loads(found.text)
    return Registration(
        subject,
        said["domain"],
        bytes.fromhex(said["nym"]),
        bytes.fromhex(said["holder"]),
        bytes.fromhex(said["escrow"]),
        tuple(said["carried"]),
    )


def deny(engine: Engine, *, subject: str, warrant: str, now: datetime) -> bool:
    """Revoke a pseudonym at once; say whether it was active.

    Args:
        engine: The token service's database.
        subject: The pseudonym.
        warrant: Reference of the order, which goes into the log.
        now: The present, aware.
    """
    with write_session(engine) as session:
        detail = {"subject": subject, "warrant": warrant}
        append(session, at=now, actor=ACTOR, action="identity.revoked", detail=detail)
        return advance(session, kind="registration", name=subject, source="active", target="denied")


def spend_tag(engine: Engine, *, tag: bytes, quota: bytes, digest: bytes, now: datetime) -> None:
    """Spend a grant's tag.

    Args:
        engine: The token service's database, or the key authority's for its own check.
        tag: From a verified grant.
        quota: Names the quota it was counted in.
        digest: The query's digest.
        now: The present, aware.

    Raises:
        StaleMessageError: It was spent before, for whatever query (`authenticity.spent`).
    """
    name = sm3_hex(framed(quota, tag))
    entry = Record("spent-grant", name, name, sm3_hex(framed(quota, tag, digest)), "", "")
    try:
        is_new = insert_once(engine, entry, now=now)
    except ConflictError:
        is_new = False
    if not is_new:
        raise StaleMessageError(
            "A query grant was used before.",
            reason="authenticity.spent",
            remedy="Use another nonce of this epoch, if any is left.",
        )


def _not_registered() -> AccessDeniedError:
    return AccessDeniedError(
        "The pseudonym may not act.",
        reason="authenticity.registration",
        remedy="Register in this domain and period.",
    )
