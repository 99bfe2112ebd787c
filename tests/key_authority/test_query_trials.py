"""Trials of questions: what would become of one, for nothing, and no more than asking tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlmodel import col, select

from gridsecure.credentials.access import ISSUER, TRIAL_ROLE, trial_subject
from gridsecure.credentials.queries import RESULT_PURPOSE
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.padding import unpad
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker import asked_months, query_trials
from gridsecure.key_authority.checker.query_trials import TrialMemory, try_question
from gridsecure.key_authority.checker.tables import SeedRow
from gridsecure.messages import QueriedUploads, Signed, open_message
from gridsecure.queries.language import parse_question
from gridsecure.queries.near_questions import list_near
from gridsecure.sealed_answers import SMALLEST
from gridsecure.store.database import read_session
from gridsecure.trial_answers import TRIALS_OF_PASS, TrialAnswer
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import Authority, View, answer_approved
from tests.grid_simulator import NOW, grid_keys, registry
from tests.key_authority.asked_queries import Asker, question_of
from tests.key_authority.test_policies import hold
from tests.key_authority.test_private_queries import noisy, private_question
from tests.key_authority.test_sealed_attacks import victim
from tests.query_grants import sealed_query_of

FUTIAN = {"customer_class": ["household"], "zone": ["futian"]}


@dataclass
class Lying(View):
    """The view of a platform that names what it would name of a query."""

    asker: Asker | None = None
    reads: int = 0

    def queried(self, _start: str, _end: str) -> QueriedUploads:
        assert self.asker is not None
        self.reads += 1
        return self.asker.queried()


@dataclass
class Trying(Asker):
    """Tries questions with one pass."""

    memory: TrialMemory = field(default_factory=TrialMemory)
    token: str = "pass"

    def __post_init__(self) -> None:
        self.view = Lying(self.grid, asker=self)

    def claims(self) -> TokenClaims:
        return TokenClaims(
            subject=trial_subject(bytes(32)),
            roles=(TRIAL_ROLE,),
            audience="authority",
            issuer=ISSUER,
            issued_at=NOW,
            expires_at=NOW + timedelta(days=1),
            token_id=self.token,
        )

    def sealed(self, question: str, *, query: str = "", now=NOW) -> bytes:
        text = query or sealed_query_of(self.grid, question)[0].text
        zone, view, memory = self.authority.zone, self.view, self.memory
        return try_question(zone, self.claims(), query=text, view=view, memory=memory, now=now)

    def tried(self, question: str, **more: object) -> TrialAnswer:
        blob = self.sealed(question, **more)
        text = unpad(open_from(blob, private_key=grid_keys().holder, purpose=RESULT_PURPOSE))
        assert text is not None
        own = registry(self.grid.authority_key)
        return open_message(Signed.parse(text), expect=TrialAnswer, trusted=own)


@pytest.fixture
def trying(authority: Authority) -> Trying:
    return Trying(authority)


def test_a_trial_says_what_would_be_told_and_what_it_costs_and_leaves_nothing(trying, decrypted):
    before = len(trying.authority.evidence)
    answer = trying.tried(question_of(every="day", group_by=["customer_class"]))
    assert (answer.is_allowed, answer.reason, answer.resolution) == (True, "", "daily")
    assert [group.values for group in answer.told] == [["household"]], "as it would be answered"
    assert answer.withheld == []
    entries = [one for upload in trying.uploads for one in upload.manifest.columns]
    assert answer.cost is not None
    assert (answer.cost.columns, answer.cost.bytes) == (
        len(entries), sum(e.size for e in entries),
    )  # fmt: skip
    assert answer.approvals == ["data-owner", "privacy-officer"]
    assert answer.closings == [trying.closing.digest]
    assert (answer.trials_left, answer.nearest) == (TRIALS_OF_PASS - 1, "")
    assert decrypted == []
    assert len(trying.authority.evidence) == before
    released = trying.ask(question_of(every="day", group_by=["customer_class"]))
    assert trying.answered(released).state == "released", "nothing stands in its way"


def test_a_refusal_is_in_the_words_of_an_answer_and_the_nearest_question_is_allowed(trying):
    few = question_of(where=FUTIAN | {"zone": ["luohu"]}, group_by=["zone", "tariff"], every="day")
    answer = trying.tried(few)
    asked = trying.ask(few)
    assert trying.answered(asked).reason == "release.query"
    told = trying.answer(asked)
    assert (answer.reason, answer.message, answer.remedy) == (
        told.reason, told.message, told.remedy,
    )  # fmt: skip
    nobody = trying.tried(question_of(where={"zone": ["atlantis"]}, every="day"))
    assert (nobody.reason, nobody.message) == (answer.reason, answer.message)
    assert answer.nearest == question_of(where={"customer_class": ["household"]}, every="day")
    near = trying.ask(answer.nearest)
    assert trying.answered(near).state == "released"


def test_what_it_conflicts_with_is_named_unless_it_is_a_question(trying, monkeypatch):
    wide = question_of(where={"customer_class": ["household"]}, every="day")
    assert trying.answered(trying.ask(wide)).state == "released"
    answer = trying.tried(question_of(where=FUTIAN, every="day"))
    assert (answer.is_allowed, answer.reason) == (False, "query.withheld")
    (group,) = answer.withheld
    assert group.conflicts == [], "the others of it are too few; whose question it was is nobody's"
    assert answer.nearest == wide
    monkeypatch.setattr(query_trials, "_NEAR_POINTS", 0)
    large = trying.tried(question_of(where=FUTIAN, every="day"))
    assert (large.reason, large.nearest) == ("query.withheld", ""), (
        "no more looks than points allow"
    )


def test_a_release_that_lists_its_cells_is_named(trying):
    zone, asked = trying.authority.zone, trying.authority.load_curve_request(trying.uploads)
    assert answer_approved(zone, asked, view=trying.authority.view).state == "released"
    (certificate,) = trying.authority.certificates
    answer = trying.tried(question_of(where={"customer_class": ["household"]}, every="day"))
    (group,) = answer.withheld
    assert group.conflicts == [certificate.release_id]


def test_answers_of_all_kinds_have_one_length_and_a_repeat_is_a_trial_that_names_no_query(trying):
    questions = [
        question_of(every="day", group_by=["customer_class"]),
        question_of(where={"zone": ["atlantis"]}),
        question_of(where={"pseudonym": ["ab" * 32]}),
        question_of(every="interval"),
    ]
    assert len({len(trying.sealed(one)) for one in questions}) == 1
    assert len(trying.sealed(questions[0])) - SMALLEST < 512
    query = sealed_query_of(trying.grid, questions[0])[0].text
    left = [trying.tried("", query=query).trials_left for _ in range(3)]
    assert left == [left[0] - number for number in range(3)], "or it could be polled without end"
    with read_session(trying.authority.zone.engine) as session:
        kept = session.exec(select(SeedRow).where(col(SeedRow.seed).startswith("trial/"))).all()
    assert len(kept) == len(questions) + 4
    assert sm3_hex(query.encode()) not in {row.transcript for row in kept}


def test_a_pass_has_so_many_trials_and_what_was_verified_is_remembered(trying):
    question = question_of(every="day")
    for number in range(TRIALS_OF_PASS):
        assert trying.tried(question).trials_left == TRIALS_OF_PASS - 1 - number
    assert trying.view.reads == 1
    with pytest.raises(GridSecureError) as refused:
        trying.tried(question)
    assert refused.value.reason == "query.trials"
    trying.token = "another"
    assert trying.tried(question, now=NOW + timedelta(minutes=11)).is_allowed
    assert trying.view.reads == 2


@attack(
    "where one meter point is, by trials that cost nothing",
    rule(
        "A question that names pseudonyms, or compares sizes, is not tried.",
        "query.trial-named",
        cut(
            "gridsecure.key_authority.checker.query_trials:_check_unnamed",
            "cohort.is_named or cohort.is_sized",
            "False",
        ),
    ),
)
def test_no_question_that_names_single_meter_points_is_tried(
    trying: Trying, attacked: Attacked
) -> None:
    neighbours = {"zone": ["luohu"]}
    range_of_one = {"all_of": [{"contracted_kva": {"at_least": "7.9", "below": "8.1"}}]}
    quota = {"none_of": [{"household_quota_kwh": {"at_least": 1}}]}
    whole = question_of(where=neighbours, statistic={"name": "share", "of": quota})
    answers = [
        trying.tried(question_of(where={"any_of": [one, neighbours]}, every="day"))
        for one in ({"pseudonym": [victim(trying)]}, range_of_one)
    ]
    reasons = {answer.reason for answer in [*answers, trying.tried(whole)]}
    attacked.ends("" if "query.small" in reasons else reasons.pop())


def test_a_load_curve_and_another_period_than_shown_are_refused(trying):
    june = question_of(period={"month": "2026-06"})
    assert trying.tried(june).reason == "query.period"
    with pytest.raises(GridSecureError) as refused:
        trying.sealed("", query=load_curve_text(trying))
    assert refused.value.reason == "query.trial"


def test_a_tariff_in_a_trial_is_not_even_read(trying, monkeypatch):
    monkeypatch.setattr(asked_months, "parse_tariff", None)
    what_if = {"name": "what_if", "tariff": "a = 1"}
    answer = trying.tried(question_of(measure="bill", statistic=what_if))
    assert answer.reason == "query.trial-bills"


def load_curve_text(trying: Trying) -> str:
    query, _ = sealed_query_of(trying.grid, question_of())
    return query.model_copy(update={"plan": "load-curve", "sealed": ""}).text


def test_questions_near_another_are_questions_and_coarser():
    question = parse_question(
        question_of(
            where=FUTIAN | {"tariff": ["homes"]},
            group_by=["zone", "tariff"],
            every="hour",
            when={"clock": [{"start": "18:00", "end": "22:00"}]},
        )
    )
    near = [one.text for one in list_near(question)]
    assert len(set(near)) == len(near) >= 8
    assert all(parse_question(text).text == text for text in near)
    assert question.text not in near
    assert parse_question(near[0]).group_by == question.group_by[:1]
    last = parse_question(near[-1])
    assert (last.where, last.group_by) == (None, ["customer_class", "zone"])


def test_a_trial_says_what_noise_would_cost_and_how_near_it_leaves_a_total(authority):
    hold(authority, noisy(budget="0.8"))
    trying = Trying(authority)
    private = private_question()
    (tried,) = [trying.tried(private)]
    assert (tried.noise.epsilon, tried.noise.left, tried.noise.of) == ("0.5", "0.8", "0.8")
    asked = trying.ask(private)
    assert trying.answered(asked).state == "released"
    assert trying.answer(asked).groups.noise.accuracy == tried.noise.accuracy
    spent = trying.tried(private_question(every="hour"))
    assert (spent.is_allowed, spent.reason) == (False, "query.budget")
    assert "0.3 is left" in spent.remedy
    exact = trying.tried(question_of(where=FUTIAN, every="day"))
    assert (exact.is_allowed, exact.reason, exact.noise) == (False, "release.private", None)


@pytest.mark.parametrize("measure", ["bill", "tier:1", "line:energy"])
def test_what_depends_on_single_quotas_is_not_tried(measure: str) -> None:
    """39 homes and one with a quota of its own: a trial would say that one of them has one."""
    with pytest.raises(GridSecureError) as refused:
        query_trials._check_unbilled(parse_question(question_of(measure=measure)))
    assert refused.value.reason == "query.trial-bills"
    query_trials._check_unbilled(parse_question(question_of(measure="energy")))
