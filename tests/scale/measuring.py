"""Services at a size: each goes through the same month, and a table says what its requests cost."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import httpx
from fastapi import FastAPI

from gridsecure.compute import job_engines
from tests.scale.authority_world import authority_at
from tests.scale.encryption_world import encryption_at
from tests.scale.filling import Size
from tests.scale.gateway_world import gateway_at
from tests.scale.identity_world import identity_at
from tests.scale.market_world import market_at
from tests.scale.platform_world import HerePool, platform_at
from tests.scale.work_meter import Work, WorkMeter

WORLDS: Final = {
    "platform": platform_at,
    "authority": authority_at,
    "identity": identity_at,
    "gateway": gateway_at,
    "market": market_at,
    "encryption": encryption_at,
}
FACTOR: Final = 2
SLACK_S: Final = 0.005
"""What the time of a request differs by itself [s]."""
SLACK_STEPS: Final = 50
"""Below so many steps a statement of a background thread is nobody's concern."""

LOGS: Final = {
    "identity": ("/registrations", "/enrolments"),
    **dict.fromkeys(("gateway", "platform", "authority", "market", "encryption"), ("",)),
}
AS_LONG_AS_IT_IS: Final = {
    ("identity", "POST", "/person-searches"): "compares the person with everybody who may act",
    **{
        (zone, "GET", f"/log{name}/checkpoint"): "reads a row for each bit of the log's size"
        for zone, names in LOGS.items()
        for name in names
    },
}
"""Requests that read more where there is more, and why."""


@dataclass(frozen=True)
class Measured:
    """A service at one size.

    Args:
        rows: Of every table.
        answers: What the service gave to those who asked it.
    """

    app: FastAPI
    meter: WorkMeter
    rows: dict[str, int]
    answers: list[httpx.Response]


def asks(client: httpx.Client, app: FastAPI) -> bool:
    """Whether a client is one of an application itself, of either kind that there is."""
    transport = getattr(client, "_transport", None)
    return app in (getattr(client, "app", None), getattr(transport, "_app", None))


@contextmanager
def _kept(app: FastAPI) -> Iterator[list[httpx.Response]]:
    """What an application answers meanwhile."""
    plain, kept = httpx.Client.send, list[httpx.Response]()

    def send(client: httpx.Client, request: httpx.Request, **how: Any) -> httpx.Response:
        answer = plain(client, request, **how)
        if asks(client, app):
            kept.append(answer)
        return answer

    with patch.object(httpx.Client, "send", send):
        yield kept


def measure(zone: str, size: Size, folder: Path) -> Measured:
    """Let a service go through its month."""
    meter = WorkMeter()
    with (
        patch.object(job_engines, "WorkerPool", HerePool),
        WORLDS[zone](folder, size, meter) as world,
        _kept(world.app) as answers,
    ):
        gc.collect()
        gc.disable()  # or a request that happens to wake it would seem slow
        try:
            world.run_month()
        finally:
            gc.enable()
    return Measured(world.app, meter, world.rows, answers)


Request = tuple[str, str, str]


def grown_tables(small: Measured, large: Measured) -> set[str]:
    """Tables that the large service has more of."""
    return {name for name, rows in large.rows.items() if rows > FACTOR * small.rows[name]}


def list_growing(small: Measured, large: Measured) -> dict[Request, str]:
    """Requests that read more rows where there is more, or all of a table that grows."""
    grew, found = grown_tables(small, large), {}
    for key in large.meter.requests.keys() - AS_LONG_AS_IT_IS.keys():
        few, many = small.meter.requests[key], large.meter.requests[key]
        if scanned := grew & many.scans.keys():
            found[key] = f"reads all of {', '.join(sorted(scanned))}"
        elif many.steps > FACTOR * few.steps:
            found[key] = f"reads {few.steps:,} rows, years later {many.steps:,}"
    return found


def list_slower(small: Measured, large: Measured) -> dict[Request, str]:
    """Requests that take longer where there is more."""
    requests, before = large.meter.requests, small.meter.requests
    return {
        key: f"takes {before[key].cpu * 1e3:.1f} ms, years later {requests[key].cpu * 1e3:.1f}"
        for key in requests.keys() - AS_LONG_AS_IT_IS.keys()
        if requests[key].cpu > FACTOR * before[key].cpu + SLACK_S
    }


def list_background(small: Measured, large: Measured) -> dict[str, str]:
    """Statements of background threads that read more rows where there is more."""
    grew, found = grown_tables(small, large), {}
    for statement, many in large.meter.background.items():
        few = small.meter.background.get(statement, Work())
        if grew & many.scans.keys() or many.steps > FACTOR * max(few.steps, SLACK_STEPS):
            found[statement] = f"reads {few.steps:,} rows, years later {many.steps:,}"
    return found


def tabulate(small: Measured, large: Measured) -> str:
    """What every request cost at both sizes, as a table in Markdown."""
    lines = [
        "| request | steps | steps, years later | time [ms] | time, years later [ms] |",
        "|---|---:|---:|---:|---:|",
    ]
    for key in sorted(large.meter.requests):
        few, many = small.meter.requests[key], large.meter.requests[key]
        times = f"{few.cpu * 1e3:.1f} | {many.cpu * 1e3:.1f}"
        lines.append(f"| {' '.join(key)} | {few.steps:,} | {many.steps:,} | {times} |")
    return "\n".join(lines)
