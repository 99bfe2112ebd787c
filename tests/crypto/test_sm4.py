"""SM4 and SM4-GCM, against the published vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.crypto.sm4 import gcm_open, gcm_seal
from gridsecure.errors import EnvelopeError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sm.json").read_text("utf-8"))
KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")


def sm4_block(key: bytes, block: bytes) -> bytes:
    """One block of the cipher, as the library that GCM uses has it: the stream of a counter."""
    return Cipher(SM4(key), CTR(block)).encryptor().update(bytes(16))


def test_one_block_matches_the_standard() -> None:
    case = VECTORS["sm4_block"][0]
    ciphertext = sm4_block(bytes.fromhex(case["key"]), bytes.fromhex(case["pt"]))
    assert ciphertext == bytes.fromhex(case["ct"])


@pytest.mark.slow
def test_a_million_blocks_match_the_standard() -> None:
    case = VECTORS["sm4_block"][1]
    block = bytes.fromhex(case["pt"])
    for _ in range(case["iterations"]):
        block = sm4_block(KEY, block)
    assert block == bytes.fromhex(case["ct"])


def test_gcm_matches_rfc_8998() -> None:
    case = {k: bytes.fromhex(v) for k, v in VECTORS["sm4_gcm"][0].items() if k != "source"}
    sealed = gcm_seal(case["key"], nonce=case["iv"], data=case["pt"], associated_data=case["aad"])
    assert sealed == case["ct"] + case["tag"]


def test_gcm_matches_wycheproof() -> None:
    tests: list[dict[str, Any]] = VECTORS["wycheproof_sm4_gcm"]["tests"]
    assert len(tests) == 65
    for test in tests:
        key, iv, aad, message, ct, tag = (
            bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        if test["result"] == "valid":
            assert gcm_seal(key, nonce=iv, data=message, associated_data=aad) == ct + tag
            assert gcm_open(key, nonce=iv, data=ct + tag, associated_data=aad) == message
        else:
            with pytest.raises(EnvelopeError):
                gcm_open(key, nonce=iv, data=ct + tag, associated_data=aad)


@given(data=st.binary(max_size=40), aad=st.binary(max_size=10), flip=st.integers(0, 10_000))
def test_gcm_refuses_every_flipped_bit(data: bytes, aad: bytes, flip: int) -> None:
    nonce = bytes(12)
    sealed = bytearray(gcm_seal(KEY, nonce=nonce, data=data, associated_data=aad))
    assert gcm_open(KEY, nonce=nonce, data=bytes(sealed), associated_data=aad) == data
    flip %= len(sealed) * 8
    sealed[flip // 8] ^= 1 << flip % 8
    with pytest.raises(EnvelopeError):
        gcm_open(KEY, nonce=nonce, data=bytes(sealed), associated_data=aad)


@pytest.mark.parametrize("length", range(16))
def test_gcm_refuses_data_shorter_than_a_tag(length: int) -> None:
    with pytest.raises(EnvelopeError):
        gcm_open(KEY, nonce=bytes(12), data=bytes(length), associated_data=b"")


@pytest.mark.parametrize(("key", "nonce"), [(KEY[:15], bytes(12)), (KEY, bytes(16)), (KEY, b"")])
def test_wrong_sizes_are_programming_mistakes(key: bytes, nonce: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        gcm_seal(key, nonce=nonce, data=b"", associated_data=b"")
    with pytest.raises(ValueError, match="bytes"):
        gcm_open(key, nonce=nonce, data=bytes(16), associated_data=b"")
