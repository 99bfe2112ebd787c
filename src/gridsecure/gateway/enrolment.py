"""Enrolment: the meter points of a month and the gateway itself, each under pseudonyms of the year.

Who is registered is remembered, one record a meter point and year, so a second month of a year asks
for nobody, and a killed run goes on where it was. Secrets follow from the gateway's seed, so what a
killed run asked for and forgot comes out the same when it is asked for again.

A refused meter point stops nobody else: it is left out of the month with the reason, and asked for
again with the next one. Everybody enrols before the first one registers, in another order
(`enrolment_passes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gridsecure.credentials.issuer_keys import Role
from gridsecure.credentials.seats import billing_domain
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import AccessDeniedError
from gridsecure.gateway.agent_records import (
    Member,
    recall_gateway,
    recall_members,
    remember_gateway,
)
from gridsecure.gateway.agents import Agents
from gridsecure.gateway.enrolment_batches import EnrolmentBatch, retry_afresh
from gridsecure.gateway.enrolment_passes import RANDOM, Counted, Passes, Shuffle, batch_size
from gridsecure.gateway.identity_keys import pin_identity_keys
from gridsecure.gateway.identity_peer import HolderLogin, IdentityService
from gridsecure.gateway.zone import GatewayZone
from gridsecure.identity_messages import Registrations
from gridsecure.messages import Signed, open_message
from gridsecure.month_texts import year_text

REVOKED: Final = "identity.revoked"
OTHER_DAYS: Final = "identity.other-days"
_MAX_LETTERS: Final = 256  # as `EnrolmentItem` takes
_UNKNOWN: Final = "identity.unknown-account"
_REFUSED: Final = "identity.refused"
_REASONS: Final = {
    _UNKNOWN: _UNKNOWN,
    "identity.blocked": REVOKED,
    "authenticity.registration": REVOKED,
    "authenticity.cloned": "identity.cloned",
    "conflict.enrolment": "identity.other-key",
    "conflict.credential": "identity.other-key",
}
"""The authority's reason -> the reason code in `admission.REASONS`."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The meter points of a month at the identity authority.

    Args:
        members: Meter point -> its pseudonyms, and the facts certified of it.
        refused: Meter point -> why it has none, of `admission.REASONS`.
        revoked: Those of the pseudonyms that may no longer act.
    """

    members: Mapping[str, Member]
    refused: Mapping[str, str]
    revoked: frozenset[str] = frozenset()

    @property
    def names(self) -> dict[str, str]:
        """Meter point -> its pseudonym in the billing domain."""
        return {name: member.billing for name, member in self.members.items()}

    def refuse(self, refused: Mapping[str, str]) -> Enrolled:
        """The same, with more meter points that are not billed, and why."""
        return replace(self, refused={**self.refused, **refused})

    def leave_out(self, revoked: frozenset[str]) -> Enrolled:
        """The same, with more pseudonyms that may not act."""
        return replace(self, revoked=self.revoked | revoked)

    @property
    def excluded(self) -> dict[str, str]:
        """Meter point -> why it is not billed: it has no pseudonym, or one that may not act."""
        gone = {name: REVOKED for name, subject in self.names.items() if subject in self.revoked}
        return {**self.refused, **gone}


class IdentityClient:
    """The gateway's dealings with the identity authority.

    Args:
        clock: Gives the time, aware.
        carry: Whether meter points show last year's pseudonyms along with this year's first.
        shuffle: Puts those who register into an order of its own.
    """

    def __init__(
        self,
        zone: GatewayZone,
        peer: IdentityService,
        *,
        clock: Callable[[], datetime],
        carry: bool = False,
        shuffle: Shuffle = RANDOM,
    ) -> None:
        self._zone = zone
        self._peer = peer
        self._clock = clock
        self._carry = carry
        self._passes = Passes(zone, peer, clock, shuffle)
        self._agents: Agents | None = None

    @property
    def agents(self) -> Agents:
        """The gateway's holders, under keys that are fetched and compared once.

        Raises:
            GridSecureError: As `pin_identity_keys` or `Client.get`.
        """
        if self._agents is None:
            statements = self._peer.identity_keys()
            keys = pin_identity_keys(self._zone, statements, at=self._clock())
            self._agents = Agents(keys, self._zone.seed, self._zone.service_id)
        return self._agents

    def enrol(
        self, meter_point_ids: Sequence[str], *, start: str, counted: Counted = lambda *_: None
    ) -> Enrolled:
        """Enrol meter points for the year of a billing period, as far as they are not yet.

        Args:
            meter_point_ids: Meter points of one month.
            start: Start of the period, ISO 8601 with the local offset.
            counted: Told how many are done.

        Raises:
            GridSecureError: The authority cannot be reached or believed; whoever was registered
                before that is remembered.
        """
        period = year_text(start)
        known = recall_members(self._zone, period)
        fresh = [name for name in meter_point_ids if name not in known]
        # what no book can list would be malformed in an order, and cost its whole batch
        refused = {name: _UNKNOWN for name in fresh if len(name) > _MAX_LETTERS}
        batches = list(self._batches([name for name in fresh if name not in refused], period))
        if batches:
            self.agents.prepare(*batches[0].domains)
            found = self._passes.through(batches, counted=counted)
            refused |= {name: r for name, r in found.items() if isinstance(r, str)}
            known |= {name: s for name, s in found.items() if not isinstance(s, str)}
        members = {name: known[name] for name in meter_point_ids if name in known}
        return Enrolled(members, {name: _REASONS.get(r, _REFUSED) for name, r in refused.items()})

    def account_days(self, meter_point_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """On which days meter points are this gateway's by the utility's books, as `AccountDays`.

        Raises:
            GridSecureError: The authority cannot be reached or believed.
        """
        asked = [name for name in meter_point_ids if len(name) <= _MAX_LETTERS]
        return self._peer.account_days(asked)

    def join(self, start: str) -> str:
        """Enrol and register the gateway itself for a year, once; return its pseudonym.

        Raises:
            AccessDeniedError: The authority refuses it (`identity.gateway`).
            GridSecureError: The authority cannot be reached or believed.
        """
        period, agent = year_text(start), self.agents.gateway()
        known = recall_gateway(self._zone, period)
        if known is not None:
            return known.billing
        batch = EnrolmentBatch("gateway", period, None, (agent,))
        outcome = self._passes.through([batch], counted=lambda *_: None)[agent.identity]
        if isinstance(outcome, str):
            raise _gateway_refused(outcome)
        remember_gateway(self._zone, period, outcome, at=self._clock())
        return outcome.billing

    def registrations(
        self, subjects: Sequence[str], *, start: str
    ) -> tuple[Signed | None, frozenset[str]]:
        """The authority's fresh word on meter points' pseudonyms in a year's billing domain.

        Args:
            subjects: The pseudonyms.
            start: Start of the billing period, ISO 8601.

        An authority restored from a backup may have lost some, which register once more.

        Returns:
            Its signed `Registrations` of those that may act, in the order asked for, or None; and
            those that may not.

        Raises:
            AuthenticityError: Not signed by the pinned key.
            GridSecureError: The authority cannot be reached, or speaks of others
                (`identity.answer`).
        """
        found = self._registrations("meter-point", subjects, start)
        if found[1] and self._register_again(found[1], year_text(start)):
            return self._registrations("meter-point", subjects, start)
        return found

    def _register_again(self, subjects: frozenset[str], period: str) -> bool:
        """Register pseudonyms once more that were registered before; whether any is."""
        known = recall_members(self._zone, period)
        names = [name for name, own in known.items() if own.billing in subjects]
        outcomes = self._passes.repeat(list(self._batches(names, period)))
        return any(isinstance(one, Member) for one in outcomes.values())

    def own_registration(self, start: str) -> Signed:
        """The authority's fresh word on the gateway's own pseudonym.

        Raises:
            AccessDeniedError: It may not act (`identity.gateway`).
            GridSecureError: As `registrations` and `join`.
        """
        envelope, _ = self._registrations("gateway", [self.join(start)], start)
        if envelope is None:
            raise _gateway_refused(REVOKED)
        return envelope

    def log_in(self, start: str) -> tuple[HolderLogin, Sm2PrivateKey]:
        """A token for the gateway's pseudonym of a year, and the key that acts with it.

        Raises:
            AuthenticityError: The authority refuses.
            GridSecureError: It cannot be reached or believed.
        """
        domain, subject, agent = billing_domain(start), self.join(start), self.agents.gateway()
        key = agent.key_in(domain)

        def attempt() -> HolderLogin:
            challenge = self._peer.challenge()
            signature = agent.sign_in(domain, challenge=challenge)
            return self._peer.log_in(
                subject=subject, domain=domain.text, challenge=challenge, signature=signature
            )

        return retry_afresh(attempt), key

    def _registrations(
        self, role: Role, asked: Sequence[str], start: str
    ) -> tuple[Signed | None, frozenset[str]]:
        domain, pinned = billing_domain(start).text, self._zone.pinned.identity
        envelope, refused = self._peer.registrations(domain=domain, role=role, subjects=asked)
        named: list[str] = []
        if envelope is not None:
            said = open_message(envelope, expect=Registrations, trusted={pinned.thumbprint: pinned})
            named = [entry.subject for entry in said.entries]
            if (said.domain, said.role) != (domain, role):
                raise self._peer.malformed()
        if named != [name for name in asked if name not in refused]:
            raise self._peer.malformed()
        return envelope, refused

    def _batches(self, names: Sequence[str], period: str) -> Iterator[EnrolmentBatch]:
        earlier = str(int(period) - 1) if self._carry else ""
        carried = recall_members(self._zone, earlier) if self._carry else {}
        for carry, group in (
            (earlier, [name for name in names if name in carried]),
            (None, [name for name in names if name not in carried]),
        ):
            size = batch_size(len(group))
            for at in range(0, len(group), size):
                part = group[at : at + size]
                agents = tuple(self.agents.meter_point(name) for name in part)
                yield EnrolmentBatch("meter-point", period, carry, agents)


def _gateway_refused(said: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"The identity authority does not let this gateway act ({_REASONS.get(said, _REFUSED)}).",
        reason="identity.gateway",
        remedy="Have the gateway's key registered there; after a revocation, re-key it.",
    )
