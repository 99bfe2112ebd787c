"""Trap: one forged ciphertext, decrypted once for its sender, is the whole secret key.

The ciphertext (c0, c1) = (0, floor(q/t)) decrypts to the secret polynomial itself, since the phase
c0 + c1·s = floor(q/t)·s is exactly how the message s would be encoded. Every format check passes:
it is a well-formed ciphertext and not transparent. What stops it is provenance alone: the authority
decrypts columns that it derived again from signed inputs, never bytes that somebody handed in.
"""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from tenseal import sealapi

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.homomorphic.coefficients import pack
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes, open_column
from gridsecure.homomorphic.parameters import INTERVAL, Parameters
from gridsecure.homomorphic.rings import ring_for, save_key
from gridsecure.homomorphic.secret_key import SecretKeySet
from tests.attacks import Attacked, attack, cut, rule


def forged_residues(parameters: Parameters) -> NDArray[np.uint64]:
    """(0, floor(q/t)) at the level of a fresh ciphertext."""
    primes = parameters.primes[: parameters.fresh_primes]
    modulus = 1
    for prime in primes:
        modulus *= prime
    residues = np.zeros((2, len(primes), parameters.ring_degree), dtype=np.uint64)
    for i, prime in enumerate(primes):
        residues[1, i, 0] = modulus // parameters.plain_modulus % prime
    return residues


def ternary(slots: NDArray[np.uint64], parameters: Parameters) -> NDArray[np.int64]:
    """The polynomial whose slots were decrypted: encode them and read the coefficients."""
    ring = ring_for(parameters)
    plaintext = ring.encode(slots)
    coefficients = np.zeros(parameters.ring_degree, dtype=np.int64)
    for power in range(plaintext.coeff_count()):
        coefficients[power] = int(plaintext[power])
    return np.where(
        coefficients > parameters.plain_modulus // 2,
        coefficients - parameters.plain_modulus,
        coefficients,
    )


def decrypted_by_hand(
    residues: NDArray[np.uint64], secret: NDArray[np.int64], parameters: Parameters
) -> list[int]:
    """Decrypt one BFV ciphertext of one prime with big integers and nothing but the polynomial."""
    degree, (prime, *_), t = parameters.ring_degree, parameters.primes, parameters.plain_modulus
    width = 64  # bits a coefficient takes in a packed integer: products stay below 2**44 · 2**12
    first, second = residues[0, 0].tolist(), residues[1, 0].tolist()

    def packed(coefficients: list[int]) -> int:
        joined = b"".join(value.to_bytes(width // 8, "little") for value in coefficients)
        return int.from_bytes(joined, "little")

    def product(left: list[int], right: list[int]) -> list[int]:
        whole = (packed(left) * packed(right)).to_bytes(2 * degree * width // 8, "little")
        flat = np.frombuffer(whole, dtype="<u8").astype(object)
        return list(flat[:degree] - flat[degree:])  # X^N = -1

    plus = product(second, (secret == 1).astype(int).tolist())
    minus = product(second, (secret == -1).astype(int).tolist())
    message = []
    for zero, positive, negative in zip(first, plus, minus, strict=True):
        phase = (zero + positive - negative) % prime
        message.append((phase * t + prime // 2) // prime % t)
    terms = [f"{value:x}x^{power}" for power, value in enumerate(message) if value and power]
    written = " + ".join([*reversed(terms), f"{message[0]:x}"])
    slots: list[int] = ring_for(parameters).decode(sealapi.Plaintext(written)).tolist()
    return slots


def stolen(forged_slots: NDArray[np.uint64], keys: SecretKeySet) -> list[int]:
    """Use what the forgery decrypted to as a key, on an honest column of somebody else."""
    parameters = keys.public.parameters
    secret = ternary(forged_slots, parameters)
    assert set(np.unique(secret).tolist()) == {-1, 0, 1}, "a ternary key and nothing else"
    honest = keys.public.encrypt(np.arange(100) * 31, high=4000)
    residues = ring_for(parameters).coefficients(honest.chunks[0])
    return decrypted_by_hand(residues, secret, parameters)[:100]


def forged_file(keys: SecretKeySet) -> bytes:
    """The forgery in a column file of the right key, set and roster."""
    column = keys.public.encrypt(np.zeros(4096, dtype=np.int64), high=4000)
    label = ColumnLabel("total", "Wh", "roster", "2026-01-01", "2026-02-01", 4096, 4000)
    honest = column_bytes(column, label=label)
    (length,) = struct.unpack(">I", honest[5:9])
    assert json.loads(honest[9 : 9 + length])["primes"] == 1
    coefficients = forged_residues(INTERVAL).reshape(2, -1)
    return honest[: 9 + length] + b"".join(
        pack(row, modulus=INTERVAL.primes[0]) for row in coefficients
    )


def test_bare_decryptor_gives_the_key_away() -> None:
    """The attack on the library as it comes: key, forgery, one decryption, key."""
    ring = ring_for(INTERVAL)
    generator = sealapi.KeyGenerator(ring.context)
    decryptor = sealapi.Decryptor(ring.context, generator.secret_key())
    plaintext = sealapi.Plaintext()
    decryptor.decrypt(ring.ciphertext(forged_residues(INTERVAL)), plaintext)
    secret = ternary(ring.decode(plaintext), INTERVAL)
    assert set(np.unique(secret).tolist()) == {-1, 0, 1}
    again = sealapi.Plaintext()
    decryptor.decrypt(ring.ciphertext(2 * forged_residues(INTERVAL)), again)
    assert np.array_equal(ternary(ring.decode(again), INTERVAL), 2 * secret)


@attack(
    "a forged ciphertext in the place of a listed column",
    rule(
        "A column is opened under the digest that a signed message lists for it.",
        "authenticity.envelope",
        cut("gridsecure.homomorphic.column_files:open_column", "sm3_hex(data) != digest", "False"),
    ),
)
def test_provenance_stops_it(interval_keys: SecretKeySet, attacked: Attacked) -> None:
    """Format checks do not: whoever may name the digest has it opened, and has the key."""
    listed = interval_keys.public.encrypt(np.zeros(4096, dtype=np.int64), high=4000)
    label = ColumnLabel("total", "Wh", "roster", "2026-01-01", "2026-02-01", 4096, 4000)
    opened = attacked.tries(
        lambda: open_column(
            forged_file(interval_keys),
            digest=sm3_hex(column_bytes(listed, label=label)),
            evaluation=interval_keys.public.evaluation,
            roster_id="roster",
        )
    )
    if opened is not None:
        slots = interval_keys.decrypt(opened[0])
        assert stolen(slots, interval_keys) == [31 * i for i in range(100)]


def test_secret_key_takes_no_bytes(interval_keys: SecretKeySet) -> None:
    """There is no way from bytes to a decryption except through a column that somebody opened."""
    column = interval_keys.public.encrypt(np.arange(3), high=2)
    for handed_in in (
        forged_file(interval_keys),
        save_key(ring_for(INTERVAL).handle(column.chunks[0])),
    ):
        with pytest.raises(AttributeError):
            interval_keys.decrypt(handed_in)
