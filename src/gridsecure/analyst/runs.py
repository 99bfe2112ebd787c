"""What a bill run looks like from outside: the month at the gateway, runs, release rounds.

These are counts, states and times only. No service sends a reading or a ciphertext to a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gridsecure.month_texts import read_month
from gridsecure.periods import billing_month
from gridsecure.wire.answers import Answer

DONE: Final = "done"
FAILED: Final = "failed"
RUNNING: Final = "running"
STARTABLE: Final = frozenset({"waiting", "interrupted", FAILED})
"""States of a month that change only when an operator starts it."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What is asked of the platform.

    Args:
        start: Start of the period, ISO 8601 with offset.
        end: Its end, exclusive.
        purpose: Why; it is printed on the release certificate.
    """

    plan: str
    start: str
    end: str
    purpose: str


@dataclass(frozen=True, slots=True)
class PlatformRun:
    """One run of a plan on the compute platform."""

    run_id: str
    plan: str
    start: str
    end: str
    state: str
    done: int
    of: int
    request_id: str
    reason: str
    message: str

    @property
    def is_running(self) -> bool:
        """Neither done nor failed."""
        return self.state == RUNNING

    @classmethod
    def of_answer(cls, answer: Answer, *, run_id: str | None = None) -> PlatformRun:
        """Read a run; `run_id` is the one asked for, where the answer need not repeat it.

        Raises:
            InvalidMessageError: Another shape.
        """
        return cls(
            run_id=answer.text("run_id", run_id),
            plan=answer.text("plan", ""),
            start=answer.text("start", ""),
            end=answer.text("end", ""),
            state=answer.text("state"),
            done=answer.number("done", 0),
            of=answer.number("of", 0),
            request_id=answer.text("request_id", ""),
            reason=answer.text("reason", ""),
            message=answer.text("message", ""),
        )


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """What the authority did with one waiting release request."""

    request_id: str
    state: str
    reason: str
    release_id: str

    @classmethod
    def of(cls, answer: Answer) -> RoundOutcome:
        """Read one outcome.

        Raises:
            InvalidMessageError: Another shape.
        """
        return cls(
            request_id=answer.text("request_id"),
            state=answer.text("state"),
            reason=answer.text("reason", ""),
            release_id=answer.text("release_id", ""),
        )


@dataclass(frozen=True, slots=True)
class MonthStatus:
    """How far the gateway is with a month.

    Args:
        state: The gateway's word for it: waiting, running, interrupted, failed or done.
        done: Units done in this stage.
        counts: Totals by name: readings, accepted, estimated, quarantined, meters and so on.
        problems: Quarantined or repaired readings by rule.
        excluded: Meter points without a bill, by reason.
        seconds: Time by stage [s].
        reason: Reason code, if it failed.
        message: Why, if it failed.
    """

    state: str
    stage: str
    done: int
    of: int
    counts: Mapping[str, int]
    problems: Mapping[str, int]
    excluded: Mapping[str, int]
    seconds: Mapping[str, float]
    reason: str
    message: str

    @property
    def is_done(self) -> bool:
        """Encrypted and uploaded."""
        return self.state == DONE

    @property
    def is_running(self) -> bool:
        """The gateway works on it now."""
        return self.state == RUNNING

    @property
    def is_startable(self) -> bool:
        """Nothing happens until an operator starts or resumes it."""
        return self.state in STARTABLE

    @classmethod
    def of_answer(cls, answer: Answer) -> MonthStatus:
        """Read a month's status.

        Raises:
            InvalidMessageError: Another shape.
        """
        report = answer.part("report")
        return cls(
            state=answer.text("state"),
            stage=answer.text("stage", ""),
            done=answer.number("done", 0),
            of=answer.number("of", 0),
            counts={name: report.number(name, 0) for name in _COUNTS},
            problems=_whole(report.numbers("problems")),
            excluded=_whole(report.numbers("excluded")),
            seconds=report.numbers("seconds"),
            reason=answer.text("reason", ""),
            message=answer.text("message", ""),
        )


_COUNTS: Final = (
    "readings",
    "accepted",
    "estimated",
    "quarantined",
    "meters",
    "billed_meters",
    "rosters",
    "columns",
    "bytes_stored",
    "bytes_uploaded",
)


def _whole(numbers: Mapping[str, float]) -> dict[str, int]:
    return {name: int(number) for name, number in numbers.items()}


def check_month(month: str) -> str:
    """Return a month that is written `YYYY-MM`.

    Raises:
        InputError: It is not (`month.format`, `month.year`).
    """
    read_month(month)
    return month


def month_bounds(month: str, *, timezone: str) -> tuple[str, str]:
    """Return start and end of a local calendar month, ISO 8601 with offset.

    Args:
        month: `YYYY-MM`.
        timezone: IANA name of the local time that months are counted in.

    Raises:
        InputError: Not a month (`month.format`, `month.year`).

    >>> month_bounds("2026-07", timezone="Asia/Shanghai")
    ('2026-07-01T00:00:00+08:00', '2026-08-01T00:00:00+08:00')
    """
    period = billing_month(*read_month(month), timezone=timezone)
    return period.start.isoformat(), period.end.isoformat()
