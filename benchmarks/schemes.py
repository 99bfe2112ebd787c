"""BFV against BGV, operation by operation, under the primes of our own parameter sets.

`python -m benchmarks.schemes` prints the tables that docs/adr/0005 and 0006 rest on. Each set is
taken once under its own scheme and once under the other, so that only the scheme differs. Besides
the time of every operation it shows the noise left: a faster product that leaves none is no use.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tenseal import sealapi

from benchmarks.machine import describe_machine
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import REGISTER, TIER, Parameters, Scheme
from gridsecure.homomorphic.rings import ring_for, save_key
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.homomorphic.thresholds import (
    MONTH_DIGITS,
    WH_PER_KWH,
    compare,
    excess,
    find_needed_digits,
    thermometer,
)

REPEATS: Final = 40
SECONDS: Final = 3.0

RATE: Final = 143_716_875
"""The highest rate of the catalogue [1e-8 yuan/kWh]: 28 bits."""

HIGH_WH: Final = 2**23 - 1
LIMITS: Final = {
    "one limit (260 kWh)": [260],
    "limit by household quota (260 or 360 kWh)": [260, 360],
}

Measured = dict[str, float]


def keys_of(parameters: Parameters) -> SecretKeySet:
    """A key set of any set, with relinearisation keys wherever the library makes them."""
    generator = sealapi.KeyGenerator(ring_for(parameters).context)
    public_key, relinearisation = sealapi.PublicKey(), sealapi.RelinKeys()
    generator.create_public_key(public_key)
    if not parameters.keeps_all_primes:
        generator.create_relin_keys(relinearisation)
    saved = b"" if parameters.keeps_all_primes else save_key(relinearisation)
    public = PublicKeySet(parameters, save_key(public_key), saved)
    return SecretKeySet(public, generator.secret_key())


def operations(keys: SecretKeySet) -> Measured:
    """Best time of every operation on one ciphertext [ms], and noise left [bits]."""
    parameters = keys.public.parameters
    values = np.arange(parameters.ring_degree, dtype=np.uint64)
    high = len(values) - 1
    fresh = keys.public.encrypt(values, high=high)
    scaled = fresh.scale(RATE)
    assert (keys.decrypt(scaled) == values * np.uint64(RATE) % parameters.plain_modulus).all()
    found = {
        "encode and encrypt": best(lambda: keys.public.encrypt(values, high=high)),
        "add": best(lambda: fresh.plus(fresh)),
        "× scalar": best(lambda: fresh.scale(RATE)),
        "decrypt and decode": best(lambda: keys.decrypt(fresh)),
        "bits left, fresh": keys.noise_margin(fresh),
        "bits left, × scalar": keys.noise_margin(scaled),
    }
    return found if parameters.keeps_all_primes else found | products(keys, fresh)


def products(keys: SecretKeySet, fresh: EncryptedColumn) -> Measured:
    """Products as the tier circuit makes them: from three primes, switched in between."""
    start = fresh.switch_down(fresh.primes - 1)
    square = start.times(start)
    inner = square.relinearise().switch_down(start.primes - 1)
    outer = inner.times(inner).relinearise()
    return {
        "switch 4 → 3 primes": best(lambda: fresh.switch_down(fresh.primes - 1)),
        "ct × ct": best(lambda: start.times(start)),
        "relinearise": best(square.relinearise),
        "bits left, one product": keys.noise_margin(inner),
        "bits left, two products": keys.noise_margin(outer),
    }


def thresholds(keys: SecretKeySet) -> Iterator[tuple[str, Measured]]:
    """The whole threshold circuit, exact, for limits that are the same or differ by slot."""
    slots = keys.public.parameters.ring_degree
    total_wh = np.random.default_rng(1).integers(0, 1_000_000, slots)
    energy = keys.public.encrypt(total_wh, high=HIGH_WH)
    plain = thermometer(total_wh // WH_PER_KWH, digits=MONTH_DIGITS)
    for name, limits in LIMITS.items():
        wanted: NDArray[np.int64] = np.resize(np.array(limits, dtype=np.int64), slots)
        digits = {place: keys.public.encrypt(plain[place], high=1) for place in needed(wanted)}
        above = exceeding(energy, digits=digits, wanted=wanted)
        expected = np.maximum(0, total_wh - WH_PER_KWH * wanted)
        assert (keys.decrypt(above) == expected.astype(np.uint64)).all()
        run = best(lambda w=wanted, d=digits: exceeding(energy, digits=d, wanted=w))  # type: ignore[misc]
        yield (
            name,
            {
                "µs per meter": run * 1e3 / slots,
                "columns read": len(digits) + 1,
                "bits left": keys.noise_margin(above),
            },
        )


def needed(wanted: NDArray[np.int64]) -> list[tuple[int, int]]:
    return sorted(find_needed_digits(wanted, digits=MONTH_DIGITS))


def exceeding(
    energy: EncryptedColumn,
    *,
    digits: Mapping[tuple[int, int], EncryptedColumn],
    wanted: NDArray[np.int64],
) -> EncryptedColumn:
    parameters = energy.evaluation.parameters
    gate = compare(digits, thresholds=wanted, digits=MONTH_DIGITS, parameters=parameters)
    return excess(energy, high=HIGH_WH, gate=gate, thresholds_kwh=wanted, parameters=parameters)


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


def table(corner: str, columns: Mapping[str, Measured]) -> str:
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for row in dict.fromkeys(name for found in columns.values() for name in found):
        cells = [f"{found[row]:.3g}" if row in found else "–" for found in columns.values()]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    single: dict[str, Measured] = {}
    circuits: dict[str, Measured] = {}
    for own in (REGISTER, TIER):
        for scheme in Scheme:
            name = f"{scheme.name} {own.ring_degree}"
            keys = keys_of(dataclasses.replace(own, name=name, scheme=scheme))
            single[name] = operations(keys)
            if own is TIER:
                circuits |= {f"{name}, {which}": found for which, found in thresholds(keys)}
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()))
    print(f"\nDegree {REGISTER.ring_degree}: primes of {REGISTER.name}; ", end="")
    print(f"degree {TIER.ring_degree}: primes of {TIER.name}.\n")
    print(table("one ciphertext, ms", single), table("one threshold", circuits), sep="\n\n")


if __name__ == "__main__":
    main()
