"""What a request costs its zone's database: steps, plans, and how long it keeps others waiting.

SQLite calls back whenever its machine comes to a jump, about once for every row it looks at, so the
number of calls is the same in every run, on every machine. A count of a whole table is a single
step, which is why plans are looked at too: what they scan from end to end is named.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from fastapi import FastAPI, routing
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool
from starlette.types import ASGIApp, Receive, Scope, Send

from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.jobs import Worker
from gridsecure.credentials.group import Group
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.key_authority.checker.reexecution import BillCheck, LoadCurveCheck
from gridsecure.store.database import _WRITES
from gridsecure_api import lists

_SCANNED = re.compile(r"^SCAN (\w+)")
_EXPLAINED = ("SELECT", "UPDATE", "DELETE")  # an insert looks at what refers to it only if it must

_PURE = ("gridsecure.crypto", "gridsecure.credentials", "gridsecure.messages", "contextlib")

COSTLY = (
    (Sm2PublicKey, "verify"),
    (Sm2PublicKey, "encrypt"),
    (Sm2PrivateKey, "sign"),
    (Sm2PrivateKey, "decrypt"),
    (Group, "sum"),
    (Group, "sums"),
    (PublicKeySet, "encrypt"),
    (SecretKeySet, "decrypt"),
    (Worker, "run"),
    (BillCheck, "execute"),
    (LoadCurveCheck, "execute"),
    (PlatformObjects, "get"),
    (PlatformObjects, "put"),
    (PlatformObjects, "put_together"),
)
"""What nobody should have to wait for: signatures, curves, ciphertexts, stores of objects."""


@dataclass
class Work:
    """What was done for one request, or by one statement of a background thread.

    Args:
        steps: Steps of the database's machine.
        cpu: Processor time of the route's function [s].
        connections: Most connections that one thread held at once.
        scans: Tables that a statement without a limit read from end to end -> that statement.
    """

    requests: int = 0
    steps: int = 0
    cpu: float = 0.0
    connections: int = 0
    scans: dict[str, str] = field(default_factory=dict)

    def join(self, other: Work) -> None:
        """Keep the most that any of several requests took, but the least of the time."""
        self.cpu = min(self.cpu, other.cpu) if self.requests else other.cpu
        self.requests += 1
        self.steps = max(self.steps, other.steps)
        self.connections = max(self.connections, other.connections)
        self.scans |= other.scans


class WorkMeter:
    """Counts the work of requests by zone, method and route; of background threads by statement."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, str], Work] = defaultdict(Work)
        self.background: dict[str, Work] = defaultdict(Work)
        self.held_over: set[tuple[str, str]] = set()
        self._current: ContextVar[Work | None] = ContextVar("work", default=None)
        self._held = threading.local()
        self._scanned: dict[str, list[str]] = {}

    @property
    def holds_lock(self) -> bool:
        """Whether this thread's transaction holds a write lock."""
        return getattr(self._held, "writes", False)

    def watch(self, app: FastAPI, zone: str) -> None:
        """Count what requests of an application cost."""
        app.add_middleware(_Watched, meter=self, zone=zone)

    @contextmanager
    def request(self, zone: str, scope: Scope) -> Iterator[None]:
        """Count for one request what happens in this context."""
        work = Work()
        token = self._current.set(work)
        try:
            yield
        finally:
            self._current.reset(token)
            route = scope.get("route")
            if route is not None:
                self.requests[zone, scope["method"], route.path_format].join(work)

    @contextmanager
    def counting(self) -> Iterator[WorkMeter]:
        """Listen to all databases of this process."""
        hooks: list[tuple[Any, str, Any]] = [
            (Pool, "checkout", self._check_out),
            (Pool, "checkin", self._check_in),
            (Engine, "before_cursor_execute", self._before),
            (Engine, "after_cursor_execute", self._after),
            (Engine, "begin", self._begin),
            (Engine, "commit", self._end),
            (Engine, "rollback", self._end),
        ]
        for target, name, hook in hooks:
            event.listen(target, name, hook)
        try:
            with ExitStack() as stack:
                for caller in (routing, lists):
                    stack.enter_context(patch.object(caller, "run_in_threadpool", self._timed))
                for owner, name in COSTLY:
                    stack.enter_context(self._guard(owner, name))
                yield self
        finally:
            for target, name, hook in hooks:
                event.remove(target, name, hook)

    def _guard(self, owner: Any, name: str) -> AbstractContextManager[Any]:
        """Note who computes this while its thread holds the write lock."""
        original = getattr(owner, name)

        def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.holds_lock:
                self.held_over.add((f"{owner.__name__}.{name}", _caller()))
            return original(*args, **kwargs)

        return patch.object(owner, name, guarded)

    # --- hooks

    async def _timed(self, called: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a route's function as FastAPI does, and take its thread's time."""

        def run() -> Any:
            began = time.thread_time()
            try:
                return called(*args, **kwargs)
            finally:
                self._work().cpu += time.thread_time() - began

        return await run_in_threadpool(run)

    def _check_out(self, connection: Any, _record: Any, _proxy: Any) -> None:
        if hasattr(connection, "set_progress_handler"):
            connection.set_progress_handler(self._step, 1)

        held = self._held.connections = getattr(self._held, "connections", 0) + 1
        work = self._work()
        work.connections = max(work.connections, held)

    def _check_in(self, _connection: Any, _record: Any) -> None:
        self._held.connections = getattr(self._held, "connections", 1) - 1

    def _step(self) -> int:
        self._work().steps += 1
        return 0

    def _work(self) -> Work:
        found = self._current.get() or getattr(self._held, "statement", None)
        return Work() if found is None else found

    def _before(
        self, connection: Any, cursor: Any, statement: str, given: Any, _context: Any, many: bool
    ) -> None:
        if self._current.get() is None:
            self._held.statement = Work()
        if not many and statement.lstrip().startswith(_EXPLAINED):
            self._explain(connection, statement, given)

    def _explain(self, connection: Any, statement: str, given: Any) -> None:
        raw = connection.connection.dbapi_connection
        if " LIMIT " in statement.replace("\n", " ") or not hasattr(raw, "set_progress_handler"):
            return  # how much of it is read, steps say
        if statement not in self._scanned:
            raw.set_progress_handler(None, 1)
            plan = raw.execute(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()
            raw.set_progress_handler(self._step, 1)
            found = (_SCANNED.match(detail) for *_, detail in plan)
            self._scanned[statement] = [one[1] for one in found if one]
        self._work().scans |= dict.fromkeys(self._scanned[statement], statement)

    def _after(
        self, _connection: Any, _cursor: Any, statement: str, _given: Any, _context: Any, _m: bool
    ) -> None:
        done = getattr(self._held, "statement", None)
        if self._current.get() is None and done is not None:
            self.background[statement].join(done)

    def _begin(self, connection: Any) -> None:
        if connection.get_execution_options().get(_WRITES):
            self._held.writes = True

    def _end(self, _connection: Any) -> None:
        self._held.writes = False


def _caller() -> str:
    """The function that asked for a computation: the first one up that is not part of it."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith(_PURE):
        frame = frame.f_back
    return f"{frame.f_globals['__name__']}.{frame.f_code.co_name}"


class _Watched:
    """ASGI middleware: one request is one piece of work."""

    def __init__(self, app: ASGIApp, meter: WorkMeter, zone: str) -> None:
        self._app, self._meter, self._zone = app, meter, zone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._meter.request(self._zone, scope):
            await self._app(scope, receive, send)
