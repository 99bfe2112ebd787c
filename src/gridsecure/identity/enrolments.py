"""What the identity authority remembers of who has which key; never of pseudonyms.

    enrolment       key Y → identity reference
    credential      identity, role, period → commitment

Facts that happen once, as in `registry`, which is another database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.suites import framed
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError
from gridsecure.store.many_records import fetch_many, record_groups
from gridsecure.store.records import Record, fetch


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That somebody is given a credential.

    Args:
        identity: The customer or device in the utility's own books, or the person's name.
        context: The credential's role and period.
        commitment: What the request commits to [33 bytes]: Y, or for a hidden role nothing known.
    """

    identity: str
    context: Context
    commitment: bytes

    @property
    def reference(self) -> str:
        """Whose it is, such that a meter point, a gateway and a person never have the same name."""
        role = self.context.role
        return self.identity if role == "meter-point" else f"{role}/{self.identity}"

    def records(self) -> tuple[Record, Record]:
        """Whose the key is, both ways once and for all; and one credential a role and period.

        Issuing again on the same commitment gives the holder nothing new: pseudonyms and tags
        depend on its secret alone. On another one it would be a second person.
        """
        who = self.reference
        key = f"hidden/{who}" if self.context.is_hidden else self.commitment.hex()
        name = framed(who, self.context.role, self.context.period).hex()
        return (
            Record("enrolment", key, who, sm3_hex(framed(key, who)), "", who),
            Record("credential", name, name, sm3_hex(self.commitment), "", self.context.role),
        )


def keep_enrolments(
    session: Session, entries: Sequence[Enrolment], *, now: datetime
) -> list[ConflictError | None]:
    """Note who is given a credential, each on its own.

    Args:
        session: From `write_session`, on the database of enrolments.
        entries: Who and what.
        now: The present, aware.

    Returns:
        By entry None, or why it is refused and nothing of it was kept: the identity has another
        key, or the key another identity (`conflict.enrolment`; a new key needs a re-key record of
        both openers), or another commitment has a credential already for this role and period
        (`conflict.credential`).

    Raises:
        StorageError: The database refuses.
    """
    order = sorted(range(len(entries)), key=lambda at: entries[at].identity)
    outcomes = record_groups(session, [entries[at].records() for at in order], at=now)
    by_place = dict(zip(order, outcomes, strict=True))
    return [
        outcome if isinstance(outcome := by_place[at], ConflictError) else None
        for at in range(len(entries))
    ]


def identity_of(engine: Engine, *, key: bytes) -> str:
    """Whose an opened key is.

    Raises:
        NotFoundError: Nobody's (`not-found.enrolment`).
    """
    with Session(engine) as session:
        return fetch(session, kind="enrolment", name=key.hex()).text


def keys_of(engine: Engine, identities: Sequence[str]) -> dict[str, str]:
    """The enrolled keys Y of those identities that have one, in hexadecimal.

    Args:
        engine: The database of enrolments.
        identities: References to customers; analysts' keys are nobody's to see.
    """
    with Session(engine) as session:
        found = fetch_many(session, identities, kind="enrolment", by="scope")
    return {
        identity: entry.name
        for identity, entry in found.items()
        if not entry.name.startswith("hidden/")
    }
