"""What the key authority tells receivers of: releases of bills, and of their corrections.

Releases to analysts are told to nobody: that there was one at this hour is the asker's own matter.
"""

from __future__ import annotations

from typing import Final

from gridsecure.key_authority.checker.tables import EventNoticeRow, ReceiverRow
from gridsecure.key_authority.checker.usage import GRANTED
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.plans.purposes import RESEARCH
from gridsecure.store.receivers import Event, Receivers

EVENTS: Final = (Event("release.done", GRANTED, subject="request", unless=("purpose", RESEARCH)),)


def receivers_of(zone: AuthorityZone) -> Receivers:
    """Who the key authority tells of events."""
    return Receivers(
        engine=zone.engine,
        receivers=ReceiverRow,
        notices=EventNoticeRow,
        events=EVENTS,
        zone="authority",
        key=zone.signing_key,
        actor="checker",
    )
