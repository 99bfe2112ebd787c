"""What every document of the market is: signed by one person, of one organisation.

A document is a `Signed` message like all others of the house. Who signed is told by the key alone:
each key is of one person, and each person of one organisation (`organisations`). What a document
says of both is compared with that, so that a text reads whole without a register beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import AuthenticityError, InvalidMessageError, SignatureError
from gridsecure.messages import Digest, Message, Signed, open_message
from gridsecure.month_texts import read_moment
from gridsecure.written_words import OneLine, Words

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""A name in lower case that stands in addresses and files."""
Title = Annotated[OneLine, Field(min_length=1, max_length=120)]
Note = Annotated[OneLine, Field(max_length=300)]
Terms = Annotated[Words, Field(max_length=2000)]
When = Annotated[OneLine, Field(max_length=40)]
"""ISO 8601, aware."""
Person = Annotated[OneLine, Field(min_length=1, max_length=64, pattern=r"^[^:/]+$")]
"""A person's name, as tokens have it."""
Named = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""The digest of another document."""

OrganisationRole = Literal["supplier", "processor", "operator", "consumer", "regulator"]
ROLE_NAMES: Final[Mapping[OrganisationRole, str]] = {
    "supplier": "提供方",
    "processor": "加工方",
    "operator": "经营方",
    "consumer": "使用方",
    "regulator": "监管方",
}
"""What an organisation may be, in Chinese."""

REGISTRAR: Final = "registrar"
"""Name of the registration office, as organisation and as person: it enters organisations, confirms
who holds data, and registers assets."""

SKEW: Final = timedelta(minutes=5)
"""How far a signer's clock may be ahead."""


class MarketDocument(Message):
    """Base of what one person signs for an organisation.

    Args:
        person: As the organisation's record names it.
    """

    organisation: Slug
    person: Person
    signed_at: When


DocumentT = TypeVar("DocumentT", bound=MarketDocument)


@dataclass(frozen=True, slots=True)
class Member:
    """A person who signs for an organisation.

    Args:
        organisation: Its name.
        roles: What the organisation is in the market.
    """

    organisation: str
    person: str
    key: Sm2PublicKey
    roles: frozenset[str]

    @property
    def is_registrar(self) -> bool:
        """Whether it is the registration office."""
        return self.organisation == REGISTRAR


def open_document(
    envelope: Signed, *, expect: type[DocumentT], member: Member, now: datetime
) -> DocumentT:
    """Read a document that a member signed.

    Args:
        member: Whose key the envelope names as its signer's.

    Raises:
        SignatureError: It is not signed with this key, or names another organisation or person
            (`market.signer`).
        InvalidMessageError: Signed, but of another shape, or its time is none (`market.time`).
    """
    trusted: dict[Digest, Sm2PublicKey] = {member.key.thumbprint: member.key}
    try:
        said = open_message(envelope, expect=expect, trusted=trusted)
    except InvalidMessageError:
        raise
    except AuthenticityError as error:
        raise _no_signer("The document is not signed with the key of its signer") from error
    if (said.organisation, said.person) != (member.organisation, member.person):
        raise _no_signer("The document names another organisation or person than its key is of")
    if moment(said.signed_at) > now + SKEW:
        raise InvalidMessageError(
            "The document is dated in the future.",
            reason="market.time",
            remedy="Set the signing machine's clock, and sign it anew.",
        )
    return said


def moment(text: str) -> datetime:
    """A time that a document says.

    Raises:
        InvalidMessageError: It is none, or lacks its offset (`market.time`).
    """
    found = read_moment(text)
    if found is None:
        raise InvalidMessageError(
            "A time of a document is none.",
            reason="market.time",
            remedy="Write it in ISO 8601 with its offset, as 2026-12-01T00:00:00+08:00.",
        )
    return found


def _no_signer(why: str) -> SignatureError:
    return SignatureError(
        f"{why}.",
        reason="market.signer",
        remedy="Sign it with the key that the organisation's record has for this person.",
    )
