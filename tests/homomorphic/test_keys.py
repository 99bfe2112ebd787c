"""Key sets: what is public carries no secret, what is secret does not travel."""

from __future__ import annotations

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from gridsecure.errors import KeyMismatchError, MalformedCiphertextError, OutOfRangeError
from gridsecure.homomorphic import rings
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import INTERVAL, PARAMETER_SETS, REGISTER, TIER
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set, load_secret_key_set

SETS = pytest.mark.parametrize("name", PARAMETER_SETS)


@SETS
def test_key_set_survives_its_bytes(key_sets: dict[str, SecretKeySet], name: str) -> None:
    keys = key_sets[name]
    public = PublicKeySet(
        keys.public.parameters, keys.public.public_key, keys.public.relinearisation_keys
    )
    loaded = load_secret_key_set(keys.to_bytes(), public=public)
    assert public.key_id == keys.public.key_id
    column = public.encrypt(np.arange(7), high=6)
    assert loaded.decrypt(column).tolist() == keys.decrypt(column).tolist() == list(range(7))


@SETS
def test_keys_are_new_each_time(name: str) -> None:
    first, second = (generate_key_set(PARAMETER_SETS[name]) for _ in range(2))
    assert first.public.key_id != second.public.key_id
    assert first.to_bytes() != second.to_bytes()


def test_key_id_is_a_fingerprint_of_set_and_public_key(interval_keys: SecretKeySet) -> None:
    public = interval_keys.public
    assert len(public.key_id) == 32
    assert int(public.key_id, 16) >= 0
    other = generate_key_set(INTERVAL).public
    assert public.key_id != other.key_id
    assert PublicKeySet(INTERVAL, public.public_key).key_id == public.key_id
    assert public.evaluation.key_id == public.key_id


def test_encryption_is_randomised(interval_keys: SecretKeySet) -> None:
    first, second = (interval_keys.public.encrypt(np.arange(7), high=6) for _ in range(2))
    ring = interval_keys.public.evaluation.ring
    same = ring.coefficients(first.chunks[0]) == ring.coefficients(second.chunks[0])
    assert same.mean() < 0.01


# --- encryption refuses what does not fit -------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "high"),
    [
        ([-1], 9),
        ([10], 9),
        ([0, 9, 10], 9),
        ([2**63], 9),
        ([0], INTERVAL.plain_modulus),
        ([0], 2**64),
        ([0], -1),
    ],
)
def test_value_outside_its_bound_is_refused(
    interval_keys: SecretKeySet, values: list[int], high: int
) -> None:
    with pytest.raises(OutOfRangeError) as refused:
        interval_keys.public.encrypt(np.array(values), high=high)
    assert refused.value.reason == "column.range"
    assert str(values[-1]) not in refused.value.message


@pytest.mark.parametrize(
    "values", [np.array([1.5]), np.array([-0.5]), np.array([np.nan]), np.array([1.0, "2"], object)]
)
def test_what_is_no_integer_is_refused(interval_keys: SecretKeySet, values: object) -> None:
    """A cast would cut fractions off without a word."""
    with pytest.raises(OutOfRangeError) as refused:
        interval_keys.public.encrypt(values, high=9)
    assert refused.value.reason == "column.type"


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32, np.uint8, object])
def test_any_kind_of_integer_is_encrypted(interval_keys: SecretKeySet, kind: type) -> None:
    column = interval_keys.public.encrypt(np.array([0, 1, 200]).astype(kind), high=200)
    assert interval_keys.decrypt(column).tolist() == [0, 1, 200]


@SETS
def test_largest_value_of_the_set_round_trips(key_sets: dict[str, SecretKeySet], name: str) -> None:
    top = PARAMETER_SETS[name].plain_modulus - 1
    column = key_sets[name].public.encrypt(np.array([top, 0], dtype=np.uint64), high=top)
    assert key_sets[name].decrypt(column).tolist() == [top, 0]


# --- public bytes -------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 2, 15, 16, 100, -1])
def test_truncated_public_key_is_refused(interval_keys: SecretKeySet, cut: int) -> None:
    with pytest.raises(KeyMismatchError) as refused:
        PublicKeySet(INTERVAL, interval_keys.public.public_key[:cut])
    assert refused.value.reason == "keys.malformed"


def test_public_key_of_another_set_is_refused(
    interval_keys: SecretKeySet, register_keys: SecretKeySet, tier_keys: SecretKeySet
) -> None:
    for keys in (register_keys, tier_keys):
        with pytest.raises(KeyMismatchError):
            PublicKeySet(INTERVAL, keys.public.public_key)


def test_relinearisation_keys_must_be_relinearisation_keys(tier_keys: SecretKeySet) -> None:
    public = tier_keys.public
    for other in (public.public_key, b"ab", public.relinearisation_keys[:-1]):
        with pytest.raises(KeyMismatchError):
            PublicKeySet(TIER, public.public_key, other)


def test_public_key_set_prints_no_megabytes(tier_keys: SecretKeySet) -> None:
    assert len(repr(tier_keys.public)) < 1000


# --- the secret half ----------------------------------------------------------------------------


def test_secret_key_does_not_travel(interval_keys: SecretKeySet) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="does not travel"):
            pickle.dumps(interval_keys, protocol=protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="does not travel"):
            duplicate(interval_keys)


def test_secret_key_is_not_printed(interval_keys: SecretKeySet) -> None:
    expected = f"SecretKeySet(key_id={interval_keys.public.key_id!r})"
    assert repr(interval_keys) == str(interval_keys) == f"{interval_keys}" == expected


def test_saved_secret_key_leaves_nothing_in_the_scratch_file(interval_keys: SecretKeySet) -> None:
    assert interval_keys.to_bytes()
    descriptor, _ = rings._memory_file()
    assert os.fstat(descriptor).st_size == 0
    load_secret_key_set(interval_keys.to_bytes(), public=interval_keys.public)
    assert os.fstat(descriptor).st_size == 0


@SETS
def test_secret_key_of_another_key_set_is_refused(
    key_sets: dict[str, SecretKeySet], name: str
) -> None:
    other = generate_key_set(PARAMETER_SETS[name])
    with pytest.raises(KeyMismatchError):
        load_secret_key_set(other.to_bytes(), public=key_sets[name].public)


def test_foreign_relinearisation_keys_are_refused(tier_keys: SecretKeySet) -> None:
    foreign = generate_key_set(TIER).public.relinearisation_keys
    mixed = replace(tier_keys.public, relinearisation_keys=foreign)
    with pytest.raises(KeyMismatchError):
        load_secret_key_set(tier_keys.to_bytes(), public=mixed)


@pytest.mark.parametrize("data", [b"", b"ab", bytes(1000)], ids=len)
def test_junk_is_no_secret_key(interval_keys: SecretKeySet, data: bytes) -> None:
    with pytest.raises(MalformedCiphertextError) as refused:
        load_secret_key_set(data, public=interval_keys.public)
    assert len(str(refused.value)) < 200


def test_public_key_is_no_secret_key(interval_keys: SecretKeySet) -> None:
    with pytest.raises(MalformedCiphertextError):
        load_secret_key_set(interval_keys.public.public_key, public=interval_keys.public)


def test_column_of_another_key_is_not_decrypted(interval_keys: SecretKeySet) -> None:
    column = generate_key_set(INTERVAL).public.encrypt(np.arange(3), high=2)
    with pytest.raises(KeyMismatchError):
        interval_keys.decrypt(column)


def test_column_of_another_set_is_not_decrypted(
    interval_keys: SecretKeySet, register_keys: SecretKeySet
) -> None:
    column = register_keys.public.encrypt(np.arange(3), high=2)
    with pytest.raises(KeyMismatchError):
        interval_keys.decrypt(column)


def test_decryption_returns_the_slots_in_use_only(interval_keys: SecretKeySet) -> None:
    column = interval_keys.public.encrypt(np.arange(3), high=2).raise_by(5)
    assert interval_keys.decrypt(column).tolist() == [5, 6, 7]


# --- several threads and a fork share no scratch file -------------------------------------------


def test_threads_do_not_mix_their_columns(interval_keys: SecretKeySet) -> None:
    """Saving and loading go through one scratch file a thread."""
    ring = interval_keys.public.evaluation.ring

    def round_trip(number: int) -> bool:
        column = interval_keys.public.encrypt(np.full(8, number), high=99)
        for _ in range(10):
            chunk = ring.ciphertext(ring.coefficients(column.chunks[0]))
            column = replace(column, chunks=(chunk,))
        return bool((interval_keys.decrypt(column) == number).all())

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(round_trip, range(40)))


def test_threads_that_end_close_their_scratch_files(interval_keys: SecretKeySet) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = descriptors()
    for _ in range(20):
        with ThreadPoolExecutor(1) as thread:
            thread.submit(interval_keys.to_bytes).result()
    assert descriptors() <= before + 1


def test_register_set_has_nothing_to_relinearise(register_keys: SecretKeySet) -> None:
    assert register_keys.public.relinearisation_keys == b""
    assert register_keys.public.evaluation.relinearisation_keys is None
    assert REGISTER.keeps_all_primes
