"""The vocabulary of anonymised identity that crosses a trust line; rules as in `messages`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from gridsecure.messages import MAX_SLOTS, Digest, Message, Signed

MAX_BATCH = 1024
"""Credential requests or presentations in one message."""


class Registered(Message):
    """A pseudonym that may act, the SM2 key that acts under it, and what it carries on."""

    kind: ClassVar[str] = "registered"
    subject: Digest = Field(pattern=r"^[0-9a-f]{64}$")
    holder: str = Field(pattern=r"^04[0-9a-f]{128}$")
    carried: list[Digest] = Field(default=[], max_length=4)


class Registrations(Message):
    """The identity authority's word on some pseudonyms of one domain, for whoever checks them."""

    kind: ClassVar[str] = "registrations"
    domain: str
    role: Literal["meter-point", "gateway"]
    issued_at: str
    entries: list[Registered] = Field(min_length=1, max_length=MAX_SLOTS)


class RosterSeats(Message):
    """That every meter point of a roster agreed to its seat, and which gateway it let speak.

    Args:
        gateway: Signed `Registrations` with the one gateway, by its pseudonym.
        holders: Signed `Registrations` of the meter points, in the order of the slots.
        delegations: By slot, the holder key's signature over `credentials.seats.delegation_text`.
    """

    kind: ClassVar[str] = "roster-seats"
    gateway: Signed
    holders: Signed
    delegations: list[str] = Field(min_length=1, max_length=MAX_SLOTS)


class SettlementNames(Message):
    """For the key authority alone: under which settlement pseudonym each one's bill is."""

    kind: ClassVar[str] = "settlement-names"
    domain: str
    subjects: list[Digest] = Field(min_length=1, max_length=MAX_SLOTS)
    names: list[Digest] = Field(min_length=1, max_length=MAX_SLOTS)


class DenyList(Message):
    """Every pseudonym that was revoked; a later one has a greater sequence number."""

    kind: ClassVar[str] = "deny-list"
    sequence: int = Field(ge=0)
    issued_at: str
    subjects: list[Digest]


class IdentityKeys(Message):
    """What holders pin: the issuer's key and the openers' halves, each in hexadecimal.

    Args:
        issuer: As `IssuerPublicKey.to_bytes`.
        utility: As `OpenerKey.published`, with its proof of possession.
        regulator: As `utility`.
    """

    kind: ClassVar[str] = "identity-keys"
    issuer: str = Field(pattern=r"^[0-9a-f]{198}$")
    utility: str = Field(pattern=r"^[0-9a-f]{194}$")
    regulator: str = Field(pattern=r"^[0-9a-f]{194}$")


class EnrolmentItem(Message):
    """One credential request: whose, and the request in hexadecimal."""

    kind: ClassVar[str] = "enrolment-item"
    identity: str = Field(min_length=1, max_length=256)
    request: str = Field(pattern=r"^(?:[0-9a-f]{2})+$", max_length=1024)


class EnrolmentOrder(Message):
    """Credential requests over an authenticated channel, signed by who is at its other end."""

    kind: ClassVar[str] = "enrolment-order"
    session: Digest = Field(pattern=r"^[0-9a-f]{64}$")
    role: Literal["meter-point", "gateway", "analyst"]
    period: str = Field(pattern=r"^[0-9]{4}$")
    items: list[EnrolmentItem] = Field(min_length=1, max_length=MAX_BATCH)


class EnrolmentResult(Message):
    """The answer to one request: the credential response in hexadecimal, or why there is none."""

    kind: ClassVar[str] = "enrolment-result"
    identity: str
    response: str | None = None
    reason: str | None = None


class EnrolmentAnswer(Message):
    """The identity authority's answers, in the order of the requests."""

    kind: ClassVar[str] = "enrolment-answer"
    session: Digest
    items: list[EnrolmentResult]
