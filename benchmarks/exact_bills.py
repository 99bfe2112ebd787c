"""The figure that must be zero: bills that differ from the plaintext oracle.

1. encrypt the settlement columns a plan reads under fresh public keys, roster by roster;
2. run the registered bill plan on the ciphertexts;
3. decrypt, recombine the limbs, round: what the vault does;
4. compare with `billing.bills.compute_bills` on the same meter points: quantities, exact amounts,
   fen of every line, exact and rounded totals.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from benchmarks.key_sets import BenchKeys
from benchmarks.random_meters import (
    FOUR_PERIOD,
    PEAK_VALLEY,
    TIERS,
    RandomMeters,
    random_meters,
)
from benchmarks.sizes import BenchSizes
from gridsecure.billing.bills import Bills, bills_from_amounts, compute_bills
from gridsecure.billing.rules import line_rules
from gridsecure.homomorphic.column_files import MAX_SLOTS
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.plans.bills import BillPlan, plan_bill, run_bill
from gridsecure.plans.recombination import recombine_outputs

_TARIFFS = (TIERS, PEAK_VALLEY, FOUR_PERIOD)


def exact_bills(keys: BenchKeys, *, sizes: BenchSizes) -> list[Figure]:
    """Count the bills that differ, over three tariffs."""
    differing = 0
    for number, tariff_id in enumerate(_TARIFFS):
        for start in range(0, sizes.exact_meters, MAX_SLOTS):
            count = min(MAX_SLOTS, sizes.exact_meters - start)
            meters = random_meters(tariff_id, count=count, seed=start + number, quotas=True)
            differing += int(differing_meters(encrypted_bills(meters, keys), oracle(meters)).sum())
    return [
        Figure(
            name="differing_bills",
            title="bills that differ from the plaintext oracle",
            unit="bills",
            value=differing,
            must=0,
            try_for=0,
            comparison="==",
            note=f"{sizes.exact_meters:,} random meters × {len(_TARIFFS)} tariffs, edge values"
            " and household quotas included; exact amounts, fen and totals compared",
        )
    ]


def compile_plan(meters: RandomMeters) -> BillPlan:
    """The bill plan of a roster of these meter points."""
    rules = line_rules(meters.tariff, meters.period)
    return plan_bill(rules, contracts=meters.contracts, period=meters.period)


def encrypted_bills(meters: RandomMeters, keys: BenchKeys) -> Bills:
    """Bills by way of ciphertexts."""
    plan = compile_plan(meters)
    outputs = run_bill(plan, inputs=keys.encrypted(plan.needs, values=meters.values))
    return release_bills(outputs, plan=plan, meters=meters, keys=keys)


def oracle(meters: RandomMeters) -> Bills:
    """The same bills from plaintext."""
    return compute_bills(
        meters.settlements, tariff=meters.tariff, contracts=meters.contracts, period=meters.period
    )


def release_bills(
    outputs: Mapping[str, EncryptedColumn],
    *,
    plan: BillPlan,
    meters: RandomMeters,
    keys: BenchKeys,
) -> Bills:
    """Decrypt, recombine and round, with the lines that depend on the contract alone added."""
    lines = recombine_outputs(plan, values=keys.decrypted(outputs))
    return bills_from_amounts(
        plan.rules,
        quantities=lines.quantities,
        amounts=lines.amounts,
        meter_point_ids=meters.contracts["meter_point_id"].tolist(),
        period=meters.period,
    )


def differing_meters(bills: Bills, expected: Bills) -> NDArray[np.bool_]:
    """Which meter points' bills differ in anything [meter points].

    Raises:
        ValueError: The bills are of other lines, periods or meter points.
    """
    if (bills.rules, bills.period, bills.meter_point_ids) != (
        expected.rules,
        expected.period,
        expected.meter_point_ids,
    ):
        raise ValueError("bills of different lines, periods or meter points cannot be compared")
    differs: NDArray[np.bool_] = (
        (bills.quantities != expected.quantities).any(axis=0)
        | (bills.amounts != expected.amounts).any(axis=0)
        | (bills.amounts_fen != expected.amounts_fen).any(axis=0)
        | (bills.totals != expected.totals)
        | (bills.totals_fen != expected.totals_fen)
    )
    return differs
