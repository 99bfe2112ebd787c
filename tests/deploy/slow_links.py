"""Links between parties that are slow, and break: a proxy before each of their ports.

Every connection waits a while before its first byte and again whenever the other side begins to
speak, has so many bytes a second in each direction, and is cut after some bytes, wherever that is:
in the middle of a request's body, or of an answer. When it is cut is drawn from a seed.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

BESIDE: Final = "127.0.0.2"
"""Where the links begin; the parties listen at the same ports of 127.0.0.1."""
_PIECE: Final = 16_384


@dataclass(slots=True)
class SlowLinks:
    """Links of one kind.

    Args:
        delay_s: Before each side's turn to speak.
        bytes_per_s: In each direction of a connection.
        mean_bytes: How many bytes a connection has on average until it is cut; 0 is for ever.
        connections, cuts, moved: Of all links so far; bytes.
    """

    delay_s: float = 0.1
    bytes_per_s: int = 2_000_000
    mean_bytes: int = 0
    seed: int = 1
    connections: int = 0
    cuts: int = 0
    moved: int = 0
    _random: random.Random = field(default_factory=random.Random)

    @contextmanager
    def open(self, ports: Sequence[int]) -> Iterator[str]:
        """Links to some ports of this machine; the address at which they begin."""
        self._random.seed(self.seed)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="slow-links", daemon=True)
        thread.start()
        servers = [
            asyncio.run_coroutine_threadsafe(self._listen(port), loop).result() for port in ports
        ]
        try:
            yield BESIDE
        finally:
            for server in servers:
                loop.call_soon_threadsafe(server.close)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    async def _listen(self, port: int) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._join(port, reader, writer)

        return await asyncio.start_server(answer, BESIDE, port)

    async def _join(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        try:
            there, to = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # nobody listens: as if it were the party's own port
            writer.transport.abort()
            return
        ends = (writer.transport, to.transport)
        mean = self.mean_bytes
        left = [self._random.expovariate(1 / mean) if mean else float("inf")]
        await asyncio.gather(
            self._carry(reader, to, left, ends), self._carry(there, writer, left, ends)
        )
        for end in ends:
            end.close()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: list[float],
        ends: Sequence[asyncio.WriteTransport],
    ) -> None:
        """Carry bytes one way until a side ends, or none are left of the connection's."""
        loop, spoke = asyncio.get_running_loop(), float("-inf")
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                if loop.time() - spoke > self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await asyncio.sleep(len(piece) / self.bytes_per_s)
                spoke = loop.time()
                left[0] -= len(piece)
                if left[0] < 0:
                    self.cuts += 1
                    for end in ends:
                        end.abort()
                    return
                self.moved += len(piece)
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
