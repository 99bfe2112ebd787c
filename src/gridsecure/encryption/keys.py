"""Managed keys: made, listed, moved between states, rotated. Only their own organisation sees them.

    active ⇄ suspended ─► deactivated ─► destroyed        (NIST SP 800-57 part 1, section 7)
    any of them but destroyed ─► compromised ─► destroyed

An active key does everything. A deactivated one checks what it made and opens nothing new: its MACs
are still checked, and its data keys are still given out for opening. A suspended or compromised one
does nothing. What destroys a key deletes its secret; a copy of the database from before, together
with the zone's folder, still has it.

Every change is entered in the evidence log in the transaction that makes it.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final, Literal, get_args

from sqlalchemy import Engine
from sqlmodel import Session, col, delete, select

from gridsecure.crypto.envelope import open_sealed, seal
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import DIGEST_BYTES, hmac_sm3
from gridsecure.crypto.sm4 import KEY_BYTES
from gridsecure.encryption.tables import KekRow, KeySecretRow, ManagedKeyRow
from gridsecure.encryption.zone import EncryptionZone, KeyPerson
from gridsecure.errors import ConflictError, EnvelopeError, NotFoundError, StorageError
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import Page, PageAsked, read_page
from gridsecure.store.rows import advance, find, keep, keep_once, load_row
from gridsecure.wire.encryption import NEXT_STATES

Algorithm = Literal["sm2", "hmac-sm3", "sm4"]
"""Signs; authenticates; is given out, sealed, as a data key."""
KeyState = Literal["active", "suspended", "deactivated", "compromised", "destroyed"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)

_ACTIVE: Final = "active"
_DEACTIVATED: Final = "deactivated"
_DESTROYED: Final = "destroyed"
_PURPOSE: Final = "gridsecure/managed-key"
_CHECKED: Final = b"gridsecure/kek-check"


def create_key(
    zone: EncryptionZone, person: KeyPerson, *, name: str, algorithm: Algorithm, at: datetime
) -> ManagedKeyRow:
    """Make a key of one's organisation.

    Raises:
        ConflictError: It has one of this name (`managed-key.name`).
        StorageError: It cannot be kept.
    """
    made, secret = _draw(zone, person, (name, 1, algorithm), at=at)
    with write_session(zone.engine) as session:
        whose = {"organisation": person.organisation, "name": name}
        if find(session, ManagedKeyRow, **whose, generation=1) is not None:
            raise ConflictError(
                f"Your organisation has a key {name!r}.",
                reason="managed-key.name",
                remedy="Rotate that one, or choose another name.",
            )
        _keep(session, made, secret, by=person.person)
    return made


def rotate_key(
    zone: EncryptionZone, person: KeyPerson, key_id: str, *, at: datetime
) -> ManagedKeyRow:
    """Make the next generation of an active key, and deactivate it, in one transaction.

    Raises:
        NotFoundError: As `load_key`.
        ConflictError: It is not active (`managed-key.state`).
        StorageError: It cannot be kept.
    """
    with read_session(zone.engine) as session:
        old = load_key(session, person, key_id)
        words = (old.name, old.generation + 1, _algorithm(old))
    made, secret = _draw(zone, person, words, at=at)
    with write_session(zone.engine) as session:
        _advance(session, load_key(session, person, key_id), _ACTIVE, _DEACTIVATED)
        _enter_move(session, key_id, (_ACTIVE, _DEACTIVATED), person=person, at=at)
        _keep(session, made, secret, by=person.person)
    return made


def move_key(
    zone: EncryptionZone, person: KeyPerson, key_id: str, *, target: KeyState, at: datetime
) -> ManagedKeyRow:
    """Move a key of one's organisation to another state; to the one it has, nothing is done.

    Raises:
        NotFoundError: As `load_key`.
        ConflictError: No key goes from its state to that one (`managed-key.state`).
        StorageError: It cannot be kept.
    """
    with write_session(zone.engine) as session:
        row = load_key(session, person, key_id)
        before = row.state
        if before != target:
            if target not in NEXT_STATES[before]:
                raise state_error(row)
            _advance(session, row, before, target)
            if target == _DESTROYED:
                session.execute(delete(KeySecretRow).where(col(KeySecretRow.key_id) == key_id))
            _enter_move(session, key_id, (before, target), person=person, at=at)
        found = load_key(session, person, key_id)
        session.expunge(found)
    return found


def load_key(session: Session, person: KeyPerson, key_id: str) -> ManagedKeyRow:
    """A key of one's own organisation.

    Raises:
        NotFoundError: There is none (`not-found.managed-key`), also where another organisation has
            it.
    """
    row = find(session, ManagedKeyRow, key_id=key_id)
    if row is None or row.organisation != person.organisation:
        raise NotFoundError(
            "Your organisation has no such key.",
            reason="not-found.managed-key",
            remedy="List its keys (gridsecure eaas keys).",
        )
    return row


def page_keys(session: Session, person: KeyPerson, asked: PageAsked) -> Page:
    """A page of one's organisation's keys, oldest first."""
    found = select(ManagedKeyRow).where(ManagedKeyRow.organisation == person.organisation)
    return read_page(session, found, key=col(ManagedKeyRow.id), asked=asked)


def read_secret(
    zone: EncryptionZone, person: KeyPerson, key_id: str, *, algorithm: Algorithm, states: set[str]
) -> bytes:
    """A key's secret, for one operation.

    Args:
        algorithm: What it has to be.
        states: What it has to be in.

    Raises:
        NotFoundError: As `load_key`.
        ConflictError: It is in another state (`managed-key.state`), or of another algorithm
            (`managed-key.algorithm`).
    """
    with read_session(zone.engine) as session:
        row = load_key(session, person, key_id)
        if row.algorithm != algorithm:
            raise ConflictError(
                f"The key {row.name!r} is of {row.algorithm}, and this takes one of {algorithm}.",
                reason="managed-key.algorithm",
                remedy="Name a key of that algorithm, or make one.",
            )
        check_state(row, states)
        kept = find(session, KeySecretRow, key_id=key_id)
        if kept is None:
            raise state_error(row)
        return open_sealed(bytes.fromhex(kept.sealed), kek=zone.kek, purpose=_purpose(row))


def check_kek(zone: EncryptionZone) -> None:
    """Refuse another key-encryption key than the first that the database was opened with.

    New secrets under another one would be lost when the right one comes back, and all others are
    lost until then. What tells them apart is there before the first secret, so of two processes
    that start on an empty database, each with a folder of its own, one alone goes on.

    Raises:
        StorageError: It is another one (`keys.kek`).
    """
    _check_secret(zone)
    try:
        keep_once(zone.engine, KekRow(check_value=hmac_sm3(zone.kek, _CHECKED).hex()))
    except ConflictError as error:
        raise no_kek() from error


def _check_secret(zone: EncryptionZone) -> None:
    """Refuse a key that does not open a secret of a database that has no check value yet."""
    with read_session(zone.engine) as session:
        kept = session.exec(select(KeySecretRow).limit(1)).first()
        if kept is None or session.exec(select(KekRow)).first() is not None:
            return
        row = load_row(session, ManagedKeyRow, key_id=kept.key_id)
        try:
            open_sealed(bytes.fromhex(kept.sealed), kek=zone.kek, purpose=_purpose(row))
        except EnvelopeError as error:
            raise no_kek() from error


def has_kek(engine: Engine) -> bool:
    """Whether a database is another key-encryption key's already than one that is made now."""
    with read_session(engine) as session:
        return any(
            session.exec(select(column).limit(1)).first() is not None
            for column in (KekRow.number, KeySecretRow.key_id)
        )


def no_kek() -> StorageError:
    """That the secrets in the database are sealed under another key than the folder has."""
    return StorageError(
        "The folder's key-encryption key is not there, or is not the one that the database's "
        "secrets are sealed under.",
        reason="keys.kek",
        remedy="Put kek.key back from the folder's backup. Without it the secrets are lost.",
    )


def check_state(row: ManagedKeyRow, states: set[str]) -> None:
    """Refuse a key that is in none of some states.

    Raises:
        ConflictError: It is (`managed-key.state`).
    """
    if row.state not in states:
        raise state_error(row)


def state_error(row: ManagedKeyRow) -> ConflictError:
    """That a key does not do this in its state."""
    return ConflictError(
        f"The key {row.name!r}, generation {row.generation}, is {row.state}.",
        reason="managed-key.state",
        remedy="Use its newest generation, or have an officer of your organisation look at it.",
    )


def _draw(
    zone: EncryptionZone, person: KeyPerson, words: tuple[str, int, Algorithm], *, at: datetime
) -> tuple[ManagedKeyRow, KeySecretRow]:
    """A new key, before anything of it is kept.

    Args:
        words: Name, generation and algorithm.
    """
    name, generation, algorithm = words
    secret, point = secrets.token_bytes(KEY_BYTES), ""
    if algorithm == "sm2":
        own = generate_private_key()
        secret, point = own.to_bytes(), own.public_key.point.hex()
    elif algorithm == "hmac-sm3":
        secret = secrets.token_bytes(DIGEST_BYTES)
    row = ManagedKeyRow(
        key_id=secrets.token_hex(16),
        organisation=person.organisation,
        name=name,
        generation=generation,
        algorithm=algorithm,
        public_key=point,
        state=_ACTIVE,
        at=at,
    )
    owner = person.organisation
    sealed = seal(secret, kek=zone.kek, purpose=_purpose(row), owner=owner, created_at=at)
    return row, KeySecretRow(key_id=row.key_id, sealed=sealed.hex())


def _purpose(row: ManagedKeyRow) -> str:
    """What a secret is sealed for: this key, so that no row takes another's secret."""
    return f"{_PURPOSE}/{row.organisation}/{row.key_id}"


def _keep(session: Session, row: ManagedKeyRow, secret: KeySecretRow, *, by: str) -> None:
    keep(session, row)
    keep(session, secret)
    detail: dict[str, evidence.JSON] = {
        "key": row.key_id,
        "organisation": row.organisation,
        "name": row.name,
        "generation": row.generation,
        "algorithm": row.algorithm,
    }
    action = "managed-key.created"
    evidence.append(session, at=row.at, actor=by, action=action, detail=detail)


def _advance(session: Session, row: ManagedKeyRow, source: str, target: str) -> None:
    key_id = row.key_id
    if not advance(session, ManagedKeyRow, source=source, target=target, key_id=key_id):
        raise state_error(row)


def _enter_move(
    session: Session, key_id: str, states: tuple[str, str], *, person: KeyPerson, at: datetime
) -> None:
    detail: dict[str, evidence.JSON] = {
        "key": key_id,
        "organisation": person.organisation,
        "from": states[0],
        "to": states[1],
    }
    action = "managed-key.moved"
    evidence.append(session, at=at, actor=person.person, action=action, detail=detail)


def _algorithm(row: ManagedKeyRow) -> Algorithm:
    for known in ALGORITHMS:
        if known == row.algorithm:
            return known
    raise AssertionError("a kept key has an algorithm")
