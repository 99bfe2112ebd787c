"""Trap: ciphertexts under different keys add without an error and decrypt to garbage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import KeyMismatchError
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes, open_column
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set

LABEL = ColumnLabel("total", "Wh", "roster", "2026-01-01", "2026-02-01", 9, 9)


@pytest.fixture(scope="module")
def foreign() -> SecretKeySet:
    return generate_key_set(INTERVAL)


def test_library_adds_them_into_garbage(interval_keys: SecretKeySet, foreign: SecretKeySet) -> None:
    """With the key id forged nothing in the library objects, which is why the id is checked."""
    mine = interval_keys.public.encrypt(np.arange(9), high=9)
    theirs = foreign.public.encrypt(np.arange(9), high=9)
    disguised = replace(theirs, evaluation=mine.evaluation)
    added = interval_keys.decrypt(mine.plus(disguised))
    assert added.tolist() != [2 * i for i in range(9)]
    assert int(added.max()) > 1000


def test_ours_refuses_to_add_them(interval_keys: SecretKeySet, foreign: SecretKeySet) -> None:
    mine = interval_keys.public.encrypt(np.arange(9), high=9)
    theirs = foreign.public.encrypt(np.arange(9), high=9)
    for first, second in ((mine, theirs), (theirs, mine)):
        with pytest.raises(KeyMismatchError):
            first.plus(second)


def test_ours_refuses_to_open_the_foreign_file(
    interval_keys: SecretKeySet, foreign: SecretKeySet
) -> None:
    data = column_bytes(foreign.public.encrypt(np.arange(9), high=9), label=LABEL)
    with pytest.raises(KeyMismatchError) as refused:
        open_column(
            data,
            digest=sm3_hex(data),
            evaluation=interval_keys.public.evaluation,
            roster_id="roster",
        )
    assert refused.value.reason == "ciphertext.key-id"
    assert refused.value.remedy
