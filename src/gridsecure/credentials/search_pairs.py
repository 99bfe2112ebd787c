"""The encrypted differences of a search and their blindings: what desk and offices do alike."""

from __future__ import annotations

from collections.abc import Sequence

from gridsecure.credentials.curves import Point
from gridsecure.credentials.opening import Opener
from gridsecure.credentials.presentations import Escrow
from gridsecure.credentials.revocation import Difference, difference, verify_blinding
from gridsecure.credentials.suites import Suite
from gridsecure.errors import SignatureError


def compute_differences(key: str, escrows: Sequence[str], *, suite: Suite) -> list[Difference]:
    """The encrypted differences between escrowed keys and one enrolled key.

    Args:
        key: The enrolled key, in hexadecimal.
        escrows: The escrows, in hexadecimal.

    Raises:
        InvalidMessageError: Malformed points.
    """
    enrolled: Point = suite.group.decode(bytes.fromhex(key))
    return [
        difference(
            Escrow.from_bytes(bytes.fromhex(one), suite=suite), enrolled=enrolled, suite=suite
        )
        for one in escrows
    ]


def check_blindings(
    messages: Sequence[str], *, pairs: Sequence[Difference], opener: Opener, head: str, suite: Suite
) -> list[Difference]:
    """Check a list of one opener's blindings; return the blinded pairs.

    Args:
        messages: The blindings, in hexadecimal.
        pairs: What was blinded, in the same order.
        head: Hash of the log entry that holds the order.

    Raises:
        InvalidMessageError: Malformed.
        SignatureError: Another number of them, or a wrong one (`authenticity.blinding`).
    """
    if len(messages) != len(pairs):
        raise SignatureError(
            f"The {opener} blinded the wrong number of differences.", reason="authenticity.blinding"
        )
    return [
        verify_blinding(bytes_of(message), pair=pair, opener=opener, head=head, suite=suite)
        for message, pair in zip(messages, pairs, strict=True)
    ]


def bytes_of(text: str) -> bytes:
    """Hexadecimal of a message as bytes; empty, which no message is, where it is none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
