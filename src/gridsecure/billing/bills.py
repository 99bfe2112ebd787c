"""Bills: exact line amounts, rounded once, as arrays of integers.

Rounding rule (Chinese retail practice, `half-up`): every line is rounded to the fen, half away
from zero so that a refund is the mirror of its charge; the total is the sum of the rounded lines.
`total_exact` is the sum of the unrounded lines and may differ from the total by some fen. A minimum
line is rounded last, to what the rounded lines lack: a bill of 320 yuan at least is printed as
320.00, whatever the roundings before it.

The encrypted path decrypts exact line amounts and hands them to `bills_from_amounts`, the same
function the plaintext oracle ends in; whatever differs then is the computation, not the rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridsecure.billing.charges import (
    AMOUNT_UNITS_PER_FEN,
    IntegerArray,
    exact_lines,
    find_largest,
)
from gridsecure.billing.contracts import align_contracts
from gridsecure.billing.interval_periods import assign_periods
from gridsecure.billing.rounding import round_half_up
from gridsecure.billing.rules import MINIMUM, LineRule, line_rules, rate_units
from gridsecure.billing.settlement_columns import INT64_MAX
from gridsecure.billing.settlements import check_settlements, settle
from gridsecure.errors import InputError
from gridsecure.month_texts import CALENDAR
from gridsecure.periods import BillingPeriod
from gridsecure.tariffs.tariff import Tariff


@dataclass(frozen=True, slots=True, eq=False)
class Bills:
    """The bills of many meter points for one period and one tariff.

    Arrays of lines have one row per rule and one column per meter point. They are int64, or
    Python integers (dtype object) where int64 could overflow; the choice follows from the values
    alone, so two paths to the same amounts give the same arrays.

    Args:
        rules: What each line is.
        meter_point_ids: One per column.
        quantities: Exact quantities [1e-3 unit].
        amounts: Exact amounts [1e-11 yuan].
        amounts_fen: Rounded amounts [fen].
        totals: Sum of the exact amounts per meter point [1e-11 yuan].
        totals_fen: Sum of the rounded amounts per meter point [fen].
    """

    rules: tuple[LineRule, ...]
    period: BillingPeriod
    meter_point_ids: tuple[str, ...]
    quantities: IntegerArray
    amounts: IntegerArray
    amounts_fen: IntegerArray
    totals: IntegerArray
    totals_fen: IntegerArray


def bills_from_amounts(
    rules: Sequence[LineRule],
    *,
    quantities: IntegerArray,
    amounts: IntegerArray,
    meter_point_ids: Sequence[str],
    period: BillingPeriod,
) -> Bills:
    """Round and total exact line amounts, wherever they were computed.

    Args:
        quantities: Exact quantities [1e-3 unit], one row per rule, one column per meter point.
        amounts: Exact amounts [1e-11 yuan], same shape, integers of any integer dtype.
        meter_point_ids: One per column.

    Raises:
        ValueError: Arrays of another shape, or not of integers.
    """
    shape = (len(rules), len(meter_point_ids))
    for values in (quantities, amounts):
        if values.shape != shape or values.dtype.kind not in "iuO":
            raise ValueError("line arrays are integers, one row per rule, one column per meter")
    exact = _canonical(amounts)
    rounded = _with_minimum(rules, round_half_up(exact), quantities=quantities)
    return Bills(
        rules=tuple(rules),
        period=period,
        meter_point_ids=tuple(meter_point_ids),
        quantities=_canonical(quantities),
        amounts=exact,
        amounts_fen=rounded,
        totals=exact.sum(axis=0),
        totals_fen=rounded.sum(axis=0),
    )


def _with_minimum(
    rules: Sequence[LineRule], rounded: IntegerArray, *, quantities: IntegerArray
) -> IntegerArray:
    """Round a minimum line to what the other rounded lines lack."""
    for line, rule in enumerate(rules):
        if rule.basis == MINIMUM:
            others = [n for n, other in enumerate(rules) if other.basis != MINIMUM]
            wanted = quantities[line].astype(object) * rate_units(rule.rate)
            missing = round_half_up(wanted) - rounded[others].sum(axis=0)
            rounded = rounded.copy()
            rounded[line] = np.where(missing > 0, missing, 0)
    return rounded


def _canonical(values: IntegerArray) -> IntegerArray:
    """Choose int64 when sums over the lines, plus half a fen each, surely fit; else integers."""
    bound = sum(find_largest(row) + AMOUNT_UNITS_PER_FEN for row in values)
    return values.astype(np.int64 if bound <= INT64_MAX else object)


def compute_bills(
    settlements: pd.DataFrame, *, tariff: Tariff, contracts: pd.DataFrame, period: BillingPeriod
) -> Bills:
    """Compute the bills of every meter point settled in a period.

    Args:
        settlements: A settlement frame; rows of other periods are left out.
        tariff: The tariff all of them are billed with.
        contracts: Contracts of at least these meter points.

    Returns:
        Bills in the order of the settlement rows.

    Raises:
        InputError: Settlements that do not add up, a meter point without a contract or with a
            contract for another tariff, or a period outside the tariff's validity.
    """
    rules = line_rules(tariff, period)
    check_settlements(settlements, tou_periods=tariff.tou_periods)
    settled = settlements.loc[settlements["period_start"] == period.start]
    meter_point_ids = settled["meter_point_id"].tolist()
    facts = align_contracts(contracts, meter_point_ids=meter_point_ids)
    # An empty tariff_id leaves the choice of tariff to the caller.
    if not bool(facts["tariff_id"].isin(["", tariff.tariff_id]).all()):
        raise InputError(
            f"A meter point is contracted to another tariff than {tariff.tariff_id!r}.",
            reason="contract.tariff-mismatch",
            remedy="Bill each meter point with the tariff its contract names.",
        )
    quantities, amounts = exact_lines(rules, settlements=settled, contracts=facts, period=period)
    return bills_from_amounts(
        rules,
        quantities=quantities,
        amounts=amounts,
        meter_point_ids=meter_point_ids,
        period=period,
    )


def bill_readings(
    readings: pd.DataFrame,
    *,
    tariff: Tariff,
    contracts: pd.DataFrame,
    interval: pd.Timedelta,
    cycle_day: int = CALENDAR,
) -> tuple[Bills, ...]:
    """Settle readings and compute the bills of every period they touch, in order of time.

    Args:
        cycle_day: Day of the month that billing periods begin on.

    Raises:
        InputError: As `settle` and `compute_bills`.
    """
    settlements = settle(
        readings, tariff=tariff, interval=interval, contracts=contracts, cycle_day=cycle_day
    )
    _, periods = assign_periods(
        readings["start"], interval=interval, timezone=tariff.timezone, cycle_day=cycle_day
    )
    return tuple(
        compute_bills(settlements, tariff=tariff, contracts=contracts, period=period)
        for period in periods
    )
