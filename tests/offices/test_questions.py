"""Customers ask about their bills: sealed to the office, signed by a key of the account."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event

import pytest

from gridsecure.bill_questions import (
    ANSWER_PURPOSE,
    QUESTION_PURPOSE,
    BillAnswer,
    BillQuestion,
    open_answer,
    require_line,
    seal_answer,
)
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.padding import pad
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.delivered_bills import issue_bill, request_key, seal_delivery
from gridsecure.errors import (
    ConflictError,
    EnvelopeError,
    GridSecureError,
    InputError,
    InvalidMessageError,
    NotFoundError,
    SignatureError,
)
from gridsecure.messages import sign_message
from gridsecure.offices.customers import Customers
from gridsecure.offices.questions import QUESTION_LIST, QuestionDesk, Questions
from gridsecure.portal.own_bills import CustomerKeys
from tests.attacks import Attacked, attack, cut, rule
from tests.statements.samples import first_period

NOW = datetime(2026, 8, 2, tzinfo=UTC)
OFFICE, CUSTOMER, OTHER = (generate_private_key() for _ in range(3))
PERIOD = first_period("residential-tiers")
CUSTOMERS, _ = Customers().add(request_key("MP-1", key=CUSTOMER, now=NOW), now=NOW)
ERASING = "\x1b[2J\x1b[HQuestion 3 is answered.\x1b[8m"
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
        ({"text": ERASING}, "question.characters"),
        ({"text": "\u202e1.00"}, "question.characters"),
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
    assert (found.text, found.asked.digest) == ("Because.", kept.find(1).digest)
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


@attack(
    "a customer's words that write to the clerk's terminal",
    rule(
        "What one person writes to another holds no control characters.",
        "message.invalid",
        cut("gridsecure.written_words:_words", 'not is_plain(text, but="\\n\\t")', "False"),
    ),
)
def test_a_question_does_not_steer_the_terminal_that_shows_it(attacked: Attacked) -> None:
    shape = json.loads(question().model_dump_json())
    written = json.dumps(shape | {"text": ERASING})  # by a program of the customer's own
    try:
        found = BillQuestion.parse(written)
    except InvalidMessageError as refused:
        attacked.ends(refused.reason)
        return
    assert found.text == ERASING
    attacked.ends(None)


@pytest.mark.parametrize("line", ["\x1b]52;c;cm0=\x07", "2,318 kWh too much", "1204", "energy\n"])
def test_what_a_list_shows_as_a_charge_is_called_like_one(line):
    with pytest.raises(InvalidMessageError):
        BillQuestion.parse(json.dumps(json.loads(question().model_dump_json()) | {"line": line}))
    with pytest.raises(InputError) as refused:
        require_line(line, charges=[line])
    assert refused.value.reason == "question.line"
    assert require_line("附加费-2", charges=["附加费-2"]) == "附加费-2"


def test_a_request_for_a_key_names_an_account_in_plain_letters():
    request = request_key("MP-1", key=OTHER, now=NOW)
    body = request.body.replace("MP-1", "MP\\u001b[2J")
    with pytest.raises(InvalidMessageError):
        Customers().add(request.model_copy(update={"body": body}), now=NOW)


def question() -> BillQuestion:
    kept, taken = DESK.take(Questions(), asked())
    return DESK.read(kept.find(taken.number))


@attack(
    "an answer to somebody else, sealed to a customer's key",
    rule(
        "An answer shows the question, which the key that opens it signed.",
        "answer.question",
        cut("gridsecure.bill_questions:open_answer", "_require_asked(answer, key)", "None"),
    ),
    rule(
        "A bill that an answer is about is of an account that was asked for.",
        "delivery.account",
        cut(
            "gridsecure.portal.own_bills:CustomerKeys.open_answer",
            "self._require_own(read_code(answer.code, office=self.office).account)",
            "None",
        ),
    ),
)
def test_an_answer_to_another_is_not_shown_as_ones_own(attacked: Attacked) -> None:
    """The other is told that a bill is cancelled, and has a neighbour believe it of the own."""
    code = issue_bill("MALLORY", PERIOD, issuer="", key=OFFICE)
    said = question().model_copy(update={"code": code})
    answer = BillAnswer(
        asked=sign_message(said, key=OTHER),
        text="Your bill is cancelled; pay nothing.",
        answered_at=NOW.isoformat(),
    )
    genuine = seal_answer(answer, key=OFFICE, customer=OTHER.public_key, now=NOW)
    again = seal_to(
        open_from(genuine, private_key=OTHER, purpose=ANSWER_PURPOSE),
        recipient=CUSTOMER.public_key,
        purpose=ANSWER_PURPOSE,
        owner=CUSTOMER.public_key.thumbprint,
        created_at=NOW,
    )
    keys = CustomerKeys(CUSTOMER, OFFICE.public_key, frozenset({"MP-1"}))
    try:
        shown = keys.open_answer(again)
    except GridSecureError as refused:
        attacked.ends(refused.reason)
        return
    assert shown.text == answer.text
    attacked.ends(None)


def test_the_longest_answer_to_the_longest_question_can_be_sealed():
    kept, _ = DESK.take(Questions(), asked(text='"' * 500))
    _, sealed = DESK.answer(kept, 1, "\\" * 2000)
    assert open_answer(sealed, key=CUSTOMER, office=OFFICE.public_key).text == "\\" * 2000


def test_a_question_that_is_taken_in_while_another_is_answered_stays_on_the_list(tmp_path):
    path, held = tmp_path / "questions.json", Event()
    kept, _ = DESK.take(Questions(), asked())
    QUESTION_LIST.write(path, kept)
    beside = asked(text="And this?")

    def take() -> None:
        held.wait(120)
        with QUESTION_LIST.changing(path) as kept:
            QUESTION_LIST.write(path, DESK.take(kept, beside)[0])

    with ThreadPoolExecutor(1) as pool:
        with QUESTION_LIST.changing(path) as kept:
            taken = pool.submit(take)
            held.set()
            with pytest.raises(TimeoutError):
                taken.result(0.2)
            QUESTION_LIST.write(path, DESK.answer(kept, 1, "Because.")[0])
        taken.result(120)
    assert [one.state for one in QUESTION_LIST.read(path).questions] == ["answered", "open"]


@pytest.mark.parametrize(("entered", "marked"), [((2026, 6, 20), False), ((2026, 7, 20), True)])
def test_a_question_about_a_bill_of_before_the_key_was_entered_is_marked(entered, marked):
    """A tenant who finds the last one's bill in the letter box asks about it, with the own key."""
    request = request_key("MP-1", key=CUSTOMER, now=NOW)
    customers, _ = Customers().add(request, now=datetime(*entered, tzinfo=UTC))
    _, taken = QuestionDesk(OFFICE, customers, NOW).take(Questions(), asked())
    assert taken.before_key is marked
    kept = [one.model_copy(update={"entered_at": ""}) for one in customers.customers]
    unsaid = customers.model_copy(update={"customers": kept})
    _, taken = QuestionDesk(OFFICE, unsaid, NOW).take(Questions(), asked())
    assert taken.before_key, "when it was entered was not kept"


@pytest.mark.parametrize(("blanks", "size"), [("\x1c" * 1_000, 16_384), ("", 3_000_000)])
def test_a_question_that_no_answer_or_list_would_hold_is_not_taken_in(blanks, size):
    """Behind blanks a code was taken in that no answer had room for: the question stayed open."""
    code = blanks + issue_bill("MP-1", PERIOD, issuer="", key=OFFICE)
    question = BillQuestion.model_construct(
        code=code, line="", reason="other", text="?", asked_at=NOW.isoformat()
    )
    text = pad(sign_message(question, key=CUSTOMER).model_dump_json().encode(), size=size)
    sealed = seal_to(
        text, recipient=OFFICE.public_key, purpose=QUESTION_PURPOSE, owner="", created_at=NOW
    )
    with pytest.raises(InvalidMessageError):
        DESK.take(Questions(), sealed)


def test_a_question_is_closed_without_an_answer():
    kept, _ = DESK.take(Questions(), asked())
    done = kept.closed(1, now=NOW)
    assert done.find(1).state == "closed"
    for again in (lambda: done.closed(1, now=NOW), lambda: DESK.answer(done, 1, "Late.")):
        with pytest.raises(ConflictError) as refused:
            again()
        assert refused.value.reason == "questions.answered"


def test_names_of_fields_that_nobody_knows_are_told_to_nobody():
    """Anybody seals to the office: what stands in an error is read on its clerk's terminal."""
    for text in (json.dumps({ERASING: 1}), json.dumps({"a" * 9_000: 1})):
        with pytest.raises(InvalidMessageError) as refused:
            BillQuestion.parse(text)
        assert "asked_at" in refused.value.message
        assert "Question 3" not in refused.value.message
        assert len(refused.value.message) < 200
