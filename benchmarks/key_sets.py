"""One set of real keys for a benchmark run, made for it and gone with it.

The only module outside the key authority that imports the secret key. Exactness can be shown, and
release timed, only by decrypting; a benchmark decrypts nothing but columns it encrypted itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import PARAMETER_SETS, Parameters
from gridsecure.homomorphic.secret_key import (
    SecretKeySet,
    generate_key_set,
    load_secret_key_set,
)
from gridsecure.plans.quantities import ColumnNeed


@dataclass(frozen=True, slots=True)
class BenchKeys:
    """Key sets by parameter set name."""

    secret: Mapping[str, SecretKeySet]

    @property
    def public(self) -> dict[str, PublicKeySet]:
        """The public halves, as gateways and the platform hold them."""
        return {name: keys.public for name, keys in self.secret.items()}

    def encrypted(
        self, needs: tuple[ColumnNeed, ...], *, values: Mapping[str, NDArray[Any]]
    ) -> dict[str, EncryptedColumn]:
        """Encrypt the columns a plan reads, by quantity."""
        public = self.public
        return {
            need.quantity: public[need.parameters.name].encrypt(
                values[need.quantity], high=need.high
            )
            for need in needs
        }

    def decrypted(self, columns: Mapping[str, EncryptedColumn]) -> dict[str, NDArray[Any]]:
        """Decrypt output columns, by name."""
        return {
            name: self.secret[column.evaluation.parameters.name].decrypt(column)
            for name, column in columns.items()
        }


def receive(column: EncryptedColumn) -> EncryptedColumn:
    """A column as the platform has it: out of a file, interval columns are residues."""
    ring = column.evaluation.ring
    # What the library saves lies at odd addresses, which numpy reads more slowly.
    arrays = [ring.coefficients(chunk).copy() for chunk in column.chunks]
    return replace(column, chunks=tuple(map(ring.chunk, arrays)))


def open_keys(parameters: Parameters, secret: bytes, public_key: bytes) -> BenchKeys:
    """A key set in another process of the benchmark."""
    public = PublicKeySet(parameters, public_key)
    return BenchKeys({parameters.name: load_secret_key_set(secret, public=public)})


def make_gateway_keys(parameters: Parameters, *, gateways: int) -> list[SecretKeySet]:
    """A key set of these parameters for each gateway."""
    return [generate_key_set(parameters) for _ in range(gateways)]


def make_keys() -> BenchKeys:
    """New keys of every parameter set in use."""
    return BenchKeys({name: generate_key_set(p) for name, p in PARAMETER_SETS.items()})
