"""An issuer, two openers and a holder, for timing credentials on one backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from gridsecure.credentials.batch_issuance import (
    GivenMac,
    finalise_credentials,
    issue_credentials,
)
from gridsecure.credentials.grants import Question, Quota, request_grant, verify_grant
from gridsecure.credentials.group import BackendName
from gridsecure.credentials.issuance import (
    Credential,
    check_request,
    finalise_credential,
    issue_credential,
    request_credential,
)
from gridsecure.credentials.issuer_keys import Context, IssuerPrivateKey, generate_issuer_key
from gridsecure.credentials.opening import OPENERS, generate_opener_key, joint_key
from gridsecure.credentials.presentations import (
    Domain,
    Occasion,
    PublicKeys,
    Verified,
    present,
    verify_presentation,
)
from gridsecure.credentials.suites import Suite, sm2_suite
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.identity_messages import Facts

METER: Final = Context(
    "meter-point", "2026", Facts(zone="futian", customer_class="household", counted=True)
)
ANALYST: Final = Context("analyst", "2026")
_CHANNEL: Final = b"benchmark"


@dataclass(frozen=True, slots=True)
class CredentialParts:
    """Keys made for one run, and what both sides do with them.

    Args:
        suite: The group on the backend that is timed.
        m1: The holder's secret.
    """

    suite: Suite
    key: IssuerPrivateKey
    keys: PublicKeys
    m1: int

    @classmethod
    def made(cls, backend: BackendName = "auto") -> Self:
        """New keys.

        Raises:
            GridSecureError: That backend is not on this host.
        """
        suite = sm2_suite(backend)
        key = generate_issuer_key(suite)
        halves = {name: generate_opener_key(name, suite=suite).publish(suite) for name in OPENERS}
        keys = PublicKeys(key.public_key(suite), joint_key(halves, suite=suite))
        return cls(suite, key, keys, suite.group.random_scalar())

    @property
    def backend(self) -> str:
        """Who computes, by name; what `auto` picked."""
        return self.suite.group.backend.name

    def enrolled(self, context: Context) -> Credential:
        """A credential, both sides' work."""
        suite, issuer = self.suite, self.keys.issuer
        pending = request_credential(
            suite, issuer=issuer, context=context, channel=_CHANNEL, secrets=(self.m1, 0)
        )
        asked = check_request(
            pending.message, suite=suite, issuer=issuer, context=context, channel=_CHANNEL
        )
        if context.is_hidden:
            answer = issue_credential(asked, suite=suite, key=self.key, facts=context.facts)
            return finalise_credential(
                pending, answer, suite=suite, issuer=issuer, channel=_CHANNEL, facts=context.facts
            )

        facts = [context.facts]
        (mac,), proof = issue_credentials([asked], suite=suite, key=self.key, facts=facts)
        given = GivenMac(pending, mac, _CHANNEL, context.facts)
        (credential,) = finalise_credentials([given], proof=proof, suite=suite, issuer=issuer)
        return credential

    def occasion(self, holder: Sm2PublicKey, *domains: Domain, challenge: bytes) -> Occasion:
        """What a meter point's presentation is bound to."""
        return Occasion(METER, domains, holder, challenge)

    def shown(self, credential: Credential, occasion: Occasion) -> bytes:
        """A presentation."""
        return present(credential, occasion=occasion, keys=self.keys, suite=self.suite)

    def verified(self, message: bytes, occasion: Occasion) -> Verified:
        """What a presentation shows, once it is checked."""
        return verify_presentation(
            message, occasion=occasion, keys=self.keys, key=self.key, suite=self.suite
        )

    def question(self, limit: int, *, digest: bytes = bytes(32)) -> Question:
        """What a grant is asked for."""
        return Question(Quota(ANALYST, "2026-03", limit), "platform", digest)

    def requested(self, member: Credential, question: Question, *, nonce: int) -> bytes:
        """A grant request."""
        return request_grant(
            member, nonce=nonce, question=question, issuer=self.keys.issuer, suite=self.suite
        )

    def granted(self, message: bytes, question: Question) -> bytes:
        """A grant's tag, once it is checked."""
        return verify_grant(
            message, question=question, issuer=self.keys.issuer, key=self.key, suite=self.suite
        )
