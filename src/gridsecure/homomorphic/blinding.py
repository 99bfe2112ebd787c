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

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.crypto.aes import KEY_BYTES, keystream
from gridsecure.crypto.sm3 import hkdf_sm3

SEED_SIZE: Final = 32


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


@dataclass(frozen=True, slots=True, eq=False)
class SlotGroups:
    """Which slots of a column belong to which group, as runs of slots of one group.

    Rosters are sorted by cell, so that runs are few; what is done by run is hardly seen beside
    what is done by slot.

    Args:
        starts: Where each run starts [runs], rising from 0.
        numbers: Its group's number plus one [runs]; 0 for slots that belong to no total.
        slots: How many slots there are.
    """

    starts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    slots: int

    @classmethod
    def of(cls, groups: NDArray[np.int64]) -> SlotGroups:
        """From the group number of each slot [slots]; a negative one is no group."""
        changes = np.ones(len(groups), dtype=bool)
        np.not_equal(groups[1:], groups[:-1], out=changes[1:])
        starts = np.flatnonzero(changes)
        return cls(starts, np.maximum(groups[starts], -1) + 1, len(groups))

    def repeat(self, times: int, *, step: int) -> SlotGroups:
        """The same slots over and over, in groups of their own each time: `step` numbers on."""
        times_over = np.arange(times, dtype=np.int64)[:, None]
        numbers = np.where(self.numbers > 0, self.numbers + step * times_over, 0)
        starts = self.starts + self.slots * times_over
        return SlotGroups(starts.ravel(), numbers.ravel(), self.slots * times)

    def renumber(self, numbers: NDArray[np.int64]) -> SlotGroups:
        """The same slots over and over, in other groups each time.

        Args:
            numbers: The number that each group has, time by time [times, groups]; a negative one is
                no group.
        """
        outside = np.full((len(numbers), 1), -1, dtype=np.int64)
        by_run = np.hstack((outside, numbers))[:, self.numbers] + 1
        starts = self.starts + self.slots * np.arange(len(numbers), dtype=np.int64)[:, None]
        return SlotGroups(starts.ravel(), by_run.ravel(), self.slots * len(numbers))

    @property
    def ends(self) -> NDArray[np.int64]:
        """The last slot of each run [runs]."""
        return np.append(self.starts[1:], self.slots) - 1


def zero_sum_blinding(
    seed: bytes,
    *,
    groups: Iterable[SlotGroups],
    modulus: int,
    purpose: str,
    wanted: Container[int] | None = None,
) -> Iterator[NDArray[np.uint64]]:
    """A blinding vector in parts, a part for each column it is added to, one after the other.

    What has to be kept from one part to the next is a sum for each group, however many parts there
    are.

    Args:
        seed: 32 secret bytes, used for nothing else under this purpose.
        groups: By part; a slot of no group belongs to no total and is blinded completely. Gone
            through twice, so not an iterator.
        modulus: The plain modulus t.
        purpose: Names the columns, so that one seed serves a whole job.
        wanted: The parts to yield; all by default. Who makes some of the columns draws the others'
            parts as well, which costs little beside adding them.

    Yields:
        Residues [slots]; within every group they sum to zero modulo t over all parts.
    """
    last_part = np.full(1, -1)
    for number, part in enumerate(groups):
        more = int(part.numbers.max(initial=0)) + 1 - len(last_part)
        if more > 0:
            last_part = np.append(last_part, np.full(more, -1))
        last_part[part.numbers] = number
    last_part[0] = -1  # what belongs to no group is never evened out
    count = len(last_part)
    so_far = np.zeros(count, dtype=np.uint64)
    last = np.zeros(count, dtype=np.int64)
    for number, part in enumerate(groups):
        vector = uniform_residues(
            seed, count=part.slots, modulus=modulus, purpose=f"{purpose}/{number}"
        )
        # Both are below t, and t below 2**63.
        so_far += _sum_runs(vector, groups=part, modulus=modulus, count=count)
        so_far %= np.uint64(modulus)
        # Any one slot of a group may absorb the sum: the others stay independent and uniform.
        last[part.numbers] = part.ends  # of repeated numbers, the last stays
        done = np.flatnonzero(last_part == number)
        vector[last[done]] += np.uint64(modulus) - so_far[done]
        vector[last[done]] %= np.uint64(modulus)
        if wanted is None or number in wanted:
            yield vector


def group_sums(values: NDArray[np.uint64], *, groups: SlotGroups, modulus: int) -> dict[int, int]:
    """Sums modulo t of each group's slots; slots of no group are left out."""
    count = 1 + int(groups.numbers.max(initial=0))
    sums = _sum_runs(values, groups=groups, modulus=modulus, count=count)
    found = np.flatnonzero(np.bincount(groups.numbers, minlength=count))
    found = found[found > 0]
    return dict(zip((found - 1).tolist(), sums[found].tolist(), strict=True))


def _sum_runs(
    values: NDArray[np.uint64], *, groups: SlotGroups, modulus: int, count: int
) -> NDArray[np.uint64]:
    """Sums modulo t by number of a run [count].

    Residues of more than 32 bits are added in halves, so that as many as a column has stay below
    2**64.
    """
    halves = [values]
    if modulus.bit_length() > 32:
        halves = [values & np.uint64(0xFFFFFFFF), values >> np.uint64(32)]
    sums = np.zeros((len(halves), count), dtype=np.uint64)
    for of_half, half in zip(sums, halves, strict=True):
        np.add.at(of_half, groups.numbers, np.add.reduceat(half, groups.starts))
    rest: NDArray[np.uint64] = sums[0]
    if len(halves) == 2:
        low, high = sums.astype(object)
        rest = np.array(((high << 32) + low) % modulus, dtype=np.uint64)
    rest %= np.uint64(modulus)
    return rest
