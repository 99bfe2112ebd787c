"""Envelopes open for the right key and purpose, unaltered, and never otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.crypto.envelope import open_from, open_sealed, seal, seal_to
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm4 import gcm_seal
from gridsecure.errors import EnvelopeError

KEK = bytes(range(16))
WHEN = datetime(2026, 11, 23, 8, 30, 0, 123456, tzinfo=UTC)
RECIPIENT = generate_private_key()
DATA = b"a household's statement"


def sealed(data: bytes = DATA, purpose: str = "test") -> bytes:
    return seal(data, kek=KEK, purpose=purpose, owner="authority", created_at=WHEN)


def sealed_to(data: bytes = DATA, purpose: str = "test") -> bytes:
    return seal_to(
        data,
        recipient=RECIPIENT.public_key,
        purpose=purpose,
        owner="authority",
        created_at=WHEN,
    )


def opened(blob: bytes, purpose: str = "test") -> bytes:
    return open_sealed(blob, kek=KEK, purpose=purpose)


def opened_from(blob: bytes, purpose: str = "test") -> bytes:
    return open_from(blob, private_key=RECIPIENT, purpose=purpose)


both = pytest.mark.parametrize(
    ("close", "open_again"),
    [(sealed, opened), (sealed_to, opened_from)],
    ids=["key-encryption key", "SM2 recipient"],
)


@both
@given(data=st.binary(max_size=200), purpose=st.text(max_size=20))
def test_what_is_sealed_opens(
    close: Callable[..., bytes], open_again: Callable[..., bytes], data: bytes, purpose: str
) -> None:
    try:
        blob = close(data, purpose)
    except UnicodeEncodeError:  # lone surrogates are not text
        return
    assert open_again(blob, purpose) == data


@both
def test_every_changed_byte_is_refused_alike(
    close: Callable[..., bytes], open_again: Callable[..., bytes]
) -> None:
    blob = close()
    errors = set()
    for position in range(len(blob)):
        for flip in (0x01, 0x80):
            changed = bytearray(blob)
            changed[position] ^= flip
            with pytest.raises(EnvelopeError) as refused:
                open_again(bytes(changed))
            errors.add(refused.value.reason)
    assert errors == {"authenticity.envelope"}


@both
def test_every_truncation_and_any_extension_is_refused(
    close: Callable[..., bytes], open_again: Callable[..., bytes]
) -> None:
    blob = close()
    for length in range(len(blob)):
        with pytest.raises(EnvelopeError):
            open_again(blob[:length])
    with pytest.raises(EnvelopeError):
        open_again(blob + b"\0")


@both
def test_the_purpose_must_match(
    close: Callable[..., bytes], open_again: Callable[..., bytes]
) -> None:
    for purpose in ("", "tes", "test2", "TEST"):
        with pytest.raises(EnvelopeError):
            open_again(close(), purpose)


def test_another_key_is_refused() -> None:
    with pytest.raises(EnvelopeError):
        open_sealed(sealed(), kek=bytes(16), purpose="test")
    with pytest.raises(EnvelopeError):
        open_from(sealed_to(), private_key=generate_private_key(), purpose="test")


def test_one_kind_does_not_open_as_the_other() -> None:
    with pytest.raises(EnvelopeError):
        opened(sealed_to())
    with pytest.raises(EnvelopeError):
        opened_from(sealed())


@both
def test_sealing_twice_never_repeats(
    close: Callable[..., bytes], open_again: Callable[..., bytes]
) -> None:
    first, second = close(), close()
    assert first[-len(DATA) - 16 :] != second[-len(DATA) - 16 :]
    assert open_again(first) == open_again(second)


@both
def test_plaintext_and_keys_are_not_in_the_envelope(
    close: Callable[..., bytes], open_again: Callable[..., bytes]
) -> None:
    blob = close()
    assert DATA not in blob
    assert KEK not in blob
    assert RECIPIENT.to_bytes() not in blob


def test_a_sender_that_wraps_a_key_of_another_length_is_refused() -> None:
    """SM2 lets anyone wrap anything, so the length is checked after unwrapping."""
    blob = sealed_to()
    before = blob[: -len(DATA) - 16 - (97 + 16) - 2]
    wrapped = RECIPIENT.public_key.encrypt(b"only 15 bytes..")
    header = before + len(wrapped).to_bytes(2, "big") + wrapped
    with pytest.raises(EnvelopeError):
        opened_from(header + gcm_seal(KEK, nonce=bytes(12), data=DATA, associated_data=header))


def test_an_empty_wrapped_key_is_refused() -> None:
    before = sealed()[: -len(DATA) - 16 - (12 + 16 + 16) - 2]
    with pytest.raises(EnvelopeError):
        opened(before + b"\0\0" + bytes(40))


def test_the_creation_time_is_one_moment_in_any_zone() -> None:
    """The header has one spelling: everything before the wrapped key is the same."""
    shenzhen = WHEN.astimezone(timezone(timedelta(hours=8)))
    there = seal(DATA, kek=KEK, purpose="test", owner="authority", created_at=shenzhen)
    header_bytes = len(there) - len(DATA) - 16 - (12 + 16 + 16)
    assert there[:header_bytes] == sealed()[:header_bytes]


def test_times_before_1970_are_sealed_too() -> None:
    old = datetime(1969, 12, 31, tzinfo=UTC)
    assert opened(seal(DATA, kek=KEK, purpose="test", owner="", created_at=old)) == DATA


def test_mistakes_of_the_caller_are_value_errors() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        open_sealed(sealed(), kek=KEK[1:], purpose="test")
    with pytest.raises(ValueError, match="time zone"):
        seal(DATA, kek=KEK, purpose="p", owner="o", created_at=datetime(2026, 1, 1))  # noqa: DTZ001 - naive on purpose
    with pytest.raises(ValueError, match="65,535"):
        sealed(purpose="p" * 65536)
