"""How long readers of a list wait, at two hundred connections, while a writer commits.

Lists of key authority, platform and gateway are asked for, one after the other. Each service runs
as its users run it, in a process of its own, and the load comes over loopback. A connection asks
again as soon as it is answered, so the time is that of a service at its limit. The writer adds an
entry to the evidence log every hundredth of a second, and a row to the list every second, so that
no answer is good for longer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, Final

import httpx
from sqlalchemy import Engine

from benchmarks.figures import Figure
from benchmarks.listed_rows import BATCH, LISTS, OFFICER, SOURCE, PagedList, add_rows
from benchmarks.served import bench_token, peak_mb, processor_s, serving
from benchmarks.sizes import BenchSizes
from gridsecure.approvals import APPROVER_ROLES
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.gateway.ingestion.sources import ROLE
from gridsecure.store import evidence
from gridsecure.store.database import open_database, write_session

MUST_S: Final = 1.0
_ROWS: Final = 500
_REQUESTS_EACH: Final = 5
_LONGEST_S: Final = 60.0
_ROWS_APART: Final = 100  # entries of the log between two rows of the list


@dataclass(frozen=True)
class Load:
    """What came of a list's readers.

    Args:
        taken: How long each answer took [s].
        seconds: How long all of them took together.
        worked: The processor time of the service meanwhile [s].
    """

    path: str
    taken: tuple[float, ...]
    seconds: float
    worked: float

    @property
    def slowest(self) -> float:
        """What 99 of 100 answers came within [s]."""
        return sorted(self.taken)[int(len(self.taken) * 0.99)]

    @property
    def processor_ms(self) -> float:
        """What an answer costs, also on a machine that is busy with something else [ms]."""
        return self.worked / len(self.taken) * 1000

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.taken) / self.seconds


def list_readers(*, sizes: BenchSizes) -> list[Figure]:
    """Of each service its slowest list, how many answers came a second there, and memory."""
    figures: list[Figure] = []
    for zone in dict.fromkeys(listed.zone for listed in LISTS):
        loads, grown = read_lists(zone, readers=sizes.readers)
        figures += _figures(zone, loads, grown=grown, readers=sizes.readers)
    return figures


def read_lists(zone: str, *, readers: int) -> tuple[list[Load], float]:
    """All lists of a service under load, and the memory that it took meanwhile [MB]."""
    key, loads = generate_private_key(), []
    with TemporaryDirectory() as folder, _serving(Path(folder), zone, key) as served:
        port, engine, pid = served
        names = {"digest": _hand_in_books(port, key)} if zone == "gateway" else {}
        if any(one.zone == zone and "/receivers/" in one.path for one in LISTS):
            _register_receiver(port, zone, key)
        before = peak_mb(pid)
        for listed in (one for one in LISTS if one.zone == zone):
            with write_session(engine) as session:
                add_rows(session, listed, range(_ROWS))
            with _writing(engine, listed):
                tokens = [
                    bench_token(key, zone, role=listed.role, subject=subject)
                    for subject in ("clerk", "deputy")  # one caller may not fill a lane
                ]
                worked = processor_s(pid)
                address = listed.address(**names)
                taken, seconds = asyncio.run(_load(port, address, tokens, readers=readers))
                worked = processor_s(pid) - worked
            loads.append(Load(listed.path, tuple(taken), seconds, worked))
        return loads, peak_mb(pid) - before


def _figures(zone: str, loads: list[Load], *, grown: float, readers: int) -> list[Figure]:
    worst = max(loads, key=lambda load: load.slowest)
    title = f"lists of the {zone}"
    note = (
        f"{len(loads)} lists, each asked for {len(worst.taken):,} times over {readers} connections "
        f"of loopback while a writer commits; the slowest is {worst.path}"
    )
    within = f"{title}: 99 of 100 answers within"
    return [
        Figure(f"{zone}_lists_p99", within, "s", worst.slowest, MUST_S, note=note),
        Figure(f"{zone}_lists_rate", f"{title}: answers", "per second", worst.rate,
               note="of the slowest list"),
        Figure(f"{zone}_lists_processor", f"{title}: processor time of an answer", "ms",
               max(load.processor_ms for load in loads), note="of the dearest list"),
        Figure(f"{zone}_lists_memory", f"{title}: memory they took", "MB", max(grown, 0.0),
               note="of all of them, one after the other"),
    ]  # fmt: skip


@contextmanager
def _serving(folder: Path, zone: str, key: Sm2PrivateKey) -> Iterator[tuple[int, Engine, int]]:
    """A service: its port, its database, and its process."""
    point = key.public_key.point.hex()
    told: dict[str, Any] = {"folder": folder, "identity_public_key": point}
    told |= {"billing_office_public_key": point}
    if zone != "platform":
        told |= dict.fromkeys(("identity_url", "platform_url"), "http://127.0.0.1:9")
    if zone == "authority":
        told |= {"platform_public_key": point, "vault_socket": folder / "vault.sock"}
        told["approvers"] = json.dumps(_approvers())
    else:
        told |= {"authority_public_key": point}
    if zone == "gateway":
        told |= {"authority_url": "http://127.0.0.1:9", "utility_public_key": point}
        told |= {"regulator_public_key": generate_private_key().public_key.point.hex()}
    with serving(zone, told) as (port, pid):
        if zone == "gateway":
            _send_rejected(port, key)
        engine = open_database(f"sqlite:///{folder / 'zone.db'}")
        yield port, engine, pid
        engine.dispose()


def _approvers() -> list[dict[str, str]]:
    keys = (OFFICER, *(generate_private_key() for _ in APPROVER_ROLES[1:]))
    return [
        {"person": f"officer of {role}", "role": role, "public_key": key.public_key.point.hex()}
        for role, key in zip(APPROVER_ROLES, keys, strict=True)
    ]


def _register_receiver(port: int, zone: str, key: Sm2PrivateKey) -> None:
    """A receiver of a service's events, whose notices are listed; nothing is sent to it."""
    event = {"authority": "release.done", "gateway": "cycle.done"}[zone]
    declared = {"address": "http://127.0.0.1:9/events", "events": [event]}
    headers = {"Authorization": f"Bearer {bench_token(key, zone, role='operator')}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_LONGEST_S) as http:
        http.put(f"/v1/receivers/{SOURCE}", json=declared, headers=headers).raise_for_status()


def _send_rejected(port: int, key: Sm2PrivateKey) -> None:
    """A source's batch, half of whose readings are rejected."""
    own = generate_private_key().public_key
    operator = {"Authorization": f"Bearer {bench_token(key, 'gateway', role='operator')}"}
    token = bench_token(key, "gateway", role=ROLE, subject=f"{ROLE}:{own.thumbprint}")
    sent = {"Idempotency-Key": BATCH, "Batch-Sequence": "1000000"}
    sent["Authorization"] = f"Bearer {token}"
    day = (f"2026-07-01T{hour:02}:00:00+08:00" for hour in range(24))
    names = [f"{scope}-{number}" for number in range(50) for scope in "MX"]
    lines = [f"{name},{at},0.100\n" for at in day for name in names]
    declared = {"public_key": own.point.hex(), "stamps": "start", "meter_points": ["M-"]}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_LONGEST_S) as http:
        put = http.put(f"/v1/sources/{SOURCE}", json=declared, headers=operator)
        put.raise_for_status()
        body = "meter_point_id,start,kwh\n" + "".join(lines)
        http.post("/v1/readings", content=body, headers=sent).raise_for_status()


def _hand_in_books(port: int, key: Sm2PrivateKey) -> str:
    """An import into the books of a gateway; its digest."""
    facts = "2026-07-01,44030,M-7,1,0.00,futian,household,shenzhen-residential-2026"
    body = (
        "meter_point_id,valid_from,account,meter,multiplier,first_face_kwh,zone,customer_class,"
        "tariff_id\n" + "".join(f"MP-{number:04},{facts}\n" for number in range(_ROWS))
    )
    headers = {"Authorization": f"Bearer {bench_token(key, 'gateway', role='operator')}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_LONGEST_S) as http:
        told = http.post(
            "/v1/books/imports", content=body, headers=headers | {"Content-Type": "text/csv"}
        )
        return str(told.raise_for_status().json()["digest"])


@contextmanager
def _writing(engine: Engine, listed: PagedList) -> Iterator[None]:
    """Commit something every hundredth of a second, and a row of the list every second."""
    stop = Event()

    def write() -> None:
        for number in count():
            if stop.wait(0.01):
                return
            with write_session(engine) as session:
                evidence.append(
                    session, at=datetime.now(UTC), actor="bench", action="bench.written", detail={}
                )
                if number % _ROWS_APART == 0:
                    add_rows(session, listed, [_ROWS + number])

    writer = Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


async def _load(
    port: int, path: str, tokens: Sequence[str], *, readers: int
) -> tuple[list[float], float]:
    """Seconds each answer took, and all together.

    Args:
        tokens: Which the readers take in turn.

    Raises:
        AssertionError: An answer was no success, or an empty list.
    """
    taken: list[float] = []

    async def read(token: str) -> None:
        asked = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
        ).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(_REQUESTS_EACH):
            began = time.perf_counter()
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise AssertionError(path.encode() + head + await reader.read(400))
            (length,) = [
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ]
            if len(await reader.readexactly(length)) <= len(b"[]"):
                raise AssertionError(f"{path} lists nothing")
            taken.append(time.perf_counter() - began)
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    async with asyncio.timeout(_LONGEST_S):
        await asyncio.gather(*(read(tokens[n % len(tokens)]) for n in range(readers)))
    return taken, time.perf_counter() - began
