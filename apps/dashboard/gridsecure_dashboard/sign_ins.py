"""Sign-ins that outlive a reload: tokens stay here, the browser holds a random name for them.

1. Who signed in gets an entry here, and the page a ticket, good once and for a minute.
2. The page posts its ticket; the answer sets the cookie. Only then is the handle drawn, so a cookie
   that somebody planted in the browser before never names a sign-in.
3. A reload, or another tab, sends the cookie with its connection and finds the entry.
4. Signing out drops the entry, and with it every tab that used it.

Invariants: handle and ticket are 256 random bits and in no address; of the handle only a digest is
kept, the ticket is forgotten once used. The cookie is not readable by scripts and not sent by other
sites. An entry ends with its session, whose tokens are in no other place and on no disk.

Not here: several processes. Each has its own entries, as Streamlit keeps a page's state in one.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from gridsecure.wire.sessions import Session

TICKET_SECONDS: Final = 60


@dataclass(slots=True)
class _Entry:
    session: Session
    ticket: str = field(repr=False)
    ticket_until: datetime
    handle_digest: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Handle:
    """What the browser's cookie holds, and until when."""

    text: str = field(repr=False)
    until: datetime


class SignIns:
    """The sign-ins of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def keep(self, session: Session, *, at: datetime) -> str:
        """Keep a session; return the name of its entry, which opens nothing by itself."""
        name = secrets.token_hex(16)
        until = at + timedelta(seconds=TICKET_SECONDS)
        with self._lock:
            self._drop_ended(at)
            self._entries[name] = _Entry(session, secrets.token_urlsafe(32), until)
        return name

    def session(self, name: str, *, at: datetime) -> Session | None:
        """The session of an entry, unless it ended."""
        with self._lock:
            self._drop_ended(at)
            entry = self._entries.get(name)
            return None if entry is None else entry.session

    def ticket(self, name: str, *, at: datetime) -> str | None:
        """The ticket that the page still has to post, or None."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or not entry.ticket or at >= entry.ticket_until:
                return None
            return entry.ticket

    def redeem(self, ticket: str, *, at: datetime) -> Handle | None:
        """Exchange a ticket for the handle of its entry; None if it is not good, or was used."""
        with self._lock:
            self._drop_ended(at)
            for entry in self._entries.values():
                good = entry.ticket and at < entry.ticket_until
                if good and secrets.compare_digest(_digest(entry.ticket), _digest(ticket)):
                    handle = secrets.token_urlsafe(32)
                    entry.ticket, entry.handle_digest = "", _digest(handle)
                    return Handle(handle, entry.session.expires_at)
        return None

    def find(self, handle: str, *, at: datetime) -> str | None:
        """The name of the entry that a browser's handle opens, or None."""
        digest = _digest(handle)
        with self._lock:
            self._drop_ended(at)
            for name, entry in self._entries.items():
                if entry.handle_digest and secrets.compare_digest(entry.handle_digest, digest):
                    return name
        return None

    def language(self, name: str) -> str:
        """The language that was read in last; empty if none was noted."""
        with self._lock:
            entry = self._entries.get(name)
            return "" if entry is None else entry.language

    def note_language(self, name: str, *, language: str) -> None:
        """Note what the pages of a sign-in are read in, for its next reload or tab."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is not None:
                entry.language = language

    def end(self, name: str) -> None:
        """Forget an entry; every tab that uses it is signed out."""
        with self._lock:
            self._entries.pop(name, None)

    def _drop_ended(self, at: datetime) -> None:
        ended = [name for name, kept in self._entries.items() if not kept.session.is_valid(at=at)]
        for name in ended:
            del self._entries[name]


SIGN_INS: Final = SignIns()
# Streamlit runs a page as a script, in threads of one process: they all see this one.


def cookie_name(authority_key: str) -> str:
    """The cookie's name; the ports of a host share cookies, so each system has its own."""
    return f"gridsecure_{_digest(authority_key)[:12]}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
