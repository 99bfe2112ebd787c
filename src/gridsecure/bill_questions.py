"""What a customer asks about a bill, and what the billing office answers.

    question  `BillQuestion`, signed by the customer's key and sealed to the office
    answer    `BillAnswer`, signed by the office and sealed to the key that asked

Both are padded to one size: who carries them learns that somebody asks something.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Final, Literal

from pydantic import Field

from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.padding import pad, unpad
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import GridSecureError, InputError, SignatureError
from gridsecure.messages import Digest, Message, Signed, open_message, sign_message

QUESTION_PURPOSE: Final = "bill-question"
ANSWER_PURPOSE: Final = "bill-answer"
"""What the two are sealed for."""
LONGEST_QUESTION: Final = 500
LONGEST_ANSWER: Final = 2000
"""Characters."""
_SIZE: Final = 16_384

Reason = Literal["readings", "estimate", "price", "tier", "correction", "other"]
REASONS: Final[tuple[Reason, ...]] = (
    "readings",
    "estimate",
    "price",
    "tier",
    "correction",
    "other",
)


class BillQuestion(Message):
    """What a customer asks about a bill.

    Args:
        code: Of the bill, which the office signed.
        line: The charge that it is about; empty for the bill as a whole.
        text: In the customer's own words.
    """

    kind: ClassVar[str] = "bill-question"
    code: str = Field(repr=False, max_length=4000)
    line: str = Field(default="", repr=False, max_length=100)
    reason: Reason
    text: str = Field(repr=False, min_length=1, max_length=LONGEST_QUESTION)
    asked_at: str


class BillAnswer(Message):
    """What the office answers.

    Args:
        question: Digest of the signed question.
        code: Of the bill that it was about.
    """

    kind: ClassVar[str] = "bill-answer"
    question: Digest
    code: str = Field(repr=False)
    text: str = Field(repr=False, min_length=1, max_length=LONGEST_ANSWER)
    answered_at: str


def require_text(text: str, *, longest: int) -> str:
    """What somebody wrote, without blanks around it.

    Raises:
        InputError: Nothing, or too much (`question.text`).
    """
    kept = text.strip()
    if not 0 < len(kept) <= longest:
        raise InputError(
            f"A text of {len(kept)} characters cannot be sent.",
            reason="question.text",
            remedy=f"Write between 1 and {longest} characters.",
        )
    return kept


def seal_question(
    question: BillQuestion, *, key: Sm2PrivateKey, office: Sm2PublicKey, now: datetime
) -> tuple[bytes, Digest]:
    """Sign a question and seal it to the office; and the digest that the answer will name.

    Args:
        key: The customer's.
        now: The present, aware.
    """
    signed = sign_message(question, key=key)
    return _seal(signed, office, QUESTION_PURPOSE, now), signed.digest


def open_question(sealed: bytes, *, key: Sm2PrivateKey) -> Signed:
    """The signed question in an envelope, whose signature is still to be verified.

    Args:
        key: The billing office's.

    Raises:
        EnvelopeError: It is sealed to another key, or was altered.
        InvalidMessageError: It holds no signed message.
    """
    return Signed.parse(unpad(open_from(sealed, private_key=key, purpose=QUESTION_PURPOSE)) or b"")


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
    return _seal(sign_message(answer, key=key), customer, ANSWER_PURPOSE, now)


def open_answer(sealed: bytes, *, key: Sm2PrivateKey, office: Sm2PublicKey) -> BillAnswer:
    """What the office answered.

    Args:
        key: The customer's.
        office: The billing office's.

    Raises:
        EnvelopeError: It is sealed to another key, or was altered.
        SignatureError: It is another's answer (`authenticity.answer`).
    """
    opened = unpad(open_from(sealed, private_key=key, purpose=ANSWER_PURPOSE)) or b""
    try:
        signed = Signed.parse(opened)
        return open_message(signed, expect=BillAnswer, trusted={office.thumbprint: office})
    except GridSecureError as error:
        raise SignatureError(
            "This office did not give such an answer.",
            reason="authenticity.answer",
            remedy="Check the office's key. If it is right, the answer is forged: tell the office.",
        ) from error


def _seal(signed: Signed, recipient: Sm2PublicKey, purpose: str, now: datetime) -> bytes:
    return seal_to(
        pad(signed.model_dump_json().encode(), size=_SIZE),
        recipient=recipient,
        purpose=purpose,
        owner=recipient.thumbprint,
        created_at=now,
    )
