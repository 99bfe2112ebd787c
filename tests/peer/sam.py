"""NREL-PySAM's Utilityrate5 behind one function: the monthly bills of a URDB rate and a load.

The mapping from URDB fields to SAM's tables is written out here, apart from the importer under
test and from PySAM's own converter, which adds one to the caller's schedules in place, makes all
twelve months of a ratchet one and the same list, and leaves the flag off without which SAM bills a
part of the month's own peak.

SAM's year has 365 days, 1 January is a Monday, and there is no holiday; it computes in doubles and
rounds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySAM import Utilityrate5

MONTHS = 12
HOURS = 24
DAYS = 365
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
OPEN = 1e38
UNITS = {"kwh": 0, "kwh/kw": 1, "kwh daily": 2, "kwh/kw daily": 3}


@dataclass(frozen=True, slots=True)
class SamBill:
    """Twelve months of one bill, element by element."""

    energy: tuple[float, ...]
    fixed: tuple[float, ...]
    demand_flat: tuple[float, ...]
    demand_tou: tuple[float, ...]
    minimum_adder: tuple[float, ...]
    total: tuple[float, ...]
    kwh: tuple[float, ...]
    peak_kw: tuple[float, ...]


NOBODY_YET = (0.0,) * MONTHS


def sam_bill(
    rate: Mapping[str, Any], *, wh: Sequence[int], year_before_kw: Sequence[float] = NOBODY_YET
) -> SamBill:
    """Bill a load of a SAM year (whole Wh per interval) with SAM.

    `year_before_kw` is the demand of each month of the year before, for a ratchet.
    """
    steps_per_hour = len(wh) / (DAYS * HOURS)
    kw = [value / 1000 * steps_per_hour for value in wh]
    model = Utilityrate5.new()
    model.Lifetime.assign(
        {"analysis_period": 1, "inflation_rate": 0.0, "system_use_lifetime_output": 0}
    )
    model.SystemOutput.assign({"gen": [0.0] * len(kw), "degradation": [0.0]})
    model.Load.assign({"load": kw, "load_escalation": [0.0], "grid_outage": [0.0] * len(kw)})
    tables = electricity_rates(rate, steps=len(kw))
    model.ElectricityRates.assign(tables | {"ur_yearzero_usage_peaks": list(year_before_kw)})
    model.execute(0)
    return _monthly(model.Outputs)


def sam_energy_of(structure: Sequence[Sequence[Mapping[str, Any]]], *, wh: int) -> float:
    """What SAM bills for an amount of energy used in one month."""
    year = [wh] + [0] * (DAYS * HOURS - 1)
    return sam_bill({"energyratestructure": structure}, wh=year).energy[0]


def electricity_rates(rate: Mapping[str, Any], *, steps: int) -> dict[str, Any]:
    """SAM's tables for a URDB rate of a `steps`-step year."""
    tables: dict[str, Any] = {
        "en_electricity_rates": 1,
        "rate_escalation": [0.0],
        "ur_metering_option": rate.get("metering_option", 0),
        "ur_monthly_fixed_charge": _fixed(rate),
        "ur_monthly_min_charge": float(rate.get("mincharge", 0)),
        "ur_annual_min_charge": 0.0,
        "ur_sell_eq_buy": 0,
        "ur_nm_yearend_sell_rate": 0.0,
        "ur_nm_credit_month": 11,
        "ur_nm_credit_rollover": 0,
        "ur_nb_apply_credit_current_month": 0,
        "ur_nb_credit_expire": 0,
        "ur_en_ts_sell_rate": 0,
        "ur_ts_sell_rate": [0.0] * steps,
        "ur_en_ts_buy_rate": int("ts_buy_rate" in rate),
        "ur_ts_buy_rate": [float(price) for price in rate.get("ts_buy_rate", [0.0] * steps)],
        "TOU_demand_single_peak": 0,
    }
    tables |= _energy(rate)
    return tables | _demand(rate) | _ratchet(rate)


def _fixed(rate: Mapping[str, Any]) -> float:
    charge = float(rate.get("fixedchargefirstmeter", rate.get("fixedmonthlycharge", 0)))
    parts = {"$/month": 1, "$/year": MONTHS}
    return charge / parts[rate.get("fixedchargeunits", "$/month")]


def _energy(rate: Mapping[str, Any]) -> dict[str, Any]:
    rows = []
    for period, tiers in enumerate(rate["energyratestructure"], start=1):
        unit = UNITS[str(tiers[0].get("unit", "kWh")).lower()]
        for number, tier in enumerate(tiers, start=1):
            limit = float(tier.get("max", OPEN))
            rows.append((period, number, limit, unit, _price(tier), 0.0))
    weekday, weekend = _schedules(rate, "energy")
    return {
        "ur_ec_tou_mat": rows,
        "ur_ec_sched_weekday": weekday,
        "ur_ec_sched_weekend": weekend,
    }


def _demand(rate: Mapping[str, Any]) -> dict[str, Any]:
    """Both demand tables are always there: SAM measures the month's peak only with them."""
    flat = rate.get("flatdemandstructure", [[{"rate": 0}]])
    of_month = rate.get("flatdemandmonths", [0] * MONTHS)
    by_period = rate.get("demandratestructure", [[{"rate": 0}]])
    weekday, weekend = _schedules(rate, "demand")
    return {
        "ur_dc_enable": 1,
        "ur_dc_flat_mat": [
            (month, number, float(tier.get("max", OPEN)), _price(tier))
            for month, period in enumerate(of_month)
            for number, tier in enumerate(flat[period], start=1)
        ],
        "ur_dc_tou_mat": [
            (period, number, float(tier.get("max", OPEN)), _price(tier))
            for period, tiers in enumerate(by_period, start=1)
            for number, tier in enumerate(tiers, start=1)
        ],
        "ur_dc_sched_weekday": weekday,
        "ur_dc_sched_weekend": weekend,
    }


def _ratchet(rate: Mapping[str, Any]) -> dict[str, Any]:
    """The second column must be 1: this month's own peak counts in full."""
    percent = float(rate.get("lookbackpercent", 0)) * 100
    counting = rate.get("lookbackmonths", [1] * MONTHS)
    periods = len(rate.get("demandratestructure", [[]]))
    return {
        "ur_enable_billing_demand": int(percent > 0),
        "ur_billing_demand_minimum": 0.0,
        "ur_billing_demand_lookback_period": int(rate.get("lookbackrange", 0)),
        "ur_billing_demand_lookback_percentages": [
            [percent if counts else 0.0, 1.0] for counts in counting
        ],
        "ur_dc_billing_demand_periods": [[period + 1, 1.0] for period in range(periods)],
    }


def _price(tier: Mapping[str, Any]) -> float:
    return float(tier.get("rate", 0)) + float(tier.get("adj", 0))


def _schedules(rate: Mapping[str, Any], kind: str) -> tuple[list[list[int]], list[list[int]]]:
    """SAM counts periods from one; a rate without a weekend schedule has one for every day."""
    everywhere_first = [[0] * HOURS] * MONTHS
    weekday = rate.get(f"{kind}weekdayschedule", everywhere_first)
    weekend = rate.get(f"{kind}weekendschedule", weekday)
    return tuple(
        [[period + 1 for period in hours] for hours in days] for days in (weekday, weekend)
    )


def _monthly(outputs: Any) -> SamBill:
    def months(name: str) -> tuple[float, ...]:
        return tuple(float(value) for value in getattr(outputs, name))

    energy = months("year1_monthly_ec_charge_without_system")
    fixed = months("year1_monthly_fixed_without_system")
    flat = months("year1_monthly_dc_fixed_without_system")
    by_period = months("year1_monthly_dc_tou_without_system")
    minimum = months("year1_monthly_minimum_without_system")
    return SamBill(
        energy=energy,
        fixed=fixed,
        demand_flat=flat,
        demand_tou=by_period,
        minimum_adder=minimum,
        total=months("year1_monthly_utility_bill_wo_sys"),
        kwh=months("year1_monthly_load"),
        peak_kw=months("year1_monthly_peak_wo_system"),
    )
