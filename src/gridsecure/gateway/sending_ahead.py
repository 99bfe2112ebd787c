"""Sends rosters that are signed while later ones are still encrypted.

Encryption keeps the gateway busy, and receiving keeps the platform busy, so one after the other
leaves half of the machines idle. Sending ahead decides nothing: what it could not send, for
whatever reason, the upload that follows sends again, and that answers for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue

from gridsecure.errors import GridSecureError
from gridsecure.gateway.outbox import COMMITTED, Outgoing

Deliver = Callable[[Outgoing], int]
"""Sends one roster's month until it is committed; gives the bytes sent."""


@dataclass(slots=True, eq=False)
class SendingAhead:
    """One thread that delivers what is added, in order, until something cannot be delivered.

    Args:
        deliver: Sends one roster's month.
    """

    deliver: Deliver
    _waiting: SimpleQueue[Outgoing | None] = field(default_factory=SimpleQueue)
    _thread: threading.Thread | None = None
    _is_stopped: bool = False
    _sent_bytes: int = 0
    _failure: BaseException | None = None

    def add(self, item: Outgoing) -> None:
        """Have one more roster's month delivered, where it is not committed already."""
        if item.state == COMMITTED:
            return
        if self._thread is None:
            # A daemon: ending the service ends it anywhere, which a month survives.
            self._thread = threading.Thread(target=self._run, name="sending ahead", daemon=True)
            self._thread.start()
        self._waiting.put(item)

    def finish(self) -> int:
        """Wait until everything that was added is delivered, or something could not be.

        Returns:
            Bytes sent since this was last asked.

        Raises:
            BaseException: Whatever ended the thread that is no error of ours.
        """
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        sent_bytes, self._sent_bytes = self._sent_bytes, 0
        return sent_bytes

    def stop(self) -> None:
        """Wait for the delivery under way, and leave the others."""
        self._is_stopped = True
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while (item := self._waiting.get()) is not None and not self._is_stopped:
                self._sent_bytes += self.deliver(item)
        except GridSecureError:
            return  # the upload that follows meets it again, and says so
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for this thread
            self._failure = error
