"""The books in the database: read as of a revision, changed by one revision after another.

A change never rewrites what was so: rows that it takes out say until which revision they were in
the books, and rows that it enters say from which one. So the books of any revision can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from gridsecure.errors import ConflictError
from gridsecure.gateway.books.facts import (
    CONTRACT_NUMBERS,
    CONTRACT_TEXTS,
    KINDS,
    Fact,
    Kind,
    MeterPoint,
)
from gridsecure.gateway.tables import (
    CURRENT,
    BooksRevisionRow,
    ContractRow,
    DatedRow,
    HoldingRow,
    InstalledMeterRow,
)
from gridsecure.gateway.zone import GatewayZone, IntakeZone
from gridsecure.periods import BillingPeriod
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.store.rows import find, insert_all, keep, load_row

TABLES: Final[Mapping[Kind, type[DatedRow]]] = {
    "account": HoldingRow,
    "meter": InstalledMeterRow,
    "contract": ContractRow,
}
VALUES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "account": ("account", "holder"),
    "meter": ("meter", "multiplier", "first_face_wh", "final_face_wh", "register_hours"),
    "contract": (*CONTRACT_TEXTS, *CONTRACT_NUMBERS),
}
_PORTION: Final = 500  # names in one query; databases limit how many values a statement may have


@dataclass(frozen=True, slots=True)
class Change:
    """What an import makes of the books.

    Args:
        base: The revision that it was compared with.
        digest: Names import and revision.
        added: Meter points that were not in the books.
        changed: Lines that change what was there.
        ended: Meter points that nobody holds any more.
        gone: Rows that are taken out, by kind.
        new: Facts that are entered, by kind, each with its meter point.
    """

    base: int
    digest: str
    added: int = 0
    changed: int = 0
    ended: int = 0
    gone: Mapping[Kind, Sequence[int]] = field(default_factory=dict)
    new: Mapping[Kind, Sequence[tuple[str, Fact]]] = field(default_factory=dict)


def newest_revision(zone: GatewayZone) -> int:
    """The number of the change that came last; 0 before there is one."""
    with read_session(zone.engine) as session:
        return revision_in(session)


def revision_in(session: Session) -> int:
    """As `newest_revision`, in a session."""
    return session.exec(select(func.max(col(BooksRevisionRow.number)))).one() or 0


def find_revision(zone: GatewayZone, digest: str) -> BooksRevisionRow | None:
    """The change that an import made, or None."""
    with read_session(zone.engine) as session:
        return find(session, BooksRevisionRow, digest=digest)


def read_meter_points(zone: GatewayZone, names: Iterable[str]) -> dict[str, MeterPoint]:
    """What the books say now of some meter points, of those that they know."""
    with read_session(zone.engine) as session:
        return meter_points_in(session, names)


def meter_points_in(session: Session, names: Iterable[str]) -> dict[str, MeterPoint]:
    """As `read_meter_points`, in a session."""
    wanted = sorted(set(names))
    found: dict[str, dict[Kind, list[Fact]]] = {}
    for start in range(0, len(wanted), _PORTION):
        portion = wanted[start : start + _PORTION]
        for kind, table in TABLES.items():
            columns = ("meter_point_id", "valid_from", "valid_to", "id", *VALUES[kind])
            # Columns and no objects: a book of a month has a row of each table a meter point.
            own = select(*(col(getattr(table, name)) for name in columns)).where(
                col(table.until_revision) == CURRENT, col(table.meter_point_id).in_(portion)
            )
            for name, start_day, end_day, number, *values in session.execute(own):
                said = dict(zip(VALUES[kind], values, strict=True))
                fact = Fact(start_day, end_day, said, number)
                found.setdefault(name, {}).setdefault(kind, []).append(fact)
    return _meter_points(found)


def find_contracted(zone: IntakeZone, names: Iterable[str]) -> set[str]:
    """Those of some meter points that have a contract, of whatever days, by the books of now."""
    wanted = sorted(set(names))
    found: set[str] = set()
    with read_session(zone.engine) as session:
        for start in range(0, len(wanted), _PORTION):
            portion = wanted[start : start + _PORTION]
            own = select(col(ContractRow.meter_point_id)).where(
                col(ContractRow.until_revision) == CURRENT,
                col(ContractRow.meter_point_id).in_(portion),
            )
            found.update(session.exec(own))
    return found


def find_held(zone: GatewayZone, names: Iterable[str], *, period: BillingPeriod) -> set[str]:
    """Those of some meter points that somebody holds in a period, by the books of now."""
    wanted = sorted(set(names))
    found: set[str] = set()
    with read_session(zone.engine) as session:
        for start in range(0, len(wanted), _PORTION):
            held = select(col(HoldingRow.meter_point_id)).where(
                col(HoldingRow.until_revision) == CURRENT,
                col(HoldingRow.meter_point_id).in_(wanted[start : start + _PORTION]),
                col(HoldingRow.valid_to) > period.start.date(),
                col(HoldingRow.valid_from) < period.end.date(),
            )
            found.update(session.exec(held))
    return found


def read_holding(zone: GatewayZone, day: date) -> list[str]:
    """The meter points that somebody holds on a day, by the books of now."""
    held = select(col(HoldingRow.meter_point_id)).where(
        col(HoldingRow.valid_to) > day,
        col(HoldingRow.valid_from) <= day,
        col(HoldingRow.until_revision) == CURRENT,
    )
    with read_session(zone.engine) as session:
        return sorted(session.exec(held))


def is_held_in(zone: GatewayZone, period: BillingPeriod) -> bool:
    """Whether anybody holds anything in a period, by the books of now."""
    held = select(col(HoldingRow.id)).where(
        col(HoldingRow.valid_to) > period.start.date(),
        col(HoldingRow.valid_from) < period.end.date(),
        col(HoldingRow.until_revision) == CURRENT,
    )
    with read_session(zone.engine) as session:
        return session.exec(held.limit(1)).first() is not None


def list_holdings(session: Session, asked: PageAsked) -> tuple[list[HoldingRow], int | None]:
    """Who holds what, in the order of entry, page by page."""
    current = select(HoldingRow).where(col(HoldingRow.until_revision) == CURRENT)
    page = read_page(session, current, key=HoldingRow.id, asked=asked)
    return list(page.rows), page.after


def read_history(
    zone: GatewayZone, meter_point_id: str
) -> tuple[dict[Kind, list[DatedRow]], dict[int, BooksRevisionRow]]:
    """Everything the books ever said of a meter point, and the changes that said it.

    Returns:
        Rows by kind, in the order of entry; the changes by number.
    """
    with read_session(zone.engine) as session:
        rows: dict[Kind, list[DatedRow]] = {
            kind: list(
                session.exec(
                    select(table)
                    .where(col(table.meter_point_id) == meter_point_id)
                    .order_by(col(table.id))
                )
            )
            for kind, table in TABLES.items()
        }
        numbers = sorted({row.revision for own in rows.values() for row in own})
        made = select(BooksRevisionRow).where(col(BooksRevisionRow.number).in_(numbers))
        return rows, {row.number: row for row in session.exec(made)}


def keep_change(
    zone: GatewayZone, change: Change, *, person: str, at: datetime
) -> BooksRevisionRow:
    """Make a change; one that was made before changes nothing.

    Args:
        person: Who makes it.

    Returns:
        The revision that it made.

    Raises:
        ConflictError: The books changed since it was compared with them (`conflict.books`).
        StorageError: The database could not take it; nothing is changed.
    """
    drafts = {kind: list(_drafts(change, kind)) for kind in KINDS}
    with write_session(zone.engine) as session:
        made = find(session, BooksRevisionRow, digest=change.digest)
        if made is not None:
            return made
        if revision_in(session) != change.base:
            raise outdated()
        number = change.base + 1
        keep(
            session,
            BooksRevisionRow(
                number=number,
                digest=change.digest,
                person=person,
                added=change.added,
                changed=change.changed,
                ended=change.ended,
                at=at,
            ),
        )
        for kind, table in TABLES.items():
            gone = change.gone.get(kind, ())
            for start in range(0, len(gone), _PORTION):
                named = col(table.id).in_(gone[start : start + _PORTION])
                session.execute(update(table).where(named).values(until_revision=number))
            insert_all(session, table, drafts[kind])
        evidence.append(
            session,
            at=at,
            actor=zone.service_id,
            action="books.changed",
            detail={"revision": number, "import": change.digest, "person": person},
        )
        return load_row(session, BooksRevisionRow, number=number)


def outdated() -> ConflictError:
    """The refusal of an import that was compared with earlier books."""
    return ConflictError(
        "The books changed since this import was compared with them.",
        reason="conflict.books",
        remedy="Hand the import in again, look at the differences, and apply those.",
    )


def _drafts(change: Change, kind: Kind) -> Iterator[dict[str, Any]]:
    for name, fact in change.new.get(kind, ()):
        yield {
            "meter_point_id": name,
            "valid_from": fact.valid_from,
            "valid_to": fact.valid_to,
            "revision": change.base + 1,
            "until_revision": CURRENT,
            **fact.values,
        }


def fact_of(row: DatedRow, kind: Kind) -> Fact:
    """A row as a fact."""
    values = {name: getattr(row, name) for name in VALUES[kind]}
    return Fact(row.valid_from, row.valid_to, values, row.id)


def _meter_points(found: Mapping[str, Mapping[Kind, list[Fact]]]) -> dict[str, MeterPoint]:
    return {
        name: MeterPoint(
            *(tuple(sorted(own.get(kind, ()), key=lambda fact: fact.valid_from)) for kind in KINDS)
        )
        for name, own in found.items()
    }
