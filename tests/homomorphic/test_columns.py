"""One program on three columns: encrypted equals plain, and both keep to what was planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import (
    CiphertextError,
    DepthExceededError,
    GridSecureError,
    KeyMismatchError,
    OutOfRangeError,
)
from gridsecure.homomorphic.columns import Column, EncryptedColumn, split_chunks, sum_columns
from gridsecure.homomorphic.parameters import INTERVAL, PARAMETER_SETS, REGISTER, TIER
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set

SLOTS = 50
MEASURED = 3 + 1
"""Bits a proven margin may lie above the library's measurement: three because a maximum over N
coefficients is measured and a deviation is planned, one because the library rounds down."""

Step = tuple[str, int, int, Any]
Operation = Callable[[Any, Any, Any], Any]

OPERATIONS: dict[str, Operation] = {
    "plus": lambda a, b, _: a.plus(b),
    "minus": lambda a, b, _: a.minus(b),
    "total": lambda a, b, _: sum_columns([a, b, a]),
    "scaled": lambda a, _, n: a.scale(n + 1),
    "raised": lambda a, _, n: a.raise_by(n - 500),
    "raised slots": lambda a, _, n: a.raise_by(np.arange(SLOTS) * n - 700),
    "complement": lambda a, _b, _n: a.complement(),
    "selected": lambda a, _, n: a.select((np.arange(SLOTS) % (n % 7 + 2) == 0).astype(np.int64)),
}
PRODUCTS: dict[str, Operation] = {
    "times": lambda a, b, _: a.times(b).relinearise(),
    "times lowered": lambda a, b, _: a.times(b).relinearise().switch_down(a.primes - 1),
    "times kept": lambda a, b, _: a.times(b),
    "relinearised": lambda a, _b, _n: a.relinearise(),
    "lowered": lambda a, _b, _n: a.switch_down(a.primes - 1),
}

UNAFFORDABLE = {
    ("scaled", INTERVAL.name),
    ("selected", INTERVAL.name),
    ("selected", REGISTER.name),  # a mask costs the 60 bits of its plain modulus
}


def programs(operations: dict[str, Operation]) -> st.SearchStrategy[list[Step]]:
    steps = st.tuples(
        st.sampled_from(sorted(operations)),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, 999),
    )
    return st.lists(steps, min_size=1, max_size=5)


def planned_step(step: Step, pool: list[PlannedColumn]) -> PlannedColumn | None:
    """The step's planned result, or None where planning refuses (other tests' matter)."""
    name, first, second, number = step
    a, b = pool[first % len(pool)], pool[second % len(pool)]
    if name in PRODUCTS and (a.size, b.size) != (2, 2) and name != "relinearised":
        return None  # no plan multiplies or lowers an unfinished product
    try:
        result: PlannedColumn = (OPERATIONS | PRODUCTS)[name](a, b, number)
        shifted(result, low=result.low).check(what="A step")
    except (DepthExceededError, OutOfRangeError):
        return None
    return result


def encryption_cancels(step: Step, pool: list[EncryptedColumn]) -> bool:
    """Whether the step adds or subtracts a column and its own shadow, leaving no encryption."""
    name, first, second, _ = step
    a, b = pool[first % len(pool)], pool[second % len(pool)]
    sums = {"plus": [(1, 1)], "minus": [(1, -1)], "total": [(1, 1), (2, 1)]}.get(name, [])
    if not sums or a.size != b.size:
        return False
    ring = a.evaluation.ring
    left, right = (ring.coefficients(c.chunks[0])[1:].astype(object) for c in (a, b))
    moduli = np.array(ring.parameters.primes[: a.primes], dtype=object)[None, :, None]
    return any(not ((m * left + n * right) % moduli).any() for m, n in sums)


def shifted(column: Column, *, low: int) -> Column:
    """Negative results are planned with an offset that brings them back into range."""
    return column.raise_by(-low) if low < 0 else column


def run_program(program: list[Step], *, keys: SecretKeySet, high: int) -> int:
    """Run the steps that planning affords on all three columns, compare, and count them."""
    rng = np.random.default_rng(len(program))
    inputs = [rng.integers(0, high + 1, SLOTS) for _ in range(3)]
    planned = [PlannedColumn.fresh(keys.public.parameters, high=high) for _ in inputs]
    plain = [PlainColumn.of(values) for values in inputs]
    encrypted = [keys.public.encrypt(values, high=high) for values in inputs]
    for step in program:
        name, first, second, number = step
        result = planned_step(step, planned)
        if result is None or encryption_cancels(step, encrypted):
            continue
        for pool in (plain, encrypted):
            operands = pool[first % len(pool)], pool[second % len(pool)]
            pool.append((OPERATIONS | PRODUCTS)[name](*operands, number))
        planned.append(result)
    for bound, clear, secret in zip(planned, plain, encrypted, strict=True):
        compare(bound, clear, secret, keys=keys)
    return len(planned) - len(inputs)


def compare(
    bound: PlannedColumn, clear: PlainColumn, secret: EncryptedColumn, *, keys: SecretKeySet
) -> None:
    assert (bound.primes, bound.size) == (secret.primes, secret.size)
    assert bound.low <= min(clear.values)
    assert max(clear.values) <= bound.high
    assert bound.margin <= keys.noise_margin(secret) + MEASURED
    expected = shifted(clear, low=bound.low).values.tolist()
    assert keys.decrypt(shifted(secret, low=bound.low)).tolist() == expected


@given(programs(OPERATIONS))
def test_any_affordable_interval_program_is_exact(
    interval_keys: SecretKeySet, program: list[Step]
) -> None:
    run_program(program, keys=interval_keys, high=60_000)


@given(programs(OPERATIONS))
def test_any_affordable_register_program_is_exact(
    register_keys: SecretKeySet, program: list[Step]
) -> None:
    run_program(program, keys=register_keys, high=2**32)


@given(programs({**OPERATIONS, **PRODUCTS}))
def test_any_affordable_tier_program_is_exact(tier_keys: SecretKeySet, program: list[Step]) -> None:
    run_program(program, keys=tier_keys, high=300)


@pytest.mark.parametrize("name", PARAMETER_SETS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_operation_on_each_set(
    key_sets: dict[str, SecretKeySet], name: str, operation: str
) -> None:
    """What hypothesis may skip as unaffordable in a chain is certainly run once, or refused."""
    expected = 0 if (operation, name) in UNAFFORDABLE else 1
    assert run_program([(operation, 0, 1, 8)], keys=key_sets[name], high=9) == expected


@pytest.mark.parametrize("operation", PRODUCTS)
def test_one_product_of_each_kind(tier_keys: SecretKeySet, operation: str) -> None:
    assert run_program([(operation, 0, 1, 1)], keys=tier_keys, high=300) == 1


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_blinded_column_holds_residues(key_sets: dict[str, SecretKeySet], name: str) -> None:
    """Not part of the programs above: it leaves the integers for residues, and ends a plan."""
    keys = key_sets[name]
    modulus = keys.public.parameters.plain_modulus
    values = np.arange(SLOTS)
    blinding = np.random.default_rng(3).integers(0, modulus, SLOTS, dtype=np.uint64)
    blinded = keys.public.encrypt(values, high=SLOTS).blind(blinding)
    expected = [value % modulus for value in PlainColumn.of(values).blind(blinding).values]
    assert keys.decrypt(blinded).tolist() == expected
    planned = PlannedColumn.fresh(keys.public.parameters, high=SLOTS).blind(blinding)
    assert (planned.low, planned.high) == (0, modulus - 1)
    assert planned.margin <= keys.noise_margin(blinded) + MEASURED
    planned.check(what="A blinded column")


def test_roster_larger_than_the_ring_takes_several_chunks(interval_keys: SecretKeySet) -> None:
    values = np.arange(2 * INTERVAL.ring_degree + 5)
    column = interval_keys.public.encrypt(values, high=10_000)
    assert len(column.chunks) == 3
    raised = column.raise_by(values).plus(interval_keys.public.encrypt(values, high=10_000))
    assert interval_keys.decrypt(raised).tolist() == (3 * values).tolist()


def test_columns_under_different_keys_cannot_meet(interval_keys: SecretKeySet) -> None:
    mine = interval_keys.public.encrypt(np.arange(3), high=2)
    theirs = generate_key_set(INTERVAL).public.encrypt(np.arange(3), high=2)
    for operation in ("plus", "minus", "times"):
        with pytest.raises(KeyMismatchError):
            getattr(mine, operation)(theirs)


def test_columns_of_different_sets_cannot_meet_even_under_one_key_id(
    interval_keys: SecretKeySet, register_keys: SecretKeySet
) -> None:
    mine = interval_keys.public.encrypt(np.arange(3), high=2)
    theirs = register_keys.public.encrypt(np.arange(3), high=2)
    renamed = replace(theirs, evaluation=replace(theirs.evaluation, key_id=mine.evaluation.key_id))
    with pytest.raises(KeyMismatchError):
        mine.plus(renamed)


def test_columns_of_different_length_cannot_meet(interval_keys: SecretKeySet) -> None:
    public = interval_keys.public
    with pytest.raises(KeyMismatchError):
        public.encrypt(np.arange(3), high=3).plus(public.encrypt(np.arange(4), high=3))


def test_columns_at_different_levels_cannot_meet(tier_keys: SecretKeySet) -> None:
    column = tier_keys.public.encrypt(np.arange(3), high=3)
    with pytest.raises(DepthExceededError):
        column.plus(column.switch_down(2))


@pytest.mark.parametrize("primes", [-1, 0, 5])
def test_level_that_does_not_exist_is_refused(tier_keys: SecretKeySet, primes: int) -> None:
    """Planned and encrypted alike: a plan that climbed would promise room that is not there."""
    column = tier_keys.public.encrypt(np.arange(3), high=3)
    with pytest.raises(DepthExceededError):
        column.switch_down(primes)
    with pytest.raises(DepthExceededError):
        PlannedColumn.fresh(TIER, high=3).switch_down(primes)


def test_level_once_left_is_gone(tier_keys: SecretKeySet) -> None:
    assert tier_keys.public.encrypt(np.arange(3), high=3).switch_down(4).primes == 4
    with pytest.raises(DepthExceededError):
        tier_keys.public.encrypt(np.arange(3), high=3).switch_down(2).switch_down(3)
    with pytest.raises(DepthExceededError):
        PlannedColumn.fresh(TIER, high=3).switch_down(2).switch_down(3)


def test_product_without_relinearisation_keys_is_refused(register_keys: SecretKeySet) -> None:
    with pytest.raises(KeyMismatchError):
        register_keys.public.encrypt(np.arange(3), high=3).relinearise()


NO_ENCRYPTION: dict[str, Callable[[EncryptedColumn], EncryptedColumn]] = {
    "minus itself": lambda column: column.minus(column),
    "times zero": lambda column: column.scale(0),
    "times t": lambda column: column.scale(column.evaluation.parameters.plain_modulus),
    "mask of nobody": lambda column: column.select(np.zeros(column.slots, dtype=np.int64)),
}


@pytest.mark.parametrize("name", PARAMETER_SETS)
@pytest.mark.parametrize("case", NO_ENCRYPTION)
def test_result_without_encryption_is_never_made(
    key_sets: dict[str, SecretKeySet], name: str, case: str
) -> None:
    column = key_sets[name].public.encrypt(np.arange(5), high=5)
    with pytest.raises(CiphertextError) as refused:
        NO_ENCRYPTION[case](column)
    assert refused.value.reason == "ciphertext.operation"
    assert isinstance(refused.value, GridSecureError)
    assert refused.value.__cause__ is not None


def test_mask_must_select_in_every_chunk(interval_keys: SecretKeySet) -> None:
    slots = INTERVAL.ring_degree + 1
    mask = np.ones(slots, dtype=np.int64)
    mask[-1] = 0
    with pytest.raises(CiphertextError):
        interval_keys.public.encrypt(np.ones(slots, dtype=np.int64), high=1).select(mask)


@pytest.mark.parametrize("length", [0, 1, 4, 6, 4096])
@pytest.mark.parametrize("operation", ["raise_by", "select", "blind"])
def test_array_of_another_length_is_refused(
    register_keys: SecretKeySet, operation: str, length: int
) -> None:
    """The encoder pads with zeros, so a short blinding would leave the last slots readable."""
    column = register_keys.public.encrypt(np.arange(5), high=5)
    kind = np.uint64 if operation == "blind" else np.int64
    with pytest.raises(ValueError, match="every slot"):
        getattr(column, operation)(np.ones(length, dtype=kind))


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20))
def test_negative_integers_wrap_to_residues(values: list[int]) -> None:
    (part,) = split_chunks(np.array(values, dtype=np.int64), parameters=REGISTER)
    assert part.tolist() == [value % REGISTER.plain_modulus for value in values]


@pytest.mark.parametrize(
    ("slots", "lengths"), [(0, [0]), (1, [1]), (4096, [4096]), (4097, [4096, 1])]
)
def test_chunks_fill_the_ring(slots: int, lengths: list[int]) -> None:
    parts = split_chunks(np.zeros(slots, dtype=np.int64), parameters=INTERVAL)
    assert [len(part) for part in parts] == lengths


def test_plain_column_catches_a_wrong_statement_about_range() -> None:
    column = PlainColumn.of(np.array([0, 5]))
    assert column.narrow(0, 5) is column
    with pytest.raises(AssertionError, match="range"):
        column.narrow(0, 4)
    with pytest.raises(AssertionError, match="range"):
        column.narrow(1, 5)
