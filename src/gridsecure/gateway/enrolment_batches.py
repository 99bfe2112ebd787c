"""One batch through enrolment and registration: several holders, one message each way.

Enrolling, over the sealed channel       Registering, under no name
1. a session, good for one order         1. a challenge, good for one use
2. the requests, signed and sealed       2. each credential shown, bound to its place
3. the answer, opened and verified       3. what was registered is what the holders compute
4. the proof for all of them checked

A session or challenge may be used up by an attempt whose answer was lost. Then a new one is taken
and the step done again: the secrets are the same, so the authority finds what it has already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from gridsecure.credentials.access import batch_challenge, enrolment_channel
from gridsecure.credentials.batch_issuance import GivenMac, finalise_credentials
from gridsecure.credentials.holder import ask_all
from gridsecure.credentials.issuance import Credential, PendingRequest
from gridsecure.credentials.issuer_keys import Context, Role
from gridsecure.credentials.presentations import (
    Domain,
    Occasion,
    present_all,
    shown_subjects,
)
from gridsecure.credentials.seats import registration_domains
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.errors import AuthenticityError
from gridsecure.gateway.agent_records import Subjects
from gridsecure.gateway.agents import Agent, make_publics
from gridsecure.gateway.identity_peer import HolderPresentation, IdentityService, Registering
from gridsecure.gateway.zone import GatewayZone
from gridsecure.identity_messages import (
    EnrolmentAnswer,
    EnrolmentItem,
    EnrolmentOrder,
)
from gridsecure.messages import Signed, open_message, sign_message

_ORDER: Final = "enrolment"
_ANSWER: Final = "enrolment-answer"
_ATTEMPTS: Final = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentBatch:
    """Holders that enrol and register together.

    Args:
        period: For when, a year.
        carry: The earlier year whose pseudonyms they show along, or None.
    """

    role: Role
    period: str
    carry: str | None
    agents: tuple[Agent, ...]

    @property
    def context(self) -> Context:
        """What they ask for; the identity authority adds the facts."""
        return Context(self.role, self.period)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Where they register."""
        return registration_domains(self.role, period=self.period)

    @property
    def shown_domains(self) -> tuple[Domain, ...]:
        """Where they show a pseudonym: earlier ones last."""
        return registration_domains(self.role, period=self.period, carry=self.carry)


def request_credentials(
    batch: EnrolmentBatch, *, zone: GatewayZone, peer: IdentityService, now: datetime
) -> list[Credential | str]:
    """Enrol a batch.

    Args:
        batch: Who and as what.
        zone: The gateway, whose key signs the order.
        now: The present, aware.

    Returns:
        By holder its credential, or the authority's reason for none.

    Raises:
        GridSecureError: As `Client.post`; an answer that does not open or verify, or is about
            something else (`identity.answer`); a credential not made with the pinned key
            (`authenticity.credential-response`), after which nobody should be enrolled.
    """
    # 1 and 2. session and order
    session, pending, answer = retry_afresh(lambda: _ordered(batch, zone=zone, peer=peer, now=now))
    # 3. answer
    said = _answer(answer, session=session, batch=batch, zone=zone, peer=peer)
    # 4. the proof
    found: list[Credential | str] = [result.reason or "" for result in said.items]
    given = [at for at, result in enumerate(said.items) if result.response is not None]
    try:
        macs = [
            GivenMac(
                pending[at],
                bytes.fromhex(said.items[at].response or ""),
                _channel(zone, session, batch.agents[at]),
                said.items[at].facts,
            )
            for at in given
        ]
        proof = bytes.fromhex(said.proof)
    except ValueError as error:
        raise peer.malformed() from error
    if given:
        own = batch.agents[given[0]].holder
        credentials = finalise_credentials(
            macs, proof=proof, suite=own.suite, issuer=own.keys.issuer
        )
        for at, credential in zip(given, credentials, strict=True):
            found[at] = credential
    return found


def register(
    batch: EnrolmentBatch, credentials: list[Credential], *, peer: IdentityService
) -> list[Subjects | str]:
    """Register a batch, every holder in all its domains or in none.

    Args:
        batch: Those of a batch that have a credential.

    Returns:
        By holder its pseudonyms, or the authority's reason for none.

    Raises:
        GridSecureError: As `Client.post`, or others' pseudonyms (`identity.answer`).
    """
    if not batch.agents:
        return []

    def attempt() -> tuple[Registering, list[Subjects | str]]:
        registering = _presented(batch, credentials, peer.challenge())
        return registering, peer.register(registering)

    # 1 and 2. challenge and presentations
    sent, outcomes = retry_afresh(attempt)
    # 3. pseudonyms
    suite = batch.agents[0].holder.suite
    for item, outcome in zip(sent.items, outcomes, strict=True):
        own = shown_subjects(item.presentation, domains=batch.domains, suite=suite)
        if not isinstance(outcome, str) and outcome != own:
            raise peer.malformed()
    return outcomes


def retry_afresh(step: Callable[[], T]) -> T:
    """Do a step again that begins with something of one use, in case that was used up."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return step()
        except AuthenticityError:
            continue
    return step()


def _ordered(
    batch: EnrolmentBatch, *, zone: GatewayZone, peer: IdentityService, now: datetime
) -> tuple[str, list[PendingRequest], bytes]:
    session = peer.session()
    asking = [(agent.holder, _channel(zone, session, agent)) for agent in batch.agents]
    pending = ask_all(asking, batch.context)
    order = EnrolmentOrder(
        session=session,
        role=batch.role,
        period=batch.period,
        items=[
            EnrolmentItem(identity=agent.identity, request=request.message.hex())
            for agent, request in zip(batch.agents, pending, strict=True)
        ],
    )
    sealed = seal_to(
        sign_message(order, key=zone.signing_key).model_dump_json().encode(),
        recipient=zone.pinned.identity,
        purpose=_ORDER,
        owner=session,
        created_at=now,
    )
    return session, pending, peer.enrol(sealed)


def _answer(
    answer: bytes, *, session: str, batch: EnrolmentBatch, zone: GatewayZone, peer: IdentityService
) -> EnrolmentAnswer:
    text = open_from(answer, private_key=zone.signing_key, purpose=_ANSWER)
    trusted = {zone.pinned.identity.thumbprint: zone.pinned.identity}
    found = open_message(Signed.parse(text), expect=EnrolmentAnswer, trusted=trusted)
    about = [agent.identity for agent in batch.agents]
    if found.session != session or [item.identity for item in found.items] != about:
        raise peer.malformed()
    return found


def _presented(
    batch: EnrolmentBatch, credentials: list[Credential], challenge: bytes
) -> Registering:
    domains, own = batch.shown_domains, batch.agents[0].holder
    publics = make_publics(batch.agents, domains[0])
    wanted = [
        (
            credential,
            Occasion(credential.context, domains, public, batch_challenge(challenge, place)),
        )
        for place, (public, credential) in enumerate(zip(publics, credentials, strict=True))
    ]
    messages = present_all(wanted, keys=own.keys, suite=own.suite)
    items = [
        HolderPresentation(public.point.hex(), message, credential.context.facts)
        for public, message, credential in zip(publics, messages, credentials, strict=True)
    ]
    return Registering(challenge, batch.role, batch.period, batch.carry, items)


def _channel(zone: GatewayZone, session: str, agent: Agent) -> bytes:
    return enrolment_channel(
        session, zone.service_id, zone.pinned.identity.thumbprint, agent.identity
    )
