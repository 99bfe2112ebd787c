"""The AES keystream, against NIST's vector."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.crypto.aes import keystream

# NIST SP 800-38A, F.5.5 (CTR-AES256.Encrypt): key, initial counter, output blocks 1 and 2.
KEY = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
COUNTER = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
BLOCKS = bytes.fromhex("0bdf7df1591716335e9a8b15c860c5025a6e699d536119065433863c8f657b94")


def test_stream_matches_the_standard() -> None:
    assert keystream(KEY, nonce=COUNTER, length=32) == BLOCKS


@given(nonce=st.integers(0, 2**128 - 1), length=st.integers(0, 100))
def test_keystream_is_the_cipher_over_a_running_counter(nonce: int, length: int) -> None:
    counters = [((nonce + n) % 2**128).to_bytes(16, "big") for n in range(7)]
    blocks = b"".join(keystream(KEY, nonce=counter, length=16) for counter in counters)
    assert keystream(KEY, nonce=counters[0], length=length) == blocks[:length]


@pytest.mark.parametrize(
    ("key", "nonce", "length"), [(KEY, bytes(12), 1), (KEY[1:], bytes(16), 1), (KEY, bytes(16), -1)]
)
def test_keystream_refuses_wrong_sizes(key: bytes, nonce: bytes, length: int) -> None:
    with pytest.raises(ValueError, match=r"bytes|negative"):
        keystream(key, nonce=nonce, length=length)
