"""`gridsecure tariff check`: whether a tariff file can be billed, every month, on ciphertext.

1. The file is read and its rows are checked against each other.
2. The lines of each of the first twelve months of its validity are compiled.
3. The encrypted plan of each month is compiled and proved for a sample of contracts.

What is refused is told by row and reason; figures that nobody confirmed are told as warnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import MINIMUM, POWER_FACTOR, LineRule, line_rules
from gridsecure.errors import GridSecureError
from gridsecure.periods import BillingPeriod
from gridsecure.plans.bills import plan_bill
from gridsecure.plans.steps import circuit_rules
from gridsecure.tariffs.calendar import whole_months
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.sources import UNCONFIRMED
from gridsecure.tariffs.tariff import Tariff, load_tariff

MOST_MONTHS: Final = 12


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a tariff cannot be billed.

    Args:
        reason: Stable dotted code.
        message: What is wrong, beginning with the row where one is to blame.
        months: The months it stands in the way of, as YYYY-MM; empty when of all.
    """

    reason: str
    message: str
    months: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in one file.

    Args:
        tariff: The tariff, or None when the file could not be read as one.
        problems: What stands in the way of bills.
        warnings: What does not, and should be known.
    """

    tariff: Tariff | None
    months: int
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


def check_tariff(path: Path) -> Checked:
    """Check one file; nothing is raised for what is wrong with it."""
    # 1. rows
    try:
        tariff = load_tariff(path)
    except GridSecureError as error:
        return Checked(None, 0, (Problem(error.reason, error.message),), ())
    periods = whole_months(tariff, most=MOST_MONTHS)
    if not periods:
        problem = Problem("tariff.validity", "header: the validity holds no whole month.")
        return Checked(tariff, 0, (problem,), _warnings(tariff))
    # 2. and 3. lines and plans; months that compile to the same lines have the same plan
    found: dict[tuple[str, str], list[str]] = {}
    planned: dict[tuple[object, ...], list[tuple[str, str]]] = {}
    for period in periods:
        for key in _month_problems(tariff, period, planned):
            found.setdefault(key, []).append(f"{period.start:%Y-%m}")
    problems = tuple(
        Problem(reason, message, () if len(months) == len(periods) else tuple(months))
        for (reason, message), months in found.items()
    )
    return Checked(tariff, len(periods), problems, _warnings(tariff))


def sample_contracts(period: BillingPeriod) -> pd.DataFrame:
    """Contracts that a tariff meets: with and without quotas, of several sizes, one just begun."""
    number = np.arange(4)
    return default_contracts([f"sample-{n}" for n in number]).assign(
        service_from=["", "", "", f"{period.start:%Y-%m}"],
        household_quota_wh=100_000 * (number % 2),
        free_quota_wh=15_000 * (number % 2),
        contracted_va=np.array([8_000, 100_000, 315_000, 3_000_000]),
    )


def _month_problems(
    tariff: Tariff, period: BillingPeriod, planned: dict[tuple[object, ...], list[tuple[str, str]]]
) -> list[tuple[str, str]]:
    """Reason and message of everything that stands in the way of one month."""
    try:
        rules = line_rules(tariff, period)
    except GridSecureError as error:
        return [(error.reason, error.message)]
    key = (rules, period.days, period.start.month if tariff.tier_reset == YEAR else 0)
    if key not in planned:
        planned[key] = _plan_problems(tariff, rules, period)
    return planned[key]


def _plan_problems(
    tariff: Tariff, rules: Sequence[LineRule], period: BillingPeriod
) -> list[tuple[str, str]]:
    contracts = sample_contracts(period)
    try:
        plan_bill(_counted(rules, contracts, period), contracts=contracts, period=period)
    except GridSecureError as whole:
        found = []
        for rule in rules:
            if rule.basis in (POWER_FACTOR, MINIMUM):
                continue  # they are about other lines and cannot be planned alone
            try:
                plan_bill(_counted([rule], contracts, period), contracts=contracts, period=period)
            except GridSecureError as error:
                row = _row_of(rule, tariff, month=period.start.month)
                found.append((error.reason, f"{row}: {_without_line(error.message)}"))
        row = "power_factor: " if tariff.power_factor else ""
        return found or [(whole.reason, f"{row}{whole.message}")]
    return []


def _counted(
    rules: Sequence[LineRule], contracts: pd.DataFrame, period: BillingPeriod
) -> tuple[LineRule, ...]:
    """The lines with the steps that a roster of these contracts counts their tiers in."""
    return circuit_rules(rules, contracts=contracts, period=period, large=False)


def _row_of(rule: LineRule, tariff: Tariff, *, month: int) -> str:
    """The row of the tariff file that a line was compiled from."""
    scope = (rule.tou_period, rule.tier)
    rows = (
        rate.row
        for rate in tariff.rates
        if rule.charge in (rate.charge, f"{rate.charge}-ratchet")
        and (rate.tou_period, rate.tier) == scope
        and month in rate.months
    )
    return next(rows, "dynamic")


def _without_line(message: str) -> str:
    """A message without the line's number, which the row says better."""
    _, mark, rest = message.partition(") ")
    return f"the rate {rest}" if message.startswith("Line ") and mark else message


def _warnings(tariff: Tariff) -> tuple[str, ...]:
    doubted = {s.source_id: s.title for s in tariff.sources if s.confidence == UNCONFIRMED}
    rows: dict[str, list[str]] = {}
    for row, source in tariff.named_sources:
        if source in doubted:
            rows.setdefault(source, []).append(row)
    warnings = [f"UNCONFIRMED {', '.join(named)}: {doubted[id_]}" for id_, named in rows.items()]
    listed = {day.day_type for day in tariff.days}
    warnings += [
        f"day type {day_type!r} has windows of its own and no date in [[days]]"
        for day_type in tariff.day_types[2:]
        if day_type not in listed
    ]
    return tuple(warnings)
