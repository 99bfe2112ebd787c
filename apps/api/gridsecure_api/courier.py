"""A service's courier: sends notices in a thread of its own, and sleeps in between.

The addresses come from the operator. A redirect is not followed and an answer's body is not read,
so that whoever stands behind an address can neither send the service elsewhere nor fill it. A
delivery has one deadline from the first packet to the end of the answer's headers, because a host
that answers byte by byte is never silent; all deliveries of a round to one address have another.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import httpx

from gridsecure.errors import GridSecureError
from gridsecure.store.notices import Post
from gridsecure.store.receivers import Receivers
from gridsecure.wire.connections import outside_roots
from gridsecure_api.deps import Clock

_log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
"""Longest that a delivery may take [s]."""
ROUND_S: Final = 30.0
"""Longest that an address may take before the rest of its deliveries is put off [s]."""
_LONGEST_SLEEP: Final = timedelta(minutes=1)


Round = Callable[[Post, Clock], Sequence[datetime | None]]
"""Makes notices of what happened and sends those that are due; when each kind is due next."""


class Courier:
    """Delivers what receivers are to be told.

    Args:
        send: Sends what is due.
        deadline_s: Longest that a delivery may take [s].
    """

    def __init__(self, send: Round, clock: Clock, *, deadline_s: float = TIMEOUT_S) -> None:
        self._send = send
        self._clock = clock
        self._deadline_s = deadline_s
        self._wanted = threading.Event()
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with what was not told before the last end."""
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look at once: something was announced."""
        self._wanted.set()

    def stop(self) -> None:
        """End after the attempt at hand."""
        self._is_stopped = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(2 * TIMEOUT_S)

    def _run(self) -> None:
        while not self._is_stopped:
            self._wanted.wait(self._look().total_seconds())
            self._wanted.clear()

    def _round(self) -> Post:
        """Sends the notices of one round, each within its deadline."""
        began: dict[str, float] = {}

        def post(address: str, body: bytes, headers: Mapping[str, str]) -> bool:
            now = time.monotonic()
            if self._is_stopped or now - began.setdefault(address, now) > ROUND_S:
                return False
            return asyncio.run(_post(address, body, headers, deadline_s=self._deadline_s))

        return post

    def _look(self) -> timedelta:
        """Send what is due; how long to sleep then."""
        try:
            due = [moment for moment in self._send(self._round(), self._clock) if moment]
        except GridSecureError as error:  # the database, for now
            _log.warning("notices wait: %s", error.reason)
            return _LONGEST_SLEEP
        except Exception as error:  # noqa: BLE001 - the thread's boundary: it looks again
            _log.error("notices wait: %s", type(error).__name__)
            return _LONGEST_SLEEP
        now = self._clock()
        return max(min([moment - now for moment in due] + [_LONGEST_SLEEP]), timedelta(0))


def event_round(receivers: Receivers) -> Round:
    """What a courier sends of events."""

    def send(post: Post, clock: Clock) -> list[datetime | None]:
        receivers.announce(at=clock())
        return [receivers.deliver(post=post, now=clock())]

    return send


async def _post(
    address: str, body: bytes, headers: Mapping[str, str], *, deadline_s: float
) -> bool:
    """Whether an address took a body within so many seconds, whatever it does meanwhile."""
    client = httpx.AsyncClient(verify=outside_roots(), follow_redirects=False, timeout=deadline_s)
    try:
        async with (
            asyncio.timeout(deadline_s),
            client,
            client.stream("POST", address, content=body, headers=headers) as answer,
        ):
            return answer.is_success
    # The last: no host's name.
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, UnicodeError):
        return False
