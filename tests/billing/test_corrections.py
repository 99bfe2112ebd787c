"""Cancel and rebill: the fen add up, whatever was corrected and however often."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import Bills, bill_readings
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.corrections import (
    Correction,
    correct_bills,
    corrections_to_json,
    find_changed_bills,
)
from gridsecure.periods import billing_month
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, load_tariff, parse_tariff
from tests.billing.bill_inputs import HOUR, catalogue_text, readings_frame

METERS = ("A", "B", "C")
STARTS = ("2026-07-01T00:00", "2026-07-01T11:00", "2026-07-02T15:00", "2026-07-31T23:00")
# Tariffs that need nothing beside readings, and were in force in the month below.
NAMES = (
    *("flat", "shenzhen-residential-tiers", "shenzhen-residential-peak-valley"),
    *("shenzhen-commercial-four-period", "guangzhou-residential-tiers"),
)
TARIFFS = {name: load_tariff(catalogue_tariffs()[name]) for name in NAMES}
FACTS = default_contracts(METERS)

Energies = tuple[int, ...]
ENERGY = st.one_of(st.integers(0, 5_000), st.integers(0, 900_000))
energies = st.tuples(*[ENERGY] * (len(METERS) * len(STARTS)))
tariffs = st.sampled_from(sorted(TARIFFS)).map(TARIFFS.__getitem__)


def bills_of(energy_wh: Energies, tariff: Tariff) -> Bills:
    """One month of the three meter points, whatever it costs."""
    places = [(meter, start) for meter in METERS for start in STARTS]
    rows = [(*place, wh) for place, wh in zip(places, energy_wh, strict=True)]
    (bills,) = bill_readings(readings_frame(rows), tariff=tariff, contracts=FACTS, interval=HOUR)
    return bills


def by_line(correction: Correction) -> dict[object, list[int]]:
    """Line -> amounts; a line that is zero everywhere is as good as none."""
    rows = zip(correction.lines, correction.adjustments_fen.tolist(), strict=True)
    return {line: amounts for line, amounts in rows if any(amounts)}


@given(energies, energies, tariffs, tariffs)
def test_old_total_and_adjustment_are_the_new_total(
    old: Energies, new: Energies, first: Tariff, second: Tariff
) -> None:
    before, after = bills_of(old, first), bills_of(new, second)
    correction = correct_bills(before, after)
    assert (before.totals_fen + correction.totals_fen).tolist() == after.totals_fen.tolist()
    assert correction.adjustments_fen.sum(axis=0).tolist() == correction.totals_fen.tolist()


@given(energies, energies, tariffs, tariffs)
def test_swapping_the_versions_mirrors_every_line(
    old: Energies, new: Energies, first: Tariff, second: Tariff
) -> None:
    before, after = bills_of(old, first), bills_of(new, second)
    there, back = correct_bills(before, after), correct_bills(after, before)
    mirrored = {line: [-amount for amount in amounts] for line, amounts in by_line(back).items()}
    assert by_line(there) == mirrored
    assert (there.totals_fen + back.totals_fen).tolist() == [0, 0, 0]


@given(energies, energies, tariffs)
def test_there_and_back_again_nets_nothing(old: Energies, new: Energies, tariff: Tariff) -> None:
    first, second = bills_of(old, tariff), bills_of(new, tariff)
    chain = [correct_bills(first, second), correct_bills(second, first)]
    assert sum(c.totals_fen for c in chain).tolist() == [0, 0, 0]


@given(st.lists(energies, min_size=2, max_size=5), tariffs)
def test_the_first_total_and_a_chain_of_adjustments_are_the_latest_total(
    versions: list[Energies], tariff: Tariff
) -> None:
    bills = [bills_of(version, tariff) for version in versions]
    chain = [correct_bills(*pair) for pair in pairwise(bills)]
    total = sum((c.totals_fen for c in chain), start=bills[0].totals_fen)
    assert total.tolist() == bills[-1].totals_fen.tolist()


@given(energies, tariffs)
def test_an_equal_version_changes_nothing(energy: Energies, tariff: Tariff) -> None:
    bills, again = bills_of(energy, tariff), bills_of(energy, tariff)
    assert find_changed_bills(bills, again) == frozenset()
    assert by_line(correct_bills(bills, again)) == {}


@given(energies, st.integers(0, len(STARTS) - 1), st.integers(1, 10_000), tariffs)
def test_only_the_corrected_meter_point_changes(
    energy: Energies, place: int, more: int, tariff: Tariff
) -> None:
    place += len(STARTS)  # a reading of B
    corrected = (*energy[:place], energy[place] + more, *energy[place + 1 :])
    before, after = bills_of(energy, tariff), bills_of(corrected, tariff)
    assert find_changed_bills(before, after) == {"B"}
    adjustments = correct_bills(before, after).adjustments_fen
    assert not adjustments[:, [0, 2]].any()


def test_a_document_by_hand() -> None:
    """100 kWh were read as 110: at a flat 0.66286875 yuan that is 72.92 instead of 66.29."""
    text = catalogue_text("flat")
    tariff = parse_tariff(text)
    (before,), (after,) = (
        bill_readings(
            readings_frame([("A", STARTS[0], wh)]),
            tariff=tariff,
            contracts=FACTS,
            interval=HOUR,
        )
        for wh in (110_000, 100_000)
    )
    correction = correct_bills(before, after)
    document = corrections_to_json(correction, version=2, meter_point_ids=["A"], tariff=tariff)
    (old,) = bills_to_json([before], tariff=tariff)["meters"]["A"]["periods"]
    (new,) = bills_to_json([after], tariff=tariff)["meters"]["A"]["periods"]
    (period,) = document["meters"]["A"]["periods"]
    cancels, adjustment = period.pop("cancels"), period.pop("adjustment")
    assert period.pop("version") == 2
    assert period == new
    assert cancels == {"version": 1, "total": old["total"], "lines": old["lines"]}
    difference = Decimal(new["total"]) - Decimal(old["total"])
    assert difference < 0
    assert Decimal(adjustment["total"]) == difference
    assert [set(line) for line in adjustment["lines"]] == [
        {"charge", "tou_period", "tier", "amount"}
    ]


def test_lines_of_another_tariff_count_as_zero() -> None:
    """Four registers give way to one total: what was billed on them is taken back line by line."""
    energy = (10_000,) * 12
    before = bills_of(energy, TARIFFS["shenzhen-commercial-four-period"])
    after = bills_of(energy, TARIFFS["flat"])
    correction = correct_bills(before, after)
    assert len(correction.lines) == len(set(correction.lines)) > len(after.rules)
    document = corrections_to_json(correction, version=3, meter_point_ids=["C", "A"])
    assert list(document["meters"]) == ["A", "C"]
    adjustment = document["meters"]["A"]["periods"][0]["adjustment"]
    amounts = [Decimal(line["amount"]) for line in adjustment["lines"]]
    assert sum(amounts) == Decimal(adjustment["total"])
    assert min(amounts) < 0 < max(amounts)


def test_two_lines_of_one_key_are_one_adjustment() -> None:
    """A charge in two rows, as a rate that changed within the file, is adjusted as one."""
    bills = bills_of((10_000,) * 12, TARIFFS["flat"])
    rules = bills.rules * 2
    double = replace(
        bills, rules=rules, amounts_fen=bills.amounts_fen.repeat(len(bills.rules) + 1, axis=0)
    )
    correction = correct_bills(double, bills)
    assert len(correction.lines) == len(bills.rules)
    assert (correction.adjustments_fen < 0).all()


def test_other_bills_are_no_version() -> None:
    bills = bills_of((1_000,) * 12, TARIFFS["flat"])
    august = billing_month(2026, 8, timezone="Asia/Shanghai")
    strangers = replace(bills, meter_point_ids=("A", "B", "D"))
    for other in (strangers, replace(bills, period=august)):
        with pytest.raises(ValueError, match="same meter points"):
            correct_bills(bills, other)
        with pytest.raises(ValueError, match="same meter points"):
            find_changed_bills(bills, other)
