"""The holder's side: the secret in a meter's agent, a gateway, or an analyst's client.

The secret m1 is drawn once and kept; everything the authority could learn of it is a multiple. The
issuer's and openers' keys are pinned at the start: a holder never takes a key from an answer.
Domains come from the authenticated service a holder talks to, not from a text that service sends.

The SM2 keys that act under a holder's pseudonyms follow from m1, one a domain: a key seen in two
domains would link them. So whoever keeps m1 keeps all of them, and asks again after a crash as if
it had never asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gridsecure.credentials.access import login_text
from gridsecure.credentials.batch_issuance import finalise_alone
from gridsecure.credentials.grants import Question, Quota, request_grant
from gridsecure.credentials.issuance import (
    Applicant,
    Credential,
    PendingRequest,
    finalise_credential,
    request_credential,
    request_credentials,
)
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.presentations import Domain, Occasion, PublicKeys, present, subject
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey, private_key_from_bytes
from gridsecure.identity_messages import Facts

SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Holder:
    """A holder's secrets and what it pinned.

    Args:
        m1: The secret, 1..n-1.
        r1: What hides the secret of an analyst from the issuer, 1..n-1. Kept like m1, it lets the
            analyst ask again after a lost answer; 0 draws another each time.
    """

    suite: Suite
    keys: PublicKeys
    m1: int = field(repr=False)
    r1: int = field(default=0, repr=False)

    def ask(self, context: Context, *, channel: bytes) -> PendingRequest:
        """Ask for a credential of one role and period.

        Args:
            context: The role and period agreed on the channel.
        """
        return request_credential(
            self.suite,
            issuer=self.keys.issuer,
            context=context,
            channel=channel,
            secrets=(self.m1, self.r1),
        )

    def take(
        self, pending: PendingRequest, *, response: bytes, channel: bytes, facts: Facts
    ) -> Credential:
        """Check the answer and take the credential.

        Args:
            channel: As when asking.
            facts: What the issuer says it certified; of an analyst nothing.

        Raises:
            InvalidMessageError: Malformed, or facts of another role.
            SignatureError: Not made with the pinned key, or on other facts
                (`authenticity.credential-response`).
        """
        finalise = finalise_credential if pending.context.is_hidden else finalise_alone
        return finalise(
            pending,
            response,
            suite=self.suite,
            issuer=self.keys.issuer,
            channel=channel,
            facts=facts,
        )

    def show(
        self, credential: Credential, *, domains: tuple[Domain, ...], challenge: bytes
    ) -> tuple[Occasion, bytes]:
        """Show a credential in some domains: this period's, and an earlier one to carry state over.

        Args:
            domains: Where; the first one is where the holder will act, under its key there.

        Returns:
            What the proof is bound to, and the presentation.
        """
        holder = self.public_in(domains[0])
        occasion = Occasion(credential.context, domains, holder, challenge)
        message = present(credential, occasion=occasion, keys=self.keys, suite=self.suite)
        return occasion, message

    def name_in(self, domain: Domain) -> str:
        """This holder's name in a domain."""
        group = self.suite.group
        nym = group.multiply(domain.base(self.suite), scalar=self.m1)
        return subject(nym, domain=domain, suite=self.suite)

    def key_in(self, domain: Domain) -> Sm2PrivateKey:
        """The SM2 key that acts under this holder's pseudonym in a domain; the same every time."""
        return private_key_from_bytes(self.suite.group.encode_scalars(self.scalar_in(domain)))

    def public_in(self, domain: Domain) -> Sm2PublicKey:
        """The public half of `key_in`, at a tenth of the cost."""
        (public,) = publics_in(domain, [self])
        return public

    def scalar_in(self, domain: Domain) -> int:
        """The secret half of `key_in`."""
        group = self.suite.group
        text = frame_parts(group.encode_scalars(self.m1), domain.text)
        # SM2 keys are 1..n-2: folding n scalars onto them favours three of them by one in 2^256
        return 1 + self.suite.hash_to_scalar(text, info=b"HolderKey") % (group.order - 2)

    def sign_in(self, domain: Domain, *, challenge: bytes) -> bytes:
        """The signature that answers a login challenge."""
        text = login_text(self.name_in(domain), domain=domain, challenge=challenge)
        return self.key_in(domain).sign(text)


def ask_all(asking: Sequence[tuple[Holder, bytes]], context: Context) -> list[PendingRequest]:
    """Ask for credentials of holders that share suite and keys, together for less.

    Args:
        asking: One or more, each with the channel that it asks on.
        context: The role and period agreed on the channels.
    """
    holder = asking[0][0]
    return request_credentials(
        holder.suite,
        [Applicant(channel, (one.m1, one.r1)) for one, channel in asking],
        issuer=holder.keys.issuer,
        context=context,
    )


def publics_in(domain: Domain, holders: Sequence[Holder]) -> list[Sm2PublicKey]:
    """The public keys of holders that share a suite in one domain, made together for less."""
    if not holders:
        return []
    suite = holders[0].suite
    scalars = [holder.scalar_in(domain) for holder in holders]
    points = suite.group.multiply_all(suite.g, scalars=scalars)
    return [Sm2PublicKey(b"\x04" + suite.group.encode_whole(point)) for point in points]


def derive_secret(seed: bytes, *, name: str, suite: Suite) -> int:
    """The secret of one of many holders that share a keeper, 1..n-1; the same every time.

    Args:
        seed: The keeper's secret [32 bytes].
        name: Whose, such as a meter point's number.

    Raises:
        ValueError: A seed of another length.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes")
    scalar = suite.hash_to_scalar(frame_parts(seed, name), info=b"HolderSecret")
    return 1 + scalar % (suite.group.order - 1)


@dataclass(frozen=True, slots=True)
class Wallet:
    """An analyst's grants of one epoch.

    Args:
        quota: How many there are.
        next_nonce: How many were used. Keep the new wallet before sending a request: a nonce used
            twice gives one tag twice, which is refused and shows that both are one analyst's.
    """

    credential: Credential
    quota: Quota
    next_nonce: int = 0

    def ask(
        self, *, audience: str, digest: bytes, keys: PublicKeys, suite: Suite
    ) -> tuple[Wallet, bytes]:
        """Make the request for one query.

        Args:
            digest: SM3 of the query.

        Returns:
            The wallet to keep, and the request to send.

        Raises:
            ValueError: No grant is left in this epoch.
        """
        message = request_grant(
            self.credential,
            nonce=self.next_nonce,
            question=Question(self.quota, audience, digest),
            issuer=keys.issuer,
            suite=suite,
        )
        return replace(self, next_nonce=self.next_nonce + 1), message
