"""What the identity authority remembers of who has which key; never of pseudonyms.

A re-key begins a generation of an identity: one more key and one more credential a period, for
whoever has the newest key. Earlier keys keep their identity, so that their escrows still open, and
get no credential any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AccessDeniedError, ConflictError, NotFoundError
from gridsecure.identity.enrolments.tables import BlockedRow, CredentialRow, EnrolmentRow
from gridsecure.store.rows import Draft, find_many, keep_groups, load_row

_PORTION: Final = 500  # identities in one query, as in `store.rows`


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That somebody is given a credential.

    Args:
        identity: The customer or device in the utility's own books, or the person's name.
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

    def credential_name(self, generation: int) -> str:
        """The name of the one credential of this holder, role, period and generation."""
        since = (str(generation),) if generation else ()
        return frame_parts(self.reference, self.context.role, self.context.period, *since).hex()

    def rows(self, generation: int, *, at: datetime) -> tuple[Draft, Draft]:
        """Whose the key is, one a generation; and one credential a role and period.

        Issuing again on the same commitment gives the holder nothing new: pseudonyms and tags
        depend on its secret alone. On another one it would be a second person.

        Args:
            generation: How often the identity's key was replaced.
            at: The present, aware.
        """
        who = self.reference
        key = None if self.context.is_hidden else self.commitment.hex()
        return (
            EnrolmentRow.draft(identity=who, generation=generation, key=key, at=at),
            CredentialRow.draft(
                name=self.credential_name(generation),
                identity=who,
                generation=generation,
                role=self.context.role,
                period=self.context.period,
                digest=sm3_hex(self.commitment),
                at=at,
            ),
        )


def keep_enrolments(
    session: Session, entries: Sequence[Enrolment], *, now: datetime
) -> list[ConflictError | AccessDeniedError | None]:
    """Note who is given a credential, each on its own.

    Args:
        session: From `write_session`, on the database of enrolments.
        now: The present, aware.

    Returns:
        By entry None, or why it is refused and nothing of it was kept: the identity is blocked
        (`identity.blocked`); the identity has another key, or the key another identity
        (`conflict.enrolment`; a new key needs a re-key order of both openers); or another
        commitment has a credential already for this role and period (`conflict.credential`).

    Raises:
        StorageError: The database refuses.
    """
    names = sorted({entry.reference for entry in entries})
    blocked = find_many(session, BlockedRow, names, by="identity")
    since = generations_of(session, names)
    refused: dict[int, ConflictError | AccessDeniedError] = {
        at: _blocked() for at, entry in enumerate(entries) if entry.reference in blocked
    }
    order = sorted(set(range(len(entries))) - set(refused), key=lambda at: entries[at].identity)
    groups = [entries[at].rows(since.get(entries[at].reference, 0), at=now) for at in order]
    for at, outcome in zip(order, keep_groups(session, groups), strict=True):
        if isinstance(outcome, ConflictError):
            refused[at] = outcome
    return [refused.get(at) for at in range(len(entries))]


def generations_of(session: Session, identities: Sequence[str]) -> dict[str, int]:
    """How often the keys of those identities were replaced that have not their first one."""
    replaced = [row for row in _keys_of(session, identities) if row.generation]
    return {row.identity: row.generation for row in replaced}  # the newest is last


def _blocked() -> AccessDeniedError:
    return AccessDeniedError(
        "This identity may not get a new credential.",
        reason="identity.blocked",
        remedy="Ask the utility's office, which keeps the order.",
    )


def identity_of(engine: Engine, *, key: bytes) -> str:
    """Whose an opened key is.

    Raises:
        NotFoundError: Nobody's (`not-found.enrolment`).
    """
    with Session(engine) as session:
        return load_row(session, EnrolmentRow, key=key.hex()).identity


def keys_of(engine: Engine, identities: Sequence[str]) -> dict[str, str]:
    """The enrolled keys Y of those identities that have one, the newest, in hexadecimal.

    Args:
        identities: References to customers; analysts' keys are nobody's to see.
    """
    with Session(engine) as session:
        found = {row.identity: row.key for row in _keys_of(session, identities)}
    return {identity: key for identity, key in found.items() if key is not None}


def keys_ever_of(session: Session, identity: str) -> list[str]:
    """Every enrolled key an identity has or had, in hexadecimal, the newest last.

    Args:
        session: Any session, on the database of enrolments.

    Raises:
        NotFoundError: It has none, or a hidden one (`not-found.enrolment`).
    """
    keys = [row.key for row in _keys_of(session, [identity]) if row.key is not None]
    if not keys:
        raise NotFoundError("The identity has no enrolled key here.", reason="not-found.enrolment")
    return keys


def _keys_of(session: Session, identities: Sequence[str]) -> list[EnrolmentRow]:
    """The keys of some identities, of each the newest last."""
    found: list[EnrolmentRow] = []
    for start in range(0, len(identities), _PORTION):
        portion = col(EnrolmentRow.identity).in_(identities[start : start + _PORTION])
        keys = select(EnrolmentRow).where(portion).order_by(col(EnrolmentRow.generation))
        found += session.exec(keys)
    return found


def keys_to_search(engine: Engine, identity: str, *, replaced: bool) -> list[str]:
    """The enrolled keys that a search for an identity looks for, in hexadecimal.

    Args:
        replaced: Only those that were replaced.

    Raises:
        NotFoundError: It has none (`not-found.enrolment`).
    """
    with Session(engine) as session:
        keys = keys_ever_of(session, identity)
    if replaced and not keys[:-1]:
        raise NotFoundError("No key of this identity was replaced.", reason="not-found.enrolment")
    return keys[:-1] if replaced else keys
