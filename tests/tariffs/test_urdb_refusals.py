"""What a URDB import refuses, by element and reason; and documents made to break it."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import InvalidTariffError
from gridsecure.tariffs.urdb.conversion import UrdbOptions, import_rate
from gridsecure.tariffs.urdb.elements import DESCRIPTIVE, MAY_BE_SET_ASIDE, PRICED, parse_urdb
from tests.tariffs.urdb_rates import (
    NIGHT_AND_DAY,
    Rate,
    chosen,
    every_day,
    import_text,
    ladder,
    plain_rate,
    two_periods,
)

ONE = ladder("0.1", limits=())
UNEQUAL = (ladder("0.1", "0.2", limits=(100,)), ladder("0.3", "0.5", limits=(100,)))
FLAT_DEMAND = {"flatdemandstructure": [[{"rate": 5}]], "flatdemandmonths": [0] * 12}
RATCHET = {"lookbackpercent": Decimal("0.8"), "lookbackrange": 11}


def refused(rate: Any, **options: Any) -> InvalidTariffError:
    with pytest.raises(InvalidTariffError) as caught:
        import_rate(rate, options=chosen(**options))
    assert caught.value.remedy
    return caught.value


def energy(*periods: Any, **changed: Any) -> Rate:
    return plain_rate(energyratestructure=list(periods), **changed)


# --- elements without a price ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("coincidentratestructure", [[{"rate": 1}]]),
        ("coincidentrateschedule", every_day(1)),
        ("demandreactivepowercharge", Decimal("0.25")),
        ("demandratchetpercentage", [Decimal("0.5")] * 12),
        ("annualmincharge", 100),
        ("dgrules", "Net Metering"),
        ("usenetmetering", True),
        ("fixedchargeeaaddl", 3),
        ("demandwindow", 15),
        ("energyattrs", [{"Fuel cost": "$0.012"}]),
        ("demandattrs", [{"Rider": "1"}]),
        ("fixedattrs", [{"Rider": "1"}]),
    ],
)
def test_element_is_refused_by_name(element: str, value: Any) -> None:
    error = refused(plain_rate(**{element: value}))
    assert error.reason == f"urdb.{element}"
    assert error.message.startswith(element)
    if element in MAY_BE_SET_ASIDE:
        assert import_text(plain_rate(**{element: value}), set_aside=frozenset({element}))


@pytest.mark.parametrize("element", ["sell", "sunrate"])
def test_price_of_exported_energy_is_refused_by_name(element: str) -> None:
    tier = {"rate": Decimal("0.1"), element: Decimal("0.05")}
    error = refused(energy([tier]))
    assert error.reason == f"urdb.{element}"
    assert f"energyratestructure[0][0].{element}" in error.message
    assert import_text(energy([tier]), set_aside=frozenset({element}))
    assert import_text(energy([{**tier, element: 0}]))


@pytest.mark.parametrize("name", ["energyrate", "rider", "[/bold]", "x" * 500])
def test_unknown_element_is_refused_by_name(name: str) -> None:
    error = refused(plain_rate(**{name: 0}))
    assert error.reason == "urdb.unknown-element"
    assert error.message.startswith(name[:60])
    assert len(error.message) < 200


def test_name_is_shown_without_what_a_terminal_would_obey() -> None:
    error = refused(plain_rate(**{"a\x1b[31m\ud800": 0}))
    assert error.message.startswith("a?[31m?:")


def test_unknown_element_of_a_tier() -> None:
    error = refused(energy([{"rate": 1, "season": "summer"}]))
    assert (error.reason, error.message.split(":")[0]) == (
        "urdb.unknown-element",
        "energyratestructure[0][0].season",
    )


def test_every_element_has_one_meaning() -> None:
    assert not DESCRIPTIVE & PRICED
    assert not (DESCRIPTIVE | PRICED) & MAY_BE_SET_ASIDE


# --- shapes and numbers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "reason", "place"),
    [
        (plain_rate(energyratestructure=None), "energy-missing", "energyratestructure"),
        (plain_rate(energyratestructure=[]), "shape", "energyratestructure"),
        (plain_rate(energyratestructure={}), "shape", "energyratestructure"),
        (plain_rate(energyratestructure=[[]]), "shape", "energyratestructure[0]"),
        (plain_rate(energyratestructure=[{}]), "shape", "energyratestructure[0]"),
        (energy([[]]), "shape", "energyratestructure[0][0]"),
        (energy([{}]), "rate-missing", "energyratestructure[0][0]"),
        (energy([{"max": 5}]), "rate-missing", "energyratestructure[0][0]"),
        (energy(*[ONE] * 289), "shape", "energyratestructure"),
        (energy([{"rate": 1}] * 51), "shape", "energyratestructure[0]"),
        (energy([{"rate": True}]), "number", "energyratestructure[0][0].rate"),
        (energy([{"rate": "0.1"}]), "number", "energyratestructure[0][0].rate"),
        (energy([{"rate": 0.1}]), "number", "energyratestructure[0][0].rate"),
        (energy([{"rate": [1]}]), "number", "energyratestructure[0][0].rate"),
        (energy([{"rate": Decimal("NaN")}]), "number", "energyratestructure[0][0].rate"),
        (energy([{"rate": Decimal("-Infinity")}]), "number", "energyratestructure[0][0].rate"),
        (energy([{"rate": Decimal("1e999999")}]), "number", "energyratestructure[0][0].rate"),
        (energy([{"rate": Decimal("1e-999999")}]), "number", "energyratestructure[0][0].rate"),
        (energy([{"rate": 10**50}]), "number", "energyratestructure[0][0].rate"),
        (energy([{"rate": Decimal("0.123456789")}]), "decimals",
         "energyratestructure[0][0].rate"),
        (energy([{"rate": 1, "unit": 5}]), "text", "energyratestructure[0][0].unit"),
        (energy([{"rate": 1, "unit": "kVAh"}]), "unit", "energyratestructure[0][0].unit"),
        (energy([{"rate": 1, "sell": "0"}]), "number", "energyratestructure[0][0].sell"),
        (plain_rate(name=5), "text", "name"),
        (plain_rate(name="half \ud800"), "text", "name"),
        (plain_rate(startdate=-1), "startdate", "startdate"),
        (plain_rate(startdate=10**12), "startdate", "startdate"),
        (plain_rate(startdate=Decimal("1.5")), "number", "startdate"),
        (plain_rate(startdate="2018-01-01"), "number", "startdate"),
        (plain_rate(tier_reset="weekly"), "tier-reset", "tier_reset"),
        (plain_rate(metering_option=4), "metering-option", "metering_option"),
        (plain_rate(metering_option=True), "number", "metering_option"),
        (plain_rate(fueladjustmentsmonthly=[0] * 11), "shape", "fueladjustmentsmonthly"),
        (plain_rate(fueladjustmentsmonthly=[0] * 11 + ["x"]), "number",
         "fueladjustmentsmonthly[11]"),
    ],
)  # fmt: skip
def test_what_is_not_a_rate(rate: Rate, reason: str, place: str) -> None:
    error = refused(rate)
    assert (error.reason, error.message.split(":")[0]) == (f"urdb.{reason}", place)


@pytest.mark.parametrize("document", [None, 5, "rate", [], [{}], True])
def test_what_is_not_an_object(document: Any) -> None:
    assert refused(document).reason == "urdb.shape"


@pytest.mark.parametrize("items", [[], [plain_rate()] * 2, {}, None])
def test_envelope_without_exactly_one_rate(items: Any) -> None:
    error = refused({"items": items})
    assert error.reason == "urdb.items"
    assert "label" in error.remedy


def test_element_given_twice() -> None:
    error = refused(plain_rate(LABEL="L2"))
    assert error.reason == "urdb.duplicate-element"


# --- JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "syntax"),
        ("{", "syntax"),
        ("[" * 100_000, "syntax"),
        ('{"a":' * 100_000, "syntax"),
        (f'{{"rate": {"9" * 10_000}}}', "syntax"),
        ('{"rate": NaN}', "number"),
        ('{"rate": Infinity}', "number"),
        ('{"rate": -Infinity}', "number"),
        ('{"label": "a", "label": "b"}', "duplicate-element"),
        ('{"energyratestructure": [[{"rate": 1, "rate": 2}]]}', "duplicate-element"),
        ("[]", "shape"),
        ("null", "shape"),
        ('{"items": []}', "items"),
    ],
)
def test_json_that_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidTariffError) as caught:
        parse_urdb(text)
    assert caught.value.reason == f"urdb.{reason}"


def test_number_without_end_is_refused() -> None:
    text = '{"label": "L", "energyratestructure": [[{"rate": 0.' + "1" * 100_000 + "}]]}"
    assert refused(parse_urdb(text)).reason == "urdb.number"


# --- tiers and schedules -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "place"),
    [
        ((0,), "energyratestructure[0][0].max"),
        ((-5,), "energyratestructure[0][0].max"),
        ((200, 200), "energyratestructure[0][1].max"),
        ((200, 100), "energyratestructure[0][1].max"),
        ((None, 100), "energyratestructure[0][0]"),
        ((Decimal("1e38"), 100), "energyratestructure[0][0]"),
        ((100, 200, 300), "energyratestructure[0][2].max"),
    ],
)
def test_ladder_that_is_none(limits: tuple[Any, ...], place: str) -> None:
    error = refused(energy(ladder("0.1", "0.2", "0.3", limits=limits)))
    assert (error.reason, error.message.split(":")[0]) == ("urdb.tier-limit", place)


def test_limits_in_two_units() -> None:
    tiers = ladder("0.1", "0.2", "0.3", limits=(100, 200), unit="kWh")
    tiers[1]["unit"] = "kWh/kW"
    error = refused(energy(tiers))
    assert error.reason == "urdb.unit"
    assert "kWh, kWh/kW" in error.message


def test_limits_in_parts_of_use_hours_are_left_to_the_engine() -> None:
    rate = energy(ladder("0.1", "0.2", limits=(Decimal("1.5"),), unit="kWh/kW"))
    assert refused(rate).reason.startswith("tariff.")


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (every_day(0)[:11], "schedule"),
        ([*every_day(0), [0] * 24], "schedule"),
        ([[0] * 25, *every_day(0)[1:]], "schedule"),
        ([[0] * 23, *every_day(0)[1:]], "schedule"),
        ([0] * 12, "schedule"),
        ("0" * 288, "schedule"),
        (every_day(2), "period"),
        (every_day(-1), "period"),
        (every_day(True), "number"),
        (every_day("0"), "number"),
        (every_day(Decimal("0.5")), "number"),
    ],
)
@pytest.mark.parametrize("day_type", ["weekday", "weekend"])
@pytest.mark.parametrize("kind", ["energy", "demand"])
def test_schedule_that_is_none(kind: str, day_type: str, schedule: Any, reason: str) -> None:
    rate = two_periods(ONE, ONE) | {
        "demandratestructure": [[{"rate": 1}], [{"rate": 2}]],
        "demandweekdayschedule": NIGHT_AND_DAY,
        "demandweekendschedule": NIGHT_AND_DAY,
    }
    name = f"{kind}{day_type}schedule"
    error = refused(rate | {name: schedule})
    assert error.reason == f"urdb.{reason}"
    assert error.message.startswith(name)


def test_periods_without_a_schedule() -> None:
    assert refused(energy(ONE, ONE)).reason == "urdb.schedule"
    weekend_only = {"energyweekendschedule": NIGHT_AND_DAY}
    assert refused(energy(ONE, ONE, **weekend_only)).reason == "urdb.schedule"


def test_tiers_of_a_year_count_kwh() -> None:
    tiers = ladder("0.1", "0.2", limits=(10,), unit="kWh daily")
    assert refused(energy(tiers, tier_reset="annual")).reason == "urdb.tier-reset"


# --- tiers and time of use in one month --------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "options"),
    [
        ({}, {}),
        ({"dgrules": "Buy All Sell All"}, {"set_aside": frozenset({"dgrules"})}),
        ({"dgrules": "Net Metering", "metering_option": 2}, {"set_aside": frozenset({"dgrules"})}),
        ({}, {"tier_convention": "uniform-adder"}),
    ],
)
def test_convention_is_not_guessed(changed: dict[str, Any], options: dict[str, Any]) -> None:
    error = refused(two_periods(*UNEQUAL, **changed), **options)
    assert error.reason == "urdb.tier-convention"
    assert "pro-rata" in error.remedy


@pytest.mark.parametrize(
    "other",
    [
        ladder("0.3", "0.5", limits=(120,)),
        ladder("0.3", limits=()),
        ladder("0.3", "0.5", "0.6", limits=(100, 200)),
    ],
)
@pytest.mark.parametrize("convention", ["pro-rata", "chronological", "uniform-adder", None])
def test_tiers_that_differ_from_period_to_period(other: list[Rate], convention: str | None) -> None:
    error = refused(two_periods(UNEQUAL[0], other), tier_convention=convention)
    assert error.reason == "urdb.tiers-differ"
    assert error.message.startswith("energyratestructure[1]: in month 1")


# --- prices by interval ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "changed", "options", "reason"),
    [
        ([0] * 8784, {}, {}, "ts_buy_rate"),
        ([0] * 17, {}, {}, "ts_buy_rate"),
        ([], {}, {}, "shape"),
        (["0"] * 8760, {}, {}, "number"),
        ([0] * 8760, {"energyratestructure": [ONE]}, {}, "ts_buy_rate"),
        ([0] * 8760, {}, {"year": 2020}, "year"),
        ([0] * 8760, {"startdate": 0}, {"year": None}, "year"),
    ],
)
def test_series_that_is_none(
    series: Any, changed: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    rate = energy([{"rate": 0}], ts_buy_rate=series) | changed
    assert refused(rate, **options).reason == f"urdb.{reason}"


# --- demand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"flatdemandstructure": [[{"rate": 5, "max": 9}, {"rate": 6}]]}, "demand-tiers"),
        ({"flatdemandstructure": [[{"rate": 5, "max": 9}]]}, "tier-limit"),
        ({"flatdemandstructure": [[{"rate": 5, "unit": "kVA"}]]}, "unit"),
        ({"flatdemandstructure": [[{"rate": 5}], [{"rate": 6}]]}, "schedule"),
        ({**FLAT_DEMAND, "flatdemandunit": "kVA"}, "unit"),
        ({**FLAT_DEMAND, "flatdemandunit": "hp"}, "unit"),
        ({**FLAT_DEMAND, "flatdemandunit": "kW daily"}, "unit"),
        ({**FLAT_DEMAND, "demandunits": "kVA"}, "unit"),
        ({**FLAT_DEMAND, "flatdemandmonths": [0] * 11}, "shape"),
        ({**FLAT_DEMAND, "flatdemandmonths": [1] * 12}, "period"),
        ({**FLAT_DEMAND, "flatdemandmonths": [True] * 12}, "number"),
        ({"demandratestructure": [[{"rate": 5, "max": 9}, {"rate": 6}]]}, "demand-tiers"),
        ({"demandratestructure": [[{"rate": 5}], [{"rate": 6}]]}, "schedule"),
        ({"demandratestructure": [[{"rate": 5}]], "demandrateunit": "kVA"}, "unit"),
        ({"demandratestructure": [[{"rate": 5}]], "demandrateunit": "hp daily"}, "unit"),
        ({**FLAT_DEMAND, "lookbackpercent": 80, "lookbackrange": 11}, "lookbackpercent"),
        ({**FLAT_DEMAND, "lookbackpercent": Decimal("-0.1")}, "lookbackpercent"),
        ({**FLAT_DEMAND, "lookbackpercent": True}, "number"),
        ({**FLAT_DEMAND, "lookbackpercent": Decimal("0.8")}, "lookbackrange"),
        ({**FLAT_DEMAND, **RATCHET, "lookbackrange": 13}, "lookbackrange"),
        ({**FLAT_DEMAND, **RATCHET, "lookbackrange": -1}, "lookbackrange"),
        ({**FLAT_DEMAND, **RATCHET, "lookbackmonths": [1] * 11}, "shape"),
        ({**FLAT_DEMAND, **RATCHET, "lookbackmonths": [2] * 12}, "lookbackmonths"),
        ({**FLAT_DEMAND, **RATCHET, "lookbackmonths": ["1"] * 12}, "number"),
        ({**FLAT_DEMAND, **RATCHET, "demandratestructure": [[{"rate": 5}]]}, "lookbackpercent"),
        ({**FLAT_DEMAND, **RATCHET,
          "energyratestructure": [ladder("0.1", "0.2", limits=(9,), unit="kWh/kW")]},
         "lookbackpercent"),
    ],
)  # fmt: skip
def test_demand_that_is_not_billed(changed: dict[str, Any], reason: str) -> None:
    assert refused(plain_rate(**changed)).reason == f"urdb.{reason}"


# --- fixed and minimum charges -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"fixedchargefirstmeter": 5}, "unit"),
        ({"fixedchargefirstmeter": 5, "fixedchargeunits": "$/week"}, "unit"),
        ({"fixedchargefirstmeter": 100, "fixedchargeunits": "$/year"}, "fixedchargefirstmeter"),
        ({"fixedchargefirstmeter": -5, "fixedchargeunits": "$/month"}, "number"),
        ({"fixedchargefirstmeter": 5, "fixedchargeunits": "$/month", "fixedmonthlycharge": 5},
         "duplicate-element"),
        ({"mincharge": 5}, "unit"),
        ({"mincharge": 120, "minchargeunits": "$/year"}, "mincharge"),
        ({"mincharge": 5, "minchargeunits": "$/month", "minmonthlycharge": 5},
         "duplicate-element"),
        ({"mincharge": "5"}, "number"),
    ],
)  # fmt: skip
def test_charge_that_is_not_billed(changed: dict[str, Any], reason: str) -> None:
    assert refused(plain_rate(**changed)).reason == f"urdb.{reason}"


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"tier_convention": "net-metering"},
        {"set_aside": frozenset({"demandratestructure"})},
        {"year": 1492},
    ],
)
def test_option_that_is_none(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidTariffError) as caught:
        UrdbOptions(**options)
    assert caught.value.reason == "urdb.option"


def test_rate_without_a_date_or_a_label() -> None:
    assert refused(plain_rate(), year=None).reason == "urdb.startdate"
    assert refused(plain_rate(label=None)).reason == "urdb.label"


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"currency": "XYZ"}, "currency"), ({"timezone": "Mars/Olympus"}, "timezone")],
)
def test_what_the_tariff_reader_refuses(options: dict[str, str], reason: str) -> None:
    assert refused(plain_rate(), **options).reason == f"tariff.{reason}"


# --- anything at all ---------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 400)
    | st.text(max_size=5)
    | st.decimals(allow_nan=True, allow_infinity=True)
    | st.sampled_from(["kW", "kWh", "$/month", "$/day", "kWh/kW", "Net Metering"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["rate", "max", "adj", "unit", "sell"]), inner)
    ),
    max_leaves=12,
)
KEYS = st.sampled_from(sorted(DESCRIPTIVE | PRICED | MAY_BE_SET_ASIDE)) | st.text(max_size=8)


@given(changed=st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_document_is_imported_or_refused(changed: dict[str, Any]) -> None:
    with suppress(InvalidTariffError):
        assert import_text(two_periods(ONE, ONE) | changed)
