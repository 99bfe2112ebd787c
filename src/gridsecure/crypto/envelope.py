"""Sealed envelopes: bytes under SM4-GCM, their key under a key-encryption key or an SM2 key.

Layout, all numbers big-endian:

    magic "GSENV" | version 1 | kind | key id (8) | purpose | owner | created-at (8) | wrapped key
    | ciphertext and tag

Purpose, owner and wrapped key each follow their length in two bytes; created-at counts
microseconds since 1970 in UTC. `kind` is 1 (key-encryption key) or 2 (SM2 recipient).

Invariants:
- Every envelope has a data key of its own, drawn here, used for exactly one GCM message.
- The data's AAD is everything before the ciphertext, so no byte of an envelope can change unseen.
  Under a key-encryption key, the wrapped key has the fields before it as AAD as well.
- Opening needs the purpose: what was sealed for one purpose opens for no other.
- Whatever failed, the answer is the same EnvelopeError.

Not here: who sealed it. Anyone who knows a public key can seal to it, so sign the envelope where
the sender matters. A key-encryption key seals at most 2**32 envelopes (random 96-bit nonces).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import hmac_sm3
from gridsecure.crypto.sm4 import KEY_BYTES, NONCE_BYTES, gcm_open, gcm_seal
from gridsecure.errors import EnvelopeError

Kek = bytes | bytearray
"""A key-encryption key of 16 bytes; in an array its holder can overwrite it."""

_MAGIC: Final = b"GSENV\x01"
_KIND_KEK: Final = b"\x01"
_KIND_SM2: Final = b"\x02"
_KEY_ID_BYTES: Final = 8
_TIME_BYTES: Final = 8
_MAX_FIELD_BYTES: Final = 0xFFFF
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# A data key seals one message and is then forgotten, so no nonce can repeat under it: any fixed
# value is safe. The key-encryption key lives on, so its nonces are drawn at random.
_DATA_NONCE: Final = bytes(NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class _Parts:
    """An envelope cut at its field boundaries; nothing in it is authenticated yet."""

    wrapped_key: bytes
    before_key: bytes
    before_data: bytes
    data: bytes


def seal(data: bytes, *, kek: Kek, purpose: str, owner: str, created_at: datetime) -> bytes:
    """Seal bytes at rest under a key-encryption key.

    Args:
        data: The plaintext, possibly empty.
        kek: The 16-byte key-encryption key.
        purpose: What it is for; opening must name it again.
        owner: Whose it is; authenticated and readable by anyone, so no names of customers.
        created_at: An aware datetime.

    Raises:
        ValueError: A key of the wrong length, a naive datetime, or a text over 65,535 bytes.
    """
    return _seal_under(kek, _header(_KIND_KEK, kek_id(kek), (purpose, owner), created_at), data)


def _seal_under(kek: Kek, header: bytes, data: bytes) -> bytes:
    data_key = secrets.token_bytes(KEY_BYTES)
    nonce = secrets.token_bytes(NONCE_BYTES)
    # The header is authenticated twice, with the key and with the data, so neither can be swapped.
    wrapped = nonce + gcm_seal(kek, nonce=nonce, data=data_key, associated_data=header)
    return _seal_data(header + _field(wrapped), data_key, data)


def open_sealed(blob: bytes, *, kek: Kek, purpose: str) -> bytes:
    """Return what `seal` sealed under this key for this purpose.

    Args:
        kek: The 16-byte key-encryption key.
        purpose: The purpose it was sealed for.

    Raises:
        EnvelopeError: Another key, another purpose, or any byte altered, missing or added.
        ValueError: A key of the wrong length.
    """
    return _open_under(kek, _cut(blob, _KIND_KEK, kek_id(kek), purpose))


def reseal(blob: bytes, *, kek: Kek, new_kek: Kek, purpose: tuple[str, str]) -> bytes:
    """Seal under another key what `seal` sealed; owner and creation time stay.

    Args:
        kek: The 16-byte key-encryption key that it is sealed under.
        new_kek: The one that takes its place.
        purpose: What it was sealed for, and what it is to be sealed for.

    Raises:
        EnvelopeError, ValueError: As `open_sealed`.
    """
    before, after = (_MAGIC + _KIND_KEK + kek_id(key) for key in (kek, new_kek))
    parts = _cut(blob, _KIND_KEK, kek_id(kek), purpose[0])
    data = _open_under(kek, parts)
    rest = parts.before_key[len(before) + len(_field(purpose[0].encode())) :]
    return _seal_under(new_kek, after + _field(purpose[1].encode()) + rest, data)


def _open_under(kek: Kek, parts: _Parts) -> bytes:
    nonce, wrapped = parts.wrapped_key[:NONCE_BYTES], parts.wrapped_key[NONCE_BYTES:]
    if len(nonce) != NONCE_BYTES:
        raise _unopened()
    data_key = gcm_open(kek, nonce=nonce, data=wrapped, associated_data=parts.before_key)
    return _open_data(parts, data_key)


def seal_to(
    data: bytes, *, recipient: Sm2PublicKey, purpose: str, owner: str, created_at: datetime
) -> bytes:
    """Seal bytes to the holder of an SM2 key.

    Args:
        data: The plaintext, possibly empty.
        purpose: What it is for; opening must name it again.
        owner: Whose it is; authenticated and readable by anyone, so no names of customers.
        created_at: An aware datetime.

    Raises:
        ValueError: A naive datetime, or a text over 65,535 bytes.
    """
    header = _header(_KIND_SM2, _recipient_id(recipient), (purpose, owner), created_at)
    data_key = secrets.token_bytes(KEY_BYTES)
    return _seal_data(header + _field(recipient.encrypt(data_key)), data_key, data)


def open_from(blob: bytes, *, private_key: Sm2PrivateKey, purpose: str) -> bytes:
    """Return what `seal_to` sealed to this key for this purpose.

    Args:
        purpose: The purpose it was sealed for.

    Raises:
        EnvelopeError: Another key, another purpose, or any byte altered, missing or added.
    """
    parts = _cut(blob, _KIND_SM2, _recipient_id(private_key.public_key), purpose)
    return _open_data(parts, private_key.decrypt(parts.wrapped_key))


def _seal_data(header: bytes, data_key: bytes, data: bytes) -> bytes:
    return header + gcm_seal(data_key, nonce=_DATA_NONCE, data=data, associated_data=header)


def _open_data(parts: _Parts, data_key: bytes) -> bytes:
    if len(data_key) != KEY_BYTES:  # a sender of SM2 envelopes chooses what is wrapped
        raise _unopened()
    return gcm_open(data_key, nonce=_DATA_NONCE, data=parts.data, associated_data=parts.before_data)


def kek_id(kek: Kek) -> bytes:
    """Return a name for a key-encryption key that gives nothing of it away [8 bytes].

    Raises:
        ValueError: A key of the wrong length.
    """
    if len(kek) != KEY_BYTES:
        raise ValueError("a key-encryption key has 16 bytes")
    return hmac_sm3(kek, b"gridsecure envelope key id")[:_KEY_ID_BYTES]


def _recipient_id(key: Sm2PublicKey) -> bytes:
    return bytes.fromhex(key.thumbprint)[:_KEY_ID_BYTES]


def _header(kind: bytes, key_id: bytes, texts: tuple[str, str], created_at: datetime) -> bytes:
    """Return everything before the wrapped key."""
    if created_at.tzinfo is None:
        raise ValueError("an envelope's creation time needs a time zone")
    purpose, owner = (_field(text.encode()) for text in texts)
    micros = (created_at - _EPOCH) // timedelta(microseconds=1)
    time = micros.to_bytes(_TIME_BYTES, "big", signed=True)
    return _MAGIC + kind + key_id + purpose + owner + time


def _field(content: bytes) -> bytes:
    if len(content) > _MAX_FIELD_BYTES:
        raise ValueError("an envelope's field has at most 65,535 bytes")
    return len(content).to_bytes(2, "big") + content


def _cut(blob: bytes, kind: bytes, key_id: bytes, purpose: str) -> _Parts:
    """Cut an envelope into its fields and refuse one of another kind, key or purpose."""
    position = 0

    def take(size: int) -> bytes:
        nonlocal position
        piece = blob[position : position + size]
        if len(piece) != size:
            raise _unopened()
        position += size
        return piece

    def take_field() -> bytes:
        return take(int.from_bytes(take(2), "big"))

    expected = _MAGIC + kind + key_id + _field(purpose.encode())
    if take(len(expected)) != expected:
        raise _unopened()
    take_field()  # owner
    take(_TIME_BYTES)
    before_key = blob[:position]
    wrapped_key = take_field()
    return _Parts(
        wrapped_key=wrapped_key,
        before_key=before_key,
        before_data=blob[:position],
        data=blob[position:],
    )


def _unopened() -> EnvelopeError:
    return EnvelopeError("The sealed data does not open.")
