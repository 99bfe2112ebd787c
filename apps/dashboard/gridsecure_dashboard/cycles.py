"""Where a month of the billing cycle stands, from what gateway and platform tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from gridsecure.analyst.closings import RELEASED, MonthClosing
from gridsecure.analyst.releases import BILL
from gridsecure.wire.gateway import MonthStatus
from gridsecure.wire.platform import RunStatus

StepState = Literal["done", "running", "next", "later", "failed"]

DONE: Final = "done"
RUNNING: Final = "running"
NEXT: Final = "next"
LATER: Final = "later"
FAILED: Final = "failed"

_READ: Final[dict[str, StepState]] = {
    "waiting": "next",
    "interrupted": "next",
    "running": "running",
    "failed": "failed",
    "done": "done",
}
_NO_READINGS: Final = "no-readings"


class Step(NamedTuple):
    """A step of the cycle, in the order of the work; `reason` says why it failed."""

    name: str
    state: StepState
    reason: str = ""


class PointCounts(NamedTuple):
    """Meter points of a month at the gateway: due, read, validated, and not billed."""

    due: int
    read: int
    billable: int
    held: int


def keep_published(runs: Sequence[RunStatus]) -> tuple[RunStatus, ...]:
    """Leave shadow runs out: nothing of them is released. A round answers them like the others."""
    return tuple(run for run in runs if run.kind == "published")


def count_points(status: MonthStatus | None) -> PointCounts | None:
    """The counts of a month that is done; None before."""
    if status is None or status.report is None:
        return None
    report = status.report
    return PointCounts(
        report.meters,
        report.meters - report.excluded.get(_NO_READINGS, 0),
        report.billed_meters,
        sum(report.excluded.values()),
    )


def find_steps(
    status: MonthStatus | None, *, closing: MonthClosing, runs: Sequence[RunStatus]
) -> tuple[Step, ...]:
    """The steps of a month's bills.

    Args:
        status: The gateway's month; None if it has no files of it.
        runs: Those of the month.
    """
    read = Step("read", LATER) if status is None else _read(status)
    return read, Step("close", _close(closing)), _compute(closing, runs), _release(closing, runs)


def _read(status: MonthStatus) -> Step:
    return Step("read", _READ[status.state], status.reason or "")


def _close(closing: MonthClosing) -> StepState:
    if not closing.uploads:
        return LATER
    return NEXT if closing.open_count else DONE


def _compute(closing: MonthClosing, runs: Sequence[RunStatus]) -> Step:
    newest = next((run for run in reversed(runs) if run.plan == BILL), None)
    if newest is not None and newest.state == RUNNING:
        return Step("compute", RUNNING)
    if newest is not None and newest.state == FAILED:
        return Step("compute", FAILED, newest.reason or "")
    if newest is not None or closing.next_runs[BILL] == RELEASED:
        return Step("compute", DONE)
    is_closed = bool(closing.uploads) and closing.open_count < len(closing.uploads)
    return Step("compute", NEXT if is_closed else LATER)


def _release(closing: MonthClosing, runs: Sequence[RunStatus]) -> Step:
    if closing.next_runs[BILL] == RELEASED:
        return Step("release", DONE)
    waits = any(run.plan == BILL and run.state == DONE and run.request_id for run in runs)
    return Step("release", NEXT if waits else LATER)
