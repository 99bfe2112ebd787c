"""Encryptions of zero in doubles: exact, of the right randomness, with the library's noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tenseal import sealapi

from gridsecure.homomorphic import zero_encryption
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import INTERVAL, REGISTER, TIER, Parameters
from gridsecure.homomorphic.rings import load_into, ring_for
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.homomorphic.zero_encryption import ZeroEncryptor, draw, untransform

N = INTERVAL.ring_degree
Q, P = INTERVAL.primes
RANDOM = np.random.default_rng(3)
ONES = np.ones(N, dtype=np.int64)
TERNARY = {
    "random": RANDOM.integers(-1, 2, N),
    "longest": ONES,
    "in turn": np.where(np.arange(N) % 2, 1, -1),
    "one power": np.eye(1, N, N - 1, dtype=np.int64)[0],
}
ERRORS = {"random": RANDOM.integers(-21, 22, (2, N)), "largest": np.full((2, N), -21)}
KEYS = {
    "random": np.stack([RANDOM.integers(0, prime, (2, N)) for prime in (Q, P)], axis=1),
    # Both residues of one half would be ties but for 2**-60, which doubles do not see.
    "largest": np.stack([np.full((2, N), half) for half in (Q // 2, P // 2 - 1)], axis=1),
    "smallest": np.stack([np.full((2, N), half) for half in (Q // 2 + 1, P // 2 + 2)], axis=1),
}
WIDTH = 15


def product(first: list[int], second: list[int]) -> list[int]:
    """Of two polynomials modulo X^N + 1, as one product of two long integers."""
    bias = 1 << (8 * WIDTH - 1)
    whole = joined(first) * joined(second) + joined([bias] * 2 * N)
    digits = whole.to_bytes(2 * N * WIDTH + 1, "little")
    found = [
        int.from_bytes(digits[start : start + WIDTH], "little") - bias
        for start in range(0, 2 * N * WIDTH, WIDTH)
    ]
    return [low - high for low, high in zip(found[:N], found[N:], strict=True)]


def joined(digits: list[int]) -> int:
    """The digits, of any sign, as those of one integer: of WIDTH bytes each."""
    above, below = (
        b"".join(max(sign * digit, 0).to_bytes(WIDTH, "little") for digit in digits)
        for sign in (1, -1)
    )
    return int.from_bytes(above, "little") - int.from_bytes(below, "little")


def expected(
    key: NDArray[Any], ternary: NDArray[np.int64], errors: NDArray[np.int64]
) -> list[list[int]]:
    """The library's rule in whole numbers: (key·u + e) / P, rounded, modulo Q."""
    inverse = pow(P, -1, Q)
    found = []
    for rows, error in zip(key.tolist(), errors, strict=True):
        ordered = error.reshape(N // 2, 2).T.ravel().tolist()
        # The Chinese remainder theorem: one residue modulo Q·P of the two.
        residues = [p + P * ((q - p) * inverse % Q) for q, p in zip(*rows, strict=True)]
        sums = [a + b for a, b in zip(product(residues, ternary.tolist()), ordered, strict=True)]
        found.append([(2 * one + P) // (2 * P) % Q for one in sums])
    return found


def of_coefficients(key: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> ZeroEncryptor:
    monkeypatch.setattr(zero_encryption, "untransform", lambda row, modulus: row.astype(object))
    return ZeroEncryptor(INTERVAL, key.astype(np.uint64))


@pytest.mark.parametrize(
    ("key", "ternary"),
    [
        ("random", "random"),
        ("random", "one power"),
        ("largest", "longest"),
        ("smallest", "longest"),
        ("largest", "in turn"),
    ],
)
def test_numbers_are_exact(key: str, ternary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = ERRORS["largest" if ternary == "longest" else "random"]
    made = of_coefficients(KEYS[key], monkeypatch).encrypt_with(TERNARY[ternary], errors)
    assert made.shape == (2, 1, N)
    assert made[:, 0].tolist() == expected(KEYS[key], TERNARY[ternary], errors)


@pytest.mark.parametrize("parameters", [INTERVAL, REGISTER], ids=lambda p: p.name)
def test_a_transformed_polynomial_is_turned_back(parameters: Parameters) -> None:
    """As the library has polynomials: its own transform of X, and of the constant 7."""
    ring, prime = ring_for(parameters), parameters.primes[0]
    for text, want in (("1x^1", {1: 1}), ("7", {0: 7})):
        plain = sealapi.Plaintext(text)
        level = ring.context.first_context_data().parms_id()
        ring.evaluator.transform_to_ntt_inplace(plain, level)
        values = np.array([plain.data(i) for i in range(N)], dtype=np.uint64)
        found = untransform(values, modulus=prime).tolist()
        assert {power: one for power, one in enumerate(found) if one} == want


def test_what_is_drawn_is_ternary_and_binomial() -> None:
    """Bounds are seven deviations and more; the draws are the system's, so none is a fixed one."""
    drawn = [draw(N) for _ in range(24)]
    ternary = np.concatenate([one for one, _ in drawn])
    errors = np.concatenate([own.ravel() for _, own in drawn])
    for value in (-1, 0, 1):
        assert abs((ternary == value).mean() - 1 / 3) < 7 * (2 / 9 / len(ternary)) ** 0.5
    assert set(np.unique(ternary)) == {-1, 0, 1}
    assert abs(errors.mean()) < 7 * (10.5 / len(errors)) ** 0.5
    assert abs(errors.var() - 10.5) < 7 * 10.5 * (2 / len(errors)) ** 0.5
    assert np.abs(errors).max() <= 21
    assert len({own.tobytes() for own, _ in drawn}) == len(drawn)


def test_scarce_bytes_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose bytes are all refused gives no short polynomial and no biased one."""
    streams = iter([b"\xff" * 8, None])
    true = zero_encryption.keystream

    def given(key: bytes, *, nonce: bytes, length: int) -> bytes:
        refused = next(streams)
        return refused * (length // 8) if refused else true(key, nonce=nonce, length=length)

    monkeypatch.setattr(zero_encryption, "keystream", given)
    ternary, _ = draw(N)
    assert next(streams, "spent") == "spent"
    assert set(np.unique(ternary)) == {-1, 0, 1}


def test_noise_is_the_roundings_alone(interval_keys: SecretKeySet) -> None:
    """As with the library: what the errors add is divided by 2**60."""
    own = interval_keys.public.encrypt(np.zeros(N, dtype=np.int64), high=0)
    ring = ring_for(INTERVAL)
    key = sealapi.PublicKey()
    load_into(key, ring, interval_keys.public.public_key)
    theirs = sealapi.Ciphertext()
    sealapi.Encryptor(ring.context, key).encrypt_zero(theirs)
    library = EncryptedColumn(own.evaluation, N, (theirs,))
    margins = [interval_keys.noise_margin(column) for column in (own, library)]
    assert abs(margins[0] - margins[1]) <= 1
    assert min(margins) >= 1


@pytest.mark.parametrize("parameters", [REGISTER, TIER], ids=lambda p: p.name)
def test_other_sets_are_refused(parameters: Parameters) -> None:
    key = np.zeros((2, len(parameters.primes), parameters.ring_degree), dtype=np.uint64)
    with pytest.raises(ValueError, match="doubles"):
        ZeroEncryptor(parameters, key)
