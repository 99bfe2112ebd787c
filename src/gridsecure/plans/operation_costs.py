"""What one operation on one ciphertext costs, for estimates.

Measured by `python -m benchmarks.operations`: milliseconds, best of many repetitions, one core of
an AMD EPYC, 2026-11-25, tenseal 0.3.18. Ratios are what matters; another machine is faster or
slower by one factor. A ciphertext costs the same whoever fills its slots, so a small roster pays
more a meter point.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from gridsecure.homomorphic.coefficients import packed_size
from gridsecure.homomorphic.counting import (
    ADD,
    ADD_ARRAY,
    ADD_CONSTANT,
    MULTIPLY,
    RELINEARISE,
    SCALE,
    SELECT,
    SWITCH,
    Operation,
)
from gridsecure.homomorphic.parameters import Parameters

ENCRYPT: Final = "encode and encrypt"
OPEN: Final = "open a column file"
WRITE: Final = "write a column file"
DECRYPT: Final = "decrypt and decode"

OPERATION_MS: Final[Mapping[str, Mapping[str, Mapping[int, float]]]] = {
    "BFV 4096": {
        ADD: {2: 0.0217},
        ADD_CONSTANT: {2: 0.00774},
        ADD_ARRAY: {2: 0.187},
        SCALE: {2: 0.0304},
        SELECT: {2: 0.582},
        ENCRYPT: {2: 0.819},
        OPEN: {2: 0.601},
        WRITE: {2: 0.832},
        DECRYPT: {2: 0.383},
    },
    "BGV 16384": {
        ADD: {1: 0.0392, 2: 0.0778, 3: 0.114, 4: 0.15, 5: 0.213},
        ADD_CONSTANT: {1: 0.188, 2: 0.37, 3: 0.552, 4: 0.733, 5: 0.916},
        ADD_ARRAY: {1: 0.847, 2: 1.13, 3: 1.41, 4: 1.67, 5: 1.95},
        SCALE: {1: 0.273, 2: 0.542, 3: 0.81, 4: 1.08, 5: 1.35},
        SELECT: {1: 0.918, 2: 1.27, 3: 1.64, 4: 1.99, 5: 2.35},
        MULTIPLY: {1: 0.236, 2: 0.47, 3: 0.701, 4: 0.936, 5: 1.17},
        RELINEARISE: {1: 1.64, 2: 3.2, 3: 5.22, 4: 7.54, 5: 10.6},
        SWITCH: {2: 0.961, 3: 1.68, 4: 2.31, 5: 2.93},
        ENCRYPT: {4: 9.13, 5: 10.6},
        OPEN: {1: 1.11, 2: 2.14, 3: 3.23, 4: 4.28, 5: 5.32},
        WRITE: {1: 1.4, 2: 2.66, 3: 3.98, 4: 5.29, 5: 6.79},
        DECRYPT: {1: 0.908, 2: 1.2, 3: 1.5, 4: 1.79, 5: 2.11},
    },
}
"""Scheme and ring degree -> operation -> coefficient primes -> ms."""

_SIZE: Final = 2
"""Polynomials that the table was measured with, but for relinearising."""
_POLYNOMIAL_BY_POLYNOMIAL: Final = (ADD, SCALE, SELECT, SWITCH)
_US_PER_MS: Final = 1000


def family(parameters: Parameters) -> str:
    """The row of the table: sets of one scheme and degree cost the same a prime."""
    return f"{parameters.scheme.name} {parameters.ring_degree}"


def operation_ms(kind: str, parameters: Parameters, *, primes: int, size: int = _SIZE) -> float:
    """Milliseconds of one operation on one ciphertext.

    Args:
        primes: Coefficient primes of the operands.
        size: Polynomials of the larger operand.
    """
    cost = OPERATION_MS[family(parameters)][kind][primes]
    return cost * size / _SIZE if kind in _POLYNOMIAL_BY_POLYNOMIAL else cost


def chunks(parameters: Parameters, *, slots: int) -> int:
    """Ciphertexts of one column of so many slots."""
    return -(-slots // parameters.ring_degree)


def column_us(kind: str, parameters: Parameters, *, primes: int, slots: int) -> float:
    """Microseconds a meter point of doing something to one whole column."""
    cost = operation_ms(kind, parameters, primes=primes)
    return cost * chunks(parameters, slots=slots) * _US_PER_MS / slots


def counted_us(counts: Iterable[tuple[Operation, int]], *, slots: int) -> float:
    """Microseconds a meter point of what a plan was counted to do."""
    milliseconds = sum(
        count
        * operation_ms(made.kind, made.parameters, primes=made.primes, size=made.size)
        * chunks(made.parameters, slots=slots)
        for made, count in counts
    )
    return milliseconds * _US_PER_MS / slots


def column_bytes_each(parameters: Parameters, *, primes: int, slots: int) -> float:
    """Bytes a meter point of one stored column, without its header."""
    polynomial = sum(
        packed_size(parameters.ring_degree, modulus=prime) for prime in parameters.primes[:primes]
    )
    return _SIZE * polynomial * chunks(parameters, slots=slots) / slots
