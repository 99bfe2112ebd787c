"""The checker's worker processes: the same answers as without, and nothing lost with one that dies.

Nothing in them leads to a secret key."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from gridsecure import worker_processes
from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.answering import FAILED, REFUSED, RELEASED
from gridsecure.key_authority.checker.reexecution import Checks, Room, Running
from gridsecure.messages import Signed
from tests.authority_simulator import SEED, Authority, View, answer_approved
from tests.grid_simulator import NOW, GridSimulator, GridUpload, grid_keys
from tests.key_authority.test_vault import process_holds

Uploads = list[GridUpload]
OTHER_SEED = bytes(range(1, 33))


@pytest.fixture
def working(authority: Authority, tmp_path: Path) -> Iterator[Authority]:
    """An authority with one worker process."""
    checks = Checks(authority.zone.objects, folder=tmp_path / "checks", workers=1)
    authority.zone = replace(authority.zone, checks=checks)
    yield authority
    checks.close()
    assert list((tmp_path / "checks").iterdir()) == [], "columns of a check that is over"


def two_days(authority: Authority, uploads: Uploads) -> Signed:
    seeds = (SEED, OTHER_SEED)
    days = [
        authority.load_curve_transcript(uploads, day=day, seed=seed)
        for day, seed in enumerate(seeds)
    ]
    return authority.request(days, seeds=list(seeds))


def test_workers_answer_as_the_checkers_own_process_does(
    grid: GridSimulator, working: Authority, uploads: Uploads, tmp_path: Path
) -> None:
    """Bills, and two days by workers that are replaced after each job."""
    alone = Authority(grid, tmp_path / "alone")
    requests = [working.bill_request(uploads), two_days(working, uploads)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_processes, "JOBS_PER_WORKER", 1)
        assert [working.answer(one).state for one in requests] == [RELEASED, RELEASED]
    assert [alone.answer(one).state for one in requests] == [RELEASED, RELEASED]
    for by_workers, by_itself in zip(working.certificates, alone.certificates, strict=True):
        assert by_workers.outputs_digest == by_itself.outputs_digest
        assert by_workers.cells == by_itself.cells
    alone.close()


class Killing(View):
    """Kills every worker while a check is at work and the next one's columns are fetched."""

    def __init__(self, grid: GridSimulator) -> None:
        super().__init__(grid)
        self.killed: list[int] = []

    def objects(self, digests: Sequence[str]) -> list[bytes]:
        if not self.killed:
            self.killed = kill_workers()
        return super().objects(digests)


def kill_workers() -> list[int]:
    found = multiprocessing.active_children()
    for child in found:
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
    return [child.pid or 0 for child in found]


def test_a_killed_worker_loses_no_check_and_alters_none(
    working: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    request, view = working.bill_request(uploads), Killing(working.grid)
    outcome = answer_approved(working.zone, request, view=view, clock=lambda: NOW)
    assert view.killed
    assert (outcome.state, outcome.reason) == (FAILED, "check.killed")
    assert decrypted == working.certificates == []
    assert len(working.entries("release.failed")) == 1
    assert working.answer(request).state == RELEASED
    assert kill_workers(), "idle, until the next request"
    executor, limit = working.zone.checks._pool._executor, time.monotonic() + 120
    while not executor._broken:
        assert time.monotonic() < limit, "the executor does not notice"
        time.sleep(0.02)
    assert working.answer(working.load_curve_request(uploads)).state == RELEASED
    assert len(working.certificates) == 2


def test_what_the_platform_changed_is_noticed_in_a_worker(
    working: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    transcript = working.bill_transcript(uploads[0])
    changed = next(iter(transcript.inputs.values()))
    sound = working.grid.platform_zone.objects.get(changed)
    working.view.sent[changed] = sound[:-1] + bytes([sound[-1] ^ 1])
    outcome = working.answer(working.request([transcript]))
    assert (outcome.state, outcome.reason) == (REFUSED, "authenticity.envelope")
    assert decrypted == []


@pytest.mark.parametrize("answer", ["{}", "no text of ours", ({}, {})])
def test_what_is_no_answer_of_a_worker_is_refused(tmp_path: Path, answer: str) -> None:
    future: Future[str] = Future()
    future.set_result(answer)
    with pytest.raises(GridSecureError) as refused:
        Running(Room(tmp_path), future).result()
    assert refused.value.reason == "check.answer"


def test_a_full_disk_in_a_worker_lets_the_request_wait(
    working: Authority, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round goes on, and the request is answered by the next one."""
    request = working.bill_request(uploads)

    def full(*_arguments: object) -> Future[str]:
        failed: Future[str] = Future()
        failed.set_exception(OSError(errno.ENOSPC, "full"))
        return failed

    with monkeypatch.context() as patch:
        patch.setattr(Checks, "_submit", full)
        outcome = working.answer(request)
    assert (outcome.state, outcome.reason) == (FAILED, "check.disk")
    assert working.answer(request).state == RELEASED


def test_workers_inherit_no_settings_and_no_credentials() -> None:
    """Asked of a service that was started with them, and seen from outside in its workers."""
    program = (
        "import multiprocessing\n"
        "from gridsecure.worker_processes import WorkerProcesses\n"
        "from pathlib import Path\n"
        "from gridsecure.sandbox import Confinement\n"
        "given = Confinement('off', variables={'AWS_REGION': 'here'})\n"
        "pool = WorkerProcesses(dict, start=dict, workers=1, confinement=given)\n"
        "pool.submit([{}])[0].result()\n"
        "(worker,) = multiprocessing.active_children()\n"
        "print(Path(f'/proc/{worker.pid}/environ').read_text().replace(chr(0), chr(10)))\n"
        "pool.close()\n"
        "pool = WorkerProcesses(os.getenv, start=dict, workers=1, confinement=given)\n"
        "names = ['AWS_REGION', 'AWS_SECRET_ACCESS_KEY', 'GRIDSECURE_DATABASE']\n"
        "print([one.result() for one in pool.submit(names)])\n"
        "pool.close()\n"
    )
    secret = {"GRIDSECURE_DATABASE": "s3cret", "AWS_SECRET_ACCESS_KEY": "s3cret"}
    done = subprocess.run(
        [sys.executable, "-c", "import os\n" + program],
        env={**os.environ, **secret, "AZURE_X": "s3cret", "GOOGLE_X": "s3cret"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "PATH=" in done.stdout, "the rest is as it was"
    assert "s3cret" not in done.stdout
    assert done.stdout.splitlines()[-1] == "['here', None, None]"


def test_a_worker_holds_no_secret_and_cannot_reach_the_vault(
    working: Authority, uploads: Uploads
) -> None:
    """Its memory, arguments, environment and open files after a check, and what it has loaded."""
    assert working.answer(working.bill_request(uploads)).state == RELEASED
    (worker,) = multiprocessing.active_children()
    held = process_holds(worker.pid or 0)
    notice = next(iter(grid_keys().secret.values())).public.key_id
    assert notice.encode() in held, "it was read"
    assert working.grid.authority_key.to_bytes() not in held
    for key_set in grid_keys().secret.values():
        assert key_set.to_bytes()[1000:1064] not in held
    program = (
        "import sys, gridsecure.key_authority.checker.reexecution\n"
        "print([one for one in sys.modules if 'vault' in one or 'secret_key' in one"
        " or one in ('httpx', 'fastapi', 'sqlalchemy')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
