"""The curve's strict DER encodings, which exist only where a peer wants them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.crypto import sm2_curve
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import EnvelopeError, SignatureError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sm.json").read_text("utf-8"))
CRYPT = VECTORS["sm2_encrypt"][0]
N, P = sm2_curve.N, sm2_curve.P
CIPHERTEXT = bytes.fromhex(CRYPT["c1"] + CRYPT["c3"] + CRYPT["c2"])


def test_der_of_the_standards_ciphertext() -> None:
    der = bytes.fromhex(CRYPT["der"])
    assert sm2_curve.ciphertext_to_der(CIPHERTEXT) == der
    assert sm2_curve.ciphertext_from_der(der) == CIPHERTEXT


@given(r=st.integers(1, N - 1), s=st.integers(1, N - 1))
def test_signatures_survive_der(r: int, s: int) -> None:
    if r + s != N:
        raw = sm2_curve.join_numbers(r, s)
        assert sm2_curve.signature_from_der(sm2_curve.signature_to_der(raw)) == raw


@pytest.mark.parametrize(
    "der",
    [
        "",
        "30",
        "3000",
        "3006020101020100",  # s = 0
        "3006020100020101",  # r = 0
        "300602010102010100",  # trailing byte
        "308106020101020101",  # long length where the short one fits
        "30070202000102010" + "1",  # needless leading zero
        "3006020181020101",  # negative
        "3006020101030101",  # not an INTEGER
        "3009020101020101020101",  # a third number
        "3003020101",  # one number only
        "3080020101020101" + "0000",  # indefinite length
        "30ff" + "02" * 20,
        "3006020101020401",  # content ends early
    ],
)
def test_loose_der_signatures_are_refused(der: str) -> None:
    with pytest.raises(SignatureError):
        sm2_curve.signature_from_der(bytes.fromhex(der))


def test_der_numbers_above_the_order_are_refused() -> None:
    for number in (N, 2**256 - 1, 2**256, 2**300):
        encoded = sm2_curve._der_number(number)
        with pytest.raises(SignatureError):
            sm2_curve.signature_from_der(sm2_curve._der(0x30, encoded + b"\x02\x01\x01"))


@given(position=st.integers(0, 125), flip=st.integers(1, 255))
def test_der_ciphertexts_have_one_encoding(position: int, flip: int) -> None:
    der = bytearray(bytes.fromhex(CRYPT["der"]))
    der[position] ^= flip
    try:
        parsed = sm2_curve.ciphertext_from_der(bytes(der))
    except EnvelopeError:
        return
    assert sm2_curve.ciphertext_to_der(parsed) == bytes(der)


def test_der_ciphertexts_with_odd_parts_are_refused() -> None:
    c1, c3, c2 = sm2_curve.split_ciphertext(CIPHERTEXT)
    x, y = (sm2_curve._der_number(n) for n in sm2_curve.split_numbers(c1[1:]))
    big = sm2_curve._der_number(P)
    bodies = [
        big + y + sm2_curve._der(4, c3) + sm2_curve._der(4, c2),  # x not below p
        sm2_curve._der_number(2**300) + y + sm2_curve._der(4, c3) + sm2_curve._der(4, c2),
        x + y + sm2_curve._der(4, c3[:-1]) + sm2_curve._der(4, c3[-1:] + c2),  # moved boundary
        x + y + sm2_curve._der(4, c3),
    ]
    for body in bodies:
        with pytest.raises(EnvelopeError):
            sm2_curve.ciphertext_from_der(sm2_curve._der(0x30, body))


def test_long_ciphertexts_survive_der() -> None:
    key = generate_private_key()
    for size in (200, 70_000):
        data = bytes(size)
        assert key.decrypt(key.public_key.encrypt(data)) == data
