"""The homomorphic secret key. Only `gridsecure.key_authority` may import this module.

There is no function here that decrypts bytes: decryption takes an `EncryptedColumn`, and the vault
builds those only from outputs the checker derived again. One forged ciphertext decrypted for its
sender gives away the whole key (see tests/traps/test_forged_ciphertext.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tenseal import sealapi

from gridsecure.errors import KeyMismatchError
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import Parameters, Scheme
from gridsecure.homomorphic.rings import Ring, load_into, ring_for, save_key


class SecretKeySet:
    """The secret half of a key set. Never printed, never pickled.

    Args:
        secret_key: SEAL's secret key object.
    """

    __slots__ = ("_decryptor", "_secret_key", "public")

    def __init__(self, public: PublicKeySet, secret_key: Any) -> None:
        self.public = public
        self._secret_key = secret_key
        self._decryptor = sealapi.Decryptor(self._ring.context, secret_key)

    def __repr__(self) -> str:
        return f"SecretKeySet(key_id={self.public.key_id!r})"

    def __reduce__(self) -> str:
        raise TypeError("a secret key does not travel")

    @property
    def _ring(self) -> Ring:
        return ring_for(self.public.parameters)

    def to_bytes(self) -> bytes:
        """The secret key for sealing at rest. The caller seals it before it touches a disk."""
        return save_key(self._secret_key)

    def decrypt(self, column: EncryptedColumn) -> NDArray[np.uint64]:
        """The column's values [slots], residues of the plain modulus.

        Raises:
            KeyMismatchError: The column is under another key.
        """
        if column.evaluation.key_id != self.public.key_id:
            raise KeyMismatchError("A column under another key cannot be decrypted here.")
        parts = []
        for chunk in column.chunks:
            plaintext = sealapi.Plaintext()
            self._decryptor.decrypt(self._ring.handle(chunk), plaintext)
            parts.append(self._ring.decode(plaintext))
        return np.concatenate(parts)[: column.slots]

    def noise_margin(self, column: EncryptedColumn) -> int:
        """The library's own noise measurement, in bits. For tests and benchmarks only."""
        chunks = map(self._ring.handle, column.chunks)
        return min(int(self._decryptor.invariant_noise_budget(chunk)) for chunk in chunks)


def generate_key_set(parameters: Parameters) -> SecretKeySet:
    """A new key set from the library's operating-system randomness."""
    ring = ring_for(parameters)
    generator = sealapi.KeyGenerator(ring.context)
    public_key = sealapi.PublicKey()
    generator.create_public_key(public_key)
    relinearisation = b""
    if parameters.scheme is Scheme.BGV:
        keys = sealapi.RelinKeys()
        generator.create_relin_keys(keys)
        relinearisation = save_key(keys)
    public = PublicKeySet(parameters, save_key(public_key), relinearisation)
    return SecretKeySet(public, generator.secret_key())


def load_secret_key_set(data: bytes, *, public: PublicKeySet) -> SecretKeySet:
    """The key set from an opened envelope.

    Raises:
        KeyMismatchError: The secret key does not belong to the public one, or the relinearisation
            keys do not.
        MalformedCiphertextError: The bytes are no secret key of this set.
    """
    secret_key = sealapi.SecretKey()
    load_into(secret_key, ring_for(public.parameters), data)
    loaded = SecretKeySet(public, secret_key)
    probe = np.arange(3)
    encrypted = public.encrypt(probe, high=2)
    if not np.array_equal(loaded.decrypt(encrypted), probe):
        raise KeyMismatchError("Secret and public key do not belong together.")
    if public.relinearisation_keys:
        square = encrypted.times(encrypted).relinearise()
        if not np.array_equal(loaded.decrypt(square), probe**2):
            raise KeyMismatchError("Secret and relinearisation keys do not belong together.")
    return loaded
