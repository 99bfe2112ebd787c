"""Filling a zone's database with years of rows, shaped as real ones are, in seconds.

The database makes the rows itself, from a table of numbers; names of 64 hexadecimal digits follow
from a number and rise with it. So ten million rows take a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    String,
    cast,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
)
from sqlmodel import SQLModel

from gridsecure.store.evidence import EvidenceRow, NodeRow

AT: Final = datetime(2025, 1, 1, tzinfo=UTC)
_STARTS: Final = [f"{y}-{m:02d}-01T00:00:00+08:00" for y in range(2023, 2026) for m in range(1, 13)]
MONTHS: Final = list(zip(_STARTS, [*_STARTS[1:], "2026-01-01T00:00:00+08:00"], strict=True))
"""The months that were billed before the one that requests are about."""


@dataclass(frozen=True)
class Size:
    """How much of everything there is.

    Args:
        uploads: Uploads of all months before.
        seats: Seats, registrations, accounts.
        claims: What was released once.
        entries: Entries of each evidence log.
    """

    uploads: int
    seats: int
    claims: int
    entries: int


Number = ColumnElement[int]


def digits(number: Number) -> ColumnElement[str]:
    """A number as nine digits."""
    return func.substr(cast(number + 1_000_000_000, String), 2)


def name(tag: str, number: Number) -> ColumnElement[str]:
    """A name of 64 hexadecimal digits."""
    begins = f"{sum(tag.encode()) % 4096:03x}"
    return literal(begins) + digits(number) + literal("c0ffee" * 8 + "c0de")


@contextmanager
def filled(engine: Engine) -> Iterator[Connection]:
    """A connection that fills in one transaction, without waiting for the disk."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            for pragma in ("synchronous = OFF", "foreign_keys = OFF", "cache_size = -500000"):
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql(f"PRAGMA {pragma}")
                connection.exec_driver_sql("BEGIN")
        yield connection
        connection.commit()
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":  # as it does by itself; SQLite never does
            connection.exec_driver_sql("ANALYZE")
        connection.commit()
    engine.dispose()  # pragmas end with their connection
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:  # or the first request that writes would wait for it
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("BEGIN")
        engine.dispose()


def count_rows(engine: Engine) -> dict[str, int]:
    """How many rows each table has."""
    with engine.connect() as connection:
        return {
            table: connection.execute(select(func.count()).select_from(text(table))).scalar_one()
            for table in inspect(connection).get_table_names()
        }


def numbers(count: int, *, first: int = 0) -> Number:
    """A table of so many numbers; rows are made of them."""
    begin = select(literal(first).label("n")).where(literal(count) > 0)
    found = begin.cte("numbers", recursive=True)
    return found.union_all(select(found.c.n + 1).where(found.c.n < first + count - 1)).c.n


def fill(connection: Connection, table: type[SQLModel], number: Number, /, **values: Any) -> None:
    """Insert a row for each number.

    Args:
        number: From `numbers`.
        values: By column a constant, or an expression of the number.
    """
    columns = table.__table__.columns
    row = [
        value if isinstance(value, ColumnElement) else literal(value, columns[key].type)
        for key, value in values.items()
    ]
    rows = select(*row).select_from(number.table)
    connection.execute(insert(table).from_select(list(values), rows))


def fill_evidence(
    connection: Connection,
    count: int,
    action: str,
    *,
    first: int = 0,
    detail: ColumnElement[str] | None = None,
) -> None:
    """Entries of a log and the nodes of its tree, whose hashes are of nothing.

    Args:
        first: The index of the first.
        detail: What each says; a digest of its own by default.
    """
    n = numbers(count, first=first)
    fill(
        connection,
        EvidenceRow,
        n,
        index=n,
        at="2025-01-01T00:00:00.000000+00:00",
        actor="platform",
        action=action,
        detail=literal('{"digest":"') + name("entry", n) + literal('"}')
        if detail is None
        else detail,
        previous="",
        hash=name("hash", n),
        salt="ab" * 16,
    )
    size = first + count
    for level in range(1, size.bit_length()):
        begin = first >> level
        of_level = numbers((size >> level) - begin, first=begin)
        place = of_level * (1 << (level + 1)) + ((1 << level) - 1)
        fill(connection, NodeRow, of_level, place=place, hash=bytes(32))
