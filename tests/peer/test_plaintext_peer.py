"""Random URDB rates and real loads, billed by us in plaintext and by SAM, element by element.

SAM rounds nothing, so exact amounts are compared; its doubles leave far less than a millionth of a
unit of money on bills of this size.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings

from gridsecure.billing.bills import Bills, bill_readings
from gridsecure.billing.charges import AMOUNT_DECIMALS
from gridsecure.billing.contracts import default_contracts
from gridsecure.tariffs.tariff import Tariff
from gridsecure.tariffs.urdb.conversion import UrdbOptions, import_rate
from tests.peer.oracle import CASE_IDS, case, load_wh
from tests.peer.rates import DEMAND_KINDS, ENERGY_KINDS, Rate, Year, rates_with_load
from tests.peer.sam import DAYS, sam_bill

METER = "M-1"
# 1 January 2018 is a Monday, the year has 365 days, and the clock does not change in China.
YEAR = 2018
ZONE = "Asia/Shanghai"
TOLERANCE = 1e-6
# For each kind of energy charge with each kind of demand charge; the first one drawn is trivial.
QUICK, THOROUGH = 2, 25


def year_bills(tariff: Tariff, wh: Sequence[int]) -> tuple[Bills, ...]:
    interval = pd.Timedelta(days=DAYS) / len(wh)
    starts = pd.date_range(f"{YEAR}-01-01", periods=len(wh), freq=interval, tz=tariff.timezone)
    readings = pd.DataFrame(
        {
            "meter_point_id": METER,
            "start": starts.tz_convert("UTC"),
            "energy_wh": pd.Series(wh, dtype="int64"),
            "quality": "actual",
        }
    )
    return bill_readings(
        readings, tariff=tariff, contracts=default_contracts([METER]), interval=interval
    )


def element_of(charge: str, tou_period: str | None) -> str:
    """The name SAM's harness has for a bill line."""
    if charge.startswith("demand"):
        return "demand_flat" if tou_period is None else "demand_tou"
    names = {"standing": "fixed", "minimum": "minimum_adder"}
    return names.get(charge, "energy")


def elements(bills: Sequence[Bills]) -> dict[str, list[float]]:
    """Exact amounts by month, added up over the lines of each element."""
    months: list[dict[str, int]] = []
    for bill in bills:
        sums = dict.fromkeys(
            ("energy", "fixed", "demand_flat", "demand_tou", "minimum_adder", "total"), 0
        )
        for rule, amount in zip(bill.rules, bill.amounts[:, 0].tolist(), strict=True):
            sums[element_of(rule.charge, rule.tou_period)] += amount
            sums["total"] += amount
        months.append(sums)
    return {
        name: [float(Decimal(month[name]).scaleb(-AMOUNT_DECIMALS)) for month in months]
        for name in months[0]
    }


def assert_same_bills(rate: Rate, wh: Sequence[int], *, expected: Any) -> None:
    imported = import_rate(rate, options=UrdbOptions(tariff_id="random", year=YEAR, timezone=ZONE))
    bills = year_bills(imported.tariff, wh)
    assert len(bills) == 12
    for name, months in elements(bills).items():
        theirs = [float(month) for month in getattr(expected, name)]
        assert months == pytest.approx(theirs, abs=TOLERANCE, rel=0), name


def compare(energy_kind: str, demand_kind: str, *, examples: int, derandomize: bool) -> None:
    @given(drawn=rates_with_load(energy_kind=energy_kind, demand_kind=demand_kind))
    @settings(max_examples=examples, derandomize=derandomize)
    def random_rate(drawn: tuple[Rate, Year]) -> None:
        rate, year = drawn
        wh = year.wh()
        assert_same_bills(rate, wh, expected=sam_bill(rate, wh=wh))

    random_rate()


@pytest.mark.parametrize("demand_kind", DEMAND_KINDS)
@pytest.mark.parametrize("energy_kind", ENERGY_KINDS)
def test_random_rate(energy_kind: str, demand_kind: str) -> None:
    compare(energy_kind, demand_kind, examples=QUICK, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("demand_kind", DEMAND_KINDS)
@pytest.mark.parametrize("energy_kind", ENERGY_KINDS)
def test_very_many_random_rates(energy_kind: str, demand_kind: str) -> None:
    compare(energy_kind, demand_kind, examples=THOROUGH, derandomize=False)


def test_comparison_sees_a_hundred_thousandth_in_a_price() -> None:
    wh = load_wh("home_h")
    rate = {"energyratestructure": [[{"rate": Decimal("0.10001")}]]}
    with pytest.raises(AssertionError, match="energy"):
        assert_same_bills(
            rate, wh, expected=sam_bill({"energyratestructure": [[{"rate": 0.1}]]}, wh=wh)
        )


@pytest.mark.parametrize("case_id", CASE_IDS)
def test_published_case(case_id: str) -> None:
    known = case(case_id)
    imported = import_rate(
        known["tariff"], options=UrdbOptions(tariff_id=case_id, year=YEAR, timezone=ZONE)
    )
    ours = elements(year_bills(imported.tariff, load_wh(known["load"])))
    for name in ours.keys() & known["expected"].keys():
        theirs = [float(month) for month in known["expected"][name]]
        assert ours[name] == pytest.approx(theirs, abs=TOLERANCE, rel=0), name
