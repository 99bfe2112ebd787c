"""Checkpoints (c2sp.org/tlog-checkpoint): size and root of a log, signed twice.

The text has three lines: the log's origin, its size, its root in base64. Each checkpoint carries an
Ed25519 line, which the world's tools check, and an SM2 line of the same name (see `notes`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gridsecure.crypto import ed25519
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import InputError, InvalidMessageError, SignatureError
from gridsecure.transparency.notes import (
    NoteKey,
    NoteSignature,
    read_note,
    sm2_signed,
    verify_note,
    write_note,
)
from gridsecure.transparency.tree import HASH_BYTES

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself at one moment.

    Args:
        origin: The log's name.
        size: How many leaves it has.
        root: Root of its tree.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class LogSigner:
    """The two keys of a log.

    Args:
        origin: The log's name, in the checkpoint and in both lines.
        seed: Its Ed25519 key.
        sm2: The zone's own signing key.
    """

    origin: str
    seed: bytes = field(repr=False)
    sm2: Sm2PrivateKey = field(repr=False)

    @property
    def keys(self) -> tuple[NoteKey, NoteKey]:
        """What verifies its checkpoints: the Ed25519 key and the SM2 key."""
        return (
            NoteKey(self.origin, "ed25519", ed25519.public_key_of(self.seed)),
            NoteKey(self.origin, "sm2", self.sm2.public_key.point),
        )

    def sign(self, size: int, root: bytes) -> bytes:
        """The signed checkpoint of a size and root, which must be the log's own."""
        text = Checkpoint(self.origin, size, root).text
        plain, sm2 = self.keys
        return write_note(
            text,
            [
                NoteSignature(self.origin, plain.key_id, ed25519.sign(self.seed, text.encode())),
                NoteSignature(self.origin, sm2.key_id, self.sm2.sign(sm2_signed(text))),
            ],
        )


def read_checkpoint(data: bytes) -> Checkpoint:
    """Read a checkpoint; nothing of it is verified.

    Raises:
        InvalidMessageError: It is none (`log.note`, `log.checkpoint`).
    """
    return _checkpoint(read_note(data).text)


def open_checkpoint(data: bytes, keys: Sequence[NoteKey]) -> Checkpoint:
    """Read a checkpoint that all keys of its log signed.

    Args:
        keys: The log's, and those of witnesses who cosign it. All of them sign, so that a
            checkpoint of which one line was taken away or swapped is refused.

    Raises:
        SignatureError: Not signed by all of them, or its origin is not their name
            (`log.signature`).
        InputError: Some of them are another log's (`log.other-key`).
        InvalidMessageError: It is no checkpoint (`log.note`, `log.checkpoint`).
    """
    note = read_note(data)
    checkpoint = _checkpoint(note.text)
    others = [key for key in keys if key.kind == "cosignature"]
    own = [key for key in keys if key.name == checkpoint.origin and key not in others]
    if own and len(own) + len(others) < len(keys):
        raise InputError(
            f"A key that was given is not one of the log {checkpoint.origin}.",
            reason="log.other-key",
            remedy="Give the keys of this log alone; `gridsecure log keys` prints them.",
        )
    wanted = [*own, *others] if own else []
    if set(verify_note(note, wanted)) != set(wanted):
        raise SignatureError(
            "The checkpoint lacks a signature that its log makes.",
            reason="log.signature",
            remedy="Fetch it from the log again. A checkpoint carries an Ed25519 and an SM2 line.",
        )
    return checkpoint


def _checkpoint(text: str) -> Checkpoint:
    lines = text[:-1].split("\n")
    try:
        root = base64.b64decode(lines[2], validate=True) if len(lines) >= _LINES else b""
    except ValueError as error:
        raise _no_checkpoint() from error
    if not all(lines) or len(root) != HASH_BYTES or not _SIZE.fullmatch(lines[1]):
        raise _no_checkpoint()
    return Checkpoint(lines[0], int(lines[1]), root)


def _no_checkpoint() -> InvalidMessageError:
    return InvalidMessageError(
        "This is not the checkpoint of a log.",
        reason="log.checkpoint",
        remedy="Its lines are origin, size and root in base64; fetch it from the log again.",
    )
