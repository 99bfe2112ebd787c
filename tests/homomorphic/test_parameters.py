"""The closed list of parameter sets: every number in it is what its description says."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, islice
from typing import Any

import numpy as np
import pytest

from gridsecure.errors import (
    CiphertextError,
    KeyMismatchError,
    MalformedCiphertextError,
    NotFoundError,
)
from gridsecure.homomorphic.parameters import (
    INTERVAL,
    MAX_MODULUS_BITS,
    PARAMETER_SETS,
    REGISTER,
    TIER,
    Parameters,
    Scheme,
    find_parameters,
)
from gridsecure.homomorphic.rings import Ring, _inflate, ring_for
from gridsecure.homomorphic.secret_key import generate_key_set

SETS = list(PARAMETER_SETS.values())
DIGESTS = {
    "bfv_4096_q44_t31": "29a7270e090fdbfda511d5cff04a62e2b61b35571e73746e5dae7126cb2a6ec9",
    "bfv_4096_q109_t60": "3ca32a6d3d9ac5ba7900255cc8ba5c9315e2204509fc517d158950efcf1163c6",
    "bgv_16384_q300_t35": "32a6fefab503d96dd906efceebd02e252d2d8fd73d4322570d4cb982f0283f82",
    "bgv_16384_q360_t35": "a7155ac01fa6fdb3b55d7727d56684a929dcfeeea648bc81797fb3dc7fe357ff",
}
"""A changed digest is a changed set: columns encrypted before could no longer be opened."""

CHANGES: dict[str, Any] = {
    "name": "another",
    "scheme": Scheme.BGV,
    "primes": INTERVAL.primes[::-1],
    "plain_modulus": 40961,
    "keeps_all_primes": True,
}


def is_prime(number: int) -> bool:
    """Miller-Rabin with the first twelve primes: exact below 3.3e24 (Sorenson, Webster 2015)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if number in bases:
        return True
    if number < 2 or any(number % base == 0 for base in bases):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(
        (power := pow(base, odd, number)) == 1
        or any(pow(power, 2**step, number) == number - 1 for step in range(twos))
        for base in bases
    )


def test_prime_test_knows_primes() -> None:
    assert [n for n in range(60) if is_prime(n)] == [
        2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59,
    ]  # fmt: skip
    assert is_prime(2**61 - 1)
    assert not is_prime(3215031751), "a strong pseudoprime to bases 2, 3, 5 and 7"


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_moduli_are_distinct_primes_that_split_the_ring(parameters: Parameters) -> None:
    moduli = (*parameters.primes, parameters.plain_modulus)
    assert len(set(moduli)) == len(moduli)
    for modulus in moduli:
        assert is_prime(modulus)
        assert modulus % (2 * parameters.ring_degree) == 1


@pytest.mark.parametrize("prime", TIER.primes)
def test_bgv_primes_keep_the_correction_factor_at_one(prime: int) -> None:
    assert prime % (2 * TIER.ring_degree * TIER.plain_modulus) == 1


def test_other_bgv_primes_leave_a_factor_that_is_refused() -> None:
    """What the special primes are for: ordinary ones make levels that must not be added up."""
    step = 2 * 8192
    found = (n for n in range(2**50 + 1, 2**51, step) if is_prime(n))
    ordinary = Parameters("bgv_8192", Scheme.BGV, 8192, tuple(islice(found, 3)), 65537)
    column = generate_key_set(ordinary).public.encrypt(np.arange(5), high=5)
    ring = ring_for(ordinary)
    assert ring.coefficients(column.chunks[0]).shape == (2, 2, 8192)
    with pytest.raises(CiphertextError) as refused:
        ring.coefficients(column.switch_down(1).chunks[0])
    assert refused.value.reason == "ciphertext.correction-factor"


@pytest.mark.parametrize("shape", [(1, 1, 4096), (2, 1, 2048), (2, 2, 4096), (2, 0, 4096)])
def test_residues_of_another_shape_make_no_ciphertext(shape: tuple[int, int, int]) -> None:
    with pytest.raises(MalformedCiphertextError):
        ring_for(INTERVAL).ciphertext(np.ones(shape, dtype=np.uint64))


def test_uncompressed_serialization_is_read_too() -> None:
    """A library built without a compressor writes the body as it is."""
    header = bytes.fromhex("5ea1100403000000") + (16 + 3).to_bytes(8, "little")
    assert _inflate(header + b"abc") == b"abc"


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_name_spells_the_set(parameters: Parameters) -> None:
    scheme, degree, q, t = parameters.name.split("_")
    product = 1
    # The interval set is named for the level that its ciphertexts are born and stored at.
    named = parameters.primes[:1] if parameters is INTERVAL else parameters.primes
    for prime in named:
        product *= prime
    assert scheme == parameters.scheme.name.lower()
    assert int(degree) == parameters.ring_degree
    assert int(q[1:]) == product.bit_length()
    assert t == f"t{parameters.plain_modulus.bit_length()}"


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_digest_is_stable(parameters: Parameters) -> None:
    assert parameters.digest == DIGESTS[parameters.name]


@pytest.mark.parametrize("field", CHANGES)
def test_digest_covers_every_field(field: str) -> None:
    assert replace(INTERVAL, **{field: CHANGES[field]}).digest != INTERVAL.digest


def test_digest_covers_the_ring_degree() -> None:
    assert replace(INTERVAL, ring_degree=8192, plain_modulus=65537).digest != (
        replace(INTERVAL, plain_modulus=65537).digest
    )


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_set_keeps_the_security_bound(parameters: Parameters) -> None:
    assert parameters.modulus_bits <= MAX_MODULUS_BITS[parameters.ring_degree]


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_set_beyond_the_security_bound_cannot_exist(parameters: Parameters) -> None:
    bound = MAX_MODULUS_BITS[parameters.ring_degree]
    too_many = tuple(2**60 - 1 - i for i in range(bound // 60 + 1))
    with pytest.raises(ValueError, match="the bound"):
        replace(parameters, primes=too_many)


def test_one_bit_beyond_the_bound_is_refused() -> None:
    assert replace(INTERVAL, primes=(2**54, 2**54)).modulus_bits == 109
    with pytest.raises(ValueError, match="110 bits"):
        replace(INTERVAL, primes=(2**54, 2**55))


def test_unlisted_ring_degree_is_refused() -> None:
    with pytest.raises(ValueError, match="the bound"):
        replace(INTERVAL, ring_degree=2048)


def test_plain_modulus_that_cannot_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot batch"):
        replace(INTERVAL, plain_modulus=INTERVAL.plain_modulus + 2)


def test_library_refuses_what_is_no_prime() -> None:
    composite = (2**20 + 1) * (2**20 - 1)
    with pytest.raises(CiphertextError) as refused:
        Ring(replace(INTERVAL, primes=(composite, INTERVAL.primes[1])))
    assert refused.value.reason == "parameters.unusable"


def test_library_must_agree_about_the_primes_for_data() -> None:
    with pytest.raises(CiphertextError) as refused:
        Ring(replace(INTERVAL, keeps_all_primes=True))
    assert refused.value.reason == "parameters.unusable"


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_library_itself_vouches_for_128_bits(parameters: Parameters) -> None:
    level = ring_for(parameters).context.key_context_data().qualifiers().sec_level
    assert level.name == "TC128"


def test_one_fresh_interval_column_decrypts_without_a_probability_argument() -> None:
    # |rounding of c0| <= 1/2, of c1 at most 1/2 a coefficient of a ternary secret.
    assert (1 + INTERVAL.ring_degree) / 2 < INTERVAL.primes[0] / (2 * INTERVAL.plain_modulus)


def test_register_modulus_is_just_below_sixty_bits() -> None:
    assert 2**60 - 2**15 < REGISTER.plain_modulus < 2**60


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_set_is_found_by_name_and_digest(name: str) -> None:
    found = PARAMETER_SETS[name]
    assert find_parameters(name) is found
    assert find_parameters(name, digest=found.digest) is found


def test_unknown_name_is_not_found() -> None:
    with pytest.raises(NotFoundError) as refused:
        find_parameters("bfv_1024_insecure")
    assert refused.value.reason == "parameters.unknown"
    assert INTERVAL.name in refused.value.remedy


@pytest.mark.parametrize(("mine", "theirs"), list(combinations(PARAMETER_SETS, 2)))
def test_same_name_with_another_digest_is_refused(mine: str, theirs: str) -> None:
    with pytest.raises(KeyMismatchError) as refused:
        find_parameters(mine, digest=PARAMETER_SETS[theirs].digest)
    assert refused.value.reason == "parameters.digest"
