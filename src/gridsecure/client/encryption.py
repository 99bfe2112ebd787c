"""The encryption service in a program: what it does under managed keys, and what stays here.

    with EncryptionService(url, identity=identity_url, key=Path("me.key")) as service:
        signature = service.sign(key_id, document)           # the service is shown the digest alone
        sealed = service.seal(key_id, table)                 # encrypted here, by SM4-GCM
        assert service.open(key_id, sealed) == table         # and opened here

`seal` and `open` run on this machine, under a key that the service gives out sealed to `key`. So do
`encrypt_column`, `check_signature` and `check_certificate`, which take no service at all.
`gridsecure eaas` works through this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from gridsecure.analyst.certificates import certificate_document, verify_certificate
from gridsecure.analyst.releases import pin_authority
from gridsecure.client.closings import Closing, InCoroutines
from gridsecure.crypto import envelope
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_digest, sm3_hex
from gridsecure.errors import InputError, KeyMismatchError, SignatureError
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import find_parameters
from gridsecure.messages import KeyNotice, Signed, open_message
from gridsecure.offices.files import officer_key
from gridsecure.offices.officers import sign_in_person
from gridsecure.wire.connections import new_client

TIMEOUT_S: Final = 60.0
"""Longest that one request may take [s]."""
DATA_KEY: Final = "gridsecure/data-key"
"""What the service seals a data key for, before a slash and the key's id."""
SEALED: Final = "gridsecure/eaas-data"
"""What data are sealed for under a data key."""


class EncryptionService(Closing):
    """The encryption service, as somebody of an organisation; signed in for an hour.

    Args:
        url: Its address.
        identity: Address of the identity service.
        key: The person's key file. Data keys open with it.
        clock: Gives the time, aware.
        open_connection: Opens what requests go over.

    Raises:
        GridSecureError: The key cannot be used, or nobody signs in with it.
    """

    def __init__(
        self,
        url: str,
        *,
        identity: str,
        key: Path,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        open_connection: Callable[[], httpx.Client] = lambda: new_client(timeout=TIMEOUT_S),
    ) -> None:
        self._key, self._clock = officer_key(key), clock
        with ExitStack() as opened:
            http = opened.enter_context(open_connection())
            self._call = sign_in_person(
                http, identity, key=self._key, services={"encryption": url}, now=clock()
            )
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the connection."""
        self._opened.close()

    def keys(self) -> list[dict[str, Any]]:
        """The organisation's keys with their states, oldest first."""
        found: list[dict[str, Any]] = self._call("encryption", "GET", "/keys")
        return found

    def uses(self, key_id: str) -> list[dict[str, Any]]:
        """What was done under a key, oldest first: by whom, when, of which kind."""
        found: list[dict[str, Any]] = self._call("encryption", "GET", f"/keys/{key_id}/uses")
        return found

    def create_key(self, name: str, algorithm: str) -> dict[str, Any]:
        """Make a key; `algorithm` is sm2, hmac-sm3 or sm4."""
        return self._post("/keys", {"name": name, "algorithm": algorithm})

    def move_key(self, key_id: str, target: str) -> dict[str, Any]:
        """Move a key to another state."""
        return self._post(f"/keys/{key_id}/moves", {"target": target})

    def rotate_key(self, key_id: str) -> dict[str, Any]:
        """Make the next generation of a key, and deactivate it."""
        return self._post(f"/keys/{key_id}/rotations")

    def sign(self, key_id: str, data: bytes) -> str:
        """The SM2 signature of the data's digest, hexadecimal digits."""
        answer = self._post(f"/keys/{key_id}/signatures", {"digest": sm3_hex(data)})
        return str(answer["signature"])

    def mac(self, key_id: str, data: bytes) -> str:
        """HMAC-SM3 of the data's digest, hexadecimal digits."""
        return str(self._post(f"/keys/{key_id}/macs", {"digest": sm3_hex(data)})["mac"])

    def check_mac(self, key_id: str, data: bytes, *, mac: str) -> bool:
        """Whether a MAC is that of the data's digest."""
        given = {"digest": sm3_hex(data), "mac": mac}
        return bool(self._post(f"/keys/{key_id}/mac-checks", given)["is_good"])

    def seal(self, key_id: str, data: bytes) -> bytes:
        """Encrypt data on this machine under an SM4 key, given out for this person."""
        return envelope.seal(
            data,
            kek=self._data_key(key_id, "seal"),
            purpose=SEALED,
            owner=key_id,
            created_at=self._clock(),
        )

    def open(self, key_id: str, sealed: bytes) -> bytes:
        """Open on this machine what was sealed under an SM4 key.

        Raises:
            EnvelopeError: It was sealed under another key, or altered.
            GridSecureError: The service does not give the key out.
        """
        return envelope.open_sealed(sealed, kek=self._data_key(key_id, "open"), purpose=SEALED)

    def usage(self, month: str) -> dict[str, Any]:
        """What the organisation used in a month, YYYY-MM of UTC."""
        answer: dict[str, Any] = self._call("encryption", "GET", "/usage", params={"month": month})
        return answer

    def _data_key(self, key_id: str, use: str) -> bytes:
        sealed = bytes.fromhex(self._post(f"/keys/{key_id}/data-keys", {"use": use})["sealed"])
        return envelope.open_from(sealed, private_key=self._key, purpose=f"{DATA_KEY}/{key_id}")

    def _post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self._call("encryption", "POST", path, json=body)
        return answer


class AsyncEncryptionService(InCoroutines[EncryptionService]):
    """`EncryptionService` in coroutines: each call waits in a thread of its own."""

    async def keys(self) -> list[dict[str, Any]]:
        """As `EncryptionService.keys`."""
        return await asyncio.to_thread(self._own.keys)

    async def uses(self, key_id: str) -> list[dict[str, Any]]:
        """As `EncryptionService.uses`."""
        return await asyncio.to_thread(self._own.uses, key_id)

    async def create_key(self, name: str, algorithm: str) -> dict[str, Any]:
        """As `EncryptionService.create_key`."""
        return await asyncio.to_thread(self._own.create_key, name, algorithm)

    async def move_key(self, key_id: str, target: str) -> dict[str, Any]:
        """As `EncryptionService.move_key`."""
        return await asyncio.to_thread(self._own.move_key, key_id, target)

    async def rotate_key(self, key_id: str) -> dict[str, Any]:
        """As `EncryptionService.rotate_key`."""
        return await asyncio.to_thread(self._own.rotate_key, key_id)

    async def sign(self, key_id: str, data: bytes) -> str:
        """As `EncryptionService.sign`."""
        return await asyncio.to_thread(self._own.sign, key_id, data)

    async def mac(self, key_id: str, data: bytes) -> str:
        """As `EncryptionService.mac`."""
        return await asyncio.to_thread(self._own.mac, key_id, data)

    async def check_mac(self, key_id: str, data: bytes, *, mac: str) -> bool:
        """As `EncryptionService.check_mac`."""
        return await asyncio.to_thread(self._own.check_mac, key_id, data, mac=mac)

    async def seal(self, key_id: str, data: bytes) -> bytes:
        """As `EncryptionService.seal`."""
        return await asyncio.to_thread(self._own.seal, key_id, data)

    async def open(self, key_id: str, sealed: bytes) -> bytes:
        """As `EncryptionService.open`."""
        return await asyncio.to_thread(self._own.open, key_id, sealed)

    async def usage(self, month: str) -> dict[str, Any]:
        """As `EncryptionService.usage`."""
        return await asyncio.to_thread(self._own.usage, month)


def check_signature(data: bytes, *, signature: str, public_key: str) -> bool:
    """Whether a signature is that of the data's digest, under a managed key; no service is asked.

    Args:
        signature: Hexadecimal digits, likewise the SM2 point.

    Raises:
        InputError: One of them is no such text (`managed-key.text`).
    """
    try:
        key, signed = Sm2PublicKey(bytes.fromhex(public_key)), bytes.fromhex(signature)
    except ValueError as error:
        raise InputError(
            "A signature or public key is not hexadecimal.",
            reason="managed-key.text",
            remedy="Give both as the service answered them.",
        ) from error
    try:
        key.verify(sm3_digest(data), signed)
    except SignatureError:
        return False
    return True


def check_certificate(content: bytes, *, authority_key: str) -> dict[str, Any]:
    """What a release certificate says, once all of it was verified; no service is asked.

    Raises:
        GridSecureError: As `verify_certificate`.
    """
    found = verify_certificate(content, authority=pin_authority(authority_key))
    return certificate_document(found)


def open_key_set(notice: bytes, public_key: bytes, *, authority_key: str) -> PublicKeySet:
    """A gateway's public key set, as the key authority signed it.

    Args:
        notice: The signed notice, JSON.
        public_key: The object that it names.

    Raises:
        AuthenticityError: The pinned authority did not sign it.
        KeyMismatchError: The notice names another public key (`keys.malformed`).
    """
    pinned = pin_authority(authority_key)
    trusted = {pinned.thumbprint: pinned.key}
    named = open_message(Signed.parse(notice), expect=KeyNotice, trusted=trusted)
    if sm3_hex(public_key) != named.public_key:
        raise KeyMismatchError(
            "This is not the public key that the notice names.",
            reason="keys.malformed",
            remedy="Fetch the key set from the key authority again.",
        )
    return PublicKeySet(find_parameters(named.parameters), public_key)


def encrypt_column(values: Sequence[int], *, label: ColumnLabel, key_set: PublicKeySet) -> bytes:
    """Encrypt whole numbers, one a slot, under a public key set: a column file.

    It runs on this machine, and no service is shown the numbers.

    Args:
        label: What everybody may know of the column; `high` is the largest value it may hold.

    Raises:
        OutOfRangeError: A value is negative, above `high` or no whole number.
        ValueError: The label counts other slots than there are values.
    """
    column = key_set.encrypt(np.asarray(values, dtype=np.int64), high=label.high)
    return column_bytes(column, label=label)
