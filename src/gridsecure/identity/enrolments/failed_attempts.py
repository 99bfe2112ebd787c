"""How often a password may be tried: by whom it is tried, so that a stranger locks out nobody.

Failures are counted in memory, for names that are known and for those that are not:

1. of one name from one address: whoever guesses there is refused unheard for minutes, and the
   person, who is elsewhere, is not;
2. of one address, whatever the names: who tries one password on all names;
3. of one name from addresses that it never signed in from: guesses from everywhere. Addresses that
   it signed in from before are heard in any case, up to the first limit.

Who shares an address with a stranger, as behind one router, shares the first limit.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, TypeVar

from gridsecure.errors import GridSecureError
from gridsecure.loopback import source_of
from gridsecure.wire.problems import ATTEMPTS

ALLOWED_FAILURES: Final = 5
"""Of one name from one address."""
ALLOWED_OF_ADDRESS: Final = 20
ALLOWED_OF_NAME: Final = 50
"""From all addresses that the name never signed in from."""
FAILURE_WINDOW: Final = timedelta(minutes=5)
MAX_NAMES: Final = 8192
"""Counters that are remembered; beyond, the one that rose longest ago is forgotten."""

_Counter = tuple[str, str]
KeptT = TypeVar("KeptT")


class FailedAttempts:
    """The counters. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: OrderedDict[_Counter, list[datetime]] = OrderedDict()
        self._welcome: OrderedDict[_Counter, None] = OrderedDict()

    @contextmanager
    def attempt(self, name: str, *, address: str, now: datetime) -> Iterator[None]:
        """Count an attempt as failed before it is heard, so that parallel ones count too.

        It is counted no more when the block ends without an error, which is a success, and when
        the attempt was never heard because too many waited.

        Args:
            address: Where it comes from.

        Raises:
            GridSecureError: Too many failures (`sign-in.attempts`).
        """
        source = source_of(address)
        counters = self._claim(name, source, now)
        try:
            yield
        except GridSecureError as error:
            if error.reason.startswith("service."):
                self._uncount(counters, now)
            raise
        self._uncount(counters, now)
        with self._lock:
            self._failures.pop((name, source), None)
            _remember(self._welcome, (name, source), None)

    def _claim(self, name: str, source: str, now: datetime) -> list[_Counter]:
        with self._lock:
            allowed: dict[_Counter, int] = {
                (name, source): ALLOWED_FAILURES,
                ("", source): ALLOWED_OF_ADDRESS,
            }
            if (name, source) not in self._welcome:
                allowed[name, ""] = ALLOWED_OF_NAME
            recent = {one: self._recent(one, now) for one in allowed}
            if any(len(recent[one]) >= most for one, most in allowed.items()):
                raise _refused()
            for one, moments in recent.items():
                _remember(self._failures, one, [*moments, now])
            return list(allowed)

    def _recent(self, counter: _Counter, now: datetime) -> list[datetime]:
        return [at for at in self._failures.get(counter, []) if now - at < FAILURE_WINDOW]

    def _uncount(self, counters: list[_Counter], at: datetime) -> None:
        with self._lock:
            for one in counters:
                if at in self._failures.get(one, []):
                    self._failures[one].remove(at)
                    if not self._failures[one]:  # empty ones would push out others'
                        del self._failures[one]


def _remember(kept: OrderedDict[_Counter, KeptT], one: _Counter, what: KeptT) -> None:
    kept[one] = what
    kept.move_to_end(one)
    while len(kept) > MAX_NAMES:
        kept.popitem(last=False)


def _refused() -> GridSecureError:
    return GridSecureError(
        "Too many sign-ins failed.",
        reason=ATTEMPTS,
        remedy="Wait five minutes, then try once more.",
    )
