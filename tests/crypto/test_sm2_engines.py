"""The two SM2 engines one by one and together: faults, fallback, agreement, hidden arithmetic."""

from __future__ import annotations

import ctypes
import json
import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gridsecure.crypto import libcrypto, sm2, sm2_curve, sm2_gmssl, sm2_libcrypto
from gridsecure.crypto.sm2 import check_engines, generate_private_key
from gridsecure.crypto.sm2_gmssl import GmsslEngine
from gridsecure.crypto.sm2_libcrypto import OpenSslEngine
from gridsecure.errors import EnvelopeError, GridSecureError, SignatureError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sm.json").read_text("utf-8"))
SIGN = VECTORS["sm2_sign"][0]
CRYPT = VECTORS["sm2_encrypt"][0]
N, P = sm2_curve.N, sm2_curve.P
POINT = bytes.fromhex("04" + SIGN["px"] + SIGN["py"])
SIGNATURE = bytes.fromhex(SIGN["r"] + SIGN["s"])
CIPHERTEXT = bytes.fromhex(CRYPT["c1"] + CRYPT["c3"] + CRYPT["c2"])

few = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_parsed_keys_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = OpenSslEngine()
    freed: list[int] = []
    real = loader._library.EVP_PKEY_free

    def free(pkey: int) -> None:
        freed.append(pkey)
        real(pkey)

    monkeypatch.setattr(loader._library, "EVP_PKEY_free", free)
    handle = loader.load_public(POINT)
    pkey = handle.pkey
    del handle
    assert freed == [pkey]


def refusing_engine(function: str) -> OpenSslEngine:
    """An engine whose own copy of the library fails in one function."""
    loader = OpenSslEngine()
    setattr(loader._library, function, lambda *_: 0)
    return loader


@pytest.mark.parametrize("function", ["EVP_DigestSignInit", "EVP_DigestSign", "d2i_AutoPrivateKey"])
def test_signing_that_fails_in_libcrypto_is_an_engine_error(function: str) -> None:
    loader = refusing_engine(function)
    with pytest.raises(GridSecureError) as refused:
        loader.load_private(bytes.fromhex(SIGN["d"])).sign(b"m", identity=b"")
    assert refused.value.reason == "crypto.engine.failed"


@pytest.mark.parametrize("function", ["EVP_PKEY_dup", "EVP_PKEY_set1_encoded_public_key"])
def test_a_key_that_libcrypto_does_not_take_is_an_engine_error(function: str) -> None:
    with pytest.raises(GridSecureError) as refused:
        refusing_engine(function).load_public(POINT)
    assert refused.value.reason == "crypto.engine.failed"


def test_keys_of_one_engine_are_keys_of_their_own() -> None:
    """Each is a copy with another point in it; the first must not change with the second."""
    loader = OpenSslEngine()
    privates = [loader.load_private(bytes(31) + bytes([number])) for number in (7, 8)]
    publics = [loader.load_public(private.public_point()) for private in privates]
    signatures = [private.sign(b"m", identity=b"i") for private in privates]
    found = [
        [public.verify(b"m", signature, identity=b"i") for signature in signatures]
        for public in publics
    ]
    assert found == [[True, False], [False, True]]


@pytest.mark.parametrize("function", ["EVP_PKEY_encrypt", "EVP_PKEY_encrypt_init"])
def test_encryption_that_fails_in_libcrypto_is_an_engine_error(function: str) -> None:
    with pytest.raises(GridSecureError) as refused:
        refusing_engine(function).load_public(POINT).encrypt(b"m")
    assert refused.value.reason == "crypto.engine.failed"


def test_a_public_key_that_libcrypto_withholds_is_an_engine_error() -> None:
    private = refusing_engine("EVP_PKEY_get1_encoded_public_key").load_private(
        bytes.fromhex(SIGN["d"])
    )
    with pytest.raises(GridSecureError) as refused:
        private.public_point()
    assert refused.value.reason == "crypto.engine.failed"


def test_refusals_leave_no_error_behind_in_the_thread() -> None:
    """Python's ssl module reads the same queue and would report a stranger's error."""
    loader = OpenSslEngine()
    peek = loader._library.ERR_peek_error
    peek.restype, peek.argtypes = ctypes.c_ulong, []
    private = loader.load_private(bytes.fromhex(SIGN["d"]))
    assert not loader.load_public(POINT).verify(b"other", SIGNATURE, identity=b"")
    with pytest.raises(EnvelopeError):
        private.decrypt(CIPHERTEXT[:-1] + b"\0")
    assert peek() == 0


# --- engines together


def test_engines_check_each_other() -> None:
    assert sm2.cross_check.__wrapped__() == ("gmssl", "openssl")


@few
@given(
    number=st.integers(1, N - 2), message=st.binary(max_size=50), identity=st.binary(max_size=20)
)
@example(number=1, message=b"", identity=b"")
def test_engines_understand_each_other(number: int, message: bytes, identity: bytes) -> None:
    scalar = number.to_bytes(32, "big")
    ours = OpenSslEngine().load_private(scalar)
    theirs = GmsslEngine().load_private(scalar)
    assert ours.public_point() == theirs.public_point()
    for private, loader in ((ours, GmsslEngine()), (theirs, OpenSslEngine())):
        public = loader.load_public(ours.public_point())
        signature = private.sign(message, identity=identity)
        assert public.verify(message, signature, identity=identity)
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
        monkeypatch.setattr(libcrypto, "NAMES", ("libnothing.so.9",))
    if request.param == "old":
        monkeypatch.setattr(libcrypto, "FIRST_VERSION", 2**40)
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
        assert sm2.cross_check.__wrapped__() == ("gmssl",)
    assert len(caplog.records) == 2
    sm2._selection._engine = None


def test_unknown_engines_are_programming_mistakes() -> None:
    with pytest.raises(ValueError, match="engines are"):
        sm2.select_engine("simple")


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


def zero_mask_ciphertext(data: bytes) -> bytes:
    """One byte encrypted with C2 = M and a right C3: what an encoder that skips A5 may send."""
    point = sm2_curve.split_numbers(POINT[1:])
    for k in range(1, 5000):
        shared = sm2_gmssl._multiple(k, point)
        if sm2_gmssl._mask(shared, 1) == b"\0":
            c1 = sm2_gmssl._multiple(k, (sm2_curve.GX, sm2_curve.GY))
            check = sm2_gmssl._check_digest(shared, data)
            return b"\x04" + sm2_curve.join_numbers(*c1) + check + data
    pytest.fail("no zero mask among 5000 nonces")


def test_a_consistent_ciphertext_with_a_zero_mask_is_refused() -> None:
    for loader in (OpenSslEngine(), GmsslEngine()):
        with pytest.raises(EnvelopeError):
            loader.load_private(bytes.fromhex(SIGN["d"])).decrypt(zero_mask_ciphertext(b"M"))


def test_a_libcrypto_that_allowed_zero_masks_would_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = zero_mask_ciphertext(b"M")
    public = OpenSslEngine().load_public(POINT)
    private = OpenSslEngine().load_private(bytes.fromhex(SIGN["d"]))
    real = sm2_libcrypto._Key._transform
    answers = [sm2_curve.ciphertext_to_der(bare)]

    def careless(handle: sm2_libcrypto._Key, operation: str, data: bytes) -> bytes | None:
        return answers.pop() if answers else real(handle, operation, data)

    monkeypatch.setattr(sm2_libcrypto._Key, "_transform", careless)
    ciphertext = public.encrypt(b"M")
    assert ciphertext != bare
    assert private.decrypt(ciphertext) == b"M"
    answers.append(b"M")
    with pytest.raises(EnvelopeError):
        private.decrypt(bare)
