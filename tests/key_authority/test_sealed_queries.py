"""Sealed queries at checker and vault: exact, released once, and told to the asker alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlmodel import select

from gridsecure.analyst.certificates import verify_certificate
from gridsecure.analyst.releases import pin_authority
from gridsecure.analyst.replay_material import ReplayMaterial
from gridsecure.analyst.replays import replay_certificate
from gridsecure.approvals import APPROVER_ROLES, ReleaseSubject
from gridsecure.approvals import verify_certificate as verify_approvals
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import (
    CiphertextError,
    EnvelopeError,
    GridSecureError,
    InvalidMessageError,
    NotFoundError,
)
from gridsecure.key_authority.checker import asked_questions, query_answers, sealed_queries
from gridsecure.key_authority.checker.answering import list_certificates
from gridsecure.key_authority.checker.approvals import record_approval
from gridsecure.key_authority.checker.asked_questions import AskedQuestion
from gridsecure.key_authority.checker.query_answers import read_asked_question
from gridsecure.key_authority.checker.tables import (
    KeptAnswerRow,
    QueryGrantRow,
    ReleaseRow,
    ToldSetRow,
)
from gridsecure.key_authority.packages import VaultAnswer
from gridsecure.key_authority.query_orders import CheckedQuery
from gridsecure.messages import CellTotal, ReleaseCertificate, ReleaseRequest, Signed
from gridsecure.queries.totals import GroupCount
from gridsecure.released_values import ReleasedValues, SignedCertificate
from gridsecure.sealed_answers import (
    SMALLEST,
    AnsweredGroups,
    QueryAnswer,
    _room,
    pad_answer,
)
from gridsecure.store.database import read_session
from gridsecure.store.objects import folder_url, open_objects
from tests.approving import APPROVERS, approval_of
from tests.authority_simulator import Authority, waiting_subjects
from tests.grid_simulator import NOW, grid_keys
from tests.key_authority.asked_queries import Asked, Asker, question_of
from tests.key_authority.test_approvals import stand
from tests.key_authority.test_budgets import budgeted
from tests.key_authority.test_policies import hold, policy_of
from tests.query_grants import sealed_query_of

HOMES = {"customer_class": ["household"]}
FUTIAN = HOMES | {"zone": ["futian"]}


@pytest.fixture
def asker(authority: Authority) -> Asker:
    return Asker(authority)


def plain(asker: Asker, where: str, by: list[str]) -> dict:
    """The same totals by pandas: group values and step -> Wh."""
    rows = asker.readings().query(where)
    rows = rows.assign(day=rows["start"].dt.normalize(), hour=rows["start"])
    return {
        (tuple(key[:-1]), key[-1].isoformat()): int(wh)
        for key, wh in rows.groupby(by)["energy_wh"].sum().items()
    }


def rows_of(asker: Asker, table: type) -> list[Any]:
    with read_session(asker.authority.zone.engine) as session:
        return list(session.exec(select(table)).all())


# --- exact ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", ["interval", "hour", "day"])
def test_totals_of_a_hidden_cohort_are_those_of_pandas(asker, every):
    asked = asker.ask(question_of(where=FUTIAN, every=every))
    outcome = asker.answered(asked)
    assert (outcome.state, outcome.reason) == ("released", None)
    step = "day" if every == "day" else "hour"
    homes = "zone == 'futian' and customer_class == 'household'"
    expected = plain(asker, homes, ["zone", step])
    assert asker.totals(asked) == {((), start): wh for (_, start), wh in expected.items()}


def test_groups_and_hours_of_the_clock_are_those_of_pandas(asker):
    """Homes of both zones are enough together, those of luohu by themselves are not."""
    evening = {"clock": [{"start": "18:00", "end": "22:00"}]}
    asked = asker.ask(question_of(group_by=["customer_class"], every="day", when=evening))
    assert asker.answered(asked).state == "released"
    totals = asker.totals(asked)
    expected = plain(asker, "start.dt.hour >= 18 and start.dt.hour < 22", ["customer_class", "day"])
    homes = {key: wh for key, wh in expected.items() if key[0] == ("household",)}
    assert totals == homes, "of shops and factories it is not said that there are any"


def test_a_month_of_which_all_days_are_there_is_monthly_and_else_it_is_not(asker):
    asked = asker.ask(question_of(where=FUTIAN))
    assert asker.answered(asked).state == "released"
    (certificate,) = asker.authority.certificates
    subject = ReleaseSubject.parse(certificate.subject)
    assert subject.resolutions == ["daily"], "two days of the month have intervals"
    rows = asker.readings().query("zone == 'futian' and customer_class == 'household'")
    assert list(asker.totals(asked).values()) == [int(rows["energy_wh"].sum())]


# --- who learns what -----------------------------------------------------------------------------


def test_nothing_that_others_hold_tells_of_the_question(asker):
    """Certificate, log and database: no zone of it, no word, no digest that a guess would give."""
    question = question_of(where=FUTIAN | {"large": False}, every="day")
    asked = asker.ask(question)
    assert asker.answered(asked).state == "released"
    (kept,) = list_certificates(asker.authority.zone)
    certificate = ReleaseCertificate.parse(kept.body)
    assert (certificate.plan, certificate.transcripts, certificate.places) == ("query", [], [])
    assert certificate.cells == [], "no spans, no sizes, nothing of what was told"
    assert {cell.zone for cell in asker.release(asked).cells} == {
        f"query {asked.content.digest[:16]}"
    }
    assert certificate.question == asked.content.digest
    log = json.dumps([entry.detail for entry in asker.authority.evidence])
    (granted,) = asker.authority.entries("release.granted")
    said = json.loads(granted.detail)
    assert (said["told"], said["withheld"]) == (0, 0)
    database = b"".join(path.read_bytes() for path in asker.authority.folder.glob("zone.db*"))
    for text in (kept.body, log):
        assert question not in text
        assert '"large"' not in text
        assert asked.content.salt not in text
    assert question.encode() not in database
    assert asked.content.salt.encode() not in database


def test_a_certificate_verifies_with_public_keys_alone(asker):
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    asker.answered(asked)
    authority = pin_authority(asker.grid.authority_key.public_key.point.hex())
    text = asker.answer(asked).certificate.encode()
    verified = verify_certificate(text, authority=authority)
    assert verified.has_values
    (certificate,) = asker.authority.certificates
    grounds = verify_approvals(certificate, approvers=APPROVERS, roles=["privacy-officer"])
    assert {one.role for one in grounds} == {"data-owner", "privacy-officer"}
    other = certificate.model_copy(update={"question": "0" * 64})
    with pytest.raises(GridSecureError) as refused:
        verify_approvals(other, approvers=APPROVERS, roles=[])
    assert refused.value.reason == "approval.certificate"


def test_cells_of_a_question_are_those_that_were_certified(asker):
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    asker.answered(asked)
    envelope = SignedCertificate.parse(asker.answer(asked).certificate)
    authority = pin_authority(asker.grid.authority_key.public_key.point.hex())
    bare = verify_certificate(
        envelope.without_values().model_dump_json().encode(), authority=authority
    )
    assert (bare.has_values, bare.release.cells) == (False, ())
    values = envelope.values
    first, *rest = values.cells
    for cells in (
        rest,
        [first.model_copy(update={"start": rest[0].start}), *rest],
        [first.model_copy(update={"members": 400}), *rest],
        [first.model_copy(update={"value": "1"}), *rest],
    ):
        other = values.model_copy(update={"cells": cells})
        text = envelope.model_copy(update={"values": other}).model_dump_json().encode()
        with pytest.raises(GridSecureError) as refused:
            verify_certificate(text, authority=authority)
        assert refused.value.reason == "release.values"


def test_an_answer_is_sealed_to_the_reader_alone(asker):
    asked = asker.ask(question_of(where=FUTIAN, every="day"), reader=generate_private_key())
    asker.answered(asked)
    assert asker.totals(asked)
    stranger = Asked(asked.query, asked.content, asked.request, generate_private_key())
    with pytest.raises(EnvelopeError):
        asker.answer(stranger)


def test_officers_read_the_question_and_it_waits_for_them(asker, decrypted):
    question = question_of(where=FUTIAN, every="day")
    asked = asker.ask(question)
    assert asker.unapproved(asked).state == "waiting"
    (waiting,) = waiting_subjects(asker.authority.zone)
    assert read_asked_question(asker.authority.zone, waiting.digest).question == question
    subject = ReleaseSubject.parse(waiting.text)
    assert subject.question == asked.content.digest
    assert {cell.zone for cell in subject.cells} == {"futian", "luohu"}, "whomever it is about"
    assert question not in waiting.text
    asker.authority.view.asked.clear()
    assert asker.unapproved(asked).state == "waiting"
    columns = {c.digest for one in asker.grid.uploads for c in one.manifest.columns}
    assert columns.isdisjoint(asker.authority.view.asked), "nothing is computed meanwhile"
    assert decrypted == []
    assert asker.answered(asked).state == "released"
    with pytest.raises(NotFoundError):
        read_asked_question(asker.authority.zone, "0" * 64)


# --- again ---------------------------------------------------------------------------------------


def test_the_same_question_again_is_answered_from_what_there_is(asker, decrypted):
    question = question_of(where=FUTIAN, every="day")
    first, second = asker.ask(question), asker.ask(question, reader=generate_private_key())
    assert asker.answered(first).state == "released"
    assert asker.answer(first).groups.closings == [asker.closing.digest]
    before = {table: len(rows_of(asker, table)) for table in (ReleaseRow, ToldSetRow)}
    outcome = asker.unapproved(second)  # nobody has to approve what was told already
    assert (outcome.state, outcome.earlier) == ("released", None)
    assert {table: len(rows_of(asker, table)) for table in before} == before
    assert decrypted == ["release_query"]
    assert len(rows_of(asker, QueryGrantRow)) == 2, "each spent a grant"
    assert asker.totals(second) == asker.totals(first)
    assert asker.unapproved(second).state == asker.unapproved(first).state == "released"
    assert decrypted == ["release_query"]


def test_what_was_told_by_earlier_rules_is_looked_at_again(asker, decrypted, monkeypatch):
    question = question_of(where=FUTIAN, every="day")
    first, second = asker.ask(question), asker.ask(question, reader=generate_private_key())
    now = asker.authority.zone
    monkeypatch.setattr(asker.authority, "zone", replace(now, rules="0" * 64))
    assert asker.answered(first).state == "released"
    monkeypatch.undo()
    assert asker.unapproved(second).state == "waiting"


def test_the_platform_sees_no_difference_when_the_same_is_asked_again(asker, decrypted):
    for role in APPROVER_ROLES:
        assert stand(asker.authority, bearer=role, scope="domain", domain="queries") == ""
    unknown = asker.ask(question_of(where={"zone": ["atlantis"]}))
    assert asker.unapproved(unknown).state == "refused", "seats are proven once"
    question = question_of(where=FUTIAN, every="day")
    fetched, outcomes = [], []
    for _ in range(2):
        asker.authority.view.asked.clear()
        asked = asker.ask(question, reader=generate_private_key())
        outcomes.append(asker.unapproved(asked))
        fetched.append(list(asker.authority.view.asked))
        assert outcomes[-1].request_id == ReleaseRequest.parse(asked.request.body).request_id
    assert fetched[0] == fetched[1] != []
    assert [(one.state, one.reason, one.earlier) for one in outcomes] == [
        ("released", None, None)
    ] * 2
    assert decrypted == ["release_query"]


def test_another_spelling_of_one_question_is_refused_to_be_another_question(asker):
    query, content = sealed_query_of(asker.grid, question_of(where=FUTIAN).replace(":", ": ", 1))
    asked = asker.sent(query, content, asker.ask(question_of(where=FUTIAN)).reader)
    assert asker.answered(asked).reason == "release.query"
    assert asker.answer(asked).reason == "query.spelling"


# --- refused -------------------------------------------------------------------------------------

REFUSED = {
    "nobody": (question_of(where={"zone": ["atlantis"]}), "query.small"),
    "too few": (question_of(where=HOMES | {"zone": ["luohu"]}), "query.small"),
    "not computed": (question_of(measure="count"), "query.measure"),
    "bills of few": (question_of(measure="bill"), "query.small"),
    "an edge of none": (
        question_of(statistic={"name": "histogram", "edges_kwh": [21]}),
        "query.edge",
    ),
    "no question": ('{"measure":"energy"}', "query.field"),
    "a day without intervals": (question_of(when={"days": ["2026-07-20"]}), "query.days"),
    "another month": (question_of(period={"month": "2026-06"}), "query.period"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_why_it_was_refused_is_told_to_the_asker_alone(asker, name, decrypted):
    question, reason = REFUSED[name]
    query, content = sealed_query_of(asker.grid, question)
    asked = asker.sent(query, content, asker.ask(question_of(where=FUTIAN)).reader)
    outcome = asker.answered(asked)
    assert (outcome.state, outcome.reason) == ("refused", "release.query")
    answer = asker.answer(asked)
    assert answer.reason == reason or name == "no question"
    assert answer.remedy
    assert answer.closings == [asker.closing.digest], "what the platform had it asked over"
    log = json.dumps([entry.detail for entry in asker.authority.evidence])
    assert reason not in log
    assert (decrypted, rows_of(asker, ReleaseRow)) == ([], [])
    assert asker.answered(asked).reason == "release.query"
    assert asker.answer(asked) == answer


def test_a_refused_query_is_refused_in_whatever_request_and_stays_with_its_reason(asker):
    query, content = sealed_query_of(asker.grid, question_of(where={"zone": ["atlantis"]}))
    asked = asker.sent(query, content, grid_keys().holder)
    assert asker.answered(asked).reason == "release.query"
    told = asker.answer(asked)
    other = asker.queried().model_copy(update={"closings": [asker.closing_again()]})
    again = asker.sent(query, content, grid_keys().holder, queried=other)
    assert asker.answered(again).reason == "release.query"
    assert asker.answer(asked) == told


@pytest.mark.parametrize("reason", ["", "keys.revoked"])
def test_a_wrong_object_of_the_platform_refuses_no_question(asker, monkeypatch, reason):
    asked = asker.ask(question_of(where=FUTIAN, every="day"))

    def damaged(*_given: object, **_named: object) -> None:
        raise CiphertextError("A column is damaged.", reason=reason)

    with monkeypatch.context() as patched:
        patched.setattr(sealed_queries, "_derive", damaged)
        assert asker.answered(asked).state == "failed"
        with pytest.raises(NotFoundError):
            asker.answer(asked)
    assert asker.answered(asked).state == "released"


def test_what_officers_approved_is_compared_before_the_vault_is_asked(
    asker, monkeypatch, decrypted
):
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    assert asker.unapproved(asked).state == "waiting"
    real = query_answers.blinding_seed
    monkeypatch.setattr(query_answers, "blinding_seed", lambda *given: real(*given)[::-1])
    assert asker.answered(asked).reason == "release.query"
    assert asker.answer(asked).reason == "approval.order"
    assert decrypted == []


def test_that_officers_rejected_it_is_told_to_the_asker(asker):
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    assert asker.unapproved(asked).state == "waiting"
    (waiting,) = waiting_subjects(asker.authority.zone)
    no = approval_of(waiting.text, role="data-owner", decision="reject")
    record_approval(asker.authority.zone, no, bearer="data-owner", now=NOW)
    assert asker.unapproved(asked).reason == "release.query"
    assert asker.answer(asked).reason == "approval.rejected"


def test_a_question_with_too_many_totals_is_refused_with_a_reason(asker, monkeypatch, decrypted):
    monkeypatch.setattr(asked_questions, "MAX_TOTALS", 47)
    asked = asker.ask(question_of(where=FUTIAN, every="interval"))
    assert asker.answered(asked).reason == "release.query"
    answer = asker.answer(asked)
    assert (answer.reason, decrypted) == ("query.large", [])
    assert "fewer groups" in answer.remedy


def test_a_blinding_is_of_one_policy_and_one_layout(asker, monkeypatch):
    """One vector for two layouts would tell the totals of what their pieces have in common."""
    laid: list[AskedQuestion] = []
    real = sealed_queries.lay_out_question

    def kept(*given: Any) -> AskedQuestion:
        laid.append(real(*given))
        return laid[-1]

    monkeypatch.setattr(sealed_queries, "lay_out_question", kept)
    asker.unapproved(asker.ask(question_of(where=FUTIAN, every="day")))
    zone, (one,) = asker.authority.zone, laid
    pieces = tuple(np.where(own >= 0, own + 1, own) for own in one.layout.pieces)
    others = [
        (zone, "request", replace(one, layout=replace(one.layout, pieces=pieces))),
        (replace(zone, policy=policy_of(("15", "16"))), "request", one),
        (zone, "another", one),
    ]
    other = replace(zone, blinding_key=b"\1" * 32)
    others.append((other, "request", one))
    seeds = {query_answers.blinding_seed(*given) for given in [(zone, "request", one), *others]}
    renewed = replace(zone, query_key=generate_private_key())
    assert query_answers.blinding_seed(renewed, "request", one) in seeds, "it opens questions alone"
    assert len(seeds) == 5
    assert query_answers.blinding_seed(zone, "request", one) in seeds


def test_the_length_of_what_is_fetched_tells_no_reason_and_no_groups(asker):
    """The platform has grant and query, and so can fetch what only the reader opens."""
    refused = set()
    for question in (
        question_of(where={"zone": ["atlantis"]}),
        question_of(measure="bill"),
        question_of(when={"days": ["2026-07-20"]}),
    ):
        asked = asker.ask(question)
        assert asker.answered(asked).state == "refused"
        refused.add(len(asker.sealed_answer(asked)))
    told = set()
    for every in ("day", "hour"):
        asked = asker.ask(question_of(where=FUTIAN, every=every))
        assert asker.answered(asked).state == "released"
        told.add(len(asker.sealed_answer(asked)))
    (smallest,) = refused
    over = smallest - SMALLEST
    assert told <= {over + SMALLEST * 4**n for n in range(1, 4)}


def answer_of(value: str | None, members: int) -> Signed:
    """An answer about a hundred groups, of which all or nothing is told."""
    told = value is not None
    cells = [
        CellTotal(
            zone="query", customer_class="0", start="", end="", measure="energy_wh",
            members=members, value=None, told=told,
        )
    ] * 100  # fmt: skip
    values = ReleasedValues(salt="0" * 64, values=[value] * 100, cells=cells)
    certificate = SignedCertificate(
        body_kind="c", body="", signer="0" * 64, signature="00", values=values
    )
    count = GroupCount(values=[], cohort="first", points=members, customers=members)
    said = QueryAnswer(
        asked_by="query",
        certificate=certificate.model_dump_json(),
        groups=AnsweredGroups(salt="0" * 64, groups=[count] * 100),
    )
    return Signed(body_kind=said.kind, body=said.model_dump_json(), signer="0" * 64, signature="0")


def test_the_size_of_an_answer_is_that_of_all_that_could_have_been_told():
    """Whether edges are told, and how large numbers are, depends on readings."""
    answers = [answer_of(None, 0), answer_of("7", 40), answer_of("123456789012", 40_000)]
    lengths = [len(one.model_dump_json()) for one in answers]
    assert len(set(lengths)) == 3
    rooms = [_room(QueryAnswer.parse(one.body)) for one in answers]
    assert len({length + room for length, room in zip(lengths, rooms, strict=True)}) == 1
    assert len({len(pad_answer(one)) for one in answers}) == 1


def test_there_is_no_answer_before(asker):
    asked = asker.ask(question_of(where=FUTIAN))
    with pytest.raises(NotFoundError) as missing:
        asker.answer(asked)
    assert missing.value.reason == "not-found.query-result"


# --- nothing twice -------------------------------------------------------------------------------


class KilledError(BaseException):
    """Ends whatever is at work, as a killed process would."""


class KillingVault:
    """A vault at whose orders the checker is killed: before, in the middle, or after."""

    def __init__(self, authority: Authority, when: str) -> None:
        self.real, self.when = authority.vault, when
        self.orders: list[CheckedQuery] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def release_query(self, envelope: Signed, files: Iterable[bytes]) -> VaultAnswer:
        self.orders.append(CheckedQuery.parse(envelope.body))
        if self.when == "before":
            raise KilledError
        taken = iter(files)
        if self.when == "during":
            taken = self._until_killed(taken)
        answer = self.real.release_query(envelope, taken)
        if self.when == "after":
            raise KilledError
        return answer

    def _until_killed(self, files: Iterator[bytes]) -> Iterator[bytes]:
        texts = len(self.orders[-1].rosters)
        for number, data in enumerate(files):
            if number > 2 * texts:  # one column was decrypted
                raise KilledError
            yield data


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_killed_at_the_vault_it_is_released_once_when_asked_again(grid, tmp_path, when):
    first = Authority(grid, tmp_path / "authority")
    vault = KillingVault(first, when)
    first.close()
    authority = Authority(grid, tmp_path / "authority", vault=vault)
    asker = Asker(authority)
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    with pytest.raises(KilledError):
        asker.answered(asked)
    assert rows_of(asker, ReleaseRow) == rows_of(asker, ToldSetRow) == []
    vault.when = ""
    assert asker.answered(asked).state == "released"
    assert asker.answered(asked).state == "released"
    one, other = vault.orders
    assert one.outputs == other.outputs, "what was approved is what is decrypted"
    counts = [
        len(rows_of(asker, t)) for t in (ReleaseRow, KeptAnswerRow, QueryGrantRow, ToldSetRow)
    ]
    assert counts == [1, 1, 1, 1]
    authority.close()


def test_killed_before_the_certificate_is_kept_nothing_of_it_is(asker, monkeypatch):
    asked = asker.ask(question_of(where=FUTIAN, every="day"))

    def killed(*_given: object, **_named: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(query_answers, "keep_answer", killed)
        with pytest.raises(KilledError):
            asker.answered(asked)
    assert rows_of(asker, ReleaseRow) == rows_of(asker, ToldSetRow) == []
    assert asker.answered(asked).state == "released"
    assert len(rows_of(asker, ReleaseRow)) == 1


def test_a_vault_that_is_down_lets_it_wait(grid, tmp_path):
    first = Authority(grid, tmp_path / "authority")
    vault = DownVault(first)
    first.close()
    authority = Authority(grid, tmp_path / "authority", vault=vault)
    asker = Asker(authority)
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    outcome = asker.answered(asked)
    assert (outcome.state, outcome.reason) == ("failed", "vault.down")
    with pytest.raises(NotFoundError):
        asker.answer(asked)
    # An order that the vault refuses however often it comes does not wait: its asker is told.
    vault.refusal = InvalidMessageError("An order is none.", reason="query.rows")
    never = asker.ask(question_of(where=FUTIAN, every="month"))
    outcome = asker.answered(never)
    assert (outcome.state, outcome.reason) == ("refused", "release.query")
    assert asker.answer(never).reason == "query.rows"
    vault.refusal = None
    assert asker.answered(asked).state == "released"
    authority.close()


class DownVault:
    """A vault that does not answer, or refuses."""

    def __init__(self, authority: Authority) -> None:
        self.real = authority.vault
        self.refusal: GridSecureError | None
        self.refusal = GridSecureError("The vault is down.", reason="vault.down")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def release_query(self, *given: Any) -> VaultAnswer:
        if self.refusal is not None:
            raise self.refusal
        return self.real.release_query(*given)


def test_of_two_that_answer_one_question_at_once_one_releases_it(asker, monkeypatch):
    """The second is told to look again, and then finds the first one's answer."""
    question = question_of(where=FUTIAN, every="day")
    first, second = asker.ask(question), asker.ask(question, reader=generate_private_key())
    real = sealed_queries.certify

    def other_first(*given: Any, **named: Any) -> None:
        monkeypatch.setattr(sealed_queries, "certify", real)
        assert asker.answered(second).state == "released"
        real(*given, **named)

    monkeypatch.setattr(sealed_queries, "certify", other_first)
    outcome = asker.answered(first)
    assert (outcome.state, outcome.reason) == ("failed", "release.meanwhile")
    assert asker.answered(first).state == "released"
    assert len(rows_of(asker, ReleaseRow)) == 1
    assert asker.totals(first) == asker.totals(second)


def test_the_last_release_of_a_budget_is_spent_once(grid, tmp_path):
    """Two processes have the last one in hand; one of them is told to wait."""
    authority = Authority(grid, tmp_path / "authority")
    hold(authority, budgeted(1))
    asker = Asker(authority)
    first = asker.ask(question_of(where=FUTIAN, every="day"))
    second = asker.ask(question_of(where=HOMES, every="day"))
    assert asker.answered(first).state == "released"
    outcome = asker.answered(second)
    assert (outcome.state, outcome.reason) == ("failed", "policy.budget")
    again = asker.ask(question_of(where=FUTIAN, every="day"), reader=generate_private_key())
    assert asker.answered(again).state == "released", "what was told costs nothing"
    authority.close()


def test_a_replay_says_that_there_is_nothing_to_execute(asker, tmp_path):
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    asker.answered(asked)
    material = ReplayMaterial({}, open_objects(folder_url(tmp_path / "objects")))
    authority = pin_authority(asker.grid.authority_key.public_key.point.hex())
    with pytest.raises(GridSecureError) as refused:
        replay_certificate(
            asker.answer(asked).certificate.encode(), material, authority=authority, identity=[]
        )
    assert refused.value.reason == "replay.question"


def test_a_roster_whose_days_are_others_is_left_out_and_the_asker_is_told_how_many(
    authority, uploads
):
    """By how most meter points' days are, whatever is asked: nobody can stop all questions."""
    large, small = uploads
    shorter = authority.grid.upload(small.roster, days=1)
    authority.show(shorter)
    asker = Asker(authority, lying=[large, shorter])
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    assert asker.answered(asked).state == "released"
    answer = asker.answer(asked)
    assert answer.groups.left_out == 1
    names = set(large.roster.manifest.pseudonyms)
    assert 15 <= answer.groups.groups[0].points <= len(names)
    only = Asker(authority, lying=[shorter])
    assert only.unapproved(only.ask(question_of(every="day"))).reason == "release.query"


def test_a_month_that_was_cut_out_of_a_longer_period_is_refused(authority, uploads):
    asker = Asker(authority)
    start, end = asker.span
    longer = authority.grid.closing_list(
        sorted(one.upload_id for one in uploads), number=9, start=start, end="2026-08-05"
    )
    queried = asker.queried().model_copy(update={"closings": [longer]})
    asked = asker.ask(question_of(where=FUTIAN), queried=queried)
    assert asker.unapproved(asked).reason == "release.closing"
    assert (start, end) == asker.span


def test_a_day_that_is_spelled_as_one_of_another_month_is_refused(asker):
    """1 July of the list is 30 June far to the west, and would be charged to June."""
    west = ("2026-06-30T00:00:00-16:00", "2026-07-01T00:00:00-16:00")
    east = ("2026-07-01T00:00:00+08:00", "2026-07-02T00:00:00+08:00")
    reasons = [
        asker.unapproved(asker.ask(question_of(where=FUTIAN), span=span)).reason
        for span in (west, east)
    ]
    assert reasons[0] == "release.closing"
    assert reasons[1] != "release.closing", "which is about the question's own period"
