"""The issuer and the token service: what they decide, over what the registry remembers.

The issuer knows who enrols and never sees a pseudonym. The token service sees pseudonyms and never
who they are; it needs the issuer's private key, because these credentials are checked by the key
that makes them. Whoever runs both still cannot link them: unlinkability rests on the proofs.

Issuing                                 Registering
1. the request proves its secret        1. the challenge is ours, and now used
2. one key per identity, once           2. the presentation verifies for this occasion
3. one credential per role and period   3. earlier pseudonyms shown along are registered
4. the MAC                              4. the pseudonym takes its holder key, or the alarm rings
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from gridsecure.credentials.access import GRANT_ROLE, ISSUER, login_text, query_subject
from gridsecure.credentials.grants import Question, verify_grant
from gridsecure.credentials.issuance import issue_credential, requested_key
from gridsecure.credentials.issuer_keys import Context, IssuerPrivateKey
from gridsecure.credentials.presentations import (
    Domain,
    Occasion,
    PublicKeys,
    subject,
    verify_presentation,
)
from gridsecure.credentials.suites import Suite, framed
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims, issue_token
from gridsecure.errors import AccessDeniedError
from gridsecure.identity.registry import (
    Registration,
    keep_credential,
    keep_enrolment,
    keep_registration,
    open_challenge,
    registration,
    spend_tag,
    use_challenge,
)

TOKEN_LIFETIME: Final = timedelta(minutes=5)
CHALLENGE_LIFETIME: Final = timedelta(minutes=2)
CHALLENGE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Issuer:
    """The identity authority's issuing side.

    Args:
        suite: The group and its hash.
        key: The issuer's key.
        engine: The database of enrolments.
    """

    suite: Suite
    key: IssuerPrivateKey = field(repr=False)
    engine: Engine = field(repr=False)

    def issue(
        self, message: bytes, *, identity: str, context: Context, channel: bytes, now: datetime
    ) -> bytes:
        """Answer a credential request that came over an authenticated channel.

        Args:
            message: The request.
            identity: Who is at the other end of the channel, in the utility's own books.
            context: What this identity may have now; the request has no say in it.
            channel: Names the channel, as the holder does.
            now: The present, aware.

        Raises:
            InvalidMessageError: A malformed request.
            SignatureError: Its proof does not hold (`authenticity.credential-request`).
            ConflictError: The identity has another key (`conflict.enrolment`) or another
                credential of this role and period (`conflict.credential`).
        """
        suite = self.suite
        # 1 and 4, before anything is kept, so that a bad request leaves no trace
        response = issue_credential(
            message, suite=suite, key=self.key, context=context, channel=channel
        )
        commitment = suite.group.encode(requested_key(message, suite=suite))
        # 2. one key per identity
        enrolled = None if context.is_hidden else commitment
        keep_enrolment(self.engine, identity=identity, key=enrolled, now=now)
        # 3. one credential per role and period
        keep_credential(
            self.engine, identity=identity, context=context, commitment=commitment, now=now
        )
        return response


@dataclass(frozen=True, slots=True)
class TokenService:
    """The service that turns presentations into access tokens.

    Args:
        suite: The group and its hash.
        keys: The published keys.
        key: The issuer's key, to verify with.
        signer: Signs tokens.
        engine: The database of registrations.
    """

    suite: Suite
    keys: PublicKeys
    key: IssuerPrivateKey = field(repr=False)
    signer: Sm2PrivateKey = field(repr=False)
    engine: Engine = field(repr=False)

    def challenge(self, *, now: datetime) -> bytes:
        """Give out a one-use challenge, 32 bytes, good for two minutes."""
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        expires_at = now + CHALLENGE_LIFETIME
        open_challenge(self.engine, challenge=challenge, expires_at=expires_at, now=now)
        return challenge

    def register(
        self, message: bytes, *, occasion: Occasion, now: datetime
    ) -> tuple[Registration, ...]:
        """Register the pseudonyms of one presentation.

        Domains of the credential's own period are registered with the holder key; a domain of
        another period is an earlier pseudonym shown along, so that state can be carried over.

        Args:
            message: The presentation.
            occasion: What it must be bound to; its first domain is of the credential's period.
            now: The present, aware.

        Returns:
            The registrations of this period, in the order of their domains.

        Raises:
            InvalidMessageError: A malformed presentation.
            SignatureError: It does not verify (`authenticity.presentation`).
            StaleMessageError: The challenge (`authenticity.challenge`).
            AccessDeniedError: A domain of another period only, or an earlier pseudonym that is not
                registered (`authenticity.registration`); a clone (`authenticity.cloned`).
        """
        # 1. challenge
        use_challenge(self.engine, challenge=occasion.challenge, now=now)
        # 2. presentation
        shown = verify_presentation(
            message, occasion=occasion, keys=self.keys, key=self.key, suite=self.suite
        )
        named = [
            (domain, nym, subject(nym, domain=domain, suite=self.suite))
            for domain, nym in zip(occasion.domains, shown.nyms, strict=True)
        ]
        period = occasion.context.period
        # 3. earlier pseudonyms
        carried = tuple(name for domain, _, name in named if domain.period != period)
        if occasion.domains[0].period != period:
            raise _wrong_period()
        for name in carried:
            registration(self.engine, subject=name)
        # 4. holder key
        entries = tuple(
            Registration(
                name,
                domain.text,
                self.suite.group.encode(nym),
                occasion.holder.point,
                shown.escrow.to_bytes(self.suite),
                carried,
            )
            for domain, nym, name in named
            if domain.period == period
        )
        for entry in entries:
            keep_registration(self.engine, entry=entry, now=now)
        return entries

    def log_in(
        self, name: str, *, domain: Domain, challenge: bytes, signature: bytes, now: datetime
    ) -> str:
        """Give a pseudonym a token, bound to its holder key.

        Args:
            name: The pseudonym, as `subject` names it.
            domain: Where it wants to act.
            challenge: Given out by this service.
            signature: By the holder key, over `login_text`.
            now: The present, aware.

        Raises:
            StaleMessageError: The challenge (`authenticity.challenge`).
            AccessDeniedError: Unknown, revoked, or of another domain
                (`authenticity.registration`).
            SignatureError: Not signed by the holder key (`authenticity.signature`).
        """
        use_challenge(self.engine, challenge=challenge, now=now)
        found = registration(self.engine, subject=name)
        if found.domain != domain.text:
            raise _wrong_period()
        holder = Sm2PublicKey(found.holder)
        holder.verify(login_text(name, domain=domain, challenge=challenge), signature)
        return issue_token(
            self._claims(name, domain.text, ("upload",), found.thumbprint, now), key=self.signer
        )

    def grant(self, message: bytes, *, question: Question, now: datetime) -> str:
        """Turn a grant request into a token for one query; nobody's name is in it.

        Args:
            message: The request.
            question: What it must be for.
            now: The present, aware.

        Raises:
            InvalidMessageError: A malformed request.
            SignatureError: It does not verify (`authenticity.grant`).
            StaleMessageError: Its tag was spent (`authenticity.spent`).
        """
        tag = verify_grant(
            message, question=question, issuer=self.keys.issuer, key=self.key, suite=self.suite
        )
        quota = question.quota
        named = framed(quota.context.period, quota.epoch, str(quota.limit))
        spend_tag(self.engine, tag=tag, quota=named, digest=question.digest, now=now)
        about = query_subject(question.digest)
        return issue_token(
            self._claims(about, question.audience, (GRANT_ROLE,), None, now), key=self.signer
        )

    def _claims(
        self, name: str, audience: str, roles: tuple[str, ...], holder: str | None, now: datetime
    ) -> TokenClaims:
        return TokenClaims(
            subject=name,
            roles=roles,
            audience=audience,
            issuer=ISSUER,
            issued_at=now,
            expires_at=now + TOKEN_LIFETIME,
            token_id=secrets.token_hex(16),
            holder_thumbprint=holder,
        )


def _wrong_period() -> AccessDeniedError:
    return AccessDeniedError(
        "The pseudonym may not act.",
        reason="authenticity.registration",
        remedy="Register in this domain and period.",
    )
