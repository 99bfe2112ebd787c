"""What a customer asks about a bill, and what the billing office answers.

    question  `BillQuestion`, signed by the customer's key and sealed to the office
    answer    `BillAnswer`, signed by the office and sealed to the key that asked

Each is padded to its one size: who carries them learns that somebody asks something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.padding import pad, unpad
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import GridSecureError, InputError, SignatureError
from gridsecure.messages import Digest, Message, Signed, open_message, sign_message
from gridsecure.written_words import Words, is_plain

QUESTION_PURPOSE: Final = "bill-question"
ANSWER_PURPOSE: Final = "bill-answer"
"""What the two are sealed for."""
LONGEST_QUESTION: Final = 500
LONGEST_ANSWER: Final = 2000
"""Characters."""
_CHARGE: Final = r"[^\W\d][\w-]*"
"""What charges are called: a list that has no amounts and no sentences has none in this either."""
_QUESTION_SIZE: Final = 16_384
_ANSWER_SIZE: Final = 32_768
"""What the two are padded to; an answer quotes its question."""

Reason = Literal["readings", "estimate", "price", "tier", "correction", "other"]
REASONS: Final[tuple[Reason, ...]] = (
    "readings",
    "estimate",
    "price",
    "tier",
    "correction",
    "other",
)


def _stripped(code: str) -> str:
    """A code without the blanks that `read_code` leaves out: an answer quotes them all."""
    if code != code.strip():
        raise ValueError("has blanks around it")
    return code


class BillQuestion(Message):
    """What a customer asks about a bill.

    Args:
        code: Of the bill, which the office signed.
        line: The charge that it is about; empty for the bill as a whole.
        text: In the customer's own words.
    """

    kind: ClassVar[str] = "bill-question"
    code: Annotated[str, AfterValidator(_stripped)] = Field(repr=False, max_length=4000)
    line: str = Field(default="", repr=False, max_length=100, pattern=rf"^({_CHARGE})?$")
    reason: Reason
    text: Words = Field(repr=False, min_length=1, max_length=LONGEST_QUESTION)
    asked_at: str


class BillAnswer(Message):
    """What the office answers.

    Args:
        asked: The question, as the customer's key signed it: who else is shown the answer sees
            that the question is another's.
    """

    kind: ClassVar[str] = "bill-answer"
    asked: Signed = Field(repr=False)
    text: Words = Field(repr=False, min_length=1, max_length=LONGEST_ANSWER)
    answered_at: str

    @property
    def question(self) -> BillQuestion:
        """What was asked. Who carries mail can give an earlier answer again: it shows to what."""
        return BillQuestion.parse(self.asked.body)

    @property
    def code(self) -> str:
        """Of the bill that it was about."""
        return self.question.code


def require_text(text: str, *, longest: int) -> str:
    """What somebody wrote, without blanks around it.

    Raises:
        InputError: Nothing, or too much (`question.text`), or what steers a terminal
            (`question.characters`).
    """
    kept = text.strip()
    if not 0 < len(kept) <= longest:
        raise InputError(
            f"A text of {len(kept)} characters cannot be sent.",
            reason="question.text",
            remedy=f"Write between 1 and {longest} characters.",
        )
    if not is_plain(kept, but="\n\t"):
        raise InputError(
            "The text has control characters.",
            reason="question.characters",
            remedy="Write letters, digits, signs and line ends alone.",
        )
    return kept


def require_line(line: str, *, charges: Sequence[str]) -> str:
    """A charge of a bill, or nothing for the whole of it.

    Raises:
        InputError: The bill has no such charge, or no question can name it (`question.line`).
    """
    if line and (line not in charges or re.fullmatch(_CHARGE, line) is None):
        raise InputError(
            f"No question can name the charge {line!r} of this bill.",
            reason="question.line",
            remedy=f"Its charges are {', '.join(charges)}; ask about the whole bill otherwise.",
        )
    return line


def seal_question(
    question: BillQuestion, *, key: Sm2PrivateKey, office: Sm2PublicKey, now: datetime
) -> tuple[bytes, Digest]:
    """Sign a question and seal it to the office; and the digest that the answer will name.

    Args:
        key: The customer's.
        now: The present, aware.
    """
    signed = sign_message(question, key=key)
    content = pad(signed.model_dump_json().encode(), size=_QUESTION_SIZE)
    return _seal(content, office, QUESTION_PURPOSE, now), signed.digest


def open_question(sealed: bytes, *, key: Sm2PrivateKey) -> Signed:
    """The signed question in an envelope, whose signature is still to be verified.

    Args:
        key: The billing office's.

    Raises:
        EnvelopeError: It is sealed to another key, or was altered.
        InvalidMessageError: It has another size than questions have, or holds no signed message.
    """
    return Signed.parse(
        _content(open_from(sealed, private_key=key, purpose=QUESTION_PURPOSE), _QUESTION_SIZE)
    )


def read_question(signed: Signed, *, keys: Iterable[Sm2PublicKey]) -> BillQuestion:
    """What was asked, by one of the keys of an account.

    Raises:
        SignatureError: None of these keys signed it (`authenticity.question`).
    """
    trusted = {key.thumbprint: key for key in keys}
    try:
        return open_message(signed, expect=BillQuestion, trusted=trusted)
    except GridSecureError as error:
        raise SignatureError(
            "No key of that account signed the question.",
            reason="authenticity.question",
            remedy="Answer by letter, or have the customer enter the key first.",
        ) from error


def seal_answer(
    answer: BillAnswer, *, key: Sm2PrivateKey, customer: Sm2PublicKey, now: datetime
) -> bytes:
    """Sign an answer and seal it to the key that asked.

    Args:
        key: The billing office's.
        now: The present, aware.
    """
    signed = sign_message(answer, key=key)
    content = pad(signed.model_dump_json().encode(), size=_ANSWER_SIZE)
    return _seal(content, customer, ANSWER_PURPOSE, now)


def open_answer(sealed: bytes, *, key: Sm2PrivateKey, office: Sm2PublicKey) -> BillAnswer:
    """What the office answered to a question of this key.

    Whoever opened an answer can seal it to anybody's key, so the question is looked at.

    Args:
        key: The customer's.
        office: The billing office's.

    Raises:
        EnvelopeError: It is sealed to another key, or was altered.
        SignatureError: It is another's answer (`authenticity.answer`), or another key asked
            (`answer.question`).
    """
    opened = _content(open_from(sealed, private_key=key, purpose=ANSWER_PURPOSE), _ANSWER_SIZE)
    try:
        signed = Signed.parse(opened)
        answer = open_message(signed, expect=BillAnswer, trusted={office.thumbprint: office})
    except GridSecureError as error:
        raise SignatureError(
            "This office did not give such an answer.",
            reason="authenticity.answer",
            remedy="Check the office's key. If it is right, the answer is forged: tell the office.",
        ) from error
    _require_asked(answer, key)
    return answer


def _require_asked(answer: BillAnswer, key: Sm2PrivateKey) -> None:
    try:
        read_question(answer.asked, keys=[key.public_key])
    except GridSecureError as error:
        raise SignatureError(
            "This answers a question that was not asked with this key.",
            reason="answer.question",
            remedy="It is an answer to somebody else: tell the billing office who sent it.",
        ) from error


def _content(padded: bytes, size: int) -> bytes:
    """What was padded to the one size, or nothing: another size would not fit an answer or list."""
    return (unpad(padded) if len(padded) == size else None) or b""


def _seal(content: bytes, recipient: Sm2PublicKey, purpose: str, now: datetime) -> bytes:
    return seal_to(
        content,
        recipient=recipient,
        purpose=purpose,
        owner=recipient.thumbprint,
        created_at=now,
    )
