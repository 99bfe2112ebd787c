"""A witness's own copy of a log, in a folder: its tiles as the log serves them, and what was seen.

    seen.json           size and full subtrees of the tree, with the signed checkpoint
    tile/0/…            hashes of the leaves
    tile/entries/…      entries, as the log publishes them
    unproved/…          signed checkpoints whose tiles were not all seen yet
    alarms/…            signed checkpoints that do not fit to what was seen

Tiles are written first and `seen.json` last, whole or not at all: a run that is killed is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from gridsecure.errors import InputError, InvalidMessageError, StorageError
from gridsecure.messages import Digest, Message
from gridsecure.transparency.checkpoints import Checkpoint, read_checkpoint
from gridsecure.transparency.tiles import WIDTH, Tile, leaf_tiles, split_hashes
from gridsecure.transparency.tree import Frontier, frontier_nodes
from gridsecure.whole_files import replace_file

Tiles = Sequence[tuple[Tile, bytes]]
"""Tiles with their content."""

_SEEN: Final = "seen.json"
_MODE: Final = 0o644
_NAME: Final = re.compile(r"[0-9]+-[0-9a-f]{16}")


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
        signed = _read_own(self.checkpoint)
        if (signed.size, signed.root) != (self.tree.size, self.tree.root):
            raise _no_copy()

    def leaves(self, size: int) -> list[bytes]:
        """Hashes of the first leaves that were seen.

        Raises:
            InputError: A tile is missing or damaged, whichever (`witness.copy`).
        """
        leaves = [
            leaf
            for tile in leaf_tiles(0, self.tree.size, level=0)
            for leaf in self._leaves_of(tile)
        ]
        if Frontier().grow(leaves) != self.tree:
            raise _no_copy()
        return leaves[:size]

    def leaves_of_last_tile(self) -> list[bytes]:
        """Hashes of the leaves in the partial tile at the end of what was seen.

        Raises:
            InputError: The tile is damaged (`witness.copy`).
        """
        full, rest = divmod(self.tree.size, WIDTH)
        return self._leaves_of(Tile(0, full, rest)) if rest else []

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
        path = self.folder / "alarms" / _name(checkpoint)
        self._write(path, signed)
        return path

    def keep_unproved(self, checkpoint: Checkpoint, signed: bytes) -> None:
        """Keep a signed checkpoint before its tiles were seen.

        Raises:
            StorageError: The disk refuses (`witness.folder`).
        """
        self._write(self._unproved / _name(checkpoint), signed)

    def unproved(self) -> list[tuple[Checkpoint, bytes]]:
        """Checkpoints whose tiles were not all seen, as read and as signed.

        Raises:
            InputError: One is damaged (`witness.copy`).
        """
        names = sorted(path.name for path in self._unproved.glob("*"))
        kept = [self._read(self._unproved / name) for name in names if _NAME.fullmatch(name)]
        return [(_read_own(signed), signed) for signed in kept if signed is not None]

    def has_alarms(self) -> bool:
        """Whether anything was seen that does not fit, or that was not seen whole yet."""
        return any((self.folder / "alarms").glob("*")) or bool(self.unproved())

    def drop_unproved(self, checkpoint: Checkpoint) -> None:
        """Forget a checkpoint that is proved now.

        Raises:
            StorageError: The disk refuses (`witness.folder`).
        """
        try:
            (self._unproved / _name(checkpoint)).unlink(missing_ok=True)
        except OSError as error:
            raise _refused(error) from error

    @property
    def _unproved(self) -> Path:
        return self.folder / "unproved"

    def _leaves_of(self, tile: Tile) -> list[bytes]:
        try:
            return split_hashes(self._read(self._path(tile)) or b"")
        except InvalidMessageError as error:
            raise _no_copy() from error

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


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.size}-{checkpoint.root[:8].hex()}"


def _read_own(signed: bytes) -> Checkpoint:
    """A checkpoint that was verified before it was kept."""
    try:
        return read_checkpoint(signed)
    except InvalidMessageError as error:
        raise _no_copy() from error


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
