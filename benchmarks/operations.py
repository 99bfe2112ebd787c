"""Every operation of a bill plan at every level: the table that cost estimates are made from.

`python -m benchmarks.operations` prints the entries of `gridsecure.plans.operation_costs`. Best of
many repetitions, one core, a ciphertext full of slots; compare ratios, not times, with another
machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.schemes import best
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes, open_column
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.counting import (
    ADD,
    ADD_ARRAY,
    ADD_CONSTANT,
    MULTIPLY,
    RELINEARISE,
    SCALE,
    SELECT,
    SWITCH,
)
from gridsecure.homomorphic.parameters import PRODUCT, REGISTER, TIER
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set
from gridsecure.plans.operation_costs import DECRYPT, ENCRYPT, OPEN, WRITE, family

FACTOR: Final = 1_021
"""A limb of a price; what a factor is does not change the time."""

Measured = dict[tuple[str, str, int], float]


def evaluations(column: EncryptedColumn) -> dict[str, Callable[[], Any]]:
    """What a plan does with a column at its level."""
    degree, slots = column.evaluation.parameters.ring_degree, column.slots
    array = np.arange(slots, dtype=np.int64) % degree
    wanted = {
        ADD: lambda: column.plus(column),
        ADD_CONSTANT: lambda: column.raise_by(FACTOR),
        ADD_ARRAY: lambda: column.raise_by(array),
        SCALE: lambda: column.scale(FACTOR),
        SELECT: lambda: column.select(array),
    }
    if column.evaluation.relinearisation_keys is not None:
        square = column.times(column)
        wanted[MULTIPLY] = lambda: column.times(column)
        wanted[RELINEARISE] = square.relinearise
        if column.primes > 1:
            wanted[SWITCH] = lambda: column.switch_down(column.primes - 1)
    return wanted


def stored(column: EncryptedColumn, keys: SecretKeySet) -> dict[str, Callable[[], Any]]:
    """What the store and the vault do with a column at its level."""
    label = ColumnLabel(
        quantity="total",
        unit="Wh",
        roster_id="bench",
        start="2026-07-01T00:00:00+08:00",
        end="2026-08-01T00:00:00+08:00",
        slots=column.slots,
        high=1,
    )
    data = column_bytes(column, label=label)
    digest = sm3_hex(data)
    return {
        OPEN: lambda: open_column(
            data, digest=digest, evaluation=keys.public.evaluation, roster_id="bench"
        ),
        WRITE: lambda: sm3_hex(column_bytes(column, label=label)),
        DECRYPT: lambda: keys.decrypt(column),
    }


def measure_all() -> Iterator[tuple[tuple[str, str, int], float]]:
    """(family, operation, primes) and milliseconds."""
    for parameters in (REGISTER, TIER, PRODUCT):
        keys = generate_key_set(parameters)
        ones = np.ones(parameters.ring_degree, dtype=np.int64)
        fresh = keys.public.encrypt(ones, high=1)
        name = family(parameters)
        yield (
            (name, ENCRYPT, fresh.primes),
            best(partial(keys.public.encrypt, ones, high=1)),
        )
        if parameters is TIER:
            continue  # its levels are those of the deeper set
        for primes in range(fresh.primes, 0, -1):
            if parameters is REGISTER and primes < fresh.primes:
                break
            column = fresh.switch_down(primes)
            for kind, operation in (evaluations(column) | stored(column, keys)).items():
                yield (name, kind, primes), best(operation)


def main() -> None:
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()))
    for (name, kind, primes), milliseconds in measure_all():
        print(f'    ("{name}", {kind!r}, {primes}): {milliseconds:.3g},')


if __name__ == "__main__":
    main()
