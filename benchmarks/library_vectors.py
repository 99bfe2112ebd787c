"""The peer: the same time-of-use bill with one TenSEAL vector per meter.

One BFV vector of four registers times four rates, in 1e-11 yuan, so the exact product reaches
2**59: the plain modulus is the largest batching prime below 2**60, as in our own register set. Ring
degree 8192 is the smallest that holds the noise of such a product (the full plaintext costs as many
bits again), and four primes of 54–55 bits were the fastest of those tried: the library's default
of five takes 1.4 times as long, and splitting the rate in two to save a prime 1.3 times.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import tenseal

from benchmarks.bill_costs import BillCosts
from benchmarks.figures import Figure
from benchmarks.random_meters import FOUR_PERIOD, random_meters
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of, time_call
from gridsecure.billing.rules import rate_units
from gridsecure.plans.quantities import register_quantity

_RING_DEGREE: Final = 8192
_PLAIN_MODULUS: Final = 1152921504606830593
_PRIME_BITS: Final = (54, 54, 54, 55)


def library_vectors(*, sizes: BenchSizes, platform: BillCosts) -> list[Figure]:
    """Figures of the peer and of the speed-up over it.

    Args:
        sizes: How many vectors.
        platform: Our own times for the same bill, in this run.

    Raises:
        AssertionError: A vector decrypts to another bill.
    """
    meters = random_meters(FOUR_PERIOD, count=sizes.vector_meters, seed=31, quotas=False)
    rates = [rate_units(rate.rate) for rate in meters.tariff.rates if rate.tou_period is not None]
    registers = np.column_stack(
        [meters.values[register_quantity(name)] for name in meters.tariff.tou_periods]
    ).tolist()
    context = tenseal.context(
        tenseal.SCHEME_TYPE.BFV,
        poly_modulus_degree=_RING_DEGREE,
        plain_modulus=_PLAIN_MODULUS,
        coeff_mod_bit_sizes=list(_PRIME_BITS),
        n_threads=1,
    )
    encrypting, vectors = time_call(lambda: [tenseal.bfv_vector(context, row) for row in registers])
    seconds, bills = best_of(lambda: [vector * rates for vector in vectors], sizes=sizes)
    _check(bills, registers=registers, rates=rates)
    return _figures(
        seconds / len(registers) * 1e6,
        encrypting / len(registers) * 1e6,
        platform=platform,
        vectors=len(registers),
    )


def _figures(
    micros: float, encrypt_micros: float, *, platform: BillCosts, vectors: int
) -> list[Figure]:
    with_encryption = platform.micros(platform.encrypt + platform.run)
    return [
        Figure(
            name="speed_up_over_vectors",
            title="speed-up over one TenSEAL vector per meter",
            unit="×",
            value=micros / platform.micros(platform.run),
            must=500,
            try_for=5_000,
            comparison=">=",
            note="same bill, same run, one core: vector times four rates, against tou_bill",
        ),
        Figure(
            name="vector_bill",
            title="time-of-use bill by TenSEAL vector",
            unit="µs per meter",
            value=micros,
            note=f"BFV, degree {_RING_DEGREE}, 60-bit plain modulus, {vectors} vectors",
        ),
        Figure(
            name="vector_encrypt",
            title="TenSEAL vector: encryption",
            unit="µs per meter",
            value=encrypt_micros,
            note="public key, four registers in one vector",
        ),
        Figure(
            name="speed_up_with_encryption",
            title="speed-up over TenSEAL vectors, encryption included",
            unit="×",
            value=(encrypt_micros + micros) / with_encryption,
            note="gateway encryption and bill on both sides",
        ),
    ]


def _check(bills: list[Any], *, registers: list[list[int]], rates: list[int]) -> None:
    for bill, row in zip(bills, registers, strict=True):
        if bill.decrypt() != [energy * rate for energy, rate in zip(row, rates, strict=True)]:
            raise AssertionError("a timed vector decrypts to another bill")
