"""Batches of readings: taken in whole or not at all, once, against a signed receipt.

    readings/<name>.parquet     a batch's readings with the rule that rejects each, or none
    readings/<name>.zip         such files of small batches that came together (`batch_packs`)

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
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from sqlalchemy import TextClause, insert, text
from sqlmodel import Session, col, func, select

from gridsecure.billing.readings import start_us
from gridsecure.billing.registers import REGISTER
from gridsecure.errors import (
    ConflictError,
    GridSecureError,
    InputError,
    NotFoundError,
    StorageError,
)
from gridsecure.gateway.books.register import find_contracted
from gridsecure.gateway.ingestion.batch_packs import PACK
from gridsecure.gateway.ingestion.batch_rules import (
    RULES,
    Counts,
    NoteReadings,
    ReadingColumns,
    broken_rules,
    local_moment,
)
from gridsecure.gateway.ingestion.bodies import read_body
from gridsecure.gateway.ingestion.sources import Source, find_stopped
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.ingestion.stored_faces import REACH
from gridsecure.gateway.ingestion.stored_readings import (
    RULE,
    ReadingsWriter,
    RejectedRow,
    batch_file,
    find_rejected,
    sync_batches,
)
from gridsecure.gateway.month_plan import MonthPlan, corrected_until, find_plan
from gridsecure.gateway.tables import BatchMonthRow, BatchRow, QueuedBatchRow
from gridsecure.gateway.zone import GatewayZone, IntakeZone
from gridsecure.messages import BatchReceipt, ReadingCounts, Signed, sign_message
from gridsecure.periods import BillingPeriod
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, read_page
from gridsecure.store.rows import find

WAITING: Final = "waiting"
REFUSED: Final = "refused"
"""States of a batch that was answered before it was read."""

_BATCH_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_LOOKED_AT: Final = 10_000  # batches among which gaps are looked for
_MOST_SEQUENCE: Final = 2**53  # what every JSON reader keeps exactly

BatchState = Literal["waiting", "done", "late", "corrected"]
"""Of a month's readings: its bills are not fixed yet; fixed, and they were read for that; fixed
before they came, and no correction took them up yet; taken up by a correction."""


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
        is_answered: Whether it was answered for before it is read: its source may be stopped since.
    """

    source: Source
    name: BatchName
    at: datetime
    is_answered: bool = False


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A batch that was taken in.

    Args:
        source: Name of its source.
        receipt: A signed `BatchReceipt`, the first one.
        months: How far each month is that it has readings of, by now.
        counts: What became of these readings, of each month of which it is known.
    """

    source: str
    receipt: Signed
    months: Mapping[str, BatchState]
    counts: Mapping[str, ReadingCounts] = field(default_factory=dict)


class KnownNames:
    """Which ids and sequences of sources are other batches', as a session sees them."""

    def __init__(self, session: Session, arrivals: Sequence[Arrival]) -> None:
        """Look for what has the id or the sequence of one of some batches, of one at least."""
        self._known: dict[tuple[str, str | int], list[_Named]] = {}
        ids = sorted({(one.source.name, one.name.batch_id) for one in arrivals})
        sequences = sorted({(one.source.name, one.name.sequence) for one in arrivals})
        given: dict[str, Any] = {"waiting": WAITING}
        for kind, names in (("id", ids), ("sequence", sequences)):
            for place, (source, name) in enumerate(names):
                given |= {f"{kind}_source_{place}": source, f"{kind}_{place}": name}
        connection = session.connection()
        for row in connection.execute(_named(len(ids), len(sequences)), given):
            self._add(row.source, _Named(*row[1:]))

    def check(self, arrival: Arrival, digest: str) -> bool:
        """Whether the same batch was taken in before.

        Args:
            digest: Of its body.

        Raises:
            ConflictError: Its id or its sequence is another batch's, one that was taken in or one
                that waits (`conflict.batch`).
        """
        source, name = arrival.source.name, arrival.name
        of_id = self._known.get((source, name.batch_id), [])
        known = [*of_id, *self._known.get((source, name.sequence), [])]
        if any(one[:-1] != (*astuple(name), digest) for one in known):
            raise ConflictError(
                "Another batch of the source has this id or this sequence.",
                reason="conflict.batch",
                remedy="Repeat a batch with the same body, or give a new one an id and a sequence"
                " of its own.",
            )
        return any(one.is_taken for one in known)

    def take(self, arrival: Arrival, digest: str) -> bool | ConflictError:
        """Have a batch hold its name from here on; False if it was taken in before."""
        try:
            if self.check(arrival, digest):
                return False
        except ConflictError as taken:
            return taken
        named = _Named(arrival.name.batch_id, arrival.name.sequence, digest, is_taken=True)
        self._add(arrival.source.name, named)
        return True

    def _add(self, source: str, named: _Named) -> None:
        for key in (named.batch_id, named.sequence):
            self._known.setdefault((source, key), []).append(named)


class _Named(NamedTuple):
    """What has a name."""

    batch_id: str
    sequence: int
    digest: str
    is_taken: bool


_OF_NAME: Final = """
SELECT batch.source, batch.batch_id, batch.sequence, batch.body_digest, {is_taken} AS is_taken
FROM named_{kind} JOIN {table} AS batch
ON batch.source = named_{kind}.source AND batch.{column} = named_{kind}.name{state}
"""


@lru_cache(maxsize=512)
def _named(ids: int, sequences: int) -> TextClause:
    """Batches by their sources and ids, and by sources and sequences, found by an index.

    A join: to find several pairs with `IN`, SQLite looks at every batch that ever came. Made once
    for so many names, because to put a statement together costs more than to run it.
    """
    kinds = (("id", "batch_id", ids), ("sequence", "sequence", sequences))
    tables = (
        (BatchRow.__tablename__, "TRUE", ""),
        (QueuedBatchRow.__tablename__, "FALSE", " AND batch.state = :waiting"),
    )
    wanted = ", ".join(
        f"named_{kind} (source, name) AS (VALUES "
        + ", ".join(f"(:{kind}_source_{place}, :{kind}_{place})" for place in range(count))
        + ")"
        for kind, _, count in kinds
    )
    found = (
        _OF_NAME.format(kind=kind, table=table, column=column, is_taken=is_taken, state=state)
        for kind, column, _ in kinds
        for table, is_taken, state in tables
    )
    return text(f"WITH {wanted} {'UNION ALL'.join(found)}")


def is_taken_in(zone: GatewayZone, arrival: Arrival, digest: str) -> bool:
    """As `KnownNames.check`, of one batch."""
    with read_session(zone.engine) as session:
        known = KnownNames(session, [arrival])
    return known.check(arrival, digest)


def take_in(
    zone: GatewayZone,
    body: SpooledBody,
    *,
    arrival: Arrival,
    note: NoteReadings = lambda _readings: None,
) -> TakenIn:
    """Take in a batch of readings; one that was taken in before changes nothing.

    Args:
        body: As `read_body` takes it; it is finished here.

    Raises:
        InputError: Its name is none (`batch.name`), or the body cannot be read, as `read_body`.
        ConflictError: Its id or its sequence is another batch's (`conflict.batch`).
        GridSecureError: Its source may send no longer, as `find_source`; nothing is taken in.
        StorageError: The disk or the database could not take it; nothing is taken in.
    """
    arrival.name.check()
    digest = body.finish()
    if not is_taken_in(zone, arrival, digest):
        with ReadingsWriter(batch_folder(zone)) as writer:
            counts = _write(zone, body, writer=writer, arrival=arrival, note=note)
            written = WrittenBatch(arrival, counts, digest, writer.finish())
            prepared = prepare_batch(
                zone,
                written,
                months=states_of(zone, counts.months),
                contracted=find_contracted(zone, counts.meter_points),
            )
            if zone.batch_turns.do((writer, prepared), work=_keep_files):
                return prepared.taken_in
    return load_batch(zone, source=arrival.source.name, batch_id=arrival.name.batch_id)


def _write(
    zone: GatewayZone,
    body: SpooledBody,
    *,
    writer: ReadingsWriter,
    arrival: Arrival,
    note: NoteReadings,
) -> Counts:
    """Write a batch's readings and count them."""
    counts = Counts(zone.timezone, zone.cycle_day, note)
    for readings in read_body(
        body, source=arrival.source, timezone=zone.timezone, passed_over=counts.passed_over
    ):
        columns = _columns(readings)
        broken = broken_rules(columns, scope=arrival.source.meter_points, at=arrival.at)
        counts.add(columns, broken, are_faces=REGISTER in readings)
        writer.add(readings.assign(**{RULE: pd.array(RULES, dtype="str").take(broken)}))
    return counts


def _columns(readings: pd.DataFrame) -> ReadingColumns:
    meters, names = pd.factorize(readings["meter_point_id"])
    qualities, flags = pd.factorize(readings["quality"])
    minutes = readings["minutes"].to_numpy(np.int64)
    return ReadingColumns(
        names.tolist(), meters, flags.tolist(), qualities, start_us(readings), minutes
    )


@dataclass(frozen=True, slots=True)
class WrittenBatch:
    """A batch whose readings are in a file that is still to be kept.

    Args:
        body_digest: Of the body as it was sent.
        readings_digest: Of the file.
        pack: Name of the pack that it is in, or none.
    """

    arrival: Arrival
    counts: Counts
    body_digest: str
    readings_digest: str
    pack: str = ""


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch of which all is written and signed, and whose row is still to be kept.

    Args:
        taken_in: What its source is told once it is.
        row: Of its table, as values.
    """

    zone: IntakeZone
    written: WrittenBatch
    taken_in: TakenIn
    row: Mapping[str, Any]


def prepare_batch(
    zone: IntakeZone,
    written: WrittenBatch,
    *,
    months: Mapping[str, BatchState],
    contracted: Collection[str],
) -> PreparedBatch:
    """Sign for a batch.

    Args:
        months: What becomes of each month that it has readings of, as `states_of` says.
        contracted: Those of its meter points that have a contract.
    """
    arrival, counts = written.arrival, written.counts
    first, last = (
        local_moment(edge, timezone=zone.timezone).isoformat()
        for edge in (min(counts.starts), max(counts.starts))
    )
    receipt = BatchReceipt(
        source=arrival.source.name,
        batch_id=arrival.name.batch_id,
        sequence=arrival.name.sequence,
        body_digest=written.body_digest,
        readings_digest=written.readings_digest,
        readings=counts.readings,
        rejected=dict(sorted(counts.rejected.items())),
        rejected_digest=counts.rejected_digest,
        next_steps=_next_steps(counts, months),
        without_contract=sum(
            count for name, count in counts.meter_points.items() if name not in contracted
        ),
        passed_over=dict(sorted(counts.passed_over.items())),
        first=first,
        last=last,
        months={month: _as_sent(months[month]) for month in sorted(counts.months)},
        taken_in_at=arrival.at.isoformat(),
    )
    signed = sign_message(receipt, key=zone.signing_key)
    row = _row(zone, receipt, counts) | {
        "pack": written.pack,
        "digest": signed.digest,
        "message": signed.model_dump_json(),
    }
    return PreparedBatch(zone, written, TakenIn(receipt.source, signed, receipt.months), row)


def _next_steps(
    counts: Counts, months: Mapping[str, BatchState]
) -> dict[Literal["billing", "correction"], int]:
    """What a batch's readings wait for, and how many do."""
    steps: Counter[Literal["billing", "correction"]] = Counter()
    for month, count in counts.months.items():
        steps["billing" if months[month] == "waiting" else "correction"] += count
    return dict(+steps)


def _as_sent(state: BatchState) -> Literal["waiting", "late"]:
    return "waiting" if state == "waiting" else "late"


def _row(zone: IntakeZone, receipt: BatchReceipt, counts: Counts) -> dict[str, Any]:
    # A batch without accepted readings is in no month.
    span = counts.accepted or [0]
    named = ("source", "batch_id", "sequence", "body_digest", "readings_digest")
    return {name: getattr(receipt, name) for name in named} | {
        "first_at": local_moment(min(span), timezone=zone.timezone),
        "last_at": local_moment(max(span), timezone=zone.timezone),
        "has_faces": counts.has_faces,
        "at": datetime.fromisoformat(receipt.taken_in_at),
    }


def _keep_files(
    batches: Sequence[tuple[ReadingsWriter, PreparedBatch]],
) -> list[bool | GridSecureError]:
    """As `keep_batches`, with their files, each of which may fail by itself."""
    outcomes: dict[int, bool | GridSecureError] = {}
    # Names are given once all bytes are on the disk: each turn of the two would be a wait of its
    # own for the file system's journal.
    for step in (ReadingsWriter.sync, ReadingsWriter.place):
        for number, (writer, _) in enumerate(batches):
            try:
                if number not in outcomes:
                    step(writer)
            except StorageError as failed:
                outcomes[number] = failed
    sync_batches(batch_folder(batches[0][1].zone))
    there = [number for number in range(len(batches)) if number not in outcomes]
    kept = keep_batches([batches[number][1] for number in there])
    outcomes |= dict(zip(there, kept, strict=True))
    return [outcomes[number] for number in range(len(batches))]


def keep_batches(batches: Sequence[PreparedBatch]) -> list[bool | GridSecureError]:
    """Keep the rows of batches whose files are on the disk, in one commit.

    Returns:
        Whether each is new, or why it was not kept.

    Raises:
        StorageError: The database could not take any of them.
    """
    if not batches:
        return []
    with write_session(batches[0].zone.engine) as session:
        # Looked at again: a source that was stopped in the meantime sends nothing any more, and a
        # body that came under a name has the gateway's word.
        arrivals = [batch.written.arrival for batch in batches]
        stopped = find_stopped(session, [one.source for one in arrivals if not one.is_answered])
        known = KnownNames(session, arrivals)
        outcomes = [
            _why_stopped(one.written.arrival, stopped)
            or known.take(one.written.arrival, one.written.body_digest)
            for one in batches
        ]
        kept = [one for one, outcome in zip(batches, outcomes, strict=True) if outcome is True]
        _keep(session, kept)
    return list(outcomes)


def _why_stopped(
    arrival: Arrival, stopped: Mapping[str, GridSecureError]
) -> GridSecureError | None:
    return None if arrival.is_answered else stopped.get(arrival.source.thumbprint)


def _keep(session: Session, batches: Sequence[PreparedBatch]) -> None:
    """Keep batches' rows, and of which months they have readings."""
    if not batches:
        return
    numbers = session.scalars(_INSERT, [batch.row for batch in batches]).all()
    months = [
        {"month": month, "batch": number}
        for number, batch in zip(numbers, batches, strict=True)
        for month in batch.taken_in.months
    ]
    if months:
        session.execute(insert(BatchMonthRow), months)


_INSERT: Final = insert(BatchRow).returning(col(BatchRow.id), sort_by_parameter_order=True)


def states_of(zone: IntakeZone, months: Iterable[str]) -> dict[str, BatchState]:
    """What becomes of months that readings which come now lie in: they wait, or are late."""
    return {month: "waiting" if find_plan(zone, month) is None else "late" for month in months}


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


def load_batch(zone: IntakeZone, *, source: str, batch_id: str) -> TakenIn:
    """A batch's receipt, how far its months are by now, and what became of its readings.

    Raises:
        NotFoundError: The source sent none of that id (`not-found.batch`).
    """
    with read_session(zone.engine) as session:
        row = find_batch(session, source=source, batch_id=batch_id)
    receipt = BatchReceipt.parse(row.envelope.body)
    months = {
        month: batch_state(row, find_plan(zone, month), corrected=corrected_until(zone, month))
        for month in receipt.months
    }
    return TakenIn(source, row.envelope, months, find_counts(zone, row, months=receipt.months))


def list_rejected(
    zone: GatewayZone, row: BatchRow, asked: PageAsked
) -> tuple[list[RejectedRow], int | None]:
    """Readings of a batch that a rule rejects, page by page; as many as its receipt counts.

    Raises:
        StorageError: The batch's file is gone or was altered (`storage.read`).
    """
    if not BatchReceipt.parse(row.envelope.body).rejected:
        return [], None
    found = find_rejected(locate_batch(zone, row), after=asked.after, limit=asked.limit + 1)
    page = found[: asked.limit]
    return page, page[-1].number if len(found) > asked.limit else None


def find_batch(session: Session, *, source: str, batch_id: str) -> BatchRow:
    """A batch that was taken in.

    Raises:
        NotFoundError: The source sent none of that id (`not-found.batch`).
    """
    row = find(session, BatchRow, source=source, batch_id=batch_id)
    if row is None:
        raise NotFoundError("There is no batch of that id here.", reason="not-found.batch")
    return row


def find_counts(
    zone: IntakeZone, row: BatchRow, *, months: Iterable[str]
) -> dict[str, ReadingCounts]:
    """What became of a batch's readings, of each month of which it was counted."""
    own = select(BatchMonthRow.month, BatchMonthRow.counts).where(
        BatchMonthRow.batch == row.id, col(BatchMonthRow.month).in_(tuple(months))
    )
    with read_session(zone.engine) as session:
        found = session.exec(own).all()
    return {month: ReadingCounts.model_validate_json(text) for month, text in found if text}


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
        return "done"
    return "corrected" if number <= corrected else "late"


def batch_folder(zone: IntakeZone) -> Path:
    """Where batches are kept, and bodies while they come."""
    return zone.folder / "readings"


def locate_batch(zone: GatewayZone, row: BatchRow) -> Path:
    """Where a batch's readings lie."""
    folder = batch_folder(zone) / f"{row.pack}{PACK}" if row.pack else batch_folder(zone)
    return folder / batch_file(row.readings_digest, has_faces=row.has_faces)
