"""Sealed queries at the checker: opened, held to policy and ledger, computed here, released once.

The platform ran nothing. What the checker does for other plans to compare digests, it does here to
have outputs at all: its confined workers blind the gateways' own columns for the question's totals.

1. the grant holds, what lies there is signed by whom it should be (`queried_uploads`), and the
   query is bound to this request: over other lists it is never looked at;
2. the question opens and makes sense; who asked it before gets the answer that there is;
3. officers approved it: once outputs are known, their digests are what they sign. The blinding
   follows from the request, so whenever it is computed again it is the same;
4. groups too small, and those that cannot be told beside what was told, are withheld
   (`asked_questions`);
5. the vault decrypts the checker's own outputs;
6. certificate, ledger, budget and answer are kept in one transaction.

What a question with noise costs is charged before the fifth step (`noise_budgets`).

What the question itself is refused for in steps 2 to 4, and that officers rejected it, is told to
the asker alone, for good (`query_answers`). What fails as nobody foresaw is tried a few times
(`failed_questions`). All else that goes wrong waits, and is asked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Final

from sqlmodel import Session

from gridsecure.approvals import (
    APPROVER_ROLES,
    REJECTION,
    AskedCell,
    ReleaseSubject,
    list_digest,
    outputs_digest,
)
from gridsecure.credentials.queries import parse_query
from gridsecure.credentials.sealed_questions import SEALED_QUERY_VERSION
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.checker import query_answers
from gridsecure.key_authority.checker.approvals import gather_approvals
from gridsecure.key_authority.checker.asked_months import LaidMonth
from gridsecure.key_authority.checker.asked_questions import (
    AskedQuestion,
    LookedQuestion,
    lay_out_question,
    look_at_groups,
    part_places,
    read_question,
)
from gridsecure.key_authority.checker.budgets import check_budget
from gridsecure.key_authority.checker.failed_questions import Attempt, counting_failures
from gridsecure.key_authority.checker.grants import bind_grant, check_purpose
from gridsecure.key_authority.checker.held_policies import check_in_force
from gridsecure.key_authority.checker.key_sets import key_ring
from gridsecure.key_authority.checker.ledger import bind_days, check_days
from gridsecure.key_authority.checker.noise_budgets import charge, check_cost
from gridsecure.key_authority.checker.queried_uploads import QueriedData, verify_queried
from gridsecure.key_authority.checker.reexecution import (
    Derived,
    MonthCheck,
    QueryCheck,
    Running,
)
from gridsecure.key_authority.checker.releases import Granted, certify
from gridsecure.key_authority.checker.subjects import Subject, find_subject, keep_subject
from gridsecure.key_authority.checker.told_edges import enter_edges
from gridsecure.key_authority.checker.vault_counts import check_counts
from gridsecure.key_authority.checker.verification import with_only
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import Approved, VaultAnswer
from gridsecure.key_authority.query_orders import MAIN, REACH, CheckedQuery, OrderedMonth
from gridsecure.messages import CellTotal, ColumnEntry, ReleaseRequest, sign_message
from gridsecure.plans.cells import measures_of, roster_places
from gridsecure.plans.execution import RosterData
from gridsecure.plans.purposes import RESEARCH
from gridsecure.plans.query_groups import write_rows
from gridsecure.plans.query_totals import TotalsLayout
from gridsecure.plans.transcript_inputs import PlatformView
from gridsecure.policy.decisions import asked_for, find_approvals
from gridsecure.policy.noise_costs import PRIVATE, SPENT
from gridsecure.policy.supply import check_supply, find_suppliers, list_terms
from gridsecure.store.database import read_session, write_session

_NO_ORDERS: Final = frozenset({"vault.query", "query.rows", "vault.group"})
"""What the vault refuses an order for, however often it comes, before it decrypts."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A request at work."""

    zone: AuthorityZone
    request: ReleaseRequest
    queried: QueriedData
    asked: AskedQuestion
    attempt: Attempt


def release_query(
    zone: AuthorityZone,
    request: ReleaseRequest,
    *,
    view: PlatformView,
    clock: Callable[[], datetime],
) -> None:
    """Answer a sealed query, by a release of its own or by the one that answered the same before.

    Of that the platform learns nothing: the same is fetched, in the same order.

    Raises:
        ReleaseRefusedError: Its grant or what lies there does not hold, as `check_purpose`,
            `verify_queried` and `check_days`; or its question is refused (`release.query`).
        GridSecureError: It waits, or something failed that is no fault of its.
    """
    if query_answers.is_answered(zone, request.request_id):
        return
    # 1. the grant, and what lies there
    check_in_force(zone, now=clock())
    if request.plan_version != SEALED_QUERY_VERSION:
        raise ReleaseRefusedError(
            "A request is for another version of its plan.", reason="release.transcript"
        )
    check_purpose(zone, request, now=clock())
    query_answers.check_not_refused(zone, request)
    queried = verify_queried(zone, request, view=view)
    with read_session(zone.engine) as session:
        check_days(session, queried.by_upload)
    bind_grant(zone, request, now=clock())
    with query_answers.letting_wait(), counting_failures(zone, request, clock=clock) as attempt:
        # 2. the question, and whether it was answered before
        with query_answers.telling_refusals(zone, request, at=clock()):
            opened = read_question(zone, parse_query(request.query))
        question = query_answers.question_key(zone, opened[0], queried)
        kept = query_answers.find_kept(zone, question)
        known = find_subject(zone, request.request_id)
        if known is not None and kept is None:  # nothing is computed while officers think it over
            _approved(zone, request, known, at=clock())
        with query_answers.telling_refusals(zone, request, at=clock()):
            asked = lay_out_question(zone, opened, queried)
        at_work = _Asked(zone, request, queried, asked, attempt)
        if kept is None:
            _release(at_work, known, question=question, view=view, clock=clock)
            return
        _derive(at_work, view=view)  # and dropped
        with write_session(zone.engine) as session:
            query_answers.keep_answered(session, request, release_id=kept, at=clock())


def _release(
    at_work: _Asked,
    known: Subject | None,
    *,
    question: str,
    view: PlatformView,
    clock: Callable[[], datetime],
) -> None:
    zone, request = at_work.zone, at_work.request
    _look(at_work, at=clock())  # before anything is computed
    outputs = _derive(at_work, view=view)
    # 3. approvals
    subject = _subject(at_work, outputs)
    if known is None:
        query_answers.keep_question(zone, request, at=clock())
        known = keep_subject(zone, subject, at=clock())
    with query_answers.telling_refusals(zone, request, at=clock()):
        _check_unchanged(known, subject, asked=at_work.asked)
    approved = _approved(zone, request, known, at=clock())
    # 4. looked at again: officers take days
    looked = _look(at_work, at=clock())
    # 5. the vault
    check_counts(zone, at=clock())
    _spend(at_work, approved, at=clock())
    at_work.attempt.asks_vault()
    # What never passes is told: nothing of the question was decrypted.
    with query_answers.telling_refusals(zone, request, only=_NO_ORDERS, at=clock()):
        answer = _order(at_work, looked, outputs, approved)
    # 6. certificate
    granted = _granted(at_work, looked, outputs, answer.cells)
    at = clock()
    keep = _keeping(at_work, looked, (granted, answer), question=question, at=at)
    certify(zone, request, granted, approved=approved, at=at, also=keep)


def _keeping(
    at_work: _Asked,
    looked: LookedQuestion,
    made: tuple[Granted, VaultAnswer],
    *,
    question: str,
    at: datetime,
) -> Callable[[Session], None]:
    """What is kept with a certificate: its answer, and at which edges it tells of whom."""
    asked, request, (granted, answer) = at_work.asked, at_work.request, made
    content = query_answers.seal_groups(
        at_work.zone,
        asked,
        request,
        withheld=looked.withheld | _untold_groups(asked, answer.cells),
        left_out=at_work.queried.left_out,
        noise=answer.noise,
    )

    def keep(session: Session) -> None:
        if asked.month is not None:
            _keep_edges(session, asked, asked.month, granted, at=at)
        query_answers.keep_answer(session, request, question=question, content=content, at=at)

    return keep


def _untold_groups(asked: AskedQuestion, cells: Sequence[CellTotal]) -> frozenset[int]:
    """Groups of which the vault told nothing: how many are in them is not told either."""
    many = len(asked.found)
    told = {int(cell.customer_class) % many for cell in cells if cell.value is not None}
    return frozenset(range(many)) - told


def _spend(at_work: _Asked, approved: Approved, *, at: datetime) -> None:
    """Bind sealed days and charge noise, for good, before anything is decrypted."""
    zone = at_work.zone
    with (
        query_answers.telling_refusals(zone, at_work.request, only={SPENT, PRIVATE}, at=at),
        write_session(zone.engine) as session,
    ):
        bind_days(session, at_work.queried.by_upload, at=at)
        charge(session, zone.policy, ReleaseSubject.parse(approved.subject), at=at)


def _keep_edges(
    session: Session, asked: AskedQuestion, month: LaidMonth, granted: Granted, *, at: datetime
) -> None:
    """Keep at which edges the answer tells of whom."""
    if month.known is not None:
        places = part_places(asked)
        told = month.told_edges(granted.cells, groups=len(asked.found))
        edges = {places[part]: own for part, own in told.items()}
        enter_edges(session, granted.giving, edges, known=month.known, at=at)


def _check_unchanged(known: Subject, made: ReleaseSubject, *, asked: AskedQuestion) -> None:
    """Refuse what would not be what officers approved: the vault would, and in every round again.

    What is computed for edges and squares is divided by what was told before, so it is something
    else once more was told.

    Raises:
        ReleaseRefusedError: `query.meanwhile` or `approval.order`.
    """
    if known.text == made.model_dump_json():
        return
    is_beside = asked.month is not None and asked.month.known is not None
    if is_beside and made.model_copy(update={"outputs": known.message.outputs}) == known.message:
        raise ReleaseRefusedError(
            "Something else was told of the month since officers saw the question.",
            reason="query.meanwhile",
            remedy="Ask it again, with another grant; have officers answer before the next load"
            " curve or question of that month.",
        )
    raise ReleaseRefusedError(
        "The key authority's software or query key changed since officers saw the question.",
        reason="approval.order",
        remedy="Ask it again, with another grant.",
    )


def _granted(
    at_work: _Asked,
    looked: LookedQuestion,
    outputs: Mapping[str, Derived],
    cells: Sequence[CellTotal],
) -> Granted:
    asked = at_work.asked
    return Granted(
        plan_version=SEALED_QUERY_VERSION,
        cells=tuple(cells),
        statements={},
        outputs_digest=sm3_hex("".join(out.entry.digest for out in outputs.values()).encode()),
        giving=looked.giving,
        minima={asked.resolution: asked.minima},
        places=(),
        question=asked.content.digest,
    )


def _look(at_work: _Asked, *, at: datetime) -> LookedQuestion:
    zone = at_work.zone
    with (
        query_answers.telling_refusals(zone, at_work.request, at=at),
        read_session(zone.engine) as session,
    ):
        return look_at_groups(session, zone, at_work.asked, at_work.queried)


def _approved(
    zone: AuthorityZone, request: ReleaseRequest, subject: Subject, *, at: datetime
) -> Approved:
    with (
        query_answers.telling_refusals(zone, request, only={SPENT, PRIVATE}, at=at),
        read_session(zone.engine) as session,
    ):
        check_budget(session, zone.policy, subject.message, at=at)
        check_cost(session, zone.policy, subject.message)
    with query_answers.telling_refusals(zone, request, only={REJECTION}, at=at):
        return gather_approvals(zone, subject, now=at)


def _derive(at_work: _Asked, *, view: PlatformView) -> dict[str, Derived]:
    """Have the workers blind the gateways' columns; each has some rosters, and fetches all days.

    Returns:
        By "roster/quantity", in the order of rosters and, within one, of quantities.
    """
    zone, queried = at_work.zone, at_work.queried
    keys = key_ring(zone)
    slim = tuple(_with_needed(at_work))
    many = min(max(zone.checks.workers, 1), len(slim))
    running: list[Running] = []
    found: dict[str, Derived] = {}
    try:
        for first in range(many):
            own = range(first, len(slim), many)
            fetched = [(slim[n], entry) for n in own for entry in queried.fetched(queried.datas[n])]
            check = _check(at_work, slim, fetched, [slim[n].roster.roster_id for n in own])
            running.append(zone.checks.begin(check, view=view, keys=keys))
        for one in running:
            found |= one.result().outputs
    except BaseException:  # whatever ended one of them, none of the others is waited for
        for one in running:
            one.drop()
        raise
    ordered = _outputs(at_work).values()
    if isinstance(at_work.asked.layout, TotalsLayout):  # quantities within rosters
        return {name: found[name] for names in zip(*ordered, strict=True) for name in names}
    return {name: found[name] for names in ordered for name in names}


def _with_needed(at_work: _Asked) -> Iterator[RosterData]:
    """The rosters' uploads with the columns that the question needs."""
    layout = at_work.asked.layout
    for place, data in enumerate(at_work.queried.datas):
        if isinstance(layout, TotalsLayout):
            yield with_only(layout.quantities, data)
        else:
            needs = [need.quantity for own in layout.both for need in own.needs[place]]
            yield with_only(list(dict.fromkeys(needs)), data)


def _check(
    at_work: _Asked,
    slim: tuple[RosterData, ...],
    fetched: Sequence[tuple[RosterData, ColumnEntry]],
    only: Iterable[str],
) -> QueryCheck | MonthCheck:
    """What one worker does.

    Args:
        fetched: All that is fetched of its rosters.
        only: Their ids.
    """
    asked, layout = at_work.asked, at_work.asked.layout
    seed = query_answers.blinding_seed(at_work.zone, at_work.request.request_id, asked)
    if isinstance(layout, TotalsLayout):
        return QueryCheck(slim, tuple(fetched), frozenset(only), seed, layout)
    return MonthCheck(slim, tuple(fetched), frozenset(only), seed, layout)


def _outputs(at_work: _Asked) -> dict[str, list[str]]:
    """Names of the outputs, as the vault's order has them: of quantities, or of layouts."""
    rosters = [data.roster.roster_id for data in at_work.queried.datas]
    layout = at_work.asked.layout
    if isinstance(layout, TotalsLayout):
        return {name: [f"{roster}/{name}" for roster in rosters] for name in layout.quantities}
    return {
        which: [f"{rosters[place]}/{part}" for place, part, _ in own.outputs()]
        for which, own in zip((MAIN, REACH), layout.both, strict=True)
    }


def _subject(at_work: _Asked, outputs: Mapping[str, Derived]) -> ReleaseSubject:
    """What officers are asked: of its cells all that lies there, whomever the question is about."""
    zone, request, asked = at_work.zone, at_work.request, at_work.asked
    rosters = [data.roster for data in at_work.queried.datas]
    supplied = list_terms(rosters)
    check_supply(zone.policy, supplied)
    counted = Counter(place for roster in rosters for place in roster_places(roster))
    needed = find_approvals(
        zone.policy,
        [asked_for(RESEARCH, resolution=asked.resolution)],
        classes={name for _, name in counted},
    )
    return ReleaseSubject(
        request_id=request.request_id,
        plan=request.plan,
        start=request.start,
        end=request.end,
        purpose=request.purpose,
        requested_by=request.requested_by,
        resolutions=[asked.resolution],
        measures=list(measures_of(request.plan)),
        cells=[
            AskedCell(zone=place[0], customer_class=place[1], meter_points=count)
            for place, count in sorted(counted.items())
        ],
        transcripts=list_digest([]),
        outputs=[outputs_digest(out.entry for out in outputs.values())],
        rosters=sorted(asked.rosters),
        tariffs=sorted({roster.tariff for roster in rosters}),
        policy=zone.policy.digest,
        policy_name=zone.policy.name,
        policy_version=zone.policy.version,
        needed=[role for role in APPROVER_ROLES if role in needed.roles],
        standing=[role for role in APPROVER_ROLES if role in needed.standing],
        question=asked.content.digest,
        groups=asked.groups_digest,
        steps=asked.steps_digest,
        epsilon=asked.question.private.epsilon if asked.question.private else "",
        suppliers=find_suppliers(supplied),
    )


def _month_order(at_work: _Asked) -> OrderedMonth | None:
    """What the vault is told of a question about a month."""
    texts = at_work.queried.tariff_texts
    own = {data.roster.tariff: texts[data.roster.tariff] for data in at_work.queried.datas}
    return at_work.asked.month.order(own) if at_work.asked.month else None


def _order(
    at_work: _Asked, looked: LookedQuestion, outputs: Mapping[str, Derived], approved: Approved
) -> VaultAnswer:
    """Have the vault decrypt and add up, but for what is withheld."""
    zone, request, asked = at_work.zone, at_work.request, at_work.asked
    rosters = [data.roster for data in at_work.queried.datas]
    texts = (roster.model_dump_json().encode() for roster in rosters)
    rows = [write_rows(own) for own in asked.rows]
    order = CheckedQuery(
        start=request.start,
        end=request.end,
        question=asked.content.digest,
        salt=asked.content.salt,
        rosters=list(asked.rosters),
        rows=[sm3_hex(own) for own in rows],
        groups=len(asked.found),
        steps={name: own.tolist() for name, own in asked.steps.items()},
        spans=list(asked.spans),
        outputs={
            name: [outputs[output].entry for output in own]
            for name, own in _outputs(at_work).items()
        },
        withheld=sorted(looked.withheld),
        minima=asked.minima.as_message(),
        merging=asked.minima.merging,
        dominance=dict(asked.minima.dominance),
        customer_points=asked.minima.customer_points,
        approved=approved,
        month=_month_order(at_work),
    )
    cells = [] if asked.month is None else asked.month.cell_rows()
    files = chain(texts, rows, cells, (output.data for output in outputs.values()))
    return zone.vault.release_query(sign_message(order, key=zone.signing_key), files)
