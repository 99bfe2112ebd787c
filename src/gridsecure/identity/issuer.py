"""The issuer: it knows who enrols and never sees a pseudonym.

Whoever runs it and the token service both still cannot link what they know: unlinkability rests on
the proofs. Many requests are answered together, each on its own:

1. the request proves its secret, and is answered, before anything is kept: a bad one leaves no
   trace;
2. one key per identity, once;
3. one credential per role and period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.credentials.issuance import issue_credential, requested_key
from gridsecure.credentials.issuer_keys import Context, IssuerPrivateKey
from gridsecure.credentials.suites import Suite, framed
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError, GridSecureError, InputError
from gridsecure.identity.enrolments import Enrolment, keep_enrolments
from gridsecure.identity.registry import ACTOR
from gridsecure.store.database import write_session
from gridsecure.store.evidence import JSON, append

ENROLLED = "identity.enrolled"


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """A request that came over an authenticated channel.

    Args:
        identity: Who is at the other end of the channel, in the utility's own books.
        message: The request.
        channel: Names the channel, as the holder does.
    """

    identity: str
    message: bytes
    channel: bytes


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
        """Answer one credential request.

        Args:
            message: The request.
            identity: As in `CredentialRequest`.
            context: As for `issue_all`.
            channel: As in `CredentialRequest`.
            now: The present, aware.

        Raises:
            InvalidMessageError: A malformed request.
            SignatureError: Its proof does not hold (`authenticity.credential-request`).
            ConflictError: The identity has another key (`conflict.enrolment`) or another
                credential of this role and period (`conflict.credential`).
            AccessDeniedError: The identity is blocked (`identity.blocked`).
        """
        request = CredentialRequest(identity, message, channel)
        (answer,) = self.issue_all([request], context=context, now=now)
        if isinstance(answer, GridSecureError):
            raise answer
        return answer

    def issue_all(
        self,
        requests: Sequence[CredentialRequest],
        *,
        context: Context,
        now: datetime,
        actor: str = ACTOR,
    ) -> list[bytes | GridSecureError]:
        """Answer credential requests, each on its own.

        Args:
            requests: The requests.
            context: What these identities may have now; the requests have no say in it.
            now: The present, aware.
            actor: Who sent them, for the evidence log.

        Returns:
            By request the answer, or why there is none, as `issue` raises it.

        Raises:
            StorageError: The database refuses; nothing was kept.
        """
        # 1. answers
        answers = [self._answered(request, context) for request in requests]
        places = [at for at, answer in enumerate(answers) if isinstance(answer, bytes)]
        entries = [self._enrolment(requests[at], context) for at in places]
        # 2 and 3. whose, and which
        with write_session(self.engine) as session:
            refusals = keep_enrolments(session, entries, now=now)
            for at, refusal in zip(places, refusals, strict=True):
                answers[at] = refusal or answers[at]
            kept = [e for e, refusal in zip(entries, refusals, strict=True) if refusal is None]
            self._note(session, kept, (context, len(answers) - len(kept)), at=now, actor=actor)
        return answers

    def _answered(self, request: CredentialRequest, context: Context) -> bytes | GridSecureError:
        try:
            return issue_credential(
                request.message,
                suite=self.suite,
                key=self.key,
                context=context,
                channel=request.channel,
            )
        except (InputError, AuthenticityError) as refused:
            return refused

    def _enrolment(self, request: CredentialRequest, context: Context) -> Enrolment:
        commitment = self.suite.group.encode(requested_key(request.message, suite=self.suite))
        return Enrolment(request.identity, context, commitment)

    def _note(
        self,
        session: Session,
        kept: list[Enrolment],
        about: tuple[Context, int],
        *,
        at: datetime,
        actor: str,
    ) -> None:
        context, refused = about
        issued = sorted(framed(entry.reference, entry.commitment) for entry in kept)
        detail: dict[str, JSON] = {
            "role": context.role,
            "period": context.period,
            "issued": len(kept),
            "refused": refused,
            "digest": sm3_hex(framed(*issued)),
        }
        append(session, at=at, actor=actor, action=ENROLLED, detail=detail)
