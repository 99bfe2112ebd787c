"""Ciphertext coefficients as tightly packed bytes, with every coefficient checked on the way in.

A coefficient modulo a w-bit prime is stored in w bits, rounded up to whole nibbles. SEAL's own
format spends eight bytes before compression and its reader has a history of memory-safety fixes;
ours has one shape, is checked with array comparisons, and never lets foreign bytes reach a parser.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import MalformedCiphertextError


def nibbles(modulus: int) -> int:
    """Nibbles that hold any residue of the modulus."""
    return -(-modulus.bit_length() // 4)


def packed_size(count: int, *, modulus: int) -> int:
    """Bytes that `count` residues take; `count` must be even."""
    return count * nibbles(modulus) // 2


@lru_cache
def _pieces(size: int) -> tuple[np.dtype[np.void], list[tuple[str, int, int]]]:
    """How `size` bytes of a pair are stored: each piece's name, its word, and its place in that.

    Whole machine words, because copying bytes one by one costs more than all else here.
    """
    pieces = []
    for word, left in enumerate((min(size, 8), max(size - 8, 0))):
        at = 0
        for piece in (8, 4, 2, 1):
            if left & piece:
                pieces.append((f"<u{piece}", word, 8 * at))
                at += piece
    names = [(f"piece{i}", kind) for i, (kind, _, _) in enumerate(pieces)]
    return np.dtype(names), [
        (name, word, shift) for (name, _), (_, word, shift) in zip(names, pieces, strict=True)
    ]


def pack(residues: NDArray[np.uint64], *, modulus: int) -> bytes:
    """Pack residues [count] into `packed_size` bytes, little-endian.

    Two residues take `nibbles` bytes together; where those are odd, they share the middle one.
    """
    bits = 4 * nibbles(modulus)
    even, odd = (residues[i::2].astype(np.uint64, copy=False) for i in (0, 1))
    # A pair is a number of up to 128 bits, in two words. A shift by 64 gives zero here.
    words = even | odd << np.uint64(bits), odd >> np.uint64(64 - bits)
    layout, pieces = _pieces(nibbles(modulus))
    pairs = np.empty(len(even), dtype=layout)
    for name, word, shift in pieces:
        pairs[name] = words[word] >> np.uint64(shift)
    return pairs.tobytes()


def unpack(data: bytes | memoryview, *, count: int, modulus: int) -> NDArray[np.uint64]:
    """Read `count` residues back.

    Raises:
        MalformedCiphertextError: Wrong length, or a residue not below the modulus.
    """
    if len(data) != packed_size(count, modulus=modulus):
        raise MalformedCiphertextError("A ciphertext polynomial has the wrong length.")
    bits = 4 * nibbles(modulus)
    layout, pieces = _pieces(nibbles(modulus))
    pairs = np.frombuffer(data, dtype=layout)
    words = np.zeros((2, count // 2), dtype=np.uint64)
    for name, word, shift in pieces:
        words[word] |= pairs[name].astype(np.uint64) << np.uint64(shift)
    residues = np.empty(count, dtype=np.uint64)
    residues[0::2] = words[0] & np.uint64(2**bits - 1)
    residues[1::2] = words[0] >> np.uint64(bits) | words[1] << np.uint64(64 - bits)
    if residues.max() >= modulus:
        raise MalformedCiphertextError("A ciphertext coefficient is not below its modulus.")
    return residues
