"""From one worker process to two: independent tier-bill jobs through the platform's own pool.

Every job is what the platform runs: read the roster, compile the tariff, check and open the column
files, run the plan, store its outputs. Jobs have encrypted totals of their own, and each round
starts from an object store without outputs, so that nothing is found already stored. The clock
starts when the processes have loaded their keys and run some jobs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.column_store import GATEWAY_ID, ROSTER_ID, column_files
from benchmarks.contention import others_seconds
from benchmarks.exact_bills import compile_plan
from benchmarks.figures import Figure
from benchmarks.key_sets import BenchKeys
from benchmarks.random_meters import TIERS, RandomMeters, random_meters
from benchmarks.sizes import BenchSizes
from gridsecure.compute.jobs import BillJob, WorkerPool, run_jobs
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.messages import ColumnEntry, KeyNotice, RosterManifest, UploadManifest
from gridsecure.plans.bills import BillPlan
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.plans.quantities import TIER_TOTAL, TOTAL_QUANTITY
from gridsecure.store.objects import ObjectStore, folder_url, open_objects
from gridsecure.tariffs.tariff import catalogue_tariffs

_MOST_ROUNDS: Final = 5
_WARM_JOBS: Final = 4


@dataclass(frozen=True, slots=True)
class _Work:
    """Jobs to time, and one to warm up with."""

    notices: tuple[KeyNotice, ...]
    jobs: tuple[BillJob, ...]
    warm: BillJob


@dataclass(frozen=True, slots=True)
class _Timed:
    """Seconds for all jobs, and the share of `workers` cores that other programs used then."""

    seconds: float
    others: float


def speed_up(keys: BenchKeys, *, sizes: BenchSizes) -> list[Figure]:
    """The figure of two workers over one, on the same list of jobs."""
    with tempfile.TemporaryDirectory(prefix="gridsecure-bench-") as folder:
        inputs = Path(folder) / "inputs"
        work = _work(keys, sizes=sizes, objects=open_objects(folder_url(inputs)))
        rounds = [
            (_round(work, 1, inputs=inputs), _round(work, 2, inputs=inputs))
            for _ in range(min(sizes.repeats, _MOST_ROUNDS))
        ]
    one = min(single.seconds for single, _ in rounds)
    two = min(double.seconds for _, double in rounds)
    each = ", ".join(
        f"{single.seconds / double.seconds:.2f} (others used {double.others:.0%})"
        for single, double in rounds
    )
    return [
        Figure(
            name="two_workers",
            title="1 → 2 worker processes, speed-up",
            unit="×",
            value=one / two,
            must=1.8,
            try_for=1.95,
            comparison=">=",
            note=f"{len(work.jobs)} tier-bill jobs of {sizes.roster_slots:,} slots, object store"
            " to object store; best time over best time; rounds, with the share of two cores that"
            f" other programs used while two workers ran: {each}",
        ),
        Figure(
            name="job_seconds",
            title="one tier-bill job, object store to object store",
            unit="s",
            value=one / len(work.jobs),
            note="one worker",
        ),
    ]


def _round(work: _Work, workers: int, *, inputs: Path) -> _Timed:
    """Time so many warm processes on the jobs.

    Raises:
        AssertionError: A job is missing from the results or stored nothing.
    """
    folder = inputs.with_name("round")
    # Links, not copies: a round adds files and changes none.
    shutil.copytree(inputs, folder, copy_function=os.link)
    objects = open_objects(folder_url(folder))
    try:
        with closing(WorkerPool(objects, KnownKeys(work.notices), workers=workers)) as pool:
            # A worker that started later than all of these would only lower the figure.
            list(run_jobs(pool, [work.warm] * (_WARM_JOBS * workers)))
            started, others = time.perf_counter(), others_seconds()
            results = list(run_jobs(pool, work.jobs))
            seconds, others = time.perf_counter() - started, others_seconds() - others
    finally:
        shutil.rmtree(folder)
    if sorted(r.name for r in results if r.outputs) != sorted(job.name for job in work.jobs):
        raise AssertionError("a job is missing or stored nothing")
    return _Timed(seconds, max(0.0, others) / (workers * seconds))


def _work(keys: BenchKeys, *, sizes: BenchSizes, objects: ObjectStore) -> _Work:
    meters = random_meters(TIERS, count=sizes.roster_slots, seed=41, quotas=False)
    plan = compile_plan(meters)
    columns = keys.encrypted(plan.needs, values=meters.values)
    roster = _roster(meters, objects).model_dump_json()
    jobs = []
    for number in range(sizes.jobs + 1):
        own = keys.encrypted(
            tuple(need for need in plan.needs if need.quantity in {TOTAL_QUANTITY, TIER_TOTAL}),
            values=meters.values,
        )
        upload = _upload(meters, plan, columns={**columns, **own}, objects=objects)
        jobs.append(BillJob(f"job-{number:03d}", roster, upload.model_dump_json()))
    notices = tuple(_notice(key_set, objects) for key_set in keys.public.values())
    return _Work(notices, jobs=tuple(jobs[1:]), warm=jobs[0])


def _roster(meters: RandomMeters, objects: ObjectStore) -> RosterManifest:
    slots = len(meters.contracts)
    return RosterManifest(
        roster_id=ROSTER_ID,
        gateway_id=GATEWAY_ID,
        domain="bench",
        tariff=objects.put(catalogue_tariffs()[TIERS].read_bytes()),
        pseudonyms=meters.contracts["meter_point_id"].tolist(),
        zones=["bench"] * slots,
        customer_classes=["household"] * slots,
        household_quota_wh=[0] * slots,
        contracted_va=[0] * slots,
    )


def _upload(
    meters: RandomMeters,
    plan: BillPlan,
    *,
    columns: Mapping[str, EncryptedColumn],
    objects: ObjectStore,
) -> UploadManifest:
    entries: list[ColumnEntry] = []
    for entry, data in column_files(columns, needs=plan.needs, period=meters.period).values():
        objects.put(data)
        entries.append(entry)
    return UploadManifest(
        roster_id=ROSTER_ID,
        gateway_id=GATEWAY_ID,
        start=meters.period.start.isoformat(),
        end=meters.period.end.isoformat(),
        sequence=1,
        estimated_readings=0,
        columns=entries,
    )


def _notice(key_set: PublicKeySet, objects: ObjectStore) -> KeyNotice:
    relinearisation = key_set.relinearisation_keys
    return KeyNotice(
        key_id=key_set.key_id,
        gateway=GATEWAY_ID,
        generation=1,
        parameters=key_set.parameters.name,
        parameters_digest=key_set.parameters.digest,
        public_key=objects.put(key_set.public_key),
        relinearisation_keys=objects.put(relinearisation) if relinearisation else None,
        created_at="2026-07-01T00:00:00+00:00",
    )
