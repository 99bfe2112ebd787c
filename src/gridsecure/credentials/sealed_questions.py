"""Sealed questions: what an analyst asks, readable by the key authority alone.

A question is padded to one of a few public sizes and sealed to the authority's query key. Two
envelopes of one size differ in nothing but random bytes: they name no time, no owner and no length
of what is inside. So whoever carries a query learns its period, its size and when it came.

Inside stands, beside the question, whom its answer is sealed to: a platform that puts somebody's
envelope into a query of its own asks for an answer it cannot read. A salt of the asker's makes the
question's digest, which a certificate names, tell nothing to whoever guesses questions.

The envelope does not say who sealed it; the grant says that somebody may ask.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from datetime import UTC, datetime
from typing import ClassVar, Final, NamedTuple

from pydantic import Field

from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.padding import LENGTH_BYTES, pad, unpad
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import EnvelopeError, InputError, InvalidMessageError
from gridsecure.messages import Digest, Message, Signed, open_message

SEALED_QUERY_VERSION: Final = 1
"""Version of how questions are sealed, checked and answered."""
QUESTION_PURPOSE: Final = "question"
SIZES: Final = (4096, 16_384, 65_536)
"""The public sizes of a question, padded [bytes]."""

_OWNER: Final = "query"
_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)  # when a query was sealed is nobody's business
_DIGEST: Final = "gridsecure-question-1"
_HEX_64: Final = r"^[0-9a-f]{64}$"


class QueryKeyNotice(Message):
    """The key authority publishes the key that questions are sealed to.

    Args:
        point: 130 hexadecimal digits, `04 ‖ X ‖ Y`.
        sizes: The public sizes that it takes [bytes].
        returns: The key K that grants are given back with (`returned_grants`), hexadecimal.
    """

    kind: ClassVar[str] = "query-key"
    point: str = Field(pattern=r"^04[0-9a-f]{128}$")
    sizes: list[int] = Field(min_length=1)
    returns: str = Field(pattern=r"^0[23][0-9a-f]{64}$")


class SealedQuestion(Message):
    """What lies in the envelope.

    Args:
        reader: The key that the query names; nobody else's query asks this.
        salt: 32 random bytes of the asker's, hexadecimal.
        question: The question's one spelling.
        ticket: What a grant is given back by, if it is refused (`returned_grants`), hexadecimal.
    """

    kind: ClassVar[str] = "sealed-question"
    reader: str = Field(pattern=r"^04[0-9a-f]{128}$")
    salt: str = Field(pattern=_HEX_64, repr=False)
    question: str = Field(min_length=2, max_length=SIZES[-1], repr=False)
    ticket: str = Field(default="", pattern=r"^([0-9a-f]{66})?$", repr=False)

    @property
    def digest(self) -> Digest:
        """What a certificate names of the question."""
        return question_digest(self.question, salt=self.salt)


def question_digest(question: str, *, salt: str) -> Digest:
    """SM3 of a question's one spelling, under a salt of 64 hexadecimal digits."""
    return sm3_hex(frame_parts(_DIGEST, salt, question))


def write_question(question: str, *, reader: Sm2PublicKey, ticket: bytes = b"") -> SealedQuestion:
    """What is to be sealed of a question, under a new salt.

    Args:
        reader: Whom the answer is sealed to; a new key for each query.
        ticket: B, where its grant is wanted back if it is refused.
    """
    salt = secrets.token_hex(32)
    return SealedQuestion(
        reader=reader.point.hex(), salt=salt, question=question, ticket=ticket.hex()
    )


def seal_question(content: SealedQuestion, *, recipient: Sm2PublicKey, size: int = 0) -> str:
    """A question as a query carries it, base64.

    Args:
        recipient: The key authority's query key.
        size: A larger public size than the question needs; by default the smallest that holds it.

    Raises:
        InputError: It is longer than every size, or none is this (`query.large`).
    """
    text = content.model_dump_json().encode()
    fits = [one for one in SIZES if len(text) + LENGTH_BYTES <= one and one >= size]
    if not fits or size not in (0, *SIZES):
        raise InputError(
            f"The question has {len(text)} bytes, and no public size holds it.",
            reason="query.large",
            remedy=f"Sizes are {', '.join(map(str, SIZES))}: describe meter points by what they "
            "have in common instead of by name.",
        )
    sealed = seal_to(
        pad(text, size=fits[0]),
        recipient=recipient,
        purpose=QUESTION_PURPOSE,
        owner=_OWNER,
        created_at=_NO_TIME,
    )
    return base64.b64encode(sealed).decode()


def open_question(sealed: str, *, key: Sm2PrivateKey, reader: str) -> SealedQuestion:
    """Read a sealed question.

    Args:
        sealed: As the query carries it.
        key: The query key.
        reader: Whom the query names.

    Raises:
        EnvelopeError: It does not open, or has no public size (`query.sealed`); it belongs into a
            query of another reader (`query.reader`).
        InvalidMessageError: Opened, but of another shape.
    """
    try:
        blob = base64.b64decode(sealed, validate=True)
        padded = open_from(blob, private_key=key, purpose=QUESTION_PURPOSE)
    except (binascii.Error, EnvelopeError) as error:
        raise _unopened() from error
    text = unpad(padded)
    if text is None or len(padded) not in SIZES:
        raise _unopened()
    content = SealedQuestion.parse(text)
    if content.reader != reader:
        raise EnvelopeError(
            "A sealed question stands in a query of another reader than it was sealed for.",
            reason="query.reader",
            remedy="Seal the question anew for this query.",
        )
    return content


class QueryKeys(NamedTuple):
    """What questions are asked with.

    Args:
        seal: The key that they are sealed to.
        returns: The key K that grants are given back with.
    """

    seal: Sm2PublicKey
    returns: bytes

    @property
    def thumbprint(self) -> Digest:
        """SM3 of both: what analysts compare."""
        return sm3_hex(frame_parts("gridsecure-query-keys-1", self.seal.point, self.returns))


def read_query_key(content: bytes, *, trusted: dict[Digest, Sm2PublicKey]) -> QueryKeys:
    """The keys that questions are asked with, in the pinned authority's own word.

    Args:
        trusted: The pinned key authority's key by thumbprint.

    Raises:
        AuthenticityError: Somebody else's word.
        InvalidMessageError: No notice, or of other sizes than this release has (`query.sizes`).
    """
    notice = open_message(Signed.parse(content), expect=QueryKeyNotice, trusted=trusted)
    if notice.sizes != list(SIZES):
        raise InvalidMessageError(
            "The key authority takes questions of other sizes than this release has.",
            reason="query.sizes",
            remedy="Run the release of the software that the key authority runs.",
        )
    return QueryKeys(Sm2PublicKey(bytes.fromhex(notice.point)), bytes.fromhex(notice.returns))


def _unopened() -> EnvelopeError:
    return EnvelopeError(
        "A sealed question does not open.",
        reason="query.sealed",
        remedy="Fetch the key authority's query key again, and seal the question anew.",
    )
