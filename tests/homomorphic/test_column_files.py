"""Column files: what is written reads back, and nothing else reads at all."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    EnvelopeError,
    GridSecureError,
    KeyMismatchError,
    MalformedCiphertextError,
)
from gridsecure.homomorphic.coefficients import pack, packed_size
from gridsecure.homomorphic.column_files import (
    MAX_HEADER,
    MAX_SLOTS,
    ColumnLabel,
    column_bytes,
    open_column,
)
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import INTERVAL, PARAMETER_SETS, REGISTER
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set

START = len(b"GSEC\x01") + 4
SLOTS = 100
ROSTER = "roster-7"


def label_for(column: EncryptedColumn, **changes: Any) -> ColumnLabel:
    label = ColumnLabel(
        quantity="intervals:2026-07-18",
        unit="Wh",
        roster_id=ROSTER,
        start="2026-01-01T08:00:00+08:00",
        end="2026-01-01T08:30:00+08:00",
        slots=column.slots,
        high=60_000,
    )
    return replace(label, **changes)


@dataclass(frozen=True)
class Written:
    """A file and whoever may open it."""

    data: bytes
    keys: SecretKeySet

    @property
    def header(self) -> dict[str, Any]:
        (length,) = struct.unpack(">I", self.data[5:START])
        header: dict[str, Any] = json.loads(self.data[START : START + length])
        return header

    @property
    def payload(self) -> bytes:
        (length,) = struct.unpack(">I", self.data[5:START])
        return self.data[START + length :]

    def opened(self, data: bytes) -> tuple[EncryptedColumn, ColumnLabel]:
        """Open bytes under their own digest, as if a signed manifest named them."""
        evaluation = self.keys.public.evaluation
        return open_column(data, digest=sm3_hex(data), evaluation=evaluation, roster_id=ROSTER)


def with_header(encoded: bytes, payload: bytes) -> bytes:
    return b"GSEC\x01" + struct.pack(">I", len(encoded)) + encoded + payload


def canonical(header: object) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


@pytest.fixture(scope="module")
def written(interval_keys: SecretKeySet) -> Written:
    column = interval_keys.public.encrypt(np.arange(SLOTS) * 600, high=60_000)
    return Written(column_bytes(column, label=label_for(column)), interval_keys)


# --- what is written reads back -----------------------------------------------------------------


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_column_reads_back(key_sets: dict[str, SecretKeySet], name: str) -> None:
    keys = key_sets[name]
    values = np.arange(SLOTS)
    column = keys.public.encrypt(values, high=SLOTS)
    label = label_for(column)
    data = column_bytes(column, label=label)
    opened, read = Written(data, keys).opened(data)
    assert read == label
    assert keys.decrypt(opened).tolist() == values.tolist()
    assert column_bytes(opened, label=read) == data, "reading and writing lose nothing"


@pytest.mark.parametrize("primes", [4, 3, 2, 1])
def test_every_level_reads_back(tier_keys: SecretKeySet, primes: int) -> None:
    column = tier_keys.public.encrypt(np.arange(SLOTS), high=SLOTS).switch_down(primes)
    data = column_bytes(column, label=label_for(column))
    opened, _ = Written(data, tier_keys).opened(data)
    assert opened.primes == primes
    assert tier_keys.decrypt(opened).tolist() == list(range(SLOTS))


def test_unfinished_product_reads_back(tier_keys: SecretKeySet) -> None:
    column = tier_keys.public.encrypt(np.arange(SLOTS), high=SLOTS)
    product = column.times(column)
    data = column_bytes(product, label=label_for(product))
    opened, _ = Written(data, tier_keys).opened(data)
    assert opened.size == 3
    assert tier_keys.decrypt(opened.relinearise()).tolist() == [i * i for i in range(SLOTS)]


def test_several_chunks_read_back(interval_keys: SecretKeySet) -> None:
    values = np.arange(MAX_SLOTS)
    column = interval_keys.public.encrypt(values, high=MAX_SLOTS)
    data = column_bytes(column, label=label_for(column))
    opened, _ = Written(data, interval_keys).opened(data)
    assert interval_keys.decrypt(opened).tolist() == values.tolist()


def test_full_interval_column_takes_eleven_bytes_a_slot(interval_keys: SecretKeySet) -> None:
    column = interval_keys.public.encrypt(np.arange(4096), high=4096)
    data = column_bytes(column, label=label_for(column))
    assert len(Written(data, interval_keys).payload) == 11 * 4096
    assert len(data) < 11.2 * 4096


# --- what could not be read is not written ------------------------------------------------------


def test_label_must_count_the_columns_slots(interval_keys: SecretKeySet) -> None:
    column = interval_keys.public.encrypt(np.arange(SLOTS), high=SLOTS)
    with pytest.raises(ValueError, match="slots"):
        column_bytes(column, label=label_for(column, slots=SLOTS - 1))


@pytest.mark.parametrize(
    "change",
    [
        {"high": INTERVAL.plain_modulus},
        {"high": -1},
        {"quantity": "q" * MAX_HEADER},
        {"unit": 7},
    ],
    ids=lambda change: next(iter(change)),
)
def test_label_that_would_be_refused_is_not_written(
    interval_keys: SecretKeySet, change: dict[str, Any]
) -> None:
    column = interval_keys.public.encrypt(np.arange(SLOTS), high=SLOTS)
    with pytest.raises(MalformedCiphertextError):
        column_bytes(column, label=label_for(column, **change))


def test_roster_too_large_for_a_file_is_not_written(interval_keys: SecretKeySet) -> None:
    column = interval_keys.public.encrypt(np.arange(MAX_SLOTS + 1), high=MAX_SLOTS)
    with pytest.raises(MalformedCiphertextError):
        column_bytes(column, label=label_for(column))


# --- the digest comes first ---------------------------------------------------------------------


@pytest.mark.parametrize("junk", [b"", b"ab", b"GSEC\x01", b"[" * 4000], ids=len)
def test_digest_is_checked_before_anything_is_parsed(written: Written, junk: bytes) -> None:
    """Junk that any parser would choke on is refused for its digest, not for its content."""
    with pytest.raises(EnvelopeError):
        open_column(
            junk,
            digest=sm3_hex(written.data),
            evaluation=written.keys.public.evaluation,
            roster_id=ROSTER,
        )


@given(st.data())
def test_every_flipped_bit_is_refused_under_the_old_digest(
    written: Written, data: st.DataObject
) -> None:
    where = data.draw(st.integers(0, len(written.data) - 1))
    changed = bytearray(written.data)
    changed[where] ^= data.draw(st.integers(1, 255))
    with pytest.raises(EnvelopeError):
        open_column(
            bytes(changed),
            digest=sm3_hex(written.data),
            evaluation=written.keys.public.evaluation,
            roster_id=ROSTER,
        )


@pytest.mark.parametrize("digest", ["", "00" * 32, "not a digest"])
def test_other_digest_is_refused(written: Written, digest: str) -> None:
    with pytest.raises(EnvelopeError):
        open_column(
            written.data, digest=digest, evaluation=written.keys.public.evaluation, roster_id=ROSTER
        )


def test_digest_in_capitals_is_another_spelling(written: Written) -> None:
    with pytest.raises(EnvelopeError):
        open_column(
            written.data,
            digest=sm3_hex(written.data).upper(),
            evaluation=written.keys.public.evaluation,
            roster_id=ROSTER,
        )


# --- a forger who signs his own digest ----------------------------------------------------------

NO_COUNTS: list[object] = [-1, True, 1.0, "1", None]
NO_TEXTS: list[object] = [None, 7, ["Wh"], {}]
WRONG_COUNTS = [-1, 0, 4, 2**64, True, 1.0, "1", None, [1]]
MISMATCHES = [
    ("key_id", "0" * 32, "ciphertext.key-id"),
    ("key_id", None, "ciphertext.key-id"),
    ("parameters", REGISTER.name, "parameters.digest"),
    ("parameters_digest", REGISTER.digest, "parameters.digest"),
    ("parameters_digest", 7, "parameters.digest"),
]


@pytest.mark.parametrize(("field", "value", "reason"), MISMATCHES)
def test_other_key_or_set_is_refused(
    written: Written, field: str, value: object, reason: str
) -> None:
    forged = with_header(canonical(written.header | {field: value}), written.payload)
    with pytest.raises(KeyMismatchError) as refused:
        written.opened(forged)
    assert refused.value.reason == reason


@pytest.mark.parametrize("field", ["chunks", "polynomials", "primes"])
@pytest.mark.parametrize("value", WRONG_COUNTS, ids=repr)
def test_other_shape_is_refused(written: Written, field: str, value: object) -> None:
    forged = with_header(canonical(written.header | {field: value}), written.payload)
    with pytest.raises(MalformedCiphertextError):
        written.opened(forged)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, value) for field in ("slots", "high") for value in NO_COUNTS],
        *[
            (field, value)
            for field in ("quantity", "unit", "start", "end", "roster_id")
            for value in NO_TEXTS
        ],
        ("slots", 0),
        ("slots", 4097),
        ("slots", MAX_SLOTS + 1),
        ("slots", 10**300),
        ("high", INTERVAL.plain_modulus),
        ("high", 10**300),
    ],
)
def test_other_label_is_refused(written: Written, field: str, value: object) -> None:
    label = written.header["label"] | {field: value}
    forged = with_header(canonical(written.header | {"label": label}), written.payload)
    with pytest.raises(MalformedCiphertextError):
        written.opened(forged)


def test_other_roster_is_refused(written: Written) -> None:
    label = written.header["label"] | {"roster_id": "roster-8"}
    forged = with_header(canonical(written.header | {"label": label}), written.payload)
    with pytest.raises(KeyMismatchError) as refused:
        written.opened(forged)
    assert refused.value.reason == "ciphertext.roster"


FIELDS = ["chunks", "key_id", "label", "parameters", "parameters_digest", "polynomials", "primes"]


@pytest.mark.parametrize("field", FIELDS)
def test_missing_field_is_refused(written: Written, field: str) -> None:
    header = {name: value for name, value in written.header.items() if name != field}
    with pytest.raises(MalformedCiphertextError):
        written.opened(with_header(canonical(header), written.payload))


def test_fields_are_the_ones_tested(written: Written) -> None:
    assert sorted(written.header) == FIELDS


@pytest.mark.parametrize("label", [None, 7, "label", [], {}, {"slots": 1}], ids=repr)
def test_label_of_another_kind_is_refused(written: Written, label: object) -> None:
    with pytest.raises(MalformedCiphertextError):
        written.opened(with_header(canonical(written.header | {"label": label}), written.payload))


def test_additional_fields_are_refused(written: Written) -> None:
    label = written.header["label"] | {"note": ""}
    for header in (written.header | {"note": ""}, written.header | {"label": label}):
        with pytest.raises(MalformedCiphertextError):
            written.opened(with_header(canonical(header), written.payload))


RESPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "space": lambda encoded: encoded.replace(b":", b": ", 1),
    "trailing space": lambda encoded: encoded + b" ",
    "repeated name": lambda encoded: encoded[:-1] + b',"primes":1}',
    "escaped letter": lambda encoded: encoded.replace(b'"Wh"', b'"\\u0057h"'),
    "another encoding": lambda encoded: encoded.decode().encode("utf-16"),
    "reversed": lambda encoded: json.dumps(
        dict(reversed(json.loads(encoded).items())), separators=(",", ":")
    ).encode(),
}


@pytest.mark.parametrize("spelling", RESPELLINGS)
def test_column_has_one_spelling_only(written: Written, spelling: str) -> None:
    """Otherwise one column had many digests, and a copy could pass for another upload."""
    encoded = canonical(written.header)
    assert with_header(encoded, written.payload) == written.data
    forged = RESPELLINGS[spelling](encoded)
    assert json.loads(forged) == written.header
    with pytest.raises(MalformedCiphertextError):
        written.opened(with_header(forged, written.payload))


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b"{",
        b"\xff\xfe\xfd",
        b"[" * MAX_HEADER,
        b"{}" + b" " * MAX_HEADER,
    ],
    ids=lambda encoded: repr(encoded[:4]),
)
def test_header_that_is_none_is_refused(written: Written, encoded: bytes) -> None:
    with pytest.raises(MalformedCiphertextError):
        written.opened(with_header(encoded, written.payload))


@pytest.mark.parametrize("length", [0, 1, MAX_HEADER, MAX_HEADER + 1, 2**31, 2**32 - 1])
def test_other_header_length_is_refused(written: Written, length: int) -> None:
    forged = written.data[:5] + struct.pack(">I", length) + written.data[START:]
    with pytest.raises(MalformedCiphertextError):
        written.opened(forged)


def test_version_and_magic_are_checked(written: Written) -> None:
    for where in range(5):
        forged = bytearray(written.data)
        forged[where] ^= 1
        with pytest.raises(MalformedCiphertextError):
            written.opened(bytes(forged))


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_truncation_at_every_boundary_is_refused(
    key_sets: dict[str, SecretKeySet], name: str
) -> None:
    keys = key_sets[name]
    column = keys.public.encrypt(np.arange(SLOTS), high=SLOTS)
    data = column_bytes(column, label=label_for(column))
    file = Written(data, keys)
    parameters = keys.public.parameters
    moduli = parameters.primes[: column.primes]
    sizes = [packed_size(parameters.ring_degree, modulus=m) for m in moduli] * 2
    start = len(data) - len(file.payload)
    polynomials = [start + sum(sizes[:i]) for i in range(len(sizes))]
    assert start + sum(sizes) == len(data)
    for end in (0, 1, 4, 5, START - 1, START, START + 1, start - 1, *polynomials):
        for cut in (end, end + 1):
            with pytest.raises(MalformedCiphertextError):
                file.opened(data[:cut])
    for changed in (data[:-1], data + b"\x00", data + data):
        with pytest.raises(MalformedCiphertextError):
            file.opened(changed)


def test_transparent_column_is_refused(written: Written) -> None:
    """A first polynomial alone is a message that anybody can read."""
    half = len(written.payload) // 2
    forged = with_header(canonical(written.header), written.payload[:half] + bytes(half))
    with pytest.raises(MalformedCiphertextError) as refused:
        written.opened(forged)
    assert refused.value.reason == "ciphertext.transparent"


def test_transparent_product_is_refused(written: Written) -> None:
    half = len(written.payload) // 2
    header = canonical(written.header | {"polynomials": 3})
    with pytest.raises(MalformedCiphertextError) as refused:
        written.opened(with_header(header, written.payload[:half] + bytes(2 * half)))
    assert refused.value.reason == "ciphertext.transparent"


def test_one_transparent_chunk_among_many_is_refused(interval_keys: SecretKeySet) -> None:
    column = interval_keys.public.encrypt(np.arange(4097), high=4097)
    file = Written(column_bytes(column, label=label_for(column)), interval_keys)
    quarter = len(file.payload) // 4
    forged = with_header(canonical(file.header), file.payload[: 3 * quarter] + bytes(quarter))
    with pytest.raises(MalformedCiphertextError) as refused:
        file.opened(forged)
    assert refused.value.reason == "ciphertext.transparent"


@pytest.mark.parametrize("where", [0, 1, 4095, 4096, 8191])
def test_coefficient_not_below_its_prime_is_refused(written: Written, where: int) -> None:
    prime = INTERVAL.primes[0]
    residues = np.ones(2 * 4096, dtype=np.uint64)
    residues[where] = prime
    forged = with_header(canonical(written.header), pack(residues, modulus=prime))
    with pytest.raises(MalformedCiphertextError):
        written.opened(forged)


def test_file_of_another_key_is_refused(written: Written) -> None:
    other = generate_key_set(INTERVAL)
    with pytest.raises(KeyMismatchError):
        Written(written.data, other).opened(written.data)


# --- whatever is flipped, the answer is one of ours ---------------------------------------------


def outcome(written: Written, data: bytes) -> None:
    """Opens, or is refused in one of our classes; anything else fails the test by itself."""
    try:
        column, label = written.opened(data)
    except GridSecureError:
        return
    assert column.slots == label.slots


@given(st.data())
def test_flipped_byte_never_surprises(written: Written, data: st.DataObject) -> None:
    changed = bytearray(written.data)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    outcome(written, bytes(changed))


def test_flipped_header_byte_never_surprises(written: Written) -> None:
    end = len(written.data) - len(written.payload)
    for where in range(end):
        for bits in (0x01, 0x20, 0x80):
            changed = bytearray(written.data)
            changed[where] ^= bits
            outcome(written, bytes(changed))


@given(st.binary(max_size=200))
def test_junk_is_refused(written: Written, junk: bytes) -> None:
    for data in (junk, b"GSEC\x01" + junk, with_header(junk, b""), with_header(junk, junk)):
        with pytest.raises(MalformedCiphertextError):
            written.opened(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(FIELDS), JSON)
def test_any_value_in_any_field_never_surprises(
    written: Written, field: str, value: object
) -> None:
    outcome(written, with_header(canonical(written.header | {field: value}), written.payload))


@given(st.sampled_from(["quantity", "unit", "roster_id", "start", "end", "slots", "high"]), JSON)
def test_any_value_in_any_label_field_never_surprises(
    written: Written, field: str, value: object
) -> None:
    label = written.header["label"] | {field: value}
    outcome(written, with_header(canonical(written.header | {"label": label}), written.payload))
