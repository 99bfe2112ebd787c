"""Static pseudonyms: the names under which meter points appear in one domain.

    pseudonym = first 128 bits of HMAC-SM3(key, len(domain) ‖ domain ‖ len(meter point) ‖ …)

The key is what makes it a pseudonym: a bare hash of a twelve-digit meter number is inverted by
trying all numbers. Each part follows its length in four bytes, so no two pairs of domain and meter
point share an input, and different domains give names that nobody without the key can link.

This is the stub of the identity authority, and it says so wherever it answers: whoever holds the
key can name every meter point in every domain. Anonymous credentials replace it without changing
what the gateway asks or the platform sees.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from gridsecure.crypto.sm3 import hmac_sm3
from gridsecure.errors import InputError

KEY_BYTES: Final = 32
"""Length of the identity authority's pseudonym key [bytes]."""

PSEUDONYM_DIGITS: Final = 32
"""128 bits: among 1e9 meter points, two of one domain collide with probability 1.5e-21."""

MAX_TEXT_BYTES: Final = 256
_LENGTH: Final = struct.Struct(">I")


def pseudonym(meter_point_id: str, *, domain: str, key: bytes) -> str:
    """The pseudonym of one meter point in one domain.

    Args:
        meter_point_id: The meter point.
        domain: Where the name is used, e.g. "platform/billing".
        key: The identity authority's key [32 bytes].

    Returns:
        32 lower-case hexadecimal digits.

    Raises:
        InputError: A blank or overlong domain or meter point (`identity.name`).
        ValueError: A key of another length.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a pseudonym key has {KEY_BYTES} bytes")
    return hmac_sm3(key, _framed(domain) + _framed(meter_point_id)).hex()[:PSEUDONYM_DIGITS]


def pseudonyms(meter_point_ids: Iterable[str], *, domain: str, key: bytes) -> list[str]:
    """The pseudonyms of many meter points, in their order.

    Args:
        meter_point_ids: The meter points.
        domain: Where the names are used.
        key: The identity authority's key [32 bytes].

    Raises:
        InputError: As `pseudonym`.
    """
    return [pseudonym(name, domain=domain, key=key) for name in meter_point_ids]


def _framed(text: str) -> bytes:
    data = text.encode()
    if not text.strip() or len(data) > MAX_TEXT_BYTES:
        raise InputError(
            f"A domain or meter point is blank or longer than {MAX_TEXT_BYTES} bytes.",
            reason="identity.name",
            remedy="Send the domain and the meter points' own identifiers.",
        )
    return _LENGTH.pack(len(data)) + data
