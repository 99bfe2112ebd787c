"""The token service: log-ins and grants become access tokens.

It sees pseudonyms and never who they are; in a grant's tokens there is not even a pseudonym.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from gridsecure.credentials.access import (
    GRANT_ROLE,
    ISSUER,
    TRIAL_ROLE,
    login_text,
    query_subject,
    trial_subject,
)
from gridsecure.credentials.grants import Question, verify_grant
from gridsecure.credentials.issuer_keys import IssuerPrivateKey
from gridsecure.credentials.presentations import Domain, PublicKeys
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims, issue_token
from gridsecure.identity.access_tokens import GivenToken, give_token
from gridsecure.identity.registrations.registry import (
    CHALLENGES,
    find_registration,
    not_registered_error,
    spend_tag,
)
from gridsecure.identity_messages import Audience

TOKEN_LIFETIME: Final = timedelta(minutes=5)
GRANT_LIFETIME: Final = timedelta(days=1)
GRANT_AUDIENCES: Final[tuple[Audience, ...]] = ("platform", "authority")
"""Who checks a grant: the platform before it computes, the authority before it decrypts."""


@dataclass(frozen=True, slots=True)
class GivenGrant:
    """A grant's tokens and when they end.

    Args:
        tokens: By audience. Never logged.
        expires_at: Their end, aware.
    """

    tokens: dict[Audience, str] = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class TokenService:
    """The identity authority's side towards pseudonyms and grants.

    Args:
        key: The issuer's key, to verify with.
    """

    suite: Suite
    keys: PublicKeys
    key: IssuerPrivateKey = field(repr=False)
    signer: Sm2PrivateKey = field(repr=False)
    engine: Engine = field(repr=False)

    def challenge(self, *, now: datetime) -> bytes:
        """Give out a one-use challenge, 32 bytes, good for two minutes."""
        return CHALLENGES.give(self.engine, now=now)

    def log_in(
        self, name: str, *, domain: Domain, challenge: bytes, signature: bytes, now: datetime
    ) -> GivenToken:
        """Give a pseudonym a token for the platform of its domain, bound to its holder key.

        Args:
            name: The pseudonym, as `subject` names it.
            domain: Where it wants to act.
            challenge: Given out by this service.
            signature: By the holder key, over `login_text`.
            now: The present, aware.

        Raises:
            StaleMessageError: The challenge (`authenticity.challenge`).
            AccessDeniedError: Unknown, revoked, of another domain, or a name nobody acts under
                (`authenticity.registration`).
            SignatureError: Not signed by the holder key (`authenticity.signature`).
        """
        CHALLENGES.use(self.engine, value=challenge, now=now)
        found = find_registration(self.engine, subject=name)
        if found.domain != domain.text or not found.holder:
            raise not_registered_error()
        holder = Sm2PublicKey(found.holder)
        holder.verify(login_text(name, domain=domain, challenge=challenge), signature)
        claims = TokenClaims(
            subject=name,
            roles=(found.role,),
            audience=domain.platform,
            issuer=ISSUER,
            issued_at=now,
            expires_at=now + TOKEN_LIFETIME,
            token_id=secrets.token_hex(16),
            holder_thumbprint=found.thumbprint,
        )
        return GivenToken(issue_token(claims, key=self.signer), claims.expires_at)

    def grant(self, message: bytes, *, question: Question, now: datetime) -> GivenGrant:
        """Turn a grant request into tokens for one query; nobody's name is in them.

        Args:
            question: What it must be for.
            now: The present, aware.

        Raises:
            InvalidMessageError: A malformed request.
            SignatureError: It does not verify (`authenticity.grant`).
            StaleMessageError: Its tag was spent (`authenticity.spent`).
        """
        self._spend(message, question, now=now)
        valid = (now, now + GRANT_LIFETIME)
        about = query_subject(question.digest)
        tokens = {
            audience: give_token(
                about, roles=(GRANT_ROLE,), audience=audience, key=self.signer, valid=valid
            ).token
            for audience in GRANT_AUDIENCES
        }
        return GivenGrant(tokens, valid[1])

    def trial_pass(self, message: bytes, *, question: Question, now: datetime) -> GivenToken:
        """Turn a grant request into a pass for trials at the key authority; it names nobody.

        Args:
            question: Of the quota of passes, and of a digest that is random.
            now: The present, aware.

        Raises:
            GridSecureError: As `grant`.
        """
        self._spend(message, question, now=now)
        return give_token(
            trial_subject(question.digest),
            roles=(TRIAL_ROLE,),
            audience="authority",
            key=self.signer,
            valid=(now, now + GRANT_LIFETIME),
        )

    def _spend(self, message: bytes, question: Question, *, now: datetime) -> None:
        tag = verify_grant(
            message, question=question, issuer=self.keys.issuer, key=self.key, suite=self.suite
        )
        quota = question.quota
        named = frame_parts(quota.context.period, quota.epoch, str(quota.limit))
        spend_tag(self.engine, tag=tag, quota=named, digest=question.digest, now=now)
