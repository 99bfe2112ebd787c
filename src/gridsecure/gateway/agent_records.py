"""Who is registered under which pseudonyms, on what facts: one record a year each, kept here alone.

This is the link between meter points and pseudonyms. It is as private as the readings beside it,
and could be computed again from the seed. Credentials are kept too, so that whoever has to register
once more need not enrol by name for it; without the holder's secret nobody can show one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import select

from gridsecure.credentials.group import POINT_BYTES
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import Context
from gridsecure.gateway.agents import Agent
from gridsecure.gateway.tables import AgentRow, CredentialRow, GatewayAgentRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.identity_messages import Facts
from gridsecure.month_texts import year_text
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, find_many, keep, keep_all

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
        registered: Meter point -> its pseudonyms and facts.
    """
    rows = []
    for meter_point_id, member in registered.items():
        billing, settlement = member.subjects
        rows.append(
            AgentRow.draft(
                period=period,
                meter_point_id=meter_point_id,
                billing=billing,
                settlement=settlement,
                **_facts(member.facts),
                at=at,
            )
        )
    with write_session(zone.engine) as session:
        keep_all(session, rows)


def recall_members(zone: GatewayZone, period: str) -> dict[str, Member]:
    """Registered meter points of a year: in the billing domain, and in that of settlement."""
    with read_session(zone.engine) as session:
        found = session.exec(select(AgentRow).where(AgentRow.period == period))
        return {
            row.meter_point_id: Member((row.billing, row.settlement), row.facts) for row in found
        }


def keep_credentials(
    zone: GatewayZone, period: str, given: Sequence[Given], *, at: datetime
) -> None:
    """Keep the credentials of a year; of a holder that has one, the first stays."""
    rows = []
    for agent, credential in given:
        encode = agent.holder.suite.group.encode
        rows.append(
            CredentialRow.draft(
                period=period,
                identity=agent.identity,
                mac=encode(credential.u) + encode(credential.u_prime),
                **_facts(credential.context.facts),
                at=at,
            )
        )
    with write_session(zone.engine) as session:
        keep_all(session, rows)


def load_credentials(
    zone: GatewayZone, agents: Sequence[Agent], *, context: Context
) -> list[Given]:
    """Those of some holders that have a credential, with it.

    Args:
        context: Role and year; each credential has its own facts.
    """
    holders = {agent.identity: agent for agent in agents}
    of_period = CredentialRow.period == context.period
    with read_session(zone.engine) as session:
        found = find_many(session, CredentialRow, list(holders), of_period, by="identity")
    return [
        (holders[name], _credential(holders[name], row, context)) for name, row in found.items()
    ]


def _credential(agent: Agent, row: CredentialRow, context: Context) -> Credential:
    group = agent.holder.suite.group
    u, u_prime = (group.decode(part) for part in (row.mac[:POINT_BYTES], row.mac[POINT_BYTES:]))
    return Credential(agent.holder.m1, u, u_prime, context.certify(row.facts))


def map_settlement_names(zone: GatewayZone, start: str) -> dict[str, str]:
    """Pseudonym in the billing domain -> the same meter point's in the settlement domain.

    Args:
        start: Start of a billing period, ISO 8601.
    """
    known = recall_members(zone, year_text(start)).values()
    return {billing: settlement for billing, settlement in (one.subjects for one in known)}


def remember_gateway(zone: GatewayZone, period: str, member: Member, *, at: datetime) -> None:
    """Note the gateway's own pseudonym and facts of a year; again changes nothing."""
    (subject,) = member.subjects
    row = GatewayAgentRow(period=period, subject=subject, **_facts(member.facts), at=at)
    with write_session(zone.engine) as session:
        keep(session, row)


def recall_gateway(zone: GatewayZone, period: str) -> Member | None:
    """The gateway itself as it is registered for a year, or None."""
    with read_session(zone.engine) as session:
        row = find(session, GatewayAgentRow, period=period)
    return None if row is None else Member((row.subject,), row.facts)


def _facts(facts: Facts) -> dict[str, Any]:
    return facts.model_dump(include={"zone", "customer_class", "counted", "owner"})
