"""The peers: the same bills and totals by OpenFHE and by another build of SEAL, as ratios.

Each runs the steps of our own plan on columns of a whole roster, one slot a meter point, at 128
bits of security; that is the best use of them that we know. seal-python takes our parameter sets.
OpenFHE chooses its own in BFV, because its parameter generator refuses BGV at these plain moduli.
It takes no plain modulus of 60 bits, so rates are split into two limbs, and none of 31 bits that
batches no ring of its size, so totals have one of 35. The tier plan counts as two levels deep,
which is enough and halves the ring. Times are of the processor and of one thread; integers that are
the same in every slot are encoded beforehand. What comes out is compared, integer by integer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.exact_bills import compile_plan
from benchmarks.figures import Figure
from benchmarks.key_sets import BenchKeys, receive
from benchmarks.peer_libraries import (
    HOW_TO,
    MOST_BITS,
    OPENFHE,
    Answer,
    Library,
    ask,
    find_libraries,
)
from benchmarks.random_meters import FOUR_PERIOD, TIERS, random_meters
from benchmarks.recording import Program, record_bill
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of
from gridsecure.homomorphic.parameters import INTERVAL, TIER
from gridsecure.plans.bills import run_bill

_LIMB_BITS: Final = 14
_LIMBED_MODULUS: Final = 70368743587841
"""46 bits: a register of 31 bits times a limb of 14, and room to spare."""
_TIER_DEPTH: Final = 2
_LIMB: Final = "/"
_NAIVE_METERS: Final = 16
_MOST_REPEATS: Final = 3
_HIGH_WH: Final = 65_535


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """What is computed on both sides.

    Args:
        repeats: Of so many, the library tells the fastest.
        encrypt: Our own seconds for all columns of the roster.
        run: Our own seconds for all steps.
        expected: What our own outputs decrypt to.
    """

    name: str
    title: str
    slots: int
    repeats: int
    programs: list[Program]
    encrypt: float
    run: float
    expected: Mapping[str, NDArray[Any]]


def peers(keys: BenchKeys, *, sizes: BenchSizes, report: Callable[[str], None]) -> list[Figure]:
    """Ratios of every library that is installed; how to get the others is reported.

    Raises:
        AssertionError: A library decrypts to other integers than we do.
    """
    found = find_libraries()
    for name in HOW_TO:
        if name not in found:
            report(f"{name} is not installed: {HOW_TO[name]}")
    workloads = [
        _bill("time_of_use", "time-of-use bill", FOUR_PERIOD, keys, sizes),
        _bill("three_tier", "three-tier bill", TIERS, keys, sizes),
        _totals(keys, sizes),
    ]
    return [
        figure
        for library in found.values()
        for figure in (
            *(figure for workload in workloads for figure in _compare(workload, library)),
            *([_naive(workloads[0], library)] if library.name == OPENFHE else []),
        )
    ]


def _bill(name: str, title: str, tariff_id: str, keys: BenchKeys, sizes: BenchSizes) -> Workload:
    meters = random_meters(tariff_id, count=sizes.roster_slots, seed=12, quotas=False)
    plan = compile_plan(meters)
    encrypt, inputs = _timed(lambda: keys.encrypted(plan.needs, values=meters.values), sizes)
    run, outputs = _timed(lambda: run_bill(plan, inputs=inputs), sizes)
    programs = record_bill(plan, values=meters.values)
    return Workload(
        name,
        title,
        sizes.roster_slots,
        _repeats(sizes),
        programs,
        encrypt,
        run,
        keys.decrypted(outputs),
    )


def _totals(keys: BenchKeys, sizes: BenchSizes) -> Workload:
    """One interval's blinding; the vector is drawn beforehand on either side.

    Each side adds to a column as it holds it: the library to its own object, which it has just
    encrypted, and we to the residues that the platform reads from a file.
    """
    source = np.random.default_rng(12)
    slots, high, t = sizes.roster_slots, _HIGH_WH, INTERVAL.plain_modulus
    energy = source.integers(0, high, slots, endpoint=True)
    vector = source.integers(0, t, slots).astype(np.uint64)
    public = keys.public[INTERVAL.name]
    encrypt, column = _timed(lambda: public.encrypt(energy, high=high), sizes)
    received = receive(column)
    run, blinded = _timed(lambda: received.blind(vector), sizes)
    program = Program(INTERVAL, slots)
    program.outputs["totals"] = program.encrypt(energy).blind(vector).number
    expected = keys.decrypted({"totals": blinded})
    return Workload(
        "totals", "group totals", slots, _repeats(sizes), [program], encrypt, run, expected
    )


def _repeats(sizes: BenchSizes) -> int:
    return min(sizes.repeats, _MOST_REPEATS)


def _timed(operation: Callable[[], Any], sizes: BenchSizes) -> tuple[float, Any]:
    return best_of(operation, sizes=sizes, clock=time.process_time)


def _compare(workload: Workload, library: Library) -> list[Figure]:
    answers = _ask_well(workload, library)
    for program, answer in zip(workload.programs, answers, strict=True):
        t = np.uint64(program.modulus)
        for name, values in answer.outputs.items():
            if (values % t != workload.expected[name] % t).any():
                raise AssertionError(f"{library.name} decrypts {workload.title} to other integers")
    encrypt, run = (sum(getattr(a, part) for a in answers) for part in ("encrypt", "run"))
    ring = max(answer.ring_degree for answer in answers)
    micros = 1e6 / workload.slots
    note = (
        f"{library.describe()}, rings of up to {ring:,}; theirs {run * micros:.3f} and ours"
        f" {workload.run * micros:.3f} µs per meter, with encryption"
        f" {(encrypt + run) * micros:.3f} and {(workload.encrypt + workload.run) * micros:.3f}"
    )
    key = f"{workload.name}_{library.package.replace('-', '_')}"
    whole = (encrypt + run) / (workload.encrypt + workload.run)
    return [
        _ratio(key, f"{workload.title}: {library.name} over ours", run / workload.run, note),
        _ratio(
            f"{key}_encrypted", f"{workload.title}, encryption included: {library.name} over ours",
            whole, "gateway encryption and the platform's steps on both sides",
        ),
    ]  # fmt: skip


def _ratio(name: str, title: str, value: float, note: str) -> Figure:
    return Figure(name, title, "×", value, try_for=1, comparison=">=", note=note)


def _ask_well(workload: Workload, library: Library) -> list[Answer]:
    """The library's answers to what suits it best."""
    programs = workload.programs
    if library.name == OPENFHE:
        programs = [_suited(program) for program in programs]
    answers = ask(library, programs, secure=True, repeats=workload.repeats)
    return [replace(answer, outputs=_put_together(answer.outputs)) for answer in answers]


def _suited(program: Program) -> Program:
    """The program as OpenFHE computes it fastest."""
    if program.parameters is INTERVAL:
        return replace(program, other_modulus=TIER.plain_modulus)
    if program.modulus.bit_length() <= MOST_BITS:
        return replace(program, depth=min(program.depth, _TIER_DEPTH))
    limbed = replace(program, steps=[], outputs={}, depth=0, other_modulus=_LIMBED_MODULUS)
    for name, number in program.outputs.items():
        operation, column, rate = program.steps[number - len(program.inputs)]
        if operation != "scale" or rate >> 2 * _LIMB_BITS:
            raise ValueError("only a register times a rate of two limbs is taken apart")
        for limb, factor in enumerate((rate & (1 << _LIMB_BITS) - 1, rate >> _LIMB_BITS)):
            limbed.outputs[f"{name}{_LIMB}{limb}"] = limbed.take(["scale", column, factor])
    return limbed


def _put_together(outputs: Mapping[str, NDArray[np.uint64]]) -> dict[str, NDArray[np.uint64]]:
    """Outputs whose rates came in limbs, as they are in one."""
    whole: dict[str, NDArray[np.uint64]] = {}
    for name, values in outputs.items():
        told, limbed, limb = name.partition(_LIMB)
        shifted = values << np.uint64(_LIMB_BITS * int(limb)) if limbed else values
        whole[told] = whole[told] + shifted if told in whole else shifted
    return whole


def _naive(workload: Workload, library: Library) -> Figure:
    """One ciphertext a meter point, which holds its registers, times a plaintext of the rates.

    Raises:
        AssertionError: A bill decrypts to another one.
    """
    (program,) = workload.programs
    rates = np.array([step[2] for step in program.steps])
    rows = np.array(program.inputs)[:, :_NAIVE_METERS].T
    alone = Program(INTERVAL, len(rates), other_modulus=_LIMBED_MODULUS)
    for number, meter in enumerate([alone.encrypt(row) for row in rows]):
        for limb in range(2):
            factors = rates >> _LIMB_BITS * limb & (1 << _LIMB_BITS) - 1
            alone.outputs[f"{number}{_LIMB}{limb}"] = meter.select(factors).number
    (answer,) = ask(library, [alone], secure=True, repeats=workload.repeats)
    bills = np.array([*_put_together(answer.outputs).values()])
    if (bills != (rows * rates).astype(np.uint64)).any():
        raise AssertionError(f"{library.name} decrypts a bill to another one")
    ratio = answer.run / len(rows) / (workload.run / workload.slots)
    return Figure(
        name="time_of_use_openfhe_naive",
        title=f"{workload.title}: {library.name}, a ciphertext for each meter, over ours",
        unit="×",
        value=ratio,
        note=f"ring {answer.ring_degree:,}; {answer.run / len(rows) * 1e6:,.0f} µs per meter, with"
        f" encryption {(answer.encrypt + answer.run) / len(rows) * 1e6:,.0f}",
    )
