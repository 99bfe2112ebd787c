"""The gateway's timetable: days are sealed, months billed and late readings corrected when due.

A day is due so many hours after its end, once a source sent readings of it.

A month is due so many days after its end, once its contracts and tariffs are there; readings that
come after are late. Late readings are gathered for so many days, from the first of them on, and
then become one correction. Either is off unless the operator sets its days. An order of a
correction is due once it is approved. What failed is tried again every hour, and what was
interrupted at the next look.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from gridsecure.errors import ConflictError, GridSecureError, NotFoundError
from gridsecure.gateway.correction_orders import begin_order, find_waiting_orders
from gridsecure.gateway.correction_plan import (
    late_batches,
    latest_correction,
    order_name,
    save_correction,
    unfinished_correction,
)
from gridsecure.gateway.ingestion.batches import find_batches, newest_batch, taken_in_at
from gridsecure.gateway.month_files import list_begun
from gridsecure.gateway.month_plan import find_plan, is_done
from gridsecure.gateway.zone import GatewayZone
from gridsecure.periods import local_day
from gridsecure.wire.gateway import MonthOnBoard
from gridsecure_api.deps import Clock
from gridsecure_api.gateway_months import MonthWorker

_log = logging.getLogger(__name__)

MONTHS: Final = 24
"""Months that are looked after and shown, the last of them the current one."""
_SEALED_BACK: Final = 7
"""Days that are sealed by themselves: those of the last week."""
_EVERY: Final = timedelta(minutes=1)
_RETRY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Due:
    """When things are due; None for never by themselves.

    Args:
        cut_off_days: Days from the end of a month until it is billed.
        correction_days: Days that late readings are gathered for.
        seal_hours: Hours from the end of a day until it is sealed.
    """

    cut_off_days: float | None
    correction_days: float | None
    seal_hours: float | None

    @property
    def is_never(self) -> bool:
        """Whether nothing ever is."""
        return (self.cut_off_days, self.correction_days, self.seal_hours) == (None, None, None)


@dataclass(frozen=True, slots=True)
class Timetable:
    """When days are sealed, months billed and corrected.

    Args:
        due: When each is due.
    """

    zone: GatewayZone
    worker: MonthWorker
    clock: Clock
    due: Due

    def board(self) -> list[MonthOnBoard]:
        """The months that something was handed in for, the newest first."""
        begun = list_begun(self.zone, self._months())
        return [one for month in begun if (one := self._shown(month)) is not None]

    def begin_due(self) -> None:
        """Begin the first thing that is due, unless a month is being worked on."""
        with suppress(ConflictError):  # a month is being worked on: the next look comes soon
            if self._carry_out() or self.due.is_never or self._seal():
                return
            for month in reversed(list_begun(self.zone, self._months())):
                if self._begin(month):
                    return

    def _carry_out(self) -> bool:
        """Begin the first approved order that did not fail lately; whether there was any."""
        for order in find_waiting_orders(self.zone):
            month, number = order.month, order.id or 0
            failed_at = self.worker.failed_at(month, order_name(month, number))
            if self.clock() - failed_at >= _RETRY:
                self.worker.correct(month, partial(begin_order, self.zone, number, at=self.clock()))
                return True
        return False

    def _seal(self) -> bool:
        """Begin the earliest day that is due of the last ones, or was cut off; whether any was."""
        hours, now, zone = self.due.seal_hours, self.clock(), self.zone
        if hours is None:
            return False
        for month in islice(self._months(), 2):
            for status in self.worker.days(month):
                if status.state == "interrupted" and self._begin_day(month, status.day, now):
                    return True
        today = now.astimezone(ZoneInfo(zone.timezone)).date()
        for back in range(_SEALED_BACK, 0, -1):
            day = (today - timedelta(days=back)).isoformat()
            period = local_day(day, timezone=zone.timezone)
            month = zone.month_of(day)
            is_waiting = (
                period.end + timedelta(hours=hours) <= now
                and find_plan(zone, month) is None
                and bool(find_batches(zone, period, until=newest_batch(zone)))
            )
            if is_waiting and self._begin_day(month, day, now):
                return True
        return False

    def _begin_day(self, month: str, day: str, now: datetime) -> bool:
        state = self.worker.day(day).state
        failed = state == "failed" and now - self.worker.failed_at(month, day=day) < _RETRY
        if failed or state in {"sealed", "running"}:
            return False
        self.worker.seal(day)
        return True

    def _begin(self, month: str) -> bool:
        """Begin what is due of a month; whether there was anything."""
        now, shown = self.clock(), self._shown(month)
        if shown is None or shown.due_at is None or datetime.fromisoformat(shown.due_at) > now:
            return False
        if shown.state == "failed" and now - self.worker.failed_at(month) < _RETRY:
            return False
        if shown.state != "done":
            self.worker.start(month)
            return True
        return self._correct(month, now)

    def _correct(self, month: str, now: datetime) -> bool:
        begun = unfinished_correction(self.zone, month)
        last = [one.name for one in self.worker.corrections(month) if one.state == "failed"][-1:]
        if last and now - self.worker.failed_at(month, last[0]) < _RETRY:
            return False
        self.worker.correct(month, lambda: begun or save_correction(self.zone, month))
        return True

    def _shown(self, month: str) -> MonthOnBoard | None:
        zone, period = self.zone, self.zone.period(month)
        if not is_done(zone, month):
            try:
                status = self.worker.status(month)
            except NotFoundError:
                return self._without_contracts(month)
            due = _after(period.end, self.due.cut_off_days)
            return MonthOnBoard(
                month=month,
                state=status.state,
                reason=status.reason,
                late_readings=False,
                due_at=_text(zone, due),
            )
        counted, newest = late_batches(zone, month)
        first = taken_in_at(zone, month, after=counted) if newest > counted else None
        if unfinished_correction(zone, month) is not None:
            first = period.end
        due = None if first is None else _after(first, self.due.correction_days)
        return MonthOnBoard(
            month=month,
            state="done",
            reason=self._why(month, is_waiting=first is not None),
            late_readings=newest > counted,
            due_at=_text(zone, due),
        )

    def _without_contracts(self, month: str) -> MonthOnBoard | None:
        """A month of which only batches came that nobody is billed for; None if none did."""
        if not newest_batch(self.zone, month=month):
            return None
        return MonthOnBoard(
            month=month,
            state="waiting",
            reason="month.no-contracts",
            late_readings=False,
            due_at=None,
        )

    def _why(self, month: str, *, is_waiting: bool) -> str | None:
        """Why the correction that waits failed, or the last one left a meter point out."""
        failed = self.worker.correction_failure(month) if is_waiting else None
        if failed is not None:
            return failed
        last = latest_correction(self.zone, month)
        return None if last is None else next(iter(last.reasons), None)

    def _months(self) -> Iterator[str]:
        """The current month and those before it."""
        now = self.clock().astimezone(ZoneInfo(self.zone.timezone))
        for back in range(MONTHS):
            year, month = divmod(now.year * 12 + now.month - 1 - back, 12)
            yield f"{year}-{month + 1:02d}"


def _after(moment: datetime, days: float | None) -> datetime | None:
    return None if days is None else moment + timedelta(days=days)


def _text(zone: GatewayZone, moment: datetime | None) -> str | None:
    return None if moment is None else zone.local_text(moment)


class Conductor:
    """Looks at the timetable every minute, in a thread of its own."""

    def __init__(self, timetable: Timetable) -> None:
        self._timetable = timetable
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin."""
        self._ended.clear()
        threading.Thread(target=self._run, name="timetable", daemon=True).start()

    def stop(self) -> None:
        """Look no more. What was begun goes on."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._timetable.begin_due()
            except GridSecureError as error:
                _log.warning("nothing was begun: %s", error.reason)
            except Exception as error:  # noqa: BLE001 - the thread's boundary: it looks again
                _log.error("nothing was begun: %s", type(error).__name__)
            self._ended.wait(_EVERY.total_seconds())
