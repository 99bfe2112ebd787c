"""A witness of a log: it keeps a copy, and raises an alarm when the log is not what it was.

    log.truncated     the log has fewer entries than it had, or than it showed somebody else
    log.split-view    two checkpoints of one size, both signed, have different roots
    log.rewritten     the log grew, and an entry that was there is another now

In each case two signed checkpoints are kept that cannot both be true. A checkpoint is kept before
its tiles are fetched, as unproved: a log that shows another tree and then withholds it is found out
the next time that it serves a whole one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gridsecure.errors import AuditBrokenError, InputError, InvalidMessageError
from gridsecure.offices.log_copies import LogCopy
from gridsecure.transparency.checkpoints import Checkpoint, open_checkpoint, read_checkpoint
from gridsecure.transparency.inclusion_proofs import InclusionProof, read_proof
from gridsecure.transparency.notes import NoteKey, cosign, read_note, write_note
from gridsecure.transparency.tiles import (
    WIDTH,
    Tile,
    damaged_tile,
    leaf_tiles,
    split_entries,
    split_hashes,
)
from gridsecure.transparency.tree import (
    Frontier,
    Node,
    hash_ranges,
    inclusion_ranges,
    leaf_hash,
)
from gridsecure.wire.client import Client

_Tiles = list[tuple[Tile, bytes]]

MOST_NEW: Final = 1 << 24
"""How many entries are fetched in one look, so that what is held of them is bounded."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What a look at a log showed.

    Args:
        checkpoint: The log now.
        before: How many entries had been seen before.
    """

    checkpoint: Checkpoint
    before: int


def witness_log(
    client: Client, copy: LogCopy, *, keys: Sequence[NoteKey], given: bytes | None = None
) -> Witnessed:
    """Fetch what is new of a log, verify that it continues the copy, and keep it.

    1. the checkpoint is signed by the log's keys, and of the log that the copy is of;
    2. it has at least as many entries as were seen;
    3. the leaves that were seen and the new ones together have its root;
    4. every new entry is the one that its leaf names;
    5. checkpoints that were shown earlier, without all of their tiles, are of this log, too.

    Args:
        client: Of the log's address; paths follow `c2sp.org/tlog-tiles`.
        keys: The log's public keys.
        given: The checkpoint to look at, as another witness passed it on; by default the log's
            newest.

    Raises:
        AuditBrokenError: An alarm: `log.truncated`, `log.split-view` or `log.rewritten`.
        SignatureError: Not signed by the log's keys (`log.signature`).
        InvalidMessageError: Tiles that are not those of the checkpoint (`log.tile`), or too many of
            them (`log.size`).
        InputError: The copy is of another log (`witness.other-log`), or is damaged
            (`witness.copy`); or the given checkpoint is older than what was seen
            (`witness.older`).
        GridSecureError: The log cannot be reached.
        StorageError: The copy cannot be written; it is as it was.
    """
    signed = client.get("/checkpoint").content if given is None else given
    # 1.
    checkpoint = open_checkpoint(signed, keys)
    if copy.origin not in ("", checkpoint.origin):
        raise _other_log(copy.origin, checkpoint.origin)
    before = copy.tree
    # 2.
    if given is not None and checkpoint.size < before.size:
        _prove(copy, checkpoint, signed)
        raise _older(checkpoint.size, before.size)
    if checkpoint.size < before.size:
        raise _truncated(copy, checkpoint, signed, has=checkpoint.size, had=before.size)
    if checkpoint.size == before.size and before.size and checkpoint.root != before.root:
        raise _split(copy, checkpoint, signed)
    # 3.
    if checkpoint.size > before.size:
        copy.keep_unproved(checkpoint, signed)
    if checkpoint.size - before.size > MOST_NEW:
        raise _too_many(checkpoint.size - before.size)
    hashes, leaves = _fetch_leaves(client, before.size, checkpoint)
    first = before.size % WIDTH
    tree = before.grow(leaves[first:])
    is_other = leaves[:first] != copy.leaves_of_last_tile()
    if is_other or tree.root != checkpoint.root:
        _check_tiles(client, checkpoint)
        copy.leaves(before.size)  # a copy that is damaged proves nothing
        raise _rewritten(copy, checkpoint, signed)
    # 4.
    entries = _fetch_entries(client, before.size, checkpoint, leaves)
    copy.keep(tree, (checkpoint, signed), [*hashes, *entries])
    copy.drop_unproved(checkpoint)
    # 5.
    _prove_earlier(copy)
    return Witnessed(checkpoint, before.size)


def cosign_checkpoint(copy: LogCopy, *, name: str, seed: bytes, at: int) -> bytes:
    """Cosign the newest checkpoint that was seen; it and all lines of others with it.

    It was kept before: a witness states that no larger one was seen by it.

    Args:
        copy: What `witness_log` kept.
        name: The witness's.
        seed: Its Ed25519 key.
        at: POSIX time [s].

    Raises:
        InputError: Nothing was seen yet (`witness.empty`), or the copy is damaged (`witness.copy`).
        AuditBrokenError: The log showed something that does not fit, or not whole
            (`witness.alarm`).
    """
    if not copy.checkpoint:
        raise InputError(
            "No log was looked at yet.",
            reason="witness.empty",
            remedy="Look at it first: `gridsecure log witness`.",
        )
    if copy.has_alarms():
        raise AuditBrokenError(
            "The log has shown a checkpoint that does not fit, or not with all its tiles.",
            reason="witness.alarm",
            remedy="Cosign nothing of this log. Look at it again, and at alarms/ and unproved/ in "
            "the folder of the copy; compare them with other witnesses.",
        )
    note = read_note(copy.checkpoint)
    line = cosign(note, name=name, seed=seed, at=at)
    others = [one for one in note.signatures if (one.name, one.key_id) != (name, line.key_id)]
    return write_note(note.text, [*others, line])


def prove_again(copy: LogCopy, proof: str, checkpoint: bytes) -> str:
    """Prove an entry in a later checkpoint than it was proved in, from the copy.

    Args:
        proof: The proof that its certificate has.
        checkpoint: As signed, for example one that witnesses cosigned.

    Raises:
        InputError: The checkpoint is from before the entry (`log.earlier`), or of another log than
            the copy (`witness.other-log`), or the copy is damaged (`witness.copy`).
        AuditBrokenError: The checkpoint does not fit to the copy (`log.split-view`,
            `log.truncated`).
        InvalidMessageError: Malformed.
    """
    first, read = read_proof(proof), read_checkpoint(checkpoint)
    if read.origin != copy.origin:
        raise _other_log(copy.origin, read.origin)
    _prove(copy, read, checkpoint)
    if first.index >= read.size:
        raise InputError(
            "The checkpoint is from before the certificate's entry.",
            reason="log.earlier",
            remedy="Give one that was made after the certificate.",
        )
    leaves = copy.leaves(read.size)

    def hashes(nodes: Sequence[Node]) -> dict[Node, bytes]:
        return {
            node: Frontier().grow(leaves[node.number << node.level :][: 1 << node.level]).root
            for node in nodes
        }

    path = hash_ranges(inclusion_ranges(first.index, read.size), hashes)
    return InclusionProof(first.index, tuple(path), checkpoint, first.extra).text


def compare_checkpoint(copy: LogCopy, text: str, *, keys: Sequence[NoteKey]) -> Checkpoint:
    """Compare the checkpoint that somebody else was given with what was seen here.

    Look at the log first: whoever was given it before that cannot have seen more of an honest log.

    Args:
        text: A checkpoint, or a proof with one inside.
        keys: The log's public keys.

    Raises:
        AuditBrokenError: The log told somebody else another story (`log.split-view`), or one of
            more entries than it has now (`log.truncated`).
        SignatureError: Not signed by the log's keys (`log.signature`).
        InputError: The copy is damaged (`witness.copy`).
        InvalidMessageError: Malformed.
    """
    proved = text.startswith("c2sp.org/tlog-proof@")
    signed = read_proof(text).checkpoint if proved else text.encode()
    checkpoint = open_checkpoint(signed, keys)
    if checkpoint.size > copy.tree.size:
        copy.keep_unproved(checkpoint, signed)
    _prove(copy, checkpoint, signed)
    return checkpoint


def _prove_earlier(copy: LogCopy) -> None:
    """Compare what was unproved with the copy; what does not fit stays, and is told each time."""
    for checkpoint, signed in copy.unproved():
        _prove(copy, checkpoint, signed)
        copy.drop_unproved(checkpoint)


def _prove(copy: LogCopy, checkpoint: Checkpoint, signed: bytes) -> None:
    size = copy.tree.size
    if checkpoint.size > size:
        raise _truncated(copy, checkpoint, signed, has=size, had=checkpoint.size)
    if Frontier().grow(copy.leaves(checkpoint.size)).root != checkpoint.root:
        raise _split(copy, checkpoint, signed)


def _fetch_leaves(client: Client, first: int, checkpoint: Checkpoint) -> tuple[_Tiles, list[bytes]]:
    """The tiles with the leaves from the first one on, and all leaves in them."""
    tiles = [
        (tile, client.get(f"/tile/{tile.path}").content)
        for tile in leaf_tiles(first, checkpoint.size, level=0)
    ]
    for tile, content in tiles:
        if len(split_hashes(content)) != tile.width:
            raise damaged_tile()
    return tiles, [leaf for _, content in tiles for leaf in split_hashes(content)]


def _fetch_entries(
    client: Client, first: int, checkpoint: Checkpoint, leaves: Sequence[bytes]
) -> _Tiles:
    tiles: _Tiles = []
    place = 0
    for tile in leaf_tiles(first, checkpoint.size, level="entries"):
        content = client.get(f"/tile/{tile.path}").content
        found = [leaf_hash(entry) for entry in split_entries(content)]
        if found != list(leaves[place : place + tile.width]):
            raise damaged_tile()
        place += tile.width
        tiles.append((tile, content))
    return tiles


def _check_tiles(client: Client, checkpoint: Checkpoint) -> None:
    """Tell a log that was rewritten from tiles that are merely wrong."""
    _, leaves = _fetch_leaves(client, 0, checkpoint)
    if Frontier().grow(leaves).root != checkpoint.root:
        raise InvalidMessageError(
            "The tiles of the log do not have the root that its checkpoint says.",
            reason="log.tile",
            remedy="Fetch them again. If it stays, the log's service or what caches it is broken.",
        )


def _other_log(own: str, other: str) -> InputError:
    return InputError(
        f"The copy is of the log {own}, and this is {other}.",
        reason="witness.other-log",
        remedy="Give each log a folder of its own.",
    )


def _older(size: int, seen: int) -> InputError:
    return InputError(
        f"The checkpoint has {size} entries, and {seen} were seen. It is of the same log.",
        reason="witness.older",
        remedy="A witness cosigns nothing older than what it saw. Pass a newer checkpoint around, "
        "and have every witness look at that one first.",
    )


def _too_many(count: int) -> InvalidMessageError:
    return InvalidMessageError(
        f"The log says that it has {count} more entries, and {MOST_NEW} are fetched at most.",
        reason="log.size",
        remedy="Its checkpoint is kept under unproved/. Ask its owner and other witnesses for the"
        " size that they know.",
    )


def _truncated(
    copy: LogCopy, checkpoint: Checkpoint, signed: bytes, *, has: int, had: int
) -> AuditBrokenError:
    return AuditBrokenError(
        f"The log lost entries: it has {has} and had {had}.",
        reason="log.truncated",
        remedy=_keep(copy, checkpoint, signed),
    )


def _split(copy: LogCopy, checkpoint: Checkpoint, signed: bytes) -> AuditBrokenError:
    return AuditBrokenError(
        f"The log showed somebody else another tree of {checkpoint.size} entries.",
        reason="log.split-view",
        remedy=_keep(copy, checkpoint, signed),
    )


def _rewritten(copy: LogCopy, checkpoint: Checkpoint, signed: bytes) -> AuditBrokenError:
    return AuditBrokenError(
        f"The log was rewritten: its first {copy.tree.size} entries are not those seen before.",
        reason="log.rewritten",
        remedy=_keep(copy, checkpoint, signed),
    )


def _keep(copy: LogCopy, checkpoint: Checkpoint, signed: bytes) -> str:
    """Keep the proof, and say what to do with it."""
    kept = copy.keep_alarm(checkpoint, signed)
    return (
        f"Keep the copy and alarms/{kept.name}: two signed checkpoints that cannot both be true. "
        "Tell the other witnesses and the log's owner, by another way than the log."
    )
