"""The gateway's database: one table for each thing it keeps, one index for each question.

A plan and a report are documents: fixed whole, read whole, and never asked for a part. They are
kept as the JSON whose digest says whether another one is the same. What was signed is kept as the
text that was signed.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from gridsecure.identity_messages import Facts
from gridsecure.store.notices import NoticeColumns
from gridsecure.store.receivers import EventNoticeColumns, ReceiverColumns, event_indexes
from gridsecure.store.rows import Kept, Moment, SignedKept
from gridsecure.store.schema import Schema


class Row(SQLModel, registry=registry()):
    """A row of the gateway's database."""


class FactsRow(Kept, Row):
    """A row with what the identity authority certified of a holder."""

    zone: str
    customer_class: str
    counted: bool
    owner: str
    at: datetime = Field(sa_type=Moment)

    @property
    def facts(self) -> Facts:
        """What was certified."""
        return Facts(
            zone=self.zone,
            customer_class=self.customer_class,
            counted=self.counted,
            owner=self.owner,
        )


class SignedRow(SignedKept, Row):
    """A row that holds a signed message."""

    digest: str


class ApprovedRow(Row):
    """A row with a change that a person asks for; it follows what is decided on it.

    Attributes:
        month: YYYY-MM.
        person: Who asks for it.
        approver: Who decided on it, if somebody did.
        decision: What that person said.
        revision: Greater than that of every row of its table that was changed before.
    """

    month: str
    state: str
    person: str
    reason: str
    approver: str = ""
    decision: str = ""
    at: datetime = Field(sa_type=Moment)
    revision: int = Field(sa_type=BigInteger, index=True)


class DocumentRow(Kept, Row):
    """A row that holds a document, and the digest of it."""

    digest: str
    document: str
    at: datetime = Field(sa_type=Moment)


# --- its billing periods


class CycleRow(Kept, Row, table=True):
    """The day of the month that the billing periods begin on; there is one row."""

    __tablename__ = "cycle"
    SAME: ClassVar = ("number", "cycle_day")

    number: int = Field(default=1, primary_key=True)
    cycle_day: int


# --- who is registered


class AgentRow(FactsRow, table=True):
    """A meter point as it is registered for a year: its pseudonyms in two domains."""

    __tablename__ = "agent"
    SAME: ClassVar = (
        "period", "meter_point_id", "billing", "settlement",
        "zone", "customer_class", "counted", "owner",
    )  # fmt: skip

    period: str = Field(primary_key=True)
    meter_point_id: str = Field(primary_key=True)
    billing: str
    settlement: str


class GatewayAgentRow(FactsRow, table=True):
    """The gateway itself as it is registered for a year."""

    __tablename__ = "gateway_agent"
    SAME: ClassVar = ("period", "subject", "zone", "customer_class", "counted", "owner")

    period: str = Field(primary_key=True)
    subject: str


class CredentialRow(FactsRow, table=True):
    """A holder's credential of a year; the first stays.

    Attributes:
        mac: The two points of the credential, one after the other.
    """

    __tablename__ = "credential"
    SAME: ClassVar = ("period", "identity")

    period: str = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    mac: bytes


class IdentityKeysRow(Kept, Row, table=True):
    """The identity authority's keys as both openers stated them; there is one row.

    Attributes:
        number: Always 1.
        digest: Of the keys alone: the same keys, signed again, are the same.
        statements: The signed statements, a JSON list.
    """

    __tablename__ = "identity_keys"
    SAME: ClassVar = ("digest",)

    number: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    digest: str
    statements: str
    at: datetime = Field(sa_type=Moment)


class KeySetRow(SignedRow, table=True):
    """The notice of one of this gateway's key sets."""

    __tablename__ = "key_set"
    SAME: ClassVar = ("key_id", "digest")

    key_id: str = Field(primary_key=True)


# --- what goes out


class RosterRow(SignedRow, table=True):
    """A roster as this gateway signed it."""

    __tablename__ = "roster"
    SAME: ClassVar = ("roster_id", "digest")

    roster_id: str = Field(primary_key=True)


class UploadRow(SignedRow, table=True):
    """An upload in the outbox.

    Attributes:
        gateway_id: Thumbprint of the pseudonym's key that signed it.
        sequence: Its number among that pseudonym's uploads, from 1.
        receipts: Name of the log's entry with the root over the commitments to its bills; empty
            where there are none.
    """

    __tablename__ = "upload"
    __table_args__ = (UniqueConstraint("gateway_id", "sequence"),)
    SAME: ClassVar = ("name", "digest")

    name: str = Field(primary_key=True)
    roster_id: str = Field(foreign_key="roster.roster_id")
    gateway_id: str
    sequence: int = Field(sa_type=BigInteger)
    state: str
    receipts: str = ""


class SealedDayRow(DocumentRow, table=True):
    """The plan of a day that is sealed, and the digest of what is sealed of it.

    Attributes:
        day: YYYY-MM-DD, local.
        month: YYYY-MM.
    """

    __tablename__ = "sealed_day"
    SAME: ClassVar = ("day", "digest")

    day: str = Field(primary_key=True)
    month: str = Field(index=True)


# --- what comes in


class SourceRow(Row, table=True):
    """A meter-data system and what it declared; registering it again replaces that.

    Attributes:
        meter_points: Beginnings of meter point ids, one a line.
        interval_minutes: Length of its intervals; 0 where each batch shows it.
        declares_zone: Whether its times may not contradict the zone.
        formats: Those that it sends, one a line; empty for all.
        unit: Of values that stand without one; empty where it declared none.
        webhook: Address that notices go to; empty for none.
        at: Since when they go there.
        state: `active`, `suspended` or `removed`.
    """

    __tablename__ = "source"

    name: str = Field(primary_key=True)
    thumbprint: str = Field(unique=True)
    meter_points: str
    stamps: str
    timezone: str
    interval_minutes: int
    declares_zone: bool
    formats: str
    unit: str
    webhook: str
    at: datetime = Field(sa_type=Moment)
    state: str


class BatchRow(SignedRow, table=True):
    """A batch that was taken in, with its receipt.

    Attributes:
        id: The order in which batches came.
        body_digest: Of the body as it was sent.
        readings_digest: Of its file, which is named by it.
        pack: Name of the pack that the file lies in; empty where it lies by itself.
        first_at: Start of its earliest reading.
        last_at: Start of its latest one.
        has_faces: Whether they are faces of registers, read at those moments.
    """

    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("source", "batch_id"),
        UniqueConstraint("source", "sequence"),
        Index("ix_batch_page", "source", "id"),
    )
    SAME: ClassVar = ("source", "batch_id", "sequence", "body_digest")

    id: int | None = Field(default=None, primary_key=True)
    source: str
    batch_id: str
    sequence: int = Field(sa_type=BigInteger)
    body_digest: str
    readings_digest: str
    pack: str
    first_at: datetime = Field(sa_type=Moment)
    last_at: datetime = Field(sa_type=Moment, index=True)
    has_faces: bool


class QueuedBatchRow(Row, table=True):
    """A batch whose body is here and was not read yet, or was read and refused.

    Attributes:
        id: The order in which they came.
        size: Of the body [bytes].
        file: Name of the body's file; a refused one has none.
        declared: What its source declared when it came, as JSON.
        state: waiting or refused.
        attempts: How often it was begun by processes that were killed in the middle.
        refusal: Why it was refused, as JSON; empty while it waits.
    """

    __tablename__ = "queued_batch"
    __table_args__ = (
        UniqueConstraint("source", "batch_id"),
        Index("ix_queued_batch_sequence", "source", "sequence"),
        Index("ix_queued_batch_state", "state", "at"),
        Index("ix_queued_batch_order", "state", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    source: str
    batch_id: str
    sequence: int = Field(sa_type=BigInteger)
    body_digest: str
    size: int = Field(sa_type=BigInteger)
    file: str
    declared: str
    state: str
    attempts: int
    refusal: str
    at: datetime = Field(sa_type=Moment)


# --- the books

CURRENT: Final = 2**31 - 1
"""In place of the revision that a row of the books is no longer in, before there is one."""


class BooksRevisionRow(Kept, Row, table=True):
    """One change of the books: an import that was applied.

    Attributes:
        digest: Names the import, and the revision that it was compared with.
        person: Who applied it.
    """

    __tablename__ = "books_revision"
    SAME: ClassVar = ("digest",)

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    digest: str = Field(unique=True)
    person: str
    added: int
    changed: int
    ended: int
    at: datetime = Field(sa_type=Moment)


class DatedRow(Row):
    """What is so of a meter point for some days, in the books from one revision until another.

    Attributes:
        valid_to: The day after the last one.
        revision: The change that entered it.
        until_revision: The change that took it out; `CURRENT` while none did.
    """

    id: int | None = Field(default=None, primary_key=True)
    meter_point_id: str
    valid_from: date
    valid_to: date
    revision: int
    until_revision: int = CURRENT


class HoldingRow(DatedRow, table=True):
    """Who holds a meter point.

    Attributes:
        account: Number of the account (户号); empty where nobody stated it.
        holder: The name that its bills are under.
    """

    __tablename__ = "holding"
    __table_args__ = (
        Index("ix_holding_meter_point", "meter_point_id", "until_revision"),
        Index("ix_holding_page", "until_revision", "id"),
        Index("ix_holding_valid_to", "valid_to"),
    )

    account: str
    holder: str


class InstalledMeterRow(DatedRow, table=True):
    """Which meter is at a meter point.

    Attributes:
        meter: Its number; empty where nobody stated it.
        multiplier: Energy is what its register counts, times this (CT and PT ratio).
        first_face_wh: What its register showed as it was built in; below zero if nobody stated it.
        final_face_wh: What it showed as it was taken out, likewise.
        register_hours: Which hours its registers count; empty if nobody stated it.
    """

    __tablename__ = "installed_meter"
    __table_args__ = (
        Index("ix_installed_meter_meter_point", "meter_point_id", "until_revision"),
        Index("ix_installed_meter_valid_to", "valid_to"),
    )

    meter: str
    multiplier: int
    first_face_wh: int = Field(sa_type=BigInteger)
    final_face_wh: int = Field(sa_type=BigInteger)
    register_hours: str


class ContractRow(DatedRow, table=True):
    """What a meter point's bill needs, by the columns of a contract frame."""

    __tablename__ = "contract"
    __table_args__ = (
        Index("ix_contract_meter_point", "meter_point_id", "until_revision"),
        Index("ix_contract_valid_to", "valid_to"),
    )

    zone: str
    customer_class: str
    tariff_id: str
    service_from: str
    large: str
    household_quota_wh: int = Field(sa_type=BigInteger)
    free_quota_wh: int = Field(sa_type=BigInteger)
    contracted_va: int = Field(sa_type=BigInteger)
    year_to_date_wh: int = Field(sa_type=BigInteger)


# --- rules


class RuleSetRow(Row, table=True):
    """A rule book that an operator handed in; of those for a month, the newest holds.

    Attributes:
        month: YYYY-MM; empty for whatever month has none of its own.
        digest: Of its text, which is among the objects.
    """

    __tablename__ = "rule_set"
    __table_args__ = (Index("ix_rule_set_month", "month", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    month: str
    digest: str
    version: str
    person: str
    at: datetime = Field(sa_type=Moment)


class BatchMonthRow(Row, table=True):
    """That a batch has accepted readings of a local month; asked by month, then by batch.

    Attributes:
        counts: What became of them, as JSON; empty before the month is done and counted.
    """

    __tablename__ = "batch_month"

    month: str = Field(primary_key=True)
    batch: int = Field(primary_key=True, foreign_key="batch.id")
    counts: str = ""


class MonthCountRow(Row, table=True):
    """That it was counted what became of the readings of a month's batches.

    Attributes:
        occasion: Digest of what it was counted after: the month's report, or its last correction.
        document: Counts by source, as JSON; empty where they could not be told.
    """

    __tablename__ = "month_count"

    month: str = Field(primary_key=True)
    occasion: str
    document: str


class NoticeRow(NoticeColumns, Row, table=True):
    """What a source is to be told of a month.

    Attributes:
        occasion: What happened, by its digest.
        after: The number of the last batch that it was told of.
    """

    __tablename__ = "notice"
    __table_args__ = (
        UniqueConstraint("month", "occasion", "source"),
        Index("ix_notice_due", "state", "due_at"),
        Index("ix_notice_page", "source", "id"),
    )

    source: str
    month: str
    occasion: str
    after: int


class ReceiverRow(ReceiverColumns, Row, table=True):
    """A receiver that the gateway tells of events."""

    __tablename__ = "receiver"


class EventNoticeRow(EventNoticeColumns, Row, table=True):
    """An event that a receiver is to be told of."""

    __tablename__ = "event_notice"
    __table_args__ = event_indexes()


class RuleTrialRow(Row, table=True):
    """A month as rules in force and other rules judge it, in counts.

    Attributes:
        rules_before: Digest of the rules in force.
        rules_after: Of the others.
    """

    __tablename__ = "rule_trial"
    __table_args__ = (Index("ix_rule_trial_month", "month", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    month: str
    rules_before: str
    rules_after: str
    person: str
    at: datetime = Field(sa_type=Moment)
    billed_before: int
    billed_after: int
    estimated_before: int = Field(sa_type=BigInteger)
    estimated_after: int = Field(sa_type=BigInteger)
    quarantined_before: int = Field(sa_type=BigInteger)
    quarantined_after: int = Field(sa_type=BigInteger)


class RuleTrialCountRow(Row, table=True):
    """How many problems a rule finds before and after."""

    __tablename__ = "rule_trial_count"

    trial: int = Field(foreign_key="rule_trial.id", primary_key=True)
    rule: str = Field(primary_key=True)
    before: int
    after: int


class ExceptionRow(Row, table=True):
    """Something that somebody has to look at; the row follows what becomes of it.

    Attributes:
        first_at: Start of the first interval concerned, if one is.
        is_unbilled: Whether the meter point is not billed because of it.
        due: A day as 2026-08-05, or empty.
        revision: Greater than that of every exception that was changed before.
    """

    __tablename__ = "exception"
    __table_args__ = (
        UniqueConstraint("month", "meter_point_id", "rule"),
        Index("ix_exception_month", "month", "state", "id"),
        Index("ix_exception_state", "state", "id"),
        Index("ix_exception_owner", "owner", "state", "id"),
        Index("ix_exception_meter_point", "meter_point_id", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    month: str
    meter_point_id: str
    rule: str
    intervals: int
    first_at: datetime | None = Field(default=None, sa_type=Moment)
    is_unbilled: bool
    state: str
    owner: str
    due: str
    opened_at: datetime = Field(sa_type=Moment)
    changed_at: datetime = Field(sa_type=Moment)
    revision: int = Field(sa_type=BigInteger, index=True)


class EditRow(ApprovedRow, table=True):
    """Readings that a person put in place of others, or vouches for.

    Attributes:
        readings_digest: Of its file, which is named by it.
    """

    __tablename__ = "edit"
    __table_args__ = (
        Index("ix_edit_month", "month", "state", "id"),
        Index("ix_edit_state", "state", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    meter_point_id: str
    kind: str
    intervals: int
    first_at: datetime = Field(sa_type=Moment)
    last_at: datetime = Field(sa_type=Moment)
    readings_digest: str


class ExceptionNoteRow(Row, table=True):
    """What was done to an exception, or said of it."""

    __tablename__ = "exception_note"

    id: int | None = Field(default=None, primary_key=True)
    exception_id: int = Field(foreign_key="exception.id", index=True)
    person: str
    text: str
    at: datetime = Field(sa_type=Moment)


# --- months


class MonthPlanRow(DocumentRow, table=True):
    """A plan of a month; the one with the greatest number is in force."""

    __tablename__ = "month_plan"
    SAME: ClassVar = ("month", "number", "digest")

    month: str = Field(primary_key=True)
    number: int = Field(primary_key=True)


class MonthReportRow(DocumentRow, table=True):
    """The report of a finished month."""

    __tablename__ = "month_report"
    SAME: ClassVar = ("month", "digest")

    month: str = Field(primary_key=True)


class CorrectionPlanRow(DocumentRow, table=True):
    """The plan of a correction; corrections of a month are numbered from 1.

    Attributes:
        until_batch: The number of the last batch that counts in it; 0 where none does.
    """

    __tablename__ = "correction_plan"
    __table_args__ = (UniqueConstraint("month", "number"),)
    SAME: ClassVar = ("name", "digest")

    name: str = Field(primary_key=True)
    month: str
    number: int
    until_batch: int


class CorrectionOrderRow(ApprovedRow, table=True):
    """A correction of a billed month by files, as a person ordered it.

    Attributes:
        readings: Digests of files of readings, one a line, in the order handed in.
        tariffs: Of tariff files, likewise.
        rules: Of a rule book among the objects; empty for none.
        books: Revision of the books that the month is to count by; 0 for the one before.
        intervals: How many intervals the month differs in, with all that nobody approved.
        meter_points: How many meter points its files of readings name, or its books say something
            else of.
    """

    __tablename__ = "correction_order"
    __table_args__ = (
        Index("ix_correction_order_month", "month", "state", "id"),
        Index("ix_correction_order_state", "state", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    readings: str
    tariffs: str
    rules: str
    books: int
    intervals: int
    meter_points: int


class CorrectionReportRow(Kept, Row, table=True):
    """The report of a finished correction."""

    __tablename__ = "correction_report"
    SAME: ClassVar = (
        "name", "corrected", "rosters", "columns", "bytes_uploaded", "late", "first_billed",
    )  # fmt: skip

    name: str = Field(primary_key=True, foreign_key="correction_plan.name")
    corrected: int
    rosters: int
    columns: int
    bytes_uploaded: int = Field(sa_type=BigInteger)
    late: int
    first_billed: int
    at: datetime = Field(sa_type=Moment)


SCHEMA = Schema(
    metadata=Row.metadata, scripts=Path(__file__).parent / "migrations", head="gateway_0030"
)
