"""Static planning: what it refuses, and that its margins are never rosier than the library's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import DepthExceededError, OutOfRangeError
from gridsecure.homomorphic.columns import EncryptedColumn, sum_columns
from gridsecure.homomorphic.parameters import INTERVAL, PARAMETER_SETS, REGISTER, TIER, Parameters
from gridsecure.homomorphic.planning import MARGIN_BITS, SHARED_BITS, PlannedColumn, fresh_noise
from gridsecure.homomorphic.secret_key import SecretKeySet

# A maximum over N coefficients is measured and a deviation planned (three bits); the library
# rounds its measurement down (one bit).
MEASURED = 3 + 1

ONE_YUAN = 10**8  # 1 yuan/kWh in the tariff's 1e-8 yuan


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_fresh_margin_is_the_measured_one(key_sets: dict[str, SecretKeySet], name: str) -> None:
    keys = key_sets[name]
    measured = keys.noise_margin(keys.public.encrypt(np.arange(9), high=9))
    planned = PlannedColumn.fresh(keys.public.parameters, high=9).margin
    assert measured - 1 <= planned <= measured + MEASURED, "neither rosy nor wasteful"


@pytest.mark.parametrize("primes", [4, 3, 2, 1])
def test_margin_holds_at_every_level(tier_keys: SecretKeySet, primes: int) -> None:
    column = tier_keys.public.encrypt(np.arange(9), high=9).switch_down(primes)
    planned = PlannedColumn.fresh(TIER, high=9).switch_down(primes)
    assert planned.margin <= tier_keys.noise_margin(column) + MEASURED


@pytest.mark.parametrize("powers", [2, 3, 4])
def test_margin_holds_for_powers_of_one_column(tier_keys: SecretKeySet, powers: int) -> None:
    """The most dependent product there is; independence predicts 8 to 29 bits too much margin."""
    column = tier_keys.public.encrypt(np.arange(9), high=9)
    planned = PlannedColumn.fresh(TIER, high=9)
    result, bound = column, planned
    for _ in range(powers - 1):
        result = result.times(column).relinearise()
        bound = bound.times(planned).relinearise()
    assert bound.margin <= tier_keys.noise_margin(result) + MEASURED
    assert tier_keys.decrypt(result).tolist() == [v**powers for v in range(9)]


def test_margin_holds_for_a_sum_of_copies(register_keys: SecretKeySet) -> None:
    """Sums are planned as fully dependent, and here they are."""
    column = register_keys.public.encrypt(np.arange(9), high=9)
    planned = PlannedColumn.fresh(REGISTER, high=9)
    assert (
        sum_columns([planned] * 1000).margin
        <= register_keys.noise_margin(sum_columns([column] * 1000)) + MEASURED
    )
    assert sum_columns([planned] * 1000).noise == pytest.approx(planned.noise + math.log2(1000))


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_every_added_plaintext_is_counted(key_sets: dict[str, SecretKeySet], name: str) -> None:
    keys = key_sets[name]
    planned = PlannedColumn.fresh(keys.public.parameters, high=9)
    column = keys.public.encrypt(np.arange(9), high=9)
    bound: PlannedColumn = planned
    result: EncryptedColumn = column
    amounts = np.arange(9) * 7919
    for _ in range(40):
        bound, result = bound.raise_by(amounts), result.raise_by(amounts)
    assert bound.noise > planned.noise
    assert bound.margin <= keys.noise_margin(result) + MEASURED


@pytest.mark.parametrize("name", PARAMETER_SETS)
@pytest.mark.parametrize("excess", [0, 1, 2**70])
def test_input_above_the_plain_modulus_is_refused(name: str, excess: int) -> None:
    parameters = PARAMETER_SETS[name]
    PlannedColumn.fresh(parameters, high=parameters.plain_modulus - 1)
    with pytest.raises(OutOfRangeError) as refused:
        PlannedColumn.fresh(parameters, high=parameters.plain_modulus + excess)
    assert refused.value.reason == "plan.range"


def test_negative_bound_is_refused() -> None:
    with pytest.raises(OutOfRangeError):
        PlannedColumn.fresh(INTERVAL, high=-1)


def test_output_that_could_be_negative_is_refused() -> None:
    column = PlannedColumn.fresh(REGISTER, high=9)
    with pytest.raises(OutOfRangeError):
        column.minus(column).check(what="A difference")
    column.minus(column).raise_by(9).check(what="A difference above zero")


@pytest.mark.parametrize("factor", [0, -1, REGISTER.plain_modulus, 2**70])
def test_factor_outside_the_plain_modulus_is_refused(factor: int) -> None:
    with pytest.raises(OutOfRangeError):
        PlannedColumn.fresh(REGISTER, high=9).scale(factor)


@pytest.mark.parametrize("rate", [1, 55_555_555, ONE_YUAN, 3 * ONE_YUAN, 2**34])
def test_linear_bill_is_exact_up_to_the_modulus_and_refused_above(
    register_keys: SecretKeySet, rate: int
) -> None:
    """energy [Wh] × rate [1e-8 yuan/kWh], to the last unit below t."""
    modulus = REGISTER.plain_modulus
    most = (modulus - 1) // rate
    PlannedColumn.fresh(REGISTER, high=most).scale(rate).check(what="The largest bill line")
    energy = np.array([most, most - 1, 1, 0, most // 2], dtype=np.uint64)
    line = register_keys.public.encrypt(energy, high=most).scale(rate)
    assert register_keys.decrypt(line).tolist() == [int(wh) * rate for wh in energy]
    if most + 1 == modulus:
        with pytest.raises(OutOfRangeError):
            PlannedColumn.fresh(REGISTER, high=most + 1)
        return
    above = PlannedColumn.fresh(REGISTER, high=most + 1).scale(rate)
    with pytest.raises(OutOfRangeError):
        above.check(what="A bill line one Wh above")


def test_one_unit_above_the_modulus_is_refused() -> None:
    """The bound is t itself, not a power of two near it."""
    almost = PlannedColumn.fresh(REGISTER, high=REGISTER.plain_modulus - 1)
    almost.check(what="The largest value")
    with pytest.raises(OutOfRangeError):
        almost.raise_by(1).check(what="One more")


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.integers(1, 12))
def test_four_period_bill_planned_is_four_period_bill_right(
    register_keys: SecretKeySet, high: int, rate: int, periods: int
) -> None:
    """Whatever planning lets through decrypts to the exact sum at its own bounds."""
    planned = [PlannedColumn.fresh(REGISTER, high=high) for _ in range(periods)]
    try:
        sum_columns([column.scale(rate) for column in planned]).check(what="A bill")
    except (OutOfRangeError, DepthExceededError):
        assert high * rate * periods >= REGISTER.plain_modulus or rate * periods >= 2**34
        return
    column = register_keys.public.encrypt(np.array([high, 0, 1], dtype=np.uint64), high=high)
    bill = sum_columns([column.scale(rate)] * periods)
    assert register_keys.decrypt(bill).tolist() == [high * rate * periods, 0, rate * periods]


def test_rate_that_uses_up_the_noise_is_refused() -> None:
    column = PlannedColumn.fresh(REGISTER, high=1)
    room = int(column.margin - MARGIN_BITS)
    column.scale(2**room).check(what="The largest rate")
    with pytest.raises(DepthExceededError) as refused:
        column.scale(2 ** (room + 1)).check(what="A larger rate")
    assert refused.value.reason == "plan.noise"


def test_depth_that_does_not_fit_is_refused() -> None:
    powers = [PlannedColumn.fresh(TIER, high=1)]
    for _ in range(4):
        powers.append(powers[-1].times(powers[-1]).relinearise())
    powers[2].check(what="A fourth power")
    for power in powers[3:]:
        with pytest.raises(DepthExceededError):
            power.check(what="An eighth or higher power")


@pytest.mark.parametrize("parameters", [INTERVAL, REGISTER], ids=lambda p: p.name)
def test_product_under_bfv_is_refused(parameters: Parameters) -> None:
    column = PlannedColumn.fresh(parameters, high=1)
    with pytest.raises(DepthExceededError):
        column.times(column)


def test_columns_of_other_set_or_level_do_not_combine() -> None:
    tier = PlannedColumn.fresh(TIER, high=1)
    for other in (PlannedColumn.fresh(REGISTER, high=1), tier.switch_down(3)):
        for operation in (tier.plus, tier.minus, tier.times):
            with pytest.raises(DepthExceededError):
                operation(other)


@given(st.data())
def test_margin_never_grows(data: st.DataObject) -> None:
    """So a check of the output covers every step before it."""
    column = PlannedColumn.fresh(TIER, high=1)
    for _ in range(data.draw(st.integers(1, 6))):
        before = column.margin
        column = data.draw(
            st.sampled_from(
                [
                    column.plus(column),
                    column.minus(column),
                    column.times(column),
                    column.scale(3),
                    column.raise_by(1),
                    column.complement(),
                    column.relinearise(),
                    column.select(np.ones(3, dtype=np.int64)),
                    column.blind(np.ones(3, dtype=np.uint64)),
                    column.switch_down(max(column.primes - 1, 1)),
                    column.narrow(0, 1),
                ]
            )
        )
        assert column.margin <= before + 1e-9


def test_constants_are_the_documented_ones() -> None:
    assert (MARGIN_BITS, SHARED_BITS) == (5.0, 10.0)
    # log2 of 2·Q(32) by Mills' ratio: the odds that the margin's description gives.
    odds = -(32**2) / 2 / math.log(2) - math.log2(32 * math.sqrt(math.pi / 2))
    assert round(odds) == -744
    assert 2 ** fresh_noise(INTERVAL) < 20, "rounding dominates a fresh interval column"
