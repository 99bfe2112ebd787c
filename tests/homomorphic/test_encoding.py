"""Encoding in doubles and adding to residues: the library's own results, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridsecure.homomorphic.encoding import SlotEncoder, slot_encoder
from gridsecure.homomorphic.parameters import INTERVAL, REGISTER, TIER, Parameters
from gridsecure.homomorphic.rings import ring_for
from gridsecure.homomorphic.secret_key import SecretKeySet

T = INTERVAL.plain_modulus
RANDOM = np.random.default_rng(7).integers(0, T, INTERVAL.ring_degree, dtype=np.uint64)
EXTREMES = np.where(RANDOM % 2, T - 1, RANDOM % 3).astype(np.uint64)
CASES = {
    "random": RANDOM,
    "largest": np.full(INTERVAL.ring_degree, T - 1, dtype=np.uint64),
    "extremes": EXTREMES,
    "zero": np.zeros(INTERVAL.ring_degree, dtype=np.uint64),
    "first slots": RANDOM[:5],
    "last slot": np.eye(1, INTERVAL.ring_degree, INTERVAL.ring_degree - 1, dtype=np.uint64)[0],
    "one slot": RANDOM[:1],
}


def by_library(slots: NDArray[np.uint64]) -> list[int]:
    plaintext = ring_for(INTERVAL).encode(slots)
    listed = [int(plaintext.data(power)) for power in range(plaintext.coeff_count())]
    return listed + [0] * (INTERVAL.ring_degree - len(listed))


@pytest.mark.parametrize("case", CASES)
def test_encoder_is_the_librarys(case: str) -> None:
    assert slot_encoder(INTERVAL).encode(CASES[case]).tolist() == by_library(CASES[case])


@given(st.dictionaries(st.integers(0, INTERVAL.ring_degree - 1), st.integers(0, T - 1), max_size=9))
def test_encoding_is_linear(chosen: dict[int, int]) -> None:
    """Of sums of extremes and any other numbers: no rounding is ever seen."""
    other = np.zeros_like(EXTREMES)
    other[list(chosen)] = list(chosen.values())
    modulus = np.uint64(T)
    encode = slot_encoder(INTERVAL).encode
    together = (encode(EXTREMES) + encode(other)) % modulus
    assert np.array_equal(encode((EXTREMES + other) % modulus), together)


@pytest.mark.parametrize("case", CASES)
def test_adding_to_residues_is_the_librarys(interval_keys: SecretKeySet, case: str) -> None:
    ring = ring_for(INTERVAL)
    residues = interval_keys.public.encrypt(np.arange(9), high=9).chunks[0]
    chunk, kept = ring.handle(residues), residues.copy()
    added = ring.add_plain(residues, CASES[case])
    assert np.array_equal(added, ring.coefficients(ring.add_plain(chunk, CASES[case])))
    assert np.array_equal(residues, kept), "a column that is added to stays what it was"


@pytest.mark.parametrize("parameters", [REGISTER, TIER], ids=lambda p: p.name)
def test_set_beyond_exact_doubles_is_refused(parameters: Parameters) -> None:
    with pytest.raises(ValueError, match="doubles"):
        SlotEncoder(parameters)
