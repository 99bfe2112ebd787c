"""The gateway's background work: one month at a time, and where each month stands.

What is kept on disk decides: a report makes a month `done`, a plan without one `interrupted`, a
failure file `failed`. Only that a thread works on a month right now is known to the process alone,
so a restart forgets nothing and leaves nothing looking busy that is not.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gridsecure.errors import ConflictError, GridSecureError, StorageError
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.month_files import load_files, month_folder
from gridsecure.gateway.month_plan import find_plan, find_report
from gridsecure.gateway.months import Progress
from gridsecure.gateway.private_files import write_private
from gridsecure.gateway.zone import GatewayZone
from gridsecure.wire.gateway import MonthReport, MonthStatus
from gridsecure.wire.problems import INTERNAL

_log = logging.getLogger(__name__)

_FAILURE: Final = "failure.json"

Work = Callable[[MonthFiles, Progress], MonthReport]
"""Processes a month."""


class MonthWorker:
    """Processes months in a thread of its own.

    Args:
        work: Processes one month.
    """

    def __init__(self, zone: GatewayZone, work: Work) -> None:
        self._zone = zone
        self._work = work
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._month = ""
        self._step = ("", 0, 0)

    def start(self, month: str) -> None:
        """Begin or resume a month.

        Raises:
            NotFoundError: Nothing was handed in for it.
            ConflictError: A month is being processed (`conflict.month-busy`).
        """
        files = load_files(self._zone, month)
        with self._lock:
            self._refuse_while_busy()
            self._month, self._step = month, ("", 0, 0)
            self._failure_path(month).unlink(missing_ok=True)
            # A daemon: ending the service ends it anywhere, which a month survives.
            self._thread = threading.Thread(
                target=self._run, args=(files,), name=f"month {month}", daemon=True
            )
            self._thread.start()

    def keep_files(self, month: str, save: Callable[[], int]) -> int:
        """Replace a month's files, unless a month is being processed.

        Raises:
            ConflictError: A month is being processed (`conflict.month-busy`).
        """
        with self._lock:
            self._refuse_while_busy()
            count = save()
            self._failure_path(month).unlink(missing_ok=True)
        return count

    def status(self, month: str) -> MonthStatus:
        """Where a month stands.

        Raises:
            NotFoundError: Nothing was handed in for it.
        """
        load_files(self._zone, month)
        with self._lock:
            step = self._step if self._is_busy() and self._month == month else None
        # Asked afterwards: a month that ends in between is done, and not cut off.
        report = find_report(self._zone, month)
        if report is not None:
            return MonthStatus(state="done", report=report)
        if step is not None:
            stage, done, of = step
            return MonthStatus(state="running", stage=stage, done=done, of=of)
        failure = self._failure(month)
        if failure is not None:
            return MonthStatus(state="failed", reason=failure["reason"], message=failure["message"])
        fixed = find_plan(self._zone, month) is not None
        return MonthStatus(state="interrupted" if fixed else "waiting")

    def wait(self, seconds: float) -> None:
        """Wait until the month at work ends, at most so long [s]."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _run(self, files: MonthFiles) -> None:
        try:
            self._work(files, self._note)
        except GridSecureError as error:
            _log.warning("month %s failed: %s", files.month, error.reason)
            self._fail(files.month, error.reason, f"{error.message} {error.remedy}".strip())
        except Exception as error:  # noqa: BLE001 - the thread's boundary: what is not ours says nothing
            _log.error("month %s failed: %s", files.month, type(error).__name__)
            self._fail(files.month, INTERNAL.reason, INTERNAL.message)

    def _note(self, stage: str, done: int, of: int) -> None:
        self._step = (stage, done, of)

    def _fail(self, month: str, reason: str, message: str) -> None:
        text = json.dumps({"reason": reason, "message": message})
        try:
            write_private(self._failure_path(month), [text.encode()], what="The failure")
        except StorageError:
            # The disk may be what failed; then the month looks interrupted, which is resumable.
            _log.error("the failure of month %s could not be kept", month)

    def _failure(self, month: str) -> dict[str, Any] | None:
        try:
            failure: dict[str, Any] = json.loads(self._failure_path(month).read_bytes())
        except FileNotFoundError:
            return None
        return failure

    def _failure_path(self, month: str) -> Path:
        return month_folder(self._zone, month) / _FAILURE

    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _refuse_while_busy(self) -> None:
        if self._is_busy():
            raise ConflictError(
                f"The month {self._month} is being processed.",
                reason="conflict.month-busy",
                remedy="Wait until it is done; one month is processed at a time.",
            )
