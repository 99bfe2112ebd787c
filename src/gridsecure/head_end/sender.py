"""A meter-data system's side of the ingestion API: send batches, ask what became of them.

    with connect(addresses, source="headend-1", key=key, gateway_key=theirs, clock=now) as sender:
        became = sender.send(Path("2026-07-01.csv"), batch_id="2026-07-01", sequence=182)

A batch may be sent again at any time: one that was taken in before is answered with its first
receipt. So a lost connection and a busy gateway are waited for and tried again. Every receipt
is checked under the gateway's key before it is returned; what is returned is evidence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx

from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError, InputError, InvalidMessageError
from gridsecure.messages import BatchNotice, BatchReceipt, Signed, open_message
from gridsecure.wire.client import Client
from gridsecure.wire.connections import new_client
from gridsecure.wire.gateway import BatchStatus, SequenceGap
from gridsecure.wire.service_tokens import ServiceAuth, ServiceLoginClient
from gridsecure.wire.words import PeopleWords

TIMEOUT_S: Final = 120.0
"""A large batch takes the gateway a while to check [s]."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Base addresses of the services that a source works with."""

    identity: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Became:
    """What became of a batch by now.

    Args:
        receipt: Its receipt, as it was checked.
        months: Local month -> state of its readings, as `wire.gateway.BatchStatus` says.
    """

    receipt: BatchReceipt
    months: dict[str, str]


class Sender:
    """A source that is signed in at a gateway; safe for threads.

    Args:
        gateway: The connection, with base address and authentication.
        source: The name that it is registered by.
        gateway_key: What receipts are signed with.
        pause: Waits for so many seconds before another attempt.
    """

    def __init__(
        self,
        gateway: httpx.Client,
        *,
        source: str,
        gateway_key: Sm2PublicKey,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = Client(gateway, PeopleWords("gateway"), pause=pause)
        self._path = f"/v1/sources/{source}"
        self._trusted = {gateway_key.thumbprint: gateway_key}

    def send(self, readings: bytes | Path, *, sequence: int, batch_id: str = "") -> Became:
        """Send a batch, until it is taken in or refused.

        Args:
            readings: In any format of the gateway; a file is read whole.
            sequence: Its number among this source's batches, from 1.
            batch_id: Its id, the same whenever it is repeated; without one, its digest.

        Raises:
            InputError: The file cannot be read (`source.file`).
            AuthenticityError: The receipt is not the gateway's, or another batch's
                (`source.receipt`).
            GridSecureError: The gateway's refusal with its reason; nothing was taken in.
        """
        body = _read(readings) if isinstance(readings, Path) else readings
        digest = sm3_hex(body)
        headers = {"Idempotency-Key": batch_id or digest, "Batch-Sequence": str(sequence)}
        answer = self._client.call("POST", "/v1/readings", content=body, headers=headers)
        became = self._checked(self._client.read(answer, BatchStatus))
        if became.receipt.body_digest != digest:
            raise _not_its_receipt()
        return became

    def find(self, batch_id: str) -> Became:
        """What became of a batch.

        Raises:
            NotFoundError: It was never taken in (`not-found.batch`).
            AuthenticityError: As for `send`.
            GridSecureError: The gateway cannot be reached or refused.
        """
        answer = self._client.get(f"{self._path}/batches/{batch_id}")
        return self._checked(self._client.read(answer, BatchStatus))

    def receipts(self) -> Iterator[BatchReceipt]:
        """Receipts of all batches, in the order in which they came, page by page.

        Raises:
            AuthenticityError: As for `send`.
            GridSecureError: The gateway cannot be reached or refused.
        """
        for page in self._client.follow("GET", f"{self._path}/batches"):
            yield from map(self._receipt, self._client.read(page, list[Signed]))

    def gaps(self) -> list[SequenceGap]:
        """Sequences that never came.

        Raises:
            GridSecureError: The gateway cannot be reached or refused.
        """
        return self._client.read(self._client.get(f"{self._path}/gaps"), list[SequenceGap])

    def _checked(self, status: BatchStatus) -> Became:
        return Became(self._receipt(status.receipt), dict(status.months))

    def _receipt(self, signed: Signed) -> BatchReceipt:
        try:
            return open_message(signed, expect=BatchReceipt, trusted=self._trusted)
        except AuthenticityError as error:
            raise _not_its_receipt() from error


@contextmanager
def connect(
    addresses: Addresses,
    *,
    source: str,
    key: Sm2PrivateKey,
    gateway_key: Sm2PublicKey,
    clock: Callable[[], datetime],
    open_connection: Callable[[], httpx.Client] = lambda: new_client(timeout=TIMEOUT_S),
) -> Iterator[Sender]:
    """Sign a source in with its key whenever that is needed, until the block ends.

    Args:
        source: The name that it is registered by.
        gateway_key: What receipts are signed with; registering a source tells it.
        clock: Gives the time, aware.
        open_connection: Opens one connection; closed when the block ends.
    """
    with open_connection() as identity, open_connection() as gateway:
        identity.base_url, gateway.base_url = addresses.identity, addresses.gateway
        gateway.auth = ServiceAuth(ServiceLoginClient(identity, key, clock), audience="gateway")
        yield Sender(gateway, source=source, gateway_key=gateway_key)


def read_notice(body: bytes, *, gateway_key: Sm2PublicKey) -> BatchNotice:
    """What a gateway sent to a source's address.

    Raises:
        InvalidMessageError: It is no notice.
        AuthenticityError: It is not the gateway's.
    """
    trusted = {gateway_key.thumbprint: gateway_key}
    return open_message(Signed.parse(body), expect=BatchNotice, trusted=trusted)


def read_point(digits: str) -> Sm2PublicKey:
    """The gateway's key as registering a source told it.

    Args:
        digits: The point, 130 hexadecimal digits.

    Raises:
        InputError: It is no public key (`source.gateway-key`).
    """
    try:
        return Sm2PublicKey(bytes.fromhex(digits))
    except (ValueError, InvalidMessageError) as error:
        raise InputError(
            "The gateway's key is not a public key.",
            reason="source.gateway-key",
            remedy="Give the 130 digits that registering the source printed.",
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The file {path.name!r} cannot be read: {error.strerror}.",
            reason="source.file",
            remedy="Check the path and the permissions.",
        ) from error


def _not_its_receipt() -> AuthenticityError:
    return AuthenticityError(
        "The gateway's receipt does not verify.",
        reason="source.receipt",
        remedy="Check the address, and the gateway's key that registering the source told.",
    )
