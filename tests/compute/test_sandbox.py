"""A worker that was taken over tries to get out: what it tries is refused by the kernel.

The attempts are calls that Python has, sent to the very processes that a platform and a checker
start. Each is made in processes without a sandbox as well, where it must succeed: an attempt that
fails by itself would prove nothing.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gridsecure.compute.jobs import WorkerPool
from gridsecure.errors import GridSecureError, InputError
from gridsecure.key_authority.checker.reexecution import Checks
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.sandbox import Confinement, SandboxWish, Walls, check_walls, confine
from gridsecure.store.objects import folder_url, open_objects

NOBODY = KnownKeys(())


class Place:
    """The folders of zones on one machine, a listening service, and a worker of one zone."""

    def __init__(self, folder: Path, pool: ProcessPoolExecutor, own: Path) -> None:
        self.own = own
        self._pool = pool
        self.zone = folder / "authority"
        self.zone.mkdir()
        (self.zone / "log.key").write_text("the key of the log")
        self.vault = folder / "vault"
        self.vault.mkdir(mode=0o700)
        self.door = socket.create_server(("127.0.0.1", 0))

    def lets_through(self, attempt: str) -> bool:
        """Whether the kernel does what a worker asks; a program that is missing was asked for."""
        known = {
            "zone": str(self.zone),
            "vault": str(self.vault),
            "own": str(self.own),
            "door": self.door.getsockname(),
            "service": os.getpid(),
        }
        error = self._pool.submit(exec, IMPORTS + attempt, known).exception()
        assert error is None or isinstance(error, PermissionError | FileNotFoundError)
        return not isinstance(error, PermissionError)


def platform_workers(folder: Path, sandbox: SandboxWish) -> Any:
    objects = open_objects(folder_url(folder / "objects"))
    pool = WorkerPool(objects, NOBODY, workers=1, sandbox=sandbox)
    return pool, folder / "objects"


def checker_workers(folder: Path, sandbox: SandboxWish) -> Any:
    objects = open_objects(folder_url(folder / "objects"))
    checks = Checks(objects, folder=folder / "checks", workers=1, sandbox=sandbox)
    return checks._pool_for(NOBODY, folder / "checks"), folder / "checks"


@pytest.fixture(scope="module", params=[platform_workers, checker_workers])
def places(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[SandboxWish, Place]]:
    """The same machine twice: its workers in a sandbox, and in none."""
    made: dict[SandboxWish, Place] = {}
    pools = []
    for sandbox in ("required", "off"):
        folder = tmp_path_factory.mktemp(sandbox)
        pool, own = request.param(folder, sandbox)
        pool.submit([])
        pools.append(pool)
        made[sandbox] = Place(folder, pool._executor, own)
    yield made
    for place in made.values():
        place.door.close()
    for pool in pools:
        pool.close()


ATTEMPTS = {
    "another zone's key": "open(f'{zone}/log.key')",
    "the users of the machine": "open('/etc/passwd')",
    "what there is in the vault's folder": "os.listdir(vault)",
    "what there is on the machine": "os.listdir('/')",
    "a file in another zone": "open(f'{zone}/planted', 'w')",
    "another zone's file, gone": "os.remove(f'{zone}/planted')",
    "a folder in the vault's": "os.mkdir(f'{vault}/planted')",
    "a link out of its own folder": "os.symlink(zone, f'{own}/link')",
    "the rights of another zone's key": "os.chmod(f'{zone}/log.key', 0o640)",
    "what its service was told": "open(f'/proc/{service}/environ')",
    "a connection": "socket.create_connection(door).close()",
    "a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()",
    "the vault's kind of socket": "socket.socket(socket.AF_UNIX).close()",
    "another process": "os.fork() or os._exit(0)",
    "a program": "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
    "another program in its place": "os.execv('/no/such/program', ['-'])",
    "a signal to its service": "os.kill(service, 0)",
    "a file, from another thread": (
        "with ThreadPoolExecutor(1) as thread: thread.submit(open, f'{zone}/log.key').result()"
    ),
}
IMPORTS = "import os, socket\nfrom concurrent.futures import ThreadPoolExecutor\n"


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_kernel_refuses_what_a_worker_has_no_business_with(
    places: dict[SandboxWish, Place], name: str
) -> None:
    confined, open_ = places["required"], places["off"]
    for place in (confined, open_):
        (place.zone / "planted").touch()
    assert not confined.lets_through(ATTEMPTS[name])
    assert open_.lets_through(ATTEMPTS[name]), "without the sandbox"


def test_its_own_folder_and_its_libraries_stay_open(places: dict[SandboxWish, Place]) -> None:
    confined = places["required"]
    assert confined.lets_through("open(f'{own}/column', 'w').close()")
    assert confined.lets_through("open(f'{own}/column').close()")
    assert confined.lets_through("os.remove(f'{own}/column')")
    assert confined.lets_through("import wave")


def test_an_answer_that_is_no_text_is_not_unpickled(tmp_path: Path) -> None:
    """What Python would make of it runs in the service; it counts as a worker that died."""
    for make in (platform_workers, checker_workers):
        (tmp_path / make.__name__).mkdir()
        pool, _own = make(tmp_path / make.__name__, "required")
        with closing(pool):
            pool.submit([])
            with pytest.raises(BrokenProcessPool):
                pool._executor.submit(Path, "x").result()


@pytest.mark.parametrize("walls", [Walls(0, seccomp=True), Walls(7, seccomp=False)])
def test_a_sandbox_that_is_required_and_cannot_be_made_is_refused(walls: Walls) -> None:
    with pytest.raises(InputError) as refused:
        check_walls("required", walls=walls)
    assert refused.value.reason == "sandbox.unavailable"
    check_walls("available", walls=walls)


def test_a_process_with_threads_is_not_confined_by_half() -> None:
    program = (
        "import threading\n"
        "from gridsecure.errors import GridSecureError\n"
        "from gridsecure.sandbox import Confinement, confine\n"
        "end = threading.Event()\n"
        "threading.Thread(target=end.wait).start()\n"
        "try:\n    confine(Confinement('required'))\n"
        "except GridSecureError as error:\n    print(error.reason)\n"
        "end.set()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "sandbox.failed"


def test_the_program_of_a_service_brings_no_threads_into_its_workers(tmp_path: Path) -> None:
    """As that of a platform's worker does, which loads a library that starts one."""
    program = tmp_path / "program.py"
    program.write_text(
        "import pyarrow\n"
        "from pathlib import Path\n"
        "from gridsecure.compute.jobs import WorkerPool\n"
        "from gridsecure.plans.key_ring import KnownKeys\n"
        "from gridsecure.store.objects import folder_url, open_objects\n"
        "if __name__ == '__main__':\n"
        f"    objects = open_objects(folder_url(Path({str(tmp_path / 'objects')!r})))\n"
        "    pool = WorkerPool(objects, KnownKeys(()), workers=1, sandbox='required')\n"
        "    pool.submit([])\n"
        "    print(pool._executor.submit(exec, 'pass').result())\n"
        "    pool.close()\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, check=False, text=True
    )
    assert done.stdout.strip() == "None", done.stderr


def test_a_sandbox_that_does_not_hold_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried out in this process, where nothing was closed."""
    monkeypatch.setattr("gridsecure.sandbox._close_files", lambda *_, **__: None)
    monkeypatch.setattr("gridsecure.sandbox._refuse_calls", lambda *_: None)
    with pytest.raises(GridSecureError) as failed:
        confine(Confinement())
    assert failed.value.reason == "sandbox.failed"
