"""The harness says what the published cases say, so it may judge others."""

from __future__ import annotations

import pytest

from tests.peer.oracle import CASE_IDS, case, load_wh
from tests.peer.sam import MONTH_DAYS, sam_bill, sam_energy_of

# The expected values are printed with nine decimals.
PRINTED = 1e-9


@pytest.mark.parametrize("case_id", [name for name in CASE_IDS if name != "C12"])
def test_published_case(case_id: str) -> None:
    known = case(case_id)
    bill = sam_bill(known["tariff"], wh=load_wh(known["load"]))
    for element, months in known["expected"].items():
        expected = [float(month) for month in months]
        assert getattr(bill, element) == pytest.approx(expected, abs=PRINTED), element
    assert sum(bill.total) == pytest.approx(float(known["expected_annual"]), abs=1e-5)


def test_tiers_of_a_year() -> None:
    """SAM resets tiers monthly, so a year's are the growth of the cost of the year so far."""
    known = case("C12")
    structure = known["tariff"]["energyratestructure"]
    wh, cost, expected = load_wh(known["load"]), 0.0, known["expected"]["total"]
    day_wh = [sum(wh[day * 24 : day * 24 + 24]) for day in range(365)]
    for month, bill in enumerate(expected):
        so_far = sum(day_wh[: sum(MONTH_DAYS[: month + 1])])
        cost_so_far = sam_energy_of(structure, wh=so_far)
        assert cost_so_far - cost == pytest.approx(float(bill), abs=1e-8)
        cost = cost_so_far


def test_elements_add_up_to_the_total() -> None:
    rate = {
        "energyratestructure": [[{"rate": 0.1}]],
        "flatdemandstructure": [[{"rate": 3}]],
        "flatdemandmonths": [0] * 12,
        "demandratestructure": [[{"rate": 2}]],
        "fixedchargefirstmeter": 7,
        "mincharge": 400,
    }
    bill = sam_bill(rate, wh=load_wh("home_h"))
    parts = zip(
        *(bill.energy, bill.fixed, bill.demand_flat, bill.demand_tou, bill.minimum_adder),
        strict=True,
    )
    assert [sum(month) for month in parts] == pytest.approx(list(bill.total), abs=1e-9)
    assert all(month >= 400 for month in bill.total)
    assert any(month == pytest.approx(400) for month in bill.total)
