"""Refused questions give their grants back: with the refusal, once, and to whoever asked alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlmodel import select

from gridsecure.builds import source_digest
from gridsecure.credentials.returned_grants import (
    GrantOrder,
    ReturnedGrant,
    Ticket,
    new_ticket,
    take_back,
)
from gridsecure.credentials.sealed_questions import seal_question, write_question
from gridsecure.errors import GridSecureError, StorageError
from gridsecure.key_authority.checker import query_answers, sealed_queries
from gridsecure.key_authority.checker.approvals import record_approval
from gridsecure.key_authority.checker.failed_questions import MOST_ATTEMPTS
from gridsecure.key_authority.checker.query_answers import find_answer, question_key
from gridsecure.key_authority.checker.returned_grants import order_grant, published_return_key
from gridsecure.key_authority.checker.tables import (
    AnsweredQueryRow,
    FailedQuestionRow,
    SpentNoiseRow,
)
from gridsecure.messages import ReleaseRequest, Signed, open_message
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import keep
from tests.approving import approval_of
from tests.attacks import attack, cut, rule
from tests.authority_simulator import Authority, waiting_subjects
from tests.grid_simulator import NOW, grid_keys, registry
from tests.identity.identity_world import suite
from tests.key_authority.asked_queries import Asked, Asker, question_of

FEW = question_of(where={"zone": ["luohu"], "customer_class": ["household"]}, every="day")


@pytest.fixture
def asker(authority: Authority) -> Asker:
    return Asker(authority)


def asked_with_ticket(asker: Asker, question: str = FEW) -> tuple[Asked, Ticket]:
    public = bytes.fromhex(published_return_key(asker.authority.zone))
    ticket, reader = new_ticket(public, suite=suite()), grid_keys().holder
    first = asker.ask(question)
    content = write_question(question, reader=reader.public_key, ticket=ticket.blinded(suite()))
    sealed = seal_question(content, recipient=grid_keys().query.public_key)
    query = first.query.model_copy(update={"sealed": sealed})
    return asker.sent(query, content, reader), ticket


def came_back(asker: Asker, asked: Asked, ticket: Ticket) -> ReturnedGrant:
    return take_back(ticket, bytes.fromhex(asker.answer(asked).returned), suite=suite())


def use(asker: Asker, came: ReturnedGrant, digest: bytes = bytes(32)) -> Signed:
    zone, code = asker.authority.zone, came.code(digest)
    return order_grant(zone, seed=came.seed, digest=digest, code=code, now=NOW)


def test_what_was_refused_before_it_cost_anything_is_given_back_and_used_once(asker):
    asked, ticket = asked_with_ticket(asker)
    assert asker.answered(asked).reason == "release.query"
    came = came_back(asker, asked, ticket)
    assert came == came_back(asker, asked, ticket), "read again, it is the same one"
    trusted = registry(asker.grid.authority_key)
    order = open_message(use(asker, came), expect=GrantOrder, trusted=trusted)
    assert order.digest == "00" * 32
    assert use(asker, came).body == use(asker, came).body, "a lost answer is given again"


@attack(
    "one returned grant for two queries",
    rule(
        "A returned grant is for the first query that it is used for.",
        "authenticity.spent",
        cut(
            "gridsecure.key_authority.checker.returned_grants:order_grant",
            "frame_parts(seed)",
            "frame_parts(seed, digest)",
        ),
    ),
)
def test_a_returned_grant_is_used_for_one_query(asker, attacked):
    asked, ticket = asked_with_ticket(asker)
    asker.answered(asked)
    came = came_back(asker, asked, ticket)
    assert use(asker, came)
    attacked.tries(lambda: use(asker, came, b"\1" * 32))


def test_nothing_in_any_log_or_table_links_what_came_back_to_its_question(asker):
    asked, ticket = asked_with_ticket(asker)
    asker.answered(asked)
    came = came_back(asker, asked, ticket)
    use(asker, came)
    database = b"".join(path.read_bytes() for path in asker.authority.folder.glob("zone.db*"))
    said = str(asker.authority.evidence).encode()
    for piece in (came.seed, came.value, ticket.blinded(suite())):
        for form in (piece, piece.hex().encode()):
            assert form not in database + said


def test_killed_between_refusal_and_giving_back_it_gives_back_once(asker, monkeypatch):
    asked, ticket = asked_with_ticket(asker)
    real = query_answers.keep

    def dies(session: object, row: object) -> bool:
        kept = real(session, row)
        if isinstance(row, AnsweredQueryRow):
            raise StorageError("The machine stops here.")
        return kept

    monkeypatch.setattr(query_answers, "keep", dies)
    assert asker.unapproved(asked).state == "failed"
    with read_session(asker.authority.zone.engine) as session:
        assert session.exec(select(AnsweredQueryRow)).all() == [], "neither of both"
    monkeypatch.undo()
    for _ in range(2):
        assert asker.unapproved(asked).state == "refused"
    first = came_back(asker, asked, ticket)
    with read_session(asker.authority.zone.engine) as session:
        assert len(session.exec(select(AnsweredQueryRow)).all()) == 1
    use(asker, first)
    with pytest.raises(GridSecureError):
        use(asker, came_back(asker, asked, ticket), b"\2" * 32)


def test_what_officers_rejected_costs_its_grant(asker):
    homes = {"zone": ["futian"], "customer_class": ["household"]}
    asked, _ = asked_with_ticket(asker, question_of(where=homes, every="day"))
    assert asker.unapproved(asked).state == "waiting"
    (waiting,) = waiting_subjects(asker.authority.zone)
    no = approval_of(waiting.text, role="data-owner", decision="reject")
    record_approval(asker.authority.zone, no, bearer="data-owner", now=NOW)
    assert asker.unapproved(asked).state == "refused"
    answer = asker.answer(asked)
    assert (answer.reason, answer.returned) == ("approval.rejected", "")


def test_what_noise_was_charged_for_is_not_given_back(asker):
    asked, _ = asked_with_ticket(asker)
    name = ReleaseRequest.parse(asked.request.body).request_id
    spent = {"month": "2026-07", "customer_class": "household", "epsilon": 1, "at": NOW}
    with write_session(asker.authority.zone.engine) as session:
        keep(session, SpentNoiseRow(request_id=name, **spent))
    assert asker.answered(asked).reason == "release.query"
    answer = asker.answer(asked)
    assert (answer.reason, answer.returned) == ("query.small", "")


FAULT = "a reading of 7731.5 kWh"


def failing(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Have a step of answering fail as nobody foresaw; its calls are counted."""
    calls: list[int] = []

    def fails(*_args: object, **_how: object) -> None:
        calls.append(1)
        raise ZeroDivisionError(FAULT)

    monkeypatch.setattr(sealed_queries, name, fails)
    return calls


def test_a_question_that_fails_is_refused_in_the_end_and_says_nothing_of_why(
    asker, monkeypatch, caplog
):
    asked, ticket = asked_with_ticket(asker, question_of(every="day"))
    calls = failing(monkeypatch, "look_at_groups")
    for _ in range(MOST_ATTEMPTS - 1):
        assert asker.unapproved(asked).reason == "release.unexpected"
        assert find_answer(asker.authority.zone, asked.subject) is None
    assert asker.unapproved(asked).reason == "release.query"
    assert asker.answer(asked).reason == "query.failed"
    monkeypatch.undo()
    assert asker.unapproved(asked).reason == "release.query", "for good"
    assert len(calls) == MOST_ATTEMPTS
    assert use(asker, came_back(asker, asked, ticket))
    assert "ZeroDivisionError" in caplog.text
    assert FAULT not in f"{asker.answer(asked)}{asker.authority.evidence}{caplog.text}"


@attack(
    "a reading that makes an answer fail, told by a refusal",
    rule(
        "What fails once the vault was asked is never told, and not tried for ever.",
        "release.unexpected",
        cut(
            "gridsecure.key_authority.checker.failed_questions:_count",
            "and not row.asked_vault",
            "",
        ),
    ),
)
def test_what_fails_after_decryption_is_not_told(asker, attacked, monkeypatch):
    asked, _ = asked_with_ticket(asker, question_of(every="day"))
    calls = failing(monkeypatch, "_granted")
    for _ in range(MOST_ATTEMPTS + 1):
        outcome = asker.answered(asked)
    assert len(calls) == MOST_ATTEMPTS
    is_told = outcome.reason == "release.query" and asker.answer(asked).reason == "query.failed"
    attacked.ends(None if is_told else outcome.reason)


def test_the_next_release_of_the_software_tries_what_failed_again_and_tells_as_little(
    asker, monkeypatch
):
    asked, _ = asked_with_ticket(asker, question_of(every="day"))
    zone, name = asker.authority.zone, ReleaseRequest.parse(asked.request.body).request_id
    spent = {"request_id": name, "rules": zone.rules, "attempts": MOST_ATTEMPTS, "at": NOW}
    with write_session(zone.engine) as session:
        session.add(FailedQuestionRow(asked_vault=True, **spent))
    calls = failing(monkeypatch, "look_at_groups")
    assert asker.answered(asked).reason == "release.unexpected"
    assert calls == []
    asker.authority.zone = replace(zone, rules="0" * 64)
    for _ in range(MOST_ATTEMPTS + 1):
        assert asker.answered(asked).reason == "release.unexpected"
    assert len(calls) == MOST_ATTEMPTS
    assert find_answer(zone, asked.subject) is None
    monkeypatch.undo()
    asker.authority.zone = replace(zone, rules="1" * 64)
    assert asker.answered(asked).state == "released"


def test_what_other_software_told_is_not_found_for_another_asker(asker):
    zone, asked = asker.authority.zone, asker.ask(question_of(every="day"))
    assert zone.rules == source_digest()
    lies = SimpleNamespace(start="a", end="b", uploads=["c"])
    own, other = (
        question_key(replace(zone, rules=rules), asked.content, lies)
        for rules in (zone.rules, "0" * 64)
    )
    assert own == question_key(zone, asked.content, lies)
    assert own != other
