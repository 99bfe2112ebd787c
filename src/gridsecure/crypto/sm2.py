"""SM2 keys (GB/T 32918): sign, verify, encrypt, decrypt, on whichever engine was selected.

Two engines do the arithmetic: `openssl` (the host's libcrypto) and `gmssl` (the hardened adapter);
an HSM's driver would be a third. They share no code, so an error in one shows as a disagreement.
A process calls `select_engine` and `cross_check` once when it starts; without that the first use
of a key selects `auto`. A key may be used on both engines; it is parsed once for each.

Invariants:
- A public key is a point of the curve and a private key lies in 1..n-2 from construction on.
- A private key proved by a signature that it belongs to its public key before anyone can use it.
- The scalar appears in no repr, no pickle and no message; only `to_bytes` gives it out.
- Every ciphertext that does not decrypt raises the same error.

Not here: wiping secrets from memory, which Python cannot do; key exchange; certificates.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NoReturn, Protocol

from gridsecure.crypto import sm2_curve
from gridsecure.crypto.sm2_curve import DEFAULT_ID
from gridsecure.crypto.sm2_gmssl import GmsslEngine
from gridsecure.crypto.sm2_libcrypto import OpenSslEngine
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import EnvelopeError, GridSecureError, SignatureError


class PublicHandle(Protocol):
    """A public key as one engine holds it."""

    def verify(self, message: bytes, signature: bytes, *, identity: bytes) -> bool:
        """Say whether the 64-byte signature is good."""

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt at least one byte to `C1 ‖ C3 ‖ C2`."""


class PrivateHandle(Protocol):
    """A private key as one engine holds it."""

    def public_point(self) -> bytes:
        """Return the public key, 65 bytes."""

    def sign(self, message: bytes, *, identity: bytes) -> bytes:
        """Return `r ‖ s`, 64 bytes."""

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt `C1 ‖ C3 ‖ C2` or raise EnvelopeError."""


class Sm2Engine(Protocol):
    """What does the arithmetic."""

    @property
    def name(self) -> str:
        """The name it is selected by."""

    def load_public(self, point: bytes) -> PublicHandle:
        """Parse a public key of 65 bytes."""

    def load_private(self, scalar: bytes) -> PrivateHandle:
        """Parse a private key of 32 bytes."""


# GB/T 32918.5-2017 Annex A and Annex C (= GM/T 0003.5-2012): one key, its signature of
# "message digest" under DEFAULT_ID, and the encryption of "encryption standard" to it.
_KNOWN_SCALAR = bytes.fromhex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8")
_KNOWN_POINT = bytes.fromhex(
    "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
_KNOWN_SIGNATURE = bytes.fromhex(
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)
_KNOWN_CIPHERTEXT = bytes.fromhex(
    "0404ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73"
    "e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df0"
    "59983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766"
    "21886ca989ca9c7d58087307ca93092d651efa"
)


def check_engines(engines: Sequence[Sm2Engine]) -> None:
    """Prove that every engine gives the standard's answers and that all agree.

    1. Each engine derives the standard's public key, accepts its signature, opens its ciphertext,
       and refuses both after one bit is changed.
    2. Each engine verifies what each one signed and decrypts what each one encrypted.

    Args:
        engines: One or more.

    Raises:
        GridSecureError: `crypto.engine.mismatch`; do not start.
    """
    handles = [
        (engine.load_private(_KNOWN_SCALAR), engine.load_public(_KNOWN_POINT)) for engine in engines
    ]
    known = all(_gives_known_answers(private, public) for private, public in handles)
    agree = all(_is_understood(private, public) for private, _ in handles for _, public in handles)
    if not (known and agree):
        raise GridSecureError(
            "The SM2 engines do not give the standard's answers or do not agree.",
            reason="crypto.engine.mismatch",
            remedy="Do not start; check the installed libcrypto and gmssl.",
        )


def _gives_known_answers(private: PrivateHandle, public: PublicHandle) -> bool:
    """Say whether step 1 of `check_engines` holds for one engine."""
    message = b"message digest"
    tampered = _KNOWN_CIPHERTEXT[:-1] + bytes([_KNOWN_CIPHERTEXT[-1] ^ 1])
    return (
        private.public_point() == _KNOWN_POINT
        and public.verify(message, _KNOWN_SIGNATURE, identity=DEFAULT_ID)
        and not public.verify(message + b"!", _KNOWN_SIGNATURE, identity=DEFAULT_ID)
        and _opens(private, _KNOWN_CIPHERTEXT, b"encryption standard")
        and not _opens(private, tampered, None)
    )


def _is_understood(private: PrivateHandle, public: PublicHandle) -> bool:
    """Say whether step 2 of `check_engines` holds for one ordered pair of engines."""
    message = secrets.token_bytes(32)
    signature = private.sign(message, identity=DEFAULT_ID)
    return public.verify(message, signature, identity=DEFAULT_ID) and _opens(
        private, public.encrypt(message), message
    )


def _opens(private: PrivateHandle, ciphertext: bytes, expected: bytes | None) -> bool:
    """Say whether a ciphertext decrypts to the expected bytes, or at all if None is expected."""
    try:
        plaintext = private.decrypt(ciphertext)
    except EnvelopeError:
        return False
    return expected is None or plaintext == expected


_log = logging.getLogger(__name__)

EngineName = Literal["auto", "openssl", "gmssl"]


class _Selection:
    """The engine this process uses; a choice made once, not a setting that is read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Sm2Engine | None = None

    def current(self) -> Sm2Engine:
        return self._engine or self.change("auto")

    def change(self, name: EngineName) -> Sm2Engine:
        with self._lock:
            self._engine = _build_engine(name)
            return self._engine


def _build_engine(name: EngineName) -> Sm2Engine:
    if name == "gmssl":
        return GmsslEngine()
    if name not in ("auto", "openssl"):
        raise ValueError("the SM2 engines are auto, openssl and gmssl")
    try:
        return OpenSslEngine()
    except GridSecureError as unavailable:
        if name == "openssl":
            raise
        _log.warning("SM2 falls back to the slow gmssl engine: %s", unavailable)
        return GmsslEngine()


_selection = _Selection()


def select_engine(name: EngineName) -> Sm2Engine:
    """Choose the engine that every key of this process uses from now on, and return it.

    Args:
        name: `openssl`, `gmssl`, or `auto`: openssl, else gmssl with a logged warning. The gmssl
            engine is some fifty times slower and not constant-time: not for keys of high value.

    Raises:
        GridSecureError: `crypto.engine.unavailable` when openssl was asked for and cannot do SM2.
    """
    return _selection.change(name)


@dataclass(frozen=True, slots=True)
class Sm2PublicKey:
    """A point of the curve that verifies signatures and encrypts.

    Args:
        point: 65 bytes `04 ‖ X ‖ Y`.

    Raises:
        InvalidMessageError: Not a point of the curve.
    """

    point: bytes
    _handles: dict[str, PublicHandle] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "point", sm2_curve.check_point(self.point))

    def __reduce__(self) -> tuple[type[Sm2PublicKey], tuple[bytes]]:
        return Sm2PublicKey, (self.point,)  # parsed handles do not travel between processes

    @property
    def thumbprint(self) -> str:
        """The key's name: SM3 of its 65 bytes, 64 hexadecimal digits."""
        return sm3_hex(self.point)

    def verify(self, message: bytes, signature: bytes, *, identity: bytes = DEFAULT_ID) -> None:
        """Return if the signature is this key's, else raise.

        Args:
            message: What was signed.
            signature: Exactly 64 bytes `r ‖ s`.
            identity: The signer's identity that was used when signing.

        Raises:
            SignatureError: Anything else.
        """
        if not self._handle().verify(message, signature, identity=identity):
            raise SignatureError("The SM2 signature does not verify.")

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt to this key (GB/T 32918.4), 97 bytes longer than the data.

        Args:
            data: At least one byte; meant for keys, not bulk.

        Returns:
            `C1 ‖ C3 ‖ C2`.

        Raises:
            ValueError: There is nothing to encrypt.
        """
        if not data:
            raise ValueError("SM2 encrypts at least one byte")
        return self._handle().encrypt(data)

    def _handle(self) -> PublicHandle:
        engine = _selection.current()
        handle = self._handles.get(engine.name)
        if handle is None:
            handle = self._handles.setdefault(engine.name, engine.load_public(self.point))
        return handle


@dataclass(frozen=True, slots=True, eq=False)
class Sm2PrivateKey:
    """A scalar that signs and decrypts; neither printed nor pickled.

    Args:
        scalar: 32 bytes, big-endian, 1..n-2.

    Raises:
        InvalidMessageError: Out of range.
        SignatureError: A trial signature did not verify: the engine cannot be trusted.
    """

    scalar: bytes = field(repr=False)
    public_key: Sm2PublicKey = field(init=False)
    _handles: dict[str, PrivateHandle] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        sm2_curve.check_scalar(self.scalar)
        object.__setattr__(self, "public_key", Sm2PublicKey(self._handle().public_point()))
        trial = b"gridsecure pairwise consistency"
        self.public_key.verify(trial, self.sign(trial))

    def __reduce__(self) -> NoReturn:
        raise TypeError("an SM2 private key does not pickle; seal to_bytes() in an envelope")

    def sign(self, message: bytes, *, identity: bytes = DEFAULT_ID) -> bytes:
        """Sign SM3(ZA ‖ message) (GB/T 32918.2) with a fresh random nonce.

        Args:
            message: What to sign; put purpose, counter and period inside it.
            identity: The signer's identity; keep the default for X.509 and HSM peers.

        Returns:
            `r ‖ s`, 64 bytes.
        """
        return self._handle().sign(message, identity=identity)

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt `C1 ‖ C3 ‖ C2`.

        Raises:
            EnvelopeError: Whatever was wrong with it.
        """
        return self._handle().decrypt(data)

    def to_bytes(self) -> bytes:
        """Return the secret scalar, 32 bytes, for sealing at rest and nothing else."""
        return self.scalar

    def _handle(self) -> PrivateHandle:
        engine = _selection.current()
        handle = self._handles.get(engine.name)
        if handle is None:
            handle = self._handles.setdefault(engine.name, engine.load_private(self.scalar))
        return handle


def generate_private_key() -> Sm2PrivateKey:
    """Return a new private key, uniform in 1..n-2, from the operating system's generator."""
    return private_key_from_bytes((secrets.randbelow(sm2_curve.N - 2) + 1).to_bytes(32, "big"))


def private_key_from_bytes(scalar: bytes) -> Sm2PrivateKey:
    """Load a private key that `to_bytes` gave out.

    Args:
        scalar: 32 bytes.

    Raises:
        InvalidMessageError: Out of range.
    """
    return Sm2PrivateKey(scalar)


@cache
def cross_check() -> tuple[str, ...]:
    """Prove at start-up that the engines give the standard's answers and agree with each other.

    Once proven, it is not proven again in this process: it takes half a second.

    Returns:
        The engines checked; only gmssl where libcrypto cannot do SM2.

    Raises:
        GridSecureError: `crypto.engine.mismatch`; do not start.
    """
    engines: list[Sm2Engine] = [GmsslEngine()]
    try:
        engines.append(OpenSslEngine())
    except GridSecureError as unavailable:
        _log.warning("SM2 is checked on the gmssl engine alone: %s", unavailable)
    check_engines(engines)
    return tuple(engine.name for engine in engines)
