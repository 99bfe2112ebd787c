"""The one door to SEAL for everybody without the secret key.

`Ring` wraps a SEAL context of one parameter set: encoding, encryption under a public key, the
evaluator, and ciphertexts as plain coefficient arrays. SEAL reads and writes only through file
names, so bytes pass through an anonymous in-memory file; nothing touches a disk.

Invariants: every context is built here, from `Parameters`, at SEAL's 128-bit level; there is no
decryptor in this module; a ciphertext enters SEAL only as coefficients that `coefficients.unpack`
has checked, behind a header that this module writes itself. SEAL still parses the public and
evaluation keys, whose bytes the caller has authenticated first.
"""

from __future__ import annotations

import os
import struct
import threading
import weakref
from array import array
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import zstandard
from numpy.typing import NDArray
from tenseal import sealapi

from gridsecure.errors import CiphertextError, MalformedCiphertextError
from gridsecure.homomorphic.encoding import slot_encoder
from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.zero_encryption import ZeroEncryptor

Handle = Any  # a SEAL object; the wrapper ships no types
Chunk = Any  # a SEAL ciphertext, or its residues where nothing has asked for it

_HEADER: Final = struct.Struct("<HBBBBHQ")  # magic, header size, major, minor, compression, 0, size
_MAGIC: Final = 0xA15E
_VERSION: Final = (4, 3)
_STORED, _ZSTD = 0, 2
_BODY: Final = struct.Struct(
    "<4QBQQQdQ"
)  # level id, NTT form, polynomials, N, primes, scale, factor
_scratch: Final = threading.local()


class Ring:
    """One parameter set, ready to compute.

    Raises:
        CiphertextError: This build of the library cannot use the set (`parameters.unusable`).
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        described = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE(int(parameters.scheme)))
        described.set_poly_modulus_degree(parameters.ring_degree)
        described.set_coeff_modulus([sealapi.Modulus(prime) for prime in parameters.primes])
        described.set_plain_modulus(sealapi.Modulus(parameters.plain_modulus))
        self.context = sealapi.SEALContext(described, True, sealapi.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise CiphertextError(
                f"{parameters.name}: {self.context.parameters_error_message()}",
                reason="parameters.unusable",
            )
        self.encoder = sealapi.BatchEncoder(self.context)
        self.evaluator = sealapi.Evaluator(self.context)
        self._level_ids: dict[int, tuple[int, ...]] = {}
        level = self.context.first_context_data()
        while level is not None:
            primes = len(level.parms().coeff_modulus())
            self._level_ids[primes] = tuple(level.parms_id())
            level = level.next_context_data()
        # SEAL decides by itself how many primes it sets apart for keys; plans count on this number.
        if max(self._level_ids) != parameters.fresh_primes:
            raise CiphertextError(
                f"{parameters.name}: the library keeps another number of primes for data.",
                reason="parameters.unusable",
            )

    def encode(self, values: NDArray[np.uint64]) -> Handle:
        """Encode up to N residues of t, one a slot; missing slots are zero."""
        plaintext = sealapi.Plaintext()
        self.encoder.encode(values.tolist(), plaintext)
        return plaintext

    def constant(self, value: int) -> Handle:
        """The same residue of t in every slot, as a constant polynomial (cheap to multiply by)."""
        return sealapi.Plaintext(f"{value % self.parameters.plain_modulus:x}")

    def decode(self, plaintext: Handle) -> NDArray[np.uint64]:
        """All N slots of a plaintext."""
        # Through an array, which reads a list of numbers faster than numpy does.
        return np.frombuffer(array("Q", self.encoder.decode_uint64(plaintext)), dtype=np.uint64)

    def add_plain(self, chunk: Chunk, values: NDArray[np.uint64]) -> Chunk:
        """A chunk plus up to N residues of t, one a slot."""
        if not isinstance(chunk, np.ndarray):
            plaintext = self.encode(values)
            return self.evaluate(lambda e, a, p, out: e.add_plain(a, p, out), chunk, plaintext)
        terms = slot_encoder(self.parameters).encode(values)
        modulus, prime = self.parameters.plain_modulus, self.parameters.primes[0]
        whole, rest = (np.uint64(part) for part in divmod(prime, modulus))
        # q·m / t, rounded as the library rounds it; nothing here reaches 2**63.
        scaled = (terms * rest + np.uint64((modulus + 1) // 2)) // np.uint64(modulus)
        residues = chunk.copy()
        first = residues[0, 0]
        first += terms * whole + scaled
        # Now below 2q. Where it is below q, the difference wraps around and is not the smaller.
        np.minimum(first, first - np.uint64(prime), out=first)
        return residues

    def multiply_plain(self, chunk: Chunk, values: NDArray[np.uint64]) -> Handle:
        """A chunk times up to N residues of t, one a slot."""
        plaintext = self.encode(values)
        return self.evaluate(lambda e, a, p, out: e.multiply_plain(a, p, out), chunk, plaintext)

    def shape(self, chunk: Chunk) -> tuple[int, int]:
        """Polynomials of a chunk, and its coefficient primes left."""
        if isinstance(chunk, np.ndarray):
            return chunk.shape[0], chunk.shape[1]
        return int(chunk.size()), int(chunk.coeff_modulus_size())

    def handle(self, chunk: Chunk) -> Handle:
        """A chunk as SEAL has it."""
        return self.ciphertext(chunk) if isinstance(chunk, np.ndarray) else chunk

    def chunk(self, residues: NDArray[np.uint64]) -> Chunk:
        """A chunk of checked residues [polynomials, primes, N]."""
        return residues if self.parameters.stays_residues else self.ciphertext(residues)

    def coefficients(self, chunk: Chunk) -> NDArray[np.uint64]:
        """Residues [polynomials, primes, N] of a chunk."""
        if isinstance(chunk, np.ndarray):
            return chunk
        residues, factor = _residues(_saved(chunk.save))
        # Our files have no room for BGV's correction factor, so a column that has one would
        # decrypt wrong.
        if factor != 1:
            raise CiphertextError(
                "A ciphertext carries a correction factor; it cannot be stored.",
                reason="ciphertext.correction-factor",
            )
        return residues

    def ciphertext(self, residues: NDArray[np.uint64]) -> Handle:
        """A SEAL ciphertext from checked residues [polynomials, primes, N]."""
        polynomials, primes, degree = residues.shape
        level = self._level_ids.get(primes)
        if level is None or degree != self.parameters.ring_degree or polynomials < 2:
            raise MalformedCiphertextError("A ciphertext's shape does not fit its parameter set.")
        body = _BODY.pack(
            *level,
            self.parameters.scheme.name == "BGV",  # SEAL keeps BGV ciphertexts in NTT form
            polynomials,
            degree,
            primes,
            1.0,
            1,
        )
        data = np.ascontiguousarray(residues, dtype="<u8").tobytes()
        stored = _header(8 + len(data)) + struct.pack("<Q", residues.size) + data
        loaded = sealapi.Ciphertext()
        _load(loaded, self.context, _header(len(body) + len(stored)) + body + stored)
        return loaded

    def evaluate(self, operation: Callable[..., None], *operands: Chunk) -> Handle:
        """A new ciphertext that `operation(evaluator, *operands, ciphertext)` fills.

        Raises:
            CiphertextError: The library refuses (`ciphertext.operation`): operands at different
                levels, or a result that would be no encryption at all, such as a column minus
                itself.
        """
        result = sealapi.Ciphertext()
        try:
            operation(self.evaluator, *map(self.handle, operands), result)
        except (RuntimeError, ValueError) as error:
            raise CiphertextError(
                "The library refuses this operation on encrypted columns.",
                reason="ciphertext.operation",
                remedy="Plan the computation first; a result without encryption is never made.",
            ) from error
        return result

    def encryptor(self, public_key: bytes) -> Callable[[NDArray[np.uint64]], Chunk]:
        """A function that encrypts up to N residues of t under an authenticated public key."""
        key = sealapi.PublicKey()
        _load(key, self.context, public_key)
        if self.parameters.stays_residues:
            # Not before the first column: most who have a public key encrypt nothing.
            zeros = cache(lambda: ZeroEncryptor(self.parameters, _residues(_saved(key.save))[0]))
            return lambda values: self.add_plain(zeros().encrypt(), values)
        encryptor = sealapi.Encryptor(self.context, key)

        def encrypt(values: NDArray[np.uint64]) -> Handle:
            ciphertext = sealapi.Ciphertext()
            encryptor.encrypt(self.encode(values), ciphertext)
            return ciphertext

        return encrypt

    def relinearisation_keys(self, data: bytes) -> Handle:
        """Relinearisation keys from authenticated bytes."""
        keys = sealapi.RelinKeys()
        _load(keys, self.context, data)
        return keys


@lru_cache(maxsize=8)
def ring_for(parameters: Parameters) -> Ring:
    """The process's one ring of a parameter set (a context takes 10–100 ms to build)."""
    return Ring(parameters)


def save_key(handle: Handle) -> bytes:
    """SEAL's serialization of a key object."""
    return _saved(handle.save)


def load_into(target: Handle, ring: Ring, data: bytes) -> None:
    """Load authenticated key bytes into an empty key object.

    Raises:
        MalformedCiphertextError: The library refuses them.
    """
    _load(target, ring.context, data)


class _Scratch:
    """An anonymous file of one thread in one process; closed when the thread ends."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.descriptor = os.memfd_create("gridsecure")  # never on disk, never named, dies with us
        self.path = Path(f"/proc/self/fd/{self.descriptor}")
        weakref.finalize(self, os.close, self.descriptor)


def _memory_file() -> tuple[int, Path]:
    file = getattr(_scratch, "file", None)
    if file is None or file.owner != os.getpid():  # after a fork, the parent's file is not ours
        file = _scratch.file = _Scratch()
    return file.descriptor, file.path


def _saved(save: Callable[[str], None]) -> bytes:
    descriptor, path = _memory_file()
    try:
        save(str(path))
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.ftruncate(descriptor, 0)  # it may have been a secret key: nothing stays behind


def _load(target: Handle, context: Handle, data: bytes) -> None:
    # SEAL reads as far as its header says and ignores the rest, where anything could hide, a
    # secret key behind a public one for instance. Exactly one object, then.
    if len(data) < _HEADER.size or _HEADER.unpack_from(data)[-1] != len(data):
        raise MalformedCiphertextError("These bytes are not exactly one object of the library.")
    descriptor, path = _memory_file()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)
    try:
        target.load(context, str(path))
    except (RuntimeError, ValueError) as error:
        raise MalformedCiphertextError("The library refuses these bytes.") from error
    finally:
        os.ftruncate(descriptor, 0)


def _header(size: int) -> bytes:
    return _HEADER.pack(_MAGIC, _HEADER.size, *_VERSION, _STORED, 0, _HEADER.size + size)


def _residues(saved: bytes) -> tuple[NDArray[np.uint64], int]:
    """Residues [polynomials, primes, N] and BGV's correction factor in what the library saved."""
    body = _inflate(saved)
    *_, polynomials, degree, primes, _scale, factor = _BODY.unpack_from(body)
    # The residues have a header of their own, and their count [8 bytes] before them.
    start = _BODY.size + _HEADER.size + 8
    residues = np.frombuffer(body, dtype="<u8", offset=start).astype(np.uint64, copy=False)
    return residues.reshape(polynomials, primes, degree), factor


def _inflate(saved: bytes) -> bytes:
    _magic, length, _major, _minor, compression, _zero, _size = _HEADER.unpack_from(saved)
    body = saved[length:]
    if compression == _ZSTD:
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return body
