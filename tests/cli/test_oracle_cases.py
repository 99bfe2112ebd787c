"""`gridsecure bill` on independently computed bills: NREL PySAM's, on real loads, month by month.

The files are what a user would have: the rate as URDB JSON, the readings as CSV. Each case goes
through gateway, platform and authority with real parameters.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gridsecure.cli.bill import BillOrder, bill_file
from gridsecure.cli.bill_tariffs import TariffOptions

TEXT = (Path(__file__).parents[1] / "vectors" / "oracle" / "cases.json").read_text(encoding="utf-8")
ORACLE = json.loads(TEXT, parse_float=Decimal)
RATES = {case["id"]: case["tariff"] for case in json.loads(TEXT)["cases"]}
CASES = {case["id"]: case for case in ORACLE["cases"]}
# The year of the oracle has 365 days and begins on a Monday.
YEAR = 2018
TOLERANCE = Decimal("1e-6")


# Of these the tests bill the first months.
FIRST = ("C01", "C02")
HALF_HOURLY = "C11"


def write_inputs(case: dict[str, Any], folder: Path, *, months: int) -> BillOrder:
    tariff, readings = folder / "rate.json", folder / "readings.csv"
    tariff.write_text(json.dumps(RATES[case["id"]]), encoding="utf-8")
    load = ORACLE["loads"][case["load"]]
    step = timedelta(minutes=load["step_min"])
    lines = ["meter_point_id,start,kwh"]
    for number, wh in enumerate(load["wh"]):
        start = datetime(YEAR, 1, 1) + number * step  # noqa: DTZ001 - local time, as files have it
        if start.month <= months:
            lines.append(f"home,{start:%Y-%m-%d %H:%M},{Decimal(wh).scaleb(-3)}")
    readings.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return BillOrder(readings, TariffOptions((str(tariff),)))


def check_months(case_id: str, folder: Path, *, months: int) -> list[Decimal]:
    """Bill the first months of a case and compare them; return their exact totals."""
    case = CASES[case_id]
    order = write_inputs(case, folder, months=months)
    document = bill_file(order, report=lambda _text: None)
    periods = document["meters"]["home"]["periods"]
    assert len(periods) == months
    expected = case["expected"]
    for month, period in enumerate(periods):
        assert abs(Decimal(period["total_exact"]) - expected["total"][month]) <= TOLERANCE
        for charge, name in (("minimum", "minimum_adder"), ("standing", "fixed")):
            if name in expected:
                found = sum(
                    Decimal(line["amount_exact"])
                    for line in period["lines"]
                    if line["charge"] == charge
                )
                assert abs(found - expected[name][month]) <= TOLERANCE
        assert Decimal(period["total"]) == sum(Decimal(line["amount"]) for line in period["lines"])
    return [Decimal(period["total_exact"]) for period in periods]


@pytest.mark.parametrize("case_id", FIRST)
def test_the_first_months_of_a_case_are_reproduced_on_ciphertext(
    case_id: str, tmp_path: Path
) -> None:
    """The gate bills the whole year of every case, with these months first."""
    check_months(case_id, tmp_path, months=2)


def test_months_of_half_hourly_prices_are_reproduced_on_ciphertext(tmp_path: Path) -> None:
    """A column for every half-hour: three months are 4,320 of them, and the year is slow."""
    check_months(HALF_HOURLY, tmp_path, months=3)


@pytest.mark.parametrize(
    "case_id",
    [pytest.param(one, marks=pytest.mark.slow) if one == HALF_HOURLY else one for one in CASES],
)
def test_the_year_of_a_case_is_reproduced_on_ciphertext(case_id: str, tmp_path: Path) -> None:
    total = sum(check_months(case_id, tmp_path, months=12))
    assert abs(total - Decimal(CASES[case_id]["expected_annual"])) <= TOLERANCE
