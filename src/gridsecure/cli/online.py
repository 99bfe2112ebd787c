"""What a command that talks to services begins with: the present, a connection, who signs in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx

from gridsecure.identity_messages import Audience
from gridsecure.offices import officers
from gridsecure.offices.files import officer_key
from gridsecure.wire.connections import new_client, unlinked_client

TIMEOUT: Final = 120.0
"""A batch of a search takes the service a while to check [s]."""


def utc_now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)


def open_connection() -> httpx.Client:
    """A new connection; one says a name or none, never both."""
    return new_client(timeout=TIMEOUT)


def open_unlinked() -> httpx.Client:
    """What anonymous requests go over: each has a connection of its own."""
    return unlinked_client(timeout=TIMEOUT)


@contextmanager
def person(
    identity: str, *, key: Path, services: Mapping[Audience, str]
) -> Iterator[officers.Call]:
    """Somebody of whatever role, signed in with the key in a file until the block ends.

    Raises:
        GridSecureError: The key cannot be used, or as `sign_in_person`.
    """
    own = officer_key(key)
    with open_connection() as http:
        yield officers.sign_in_person(http, identity, key=own, services=services, now=utc_now())


@contextmanager
def officer(identity: str, *, key: Path, platform: str = "") -> Iterator[officers.Office]:
    """An officer, signed in with the key in a file until the block ends.

    Raises:
        GridSecureError: The key cannot be used, or as `sign_in_officer`.
    """
    own, services = officer_key(key), officers.Services(identity, platform)
    with open_connection() as http:
        yield officers.sign_in_officer(http, services, key=own, now=utc_now())
