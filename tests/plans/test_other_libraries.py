"""Another library runs our plans from the same plaintext integers and decrypts the same ones.

The oracle knows the bills and not the plans; our executor is SEAL. Here a plan's own steps are
computed by a library that shares no code with either, under keys and parameters of its own: OpenFHE
where a Python is found on which its wheel imports, or else another build of SEAL. One of them must
be there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from benchmarks.element_costs import ELEMENTS
from benchmarks.exact_bills import compile_plan
from benchmarks.key_sets import BenchKeys
from benchmarks.peer_libraries import HOW_TO, SEAL, Answer, Library, ask, find_libraries
from benchmarks.random_meters import (
    FOUR_PERIOD,
    TIERS,
    RandomMeters,
    random_meters,
    random_meters_of,
)
from benchmarks.recording import Program, Step, record_bill
from gridsecure.billing.rules import line_rules
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.plans.bills import BillPlan, run_bill
from gridsecure.plans.lines.registry import KINDS, kind_of
from gridsecure.plans.load_curve import lay_out_cells, run_day, total_groups
from gridsecure.plans.quantities import MAX_TIER_WH
from gridsecure.plans.settlement_values import settlement_values
from gridsecure.tariffs.tariff import parse_tariff
from tests.grid_simulator import grid_keys
from tests.held_policy import APART
from tests.plans.element_tariffs import dynamic
from tests.plans.test_elements import ALL, check_lines, compiled, prepared
from tests.plans.test_load_curve import DAY, ROSTERS, SEED

METERS = 128
LARGEST = {"dynamic": 150_000, "demand": 2_000_000, "wide-quota": 2_000_000}
"""Wh in an hour, of tariffs that bill a few days' readings."""
CORRECTED = ("three tiers", "three tiers, corrected")
SPOILT: Mapping[str, Callable[..., Step]] = {
    "plus": lambda _, first, second: ["minus", first, second],
    "minus": lambda _, first, second: ["plus", first, second],
    "times": lambda _, first, second: ["times", first, first],
    "scale": lambda _, first, factor: ["scale", first, factor + 1],
    "raise": lambda _, first, amount: ["raise", first, (np.array(amount) + 1).tolist()],
    "complement": lambda _, first: ["raise", first, 1],
    "select": lambda _, first, mask: ["select", first, mask[1:] + mask[:1]],
}
"""A wrong step in place of each kind of step that changes an integer."""
SAMPLE = {
    "time of use": FOUR_PERIOD,
    "three tiers": TIERS,
    "three tiers, corrected": TIERS,
    **{element.title: element.text for element in ELEMENTS},
    "dynamic": dynamic(hours=24),
    **{name: ALL[name] for name in ("demand", "wide-quota")},
}
"""Billed are random meter points with every edge of the tariff, but for those in `LARGEST`."""

Case = tuple[BillPlan, Mapping[str, NDArray[np.int64]], pd.DataFrame]


@cache
def case(name: str) -> Case:
    text = SAMPLE[name]
    if name in LARGEST:
        tariff, settled, contracts = prepared(text, quotas=True, largest=LARGEST[name])
        return *compiled(tariff, settled, contracts), settled
    meters = (
        random_meters_of(parse_tariff(text), count=METERS, seed=len(name), quotas=False)
        if "\n" in text
        else random_meters(text, count=METERS, seed=1, quotas=True)
    )
    if name.endswith("corrected"):
        meters = corrected(meters)
    return compile_plan(meters), meters.values, meters.settlements


def corrected(meters: RandomMeters) -> RandomMeters:
    """A second version of the month: every other meter point used one Wh more."""
    total = meters.settlements["total_wh"].to_numpy(np.int64)
    later = np.minimum(total + np.arange(METERS) % 2, MAX_TIER_WH)
    settled = meters.settlements.assign(total_wh=later)
    values = settlement_values(
        settled,
        rules=line_rules(meters.tariff, meters.period),
        tou_periods=meters.tariff.tou_periods,
        contracted_va=meters.contracts["contracted_va"].to_numpy(np.int64),
    )
    return dataclasses.replace(meters, settlements=settled, values=values)


@pytest.fixture(scope="module")
def peer() -> Library:
    for library in find_libraries().values():
        return library
    pytest.fail(f"no other library checks our plans here; install one: {HOW_TO}")


def run_ours(plan: BillPlan, values: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    keys = BenchKeys(grid_keys().secret)
    return keys.decrypted(run_bill(plan, inputs=keys.encrypted(plan.needs, values=values)))


def joined(answers: Sequence[Answer]) -> dict[str, NDArray[Any]]:
    return {name: values for answer in answers for name, values in answer.outputs.items()}


def differing(ours: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]) -> list[str]:
    assert set(ours) == set(theirs)
    return [name for name, values in ours.items() if values.tolist() != theirs[name].tolist()]


@pytest.mark.parametrize("name", SAMPLE)
def test_another_library_decrypts_the_same_integers(peer: Library, name: str) -> None:
    plan, values, settled = case(name)
    theirs = joined(ask(peer, record_bill(plan, values=values)))
    assert differing(run_ours(plan, values), theirs) == []
    check_lines(plan, theirs, settled)


def test_the_sample_has_every_kind_of_line_and_every_step() -> None:
    cases = [case(name) for name in SAMPLE]
    kinds = [kind_of(rule) for plan, *_ in cases for rule in plan.rules]
    assert all(kind in kinds for kind in KINDS if kind.split is not None)
    programs = [p for plan, values, _ in cases for p in record_bill(plan, values=values)]
    assert {step[0] for p in programs for step in p.steps} == {*SPOILT, "relinearise", "switch"}
    earlier, later = (case(name)[2]["total_wh"] for name in CORRECTED)
    assert ((later - earlier) == 1).sum() > METERS // 3


def test_a_wrong_step_is_found(peer: Library) -> None:
    """Of every kind of arithmetic one step is done wrong; the noise of it is the same."""
    plan, values, _ = case(ELEMENTS[-1].title)
    program = record_bill(plan, values=values)[-1]
    right, *wrong = ask(peer, [program, *(spoil(program, operation) for operation in SPOILT)])
    found = {
        operation: differing(right.outputs, answer.outputs)
        for operation, answer in zip(SPOILT, wrong, strict=True)
    }
    assert all(found.values()), found


def spoil(program: Program, operation: str) -> Program:
    steps = [*program.steps]
    number = max(n for n, step in enumerate(steps) if step[0] == operation)
    steps[number] = SPOILT[operation](*steps[number])
    return dataclasses.replace(program, steps=steps)


def test_a_fault_of_our_own_arithmetic_is_found(
    peer: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle would find it too, but not say whether the plan is wrong or what computes it."""
    plan, values, _ = case("time of use")
    honest = EncryptedColumn.scale
    monkeypatch.setattr(EncryptedColumn, "scale", lambda column, by: honest(column, by ^ 1))
    theirs = joined(ask(peer, record_bill(plan, values=values)))
    assert differing(run_ours(plan, values), theirs) == list(theirs)


def test_group_totals_are_the_same(peer: Library) -> None:
    layout, intervals = lay_out_cells(ROSTERS, minima=APART), 24
    energy = [
        np.random.default_rng(n).integers(0, 65_535, (intervals, roster.slots), endpoint=True)
        for n, roster in enumerate(ROSTERS)
    ]
    programs = [Program(INTERVAL, rows.size) for rows in energy]
    columns = [p.encrypt(rows.ravel()) for p, rows in zip(programs, energy, strict=True)]
    keys = grid_keys().secret[INTERVAL.name]
    ours = [keys.public.encrypt(rows.ravel(), high=65_535) for rows in energy]
    day = {"layout": layout, "intervals": intervals}
    for blinded in run_day(columns, **day, seed=SEED, purpose=DAY):
        blinded.program.outputs[DAY] = blinded.number
    theirs = [answer.outputs[DAY] for answer in ask(peer, programs)]
    for mine, other in zip(run_day(ours, **day, seed=SEED, purpose=DAY), theirs, strict=True):
        assert keys.decrypt(mine).tolist() == other.tolist()
    counted = [
        rows[:, own == 0].sum(axis=1) for rows, own in zip(energy, layout.groups, strict=True)
    ]
    assert total_groups(theirs, **day) == [{0: int(total)} for total in sum(counted)]


@pytest.mark.parametrize("name", ["time of use", "three tiers"])
def test_the_stand_in_answers_alike(name: str) -> None:
    """Also where OpenFHE is the peer, so that it can be relied upon where it is not."""
    plan, values, settled = case(name)
    check_lines(
        plan, joined(ask(find_libraries()[SEAL], record_bill(plan, values=values))), settled
    )
