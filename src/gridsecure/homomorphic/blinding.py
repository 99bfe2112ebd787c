"""Group totals by zero-sum blinding: publish sums, hide every summand.

A vector that is uniform modulo t except that its slots sum to zero within each group is added to a
column. Whoever decrypts the result learns, by adding up the slots of a group, exactly the group's
total modulo t, and nothing else from the slots: all of a group's slots but any one are uniform and
independent. (A group of one slot is therefore not hidden at all; policy refuses small groups.) One
plaintext addition replaces masks, rotations and their keys.

The vector is derived from a seed, so that the checker re-executes it bit for bit. A seed is used
for one output column only; the vault never receives it. Not hidden by this: the ciphertext's noise
term, and anything from a vault and a platform that join forces (docs/limitations.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.crypto.aes import KEY_BYTES, keystream
from gridsecure.crypto.sm3 import hkdf_sm3

SEED_SIZE: Final = 32
_STRETCH: Final = 2**20


def uniform_residues(seed: bytes, *, count: int, modulus: int, purpose: str) -> NDArray[np.uint64]:
    """`count` independent uniform residues of a modulus below 2**63, from a seed and a purpose.

    Rejection sampling over AES-CTR output: a word is masked to the modulus's bit length and kept
    when it is below the modulus, so the result is uniform and not just nearly so.

    Raises:
        ValueError: The seed has another length than `SEED_SIZE`.
    """
    if len(seed) != SEED_SIZE:
        raise ValueError("a blinding seed has 32 bytes")
    key = hkdf_sm3(seed, info=b"gridsecure blinding " + purpose.encode(), length=KEY_BYTES)
    width = 4 if modulus.bit_length() <= 32 else 8
    mask = (1 << modulus.bit_length()) - 1
    kept: list[NDArray[np.uint64]] = []
    found, drawn = 0, 0
    while found < count:
        missing = count - found
        need = missing + missing * (mask - modulus) // modulus + 64  # expected, and a little
        nonce = drawn.to_bytes(16, "big")  # counter blocks already used are never used again
        stream = keystream(key, nonce=nonce, length=need * width)
        drawn += -(-need * width // 16)
        words = np.frombuffer(stream, dtype=f"<u{width}") & np.dtype(f"<u{width}").type(mask)
        # Reducing modulo t instead would favour small residues; a rejected word costs a redraw.
        words = words[words < modulus]
        kept.append(words)
        found += len(words)
    return np.concatenate(kept, dtype=np.uint64)[:count]


def zero_sum_blinding(
    seed: bytes, *, groups: Iterable[NDArray[np.int64]], modulus: int, purpose: str
) -> Iterator[NDArray[np.uint64]]:
    """A blinding vector in parts, a part for each column it is added to, one after the other.

    What has to be kept from one part to the next is a sum for each group, however many parts there
    are.

    Args:
        seed: 32 secret bytes, used for nothing else under this purpose.
        groups: By part the group number of each slot [slots]; a slot in group -1 belongs to no
            total and is blinded completely. Gone through twice, so not an iterator.
        modulus: The plain modulus t.
        purpose: Names the columns, so that one seed serves a whole job.

    Yields:
        Residues [slots]; within every group they sum to zero modulo t over all parts.
    """
    last_part: dict[int, int] = {}
    for number, part in enumerate(groups):
        present = np.flatnonzero(np.bincount(_find_runs(part)[1])[1:])
        last_part |= dict.fromkeys(present.tolist(), number)
    carried: dict[int, int] = {}
    for number, part in enumerate(groups):
        vector = uniform_residues(
            seed, count=len(part), modulus=modulus, purpose=f"{purpose}/{number}"
        )
        totals = group_sums(vector, groups=part, modulus=modulus)
        # Any one slot of a group may absorb the sum: the others stay independent and uniform.
        starts, numbers = _find_runs(part)
        last = np.empty(max(totals, default=-1) + 2, dtype=np.int64)
        last[numbers[:-1]] = starts[1:] - 1  # of repeated numbers, the last stays
        last[numbers[-1:]] = len(part) - 1
        for group, total in totals.items():
            so_far = total + carried.pop(group, 0)
            if last_part[group] > number:
                carried[group] = so_far
            else:
                slot = last[group + 1]
                vector[slot] = (int(vector[slot]) - so_far) % modulus
        yield vector


def group_sums(
    values: NDArray[np.uint64], *, groups: NDArray[np.int64], modulus: int
) -> dict[int, int]:
    """Sums modulo t of each group's slots; group -1 is left out.

    Residues are added run by run of one group, since rosters are sorted by cell, and runs by group.
    Those of more than 32 bits are added in halves of 32, and all of them in stretches of 2**20
    slots, so that a sum stays below 2**53, which a double holds exactly: counting with weights is
    four times faster than adding in place.
    """
    totals: dict[int, int] = {}
    for start in range(0, len(groups), _STRETCH):
        starts, numbers = _find_runs(groups[start : start + _STRETCH])
        residues = values[start : start + _STRETCH]
        halves = [residues]
        if modulus.bit_length() > 32:
            # t is below 2**63, so the upper half is below 2**31 and its sum below 2**51.
            halves = [residues & np.uint64(0xFFFFFFFF), residues >> np.uint64(32)]
        found = np.flatnonzero(np.bincount(numbers)[1:])
        for shift, half in zip((0, 32), halves, strict=False):
            sums = np.bincount(numbers, weights=np.add.reduceat(half, starts))[found + 1]
            for n, total in zip(found.tolist(), sums.astype(np.int64).tolist(), strict=True):
                totals[n] = (totals.get(n, 0) + (total << shift)) % modulus
    return totals


def _find_runs(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each run of slots of one group starts, and its group: from one on, 0 if it has none."""
    changes = np.ones(len(groups), dtype=bool)
    np.not_equal(groups[1:], groups[:-1], out=changes[1:])
    starts = np.flatnonzero(changes)
    return starts, np.maximum(groups[starts], -1) + 1
