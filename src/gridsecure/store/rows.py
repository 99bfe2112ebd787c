"""Rows of typed tables: kept once, found by a key, moved by compare-and-set.

A kept row's content never changes. Keeping the same again is idempotent; other content under a key
that is taken is a conflict. Only what a table declares as its state moves, by compare-and-set, so
that two processes cannot both take one job and a killed process leaves either the old state or the
new one.

Groups of rows are kept whole or not at all, and none is hurt by another. All of them are looked up
and written in few statements. On a database that lets two processes look first (PostgreSQL), the
loser of a race is told by the unique index; then the groups are written one by one, each behind a
savepoint, and the loser looks once more, now sees who won, and is refused alone or finds its own
content there. Give groups in an order that every process uses, best by key: two transactions that
wait for each other's rows in opposite orders would both stand still until the database ends one of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any, ClassVar, Final, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Dialect,
    Engine,
    Table,
    UniqueConstraint,
    and_,
    event,
    inspect,
    or_,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, Session, SQLModel, insert, select, update

from gridsecure.errors import ConflictError, InvalidMessageError, NotFoundError, StorageError
from gridsecure.messages import Signed
from gridsecure.store.database import write_session

MAX_INDEXED_BYTES: Final = 2400
"""Longest text of one index, all its columns together: PostgreSQL takes 2.7 kB a row."""

_LOOKS: Final = 2
_LIMIT: Final = 2**31 - 1  # of a whole number, unless its column is wide
_PORTION: Final = 500  # keys in one query; databases limit how many values a statement may have


class Moment(TypeDecorator[datetime]):
    """A moment: aware as it goes in, aware and in UTC as it comes out.

    SQLite has no such type. There it is a text in UTC of one length, which sorts as time does.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn a moment into what the database takes."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        at = value.astimezone(UTC)
        # SQLite keeps no zone; UTC is implied there, so that texts sort as times.
        return at.replace(tzinfo=None) if dialect.name == "sqlite" else at

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Turn what the database gives into a moment."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Kept(SQLModel):
    """Marks a table whose rows never change but for their state.

    Attributes:
        SAME: The columns that make a row the same as one that is there, so that keeping it again
            changes nothing: its key, and the digest of what its key promises.
    """

    SAME: ClassVar[tuple[str, ...]]

    @classmethod
    def draft(cls, **values: object) -> Draft:
        """A row that is to be kept beside many others.

        Args:
            values: What each column holds, but a number that the database gives.

        Raises:
            ValueError: Other columns than the table's.
        """
        if values.keys() != _names(cls):
            raise ValueError(f"a {kind_of(cls)} has other columns")
        return Draft(cls, values)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a row of a table holds: to make an object of each of many costs more than to keep it."""

    table: type[Kept]
    values: Mapping[str, object]


def as_draft(row: Kept) -> Draft:
    """What a row holds; a number that the database gives is left to it."""
    made = _made(type(row))
    values = {column.name: getattr(row, column.name) for column in made.columns}
    number = made.autoincrement_column
    if number is not None and values[number.name] is None:
        del values[number.name]
    return Draft(type(row), values)


class SignedKept(Kept):
    """Marks a table whose rows hold a signed message, as the text that was signed."""

    message: str
    at: datetime = Field(sa_type=Moment)

    @property
    def envelope(self) -> Signed:
        """The message, read."""
        return Signed.parse(self.message)


@event.listens_for(Kept, "before_update", propagate=True)
def _refuse_change(_mapper: object, _connection: object, row: Any) -> None:
    """Refuse what a session would write because somebody set an attribute of a row it read."""
    if inspect(row).session.is_modified(row):
        raise AssertionError(f"a kept {kind_of(type(row))} was changed; use advance()")


_Row = TypeVar("_Row", bound=SQLModel)


def kind_of(table: type[SQLModel]) -> str:
    """What rows of a table are called in reason codes: `query_tag` holds a query-tag."""
    return str(table.__tablename__).replace("_", "-")


def keep(session: Session, row: Kept) -> bool:
    """Keep a row; say whether it is new.

    Raises:
        ConflictError: One of its unique keys is taken by other content (`conflict.<kind>`).
        InvalidMessageError: It holds what not every database can keep (`storage.text`).
    """
    table, draft = type(row), as_draft(row)
    _check(draft)
    clashes = _clashes(row)
    found = session.exec(select(table).where(or_(*clashes))).all() if clashes else ()
    if any(_is_same(draft, as_draft(other)) for other in found):
        return False
    if found:
        raise _taken(table)
    session.execute(insert(table), [draft.values])
    return True


def keep_once(
    engine: Engine, row: Kept, *, also: Callable[[Session], object] = lambda _session: None
) -> bool:
    """Keep a row in a transaction of its own; where another process came first, look again.

    A loser on a database that lets both look first (PostgreSQL) is told by the unique index.

    Args:
        also: What is written with a new row, in the same transaction.

    Returns:
        Whether it is new.

    Raises:
        ConflictError: As `keep`.
    """

    def attempt() -> bool:
        with write_session(engine) as session:
            if is_new := keep(session, row):
                also(session)
            return is_new

    try:
        return attempt()
    except StorageError as failed:
        # Only a lost race is tried again; the second look finds the winner's row, the same or
        # another.
        if not isinstance(failed.__cause__, IntegrityError):
            raise
    return attempt()


def keep_all(session: Session, rows: Sequence[Draft]) -> None:
    """Keep rows in few statements, all of them or none.

    Args:
        session: From `write_session`.

    Raises:
        ConflictError: A key of one of them is taken by other content (`conflict.<kind>`).
        InvalidMessageError: As `keep`.
    """
    (outcome,) = keep_groups(session, [rows])
    if isinstance(outcome, ConflictError):
        raise outcome


def keep_groups(
    session: Session, groups: Sequence[Sequence[Draft]]
) -> list[list[bool] | ConflictError]:
    """Keep groups of rows; say for each row of a group whether it is new.

    Args:
        session: From `write_session`, with everything flushed.
        groups: The groups, in an order all processes use.

    Returns:
        By group, whether each row is new, or why none of the group was kept (`conflict.<kind>`).

    Raises:
        InvalidMessageError: As `keep`.
        StorageError: A group lost its race twice (`storage.busy`).
    """
    rows = [row for group in groups for row in group]
    for row in rows:
        _check(row)
    known = _find_clashing(session, rows)
    outcomes: list[list[bool] | ConflictError] = []
    new: dict[type[Kept], list[Mapping[str, object]]] = {}
    for group in groups:
        outcome, added = _place_group(group, known)
        outcomes.append(outcome)
        for row in added:
            new.setdefault(row.table, []).append(row.values)
            known |= dict.fromkeys(_taken_keys(row), row)
    try:
        with session.begin_nested():
            for table, values in new.items():
                session.execute(_made(table).insert(), values)
    except IntegrityError:  # another process was faster with one of them
        return [_keep_group(session, group) for group in groups]
    return outcomes


def find(session: Session, table: type[_Row], **key: object) -> _Row | None:
    """The row with these values in these columns, or None."""
    return session.exec(select(table).filter_by(**key)).first()


def load_row(session: Session, table: type[_Row], **key: object) -> _Row:
    """The row with these values in these columns.

    Raises:
        NotFoundError: There is none (`not-found.<kind>`).
    """
    row = find(session, table, **key)
    if row is None:
        kind = kind_of(table)
        raise NotFoundError(f"There is no {kind} of that name here.", reason=f"not-found.{kind}")
    return row


def find_many(
    session: Session,
    table: type[_Row],
    values: Sequence[str],
    *wanted: bool | ColumnElement[bool],
    by: str,
) -> dict[str, _Row]:
    """Those rows that there are, by one of their columns.

    Args:
        values: What the column may hold.
        wanted: What else holds for them.
        by: The column; it has an index.
    """
    return {getattr(row, by): row for row in find_each(session, table, values, *wanted, by=by)}


def find_each(
    session: Session,
    table: type[_Row],
    values: Sequence[str],
    *wanted: bool | ColumnElement[bool],
    by: str,
) -> Iterator[_Row]:
    """As `find_many`, where several rows may hold the same; read afresh after `replace_all`."""
    for start in range(0, len(values), _PORTION):
        portion = getattr(table, by).in_(values[start : start + _PORTION])
        found = select(table).where(portion, *wanted).execution_options(populate_existing=True)
        yield from session.exec(found)


def replace_all(
    session: Session, table: type[SQLModel], rows: Sequence[Mapping[str, object]], *, by: str
) -> None:
    """Write rows of a table that may change, each in place of an earlier one.

    Args:
        session: From `write_session`.
        rows: What each column of each row holds.
        by: The column whose value no two rows have; no other table refers to it.
    """
    made = _made(table)
    for start in range(0, len(rows), _PORTION):
        names = [row[by] for row in rows[start : start + _PORTION]]
        session.execute(made.delete().where(made.columns[by].in_(names)))
    if rows:
        session.execute(made.insert(), rows)


def insert_all(
    session: Session, table: type[SQLModel], rows: Iterable[Mapping[str, object]]
) -> None:
    """Insert plain values, portion by portion; as objects of a session they cost twice as much.

    Args:
        session: From `write_session`, with what they refer to flushed.
        rows: What each column of each row holds, but a number that the database gives.
    """
    made, left = _made(table).insert(), iter(rows)
    while portion := list(islice(left, _PORTION)):
        session.execute(made, portion)


def advance(
    session: Session, table: type[SQLModel], *, source: str, target: str, **key: object
) -> bool:
    """Move a row's `state` from one to another; False when it was not in the source state.

    Args:
        session: From `write_session`.
        source: The state it has to be in.
    """
    # Compare and set in one statement: of two processes, one finds the source state and wins.
    moved = session.exec(update(table).filter_by(**key, state=source).values(state=target))
    session.expire_all()  # what was read of it before is outdated
    return bool(moved.rowcount)


def _check(row: Draft) -> None:
    """Refuse on every database what one of them cannot keep.

    Raises:
        InvalidMessageError: The texts of an index are too long, a text holds a zero byte, or a
            number is too great for its column (`storage.text`).
    """
    table, values = row.table, row.values
    written, too_great = "", False
    for name, value in values.items():
        if isinstance(value, str):
            written += value
        elif isinstance(value, int) and not -_LIMIT <= value <= _LIMIT:
            too_great |= abs(value) > _greatest(table, name)
    # A letter has four bytes at most, so of few letters no index is too long.
    too_long = 4 * len(written) > MAX_INDEXED_BYTES and any(
        sum(len(text.encode()) for name in index if isinstance(text := values.get(name), str))
        > MAX_INDEXED_BYTES
        for index in _indexes(table)
    )
    if too_long or too_great or "\0" in written:
        raise InvalidMessageError(
            f"A {kind_of(table)} holds a value that is too long or that no database keeps.",
            reason="storage.text",
            remedy="Shorten its name and leave control characters out.",
        )


def _greatest(table: type[Kept], name: str) -> int:
    """The greatest whole number of a column, as PostgreSQL has it."""
    return 2**63 - 1 if isinstance(_made(table).columns[name].type, BigInteger) else _LIMIT


_Key = tuple[type[Kept], tuple[str, ...], tuple[object, ...]]
"""A table, some of its columns, and what a row has in them."""


def _taken_keys(row: Draft) -> list[_Key]:
    """The unique keys that a row has; one with nothing in it is none."""
    table, held = row.table, row.values
    keys = ((key, tuple([held[name] for name in key])) for key in _keys(table))
    return [(table, key, values) for key, values in keys if None not in values]


def _find_clashing(session: Session, rows: Sequence[Draft]) -> dict[_Key, Draft]:
    """What the database has under the unique keys of some rows."""
    wanted: dict[tuple[type[Kept], tuple[str, ...]], dict[tuple[object, ...], None]] = {}
    for row in rows:
        for table, key, values in _taken_keys(row):
            wanted.setdefault((table, key), {})[values] = None
    known: dict[_Key, Draft] = {}
    for (table, key), several in wanted.items():
        for question in _questions(_made(table), key, list(several)):
            for found in session.execute(_made(table).select().where(question)).mappings():
                row = Draft(table, dict(found))
                known |= dict.fromkeys(_taken_keys(row), row)
    return known


def _questions(
    made: Table, key: tuple[str, ...], several: Sequence[tuple[object, ...]]
) -> Iterator[ColumnElement[bool]]:
    """What together asks for several values of a key: a list of one column, the others equal.

    No tuples in a list: SQLite would read the whole table, and finds these by the index. And no
    alternatives: each is an expression of its own, which costs more than what it finds.
    """
    at = max(range(len(key)), key=lambda place: len({values[place] for values in several}))
    parts: dict[tuple[object, ...], list[object]] = {}
    for values in several:
        parts.setdefault(values[:at] + values[at + 1 :], []).append(values[at])
    rest = key[:at] + key[at + 1 :]
    for others, members in parts.items():
        equal = [made.columns[name] == value for name, value in zip(rest, others, strict=True)]
        for start in range(0, len(members), _PORTION):
            yield and_(made.columns[key[at]].in_(members[start : start + _PORTION]), *equal)


def _place_group(
    group: Sequence[Draft], known: Mapping[_Key, Draft]
) -> tuple[list[bool] | ConflictError, list[Draft]]:
    """Whether each row of a group is new, or the conflict; and the rows to write."""
    own: dict[_Key, Draft] = {}
    outcome: list[bool] = []
    added: list[Draft] = []
    for row in group:
        keys = _taken_keys(row)
        found = [other for key in keys if (other := own.get(key) or known.get(key)) is not None]
        is_new = not any(_is_same(row, other) for other in found)
        if is_new and found:
            return _taken(row.table), []
        if is_new:
            added.append(row)
            own |= dict.fromkeys(keys, row)
        outcome.append(is_new)
    return outcome, added


def _keep_group(session: Session, group: Sequence[Draft]) -> list[bool] | ConflictError:
    for _ in range(_LOOKS):
        try:
            with session.begin_nested():
                return [keep(session, row.table(**row.values)) for row in group]
        except ConflictError as taken:
            return taken
        except IntegrityError:
            continue
    raise StorageError(
        "Other processes changed the database first at every attempt.",
        reason="storage.busy",
        remedy="Try again.",
    )


def _taken(table: type[SQLModel]) -> ConflictError:
    kind = kind_of(table)
    return ConflictError(
        f"Another {kind} was recorded here before.",
        reason=f"conflict.{kind}",
        remedy="Keep the earlier one, or correct it through a new version.",
    )


def _is_same(row: Draft, other: Draft) -> bool:
    return all(row.values[name] == other.values[name] for name in row.table.SAME)


def _clashes(row: SQLModel) -> list[ColumnElement[bool]]:
    """For each unique key, that another row has it; a key with nothing in it clashes with none."""
    table = type(row)
    return [
        and_(*(getattr(table, name) == getattr(row, name) for name in key))
        for key in _keys(table)
        if all(getattr(row, name) is not None for name in key)
    ]


def _made(table: type[SQLModel]) -> Table:
    made: Table = table.__table__  # type: ignore[attr-defined] # SQLModel makes it
    return made


@cache
def _names(table: type[SQLModel]) -> frozenset[str]:
    """The columns of a table, but a number that the database gives."""
    made = _made(table)
    return frozenset(one.name for one in made.columns if one is not made.autoincrement_column)


@cache
def _keys(table: type[SQLModel]) -> tuple[tuple[str, ...], ...]:
    """The unique keys of a table; a number that the database gives is none of them."""
    made = _made(table)
    primary = tuple(column.name for column in made.primary_key)
    unique = tuple(
        tuple(column.name for column in constraint.columns)
        for constraint in made.constraints
        if isinstance(constraint, UniqueConstraint)
    )
    return unique if made.autoincrement_column is not None else (primary, *unique)


@cache
def _indexes(table: type[SQLModel]) -> tuple[tuple[str, ...], ...]:
    plain = tuple(tuple(column.name for column in index.columns) for index in _made(table).indexes)
    return _keys(table) + plain
