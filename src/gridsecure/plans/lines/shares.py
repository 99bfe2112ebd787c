"""Shares: a register's part of a tier, in the ratio of register to total.

Tier part × register limb, relinearised; the vault divides by the total, which is an output of its
own. The tier part is that of all energy, in kWh or by use hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.charges import divide_toward_zero
from gridsecure.billing.rules import SHARE, TIER_PART, LineRule
from gridsecure.billing.table_rows import TableRows
from gridsecure.periods import BillingPeriod
from gridsecure.plans.circuit import Circuit
from gridsecure.plans.lines import hours, tiers
from gridsecure.plans.lines.kind import (
    PRODUCT_LIMBS,
    Decrypted,
    LineKind,
    Method,
    Numbers,
    Part,
    Reads,
    Rules,
    Values,
    inconsistent,
    weigh_limbs,
)
from gridsecure.plans.quantities import (
    LIMB_BITS,
    MAX_TIER_WH,
    TIER_TOTAL,
    TOTAL_QUANTITY,
    register_quantity,
)


def _tier_of(rule: LineRule) -> tuple[LineKind, LineRule]:
    """The tier of all energy that a share is one of, and its kind."""
    tier = replace(rule, basis=TIER_PART, tou_period=None)
    return hours.KIND if hours.KIND.takes(tier) else tiers.KIND, tier


def _is_in_limbs(rule: LineRule) -> bool:
    kind, tier = _tier_of(rule)
    return kind.is_limbed(tier)


def _describe(rule: LineRule, rules: Rules) -> Method:
    kind, tier = _tier_of(rule)
    part = kind.describe(tier, rules)
    how = "tier part × limbs of the register, divided by the total after decryption; the part: "
    return Method(PRODUCT_LIMBS, how + part.how, depth=part.depth + 1)


def _read(rule: LineRule, rules: Rules) -> Reads:
    kind, tier = _tier_of(rule)
    reads = kind.read(tier, rules)
    return replace(
        reads,
        whole={} if kind.is_limbed(tier) else {TIER_TOTAL: MAX_TIER_WH},
        limbed=(*reads.limbed, register_quantity(rule.tou_period or "")),
    )


def _settle(rule: LineRule, settled: TableRows) -> Values:
    kind, tier = _tier_of(rule)
    return kind.settle(tier, settled)


def _split(circuit: Circuit[Any], rule: LineRule, limb_bits: int) -> list[Part[Any]]:
    kind, tier = _tier_of(rule)
    parts = kind.split(circuit, tier, limb_bits) if kind.split else []
    limbs = circuit.limbs(register_quantity(rule.tou_period or ""))
    if len(parts) == 1:
        # A register under limits in kWh is no larger than the largest household's total.
        limbs = limbs[: -(-MAX_TIER_WH.bit_length() // LIMB_BITS)]
    found: list[Part[Any]] = []
    for part in parts:
        for place, limb in enumerate(limbs):
            weight = part.amount_weight * 2 ** (LIMB_BITS * place)
            product = part.column.times(limb.switch_down(part.column.primes)).relinearise()
            found.append(Part(product, weight, weight))
    return found


def _divide_by(circuit: Circuit[Any], rule: LineRule) -> list[Part[Any]]:
    if _is_in_limbs(rule):
        return weigh_limbs(circuit.limbs(TOTAL_QUANTITY))
    return [Part(circuit.inputs[TIER_TOTAL], 0, 1)]


def _limits_wh(
    rule: LineRule, contracts: TableRows, period: BillingPeriod
) -> NDArray[np.int64] | None:
    kind, tier = _tier_of(rule)
    return kind.limits_wh(tier, contracts, period)


def _bound_wh(rule: LineRule) -> int | None:
    kind, tier = _tier_of(rule)
    return kind.bound_wh(tier)


def _finish(decrypted: Decrypted, lines: Sequence[int]) -> None:
    _check_sums(decrypted, lines)
    for line in lines:
        decrypted.quantities[line] = divide_toward_zero(
            decrypted.quantities[line], decrypted.divisor
        )
        decrypted.amounts[line] = divide_toward_zero(decrypted.amounts[line], decrypted.divisor)


def _check_sums(decrypted: Decrypted, lines: Sequence[int]) -> None:
    """The shares of a charge are all of the energy: register × tier part adds up to total²."""
    total = decrypted.divisor
    sums: dict[str, Numbers] = {}
    for line in lines:
        charge = decrypted.rules[line].charge
        sums[charge] = sums.get(charge, 0) + decrypted.quantities[line]
    for added in sums.values():
        if (added != total * total).any():
            raise inconsistent("The shares of a charge do not add up to the total.")


KIND: Final = LineKind(
    takes=lambda rule: rule.basis == SHARE,
    describe=_describe,
    read=_read,
    settle=_settle,
    split=_split,
    multiplies_columns=True,
    divide_by=_divide_by,
    limits_wh=_limits_wh,
    bound_wh=_bound_wh,
    finish=_finish,
    afterwards=lambda _rule: "divide register × tier part by the total, cut at 1e-11",
)
