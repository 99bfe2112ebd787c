"""Trap: whoever may send a selector as ciphertext may ask about any ciphertext that he has.

A selector's bits w can be checked without anybody seeing them: Σ r·(w² - w) is 0 for bits, and for
anything else once in t tries, where r is drawn after the selector was sent. That is sound, and it
is the trap: what is checked need not be what the sender encrypted. The platform stores the
gateways' columns, which are under the same key. It adds one household's column to a selector, and
whether the selector is refused is that household's reading, exactly, whatever noise is added to
what is answered. So no ciphertext of an analyst's meets a gateway's key: selectors travel as words
that the key authority reads, and encrypts or blinds by itself (docs/adr/0083).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes, read_column
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import TIER
from gridsecure.homomorphic.secret_key import SecretKeySet
from tests.grid_simulator import grid_keys

SLOTS = 64
MODULUS = TIER.plain_modulus
VICTIM = 40
LABEL = ColumnLabel("selector", "1", "homes", "2026-07-01", "2026-08-01", SLOTS, 1)


@pytest.fixture(scope="module")
def keys() -> SecretKeySet:
    return grid_keys().secret[TIER.name]


@pytest.fixture(scope="module")
def reached() -> NDArray[np.int64]:
    """Whether each household's month has 256 kWh: a digit as gateways encrypt it for tiers."""
    return np.random.default_rng(7).integers(0, 2, SLOTS)


def refused(keys: SecretKeySet, sent: EncryptedColumn) -> bool:
    """The algebraic check, as peers describe it; and that the file is one like any other."""
    data = column_bytes(sent, label=LABEL)
    selector, _ = read_column(data, evaluation=keys.public.evaluation, roster_id=LABEL.roster_id)
    challenge = np.array([secrets.randbelow(MODULUS) for _ in range(SLOTS)])
    square = selector.times(selector).relinearise()
    found = keys.decrypt(square.minus(selector).select(challenge))
    return sum(map(int, found)) % MODULUS != 0


def encrypted(keys: SecretKeySet, bits: NDArray[np.int64]) -> EncryptedColumn:
    return keys.public.encrypt(bits % MODULUS, high=MODULUS - 1)


def wrong_selectors() -> Iterator[tuple[str, NDArray[np.int64]]]:
    bits = np.arange(SLOTS) % 2
    half = pow(2, -1, MODULUS)
    for name, weight in {"overweight": 2, "negative": -1, "fractional": half}.items():
        yield name, np.where(np.arange(SLOTS) == VICTIM, weight, bits)


def test_the_check_itself_is_sound(keys: SecretKeySet) -> None:
    assert not refused(keys, encrypted(keys, np.arange(SLOTS) % 2))
    for name, wrong in wrong_selectors():
        assert refused(keys, encrypted(keys, wrong)), name


@pytest.mark.parametrize("bit", [0, 1])
def test_a_refusal_is_one_households_reading(
    keys: SecretKeySet, reached: NDArray[np.int64], bit: int
) -> None:
    """Half of all households, one of them, and that one's digit once more: 1 or 2."""
    stored = encrypted(keys, reached)  # by the gateway; the sender knows the bytes alone
    victim = int(np.flatnonzero(reached == bit)[0])
    unit = (np.arange(SLOTS) == victim).astype(np.int64)
    bits = np.maximum(np.arange(SLOTS) % 2, unit)
    sent = encrypted(keys, bits).plus(stored.select(unit))
    assert refused(keys, sent) == bool(bit)


def test_a_size_is_a_number_of_households_above_an_edge(
    keys: SecretKeySet, reached: NDArray[np.int64]
) -> None:
    """A gateway's digit is a selector without a fault; what is told of its size is told exactly."""
    stored = encrypted(keys, reached)
    assert not refused(keys, stored)
    assert int(keys.decrypt(stored).sum()) == int(reached.sum())
