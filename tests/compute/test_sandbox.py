"""A worker that was taken over tries to get out: what it tries is refused by the kernel.

The attempts are calls that Python has, sent to the very processes that a platform and a checker
start. Each is made in processes without a sandbox as well, where it must succeed: an attempt that
fails by itself would prove nothing.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import certifi
import pytest

from gridsecure.compute.dask_orders import OrderProcess
from gridsecure.compute.job_engines import PROCESSES, choose_engine
from gridsecure.compute.jobs import WorkerPool
from gridsecure.errors import GridSecureError, InputError
from gridsecure.gateway.ingestion.batches import batch_folder
from gridsecure.gateway.tables import SCHEMA
from gridsecure.gateway.zone import IntakeZone
from gridsecure.key_authority.checker.reexecution import Checks
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.sandbox import (
    Confinement,
    SandboxWish,
    Walls,
    check_walls,
    confine,
    name_open,
)
from gridsecure.store.database import open_database
from gridsecure.store.objects import folder_url, open_objects
from gridsecure.store.schema import migrate
from gridsecure.zone_keys import load_signing_key, make_zone_folder
from gridsecure_api.gateway_peers import SEED_FILE
from gridsecure_api.gateway_turns import TurnProcesses
from tests.attacks import WITHHELD, Attacked, attack, rule
from tests.fork_servers import fork_server_of

NOBODY = KnownKeys(())


class Place:
    """The folders of zones on one machine, listening services, and a worker of one zone."""

    def __init__(self, folder: Path, pool: ProcessPoolExecutor, own: Path) -> None:
        self.own = own
        self.has_network = own == folder / "bucket"
        self._pool = pool
        self.zone = folder / "authority"
        self.zone.mkdir()
        (self.zone / "log.key").write_text("the key of the log")
        self.vault = folder / "vault"
        self.vault.mkdir(mode=0o700)
        self.door = socket.create_server(("127.0.0.1", 0))
        self.named_door = socket.socket(socket.AF_UNIX)
        self.post_box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for listener in (self.named_door, self.post_box):
            listener.bind(str(folder / f"door-{listener.type}"))
        self.named_door.listen()

    def lets_through(self, attempt: str) -> bool:
        """Whether the kernel does what a worker asks; a program that is missing was asked for."""
        known = {
            "zone": str(self.zone),
            "vault": str(self.vault),
            "own": str(self.own),
            "door": self.door.getsockname(),
            "named_door": self.named_door.getsockname(),
            "post_box": self.post_box.getsockname(),
            "service": os.getpid(),
        }
        error = self._pool.submit(exec, IMPORTS + attempt, known).exception()
        assert error is None or isinstance(error, PermissionError | FileNotFoundError)
        return not isinstance(error, PermissionError)

    def close(self) -> None:
        for listener in (self.door, self.named_door, self.post_box):
            listener.close()


def platform_workers(folder: Path, sandbox: SandboxWish) -> Any:
    objects = open_objects(folder_url(folder / "objects"))
    pool = WorkerPool(objects, NOBODY, workers=1, sandbox=sandbox)
    return pool, folder / "objects"


def checker_workers(folder: Path, sandbox: SandboxWish) -> Any:
    objects = open_objects(folder_url(folder / "objects"))
    checks = Checks(objects, folder=folder / "checks", workers=1, sandbox=sandbox)
    return checks._pool_for(NOBODY, folder / "checks"), folder / "checks"


def bucket_workers(folder: Path, sandbox: SandboxWish) -> Any:
    """A platform's whose objects are in a bucket, which they reach by the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "grid")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        patch.setenv("AWS_REGION", "us-east-1")
        objects = open_objects("s3://bucket/objects")
        pool = WorkerPool(objects, NOBODY, workers=1, sandbox=sandbox)
    (folder / "bucket").mkdir()
    return pool, folder / "bucket"


def dask_workers(folder: Path, sandbox: SandboxWish) -> Any:
    """The process that computes for a Dask worker."""
    objects = open_objects(folder_url(folder / "objects"))
    return OrderProcess(objects, sandbox=sandbox), folder / "objects"


def gateway_workers(folder: Path, sandbox: SandboxWish) -> Any:
    """A gateway's, which have its database open."""
    own = make_zone_folder(folder / "gateway")
    url = f"sqlite:///{own / 'zone.db'}"
    engine = open_database(url)
    migrate(engine, SCHEMA)
    zone = IntakeZone(engine=engine, folder=own, signing_key=load_signing_key(own))
    (own / SEED_FILE).touch()
    pool = TurnProcesses(zone, url, processes=1, sandbox=sandbox)
    with fork_server_of("gateway"):
        pool.warm()
    return pool, batch_folder(zone)


@pytest.fixture(
    scope="module",
    params=[platform_workers, checker_workers, bucket_workers, dask_workers, gateway_workers],
)
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
        place.close()
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
    "its attributes, by a newer call": (
        "called(libc.syscall, 466, -100, f'{zone}/log.key'.encode(), 0, b'user.x')"
    ),
    "another zone's file, emptied": "os.truncate(f'{zone}/planted', 0)",
    "another zone's file, emptied unread": "os.open(f'{zone}/planted', os.O_TRUNC | 3)",
    "what its service was told": "open(f'/proc/{service}/environ')",
    "a connection": "socket.create_connection(door).close()",
    "a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()",
    "the vault's kind of socket": "socket.socket(socket.AF_UNIX).close()",
    "a process that makes workers": "socket.socket(socket.AF_UNIX).connect(named_door)",
    "a letter to a service": "pair(socket.SOCK_DGRAM)[0].sendto(b'', post_box)",
    "a list of sockets": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4).close()",
    "another process": "os.fork() or os._exit(0)",
    "a program": "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
    "another program in its place": "os.execv('/no/such/program', ['-'])",
    "a signal to its service": "os.kill(service, 0)",
    "a signal by way of a file": "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, service)",
    "a signal by way of a file, the other call": (
        "fcntl.ioctl(socket.socketpair()[0], 0x8901, service.to_bytes(4, sys.byteorder))"
    ),
    "keys at its terminal": "called(libc.ioctl, 0, 1 << 32 | 0x5412, b'x')",
    "its service's open files": "resource.prlimit(service, resource.RLIMIT_NOFILE)",
    "its service's turn": "os.setpriority(os.PRIO_PROCESS, service, 0)",
    "the turns of its user": "os.setpriority(os.PRIO_PGRP, 0, 0)",
    "its service's processors": "os.sched_setaffinity(service, os.sched_getaffinity(0))",
    "its service's schedule": "os.sched_setscheduler(service, 0, os.sched_param(0))",
    "a file, from another thread": (
        "with ThreadPoolExecutor(1) as thread: thread.submit(open, f'{zone}/log.key').result()"
    ),
}
IMPORTS = """
import ctypes, errno, fcntl, os, resource, socket, sys
from concurrent.futures import ThreadPoolExecutor
def pair(kind):
    return socket.socketpair(socket.AF_UNIX, kind)
libc = ctypes.CDLL(None, use_errno=True)
def called(function, *given):
    given = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in given]
    if function(*given) < 0 and ctypes.get_errno() == errno.EPERM:
        raise PermissionError
"""
BY_NETWORK = ("a connection", "a datagram")


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_kernel_refuses_what_a_worker_has_no_business_with(
    places: dict[SandboxWish, Place], name: str
) -> None:
    confined, open_ = places["required"], places["off"]
    for place in (confined, open_):
        (place.zone / "planted").touch()
    is_kept = confined.has_network and name in BY_NETWORK
    assert confined.lets_through(ATTEMPTS[name]) is is_kept
    assert open_.lets_through(ATTEMPTS[name]), "without the sandbox"


def try_both(make: Any, folder: Path, attempt: str) -> list[str | None]:
    """What comes of an attempt in a sandbox, and in none."""
    ends = list[str | None]()
    for sandbox in ("required", "off"):
        own = folder / sandbox
        own.mkdir()
        pool, objects = make(own, sandbox)
        with closing(pool):
            pool.submit([])
            with closing(Place(own, pool._executor, objects)) as place:
                ends.append(None if place.lets_through(attempt) else WITHHELD)
    return ends


@attack(
    "a worker that was taken over opens the network",
    rule("The kernel keeps sockets from what decodes others' ciphertexts.", WITHHELD),
    together=True,
)
def test_a_worker_connects_nowhere(tmp_path: Path, attacked: Attacked) -> None:
    held, without = try_both(platform_workers, tmp_path, ATTEMPTS["a connection"])
    attacked.ends_both(held=held, without=without)


@attack(
    "a worker that was taken over reads another tenant's files",
    rule("The kernel keeps files from what decodes others' ciphertexts, but its own.", WITHHELD),
    together=True,
)
def test_a_worker_reads_no_other_tenant(tmp_path: Path, attacked: Attacked) -> None:
    held, without = try_both(checker_workers, tmp_path, ATTEMPTS["another zone's key"])
    attacked.ends_both(held=held, without=without)


@attack(
    "a job that was taken over on a Dask cluster opens the network",
    rule("The kernel keeps sockets from what decodes others' ciphertexts.", WITHHELD),
    together=True,
)
def test_what_computes_for_dask_connects_nowhere(tmp_path: Path, attacked: Attacked) -> None:
    held, without = try_both(dask_workers, tmp_path, ATTEMPTS["a connection"])
    attacked.ends_both(held=held, without=without)


@attack(
    "a job that was taken over on a Dask cluster reads another tenant's files",
    rule("The kernel keeps files from what decodes others' ciphertexts, but its own.", WITHHELD),
    together=True,
)
def test_what_computes_for_dask_reads_no_other_tenant(tmp_path: Path, attacked: Attacked) -> None:
    held, without = try_both(dask_workers, tmp_path, ATTEMPTS["another zone's key"])
    attacked.ends_both(held=held, without=without)


@attack(
    "a batch that took over what reads it opens the network",
    rule("The kernel keeps sockets from what reads small batches.", WITHHELD),
    together=True,
)
def test_what_reads_batches_connects_nowhere(tmp_path: Path, attacked: Attacked) -> None:
    held, without = try_both(gateway_workers, tmp_path, ATTEMPTS["a connection"])
    attacked.ends_both(held=held, without=without)


@attack(
    "a batch that took over what reads it takes the seed of all holders",
    rule("The kernel keeps files from what reads small batches, but their folder.", WITHHELD),
    together=True,
)
def test_what_reads_batches_reads_no_seed(tmp_path: Path, attacked: Attacked) -> None:
    held, without = try_both(gateway_workers, tmp_path, f"open(f'{{own}}/../{SEED_FILE}')")
    attacked.ends_both(held=held, without=without)


def test_its_own_folder_and_its_libraries_stay_open(places: dict[SandboxWish, Place]) -> None:
    """A folder that it has none of, where its objects are in a bucket."""
    confined = places["required"]
    confined.own.mkdir(exist_ok=True)  # a store makes it with its first object
    (confined.own / "there").touch()
    for attempt in ("open(f'{own}/column', 'w')", "open(f'{own}/there')"):
        assert confined.lets_through(attempt) is not confined.has_network
    assert confined.lets_through("import wave")


def test_what_libraries_do_for_themselves_stays_allowed(places: dict[SandboxWish, Place]) -> None:
    confined = places["required"]
    for attempt in (
        "pair(socket.SOCK_STREAM | socket.SOCK_NONBLOCK)",
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
        "os.nice(0) and os.sched_setaffinity(0, os.sched_getaffinity(0))",
    ):
        assert confined.lets_through(attempt)


def test_no_worker_makes_a_ring_of_orders(places: dict[SandboxWish, Place]) -> None:
    """By which it would open sockets unseen; many systems refuse it to everybody."""
    assert not places["required"].lets_through("called(libc.syscall, 425, 0, None)")


def test_a_worker_with_a_bucket_finds_hosts_by_their_names(tmp_path: Path) -> None:
    """Though it may not ask the kernel which addresses this machine has."""
    pool, _own = bucket_workers(tmp_path, "required")
    find = "socket.getaddrinfo('localhost', 80, flags=socket.AI_ADDRCONFIG)"
    with closing(pool):
        pool.submit([])
        pool._executor.submit(exec, IMPORTS + find).result()


def test_of_a_credential_a_worker_sees_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zones' folders may lie beside it. A token that is renewed is another file at its place."""
    (tmp_path / "gcs.json").write_text("{}")
    (tmp_path / "log.key").touch()
    (tmp_path / "token").mkdir()
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "gcs.json"))
    monkeypatch.setenv("AWS_CONFIG", str(tmp_path))
    # Whom the store's certificate is of, where no public authority signed it.
    shutil.copy(certifi.where(), tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token" / "token"))
    pool, _own = bucket_workers(tmp_path, "required")
    with closing(pool):
        pool.submit([])
        (tmp_path / "token" / "token").touch()
        for seen in ("gcs.json", "ca.pem", "token/token"):
            pool._executor.submit(exec, f"open({str(tmp_path / seen)!r})").result()
        with pytest.raises(PermissionError):
            pool._executor.submit(exec, f"open({str(tmp_path / 'log.key')!r})").result()


def test_a_token_among_a_zones_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "platform").mkdir()
    (tmp_path / "platform" / "signing.key").touch()
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    objects = open_objects("s3://bucket/objects")
    open_engine = partial(choose_engine, PROCESSES, objects=objects, workers=1, tls={})
    with pytest.raises(InputError) as refused:
        open_engine(sandbox="available")
    assert refused.value.reason == "sandbox.credentials"
    open_engine(sandbox="off")


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_landlock_empties_no_files(tmp_path: Path, version: int) -> None:
    """It looks at no `truncate`, nor at what opens a file to empty it and not to write."""
    kept = tmp_path / "kept"
    kept.write_text("whole")
    program = (
        "import ctypes, os\n"
        "from gridsecure import sandbox\n"
        f"path, refused = {str(kept)!r}, 0\n"
        f"sandbox.find_walls = lambda: sandbox.Walls({version}, seccomp=True)\n"
        "sandbox.confine(sandbox.Confinement('required', reads=[path]))\n"
        "how = (ctypes.c_uint64 * 3)(os.O_TRUNC | os.O_RDONLY, 0, 0)\n"
        "refused += ctypes.CDLL(None).syscall(437, -100, path.encode(), how, 24) < 0\n"
        "for attempt in (lambda: os.truncate(path, 0), lambda: os.open(path, os.O_TRUNC),\n"
        "        lambda: os.open(path, os.O_TRUNC | os.O_ACCMODE)):\n"
        "    try:\n        attempt()\n"
        "    except PermissionError:\n        refused += 1\n"
        "print(refused)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True
    )
    assert (done.stdout.strip(), kept.read_text()) == ("4", "whole"), done.stderr


def test_files_count_as_closed_where_they_cannot_be_emptied() -> None:
    assert "files" in name_open(Walls(2, seccomp=False), network=False)
    assert "files" not in name_open(Walls(2, seccomp=True), network=False)
    assert "files" not in name_open(Walls(3, seccomp=False), network=False)


def test_an_answer_that_is_no_text_is_not_unpickled(tmp_path: Path) -> None:
    """What Python would make of it runs in the service; it counts as a worker that died."""
    for make in (platform_workers, checker_workers, dask_workers, gateway_workers):
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
