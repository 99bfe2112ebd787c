"""What the gateway's courier sends: what became of sources' batches, and events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from gridsecure.gateway.ingestion.notices import announce_done, deliver_due
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store.notices import Post
from gridsecure.store.receivers import Receivers
from gridsecure_api.courier import Round, event_round
from gridsecure_api.deps import Clock


def gateway_round(
    zone: GatewayZone,
    receivers: Receivers,
    *,
    count: Callable[[str], bool] = lambda _month: True,
) -> Round:
    """What the gateway's courier sends.

    Args:
        count: As `announce_done` takes it.
    """
    events = event_round(receivers)

    def send(post: Post, clock: Clock) -> list[datetime | None]:
        announce_done(zone, at=clock(), count=count)
        return [deliver_due(zone, post=post, now=clock()), *events(post, clock)]

    return send
