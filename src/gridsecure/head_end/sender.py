"""A meter-data system's side of the ingestion API: send batches, ask what became of them.

    with connect(addresses, source="headend-1", key=key, gateway_key=theirs, clock=now) as sender:
        became = sender.send(Path("2026-07-01.csv"), batch_id="2026-07-01", sequence=182)

A batch may be sent again at any time: one that was taken in before is answered with its first
receipt. So a lost connection and a busy gateway are waited for and tried again. A large batch is
safe at the gateway before it is read; then its receipt is waited for. Every receipt is checked
under the gateway's key before it is returned; what is returned is evidence.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx

from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import Sm3, sm3_hex
from gridsecure.errors import (
    AuthenticityError,
    GridSecureError,
    InputError,
    InvalidMessageError,
)
from gridsecure.messages import (
    BatchNotice,
    BatchReceipt,
    ReadingCounts,
    Signed,
    open_message,
    rejected_line,
)
from gridsecure.month_texts import read_moment
from gridsecure.wire.client import Client
from gridsecure.wire.connections import new_client
from gridsecure.wire.gateway import BatchStatus, RejectedReading, SequenceGap
from gridsecure.wire.problems import error_of
from gridsecure.wire.service_tokens import ServiceAuth, ServiceLoginClient
from gridsecure.wire.words import PeopleWords

TIMEOUT_S: Final = 120.0
"""A batch takes the gateway a while to check [s]."""

LONGEST_WAIT_S: Final = 3600.0
"""How long the receipt of a batch that waits at the gateway is waited for [s]."""

_LONGEST_PAUSE_S: Final = 8.0
_BLOCK: Final = 1 << 20

Progress = Callable[[BatchStatus], None]
"""Told where a batch stands that the gateway has still to read, at every look."""


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
        months: Local month -> how far it is, as `wire.gateway.BatchStatus` says.
        counts: Local month -> what became of the batch's readings of it, once it was counted.
    """

    receipt: BatchReceipt
    months: dict[str, str]
    counts: dict[str, ReadingCounts]


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
        self._pause = pause
        self._path = f"/v1/sources/{source}"
        self._trusted = {gateway_key.thumbprint: gateway_key}

    def send(
        self,
        readings: bytes | Path,
        *,
        sequence: int,
        batch_id: str = "",
        progress: Progress = lambda _status: None,
    ) -> Became:
        """Send a batch, until it is taken in or refused.

        Args:
            readings: In any format of the gateway; a file is sent as it is read.
            sequence: Its number among this source's batches, from 1.
            batch_id: Its id, the same whenever it is repeated; without one, its digest.

        Raises:
            InputError: The file cannot be read (`source.file`).
            AuthenticityError: The receipt is not the gateway's, or another batch's
                (`source.receipt`).
            GridSecureError: The gateway's refusal with its reason, and nothing was taken in; or it
                has not read the batch within an hour, and still will (`source.waiting`).
        """
        body = _File(readings) if isinstance(readings, Path) else readings
        digest = _digest(readings)
        size = body.size() if isinstance(body, _File) else len(body)
        headers = {
            "Idempotency-Key": batch_id or digest,
            "Batch-Sequence": str(sequence),
            "Content-Length": str(size),
        }
        answer = self._client.call("POST", "/v1/readings", content=body, headers=headers)
        became = self._finish(answer, batch_id or digest, progress)
        if became.receipt.body_digest != digest:
            raise _not_its_receipt()
        return became

    def find(self, batch_id: str, *, progress: Progress = lambda _status: None) -> Became:
        """What became of a batch; one that the gateway has still to read is waited for.

        Raises:
            NotFoundError: It was never taken in (`not-found.batch`).
            AuthenticityError: As for `send`.
            GridSecureError: As for `send`, or the gateway cannot be reached.
        """
        answer = self._client.get(f"{self._path}/batches/{batch_id}")
        return self._finish(answer, batch_id, progress)

    def receipts(self) -> Iterator[BatchReceipt]:
        """Receipts of all batches, in the order in which they came, page by page.

        Raises:
            AuthenticityError: As for `send`.
            GridSecureError: The gateway cannot be reached or refused.
        """
        for page in self._client.follow("GET", f"{self._path}/batches"):
            yield from map(self._receipt, self._client.read(page, list[Signed]))

    def rejected(self, batch_id: str) -> Iterator[RejectedReading]:
        """Every reading of a batch that its receipt counts as rejected, page by page.

        Raises:
            NotFoundError: It was never taken in (`not-found.batch`).
            AuthenticityError: As for `send`; or, once all were given, the list is not the one that
                the receipt signs (`source.rejected-list`).
            GridSecureError: The gateway cannot be reached or refused.
        """
        receipt = self.find(batch_id).receipt
        counts, digest = Counter[str](), Sm3()
        for page in self._client.follow("GET", f"{self._path}/batches/{batch_id}/rejected"):
            for one in self._client.read(page, list[RejectedReading]):
                counts[one.rule] += 1
                digest.update(self._line(one).encode())
                yield one
        # A receipt of an earlier release signs the counts alone.
        is_listed = digest.hexdigest() == receipt.rejected_digest or not receipt.rejected_digest
        if counts != receipt.rejected or not is_listed:
            raise AuthenticityError(
                "The list of rejected readings is not the one that the receipt signs.",
                reason="source.rejected-list",
                remedy="Keep the receipt and the list, and ask the operator of the gateway.",
            )

    def verify(self, batch_id: str, readings: bytes | Path | None = None) -> Became:
        """Check a batch's receipt, and the list of its rejected readings against it.

        Args:
            readings: The body as it was sent; without it, its digest is not compared.

        Raises:
            NotFoundError: It was never taken in (`not-found.batch`).
            InputError: The file cannot be read (`source.file`).
            AuthenticityError: The receipt is not the gateway's (`source.receipt`), or of another
                body (`source.other-file`); or the list is another one (`source.rejected-list`).
            GridSecureError: The gateway cannot be reached or refused.
        """
        became = self.find(batch_id)
        if readings is not None and became.receipt.body_digest != _digest(readings):
            raise AuthenticityError(
                "The gateway signed this batch's receipt, and it is of another file.",
                reason="source.other-file",
                remedy="Name the file that was sent as this batch, byte for byte.",
            )
        for _ in self.rejected(batch_id):
            pass
        return became

    def reconcile(self, month: str) -> ReadingCounts:
        """What became of all readings of a month that this source sent.

        Args:
            month: YYYY-MM.

        Raises:
            NotFoundError: The month is not done, or this source sent none (`not-found.counts`).
            GridSecureError: The gateway cannot be reached or refused.
        """
        answer = self._client.get(f"{self._path}/reconciliation?month={month}")
        return self._client.read(answer, ReadingCounts)

    def gaps(self) -> list[SequenceGap]:
        """Sequences that never came.

        Raises:
            GridSecureError: The gateway cannot be reached or refused.
        """
        return self._client.read(self._client.get(f"{self._path}/gaps"), list[SequenceGap])

    def _finish(self, answer: httpx.Response, batch_id: str, progress: Progress) -> Became:
        """What became of a batch, at its location once the gateway has read it."""
        location = answer.headers.get("location", f"{self._path}/batches/{batch_id}")
        if not location.startswith("/v1/"):  # no token goes anywhere else
            raise self._client.words.malformed("Location")
        status = self._client.read(answer, BatchStatus)
        waited, pause = 0.0, 0.25
        while status.state in {"waiting", "reading"}:
            progress(status)
            if waited >= LONGEST_WAIT_S:
                raise _still_waiting()
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            waited += pause
            self._pause(pause)
            status = self._client.read(self._client.get(location), BatchStatus)
        if status.refusal is not None:
            refused = error_of(status.refusal.status, status.refusal.model_dump_json().encode())
            raise refused or self._client.words.malformed("refusal")
        if status.receipt is None:
            raise self._client.words.malformed("receipt")
        return Became(self._receipt(status.receipt), dict(status.months), dict(status.counts))

    def _line(self, one: RejectedReading) -> str:
        start = read_moment(one.start)
        if start is None:
            raise self._client.words.malformed("start")
        return rejected_line(one.number, one.meter_point_id, start=start, rule=one.rule)

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


def _digest(readings: bytes | Path) -> str:
    return _File(readings).digest() if isinstance(readings, Path) else sm3_hex(readings)


@dataclass(frozen=True, slots=True)
class _File:
    """A file that is read anew for every attempt, and never held whole."""

    path: Path

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                while block := file.read(_BLOCK):
                    yield block
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def digest(self) -> str:
        """Its digest [SM3, hex]."""
        sm3 = Sm3()
        for block in self:
            sm3.update(block)
        return sm3.hexdigest()

    def size(self) -> int:
        """Its size [bytes]."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise _unreadable(self.path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"The file {path.name!r} cannot be read: {error.strerror}.",
        reason="source.file",
        remedy="Check the path and the permissions.",
    )


def _still_waiting() -> GridSecureError:
    return GridSecureError(
        "The gateway has the batch and has not read it yet.",
        reason="source.waiting",
        remedy="Ask later what became of it. It is safe at the gateway.",
    )


def _not_its_receipt() -> AuthenticityError:
    return AuthenticityError(
        "The gateway's receipt does not verify.",
        reason="source.receipt",
        remedy="Check the address, and the gateway's key that registering the source told.",
    )
