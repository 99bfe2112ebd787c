"""The checker's database: one table for each thing it keeps, one index for each question.

Whatever was signed is kept as the text that was signed (`message`), beside the columns that find
it. What a release spends and tells is written in the transaction that keeps its certificate.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal

from sqlalchemy import ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import registry
from sqlmodel import AutoString, Field, SQLModel

from gridsecure.plans.cells import WHOLE
from gridsecure.released_values import SignedCertificate
from gridsecure.store.held_policies import HeldPolicyRow
from gridsecure.store.receivers import EventNoticeColumns, ReceiverColumns, event_indexes
from gridsecure.store.rows import Kept, Moment, SignedKept
from gridsecure.store.schema import Schema
from gridsecure.store.usage import UsageColumns


class Row(SQLModel, registry=registry()):
    """A row of the checker's database."""


class SignedRow(SignedKept, Row):
    """A row that holds a signed message, which no other row of its table does."""

    digest: str = Field(unique=True)


def _of_a_release() -> ForeignKey:
    return ForeignKey("release.release_id", deferrable=True, initially="DEFERRED")


# --- key sets


class KeySetRow(SignedRow, table=True):
    """A gateway's key set of one generation, as this authority signed its notice."""

    __tablename__ = "key_set"
    __table_args__ = (UniqueConstraint("gateway", "parameters", "generation"),)
    SAME: ClassVar = ("key_id", "digest")

    id: int | None = Field(default=None, primary_key=True)
    key_id: str = Field(unique=True)
    gateway: str
    parameters: str
    generation: int
    state: str


class KeyRevocationRow(SignedRow, table=True):
    """That a key set is used no more."""

    __tablename__ = "key_revocation"
    SAME: ClassVar = ("key_id", "digest")

    key_id: str = Field(primary_key=True, foreign_key="key_set.key_id")


# --- seats


class SeatedRosterRow(Kept, Row, table=True):
    """That the seats of a signed roster were checked, and for which gateway they speak.

    Checked is what is named by digest, from the identity authority's keys: a roster that differs in
    anything, and an authority that trusts other keys, finds no row.
    """

    __tablename__ = "seated_roster"
    SAME: ClassVar = ("roster", "identity", "point")

    roster: str = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    point: bytes


# --- policy


class PolicyRow(HeldPolicyRow, Row, table=True):
    """A release policy that was taken in."""

    __tablename__ = "policy"


# --- approvals


class SubjectRow(Kept, Row, table=True):
    """What was asked to be released under some policy, as approvers see it.

    Attributes:
        digest: What they sign.
        text: Its exact text.
        state: "waiting", "rejected", "refused" or "released".
    """

    __tablename__ = "release_subject"
    __table_args__ = (
        UniqueConstraint("request_id", "policy"),
        Index("ix_release_subject_state", "state"),
    )
    SAME: ClassVar = ("digest",)

    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(unique=True)
    request_id: str
    policy: str
    text: str
    state: str
    at: datetime = Field(sa_type=Moment)


class AgreedReleaseRow(Kept, Row, table=True):
    """Under which agreement somebody asked for a release.

    Attributes:
        state: "named", or "spent" once the release was made under it.
        proof: An `AgreementProof`, as it came.
    """

    __tablename__ = "agreed_release"
    __table_args__ = (
        UniqueConstraint("release_id", "agreement"),
        Index("ix_agreed_release_agreement", "agreement", "state"),
    )
    SAME: ClassVar = ("release_id", "agreement")

    id: int | None = Field(default=None, primary_key=True)
    release_id: str
    agreement: str
    state: str
    proof: str
    at: datetime = Field(sa_type=Moment)


class ApprovalRow(SignedRow, table=True):
    """What an officer decided about a subject.

    Attributes:
        signer: Thumbprint of the officer's key.
        state: "given", or "expired" once a round found it so.
    """

    __tablename__ = "approval"
    SAME: ClassVar = ("digest",)

    id: int | None = Field(default=None, primary_key=True)
    subject: str = Field(foreign_key="release_subject.digest", index=True)
    signer: str
    decision: str
    expires_at: datetime = Field(sa_type=Moment)
    state: str


class AuthorisationRow(SignedRow, table=True):
    """A standing authorisation of an officer.

    Attributes:
        signer: Thumbprint of the officer's key.
        state: "in-force" or "revoked".
    """

    __tablename__ = "authorisation"
    __table_args__ = (Index("ix_authorisation_expires", "state", "expires_at"),)
    SAME: ClassVar = ("digest",)

    id: int | None = Field(default=None, primary_key=True)
    signer: str
    expires_at: datetime = Field(sa_type=Moment)
    state: str


class ApproverRevocationRow(Kept, Row, table=True):
    """That an officer's key approves nothing any more."""

    __tablename__ = "approver_revocation"
    SAME: ClassVar = ("signer",)

    signer: str = Field(primary_key=True)
    at: datetime = Field(sa_type=Moment)


# --- what was released


class ReleaseRow(SignedRow, table=True):
    """The certificate of a release, under the name of the request that it answers.

    Attributes:
        cells: Those with a value.
        suppressed: Those without.
    """

    __tablename__ = "release"
    __table_args__ = (Index("ix_release_asked", "requested_by", "purpose"),)
    SAME: ClassVar = ("release_id", "digest")

    @property
    def certificate(self) -> SignedCertificate:
        """The certificate as signed, with its values beside it."""
        return SignedCertificate.parse(self.message)

    id: int | None = Field(default=None, primary_key=True)
    release_id: str = Field(unique=True)
    plan: str
    purpose: str
    requested_by: str
    start: str = Field(sa_column_kwargs={"server_default": ""})
    end: str = Field(sa_column_kwargs={"server_default": ""})
    released_at: str = Field(sa_column_kwargs={"server_default": ""})
    cells: int = Field(sa_column_kwargs={"server_default": "0"})
    suppressed: int = Field(sa_column_kwargs={"server_default": "0"})


class ReleasedTranscriptRow(Kept, Row, table=True):
    """That a release rests on a transcript."""

    __tablename__ = "released_transcript"
    SAME: ClassVar = ("transcript", "release_id")

    transcript: str = Field(primary_key=True)
    release_id: str = Field(primary_key=True, foreign_key="release.release_id")


class ClosingRow(SignedRow, table=True):
    """A closing list that a certificate rests on."""

    __tablename__ = "closing"
    __table_args__ = (UniqueConstraint("start", "end", "number"),)
    SAME: ClassVar = ("digest",)

    digest: str = Field(primary_key=True)
    start: str
    end: str
    number: int


class BillVersionRow(Kept, Row, table=True):
    """One released version of a roster's bills, in a chain named by its first upload."""

    __tablename__ = "bill_version"
    __table_args__ = (UniqueConstraint("first", "revision"),)
    SAME: ClassVar = ("upload", "first", "revision", "release_id", "transcript", "outputs")

    id: int | None = Field(default=None, primary_key=True)
    first: str
    revision: int
    upload: str = Field(unique=True)
    corrects: str | None
    roster: str
    roster_id: str
    tariff: str
    transcript: str
    plan_version: int
    outputs: str
    start: str
    end: str
    slots: int
    corrected: int
    release_id: str = Field(sa_column_args=(_of_a_release(),))
    at: datetime = Field(sa_type=Moment)


# --- the ledger


class SeedRow(Kept, Row, table=True):
    """What a name stands for, for good.

    Which transcript a blinding seed belongs to, which upload corrects another, which one a sealed
    day is, which request carries a sealed query, and which query a returned grant was used for.
    """

    __tablename__ = "seed"
    SAME: ClassVar = ("seed", "transcript")

    seed: str = Field(primary_key=True)
    transcript: str
    at: datetime = Field(sa_type=Moment)


class ClaimRow(Kept, Row, table=True):
    """What is released once and was: an upload's bills, a day of its load curve."""

    __tablename__ = "claim"
    SAME: ClassVar = ("claim", "transcript", "release_id")

    claim: str = Field(primary_key=True)
    transcript: str
    release_id: str = Field(sa_column_args=(_of_a_release(),))
    at: datetime = Field(sa_type=Moment)


class CohortRow(Kept, Row, table=True):
    """An upload of which something was told, or the roster of a month's sealed days.

    Attributes:
        upload: The upload's digest, or a name of the roster and month.
        by_day: Whether it is the latter.
        seats: The list of its pseudonyms.
    """

    __tablename__ = "cohort"
    __table_args__ = (Index("ix_cohort_time", "domain", "end_at"),)
    SAME: ClassVar = ("upload",)

    upload: str = Field(primary_key=True)
    by_day: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    seats: str = Field(index=True, sa_column_kwargs={"server_default": ""})
    domain: str
    start_at: datetime = Field(sa_type=Moment)
    end_at: datetime = Field(sa_type=Moment)
    at: datetime = Field(sa_type=Moment)


class SeatListRow(Kept, Row, table=True):
    """The pseudonyms of a roster, kept once however many months it is billed.

    Attributes:
        name: The roster's id, which is half the digest of its content; of what was told before
            there were lists, the cohort's name.
        digest: Of all its pseudonyms in their order; empty of lists of earlier releases.
    """

    __tablename__ = "seat_list"
    SAME: ClassVar = ("name",)

    name: str = Field(primary_key=True)
    digest: str = Field(sa_column_kwargs={"server_default": ""})


class ListedSeatRow(Kept, Row, table=True):
    """A pseudonym of such a list."""

    __tablename__ = "listed_seat"
    SAME: ClassVar = ("pseudonym", "seats")

    pseudonym: str = Field(primary_key=True)
    seats: str = Field(primary_key=True, foreign_key="seat_list.name")


class ToldSetRow(Kept, Row, table=True):
    """A set of a cell's members that something was told of, named by what it says.

    Attributes:
        kind: What was told: of the "month", or of a "day" that was sealed. Of a "changed" set
            nothing was: its readings were others when the month was billed than when days were
            sealed.
        minimum: Fewest customers that it may be about, as policy said then.
        largest_share: No customer had more of its month [%]; 100 where nothing was compared.
        members: The list of its members.
    """

    __tablename__ = "told_set"
    __table_args__ = (Index("ix_told_set_period", "domain", "start_at", "end_at"),)
    SAME: ClassVar = ("name",)

    name: str = Field(primary_key=True)
    minimum: int = Field(sa_column_kwargs={"server_default": "15"})
    largest_share: int = Field(default=WHOLE, sa_column_kwargs={"server_default": "100"})
    kind: Literal["month", "day", "changed"] = Field(
        default="month", sa_type=AutoString, sa_column_kwargs={"server_default": "month"}
    )
    domain: str
    start_at: datetime = Field(sa_type=Moment)
    end_at: datetime = Field(sa_type=Moment)
    zone: str
    customer_class: str
    members: str = Field(sa_column_kwargs={"server_default": ""})
    at: datetime = Field(sa_type=Moment)


class MemberListRow(Kept, Row, table=True):
    """The members of told sets, kept once however many months the same are told of.

    Attributes:
        name: By its content; of what was told before there were lists, the set's name.
    """

    __tablename__ = "member_list"
    SAME: ClassVar = ("name",)

    name: str = Field(primary_key=True)


class ListedMemberRow(Kept, Row, table=True):
    """A member of such a list, as `plans.cells.Member`."""

    __tablename__ = "listed_member"
    SAME: ClassVar = ("members", "name", "owner", "counts")

    members: str = Field(primary_key=True, foreign_key="member_list.name")
    name: str = Field(primary_key=True)
    owner: str
    counts: bool


class ToldEdgeRow(Kept, Row, table=True):
    """That what was told of a set says how many or how much is above an edge.

    Attributes:
        edge: In kWh a month; 0 where it depends on none, and is looked at beside such that do; -1
            where it is of squares, and -2 where the vault looked at squares and told nothing.
    """

    __tablename__ = "told_edge"
    SAME: ClassVar = ("told_set", "edge")

    told_set: str = Field(primary_key=True, foreign_key="told_set.name")
    edge: int = Field(primary_key=True)
    at: datetime = Field(sa_type=Moment)


class SpentBudgetRow(Kept, Row, table=True):
    """That a release, or a preview, counts in a month's budget of what policy permits.

    Attributes:
        month: The calendar month of the release, as 2026-07.
    """

    __tablename__ = "spent_budget"
    __table_args__ = (
        Index(
            "ix_spent_budget_case",
            *("month", "purpose", "role", "resolution", "measure", "customer_class"),
        ),
    )
    SAME: ClassVar = ("release_id", "measure", "resolution", "customer_class")

    release_id: str = Field(primary_key=True)
    measure: str = Field(primary_key=True)
    resolution: str = Field(primary_key=True)
    customer_class: str = Field(primary_key=True)
    role: str
    purpose: str
    month: str
    at: datetime = Field(sa_type=Moment)


class SpentNoiseRow(Kept, Row, table=True):
    """What a question with noise costs of a month's readings; kept before it is decrypted.

    Attributes:
        month: Of the readings, as 2026-07.
        epsilon: In millionths.
        metered: Whether the log has an entry of it: not of what was charged before it had any.
    """

    __tablename__ = "spent_noise"
    __table_args__ = (Index("ix_spent_noise_month", "month", "customer_class"),)
    SAME: ClassVar = ("request_id", "month", "customer_class", "epsilon")

    request_id: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    customer_class: str = Field(primary_key=True)
    epsilon: int
    at: datetime = Field(sa_type=Moment)
    metered: bool = Field(default=True, sa_column_kwargs={"server_default": false()})


class ToldMonthRow(Kept, Row, table=True):
    """Which kind of numbers analysts are told of a month's readings, for good.

    Attributes:
        told: "exactly" or "noisily".
    """

    __tablename__ = "told_month"
    SAME: ClassVar = ("month", "told")

    month: str = Field(primary_key=True)
    told: str
    at: datetime = Field(sa_type=Moment)


# --- shadow runs


class PreviewRow(SignedRow, table=True):
    """What a shadow run would change, told once to an order of the billing office."""

    __tablename__ = "preview"
    SAME: ClassVar = ("preview_id", "digest")

    id: int | None = Field(default=None, primary_key=True)
    preview_id: str = Field(unique=True)
    order: str = Field(unique=True)


class PreviewCellRow(Kept, Row, table=True):
    """How many questions a preview asks of a cell and month: kept before it is answered, or not.

    Attributes:
        metered: Whether the log has an entry of it: not of what was spent before there was usage.
    """

    __tablename__ = "preview_cell"
    __table_args__ = (Index("ix_preview_cell_period", "domain", "start_at", "end_at"),)
    SAME: ClassVar = ("preview_id", "zone", "customer_class", "questions")

    preview_id: str = Field(primary_key=True)
    zone: str = Field(primary_key=True)
    customer_class: str = Field(primary_key=True)
    domain: str
    start_at: datetime = Field(sa_type=Moment)
    end_at: datetime = Field(sa_type=Moment)
    questions: int
    metered: bool = Field(default=True, sa_column_kwargs={"server_default": false()})


# --- queries


class QueryGrantRow(Kept, Row, table=True):
    """One grant for one request, and one request for one grant."""

    __tablename__ = "query_grant"
    SAME: ClassVar = ("request_id", "token", "used")

    request_id: str = Field(primary_key=True)
    token: str = Field(unique=True)
    used: str
    at: datetime = Field(sa_type=Moment)


class QuestionRow(Kept, Row, table=True):
    """A sealed question that officers are asked about; it stays sealed here.

    Attributes:
        sealed: As the query carried it.
        reader: Whom the query names.
    """

    __tablename__ = "question"
    SAME: ClassVar = ("request_id", "sealed", "reader")

    request_id: str = Field(primary_key=True)
    sealed: str
    reader: str
    at: datetime = Field(sa_type=Moment)


class KeptAnswerRow(Kept, Row, table=True):
    """That a release answers a question, for whoever asks it again.

    Attributes:
        question: A keyed digest of the question, of what lies there, and of the policy.
        content: What its cells stand for, sealed to the authority's own query key.
    """

    __tablename__ = "kept_answer"
    SAME: ClassVar = ("question", "release_id")

    question: str = Field(primary_key=True)
    release_id: str = Field(unique=True, sa_column_args=(_of_a_release(),))
    content: bytes
    at: datetime = Field(sa_type=Moment)


class AnsweredQueryRow(Kept, Row, table=True):
    """What became of a sealed query, for its asker alone.

    Attributes:
        asked_by: The query, as its grant names it.
        release_id: What answers it; None where it was refused.
        refusal: Why, sealed to the authority's own query key; empty where it was answered.
    """

    __tablename__ = "answered_query"
    SAME: ClassVar = ("asked_by", "request_id", "release_id")

    asked_by: str = Field(primary_key=True)
    request_id: str = Field(unique=True)
    release_id: str | None = Field(sa_column_args=(_of_a_release(),))
    refusal: bytes = b""
    at: datetime = Field(sa_type=Moment)


class FailedQuestionRow(Row, table=True):
    """How often the checker failed at a question as nobody foresaw.

    Attributes:
        rules: Of the software that failed; attempts are counted by it.
        asked_vault: Whether one of them, by whatever software, came as far as the vault.
    """

    __tablename__ = "failed_question"

    request_id: str = Field(primary_key=True)
    rules: str
    attempts: int = 0
    asked_vault: bool = False
    at: datetime = Field(sa_type=Moment)


# --- what was used


class UsageRow(UsageColumns, Row, table=True):
    """What a party used in a month (`usage`)."""

    __tablename__ = "usage"


# --- who is told


class ReceiverRow(ReceiverColumns, Row, table=True):
    """A receiver that the key authority tells of releases."""

    __tablename__ = "receiver"


class EventNoticeRow(EventNoticeColumns, Row, table=True):
    """An event that a receiver is to be told of."""

    __tablename__ = "event_notice"
    __table_args__ = event_indexes()


SCHEMA = Schema(
    metadata=Row.metadata, scripts=Path(__file__).parent / "migrations", head="checker_0025"
)
