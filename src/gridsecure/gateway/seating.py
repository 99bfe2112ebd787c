"""Seats: every meter point's agent agrees to its slot, and the gateway signs the roster.

1. The identity authority says afresh which of a roster's pseudonyms may act. Where one may not, the
   roster is not made: the caller leaves that member out, which gives another roster.
2. Each agent signs for its slot, with the key that the authority registered for it.
3. The gateway signs the roster, which names its seats by digest; both are kept.

A roster is named by what its seats agree to, so a month that seats the same meter points under the
same facts has the same roster, and sends the signatures that were made before. Nobody is asked
about what is settled, or for a correction: its members cannot change any more. Whether an upload of
somebody revoked since is still taken in, the platform decides by its deny list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gridsecure.credentials.batch_signatures import Signing, sign_all
from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.seats import billing_domain, delegation_text
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AccessDeniedError
from gridsecure.gateway.agent_records import recall_gateway, recall_members
from gridsecure.gateway.agents import Agents, agents_of, make_publics
from gridsecure.gateway.books.months import HeldDays
from gridsecure.gateway.enrolment import OTHER_DAYS, REVOKED, Enrolled, IdentityClient
from gridsecure.gateway.enrolment_passes import Counted
from gridsecure.gateway.roster_records import find_roster, keep_roster
from gridsecure.gateway.rosters import Roster, Speaker
from gridsecure.gateway.zone import GatewayZone
from gridsecure.identity_messages import Registrations, RosterSeats
from gridsecure.messages import RosterManifest, Signed, sign_message
from gridsecure.month_texts import year_text


@dataclass(frozen=True, slots=True, eq=False)
class Seating:
    """Seating the meter points of one month.

    Args:
        start: Start of the month, ISO 8601 with the local offset.
        clock: Gives the time, aware.
        refused: Of a month that is fixed, whom the authority refused until then, and why.
        settled: Ids of rosters that stay as they are kept, without asking.
        by_day: Meter points that are sealed by day in the month.
    """

    zone: GatewayZone
    identity: IdentityClient
    start: str
    clock: Callable[[], datetime]
    refused: Mapping[str, str] = field(default_factory=dict)
    settled: frozenset[str] = frozenset()
    by_day: frozenset[str] = frozenset()

    @property
    def domain(self) -> Domain:
        """Where the rosters are."""
        return billing_domain(self.start)

    @property
    def gateway_id(self) -> str:
        """Thumbprint of the key that speaks for them."""
        return self._agents.gateway().key_in(self.domain).public_key.thumbprint

    @property
    def speaker(self) -> Speaker:
        """The gateway as its rosters name it, once it is registered."""
        own = recall_gateway(self.zone, year_text(self.start))
        owner = "" if own is None else own.facts.owner
        return Speaker(self.gateway_id, owner, self.zone.cycle_day, self.zone.supply)

    def enrol(
        self, meter_point_ids: Sequence[str], *, held: HeldDays, counted: Counted
    ) -> Enrolled:
        """Enrol the gateway and the meter points.

        A meter point that the utility's books give another gateway on a day of these is refused: it
        would be billed for that day twice.

        Args:
            held: The days that each is billed for.
            counted: Told how many are done.

        Raises:
            GridSecureError: As `IdentityClient.join` and `IdentityClient.enrol`.
        """
        never = {name: r for name, r in self.refused.items() if r != REVOKED}
        if not self.settled:
            self.identity.join(self.start)
            never = self._other_days(meter_point_ids, held) | never
        wanted = [name for name in meter_point_ids if name not in never]
        found = self.identity.enrol(wanted, start=self.start, counted=counted)
        revoked = frozenset(
            found.members[name].billing
            for name, reason in self.refused.items()
            if reason == REVOKED and name in found.members
        )
        return Enrolled(found.members, {**never, **found.refused}, revoked)

    def seat(self, drafts: Sequence[Roster]) -> tuple[list[Roster], frozenset[str]]:
        """Have rosters seated and signed.

        Args:
            drafts: Rosters without seats.

        Returns:
            The rosters with their seats, and the pseudonyms that may not act. Where there are any,
            ask again without them.

        Raises:
            AccessDeniedError: The gateway may not act (`identity.gateway`), or the authority has
                another key for a pseudonym than its agent (`identity.holder`).
            GridSecureError: As `IdentityClient.registrations`.
        """
        made: list[Roster] = []
        own: Signed | None = None
        revoked: frozenset[str] = frozenset()
        for draft in drafts:
            known = find_roster(self.zone, draft.manifest.roster_id)
            if known is not None and draft.manifest.roster_id in self.settled:
                made.append(_as_kept(draft, known))
                continue
            subjects = draft.manifest.pseudonyms
            members, refused = self.identity.registrations(subjects, start=self.start)
            revoked |= refused
            if members is None or refused:
                continue
            if known is not None:
                made.append(_as_kept(draft, known))
                continue
            own = own or self.identity.own_registration(self.start)
            made.append(
                _sign(self.zone, draft, (own, members), agents=self._agents, at=self.clock())
            )
        return made, revoked

    def _other_days(self, meter_point_ids: Sequence[str], held: HeldDays) -> dict[str, str]:
        """Meter points that are not this gateway's on all days that it holds them."""
        own = self.identity.account_days(meter_point_ids)
        known = recall_members(self.zone, year_text(self.start))
        found: dict[str, str] = {}
        for name in meter_point_ids:
            if name not in own:
                # Who never enrolled is told by the authority what is wrong.
                found |= {name: OTHER_DAYS} if name in known else {}
            elif not held.within(name, own[name]):
                found[name] = OTHER_DAYS
        return found

    @property
    def _agents(self) -> Agents:
        return agents_of(self.zone) if self.settled else self.identity.agents


def reseat_roster(
    zone: GatewayZone, draft: Roster, *, earlier: RosterManifest, at: datetime
) -> Roster:
    """Seat the members of a roster anew under other facts, for a correction of prices.

    The authority's word on them is the one that the earlier roster came with.

    Args:
        draft: The same members in the same slots, without seats.
        earlier: The roster as seated before.

    Raises:
        AccessDeniedError: The authority has another key for a pseudonym than its agent
            (`identity.holder`).
        NotFoundError: The earlier seats are gone.
    """
    known = find_roster(zone, draft.manifest.roster_id)
    if known is not None:
        return _as_kept(draft, known)
    seats = RosterSeats.parse(zone.objects.get(earlier.seats))
    return _sign(zone, draft, (seats.gateway, seats.holders), agents=agents_of(zone), at=at)


def _as_kept(draft: Roster, known: Signed) -> Roster:
    return Roster(RosterManifest.parse(known.body), draft.meter_point_ids)


def _sign(
    zone: GatewayZone, draft: Roster, words: tuple[Signed, Signed], *, agents: Agents, at: datetime
) -> Roster:
    """Steps 2 and 3."""
    gateway, holders = words
    manifest, domain = draft.manifest, Domain(*draft.manifest.domain.split("/"))
    # 2. delegations
    signings = []
    entries = Registrations.parse(holders.body).entries
    seated = [agents.meter_point(name) for name in draft.meter_point_ids]
    publics = make_publics(seated, domain)
    for slot, (agent, public, entry) in enumerate(zip(seated, publics, entries, strict=True)):
        if entry.holder != public.point.hex():
            raise _other_key()
        scalar, text = agent.holder.scalar_in(domain), delegation_text(manifest, slot)
        signings.append(Signing(scalar, public, text))
    delegations = [signature.hex() for signature in sign_all(signings)]
    # 3. the roster
    seats = RosterSeats(gateway=gateway, holders=holders, delegations=delegations)
    data = seats.model_dump_json().encode()
    told = manifest.model_copy(update={"seats": sm3_hex(data)})
    zone.objects.put(data)
    keep_roster(zone, sign_message(told, key=agents.gateway().key_in(domain)), at=at)
    return Roster(told, draft.meter_point_ids)


def _other_key() -> AccessDeniedError:
    return AccessDeniedError(
        "The identity authority and the agent have different keys for a pseudonym.",
        reason="identity.holder",
        remedy="Stop, and have the authority's log compared. Only the agent can register a key.",
    )
