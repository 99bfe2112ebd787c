"""Jobs on a Dask cluster: what a platform sends there, and what a Dask worker does with it.

Invariants:
- The scheduler sees digests, seeds and names of outputs. What a job is to compute is an object of
  the store under a name of its own, which is removed when the job ends; ciphertexts and keys are
  objects anyway.
- A Dask worker computes nothing: a confined process beside it does (`dask_orders`). That opens the
  store that the worker's environment names, so no credential passes through the scheduler, and a
  key set once, for all jobs of all platforms, only if it is the one that a notice names.
- The scheduler may go at any time. Then the pool has no workers, all its jobs count as not begun,
  and it looks for the scheduler again, less and less often.

Not here: trust. Whoever may connect to a Dask scheduler runs code on its workers
(docs/deployment.md).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from multiprocessing import current_process
from threading import Lock
from typing import Any, Final

from distributed import Client, KilledWorker, Security, WorkerPlugin
from distributed.utils import LoopRunner

from gridsecure.compute.dask_orders import ORDERS, Order, OrderProcess
from gridsecure.compute.dask_tickets import PLUGIN, Ticket, run_ticket
from gridsecure.compute.jobs import BillJob, Job, JobResult, LoadCurveJob, LostWorkers
from gridsecure.errors import GridSecureError, InputError
from gridsecure.messages import UploadManifest
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.sandbox import SandboxWish, find_walls
from gridsecure.store.objects import ObjectStore

_log = logging.getLogger(__name__)

_NEVER_REPLACED: Final = 1 << 30
_CONNECT_SECONDS: Final = 3.0
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0


class JobPlugin(WorkerPlugin):  # type: ignore[misc]  # Dask's types are not checked
    """What a Dask worker keeps between jobs.

    Args:
        objects: The platform's objects.
        sandbox: Whether the process that computes is confined.

    Raises:
        InputError: As `OrderProcess`, or this worker may have no process (`engine.nanny`).
    """

    name = PLUGIN

    def __init__(self, objects: ObjectStore, *, sandbox: SandboxWish) -> None:
        if current_process().daemon:
            raise InputError(
                "A Dask worker with a nanny may not have the process that computes for it.",
                reason="engine.nanny",
                remedy="Start it without a nanny, once for each processor (docs/deployment.md).",
            )
        self._process = OrderProcess(objects, sandbox=sandbox)
        self._is_confined = sandbox != "off" and find_walls().are_whole
        self._lock = Lock()

    def run(self, ticket: Ticket) -> JobResult:
        """Have one job run; one at a time, so that no other is lost with a process that dies.

        Raises:
            InputError: The platform wants a sandbox that is not there (`engine.sandbox`).
            LostWorkers: The process died.
            GridSecureError: As `OrderWorker.run`.
        """
        if ticket.must_confine and not self._is_confined:
            raise InputError(
                "The platform requires a sandbox, and a Dask worker has none, or not all of it.",
                reason="engine.sandbox",
                remedy="Set GRIDSECURE_DASK_SANDBOX=required for the workers and start them where "
                "the kernel has Landlock and seccomp (docs/deployment.md).",
            )
        with self._lock:
            try:
                (future,) = self._process.submit([(ticket.order, ticket.seed)])
                return future.result()
            except BrokenProcessPool:
                self._process.close()
                raise LostWorkers(1) from None

    def warm(self) -> None:
        """Start the process before there are jobs."""
        self._process.warm()

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - Dask's own signature
        """End the process; Dask calls it as its worker ends."""
        self._process.close()


class DaskPool:
    """Runs jobs on all workers of a cluster.

    Args:
        address: The scheduler's URL.
        security: Certificate, key and authority; None for a scheduler on this machine.
        must_confine: Whether only confined processes get jobs.
    """

    room: Final = _NEVER_REPLACED

    def __init__(
        self,
        objects: ObjectStore,
        known: KnownKeys,
        *,
        address: str,
        security: Security | None,
        must_confine: bool = False,
    ) -> None:
        self._objects = objects
        self._must_confine = must_confine
        self._known = {notice.key_id: notice for notice in known.notices}
        self._revoked = known.revoked
        self._connect = partial(
            Client,
            address,
            security=security,
            timeout=_CONNECT_SECONDS,
            set_as_default=False,
            loop=_loop(),
        )
        self._client: Any = None
        self._running: dict[Future[JobResult], Any] = {}
        self._pause = _FIRST_PAUSE
        self._try_at = 0.0

    @property
    def workers(self) -> int:
        """Threads of all Dask workers; 0 while the scheduler is out of reach."""
        self.warm()
        if self._client is None:
            return 0
        # Kept up to date by the client itself: asking anew would wait for a scheduler that hangs.
        info = self._client._scheduler_identity  # noqa: SLF001 - Dask tells it nowhere else
        return int(info.get("total_threads", 0))

    def warm(self) -> None:
        """Connect, unless it is connected or was tried a moment ago."""
        if self._client is not None and self._client.status != "running":
            self.close()
        if self._client is not None or time.monotonic() < self._try_at:
            return
        try:
            self._client = self._connect()
        except OSError as failed:
            _log.warning("the Dask scheduler is out of reach (%s)", type(failed).__name__)
            self._try_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        else:
            self._pause = _FIRST_PAUSE

    def submit(self, jobs: Sequence[Job]) -> list[Future[JobResult]]:
        """Queue jobs; those that find no scheduler come back cancelled.

        Raises:
            StorageError: The object store is full, out of reach or refuses.
        """
        tickets = [self._ticket(job) for job in jobs]
        return [self._send(ticket) for ticket in tickets]

    def close(self) -> None:
        """Forget all jobs and leave the cluster."""
        for future in list(self._running):
            future.cancel()
        if self._client is not None:
            with suppress(OSError, RuntimeError):  # its loop may have ended before
                self._client.close(timeout=_CONNECT_SECONDS)
        self._client = None

    def _ticket(self, job: Job) -> Ticket:
        seed = b""
        if isinstance(job, LoadCurveJob):
            seed, job = job.seed, replace(job, seed=b"")
        uploads = (job.upload,) if isinstance(job, BillJob) else job.uploads
        named = {column.key_id for text in uploads for column in UploadManifest.parse(text).columns}
        notices = tuple(self._known[name] for name in sorted(named & self._known.keys()))
        known = KnownKeys(notices, self._revoked & named)
        order = ORDERS.dump_json(Order(job, known, secrets.token_hex(16)))
        return Ticket(self._objects.put(order), seed, self._must_confine)

    def _send(self, ticket: Ticket) -> Future[JobResult]:
        future: Future[JobResult] = Future()
        future.add_done_callback(partial(self._forget, ticket.order))
        try:
            remote = self._client.submit(run_ticket, ticket, pure=False)
        except Exception as error:  # noqa: BLE001 - Dask names no class for a client that is closing
            _log.warning("the Dask scheduler took no job (%s)", type(error).__name__)
            future.cancel()
            return future
        self._running[future] = remote  # Dask forgets a task that nobody holds
        remote.add_done_callback(partial(_hand_over, future))
        return future

    def _forget(self, order: str, future: Future[JobResult]) -> None:
        self._running.pop(future, None)
        with suppress(GridSecureError):  # a sweep removes what stays
            self._objects.discard(order)


@cache
def _loop() -> Any:
    """One thread for all connections; Dask leaves one behind for each attempt that fails."""
    runner = LoopRunner()
    runner.start()
    return runner.loop


def _hand_over(future: Future[JobResult], remote: Any) -> None:
    """Give what came of a task to the crew's future, unless the pool was closed meanwhile."""
    result: Any = None
    error: Any = None
    try:
        result = remote.result() if remote.status == "finished" else None
        error = remote.exception() if remote.status == "error" else None
    except Exception as lost:  # noqa: BLE001 - the scheduler went before the answer was here
        _log.warning("a job's answer did not arrive (%s)", type(lost).__name__)
    if isinstance(error, KilledWorker):
        error = LostWorkers(error.allowed_failures + 1)
    if result is None and error is None:
        future.cancel()
    elif future.set_running_or_notify_cancel():
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def make_security(*, ca: str, certificate: str, key: str) -> Security:
    """Mutual TLS: both sides show certificates of one authority.

    Raises:
        InputError: The files cannot be used (`engine.certificate`).
    """
    unusable = InputError(
        "Certificate, key or authority of the Dask cluster cannot be used.",
        reason="engine.certificate",
        remedy="Name three files in PEM that this user can read (docs/deployment.md).",
    )
    if not (ca and certificate and key):  # Dask would go on without
        raise unusable
    security = Security(
        tls_ca_file=ca, tls_client_cert=certificate, tls_client_key=key, require_encryption=True
    )
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as failed:  # ssl.SSLError is an OSError
        raise unusable from failed
    return security
