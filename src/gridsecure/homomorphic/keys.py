"""Public homomorphic keys, and encryption under them.

A `PublicKeySet` is what the key authority publishes, signed: the public key for gateways and the
relinearisation keys for whoever computes. Its `key_id` is a fingerprint of set and public key, so
a public key cannot be swapped under a name. Relinearisation keys are not in it, because gateways do
without them: only the authority's signature vouches for those. Callers verify that signature before
they construct a key set; construction then proves that the bytes are keys of the named set and not,
say, a secret key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import KeyMismatchError, MalformedCiphertextError, OutOfRangeError
from gridsecure.homomorphic.columns import EncryptedColumn, Evaluation, split_chunks
from gridsecure.homomorphic.parameters import Parameters
from gridsecure.homomorphic.rings import ring_for


@dataclass(frozen=True)
class PublicKeySet:
    """The public half of a key set.

    Args:
        public_key: SEAL bytes of the public key.
        relinearisation_keys: SEAL bytes, empty where the set multiplies nothing.

    Raises:
        KeyMismatchError: The bytes are not keys of this parameter set (`keys.malformed`).
    """

    parameters: Parameters
    public_key: bytes = field(repr=False)  # megabytes, of no use in a log
    relinearisation_keys: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        try:
            _ = self.evaluation, self._encrypt
        except MalformedCiphertextError as error:
            raise KeyMismatchError(
                f"These bytes are not public keys of {self.parameters.name}.",
                reason="keys.malformed",
                remedy="Fetch the key set from the key authority again.",
            ) from error

    @cached_property
    def key_id(self) -> str:
        """Fingerprint of set and public key: 32 hexadecimal digits of SM3."""
        return key_fingerprint(self.parameters.digest, self.public_key)

    @cached_property
    def evaluation(self) -> Evaluation:
        """What computing under this key needs."""
        keys = None
        if self.relinearisation_keys:
            keys = ring_for(self.parameters).relinearisation_keys(self.relinearisation_keys)
        return Evaluation(self.parameters, self.key_id, keys)

    @cached_property
    def _encrypt(self) -> Any:
        return ring_for(self.parameters).encryptor(self.public_key)

    def encrypt(self, values: NDArray[Any], *, high: int) -> EncryptedColumn:
        """Encrypt one quantity for a whole roster.

        Args:
            values: Integers [slots].
            high: Largest value the column's label admits.

        Raises:
            OutOfRangeError: A value is no integer, negative or above `high`, or `high` does not fit
                the set.
        """
        if values.dtype.kind not in "biu" and not all(isinstance(v, int) for v in values):
            raise OutOfRangeError(
                "A column must hold whole numbers of its unit.",
                reason="column.type",
                remedy="Convert to the column's unit exactly; nothing is rounded here.",
            )
        if high >= self.parameters.plain_modulus or (
            len(values) and (int(values.min()) < 0 or int(values.max()) > high)
        ):
            raise OutOfRangeError(
                "A value does not fit the bound of its column.",
                reason="column.range",
                remedy="Check the unit, or raise the bound and re-plan.",
            )
        slots = len(values)
        parts = split_chunks(values.astype(np.uint64), parameters=self.parameters)
        return EncryptedColumn(self.evaluation, slots, tuple(self._encrypt(part) for part in parts))


def key_fingerprint(parameters_digest: str, public_key: bytes) -> str:
    """A key set's id from its parameters' digest and its public key: 32 digits of SM3."""
    return sm3_hex(parameters_digest.encode() + public_key)[:32]
