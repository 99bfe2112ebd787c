"""No request costs more because there were years before it: rows read, plans and time.

Each service is filled at two sizes and goes through the same month, in which every one of its
routes is asked for at least once. `python -m tests.scale` (`make scale`) does so at full size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from fastapi import FastAPI

from gridsecure.compute import crew
from tests.scale.filling import Size
from tests.scale.platform_world import HerePool, platform_at
from tests.scale.work_meter import Work, WorkMeter

SMALL: Final = Size(uploads=72, seats=1_000, claims=1_000, entries=1_000)
LARGE: Final = Size(uploads=7_200, seats=100_000, claims=100_000, entries=100_000)
WORLDS: Final = {"platform": platform_at}
FACTOR: Final = 2
SLACK_S: Final = 0.005
"""What the time of a request differs by itself [s]."""

LISTS: Final = frozenset({("platform", "GET", "/runs")})
"""Lists without pages: as long as what they list."""

PUBLIC: Final = frozenset({"/about", "/health", "/reasons/{code}"})
"""Routes of every service that have no store."""


@dataclass(frozen=True)
class Measured:
    """A service at one size.

    Args:
        rows: Of every table.
    """

    app: FastAPI
    meter: WorkMeter
    rows: dict[str, int]


@contextmanager
def measured(zone: str, size: Size, folder: Path) -> Iterator[Measured]:
    """A service that went through its month."""
    meter = WorkMeter()
    with WORLDS[zone](folder, size, meter) as world:
        world.run_month()
        yield Measured(world.app, meter, world.rows)


@pytest.fixture(scope="module", params=list(WORLDS))
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Measured, Measured]]:
    zone = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crew, "WorkerPool", HerePool)
        found = []
        for size in (SMALL, LARGE):
            with measured(zone, size, tmp_path_factory.mktemp(zone)) as one:
                found.append(one)
        yield zone, *found


def growing(small: Measured, large: Measured) -> set[str]:
    """Tables that the large service has more of."""
    return {name for name, rows in large.rows.items() if rows > FACTOR * small.rows[name]}


def test_no_request_was_forgotten(pair) -> None:
    zone, small, large = pair
    routes = {
        (zone, method.upper(), path)
        for path, methods in small.app.openapi()["paths"].items()
        if path not in PUBLIC
        for method in methods
    }
    assert small.meter.requests.keys() == large.meter.requests.keys() == routes


def test_requests_read_as_many_rows_whatever_there_is(pair) -> None:
    _, small, large = pair
    grew = growing(small, large)
    assert {"upload", "seat", "evidence"} & grew
    for key in large.meter.requests.keys() - LISTS:
        few, many = small.meter.requests[key], large.meter.requests[key]
        assert 0 < many.steps <= FACTOR * few.steps or few.steps == many.steps == 0, key
        assert {name: sql for name, sql in many.scans.items() if name in grew} == {}, key


def test_requests_take_as_long_whatever_there_is(pair) -> None:
    _, small, large = pair
    for key in large.meter.requests.keys() - LISTS:
        few, many = small.meter.requests[key], large.meter.requests[key]
        assert many.cpu <= FACTOR * few.cpu + SLACK_S, key


def test_background_work_reads_as_many_rows_whatever_there_is(pair) -> None:
    _, small, large = pair
    grew = growing(small, large)
    for statement, many in large.meter.background.items():
        few = small.meter.background.get(statement, Work())
        assert many.steps <= FACTOR * max(few.steps, 50), statement
        assert not grew & many.scans.keys(), statement
