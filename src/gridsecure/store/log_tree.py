"""The tree over a zone's evidence log: its checkpoint, tiles and proofs, and whether it holds.

A root and a proof read the full subtrees that they are made of, fewer than 2·log2(n) rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from sqlmodel import Session, col, select

from gridsecure.errors import InvalidMessageError
from gridsecure.store.evidence import (
    EvidenceEntry,
    EvidenceRow,
    NodeRow,
    broken_log,
    count_entries,
    place_of,
    public_entry,
    read_nodes,
    read_row,
)
from gridsecure.transparency.checkpoints import LogSigner
from gridsecure.transparency.inclusion_proofs import InclusionProof
from gridsecure.transparency.tiles import Tile, join_entries, no_tile
from gridsecure.transparency.tree import (
    Frontier,
    Node,
    frontier_nodes,
    hash_ranges,
    inclusion_ranges,
)

_PORTION: Final = 1000


def read_frontier(session: Session) -> Frontier:
    """The tree as it is now."""
    nodes = frontier_nodes(count_entries(session))
    found = read_nodes(session, nodes)
    hashes = tuple(found[node] for node in nodes)
    return Frontier(sum(1 << node.level for node in nodes), hashes)


def read_tile(session: Session, tile: Tile) -> bytes:
    """A tile's content.

    Raises:
        NotFoundError: The log does not reach that far (`not-found.tile`).
    """
    if not tile.is_in(count_entries(session)):
        raise no_tile()
    nodes = tile.nodes
    if tile.level != "entries":
        found = read_nodes(session, nodes)
        return b"".join(found[node] for node in nodes)
    rows = select(EvidenceRow.hash, EvidenceRow.salt).order_by(col(EvidenceRow.index))
    places = (nodes[0].number, nodes[-1].number)
    kept = session.exec(rows.where(col(EvidenceRow.index).between(*places)))
    return join_entries([public_entry(name, salt=salt) for name, salt in kept])


def prove_inclusion(session: Session, index: int, *, size: int) -> list[bytes]:
    """The path that proves an entry in the tree of a size, from its sibling up.

    Raises:
        ValueError: A tree of that size has no such leaf.
    """
    return hash_ranges(inclusion_ranges(index, size), lambda nodes: read_nodes(session, nodes))


@dataclass(frozen=True, slots=True)
class SignedLog:
    """Signs what a zone's log is now; the newest checkpoint is remembered.

    Args:
        signer: The log's keys.
    """

    signer: LogSigner
    _signed: dict[tuple[int, bytes], bytes] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def sign(self, tree: Frontier) -> bytes:
        """The signed checkpoint of the log when its tree is this one."""
        now = (tree.size, tree.root)
        with self._lock:
            if now not in self._signed:
                signed = self.signer.sign(*now)
                self._signed.clear()
                self._signed[now] = signed
            return self._signed[now]

    def prove(self, session: Session, entry: EvidenceEntry) -> InclusionProof:
        """What proves an entry to whoever holds the log's public keys.

        Its extra data are the entry's record and salt: who may read the proof may read the entry.
        """
        tree = read_frontier(session)
        return InclusionProof(
            index=entry.index,
            path=tuple(prove_inclusion(session, entry.index, size=tree.size)),
            checkpoint=self.signer.sign(tree.size, tree.root),
            extra=json.dumps([entry.record, entry.salt], ensure_ascii=False).encode(),
        )


def verify_log(session: Session, *, witnessed: Frontier | None = None) -> int:
    """Recompute every hash of the log and its tree; return its length.

    Args:
        witnessed: What was kept at an earlier time; the log must begin with it. It reveals a log
            whose end was cut off or that was written anew.

    Raises:
        AuditBrokenError: Naming the first index that does not hold (`audit.log`).
    """
    tree = Frontier()
    # Read what is stored, in portions, even where the session remembers rows from before.
    reading = {"yield_per": _PORTION, "populate_existing": True}
    rows = select(EvidenceRow).order_by(col(EvidenceRow.index))
    with session.exec(rows, execution_options=reading) as stored:  # a server's cursor is closed
        for portion in stored.partitions(_PORTION):
            made: dict[Node, bytes] = {}
            for row in portion:
                entry = _whole_entry(row, tree.size)
                made |= tree.nodes_above(entry.leaf)
                tree = tree.grow([entry.leaf])
                if witnessed and tree.size == witnessed.size and tree != witnessed:
                    raise broken_log(entry.index)
            _check_nodes(session, made)
    if witnessed is not None and witnessed.size > tree.size:
        raise broken_log(tree.size)
    return tree.size


def _whole_entry(row: EvidenceRow, index: int) -> EvidenceEntry:
    try:
        entry = read_row(row)
        leaf = entry.leaf
    except (ValueError, InvalidMessageError) as error:  # no time, or no hexadecimal digits
        raise broken_log(index) from error
    if row.index != index or not entry.is_itself or not leaf:
        raise broken_log(index)
    return entry


def _check_nodes(session: Session, made: dict[Node, bytes]) -> None:
    places = {place_of(node): node for node in made}
    kept = select(NodeRow.place, NodeRow.hash).where(col(NodeRow.place).in_(places))
    found = {places[place]: value for place, value in session.exec(kept)}
    for node, value in made.items():
        if found.get(node) != value:
            raise broken_log(((node.number + 1) << node.level) - 1)
