"""The gateway's background work: one month or correction at a time, and where each stands.

What is kept on disk decides: a report makes a month or a correction `done`, a plan without one
`interrupted`, a failure file `failed`. It is `running` until the last of its work is over, after
its report too, since nothing else may begin before. Only that a thread works on a month right now
is known to the process alone, so a restart forgets nothing and leaves nothing looking busy that is
not.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from gridsecure.errors import ConflictError, GridSecureError, StorageError
from gridsecure.gateway.approvals import PENDING, REJECTED
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.correction_orders import begin_order, find_orders
from gridsecure.gateway.correction_plan import (
    APPROVED,
    CorrectionFiles,
    correction_folders,
    find_correction_report,
    list_corrections,
    order_name,
)
from gridsecure.gateway.day_sealing import is_sealed, report_day
from gridsecure.gateway.month_files import load_files, month_folder, require_files
from gridsecure.gateway.month_plan import find_plan, find_report
from gridsecure.gateway.months import Progress
from gridsecure.gateway.private_files import private_folder, write_private
from gridsecure.gateway.sealed_days import begun_days, day_folder, find_day
from gridsecure.gateway.tables import CorrectionOrderRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.wire.gateway import CorrectionCounts, CorrectionStatus, DayStatus, MonthStatus
from gridsecure.wire.problems import INTERNAL
from gridsecure_api.process_memory import return_freed_pages

_log = logging.getLogger(__name__)

_FAILURE: Final = "failure.json"


@dataclass(frozen=True, slots=True)
class Place:
    """What is worked on: a month, one of its corrections by name, or one of its days."""

    month: str
    correction: str = ""
    day: str = ""


Work = Callable[[MonthFiles, Progress], object]
"""Processes a month, or validates it."""


Correct = Callable[[CorrectionFiles, Progress], object]
"""Corrects a month."""

Seal = Callable[[str, Progress], object]
"""Seals a day."""


Looked = TypeVar("Looked")


class MonthWorker:
    """Processes and corrects months in a thread of its own, one at a time.

    Args:
        work: Processes one month.
        correct: Corrects one.
        seal: Seals a day of one.
    """

    def __init__(self, zone: GatewayZone, work: Work, correct: Correct, seal: Seal) -> None:
        self._zone = zone
        self._work = work
        self._correct = correct
        self._seal = seal
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._at = self._wanted = Place("")
        self._step = ("", 0, 0)
        self._taking_in = ""

    def start(self, month: str) -> None:
        """Begin or resume a month.

        Raises:
            NotFoundError: Nothing was handed in for it.
            ConflictError: A month is being processed (`conflict.month-busy`).
        """
        files = load_files(self._zone, month)
        with self._lock:
            self._refuse_while_busy()
            self._begin(Place(month), lambda: self._work(files, self._note))

    def correct(self, month: str, save: Callable[[], CorrectionFiles]) -> CorrectionStatus:
        """Begin or resume a correction, after those that were fixed before it and not finished.

        Args:
            save: Keeps what was handed in.

        Returns:
            Where it stands.

        Raises:
            GridSecureError: As `save`, or a month is being processed (`conflict.month-busy`).
        """
        with self._alone(month):
            wanted = save()
            with self._lock:
                self._begin(Place(month, wanted.name), lambda: self._finish(month, wanted))
        told = {one.name: one for one in self.corrections(month)}
        given_up = CorrectionStatus(name=wanted.name, number=None, state="interrupted")
        return told.get(wanted.name, given_up)

    def order(
        self, month: str, save: Callable[[], CorrectionOrderRow], *, at: datetime
    ) -> CorrectionStatus:
        """Take in an order of a correction, and begin it unless a second person has to agree.

        Args:
            save: Keeps the order.
            at: When.

        Returns:
            Where its correction stands.

        Raises:
            GridSecureError: As `save`, or a month is being processed (`conflict.month-busy`).
        """
        with self._alone(month):
            order = save()
            number = order.id or 0
            if order.state == APPROVED:
                wanted = begin_order(self._zone, number, at=at)
                with self._lock:
                    self._begin(Place(month, wanted.name), lambda: self._finish(month, wanted))
        given_up = CorrectionStatus(
            name=order_name(month, number), number=None, state="interrupted", order=number
        )
        return next((one for one in self.corrections(month) if one.order == number), given_up)

    def _finish(self, month: str, wanted: CorrectionFiles) -> None:
        """Corrections build on each other: what was fixed comes first."""
        fixed = [plan.files for plan in list_corrections(self._zone, month)]
        for files in (*(one for one in fixed if one != wanted), wanted):
            if find_correction_report(self._zone, files.name) is None:
                self._at, self._step = Place(month, files.name), ("", 0, 0)
                self._failure_path(self._at).unlink(missing_ok=True)
                self._correct(files, self._note)

    def seal(self, day: str) -> None:
        """Begin or resume a day.

        Raises:
            InputError: Not a day (`day.format`).
            ConflictError: A month or day is being worked on (`conflict.month-busy`).
        """
        at = _day_place(self._zone, day)
        with self._lock:
            self._refuse_while_busy()
            self._begin(at, lambda: self._seal(day, self._note))

    def day(self, day: str) -> DayStatus:
        """Where a day stands.

        Raises:
            InputError: Not a day (`day.format`).
        """
        at = _day_place(self._zone, day)
        step = self._step_of(at)
        if step is not None:
            stage, done, of = step
            return DayStatus(day=day, state="running", stage=stage, done=done, of=of)
        # Asked afterwards: a day that ends in between is sealed, and not cut off.
        plan = find_day(self._zone, day)
        if plan is not None and is_sealed(self._zone, plan):
            return DayStatus(day=day, state="sealed", report=report_day(self._zone, plan))
        failure = self._failure(at)
        if failure is not None:
            return DayStatus(day=day, state="failed", **failure)
        return DayStatus(day=day, state="waiting" if plan is None else "interrupted")

    def days(self, month: str) -> list[DayStatus]:
        """Where the days of a month stand that were begun, in their order.

        Raises:
            InputError: Not a month.
        """
        self._zone.period(month)
        return [self.day(day) for day in begun_days(self._zone, month)]

    def validate(self, month: str, work: Work) -> MonthStatus:
        """Begin to validate a month without processing it.

        Args:
            work: Validates it.

        Raises:
            NotFoundError: Nothing was handed in for it.
            ConflictError: A month is being processed (`conflict.month-busy`).
        """
        files = load_files(self._zone, month)
        with self._lock:
            self._refuse_while_busy()
            self._begin(Place(month), lambda: work(files, self._note))
        return self.status(month)

    def keep_files(self, month: str, save: Callable[[], int]) -> int:
        """Replace a month's files, unless a month is being processed.

        Raises:
            ConflictError: A month is being processed (`conflict.month-busy`).
        """
        with self._alone(month):
            count = save()
            self._failure_path(Place(month)).unlink(missing_ok=True)
        return count

    def look(self, month: str, work: Callable[[], Looked]) -> Looked:
        """Read a month's readings while no month is being processed: they are held once.

        Raises:
            ConflictError: A month is being processed (`conflict.month-busy`).
        """
        with self._alone(month):
            return work()

    @contextmanager
    def _alone(self, month: str) -> Iterator[None]:
        """Let nothing else begin while files are taken in; who asks for a status does not wait."""
        with self._lock:
            self._refuse_while_busy()
            self._taking_in = month
        try:
            yield
        finally:
            self._taking_in = ""

    def status(self, month: str) -> MonthStatus:
        """Where a month stands.

        Raises:
            NotFoundError: Nothing was handed in for it.
        """
        require_files(self._zone, month)
        step = self._step_of(Place(month))
        if step is not None:
            stage, done, of = step
            return MonthStatus(state="running", stage=stage, done=done, of=of)
        # Asked afterwards: a month that ends in between is done, and not cut off.
        report = find_report(self._zone, month)
        if report is not None:
            return MonthStatus(state="done", report=report)
        failure = self._failure(Place(month))
        if failure is not None:
            return MonthStatus(state="failed", reason=failure["reason"], message=failure["message"])
        fixed = find_plan(self._zone, month) is not None
        return MonthStatus(state="interrupted" if fixed else "waiting")

    def corrections(self, month: str) -> list[CorrectionStatus]:
        """Where each correction of a month stands; one that is not fixed yet comes last."""
        # Asked first: what ends in between is found on disk.
        with self._lock:
            wanted = self._wanted if self._is_busy() else Place("")
        plans = {plan.files.name: plan for plan in list_corrections(self._zone, month)}
        orders = {order_name(month, one.id or 0): one for one in find_orders(self._zone, month)}
        numbers: dict[str, int | None] = {name: plan.number for name, plan in plans.items()}
        for found in (*correction_folders(self._zone, month), *orders):
            numbers.setdefault(found, None)
        if wanted.month == month and wanted.correction:
            numbers.setdefault(wanted.correction, None)
        told = [
            self._told(Place(month, name), number, order=orders.get(name))
            for name, number in numbers.items()
        ]
        left_out = {name: plan.reasons for name, plan in plans.items()}
        return [
            one.model_copy(update={"left_out": left_out.get(one.name, {})})
            for one in told
            if one is not None
        ]

    def correction_failure(self, month: str) -> str | None:
        """Why the attempt at a correction of a month failed that failed last; None if none did."""
        folder = month_folder(self._zone, month) / "corrections"
        failed = {path.parent.name: path.stat().st_mtime for path in folder.glob(f"*/{_FAILURE}")}
        if not failed:
            return None
        failure = self._failure(Place(month, max(failed, key=failed.__getitem__)))
        return None if failure is None else failure["reason"]

    def _told(
        self, at: Place, number: int | None, *, order: CorrectionOrderRow | None
    ) -> CorrectionStatus | None:
        if order is None:
            return self._stands(at, number)
        if order.state == REJECTED:
            return None
        found = self._stands(at, number)
        state: Literal["pending", "approved"] = "pending" if order.state == PENDING else "approved"
        waiting = CorrectionStatus(name=at.correction, number=None, state=state)
        return (found or waiting).model_copy(update={"order": order.id})

    def _stands(self, at: Place, number: int | None) -> CorrectionStatus | None:
        step = self._step_of(at)
        if step is not None:
            stage, done, of = step
            return CorrectionStatus(
                name=at.correction, number=number, state="running", stage=stage, done=done, of=of
            )
        report = find_correction_report(self._zone, at.correction)
        if report is not None:
            counts = asdict(report)
            number = counts.pop("number")
            told = CorrectionCounts(**counts)
            return CorrectionStatus(name=at.correction, number=number, state="done", report=told)
        failure = self._failure(at)
        if failure is not None:
            return CorrectionStatus(name=at.correction, number=number, state="failed", **failure)
        if number is None:
            return None  # it was given up before anything was fixed
        return CorrectionStatus(name=at.correction, number=number, state="interrupted")

    def failed_at(self, month: str, correction: str = "", day: str = "") -> datetime:
        """When the last attempt at a month or part of it failed; long ago if it did not."""
        try:
            written = self._failure_path(Place(month, correction, day)).stat().st_mtime
        except FileNotFoundError:
            written = 0
        return datetime.fromtimestamp(written, tz=UTC)

    def wait(self, seconds: float) -> None:
        """Wait until the month at work ends, at most so long [s]."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _begin(self, at: Place, work: Callable[[], object]) -> None:
        """Start a thread; the lock is held."""
        private_folder(month_folder(self._zone, at.month))  # of batches alone there is none yet
        self._at, self._wanted, self._step = at, at, ("", 0, 0)
        self._failure_path(at).unlink(missing_ok=True)
        # A daemon: ending the service ends it anywhere, which a month survives.
        self._thread = threading.Thread(
            target=self._run, args=(work,), name=f"month {at.month}", daemon=True
        )
        self._thread.start()

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except GridSecureError as error:
            _log.warning("%s failed: %s", self._at.day or self._at.month, error.reason)
            self._fail(error.reason, f"{error.message} {error.remedy}".strip())
        except Exception as error:  # noqa: BLE001 - the thread's boundary: what is not ours says nothing
            _log.error("%s failed: %s", self._at.day or self._at.month, type(error).__name__)
            self._fail(INTERNAL.reason, INTERNAL.detail)
        finally:
            return_freed_pages()

    def _note(self, stage: str, done: int, of: int) -> None:
        self._step = (stage, done, of)

    def _step_of(self, at: Place) -> tuple[str, int, int] | None:
        """The step at work there, or none yet if it waits for an earlier one; None if neither."""
        with self._lock:
            if not self._is_busy() or at not in (self._at, self._wanted):
                return None
            return self._step if self._at == at else ("", 0, 0)

    def _fail(self, reason: str, message: str) -> None:
        """Keep why it ended, also for what waited for it."""
        text = json.dumps({"reason": reason, "message": message})
        try:
            for at in dict.fromkeys((self._at, self._wanted)):
                path = self._failure_path(at)
                if at.correction or at.day:
                    private_folder(path.parent.parent)
                    private_folder(path.parent)
                write_private(path, [text.encode()], what="The failure")
        except StorageError:
            # The disk may be what failed; then the month looks interrupted, which is resumable.
            _log.error("the failure of month %s could not be kept", self._at.month)

    def _failure(self, at: Place) -> dict[str, Any] | None:
        try:
            failure: dict[str, Any] = json.loads(self._failure_path(at).read_bytes())
        except FileNotFoundError:
            return None
        return failure

    def _failure_path(self, at: Place) -> Path:
        if at.day:
            return day_folder(self._zone, at.day) / _FAILURE
        folder = month_folder(self._zone, at.month)
        return (folder / "corrections" / at.correction if at.correction else folder) / _FAILURE

    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _refuse_while_busy(self) -> None:
        if self._is_busy() or self._taking_in:
            busy = self._taking_in or self._at.day or self._at.month
            raise ConflictError(
                f"{busy} is being processed.",
                reason="conflict.month-busy",
                remedy="Wait until it is done; one month or day is processed at a time.",
            )


def _day_place(zone: GatewayZone, day: str) -> Place:
    return Place(zone.month_of(day), day=day)
