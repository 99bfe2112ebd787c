"""The issuer: it knows who enrols and never sees a pseudonym.

Whoever runs it and the token service both still cannot link what they know: unlinkability rests on
the proofs. Many requests are answered together, each on its own:

1. the request proves its secret before anything is kept: a bad one leaves no trace;
2. a meter point is in the books; one key per identity, once;
3. one credential per role and period, on facts that the books decide (`certifying`);
4. answers are computed when all of that is kept. One that is lost is asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.credentials.batch_issuance import issue_credentials
from gridsecure.credentials.issuance import CheckedRequest, check_requests, issue_credential
from gridsecure.credentials.issuer_keys import Context, IssuerPrivateKey
from gridsecure.credentials.log_details import ACTOR
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError
from gridsecure.identity.enrolments.certifying import certify, find_unlisted
from gridsecure.identity.enrolments.enrolled_keys import Enrolment, keep_enrolments
from gridsecure.identity_messages import Facts
from gridsecure.store.database import write_session
from gridsecure.store.evidence import JSON, append

ENROLLED = "identity.enrolled"


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """A request that came over an authenticated channel.

    Args:
        identity: Who is at the other end of the channel, in the utility's own books.
        channel: Names the channel, as the holder does.
    """

    identity: str
    message: bytes
    channel: bytes


@dataclass(frozen=True, slots=True)
class Issued:
    """The answer to a request.

    Args:
        response: For `finalise_credential`; of a traceable role, the MAC for
            `finalise_credentials`.
        facts: What was certified, which the holder must be told.
    """

    response: bytes
    facts: Facts


@dataclass(frozen=True, slots=True)
class Issuer:
    """The identity authority's issuing side."""

    suite: Suite
    key: IssuerPrivateKey = field(repr=False)
    engine: Engine = field(repr=False)

    def issue(
        self, message: bytes, *, identity: str, context: Context, channel: bytes, now: datetime
    ) -> Issued:
        """Answer one credential request.

        Args:
            identity: As in `CredentialRequest`.
            context: As for `issue_all`.
            channel: As in `CredentialRequest`.
            now: The present, aware.

        Raises:
            InvalidMessageError: A malformed request.
            SignatureError: Its proof does not hold (`authenticity.credential-request`).
            ConflictError: The identity has another key (`conflict.enrolment`) or another
                credential of this role and period (`conflict.credential`).
            AccessDeniedError: The identity is blocked (`identity.blocked`) or a meter point that
                is not in the books (`identity.unknown-account`).
        """
        request = CredentialRequest(identity, message, channel)
        (answer,), proof = self.issue_all([request], context=context, now=now)
        if isinstance(answer, GridSecureError):
            raise answer
        return Issued(answer.response + proof, answer.facts)

    def issue_all(
        self,
        requests: Sequence[CredentialRequest],
        *,
        context: Context,
        now: datetime,
        actor: str = ACTOR,
    ) -> tuple[list[Issued | GridSecureError], bytes]:
        """Answer credential requests, each on its own.

        Args:
            context: Role and period that these identities may have now; facts come from the books.
            now: The present, aware.
            actor: Who sent them, for the evidence log.

        Returns:
            By request the answer, or why there is none, as `issue` raises it; and the proof for
            all answers together, empty for a hidden role.

        Raises:
            StorageError: The database refuses; nothing was kept.
        """
        # 1. secrets
        checked = check_requests(
            [(request.message, request.channel) for request in requests],
            suite=self.suite,
            issuer=self.key.public_key(self.suite),
            context=context,
        )
        asked = {at: one for at, one in enumerate(checked) if isinstance(one, CheckedRequest)}
        entries = {
            at: Enrolment(requests[at].identity, context, self.suite.group.encode(one.commitment))
            for at, one in asked.items()
        }
        # 2 and 3. whose, which, and on what facts
        with write_session(self.engine) as session:
            refused = self._refuse(session, entries, now=now)
            kept = {at: entry for at, entry in entries.items() if at not in refused}
            secret = self.key.to_bytes(self.suite)
            facts = certify(session, list(kept.values()), secret=secret, now=now)
            about = (context, len(requests) - len(kept))
            self._note(session, list(kept.values()), about, at=now, actor=actor)
        # 4. answers
        malformed = {at: one for at, one in enumerate(checked) if isinstance(one, GridSecureError)}
        answers: dict[int, Issued | GridSecureError] = {**malformed, **refused}
        responses, proof = self._answer([asked[at] for at in kept], facts)
        for at, response, certified in zip(kept, responses, facts, strict=True):
            answers[at] = Issued(response, certified)
        return [answers[at] for at in range(len(requests))], proof

    def _refuse(
        self, session: Session, entries: dict[int, Enrolment], *, now: datetime
    ) -> dict[int, GridSecureError]:
        """By place, why an entry is not kept."""
        places = list(entries)
        unlisted = find_unlisted(session, list(entries.values()))
        listed = [at for place, at in enumerate(places) if place not in unlisted]
        refusals = keep_enrolments(session, [entries[at] for at in listed], now=now)
        refused: dict[int, GridSecureError] = {places[p]: why for p, why in unlisted.items()}
        return refused | {
            at: why for at, why in zip(listed, refusals, strict=True) if why is not None
        }

    def _answer(
        self, asked: Sequence[CheckedRequest], facts: Sequence[Facts]
    ) -> tuple[list[bytes], bytes]:
        suite, key = self.suite, self.key
        if asked and not asked[0].context.is_hidden:
            return issue_credentials(asked, suite=suite, key=key, facts=facts)
        pairs = zip(asked, facts, strict=True)
        return [issue_credential(one, suite=suite, key=key, facts=said) for one, said in pairs], b""

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
        issued = sorted(frame_parts(entry.reference, entry.commitment) for entry in kept)
        detail: dict[str, JSON] = {
            "role": context.role,
            "period": context.period,
            "issued": len(kept),
            "refused": refused,
            "digest": sm3_hex(frame_parts(*issued)),
        }
        append(session, at=at, actor=actor, action=ENROLLED, detail=detail)
