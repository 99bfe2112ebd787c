"""Thresholds on encrypted energy: exact to the Wh on both sides of every limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridsecure.errors import OutOfRangeError
from gridsecure.homomorphic.parameters import TIER
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.homomorphic.thresholds import (
    DIGITS,
    MONTH_DIGITS,
    WH_PER_KWH,
    YEAR_DIGITS,
    DigitSystem,
    compare,
    excess,
    find_needed_digits,
    thermometer,
)

SLOTS = TIER.ring_degree
MAX_THRESHOLD_KWH = MONTH_DIGITS.highest_threshold
BASE = 16
HIGH_WH = 8_388_607
LIMITS_KWH = (
    0, 1, 15, 16, 17, 200, 240, 255, 256, 260, 400, 512, 600, 1365, 3583, 3584, 3824, 3838, 3839,
)  # fmt: skip
MEASURED = 3 + 1  # as in test_planning.py: a maximum for a deviation, and rounding down
LIMB = 1023
"""The largest price limb that a tier bill multiplies an excess by."""


def above(
    energy: Any,
    columns: Any,
    thresholds_kwh: NDArray[np.int64],
    *,
    digits: DigitSystem = MONTH_DIGITS,
    high: int = HIGH_WH,
) -> Any:
    gate = compare(columns, thresholds=thresholds_kwh, digits=digits, parameters=TIER)
    return excess(energy, high=high, gate=gate, thresholds_kwh=thresholds_kwh, parameters=TIER)


def digits_of(energy_wh: NDArray[np.int64]) -> Any:
    return thermometer(energy_wh // WH_PER_KWH, digits=MONTH_DIGITS)


def per_slot(kind: str) -> NDArray[np.int64]:
    rng = np.random.default_rng(11)
    if kind == "household quotas":
        return 260 + 100 * rng.integers(0, 2, SLOTS)
    if kind == "one meter apart":
        return np.where(np.arange(SLOTS) == 5, 600, 260)
    if kind == "only the low digit differs":
        return 256 + rng.integers(0, 16, SLOTS)
    if kind == "only the top digit differs":
        return 256 * rng.integers(0, 15, SLOTS)
    if kind == "ends of every digit":
        return rng.choice(np.array([0, 15, 240, 255, 3584, 3599, 3824, 3839]), SLOTS)
    return rng.integers(0, MAX_THRESHOLD_KWH + 1, SLOTS)


KINDS = [
    "household quotas", "one meter apart", "only the low digit differs",
    "only the top digit differs", "ends of every digit", "any",
]  # fmt: skip


def check_circuit(tier_roster: Any, thresholds_kwh: NDArray[np.int64]) -> None:
    """Encrypted = plain = arithmetic, from the needed digits alone, within the planned margin."""
    needed = find_needed_digits(thresholds_kwh, digits=MONTH_DIGITS)
    expected = np.maximum(tier_roster.energy_wh - 1000 * thresholds_kwh, 0)

    def circuit(energy: Any, digits: Any) -> Any:
        loaded = {key: digits[key] for key in needed}
        return above(energy, loaded, thresholds_kwh)

    encrypted = circuit(tier_roster.encrypted, tier_roster.encrypted_digits)
    planned = circuit(tier_roster.planned, tier_roster.planned_digits)
    plain = circuit(tier_roster.plain, tier_roster.plain_digits)
    keys = tier_roster.keys
    assert np.array_equal(keys.decrypt(encrypted), expected)
    assert plain.values.tolist() == expected.tolist()
    assert (planned.primes, planned.size) == (encrypted.primes, encrypted.size) == (2, 2)
    assert (planned.low, planned.high) == (0, HIGH_WH)
    planned.check(what="An excess")
    assert planned.margin <= keys.noise_margin(encrypted) + MEASURED
    # As the bill goes on: down to the last prime, times a limb of the price.
    limb, bound = (c.switch_down(1).scale(LIMB) for c in (encrypted, planned))
    bound.check(what="A limb of the charge")
    assert bound.margin <= keys.noise_margin(limb) + MEASURED
    assert np.array_equal(keys.decrypt(limb), expected * LIMB)


@pytest.mark.parametrize("limit_kwh", LIMITS_KWH)
def test_threshold_is_exact_on_both_sides(tier_roster: Any, limit_kwh: int) -> None:
    """The roster holds 1 Wh below, at and above this limit among 16,384 energies."""
    for step in (-1, 0, 1):
        assert limit_kwh == 0 or limit_kwh * 1000 + step in tier_roster.energy_wh
    check_circuit(tier_roster, np.array(limit_kwh))


@pytest.mark.parametrize("kind", KINDS)
def test_thresholds_may_differ_from_slot_to_slot(tier_roster: Any, kind: str) -> None:
    check_circuit(tier_roster, per_slot(kind))


def test_equal_thresholds_cost_what_one_threshold_costs(tier_roster: Any) -> None:
    def circuit(thresholds_kwh: NDArray[np.int64]) -> Any:
        return above(tier_roster.planned, tier_roster.planned_digits, thresholds_kwh)

    assert circuit(np.full(SLOTS, 260)) == circuit(np.array(260))


def test_per_slot_thresholds_at_one_wh_around_their_own_limit(tier_roster: Any) -> None:
    """Each slot's energy is moved to its own limit, a Wh below or a Wh above."""
    keys = tier_roster.keys
    slots = 300
    limits = per_slot("any")[:slots]
    limits[:3] = (0, MAX_THRESHOLD_KWH, 1)
    energy_wh = np.maximum(limits * 1000 + np.arange(slots) % 3 - 1, 0)
    digits = {
        key: keys.public.encrypt(column, high=1)
        for key, column in digits_of(energy_wh).items()
        if key in find_needed_digits(limits, digits=MONTH_DIGITS)
    }
    result = above(keys.public.encrypt(energy_wh, high=HIGH_WH), digits, limits)
    assert keys.decrypt(result).tolist() == np.maximum(energy_wh - 1000 * limits, 0).tolist()


@given(st.data())
def test_circuit_is_the_arithmetic(data: st.DataObject) -> None:
    """In the clear, where hypothesis can search: any limits, energies near them."""
    slots = data.draw(st.integers(1, 6))
    limit = st.integers(0, MAX_THRESHOLD_KWH)
    limits = np.array(data.draw(st.lists(limit, min_size=slots, max_size=slots)))
    near = st.tuples(st.sampled_from(limits.tolist()), st.integers(-1001, 1001)).map(
        lambda pair: max(0, pair[0] * 1000 + pair[1])
    )
    energies = st.lists(near | st.integers(0, HIGH_WH), min_size=slots, max_size=slots)
    energy_wh = np.array(data.draw(energies))
    needed = find_needed_digits(limits, digits=MONTH_DIGITS)
    digits = {k: PlainColumn.of(v) for k, v in digits_of(energy_wh).items() if k in needed}
    result = above(PlainColumn.of(energy_wh), digits, limits)
    assert result.values.tolist() == np.maximum(energy_wh - 1000 * limits, 0).tolist()


# --- digits -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_thermometer_spells_the_whole_kwh(total_wh: list[int]) -> None:
    columns = digits_of(np.array(total_wh))
    assert set(columns) == {(d, j) for d in range(DIGITS) for j in range(1, BASE)}
    for slot, wh in enumerate(total_wh):
        levels = [sum(int(columns[d, j][slot]) for j in range(1, BASE)) for d in range(DIGITS)]
        whole = wh // 1000
        assert levels == [whole % 16, whole // 16 % 16, min(whole // 256, 15)]
        for digit in range(DIGITS):
            steps = [int(columns[digit, j][slot]) for j in range(1, BASE)]
            assert steps == sorted(steps, reverse=True), "a thermometer has no gaps"


def test_needed_digits_of_one_threshold() -> None:
    # 260 = 1·256 + 0·16 + 4
    assert find_needed_digits(np.array(260), digits=MONTH_DIGITS) == {
        (2, 1),
        (2, 2),
        (1, 1),
        (0, 4),
    }
    assert find_needed_digits(np.array(0), digits=MONTH_DIGITS) == set()
    # 3,839 = 14·256 + 15·16 + 15: [d >= 16] never holds and is no column.
    assert find_needed_digits(np.array(3839), digits=MONTH_DIGITS) == {
        (2, 14),
        (2, 15),
        (1, 15),
        (0, 15),
    }


@given(st.lists(st.integers(0, MAX_THRESHOLD_KWH), min_size=1, max_size=10))
def test_needed_digits_of_many_are_those_of_each(limits: list[int]) -> None:
    each = set().union(
        *(find_needed_digits(np.array(limit), digits=MONTH_DIGITS) for limit in limits)
    )
    if any(limits):
        each |= {(2, 1), (1, 1)} if 0 in limits else set()
    assert find_needed_digits(np.array(limits), digits=MONTH_DIGITS) == each


# --- refusals -----------------------------------------------------------------------------------

OUTSIDE = [-1, MAX_THRESHOLD_KWH + 1, 4096, 4096 + 260, 10**9]


@pytest.mark.parametrize("limit_kwh", OUTSIDE)
@pytest.mark.parametrize("among", [False, True])
def test_threshold_outside_the_digits_is_refused(limit_kwh: int, among: bool) -> None:
    """Also by the circuit itself: a digit that does not exist would be dropped silently."""
    limits = np.array([260, limit_kwh] if among else limit_kwh)
    with pytest.raises(OutOfRangeError) as refused:
        find_needed_digits(limits, digits=MONTH_DIGITS)
    assert refused.value.reason == "plan.threshold"
    energy_wh = np.array([5_000_000, 5_000_000])
    digits = {k: PlainColumn.of(v) for k, v in digits_of(energy_wh).items()}
    with pytest.raises(OutOfRangeError) as refused:
        above(PlainColumn.of(energy_wh), digits, limits)
    assert refused.value.reason == "plan.threshold"


def test_largest_threshold_is_the_documented_one() -> None:
    assert MAX_THRESHOLD_KWH == 3839


# --- other numbers than energy ------------------------------------------------------------------


@given(st.data())
def test_any_whole_number_gates_any_other(data: st.DataObject) -> None:
    """[w >= T] for the digits of a year and of use hours, multiplying something signed."""
    system = data.draw(st.sampled_from([MONTH_DIGITS, YEAR_DIGITS, DigitSystem((3, 5, 4))]))
    slots = data.draw(st.integers(1, 5))
    limit = st.integers(0, system.highest_threshold)
    limits = np.array(data.draw(st.lists(limit, min_size=slots, max_size=slots)))
    step = st.integers(-2, 2)
    steps = np.array(data.draw(st.lists(step, min_size=slots, max_size=slots)))
    whole = np.maximum(limits + steps, 0)
    signed = st.integers(-500, 500)
    values = np.array(data.draw(st.lists(signed, min_size=slots, max_size=slots)))
    columns = {k: PlainColumn.of(v) for k, v in thermometer(whole, digits=system).items()}
    needed = {k: columns[k] for k in find_needed_digits(limits, digits=system)}
    gate = compare(needed, thresholds=limits, digits=system, parameters=TIER)
    kept = values if gate is None else gate.apply(PlainColumn.of(values)).values
    assert list(kept) == np.where(whole >= limits, values, 0).tolist()


def test_a_year_reaches_further_than_a_month() -> None:
    assert YEAR_DIGITS.highest_threshold == 13_247
    assert len(YEAR_DIGITS.places) == 69
