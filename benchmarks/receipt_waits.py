"""How long sources wait for their receipts when a hundred of them send at once.

The gateway runs as its users run it, in a process of its own, and the batches come over loopback:
each of 96 readings, each from a source with a token, a connection and a sequence of its own. A
source sends its next batch as soon as it has the receipt of the one before, so the time is that of
a gateway at its limit; every receipt is of a batch that is on the disk. They begin once the gateway
has started all its processes, as it has long before the batches of most days; their first batches
count.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from benchmarks.figures import Figure
from benchmarks.served import bench_token, processor_s, serving, wait_for_rest
from benchmarks.sizes import BenchSizes
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.gateway.ingestion.sources import ROLE

MUST_MS: Final = 300.0
TRY_MS: Final = 50.0
_LONGEST_S: Final = 600.0
_DAY: Final = tuple(
    f"2026-07-01T{quarter // 4:02}:{quarter % 4 * 15:02}:00+08:00" for quarter in range(96)
)


def receipt_waits(*, sizes: BenchSizes) -> list[Figure]:
    """The slowest hundredth and the half of the receipts, and how many came a second."""
    key = generate_private_key()
    with TemporaryDirectory() as folder:
        told = gateway_settings(key, folder=Path(folder) / "gateway")
        with serving("gateway", told) as (port, pid):
            tokens = register_sources(port, key, sources=sizes.sources)
            wait_for_rest(pid)
            before, worked = os.getloadavg()[0], processor_s(pid)
            taken, seconds = asyncio.run(_load(port, tokens, batches=sizes.source_batches))
            worked = processor_s(pid) - worked
    taken.sort()
    note = (
        f"{len(taken):,} batches of {len(_DAY)} readings, {len(tokens)} connections of loopback, "
        f"each sending at once behind its receipt; load of the machine before {before:.1f}"
    )
    within = f"receipt for a batch of 96 readings, p99 at {len(tokens)} concurrent sources"
    return [
        Figure(
            "receipt_p99", within, "ms", taken[int(len(taken) * 0.99)] * 1000, MUST_MS, TRY_MS,
            note=note,
        ),
        Figure("receipt_median", "the same, half of them within", "ms",
               taken[len(taken) // 2] * 1000, note="of the same receipts"),
        Figure("receipt_rate", "batches of 96 readings taken in", "per second",
               len(taken) / seconds, note="while all sources send"),
        Figure("receipt_processor", "processor time of a batch of 96 readings", "ms",
               worked / len(taken) * 1000, note="of the gateway's processes while sources send"),
    ]  # fmt: skip


def gateway_settings(key: Sm2PrivateKey, *, folder: Path) -> dict[str, str]:
    """Settings of a gateway that takes readings in, and has nobody to send anything to.

    Args:
        key: Of the identity service, and of all others.
    """
    point = key.public_key.point.hex()
    peers = dict.fromkeys(("identity_url", "platform_url", "authority_url"), "http://127.0.0.1:9")
    names = ("identity", "authority", "billing_office", "utility")
    told = peers | {f"{name}_public_key": point for name in names}
    told["regulator_public_key"] = generate_private_key().public_key.point.hex()
    return told | {"folder": str(folder)}


def register_sources(port: int, key: Sm2PrivateKey, *, sources: int) -> list[str]:
    """Sources at the gateway; their tokens."""
    operator = {"Authorization": f"Bearer {bench_token(key, 'gateway', role='operator')}"}
    tokens = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=operator) as http:
        for number in range(sources):
            own = generate_private_key().public_key
            declared = {"public_key": own.point.hex(), "stamps": "start"}
            http.put(f"/v1/sources/bench-{number}", json=declared).raise_for_status()
            subject = f"{ROLE}:{own.thumbprint}"
            tokens.append(bench_token(key, "gateway", role=ROLE, subject=subject))
    return tokens


async def _load(port: int, tokens: list[str], *, batches: int) -> tuple[list[float], float]:
    """Seconds that each receipt took, and all together.

    Raises:
        AssertionError: A batch was not taken in.
    """
    taken: list[float] = []

    async def send(token: str, source: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(batches):
            asked = _request(token, source=source, number=number)
            began = time.perf_counter()
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 503"):  # busy: as a source does, it comes again
                await reader.readexactly(_number(head, b"content-length:"))
                await asyncio.sleep(_number(head, b"retry-after:"))
                writer.write(asked)
                head = await reader.readuntil(b"\r\n\r\n")
            answer = await reader.readexactly(_number(head, b"content-length:"))
            if not head.startswith(b"HTTP/1.1 200") or b"batch-receipt" not in answer:
                raise AssertionError(head + answer)
            taken.append(time.perf_counter() - began)
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    async with asyncio.timeout(_LONGEST_S):
        await asyncio.gather(*(send(token, source) for source, token in enumerate(tokens)))
    return taken, time.perf_counter() - began


def _number(head: bytes, name: bytes) -> int:
    """A number in the head of an answer."""
    (found,) = [line for line in head.split(b"\r\n") if line.lower().startswith(name)]
    return int(found.partition(b":")[2])


def _request(token: str, *, source: int, number: int) -> bytes:
    """A day of quarter hours of one meter point, as CSV."""
    energy = (1000 * source + number) % 3000 / 1000
    lines = "".join(f"MP-{source}-{number},{start},{energy:.3f}\n" for start in _DAY)
    body = f"meter_point_id,start,kwh\n{lines}".encode()
    head = (
        f"POST /v1/readings HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Idempotency-Key: b{number}\r\nBatch-Sequence: {number + 1}\r\n"
        f"Content-Type: text/csv\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
