"""Rosters as the gateway signed them, each once; their seats are among the zone's objects.

A roster's id is a digest of what its members agreed to, so one may serve for many months.
"""

from __future__ import annotations

from datetime import datetime

from gridsecure.errors import NotFoundError
from gridsecure.gateway.tables import RosterRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import RosterManifest, Signed
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import keep, load_row


def keep_roster(zone: GatewayZone, roster: Signed, *, at: datetime) -> None:
    """Keep a signed roster, whose seats are among the zone's objects.

    Raises:
        ConflictError: Another one of its id was kept (`conflict.roster`).
    """
    name = RosterManifest.parse(roster.body).roster_id
    row = RosterRow(roster_id=name, digest=roster.digest, message=roster.model_dump_json(), at=at)
    with write_session(zone.engine) as session:
        keep(session, row)


def find_roster(zone: GatewayZone, roster_id: str) -> Signed | None:
    """A roster as it was signed, or None."""
    try:
        return load_roster(zone, roster_id)
    except NotFoundError:
        return None


def load_roster(zone: GatewayZone, roster_id: str) -> Signed:
    """A roster as it was signed.

    Raises:
        NotFoundError: None of this id was (`not-found.roster`).
    """
    with read_session(zone.engine) as session:
        return load_row(session, RosterRow, roster_id=roster_id).envelope
