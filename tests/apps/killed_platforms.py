"""Platforms and workers as processes beside a test, which end at a given step as kill -9 ends them.

What others can see of a process are its steps that last: a transaction that was committed, an
object that was stored. A process that is killed between two of them leaves what it leaves right
after the first. So a point names a step, and whether the process ends before it, within it or after
it: `Point("commit", 3, "after")`. Steps are counted in the process itself and in each of its
workers. A worker that comes to the point takes its service along.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from multiprocessing import forkserver, parent_process
from threading import Event, Thread
from typing import Any, Literal

from sqlalchemy import event
from sqlmodel import Session

from gridsecure import whole_files
from gridsecure.compute import closings, crew, intake, job_queue, jobs
from gridsecure.compute.runs import RunOrder
from gridsecure.compute.zone import PlatformZone
from gridsecure.messages import Signed
from gridsecure.store import object_bucket
from gridsecure.store.database import is_writing
from gridsecure.store.object_bucket import ObjectBucket
from gridsecure.store.object_folder import ObjectFolder
from gridsecure_api import worker
from gridsecure_api.platform import main_app
from tests.grid_simulator import NOW, GridUpload

Work = Callable[[], None]
Write = Callable[[Any, str, bytes], None]


@dataclass(frozen=True)
class Point:
    """Where a process is killed.

    Args:
        step: What lasts.
        number: Which one, from 1.
        when: Before it, within it, or after it; a commit has nothing that is seen within it.
    """

    step: Literal["commit", "object"]
    number: int
    when: Literal["before", "within", "after"]


@dataclass
class _Steps:
    """Counts what this process does that lasts, and ends it at its point.

    Args:
        service: Whose worker this process is; 0 if it is the service.
    """

    point: Point
    service: int = 0
    counted: int = 0

    def watch(self) -> None:
        """From here on."""
        event.listen(Session, "before_commit", self._before_commit)
        event.listen(Session, "after_commit", self._after_commit)
        for backend, begin in ((ObjectFolder, _leave_draft), (ObjectBucket, _send_some)):
            own = self._written(backend.write, begin)
            backend.write = own  # type: ignore[method-assign] # killed within the product's writing

    def _before_commit(self, session: Session) -> None:
        session.info["writes"] = is_writing(session.connection())
        if session.info["writes"]:
            self._pass("commit", "before")

    def _after_commit(self, session: Session) -> None:
        if session.info["writes"]:
            self._pass("commit", "after")

    def _written(self, write: Write, begin: Write) -> Write:
        def write_or_end(backend: Any, name: str, data: bytes, /) -> None:
            self._pass("object", "before")
            if self._is_at("object", "within"):
                begin(backend, name, data)
                self._end()
            write(backend, name, data)
            self._pass("object", "after")

        return write_or_end

    def _pass(self, step: str, when: str) -> None:
        if when == "before" and step == self.point.step:
            self.counted += 1
        if self._is_at(step, when):
            self._end()

    def _is_at(self, step: str, when: str) -> bool:
        return (step, self.counted, when) == (self.point.step, self.point.number, self.point.when)

    def _end(self) -> None:
        if self.service:
            os.kill(self.service, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def _leave_draft(backend: ObjectFolder, name: str, data: bytes) -> None:
    path = backend.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_files._draft(path).write_bytes(data[: len(data) // 2])


def _send_some(backend: ObjectBucket, name: str, data: bytes) -> None:
    Thread(target=backend._put, args=(name, data), kwargs={"mode": "create"}, daemon=True).start()
    time.sleep(0.002)  # it may have arrived, or a part of it, or nothing


class Relay:
    """Stands between processes and a server on loopback, so that a test can cut them off.

    Args:
        port: The server's.
    """

    def __init__(self, port: int) -> None:
        self._server, self._joined = port, set[socket.socket]()
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._server))
                self._joined |= {near, far}
                for one, other in ((near, far), (far, near)):
                    Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._joined.discard(end)

    def close(self) -> None:
        """Nobody comes through any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in list(self._joined):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Be closed meanwhile."""
        self.close()
        yield
        self._listen(self.port)


# --- what a process does


def serve(work: Work, *, told: Mapping[str, str], point: Point | None, server: str) -> None:
    """Work as one of the platform's processes.

    Args:
        told: Its environment.
        server: Where the server listens that forked it, and that forks its workers too.
    """
    os.environ.update(told)
    # The library has no way to say which server forks, and its types hide both names.
    forkserver._forkserver._forkserver_address = server  # type: ignore[attr-defined] # as above
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined] # as above
    # A lease that a test can wait for, and a job that meets more deaths than is usual.
    job_queue.LEASE, crew._RENEW_SECONDS = timedelta(seconds=1), 0.25
    job_queue.MAX_DEATHS, crew._IDLE_SECONDS = 99, 0.1
    object_bucket.RETRIES = 0
    jobs._start_worker = partial(_start_worker, point)
    if point is not None:
        _Steps(point).watch()
    work()


def _start_worker(point: Point | None, *given: Any) -> None:
    service = parent_process()
    object_bucket.RETRIES = 0
    if point is not None and service is not None:
        _Steps(point, service=service.pid or 0).watch()
    jobs._start_worker(*given)  # which is the product's own here


def take_in(upload: GridUpload, zone: PlatformZone | None = None) -> None:
    """An upload, as the three requests of a gateway."""
    zone = zone or _open_zone()
    status = intake.begin_upload(zone, upload.message, at=NOW)
    wanted = {digest: upload.objects[digest] for digest in status.missing}
    intake.receive_objects(zone, status.upload_id, objects=wanted)
    intake.commit_upload(zone, status.upload_id, at=NOW)


def close(envelope: Signed, zone: PlatformZone | None = None) -> None:
    """A month."""
    closings.close_period(zone or _open_zone(), envelope, at=NOW)


def _open_zone() -> PlatformZone:
    zone: PlatformZone = main_app().state.platform.zone
    return zone


def be_platform(*orders: RunOrder, computes: bool = True) -> None:
    """A replica, which takes orders under the names of their plans.

    Args:
        computes: Its own workers are not busy with something else.
    """
    if not computes:
        crew._AHEAD = 0
    desk = main_app().state.platform.runs
    for order in orders:
        desk.start(order, run_id=order.plan)
    desk.go_on_duty()
    Event().wait()


def be_worker() -> None:
    """A worker, until it is told to stop."""
    worker.main()
