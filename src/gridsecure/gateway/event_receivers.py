"""What the gateway tells receivers of: months done or corrected, exceptions that opened."""

from __future__ import annotations

from typing import Final

from gridsecure.gateway.correction_plan import CORRECTION_DONE
from gridsecure.gateway.exceptions import EXCEPTIONS_OPENED
from gridsecure.gateway.month_plan import MONTH_DONE
from gridsecure.gateway.tables import EventNoticeRow, ReceiverRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store.receivers import Event, Receivers

EVENTS: Final = (
    Event("cycle.done", MONTH_DONE, subject="month"),
    Event("cycle.corrected", CORRECTION_DONE, subject="month"),
    Event("exception.opened", EXCEPTIONS_OPENED, subject="month", count="opened"),
)


def receivers_of(zone: GatewayZone) -> Receivers:
    """Who the gateway tells of events."""
    return Receivers(
        engine=zone.engine,
        receivers=ReceiverRow,
        notices=EventNoticeRow,
        events=EVENTS,
        zone="gateway",
        key=zone.signing_key,
        actor=zone.service_id,
    )
