"""Passwords as they are kept.

A record is `pbkdf2-hmac-sm3$iterations$salt$digest`, salt and digest in hexadecimal: PBKDF2 of RFC
8018 with HMAC-SM3 (GM/T 0091-2020). OWASP's Password Storage Cheat Sheet asks 600,000 iterations of
PBKDF2-HMAC-SHA256, whose compression function costs about what SM3's does; fewer are refused.

Only for the local demonstration: a deployment signs people in with its own identity provider.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Final

from gridsecure.crypto.sm3 import DIGEST_BYTES, PBKDF2_ITERATIONS, pbkdf2_hmac_sm3
from gridsecure.errors import InputError

SCHEME: Final = "pbkdf2-hmac-sm3"
SALT_BYTES: Final = 16
MAX_ITERATIONS: Final = 100 * PBKDF2_ITERATIONS
_RECORD: Final = re.compile(
    rf"{SCHEME}\$(?P<iterations>[1-9][0-9]{{5,7}})\$(?P<salt>[0-9a-f]{{32}})"
    r"\$(?P<digest>[0-9a-f]{64})"
)


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


def _stretched(password: str, *, salt: bytes, iterations: int) -> bytes:
    return pbkdf2_hmac_sm3(password.encode(), salt=salt, iterations=iterations, length=DIGEST_BYTES)
