"""Answers to sealed questions: what their asker gets to read, and nobody else.

A certificate of a question numbers its groups. What the numbers stand for comes here, with the salt
under which the certificate names the question: so whoever asked sees that it answers what they
asked, also where somebody else asked it before. What was refused is told here as well. The closing
lists are named, because the platform chose them. All of it is in the key authority's word, and
sealed to the reader.

An answer is padded before it is sealed, because the platform can fetch it, and a network sees it: a
refusal has the smallest size, whatever its reason.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from gridsecure.crypto.padding import pad_by_fours
from gridsecure.messages import Digest, Message, Signed
from gridsecure.plans.noise import NoiseStatement
from gridsecure.queries.totals import GroupCount
from gridsecure.released_values import SignedCertificate

SMALLEST: Final = 4096
"""The size of refusals; each other size is four times the one before it [bytes]."""
_WIDEST: Final = 24
"""Most digits of a number in an answer."""
_QUOTES: Final = 8
"""Bytes of a text's two quotes, three texts deep."""
LONGEST_WORD: Final = 600
"""Most characters of a refusal's message and remedy, so that both have the smallest size."""


class AnsweredGroups(Message):
    """What the cells of a certificate stand for.

    Args:
        salt: Under which the certificate names the question.
        closings: Digests of the closing lists that the totals are over.
        groups: By number; those that are too small are none, and of withheld ones it says that
            nobody is in them.
        left_out: How many rosters of the lists are in no group, because their days are divided
            otherwise than most meter points' are.
        noise: What was added to the totals, where they have noise.
    """

    kind: ClassVar[str] = "answered-groups"
    salt: str = Field(repr=False)
    groups: list[GroupCount]
    closings: list[Digest] = Field(default_factory=list)
    left_out: int = 0
    noise: NoiseStatement | None = None


class QueryAnswer(Message):
    """What became of a sealed query.

    Args:
        asked_by: The query, as its grant names it.
        certificate: The signed certificate with its values, as text; empty where it was refused.
        groups: What its cells stand for.
        closings: Digests of the closing lists that it was asked over, where it was refused.
        reason: Why it was refused.
        message: Likewise, in a sentence.
        remedy: What could be done.
        returned: The grant that is given back for it, blinded (`returned_grants`), hexadecimal;
            empty where none is.
    """

    kind: ClassVar[str] = "query-answer"
    asked_by: str
    certificate: str = Field(default="", repr=False)
    groups: AnsweredGroups | None = None
    closings: list[Digest] = Field(default_factory=list)
    reason: str = ""
    message: str = ""
    remedy: str = ""
    returned: str = Field(default="", repr=False)


def pad_answer(answer: Signed) -> bytes:
    """What is sealed of a signed answer: its text, in the smallest size that holds it.

    Whether a number is told, and how large it is, depends on readings: so the size is that of all
    that could have been told.
    """
    room = _room(QueryAnswer.parse(answer.body)) if answer.body_kind == QueryAnswer.kind else 0
    return pad_by_fours(answer.model_dump_json().encode(), smallest=SMALLEST, room=room)


def _room(answer: QueryAnswer) -> int:
    """How much longer an answer could be if all was told, in the widest numbers [bytes]."""
    if not answer.certificate or answer.groups is None:
        return 0
    values = SignedCertificate.parse(answer.certificate).values
    if values is None:
        return 0
    numbers = [str(cell.members) for cell in values.cells]
    for group in answer.groups.groups:
        numbers += [str(group.points), str(group.customers)]
    marks = sum(cell.told for cell in values.cells)  # "true" is shorter than "false"
    told = [4 if value is None else len(value) + _QUOTES for value in values.values]
    widest = len(numbers) * _WIDEST + len(told) * (_WIDEST + _QUOTES)
    return marks + widest - sum(map(len, numbers)) - sum(told)
