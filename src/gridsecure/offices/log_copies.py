"""A witness's own copy of a log, in a folder: its tiles as the log serves them, and what was seen.

    seen.json           size and full subtrees of the tree, with the signed checkpoint
    tile/0/…            hashes of the leaves
    tile/entries/…      entries, as the log publishes them
    alarms/…            signed checkpoints that do not fit to what was seen

Tiles are written first and `seen.json` last, whole or not at all: a run that is killed is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from gridsecure.errors import InputError, StorageError
from gridsecure.messages import Digest, Message
from gridsecure.transparency.checkpoints import Checkpoint
from gridsecure.transparency.tiles import Tile, leaf_tiles, split_hashes
from gridsecure.transparency.tree import Frontier, frontier_nodes
from gridsecure.whole_files import replace_file

Tiles = Sequence[tuple[Tile, bytes]]
"""Tiles with their content."""

_SEEN: Final = "seen.json"
_MODE: Final = 0o644


class Seen(Message):
    """What a witness saw of a log the last time.

    Args:
        origin: The log's name.
        size: Its entries.
        hashes: Of the tree's full subtrees.
        checkpoint: As the log signed it.
    """

    origin: str
    size: int = Field(ge=0)
    hashes: list[Digest] = Field(max_length=64)
    checkpoint: str


class LogCopy:
    """The copy in a folder; an empty one saw nothing.

    Args:
        folder: Made when something is kept.

    Raises:
        InputError: What is there is no copy of a log (`witness.copy`).
        StorageError: It cannot be read (`witness.folder`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin, self.tree, self.checkpoint = "", Frontier(), b""
        text = self._read(folder / _SEEN)
        if text is None:
            return
        try:
            seen = Seen.model_validate_json(text)
        except ValidationError as error:
            raise _no_copy() from error
        if len(seen.hashes) != len(frontier_nodes(seen.size)):
            raise _no_copy()
        self.origin, self.checkpoint = seen.origin, seen.checkpoint.encode()
        self.tree = Frontier(seen.size, tuple(map(bytes.fromhex, seen.hashes)))

    def leaves(self, size: int) -> list[bytes]:
        """Hashes of the first leaves that were seen.

        Raises:
            InputError: A tile is missing or damaged (`witness.copy`).
        """
        leaves: list[bytes] = []
        for tile in leaf_tiles(0, self.tree.size, level=0):
            if len(leaves) < size:
                leaves += split_hashes(self._read(self._path(tile)) or b"")
        if len(leaves) < size:
            raise _no_copy()
        return leaves[:size]

    def leaves_of_last_tile(self) -> list[bytes]:
        """Hashes of the leaves in the partial tile at the end of what was seen."""
        full, rest = divmod(self.tree.size, 256)
        return split_hashes(self._read(self._path(Tile(0, full, rest))) or b"") if rest else []

    def keep(
        self,
        tree: Frontier,
        checkpoint: tuple[Checkpoint, bytes],
        tiles: Tiles,
    ) -> None:
        """Keep what was seen now, once it was verified.

        Args:
            checkpoint: As read, and as signed.
            tiles: Those that are new, with their content.

        Raises:
            StorageError: The disk refuses (`witness.folder`); the copy is as it was.
        """
        read, signed = checkpoint
        seen = Seen(
            origin=read.origin,
            size=tree.size,
            hashes=[one.hex() for one in tree.hashes],
            checkpoint=signed.decode(),
        )
        for tile, content in tiles:
            self._write(self._path(tile), content)
        self._write(self.folder / _SEEN, seen.model_dump_json(indent=1).encode() + b"\n")
        self.origin, self.tree, self.checkpoint = read.origin, tree, signed

    def keep_alarm(self, checkpoint: Checkpoint, signed: bytes) -> Path:
        """Keep a signed checkpoint that does not fit: with the copy's own it is the proof.

        Returns:
            Where it is.
        """
        name = f"{checkpoint.size}-{checkpoint.root[:8].hex()}"
        path = self.folder / "alarms" / name
        self._write(path, signed)
        return path

    def _path(self, tile: Tile) -> Path:
        return self.folder / "tile" / tile.path

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes() if path.exists() else None
        except OSError as error:
            raise _refused(error) from error

    def _write(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, [content], mode=_MODE)
        except OSError as error:
            raise _refused(error) from error


def _no_copy() -> InputError:
    return InputError(
        "The folder does not hold a whole copy of a log.",
        reason="witness.copy",
        remedy="Restore it from your own backup. A new copy remembers nothing.",
    )


def _refused(error: OSError) -> StorageError:
    return StorageError(
        "The folder of the copy cannot be used.",
        reason="witness.folder",
        remedy=f"Check its path, space and permissions ({error.strerror}).",
    )
