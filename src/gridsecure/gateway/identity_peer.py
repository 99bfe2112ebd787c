"""The identity authority over the wire: what is asked, and that answers have their shape.

Two connections that never mix. What carries a pseudonym goes out without any token, because a token
names this gateway; the body proves itself. Enrolment, which has names in it and no pseudonym, goes
with the gateway's token, sealed besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

import httpx

from gridsecure.credentials.issuer_keys import Role
from gridsecure.errors import GridSecureError
from gridsecure.identity_messages import Facts
from gridsecure.messages import Signed
from gridsecure.month_texts import read_moment
from gridsecure.wire.client import service_client
from gridsecure.wire.identity import (
    AccountDays,
    Challenge,
    HolderToken,
    RegistrationList,
    RegistrationResult,
    RegistrationResults,
    Session,
    Statements,
)

MAX_ACCOUNTS: Final = 4096
"""Accounts that are asked about at once."""
SEALED: Final = "application/vnd.gridsecure.envelope"
"""Content type of a sealed envelope."""


@dataclass(frozen=True, slots=True)
class HolderPresentation:
    """One holder's presentation.

    Args:
        holder: The SM2 key that will act, 130 hexadecimal digits.
    """

    holder: str
    presentation: bytes
    facts: Facts


@dataclass(frozen=True, slots=True)
class Registering:
    """Presentations that answer one challenge.

    Args:
        carry: The earlier period whose pseudonyms are shown along, or None.
    """

    challenge: bytes
    role: Role
    period: str
    carry: str | None
    items: Sequence[HolderPresentation]


@dataclass(frozen=True, slots=True)
class HolderLogin:
    """A pseudonym's token.

    Args:
        token: The token. Never logged.
        expires_at: Its end, aware.
    """

    token: str = field(repr=False)
    expires_at: datetime


class IdentityService(Protocol):
    """The identity authority as a gateway asks it, whatever carries the question."""

    def identity_keys(self) -> list[Signed]:
        """What the openers signed, not verified yet."""
        ...

    def session(self) -> str:
        """A session, good for one order."""
        ...

    def enrol(self, order: bytes, /) -> bytes:
        """Send a sealed order and return the sealed answer."""
        ...

    def account_days(self, names: Sequence[str], /) -> dict[str, tuple[str, str]]:
        """First day and day after the last one, blank if open, of those that are the gateway's."""
        ...

    def challenge(self) -> bytes:
        """A challenge, good for one use."""
        ...

    def register(self, registering: Registering, /) -> list[tuple[str, ...] | str]:
        """Send presentations; by presentation the subjects registered, or why there are none."""
        ...

    def registrations(
        self, *, domain: str, role: Role, subjects: Sequence[str]
    ) -> tuple[Signed | None, frozenset[str]]:
        """The authority's word on pseudonyms, not verified yet, and those that may not act."""
        ...

    def log_in(
        self, *, subject: str, domain: str, challenge: bytes, signature: bytes
    ) -> HolderLogin:
        """Log a pseudonym in."""
        ...

    def malformed(self) -> GridSecureError:
        """The error for an answer that is not what was asked for."""
        ...


class IdentityPeer:
    """The identity authority over HTTP.

    Args:
        public: Its address, without any authentication.
        service: Its address, with this gateway's token.
        pause: Waits for so many seconds between attempts.
    """

    def __init__(
        self, public: httpx.Client, service: httpx.Client, *, pause: Callable[[float], None]
    ) -> None:
        self._public = service_client(public, name="identity", pause=pause)
        self._service = service_client(service, name="identity", pause=pause)

    def identity_keys(self) -> list[Signed]:
        """What the openers signed, not verified yet."""
        return self._public.read(self._public.get("/identity-keys"), Statements).statements

    def session(self) -> str:
        """A session, good for one order."""
        return self._service.read(self._service.post("/enrolments/sessions"), Session).session

    def enrol(self, order: bytes) -> bytes:
        """Send a sealed order and return the sealed answer."""
        return self._service.post("/enrolments", body=order, content_type=SEALED).content

    def account_days(self, names: Sequence[str]) -> dict[str, tuple[str, str]]:
        """First day and day after the last one, blank if open, of those that are the gateway's."""
        found: dict[str, tuple[str, str]] = {}
        for start in range(0, len(names), MAX_ACCOUNTS):
            asked = list(names[start : start + MAX_ACCOUNTS])
            response = self._service.post("/accounts/days", json={"identities": asked})
            found |= self._service.read(response, AccountDays).days
        if not found.keys() <= set(names):
            raise self.malformed()
        return found

    def challenge(self) -> bytes:
        """A challenge, good for one use."""
        answer = self._public.read(self._public.post("/challenges"), Challenge)
        return bytes.fromhex(answer.challenge)

    def register(self, registering: Registering) -> list[tuple[str, ...] | str]:
        """Send presentations; by presentation the subjects registered, or why there are none."""
        body = {
            "challenge": registering.challenge.hex(),
            "role": registering.role,
            "period": registering.period,
            "carry": registering.carry,
            "items": [
                {
                    "holder": item.holder,
                    "presentation": item.presentation.hex(),
                    "facts": item.facts.model_dump(),
                }
                for item in registering.items
            ],
        }
        response = self._public.post("/registrations", json=body)
        found = self._public.read(response, RegistrationResults).items
        if len(found) != len(registering.items):
            raise self.malformed()
        return [self._outcome(item) for item in found]

    def registrations(
        self, *, domain: str, role: Role, subjects: Sequence[str]
    ) -> tuple[Signed | None, frozenset[str]]:
        """The authority's word on pseudonyms, not verified yet, and those that may not act."""
        body = {"domain": domain, "role": role, "subjects": list(subjects)}
        response = self._public.post("/registrations/list", json=body)
        answer = self._public.read(response, RegistrationList)
        if not set(answer.refused) <= set(subjects):
            raise self.malformed()
        return answer.registrations, frozenset(answer.refused)

    def log_in(
        self, *, subject: str, domain: str, challenge: bytes, signature: bytes
    ) -> HolderLogin:
        """Log a pseudonym in."""
        body = {
            "subject": subject,
            "domain": domain,
            "challenge": challenge.hex(),
            "signature": signature.hex(),
        }
        given = self._public.read(self._public.post("/logins", json=body), HolderToken)
        expires_at = read_moment(given.expires_at)
        if expires_at is None:
            raise self.malformed()
        return HolderLogin(given.token, expires_at)

    def malformed(self) -> GridSecureError:
        """The error for an answer that is not what was asked for."""
        return self._public.words.malformed()

    def _outcome(self, item: RegistrationResult) -> tuple[str, ...] | str:
        if (item.reason is None) == (item.subjects is None):
            raise self.malformed()
        return item.reason if item.reason is not None else tuple(item.subjects or ())
