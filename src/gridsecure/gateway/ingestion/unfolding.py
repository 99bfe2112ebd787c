"""The text of a body without the compression that its first bytes name, within a bound."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MOST_TEXT: Final = 4 << 30
_FREE_TEXT: Final = 64 << 20
_EXPANSION: Final = 100
_BLOCK: Final = 1 << 20


class UnfoldedBody:
    """A body's text as it is read, once and in order."""

    def __init__(self, body: SpooledBody) -> None:
        """Begin at its first byte.

        Args:
            body: A finished one.
        """
        file = body.open()
        first = file.read(4)
        file.seek(0)
        self.is_compressed = first[:2] == _GZIP or first == _ZSTD
        if self.is_compressed:
            kind = "gzip" if first[:2] == _GZIP else "zstd"
            file = pa.CompressedInputStream(file, kind)
        self._file = file
        self._left = bound_of(body.size) if self.is_compressed else _MOST_TEXT

    def read(self, size: int) -> bytes:
        """The next so many bytes, or what is left of them.

        Raises:
            InvalidReadingsError: It is damaged (`readings.malformed`) or unfolds too far
                (`readings.expansion`).
        """
        parts: list[bytes] = []
        wanted = size
        try:
            while wanted and (block := self._file.read(min(wanted, _BLOCK))):
                parts.append(block)
                wanted -= len(block)
                self._left -= len(block)
                if self._left < 0:
                    raise unfolds_too_far()
        except OSError as error:
            raise InvalidReadingsError(
                "The compressed body is damaged or cut off.",
                reason="readings.malformed",
                remedy="Compress or transfer it again.",
            ) from error
        return b"".join(parts)


def bound_of(size: int) -> int:
    """What a compressed body of a size may unfold to [bytes]."""
    return min(_MOST_TEXT, max(_FREE_TEXT, _EXPANSION * size))


def unfolds_too_far() -> InvalidReadingsError:
    """A body that unfolds like no meter data (`readings.expansion`)."""
    return InvalidReadingsError(
        f"The body unfolds like no meter data, or to more than {_MOST_TEXT >> 30} GiB of text.",
        reason="readings.expansion",
        remedy="Send it in several batches, or without compression.",
    )
