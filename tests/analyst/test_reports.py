"""Sums run over released cells, to the fen, and over nothing else."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.analyst import load_curves, reports
from gridsecure.analyst.releases import PinnedAuthority, Release, verify_release
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import InvalidMessageError
from gridsecure.messages import ReleaseCertificate, sign_message
from tests.analyst.zone_services import bill_cells, certificate, curve_cells

KEY = generate_private_key()
COLUMNS = ("zone", "customer_class", "start", "end", "bills", "energy_kwh", "amount_yuan")


def release_of(item: ReleaseCertificate) -> Release:
    content = sign_message(item, key=KEY).model_dump_json().encode()
    authority = PinnedAuthority(KEY.public_key)
    return verify_release(content, release_id=item.release_id, authority=authority)


@pytest.fixture(scope="module")
def bills() -> Release:
    return release_of(certificate())


@pytest.fixture(scope="module")
def curve() -> Release:
    return release_of(certificate(plan="load-curve"))


def test_control_totals_by_hand(bills) -> None:
    totals = reports.bill_totals(reports.bill_table(bills))
    assert totals == reports.BillTotals(
        bills=1200 + 85 + 900,
        energy_kwh=Decimal("361234.560") + Decimal("98765.430") + Decimal("250000.001"),
        amount_yuan=Decimal("245678.91") + Decimal("76543.21") + Decimal("170000.01"),
        average_yuan_per_kwh=Decimal("0.6933"),  # 492222.13 / 709999.991 = 0.69327…
        cells=3,
        suppressed=1,
        protected=0,
        dominated=0,
        withheld=0,
    )


def test_a_suppressed_cell_is_a_row_without_figures(bills) -> None:
    table = reports.bill_table(bills)
    (row,) = table[table["state"] == reports.SUPPRESSED].to_dict("records")
    assert (row["zone"], row["customer_class"]) == ("luohu", "factory")
    assert all(row[name] is None for name in ("bills", "energy_kwh", "amount_yuan"))


def test_withheld_is_not_suppressed(bills) -> None:
    table = reports.bill_table(bills.hide_values())
    totals = reports.bill_totals(table)
    assert (totals.cells, totals.suppressed, totals.withheld) == (0, 1, 3)
    assert totals.average_yuan_per_kwh is None
    assert totals.cells_left_out == 4


def test_a_cell_with_one_measure_withheld_is_in_no_sum() -> None:
    cells = bill_cells()
    cells[1] = cells[1].model_copy(update={"value": None})
    table = reports.bill_table(release_of(certificate(cells=cells)))
    totals = reports.bill_totals(table)
    assert (totals.cells, totals.protected, totals.cells_left_out) == (2, 1, 2)
    assert totals.bills == 985
    (row,) = table[table["state"] == reports.PROTECTED].to_dict("records")
    assert (row["bills"], row["energy_kwh"]) == (1200, None)


@pytest.mark.parametrize(
    ("cells", "words"), [(bill_cells()[1:], "lacks"), ([*bill_cells(), bill_cells()[0]], "twice")]
)
def test_a_table_with_a_hole_or_a_double_is_refused(cells, words) -> None:
    with pytest.raises(InvalidMessageError, match=words):
        reports.bill_table(release_of(certificate(cells=cells)))


def test_a_table_needs_its_own_plan(bills, curve) -> None:
    with pytest.raises(ValueError, match="bill plan"):
        reports.bill_table(curve)
    with pytest.raises(ValueError, match="load-curve plan"):
        load_curves.load_curve_table(bills)


def test_csv_holds_released_cells_and_disarms_formulas() -> None:
    rows = [("=HYPERLINK(1)", "家庭", 20, 1500, 105), ("futian", "shop", 3, None, None)]
    release = release_of(certificate(cells=bill_cells(rows)))
    content = reports.csv_bytes(
        reports.bill_table(release),
        release_id="r-1",
        columns=COLUMNS,
        source={"certificate_digest": release.certificate_digest, "exported_by": "@Li"},
    )
    (row,) = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    assert row["release_id"] == "r-1"
    assert row["zone"] == "'=HYPERLINK(1)"
    assert row["customer_class"] == "家庭"
    assert (row["certificate_digest"], row["exported_by"]) == (release.certificate_digest, "'@Li")
    assert (row["bills"], row["energy_kwh"], row["amount_yuan"]) == ("20", "1.5", "1.05")
    assert row["start"] == "2026-07-01T00:00:00+08:00"


cell_values = st.tuples(
    st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(15, 9000),
    st.integers(0, 10**14), st.integers(-(10**12), 10**14),
)  # fmt: skip


@given(st.lists(cell_values, min_size=1, max_size=9, unique_by=lambda v: v[:2]), st.data())
def test_hiding_a_cell_takes_exactly_it_out_of_the_sums(values, data) -> None:
    """In whole fen and Wh."""
    hidden = data.draw(st.sets(st.sampled_from(range(len(values)))))
    cells = [
        (zone, kind, 3, None, None) if index in hidden else (zone, kind, members, energy, amount)
        for index, (zone, kind, members, energy, amount) in enumerate(values)
    ]
    table = reports.bill_table(release_of(certificate(cells=bill_cells(cells))))
    totals = reports.bill_totals(table)
    shown = [value for index, value in enumerate(values) if index not in hidden]
    assert totals.amount_yuan * 100 == sum(value[4] for value in shown)
    assert totals.energy_kwh * 1000 == sum(value[3] for value in shown)
    assert (totals.cells, totals.suppressed) == (len(shown), len(hidden))


# --- load curves -------------------------------------------------------------------------------


def test_load_curve_by_hand(curve) -> None:
    """Half-hour i of day d is members × (100 + i) × (9 + d) Wh over 2,185 released members."""
    table = load_curves.load_curve_table(curve)
    assert load_curves.peak_day(table) == "2026-07-02"
    rows = load_curves.choose_rows(table, days=["2026-07-02"])
    figures = load_curves.load_figures(load_curves.interval_totals(rows))
    assert figures is not None
    energy_wh = 2185 * 11 * sum(100 + index for index in range(48))
    assert figures.energy_kwh * 1000 == energy_wh
    assert figures.peak_kw == Decimal(2185 * 11 * 147 * 2) / 1000
    assert figures.peak_start.isoformat() == "2026-07-02T23:30:00+08:00"
    assert figures.mean_kw == (Decimal(energy_wh) / 24 / 1000).quantize(
        Decimal("0.001"), rounding=ROUND_HALF_UP
    )
    assert figures.load_factor == Decimal("0.8401")  # 123.5 / 147 = 0.84013…


def test_load_curve_of_one_zone_and_class(curve) -> None:
    table = load_curves.load_curve_table(curve)
    rows = load_curves.choose_rows(table, days=["2026-07-01"], zones=["futian"], classes=["shop"])
    totals = load_curves.interval_totals(rows)
    assert totals["energy_wh"].tolist() == [85 * (100 + index) * 10 for index in range(48)]
    assert totals["power_kw"].iloc[0] == Decimal("170.000")


def test_suppressed_cells_are_in_no_curve(curve) -> None:
    table = load_curves.load_curve_table(curve)
    assert "factory" in set(table["customer_class"])
    assert "factory" not in set(load_curves.choose_rows(table)["customer_class"])
    assert load_curves.choose_rows(table, classes=["factory"]).empty
    nothing = load_curves.choose_rows(table, classes=["factory"])
    assert load_curves.load_figures(load_curves.interval_totals(nothing)) is None
    assert load_curves.curves(nothing, split="zone").empty


def test_no_value_no_curve(curve) -> None:
    table = load_curves.load_curve_table(curve.hide_values())
    assert load_curves.peak_day(table) is None


def test_curves_split_by_day_and_averaged_over_days(curve) -> None:
    table = load_curves.load_curve_table(curve)
    rows = load_curves.choose_rows(table, zones=["futian"], classes=["shop"])
    by_day = load_curves.curves(rows, split="day")
    assert by_day.groupby("curve").size().to_dict() == {"2026-07-01": 48, "2026-07-02": 48}
    by_zone = load_curves.curves(rows, split="zone")
    assert len(by_zone) == 48
    assert by_zone["clock"].iloc[1] == "00:30"
    assert by_zone["power_kw"].iloc[0] == Decimal("178.500")  # mean of 170.000 and 187.000


def test_a_curve_without_energy_has_no_load_factor() -> None:
    cells = [cell.model_copy(update={"value": "0"}) for cell in curve_cells(days=1)[:48]]
    table = load_curves.load_curve_table(release_of(certificate(plan="load-curve", cells=cells)))
    figures = load_curves.load_figures(load_curves.interval_totals(load_curves.choose_rows(table)))
    assert figures is not None
    assert (figures.peak_kw, figures.load_factor) == (Decimal("0.000"), None)


@given(st.integers(0, 10**12), st.sampled_from([5, 15, 30, 60]))
def test_power_times_hours_is_energy(energy_wh, minutes) -> None:
    power = load_curves.power_kw(energy_wh, length=timedelta(minutes=minutes))
    assert abs(power * 1000 * minutes / 60 - energy_wh) <= Decimal("0.5") * minutes / 60
