"""Admission: which meter points are billed this month, and why the others are not.

Invariant: every meter point of the contracts or of the files is either billed or excluded with one
reason, the first that applies in the order of `REASONS`. What cannot be encrypted within
its column's public bound, or would make the plan of a whole roster fail, is left out here, by name,
so that one customer cannot stop the bills of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.calendars import find_straddling
from gridsecure.billing.charges import KINDS, Need, list_needs
from gridsecure.billing.limits import OPEN_LIMIT_WH, counts_hours
from gridsecure.billing.measures import find_across_prices
from gridsecure.billing.part_months import (
    UNHELD_COLUMN,
    counts_days,
    divides_limits,
    is_divisible,
)
from gridsecure.billing.readings import DAY_MINUTES
from gridsecure.billing.register_hours import Span, prices_apart
from gridsecure.billing.rules import (
    LineRule,
    interval_length,
    line_rules,
)
from gridsecure.billing.validation import LEFT_OUT
from gridsecure.errors import InputError
from gridsecure.gateway.books.months import CHANGED, TWICE, Window
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.private_files import write_private
from gridsecure.homomorphic.thresholds import MONTH_DIGITS, WH_PER_KWH, YEAR_DIGITS
from gridsecure.identity_messages import Facts
from gridsecure.periods import BillingPeriod
from gridsecure.plans.needs import largest_total_wh
from gridsecure.plans.quantities import MAX_REGISTER_WH, MAX_YEAR_WH, interval_bound_wh
from gridsecure.plans.steps import MOST_STEPS
from gridsecure.tariffs.consistency import MONTH, YEAR
from gridsecure.tariffs.tariff import Tariff

Mask = NDArray[np.bool_]

REASONS: Final = {
    "no-contract": "it has readings but no contract",
    "no-readings": "it has a contract but no readings",
    CHANGED: "its contract changes within the month",
    TWICE: "its account moved out of it and in again within the month",
    "two-intervals": "it has readings of two interval lengths for the same time",
    "net-metered": "it has readings below zero; energy fed in goes to export_kwh",
    "quarantined": "too few of its readings passed validation",
    "held": "a validation rule holds its bill until somebody has looked at its readings",
    "tariff-unknown": "no tariff file carries its contract's tariff id",
    "part-month": "its account holds it for a part of the month, and its tariff has a charge that"
    " no rule divides",
    "tariff-not-valid": "its tariff, or the tariff's price series, does not cover the month",
    "cycle-month": "its billing period lies in two months that its tariff prices apart, and the"
    " tariff does not say which counts",
    "register-missing": "its tariff bills reactive energy or feed-in, and its readings have none",
    "register-hours": "its energy is told by registers of its meter's own hours, and its tariff"
    " prices hours of one register apart, or has a charge that needs intervals",
    "interval-length": "an interval of its readings, or a day of which only the whole is known,"
    " spans two prices of its tariff, or is too long for its demand",
    "year-to-date": "its tariff counts energy over the year, and an earlier month of that"
    " year was not processed here",
    "tier-limit": "a tier limit with its household quota, or its free quota, is not whole kWh, or"
    " too large, or kWh count per kVA where the contract has none",
    "tier-energy": "its energy is above the most that a tier bill can count",
    "register-energy": "its energy is above the most that one register can count",
    "interval-energy": "an interval's energy is above the bound of its customer class",
    "books.tariff": "corrected books give it another tariff than the roster that it was billed in",
    "books.large": "corrected books count its tiers otherwise than the roster that it was billed"
    " in",
    "books.zone": "its contract file and the utility's books put it into different zones",
    "books.class": "its contract file and the utility's books give it different customer classes",
    "identity.unknown-account": "the utility's books do not have it under this gateway",
    "identity.other-days": "the utility's books give its meter point to another gateway, or not to"
    " this one, on a day that this one holds it",
    "identity.revoked": "its pseudonym was revoked",
    "identity.cloned": "another agent registered its pseudonym, and the alarm was raised",
    "identity.other-key": "the identity authority knows it under another secret than its agent's",
    "identity.refused": "the identity authority refused it",
}
"""Reason code -> what it says about a meter point; in order of precedence."""

_BY_TARIFF: Final = (
    *("tariff-not-valid", "cycle-month", "tier-limit", "tier-energy", "part-month"),
    *("register-missing", "year-to-date", "interval-length"),
)

_NOT_VALID: Final = {
    "tariff.not-valid": "tariff-not-valid",
    "tariff.dynamic-range": "tariff-not-valid",
    "tariff.cycle-month": "cycle-month",
}
"""Why a tariff has no lines for a period -> the reason a meter point is left out for."""


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """Who is billed and who is not.

    Args:
        billed: Contract rows of the meter points to bill.
        excluded: `meter_point_id` and `reason` of the others, sorted by meter point.
    """

    billed: pd.DataFrame
    excluded: pd.DataFrame

    def counts(self) -> dict[str, int]:
        """Excluded meter points by reason, in the order of `REASONS`."""
        found = Counter(self.excluded["reason"])
        return {reason: found[reason] for reason in REASONS if found[reason]}

    def leave_out(self, refused: Mapping[str, str]) -> Admission:
        """The decision after the identity authority's: those it refused are not billed either.

        Args:
            refused: Meter point -> reason, of `REASONS`.
        """
        named = self.billed["meter_point_id"].map(refused)
        left_out = self.billed.loc[named.notna(), ["meter_point_id"]].assign(reason=named.dropna())
        excluded = pd.concat([self.excluded, left_out]).sort_values("meter_point_id")
        return Admission(
            billed=self.billed.loc[named.isna()].reset_index(drop=True),
            excluded=excluded.reset_index(drop=True),
        )


@dataclass(frozen=True, slots=True)
class SeenMeters:
    """Meter points the files had readings of.

    Args:
        all: Every one of them, whatever became of its readings.
        left_out: Those that validation set aside whole -> its rule.
        held: Those whose bill it holds -> its rule.
        parts: Those that are billed for a part of the month.
        objections: Those whose bill the books hold -> why.
        by_register: Those of which energies of registers count -> which hours the registers count.
    """

    all: Collection[str]
    left_out: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    parts: Collection[str] = ()
    objections: Mapping[str, str] = field(default_factory=dict)
    by_register: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)


def admit(
    energies: IntervalEnergies | None,
    *,
    seen: SeenMeters,
    contracts: pd.DataFrame,
    tariffs: Mapping[str, Tariff],
    period: BillingPeriod,
) -> Admission:
    """Decide which meter points are billed.

    Args:
        energies: Energies of the meter points whose readings are complete; None when none is.
        contracts: Contract frame.
        tariffs: Tariffs by tariff id.
    """
    names = pd.Index(contracts["meter_point_id"], dtype=str)
    seen_all = pd.Index(sorted(seen.all), dtype=str)
    objections = {
        "no-readings": ~names.isin(seen_all),
        **{
            rule: names.isin([name for name, own in seen.left_out.items() if own == rule])
            for rule in LEFT_OUT
        },
        "tariff-unknown": ~contracts["tariff_id"].isin(list(tariffs)).to_numpy(),
    }
    rows = np.full(len(names), -1, dtype=np.intp)
    if energies is not None:
        rows = energies.meter_point_ids.get_indexer(names)
        objections |= _energy_objections(energies, rows=rows, contracts=contracts)
    objections["quarantined"] = rows < 0
    objections["held"] = names.isin(list(seen.held))
    for reason in (CHANGED, TWICE):
        own = [name for name, found in seen.objections.items() if found == reason]
        objections[reason] = names.isin(own)
    for name, mask in _tariff_objections(contracts, tariffs, energies, rows, period).items():
        objections[name] = mask
    objections["register-hours"] = _by_register(contracts, tariffs, seen.by_register, period)
    objections["part-month"] &= names.isin(list(seen.parts))
    reasons = np.full(len(names), "", dtype=object)
    for reason in REASONS:
        hit = objections.get(reason, np.zeros(len(names), dtype=bool)) & (reasons == "")
        reasons[hit] = reason
    return _admission(contracts, reasons=reasons, strangers=seen_all.difference(names))


def contradict_books(
    contracts: pd.DataFrame, *, facts: Mapping[str, Facts], energies: IntervalEnergies
) -> dict[str, str]:
    """Meter points whose contract says otherwise than the utility's books, and in what.

    What a contract leaves empty it does not contradict. The books' customer class then bounds the
    energy of an interval, which was admitted under that of no class.

    Args:
        contracts: Contract rows of meter points that are registered.
        facts: Meter point -> what the identity authority certified.
        energies: Energies of at least these.

    Returns:
        Meter point -> reason, of `REASONS`.
    """
    names = contracts["meter_point_id"]
    rows = energies.meter_point_ids.get_indexer(pd.Index(names))
    peaks = energies.on_grid(energies.grid).energy_wh.max(axis=1)[rows]
    found: dict[str, str] = {}
    both = zip(names, contracts["zone"], contracts["customer_class"], peaks, strict=True)
    for name, zone, customer_class, peak in both:
        own = facts[name]
        if zone and zone != own.zone:
            found[name] = "books.zone"
        elif customer_class and customer_class != own.customer_class:
            found[name] = "books.class"
        elif peak > interval_bound_wh(own.customer_class):
            found[name] = "interval-energy"
    return found


def _admission(
    contracts: pd.DataFrame, *, reasons: NDArray[np.object_], strangers: pd.Index[str]
) -> Admission:
    left_out = reasons != ""
    excluded = pd.DataFrame(
        {
            "meter_point_id": [*contracts.loc[left_out, "meter_point_id"], *strangers],
            "reason": [*reasons[left_out], *["no-contract"] * len(strangers)],
        },
        dtype=str,
    )
    return Admission(
        billed=contracts.loc[~left_out].reset_index(drop=True),
        excluded=excluded.sort_values("meter_point_id", ignore_index=True),
    )


def _energy_objections(
    energies: IntervalEnergies, *, rows: NDArray[np.intp], contracts: pd.DataFrame
) -> dict[str, Mask]:
    """Objections that hold under any tariff; rows of -1 object to nothing here."""
    present = rows >= 0
    # What is encrypted is the energy of an interval of the load curve's grid.
    peaks = np.where(present, energies.on_grid(energies.grid).energy_wh.max(axis=1)[rows], 0)
    totals = np.where(present, energies.totals_wh[rows], 0)
    bounds = contracts["customer_class"].map(interval_bound_wh).to_numpy(np.int64)
    return {"interval-energy": peaks > bounds, "register-energy": totals > MAX_REGISTER_WH}


def _tariff_objections(
    contracts: pd.DataFrame,
    tariffs: Mapping[str, Tariff],
    energies: IntervalEnergies | None,
    rows: NDArray[np.intp],
    period: BillingPeriod,
) -> dict[str, Mask]:
    masks = {reason: np.zeros(len(contracts), dtype=bool) for reason in _BY_TARIFF}
    none = np.zeros(len(contracts), dtype=np.int64)
    totals = none if energies is None else np.where(rows >= 0, energies.totals_wh[rows], 0)
    for tariff_id in set(contracts["tariff_id"]) & set(tariffs):
        own = (contracts["tariff_id"] == tariff_id).to_numpy()
        tariff = tariffs[tariff_id]
        try:
            rules = line_rules(tariff, period)
        except InputError as error:
            if error.reason not in _NOT_VALID:
                raise
            masks[_NOT_VALID[error.reason]] |= own
            continue
        masks["part-month"] |= own & _undivided(rules, contracts)
        if energies is not None:
            masks["register-missing"] |= own & _without_register(rules, energies, rows)
            across = _across_prices(tariff, energies, rows, cycle_day=period.start.day)
            masks["interval-length"] |= own & (across | _without_demand(rules, energies, rows))
            if tariff.tier_reset == YEAR:
                masks["year-to-date"] |= own & _lacks(energies.year_before_wh, rows)
                masks["tier-energy"] |= own & _beyond_a_year(energies, rows)
        by_year = tariff.tier_reset == YEAR  # whose columns have one size for everybody
        household = own & (by_year | (contracts["large"] != "yes").to_numpy())
        largest = largest_total_wh(rules)
        if largest < MAX_REGISTER_WH:
            masks["tier-energy"] |= household & (totals > largest)
        masks["tier-limit"] |= own & _bad_limits(rules, contracts, period)
    return masks


def _undivided(rules: tuple[LineRule, ...], contracts: pd.DataFrame) -> Mask:
    """Whose bill has a line that no rule divides.

    Limits by days are counted in whole kWh: of steps there would be too many in a roster.
    """
    if not all(is_divisible(rule, rules) for rule in rules):
        return np.ones(len(contracts), dtype=bool)
    divided = [rule for rule in rules if divides_limits(rule)]
    if not divided:
        return np.zeros(len(contracts), dtype=bool)
    limits = [limit for rule in divided for limit in (rule.lower, rule.upper or 0)]
    by_steps = any(limit % 1 or limit > MONTH_DIGITS.highest_threshold for limit in limits)
    return (contracts["large"] == "yes").to_numpy(bool) | by_steps


def count_unheld_days(
    contracts: pd.DataFrame,
    parts: Mapping[str, Window],
    *,
    withdrawn: Collection[str],
    tariffs: Mapping[str, Tariff],
    period: BillingPeriod,
) -> pd.DataFrame:
    """Contracts with the days of the period on which each is not held, if its bill depends on them.

    Else nobody but the gateway learns that somebody moved.

    Args:
        parts: The time of those who have a part of the period.
        withdrawn: Those who have nothing of it.
    """
    left = {
        name: period.days - (end.date() - begin.date()).days for name, (begin, end) in parts.items()
    }
    left |= dict.fromkeys(withdrawn, period.days)
    counting = {name for name, tariff in tariffs.items() if _counts_days(tariff, period)}
    unheld = contracts["meter_point_id"].map(left).fillna(0).astype(np.int64)
    return contracts.assign(
        **{UNHELD_COLUMN: unheld.where(contracts["tariff_id"].isin(counting), 0)}
    )


def _counts_days(tariff: Tariff, period: BillingPeriod) -> bool:
    try:
        return counts_days(line_rules(tariff, period))
    except InputError as error:
        if error.reason not in _NOT_VALID:
            raise
        return False


def _without_register(
    rules: tuple[LineRule, ...], energies: IntervalEnergies, rows: NDArray[np.intp]
) -> Mask:
    needs = list_needs(rules)
    missing = np.zeros(len(rows), dtype=bool)
    if Need.REACTIVE in needs:
        missing |= _lacks(energies.reactive_varh, rows)
    if Need.EXPORT in needs:
        missing |= _lacks(energies.export_wh, rows)
    return missing


def _across_prices(
    tariff: Tariff, energies: IntervalEnergies, rows: NDArray[np.intp], *, cycle_day: int
) -> Mask:
    """Meter points with an interval whose parts the tariff prices apart: nobody can divide it."""
    across = np.zeros(len(energies.meter_point_ids), dtype=bool)
    lengths = np.broadcast_to(energies.lengths, energies.energy_wh.shape)
    for minutes in np.unique(energies.lengths[energies.lengths > 0]):
        straddles = find_straddling(
            energies.starts, minutes=int(minutes), tariff=tariff, cycle_day=cycle_day
        )
        across |= (lengths[:, straddles] == minutes).any(axis=1)
    price = interval_length(tariff)
    if price is not None:
        across |= find_across_prices(energies.starts, lengths, pd.Timedelta(price)).any(axis=1)
    found: Mask = (rows >= 0) & across[rows]
    return found


def _by_register(
    contracts: pd.DataFrame,
    tariffs: Mapping[str, Tariff],
    by_register: Mapping[str, tuple[Span, ...]],
    period: BillingPeriod,
) -> Mask:
    """Meter points whose registers count together what their tariff prices apart."""
    apart: dict[tuple[str, tuple[Span, ...]], bool] = {}
    found = np.zeros(len(contracts), dtype=bool)
    names, ids = contracts["meter_point_id"], contracts["tariff_id"]
    for row in np.flatnonzero(names.isin(list(by_register)) & ids.isin(list(tariffs))):
        key = (str(ids.iloc[row]), by_register[str(names.iloc[row])])
        if key not in apart:
            apart[key] = _prices_apart(tariffs[key[0]], period, key[1])
        found[row] = apart[key]
    return found


def _prices_apart(tariff: Tariff, period: BillingPeriod, spans: tuple[Span, ...]) -> bool:
    try:
        return prices_apart(tariff, period, spans=spans)
    except InputError as error:
        if error.reason not in _NOT_VALID:
            raise
        return False  # there is another reason for it


def _without_demand(
    rules: tuple[LineRule, ...], energies: IntervalEnergies, rows: NDArray[np.intp]
) -> Mask:
    """Meter points of which only the energy of a day is known, where demand is billed."""
    if Need.DEMAND not in list_needs(rules):
        return np.zeros(len(rows), dtype=bool)
    lengths = np.broadcast_to(energies.lengths, energies.energy_wh.shape)
    found: Mask = (rows >= 0) & (lengths == DAY_MINUTES).any(axis=1)[rows]
    return found


def _beyond_a_year(energies: IntervalEnergies, rows: NDArray[np.intp]) -> Mask:
    if energies.year_before_wh is None:
        return np.zeros(len(rows), dtype=bool)
    year = energies.year_before_wh + energies.totals_wh
    beyond: Mask = (rows >= 0) & (year[rows] > MAX_YEAR_WH)
    return beyond


def _lacks(register: NDArray[np.int64] | None, rows: NDArray[np.intp]) -> Mask:
    """Meter points whose register is not there; those without readings lack nothing here."""
    if register is None:
        return np.ones(len(rows), dtype=bool)
    lacking: Mask = (rows >= 0) & (register[rows] < 0)
    return lacking


def _bad_limits(
    rules: tuple[LineRule, ...], contracts: pd.DataFrame, period: BillingPeriod
) -> Mask:
    """Where a tier limit or free quota is one that encrypted thresholds refuse.

    A meter point whose own quota spoils the limits is left out alone: in a roster, everybody's
    limits would have to be counted in steps that divide it.
    """
    bad = np.zeros(len(contracts), dtype=bool)
    if Need.CAPACITY in list_needs(rules):
        bad |= contracts["contracted_va"].to_numpy(np.int64) <= 0
    for reset, digits in ((YEAR, YEAR_DIGITS), (MONTH, MONTH_DIGITS)):
        own = _limits_wh(rules, contracts, period, reset=reset)
        if not len(own):
            continue
        public = contracts.assign(household_quota_wh=0, free_quota_wh=0)
        stated = _limits_wh(rules, public, period, reset=reset)
        highest = digits.highest_threshold * WH_PER_KWH
        spoilt = ((own % WH_PER_KWH != 0) | (own > highest)).any(axis=0)
        if reset == MONTH:
            by_steps = ((stated % WH_PER_KWH != 0) | (stated > highest)).any(axis=0)
            by_steps |= (contracts["large"] == "yes").to_numpy()
            steps = own.max(axis=0) // np.maximum(np.gcd.reduce(own, axis=0), 1)
            spoilt = np.where(by_steps, steps > MOST_STEPS, spoilt)
        bad |= spoilt
    return bad


def _limits_wh(
    rules: Sequence[LineRule], contracts: pd.DataFrame, period: BillingPeriod, *, reset: str
) -> NDArray[np.int64]:
    """Limits in kWh of a month or a year [limits, meter points]; zero for an open one."""
    sides = [
        side
        for rule in rules
        if (KINDS[rule.basis].limits_reset or rule.reset) == reset and not counts_hours(rule)
        for side in KINDS[rule.basis].limits_wh(rule, contracts, period)
    ]
    limits = np.array(sides, dtype=np.int64)
    bounded: NDArray[np.int64] = np.where(limits == OPEN_LIMIT_WH, 0, limits)
    return bounded


def write_exceptions(admission: Admission, *, path: Path) -> None:
    """Write the excluded meter points as CSV: `meter_point_id,reason`, no values.

    Args:
        path: The file to create or replace; only its owner may read it.

    Raises:
        StorageError: The disk could not take it; nothing half-written is left.
    """
    text = admission.excluded.to_csv(index=False, lineterminator="\n")
    write_private(path, [text.encode()], what="The exceptions file")
