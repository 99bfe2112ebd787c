"""Passwords as they are kept, and how often a name may be tried.

A record is `pbkdf2-hmac-sm3$iterations$salt$digest`, salt and digest in hexadecimal: PBKDF2 of RFC
8018 with HMAC-SM3 (GM/T 0091-2020). OWASP's Password Storage Cheat Sheet asks 600,000 iterations of
PBKDF2-HMAC-SHA256, whose compression function costs about what SM3's does; fewer are refused.

Only for the local demonstration: a deployment signs people in with its own identity provider.
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from gridsecure.crypto.sm3 import DIGEST_BYTES, PBKDF2_ITERATIONS, pbkdf2_hmac_sm3
from gridsecure.errors import AuthenticityError, InputError

SCHEME: Final = "pbkdf2-hmac-sm3"
SALT_BYTES: Final = 16
MAX_ITERATIONS: Final = 100 * PBKDF2_ITERATIONS
_RECORD: Final = re.compile(
    rf"{SCHEME}\$(?P<iterations>[1-9][0-9]{{5,7}})\$(?P<salt>[0-9a-f]{{32}})"
    r"\$(?P<digest>[0-9a-f]{64})"
)

ALLOWED_FAILURES: Final = 5
FAILURE_WINDOW: Final = timedelta(minutes=5)
MAX_NAMES: Final = 4096
"""Names whose failures are remembered; beyond, the one tried longest ago is forgotten."""


def password_record(password: str) -> str:
    """The record of a new password, under a fresh salt. Takes a fair part of a second.

    Raises:
        InputError: An empty password (`identity.password`).
    """
    if not password:
        raise InputError("The password is empty.", reason="identity.password")
    salt = secrets.token_bytes(SALT_BYTES)
    digest = _stretched(password, salt=salt, iterations=PBKDF2_ITERATIONS)
    return f"{SCHEME}${PBKDF2_ITERATIONS}${salt.hex()}${digest.hex()}"


def decoy_record() -> str:
    """A record no password is known for, so that unknown names cost as long as known ones."""
    salt, digest = secrets.token_hex(SALT_BYTES), secrets.token_hex(DIGEST_BYTES)
    return f"{SCHEME}${PBKDF2_ITERATIONS}${salt}${digest}"


def check_record(record: str) -> str:
    """Return a record that is well-formed and strong enough.

    Raises:
        InputError: It is not (`identity.password-record`).
    """
    match = _RECORD.fullmatch(record)
    if match is None or not PBKDF2_ITERATIONS <= int(match["iterations"]) <= MAX_ITERATIONS:
        raise InputError(
            f"A password record is not {SCHEME} with {PBKDF2_ITERATIONS:,} iterations or more.",
            reason="identity.password-record",
            remedy="Make it anew from the password.",
        )
    return record


def password_matches(password: str, *, record: str) -> bool:
    """Say whether a password is the one of a record; takes as long either way.

    Raises:
        InputError: A malformed record (`identity.password-record`).
    """
    _, iterations, salt, digest = check_record(record).split("$")
    tried = _stretched(password, salt=bytes.fromhex(salt), iterations=int(iterations))
    return hmac.compare_digest(tried, bytes.fromhex(digest))


class FailedAttempts:
    """Counts failed attempts by name, known or not, in memory.

    After `ALLOWED_FAILURES` within `FAILURE_WINDOW` a name is refused unheard. Whoever knows a name
    can thereby lock it for minutes; that is the price of a counter without network addresses.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, list[datetime]] = OrderedDict()

    def claim(self, name: str, *, now: datetime) -> None:
        """Count an attempt as failed before it is heard, so that parallel ones count too.

        Raises:
            AuthenticityError: Too many failures (`authenticity.too-many-attempts`).
        """
        with self._lock:
            recent = [at for at in self._failures.get(name, []) if now - at < FAILURE_WINDOW]
            if len(recent) >= ALLOWED_FAILURES:
                raise AuthenticityError(
                    "Too many failed attempts.", reason="authenticity.too-many-attempts"
                )
            self._failures[name] = [*recent, now]
            self._failures.move_to_end(name)
            while len(self._failures) > MAX_NAMES:
                self._failures.popitem(last=False)

    def forgive(self, name: str) -> None:
        """Forget the failures of a name after a success."""
        with self._lock:
            self._failures.pop(name, None)


def _stretched(password: str, *, salt: bytes, iterations: int) -> bytes:
    return pbkdf2_hmac_sm3(password.encode(), salt=salt, iterations=iterations, length=DIGEST_BYTES)
