"""Where SAM and we part, as docs/urdb.md says: each difference is measured here."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from gridsecure.errors import InvalidTariffError
from gridsecure.tariffs.urdb.conversion import UrdbOptions, import_rate
from tests.peer.oracle import load_wh
from tests.peer.sam import DAYS, MONTH_DAYS, MONTHS, sam_bill, sam_energy_of
from tests.peer.test_plaintext_peer import YEAR, ZONE, elements, year_bills

NIGHT_AND_DAY = [[0] * 8 + [1] * 16] * MONTHS
HOME = load_wh("home_h")
METAL = load_wh("metal_q")


def tiers(*limits: int, unit: str = "kWh") -> list[dict[str, Any]]:
    """Each tier costs a tenth more than the one below."""
    ladder: list[dict[str, Any]] = [
        {"rate": Decimal(number + 1) / 10, "unit": unit} for number in range(len(limits) + 1)
    ]
    for tier, limit in zip(ladder, limits, strict=False):
        tier["max"] = limit
    return ladder


def ours(rate: dict[str, Any], wh: list[int], **options: Any) -> dict[str, list[float]]:
    imported = import_rate(
        rate, options=UrdbOptions(tariff_id="T", year=YEAR, timezone=ZONE, **options)
    )
    return elements(year_bills(imported.tariff, wh))


def monthly_peaks_kw(wh: list[int]) -> list[float]:
    per_day = len(wh) // DAYS
    starts = [sum(MONTH_DAYS[:month]) * per_day for month in range(MONTHS + 1)]
    return [max(wh[start:end]) / 1000 * per_day / 24 for start, end in pairwise(starts)]


def test_daily_charge_is_that_of_the_month_and_not_a_twelfth_of_the_year() -> None:
    rate = {
        "energyratestructure": [[{"rate": Decimal("0.1")}]],
        "fixedchargefirstmeter": Decimal("0.4"),
        "fixedchargeunits": "$/day",
    }
    billed = ours(rate, HOME)["fixed"]
    assert billed == pytest.approx([0.4 * days for days in MONTH_DAYS])
    # SAM is told a charge per month; its converter tells it 365 / 12 daily charges.
    theirs = sam_bill(
        rate | {"fixedchargefirstmeter": 0.4 * DAYS / MONTHS, "fixedchargeunits": "$/month"},
        wh=HOME,
    )
    assert sum(theirs.fixed) == pytest.approx(sum(billed))
    assert theirs.fixed[1] - billed[1] == pytest.approx(0.4 * (DAYS / MONTHS - 28))


def test_minimum_per_day_holds_for_the_days_of_the_month() -> None:
    rate = {
        "energyratestructure": [[{"rate": 0}]],
        "mincharge": 2,
        "minchargeunits": "$/day",
    }
    assert ours(rate, HOME)["total"] == pytest.approx([2 * days for days in MONTH_DAYS])


def test_both_refuse_tiers_that_differ_from_period_to_period() -> None:
    rate = {
        "energyratestructure": [tiers(260), tiers(200)],
        "energyweekdayschedule": NIGHT_AND_DAY,
        "metering_option": 0,
    }
    with pytest.raises(Exception, match="Tiers should have the same Max"):
        sam_bill(rate, wh=HOME)
    with pytest.raises(InvalidTariffError) as caught:
        ours(rate, HOME)
    assert caught.value.reason == "urdb.tiers-differ"


def test_conventions_bill_one_load_differently_unless_steps_are_alike() -> None:
    unequal = {
        "energyratestructure": [tiers(200), [{"max": 200, "rate": 1}, {"rate": 3}]],
        "energyweekdayschedule": NIGHT_AND_DAY,
    }
    equal = unequal | {"energyratestructure": [tiers(200), [{"max": 200, "rate": 1},
                                                            {"rate": Decimal("1.1")}]]}  # fmt: skip
    for rate, differ in ((unequal, True), (equal, False)):
        totals = [sum(sam_bill(rate | {"metering_option": n}, wh=HOME).total) for n in range(4)]
        assert totals[0] == pytest.approx(totals[1])
        assert totals[2] == pytest.approx(totals[3])
        assert (abs(totals[0] - totals[2]) > 1) == differ
    assert sum(ours(equal, HOME)["total"]) == pytest.approx(totals[0])


def test_sam_pays_nothing_for_a_negative_price_and_we_do() -> None:
    rate = {"energyratestructure": [[{"rate": Decimal("-0.1")}]]}
    assert sam_bill(rate, wh=HOME).energy == (0.0,) * MONTHS
    assert ours(rate, HOME)["energy"] == pytest.approx(
        [-0.1 * kwh for kwh in sam_bill(rate, wh=HOME).kwh]
    )


def test_sam_bills_a_ratchet_in_full_in_every_demand_window() -> None:
    """Two windows at one price: SAM bills the month's demand twice; we refuse."""
    rate = {
        "energyratestructure": [[{"rate": 0}]],
        "demandratestructure": [[{"rate": 1}], [{"rate": 1}]],
        "demandweekdayschedule": NIGHT_AND_DAY,
        "lookbackpercent": Decimal("0.01"),
        "lookbackrange": 1,
    }
    theirs = sam_bill(rate, wh=METAL)
    assert theirs.demand_tou == pytest.approx([2 * kw for kw in monthly_peaks_kw(METAL)])
    with pytest.raises(InvalidTariffError) as caught:
        ours(rate, METAL)
    assert caught.value.reason == "urdb.lookbackpercent"


def test_sam_looks_back_one_month_more_across_new_year() -> None:
    """A range of one month is December for January, and SAM takes November as well."""
    rate = {
        "energyratestructure": [[{"rate": 0}]],
        "flatdemandstructure": [[{"rate": 1}]],
        "lookbackpercent": 1,
        "lookbackrange": 1,
    }
    november, december = 7_000.0, 1_000.0
    theirs = sam_bill(rate, wh=METAL, year_before_kw=[0.0] * 10 + [november, december])
    assert theirs.demand_flat[:2] == (november, december)
    peaks = monthly_peaks_kw(METAL)
    assert theirs.demand_flat[2] == pytest.approx(max(peaks[1], peaks[2]))


def test_sam_counts_kwh_per_kw_on_the_ratcheted_demand() -> None:
    """In December the highest demand of the year, in February, still counts."""
    rate = {
        "energyratestructure": [tiers(250, unit="kWh/kW")],
        "flatdemandstructure": [[{"rate": 0}]],
        "lookbackpercent": 1,
        "lookbackrange": 11,
    }
    theirs = sam_bill(rate, wh=METAL)
    limit = int(250 * max(monthly_peaks_kw(METAL)))
    by_hand = sam_energy_of([tiers(limit)], wh=round(theirs.kwh[11] * 1000))
    assert theirs.energy[11] == pytest.approx(by_hand)
    with pytest.raises(InvalidTariffError) as caught:
        ours(rate | {"flatdemandstructure": [[{"rate": 1}]]}, METAL)
    assert caught.value.reason == "urdb.lookbackpercent"


def test_sam_bills_no_series_under_net_metering() -> None:
    rate = {"energyratestructure": [[{"rate": 0}]], "ts_buy_rate": [1] * len(HOME)}
    with pytest.raises(Exception, match="not compatible with net metering"):
        sam_bill(rate, wh=HOME)
    assert ours(rate, HOME)["energy"] == pytest.approx(list(sam_bill(rate | {"metering_option": 2},
                                                                     wh=HOME).kwh))  # fmt: skip
