"""What all tests share: how hard hypothesis searches, marks of costs, PostgreSQL, read messages.

Profiles (HYPOTHESIS_PROFILE) are of the commands. `quick` and `test` look at a few examples of each
property, and at some cases of what is `sampled`. `dev` is the default and what the gate runs: all
cases, thirty examples. `ci` (`make test-all`) searches ten times as far and prints how to repeat a
failure. None has a deadline: one homomorphic operation takes longer on a busy machine than any
fixed limit.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Hashable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, Final

import pytest
import typer.testing
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from gridsecure.store import database, schema
from tests.attacks import MARK, attacked, write_attacks
from tests.browser.chromium import write_left_out
from tests.costs import COSTS, QUICK, REST, SAMPLED, Sampled, begin_with_long, mark_costs
from tests.postgres_server import database_url, postgres_server, postgres_url
from tests.python_leaks import watched_errors
from tests.s3_server import s3_server, s3_url

__all__ = ["attacked", "database_url", "postgres_server", "postgres_url", "s3_server", "s3_url"]

# Making a key set takes a fair part of a second, which hypothesis would call an unhealthy test.
SLOW_INPUTS = [HealthCheck.too_slow]

settings.register_profile("quick", max_examples=5, deadline=None, suppress_health_check=SLOW_INPUTS)
settings.register_profile("test", max_examples=10, deadline=None, suppress_health_check=SLOW_INPUTS)
settings.register_profile("dev", max_examples=30, deadline=None, suppress_health_check=SLOW_INPUTS)
settings.register_profile(
    "ci", max_examples=300, deadline=None, suppress_health_check=SLOW_INPUTS, print_blob=True
)
PROFILE: Final = os.environ.get("HYPOTHESIS_PROFILE", "dev")
settings.load_profile(PROFILE)

GARBAGE: Final = (20_000, 10, 10)
"""How often garbage is looked for: tests make few cycles, and by default a tenth of a run was spent
looking for them."""

EVERY: Final = {"quick": 41, "test": 11}.get(PROFILE, 1)
"""Of how many cases of a sampled matrix one is tried; no round number, which periods would meet."""


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks that tests get from their costs, and look for no garbage while collecting."""
    gc.disable()
    for kind in (*COSTS, QUICK, REST, SAMPLED):
        config.addinivalue_line("markers", f"{kind}: see tests/costs.py")
    config.addinivalue_line("markers", f"{MARK}: see tests/attacks.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its costs, and begin with the longest."""
    mark_costs(items)
    begin_with_long(items)


def pytest_collection_finish() -> None:
    """What was collected stays, so the search for garbage need never look at it again."""
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    gc.enable()


@pytest.fixture
def sampled() -> Sampled:
    """Takes cases of a matrix too large for every run: some under `make test`, all in the gate."""
    return Sampled(EVERY)


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Generator[None]:
    """Typer makes a command and all below it anew for every call: 0.2 s for `gridsecure`."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(typer.testing, "_get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def nobody_waits_for_the_disk() -> Generator[None]:
    """Only the machine itself would have to fail for what was written not to be there.

    A tenth of a test with a database was spent waiting. Processes beside a test wait as ever, and
    tests of what is synchronised, and when, put their own function in place of this one.
    """
    set_up = database._set_up_sqlite

    @wraps(set_up)
    def set_up_at_ease(connection: Any, record: object) -> None:
        set_up(connection, record)
        connection.execute("PRAGMA synchronous = OFF").close()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _descriptor: None)
        patched.setattr(database, "_set_up_sqlite", set_up_at_ease)
        yield


@pytest.fixture(scope="session", autouse=True)
def tables_worded_once() -> Generator[None]:
    """What makes a zone's tables is put into words once, which takes longer than to carry it out.

    A world of a test makes the tables of several zones, each time the same.
    """
    create = schema._create
    worded: dict[object, list[tuple[str, Any]]] = {}

    @wraps(create)
    def create_again(connection: Connection, zone: schema.Schema) -> None:
        key = (connection.dialect.name, zone, tuple(zone.metadata.tables))
        if key not in worded:
            with _noted(connection) as words:
                create(connection, zone)
            worded[key] = words
            return
        for statement, parameters in worded[key]:
            connection.exec_driver_sql(statement, parameters)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "_create", create_again)
        yield


@pytest.fixture(scope="session", autouse=True)
def validators_made_once() -> Generator[None]:
    """FastAPI makes validators of all answers anew for every application, each time the same.

    A tenth of what tests of applications took was that. A field of more than a type, as parameters
    are, is made as ever.
    """
    if "fastapi" not in sys.modules:
        yield
        return
    from fastapi._compat import v2  # noqa: PLC0415 - for tests of applications alone

    make, made = v2.ModelField.__post_init__, dict[object, Any]()
    plain = v2.asdict(v2.FieldInfo(annotation=object, default=v2.Undefined, alias=None))
    del plain["annotation"]

    def make_once(field: Any) -> None:
        told = v2.asdict(field.field_info)
        kind = told.pop("annotation")
        if field.config is not None or told != plain or not isinstance(kind, Hashable):
            make(field)
        elif kind in made:
            field._type_adapter = made[kind]
        else:
            make(field)
            made[kind] = field._type_adapter

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(v2.ModelField, "__post_init__", make_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> Generator[None]:
    """Statements are compiled once for all of a run's SQLite databases: each engine did so anew.

    A tenth of a test with databases was that. All of them are of one driver, version and settings,
    so that what is compiled for one of them is the same for all.
    """
    make, compiled = database._engine, LRUCache[Any, Any](4_000)

    @wraps(make)
    def make_sharing(*given: Any, **named: Any) -> Engine:
        engine = make(*given, **named)
        if engine.dialect.name == "sqlite":
            engine.update_execution_options(compiled_cache=compiled)
        return engine

    def is_alike(one: object, other: object) -> bool:
        return type(one) is type(other)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SQLiteDialect_pysqlite, "__eq__", is_alike)
        patched.setattr(SQLiteDialect_pysqlite, "__hash__", lambda one: hash(type(one)))
        patched.setattr(database, "_engine", make_sharing)
        yield


@contextmanager
def _noted(connection: Connection) -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database in the block."""
    words: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        words.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield words
    finally:
        event.remove(connection, "before_cursor_execute", note)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """No error that a test makes has words of Python in what people read of it."""
    with watched_errors() as found:
        outcome = yield
    assert found == [], "these messages have words of Python in them"
    return outcome


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which attacks were refused by which rule, where all were tried, and what was left out."""
    write_attacks(terminalreporter)
    write_left_out(terminalreporter)
