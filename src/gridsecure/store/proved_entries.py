"""A signed message that carries the proof of its own entry in the log of whoever signed it.

The entry's detail names the message by `message_digest`, which leaves out what is known only once
the entry is there. The proof's extra data are the entry's record and salt (`SignedLog.prove`), so
that message and public keys are all it takes to check it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, InvalidMessageError
from gridsecure.store.evidence import public_entry
from gridsecure.transparency.checkpoints import Checkpoint
from gridsecure.transparency.inclusion_proofs import read_proof, verify_proof
from gridsecure.transparency.notes import NoteKey

LOGGED: Final = "message"
"""What a detail calls the digest of the message that it is about."""

_LATER: Final = ("evidence_head", "log_proof")
_FIELDS: Final = 5


@dataclass(frozen=True, slots=True)
class ProvedEntry:
    """An entry that was proved to be in a log.

    Args:
        index: Its place.
        at: When, as the log has it.
        action: What was done.
        detail: What it was about.
        checkpoint: The log at that time, as signed.
    """

    index: int
    at: str
    action: str
    detail: Mapping[str, Any]
    checkpoint: Checkpoint


def message_digest(body: str) -> str:
    """The digest by which an entry names a message.

    Args:
        body: The message's JSON text, with or without its entry and proof.
    """
    content = json.loads(body)
    for name in _LATER:
        content.pop(name, None)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sm3_hex(text.encode())


def open_entry(proof: str, *, keys: Sequence[NoteKey], name: str = "") -> tuple[str, ProvedEntry]:
    """Verify that the entry whose record a proof carries is in a log.

    Args:
        proof: As `SignedLog.prove` makes it.
        keys: The log's public keys.
        name: Hash of the entry, where something names it.

    Returns:
        The entry's hash, and the entry.

    Raises:
        GridSecureError: As `open_logged`.
    """
    read = read_proof(proof)
    record, salt = _opened(read.extra)
    own = sm3_hex(record.encode())
    if name and own != name:
        raise _other()
    checkpoint = verify_proof(read, entry=public_entry(own, salt=salt), keys=keys)
    said = json.loads(record)
    detail = json.loads(said[4]) if len(said) == _FIELDS else {}
    return own, ProvedEntry(read.index, said[1], said[3], detail, checkpoint)


def open_logged(
    body: str, *, name: str, action: str, proof: str, keys: Sequence[NoteKey]
) -> ProvedEntry:
    """Verify that a message is in a log.

    1. the proof's record is the one that the message names;
    2. the entry made of record and salt is in the tree of a checkpoint that the log signed;
    3. the record is about this very message, and says that this was done with it.

    Args:
        body: The message's JSON text, whose signature was verified.
        name: Hash of the entry, as the message says.
        action: What the entry has to say was done.
        proof: As the message carries it.
        keys: The log's public keys.

    Raises:
        SignatureError: The checkpoint is not the log's (`log.signature`).
        InputError: A key of another log was given (`log.other-key`).
        AuditBrokenError: The entry is not in it (`log.inclusion`), or is about something else
            (`log.other-entry`).
        InvalidMessageError: A malformed proof.
    """
    _, entry = open_entry(proof, keys=keys, name=name)
    if entry.detail.get(LOGGED) != message_digest(body) or entry.action != action:
        raise _other()
    return entry


def _opened(extra: bytes) -> tuple[str, str]:
    try:
        record, salt = json.loads(extra)
        bytes.fromhex(salt)
        record.encode()
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidMessageError(
            "The proof does not hold its entry.",
            reason="log.proof",
            remedy="Ask for the message again.",
        ) from error
    return record, salt


def _other() -> AuditBrokenError:
    return AuditBrokenError(
        "The log's entry is about another message.",
        reason="log.other-entry",
        remedy="Believe nothing of it, keep it, and tell the log's witnesses.",
    )
