"""Connections are kept for the next request, and a process has so many and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event, text
from sqlalchemy.pool import Pool

from gridsecure.errors import ConflictError, StorageError
from gridsecure.store import database
from gridsecure.store.database import (
    open_database,
    read_session,
    sole_session,
    write_session,
)
from tests.apps.zone_apps import bearer, platform_app

ALLOWED = 3
REQUESTS = 24


@pytest.fixture
def opened() -> Iterator[list[object]]:
    """Every connection that is made."""
    made: list[object] = []

    def note(connection: object, _record: object) -> None:
        made.append(connection)

    event.listen(Pool, "connect", note)
    yield made
    event.remove(Pool, "connect", note)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url, connections=ALLOWED)
    yield made
    made.dispose()


def in_use(engine: Engine) -> int:
    return engine.pool.checkedout()


def ask(engine: Engine, number: int) -> str:
    """One session; some write, some break, some send nonsense."""
    opened = write_session if number % 3 == 0 else read_session
    try:
        with opened(engine) as session:
            session.execute(text("SELECT 1" if number % 4 else "SELECT nonsense"))
            if number % 5 == 0:
                raise KeyError("a bug of ours")
    except (StorageError, KeyError) as failed:
        return type(failed).__name__
    return "done"


def test_sessions_share_the_connections_and_leak_none(opened: list[object], engine: Engine) -> None:
    with ThreadPoolExecutor(REQUESTS) as threads:
        outcomes = list(threads.map(lambda number: ask(engine, number), range(4 * REQUESTS)))
    assert {"done", "StorageError", "KeyError"} == set(outcomes)
    assert len(opened) <= ALLOWED
    assert in_use(engine) == 0


def test_who_finds_no_connection_waits_and_is_refused(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    engine = open_database(database_url, connections=1)
    with read_session(engine) as holding:
        holding.execute(text("SELECT 1"))
        for other in (read_session, write_session):
            with pytest.raises(StorageError) as refused, other(engine) as session:
                session.execute(text("SELECT 1"))
            assert refused.value.reason == "storage.busy"
    with read_session(engine) as session:
        assert session.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_requests_at_once_share_a_services_connections(
    opened: list[object], tmp_path: Path
) -> None:
    app = platform_app(tmp_path, connections=ALLOWED)
    together = threading.Barrier(REQUESTS)
    operator = bearer("platform", "operator")

    def status(number: int) -> int:
        together.wait()
        path = "/status" if number % 3 else "/runs/unknown"
        return client.get(path, headers=operator).status_code

    with TestClient(app) as client, ThreadPoolExecutor(REQUESTS) as threads:
        answers = list(threads.map(status, range(REQUESTS)))
        assert sorted(answers) == [200] * (REQUESTS * 2 // 3) + [404] * (REQUESTS // 3)
        assert len(opened) <= ALLOWED
        assert in_use(app.state.platform.zone.engine) <= 1  # the crew may be looking for work


def test_who_is_to_be_alone_is_refused_while_another_has_the_database_open(
    engine: Engine, database_url: str
) -> None:
    other = open_database(database_url)
    with pytest.raises(ConflictError) as refused, sole_session(engine):
        pass
    assert refused.value.reason == "storage.in-use"
    with write_session(other) as session:  # who has it open goes on
        session.execute(text("CREATE TABLE kept (number INTEGER)"))
    other.dispose()
    with sole_session(engine) as session:
        session.execute(text("INSERT INTO kept VALUES (1)"))
    with read_session(engine) as session:  # and afterwards it is as before
        assert session.execute(text("SELECT number FROM kept")).scalars().all() == [1]
    later = open_database(database_url)
    with write_session(later) as session:
        session.execute(text("INSERT INTO kept VALUES (2)"))
    later.dispose()
