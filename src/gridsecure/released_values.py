"""The values of a release certificate, which can be detached from it.

The signed text has no value: it says which cells were told, and a digest of a salt and all values.
The values travel beside it, so that billing staff, regulator and gateways hold the same
certificate, under one signature and one entry in the log, with values or without. Nobody who holds
it without them can try guesses: the salt has 256 random bits.

Of a sealed question the cells travel with the values: how many groups and steps there are, when,
of how many, and which were told is its asker's alone.

Certificates of before have their values in the signed text; they are read as they are.
"""

from __future__ import annotations

import secrets
from typing import ClassVar, Final

from pydantic import Field

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import SignatureError
from gridsecure.messages import (
    CellTotal,
    Digest,
    Message,
    ReleaseCertificate,
    Signed,
    sign_message,
)

_SALT_BYTES: Final = 32


class ReleasedValues(Message):
    """The detachable part.

    Args:
        salt: 32 random bytes, hexadecimal.
        values: One for each cell, in their order; None for a cell that was not told.
        cells: Of a sealed question the cells, without their values; else the certificate has them.
    """

    kind: ClassVar[str] = "released-values"
    salt: str
    values: list[str | None]
    cells: list[CellTotal] = Field(default=[])

    @property
    def text(self) -> str:
        """Its JSON text; without cells the same as before there were any."""
        return self.model_dump_json(exclude_defaults=True)

    @property
    def digest(self) -> Digest:
        """SM3 of its text, as the certificate names it."""
        return sm3_hex(self.text.encode())


class SignedCertificate(Signed):
    """A certificate as signed, and beside it the values, for whoever may see them."""

    values: ReleasedValues | None = None

    def without_values(self) -> SignedCertificate:
        """The same certificate, for whoever may not see them."""
        return self.model_copy(update={"values": None})


def detach_values(
    certificate: ReleaseCertificate,
) -> tuple[ReleaseCertificate, ReleasedValues]:
    """Take the values out of a certificate that is not signed yet.

    Returns:
        The certificate with the digest of the values in their place, and the values.
    """
    cells = [
        cell.model_copy(update={"value": None, "told": cell.value is not None})
        for cell in certificate.cells
    ]
    own, beside = ([], cells) if certificate.question else (cells, [])
    values = ReleasedValues(
        salt=secrets.token_hex(_SALT_BYTES),
        values=[cell.value for cell in certificate.cells],
        cells=beside,
    )
    bare = certificate.model_copy(update={"cells": own, "values_digest": values.digest})
    return bare, values


def sign_certificate(
    certificate: ReleaseCertificate, values: ReleasedValues, *, key: Sm2PrivateKey
) -> SignedCertificate:
    """Sign a certificate whose values were detached."""
    return SignedCertificate(**sign_message(certificate, key=key).model_dump(), values=values)


def attach_values(
    certificate: ReleaseCertificate, envelope: SignedCertificate
) -> ReleaseCertificate:
    """Put the values beside a certificate into its cells.

    Args:
        certificate: Read from the envelope, whose signature was verified.

    Raises:
        SignatureError: They are not those that were certified (`release.values`).
    """
    if not certificate.values_digest:
        if envelope.values is not None or any(cell.told for cell in certificate.cells):
            raise _others()
        return certificate
    if any(cell.value is not None for cell in certificate.cells):
        raise _others()
    if envelope.values is None:
        return certificate
    values, beside = envelope.values.values, envelope.values.cells
    if certificate.cells if certificate.question else beside:
        raise _others()
    bare = beside or certificate.cells
    told = [cell.told for cell in bare]
    if (
        envelope.values.digest != certificate.values_digest
        or [value is not None for value in values] != told
        or any(cell.value is not None for cell in bare)
    ):
        raise _others()
    pairs = zip(bare, values, strict=True)
    cells = [cell.model_copy(update={"value": value}) for cell, value in pairs]
    return certificate.model_copy(update={"cells": cells})


def _others() -> SignatureError:
    return SignatureError(
        "The values beside the release certificate are not those that were certified.",
        reason="release.values",
        remedy="Nothing of it is shown. Ask the key authority for the release again; if it sends "
        "the same, tell the security officer.",
    )
