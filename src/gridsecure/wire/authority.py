"""What the key authority answers; what it signs is in `messages`."""

from __future__ import annotations

from gridsecure.messages import Signed
from gridsecure.wire.services import Answer, Count


class KeySetListed(Answer):
    """A gateway's key set, its state, and the signed notice."""

    key_id: str
    gateway: str
    generation: int
    parameters: str
    created_at: str
    state: str
    notice: Signed


class RoundOutcome(Answer):
    """What a release round did with one waiting request, and how long that took [s].

    `state` is `released`, `refused` or `failed`; what failed is asked again in the next round.
    """

    request_id: str
    state: str
    reason: str | None
    release_id: str | None
    seconds: float


class ReleaseSummary(Answer):
    """A release as it is listed; `cells` have a value, `suppressed` have none."""

    release_id: str
    plan: str
    start: str
    end: str
    purpose: str
    released_at: str
    cells: Count
    suppressed: Count
