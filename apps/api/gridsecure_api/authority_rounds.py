"""One request of a release round: answered, and the platform told.

Whatever is wrong with a request, or with telling the platform, does not keep the others waiting.
"""

from __future__ import annotations

import time
from dataclasses import replace

from gridsecure.errors import AuthenticityError, GridSecureError, InvalidMessageError
from gridsecure.key_authority.checker.answering import (
    FAILED,
    REFUSED,
    RELEASED,
    Outcome,
    answer_request,
)
from gridsecure.key_authority.checker.pull import PlatformPull
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import Signed
from gridsecure.wire.authority import RoundOutcome
from gridsecure_api.deps import Clock


def answer_one(
    zone: AuthorityZone, envelope: Signed, *, pull: PlatformPull, clock: Clock
) -> RoundOutcome:
    """Answer one request and say how, and how long that took [s].

    A request that is not the platform's own is refused under its digest, because nothing else of it
    is believed; the platform is told nothing, and it stays in the queue for somebody to look at.

    Args:
        zone: The authority.
        envelope: The request as pulled.
        pull: The platform.
        clock: Tells the time.

    Raises:
        StorageError: The ledger or evidence log cannot be written.
    """
    started = time.monotonic()
    try:
        outcome = answer_request(zone, envelope, view=pull, clock=clock)
    except (AuthenticityError, InvalidMessageError) as error:
        outcome = Outcome(envelope.digest, REFUSED, error.reason)
    else:
        outcome = _told(pull, outcome)
    return RoundOutcome(
        request_id=outcome.request_id,
        state=outcome.state,
        reason=outcome.reason,
        release_id=outcome.request_id if outcome.state == RELEASED else outcome.earlier,
        seconds=round(time.monotonic() - started, 3),
    )


def _told(pull: PlatformPull, outcome: Outcome) -> Outcome:
    """Tell the platform; if that fails the answer stands, and the next round tells it again."""
    if outcome.state == FAILED:
        return outcome
    try:
        pull.answered(outcome.request_id, outcome.state)
    except GridSecureError as error:
        return replace(outcome, reason=outcome.reason or error.reason)
    return outcome
