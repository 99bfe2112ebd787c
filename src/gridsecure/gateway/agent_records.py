"""Who is registered under which pseudonyms: what the gateway alone knows, one record a year each.

This is the link between meter points and pseudonyms. It is as private as the readings beside it,
and could be computed again from the seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, listed, record

_AGENT: Final = "agent"
_GATEWAY: Final = "gateway-agent"

Subjects = tuple[str, ...]
"""A holder's pseudonyms of one period, in the order of its domains."""


def remember(
    zone: GatewayZone, period: str, registered: Mapping[str, Subjects], *, at: datetime
) -> None:
    """Note that meter points are registered for a year; again changes nothing.

    Args:
        zone: The gateway.
        period: The year.
        registered: Meter point -> pseudonyms.
        at: Now.
    """
    with write_session(zone.engine) as session:
        for meter_point_id, subjects in registered.items():
            text, name = json.dumps(subjects), f"{period}/{meter_point_id}"
            entry = Record(_AGENT, name, name, sm3_hex(text.encode()), period, text)
            record(session, entry, at=at)


def remembered(zone: GatewayZone, period: str) -> dict[str, Subjects]:
    """Meter point -> its pseudonyms of a year: in the billing domain, and in that of settlement."""
    with write_session(zone.engine) as session:
        found = listed(session, kind=_AGENT, state=period)
    return {item.name.removeprefix(f"{period}/"): tuple(json.loads(item.text)) for item in found}


def settlement_names(zone: GatewayZone, start: str) -> dict[str, str]:
    """Pseudonym in the billing domain -> the same meter point's in the settlement domain.

    Args:
        zone: The gateway.
        start: Start of a billing period, ISO 8601.
    """
    known = remembered(zone, start[:4]).values()
    return {billing: settlement for billing, settlement in known}


def remember_gateway(zone: GatewayZone, period: str, subject: str, *, at: datetime) -> None:
    """Note the gateway's own pseudonym of a year; again changes nothing."""
    entry = Record(_GATEWAY, period, period, sm3_hex(subject.encode()), period, subject)
    with write_session(zone.engine) as session:
        record(session, entry, at=at)


def remembered_gateway(zone: GatewayZone, period: str) -> str | None:
    """The gateway's own pseudonym of a year, or None."""
    with write_session(zone.engine) as session:
        found = listed(session, kind=_GATEWAY, state=period)
    return found[0].text if found else None
