"""Edits: readings that a person puts in place of others, or vouches for.

    edits/<digest>.parquet      the readings of one edit, as batches are kept

An edit says who made it and why, and is never changed: another one lies over it. It replaces
readings of one meter point, confirms some that validation set aside, or has some estimated. Rules
on what energies are like do not judge it again. One that is larger than the rule book lets a person
decide alone counts once a second person has approved it.

Edits of a month count when its plan is fixed; the plan names them. What comes later would change
bills that are fixed, so it is refused here and goes the way of late readings.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from sqlmodel import Session, col, select

from gridsecure.billing.readings import join_readings
from gridsecure.billing.registers import REGISTER
from gridsecure.billing.rule_books import parse_kept_book
from gridsecure.errors import ConflictError, InputError, NotFoundError
from gridsecure.gateway.approvals import (
    PENDING,
    Author,
    Change,
    decide,
)
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.edit_changes import check_place, measure_lone, read_without
from gridsecure.gateway.ingestion.bodies import read_body
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.ingestion.stored_readings import (
    RULE,
    ReadingsWriter,
)
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.rule_sets import rules_of
from gridsecure.gateway.tables import EditRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, narrow, newest, read_page

Kind = Literal["replacement", "confirmation", "estimate"]
IN_FORCE, LATE = "in-force", "late"

_COLUMNS: Final = ("meter_point_id", "start", "kwh", "kvarh", "export_kwh")


@dataclass(frozen=True, slots=True)
class Meant:
    """Which readings an edit is about.

    Args:
        first: Start of the first interval, ISO 8601 with offset.
        last: Start of the last one, likewise.
    """

    meter_point_id: str
    first: str
    last: str

    def moments(self) -> tuple[datetime, datetime]:
        """Both starts.

        Raises:
            InputError: `edit.span`.
        """
        try:
            first, last = (datetime.fromisoformat(text) for text in (self.first, self.last))
            if first.tzinfo is None or last.tzinfo is None:
                raise ValueError("no offset")
        except ValueError as error:
            raise InputError(
                "The first and the last interval are not two moments.",
                reason="edit.span",
                remedy="Write their starts with an offset, as 2026-07-01T00:00+08:00.",
            ) from error
        return first, last


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
    check_place(zone, month, readings, at=at)
    _require_open(zone, month)
    row = _make_row(month, readings, kind="replacement", author=author, at=at)
    return _keep(zone, row, readings, count=partial(measure_lone, zone, month, readings, files))


def confirm_readings(
    zone: GatewayZone,
    month: str,
    *,
    meant: Meant,
    author: Author,
    at: datetime,
) -> int:
    """Vouch for readings that validation set aside: they count as they came.

    Args:
        month: YYYY-MM.

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
    lines = _set_aside(zone.folder / "months" / month / "quarantine.csv", meant)
    readings = _read(zone, "\n".join(lines).encode())
    check_place(zone, month, readings, at=at)
    row = _make_row(month, readings, kind="confirmation", author=author, at=at)
    # They were not counted, so all of their energy is what this adds.
    count = partial(measure_lone, zone, month, readings, None, counted=False)
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


def order_estimate(
    zone: GatewayZone,
    month: str,
    *,
    meant: Meant,
    files: MonthFiles | None,
    author: Author,
    at: datetime,
) -> int:
    """Have readings that count estimated: they are as missing from the next validation on.

    The rule book says how they are estimated, and how much of a month may be before its bill is
    held. The same order again is the one that is there, while nothing came over it.

    Args:
        month: YYYY-MM.
        files: What was handed in for the month; None where nothing but batches is there.

    Returns:
        The edit's number.

    Raises:
        InputError: `edit.span`, no reading came of that time (`edit.estimated`), or as
            `replace_readings`.
        ConflictError: The month is fixed (`conflict.month-edits`).
        StorageError: The disk or the database could not take it; nothing is kept.
    """
    author.check()
    _require_open(zone, month)
    first, last = meant.moments()
    stands = read_without(zone, month, files, meant.meter_point_id)
    if len(stands):
        stands = stands[(stands["quality"] != "missing") & stands["start"].between(first, last)]
    if stands.empty:
        raise InputError(
            "No reading of this meter point came of that time.",
            reason="edit.estimated",
            remedy="Check the span. What is missing or was set aside is estimated already.",
        )
    own = stands.drop_duplicates("start").assign(
        meter_point_id=meant.meter_point_id, energy_wh=np.int64(0), quality="missing"
    )
    check_place(zone, month, own, at=at)
    row = _make_row(month, own, kind="estimate", author=author, at=at)
    known = _find_same(zone, row)
    if known is not None:
        return known
    return _keep(zone, row, own, count=partial(measure_lone, zone, month, own, files))


def _find_same(zone: GatewayZone, row: EditRow) -> int | None:
    """The newest edit of a meter point and month, if it says the same and was not rejected."""
    stated = select(EditRow).where(
        EditRow.month == row.month,
        EditRow.meter_point_id == row.meter_point_id,
        col(EditRow.state).in_((PENDING, IN_FORCE)),
    )
    with read_session(zone.engine) as session:
        newest_one = session.exec(stated.order_by(col(EditRow.id).desc()).limit(1)).first()
        if newest_one is None:
            return None
        same = ("kind", "intervals", "first_at", "last_at")
        is_same = all(getattr(newest_one, name) == getattr(row, name) for name in same)
        return newest_one.id if is_same else None


def _set_aside(path: Path, meant: Meant) -> list[str]:
    """Lines of the quarantine file that are meant, as a table of readings."""
    first, last = meant.moments()
    kept: dict[str, str] = {}
    columns: list[str] = []
    found = 0
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                columns = columns or [name for name in _COLUMNS if name in row]
                start = datetime.fromisoformat(row["start"])
                if row["meter_point_id"] == meant.meter_point_id and first <= start <= last:
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
    count: Callable[[Sequence[Path]], Change],
) -> int:
    """Keep an edit; a large one waits for a second person.

    Counting reads the month, which is too long to keep every writer waiting. So what was counted
    with it is asked for again as it is written, and it is counted once more if that has changed.

    Args:
        count: What it changes with edits that nobody approved, by their files.
    """
    limits = parse_kept_book(rules_of(zone, row.month)).edits
    while True:
        alone = find_lone_edits(zone, row.month, meter_point_id=row.meter_point_id)
        row.state = PENDING if count(edit_files(zone, alone)).exceeds(limits) else IN_FORCE
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
