"""Orders of persons to correct a billed month: who ordered what and why, and who agreed.

What sources send late is authenticated and corrects a month by rule. Files have no such sender, so
a person answers for them. An order of files of readings that changes no more than the month's rule
book lets a person edit alone is carried out at once. A larger one waits until a second person
approves it, and so does every order with a tariff or a rule book, which changes the bills of
everybody, and every one by corrected books. The month's orders that nobody else approved count
together, and with them edits of the same meter points: many small changes are as large as one.

    pending ⇄ approved → applied
        ↘        ↘
          rejected

An order that is approved is carried out by a correction of its name, whatever is killed in between,
and can be rejected until that is fixed. One that nobody else approved is counted again before, and
is pending if it has become too large. Nothing of a pending or rejected order counts anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import pandas as pd
from sqlmodel import Session, col, select

from gridsecure.billing.readings import join_readings
from gridsecure.billing.registers import REGISTER
from gridsecure.billing.rule_books import parse_book, parse_kept_book
from gridsecure.errors import ConflictError, GridSecureError, InputError, NotFoundError
from gridsecure.gateway.approvals import (
    PENDING,
    REJECTED,
    Author,
    Change,
    decide,
    energies_by_interval,
    measure_change,
    read_estimates,
)
from gridsecure.gateway.books.as_of import contracts_as_of
from gridsecure.gateway.books.facts import point_of
from gridsecure.gateway.books.register import newest_revision
from gridsecure.gateway.collection import (
    LaterReadings,
    MonthFiles,
    read_files,
    read_later_files,
)
from gridsecure.gateway.correction_books import find_differing, latest_books
from gridsecure.gateway.correction_plan import (
    APPROVED,
    CorrectionFiles,
    find_readings,
    keep_versions,
    late_batches,
    list_corrections,
    locate_version,
    make_correction_folder,
    order_name,
    require_done,
)
from gridsecure.gateway.edits import edit_files, find_lone_edits
from gridsecure.gateway.month_files import load_files, month_folder
from gridsecure.gateway.month_plan import load_plan
from gridsecure.gateway.rule_sets import rules_of
from gridsecure.gateway.tables import CorrectionOrderRow, CorrectionPlanRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, narrow, newest, read_page

_NAMED: Final = 3
"""So many meter points are named where more cannot be used."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """What a person hands in to correct a month.

    Args:
        readings: Files of late and corrected readings.
        tariffs: Tariff files, each in place of the one with the same tariff id.
        rules: Text of a rule book in place of the one before; empty for none.
        books: Whether the month is to count by the books as they are now.
    """

    readings: Sequence[BinaryIO] = ()
    tariffs: Sequence[BinaryIO] = ()
    rules: str = ""
    books: bool = False


def order_correction(
    zone: GatewayZone, month: str, *, corrected: Corrected, author: Author, at: datetime
) -> CorrectionOrderRow:
    """Order a correction of a billed month by files; the same person's same order is one.

    Args:
        month: YYYY-MM.

    Raises:
        InputError: No reason is stated (`approval.reason`), a file cannot be used, has readings
            outside the month (`correction.month`) or of meter points that nobody holds in it
            (`correction.unknown-meter-point`), or the books say of the month what it counts by
            already (`correction.same-books`); nothing is kept then.
        ConflictError: The month is not finished (`correction.month-open`).
        StorageError: The disk or the database could not take it; nothing is kept.
    """
    author.check()
    require_done(zone, month)
    versions = month_folder(zone, month) / "versions"
    known = set(versions.glob("*"))
    try:
        readings, tariffs = corrected.readings, corrected.tariffs
        files = keep_versions(zone, month, readings=readings, tariffs=tariffs)
        if corrected.rules:
            parse_book(corrected.rules)
            files = replace(files, rules=zone.objects.put(corrected.rules.encode()))
        if corrected.books:
            files = replace(files, books=newest_revision(zone))
        begun = _find_same(zone, files, author)
        if begun is not None:
            return begun
        late = late_batches(zone, month)
        differing = _find_differing(zone, files)
        change, named = _count_change(zone, replace(files, batches=late))
        meter_points = len(named | differing)
        return _keep(zone, files, change, meter_points=meter_points, author=author, at=at)
    except BaseException:  # whatever ends it, no file without an order is left
        for path in set(versions.glob("*")) - known:
            path.unlink(missing_ok=True)
        raise


def _find_same(
    zone: GatewayZone, files: CorrectionFiles, author: Author
) -> CorrectionOrderRow | None:
    """The order of the same files by the same person for the same reason, unless rejected."""
    same = select(CorrectionOrderRow).where(
        CorrectionOrderRow.month == files.month,
        CorrectionOrderRow.state != REJECTED,
        CorrectionOrderRow.readings == "\n".join(files.readings),
        CorrectionOrderRow.tariffs == "\n".join(files.tariffs),
        CorrectionOrderRow.rules == files.rules,
        CorrectionOrderRow.books == files.books,
        CorrectionOrderRow.person == author.person,
        CorrectionOrderRow.reason == author.reason,
    )
    with read_session(zone.engine) as session:
        return session.exec(same).first()


def _keep(
    zone: GatewayZone,
    files: CorrectionFiles,
    change: Change,
    *,
    meter_points: int,
    author: Author,
    at: datetime,
) -> CorrectionOrderRow:
    """Keep an order; one above the limits waits for a second person."""
    is_large = bool(files.tariffs or files.rules or files.books)
    is_large = is_large or _exceeds(zone, files.month, change)
    row = CorrectionOrderRow(
        month=files.month,
        state=PENDING if is_large else APPROVED,
        person=author.person,
        reason=author.reason,
        at=at,
        revision=0,
        readings="\n".join(files.readings),
        tariffs="\n".join(files.tariffs),
        rules=files.rules,
        books=files.books,
        intervals=change.intervals,
        meter_points=meter_points,
    )
    with write_session(zone.engine) as session:
        row.revision = read_revision(session) + 1
        session.add(row)
        session.flush()
        _log(session, row, zone=zone, at=at)
    return row


# --- how much it changes


def _exceeds(zone: GatewayZone, month: str, change: Change) -> bool:
    """Whether a change takes a second person, by the book that the month was billed by."""
    rules = rules_of(zone, month, plan=load_plan(zone, month))
    return change.exceeds(parse_kept_book(rules).edits)


@dataclass(frozen=True, slots=True)
class _Versions:
    """What was laid over a month, oldest first, with what nobody approved and without it."""

    every: tuple[LaterReadings, ...]
    approved: tuple[LaterReadings, ...]
    lone: tuple[Path, ...]


def _find_differing(zone: GatewayZone, files: CorrectionFiles) -> set[str]:
    """Whom the books of an order say something else of than those that the month counts by.

    Raises:
        InputError: Nobody (`correction.same-books`).
    """
    if not files.books:
        return set()
    stands = latest_books(zone, load_files(zone, files.month))
    period = zone.period(files.month)
    differing = find_differing(stands, contracts_as_of(zone, period=period, revision=files.books))
    if not differing:
        raise InputError(
            "The books say of this month what it counts by already.",
            reason="correction.same-books",
            remedy="Import what is right into the books first: gridsecure books import. Whoever the"
            " identity authority refused is asked for again by gridsecure correction start without"
            " --books, once its books are right.",
        )
    return differing


def _count_change(zone: GatewayZone, files: CorrectionFiles) -> tuple[Change, frozenset[str]]:
    """What a month would differ in, with all that nobody approved, and the meter points named.

    Compared are the meter points that lone orders and this one name, over the batches that came
    late: those count by rule.

    Args:
        files: With those batches, and with the number of the order if it is kept already.

    Raises:
        InputError: The files of readings cannot be laid over the month.
    """
    if not files.readings:
        return Change(0, 0), frozenset()
    month = load_files(zone, files.month)
    books = latest_books(zone, month)
    month = replace(month, contracts=lambda: books)
    own = find_readings(zone, files, period=zone.period(files.month))
    named = _check_place(zone, files, month, own.files)
    versions = _find_versions(zone, files, late=own.batches)
    names = named | _names_in(zone, month, versions.lone)
    approved = tuple(
        path
        for path in month.edits
        if path not in set(edit_files(zone, find_lone_edits(zone, files.month)))
    )
    stands = replace(month, edits=approved, later=versions.approved)
    laid = replace(month, later=(*versions.every, LaterReadings(own.files)))
    before, after = (_energies_of(zone, one, names) for one in (stands, laid))
    places = before.index.union(after.index)
    folders = [month.folder]
    folders += [make_correction_folder(zone, p.files) for p in list_corrections(zone, files.month)]
    estimates = read_estimates(folders, names)
    after = after.reindex(places, fill_value=0)
    return measure_change(before, after, estimates=estimates), named


def _check_place(
    zone: GatewayZone, files: CorrectionFiles, month: MonthFiles, paths: Sequence[Path]
) -> frozenset[str]:
    """Refuse readings that no bill of the month can count; the meter points that files name.

    Args:
        month: With the books that it counts by.
    """
    period, named = zone.period(files.month), set[str]()
    for one in read_later_files(month, paths, timezone=zone.timezone):
        starts = pd.DatetimeIndex(one.readings["start"])
        outside = (starts < pd.Timestamp(period.start)) | (starts >= pd.Timestamp(period.end))
        # Faces around a month say what was used in it.
        if outside.all() if REGISTER in one.readings else outside.any():
            raise InputError(
                f"{int(outside.sum()):,} readings lie outside {files.month}.",
                reason="correction.month",
                remedy="Hand in one order for each month, and only readings of it.",
            )
        named |= set(one.readings["meter_point_id"].astype(str).unique())
    books = [month.contracts()]
    if files.books:
        books.append(contracts_as_of(zone, period=period, revision=files.books))
    children = parse_kept_book(month.rules).children
    known = {point_of(name) for one in books for name in one.contracts["meter_point_id"]}
    known |= {*children, *(name for own in children.values() for name in own)}
    strange = sorted(name for name in named if point_of(name) not in known and name not in known)
    if strange:
        raise InputError(
            f"Nobody holds {len(strange):,} of the meter points in {files.month}, by the books that"
            f" it counts by: {', '.join(strange[:_NAMED])}{' …' if strange[_NAMED:] else ''}.",
            reason="correction.unknown-meter-point",
            remedy="Check the ids. If one is new, import it into the books, and order the"
            " correction with --books.",
        )
    return frozenset(named)


def _energies_of(zone: GatewayZone, files: MonthFiles, names: frozenset[str]) -> pd.DataFrame:
    """Energies of some meter points of a month."""
    read = read_files(files, timezone=zone.timezone, period=zone.period(files.month))
    found = [one.readings[one.readings["meter_point_id"].isin(names)] for one in read]
    return energies_by_interval(join_readings(found))


def _names_in(zone: GatewayZone, month: MonthFiles, paths: Sequence[Path]) -> frozenset[str]:
    """The meter points that files name."""
    found = read_later_files(month, paths, timezone=zone.timezone)
    return frozenset(str(name) for one in found for name in one.readings["meter_point_id"].unique())


def _find_versions(
    zone: GatewayZone, files: CorrectionFiles, *, late: tuple[Path, ...]
) -> _Versions:
    """What corrections brought, late batches, and orders that are approved and not fixed."""
    month = files.month
    lone = {row.id: row for row in _load_lone(zone, month) if row.id != files.order}
    every: list[LaterReadings] = []
    approved: list[LaterReadings] = []
    paths: list[Path] = []
    for plan in list_corrections(zone, month):
        later = find_readings(zone, plan.files, period=zone.period(month))
        every.append(later)
        is_lone = lone.pop(plan.files.order, None) is not None
        approved.append(replace(later, files=()) if is_lone else later)
        paths += later.files if is_lone else ()
    every.append(LaterReadings(batches=late))
    approved.append(LaterReadings(batches=late))
    for row in lone.values():
        own = tuple(locate_version(zone, month, name) for name in row.readings.split())
        every.append(LaterReadings(own))
        paths += own
    return _Versions(tuple(every), tuple(approved), tuple(paths))


def _load_lone(zone: GatewayZone, month: str) -> list[CorrectionOrderRow]:
    """Orders of a month that count and that nobody else approved, in order."""
    lone = select(CorrectionOrderRow).where(
        CorrectionOrderRow.month == month,
        col(CorrectionOrderRow.state).not_in((PENDING, REJECTED)),
        CorrectionOrderRow.approver == "",
    )
    with read_session(zone.engine) as session:
        return list(session.exec(lone.order_by(col(CorrectionOrderRow.id))))


# --- what becomes of it


def decide_order(
    zone: GatewayZone, number: int, *, approve: bool, by: Author, at: datetime
) -> CorrectionOrderRow:
    """Approve an order that waits, or reject one whose correction is not fixed.

    Args:
        number: Its number.
        by: Who decides, and why.

    Raises:
        NotFoundError: There is none of that number (`not-found.correction-order`).
        ConflictError: It is decided (`conflict.approval`), its correction is fixed
            (`correction.fixed`), it names older books than the month counts by
            (`correction.older-books`), or who ordered it would approve it
            (`approval.same-person`).
        InputError: It is rejected without a reason (`approval.reason`).
        AuditBrokenError: What would be approved is not what was handed in (`audit.version`).
    """
    if approve:
        _require_kept(zone, load_order(zone, number))
        _refuse_older_books(zone, load_order(zone, number))
    with write_session(zone.engine) as session:
        row = _load(session, number)
        # Whoever fixes the correction asks for the order's state in a transaction too.
        fixed = session.get(CorrectionPlanRow, order_name(row.month, number))
        if fixed is not None and not approve:
            raise ConflictError(
                "The correction of this order is fixed, and may be with the platform.",
                reason="correction.fixed",
                remedy="Order another correction, which lies over it.",
            )
        decide(row, approved=APPROVED if approve else "", rejectable=(PENDING, APPROVED), by=by)
        row.revision = read_revision(session) + 1
        session.add(row)
        _log(session, row, zone=zone, at=at)
    return row


def _require_kept(zone: GatewayZone, row: CorrectionOrderRow) -> None:
    for name in (*row.readings.split(), *row.tariffs.split()):
        locate_version(zone, row.month, name)


def begin_order(zone: GatewayZone, number: int, *, at: datetime) -> CorrectionFiles:
    """The correction that carries an order out, with the late batches there are by now.

    An order that nobody else approved was counted against what stood when it was made. If more
    stands below it by now than one person may change, it waits for a second person after all.

    Args:
        number: Its number.
        at: When; an order that is made at this moment has just been counted.

    Raises:
        NotFoundError: There is none of that number (`not-found.correction-order`).
        ConflictError: It is rejected (`correction.rejected`), waits for a second person
            (`correction.pending`), or names older books than the month counts by
            (`correction.older-books`).
    """
    row = load_order(zone, number)
    for plan in list_corrections(zone, row.month):
        if plan.files.order == number:
            return plan.files
    _refuse_older_books(zone, row)
    if row.state not in (PENDING, APPROVED):
        raise ConflictError(
            "The order of this correction was rejected.",
            reason="correction.rejected",
            remedy="Order another correction, if one is needed.",
        )
    readings, tariffs = tuple(row.readings.split()), tuple(row.tariffs.split())
    batches = late_batches(zone, row.month)
    files = CorrectionFiles(
        *(row.month, readings, tariffs, batches), order=number, rules=row.rules, books=row.books
    )
    is_counted = bool(row.approver) or row.at == at
    if row.state == PENDING or not (is_counted or _is_still_small(zone, files, at=at)):
        raise ConflictError(
            "The order waits for a second person: it changes more than one may change alone.",
            reason="correction.pending",
            remedy="Ask another operator to approve it.",
        )
    return files


def _refuse_older_books(zone: GatewayZone, row: CorrectionOrderRow) -> None:
    """Refuse to turn a month back to books from before a correction of it that is fixed."""
    newest = max((plan.files.books for plan in list_corrections(zone, row.month)), default=0)
    if 0 < row.books < newest:
        raise ConflictError(
            "The month counts by later books than those of this order.",
            reason="correction.older-books",
            remedy="Reject this order. If the books are wrong once more, import what is right and "
            "order another correction.",
        )


def _is_still_small(zone: GatewayZone, files: CorrectionFiles, *, at: datetime) -> bool:
    """Whether one person may still order this alone; else the order waits from now on."""
    try:
        change, _ = _count_change(zone, files)
        if not _exceeds(zone, files.month, change):
            return True
        intervals = change.intervals
    except GridSecureError:  # what cannot be counted is for two persons to look at
        intervals = None
    with write_session(zone.engine) as session:
        row = _load(session, files.order)
        if row.state == APPROVED and not row.approver:
            row.state, row.revision = PENDING, read_revision(session) + 1
            row.intervals = row.intervals if intervals is None else intervals
            session.add(row)
            _log(session, row, zone=zone, at=at)
    return False


def find_waiting_orders(zone: GatewayZone) -> list[CorrectionOrderRow]:
    """Orders of all months that are approved and not carried out to the end, in order."""
    waiting = select(CorrectionOrderRow).where(CorrectionOrderRow.state == APPROVED)
    with read_session(zone.engine) as session:
        return list(session.exec(waiting.order_by(col(CorrectionOrderRow.id))))


def find_orders(zone: GatewayZone, month: str) -> list[CorrectionOrderRow]:
    """Every order of a month, in order."""
    own = select(CorrectionOrderRow).where(CorrectionOrderRow.month == month)
    with read_session(zone.engine) as session:
        return list(session.exec(own.order_by(col(CorrectionOrderRow.id))))


def read_revision(session: Session) -> int:
    """Rises with every change of an order."""
    return newest(session, CorrectionOrderRow.revision)


def list_orders(
    session: Session, asked: PageAsked, *, month: str = "", state: str = ""
) -> tuple[list[CorrectionOrderRow], int | None]:
    """Orders in the order in which they were made, page by page.

    Args:
        month: Of this month; empty for all.
        state: In this state; empty for all.
    """
    wanted = ((CorrectionOrderRow.month, month), (CorrectionOrderRow.state, state))
    found = narrow(select(CorrectionOrderRow), wanted)
    page = read_page(session, found, key=CorrectionOrderRow.id, asked=asked)
    return list(page.rows), page.after


def load_order(zone: GatewayZone, number: int) -> CorrectionOrderRow:
    """An order.

    Raises:
        NotFoundError: There is none of that number (`not-found.correction-order`).
    """
    with read_session(zone.engine) as session:
        return _load(session, number)


def _load(session: Session, number: int) -> CorrectionOrderRow:
    row = session.get(CorrectionOrderRow, number)
    if row is None:
        raise NotFoundError(
            "There is no order of that number here.", reason="not-found.correction-order"
        )
    return row


def _log(session: Session, row: CorrectionOrderRow, *, zone: GatewayZone, at: datetime) -> None:
    """Who did what, in the gateway's evidence log; no reading."""
    detail = {
        "order": row.id,
        "month": row.month,
        "readings": row.readings.split(),
        "tariffs": row.tariffs.split(),
        "rules": row.rules,
        "books": row.books,
        "state": row.state,
        "person": row.approver or row.person,
    }
    evidence.append(
        session, at=at, actor=zone.service_id, action="correction.ordered", detail=detail
    )
