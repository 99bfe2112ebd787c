"""How a person logs in with an SM2 key of their own: billing staff, analysts, regulators.

People are named and accountable; one login gives a token for each service the person works with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from pydantic import Field, model_validator
from sqlalchemy import Engine

from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.identity.enrolments.signed_logins import Login, admitted, fresh_nonce
from gridsecure.messages import Signed, signed
from gridsecure.wire.identity import Audience


class PersonLogin(Login):
    """A person asks for tokens."""

    kind: ClassVar[str] = "person-login"
    audiences: list[Audience] = Field(min_length=1, max_length=4)

    @model_validator(mode="after")
    def _each_once(self) -> PersonLogin:
        if len(set(self.audiences)) != len(self.audiences):
            raise ValueError("every audience is named once")
        return self


def person_login(audiences: Sequence[Audience], *, key: Sm2PrivateKey, now: datetime) -> Signed:
    """What a person sends to log in.

    Args:
        audiences: The services the person wants to talk to.
        key: The person's registered key.
        now: The present, aware.
    """
    login = PersonLogin(audiences=list(audiences), issued_at=now.isoformat(), nonce=fresh_nonce())
    return signed(login, key=key)


def admit_person(
    envelope: Signed, *, trusted: Mapping[str, Sm2PublicKey], engine: Engine, now: datetime
) -> PersonLogin:
    """Check a person's login once and for all, as `signed_logins.admitted` says.

    Args:
        envelope: What the person sent.
        trusted: Registered people's keys by thumbprint.
        engine: The database that remembers nonces.
        now: The present, aware.

    Raises:
        AuthenticityError: Not trusted, not of this minute, or used before.
        InvalidMessageError: Signed, but of another shape.
    """
    return admitted(envelope, expect=PersonLogin, trusted=trusted, engine=engine, now=now)
