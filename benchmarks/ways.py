"""One linear bill in three ways: in the clear, shared between two processes, and encrypted.

`python -m benchmarks.ways` prints the table of docs/why-homomorphic.md. All three compute the
amounts of `shenzhen-commercial-four-period` for one full ciphertext of meter points, exactly, and
are compared. Additive shares are of 64 bits (mod 2^64): each of two processes multiplies its own by
public rates, and neither alone knows anything. What additive shares cannot do without further
rounds between the two is compare: this bill has no tiers.

Processor time of all processes together, the best of several repetitions.
"""

from __future__ import annotations

import secrets
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine
from benchmarks.schemes import keys_of
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import REGISTER

SLOTS: Final = REGISTER.ring_degree
RATES: Final = (118_750_000, 77_770_000, 29_040_000, 143_716_875)
"""Four energy prices [1e-8 yuan/kWh], of the size that catalogue tariffs have."""
REPEATS: Final = 15
HIGH_WH: Final = 2**31 - 1

Column = NDArray[np.uint64]


class Measured(NamedTuple):
    """What a way costs.

    Args:
        us: Processor time [µs a meter point].
        sent: Bytes that leave whoever has the readings, or come back [bytes a meter point].
        amounts: What was computed [1e-11 yuan].
    """

    us: float
    sent: float
    amounts: Column


def readings() -> list[Column]:
    """Energy of four registers [Wh]: the same every time."""
    places = np.arange(SLOTS, dtype=np.uint64)
    return [
        (places * np.uint64(7919) + np.uint64(104_729 * number)) % np.uint64(40_000_000)
        for number in range(len(RATES))
    ]


def in_the_clear(registers: list[Column]) -> Measured:
    """Sums of energy times rate."""
    best = float("inf")
    for _ in range(REPEATS):
        started = time.process_time()
        amounts = _weigh(registers)
        best = min(best, time.process_time() - started)
    return Measured(best / SLOTS * 1e6, sum(own.nbytes for own in registers) / SLOTS, amounts)


def _weigh(registers: list[Column]) -> Column:
    amounts = np.zeros(SLOTS, dtype=np.uint64)
    for own, rate in zip(registers, RATES, strict=True):
        amounts += own * np.uint64(rate)
    return amounts


def shared(registers: list[Column]) -> Measured:
    """Two processes, each with shares that are uniform by themselves."""
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    workers = [context.Process(target=_serve, args=(theirs,)) for _, theirs in pipes]
    for worker in workers:
        worker.start()
    best, sent, amounts = float("inf"), 0, np.zeros(0, dtype=np.uint64)
    for _ in range(REPEATS):
        started = time.process_time()
        masks = [_random() for _ in registers]
        hidden = [own - mask for own, mask in zip(registers, masks, strict=True)]
        for (ours, _), shares in zip(pipes, (masks, hidden), strict=True):
            ours.send(shares)
        own_s = time.process_time() - started
        answers = [ours.recv() for ours, _ in pipes]
        started = time.process_time()
        amounts = answers[0][0] + answers[1][0]
        spent = own_s + time.process_time() - started + sum(answer[1] for answer in answers)
        sent = sum(share.nbytes for share in (*masks, *hidden)) + 2 * amounts.nbytes
        best = min(best, spent)
    for (ours, _), worker in zip(pipes, workers, strict=True):
        ours.send(None)
        worker.join()
    return Measured(best / SLOTS * 1e6, sent / SLOTS, amounts)


def _random() -> Column:
    """Uniform 64-bit numbers from the operating system."""
    return np.frombuffer(secrets.token_bytes(8 * SLOTS), dtype=np.uint64).copy()


def _serve(pipe: Connection) -> None:
    """One of the two: weighs what it is sent, and says how long that took."""
    while (shares := pipe.recv()) is not None:
        started = time.process_time()
        amounts = _weigh(shares)
        pipe.send((amounts, time.process_time() - started))


def encrypted(registers: list[Column]) -> Measured:
    """Encrypt, multiply by rates and add on ciphertext, decrypt."""
    keys = keys_of(REGISTER)
    best, sent, amounts = float("inf"), 0, np.zeros(0, dtype=np.uint64)
    for _ in range(REPEATS):
        started = time.process_time()
        columns = [keys.public.encrypt(own, high=HIGH_WH) for own in registers]
        total = columns[0].scale(RATES[0])
        for column, rate in zip(columns[1:], RATES[1:], strict=True):
            total = total.plus(column.scale(rate))
        amounts = keys.decrypt(total)
        best = min(best, time.process_time() - started)
        sent = sum(map(_size, columns)) + _size(total)
    return Measured(best / SLOTS * 1e6, sent / SLOTS, amounts)


def _size(column: EncryptedColumn) -> int:
    said: dict[str, Any] = {"start": "", "end": "", "unit": "Wh", "high": HIGH_WH}
    label = ColumnLabel(quantity="total", roster_id="bench", slots=SLOTS, **said)
    return len(column_bytes(column, label=label))


def main() -> None:
    """Measure all three, compare what they computed, and print the table."""
    registers = readings()
    ways = {
        "in the clear": in_the_clear(registers),
        "shared between two processes": shared(registers),
        "homomorphic": encrypted(registers),
    }
    (plain, *others) = ways.values()
    assert all((one.amounts == plain.amounts).all() for one in others)
    print(describe_machine())
    for name, one in ways.items():
        print(f"| {name} | {one.us:.3f} | {one.sent:,.0f} |")


if __name__ == "__main__":
    main()
