"""The billing office's list of what customers ask about their bills.

It stays on the office's own machine. The list itself names account, month, charge and a reason, and
no amount; what a customer wrote stays in its envelope, which the office's key opens.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Literal

from pydantic import Field

from gridsecure.bill_questions import (
    LONGEST_ANSWER,
    BillAnswer,
    BillQuestion,
    Reason,
    open_question,
    read_question,
    require_text,
    seal_answer,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.delivered_bills import IssuedBill, read_code
from gridsecure.errors import ConflictError, NotFoundError
from gridsecure.messages import Digest, Message
from gridsecure.offices.customers import Customers
from gridsecure.offices.own_lists import OwnList


class ListedQuestion(Message):
    """A question as it stands on the list.

    Args:
        digest: Of the signed question.
        account: The name that the bill is under.
        start: Of the bill's period, ISO 8601.
        line: The charge that it is about; empty for the whole bill.
        asked_by: Thumbprint of the customer's key.
        sealed: The question in its envelope, in base64.
        before_key: The bill's period began before the key that asked was entered, or nobody knows
            when it was: the bill, or some of its days, may be of who lived there before.
        answered_at: Empty while it is open.
        closed_at: When it was closed without an answer; empty otherwise.
    """

    kind: ClassVar[str] = "listed-question"
    number: int = Field(ge=1)
    digest: Digest
    account: str
    start: str
    version: int
    line: str
    reason: Reason
    asked_by: Digest
    sealed: str = Field(repr=False)
    taken_at: str
    answered_at: str = ""
    before_key: bool = False
    closed_at: str = ""

    @property
    def state(self) -> Literal["open", "answered", "closed"]:
        """Whether somebody answered, or nobody will."""
        if self.closed_at:
            return "closed"
        return "answered" if self.answered_at else "open"


class Questions(Message):
    """All questions, in the order in which they were taken in."""

    kind: ClassVar[str] = "questions"
    questions: list[ListedQuestion] = Field(default_factory=list)

    def find(self, number: int) -> ListedQuestion:
        """A question by its number.

        Raises:
            NotFoundError: There is none of that number (`questions.number`).
        """
        found = [one for one in self.questions if one.number == number]
        if not found:
            raise NotFoundError(
                f"There is no question {number}.",
                reason="questions.number",
                remedy="`gridsecure office questions list` shows all.",
            )
        return found[0]

    def closed(self, number: int, *, now: datetime) -> Questions:
        """All of them, of which one is answered in no other way than by letter, or not at all.

        Args:
            now: The present, aware.

        Raises:
            NotFoundError: As `find`.
            ConflictError: It was answered or closed (`questions.answered`).
        """
        found = self.find(number)
        _require_open(found)
        return self._with(found.model_copy(update={"closed_at": now.isoformat()}))

    def _with(self, changed: ListedQuestion) -> Questions:
        others = [changed if one.number == changed.number else one for one in self.questions]
        return Questions(questions=others)


def _require_open(question: ListedQuestion) -> None:
    if question.state != "open":
        raise ConflictError(
            f"Question {question.number} was {question.state} already.",
            reason="questions.answered",
            remedy="The customer may ask again.",
        )


@dataclass(frozen=True, slots=True)
class QuestionDesk:
    """Who works on questions.

    Args:
        key: The billing office's, which bills are signed with and questions are sealed to.
        now: The present, aware.
    """

    key: Sm2PrivateKey
    customers: Customers
    now: datetime

    def take(self, kept: Questions, sealed: bytes) -> tuple[Questions, ListedQuestion]:
        """Take a question in; one that is there already stays as it is.

        1. it opens with the office's key;
        2. its bill is one that this office issued, and says whose account it is;
        3. a key that the account has signed it.

        Raises:
            EnvelopeError: It is sealed to another key, or was altered.
            InputError, SignatureError: Its bill is not this office's (`delivery.code`,
                `authenticity.bill-code`), or another key signed it (`authenticity.question`).
        """
        signed = open_question(sealed, key=self.key)  # 1.
        facts = read_code(BillQuestion.parse(signed.body).code, office=self.key.public_key)  # 2.
        asked = read_question(signed, keys=self.customers.keys_of(facts.account))  # 3.
        for one in kept.questions:
            if one.digest == signed.digest:
                return kept, one
        taken = ListedQuestion(
            number=len(kept.questions) + 1,
            digest=signed.digest,
            account=facts.account,
            start=facts.start,
            version=facts.version,
            line=asked.line,
            reason=asked.reason,
            asked_by=signed.signer,
            sealed=base64.b64encode(sealed).decode(),
            taken_at=self.now.isoformat(),
            before_key=self._is_before_key(facts, signed.signer),
        )
        return Questions(questions=[*kept.questions, taken]), taken

    def _is_before_key(self, facts: IssuedBill, key: Digest) -> bool:
        entered = self.customers.entered_at(facts.account, key)
        return not entered or _moment(facts.start) < _moment(entered)

    def read(self, listed: ListedQuestion) -> BillQuestion:
        """What the customer wrote.

        Raises:
            EnvelopeError: The office has another key now, or the list was altered.
        """
        signed = open_question(base64.b64decode(listed.sealed), key=self.key)
        return BillQuestion.parse(signed.body)

    def answer(self, kept: Questions, number: int, text: str) -> tuple[Questions, bytes]:
        """Answer a question, sealed to the key that asked; the list with it answered.

        Raises:
            NotFoundError: There is none of that number (`questions.number`), or its key was
                withdrawn (`questions.key`).
            ConflictError: It was answered (`questions.answered`).
            InputError: The text is empty or too long (`question.text`).
        """
        listed = kept.find(number)
        _require_open(listed)
        keys = {key.thumbprint: key for key in self.customers.keys_of(listed.account)}
        if listed.asked_by not in keys:
            raise NotFoundError(
                "The key that asked was withdrawn, and nothing is sealed to it any more.",
                reason="questions.key",
                remedy="Answer by letter.",
            )
        answer = BillAnswer(
            asked=open_question(base64.b64decode(listed.sealed), key=self.key),
            text=require_text(text, longest=LONGEST_ANSWER),
            answered_at=self.now.isoformat(),
        )
        sealed = seal_answer(answer, key=self.key, customer=keys[listed.asked_by], now=self.now)
        done = listed.model_copy(update={"answered_at": answer.answered_at})
        return kept._with(done), sealed  # noqa: SLF001 - of this module


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


QUESTION_LIST: Final = OwnList(
    "The list of customers' questions cannot be read or written, and stays as it is.",
    empty=Questions(),
    reason="questions.file",
    remedy="Check its path and the free space, or restore the file from its backup.",
)
"""The office's file of them."""
