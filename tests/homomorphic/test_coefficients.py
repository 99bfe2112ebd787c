"""Packed coefficients: the layout against big integers, and every refusal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridsecure.errors import MalformedCiphertextError
from gridsecure.homomorphic.coefficients import nibbles, pack, packed_size, unpack
from gridsecure.homomorphic.parameters import PARAMETER_SETS

PRIMES = sorted({prime for p in PARAMETER_SETS.values() for prime in p.primes})
WIDTHS = range(2, 65)


def by_big_integer(residues: NDArray[np.uint64], *, modulus: int) -> bytes:
    """The same layout said once more: residue i occupies nibbles i·w to (i + 1)·w of a number."""
    width = 4 * nibbles(modulus)
    whole = sum(int(residue) << (width * i) for i, residue in enumerate(residues))
    return whole.to_bytes(packed_size(len(residues), modulus=modulus), "little")


@st.composite
def residues_of(draw: st.DrawFn, moduli: st.SearchStrategy[int]) -> tuple[NDArray[np.uint64], int]:
    modulus = draw(moduli)
    pairs = draw(st.integers(1, 8))
    values = st.integers(0, modulus - 1) | st.just(modulus - 1)
    listed = draw(st.lists(values, min_size=2 * pairs, max_size=2 * pairs))
    return np.array(listed, dtype=np.uint64), modulus


ANY_WIDTH = st.sampled_from(WIDTHS).flatmap(lambda bits: st.integers(2 ** (bits - 1), 2**bits - 1))


@pytest.mark.parametrize("prime", PRIMES)
def test_every_prime_round_trips(prime: int) -> None:
    rng = np.random.default_rng(prime)
    residues = rng.integers(0, prime, 4096, dtype=np.uint64)
    residues[:4] = (0, prime - 1, prime - 1, 0)
    packed = pack(residues, modulus=prime)
    assert packed == by_big_integer(residues, modulus=prime)
    assert np.array_equal(unpack(packed, count=4096, modulus=prime), residues)


@given(residues_of(st.sampled_from(PRIMES) | ANY_WIDTH))
def test_every_width_round_trips(drawn: tuple[NDArray[np.uint64], int]) -> None:
    residues, modulus = drawn
    packed = pack(residues, modulus=modulus)
    assert packed == by_big_integer(residues, modulus=modulus)
    assert np.array_equal(unpack(packed, count=len(residues), modulus=modulus), residues)


@given(residues_of(st.sampled_from(PRIMES)), st.data())
def test_coefficient_at_or_above_its_modulus_is_refused(
    drawn: tuple[NDArray[np.uint64], int], data: st.DataObject
) -> None:
    residues, modulus = drawn
    top = 2 ** (4 * nibbles(modulus)) - 1
    where = data.draw(st.integers(0, len(residues) - 1))
    residues[where] = data.draw(st.just(modulus) | st.integers(modulus, top))
    with pytest.raises(MalformedCiphertextError):
        unpack(pack(residues, modulus=modulus), count=len(residues), modulus=modulus)


@pytest.mark.parametrize("prime", PRIMES)
@pytest.mark.parametrize("change", [-1, 1, -8, 8])
def test_wrong_length_is_refused(prime: int, change: int) -> None:
    size = packed_size(16, modulus=prime)
    with pytest.raises(MalformedCiphertextError):
        unpack(bytes(size + change), count=16, modulus=prime)


def test_nothing_is_refused() -> None:
    with pytest.raises(MalformedCiphertextError):
        unpack(b"", count=2, modulus=PRIMES[0])


def test_unpacked_residues_are_the_callers_own() -> None:
    """A view into a file's bytes would be read-only, or change with a reused buffer."""
    data = bytearray(packed_size(2, modulus=PRIMES[0]))
    residues = unpack(memoryview(data), count=2, modulus=PRIMES[0])
    data[0] = 1
    assert residues.tolist() == [0, 0]
