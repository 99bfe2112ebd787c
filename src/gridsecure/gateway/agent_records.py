"""Who is registered under which pseudonyms, on what facts: one record a year each, kept here alone.

This is the link between meter points and pseudonyms. It is as private as the readings beside it,
and could be computed again from the seed. Credentials are kept too, so that whoever has to register
once more need not enrol by name for it; without the holder's secret nobody can show one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gridsecure.credentials.group import POINT_BYTES
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import Context
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.agents import Agent
from gridsecure.gateway.zone import GatewayZone
from gridsecure.identity_messages import Facts
from gridsecure.store.database import read_session, write_session
from gridsecure.store.many_records import fetch_many
from gridsecure.store.records import Record, listed, record

_AGENT: Final = "agent"
_CREDENTIAL: Final = "credential"
_GATEWAY: Final = "gateway-agent"

Subjects = tuple[str, ...]
"""A holder's pseudonyms of one period, in the order of its domains."""


@dataclass(frozen=True, slots=True)
class Member:
    """A registered holder.

    Args:
        subjects: Its pseudonyms of one period.
        facts: What the identity authority certified, from its books.
    """

    subjects: Subjects
    facts: Facts

    @property
    def billing(self) -> str:
        """Its pseudonym where rosters are."""
        return self.subjects[0]


Given = tuple[Agent, Credential]
"""A holder and its credential."""


def remember(
    zone: GatewayZone, period: str, registered: Mapping[str, Member], *, at: datetime
) -> None:
    """Note that meter points are registered for a year; again changes nothing.

    Args:
        zone: The gateway.
        period: The year.
        registered: Meter point -> its pseudonyms and facts.
        at: Now.
    """
    with write_session(zone.engine) as session:
        for meter_point_id, member in registered.items():
            text, name = _member_text(member), f"{period}/{meter_point_id}"
            entry = Record(_AGENT, name, name, sm3_hex(text.encode()), period, text)
            record(session, entry, at=at)


def remembered(zone: GatewayZone, period: str) -> dict[str, Member]:
    """Registered meter points of a year: in the billing domain, and in that of settlement."""
    with read_session(zone.engine) as session:
        found = listed(session, kind=_AGENT, state=period)
    return {item.name.removeprefix(f"{period}/"): _member_in(item.text) for item in found}


def keep_credentials(
    zone: GatewayZone, period: str, given: Sequence[Given], *, at: datetime
) -> None:
    """Keep the credentials of a year; of a holder that has one, the first stays.

    Args:
        zone: The gateway.
        period: The year.
        given: Holders and their credentials.
        at: Now.
    """
    with write_session(zone.engine) as session:
        for agent, credential in given:
            encode, name = agent.holder.suite.group.encode, f"{period}/{agent.identity}"
            mac = (encode(credential.u) + encode(credential.u_prime)).hex()
            text = json.dumps({"mac": mac, "facts": credential.context.facts.model_dump()})
            digest = sm3_hex(name.encode())
            record(session, Record(_CREDENTIAL, name, name, digest, period, text), at=at)


def kept_credentials(
    zone: GatewayZone, agents: Sequence[Agent], *, context: Context
) -> list[Given]:
    """Those of some holders that have a credential, with it.

    Args:
        zone: The gateway.
        agents: The holders.
        context: Role and year; each credential has its own facts.
    """
    names = {f"{context.period}/{agent.identity}": agent for agent in agents}
    with read_session(zone.engine) as session:
        found = fetch_many(session, list(names), kind=_CREDENTIAL)
    return [
        (names[name], _credential(names[name], kept.text, context)) for name, kept in found.items()
    ]


def _credential(agent: Agent, text: str, context: Context) -> Credential:
    said, group = json.loads(text), agent.holder.suite.group
    data = bytes.fromhex(said["mac"])
    u, u_prime = (group.decode(part) for part in (data[:POINT_BYTES], data[POINT_BYTES:]))
    return Credential(agent.holder.m1, u, u_prime, context.stating(Facts(**said["facts"])))


def settlement_names(zone: GatewayZone, start: str) -> dict[str, str]:
    """Pseudonym in the billing domain -> the same meter point's in the settlement domain.

    Args:
        zone: The gateway.
        start: Start of a billing period, ISO 8601.
    """
    known = remembered(zone, start[:4]).values()
    return {billing: settlement for billing, settlement in (one.subjects for one in known)}


def remember_gateway(zone: GatewayZone, period: str, member: Member, *, at: datetime) -> None:
    """Note the gateway's own pseudonym and facts of a year; again changes nothing."""
    text = _member_text(member)
    entry = Record(_GATEWAY, period, period, sm3_hex(text.encode()), period, text)
    with write_session(zone.engine) as session:
        record(session, entry, at=at)


def remembered_gateway(zone: GatewayZone, period: str) -> Member | None:
    """The gateway itself as it is registered for a year, or None."""
    with read_session(zone.engine) as session:
        found = listed(session, kind=_GATEWAY, state=period)
    return _member_in(found[0].text) if found else None


def _member_text(member: Member) -> str:
    return json.dumps({"subjects": member.subjects, "facts": member.facts.model_dump()})


def _member_in(text: str) -> Member:
    said = json.loads(text)
    return Member(tuple(said["subjects"]), Facts(**said["facts"]))
