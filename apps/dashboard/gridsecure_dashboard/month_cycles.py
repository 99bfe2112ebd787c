"""Fetching where a month of the cycle stands, for the board and the start page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from gridsecure.analyst.client import ReleaseClient
from gridsecure.analyst.runs import month_bounds
from gridsecure.errors import NotFoundError
from gridsecure.wire.gateway import MonthStatus
from gridsecure.wire.platform import RunStatus
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access
from gridsecure_dashboard.cycles import Step, find_steps, keep_published
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.side_by_side import ask_all
from gridsecure_dashboard.wording import say


class MonthCycle(NamedTuple):
    """A month, what the gateway says of it, and its steps; `open_uploads` no list closes."""

    month: str
    status: MonthStatus | None
    steps: tuple[Step, ...]
    open_uploads: int


def fetch_runs(session: Session) -> tuple[RunStatus, ...]:
    """All runs that something is released of."""
    return keep_published(access.open_client().runs(session))


def fetch_cycles(
    session: Session, months: Sequence[str], *, runs: Sequence[RunStatus]
) -> list[MonthCycle]:
    """Where months stand, asked side by side.

    Args:
        months: As 2026-07.
        runs: All runs, as fetched once.
    """
    set_up, client = load_settings(), access.open_client()
    bounds = (
        month_bounds(month, timezone=set_up.timezone, cycle_day=set_up.cycle_day)
        for month in months
    )
    return ask_all(
        [
            partial(_fetch, client, session, month, bounds=span, runs=runs)
            for month, span in zip(months, bounds, strict=True)
        ]
    )


def _fetch(
    client: ReleaseClient,
    session: Session,
    month: str,
    *,
    bounds: tuple[str, str],
    runs: Sequence[RunStatus],
) -> MonthCycle:
    try:
        status = client.month(session, month=month)
    except NotFoundError:
        status = None
    closing = client.closing(session, bounds=bounds)
    steps = find_steps(status, closing=closing, runs=[r for r in runs if r.start == bounds[0]])
    return MonthCycle(month, status, steps, closing.open_count)


def step_name(step: Step) -> str:
    """A step in the reader's language."""
    return say(f"step_{step.name}")
