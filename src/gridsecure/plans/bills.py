"""The bill plan: every line of a tariff, exactly, on encrypted columns.

Which columns a line reads, by the basis of its rule:

| basis     | quantity                                        | parameter set |
|-----------|-------------------------------------------------|---------------|
| register  | the register's energy                           | REGISTER      |
| total     | the total energy                                | REGISTER      |
| tier-part | excess over the lower minus over the upper limit| TIER          |
| contract  | nothing encrypted: kVA or months are public     | –             |

The amount is quantity × rate. A rate is an integer in 1e-8 yuan; where quantity × rate could reach
the plain modulus, the rate is split into limbs (base 2**b) and each limb gives one output column,
which the vault recombines exactly. A line with rate zero outputs its quantity with weight zero.

`plan_bill` decides all that from public facts and proves range and noise on `PlannedColumn`s;
`run_bill` then does the same arithmetic on whatever columns it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.charges import (
    CONTRACT,
    TIER_PART,
    LineRule,
    rate_units,
    tier_limits_wh,
)
from gridsecure.billing.charges import REGISTER as REGISTER_BASIS
from gridsecure.crypto.columns import Column
from gridsecure.crypto.parameters import REGISTER, TIER, Parameters
from gridsecure.crypto.planning import MARGIN_BITS, PlannedColumn
from gridsecure.crypto.thresholds import (
    BASE,
    DIGITS,
    WH_PER_KWH,
    excess,
    needed_digits,
)
from gridsecure.errors import InvalidTariffError, OutOfRangeError

BILL_PLAN_VERSION: Final = 1
TOTAL_QUANTITY: Final = "total"
TIER_TOTAL: Final = "tier:total"
MAX_REGISTER_WH: Final = 2**31 - 1
"""2.1 GWh a month in one register; larger customers are metered in several."""
MAX_TIER_WH: Final = 2**23 - 1
"""8,388 kWh a month: the largest household a tier bill takes."""
_MIN_LIMB_BITS: Final = 6


def register_quantity(tou_period: str) -> str:
    """Name of a register's column."""
    return f"register:{tou_period}"


def digit_quantity(digit: int, step: int) -> str:
    """Name of the column [digit >= step] of the total's whole kWh."""
    return f"tier:digit:{digit}:{step}"


Limits = tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]
"""Lower and upper tier limit of every slot [kWh]; None where nothing limits."""


@dataclass(frozen=True, slots=True)
class ColumnNeed:
    """A column a plan reads: its quantity, set and largest value."""

    quantity: str
    parameters: Parameters
    high: int


@dataclass(frozen=True, slots=True)
class LineOutput:
    """One output column: `quantity × factor`, which counts `weight` times in the line's amount."""

    line: int
    limb: int
    factor: int
    weight: int

    @property
    def name(self) -> str:
        """Name of the output column."""
        return f"line:{self.line}:{self.limb}"


@dataclass(frozen=True, slots=True, eq=False)
class BillPlan:
    """A tariff on one roster, compiled.

    Args:
        rules: The bill lines.
        limits_kwh: Per line, the lower and upper tier limit [slots] in kWh, or None.
        needs: The columns to load.
        outputs: The columns produced, in order.
        margin_bits: The smallest noise margin of any output, in bits.
    """

    rules: tuple[LineRule, ...]
    limits_kwh: tuple[Limits, ...]
    needs: tuple[ColumnNeed, ...]
    outputs: tuple[LineOutput, ...]
    margin_bits: float


def published_needs(tou_periods: Sequence[str], *, tiered: bool) -> tuple[ColumnNeed, ...]:
    """Every settlement column a gateway encrypts for a tariff: registers, and all tier digits.

    The digits do not depend on the tariff's limits, which may change after encryption.
    """
    needs = [ColumnNeed(TOTAL_QUANTITY, REGISTER, MAX_REGISTER_WH)]
    needs += [ColumnNeed(register_quantity(p), REGISTER, MAX_REGISTER_WH) for p in tou_periods]
    if tiered:
        needs.append(ColumnNeed(TIER_TOTAL, TIER, MAX_TIER_WH))
        needs += [
            ColumnNeed(digit_quantity(digit, step), TIER, 1)
            for digit in range(DIGITS)
            for step in range(1, BASE)
        ]
    return tuple(needs)


def plan_bill(rules: Sequence[LineRule], *, contracts: pd.DataFrame) -> BillPlan:
    """Compile bill lines for the meter points of a roster and prove the plan.

    Args:
        rules: From `billing.charges.line_rules`.
        contracts: Contract rows in slot order.

    Raises:
        InvalidTariffError: A tier limit that is not whole kWh (`plan.limit`).
        OutOfRangeError: An amount that no split of the rate keeps in range.
        DepthExceededError: A noise bound that does not fit.
    """
    limits = tuple(_limits(rule, contracts) for rule in rules)
    needs = {
        need.quantity: need
        for rule, pair in zip(rules, limits, strict=True)
        for need in _needs(rule, pair)
    }
    planned = {
        name: PlannedColumn.fresh(need.parameters, high=need.high) for name, need in needs.items()
    }
    outputs: list[LineOutput] = []
    margin = float("inf")
    for line, quantity in line_quantities(rules, limits=limits, inputs=planned).items():
        for output in _split(rules[line], line=line, quantity=quantity):
            result = quantity.scaled(output.factor)
            result.check(what=f"Line {line + 1} ({rules[line].charge})")
            margin = min(margin, result.margin)
            outputs.append(output)
    return BillPlan(tuple(rules), limits, tuple(needs.values()), tuple(outputs), margin)


def run_bill(plan: BillPlan, *, inputs: Mapping[str, Column]) -> dict[str, Column]:
    """Run a compiled plan on encrypted or plain columns.

    Returns:
        Output name -> column, in the plan's order.
    """
    quantities = line_quantities(plan.rules, limits=plan.limits_kwh, inputs=inputs)
    return {out.name: quantities[out.line].scaled(out.factor) for out in plan.outputs}


def line_quantities(
    rules: Sequence[LineRule],
    *,
    limits: Sequence[Limits],
    inputs: Mapping[str, Column],
) -> dict[int, Column]:
    """The quantity column of every line that has one; equal tier limits are computed once."""
    found: dict[int, Column] = {}
    above: dict[bytes, Column] = {}
    for line, (rule, (lower, upper)) in enumerate(zip(rules, limits, strict=True)):
        if rule.basis == REGISTER_BASIS and rule.tou_period is not None:
            found[line] = inputs[register_quantity(rule.tou_period)]
        elif rule.basis == TIER_PART:
            part = _above(lower, inputs, above)
            found[line] = part if upper is None else part.minus(_above(upper, inputs, above))
            found[line] = found[line].within(0, MAX_TIER_WH)
        elif rule.basis != CONTRACT:
            found[line] = inputs[TOTAL_QUANTITY]
    return found


def recombined(
    plan: BillPlan, *, values: Mapping[str, NDArray[np.uint64]], slots: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Exact quantities and amounts of the encrypted lines from decrypted output columns.

    Every limb of a line must tell the same quantity; that catches a wrong key, a damaged column or
    a failed decryption before it becomes money.

    Returns:
        Quantities [1e-3 unit] and amounts [1e-11 yuan], one row a line, object integers; rows of
        `contract` lines are zero.

    Raises:
        OutOfRangeError: The limbs of a line disagree (`bill.inconsistent`).
    """
    quantities = np.zeros((len(plan.rules), slots), dtype=object)
    amounts = np.zeros((len(plan.rules), slots), dtype=object)
    seen: set[int] = set()
    for output in plan.outputs:
        decrypted = values[output.name].astype(object)
        quantity = decrypted // output.factor
        first = output.line not in seen
        if (quantity * output.factor != decrypted).any() or (
            not first and (quantity != quantities[output.line]).any()
        ):
            raise OutOfRangeError(
                "A decrypted bill line does not divide by its rate.",
                reason="bill.inconsistent",
                remedy="Do not release; check the keys and run the plan again.",
            )
        seen.add(output.line)
        quantities[output.line] = quantity
        amounts[output.line] += decrypted * output.weight
    return quantities, amounts


def _above(
    limit: NDArray[np.int64] | None, inputs: Mapping[str, Column], known: dict[bytes, Column]
) -> Column:
    """Energy above a limit [kWh, slots]; None is the limit nothing lies under."""
    thresholds = np.zeros(1, dtype=np.int64) if limit is None else limit
    key = thresholds.tobytes()
    if key not in known:
        digits = {
            place: inputs[digit_quantity(*place)] for place in sorted(needed_digits(thresholds))
        }
        known[key] = excess(
            inputs[TIER_TOTAL], high=MAX_TIER_WH, digits=digits, thresholds_kwh=thresholds
        )
    return known[key]


def _limits(rule: LineRule, contracts: pd.DataFrame) -> Limits:
    if rule.basis != TIER_PART:
        return None, None
    lower, upper = tier_limits_wh(rule, contracts)
    if rule.lower_kwh == 0:
        return None, (None if rule.upper_kwh is None else _whole_kwh(upper))
    return _whole_kwh(lower), (None if rule.upper_kwh is None else _whole_kwh(upper))


def _whole_kwh(limits_wh: NDArray[np.int64]) -> NDArray[np.int64]:
    if (limits_wh % WH_PER_KWH).any():
        raise InvalidTariffError(
            "A tier limit or household quota is not a whole number of kWh.",
            reason="plan.limit",
            remedy="Encrypted tiers compare whole kWh; state the limit in whole kWh.",
        )
    return limits_wh // WH_PER_KWH


def _needs(rule: LineRule, limits: Limits) -> list[ColumnNeed]:
    if rule.basis == REGISTER_BASIS and rule.tou_period is not None:
        return [ColumnNeed(register_quantity(rule.tou_period), REGISTER, MAX_REGISTER_WH)]
    if rule.basis == TIER_PART:
        places = {
            place
            for limit in limits
            for place in (needed_digits(limit) if limit is not None else ())
        }
        digits = [ColumnNeed(digit_quantity(*place), TIER, 1) for place in sorted(places)]
        return [ColumnNeed(TIER_TOTAL, TIER, MAX_TIER_WH), *digits]
    if rule.basis == CONTRACT:
        return []
    return [ColumnNeed(TOTAL_QUANTITY, REGISTER, MAX_REGISTER_WH)]


def _split(rule: LineRule, *, line: int, quantity: PlannedColumn) -> list[LineOutput]:
    """Limbs of a rate that keep quantity × limb below the plain modulus and the noise in bounds."""
    units = rate_units(rule.rate)
    room = (quantity.parameters.plain_modulus - 1) // max(quantity.high, 1)
    bits = min(room.bit_length() - 1, int(quantity.margin - MARGIN_BITS))
    if bits < _MIN_LIMB_BITS:
        raise OutOfRangeError(f"Line {line + 1} ({rule.charge}) leaves no room for its rate.")
    if units == 0:
        return [LineOutput(line, 0, factor=1, weight=0)]
    sign, rest, limbs = (1 if units > 0 else -1), abs(units), []
    for limb in range(-(-rest.bit_length() // bits)):
        factor = rest >> (limb * bits) & ((1 << bits) - 1)
        if factor:
            limbs.append(LineOutput(line, limb, factor=factor, weight=sign << (limb * bits)))
    return limbs
