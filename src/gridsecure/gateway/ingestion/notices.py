"""Telling sources what became of their batches, once a month's bills are fixed or corrected.

How notices wait, are tried again and given up is `store.notices`. What a source is told is read as
the notice goes out, a thousand batches at a time, so a repeated notice says the same or what is
newer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlmodel import Session, col, select

from gridsecure.errors import ConflictError, NotFoundError
from gridsecure.gateway.ingestion.batches import batch_state
from gridsecure.gateway.ingestion.sources import note_change, read_source
from gridsecure.gateway.month_plan import corrected_until, find_plan
from gridsecure.gateway.tables import (
    BatchMonthRow,
    BatchRow,
    CorrectionPlanRow,
    CorrectionReportRow,
    MonthReportRow,
    NoticeRow,
    SourceRow,
)
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import BatchNotice, ReadingCounts, sign_message
from gridsecure.store import notices
from gridsecure.store.database import read_session, write_session
from gridsecure.store.notices import Attempt, Post
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.store.rows import find
from gridsecure.wire.gateway import NoticeStatus

_BATCHES: Final = 1000  # in one notice


def announce_done(
    zone: GatewayZone, *, at: datetime, count: Callable[[str], bool] = lambda _month: True
) -> None:
    """Have sources told of months that were done or corrected since they gave an address.

    A gateway that was ended between the two announces them after its next start.

    Args:
        count: Counts what became of a month's readings; whether it was counted by now. If not,
            the month is told later.
    """
    known = select(NoticeRow.occasion)
    first = select(SourceRow.at).where(SourceRow.webhook != "").order_by(col(SourceRow.at))
    with read_session(zone.engine) as session:
        since = session.exec(first).first()
        if since is None:
            return
        done = select(MonthReportRow.month, MonthReportRow.digest, MonthReportRow.at).where(
            col(MonthReportRow.at) >= since, col(MonthReportRow.digest).not_in(known)
        )
        corrected = (
            select(CorrectionPlanRow.month, CorrectionPlanRow.digest, CorrectionReportRow.at)
            .join(CorrectionReportRow)
            .where(
                col(CorrectionReportRow.at) >= since, col(CorrectionPlanRow.digest).not_in(known)
            )
        )
        found = [*session.execute(done), *session.execute(corrected)]
    for month, digest, done_at in found:
        if count(month):
            _announce(zone, month, occasion=(digest, done_at), at=at)


def _announce(
    zone: GatewayZone, month: str, *, occasion: tuple[str, datetime], at: datetime
) -> None:
    """Have every source with batches of a month told what became of them.

    Args:
        month: YYYY-MM.
        occasion: What happened, by its digest, and when; the same again changes nothing. Who gave
            an address later is not told.
    """
    digest, done_at = occasion
    in_month = (
        select(BatchMonthRow.batch)
        .join(BatchRow)
        .where(BatchRow.source == SourceRow.name, BatchMonthRow.month == month)
    )
    told = select(NoticeRow.source).where(NoticeRow.month == month, NoticeRow.occasion == digest)
    concerned = select(SourceRow.name).where(
        SourceRow.webhook != "",
        col(SourceRow.at) <= done_at,
        in_month.exists(),
        col(SourceRow.name).not_in(told),
    )
    with write_session(zone.engine) as session:
        for name in session.exec(concerned).all():
            row = NoticeRow(
                source=name, month=month, occasion=digest, state="waiting", attempts=0, after=0,
                due_at=at, at=at,
            )  # fmt: skip
            session.add(row)


def deliver_due(zone: GatewayZone, *, post: Post, now: datetime) -> datetime | None:
    """Send every notice that is due, the longest waiting first.

    Args:
        post: Called from several threads, one a source.

    Returns:
        When to come again; None while no notice waits.
    """

    def prepare(rows: Sequence[NoticeRow]) -> dict[str, list[Attempt]]:
        names = {row.source for row in rows}
        with read_session(zone.engine) as session:
            told = session.exec(select(SourceRow).where(col(SourceRow.name).in_(names)))
            addresses = {row.name: row.webhook for row in told}
        by_source: dict[str, list[Attempt]] = {}
        for row in rows:
            delivery = _Delivery(zone, row, addresses.get(row.source, ""), now)
            by_source.setdefault(row.source, []).append(delivery.run)
        return by_source

    return notices.deliver_due(zone.engine, NoticeRow, prepare=prepare, post=post, now=now)


class _Told(NamedTuple):
    """How far a batch's readings of a month are, and their counts as JSON or nothing."""

    state: str
    counts: str


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One attempt at a notice."""

    zone: GatewayZone
    row: NoticeRow
    address: str
    now: datetime

    def run(self, post: Post) -> bool:
        """Send what is left of it, and note how far that went; whether all of it was taken."""
        after: int | None = self.row.after
        while after is not None:
            told, following = self.read(after)
            if told and not (self.address and post(self.address, *self.write(told, after))):
                self.note_failure(after)
                return False
            after = following
        self.note(state="told")
        return True

    def read(self, after: int) -> tuple[dict[str, _Told], int | None]:
        """What is told of the next batches by id, and the number of the last if there are more."""
        zone, row = self.zone, self.row
        found = (
            select(BatchRow)
            .join(BatchMonthRow)
            .where(BatchRow.source == row.source, BatchMonthRow.month == row.month)
        )
        counts = select(BatchMonthRow.batch, BatchMonthRow.counts).where(
            BatchMonthRow.month == row.month, BatchMonthRow.counts != ""
        )
        plan, corrected = find_plan(zone, row.month), corrected_until(zone, row.month)
        with read_session(zone.engine) as session:
            page = read_page(
                session, found, key=BatchRow.id, asked=PageAsked(limit=_BATCHES, after=after)
            )
            numbers = [one.id for one in page.rows]
            counted = dict(session.exec(counts.where(col(BatchMonthRow.batch).in_(numbers))).all())
        return {
            one.batch_id: _Told(
                batch_state(one, plan, corrected=corrected), counted.get(one.id or 0, "")
            )
            for one in page.rows
        }, page.after

    def write(self, told: Mapping[str, _Told], after: int) -> tuple[bytes, dict[str, str]]:
        """The signed notice, and CloudEvents' headers for it (binary mode of version 1.0)."""
        row = self.row
        notice = BatchNotice(
            source=row.source,
            month=row.month,
            batches={name: one.state for name, one in told.items()},
            counts={
                name: ReadingCounts.model_validate_json(one.counts)
                for name, one in told.items()
                if one.counts
            },
            at=self.now.isoformat(),
        )
        signed = sign_message(notice, key=self.zone.signing_key)
        headers = {
            "Content-Type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": f"{row.occasion}-{after}",
            "ce-source": f"/v1/sources/{row.source}",
            "ce-type": "gridsecure.batches",
            "ce-subject": row.month,
        }
        return signed.model_dump_json().encode(), headers

    def note_failure(self, after: int) -> None:
        """Try again later from here, or give up."""
        off = notices.put_off(self.row.attempts, address=self.address, now=self.now)
        self.note(after=after, **off)

    def note(self, **fields: object) -> None:
        """Change the notice's row."""
        notices.note(self.zone.engine, NoticeRow, self.row.id, fields)


def list_notices(
    session: Session, asked: PageAsked, *, source: str
) -> tuple[list[str], int | None]:
    """What a source was or will be told, oldest first, page by page."""
    found = select(NoticeRow).where(NoticeRow.source == source)
    page = read_page(session, found, key=NoticeRow.id, asked=asked)
    shown = [
        NoticeStatus(
            month=row.month,
            state=row.state,
            attempts=row.attempts,
            at=row.at.isoformat(),
            due_at=row.due_at.isoformat() if row.state == "waiting" else None,
        )
        for row in page.rows
    ]
    return [one.model_dump_json() for one in shown], page.after


def retry_notices(zone: GatewayZone, source: str, *, person: str, at: datetime) -> int:
    """Send again what was given up, with all attempts anew; how many notices that are.

    Each goes on behind the last batch that was told. The evidence log has who ordered it.

    Raises:
        NotFoundError: There is no source of that name (`not-found.source`).
        ConflictError: It is suspended (`conflict.source-suspended`), or has no address
            (`conflict.no-webhook`).
    """
    with write_session(zone.engine) as session:
        row = find(session, SourceRow, name=source)
        if row is None:
            raise NotFoundError("There is no source of that name here.", reason="not-found.source")
        if row.state == "suspended":
            raise ConflictError(
                "The source is suspended: what was given up is not sent again.",
                reason="conflict.source-suspended",
                remedy="Resume it first.",
            )
        if not row.webhook:
            raise ConflictError(
                "The source has no address that notices go to.",
                reason="conflict.no-webhook",
                remedy="Register it again with --webhook; `source remove` takes the address away.",
            )
        count = notices.send_again(session, NoticeRow, whose=NoticeRow.source == source, at=at)
        if count:
            note_change(
                zone, session, read_source(row), change="notices-again", person=person, at=at
            )
        return count
