"""From one worker process to two: independent roster jobs, each a whole tier bill on files.

Every job checks and opens its column files, runs the plan and writes its outputs, as the platform
does. Keys are loaded and one job is run in every worker before the clock starts; a barrier makes
sure that no worker is still starting. The library holds Python's global lock, so processes.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any, Final

from apps.cli.bench.column_store import ROSTER_ID, column_files
from apps.cli.bench.exact_bills import compiled
from apps.cli.bench.figures import Figure
from apps.cli.bench.key_sets import BenchKeys
from apps.cli.bench.random_meters import TIERS, random_meters
from apps.cli.bench.sizes import BenchSizes
from gridsecure.billing.tariffs import catalogue_tariffs, load_tariff
from gridsecure.crypto.keys import PublicKeySet
from gridsecure.crypto.parameters import parameters_named
from gridsecure.messages import ColumnEntry, RosterManifest, UploadManifest
from gridsecure.plans.execution import RosterData, compile_bill, execute_bill, roster_data

_START_SECONDS: Final = 60.0
_MOST_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker receives once: a roster, where its column files lie, and public keys.

    Keys travel as bytes: the library's objects belong to one process.
    """

    keys: Mapping[str, tuple[bytes, bytes]]
    roster: RosterManifest
    upload: UploadManifest
    folder: Path


_worker: dict[str, Any] = {}


def speed_up(keys: BenchKeys, *, sizes: BenchSizes) -> list[Figure]:
    """The figure of two workers over one, on the same list of jobs."""
    with tempfile.TemporaryDirectory(prefix="gridsecure-bench-") as folder:
        setup = _setup(keys, sizes=sizes, folder=Path(folder))
        rounds = [
            (_run(setup, 1, sizes.jobs), _run(setup, 2, sizes.jobs))
            for _ in range(min(sizes.repeats, _MOST_ROUNDS))
        ]
    each = ", ".join(f"{single / double:.2f}" for single, double in rounds)
    one = min(single for single, _ in rounds)
    two = min(double for _, double in rounds)
    return [
        Figure(
            name="two_workers",
            title="1 → 2 worker processes, speed-up",
            unit="×",
            value=one / two,
            must=1.7,
            try_for=1.9,
            comparison=">=",
            note=f"{sizes.jobs} tier-bill jobs of {sizes.roster_slots:,} slots, files to files,"
            f" keys loaded before; best time over best time, {len(rounds)} rounds of {each}",
        ),
        Figure(
            name="job_seconds",
            title="one tier-bill job, files to files",
            unit="s",
            value=one / sizes.jobs,
            note="one worker",
        ),
    ]


def start_worker(setup: WorkerSetup, barrier: Any) -> None:
    """Load keys in a new worker process and compile the plan."""
    data = roster_data(setup.roster, setup.upload)
    tariff = load_tariff(catalogue_tariffs()[TIERS])
    _worker["folder"] = setup.folder
    _worker["data"] = data
    _worker["plan"] = compile_bill(data, tariff=tariff)
    _worker["evaluations"] = {
        name: PublicKeySet(parameters_named(name), *parts).evaluation
        for name, parts in setup.keys.items()
    }
    _worker["barrier"] = barrier


def warm_up() -> None:
    """Run one job, then wait until every worker has.

    Raises:
        RuntimeError: Another worker did not start in time.
    """
    bill_job(0)
    try:
        _worker["barrier"].wait(_START_SECONDS)
    except BrokenBarrierError as error:
        raise RuntimeError("a worker process did not start in time") from error


def bill_job(number: int) -> tuple[int, int]:
    """Bill one roster from files; returns the job's number and the bytes it wrote."""
    data: RosterData = _worker["data"]
    folder: Path = _worker["folder"]
    _, outputs = execute_bill(
        data,
        plan=_worker["plan"],
        load=lambda digest: (folder / digest).read_bytes(),
        evaluations=_worker["evaluations"],
    )
    return number, sum(len(output.data) for output in outputs.values())


def _run(setup: WorkerSetup, workers: int, jobs: int) -> float:
    """Seconds that `workers` warm processes take for `jobs` jobs."""
    # Spawned, not forked: a forked SEAL shares memory pools with its parent.
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=start_worker, initargs=(setup, barrier)
    ) as pool:
        for warm in [pool.submit(warm_up) for _ in range(workers)]:
            warm.result()
        started = time.perf_counter()
        done = list(pool.map(bill_job, range(jobs)))
        seconds = time.perf_counter() - started
    if [number for number, written in done if written] != list(range(jobs)):
        raise AssertionError("a job is missing or wrote nothing")
    return seconds


def _setup(keys: BenchKeys, *, sizes: BenchSizes, folder: Path) -> WorkerSetup:
    """Write one roster's column files; every job bills that roster on its own."""
    meters = random_meters(TIERS, count=sizes.roster_slots, seed=41, quotas=False)
    needs = compiled(meters).needs
    columns = keys.encrypted(needs, values=meters.values)
    entries: list[ColumnEntry] = []
    for entry, data in column_files(columns, needs=needs, period=meters.period).values():
        (folder / entry.digest).write_bytes(data)
        entries.append(entry)
    slots = sizes.roster_slots
    roster = RosterManifest(
        roster_id=ROSTER_ID,
        gateway_id="bench",
        domain="bench",
        tariff="0" * 64,
        pseudonyms=meters.contracts["meter_point_id"].tolist(),
        zones=["bench"] * slots,
        customer_classes=["household"] * slots,
        household_quota_wh=[0] * slots,
        contracted_va=[0] * slots,
    )
    upload = UploadManifest(
        roster_id=ROSTER_ID,
        gateway_id="bench",
        start=meters.period.start.isoformat(),
        end=meters.period.end.isoformat(),
        sequence=1,
        estimated_readings=0,
        columns=entries,
    )
    parts = {name: (k.public_key, k.relinearisation_keys) for name, k in keys.public.items()}
    return WorkerSetup(parts, roster, upload, folder)
