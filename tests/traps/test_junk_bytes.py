"""Trap: empty or two-byte junk parses as a valid, empty vector."""

from __future__ import annotations

import pytest
import tenseal

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import EnvelopeError, MalformedCiphertextError
from gridsecure.homomorphic.column_files import open_column
from gridsecure.homomorphic.secret_key import SecretKeySet, load_secret_key_set

JUNK = [b"", b"\x0a\x00", b"\x00", b"GSEC\x01", b"GSEC\x01\x00\x00\x00\x00", bytes(1000)]


@pytest.mark.parametrize("junk", [b"", b"\x0a\x00"])
def test_library_takes_junk_for_an_empty_vector(junk: bytes) -> None:
    context = tenseal.context(
        tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=1032193
    )
    assert tenseal.bfv_vector_from(context, junk).size() == 0


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_junk_under_its_own_digest_is_malformed(interval_keys: SecretKeySet, junk: bytes) -> None:
    with pytest.raises(MalformedCiphertextError):
        open_column(
            junk,
            digest=sm3_hex(junk),
            evaluation=interval_keys.public.evaluation,
            roster_id="roster",
        )


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_junk_in_the_place_of_a_column_is_refused_unread(
    interval_keys: SecretKeySet, junk: bytes
) -> None:
    with pytest.raises(EnvelopeError):
        open_column(
            junk,
            digest=sm3_hex(b"another column"),
            evaluation=interval_keys.public.evaluation,
            roster_id="roster",
        )


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_junk_is_no_secret_key(interval_keys: SecretKeySet, junk: bytes) -> None:
    with pytest.raises(MalformedCiphertextError):
        load_secret_key_set(junk, public=interval_keys.public)
