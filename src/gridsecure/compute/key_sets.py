"""Key sets at the platform: whose they are by the authority's signature, and which are revoked.

Who brings a notice does not matter, because the authority signed it: a gateway sends its own before
its first upload under it. A revocation is brought by whoever is on duty.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gridsecure.compute.received import as_signed, keep_received
from gridsecure.compute.tables import KeyRevocationRow, KeySetRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import KeyMismatchError
from gridsecure.messages import ColumnEntry, KeyNotice, KeyRevocation, Signed, open_message
from gridsecure.month_texts import read_moment
from gridsecure.plans.key_ring import KeyRing, KnownKeys, load_key_set
from gridsecure.store.database import read_session
from gridsecure.store.rows import find, find_many
from gridsecure.wire.platform import KeySetStatus


def install_key_set(
    zone: PlatformZone, envelope: Signed, *, keys: tuple[bytes, ...], at: datetime
) -> KeySetStatus:
    """Take in a gateway's key set.

    Args:
        envelope: The authority's signed notice.
        keys: The objects the notice names, or none to ask whether they are needed.

    Raises:
        AuthenticityError: Not signed by the authority.
        KeyMismatchError: The objects are not the keys the notice names (`keys.id`).
        ConflictError: Another key set is the gateway's of this generation (`conflict.key-set`).
    """
    notice = open_message(envelope, expect=KeyNotice, trusted=zone.authority)
    named = {notice.public_key, notice.relinearisation_keys} - {None}
    if not keys:
        with read_session(zone.engine) as session:
            known = find(session, KeySetRow, key_id=notice.key_id, digest=envelope.digest)
        return KeySetStatus(
            key_id=notice.key_id, missing=[] if known else sorted(filter(None, named))
        )
    by_digest = {sm3_hex(key): key for key in keys}
    if by_digest.keys() != named:
        raise KeyMismatchError(
            "The keys differ from those that the notice names.", reason="keys.id"
        )
    # Proved to be public keys before anything is stored: a secret key, sent here by mistake, must
    # not touch the platform's disk.
    load_key_set(notice, by_digest.__getitem__)
    for digest, key in by_digest.items():
        zone.objects.put(key, digest=digest)
    row = KeySetRow(
        **as_signed(envelope, at=at),
        key_id=notice.key_id,
        gateway_id=notice.gateway,
        parameters=notice.parameters,
        generation=notice.generation,
    )
    keep_received(zone, row, name=notice.key_id, signer=envelope.signer)
    return KeySetStatus(key_id=notice.key_id, missing=[])


def install_revocation(zone: PlatformZone, envelope: Signed, *, at: datetime) -> KeyRevocation:
    """Compute on nothing more under a key set; it need not be known here yet.

    Raises:
        AuthenticityError: Not signed by the authority.
        ConflictError: It was revoked by another message (`conflict.key-revocation`).
    """
    revoked = open_message(envelope, expect=KeyRevocation, trusted=zone.authority)
    row = KeyRevocationRow(**as_signed(envelope, at=at), key_id=revoked.key_id)
    keep_received(zone, row, name=revoked.key_id, signer=envelope.signer)
    return revoked


def read_known_keys(engine: Engine) -> KnownKeys:
    """The gateways' key sets."""
    with read_session(engine) as session:
        notices = session.exec(select(KeySetRow).order_by(col(KeySetRow.key_id)))
        return KnownKeys(_notices(notices), list_revoked_key_ids(session))


def list_revoked_key_ids(session: Session) -> frozenset[str]:
    """Key ids of the key sets that were revoked."""
    return frozenset(session.exec(select(KeyRevocationRow.key_id)))


def check_own_keys(
    session: Session, columns: list[ColumnEntry], *, gateway: str, at: datetime
) -> None:
    """Refuse new columns under anything but usable key sets of their gateway.

    Raises:
        KeyMismatchError: As `KeyRing.check`, or a key set ended by now (`keys.ended`).
    """
    named = sorted({column.key_id for column in columns})
    found = find_many(session, KeySetRow, named, by="key_id")
    revoked = find_many(session, KeyRevocationRow, named, by="key_id")
    known = KnownKeys(_notices(found.values()), frozenset(revoked))
    KeyRing(known, _no_object).check(columns, gateway=gateway)
    own = select(KeySetRow).where(KeySetRow.gateway_id == gateway)
    later = _notices(session.exec(own))
    for notice in known.notices:
        if any(_has_ended(notice, by=one, at=at) for one in later):
            raise KeyMismatchError(
                "A column is encrypted under a key set whose time is over.",
                reason="keys.ended",
                remedy="Ask the key authority for the key set in force and encrypt the readings "
                "anew.",
            )


def _has_ended(notice: KeyNotice, *, by: KeyNotice, at: datetime) -> bool:
    """Whether a later key set of the same parameters said that nothing more begins under this."""
    until = read_moment(by.earlier_until)
    is_later = by.parameters == notice.parameters and by.generation > notice.generation
    return is_later and until is not None and at >= until


def _notices(rows: Iterable[KeySetRow]) -> tuple[KeyNotice, ...]:
    return tuple(KeyNotice.parse(row.envelope.body) for row in rows)


def _no_object(_digest: str) -> bytes:
    raise AssertionError("a check by key id reads no key")
