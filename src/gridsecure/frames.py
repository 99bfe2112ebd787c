"""Several byte strings in one HTTP body: each preceded by its length as four bytes, big-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from gridsecure.errors import InvalidMessageError

_LENGTH: Final = struct.Struct(">I")
FRAME_HEAD: Final = _LENGTH.size
"""What precedes a frame [bytes]."""

CONTENT_TYPE: Final = "application/vnd.gridsecure.frames"


def join_frames(frames: Iterable[bytes]) -> bytes:
    """Join frames into one body."""
    return b"".join(part for frame in frames for part in (_LENGTH.pack(len(frame)), frame))


def split_frames(body: bytes) -> list[bytes]:
    """Split a body into its frames.

    Raises:
        InvalidMessageError: The lengths do not add up to the body (`message.frames`).
    """
    frames, offset = [], 0
    while offset < len(body):
        start = offset + _LENGTH.size
        length = _LENGTH.unpack_from(body, offset)[0] if start <= len(body) else len(body)
        offset = start + length
        if offset > len(body):
            raise InvalidMessageError(
                "A framed body is cut short.",
                reason="message.frames",
                remedy="Send it again; the connection may have broken.",
            )
        frames.append(body[start:offset])
    return frames
