"""SM2 on every engine: the standard's vectors, hostile inputs, and agreement between engines."""

from __future__ import annotations

import copy
import ctypes
import json
import logging
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridsecure.crypto import sm2, sm2_curve, sm2_gmssl, sm2_libcrypto
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm2_engine import check_engines
from gridsecure.crypto.sm2_gmssl import GmsslEngine
from gridsecure.crypto.sm2_libcrypto import OpenSslEngine
from gridsecure.errors import (
    EnvelopeError,
    GridSecureError,
    InvalidMessageError,
    SignatureError,
)

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


@pytest.fixture
def key(engine: str) -> Sm2PrivateKey:
    return sm2.private_key_from_bytes(bytes.fromhex(SIGN["d"]))


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


def test_parsed_keys_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = OpenSslEngine()
    freed: list[int] = []
    real = loader._library.EVP_PKEY_free

    def free(pkey: int) -> None:
        freed.append(pkey)
        real(pkey)

    monkeypatch.setattr(loader._library, "EVP_PKEY_free", free)
    handle = loader.load_public(POINT)
    pkey = handle._pkey
    del handle
    assert freed == [pkey]


# --- engines together


def test_engines_check_each_other() -> None:
    assert sm2.cross_check() == ("gmssl", "openssl")


@few
@given(number=st.integers(1, N - 2), message=st.binary(max_size=50))
def test_engines_understand_each_other(number: int, message: bytes) -> None:
    scalar = number.to_bytes(32, "big")
    ours = OpenSslEngine().load_private(scalar)
    theirs = GmsslEngine().load_private(scalar)
    assert ours.public_point() == theirs.public_point()
    for private, loader in ((ours, GmsslEngine()), (theirs, OpenSslEngine())):
        public = loader.load_public(ours.public_point())
        signature = private.sign(message, identity=b"id")
        assert public.verify(message, signature, identity=b"id")
        assert private.decrypt(public.encrypt(message + b".")) == message + b"."


class _WrongPublicKey(sm2_gmssl.GmsslPublicKey):
    def verify(self, message: bytes, signature: bytes, *, identity: bytes) -> bool:
        return True


class _TrustingEngine(GmsslEngine):
    def load_public(self, point: bytes) -> sm2_gmssl.GmsslPublicKey:
        return _WrongPublicKey(point)


class _SlippingKey(sm2_gmssl.GmsslPrivateKey):
    def sign(self, message: bytes, *, identity: bytes) -> bytes:
        return SIGNATURE


class _SlippingEngine(GmsslEngine):
    def load_private(self, scalar: bytes) -> sm2_gmssl.GmsslPrivateKey:
        return _SlippingKey(sm2_curve.check_scalar(scalar))


@pytest.mark.parametrize("broken", [_TrustingEngine(), _SlippingEngine()])
def test_a_broken_engine_stops_the_start(broken: GmsslEngine) -> None:
    with pytest.raises(GridSecureError) as refused:
        check_engines([broken, OpenSslEngine()])
    assert refused.value.reason == "crypto.engine.mismatch"


def test_a_key_whose_engine_slips_is_never_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sm2._selection, "_engine", _SlippingEngine())
    with pytest.raises(SignatureError):
        generate_private_key()


def test_a_faulty_gmssl_signature_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    private = GmsslEngine().load_private(bytes.fromhex(SIGN["d"]))
    monkeypatch.setattr(type(private), "_sign_with", lambda self, k, e: SIGNATURE)
    with pytest.raises(GridSecureError) as refused:
        private.sign(b"another message", identity=b"")
    assert refused.value.reason == "crypto.engine.failed"


@pytest.fixture(params=["missing", "old", "partial", "without-sm2"])
def no_libcrypto(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose libcrypto is absent, older than 3.0, lacks a function, or lacks SM2."""
    if request.param == "missing":
        monkeypatch.setattr(sm2_libcrypto, "_NAMES", ("libnothing.so.9",))
    if request.param == "old":
        monkeypatch.setattr(sm2_libcrypto, "_FIRST_VERSION", 2**40)
    if request.param == "partial":
        more = {**sm2_libcrypto._SIGNATURES, "EVP_sm99": (ctypes.c_int, [])}
        monkeypatch.setattr(sm2_libcrypto, "_SIGNATURES", more)
    if request.param == "without-sm2":
        # The OID of a curve nobody has: what a no-sm2 build makes of ours.
        prefix = sm2_libcrypto._PUBLIC_PREFIX.replace(bytes.fromhex("822d"), bytes.fromhex("8201"))
        monkeypatch.setattr(sm2_libcrypto, "_PUBLIC_PREFIX", prefix)


@pytest.mark.usefixtures("no_libcrypto")
def test_without_libcrypto_auto_falls_back_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(GridSecureError) as refused:
        sm2.select_engine("openssl")
    assert refused.value.reason == "crypto.engine.unavailable"
    with caplog.at_level(logging.WARNING):
        assert sm2.select_engine("auto").name == "gmssl"
        assert sm2.cross_check() == ("gmssl",)
    assert len(caplog.records) == 2
    sm2._selection._engine = None


def test_unknown_engines_are_programming_mistakes() -> None:
    with pytest.raises(ValueError, match="engines are"):
        sm2.select_engine("simple")  # type: ignore[arg-type]


def test_another_gmssl_release_is_refused() -> None:
    with pytest.raises(GridSecureError) as refused:
        sm2_gmssl._check_version("3.2.3")
    assert refused.value.reason == "crypto.engine.version"


# --- the gmssl adapter's own arithmetic


def test_addition_is_complete() -> None:
    g = (sm2_curve.GX, sm2_curve.GY)
    opposite = (sm2_curve.GX, P - sm2_curve.GY)
    assert sm2_gmssl._add(g, opposite) is None
    assert sm2_gmssl._add(None, g) == g
    assert sm2_gmssl._add(g, None) == g
    assert sm2_gmssl._add(g, g) == sm2_gmssl._multiple(2, g)
    assert sm2_gmssl._add(sm2_gmssl._multiple(2, g), g) == sm2_gmssl._multiple(3, g)


def test_splitting_redraws_a_share_that_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    g = (sm2_curve.GX, sm2_curve.GY)
    draws = iter([7, 3])
    monkeypatch.setattr(sm2_gmssl, "_random_scalar", lambda: next(draws))
    assert sm2_gmssl._secret_multiple(7, g) == sm2_gmssl._multiple(7, g)


def test_nonces_that_give_no_signature_are_redrawn() -> None:
    private = GmsslEngine().load_private(bytes.fromhex(SIGN["d"]))
    k = 12345
    x1 = sm2_gmssl._multiple(k, (sm2_curve.GX, sm2_curve.GY))[0]
    assert private._sign_with(k, -x1 % N) is None  # r = 0
    assert private._sign_with(k, (-x1 - k) % N) is None  # r + k = n
    # s = 0 when r·d = k
    r = k * pow(int(SIGN["d"], 16), -1, N) % N
    assert private._sign_with(k, (r - x1) % N) is None


def test_zero_masks_are_redrawn_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    key = GmsslEngine().load_private(bytes.fromhex(SIGN["d"]))
    public = GmsslEngine().load_public(POINT)
    real = sm2_gmssl._mask
    drawn: list[bytes] = []

    def zero_at_first(point: tuple[int, int], length: int) -> bytes:
        drawn.append(real(point, length) if drawn else bytes(length))
        return drawn[-1]

    monkeypatch.setattr(sm2_gmssl, "_mask", zero_at_first)
    ciphertext = public.encrypt(b"mask")
    assert len(drawn) == 2
    monkeypatch.setattr(sm2_gmssl, "_mask", real)
    assert key.decrypt(ciphertext) == b"mask"
    monkeypatch.setattr(sm2_gmssl, "_mask", lambda point, length: bytes(length))
    shared = sm2_gmssl._multiple(int(SIGN["d"], 16), sm2_curve.split_numbers(ciphertext[1:65]))
    with pytest.raises(EnvelopeError):
        key.decrypt(ciphertext[:65] + sm2_gmssl._check_digest(shared, b"m") + b"m")


def test_a_consistent_ciphertext_with_a_zero_mask_is_refused(engine: str) -> None:
    """C2 = M with a right C3: what an encoder that skips step A5 sends once in 256 bytes."""
    scalar = bytes.fromhex(SIGN["d"])
    point = sm2_curve.split_numbers(POINT[1:])
    for k in range(1, 4000):
        shared = sm2_gmssl._multiple(k, point)
        if sm2_gmssl._mask(shared, 1) == b"\0":
            break
    else:
        pytest.fail("no zero mask among 4000 nonces")
    c1 = b"\x04" + sm2_curve.join_numbers(*sm2_gmssl._multiple(k, (sm2_curve.GX, sm2_curve.GY)))
    ciphertext = c1 + sm2_gmssl._check_digest(shared, b"M") + b"M"
    with pytest.raises(EnvelopeError):
        sm2.private_key_from_bytes(scalar).decrypt(ciphertext)


# --- DER at the edge


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
