"""What the vault refuses to put together: values that no honest column decrypts to.

A registered gateway may sign a forged column. Its residues are those of the secret key, so none of
them may come out: not as an energy, not as the divisor of shares, a percentage or a sum of prices,
and not on a bill where everything else is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import line_rules
from gridsecure.errors import OutOfRangeError
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.periods import billing_month
from gridsecure.plans import recombination
from gridsecure.plans.bills import BillPlan, plan_bill, run_bill
from gridsecure.plans.lines import shares
from gridsecure.plans.lines.registry import DIVISOR
from gridsecure.plans.quantities import FACTOR_QUANTITY, TIER_TOTAL
from gridsecure.plans.recombination import recombine_outputs
from gridsecure.tariffs.tariff import parse_tariff
from tests.grid_simulator import grid_keys
from tests.plans.element_tariffs import (
    BUSINESSES,
    DYNAMIC,
    HOUSEHOLDS,
    rate,
)
from tests.plans.test_elements import check_lines, compiled, prepared

PERIOD = billing_month(2026, 7, timezone="Asia/Shanghai")
SLOTS = 20

Values = dict[str, NDArray[Any]]


def idle(text: str) -> tuple[BillPlan, Values]:
    """The plan and decrypted outputs of meter points that used nothing."""
    contracts = default_contracts([f"m{n}" for n in range(SLOTS)])
    plan = plan_bill(line_rules(parse_tariff(text), PERIOD), contracts=contracts, period=PERIOD)
    zero = np.zeros(SLOTS, dtype=np.int64)
    inputs = {need.quantity: PlainColumn.of(zero) for need in plan.needs}
    return plan, decrypted(plan, inputs)


def decrypted(plan: BillPlan, inputs: Mapping[str, Any]) -> Values:
    """Residues as the vault has them."""
    moduli = {output.name: output.modulus for output in plan.outputs}
    return {
        name: np.array([int(value) % moduli[name] for value in column.values], dtype=object)
        for name, column in run_bill(plan, inputs=inputs).items()
    }


def refused(plan: BillPlan, values: Values) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        recombine_outputs(plan, values=values)
    assert caught.value.reason == "bill.inconsistent"


TARIFFS = {**HOUSEHOLDS, **BUSINESSES, "dynamic": DYNAMIC}
NO_CAPACITY = ("kva-tier", "kva-tier-per-period", "power-factor-demand", "demand")


@pytest.mark.parametrize("name", sorted(set(TARIFFS) - set(NO_CAPACITY)))
def test_no_output_lets_a_residue_through(name: str) -> None:
    """Every single output of every element, where all the others say that nothing was used."""
    plan, values = idle(TARIFFS[name])
    recombine_outputs(plan, values=values)
    residues = np.random.default_rng(5)
    for output in plan.outputs:
        noise = residues.integers(0, output.modulus, SLOTS).astype(object)
        refused(plan, {**values, output.name: noise})


@pytest.mark.parametrize("name", ["pro-rata", "kw-tier-pro-rata"])
def test_one_slot_more_than_the_total_is_refused(name: str) -> None:
    plan, values = idle(TARIFFS[name])
    (first, *_) = [output for output in plan.outputs if output.line == DIVISOR]
    wrong = values[first.name].copy()
    wrong[3] += 1
    refused(plan, {**values, first.name: wrong})


def test_a_sum_over_prices_beyond_the_dearest_is_refused() -> None:
    plan, values = idle(DYNAMIC)
    (energy, *_) = [out for out in plan.outputs if out.quantity_weight]
    (lowest, *_) = [out for out in plan.outputs if out.weight == 1]
    prices = plan.rules[0].prices
    used = values | {energy.name: values[energy.name] + 1}
    for price, fits in ((max(prices), True), (max(prices) + 1, False), (min(prices) - 1, False)):
        # One Wh at one price: all of it in the limb of the lowest weight, if it fits there.
        bits = plan.limb_bits[0]
        parts = [out for out in plan.outputs if out.weight]
        limbs = {
            out.name: values[out.name] + (price >> bits * n & (2**bits - 1))
            for n, out in enumerate(parts)
        }
        if fits:
            assert (recombine_outputs(plan, values=used | limbs).amounts[0] == price).all()
        else:
            refused(plan, used | limbs)
    assert lowest in parts


def forged(column: EncryptedColumn) -> EncryptedColumn:
    """The column plus the secret key itself: one is added to the second polynomial."""
    ring = column.evaluation.ring
    residues = ring.coefficients(column.chunks[0]).copy()
    # BGV keeps ciphertexts in NTT form, where the constant 1 is 1 everywhere.
    for place, prime in enumerate(ring.parameters.primes[: residues.shape[1]]):
        residues[1, place] = (residues[1, place] + 1) % np.uint64(prime)
    return EncryptedColumn(column.evaluation, column.slots, (ring.ciphertext(residues),))


@pytest.mark.parametrize(
    ("name", "quantity"), [("pro-rata", TIER_TOTAL), ("power-factor-farm", FACTOR_QUANTITY)]
)
def test_a_forged_column_of_somebody_who_used_nothing(
    name: str, quantity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero times the key is zero: only the range tells the divisor and the percentage."""
    plan, _ = idle(TARIFFS[name])
    keys = grid_keys().secret
    zero = np.zeros(SLOTS, dtype=np.int64)
    inputs = {
        need.quantity: keys[need.parameters.name].public.encrypt(zero, high=need.high)
        for need in plan.needs
    }
    inputs[quantity] = forged(inputs[quantity])
    values = {
        name: keys[column.evaluation.parameters.name].decrypt(column).astype(object)
        for name, column in run_bill(plan, inputs=inputs).items()
    }
    refused(plan, values)
    for module, check in ((recombination, "_check_range"), (shares, "_check_sums")):
        monkeypatch.setattr(module, check, lambda *_arguments: None)
    lines = recombine_outputs(plan, values=values)
    leaked = lines.energy_wh if quantity == TIER_TOTAL else abs(lines.quantities[-1])
    assert np.median(leaked) > 2**30, "the ranges are what stopped it: these are no energies"


# --- what public facts make zero -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["free-quota", "annual", "annual-pro-rata"])
def test_a_line_that_nobody_has_is_computed_all_the_same(name: str) -> None:
    """No free quota in the roster, or no month of service yet: no column minus itself."""
    tariff, settled, contracts = prepared(TARIFFS[name], quotas=False)
    if name != "free-quota":
        contracts["service_from"] = "2027-01"
    plan, values = compiled(tariff, settled, contracts)
    keys = grid_keys().secret
    inputs = {
        need.quantity: keys[need.parameters.name].public.encrypt(
            values[need.quantity], high=need.high
        )
        for need in plan.needs
    }
    found = {
        name: keys[column.evaluation.parameters.name].decrypt(column)
        for name, column in run_bill(plan, inputs=inputs).items()
    }
    check_lines(plan, found, settled)


def test_energy_is_not_counted_by_tier_and_by_time_at_once() -> None:
    """A component by tier beside prices by period and tier: each tells all of the energy."""
    component = "".join(rate("system-operation", "0.02", tier=n) for n in (1, 2, 3))
    text = HOUSEHOLDS["chronological"] + component
    tariff, settled, contracts = prepared(text, quotas=False)
    plan, values = compiled(tariff, settled, contracts)
    inputs = {need.quantity: PlainColumn.of(values[need.quantity]) for need in plan.needs}
    check_lines(plan, decrypted(plan, inputs), settled)
