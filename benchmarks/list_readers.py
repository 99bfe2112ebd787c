"""How long readers of a list wait, at two hundred connections, while a writer commits.

Each service runs as its users run it, in a process of its own, and the load comes over loopback.
A connection asks again as soon as it is answered, so the time is that of a service at its limit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, Final

from sqlalchemy import Engine

from benchmarks.figures import Figure
from benchmarks.served import bench_token, peak_mb, serving
from benchmarks.sizes import BenchSizes
from gridsecure.compute import tables as platform_tables
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.key_authority.checker import tables as authority_tables
from gridsecure.messages import Signed
from gridsecure.store import evidence
from gridsecure.store.database import open_database, write_session
from gridsecure.store.rows import keep

MUST_S: Final = 1.0
_LISTS: Final = {"authority": "/releases", "platform": "/runs"}
_CERTIFICATE_BYTES: Final = 1_800_000
_RUNS: Final = 100
_REQUESTS_EACH: Final = 10
_LONGEST_S: Final = 60.0


def list_readers(*, sizes: BenchSizes) -> list[Figure]:
    """The slowest hundredth of the answers to each list, how many came a second, and memory."""
    key, figures = generate_private_key(), []
    for zone, path in _LISTS.items():
        with TemporaryDirectory() as folder, _serving(Path(folder), zone, key) as served:
            port, engine, pid = served
            before = peak_mb(pid)
            with _writing(engine):
                taken, seconds = asyncio.run(
                    _load(port, path, bench_token(key, zone, role="billing"), readers=sizes.readers)
                )
            grown = peak_mb(pid) - before
        figures += _figures(zone, path, taken, seconds=seconds, grown=grown, readers=sizes.readers)
    return figures


def _figures(
    zone: str, path: str, taken: list[float], *, seconds: float, grown: float, readers: int
) -> list[Figure]:
    name, title = path.strip("/"), f"{path} of the {zone}"
    slowest = sorted(taken)[int(len(taken) * 0.99)]
    note = f"{len(taken):,} requests, {readers} connections of loopback, while a writer commits"
    within = f"{title}: 99 of 100 answers within"
    return [
        Figure(f"{name}_p99", within, "s", slowest, MUST_S, note=note),
        Figure(f"{name}_rate", f"{title}: answers", "per second", len(taken) / seconds),
        Figure(f"{name}_memory", f"{title}: memory it took", "MB", max(grown, 0.0)),
    ]


@contextmanager
def _serving(folder: Path, zone: str, key: Sm2PrivateKey) -> Iterator[tuple[int, Engine, int]]:
    """A service with what it lists: its port, its database, and its process."""
    point = key.public_key.point.hex()
    told: dict[str, Any] = {"folder": folder, "identity_public_key": point}
    told |= {"billing_office_public_key": point}
    if zone == "authority":
        told |= {"identity_url": "http://127.0.0.1:9", "platform_url": "http://127.0.0.1:9"}
        told |= {"platform_public_key": point, "vault_socket": folder / "vault.sock"}
    else:
        told |= {"authority_public_key": point}
    with serving(zone, told) as (port, pid):
        engine = open_database(f"sqlite:///{folder / 'zone.db'}")
        (_fill_authority if zone == "authority" else _fill_platform)(engine)
        yield port, engine, pid
        engine.dispose()


def _fill_authority(engine: Engine) -> None:
    """Two releases of the size of a month's load curves."""
    with write_session(engine) as session:
        for number in range(2):
            said = Signed(
                body_kind="release", body="x" * _CERTIFICATE_BYTES, signer="", signature=str(number)
            )
            row = authority_tables.ReleaseRow(
                release_id=f"{number}", digest=f"{number}", message=said.model_dump_json(),
                plan="load-curve", purpose="billing", requested_by="clerk", at=datetime.now(UTC),
                start="2026-01-01", end="2026-02-01", released_at="2026-02-02", cells=3,
                suppressed=1,
            )  # fmt: skip
            keep(session, row)


def _fill_platform(engine: Engine) -> None:
    """A page of runs."""
    with write_session(engine) as session:
        for number in range(_RUNS):
            row = platform_tables.RunRow(
                run_id=f"{number}", plan="bill", start="2026-01-01", end="2026-02-01",
                purpose="billing", requested_by="clerk", query="", grant="", state="failed",
                reason="run.empty", at=datetime.now(UTC),
            )  # fmt: skip
            keep(session, row)


@contextmanager
def _writing(engine: Engine) -> Iterator[None]:
    """Commit something every hundredth of a second."""
    stop = Event()

    def write() -> None:
        while not stop.wait(0.01):
            with write_session(engine) as session:
                evidence.append(
                    session, at=datetime.now(UTC), actor="bench", action="bench.written", detail={}
                )

    writer = Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


async def _load(port: int, path: str, token: str, *, readers: int) -> tuple[list[float], float]:
    """Seconds each answer took, and all together.

    Raises:
        AssertionError: An answer was no success.
    """
    asked = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()
    taken: list[float] = []

    async def read() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(_REQUESTS_EACH):
            began = time.perf_counter()
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise AssertionError(head + await reader.read(400))
            (length,) = [
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ]
            await reader.readexactly(length)
            taken.append(time.perf_counter() - began)
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    async with asyncio.timeout(_LONGEST_S):
        await asyncio.gather(*(read() for _ in range(readers)))
    return taken, time.perf_counter() - began
