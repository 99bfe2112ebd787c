"""No request costs more because there were years before it: rows read, plans and time.

Each service is filled at two sizes and goes through the same month, in which every one of its
routes is asked for at least once. `make scale` does so at full size.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from gridsecure.store.database import open_database
from tests.apps.described_answers import Described
from tests.scale.filling import Size
from tests.scale.measuring import (
    AS_LONG_AS_IT_IS,
    FACTOR,
    SLACK_STEPS,
    WORLDS,
    Measured,
    grown_tables,
    list_background,
    list_growing,
    list_slower,
    measure,
    tabulate,
)
from tests.scale.work_meter import Work, WorkMeter

SMALL: Final = Size(uploads=72, seats=500, claims=500, entries=500)
LARGE: Final = Size(uploads=7_200, seats=50_000, claims=50_000, entries=50_000)

SIGNED_IN_TURN: Final = {
    ("Sm2PrivateKey.sign", "gridsecure.gateway.outbox._sign"),
    ("Sm2PrivateKey.sign", "gridsecure.released_values.sign_certificate"),
    ("Sm2PrivateKey.sign", "gridsecure.key_authority.checker.shadows._record"),
    ("Sm2PrivateKey.sign", "gridsecure.transparency.checkpoints.sign"),
}
"""These say which entry of the log they are, or which upload of their gateway, so they are signed
when that is written."""

PUBLIC: Final = frozenset({"/about", "/health", "/ready", "/reasons/{code}"})
"""Routes of every service that have no store."""

Pair = tuple[str, Measured, Measured]


@pytest.fixture(scope="module", params=list(WORLDS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    zone: str = request.param
    small, large = (measure(zone, size, tmp_path_factory.mktemp(zone)) for size in (SMALL, LARGE))
    return zone, small, large


def test_no_request_was_forgotten(pair: Pair) -> None:
    zone, small, large = pair
    routes = {
        (zone, method.upper(), path)
        for path, methods in small.app.openapi()["paths"].items()
        if path not in PUBLIC
        for method in methods
    }
    assert small.meter.requests.keys() == large.meter.requests.keys() == routes


def test_what_was_answered_is_what_the_api_page_says(pair: Pair) -> None:
    _, small, _ = pair
    described = Described(small.app)
    for answer in small.answers:
        request = answer.request
        fault = described.check(request.method, request.url.path, answer)
        assert fault == "", (request.method, request.url.path)
    asked = {(method, route) for _, method, route in small.meter.requests}
    assert asked <= described.held


def test_the_meter_sees_what_it_counts(pair: Pair, tmp_path: Path) -> None:
    """All else is an upper bound, which a meter that sees nothing would keep."""
    zone, small, large = pair
    works = large.meter.requests.values()
    assert max(work.steps for work in works) > 100
    assert 1 in {work.connections for work in works}
    assert max(work.cpu for work in works) > 0
    held = small.meter.held_over | large.meter.held_over
    assert bool(held & SIGNED_IN_TURN) == (zone in {"authority", "gateway"})
    assert max(work.steps for work in large.meter.background.values()) > 0
    planted, engine = WorkMeter(), open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    with planted.counting(), engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE grows (id INTEGER)")
        connection.exec_driver_sql("SELECT * FROM grows")
    engine.dispose()
    assert planted.background["SELECT * FROM grows"].scans == {"grows": "SELECT * FROM grows"}


def test_requests_read_as_many_rows_whatever_there_is(pair: Pair) -> None:
    _, small, large = pair
    assert "evidence" in grown_tables(small, large)
    assert list_growing(small, large) == {}, tabulate(small, large)


def test_requests_hold_one_connection_at_a_time(pair: Pair) -> None:
    for key, work in pair[1].meter.requests.items():
        assert work.connections <= 1, key


def test_nobody_waits_for_a_computation(pair: Pair) -> None:
    _, small, large = pair
    assert (small.meter.held_over | large.meter.held_over) - SIGNED_IN_TURN == set()


def test_requests_take_as_long_whatever_there_is(pair: Pair, tmp_path: Path) -> None:
    zone, small, large = pair
    slower = set(list_slower(small, large))
    if slower:  # once more, because a busy machine takes its time for anything
        slower &= list_slower(small, measure(zone, LARGE, tmp_path)).keys()
    assert slower == set(), tabulate(small, large)


def test_background_work_reads_as_many_rows_whatever_there_is(pair: Pair) -> None:
    _, small, large = pair
    assert list_background(small, large) == {}


def test_what_reads_or_takes_more_is_named(pair: Pair) -> None:
    """Of two that are the same but for what was planted in one."""
    _, small, large = pair
    kept = [key for key in small.meter.requests if key not in AS_LONG_AS_IT_IS]
    reader, scanner, sleeper = kept[:3]
    meter = WorkMeter()
    meter.requests |= {key: copy(work) for key, work in small.meter.requests.items()}
    meter.requests[reader].steps = FACTOR * (small.meter.requests[reader].steps + 1)
    meter.requests[scanner].scans = {"evidence": "SELECT"}
    meter.requests[sleeper].cpu = FACTOR * small.meter.requests[sleeper].cpu + 1
    meter.background["SELECT"] = Work(steps=FACTOR * SLACK_STEPS + 1)
    planted = replace(large, meter=meter)
    assert list_growing(small, planted).keys() == {reader, scanner}
    assert list_slower(small, planted).keys() == {sleeper}
    assert list_background(small, planted).keys() == {"SELECT"}
