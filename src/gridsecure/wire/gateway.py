"""What the gateway answers: counts, states and proofs, never a reading."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from gridsecure.messages import ReadingCounts, Signed
from gridsecure.wire.problems import ReadingsProblem
from gridsecure.wire.services import Answer, Count


class FilesKept(Answer):
    """How many files of readings and how many contracts a month was handed in with."""

    readings_files: int
    contracts: int


class MonthReport(Answer):
    """What became of a month, in counts; sizes in bytes, times by stage in seconds.

    Accepted readings include the estimated ones: readings + estimated = accepted + quarantined.
    `estimated_by` counts these by the method that estimated them.
    `bytes_uploaded` and `seconds` are of the run that finished. `rules` is the digest of the rule
    book that readings were validated by, empty where none was.
    """

    readings: Count
    accepted: Count
    estimated: Count
    quarantined: Count
    problems: dict[str, Count]
    meters: Count
    billed_meters: Count
    excluded: dict[str, Count]
    rosters: Count
    columns: Count
    bytes_stored: Count
    bytes_uploaded: Count
    seconds: dict[str, float]
    rules: str = ""
    estimated_by: dict[str, Count] = Field(default_factory=dict)


class MonthStatus(Answer):
    """Where a month stands.

    `stage` is the one at work, empty when none is; `of` is 0 when how much there is cannot be told.
    A month that is done has a report, one that failed a reason code and a sentence.
    """

    state: Literal["waiting", "running", "interrupted", "failed", "done"]
    stage: str = ""
    done: Count = 0
    of: Count = 0
    report: MonthReport | None = None
    reason: str | None = None
    message: str | None = None

    @model_validator(mode="after")
    def _check_report(self) -> Self:
        if (self.state == "done") != (self.report is not None):
            raise ValueError("a month has a report when it is done, and only then")
        return self


class DayReport(Answer):
    """What came of a day that was sealed.

    `meters` are seated in its rosters; `silent` of them have no complete day, and no energy in it.
    """

    readings: Count
    accepted: Count
    estimated: Count
    quarantined: Count
    meters: Count
    silent: Count
    rosters: Count
    intervals: Count
    bytes: Count


class DayStatus(Answer):
    """Where a day stands, as `MonthStatus` says it of a month."""

    day: str
    state: Literal["waiting", "running", "interrupted", "failed", "sealed"]
    stage: str = ""
    done: Count = 0
    of: Count = 0
    report: DayReport | None = None
    reason: str | None = None
    message: str | None = None

    @model_validator(mode="after")
    def _check_report(self) -> Self:
        if (self.state == "sealed") != (self.report is not None):
            raise ValueError("a day has a report when it is sealed, and only then")
        return self


class ValidationRules(Answer):
    """A rule book: its text, the SM3 digest of it, and the version that its keeper gave it."""

    digest: str
    version: str
    text: str


class DatedFact(Answer):
    """What is so of a meter point from one day until before another; None is no end.

    Of an account `account` and `holder`, the name that its bills are under; of a meter its number,
    `multiplier` and faces [Wh], below zero where nobody stated one; of a contract the columns of a
    contract file [Wh, VA].
    """

    kind: Literal["account", "meter", "contract"]
    valid_from: str
    valid_to: str | None
    values: dict[str, str | int]


class BooksDifference(Answer):
    """What a line of an import makes of a meter point, whose facts it says before and after."""

    meter_point_id: str
    what: Literal["added", "changed", "ended"]
    before: list[DatedFact]
    after: list[DatedFact]


class BooksRefusal(Answer):
    """A line of an import that cannot be taken."""

    line: int
    meter_point_id: str
    reason: str
    message: str


class BooksNotice(Answer):
    """What an import can mean and probably does not: of how many lines, and the first of them."""

    code: Literal["unknown-tariff", "names-holder"]
    message: str
    count: Count
    line: int
    meter_point_id: str


class BooksComparison(Answer):
    """An import beside the books of a revision: counts of lines, first differences and refusals.

    `notices` keep nobody from applying it.

    `digest` applies it as long as the books are of that revision.
    """

    digest: str
    revision: Count
    lines: Count
    added: Count
    changed: Count
    ended: Count
    unchanged: Count
    refused: Count
    differences: list[BooksDifference]
    refusals: list[BooksRefusal]
    notices: list[BooksNotice] = Field(default_factory=list)


class BooksChanged(Answer):
    """The books after an import: their revision, who made it, when, and how many lines changed."""

    revision: Count
    person: str
    at: str
    added: Count
    changed: Count
    ended: Count


class MeterPointHeld(Answer):
    """Who holds a meter point; `valid_to` is None where no end is known."""

    meter_point_id: str
    account: str
    holder: str
    valid_from: str
    valid_to: str | None


class KeptFact(DatedFact):
    """A fact, the revisions that it entered and left the books with, and who entered it."""

    revision: Count
    until_revision: Count | None
    entered_by: str
    entered_at: str


class MeterPointBooks(Answer):
    """Everything that the books ever said of a meter point, in the order of entry."""

    meter_point_id: str
    facts: list[KeptFact]


class RuleCounts(Answer):
    """How many problems a rule finds before and after."""

    rule: str
    before: Count
    after: Count


class RuleTrial(Answer):
    """A month as the rules in force judge it and as others would, by their digests; in counts."""

    id: int
    month: str
    rules_before: str
    rules_after: str
    person: str
    at: str
    billed_before: Count
    billed_after: Count
    estimated_before: Count
    estimated_after: Count
    quarantined_before: Count
    quarantined_after: Count
    problems: list[RuleCounts]


class ReadingException(Answer):
    """A meter point of a month and what a rule found of it, with what becomes of it.

    `first` is the start of the first of `intervals`, empty where no interval is meant. A meter
    point that is `unbilled` has no bill of the month because of it, or was left out of a
    correction. `revision` rises with every change.
    """

    id: int
    month: str
    meter_point_id: str
    rule: str
    intervals: Count
    first: str
    unbilled: bool
    state: Literal["open", "assigned", "resolved", "waived"]
    owner: str
    due: str
    opened_at: str
    changed_at: str
    revision: int


class ReadingEdit(Answer):
    """Readings that a person replaced, confirmed or had estimated: which intervals, who and why.

    One that is `pending` counts once a second person approved it; one that is `late` came when its
    month was being fixed.
    """

    id: int
    month: str
    meter_point_id: str
    kind: Literal["replacement", "confirmation", "estimate"]
    intervals: Count
    first: str
    last: str
    state: Literal["pending", "in-force", "rejected", "late"]
    person: str
    reason: str
    approver: str
    decision: str
    readings_digest: str
    at: str


class ExceptionNote(Answer):
    """What somebody did to an exception, or said of it."""

    person: str
    text: str
    at: str


class ExceptionStatus(Answer):
    """An exception and all that was said of it, in order."""

    exception: ReadingException
    notes: list[ExceptionNote]


class MonthOnBoard(Answer):
    """A month at a glance; `due_at` is when the gateway bills or corrects it by itself.

    A month waits with the reason `month.no-contracts` if batches of it came and the books have
    nobody in it. Of a month that is done, `reason` says why a correction failed that has still to
    be made, or why the last one left a meter point out.
    """

    month: str
    state: Literal["waiting", "running", "interrupted", "failed", "done"]
    reason: str | None
    late_readings: bool
    due_at: str | None


class CorrectionCounts(Answer):
    """What a correction changed: bills of so many meter points, in so many rosters.

    `late` meter points had readings and no bill that could be corrected; `first_billed` of them got
    their first bill.
    """

    corrected: Count
    rosters: Count
    columns: Count
    bytes_uploaded: Count
    late: Count
    first_billed: Count


class CorrectionStatus(Answer):
    """Where a correction stands; `number` is its place among the month's, once it is fixed.

    One that files were handed in for has the number of its `order`. It is `pending` until a second
    person approves it, and `approved` until it is begun.

    `stage`, `done` and `of` are as those of a month; so are `reason` and `message`. `left_out`
    counts, by reason, billed meter points whose late readings it could not use; the work list names
    them.
    """

    name: str
    number: int | None
    state: Literal["pending", "approved", "running", "interrupted", "failed", "done"]
    order: int | None = None
    stage: str = ""
    done: Count = 0
    of: Count = 0
    report: CorrectionCounts | None = None
    left_out: dict[str, Count] = Field(default_factory=dict)
    reason: str | None = None
    message: str | None = None


class CorrectionOrder(Answer):
    """A correction by files or books as a person ordered it: of what, who, why, and who decided.

    `readings`, `tariffs` and `rules` are digests of files, `books` is the revision of the books
    that the month is to count by (0: as before), and `correction` the name of what carries it out.
    `intervals` is how many the month differs in with it and all others that nobody approved. One
    that is `pending` counts for nothing before a second person approved it.
    """

    id: int
    month: str
    correction: str
    readings: list[str]
    tariffs: list[str]
    rules: str
    books: Count
    meter_points: Count
    intervals: Count
    state: Literal["pending", "approved", "applied", "rejected"]
    person: str
    reason: str
    approver: str
    decision: str
    at: str


TakenInKind = Literal["source", "files", "edits", "correction", "order"]
"""What readings came by: a source's batches, files of a month, persons' edits, files of a
correction that is fixed, or of an order of one that is not."""


class SourceReconciled(ReadingCounts, Answer):
    """The same of one source; `name` is a source's, or the number of a correction or order."""

    kind: TakenInKind
    name: str


class ReadingsDiffer(Answer):
    """A batch, edit or file whose readings do not add up.

    `name` is a batch's id, or the number of an edit or file. `lost` readings have none that counts
    in their place, `twice` count more often than they came. `reason` says why it cannot be read,
    and is empty where it can.
    """

    kind: TakenInKind
    source: str
    name: str
    came_in: Count
    found: Count
    lost: Count
    twice: Count
    reason: str


class Reconciliation(Answer):
    """A month's readings reconciled: what came in, by source and in all, and what became of it.

    `reported` are the counts of the month's report and `counted` the same of its readings now;
    neither is there before it is done, nor once it was corrected. `other_energy` meter points have
    readings of another energy than the one billed. Of what differs, `differing` names the first
    thousand.
    """

    month: str
    adds_up: bool
    total: ReadingCounts
    sources: list[SourceReconciled]
    differing: list[ReadingsDiffer]
    reported: dict[str, Count] | None
    counted: dict[str, Count] | None
    other_energy: Count


class SettlementProofs(Answer):
    """Meter point -> pseudonym, and one proof of all in the order of the meter points' names.

    Both in hexadecimal, as `credentials.settlement` checks them.
    `parts` has start and end, ISO 8601, of the days that those are billed for who moved in or out
    within the month. Nobody else is told of them.
    """

    pseudonyms: dict[str, str]
    proof: str
    parts: dict[str, tuple[str, str]]


class SourceRegistered(Answer):
    """A meter-data system as the gateway knows it, by the thumbprint of its key.

    `gateway_key` is the point of the public key that its receipts are signed with. `overlaps` names
    the sources that may send readings of the same meter points in the same formats. One that is
    `suspended` may not send until it is resumed; one that was `removed` never may again.
    """

    name: str
    thumbprint: str
    state: Literal["active", "suspended", "removed"]
    meter_points: list[str]
    stamps: str
    timezone: str
    webhook: str
    interval_minutes: int
    formats: list[str]
    unit: str
    overlaps: list[str]
    gateway_key: str


class BatchStatus(Answer):
    """Where a batch stands.

    One that is `waiting` or `reading` is on the gateway's disk and is not taken in yet: of `size`
    bytes so many `pieces` were read, with so many `readings`. One that is `refused` has a refusal;
    nothing of it was taken in. One that is `done` has a receipt, a signed `BatchReceipt`, and so
    many `readings`, those that a rule rejects among them. It says how far its months are by now: a
    month is `waiting` until its bills are fixed, then `done`; `late` if they were fixed before the
    batch came, and `corrected` once a correction took the late readings up. All of its readings of
    a month that is `waiting` or `late` wait. Of the others `counts` says what became of them, once
    they were counted.
    """

    state: Literal["waiting", "reading", "done", "refused"]
    receipt: Signed | None = None
    months: dict[str, Literal["waiting", "done", "late", "corrected"]] = Field(default_factory=dict)
    counts: dict[str, ReadingCounts] = Field(default_factory=dict)
    refusal: ReadingsProblem | None = None
    size: Count = 0
    pieces: Count = 0
    readings: Count = 0

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        if (self.state == "done") != (self.receipt is not None):
            raise ValueError("a batch has a receipt when it is done, and only then")
        if (self.state == "refused") != (self.refusal is not None):
            raise ValueError("a batch has a refusal when it is refused, and only then")
        return self


class RejectedReading(Answer):
    """A reading that a rule rejects: its place in the batch, from 1, and its interval's start."""

    number: Count
    meter_point_id: str
    start: str
    rule: str


class QueuedBatch(Answer):
    """A batch that was answered with 202 `at`, and is not taken in.

    One that is `waiting` waits for its turn, unless a `reason` says why its source's batches were
    put off and are tried again. One that is `reading` is as far as `BatchStatus` says. One that is
    `refused` was so `at` that moment, for that reason; its place holds the whole refusal.
    `attempts` counts how often the gateway's process ended while it read the body.
    """

    source: str
    batch_id: str
    sequence: int
    at: str
    size: Count
    state: Literal["waiting", "reading", "refused"]
    reason: str = ""
    attempts: Count = 0
    pieces: Count = 0
    readings: Count = 0


class SequenceGap(Answer):
    """Sequences of a source that never came, from the first to the last."""

    first: int
    last: int


class NoticeStatus(Answer):
    """A notice about a month, made `at`: whether its source was told, or when it is tried again."""

    month: str
    state: Literal["waiting", "told", "given-up"]
    attempts: Count
    at: str
    due_at: str | None
