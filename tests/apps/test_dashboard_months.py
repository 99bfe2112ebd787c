"""Months of bills side by side, and where a cycle stands: arithmetic and states, without a page."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.analyst.closings import ClosedUpload, MonthClosing
from gridsecure.analyst.releases import Release, pin_authority, verify_release
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.released_values import detach_values, sign_certificate
from gridsecure.wire.gateway import MonthReport, MonthStatus
from gridsecure.wire.platform import RunStatus
from gridsecure_dashboard import figures
from gridsecure_dashboard.billed_months import (
    Billed,
    BilledMonth,
    billed_months,
    build_bridge,
    compare_months,
    correction_totals,
    earlier,
    find_month,
    list_names,
    select_part,
)
from gridsecure_dashboard.charts import load_curves
from gridsecure_dashboard.cycles import PointCounts, count_points, find_steps
from tests.analyst.zone_services import MONTH, RUN, bill_cells, certificate

KEY = generate_private_key()
PERIODS = {
    "2026-06": ("2026-06-01T00:00:00+08:00", "2026-07-01T00:00:00+08:00"),
    "2026-07": ("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00"),
}
HOMES, SHOPS, FACTORIES = (
    (("futian", name),) for name in ("household", "shop", "factory")
)  # fmt: skip


def released(name: str, values, *, plan: str = "bill", release_id: str = "r") -> Release:
    """A verified release of cells (zone, class, members, Wh, fen)."""
    start, end = PERIODS[name]
    moved = {"start": start, "end": end}
    cells = [cell.model_copy(update=moved) for cell in bill_cells(values)]
    signed = certificate(plan=plan, cells=cells, release_id=release_id).model_copy(update=moved)
    content = sign_certificate(*detach_values(signed), key=KEY).model_dump_json().encode()
    return verify_release(content, authority=pin_authority(KEY.public_key.point.hex()))


@pytest.fixture(scope="module")
def months() -> tuple[BilledMonth, ...]:
    """June and July: a group that grew, one that is new, one that is withheld in July."""
    june = [
        ("futian", "household", 100, 10_000_000, 600_000),
        ("futian", "factory", 20, 50_000_000, 4_000_000),
    ]
    july = [
        ("futian", "household", 110, 12_000_000, 780_000),
        ("futian", "shop", 30, 3_000_000, 210_000),
        ("futian", "factory", 4, None, None),
    ]
    return billed_months([released("2026-06", june), released("2026-07", july)])


def test_months_are_compared_over_what_both_show(months) -> None:
    july, june = months
    assert [month.name for month in months] == ["2026-07", "2026-06"]
    change = compare_months(july, june)
    assert (change.groups, change.others) == (1, 2)
    assert change.amount == Decimal("0.30000")
    assert change.energy == Decimal("0.20000")
    assert change.bills == Decimal("0.10000")
    assert change.average == Decimal("0.08333")
    assert july.withheld == {FACTORIES}
    assert july.total.amount_yuan == Decimal("9900.00")


def test_a_bridge_names_volume_price_and_what_cannot_be_compared(months) -> None:
    assert build_bridge(*months) == {
        "then": Decimal("46000.00"),
        "gone": Decimal("-40000.00"),
        "volume": Decimal("1200.00"),  # 2,000 kWh more at 0.60 yuan
        "price": Decimal("600.00"),  # 12,000 kWh at 0.05 yuan more
        "new": Decimal("2100.00"),
        "now": Decimal("9900.00"),
    }


_BILLED = st.builds(
    Billed,
    st.integers(15, 10_000),
    st.integers(0, 10**12).map(lambda wh: Decimal(wh) / 1000),
    st.integers(-(10**9), 10**12).map(lambda fen: Decimal(fen) / 100),
)
_MONTHS = st.builds(
    BilledMonth,
    st.sampled_from(["2026-06", "2026-07"]),
    st.just(datetime(2026, 6, 1)),  # noqa: DTZ001  # no arithmetic of times here
    st.just(datetime(2026, 7, 1)),  # noqa: DTZ001
    st.dictionaries(st.sampled_from([HOMES, SHOPS, FACTORIES]), _BILLED),
    st.frozensets(st.sampled_from([HOMES, SHOPS, FACTORIES])),
    st.just(()),
)


@given(_MONTHS, _MONTHS)
def test_every_bridge_closes_to_the_fen(now: BilledMonth, then: BilledMonth) -> None:
    steps = build_bridge(now, then)
    assert sum(list(steps.values())[:-1]) == steps["now"]


@given(_MONTHS)
def test_zones_and_classes_add_up_to_their_month(month: BilledMonth) -> None:
    for dimension in ("zone", "customer_class"):
        parts = [select_part(month, dimension, n) for n in list_names(month, dimension)]
        assert sum((part.total for part in parts), Billed()) == month.total
        assert sum(len(part.withheld) for part in parts) == len(month.withheld)


def test_releases_of_one_month_are_added_up_and_of_another_are_not() -> None:
    first = released("2026-07", [("futian", "shop", 20, 1000, 70)], release_id="a")
    second = released("2026-07", [("futian", "shop", 30, 2000, 130)], release_id="b")
    (month,) = billed_months([first, second])
    assert month.total == Billed(50, Decimal("3"), Decimal("2.00"))
    assert find_month([month], "2026-06") is None
    assert (earlier("2026-07", months=12), earlier("2026-01", months=1)) == ("2025-07", "2025-12")


def test_zones_and_classes_of_a_month_stand_in_the_order_of_their_amounts(months) -> None:
    july = months[0]
    assert list_names(july, "customer_class") == [("household",), ("shop",), ("factory",)]
    assert select_part(july, "customer_class", ("shop",)).total.bills == 30
    assert not select_part(july, "customer_class", ("factory",)).groups


def test_corrections_of_a_month_are_added_up_beside_its_bills() -> None:
    item = released(
        "2026-07",
        [("futian", "shop", 20, -1_500_000, -70_000), ("futian", "factory", 4, None, None)],
        plan="rebill",
    )
    found = correction_totals([item], bounds=PERIODS["2026-07"])
    assert found.billed == Billed(20, Decimal("-1500"), Decimal("-700.00"))
    assert found.withheld == 1
    assert correction_totals([item], bounds=PERIODS["2026-06"]).billed == Billed()


# --- where a cycle stands ----------------------------------------------------------------------

OPEN, CLOSED = ClosedUpload("a1", "g", "open"), ClosedUpload("a1", "g", "in-force", 1)
DONE_MONTH = MonthStatus(state="done", report=MonthReport(**MONTH["report"]))
WAITS = RunStatus(**RUN | {"request_id": "request-1"})
FAILED = RunStatus(**RUN | {"state": "failed", "reason": "plan.noise"})


@pytest.mark.parametrize(
    ("status", "uploads", "told", "runs", "states"),
    [
        (None, (), "run.empty", (), "later later later later"),
        (MonthStatus(state="interrupted"), (), "run.empty", (), "next later later later"),
        (DONE_MONTH, (OPEN,), "run.not-closed", (), "done next later later"),
        (DONE_MONTH, (CLOSED,), "ready", (), "done done next later"),
        (DONE_MONTH, (CLOSED,), "ready", (FAILED,), "done done failed later"),
        (DONE_MONTH, (CLOSED,), "ready", (WAITS,), "done done done next"),
        (DONE_MONTH, (CLOSED,), "run.released", (WAITS,), "done done done done"),
    ],
)
def test_the_steps_of_a_cycle_follow_what_services_tell(status, uploads, told, runs, states):
    closing = MonthClosing(uploads, {"bill": told, "load-curve": told})
    steps = find_steps(status, closing=closing, runs=runs)
    assert [step.name for step in steps] == ["read", "close", "compute", "release"]
    assert " ".join(step.state for step in steps) == states
    assert all(step.reason for step in steps if step.state == "failed")


def test_points_of_a_month_are_counted_from_due_to_held() -> None:
    report = MONTH["report"] | {"meters": 100, "billed_meters": 88,
                                "excluded": {"no-readings": 7, "held": 5}}  # fmt: skip
    status = MonthStatus(state="done", report=MonthReport(**report))
    assert count_points(status) == PointCounts(due=100, read=93, billable=88, held=12)
    assert count_points(MonthStatus(state="waiting")) is None


@pytest.mark.parametrize(
    ("number", "chinese", "english"),
    [
        ("9999.5", "9,999.50", "9,999.50"),
        ("10000", "1.00 万", "10.00 k"),
        ("-123456789.01", "-1.23 亿", "-123.46 M"),
    ],
)
def test_large_numbers_have_the_units_of_their_language(number, chinese, english) -> None:
    exact = Decimal(number)
    assert figures.scaled(exact, places=2, is_chinese=True) == chinese
    assert figures.scaled(exact, places=2, is_chinese=False) == english


@pytest.mark.parametrize(
    ("clocks", "ends"), [(["23:00", "23:30"], 1), (["11:30", "12:00"], 0), (["00:00"], 0)]
)
def test_a_curve_reaches_the_end_of_its_day_and_of_no_other(clocks, ends) -> None:
    table = pd.DataFrame({"curve": "a", "clock": clocks, "power_kw": [Decimal(1)] * len(clocks)})
    chart = load_curves(table, clock_title="c", power_title="p", curve_title="d")
    assert (chart.data["clock"] == "24:00").sum() == ends


def test_changes_and_energy_are_written_with_sign_and_unit() -> None:
    assert [figures.change(Decimal(x)) for x in ("0.0324", "-0.004", "0")] == [
        "+3.2%", "-0.4%", "0.0%",
    ]  # fmt: skip
    assert [figures.energy(Decimal(x)) for x in ("999.5", "49358527.355", "-2500")] == [
        "999.50 kWh", "49.36 GWh", "-2.50 MWh",
    ]  # fmt: skip
    assert figures.signed(Decimal("12"), places=2) == "+12.00"
