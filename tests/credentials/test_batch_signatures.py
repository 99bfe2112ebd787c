"""Signatures of many keys: the standard's, whoever checks them, and checked together as well."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gridsecure.credentials import batch_checks, batch_signatures
from gridsecure.credentials.batch_signatures import SignedText, Signing, find_unsigned, sign_all
from gridsecure.credentials.group import group_on
from gridsecure.crypto import sm2_curve
from gridsecure.crypto.sm2 import Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm2_gmssl import GmsslEngine

N = sm2_curve.N
KEYS = [generate_private_key() for _ in range(4)]
MESSAGES = [b"", b"seat 1", b"seat 2" * 100, b"seat 1"]
# GB/T 32918.5-2017 Annex A: private key, nonce, and the signature of "message digest"
SCALAR = 0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8
NONCE = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
SIGNATURE = (
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)


@pytest.fixture(scope="module")
def signed():
    wanted = [
        Signing(int.from_bytes(key.to_bytes(), "big"), key.public_key, message)
        for key, message in zip(KEYS, MESSAGES, strict=True)
    ]
    return [
        SignedText(one.public, one.message, signature)
        for one, signature in zip(wanted, sign_all(wanted), strict=True)
    ]


def altered(one, **changes):
    fields = {"public": one.public, "message": one.message, "signature": one.signature}
    return SignedText(**{**fields, **changes})


def test_the_standards_example_comes_out(monkeypatch):
    point = group_on().sum((SCALAR, group_on().generator))
    public = Sm2PublicKey(b"\x04" + group_on().encode_whole(point))
    group = group_on()
    made = batch_signatures._signature(
        Signing(SCALAR, public, b"message digest"),
        NONCE,
        group.sum((NONCE, group.generator)),
        group,
    )
    assert made[:64].hex() == SIGNATURE
    assert set(find_unsigned([SignedText(public, b"message digest", made)])) == set()


def test_both_engines_take_them_for_what_they_are(signed):
    engine = GmsslEngine()
    for one in signed:
        one.public.verify(one.message, one.signature[:64])
    one = signed[1]
    handle = engine.load_public(one.public.point)
    assert handle.verify(one.message, one.signature[:64], identity=sm2_curve.DEFAULT_ID)


def test_signatures_with_and_without_y_are_checked(signed):
    mixed = [
        altered(one, signature=one.signature[: 64 + 32 * (at % 2)]) for at, one in enumerate(signed)
    ]
    assert (
        set(find_unsigned(signed)) == set(find_unsigned(mixed)) == set(find_unsigned([])) == set()
    )


def test_every_byte_counts(signed):
    one = signed[1]
    for at in range(0, 96, 5):
        bent = bytearray(one.signature)
        bent[at] ^= 1
        assert set(find_unsigned([signed[0], altered(one, signature=bytes(bent)), signed[2]])) == {
            1
        }


def numbers(r: int, s: int, tail: bytes) -> bytes:
    return sm2_curve.join_numbers(r, s) + tail


MALFORMED = {
    "nothing": lambda _: b"",
    "a byte less": lambda data: data[:-1],
    "a byte more": lambda data: data + b"0",
    "nought": lambda _: bytes(96),
    "r nought": lambda data: bytes(32) + data[32:],
    "s nought": lambda data: data[:32] + bytes(32) + data[64:],
    "r + s = n": lambda data: numbers(5, N - 5, data[64:]),
    "s + n": lambda data: data[:32] + (2**256 - 1).to_bytes(32, "big") + data[64:],
    "-y": lambda data: (
        data[:64] + (sm2_curve.P - int.from_bytes(data[64:], "big")).to_bytes(32, "big")
    ),
    "plain, bent": lambda data: data[:63] + bytes([data[63] ^ 1]),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_signature_is_named_alone(signed, what):
    bad = altered(signed[2], signature=MALFORMED[what](signed[2].signature))
    assert set(find_unsigned([*signed[:2], bad, signed[3]])) == {2}


def test_nobody_signs_for_another(signed):
    assert set(find_unsigned([altered(a, public=b.public) for a, b in pairwise(signed)])) == {
        0,
        1,
        2,
    }
    assert set(find_unsigned([altered(a, message=b"other") for a in signed])) == {0, 1, 2, 3}


def test_two_forgeries_that_cancel_are_refused(signed, monkeypatch):
    """One s too great by 3, one too small, and r moved against it: the sums are 3·G and -3·G."""

    def moved(one, by):
        r, s = (int.from_bytes(one.signature[at : at + 32], "big") for at in (0, 32))
        # r + s stays, so P's part does; r moves x unless the message's digest moves along
        return numbers((r - by) % N, (s + by) % N, one.signature[64:])

    digest = sm2_curve.message_digest
    bent = [
        altered(signed[0], signature=moved(signed[0], 3)),
        altered(signed[1], signature=moved(signed[1], -3)),
    ]
    shift = {signed[0].public.point: -3, signed[1].public.point: 3}
    with monkeypatch.context() as patch:  # as if the forger had found messages of such digests
        patch.setattr(
            sm2_curve,
            "message_digest",
            lambda point, message: (digest(point, message) + shift[point]) % N,
        )
        assert set(find_unsigned(bent)) == {0, 1}
        patch.setattr(batch_checks.secrets, "randbits", lambda _: 12)
        assert set(find_unsigned(bent)) == set()
