"""Hash-to-curve: RFC 9380's vectors on P-256, the same code with SM3 on SM2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gridsecure.credentials.curves import P256, SM2
from gridsecure.credentials.group import group_on
from gridsecure.credentials.hash_to_curve import (
    expand_message,
    hash_to_numbers,
    hash_to_point,
    map_to_point,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "anonymous-credentials" / "h2c_p256.json"
SUITE = json.loads(VECTORS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", SUITE["vectors"], ids=lambda vector: vector["msg"][:8])
def test_published_vectors(vector):
    group, tag, message = group_on(P256), SUITE["dst"].encode(), vector["msg"].encode()
    numbers = hash_to_numbers(message, tag=tag, count=2, modulus=P256.p, digest=P256.digest)
    assert numbers == [int(u, 16) for u in vector["u"]]
    points = [map_to_point(number, group=group) for number in numbers]
    points.append(hash_to_point(message, tag=tag, group=group))
    for point, name in zip(points, ("Q0", "Q1", "P"), strict=True):
        assert point == (int(vector[name]["x"], 16), int(vector[name]["y"], 16))


def test_all_five_vectors_are_there():
    assert (SUITE["ciphersuite"], len(SUITE["vectors"])) == ("P256_XMD:SHA-256_SSWU_RO_", 5)


def test_sm2_known_answer():
    tag = b"QUUX-V01-CS02-with-SM2_XMD:SM3_SSWU_RO_"
    point = hash_to_point(b"abc", tag=tag, group=group_on(SM2))
    assert point.x == 0x7CF8871DFFCB584997D9B27CBC1B12308EEC4544F38688F7B8C53531AFB9FDCD
    assert SM2.contains(point)


def roots_exist(constants, p):
    """Whether x³ + ax + c has a root modulo p: gcd(x^p - x, f) ≠ 1."""
    a, c = constants

    def times(f, g):
        product = [0] * 5
        for i, one in enumerate(f):
            for j, two in enumerate(g):
                product[i + j] += one * two
        for high in (4, 3):  # x³ = -ax - c
            product[high - 2] -= a * product[high]
            product[high - 3] -= c * product[high]
        return [value % p for value in product[:3]]

    power = [1, 0, 0]
    for bit in bin(p)[2:]:
        power = times(power, power)
        if bit == "1":
            power = times(power, [0, 1, 0])
    left, right = [c, a, 0, 1], [power[0], (power[1] - 1) % p, power[2]]
    while any(right):
        while not right[-1]:
            right.pop()
        while len(left) >= len(right):
            factor = left[-1] * pow(right[-1], -1, p) % p
            shift = len(left) - len(right)
            for i, value in enumerate(right):
                left[shift + i] = (left[shift + i] - factor * value) % p
            left.pop()
        left, right = right, left or [0]
    return len(left) > 1


def find_z(curve):
    """The procedure of RFC 9380, appendix H.2."""
    p, a, b = curve.p, curve.a, curve.b

    def is_square(value):
        return pow(value, (p - 1) // 2, p) in (0, 1)

    for size in range(1, 99):
        for z in (size, -size):
            x = b * pow(z * a, -1, p) % p
            if (
                not is_square(z % p)
                and z != -1
                and not roots_exist((a, (b - z) % p), p)
                and is_square((x**3 + a * x + b) % p)
            ):
                return z
    return None


@pytest.mark.parametrize("curve", [SM2, P256])
def test_z_is_the_one_the_procedure_finds(curve):
    assert find_z(curve) == curve.z


@pytest.mark.parametrize("curve", [SM2, P256])
def test_the_exceptional_number_maps_to_a_point(curve):
    assert curve.contains(map_to_point(0, group=group_on(curve)))


def test_expansions_have_limits():
    for tag, length in ((b"", 32), (b"t" * 256, 32), (b"t", 0), (b"t", 8161)):
        with pytest.raises(ValueError, match="tag"):
            expand_message(b"m", tag=tag, length=length, digest=SM2.digest)
    assert len(expand_message(b"m", tag=b"t", length=33, digest=SM2.digest)) == 33
