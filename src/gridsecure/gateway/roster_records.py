"""Rosters as the gateway signed them, each once; their seats are among the zone's objects.

A roster's id is a digest of what its members agreed to, so one may serve for many months.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from gridsecure.errors import NotFoundError
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import RosterManifest, Signed
from gridsecure.store.database import read_session, write_session
from gridsecure.store.records import Record, fetch, record

_ROSTER: Final = "roster"


def keep_roster(zone: GatewayZone, roster: Signed, *, at: datetime) -> None:
    """Keep a signed roster, whose seats are among the zone's objects.

    Raises:
        ConflictError: Another one of its id was kept (`conflict.roster`).
    """
    name = RosterManifest.parsed(roster.body).roster_id
    with write_session(zone.engine) as session:
        entry = Record(_ROSTER, name, name, roster.digest, "", roster.model_dump_json())
        record(session, entry, at=at)


def kept_roster(zone: GatewayZone, roster_id: str) -> Signed | None:
    """A roster as it was signed, or None."""
    try:
        return required_roster(zone, roster_id)
    except NotFoundError:
        return None


def required_roster(zone: GatewayZone, roster_id: str) -> Signed:
    """A roster as it was signed.

    Raises:
        NotFoundError: None of this id was (`not-found.roster`).
    """
    with read_session(zone.engine) as session:
        return Signed.parsed(fetch(session, kind=_ROSTER, name=roster_id).text)
