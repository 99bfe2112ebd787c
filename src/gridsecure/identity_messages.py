"""The vocabulary of anonymised identity that crosses a trust line; rules as in `messages`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.messages import MAX_SLOTS, Digest, Message, Signed, sign_message

MAX_BATCH = 128
"""Credential requests or presentations in one message."""


MAX_FACT_LETTERS: Final = 64


def is_fact(text: str) -> bool:
    """Whether a text can name a zone or a customer class: short, printable, no blank at its ends.

    Two texts that look alike would be two cells, so nothing invisible may be in one.
    """
    return len(text) <= MAX_FACT_LETTERS and text.isprintable() and text == text.strip()


def _checked_fact(text: str) -> str:
    if not is_fact(text):
        raise ValueError("a zone or class is short and printable")
    return text


FactText = Annotated[str, AfterValidator(_checked_fact)]
"""A zone or customer class; empty where the books know none."""


JOINT: Final = "~"
"""Between a meter point's id and what tells one of its holders from another; in no id."""


def meter_point_of(holder: str) -> str:
    """The meter point's id in a holder's name."""
    return holder.partition(JOINT)[0]


class Facts(Message):
    """What the identity authority certifies of a holder, from its books and in the open.

    Args:
        counted: Whether it is the one meter point that counts for its customer in this zone and
            class. There is at most one a period, so counted slots never exceed customers.
        owner: Who runs a gateway, under a name of the period [64 digits]; empty, it runs itself.
    """

    kind: ClassVar[str] = "facts"
    zone: FactText = ""
    customer_class: FactText = ""
    counted: bool = False
    owner: FactText = ""


NO_FACTS: Final = Facts()
"""Of an analyst, and of a gateway that runs itself."""


class Registered(Message):
    """A pseudonym that may act, the SM2 key that acts under it, what it carries on, its facts."""

    kind: ClassVar[str] = "registered"
    subject: Digest = Field(pattern=r"^[0-9a-f]{64}$")
    holder: str = Field(pattern=r"^04[0-9a-f]{128}$")
    carried: list[Digest] = Field(default=[], max_length=4)
    facts: Facts = NO_FACTS


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
        utility: As `OpenerKey.publish`, with its proof of possession.
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
    """The answer to one request, or why there is none.

    Args:
        response: The credential response in hexadecimal; of a traceable role the MAC alone.
        reason: Why there is none.
    """

    kind: ClassVar[str] = "enrolment-result"
    identity: str
    response: str | None = None
    facts: Facts = NO_FACTS
    reason: str | None = None


class EnrolmentAnswer(Message):
    """The identity authority's answers, in the order of the requests.

    Args:
        proof: That one key made all MACs in them, in hexadecimal.
    """

    kind: ClassVar[str] = "enrolment-answer"
    session: Digest
    items: list[EnrolmentResult]
    proof: str = ""


class LogEntry(Message):
    """One entry of the identity authority's evidence log, as an office fetches it.

    Args:
        index: Its place, from 0.
        at: When, ISO 8601 in UTC.
        detail: What it was about, as the text that was hashed.
        previous: Of an entry from before there was a tree, the hash before it; else empty.
        hash: Its own hash.
        salt: What hides it in the public entry.
    """

    kind: ClassVar[str] = "log-entry"
    index: int = Field(ge=0)
    at: str
    actor: str
    action: str
    detail: str
    previous: str = Field(pattern=r"^([0-9a-f]{64})?$")
    hash: Digest
    salt: str = Field(pattern=r"^[0-9a-f]{32}$")


class WarrantDocument(Message):
    """What an office needs to give its share for one opening.

    Args:
        entry: Hash of the log entry that holds the order.
        subject: The pseudonym.
        escrow: Its escrow, in hexadecimal.
        reference: The order's number in both offices' files.
        leaves: What the log committed to with the registration, see `credentials.log_details`.
    """

    kind: ClassVar[str] = "warrant-document"
    entry: Digest
    subject: Digest
    escrow: str = Field(pattern=r"^[0-9a-f]{132}$")
    reference: str = Field(min_length=1, max_length=256)
    leaves: list[Digest] = Field(default=[], max_length=2 * MAX_BATCH)


class SearchDocument(Message):
    """What a search by person is about; the log entry holds digests of it.

    Args:
        entry: Hash of the log entry that holds the order.
        reference: The order's number in both offices' files.
        keys: The person's enrolled keys, the newest last.
        batches: Digests of the batches, each of one key and some escrows.
    """

    kind: ClassVar[str] = "search-document"
    entry: Digest
    reference: str = Field(min_length=1, max_length=256)
    keys: list[str] = Field(min_length=1, max_length=64)
    batches: list[Digest]


SearchStep = Literal["blind", "blind-and-share", "share"]
"""What an office does next with a batch: utility, regulator, utility."""


class SearchWork(Message):
    """One batch that waits for an office.

    Args:
        entry: As in the document.
        batch: Its number.
        key: The enrolled key that is searched for.
        names: By escrow, what stands for its pseudonym in the log's commitment.
        first: The utility's blindings, once there are.
        mark: The utility's own mark on its blindings, by which it knows them again.
        second: The regulator's blindings of those, once there are.
    """

    kind: ClassVar[str] = "search-work"
    entry: Digest
    batch: int = Field(ge=0)
    step: SearchStep
    key: str = Field(pattern=r"^[0-9a-f]{66}$")
    escrows: list[str] = Field(min_length=1, max_length=MAX_BATCH)
    names: list[Digest] = Field(min_length=1, max_length=MAX_BATCH)
    first: list[str] = Field(default=[], max_length=MAX_BATCH)
    mark: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    second: list[str] = Field(default=[], max_length=MAX_BATCH)


class SearchAnswer(Message):
    """What an office did with a batch, in the order of its escrows.

    Args:
        batch: Its number.
        blindings: In the first two steps.
        mark: In the first step.
        shares: In the last two steps.
    """

    kind: ClassVar[str] = "search-answer"
    batch: int = Field(ge=0)
    step: SearchStep
    blindings: list[str] = Field(default=[], max_length=MAX_BATCH)
    mark: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    shares: list[str] = Field(default=[], max_length=MAX_BATCH)


class RekeyOrder(Message):
    """That an identity has a new enrolled key, signed by both offices.

    Args:
        identity: Whose, as in the record of enrolments.
        old: The key it has now, in hexadecimal.
        reference: The order's number in both offices' files.
        issued_at: When, ISO 8601 with an offset.
    """

    kind: ClassVar[str] = "rekey-order"
    identity: str = Field(min_length=1, max_length=256)
    old: str = Field(pattern=r"^0[23][0-9a-f]{64}$")
    new: str = Field(pattern=r"^0[23][0-9a-f]{64}$")
    reference: str = Field(min_length=1, max_length=256)
    issued_at: str = Field(max_length=40)


Audience = Literal["gateway", "platform", "authority", "identity", "market", "encryption"]
"""The services a token can be for."""


class SignedLogin(Message):
    """What every signed login says besides what is wanted."""

    issued_at: str = Field(max_length=40)
    nonce: str = Field(pattern=r"^[0-9a-f]{32}$")


class ServiceLogin(SignedLogin):
    """A service asks for a token for one audience.

    `statement` is what the maker signed of its build (`gridsecure.builds`), where one is pinned.
    `level` is the digest of its security level (`gridsecure.policy.levels`), where it has one.
    """

    kind: ClassVar[str] = "service-login"
    audience: Audience
    statement: str = Field(default="", max_length=4096)
    level: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class PersonLogin(SignedLogin):
    """A person asks for tokens, one for each service the person works with."""

    kind: ClassVar[str] = "person-login"
    audiences: list[Audience] = Field(min_length=1, max_length=6)

    @model_validator(mode="after")
    def _each_once(self) -> PersonLogin:
        if len(set(self.audiences)) != len(self.audiences):
            raise ValueError("every audience is named once")
        return self


def service_login(
    *,
    audience: Audience,
    key: Sm2PrivateKey,
    now: datetime,
    statement: str = "",
    level: str = "",
) -> Signed:
    """What a service sends to log in.

    Args:
        now: The present, aware.
        statement: What the maker states of its build, if anything.
        level: Digest of its security level, if it has one.
    """
    login = ServiceLogin(
        audience=audience,
        issued_at=now.isoformat(),
        nonce=_fresh_nonce(),
        statement=statement,
        level=level,
    )
    return sign_message(login, key=key)


def person_login(audiences: Sequence[Audience], *, key: Sm2PrivateKey, now: datetime) -> Signed:
    """What a person sends to log in.

    Args:
        audiences: The services the person wants to talk to.
        now: The present, aware.
    """
    login = PersonLogin(audiences=list(audiences), issued_at=now.isoformat(), nonce=_fresh_nonce())
    return sign_message(login, key=key)


def _fresh_nonce() -> str:
    return secrets.token_hex(16)
