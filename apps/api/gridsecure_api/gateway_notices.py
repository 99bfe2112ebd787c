"""The gateway's courier: sends notices to sources in a thread of its own, and sleeps in between.

The addresses come from the operator. A redirect is not followed and an answer's body is not read,
so that whoever stands behind an address can neither send the gateway elsewhere nor fill it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

import httpx

from gridsecure.errors import GridSecureError
from gridsecure.gateway.ingestion.notices import announce_done, deliver_due
from gridsecure.gateway.zone import GatewayZone
from gridsecure.wire.connections import new_client
from gridsecure_api.deps import Clock

_log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
"""Longest that a source's address is waited for [s]."""
_LONGEST_SLEEP: Final = timedelta(minutes=1)


class Courier:
    """Delivers what sources are to be told.

    Args:
        connect: Opens the connection; closed at the end.
    """

    def __init__(
        self,
        zone: GatewayZone,
        clock: Clock,
        *,
        connect: Callable[[], httpx.Client] = lambda: new_client(timeout=TIMEOUT_S),
    ) -> None:
        self._zone = zone
        self._clock = clock
        self._connect = connect
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
        with self._connect() as http:
            while not self._is_stopped:
                self._wanted.wait(self._look(http).total_seconds())
                self._wanted.clear()

    def _look(self, http: httpx.Client) -> timedelta:
        """Send what is due; how long to sleep then."""

        def post(address: str, body: bytes, headers: Mapping[str, str]) -> bool:
            try:
                with http.stream("POST", address, content=body, headers=headers) as answer:
                    return answer.is_success
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError):  # the last: no host's name
                return False

        try:
            announce_done(self._zone, at=self._clock())
            due = deliver_due(self._zone, post=post, now=self._clock())
        except GridSecureError as error:  # the database, for now
            _log.warning("notices wait: %s", error.reason)
            return _LONGEST_SLEEP
        except Exception as error:  # noqa: BLE001 - the thread's boundary: it looks again
            _log.error("notices wait: %s", type(error).__name__)
            return _LONGEST_SLEEP
        now = self._clock()
        return _LONGEST_SLEEP if due is None else min(max(due - now, timedelta(0)), _LONGEST_SLEEP)
