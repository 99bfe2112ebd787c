"""Edits: readings that a person puts in place of others, or vouches for.

    edits/<digest>.parquet      the readings of one edit, as batches are kept

An edit says who made it and why, and is never changed: another one lies over it. It replaces
readings of one meter point, or confirms some that validation set aside. Rules on what energies are
like do not judge it again. One that is larger than the rule book lets a person decide alone counts
once a second person has approved it.

Edits of a month count when its plan is fixed; the plan names them. What comes later would change
bills that are fixed, so it is refused here and goes the way of late readings.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

import pandas as pd
from sqlmodel import Session, col, select

from gridsecure.billing.interval_lengths import UNKNOWN, interval_minutes
from gridsecure.billing.readings import join_readings
from gridsecure.billing.registers import REGISTER
from gridsecure.billing.rule_books import parse_kept_book
from gridsecure.errors import ConflictError, InputError, NotFoundError
from gridsecure.gateway.approvals import (
    PENDING,
    Author,
    Change,
    decide,
    energies_by_interval,
    measure_change,
    read_estimates,
)
from gridsecure.gateway.batch_readings import meter_books, read_month_batches
from gridsecure.gateway.books.as_of import contracts_as_of
from gridsecure.gateway.books.facts import point_of
from gridsecure.gateway.books.register import find_held, is_held_in, newest_revision
from gridsecure.gateway.collection import MonthFiles, read_files
from gridsecure.gateway.ingestion.batches import find_batches, newest_batch
from gridsecure.gateway.ingestion.bodies import read_body
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.ingestion.stored_readings import (
    RULE,
    ReadingsWriter,
    read_edit,
)
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.rule_sets import rules_of
from gridsecure.gateway.tables import EditRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, narrow, newest, read_page

Kind = Literal["replacement", "confirmation"]
IN_FORCE, LATE = "in-force", "late"

_READING: Final = threading.Lock()  # a month's readings are held once, whoever asks
_COLUMNS: Final = ("meter_point_id", "start", "kwh", "kvarh", "export_kwh")


def replace_readings(
    zone: GatewayZone,
    month: str,
    body: bytes,
    *,
    files: MonthFiles | None,
    author: Author,
    at: datetime,
) -> int:
    """Put readings of one meter point in place of others.

    Args:
        month: YYYY-MM.
        body: The readings, as `read_body` takes them; times begin intervals.
        files: What was handed in for the month; None where nothing but batches is there.

    Returns:
        The edit's number.

    Raises:
        InputError: `approval.reason`, the readings cannot be read, are of several meter points
            (`edit.meter-point`) or of one that nobody holds in the month by the books
            (`edit.unknown-meter-point`), or lie outside the month (`edit.month`) or in the future
            (`edit.future`).
        ConflictError: The month is fixed (`conflict.month-edits`).
        StorageError: The disk or the database could not take it; nothing is kept.
    """
    author.check()
    readings = _read(zone, body)
    _check_place(zone, month, readings, at=at)
    _require_open(zone, month)
    row = _make_row(month, readings, kind="replacement", author=author, at=at)
    return _keep(zone, row, readings, count=partial(_lone_change, zone, month, readings, files))


def confirm_readings(
    zone: GatewayZone,
    month: str,
    *,
    meter_point_id: str,
    span: tuple[str, str],
    author: Author,
    at: datetime,
) -> int:
    """Vouch for readings that validation set aside: they count as they came.

    Args:
        month: YYYY-MM.
        span: Start of the first interval and of the last one, ISO 8601 with offset.

    Returns:
        The edit's number.

    Raises:
        InputError: `edit.span`, nothing was set aside there (`edit.nothing`), readings that
            disagree (`edit.ambiguous`), or as `replace_readings`.
        ConflictError: The month is fixed (`conflict.month-edits`).
        StorageError: The disk or the database could not take it; nothing is kept.
    """
    author.check()
    zone.period(month)
    lines = _set_aside(zone.folder / "months" / month / "quarantine.csv", meter_point_id, span)
    readings = _read(zone, "\n".join(lines).encode())
    _check_place(zone, month, readings, at=at)
    row = _make_row(month, readings, kind="confirmation", author=author, at=at)
    # They were not counted, so all of their energy is what this adds.
    count = partial(_lone_change, zone, month, readings, None, counted=False)
    return _keep(zone, row, readings, count=count)


def _read(zone: GatewayZone, body: bytes) -> pd.DataFrame:
    """Readings whose times begin intervals."""
    source = Source("edits", "", ("",), "start", zone.timezone, "")
    with SpooledBody(zone.folder / "edits") as spooled:
        spooled.add(body)
        spooled.finish()
        readings = join_readings(list(read_body(spooled, source=source, timezone=zone.timezone)))
    if REGISTER in readings:
        raise InputError(
            "The edit holds faces of a register, and not what was used between them.",
            reason="readings.registers",
            remedy="Write the energies that are meant.",
        )
    return readings


def _set_aside(path: Path, meter_point_id: str, span: tuple[str, str]) -> list[str]:
    """Lines of the quarantine file that are meant, as a table of readings."""
    try:
        first, last = (datetime.fromisoformat(text) for text in span)
        if first.tzinfo is None or last.tzinfo is None:
            raise ValueError("no offset")
    except ValueError as error:
        raise InputError(
            "The first and the last interval are not two moments.",
            reason="edit.span",
            remedy="Write their starts with an offset, as 2026-07-01T00:00+08:00.",
        ) from error
    kept: dict[str, str] = {}
    columns: list[str] = []
    found = 0
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                columns = columns or [name for name in _COLUMNS if name in row]
                start = datetime.fromisoformat(row["start"])
                if row["meter_point_id"] == meter_point_id and first <= start <= last:
                    kept[row["start"]] = ",".join(row[name] for name in columns)
                    found += 1
    if not kept:
        raise InputError(
            "No reading of this meter point was set aside in that time.",
            reason="edit.nothing",
            remedy="Validate the month first. A flag on a reading that counts is closed on the"
            " work list.",
        )
    if found > len(kept):
        raise InputError(
            "Several readings of one interval were set aside.",
            reason="edit.ambiguous",
            remedy="Replace the interval by the reading that is right.",
        )
    return [",".join(columns), *kept.values()]


def _make_row(
    month: str, readings: pd.DataFrame, *, kind: Kind, author: Author, at: datetime
) -> EditRow:
    """An edit that is not kept yet."""
    starts = pd.DatetimeIndex(readings["start"])
    return EditRow(
        month=month,
        meter_point_id=str(readings["meter_point_id"].iloc[0]),
        kind=kind,
        intervals=len(readings),
        first_at=starts.min().to_pydatetime(),
        last_at=starts.max().to_pydatetime(),
        readings_digest="",
        state="",
        person=author.person,
        reason=author.reason,
        at=at,
        revision=0,
    )


def _keep(
    zone: GatewayZone,
    row: EditRow,
    readings: pd.DataFrame,
    *,
    count: Callable[[Sequence[str]], Change],
) -> int:
    """Keep an edit; a large one waits for a second person.

    Counting reads the month, which is too long to keep every writer waiting. So what was counted
    with it is asked for again as it is written, and it is counted once more if that has changed.

    Args:
        count: What it changes with edits that nobody approved, by their digests.
    """
    limits = parse_kept_book(rules_of(zone, row.month)).edits
    while True:
        alone = find_lone_edits(zone, row.month, meter_point_id=row.meter_point_id)
        row.state = PENDING if count(alone).exceeds(limits) else IN_FORCE
        row.readings_digest = row.readings_digest or _write(zone, readings)
        with write_session(zone.engine) as session:
            _require_open(zone, row.month)  # once more: nobody fixes it while this is written
            if _load_alone(session, row.month, row.meter_point_id) == alone:
                row.revision = read_revision(session) + 1
                session.add(row)
                session.flush()
                _log(session, row, zone=zone, at=row.at)
                return row.id or 0


def _write(zone: GatewayZone, readings: pd.DataFrame) -> str:
    """Keep the readings of an edit, and tell their digest."""
    with ReadingsWriter(zone.folder / "edits") as writer:
        writer.add(readings.assign(**{RULE: ""}))
        return writer.keep()


def _check_place(zone: GatewayZone, month: str, readings: pd.DataFrame, *, at: datetime) -> None:
    """Refuse readings that no bill of the month can count, whoever approves them."""
    period = zone.period(month)
    starts = pd.DatetimeIndex(readings["start"])
    if readings["meter_point_id"].nunique() != 1:
        raise InputError(
            "An edit is of one meter point.",
            reason="edit.meter-point",
            remedy="Hand in one edit for each meter point.",
        )
    if starts.min() < period.start or starts.max() >= period.end:
        raise InputError(
            "A reading lies outside the month.",
            reason="edit.month",
            remedy="Hand in one edit for each month, and only readings of it.",
        )
    lengths = pd.to_timedelta(interval_minutes(readings, known=UNKNOWN), unit="min")
    if (starts + lengths).max() > at:
        raise InputError(
            "An interval has not ended yet, so it cannot have been read.",
            reason="edit.future",
            remedy="Check the year and the month of the readings, or wait until the interval ends.",
        )
    name = str(readings["meter_point_id"].iloc[0])
    # Readings may come before the month's contracts do; until then nobody is unknown.
    is_unknown = is_held_in(zone, period) and not find_held(zone, [point_of(name)], period=period)
    if is_unknown and name not in _compared(zone, month):
        raise InputError(
            f"Nobody holds the meter point {name!r} in {month}, by the books.",
            reason="edit.unknown-meter-point",
            remedy="Check its id; if it is new, import it first: gridsecure books import.",
        )


def _compared(zone: GatewayZone, month: str) -> frozenset[str]:
    """Meter points that the rule book compares with others; they may be nobody's."""
    children = parse_kept_book(rules_of(zone, month)).children
    return frozenset(children).union(*children.values())


def _lone_change(
    zone: GatewayZone,
    month: str,
    readings: pd.DataFrame,
    files: MonthFiles | None,
    alone: Sequence[str],
    *,
    counted: bool = True,
) -> Change:
    """What an edit changes with all those of its meter point that nobody approved.

    Many small edits are as large as one, so the readings are compared that stand without any of
    them.

    Args:
        alone: Their digests, in order.
        counted: Whether what stands without them counts; else all of their energy is the change.
    """
    period = zone.period(month)
    name = str(readings["meter_point_id"].iloc[0])
    earlier = [read_edit(path, period=period) for path in edit_files(zone, alone)]
    every = pd.concat([energies_by_interval(one) for one in (*earlier, readings)])
    laid = every[~every.index.duplicated(keep="last")]
    stands = laid.iloc[:0]
    if counted:
        own = _read_without(zone, month, files, name)
        # A holder that moved in or out is another name of the meter point.
        stands = energies_by_interval(own.assign(meter_point_id=name)) if len(own) else stands
    estimates = read_estimates([zone.folder / "months" / month], {name})
    change = measure_change(stands, laid, estimates=estimates)
    return replace(change, intervals=len(laid))


def _read_without(
    zone: GatewayZone, month: str, files: MonthFiles | None, name: str
) -> pd.DataFrame:
    """Readings of a meter point, or of who holds it, as they stand without edits."""
    period = zone.period(month)
    with _READING:
        if files is None:
            batches = find_batches(zone, period, until=newest_batch(zone))
            books = contracts_as_of(zone, period=period, revision=newest_revision(zone))
            registers = meter_books(books, timezone=zone.timezone)
            found = []
            if batches:
                told = read_month_batches(batches, period=period, books=registers)
                found.append(told.readings)
        else:
            bare = replace(files, edits=())
            found = [
                one.readings for one in read_files(bare, timezone=zone.timezone, period=period)
            ]
            name = {one.holder: one.meter_point_id for one in files.contracts().moved}.get(
                name, name
            )
        own = [one[one["meter_point_id"].isin([name])] for one in found]
    return join_readings(own) if own else pd.DataFrame()


def decide_edit(
    zone: GatewayZone, number: int, *, approve: bool, decision: Author, at: datetime
) -> None:
    """Approve a pending edit, or reject one that is pending or in force.

    Args:
        number: Its number.
        decision: Who decides, and why.

    Raises:
        NotFoundError: There is none of that number (`not-found.edit`).
        ConflictError: It is decided (`conflict.approval`), its month is fixed
            (`conflict.month-edits`), or who made it would approve it (`approval.same-person`).
        InputError: It is rejected without a reason (`approval.reason`).
    """
    with read_session(zone.engine) as session:
        month = _load(session, number).month
    with write_session(zone.engine) as session:
        _require_open(zone, month)  # nobody fixes it while this is written
        row = _load(session, number)
        approved = IN_FORCE if approve else ""
        decide(row, approved=approved, rejectable=(PENDING, IN_FORCE), by=decision)
        row.revision = read_revision(session) + 1
        session.add(row)
        _log(session, row, zone=zone, at=at)


def find_edits(zone: GatewayZone, month: str) -> tuple[str, ...]:
    """Digests of the edits of a month that are in force, in the order in which they were made."""
    own = select(EditRow.readings_digest).where(EditRow.month == month, EditRow.state == IN_FORCE)
    with read_session(zone.engine) as session:
        return tuple(session.exec(own.order_by(col(EditRow.id))))


def find_lone_edits(zone: GatewayZone, month: str, *, meter_point_id: str = "") -> tuple[str, ...]:
    """Digests of edits of a month that are in force and that nobody else approved, in order.

    Args:
        meter_point_id: Whose; empty for everybody's.
    """
    with read_session(zone.engine) as session:
        return _load_alone(session, month, meter_point_id)


def _load_alone(session: Session, month: str, meter_point_id: str) -> tuple[str, ...]:
    alone = select(EditRow.readings_digest).where(
        EditRow.month == month, EditRow.state == IN_FORCE, EditRow.approver == ""
    )
    if meter_point_id:
        alone = alone.where(EditRow.meter_point_id == meter_point_id)
    return tuple(session.exec(alone.order_by(col(EditRow.id))))


def edit_files(zone: GatewayZone, digests: Sequence[str]) -> tuple[Path, ...]:
    """Where edits lie."""
    return tuple(zone.folder / "edits" / f"{digest}.parquet" for digest in digests)


def note_late(zone: GatewayZone, month: str, *, counted: Sequence[str]) -> None:
    """Say of edits that came into force while the month was fixed that they do not count.

    Args:
        counted: Digests of those that do.
    """
    open_ones = select(EditRow).where(
        EditRow.month == month, col(EditRow.state).in_((PENDING, IN_FORCE))
    )
    with write_session(zone.engine) as session:
        for row in session.exec(open_ones):
            if row.state == PENDING or row.readings_digest not in counted:
                row.state, row.revision = LATE, read_revision(session) + 1
                session.add(row)
                session.flush()


def read_revision(session: Session) -> int:
    """Rises with every change of an edit."""
    return newest(session, EditRow.revision)


def list_edits(
    session: Session, asked: PageAsked, *, month: str = "", state: str = ""
) -> tuple[list[EditRow], int | None]:
    """Edits in the order in which they were made, page by page.

    Args:
        month: Of this month; empty for all.
        state: In this state; empty for all.
    """
    found = narrow(select(EditRow), [(EditRow.month, month), (EditRow.state, state)])
    page = read_page(session, found, key=EditRow.id, asked=asked)
    return list(page.rows), page.after


def load_edit(zone: GatewayZone, number: int) -> EditRow:
    """An edit.

    Raises:
        NotFoundError: There is none of that number (`not-found.edit`).
    """
    with read_session(zone.engine) as session:
        row = _load(session, number)
        session.expunge_all()
        return row


def _load(session: Session, number: int) -> EditRow:
    row = session.get(EditRow, number)
    if row is None:
        raise NotFoundError("There is no edit of that number here.", reason="not-found.edit")
    return row


def _require_open(zone: GatewayZone, month: str) -> None:
    if find_plan(zone, month) is not None:
        raise ConflictError(
            f"The rosters of {month} are fixed; an edit would change nothing of them.",
            reason="conflict.month-edits",
            remedy="Send the readings as a batch; a correction takes up what comes late.",
        )


def _log(session: Session, row: EditRow, *, zone: GatewayZone, at: datetime) -> None:
    """Who did what, in the gateway's evidence log; no reading."""
    detail = {
        "edit": row.id,
        "month": row.month,
        "readings": row.readings_digest,
        "state": row.state,
        "person": row.approver or row.person,
    }
    evidence.append(session, at=at, actor=zone.service_id, action="reading.edited", detail=detail)
