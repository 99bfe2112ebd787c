"""Tiles (c2sp.org/tlog-tiles): a log as static files, 256 hashes or entries each.

A tile of level L holds nodes of level 8·L of the tree. What is beyond the last full tile is in
partial ones, whose names say how wide they are. Tiles never change.

    tile/<L>/<N>[.p/<W>]            hashes
    tile/entries/<N>[.p/<W>]        entries, each after its length (two bytes, big-endian)
    <N>                             in groups of three digits, all but the last after an x
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gridsecure.errors import InvalidMessageError, NotFoundError
from gridsecure.transparency.tree import HASH_BYTES, Node

WIDTH: Final = 256
"""Hashes of a full tile."""

_HEIGHT: Final = 8
_MAX_LEVEL: Final = 63
_LENGTH_BYTES: Final = 2
_NUMBER: Final = r"(?P<number>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
_PATH: Final = re.compile(rf"(?P<level>entries|0|[1-9][0-9]?)/{_NUMBER}")

Level = int | Literal["entries"]


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of a log.

    Args:
        level: Of its hashes, from 0; or `entries`.
        number: Its place in the level, from 0.
        width: How many hashes or entries it has, 1 to 256.
    """

    level: Level
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its path behind `tile/`."""
        digits = f"{self.number:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"{self.level}/{number}{partial}"

    @property
    def nodes(self) -> list[Node]:
        """The nodes of the tree that it holds, or the leaves of its entries."""
        level = 0 if self.level == "entries" else _HEIGHT * self.level
        first = self.number * WIDTH
        return [Node(level, first + place) for place in range(self.width)]

    def is_in(self, size: int) -> bool:
        """Whether a tree of a size has all of it."""
        last = self.nodes[-1]
        return (last.number + 1) << last.level <= size


def read_path(path: str) -> Tile:
    """The tile that a path behind `tile/` names.

    Raises:
        NotFoundError: It names none (`not-found.tile`).
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise no_tile()
    level: Level = "entries" if match["level"] == "entries" else int(match["level"])
    tile = Tile(level, int(re.sub("[x/]", "", match["number"])), int(match["width"] or WIDTH))
    too_high = level != "entries" and level > _MAX_LEVEL
    too_wide = match["width"] is not None and tile.width >= WIDTH
    if too_high or too_wide or tile.path != path:
        raise no_tile()
    return tile


def leaf_tiles(first: int, size: int, *, level: Level) -> Iterator[Tile]:
    """The tiles of level 0, or of entries, with the leaves of a tree from the first one on.

    One by one: a size is only what a log says.
    """
    full, rest = divmod(size, WIDTH)
    for number in range(first // WIDTH, full):
        yield Tile(level, number)
    if rest:
        yield Tile(level, full, rest)


def join_entries(entries: Sequence[bytes]) -> bytes:
    """Entries as a tile holds them.

    Raises:
        ValueError: One is longer than 65535 bytes.
    """
    try:
        parts = [len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries]
    except OverflowError as error:
        raise ValueError("an entry has at most 65535 bytes") from error
    return b"".join(parts)


def split_entries(data: bytes) -> list[bytes]:
    """The entries of a tile.

    Raises:
        InvalidMessageError: It ends in the middle of one (`log.tile`).
    """
    entries = []
    while data:
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
        if len(data) < end or end < _LENGTH_BYTES:
            raise damaged_tile()
        entries.append(data[_LENGTH_BYTES:end])
        data = data[end:]
    return entries


def split_hashes(data: bytes) -> list[bytes]:
    """The hashes of a tile.

    Raises:
        InvalidMessageError: It ends in the middle of one (`log.tile`).
    """
    if len(data) % HASH_BYTES:
        raise damaged_tile()
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def damaged_tile() -> InvalidMessageError:
    """The refusal of a tile that is not what its name says."""
    return InvalidMessageError(
        "A tile of the log is damaged.",
        reason="log.tile",
        remedy="Fetch it again. If it stays, the log's service or what caches it is broken.",
    )


def no_tile() -> NotFoundError:
    """The refusal of a tile that the log does not have."""
    return NotFoundError(
        "The log has no such tile.",
        reason="not-found.tile",
        remedy="Ask for tiles of a checkpoint's size, as c2sp.org/tlog-tiles spells them.",
    )
