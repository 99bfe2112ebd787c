"""Trials: what would become of a sealed question, answered from membership alone.

1. the pass has a trial left, and each computing is one of them;
2. the question opens and makes sense, as `asked_questions.read_question`;
3. it names no single meter points, nor does a range of sizes: trials cost nothing, and would find
   out one by one who is where; nor is it about bills, whose tariff is not even read;
4. groups, steps and ledger are looked at as for a question, of what is remembered of the period;
5. where it is not allowed, questions near it are tried, until one is.

Nothing is decrypted, spent or entered in the ledger or the log. What is remembered is what the
checker verified of a period for an earlier trial, for `_MINUTES`: a trial binds nobody, and what
lies there may be another by the time the question is asked. Of the ledger it is what stands there.

A trial tells no more than a question that is asked and refused, or withheld: labels of groups with
enough customers, and for nobody a number.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from threading import Lock
from typing import Final, Protocol

from sqlmodel import Session, col, func, select

from gridsecure.credentials.queries import RESULT_PURPOSE, Query, parse_query
from gridsecure.credentials.sealed_questions import SEALED_QUERY_VERSION, SealedQuestion
from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.envelope import seal_to
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import (
    ConflictError,
    EnvelopeError,
    GridSecureError,
    InputError,
    OutOfRangeError,
    ReleaseRefusedError,
    StaleMessageError,
)
from gridsecure.key_authority.checker.asked_questions import (
    AskedQuestion,
    LookedQuestion,
    lay_out_question,
    look_beside,
    read_question,
)
from gridsecure.key_authority.checker.budgets import list_left
from gridsecure.key_authority.checker.coming_bills import ComingBills, find_billed, find_coming
from gridsecure.key_authority.checker.ledger import (
    KnownSet,
    check_days,
    check_overlap,
    find_conflicts,
    read_told,
)
from gridsecure.key_authority.checker.noise_budgets import check_left
from gridsecure.key_authority.checker.queried_uploads import QueriedData, verify_queried
from gridsecure.key_authority.checker.tables import ReleaseRow, SeedRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import Digest, QueriedUploads, ReleaseRequest, sign_message
from gridsecure.plans.noise import half_width, spell_epsilon
from gridsecure.plans.purposes import RESEARCH
from gridsecure.plans.query_measures import AskedMonth
from gridsecure.plans.transcript_inputs import PlatformView
from gridsecure.policy.decisions import Case, asked_for, find_approvals
from gridsecure.queries.language import Question
from gridsecure.queries.near_questions import list_near
from gridsecure.sealed_answers import LONGEST_WORD, pad_answer
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find_many, keep
from gridsecure.trial_answers import (
    TRIALS_OF_PASS,
    TrialAnswer,
    TriedBudget,
    TriedCost,
    TriedGroup,
    TriedNoise,
)

_MINUTES: Final = timedelta(minutes=10)
_PERIODS: Final = 3
_MOST_SLOTS: Final = 2_000_000
"""Meter points of remembered periods: some 300 bytes each."""
_MOST_NEAR: Final = 12
_NEAR_POINTS: Final = 800_000
"""Meter points that the looks for a nearest question go through together: of a large city fewer
are tried, because trials are worked on where release rounds are."""
_MOST_CONFLICTS: Final = 20
"""Groups of which it is said what they conflict with."""
_MOST_RELEASES: Final = 3
"""Releases of one moment that are named."""
_BYTES_A_SECOND: Final = 15_000_000
"""What one process fetches, checks, blinds and has decrypted of columns, and what a question takes
besides [s]: rough, of one machine. There a day of 4,096 meter points took 1.2 s, and half-hours of
a million some 15 s of two processes."""
_BESIDE_S: Final = 1.0
_REFUSALS: Final = (InputError, ReleaseRefusedError, EnvelopeError, OutOfRangeError)


class QueriedView(PlatformView, Protocol):
    """The platform as it is asked for what lies there of a period."""

    def queried(self, start: str, end: str) -> QueriedUploads:
        """All that was closed of a period."""
        ...


@dataclass(slots=True, eq=False)
class _Period:
    """What is remembered of a period: verified, told of, and still to be released.

    Args:
        bills: Uploads whose bills were released, and the bills that are still to come.
    """

    at: datetime
    queried: QueriedData
    closings: list[Digest]
    classes: frozenset[str]
    bills: tuple[frozenset[Digest], tuple[ComingBills, ...]]
    known: dict[str, KnownSet] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class TrialMemory:
    """What trials remember of the last periods that they were about; of nobody who tried."""

    _periods: dict[tuple[str, str], _Period] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _reading: Lock = field(default_factory=Lock)

    def of(self, span: tuple[str, str], read: Callable[[], _Period], *, now: datetime) -> _Period:
        """What lies there of a period, read anew when it is too old.

        Args:
            span: Start and end.
            now: The present, aware.
        """
        found = self._find(span, now)
        if found is not None:
            return found
        with self._reading:  # one at a time, and nobody whose period is remembered waits for it
            found = self._find(span, now)
            if found is None:
                found = read()
                self._keep(span, found)
        return found

    def _find(self, span: tuple[str, str], now: datetime) -> _Period | None:
        with self._lock:
            found = self._periods.get(span)
        is_young = found is not None and found.at <= now < found.at + _MINUTES
        return found if is_young else None

    def _keep(self, span: tuple[str, str], found: _Period) -> None:
        with self._lock:
            self._periods.pop(span, None)
            self._periods[span] = found  # the last one is the newest
            while len(self._periods) > 1 and (
                len(self._periods) > _PERIODS or self._slots() > _MOST_SLOTS
            ):
                self._periods.pop(next(iter(self._periods)))

    def _slots(self) -> int:
        return sum(
            data.roster.slots for one in self._periods.values() for data in one.queried.datas
        )


def try_question(
    zone: AuthorityZone,
    claims: TokenClaims,
    *,
    query: str,
    view: QueriedView,
    memory: TrialMemory,
    now: datetime,
) -> bytes:
    """Try a sealed question; the answer is sealed to the reader that the query names.

    Args:
        claims: A pass's, verified.
        query: The query as it was sent, of the plan "query".
        now: The present, aware.

    Raises:
        InvalidMessageError: The query has another shape or spelling.
        InputError: It is no sealed one (`query.trial`).
        StaleMessageError: The pass has no trial left (`query.trials`).
        GridSecureError: What lies there of the period cannot be had, or does not hold, as
            `verify_queried`: that is about the public period alone.
    """
    said = parse_query(query)
    if said.plan != "query":
        raise InputError(
            "Only sealed questions are tried.",
            reason="query.trial",
            remedy="A load curve of a closed period is asked for with a grant.",
        )
    left = _count_trial(zone, claims, now=now)
    period = memory.of(
        (said.start, said.end), lambda: _read_period(zone, said, view, now=now), now=now
    )
    answer = _answer(zone, said, period, now=now)
    answer = answer.model_copy(update={"asked_by": sm3_hex(query.encode()), "trials_left": left})
    return seal_to(
        pad_answer(sign_message(answer, key=zone.signing_key)),
        recipient=said.reader_key,
        purpose=RESULT_PURPOSE,
        owner=claims.subject,
        created_at=now,
    )


def _count_trial(zone: AuthorityZone, claims: TokenClaims, *, now: datetime) -> int:
    """Count a trial of a pass (step 1); how many are left.

    The same query again is another trial, because it is computed of what stands in the ledger by
    then: repeated for nothing, it would tell when somebody's question was answered. What is kept
    names no query.
    """
    name = f"trial/{sm3_hex(frame_parts(claims.token_id))}"
    names = [f"{name}/{number:02d}" for number in range(TRIALS_OF_PASS)]
    with write_session(zone.engine) as session:
        used = len(find_many(session, SeedRow, names, by="seed"))
        if used >= TRIALS_OF_PASS:
            raise _no_trial_left()
        row = SeedRow(seed=names[used], transcript=secrets.token_hex(32), at=now)
        try:
            keep(session, row)
        except ConflictError as error:  # of two at once, the slower
            raise _no_trial_left() from error
        return TRIALS_OF_PASS - used - 1


def _no_trial_left() -> StaleMessageError:
    return StaleMessageError(
        "The pass has no trial left.",
        reason="query.trials",
        remedy="Take another pass (gridsecure query try does so).",
    )


def _read_period(zone: AuthorityZone, query: Query, view: QueriedView, *, now: datetime) -> _Period:
    uploads = view.queried(query.start, query.end)
    request = ReleaseRequest(
        request_id="",
        plan="query",
        plan_version=SEALED_QUERY_VERSION,
        start=query.start,
        end=query.end,
        purpose=RESEARCH,
        requested_by="",
        transcripts=[],
        seeds=[],
        queried=uploads,
    )
    queried = verify_queried(zone, request, view=view)
    with read_session(zone.engine) as session:
        check_days(session, queried.by_upload)
        check_overlap(session, queried.by_upload)
        billed = find_billed(session, queried)
        coming = find_coming(session, zone, queried, billed=billed)
    classes = {name for data in queried.datas for name in data.roster.customer_classes}
    closings = [one.digest for one in uploads.closings]
    return _Period(now, queried, closings, frozenset(classes), (billed, coming))


def _answer(zone: AuthorityZone, query: Query, period: _Period, *, now: datetime) -> TrialAnswer:
    try:
        content, question = read_question(zone, query, admit=_check_free)  # 2., 3.
        left = _check_noise(zone, question, query, period)
    except _REFUSALS as error:
        return _refusal(error, period)
    with read_session(zone.engine) as session:
        known = read_told(session, period.queried.period, known=period.known)
        billed = find_billed(session, period.queried)
        if billed != period.bills[0]:  # bills were released since
            coming = find_coming(session, zone, period.queried, billed=billed)
            period.bills = billed, coming
    period.known.update((one.name, one) for one in known)
    try:
        asked, looked = _look(zone, (content, question), period, known)  # 4.
    except _REFUSALS as error:
        return _near(zone, (content, question), period, known, _refusal(error, period))
    answer = _tell(zone, asked, looked, period, known, now=now)
    answer = answer.model_copy(update={"noise": _noise(zone, asked, left)})
    if answer.is_allowed:
        return answer
    return _near(zone, (content, question), period, known, answer)


def _check_noise(zone: AuthorityZone, question: Question, query: Query, period: _Period) -> int:
    """What is left of the budget for its noise [millionths], as `noise_budgets.check_left`."""
    epsilon = question.private.millionths if question.private else 0
    span = (query.start, query.end)
    with read_session(zone.engine) as session:
        return check_left(session, zone.policy, epsilon, span, classes=period.classes)


def _noise(zone: AuthorityZone, asked: AskedQuestion, left: int) -> TriedNoise | None:
    private, terms = asked.question.private, zone.policy.private
    if private is None or terms is None:
        return None
    return TriedNoise(
        epsilon=private.epsilon,
        left=spell_epsilon(left),
        of=spell_epsilon(terms.budget),
        accuracy=half_width([asked.scale]),
    )


def _look(
    zone: AuthorityZone,
    opened: tuple[SealedQuestion, Question],
    period: _Period,
    known: Sequence[KnownSet],
) -> tuple[AskedQuestion, LookedQuestion]:
    asked = lay_out_question(zone, opened, period.queried, told=known)
    return asked, look_beside(asked, period.queried, known, period.bills[1])


def _check_free(question: Question) -> None:
    _check_unnamed(question)
    _check_unbilled(question)


def _check_unnamed(question: Question) -> None:
    cohorts = (question.where, question.second)
    if any(cohort and (cohort.is_named or cohort.is_sized) for cohort in cohorts):
        raise InputError(
            "Questions that name pseudonyms, or compare contracted_kva or household_quota_kwh, are"
            " not tried: trials are for nothing, and would find out who is where.",
            reason="query.trial-named",
            remedy="Ask it with a grant, which comes back if it is refused; or try a cohort by"
            " zone, customer_class, tariff and large.",
        )


def _check_unbilled(question: Question) -> None:
    """Refuse what depends on quotas: whether a group holds one that few have would be found out."""
    if AskedMonth(question.totals, ("", ""), {}).is_of_bills:
        raise InputError(
            "Questions about tiers, bills and their lines are not tried: whether a group has a part"
            " of too few customers depends on their quotas and days.",
            reason="query.trial-bills",
            remedy="Ask it with a grant, which comes back if it is refused; or try the same cohort"
            " about energy.",
        )


def _refusal(error: GridSecureError, period: _Period) -> TrialAnswer:
    return TrialAnswer(
        asked_by="",
        is_allowed=False,
        reason=error.reason,
        message=error.message[:LONGEST_WORD],
        remedy=error.remedy[:LONGEST_WORD],
        closings=period.closings,
        left_out=period.queried.left_out,
    )


def _tell(
    zone: AuthorityZone,
    asked: AskedQuestion,
    looked: LookedQuestion,
    period: _Period,
    known: Sequence[KnownSet],
    *,
    now: datetime,
) -> TrialAnswer:
    told = [n for n in range(len(asked.found)) if n not in looked.withheld]
    conflicts = _conflicts(zone, looked, known)
    resolutions = [asked_for(RESEARCH, resolution=asked.resolution)]
    with read_session(zone.engine) as session:
        budgets = list_left(
            session, zone.policy, resolutions, plan="query", classes=period.classes, at=now
        )
    needed = find_approvals(zone.policy, resolutions, classes=period.classes)
    refused = None if told else _withheld_error()
    return TrialAnswer(
        asked_by="",
        is_allowed=bool(told),
        reason=refused.reason if refused else "",
        message=refused.message if refused else "",
        remedy=refused.remedy if refused else "",
        resolution=asked.resolution,
        told=[_group(asked, n) for n in told],
        withheld=[_group(asked, n, conflicts.get(n, [])) for n in sorted(looked.withheld)],
        approvals=sorted({*needed.roles, *needed.standing}),
        budgets=[_budget(case, *count) for case, count in budgets.items()],
        cost=_cost(period, workers=zone.checks.workers),
        closings=period.closings,
        left_out=period.queried.left_out,
    )


def _withheld_error() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "Every group of the question would be withheld, beside what was told before or the bills "
        "that are still to be released.",
        reason="query.withheld",
        remedy="Ask about the groups that were told of, or about others that have nobody, or"
        " enough, in common with them.",
    )


def _budget(case: Case, left: int, of: int) -> TriedBudget:
    return TriedBudget(
        measure=case.measure,
        resolution=case.resolution,
        customer_class=case.customer_class,
        left=left,
        of=of,
    )


def _group(asked: AskedQuestion, number: int, conflicts: Sequence[str] = ()) -> TriedGroup:
    label = asked.labels[number]
    return TriedGroup(values=list(label.values), cohort=label.cohort, conflicts=list(conflicts))


def _conflicts(
    zone: AuthorityZone, looked: LookedQuestion, known: Sequence[KnownSet]
) -> dict[int, list[str]]:
    """By withheld group, the releases that told of what it conflicts with.

    Only those whose certificates list their cells, so that nothing is said of whom a question of
    somebody's was about, or that staff looked at bills beforehand.
    """
    numbers = sorted(looked.withheld)[:_MOST_CONFLICTS]
    listed = [one for one in known if not one.is_group]
    found = {n: {one.at for one in find_conflicts(looked.sets[n], listed)} for n in numbers}
    moments = {at for own in found.values() for at in own if at is not None}
    with read_session(zone.engine) as session:
        names = {at: _list_releases(session, at) for at in moments}
    return {
        number: sorted({name for at in own if at is not None for name in names[at]})
        for number, own in found.items()
    }


def _list_releases(session: Session, at: datetime) -> list[str]:
    """The releases of a moment that list their cells, none where it was a preview's.

    Found by halves: they are kept in the order of time.
    """
    low, high = 1, 1 + (session.exec(select(func.max(ReleaseRow.id))).one() or 0)
    while low < high:
        middle = (low + high) // 2
        after = select(ReleaseRow.at).where(col(ReleaseRow.id) >= middle)
        if session.exec(after.order_by(col(ReleaseRow.id)).limit(1)).one() < at:
            low = middle + 1
        else:
            high = middle
    rows = select(ReleaseRow.release_id, ReleaseRow.plan, ReleaseRow.at)
    rows = rows.where(col(ReleaseRow.id) >= low).order_by(col(ReleaseRow.id))
    found = session.exec(rows.limit(_MOST_RELEASES)).all()
    return [name for name, plan, moment in found if moment == at and plan != "query"]


def _cost(period: _Period, *, workers: int) -> TriedCost:
    queried = period.queried
    entries = [entry for data in queried.datas for entry in queried.fetched(data)]
    size = sum(entry.size for entry in entries)
    many = max(min(workers, len(queried.datas)), 1)
    return TriedCost(
        columns=len(entries),
        objects=len(entries) + 2 * len(queried.datas),
        bytes=size,
        seconds=round(_BESIDE_S + size / _BYTES_A_SECOND / many, 1),
    )


def _near(
    zone: AuthorityZone,
    opened: tuple[SealedQuestion, Question],
    period: _Period,
    known: Sequence[KnownSet],
    answer: TrialAnswer,
) -> TrialAnswer:
    """The answer with the nearest question of which all groups would be told (step 5)."""
    content, question = opened
    points = sum(data.roster.slots for data in period.queried.datas)
    for near in islice(list_near(question), min(_MOST_NEAR, _NEAR_POINTS // points)):
        try:
            _, looked = _look(zone, (content, near), period, known)
        except _REFUSALS:
            continue
        if not looked.withheld:
            return answer.model_copy(update={"nearest": near.text})
    return answer
