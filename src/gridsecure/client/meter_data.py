"""A meter-data system in ten lines: send readings, hold the receipt, see what became of them.

    with MeterDataSystem(
        identity="https://…", gateway="https://…", source="headend-1",
        key=Path("headend.key"), gateway_key="04…",
    ) as system:
        became = system.send(readings, sequence=182, batch_id="2026-07-01")

Beneath it is `gridsecure.head_end.sender`, whose retries, checks of receipts and errors these are;
here, frames go in and come out, and `AsyncMeterDataSystem` does the same in coroutines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pandas as pd

from gridsecure.client.closings import Closing, InCoroutines
from gridsecure.client.reading_frames import answer_frame, frame_body
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.head_end.sender import TIMEOUT_S, Addresses, Became, Progress, connect, read_point
from gridsecure.messages import BatchReceipt, ReadingCounts
from gridsecure.wire.connections import new_client
from gridsecure.wire.gateway import BatchStatus, RejectedReading, SequenceGap
from gridsecure.zone_keys import read_private_key

Readings = pd.DataFrame | bytes | Path
"""A frame; or a body or file in any format of the gateway: CSV, lines of JSON, Parquet."""


def _silent(_status: BatchStatus) -> None:
    """Nobody is told."""


class MeterDataSystem(Closing):
    """A source, signed in at its gateway whenever that is needed; safe for threads.

    A lost connection and a busy gateway are tried again. Every receipt is checked before it is
    returned.

    Args:
        identity: Base address of the identity service; likewise `gateway`.
        source: The name that it is registered by.
        key: The source's SM2 key, or its file.
        gateway_key: What receipts are signed with, as registering said (130 digits).
        clock: Gives the time, aware.
        open_connection: Opens one connection; closed with this object.

    Raises:
        InputError: `gateway_key` is no public key (`source.gateway-key`).
        GridSecureError: The key's file cannot be used.
    """

    def __init__(  # noqa: PLR0913 - where, who, and what is trusted
        self,
        *,
        identity: str,
        gateway: str,
        source: str,
        key: Sm2PrivateKey | Path,
        gateway_key: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        open_connection: Callable[[], httpx.Client] = lambda: new_client(timeout=TIMEOUT_S),
    ) -> None:
        self._open = ExitStack()
        self._sender = self._open.enter_context(
            connect(
                Addresses(identity, gateway),
                source=source,
                key=read_private_key(key) if isinstance(key, Path) else key,
                gateway_key=read_point(gateway_key),
                clock=clock,
                open_connection=open_connection,
            )
        )

    def close(self) -> None:
        """Close the connections."""
        self._open.close()

    def send(
        self,
        readings: Readings,
        *,
        sequence: int,
        batch_id: str = "",
        progress: Progress = _silent,
    ) -> Became:
        """Send a batch, and wait until it is taken in; sending it again is harmless.

        Args:
            readings: A frame has the columns of a table of docs/formats.md, such as
                `meter_point_id`, `start` and `kwh`.
            sequence: Its number among this source's batches, from 1.
            batch_id: Its id, the same whenever it is repeated; without one, its digest.
            progress: Told where a large batch stands that the gateway has still to read.

        Raises:
            InputError: The file cannot be read (`source.file`).
            InvalidReadingsError: The batch is malformed, with places; nothing was taken in.
            AuthenticityError: The receipt is not the gateway's (`source.receipt`).
            GridSecureError: The gateway refused, cannot be reached, or has not read the batch
                within an hour (`source.waiting`).
        """
        return self._sender.send(
            _body(readings), sequence=sequence, batch_id=batch_id, progress=progress
        )

    def find(self, batch_id: str, *, progress: Progress = _silent) -> Became:
        """What became of a batch by now: its receipt, its months, and counts once it was billed.

        Raises:
            NotFoundError: It was never taken in (`not-found.batch`).
            GridSecureError: As for `send`.
        """
        return self._sender.find(batch_id, progress=progress)

    def verify(self, batch_id: str, readings: Readings | None = None) -> Became:
        """Check a receipt, the list of rejected readings and, if given, the readings against it.

        Raises:
            AuthenticityError: One of them is another's (`source.receipt`, `source.rejected-list`,
                `source.other-file`).
            GridSecureError: As for `find`.
        """
        return self._sender.verify(batch_id, None if readings is None else _body(readings))

    def rejected(self, batch_id: str) -> pd.DataFrame:
        """The readings that were rejected: `number` in the batch, meter point, start and rule.

        Raises:
            AuthenticityError: They are not those that the receipt signs (`source.rejected-list`).
            GridSecureError: As for `find`.
        """
        return answer_frame(self._sender.rejected(batch_id), RejectedReading)

    def receipts(self) -> pd.DataFrame:
        """Receipts of all batches, in the order in which they came.

        Raises:
            GridSecureError: As for `find`.
        """
        return answer_frame(self._sender.receipts(), BatchReceipt)

    def gaps(self) -> pd.DataFrame:
        """Runs of sequences that never came: `first` and `last`.

        Raises:
            GridSecureError: The gateway cannot be reached or refused.
        """
        return answer_frame(self._sender.gaps(), SequenceGap)

    def reconcile(self, month: str) -> ReadingCounts:
        """What became of all readings of a month that this source sent.

        Args:
            month: YYYY-MM.

        Raises:
            NotFoundError: The month is not done, or this source sent none (`not-found.counts`).
            GridSecureError: The gateway cannot be reached or refused.
        """
        return self._sender.reconcile(month)


class AsyncMeterDataSystem(InCoroutines[MeterDataSystem]):
    """`MeterDataSystem` in coroutines, with the same methods.

    Each request waits in a thread of its own, so the loop goes on meanwhile, and several may be
    awaited together. A coroutine that is cancelled leaves its request to its end; sending the batch
    again is harmless. `progress` is called from that thread.
    """

    async def send(
        self,
        readings: Readings,
        *,
        sequence: int,
        batch_id: str = "",
        progress: Progress = _silent,
    ) -> Became:
        """As `MeterDataSystem.send`."""
        return await asyncio.to_thread(
            self._own.send, readings, sequence=sequence, batch_id=batch_id, progress=progress
        )

    async def find(self, batch_id: str, *, progress: Progress = _silent) -> Became:
        """As `MeterDataSystem.find`."""
        return await asyncio.to_thread(self._own.find, batch_id, progress=progress)

    async def verify(self, batch_id: str, readings: Readings | None = None) -> Became:
        """As `MeterDataSystem.verify`."""
        return await asyncio.to_thread(self._own.verify, batch_id, readings)

    async def rejected(self, batch_id: str) -> pd.DataFrame:
        """As `MeterDataSystem.rejected`."""
        return await asyncio.to_thread(self._own.rejected, batch_id)

    async def receipts(self) -> pd.DataFrame:
        """As `MeterDataSystem.receipts`."""
        return await asyncio.to_thread(self._own.receipts)

    async def gaps(self) -> pd.DataFrame:
        """As `MeterDataSystem.gaps`."""
        return await asyncio.to_thread(self._own.gaps)

    async def reconcile(self, month: str) -> ReadingCounts:
        """As `MeterDataSystem.reconcile`."""
        return await asyncio.to_thread(self._own.reconcile, month)


def _body(readings: Readings) -> bytes | Path:
    return frame_body(readings) if isinstance(readings, pd.DataFrame) else readings
