"""The Merkle tree of RFC 6962 §2.1 over SHA-256: roots, inclusion and consistency proofs.

A *node* is the root of a full subtree: node (level, number) covers the leaves
[number·2^level, (number + 1)·2^level) and never changes once it is there. A tree of n leaves has
fewer than 2n nodes; whoever keeps them all reads at most 2·log2(n) of them for a root or a proof.

    leaf = SHA-256(0x00 ‖ entry)        node = SHA-256(0x01 ‖ left ‖ right)

The two prefixes keep a leaf from being taken for a node (second preimages).

Verification follows RFC 9162 §2.1.3.2 and §2.1.4.2, which walk up by the bits of the place and
share no code with the making of proofs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from gridsecure.errors import AuditBrokenError

HASH_BYTES: Final = 32
"""Length of a hash of the tree [bytes]."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of a tree without leaves."""


class Node(NamedTuple):
    """A full subtree of 2^level leaves, counted in its level from 0."""

    level: int
    number: int


Range = tuple[int, int]
"""Leaves [first, end) whose hash a proof names."""

Hashes = Mapping[Node, bytes]
"""Hashes of nodes."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of the node above two."""
    return sha256(b"\1" + left + right).digest()


def nodes_of(leaves: Range) -> list[Node]:
    """The full subtrees that a range of a tree is made of, largest first.

    Args:
        leaves: As RFC 6962 cuts them: the first is a multiple of the largest power of two in it.
    """
    first, end = leaves
    nodes = []
    while first < end:
        level = (end - first).bit_length() - 1
        nodes.append(Node(level, first >> level))
        first += 1 << level
    return nodes


def frontier_nodes(size: int) -> list[Node]:
    """The full subtrees of a whole tree, largest first; what an append needs to know of it."""
    return nodes_of((0, size))


def join_nodes(hashes: Sequence[bytes]) -> bytes:
    """The hash of a range from those of its full subtrees, as `nodes_of` orders them."""
    if not hashes:
        return EMPTY_ROOT
    joined = hashes[-1]
    for left in reversed(hashes[:-1]):
        joined = node_hash(left, joined)
    return joined


@dataclass(frozen=True, slots=True)
class Frontier:
    """What has to be known of a tree to add leaves to it, and to know it again.

    Args:
        size: Its leaves.
        hashes: Of its full subtrees, largest first, as `frontier_nodes` names them.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        """Root of the tree."""
        return join_nodes(self.hashes)

    @property
    def nodes(self) -> dict[Node, bytes]:
        """Its full subtrees with their hashes."""
        return dict(zip(frontier_nodes(self.size), self.hashes, strict=True))

    def nodes_above(self, leaf: bytes) -> dict[Node, bytes]:
        """The nodes that are full once a leaf is added.

        Args:
            leaf: Its hash.
        """
        return new_nodes(self.size, leaf, lambda _nodes: self.nodes)

    def grow(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier after some leaves were added.

        Args:
            leaves: Hashes of the new leaves, in order.
        """
        size, hashes = self.size, list(self.hashes)
        for leaf in leaves:
            place, joined = size, leaf
            while place & 1:
                joined = node_hash(hashes.pop(), joined)
                place >>= 1
            hashes.append(joined)
            size += 1
        return Frontier(size, tuple(hashes))


def new_nodes(index: int, leaf: bytes, left: Callable[[list[Node]], Hashes]) -> dict[Node, bytes]:
    """The nodes above a new leaf that are full now.

    Args:
        index: Its place, which is the size of the tree before it.
        leaf: Its hash.
        left: Reads the hashes of nodes that were there before.
    """
    levels = (~index & (index + 1)).bit_length() - 1  # how many ones the index ends with
    wanted = [Node(level, (index >> level) - 1) for level in range(levels)]
    before = left(wanted) if wanted else {}
    made: dict[Node, bytes] = {}
    joined = leaf
    for node in wanted:
        joined = node_hash(before[node], joined)
        made[Node(node.level + 1, index >> (node.level + 1))] = joined
    return made


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove a leaf in a tree, from its sibling up (RFC 6962 §2.1.1).

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError("a tree proves leaves that it has")
    first, end = 0, size
    ranges: list[Range] = []
    while end - first > 1:
        middle = first + _left_size(end - first)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The ranges whose hashes prove that one tree begins with another (RFC 6962 §2.1.2).

    Raises:
        ValueError: The old one is empty, or larger.
    """
    if not 0 < old <= new:
        raise ValueError("a tree begins with smaller ones")
    first, end = 0, new
    ranges: list[Range] = []
    while end != old:
        middle = first + _left_size(end - first)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
    return ([(first, end)] if first else []) + ranges[::-1]


def hash_ranges(ranges: Sequence[Range], read: Callable[[list[Node]], Hashes]) -> list[bytes]:
    """The hashes of ranges.

    Args:
        read: Reads the hashes of nodes, of all that are asked for at once.
    """
    nodes = [nodes_of(one) for one in ranges]
    found = read([node for some in nodes for node in some]) if nodes else {}
    return [join_nodes([found[node] for node in some]) for some in nodes]


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Return if a leaf is in a tree, at its place (RFC 9162 §2.1.3.2).

    Args:
        leaf: Hash of the leaf.
        path: From the leaf's sibling up.

    Raises:
        AuditBrokenError: It is not proved (`log.inclusion`).
    """
    place, last, joined = index, size - 1, leaf
    if not 0 <= index < size or len(leaf) != HASH_BYTES:
        raise _not_included()
    for sibling in path:
        if last == 0:
            raise _not_included()
        if place & 1 or place == last:
            joined = node_hash(sibling, joined)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            joined = node_hash(joined, sibling)
        place, last = place >> 1, last >> 1
    if last or joined != root:
        raise _not_included()


def verify_consistency(
    old: tuple[int, bytes], new: tuple[int, bytes], *, path: Sequence[bytes]
) -> None:
    """Return if a tree begins with another (RFC 9162 §2.1.4.2).

    Args:
        old: Size and root; every tree begins with the empty one, which nothing proves.
        new: Size and root.

    Raises:
        AuditBrokenError: It is not proved (`log.consistency`).
    """
    if 0 < old[0] == new[0] and old[1] == new[1] and not path:
        return
    if not 0 < old[0] < new[0] or not path:
        raise _not_consistent()
    hashes = list(path) if old[0] & (old[0] - 1) else [old[1], *path]
    place, last = old[0] - 1, new[0] - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise _not_consistent()
        if place & 1 or place == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        place, last = place >> 1, last >> 1
    if last or before != old[1] or after != new[1]:
        raise _not_consistent()


def _left_size(size: int) -> int:
    """The largest power of two smaller than a size of at least two."""
    return 1 << ((size - 1).bit_length() - 1)


def _not_included() -> AuditBrokenError:
    return AuditBrokenError(
        "The proof does not show the entry in the log.",
        reason="log.inclusion",
        remedy="Ask for the proof again. If it stays, keep both and tell the log's witnesses.",
    )


def _not_consistent() -> AuditBrokenError:
    return AuditBrokenError(
        "The log does not begin with the one that was seen before.",
        reason="log.consistency",
        remedy="Keep both checkpoints: they prove that the log was rewritten. Tell its witnesses.",
    )
