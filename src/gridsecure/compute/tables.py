"""The platform's database: one table for each thing it keeps, one index for each question.

Whatever was signed is kept as the text that was signed (`message`), beside the columns that find
it. A billing period's `start` and `end` stay the texts that were signed, with their local offset:
what a month is, is said by its local time.

Rows are written and read by the module that is about them, through sessions of `store.database`.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import AutoString, Field, SQLModel

from gridsecure.messages import RunKind
from gridsecure.month_texts import CALENDAR
from gridsecure.store.held_policies import HeldPolicyRow
from gridsecure.store.rows import Kept, Moment, SignedKept
from gridsecure.store.schema import Schema
from gridsecure.store.usage import UsageColumns


class Row(SQLModel, registry=registry()):
    """A row of the platform's database."""


class SignedRow(SignedKept, Row):
    """A row that holds a signed message, which no other row of its table does."""

    digest: str = Field(unique=True)


# --- policy


class PolicyRow(HeldPolicyRow, Row, table=True):
    """A release policy that was taken in."""

    __tablename__ = "policy"


# --- who may act


class GatewayRow(Kept, Row, table=True):
    """A seated gateway's key and its one pseudonym."""

    __tablename__ = "gateway"
    SAME: ClassVar = ("thumbprint", "subject", "point")

    thumbprint: str = Field(primary_key=True)
    subject: str = Field(unique=True)
    point: bytes
    at: datetime = Field(sa_type=Moment)


class HolderPinRow(Kept, Row, table=True):
    """The first key a pseudonym came with."""

    __tablename__ = "holder_pin"
    SAME: ClassVar = ("subject", "thumbprint")

    subject: str = Field(primary_key=True)
    thumbprint: str
    at: datetime = Field(sa_type=Moment)


class UploadCounterRow(Row, table=True):
    """Counters that a pseudonym used: the last ones, and up to where all others are closed."""

    __tablename__ = "upload_counter"

    subject: str = Field(primary_key=True)
    closed_to: int = Field(sa_type=BigInteger)
    recent: str = ""


class DenyListRow(Kept, Row, table=True):
    """What a signed deny list says; the one with the greatest number is in force."""

    __tablename__ = "deny_list"
    SAME: ClassVar = ("sequence", "digest")

    sequence: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    digest: str
    body: str
    at: datetime = Field(sa_type=Moment)


# --- key sets


class KeySetRow(SignedRow, table=True):
    """A gateway's key set of one generation, as the key authority signed it."""

    __tablename__ = "key_set"
    __table_args__ = (UniqueConstraint("gateway_id", "parameters", "generation"),)
    SAME: ClassVar = ("key_id", "digest")

    key_id: str = Field(primary_key=True)
    gateway_id: str
    parameters: str
    generation: int


class KeyRevocationRow(SignedRow, table=True):
    """That a key set is used no more; it need not be known here."""

    __tablename__ = "key_revocation"
    SAME: ClassVar = ("key_id", "digest")

    key_id: str = Field(primary_key=True)


# --- what is taken in


class RosterRow(SignedRow, table=True):
    """A roster as its gateway signed it, the digest of its tariff, and its cycle's first day."""

    __tablename__ = "roster"
    SAME: ClassVar = ("roster_id", "digest")

    roster_id: str = Field(primary_key=True)
    gateway_id: str = Field(foreign_key="gateway.thumbprint")
    tariff: str = Field(default="", sa_column_kwargs={"server_default": ""})
    cycle_day: int = Field(default=CALENDAR, sa_column_kwargs={"server_default": "1"})


class UploadSequenceRow(Kept, Row, table=True):
    """A sequence number a gateway used, and for what."""

    __tablename__ = "upload_sequence"
    SAME: ClassVar = ("gateway_id", "sequence", "digest")

    gateway_id: str = Field(primary_key=True)
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    digest: str
    at: datetime = Field(sa_type=Moment)


class UploadRow(SignedRow, table=True):
    """An upload, pending or committed.

    Attributes:
        first_start: `start` again if this is a first upload, of which a roster has one for each
            period, and `end` behind it if that is a day; None for a correction.
        corrects: The upload this is the one correction of.
    """

    __tablename__ = "upload"
    __table_args__ = (
        UniqueConstraint("roster_id", "first_start"),
        Index("ix_upload_period", "start", "end", "state"),
    )
    SAME: ClassVar = ("digest",)

    id: int | None = Field(default=None, primary_key=True)
    roster_id: str = Field(foreign_key="roster.roster_id")
    gateway_id: str = Field(foreign_key="gateway.thumbprint")
    start: str
    end: str
    first_start: str | None
    corrects: str | None = Field(foreign_key="upload.digest", unique=True)
    state: Literal["pending", "committed"] = Field(sa_type=AutoString)


class Seat(Kept, Row):
    """Where a pseudonym sits in a period; the primary key finds all seats of a pseudonym."""

    SAME: ClassVar = ("pseudonym", "start_at", "roster_id", "end_at")

    pseudonym: str = Field(primary_key=True)
    start_at: datetime = Field(primary_key=True, sa_type=Moment)
    roster_id: str = Field(primary_key=True, foreign_key="roster.roster_id")
    end_at: datetime = Field(sa_type=Moment)
    domain: str


class SeatRow(Seat, table=True):
    """Where a pseudonym sits in a billing period."""

    __tablename__ = "seat"


class DaySeatRow(Seat, table=True):
    """Where a pseudonym sits in the days that are sealed of a month."""

    __tablename__ = "day_seat"


class BilledMembersRow(Kept, Row, table=True):
    """A digest of members whose upload was committed, in their order."""

    __tablename__ = "billed_members"
    SAME: ClassVar = ("digest",)

    digest: str = Field(primary_key=True)
    at: datetime = Field(sa_type=Moment)


class ClosingRow(SignedRow, table=True):
    """A closing list of a month."""

    __tablename__ = "closing"
    __table_args__ = (UniqueConstraint("start", "end", "number"),)
    SAME: ClassVar = ("digest",)

    digest: str = Field(primary_key=True)
    start: str
    end: str
    number: int


class StoredRow(Row, table=True):
    """What the object store has: an object, or a container of several."""

    __tablename__ = "stored"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    size: int = Field(sa_type=BigInteger)


class ExtentRow(Row, table=True):
    """Where an object lies in a container."""

    __tablename__ = "extent"

    digest: str = Field(primary_key=True)
    stored_id: int = Field(foreign_key="stored.id", index=True)
    starts: int = Field(sa_type=BigInteger)
    size: int = Field(sa_type=BigInteger)


class TallyRow(Row, table=True):
    """A total of what the platform holds (`tallies`)."""

    __tablename__ = "tally"

    name: str = Field(primary_key=True)
    total: int = Field(sa_type=BigInteger)


class UsageRow(UsageColumns, Row, table=True):
    """What a party used in a month (`usage`)."""

    __tablename__ = "usage"


# --- what is computed


class Leased(SQLModel):
    """Marks what one process at a time has in hand, until its lease ends.

    Attributes:
        owner: The process; None where nobody has it.
        fence: How often it was taken. What a process does to it counts only under the number it
            took it with, so one that lost its lease without noticing changes nothing.
        lease_until: Until when it is the owner's; then whoever comes first takes it over.
    """

    owner: str | None = None
    fence: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    lease_until: datetime | None = Field(default=None, sa_type=Moment)


class RunRow(Leased, Kept, Row, table=True):
    """A run as it was ordered, and once it ended its outcome, written with its last state.

    Attributes:
        kind: Whether it is for release, or a shadow run.
        shadow: Digest of a shadow run's signed order; else empty.
        jobs: How many jobs it has; 0 until they are known.
        jobs_done: How many of them were done when it ended.
        request_id: The release request of a run that is done.
        reason: Why it failed, a stable code.
        failure: Why it failed, in a sentence.
    """

    __tablename__ = "run"
    __table_args__ = (Index("ix_run_order", "state", "plan", "start", "end"),)
    SAME: ClassVar = (
        "run_id", "plan", "start", "end", "purpose", "requested_by", "query", "grant", "shadow",
    )  # fmt: skip

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(unique=True)
    plan: str
    start: str
    end: str
    purpose: str
    requested_by: str
    query: str
    grant: str
    kind: RunKind = Field(
        default="published",
        sa_type=AutoString,
        sa_column_kwargs={"server_default": "published"},
    )
    shadow: str = Field(default="", sa_column_kwargs={"server_default": ""})
    state: Literal["running", "done", "failed"] = Field(sa_type=AutoString)
    jobs_done: int = 0
    jobs: int = 0
    request_id: str | None = Field(default=None, foreign_key="release_request.request_id")
    reason: str | None = None
    failure: str | None = None
    at: datetime = Field(sa_type=Moment)


class JobRow(Leased, Row, table=True):
    """A job of a run at work, and what came of it until the run's owner has signed that.

    Attributes:
        spec: What to compute (`job_queue`).
        state: "open"; then "done" or "failed".
        deaths: How many processes died, or lost their lease, with it in hand.
        outcome: Its result, or why it failed (`job_queue`).
    """

    __tablename__ = "job"
    __table_args__ = (UniqueConstraint("run_id", "name"), Index("ix_job_state", "state", "id"))

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="run.run_id")
    name: str
    spec: str
    state: Literal["open", "done", "failed"] = Field(default="open", sa_type=AutoString)
    deaths: int = 0
    outcome: str | None = None


class JobSeedRow(Kept, Row, table=True):
    """A job's blinding seed."""

    __tablename__ = "job_seed"
    SAME: ClassVar = ("job", "seed")

    job: str = Field(primary_key=True)
    seed: bytes
    at: datetime = Field(sa_type=Moment)


class TranscriptRow(SignedRow, table=True):
    """The transcript of a job."""

    __tablename__ = "transcript"
    SAME: ClassVar = ("job", "digest")

    job: str = Field(primary_key=True)


class ReleaseRequestRow(SignedRow, table=True):
    """A release request; that of a month's load curves is ten megabytes to read.

    Attributes:
        closing: The closing list it is about; None for corrections.
    """

    __tablename__ = "release_request"
    __table_args__ = (
        Index("ix_release_request_period", "plan", "start", "end"),
        Index("ix_release_request_closing", "closing", "plan"),
    )
    SAME: ClassVar = ("request_id", "digest")

    id: int | None = Field(default=None, primary_key=True)
    request_id: str = Field(unique=True)
    plan: str
    start: str
    end: str
    purpose: str
    closing: str | None = Field(foreign_key="closing.digest")
    state: str = Field(index=True)


class RequestUploadRow(Kept, Row, table=True):
    """That a release request is about an upload."""

    __tablename__ = "request_upload"
    SAME: ClassVar = ("upload", "request_id")

    upload: str = Field(primary_key=True, foreign_key="upload.digest")
    request_id: str = Field(primary_key=True, foreign_key="release_request.request_id", index=True)


class ShadowRow(SignedRow, table=True):
    """An order of a shadow run as the billing office signed it.

    Attributes:
        request: What the key authority is asked, signed, once all is computed.
        state: "ordered", "waiting", then "previewed" or "refused".
    """

    __tablename__ = "shadow"
    SAME: ClassVar = ("digest",)

    id: int | None = Field(default=None, primary_key=True)
    request: str | None = None
    request_id: str | None = Field(default=None, unique=True)
    state: str = Field(index=True)


class QueryGrantRow(Kept, Row, table=True):
    """A query grant that was spent, and a digest of what for.

    Attributes:
        request_id: The release request of a sealed query; empty where a run was started.
    """

    __tablename__ = "query_grant"
    SAME: ClassVar = ("grant_id", "used")

    grant_id: str = Field(primary_key=True)
    used: str
    request_id: str = Field(default="", sa_column_kwargs={"server_default": ""})
    at: datetime = Field(sa_type=Moment)


SCHEMA = Schema(
    metadata=Row.metadata, scripts=Path(__file__).parent / "migrations", head="platform_0012"
)
