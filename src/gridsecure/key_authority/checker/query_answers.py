"""What became of sealed queries: kept answers, refusals, and who may read which.

An answer is found again by a keyed digest of the question, of what lies there and of the policy: so
whoever asks the same again gets the release that there is, and nothing new is told. The key is the
query key, so that nobody who reads the database can try questions.

A refusal that depends on the question is told to its asker, sealed. The log, the platform and
staff are told that a question was refused, and no more (`REFUSED`).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from sqlmodel import Session

from gridsecure.approvals import EXPIRED, MISSING, REJECTION, REVOKED, ReleaseSubject
from gridsecure.circulation import agreed_releases
from gridsecure.credentials.queries import parse_query
from gridsecure.credentials.sealed_questions import SealedQuestion, open_question
from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.sm3 import hkdf_sm3, hmac_sm3, sm3_hex
from gridsecure.errors import (
    AuditBrokenError,
    ConflictError,
    EnvelopeError,
    GridSecureError,
    InputError,
    OutOfRangeError,
    ReleaseRefusedError,
    StorageError,
)
from gridsecure.key_authority.checker.asked_questions import AskedQuestion
from gridsecure.key_authority.checker.queried_uploads import QueriedData
from gridsecure.key_authority.checker.returned_grants import find_returned
from gridsecure.key_authority.checker.tables import (
    AnsweredQueryRow,
    KeptAnswerRow,
    QuestionRow,
    ReleaseRow,
    SubjectRow,
)
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import Digest, ReleaseRequest, Signed, sign_message
from gridsecure.plans.noise import NoiseStatement
from gridsecure.plans.query_measures import MonthLayout
from gridsecure.plans.query_totals import TotalsLayout
from gridsecure.sealed_answers import LONGEST_WORD, AnsweredGroups, QueryAnswer
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, keep, load_row

REFUSED: Final = "release.query"
_KEPT: Final = "kept-answer"
_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WAIT: Final = frozenset({MISSING, EXPIRED, REVOKED, agreed_releases.MISSING})
_OF_QUESTIONS: Final = (InputError, ReleaseRefusedError, EnvelopeError, OutOfRangeError)
"""What reading, laying out and looking at a question refuse it by."""


def question_key(zone: AuthorityZone, asked: SealedQuestion, queried: QueriedData) -> Digest:
    """What the answer to a question is kept under: the same, over the same, by the same rules.

    The public period is part of it: how fine a question is depends on it.

    The rules are the whole software and not a number that somebody raises with them, nor a list of
    the files that they stand in: what may be told hangs on how a question is read, a tariff
    compiled and members are counted as well, and what was told by earlier rules must not be served
    to another asker because a list was too short. So a question that is asked again after the
    software changed in anything is looked at again, and costs what it costs; who asked before
    reads the answer that was kept.
    """
    key = hkdf_sm3(zone.query_key.to_bytes(), info=b"gridsecure question names", length=32)
    rules = (zone.rules, zone.policy.digest)
    parts = (asked.question, queried.start, queried.end, *rules, *queried.uploads)
    return hmac_sm3(key, frame_parts(*parts)).hex()


def blinding_seed(zone: AuthorityZone, request_id: str, asked: AskedQuestion) -> bytes:
    """The seed of a request's blinding: the same as long as request, groups, steps and policy are.

    So what officers approved is what is decrypted, and nothing of it has to be kept meanwhile. The
    layout is part of it: other pieces of a group under one blinding would tell where they overlap.
    """
    parts = (request_id, asked.groups_digest, asked.steps_digest, zone.policy.digest)
    info = frame_parts(*parts, layout_digest(asked.layout))
    return hkdf_sm3(zone.blinding_key, info=b"gridsecure question " + info, length=32)


def layout_digest(layout: TotalsLayout | MonthLayout) -> Digest:
    """Which slot at which interval is blinded for which total."""
    if isinstance(layout, TotalsLayout):
        return _totals_digest(layout)
    blocks = [block.layout for own in layout.both for block in own.blocks]
    sizes = (str(len(own.blocks)) for own in layout.both)
    return sm3_hex(frame_parts(*sizes, *map(_totals_digest, blocks)))


def _totals_digest(layout: TotalsLayout) -> Digest:
    arrays = [*layout.pieces, *layout.numbers.values()]
    said = (*layout.rosters, *layout.numbers)
    return sm3_hex(frame_parts(*said, *(own.astype("<i8").tobytes() for own in arrays)))


def find_kept(zone: AuthorityZone, question: Digest) -> str | None:
    """The release that answers a question.

    Args:
        question: From `question_key`.
    """
    with read_session(zone.engine) as session:
        row = find(session, KeptAnswerRow, question=question)
    return None if row is None else row.release_id


def keep_question(zone: AuthorityZone, request: ReleaseRequest, *, at: datetime) -> None:
    """Keep a sealed question, for officers to read it."""
    query = parse_query(request.query)
    row = QuestionRow(
        request_id=request.request_id, sealed=query.sealed, reader=query.reader, at=at
    )
    with write_session(zone.engine) as session:
        keep(session, row)


def read_asked_question(zone: AuthorityZone, subject: Digest) -> SealedQuestion:
    """What a subject is about, for officers.

    Raises:
        NotFoundError: There is no such subject (`not-found.release-subject`), or it is of no sealed
            query (`not-found.question`).
    """
    with read_session(zone.engine) as session:
        text = load_row(session, SubjectRow, digest=subject).text
        row = load_row(session, QuestionRow, request_id=ReleaseSubject.parse(text).request_id)
    return open_question(row.sealed, key=zone.query_key, reader=row.reader)


def seal_groups(
    zone: AuthorityZone,
    asked: AskedQuestion,
    request: ReleaseRequest,
    *,
    withheld: Container[int],
    left_out: int,
    noise: NoiseStatement | None,
) -> bytes:
    """What the cells of a question's certificate stand for, as it is kept.

    Args:
        withheld: Groups of which nothing is told.
        left_out: How many rosters are in no group.
        noise: What the vault added.
    """
    said = AnsweredGroups(
        salt=asked.content.salt,
        groups=asked.list_counts(withheld),
        closings=_closings(request),
        left_out=left_out,
        noise=noise,
    )
    return _seal(zone, said.model_dump_json())


def keep_answer(
    session: Session,
    request: ReleaseRequest,
    *,
    question: Digest,
    content: bytes,
    at: datetime,
) -> None:
    """Keep a release as the answer to its question, in the transaction that keeps it.

    Args:
        content: From `seal_groups`.

    Raises:
        GridSecureError: Another process answered the same question meanwhile
            (`release.meanwhile`): asked again, that answer is found.
    """
    name = request.request_id
    try:
        keep(session, KeptAnswerRow(question=question, release_id=name, content=content, at=at))
    except ConflictError as error:
        raise GridSecureError(
            "The same question was answered meanwhile.",
            reason="release.meanwhile",
            remedy="Start another release round.",
        ) from error
    keep_answered(session, request, release_id=name, at=at)


def keep_answered(
    session: Session, request: ReleaseRequest, *, release_id: str, at: datetime
) -> None:
    """Keep which release answers a query; again is the same."""
    row = AnsweredQueryRow(
        asked_by=request.requested_by, request_id=request.request_id, release_id=release_id, at=at
    )
    keep(session, row)


@contextmanager
def telling_refusals(
    zone: AuthorityZone,
    request: ReleaseRequest,
    *,
    only: Container[str] | None = None,
    at: datetime,
) -> Iterator[None]:
    """Tell what is refused of a question itself to whoever asked, and that there was to all others.

    It is kept and told for good, so nothing belongs in here that could go better another time. With
    it comes the grant that was spent on it, given back blindly: the vault decrypted nothing, so the
    question cost nothing but officers' time, and where they rejected it none is given back.

    Args:
        only: Reasons that are told; by default all that a question may be refused for.

    Raises:
        ReleaseRefusedError: A refusal (`release.query`). What waits or failed goes on as it is.
    """
    try:
        yield
    except _OF_QUESTIONS as error:
        if only is not None and error.reason not in only:
            raise
        said = QueryAnswer(
            asked_by=request.requested_by,
            closings=_closings(request),
            reason=error.reason,
            message=error.message[:LONGEST_WORD],
            remedy=error.remedy[:LONGEST_WORD],
            returned="" if error.reason == REJECTION else find_returned(zone, request),
        )
        row = AnsweredQueryRow(
            asked_by=request.requested_by,
            request_id=request.request_id,
            release_id=None,
            refusal=_seal(zone, said.model_dump_json()),
            at=at,
        )
        with write_session(zone.engine) as session:
            # Sent again in another request, it has an answer already, which stays.
            if find(session, AnsweredQueryRow, asked_by=request.requested_by) is None:
                keep(session, row)
        raise _refused() from error


@contextmanager
def letting_wait() -> Iterator[None]:
    """Have what goes wrong with a question wait, unless its asker was told: it may be mended.

    A wrong object of the platform's, a worker that died and a vault that will not are no fault of
    the question's.

    Raises:
        GridSecureError: Whatever it was, as a failure.
    """
    try:
        yield
    except GridSecureError as error:
        is_failure = type(error) is GridSecureError or isinstance(
            error, StorageError | AuditBrokenError
        )
        if is_failure or error.reason in _WAIT or error.reason == REFUSED:
            raise
        raise GridSecureError(error.message, reason=error.reason, remedy=error.remedy) from error


def check_not_refused(zone: AuthorityZone, request: ReleaseRequest) -> None:
    """Refuse again what was refused, whatever request carries it: its asker was told why.

    Raises:
        ReleaseRefusedError: `release.query`.
    """
    with read_session(zone.engine) as session:
        row = find(session, AnsweredQueryRow, asked_by=request.requested_by)
    if row is not None and row.release_id is None:
        raise _refused()


def find_answer(zone: AuthorityZone, asked_by: str) -> Signed | None:
    """What became of a sealed query: a `QueryAnswer`, signed, for its reader alone; None so far.

    Args:
        asked_by: The query, as its grant names it.
    """
    with read_session(zone.engine) as session:
        row = find(session, AnsweredQueryRow, asked_by=asked_by)
        if row is None:
            return None
        if row.release_id is None:
            answer = QueryAnswer.parse(_open(zone, row.refusal))
        else:
            kept = load_row(session, KeptAnswerRow, release_id=row.release_id)
            release = load_row(session, ReleaseRow, release_id=row.release_id)
            answer = QueryAnswer(
                asked_by=asked_by,
                certificate=release.message,
                groups=AnsweredGroups.parse(_open(zone, kept.content)),
            )
    return sign_message(answer, key=zone.signing_key)


def is_answered(zone: AuthorityZone, request_id: str) -> bool:
    """Whether a sealed query was answered, and not refused."""
    with read_session(zone.engine) as session:
        row = find(session, AnsweredQueryRow, request_id=request_id)
    return row is not None and row.release_id is not None


def _closings(request: ReleaseRequest) -> list[Digest]:
    return [] if request.queried is None else [one.digest for one in request.queried.closings]


def _seal(zone: AuthorityZone, text: str) -> bytes:
    """For this authority itself, so that its database tells no question."""
    return seal_to(
        text.encode(),
        recipient=zone.query_key.public_key,
        purpose=_KEPT,
        owner="authority",
        created_at=_NO_TIME,
    )


def _open(zone: AuthorityZone, sealed: bytes) -> bytes:
    return open_from(sealed, private_key=zone.query_key, purpose=_KEPT)


def _refused() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "A sealed question was refused; its asker is told why.",
        reason=REFUSED,
        remedy="The asker reads the reason (gridsecure query ask).",
    )
