"""SM3 and what is built on it, against the published vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.crypto.sm3 import hkdf_sm3, hmac_sm3, pbkdf2_hmac_sm3, sm3_digest, sm3_hex

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sm.json").read_text("utf-8"))


@pytest.mark.parametrize("case", VECTORS["sm3"])
def test_digest_matches_the_standard(case: dict[str, Any]) -> None:
    message = bytes.fromhex(case["msg"])
    assert sm3_hex(message) == case["digest"].lower()
    assert sm3_digest(memoryview(message)).hex() == case["digest"].lower()


@pytest.mark.parametrize("case", VECTORS["hmac_sm3"])
def test_hmac_matches_the_standard(case: dict[str, Any]) -> None:
    tag = hmac_sm3(bytes.fromhex(case["key"]), bytes.fromhex(case["msg"]))
    assert tag.hex() == case["tag"]


def test_hmac_matches_wycheproof() -> None:
    cases = VECTORS["wycheproof_hmac_sm3"]["tests"]
    assert len(cases) == 174
    for case in cases:
        tag = hmac_sm3(bytes.fromhex(case["key"]), bytes.fromhex(case["msg"]))
        same = tag[: case["_tagSize"] // 8].hex() == case["tag"]
        assert same is (case["result"] == "valid"), case["tcId"]


@pytest.mark.parametrize("case", VECTORS["pbkdf2_hmac_sm3"])
def test_pbkdf2_matches_the_published_values(case: dict[str, Any]) -> None:
    key = pbkdf2_hmac_sm3(
        bytes.fromhex(case["password"]),
        salt=bytes.fromhex(case["salt"]),
        iterations=case["iter"],
        length=case["dklen"],
    )
    assert key.hex() == case["dk"]


@given(
    key=st.binary(min_size=16, max_size=48),
    salt=st.binary(max_size=40),
    info=st.binary(max_size=40),
    length=st.integers(1, 100),
)
def test_hkdf_is_rfc_5869(key: bytes, salt: bytes, info: bytes, length: int) -> None:
    """RFC 5869 written out over our own HMAC-SM3, since no SM3 vector is published."""
    secret = hmac_sm3(salt or bytes(32), key)
    block, stream = b"", b""
    for counter in range(1, 5):
        block = hmac_sm3(secret, block + info + bytes([counter]))
        stream += block
    assert hkdf_sm3(key, salt=salt, info=info, length=length) == stream[:length]


@pytest.mark.parametrize("length", [0, 8161])
def test_hkdf_refuses_impossible_lengths(length: int) -> None:
    with pytest.raises(ValueError, match="8160"):
        hkdf_sm3(b"k" * 16, info=b"test", length=length)


@pytest.mark.parametrize(("iterations", "length"), [(0, 16), (1000, 0)])
def test_pbkdf2_refuses_impossible_costs(iterations: int, length: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        pbkdf2_hmac_sm3(b"password", salt=b"s" * 16, iterations=iterations, length=length)


@given(key=st.binary(max_size=100), data=st.binary(max_size=100))
def test_hmac_pads_keys_as_rfc_2104_says(key: bytes, data: bytes) -> None:
    """The definition written out: keys longer than a block of 64 bytes are hashed first."""
    block = (sm3_digest(key) if len(key) > 64 else key).ljust(64, b"\0")
    inner = sm3_digest(bytes(b ^ 0x36 for b in block) + data)
    assert hmac_sm3(key, data) == sm3_digest(bytes(b ^ 0x5C for b in block) + inner)
