"""Proofs that an entry is in a log (c2sp.org/tlog-proof), which need nothing beside themselves.

c2sp.org/tlog-proof@v1
extra <base64>            what else it takes to know the entry; not authenticated
index <place>
<base64 of a hash>        from the leaf's sibling up
an empty line
<checkpoint>
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gridsecure.errors import InvalidMessageError
from gridsecure.transparency.checkpoints import Checkpoint, open_checkpoint
from gridsecure.transparency.notes import MAX_NOTE_BYTES, NoteKey
from gridsecure.transparency.tree import HASH_BYTES, leaf_hash, verify_inclusion

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")
_EXTRA: Final = "extra "
_MOST_HASHES: Final = 63


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """A proof as read; it means nothing before `verify_proof`.

    Args:
        index: The entry's place.
        path: From the leaf's sibling up.
        checkpoint: As the log signed it.
        extra: What else it takes to know the entry.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    @property
    def text(self) -> str:
        """The proof as it travels."""
        extra = [_EXTRA + base64.b64encode(self.extra).decode()] if self.extra else []
        path = [base64.b64encode(one).decode() for one in self.path]
        lines = [_HEADER, *extra, f"index {self.index}", *path, "", ""]
        return "\n".join(lines) + self.checkpoint.decode()


def read_proof(text: str) -> InclusionProof:
    """Read a proof; nothing of it is verified.

    Raises:
        InvalidMessageError: It is none (`log.proof`).
    """
    head, gap, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or len(text) > MAX_NOTE_BYTES or lines.pop(0) != _HEADER:
        raise _no_proof()
    has_extra = bool(lines) and lines[0].startswith(_EXTRA)
    extra = _decode(lines.pop(0)[len(_EXTRA) :]) if has_extra else b""
    index = _INDEX.fullmatch(lines.pop(0)) if lines else None
    path = tuple(_decode(line) for line in lines)
    if index is None or len(path) > _MOST_HASHES or any(len(one) != HASH_BYTES for one in path):
        raise _no_proof()
    return InclusionProof(int(index[1]), path, checkpoint.encode(), extra)


def verify_proof(proof: InclusionProof, *, entry: bytes, keys: Sequence[NoteKey]) -> Checkpoint:
    """The checkpoint that an entry is proved to be in.

    Args:
        entry: The entry, which its reader computed and not the prover.
        keys: Those of the log.

    Raises:
        SignatureError: The checkpoint is not the log's (`log.signature`).
        AuditBrokenError: The path does not lead to it (`log.inclusion`).
        InvalidMessageError: It holds no checkpoint.
    """
    checkpoint = open_checkpoint(proof.checkpoint, keys)
    verify_inclusion(
        leaf_hash(entry),
        index=proof.index,
        size=checkpoint.size,
        path=proof.path,
        root=checkpoint.root,
    )
    return checkpoint


def _decode(line: str) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except ValueError as error:
        raise _no_proof() from error


def _no_proof() -> InvalidMessageError:
    return InvalidMessageError(
        "This is not a proof of inclusion.",
        reason="log.proof",
        remedy="Fetch it again, byte for byte; an editor may have changed its lines.",
    )
