"""What a gateway takes in: readings a second by format, and memory for a body of ten million.

Each body goes the way it goes in use: spooled as it comes, read, judged, written as Parquet and
synchronised. A process of its own does that, so that its memory and nothing else's is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.gateway.ingestion.batches import (
    Arrival,
    BatchName,
    batch_folder,
    load_batch,
    take_in,
)
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.tables import SCHEMA
from gridsecure.gateway.zone import GatewayZone, PinnedKeys
from gridsecure.messages import BatchReceipt
from gridsecure.store.database import open_database
from gridsecure.store.objects import open_objects
from gridsecure.store.schema import migrate

_ZONE: Final = "Asia/Shanghai"
_DAYS: Final = 10
_AT: Final = datetime(2026, 9, 1, tzinfo=UTC)
_CHUNK: Final = 1 << 16
GOALS: Final = {"json": (50_000, 150_000), "csv": (150_000, 500_000), "parquet": (300_000, 10**6)}
"""Readings a second: must, and try for."""
_LINES: Final = {
    "csv": "{},{},{}\n",
    "json": '{{"meter_point_id":"{}","start":"{}","kwh":{}}}\n',
}
_SCHEMA: Final = pa.schema(
    [("meter_point_id", pa.string()), ("start", pa.timestamp("us", _ZONE)), ("kwh", pa.float64())]
)


def intake_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Figures of bodies of each format, and the memory that a CSV body of many readings takes."""
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for form, (must, try_for) in GOALS.items():
            is_csv = form == "csv"
            readings = sizes.large_body if is_csv else sizes.large_body // 20
            path = Path(name) / f"body.{form}"
            write_body(path, form, readings=readings)
            seconds, growth = _measured(path, readings=readings)
            path.unlink()
            figures.append(
                Figure(
                    name=f"intake_{form}",
                    title=f"taken in, {form.upper() if not is_csv else 'CSV'}",
                    unit="readings/s",
                    value=readings / seconds,
                    must=must,
                    try_for=try_for,
                    comparison=">=",
                    note=f"one body of {readings:,} readings, spooled, read, judged, stored",
                )
            )
            if is_csv:
                figures.append(
                    Figure(
                        name="intake_memory",
                        title="memory for one body of ten million readings",
                        unit="MB",
                        value=growth / 1e6,
                        must=1000,
                        try_for=300,
                        note=f"growth of the peak of a process for {readings:,} readings as CSV",
                    )
                )
    return figures


def _measured(path: Path, *, readings: int) -> tuple[float, float]:
    """Seconds and bytes that one body takes in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.intake_costs", str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)
    if told["readings"] != readings:
        raise AssertionError(f"{told['readings']:,} of {readings:,} readings were taken in")
    return told["seconds"], told["growth"]


def write_body(path: Path, form: str, *, readings: int) -> None:
    """A body of half-hours, meter point after meter point."""
    starts = pd.date_range("2026-07-01", periods=48 * _DAYS, freq="30min", tz=_ZONE)
    texts = starts.strftime("%Y-%m-%dT%H:%M:%S+08:00")
    random = np.random.default_rng(12)
    names = [f"MP-{number:06}" for number in range(-(-readings // len(starts)))]
    left, rows = readings, list[pa.Table]()
    with path.open("wb") as out:
        writer = _opened(out, form)
        for name in names:
            count = min(left, len(starts))
            wh = random.integers(0, 3000, count)
            if isinstance(writer, pq.ParquetWriter):
                kwh = pa.array(wh / 1000)
                moments = pa.array(starts[:count].as_unit("us"))
                rows.append(pa.table([[name] * count, moments, kwh], schema=_SCHEMA))
            else:
                lines = (
                    _LINES[form].format(name, text, f"{one // 1000}.{one % 1000:03}")
                    for text, one in zip(texts, wh, strict=False)
                )
                out.write("".join(lines).encode())
            left -= count
        if isinstance(writer, pq.ParquetWriter):
            writer.write_table(pa.concat_tables(rows))
            writer.close()


def _opened(out: BinaryIO, form: str) -> pq.ParquetWriter | None:
    if form == "csv":
        out.write(b"meter_point_id,start,kwh\n")
    return pq.ParquetWriter(out, _SCHEMA) if form == "parquet" else None


def _take_in(path: Path, folder: Path) -> dict[str, float]:
    """Take a body in; what that took."""
    zone = _zone(folder)
    source = Source("bench", "", ("",), "start", _ZONE, "")
    before = _peak_kib()
    begun = time.perf_counter()
    with SpooledBody(batch_folder(zone)) as body, path.open("rb") as file:
        for part in _parts(file):
            if body.add(part):
                body.spill()
        take_in(zone, body, arrival=Arrival(source, BatchName("b", 1), _AT, is_answered=True))
    seconds = time.perf_counter() - begun
    growth = (_peak_kib() - before) * 1024
    receipt = load_batch(zone, source="bench", batch_id="b").receipt
    counted = BatchReceipt.parse(receipt.body)
    return {"seconds": seconds, "growth": growth, "readings": counted.readings}


def _peak_kib() -> int:
    """The peak of this program; what `getrusage` says counts the process that started it too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(_CHUNK):
        yield part


def _zone(folder: Path) -> GatewayZone:
    """A gateway that only takes readings in: it knows none of its peers."""
    engine = open_database(f"sqlite:///{folder / 'zone.db'}")
    migrate(engine, SCHEMA)
    key = generate_private_key()
    return GatewayZone(
        engine=engine,
        folder=folder,
        objects=open_objects(f"file://{folder / 'objects'}"),
        signing_key=key,
        authority={},
        pinned=PinnedKeys(identity=key.public_key, signers={}),
        seed=bytes(32),
        timezone=_ZONE,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(_take_in(Path(sys.argv[1]), Path(place))))
