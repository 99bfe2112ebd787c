"""Customers ask about their bills: sealed to the office, signed by a key of the account."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gridsecure.bill_questions import open_answer
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.delivered_bills import issue_bill, request_key, seal_delivery
from gridsecure.errors import (
    ConflictError,
    EnvelopeError,
    GridSecureError,
    InputError,
    NotFoundError,
    SignatureError,
)
from gridsecure.offices.customers import Customers
from gridsecure.offices.questions import QuestionDesk, Questions
from gridsecure.portal.own_bills import CustomerKeys
from tests.attacks import Attacked, attack, cut, rule
from tests.statements.samples import first_period

NOW = datetime(2026, 8, 2, tzinfo=UTC)
OFFICE, CUSTOMER, OTHER = (generate_private_key() for _ in range(3))
PERIOD = first_period("residential-tiers")
CUSTOMERS, _ = Customers().add(request_key("MP-1", key=CUSTOMER, now=NOW))
DESK = QuestionDesk(OFFICE, CUSTOMERS, NOW)


def asked(*, key=CUSTOMER, issued_by=OFFICE, to=OFFICE, text="Why?", line="") -> bytes:
    """A question about a bill of MP-1."""
    code = issue_bill("MP-1", PERIOD, issuer="", key=issued_by)
    sealed = seal_delivery(PERIOD, code=code, customer=key.public_key, now=NOW)
    bill = CustomerKeys(key, issued_by.public_key).open_bill(sealed)
    keys = CustomerKeys(key, to.public_key)
    return keys.ask(bill, line=line, reason="price", text=text, now=NOW)[0]


def test_a_question_says_what_it_is_about_and_its_length_nothing():
    question = asked(text="电" * 500)
    assert len(question) == len(asked(text="?"))
    kept, taken = DESK.take(Questions(), question)
    assert (taken.account, taken.start, taken.reason) == ("MP-1", PERIOD["start"], "price")
    assert DESK.read(taken).text == "电" * 500
    assert DESK.take(kept, question) == (kept, taken), "the same again is no other question"
    with pytest.raises(EnvelopeError):
        DESK.take(kept, asked(to=OTHER))


@attack(
    "somebody who saw a bill asks in its customer's name",
    rule(
        "A key of the account signs what is asked about its bill.",
        "authenticity.question",
        cut(
            "gridsecure.bill_questions:read_question",
            "open_message(signed, expect=BillQuestion, trusted=trusted)",
            "BillQuestion.parse(signed.body)",
        ),
    ),
)
def test_nobody_asks_in_anothers_name(attacked: Attacked) -> None:
    try:
        DESK.take(Questions(), asked(key=OTHER))
    except SignatureError as refused:
        attacked.ends(refused.reason)
    else:
        attacked.ends(None)


def test_a_bill_that_the_office_did_not_issue_is_asked_about_in_vain():
    with pytest.raises(SignatureError) as refused:
        DESK.take(Questions(), asked(issued_by=OTHER))
    assert refused.value.reason == "authenticity.bill-code"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"text": " "}, "question.text"),
        ({"text": "x" * 501}, "question.text"),
        ({"line": "none"}, "question.line"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_it_is_sealed(wrong, reason):
    with pytest.raises(InputError) as refused:
        asked(**wrong)
    assert refused.value.reason == reason


def test_an_answer_opens_for_who_asked_and_is_the_offices():
    kept, _ = DESK.take(Questions(), asked())
    done, sealed = DESK.answer(kept, 1, "Because.")
    assert done.find(1).state == "answered"
    office = OFFICE.public_key
    found = open_answer(sealed, key=CUSTOMER, office=office)
    assert (found.text, found.question) == ("Because.", kept.find(1).digest)
    with pytest.raises(EnvelopeError):
        open_answer(sealed, key=OTHER, office=office)
    with pytest.raises(SignatureError) as forged:
        open_answer(sealed, key=CUSTOMER, office=OTHER.public_key)
    assert forged.value.reason == "authenticity.answer"
    with pytest.raises(ConflictError):
        DESK.answer(done, 1, "Again.")


def test_nothing_is_sealed_to_a_key_that_was_withdrawn():
    kept, _ = DESK.take(Questions(), asked())
    gone = CUSTOMERS.without("MP-1", CUSTOMER.public_key.thumbprint)
    with pytest.raises(NotFoundError) as refused:
        QuestionDesk(OFFICE, gone, NOW).answer(kept, 1, "Because.")
    assert refused.value.reason == "questions.key"
    with pytest.raises(GridSecureError):
        QuestionDesk(OFFICE, gone, NOW).take(Questions(), asked())
