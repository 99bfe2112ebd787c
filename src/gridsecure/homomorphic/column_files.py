"""An encrypted column as one file: a public label, then packed coefficients.

    "GSEC" ‖ version (1) ‖ header length (4, big-endian) ‖ header (canonical JSON) ‖ coefficients

A file is named by its SM3 digest, which a signed manifest or transcript lists. `open_column` takes
that digest and checks, in this order and before any coefficient is used: digest, format, key id,
parameter set, roster, level, exact length, every coefficient below its prime. `read_column` is for
bytes that were hashed as they came, and checks the rest. Nothing in the file is believed because
the file says so.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import EnvelopeError, KeyMismatchError, MalformedCiphertextError
from gridsecure.homomorphic.coefficients import pack, packed_size, unpack
from gridsecure.homomorphic.columns import EncryptedColumn, Evaluation
from gridsecure.homomorphic.parameters import Parameters

_MAGIC: Final = b"GSEC\x01"
_LENGTH: Final = struct.Struct(">I")
MAX_HEADER: Final = 4096
MAX_POLYNOMIALS: Final = 3
MAX_SLOTS: Final = 16384 * 300
"""The largest roster through the longest local day, 25 hours of five minutes."""
_FIELDS: Final = frozenset(
    {"chunks", "key_id", "label", "parameters", "parameters_digest", "polynomials", "primes"}
)


@dataclass(frozen=True, slots=True)
class ColumnLabel:
    """What everybody may know about a column.

    Args:
        quantity: Name of the quantity within its roster and period ("total").
        unit: Unit of one count, e.g. "Wh" or "1e-11 CNY".
        start: Start of the interval or period, ISO 8601 with offset.
        end: Its end, exclusive.
        slots: Slots in use; for several intervals, as many times those of the roster.
        high: Largest value a slot may hold.
    """

    quantity: str
    unit: str
    roster_id: str
    start: str
    end: str
    slots: int
    high: int


def column_bytes(column: EncryptedColumn, *, label: ColumnLabel) -> bytes:
    """Write a column as a file.

    Raises:
        ValueError: The label counts other slots than the column.
        MalformedCiphertextError: A label or shape that `open_column` would refuse.
    """
    if label.slots != column.slots:
        raise ValueError("label and column disagree about the slots")
    evaluation, ring = column.evaluation, column.evaluation.ring
    arrays = [ring.coefficients(chunk) for chunk in column.chunks]
    header = {
        "chunks": len(arrays),
        "key_id": evaluation.key_id,
        "label": asdict(label),
        "parameters": evaluation.parameters.name,
        "parameters_digest": evaluation.parameters.digest,
        "polynomials": arrays[0].shape[0],
        "primes": arrays[0].shape[1],
    }
    encoded = _canonical(header)
    _shape(header, label=_label(header), parameters=evaluation.parameters)
    if len(encoded) > MAX_HEADER:
        raise MalformedCiphertextError("A column's header is too long.")
    primes = evaluation.parameters.primes
    parts = [_MAGIC, _LENGTH.pack(len(encoded)), encoded]
    for array in arrays:
        for polynomial in array:
            parts += [pack(row, modulus=primes[i]) for i, row in enumerate(polynomial)]
    return b"".join(parts)


def open_column(
    data: bytes, *, digest: str, evaluation: Evaluation, roster_id: str
) -> tuple[EncryptedColumn, ColumnLabel]:
    """Check a file and turn it into a column.

    Raises:
        EnvelopeError: The bytes are not the ones the digest names.
        MalformedCiphertextError, KeyMismatchError: As `read_column`.
    """
    if sm3_hex(data) != digest:
        raise EnvelopeError("A column file is not the one its digest names.")
    return read_column(data, evaluation=evaluation, roster_id=roster_id)


def read_column(
    data: bytes, *, evaluation: Evaluation, roster_id: str
) -> tuple[EncryptedColumn, ColumnLabel]:
    """Turn a file into a column whose digest was checked where it was fetched, and not here.

    Raises:
        MalformedCiphertextError: Not exactly one well-formed column.
        KeyMismatchError: Another key, parameter set or roster.
    """
    header, offset = _header(data)
    label = _label(header)
    parameters = evaluation.parameters
    if header.get("key_id") != evaluation.key_id:
        raise KeyMismatchError(
            "A column is encrypted under another key.",
            reason="ciphertext.key-id",
            remedy="Encrypt it under the key set in force and upload it again.",
        )
    declared = (header.get("parameters"), header.get("parameters_digest"))
    if declared != (parameters.name, parameters.digest):
        raise KeyMismatchError("A column uses another parameter set.", reason="parameters.digest")
    if label.roster_id != roster_id:
        raise KeyMismatchError("A column belongs to another roster.", reason="ciphertext.roster")
    shape = _shape(header, label=label, parameters=parameters)
    return EncryptedColumn(
        evaluation, label.slots, _chunks(data[offset:], shape, evaluation)
    ), label


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    start = len(_MAGIC) + _LENGTH.size
    if not data.startswith(_MAGIC) or len(data) < start:
        raise MalformedCiphertextError("This is not an encrypted column.")
    (length,) = _LENGTH.unpack_from(data, len(_MAGIC))
    if length > MAX_HEADER:
        raise MalformedCiphertextError("A column's header is too long.")
    encoded = data[start : start + length]
    try:
        header = json.loads(encoded)
    except (ValueError, RecursionError) as error:  # brackets nested a thousand deep
        raise MalformedCiphertextError("A column's header cannot be read.") from error
    if not isinstance(header, dict) or header.keys() != _FIELDS:
        raise MalformedCiphertextError("A column's header has other fields.")
    # One column has one file: no spaces, repeated names or other spellings of the same header.
    if encoded != _canonical(header):
        raise MalformedCiphertextError("A column's header is not canonical.")
    return header, start + length


def _canonical(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _label(header: dict[str, Any]) -> ColumnLabel:
    fields = header.get("label")
    try:
        label = ColumnLabel(**fields)  # type: ignore[arg-type]
    except TypeError as error:
        raise MalformedCiphertextError("A column's label has other fields.") from error
    texts = (label.quantity, label.unit, label.roster_id, label.start, label.end)
    counts = (label.slots, label.high)
    if not all(type(text) is str for text in texts) or not all(type(n) is int for n in counts):
        raise MalformedCiphertextError("A column's label has fields of another type.")
    if not (0 < label.slots <= MAX_SLOTS and label.high >= 0):
        raise MalformedCiphertextError("A column's label is out of range.")
    return label


def _shape(
    header: dict[str, Any], *, label: ColumnLabel, parameters: Parameters
) -> tuple[int, int, int]:
    counts = [header.get(name) for name in ("chunks", "polynomials", "primes")]
    chunks, polynomials, primes = (n if type(n) is int else -1 for n in counts)
    expected = -(-label.slots // parameters.ring_degree)
    if (
        chunks != expected
        or not 2 <= polynomials <= MAX_POLYNOMIALS
        or not 1 <= primes <= parameters.fresh_primes
        or label.high >= parameters.plain_modulus
    ):
        raise MalformedCiphertextError("A column's shape does not fit its roster and set.")
    return chunks, polynomials, primes


def _chunks(payload: bytes, shape: tuple[int, int, int], evaluation: Evaluation) -> tuple[Any, ...]:
    chunks, polynomials, primes = shape
    moduli = evaluation.parameters.primes[:primes]
    degree = evaluation.parameters.ring_degree
    sizes = [packed_size(degree, modulus=modulus) for modulus in moduli]
    if len(payload) != chunks * polynomials * sum(sizes):
        raise MalformedCiphertextError("A column is truncated or too long.")
    view, offset, results = memoryview(payload), 0, []
    for _ in range(chunks):
        residues = np.empty((polynomials, primes, degree), dtype=np.uint64)
        for p in range(polynomials):
            for i, (modulus, size) in enumerate(zip(moduli, sizes, strict=True)):
                part = view[offset : offset + size]
                residues[p, i] = unpack(part, count=degree, modulus=modulus)
                offset += size
        if not residues[1:].any():
            raise MalformedCiphertextError(
                "A column is transparent: it can be read without a key.",
                reason="ciphertext.transparent",
            )
        results.append(evaluation.ring.chunk(residues))
    return tuple(results)
