"""BFV against BGV, operation by operation, under the primes of our own parameter sets.

`python -m benchmarks.schemes` prints the table that docs/adr/0005 rests on. Each set is taken once
under its own scheme and once under the other, so that only the scheme differs. Besides the time of
every operation it shows the noise left, because a faster product that leaves none would be no use.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from tenseal import sealapi

from apps.cli.bench.machine import describe_machine
from gridsecure.crypto.parameters import REGISTER, TIER, Parameters, Scheme
from gridsecure.crypto.seal import Ring, load_into, saved_bytes

REPEATS: Final = 40
SECONDS: Final = 2.0

RATE: Final = 143_716_875
"""The highest rate of the catalogue [1e-8 yuan/kWh]: 28 bits."""


def measured(parameters: Parameters) -> dict[str, float]:
    """Best time of every operation [ms], and noise left [bits]."""
    ring = Ring(parameters)
    generator = sealapi.KeyGenerator(ring.context)
    public_key = sealapi.PublicKey()
    generator.create_public_key(public_key)
    encrypt = ring.encryptor(saved_bytes(public_key))
    decryptor = sealapi.Decryptor(ring.context, generator.secret_key())

    def decrypted(ciphertext: Any) -> np.ndarray[Any, Any]:
        plaintext = sealapi.Plaintext()
        decryptor.decrypt(ciphertext, plaintext)
        return ring.decode(plaintext)

    values = np.arange(parameters.ring_degree, dtype=np.uint64)
    plaintext, rate = ring.encode(values), ring.constant(RATE)
    fresh = encrypt(plaintext)
    scaled = ring.evaluated(lambda e, a, out: e.multiply_plain(a, rate, out), fresh)
    assert (decrypted(scaled) == values * np.uint64(RATE) % parameters.plain_modulus).all()
    found = {
        "encrypt": best(lambda: encrypt(plaintext)),
        "add": best(lambda: ring.evaluated(lambda e, a, b, out: e.add(a, b, out), fresh, fresh)),
        "× scalar": best(
            lambda: ring.evaluated(lambda e, a, out: e.multiply_plain(a, rate, out), fresh)
        ),
        "decrypt": best(lambda: decrypted(fresh)),
        "bits left, fresh": decryptor.invariant_noise_budget(fresh),
        "bits left, × scalar": decryptor.invariant_noise_budget(scaled),
    }
    if not parameters.keeps_all_primes:
        found |= products(ring, generator, fresh=fresh, decryptor=decryptor)
    return found


def products(ring: Ring, generator: Any, *, fresh: Any, decryptor: Any) -> dict[str, float]:
    """Times of a product and its relinearisation, and the noise left along the tier circuit."""
    made, keys = sealapi.RelinKeys(), sealapi.RelinKeys()
    generator.create_relin_keys(made)
    load_into(keys, ring, saved_bytes(made))

    def product(first: Any, second: Any) -> Any:
        return ring.evaluated(lambda e, a, b, out: e.multiply(a, b, out), first, second)

    def relinearised(ciphertext: Any) -> Any:
        return ring.evaluated(lambda e, a, out: e.relinearize(a, keys, out), ciphertext)

    def lowered(ciphertext: Any) -> Any:
        return ring.evaluated(lambda e, a, out: e.mod_switch_to_next(a, out), ciphertext)

    # As the tier circuit does it: from three primes, two products deep, switched in between.
    start = lowered(fresh)
    square = product(start, start)
    inner = lowered(relinearised(square))
    outer = relinearised(product(inner, inner))
    return {
        "ct × ct": best(lambda: product(start, start)),
        "relinearise": best(lambda: relinearised(square)),
        "bits left, one product": decryptor.invariant_noise_budget(inner),
        "bits left, two products": decryptor.invariant_noise_budget(outer),
    }


def best(operation: Callable[[], Any]) -> float:
    """Smallest of some repetitions [ms]."""
    ends, smallest = time.perf_counter() + SECONDS, float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        operation()
        smallest = min(smallest, time.perf_counter() - started)
        if time.perf_counter() > ends:
            break
    return smallest * 1e3


def main() -> None:
    columns: dict[str, dict[str, float]] = {}
    for own in (REGISTER, TIER):
        for scheme in Scheme:
            described = f"{scheme.name} {own.ring_degree} (primes of {own.name})"
            columns[described] = measured(dataclasses.replace(own, name=described, scheme=scheme))
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()), end="\n\n")
    print("| ms a ciphertext | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for row in dict.fromkeys(name for found in columns.values() for name in found):
        cells = [f"{found[row]:.3g}" if row in found else "–" for found in columns.values()]
        print(f"| {row} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
