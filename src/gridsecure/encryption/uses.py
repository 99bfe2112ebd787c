"""Uses of managed keys: signatures and MACs of digests, and data keys sealed to who asks.

The service is shown digests and never what they are of, and it decrypts nothing: an SM4 key leaves
it sealed to the SM2 key of the person who asks, and what is encrypted under it is encrypted and
opened on that person's machine. Whoever has been given a data key keeps it; a state that ends a key
ends new uses.

A use is entered in the evidence log, and metered, before its result leaves: what cannot be entered
is not given. The entry says which key, who and what kind of use, and no digest.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from sqlmodel import Session, col, select

from gridsecure.crypto.envelope import seal_to
from gridsecure.crypto.sm2 import private_key_from_bytes
from gridsecure.crypto.sm3 import hmac_sm3
from gridsecure.encryption.keys import check_state, load_key, read_secret
from gridsecure.encryption.tables import KeyUseRow
from gridsecure.encryption.usage import BOOK, OPERATIONS
from gridsecure.encryption.zone import EncryptionZone, KeyPerson
from gridsecure.messages import Digest
from gridsecure.store.database import write_session
from gridsecure.store.pages import Page, PageAsked, read_page
from gridsecure.store.rows import keep

DataKeyUse = Literal["seal", "open"]
DATA_KEY: Final = "gridsecure/data-key"
"""What a data key is sealed to its holder for, before a slash and the key's id."""

_STATES: Final[Mapping[str, set[str]]] = {
    "signature": {"active"},
    "mac": {"active"},
    "mac-check": {"active", "deactivated"},
    "data-key-seal": {"active"},
    "data-key-open": {"active", "deactivated"},
}


def sign_digest(
    zone: EncryptionZone, person: KeyPerson, key_id: str, *, digest: Digest, at: datetime
) -> str:
    """The SM2 signature of a digest's 32 bytes, hexadecimal digits.

    It is a signature of GB/T 32918.2 whose message is the digest, under the usual identity.

    Raises:
        NotFoundError, ConflictError: As `read_secret`.
        StorageError: The use cannot be entered.
    """
    states = _STATES["signature"]
    secret = read_secret(zone, person, key_id, algorithm="sm2", states=states)
    signature = private_key_from_bytes(secret).sign(bytes.fromhex(digest)).hex()
    _enter(zone, person, key_id, "signature", at=at)
    return signature


def make_mac(
    zone: EncryptionZone, person: KeyPerson, key_id: str, *, digest: Digest, at: datetime
) -> str:
    """HMAC-SM3 of a digest's 32 bytes, hexadecimal digits.

    Raises:
        NotFoundError, ConflictError: As `read_secret`.
        StorageError: The use cannot be entered.
    """
    mac = _mac(zone, person, key_id, digest, "mac")
    _enter(zone, person, key_id, "mac", at=at)
    return mac


def check_mac(
    zone: EncryptionZone, person: KeyPerson, key_id: str, *, claim: tuple[Digest, str], at: datetime
) -> bool:
    """Whether a MAC is that of a digest.

    Args:
        claim: Digest and MAC.

    Raises:
        NotFoundError, ConflictError: As `read_secret`.
        StorageError: The use cannot be entered.
    """
    digest, given = claim
    mac = _mac(zone, person, key_id, digest, "mac-check")
    _enter(zone, person, key_id, "mac-check", at=at)
    return hmac.compare_digest(mac, given)


def give_data_key(
    zone: EncryptionZone, person: KeyPerson, key_id: str, *, use: DataKeyUse, at: datetime
) -> bytes:
    """The SM4 key, sealed to the SM2 key of the person who asks.

    Raises:
        NotFoundError, ConflictError: As `read_secret`.
        StorageError: The use cannot be entered.
    """
    operation = f"data-key-{use}"
    secret = read_secret(zone, person, key_id, algorithm="sm4", states=_STATES[operation])
    sealed = seal_to(
        secret,
        recipient=person.key,
        purpose=f"{DATA_KEY}/{key_id}",
        owner=person.organisation,
        created_at=at,
    )
    _enter(zone, person, key_id, operation, at=at)
    return sealed


def page_uses(session: Session, person: KeyPerson, key_id: str, asked: PageAsked) -> Page:
    """A page of what was done under a key of one's organisation, oldest first.

    Raises:
        NotFoundError: As `load_key`.
    """
    load_key(session, person, key_id)
    found = select(KeyUseRow).where(KeyUseRow.key_id == key_id)
    return read_page(session, found, key=col(KeyUseRow.id), asked=asked)


def _mac(
    zone: EncryptionZone, person: KeyPerson, key_id: str, digest: Digest, operation: str
) -> str:
    states = _STATES[operation]
    secret = read_secret(zone, person, key_id, algorithm="hmac-sm3", states=states)
    return hmac_sm3(secret, bytes.fromhex(digest)).hex()


def _enter(
    zone: EncryptionZone, person: KeyPerson, key_id: str, operation: str, *, at: datetime
) -> None:
    """Keep and meter a use, unless the key was moved since its secret was read."""
    use = secrets.token_hex(16)
    row = KeyUseRow(
        use=use,
        key_id=key_id,
        organisation=person.organisation,
        operation=operation,
        person=person.person,
        at=at,
    )
    detail = {"use": use, "key": key_id, "party": person.organisation}
    action = OPERATIONS[operation]
    with write_session(zone.engine) as session:
        check_state(load_key(session, person, key_id), _STATES[operation])
        keep(session, row)
        BOOK.enter(session, at=at, actor=person.person, action=action, detail=detail)
