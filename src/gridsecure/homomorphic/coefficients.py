"""Ciphertext coefficients as tightly packed bytes, with every coefficient checked on the way in.

A coefficient modulo a w-bit prime is stored in w bits, rounded up to whole nibbles. SEAL's own
format spends eight bytes before compression and its reader has a history of memory-safety fixes;
ours has one shape, is checked with array comparisons, and never lets foreign bytes reach a parser.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.errors import MalformedCiphertextError

LITTLE_UINT64: Final = np.dtype("<u8")


def nibbles(modulus: int) -> int:
    """Nibbles that hold any residue of the modulus."""
    return -(-modulus.bit_length() // 4)


def packed_size(count: int, *, modulus: int) -> int:
    """Bytes that `count` residues take; `count` must be even."""
    return count * nibbles(modulus) // 2


def pack(residues: NDArray[np.uint64], *, modulus: int) -> bytes:
    """Pack residues [count] into `packed_size` bytes, little-endian.

    An odd number of nibbles packs two residues into that many bytes, sharing the middle one.
    """
    width = nibbles(modulus)
    raw = np.ascontiguousarray(residues, dtype=LITTLE_UINT64).view(np.uint8).reshape(-1, 8)
    if width % 2 == 0:
        return raw[:, : width // 2].tobytes()
    half = width // 2
    shifted = (residues[1::2].astype(np.uint64) << np.uint64(4)).astype(LITTLE_UINT64)
    odd = shifted.view(np.uint8).reshape(-1, 8)
    pairs = np.empty((len(raw) // 2, width), dtype=np.uint8)
    pairs[:, : half + 1] = raw[0::2, : half + 1]
    pairs[:, half] |= odd[:, 0]
    pairs[:, half + 1 :] = odd[:, 1 : half + 1]
    return pairs.tobytes()


def unpack(data: bytes | memoryview, *, count: int, modulus: int) -> NDArray[np.uint64]:
    """Read `count` residues back.

    Raises:
        MalformedCiphertextError: Wrong length, or a residue not below the modulus.
    """
    if len(data) != packed_size(count, modulus=modulus):
        raise MalformedCiphertextError("A ciphertext polynomial has the wrong length.")
    width = nibbles(modulus)
    raw = np.frombuffer(data, dtype=np.uint8)
    wide = np.zeros((count, 8), dtype=np.uint8)
    if width % 2 == 0:
        wide[:, : width // 2] = raw.reshape(count, width // 2)
        residues = wide.view(LITTLE_UINT64).reshape(count)
    else:
        half = width // 2
        pairs = raw.reshape(count // 2, width)
        wide[0::2, : half + 1] = pairs[:, : half + 1]
        wide[0::2, half] &= 0x0F
        wide[1::2, : half + 1] = pairs[:, half:]
        residues = wide.view(LITTLE_UINT64).reshape(count)
        residues[1::2] >>= np.uint64(4)
    if (residues >= np.uint64(modulus)).any():
        raise MalformedCiphertextError("A ciphertext coefficient is not below its modulus.")
    return residues.astype(np.uint64, copy=False)
