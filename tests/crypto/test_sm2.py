"""SM2 keys on every engine: the standard's vectors, hostile inputs, behaviour."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridsecure.crypto import sm2, sm2_curve
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm2_gmssl import GmsslEngine
from gridsecure.crypto.sm2_libcrypto import OpenSslEngine
from gridsecure.errors import EnvelopeError, GridSecureError, InvalidMessageError, SignatureError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sm.json").read_text("utf-8"))
SIGN = VECTORS["sm2_sign"][0]
CRYPT = VECTORS["sm2_encrypt"][0]
N, P = sm2_curve.N, sm2_curve.P
POINT = bytes.fromhex("04" + SIGN["px"] + SIGN["py"])
SIGNATURE = bytes.fromhex(SIGN["r"] + SIGN["s"])
CIPHERTEXT = bytes.fromhex(CRYPT["c1"] + CRYPT["c3"] + CRYPT["c2"])
MESSAGE = bytes.fromhex(SIGN["msg"])

few = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["openssl", "gmssl"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    sm2.select_engine(request.param)
    yield request.param
    sm2.select_engine("auto")


@cache
def standards_key(_engine: str) -> Sm2PrivateKey:
    return sm2.private_key_from_bytes(bytes.fromhex(SIGN["d"]))


@pytest.fixture
def key(engine: str) -> Sm2PrivateKey:
    return standards_key(engine)


# --- positives of the standard


def test_curve_constants_are_the_standards() -> None:
    curve = VECTORS["sm2_curve"]
    names = {"p": "P", "a": "A", "b": "B", "n": "N", "gx": "GX", "gy": "GY"}
    for theirs, ours in names.items():
        assert getattr(sm2_curve, ours) == int(curve[theirs], 16)


def test_public_key_is_derived(key: Sm2PrivateKey) -> None:
    assert key.public_key == Sm2PublicKey(POINT)
    assert key.to_bytes() == bytes.fromhex(SIGN["d"])
    assert len(key.public_key.thumbprint) == 64


@pytest.mark.parametrize(
    ("secret", "x", "y"), [("da", "pax", "pay"), ("db", "pbx", "pby"), ("ra", "rax", "ray")]
)
def test_key_pairs_of_the_exchange_annex(engine: str, secret: str, x: str, y: str) -> None:
    case = VECTORS["sm2_kex"][0]
    key = sm2.private_key_from_bytes(bytes.fromhex(case[secret]))
    assert key.public_key.point == bytes.fromhex("04" + case[x] + case[y])


def test_identity_digests_match_the_standard() -> None:
    case = VECTORS["sm2_kex"][0]
    assert sm2_curve.identity_digest(POINT).hex() == SIGN["za"].lower()
    for side in ("a", "b"):
        point = bytes.fromhex("04" + case[f"p{side}x"] + case[f"p{side}y"])
        digest = sm2_curve.identity_digest(point, bytes.fromhex(case[f"id_{side}"]))
        assert digest.hex() == case[f"z{side}"].lower()
    assert sm2_curve.message_digest(POINT, MESSAGE) == int(SIGN["e"], 16)


def test_the_standards_signature_verifies(key: Sm2PrivateKey) -> None:
    key.public_key.verify(MESSAGE, SIGNATURE, identity=bytes.fromhex(SIGN["id"]))


def test_the_standards_ciphertext_decrypts(key: Sm2PrivateKey) -> None:
    assert key.decrypt(CIPHERTEXT) == bytes.fromhex(CRYPT["msg"])


def test_gmssl_reproduces_the_standard_with_the_standards_nonce() -> None:
    private = GmsslEngine().load_private(bytes.fromhex(SIGN["d"]))
    public = GmsslEngine().load_public(POINT)
    assert private._sign_with(int(SIGN["k"], 16), int(SIGN["e"], 16)) == SIGNATURE
    assert public._encrypt_with(int(CRYPT["k"], 16), bytes.fromhex(CRYPT["msg"])) == CIPHERTEXT


# --- negatives


@pytest.mark.parametrize("case", VECTORS["sm2_verify_negative"]["cases"], ids=lambda c: c["why"])
def test_bad_signatures_are_refused(key: Sm2PrivateKey, case: dict[str, Any]) -> None:
    r, s = int(case["r"], 16), int(case["s"], 16)
    natural = b"".join(n.to_bytes(max(32, -(-n.bit_length() // 8)), "big") for n in (r, s))
    truncated = b"".join((n % 2**256).to_bytes(32, "big") for n in (r, s))
    # s + n·2^256 cut to 256 bits is the good signature again, which is why length comes first.
    candidates = {natural, truncated} - {SIGNATURE}
    assert candidates
    for signature in candidates:
        with pytest.raises(SignatureError):
            key.public_key.verify(MESSAGE, signature)


def test_the_universal_forgery_is_refused(key: Sm2PrivateKey) -> None:
    case = VECTORS["sm2_verify_negative"]["universal_forgery"]
    message = bytes.fromhex(case["msg"])
    for s in (case["s"], case["s"][:64], case["s"][64:]):
        with pytest.raises(SignatureError):
            key.public_key.verify(message, bytes.fromhex(case["r"] + s))


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 96])
def test_signatures_of_other_lengths_are_refused(key: Sm2PrivateKey, size: int) -> None:
    with pytest.raises(SignatureError):
        key.public_key.verify(MESSAGE, (SIGNATURE * 2)[:size])


def test_der_signatures_are_refused(key: Sm2PrivateKey) -> None:
    with pytest.raises(SignatureError):
        key.public_key.verify(MESSAGE, sm2_curve.signature_to_der(SIGNATURE))


@few
@given(position=st.integers(0, 511))
def test_every_flipped_bit_of_a_signature_is_refused(key: Sm2PrivateKey, position: int) -> None:
    flipped = bytearray(SIGNATURE)
    flipped[position // 8] ^= 1 << position % 8
    with pytest.raises(SignatureError):
        key.public_key.verify(MESSAGE, bytes(flipped))


@pytest.mark.parametrize("case", VECTORS["sm2_invalid_points"]["points"])
def test_bad_points_are_refused(key: Sm2PrivateKey, case: dict[str, str]) -> None:
    point = bytes.fromhex("04" + case["x"] + case["y"])
    with pytest.raises(InvalidMessageError) as refused:
        Sm2PublicKey(point)
    assert refused.value.reason == "sm2.point"
    for loader in (OpenSslEngine(), GmsslEngine()):
        with pytest.raises(InvalidMessageError):
            loader.load_public(point)
    with pytest.raises(EnvelopeError):
        key.decrypt(point + CIPHERTEXT[65:])


@pytest.mark.parametrize(
    "point", [b"", POINT[:-1], POINT + b"\0", b"\x03" + POINT[1:33], b"\x06" + POINT[1:]]
)
def test_other_point_encodings_are_refused(point: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        Sm2PublicKey(point)


def test_a_point_may_come_without_its_prefix() -> None:
    assert Sm2PublicKey(POINT[1:]) == Sm2PublicKey(POINT)


@pytest.mark.parametrize("number", [0, N - 1, N, N + 5, 2**256 - 1])
def test_private_keys_out_of_range_are_refused_before_any_engine(engine: str, number: int) -> None:
    scalar = number.to_bytes(32, "big")
    with pytest.raises(InvalidMessageError) as refused:
        sm2.private_key_from_bytes(scalar)
    assert refused.value.reason == "sm2.private-key"
    for loader in (OpenSslEngine(), GmsslEngine()):
        with pytest.raises(InvalidMessageError):
            loader.load_private(scalar)


@pytest.mark.parametrize("scalar", [b"", b"\1", b"\0" + (5).to_bytes(32, "big")])
def test_private_keys_of_other_lengths_are_refused(scalar: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        sm2.private_key_from_bytes(scalar)


@pytest.mark.parametrize("number", [1, 2, N - 2])
def test_private_keys_at_the_edges_work(engine: str, number: int) -> None:
    key = sm2.private_key_from_bytes(number.to_bytes(32, "big"))
    key.public_key.verify(b"edge", key.sign(b"edge"))
    assert key.decrypt(key.public_key.encrypt(b"edge")) == b"edge"


def test_every_flipped_byte_of_a_ciphertext_is_refused(key: Sm2PrivateKey) -> None:
    errors = set()
    for position in range(len(CIPHERTEXT)):
        flipped = bytearray(CIPHERTEXT)
        flipped[position] ^= 0x10
        with pytest.raises(EnvelopeError) as refused:
            key.decrypt(bytes(flipped))
        errors.add(str(refused.value))
    assert len(errors) == 1


def test_every_truncated_ciphertext_is_refused(key: Sm2PrivateKey) -> None:
    for length in range(len(CIPHERTEXT)):
        with pytest.raises(EnvelopeError):
            key.decrypt(CIPHERTEXT[:length])
    with pytest.raises(EnvelopeError):
        key.decrypt(CIPHERTEXT + b"\0")


def test_another_key_opens_nothing(engine: str) -> None:
    with pytest.raises(EnvelopeError):
        generate_private_key().decrypt(CIPHERTEXT)


def test_nothing_is_not_encrypted(key: Sm2PrivateKey) -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        key.public_key.encrypt(b"")


# --- behaviour


@few
@given(message=st.binary(max_size=300), identity=st.binary(max_size=40))
def test_signatures_bind_message_and_identity(
    key: Sm2PrivateKey, message: bytes, identity: bytes
) -> None:
    signature = key.sign(message, identity=identity)
    assert len(signature) == 64
    key.public_key.verify(message, signature, identity=identity)
    with pytest.raises(SignatureError):
        key.public_key.verify(message + b"\0", signature, identity=identity)
    with pytest.raises(SignatureError):
        key.public_key.verify(message, signature, identity=identity + b"\0")


@few
@given(data=st.binary(min_size=1, max_size=300))
def test_what_is_encrypted_decrypts(key: Sm2PrivateKey, data: bytes) -> None:
    ciphertext = key.public_key.encrypt(data)
    assert len(ciphertext) == 97 + len(data)
    assert key.decrypt(ciphertext) == data


def test_one_byte_messages_never_travel_in_clear() -> None:
    """A zero mask has probability 1/256 for one byte; the encryption draws again."""
    key = generate_private_key()
    ciphertexts = [key.public_key.encrypt(b"A") for _ in range(1500)]
    assert all(ciphertext[-1:] != b"A" for ciphertext in ciphertexts)


def test_signing_twice_differs(key: Sm2PrivateKey) -> None:
    assert key.sign(MESSAGE) != key.sign(MESSAGE)


def test_identities_longer_than_the_length_field_are_refused(key: Sm2PrivateKey) -> None:
    key.sign(MESSAGE, identity=b"i" * 8190)
    with pytest.raises(ValueError, match="8190"):
        key.sign(MESSAGE, identity=b"i" * 8191)
    with pytest.raises(ValueError, match="8190"):
        key.public_key.verify(MESSAGE, SIGNATURE, identity=b"i" * 8191)


def test_secrets_stay_out_of_repr_and_pickle() -> None:
    key = generate_private_key()
    for text in (repr(key), str(key), f"{key}"):
        assert key.to_bytes().hex() not in text
        assert repr(key.to_bytes())[2:-1] not in text
        assert str(int.from_bytes(key.to_bytes(), "big")) not in text
    for copying in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="does not pickle"):
            copying(key)


def test_public_keys_pickle_without_their_handles() -> None:
    key = generate_private_key()
    key.public_key.verify(b"m", key.sign(b"m"))
    again = pickle.loads(pickle.dumps(key.public_key))  # noqa: S301 - our own bytes
    assert again == key.public_key
    assert hash(again) == hash(key.public_key)
    again.verify(b"m", key.sign(b"m"))


def test_keys_are_random() -> None:
    assert generate_private_key().to_bytes() != generate_private_key().to_bytes()


def test_threads_share_a_key() -> None:
    key = generate_private_key()
    failures: list[Exception] = []

    def work() -> None:
        try:
            for number in range(40):
                message = number.to_bytes(4, "big")
                key.public_key.verify(message, key.sign(message))
        except GridSecureError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
