"""A month's figures are joined from two sides; a line that cannot be true does not close."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.analyst.reconciliation import (
    Intake,
    intake_of,
    reconcile_month,
    releases_of_month,
)
from gridsecure.analyst.releases import Release
from gridsecure.analyst.runs import month_bounds
from tests.analyst.test_reports import release_of
from tests.analyst.zone_services import MONTH, VALUES, bill_cells, certificate, curve_cells

SHOWN = 1200 + 85 + 900
INTAKE = Intake(meters=SHOWN + 4 + 6, not_billed={"gaps": 6}, rosters=1)


def bills(values=VALUES, *, rosters: int = 1, **changes: object) -> Release:
    item = certificate(cells=bill_cells(values))
    statements = {f"roster-{number}": "ef" * 32 for number in range(rosters)}
    return release_of(item.model_copy(update={"statements": statements, **changes}))


def curves(energy=None, **changes: object) -> Release:
    """A load curve of one interval a cell; the energy of the bills unless told otherwise."""
    cells = [
        cell.model_copy(update={"value": (energy or {}).get(place, cell.value)})
        for cell in bill_cells()
        if cell.measure == "energy_wh" and (place := (cell.zone, cell.customer_class))
    ]
    return release_of(certificate(plan="load-curve", cells=cells).model_copy(update=changes))


def test_a_month_closes_and_names_every_term() -> None:
    line = reconcile_month(INTAKE, bills=[bills()], curves=[curves()])
    accounts = line.accounts
    assert accounts is not None
    assert accounts.closes
    assert (accounts.taken_in, accounts.shown, accounts.withheld) == (2195, 2185, 4)
    assert (accounts.withheld_cells, accounts.unreleased) == (1, 0)
    assert accounts.not_billed == {"gaps": 6}
    assert (line.bills, line.energy_kwh) == (SHOWN, Decimal("709999.991"))
    assert line.amount_yuan == Decimal("492222.13")
    assert line.energy is not None
    assert line.energy.agrees
    assert line.energy.bills_kwh == line.energy.curves_kwh == Decimal("709999.991")


@pytest.mark.parametrize(
    "intake",
    [
        Intake(meters=SHOWN + 6, not_billed={"gaps": 6}, rosters=1),  # withheld cells, nobody there
        Intake(meters=SHOWN - 1, not_billed={}, rosters=1),  # more bills than meter points
    ],
)
def test_a_line_that_cannot_be_true_does_not_close(intake) -> None:
    accounts = reconcile_month(intake, bills=[bills()], curves=[]).accounts
    assert accounts is not None
    assert not accounts.closes


def test_nobody_is_withheld_where_no_cell_is() -> None:
    accounts = reconcile_month(INTAKE, bills=[bills(VALUES[:3])], curves=[]).accounts
    assert accounts is not None
    assert (accounts.withheld, accounts.withheld_cells) == (4, 0)
    assert not accounts.closes


def test_what_is_not_released_yet_is_a_term_of_its_own() -> None:
    late = Intake(meters=3000, not_billed={}, rosters=2)
    accounts = reconcile_month(late, bills=[bills()], curves=[]).accounts
    assert accounts is not None
    assert (accounts.shown, accounts.withheld, accounts.unreleased) == (2185, 4, 811)
    assert accounts.closes
    none = reconcile_month(late, bills=[], curves=[]).accounts
    assert none is not None
    assert (none.shown, none.withheld, none.unreleased, none.closes) == (0, 0, 3000, True)


def test_releases_over_other_gateways_close_no_line() -> None:
    accounts = reconcile_month(INTAKE, bills=[bills(rosters=3)], curves=[]).accounts
    assert accounts is not None
    assert accounts.rosters_of_others == 2
    assert not accounts.closes


def test_later_rosters_add_to_the_line() -> None:
    later = bills([("futian", "household", 20, 5000, 300)], statements={"late": "ef" * 32})
    intake = Intake(meters=SHOWN + 4 + 20, not_billed={}, rosters=2)
    line = reconcile_month(intake, bills=[bills(), later], curves=[])
    assert line.accounts is not None
    assert (line.accounts.shown, line.accounts.withheld, line.accounts.closes) == (2205, 4, True)
    assert line.bills == 2205


def test_a_reader_without_the_gateways_report_gets_no_line_of_accounts() -> None:
    line = reconcile_month(None, bills=[bills()], curves=[])
    assert line.accounts is None
    assert (line.bills, line.withheld_cells) == (SHOWN, 1)
    assert line.energy is None


def test_energy_that_differs_is_named_cell_by_cell() -> None:
    check = reconcile_month(
        INTAKE, bills=[bills()], curves=[curves({("futian", "shop"): "98765429"})]
    ).energy
    assert check is not None
    assert not check.agrees
    assert check.different == ((("futian", "shop"),),)
    assert check.bills_kwh - check.curves_kwh == Decimal("0.001")


def test_cells_that_one_side_withholds_are_compared_by_neither() -> None:
    check = reconcile_month(
        INTAKE, bills=[bills()], curves=[curves({("futian", "shop"): None})]
    ).energy
    assert check is not None
    assert check.agrees
    assert check.only_bills == ((("futian", "shop"),),)
    assert check.bills_kwh == check.curves_kwh == Decimal("611234.561")


def test_a_curve_told_twice_counts_once() -> None:
    again = curves(release_id="curve-again")
    check = reconcile_month(INTAKE, bills=[bills()], curves=[curves(), again]).energy
    assert check is not None
    assert check.agrees
    half = curves(outputs_digest="98" * 32)  # of other rosters: its energy is added
    more = reconcile_month(INTAKE, bills=[bills()], curves=[curves(), half]).energy
    assert more is not None
    assert not more.agrees


def test_only_releases_of_exactly_the_month_are_joined() -> None:
    whole, day = curves(), curves(end="2026-07-02T00:00:00+08:00")
    utc = curves(start="2026-06-30T16:00:00+00:00")
    bounds = month_bounds("2026-07", timezone="Asia/Shanghai")
    assert releases_of_month([whole, day, utc, bills()], plan="load-curve", bounds=bounds) == (
        whole, utc,
    )  # fmt: skip


def test_an_interval_that_is_missing_takes_its_cell_out_of_the_comparison() -> None:
    cells = curve_cells()
    cells[0] = cells[0].model_copy(update={"value": None})
    release = release_of(certificate(plan="load-curve", cells=cells))
    check = reconcile_month(INTAKE, bills=[bills()], curves=[release]).energy
    assert check is not None
    assert (("futian", "household"),) in check.only_bills


def test_the_gateways_report_is_read_as_its_service_answers_it() -> None:
    report = MONTH["report"]
    assert isinstance(report, dict)
    assert intake_of(report) == Intake(4096, {"too-many-gaps": 6}, 2)
    assert intake_of(report).sent == report["billed_meters"]


@given(
    st.lists(st.tuples(st.integers(15, 500), st.booleans()), min_size=1, max_size=6),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 50)),
)
def test_every_true_month_closes_and_one_more_meter_point_is_noticed(parts, not_billed) -> None:
    values = [
        (f"zone-{i}", "shop", n if shown else 3, *((10, 5) if shown else (None, None)))
        for i, (n, shown) in enumerate(parts)
    ]
    sent = sum(members for _, _, members, _, _ in values)
    intake = Intake(sent + sum(not_billed.values()), not_billed, rosters=1)
    accounts = reconcile_month(intake, bills=[bills(values)], curves=[]).accounts
    assert accounts is not None
    assert accounts.closes
    if all(shown for _, shown in parts):
        more = Intake(intake.meters + 1, not_billed, rosters=1)
        wrong = reconcile_month(more, bills=[bills(values)], curves=[]).accounts
        assert wrong is not None
        assert not wrong.closes
