"""Differences between tariffs: what changed in which months, and what is only put otherwise."""

from __future__ import annotations

import pytest

from gridsecure.tariffs.calendar import day_segments, whole_months
from gridsecure.tariffs.diff import Change, diff_tariffs
from gridsecure.tariffs.tariff import parse_tariff
from tests.billing.bill_inputs import catalogue_text
from tests.plans.element_tariffs import BUSINESSES, DYNAMIC, HOUSEHOLDS

YEAR = tuple(range(1, 13))
TIERS = catalogue_text("shenzhen-residential-tiers")
PEAK_VALLEY = catalogue_text("shenzhen-residential-peak-valley")
COMMERCIAL = catalogue_text("shenzhen-commercial-four-period")


def changes(before: str, *replaced: tuple[str, str]) -> list[Change]:
    after = before
    for old, new in replaced:
        assert old in after
        after = after.replace(old, new, 1)
    return list(diff_tariffs(parse_tariff(before), parse_tariff(after)))


@pytest.mark.parametrize("text", [TIERS, COMMERCIAL, DYNAMIC, *BUSINESSES.values()])
def test_a_tariff_does_not_differ_from_itself(text: str) -> None:
    assert changes(text) == []


def test_a_price_a_source_and_a_confidence_are_changes_of_their_rows() -> None:
    found = changes(TIERS, ('"0.66286875"', '"0.67"'))
    assert found == [
        Change(
            "rates", "energy", YEAR, "changed",
            "0.66286875 CNY/kWh [shenzhen-drc, confirmed]",
            "0.67 CNY/kWh [shenzhen-drc, confirmed]",
        )
    ]  # fmt: skip
    doubted = changes(TIERS, ('confidence = "confirmed"', 'confidence = "unconfirmed"'))
    assert [(c.part, c.key) for c in doubted] == [("sources", "shenzhen-drc"), ("rates", "energy")]
    assert doubted[1].after == "0.66286875 CNY/kWh [shenzhen-drc, unconfirmed]"


def test_the_same_price_written_otherwise_is_no_change() -> None:
    assert changes(TIERS, ('"0.30"', '"0.3"')) == []
    noon = '[[windows]]\nfrom = "10:00"\nto = "12:00"\ntou_period = "peak"\n'
    halves = noon.replace("12:00", "11:00") + noon.replace("10:00", "11:00")
    assert changes(PEAK_VALLEY, (noon, halves)) == []
    row = '[[rates]]\ncharge = "energy"\nrate = "0.66286875"\n'
    winter, summer = "[11, 12, 1, 2, 3, 4]", "[5, 6, 7, 8, 9, 10]"
    rest = 'unit = "CNY/kWh"\nsource = "shenzhen-drc"\n'
    twice = f"{row}months = {winter}\n{rest}{row}months = {summer}\n{rest}"
    assert changes(TIERS, (row + rest, twice)) == []


def test_hours_limits_and_seasons_tell_their_months() -> None:
    (limit,) = changes(TIERS, ("upper_limit_kwh = 260", "upper_limit_kwh = 300"))
    assert (limit.part, limit.key, limit.months) == ("tiers", "tier 1", (5, 6, 7, 8, 9, 10))
    assert (limit.before, limit.after) == ("to 260 kWh", "to 300 kWh")
    # Noon of September becomes peak on ordinary days, and stays sharp on hot ones.
    sharp, noon = "months = [7, 8, 9]\n", 'from = "11:00"'
    others = "months = [1, 2, 3, 4, 5, 6, 10, 11, 12]\n"
    longer = others.replace("10", "9, 10")
    hot, ordinary = 'day_types = ["hot"]\n', 'day_types = ["weekday", "weekend"]\n'
    hours = changes(
        COMMERCIAL,
        (sharp + noon, sharp.replace(", 9", "") + noon),
        (others + hot + noon, longer + hot + noon),
        (others + ordinary + noon, longer + ordinary + noon),
    )
    assert [(c.part, c.key, c.months) for c in hours] == [
        ("windows", "weekday", (9,)),
        ("windows", "weekend", (9,)),
    ]
    assert "11:00-12:00 sharp" in (hours[0].before or "")
    assert "10:00-12:00 peak" in (hours[0].after or "")


def test_rows_and_elements_are_added_and_removed() -> None:
    before, after = parse_tariff(HOUSEHOLDS["annual"]), parse_tariff(BUSINESSES["ratchet"])
    forth, back = diff_tariffs(before, after), diff_tariffs(after, before)
    kinds = {(c.part, c.key): c.kind for c in forth}
    assert kinds["tiers", "tier 1"] == "removed"
    assert kinds["rates", "tou-float peak"] == "added"
    assert kinds["demand_ratchet", "percent"] == "added"
    assert kinds["header", "tier_reset"] == "changed"
    swapped = {"added": "removed", "removed": "added", "changed": "changed"}
    assert {(c.part, c.key): swapped[c.kind] for c in back} == kinds
    assert {c.months for c in forth if c.part == "header"} == {()}


def test_days_elements_and_series_are_compared() -> None:
    hot = '\n[[days]]\ndate = 2025-06-20\nday_type = "hot"\n'
    day = parse_tariff(COMMERCIAL + hot)
    (added,) = diff_tariffs(parse_tariff(COMMERCIAL), day)
    assert (added.part, added.key, added.kind, added.after) == (
        "days",
        "2025-06-20",
        "added",
        "hot",
    )
    (price,) = changes(DYNAMIC, ('"0.0870"', '"0.0871"'))
    assert (price.part, price.key, price.after) == ("dynamic", "2026-07-01 01:00", "0.0871")
    (factor,) = changes(BUSINESSES["power-factor"], ('"0.90"', '"0.85"'))
    assert (factor.part, factor.key, factor.after) == ("power_factor", "standard", "0.85")
    (hours,) = changes(BUSINESSES["demand"], ("min_kwh_per_kva = 260", "min_kwh_per_kva = 300"))
    assert hours.after == "-4.2 CNY/kW-month from 300 kWh/kVA [made-up, unconfirmed]"
    (source,) = changes(
        BUSINESSES["kva-tier"] + '[figure_sources]\ntiers = "made-up"\n', ('tiers = "made-up"', "")
    )
    assert (source.part, source.key, source.kind) == ("figure_sources", "tiers", "removed")
    ladder = changes(HOUSEHOLDS["per-period"], ("upper_limit = 60", "upper_limit = 70"))
    assert [change.key for change in ladder] == ["valley tier 1"]


def test_a_change_is_an_object_for_scripts() -> None:
    (change,) = changes(TIERS, ("upper_limit_kwh = 260", "upper_limit_kwh = 300"))
    assert change.to_json() == {
        "part": "tiers",
        "key": "tier 1",
        "months": [5, 6, 7, 8, 9, 10],
        "change": "changed",
        "before": "to 260 kWh",
        "after": "to 300 kWh",
    }


def test_neighbouring_hours_of_one_label_are_one_segment() -> None:
    windows = parse_tariff(COMMERCIAL).windows
    segments = day_segments(windows, month=1, day_type="weekday")
    assert segments[2] == (600, 720, "peak")
    assert day_segments(windows, month=1, day_type="hot")[2:4] == (
        (600, 660, "peak"),
        (660, 720, "sharp"),
    )


@pytest.mark.parametrize(
    ("validity", "months"),
    [
        ("valid_from = 2025-11-01", ["2025-11", "2025-12", "2026-01"]),
        ("valid_from = 2025-11-02", ["2025-12", "2026-01", "2026-02"]),
        ("valid_from = 2025-11-01\nvalid_to = 2026-01-01", ["2025-11", "2025-12"]),
        ("valid_from = 2025-11-01\nvalid_to = 2025-12-31", ["2025-11"]),
        ("valid_from = 2025-11-02\nvalid_to = 2025-12-31", []),
        ("valid_from = 2025-12-31\nvalid_to = 2026-02-01", ["2026-01"]),
    ],
)
def test_whole_months_of_a_validity(validity: str, months: list[str]) -> None:
    tariff = parse_tariff(TIERS.replace("valid_from = 2021-10-01", validity))
    assert [f"{p.start:%Y-%m}" for p in whole_months(tariff, most=3)] == months
