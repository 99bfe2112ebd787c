"""Batches of readings: taken in whole or not at all, once, against a signed receipt.

    readings/<name>.parquet     a batch's readings with the rule that rejects each, or none

The name is the digest of the file, which row and receipt hold too, so that a batch that was altered
on disk is noticed. A row in the database is what makes it taken in: without one the file is
nobody's. Row and receipt are kept once the file is on disk, so what has a receipt is there.

A batch is identified by its source and the id that the source gave it, as in CloudEvents. Its
sequence says where it stands among the others, so that one which never came is noticed. Both are
taken by the first batch that has them; the same batch again is answered with the first receipt.

Faces of registers are kept as they stand, in `<name>.faces.parquet`; `stored_faces` differences
them. A face tells of what was used before and after it, so one at a month's edge is of two months.

Which readings count is decided when a month is processed. Of several of one interval an actual one
counts before an estimated one, and of equals the one that came last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import bindparam
from sqlmodel import Session, and_, col, func, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from gridsecure.billing.readings import MINUTE_US, QUALITIES, moment_us, start_us
from gridsecure.billing.registers import REGISTER
from gridsecure.errors import ConflictError, InputError, NotFoundError, StorageError
from gridsecure.gateway.ingestion.bodies import read_body
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.ingestion.stored_faces import REACH
from gridsecure.gateway.ingestion.stored_readings import (
    RULE,
    ReadingsWriter,
    batch_file,
    sync_batches,
)
from gridsecure.gateway.month_plan import MonthPlan, corrected_until, find_plan
from gridsecure.gateway.tables import BatchMonthRow, BatchRow, QueuedBatchRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import BatchReceipt, Signed, sign_message
from gridsecure.periods import BillingPeriod
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.store.rows import find

OUTSIDE_SCOPE: Final = "outside-scope"
QUALITY_FLAG: Final = "quality-flag"
FUTURE: Final = "future"

WAITING: Final = "waiting"
REFUSED: Final = "refused"
"""States of a batch that was answered before it was read."""

_BATCH_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_NEVER: Final = pd.Timestamp(0, tz="UTC")
_MOMENT: Final = pd.Timedelta(microseconds=1)
_LOOKED_AT: Final = 10_000  # batches among which gaps are looked for
_MOST_SEQUENCE: Final = 2**53  # what every JSON reader keeps exactly

BatchState = Literal["waiting", "billed", "late", "corrected"]
"""Of a month's readings: its bills are not fixed yet; fixed with them; fixed before they came, and
no correction took them up yet; taken up by a correction."""


@dataclass(frozen=True, slots=True)
class BatchName:
    """How a source names a batch.

    Args:
        batch_id: Up to 128 letters, digits and `._:-`.
        sequence: Its number among the source's batches, from 1.
    """

    batch_id: str
    sequence: int

    def check(self) -> None:
        """Refuse what is no name.

        Raises:
            InputError: It is not (`batch.name`).
        """
        if not _BATCH_ID.fullmatch(self.batch_id) or not 1 <= self.sequence <= _MOST_SEQUENCE:
            raise InputError(
                "A batch needs an id of up to 128 letters, digits and ._:- and a sequence from 1.",
                reason="batch.name",
                remedy="Send both with the batch, and the same ones when you repeat it.",
            )


@dataclass(frozen=True, slots=True)
class Arrival:
    """A batch as it came.

    Args:
        source: Whoever sent it, as it was declared then.
        at: When it came; readings of intervals that had not ended then are rejected.
    """

    source: Source
    name: BatchName
    at: datetime


_NamedRow = TypeVar("_NamedRow", BatchRow, QueuedBatchRow)

NoteReadings = Callable[[int], None]
"""Told how many readings of a batch were read, after every piece of its body."""


def take_in(
    zone: GatewayZone,
    body: SpooledBody,
    *,
    arrival: Arrival,
    note: NoteReadings = lambda _readings: None,
) -> tuple[Signed, Mapping[str, BatchState]]:
    """Take in a batch of readings; one that was taken in before changes nothing.

    Args:
        body: As `read_body` takes it; it is finished here.

    Returns:
        As `load_batch`.

    Raises:
        InputError: Its name is none (`batch.name`), or the body cannot be read, as `read_body`.
        ConflictError: Its id or its sequence is another batch's (`conflict.batch`).
        StorageError: The disk or the database could not take it; nothing is taken in.
    """
    arrival.name.check()
    digest = body.finish()
    if find_taken_in(zone, arrival, digest) is None:
        with ReadingsWriter(batch_folder(zone)) as writer:
            counts = _write(zone, body, writer=writer, arrival=arrival, note=note)
            receipt = _receipt(zone, arrival, counts, body=digest, file=writer.finish())
            prepared = _Prepared(zone, writer, _row(zone, receipt, counts), arrival, receipt.months)
            if zone.batch_turns.do(prepared, work=_keep_all):
                return prepared.row.envelope, receipt.months
    return load_batch(zone, source=arrival.source.name, batch_id=arrival.name.batch_id)


def find_taken_in(zone: GatewayZone, arrival: Arrival, digest: str) -> BatchRow | None:
    """The same batch, if it was taken in before.

    Args:
        digest: Of its body.

    Raises:
        ConflictError: Its id or its sequence is another batch's, one that was taken in or one that
            waits (`conflict.batch`).
    """
    with read_session(zone.engine) as session:
        return check_name_is_free(session, arrival, digest)


def check_name_is_free(session: Session, arrival: Arrival, digest: str) -> BatchRow | None:
    """As `find_taken_in`, in a session."""
    name = arrival.name
    wanted = {"source": arrival.source.name, "batch_id": name.batch_id, "sequence": name.sequence}
    taken = session.exec(_TAKEN, params=wanted).all()
    waiting = session.exec(_WAITING, params=wanted).all()
    known: list[BatchRow | QueuedBatchRow] = [*taken, *waiting]
    same = (*astuple(name), digest)
    if any((one.batch_id, one.sequence, one.body_digest) != same for one in known):
        raise ConflictError(
            "Another batch of the source has this id or this sequence.",
            reason="conflict.batch",
            remedy="Repeat a batch with the same body, or give a new one an id and a sequence of"
            " its own.",
        )
    return next(iter(taken), None)


def _named(table: type[_NamedRow]) -> SelectOfScalar[_NamedRow]:
    """Rows of a source that have a batch's id or its sequence, each found by an index.

    Made once: to put a statement together costs more than to run it.
    """
    of_source = col(table.source) == bindparam("source")
    same_id = and_(of_source, col(table.batch_id) == bindparam("batch_id"))
    same_sequence = and_(of_source, col(table.sequence) == bindparam("sequence"))
    return select(table).where(or_(same_id, same_sequence))


_TAKEN: Final = _named(BatchRow)
_WAITING: Final = _named(QueuedBatchRow).where(col(QueuedBatchRow.state) == WAITING)


@dataclass(slots=True)
class _Counts:
    """What a receipt says of a batch's readings.

    Args:
        note: Told of them as they are counted.
        starts: First and last start of each part of them.
        accepted: The same of those that no rule rejects.
        months: That accepted readings lie in.
        has_faces: Whether they are faces of registers.
    """

    note: NoteReadings
    readings: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    starts: list[pd.Timestamp] = field(default_factory=list)
    accepted: list[pd.Timestamp] = field(default_factory=list)
    months: set[str] = field(default_factory=set)
    has_faces: bool = False

    def add(self, readings: pd.DataFrame) -> None:
        """Count a part of the readings."""
        starts = pd.DatetimeIndex(readings["start"])
        counts = (readings[RULE] == "").to_numpy(bool)
        self.readings += len(readings)
        self.rejected.update(readings.loc[~counts, RULE])
        self.starts += [starts.min(), starts.max()]
        accepted = starts[counts].unique()
        if len(accepted):
            self.accepted += [accepted.min(), accepted.max()]
            self.months.update(_months_of(accepted))
        if REGISTER in readings:
            self.has_faces = True
            self.months.update(_months_of(accepted - _MOMENT))
        self.note(self.readings)


def _months_of(moments: pd.DatetimeIndex) -> set[str]:
    """Local months that moments lie in."""
    found = np.unique(moments.year.to_numpy(np.int64) * 12 + moments.month.to_numpy(np.int64) - 1)
    return {f"{month // 12}-{month % 12 + 1:02d}" for month in found.tolist()}


def _write(
    zone: GatewayZone,
    body: SpooledBody,
    *,
    writer: ReadingsWriter,
    arrival: Arrival,
    note: NoteReadings,
) -> _Counts:
    """Write a batch's readings and count them."""
    counts = _Counts(note)
    for found in read_body(body, source=arrival.source, timezone=zone.timezone):
        readings = _judged(found, arrival)
        counts.add(readings)
        writer.add(readings)
    return counts


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch of which all is written, and nothing is on the disk for certain."""

    zone: GatewayZone
    writer: ReadingsWriter
    row: BatchRow
    arrival: Arrival
    months: Iterable[str]


def _keep_all(batches: Sequence[_Prepared]) -> list[bool | Exception]:
    """Make batches durable and keep their rows, in one commit.

    Returns:
        Whether each is new, or why it was not kept.
    """
    outcomes: list[bool | Exception] = []
    for batch in batches:
        try:
            batch.writer.place()
            outcomes.append(True)
        except StorageError as failed:
            outcomes.append(failed)
    zone = batches[0].zone
    sync_batches(batch_folder(zone))
    with write_session(zone.engine) as session:
        for number, batch in enumerate(batches):
            if outcomes[number] is True:
                outcomes[number] = _keep(session, batch)
    return outcomes


def _keep(session: Session, batch: _Prepared) -> bool | Exception:
    """Keep a batch's row, and of which months it has readings."""
    # Looked at again: a body that came under this name in the meantime has the gateway's word.
    try:
        if check_name_is_free(session, batch.arrival, batch.row.body_digest) is not None:
            return False
    except ConflictError as taken:
        return taken
    session.add(batch.row)
    session.flush()
    session.add_all(BatchMonthRow(month=month, batch=batch.row.id or 0) for month in batch.months)
    return True


def _judged(readings: pd.DataFrame, arrival: Arrival) -> pd.DataFrame:
    """Readings with the rule that rejects each, or an empty text."""
    scope = arrival.source.meter_points
    outside = _of_texts(readings["meter_point_id"], lambda name: not name.startswith(scope))
    unknown = _of_texts(readings["quality"], lambda quality: quality not in QUALITIES)
    ends = start_us(readings) + readings["minutes"].to_numpy(np.int64) * MINUTE_US
    rules = {OUTSIDE_SCOPE: outside, QUALITY_FLAG: unknown, FUTURE: ends > moment_us(arrival.at)}
    which = np.select(list(rules.values()), np.arange(1, len(rules) + 1), default=0)
    return readings.assign(**{RULE: pd.array(["", *rules], dtype="str").take(which)})


def _of_texts(texts: pd.Series[str], holds: Callable[[str], bool]) -> NDArray[np.bool_]:
    """What holds of each text, asked once of each that there is."""
    codes, distinct = pd.factorize(texts)
    found: NDArray[np.bool_] = np.array([holds(str(one)) for one in distinct], dtype=bool)[codes]
    return found


def _receipt(
    zone: GatewayZone, arrival: Arrival, counts: _Counts, *, body: str, file: str
) -> BatchReceipt:
    """What a batch's source is told; the digests are of its body and its readings' file."""
    return BatchReceipt(
        source=arrival.source.name,
        batch_id=arrival.name.batch_id,
        sequence=arrival.name.sequence,
        body_digest=body,
        readings_digest=file,
        readings=counts.readings,
        rejected=dict(sorted(counts.rejected.items())),
        first=min(counts.starts).isoformat(),
        last=max(counts.starts).isoformat(),
        months=_months(zone, counts.months),
        taken_in_at=arrival.at.isoformat(),
    )


def _row(zone: GatewayZone, receipt: BatchReceipt, counts: _Counts) -> BatchRow:
    # A batch without accepted readings is in no month.
    span = counts.accepted or [_NEVER]
    signed = sign_message(receipt, key=zone.signing_key)
    return BatchRow(
        source=receipt.source,
        batch_id=receipt.batch_id,
        sequence=receipt.sequence,
        body_digest=receipt.body_digest,
        readings_digest=receipt.readings_digest,
        first_at=min(span).to_pydatetime(),
        last_at=max(span).to_pydatetime(),
        has_faces=counts.has_faces,
        digest=signed.digest,
        message=signed.model_dump_json(),
        at=datetime.fromisoformat(receipt.taken_in_at),
    )


def _months(zone: GatewayZone, months: Iterable[str]) -> dict[str, Literal["waiting", "late"]]:
    """What becomes of the months that accepted readings lie in."""
    return {m: "waiting" if find_plan(zone, m) is None else "late" for m in sorted(months)}


def newest_batch(zone: GatewayZone, *, month: str = "") -> int:
    """The number of the batch that came last; 0 before there is one.

    Args:
        month: Of those with readings of a month, where given.
    """
    of_month = select(func.max(BatchMonthRow.batch)).where(BatchMonthRow.month == month)
    with read_session(zone.engine) as session:
        if month:
            return session.exec(of_month).one() or 0
        return session.exec(select(func.max(col(BatchRow.id)))).one() or 0


def taken_in_at(zone: GatewayZone, month: str, *, after: int) -> datetime | None:
    """When the first batch with readings of a month came behind a batch; None if none did.

    Args:
        after: The number of that batch.
    """
    first = select(func.min(BatchMonthRow.batch)).where(
        BatchMonthRow.month == month, BatchMonthRow.batch > after
    )
    with read_session(zone.engine) as session:
        return session.exec(
            select(BatchRow.at).where(col(BatchRow.id) == first.scalar_subquery())
        ).first()


def find_batches(
    zone: GatewayZone, period: BillingPeriod, *, until: int, after: int = 0
) -> tuple[Path, ...]:
    """Files of the batches of a period, as `load_batches`.

    Args:
        until: The number of the last one that counts.
        after: The number of the last one before the first that counts.
    """
    rows = load_batches(zone, period)
    return tuple(locate_batch(zone, row) for row in rows if after < (row.id or 0) <= until)


def load_batches(zone: GatewayZone, period: BillingPeriod) -> list[BatchRow]:
    """The batches that have readings of a period, in the order in which they came.

    Faces beyond its edges are among them: they may end what begins in it.
    """
    # Ordered here: by their number, the database would read all batches of all years.
    near = select(BatchRow).where(
        col(BatchRow.last_at) >= period.start - REACH, col(BatchRow.first_at) < period.end + REACH
    )
    with read_session(zone.engine) as session:
        found = [
            row
            for row in session.exec(near)
            if row.has_faces or (row.last_at >= period.start and row.first_at < period.end)
        ]
        session.expunge_all()
    return sorted(found, key=lambda row: row.id or 0)


def list_batches(
    session: Session, asked: PageAsked, *, source: str
) -> tuple[list[str], int | None]:
    """Receipts of a source's batches, in the order in which they came, page by page."""
    found = select(BatchRow).where(BatchRow.source == source)
    page = read_page(session, found, key=BatchRow.id, asked=asked)
    return [row.message for row in page.rows], page.after


def find_gaps(zone: GatewayZone, *, source: str, limit: int) -> list[tuple[int, int]]:
    """Sequences of a source that never came before its greatest: first and last of each gap.

    Looked for among its newest batches, so that asking costs the same after years.

    Args:
        limit: Gaps at most, the first ones.
    """
    newest = select(col(BatchRow.sequence)).where(BatchRow.source == source)
    own = newest.order_by(col(BatchRow.sequence).desc()).limit(_LOOKED_AT).subquery()
    with read_session(zone.engine) as session:
        oldest = session.exec(select(func.min(own.c.sequence), func.count(own.c.sequence))).one()
    begin = oldest[0] - 1 if oldest[1] == _LOOKED_AT else 0
    before = func.coalesce(func.lag(own.c.sequence).over(order_by=own.c.sequence), begin)
    steps = select(before.label("before"), own.c.sequence.label("sequence")).subquery()
    gaps = (
        select(steps.c.before, steps.c.sequence)
        .where(steps.c.sequence > steps.c.before + 1)
        .order_by(steps.c.sequence)
        .limit(limit)
    )
    with read_session(zone.engine) as session:
        return [(before + 1, sequence - 1) for before, sequence in session.execute(gaps)]


def load_batch(
    zone: GatewayZone, *, source: str, batch_id: str
) -> tuple[Signed, Mapping[str, BatchState]]:
    """A batch's receipt, and what became of its months by now.

    Returns:
        The receipt; what became of each month.

    Raises:
        NotFoundError: The source sent none of that id (`not-found.batch`).
    """
    with read_session(zone.engine) as session:
        row = find(session, BatchRow, source=source, batch_id=batch_id)
    if row is None:
        raise NotFoundError("There is no batch of that id here.", reason="not-found.batch")
    receipt = BatchReceipt.parse(row.envelope.body)
    months = {
        month: batch_state(row, find_plan(zone, month), corrected=corrected_until(zone, month))
        for month in receipt.months
    }
    return row.envelope, months


def batch_state(row: BatchRow, plan: MonthPlan | None, *, corrected: int) -> BatchState:
    """What became of a batch's readings of a month.

    Args:
        plan: The month's plan in force, if it has one.
        corrected: The number of the last batch that counts in a correction of the month.
    """
    number = row.id or 0
    if plan is None:
        return "waiting"
    if number <= plan.until_batch:
        return "billed"
    return "corrected" if number <= corrected else "late"


def batch_folder(zone: GatewayZone) -> Path:
    """Where batches are kept, and bodies while they come."""
    return zone.folder / "readings"


def locate_batch(zone: GatewayZone, row: BatchRow) -> Path:
    """Where a batch's readings lie."""
    return batch_folder(zone) / batch_file(row.readings_digest, has_faces=row.has_faces)
