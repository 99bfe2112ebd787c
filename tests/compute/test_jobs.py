"""Worker processes: replaced in turn, never left behind, and a killed job simply runs again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from gridsecure import worker_processes
from gridsecure.compute.jobs import BillJob, Job, Worker, WorkerPool, run_jobs
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.runs import locate_inputs
from gridsecure.errors import GridSecureError, KeyMismatchError, NotFoundError
from gridsecure.messages import ColumnEntry, UploadManifest
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from tests.grid_simulator import GridSimulator, GridUpload

ROOT = Path(__file__).resolve().parents[2]


def job_of(
    grid: GridSimulator,
    upload: GridUpload,
    name: str = "bill",
    manifest: UploadManifest | None = None,
) -> Job:
    said = (manifest or upload.manifest).model_dump_json()
    job = BillJob(name, upload.roster.manifest.model_dump_json(), said)
    return locate_inputs(grid.platform_zone.objects, job)


@pytest.fixture
def uploads(grid: GridSimulator) -> list[GridUpload]:
    made = [grid.upload(roster) for roster in grid.rosters]
    for upload in made:
        grid.deliver(upload)
    return made


def in_this_process(grid: GridSimulator, job: Job) -> dict[str, ColumnEntry]:
    zone = grid.platform_zone
    return dict(Worker(zone.objects.store, read_known_keys(zone.engine)).run(job).outputs)


def alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # A killed process that nobody waited for yet still has an entry.
    return "Z" not in Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]


def wait_until_gone(process_ids: list[int], *, seconds: float = 120) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if not any(alive(process_id) for process_id in process_ids):
            return True
        time.sleep(0.05)
    return False


def test_a_job_writes_the_same_files_wherever_it_runs(grid, uploads):
    zone = grid.platform_zone
    orders = [job_of(grid, upload, upload.upload_id) for upload in uploads]
    expected = {job.name: in_this_process(grid, job) for job in orders}
    with closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=2)) as pool:
        results = list(run_jobs(pool, orders))
    assert {result.name: dict(result.outputs) for result in results} == expected
    for result in results:
        assert {extent.digest for extent in result.extents} == {
            e.digest for e in result.outputs.values()
        }
        assert all(zone.objects.store.get_extent(extent) for extent in result.extents)


def test_more_jobs_than_a_worker_takes_are_all_done_by_several_workers(grid, uploads, monkeypatch):
    """The executor's own replacement of workers would wait for ever here."""
    monkeypatch.setattr(worker_processes, "JOBS_PER_WORKER", 2)
    zone = grid.platform_zone
    orders = [job_of(grid, uploads[0], f"job-{number}") for number in range(5)]
    seen: set[int] = set()
    with closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=1)) as pool:
        results = []
        for result in run_jobs(pool, orders):
            results.append(result)
            seen |= {child.pid or 0 for child in multiprocessing.active_children()}
    assert sorted(result.name for result in results) == [job.name for job in orders]
    assert len({tuple(e.digest for e in result.outputs.values()) for result in results}) == 1
    assert len(seen) == 3
    assert wait_until_gone(list(seen))


def test_a_pool_is_reused_between_runs_until_its_portion_is_used_up(grid, uploads):
    zone = grid.platform_zone
    with closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=1)) as pool:
        list(run_jobs(pool, [job_of(grid, uploads[0])]))
        first = {child.pid for child in multiprocessing.active_children()}
        list(run_jobs(pool, [job_of(grid, uploads[1])]))
        assert {child.pid for child in multiprocessing.active_children()} == first


def test_a_warm_pool_has_its_workers_before_there_are_jobs_and_replaces_dead_ones(grid, uploads):
    zone = grid.platform_zone
    with closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=2)) as pool:
        pool.warm()
        first = multiprocessing.active_children()
        assert len(first) == 2
        for child in first:
            child.kill()
            child.join()
        time.sleep(0.5)  # the executor notices
        pool.warm()
        assert len(multiprocessing.active_children()) == 2
        (result,) = run_jobs(pool, [job_of(grid, uploads[0])])
    assert dict(result.outputs) == in_this_process(grid, job_of(grid, uploads[0]))


def test_a_killed_worker_is_reported_and_the_pool_goes_on(grid, uploads):
    zone = grid.platform_zone
    with closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=1)) as pool:
        running = run_jobs(
            pool, [job_of(grid, uploads[0], f"job-{number}") for number in range(50)]
        )
        next(running)
        for child in multiprocessing.active_children():
            child.kill()
        with pytest.raises(GridSecureError) as killed:
            list(running)
        assert killed.value.reason == "job.killed"
        (again,) = run_jobs(pool, [job_of(grid, uploads[0])])
    assert dict(again.outputs) == in_this_process(grid, job_of(grid, uploads[0]))


def test_a_job_that_fails_says_why_across_the_process_border(grid, uploads):
    missing = uploads[0].manifest.model_copy(update={"columns": uploads[0].manifest.columns[-1:]})
    job = job_of(grid, uploads[0], manifest=missing)
    zone = grid.platform_zone
    with (
        closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=1)) as pool,
        pytest.raises(NotFoundError) as refused,
    ):
        list(run_jobs(pool, [job]))
    assert refused.value.reason == "upload.incomplete"
    assert refused.value.remedy


def test_a_job_with_another_rosters_columns_is_refused(grid, uploads):
    first, second = uploads
    mixed = second.manifest.model_copy(update={"roster_id": first.manifest.roster_id})
    job = job_of(grid, first, manifest=mixed)
    zone = grid.platform_zone
    with pytest.raises(GridSecureError) as refused:
        Worker(zone.objects.store, read_known_keys(zone.engine)).run(job)
    assert refused.value.reason.startswith(("ciphertext.", "upload.", "column."))


def test_a_worker_believes_no_key_that_its_notice_does_not_name(grid):
    zone = grid.platform_zone
    notice = read_known_keys(zone.engine).notices[0].model_copy(update={"key_id": "0" * 32})
    entry = grid.packed(grid.rosters[0])[0].entry
    entry = entry.model_copy(update={"key_id": "0" * 32, "parameters": notice.parameters})
    ring = KeyRing(KnownKeys((notice,)), zone.objects.get)
    with pytest.raises(KeyMismatchError) as refused:
        ring.evaluation(entry, gateway=notice.gateway)
    assert refused.value.reason == "keys.id"


def test_a_pool_that_was_never_used_starts_no_process(grid):
    before = multiprocessing.active_children()
    pool = WorkerPool(grid.platform_zone.objects.store, KnownKeys(()), workers=2)
    pool.close()
    assert multiprocessing.active_children() == before


PARENT = """
import sys, time
from pathlib import Path
from gridsecure.compute.jobs import BillJob, WorkerPool
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.store.objects import open_objects
import multiprocessing

if __name__ == "__main__":
    pool = WorkerPool(open_objects(Path(sys.argv[1]).as_uri()), KnownKeys(()), workers=2)
    pool.submit([BillJob("a", "{}", "{}"), BillJob("b", "{}", "{}")])
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    time.sleep(600)
"""


def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "objects")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        assert parent.stdout is not None
        workers = [int(text) for text in parent.stdout.readline().split()]
        time.sleep(0.2)
        assert len(workers) == 2
        assert all(alive(worker) for worker in workers)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
    assert wait_until_gone(workers)
