"""Padding to public sizes: how long what is sealed is says no more than which size holds it."""

from __future__ import annotations

from itertools import count
from typing import Final

LENGTH_BYTES: Final = 4
"""What a padded text has more than the text."""


def pad(text: bytes, *, size: int) -> bytes:
    """A text behind its length, filled up with zeros.

    Args:
        size: Of the whole [bytes]; at least the text's and `LENGTH_BYTES`.
    """
    if len(text) + LENGTH_BYTES > size:
        raise ValueError("the size holds the text")
    return (len(text).to_bytes(LENGTH_BYTES, "big") + text).ljust(size, b"\0")


def pad_by_fours(text: bytes, *, smallest: int, room: int = 0) -> bytes:
    """A text in the smallest size that holds it, each of which is four times the one before it.

    Args:
        smallest: The first size [bytes].
        room: How much longer another text could be that must not be told from it by its size.
    """
    sizes = (smallest * 4**n for n in count())
    return pad(text, size=next(size for size in sizes if len(text) + room + LENGTH_BYTES <= size))


def unpad(padded: bytes) -> bytes | None:
    """The text, if `pad` wrote it.

    >>> unpad(pad(b"text", size=16)), unpad(b"text")
    (b'text', None)
    """
    length = int.from_bytes(padded[:LENGTH_BYTES], "big")
    text, rest = padded[LENGTH_BYTES:][:length], padded[LENGTH_BYTES + length :]
    return text if len(text) == length and not rest.strip(b"\0") else None
