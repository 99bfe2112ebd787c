"""The questions of the documentation, answered from published releases as a reader does it.

What is expected is computed from the plain tables that the releases were made of.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from math import log
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gridsecure.analyst.published_answers import Published, collect_totals, read_published
from gridsecure.analyst.releases import PinnedAuthority, verify_release
from gridsecure.analyst.series_files import load_series
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import NotFoundError
from gridsecure.messages import sign_message
from gridsecure.queries.answers import answer_question
from gridsecure.queries.language import parse_question
from gridsecure.queries.series import choose_series, fill_question
from tests.queries.published_months import (
    MONTHS,
    PLACES,
    bill_release,
    bills,
    curve_release,
    hours_of,
)

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "src" / "gridsecure" / "queries" / "packs"
SERIES = ROOT / "docs" / "series"
KEY = generate_private_key()
JULY, JUNE = hours_of("2026-07"), hours_of("2026-06")


@pytest.fixture(scope="module")
def releases() -> list[Published]:
    return [
        read_published(
            verify_release(
                sign_message(release, key=KEY).model_dump_json().encode(),
                authority=PinnedAuthority(KEY.public_key),
            )
        )
        for month in MONTHS
        for release in (curve_release(month), bill_release(month))
    ]


def answer(name: str, releases: list[Published]) -> pd.DataFrame:
    question = parse_question((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    known = [load_series(path) for path in SERIES.glob("*.csv")]
    series = choose_series(question, known, purpose="research", on=date(2026, 8, 3))
    legs = collect_totals(question, releases)
    return answer_question(fill_question(question, series, legs[0]), legs)


def said(name: str) -> dict[str, Any]:
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


def of_others(name: str) -> list[Fraction]:
    return list(map(Fraction, pd.read_csv(SERIES / f"{name}.csv", dtype=str)["value"]))


def total(frame: pd.DataFrame) -> Fraction:
    return Fraction(int(frame["wh"].sum()), 1000)


def by(column: str, figure: Callable[[pd.DataFrame], Any]) -> list[Any]:
    return [figure(own) for _, own in JULY.groupby(column)]


def average_use() -> list[Fraction]:
    return by("customer_class", lambda own: total(own) / sum(
        points for _, name, points in PLACES if name == own["customer_class"].iloc[0]
    ))  # fmt: skip


def average_bill() -> list[Fraction]:
    own = bills("2026-07").groupby("customer_class")[["fen", "points"]].sum()
    return [Fraction(int(fen), 100 * (int(points) - 2)) for fen, points in own.to_numpy()]


def rate_at(rates: list[dict[str, Any]], clock: str) -> Fraction:
    (found,) = [
        rate["yuan_per_kwh"]
        for rate in rates
        for window in rate["when"]["clock"]
        if window["start"] <= clock < window["end"]
    ]
    return Fraction(found)


def revenue(frame: pd.DataFrame, rates: list[dict[str, Any]]) -> Fraction:
    per_clock = frame.groupby("clock")["wh"].sum()
    return sum(
        (Fraction(int(wh), 1000) * rate_at(rates, clock) for clock, wh in per_clock.items()),
        Fraction(0),
    )


def revenue_by_period() -> list[Fraction]:
    rates = said("02-revenue-by-period")["statistic"]["rates"]
    return [
        amount
        for _, own in JULY.groupby("customer_class")
        for amount in (
            *(
                revenue(own[[rate_at(rates, clock) == Fraction(rate["yuan_per_kwh"])
                             for clock in own["clock"]]], rates)
                for rate in rates
            ),
            revenue(own, rates),
        )
    ]  # fmt: skip


def what_if() -> list[Fraction]:
    statistic = said("04-what-if-rates")["statistic"]
    now, before = revenue(JULY, statistic["rates"]), revenue(JULY, statistic["against"])
    return [now, before, now - before]


def coincident_peak() -> list[Fraction]:
    shares = []
    for _, own in JULY.groupby("zone"):
        curve = own.groupby("start")["wh"].sum()
        at = own[own["start"] == curve.idxmax()]
        shops = at[at["customer_class"] == "shop"]
        shares.append(100 * total(shops) / total(at))
    return shares


def load_factor() -> list[Fraction]:
    found = []
    for _, own in JULY.groupby("customer_class"):
        curve = own.groupby("start")["wh"].sum()
        mean, peak = Fraction(int(curve.sum()), 1000 * len(curve)), Fraction(int(curve.max()), 1000)
        found += [mean, peak, mean / peak, peak / mean]
    return found


def recovery_index() -> list[Fraction]:
    shops, before = (one[one["customer_class"] == "shop"] for one in (JULY, JUNE))
    return [100 * total(own) / (total(before) / 30) for _, own in shops.groupby("day")]


def revenue_index() -> list[Fraction]:
    june, july = (bills(month).groupby("customer_class")["fen"].sum() for month in MONTHS)
    return [
        100 * Fraction(int(now), 31) / Fraction(int(before), 30)
        for now, before in zip(july, june, strict=True)
    ]


def weather() -> list[Fraction]:
    x = of_others("weather")
    y = [total(own) for _, own in JULY[JULY["zone"] == "futian"].groupby("day")]
    n = len(x)
    xy, xx = sum(a * b for a, b in zip(x, y, strict=True)), sum(a * a for a in x)
    slope = (n * xy - sum(x) * sum(y)) / (n * xx - sum(x) ** 2)  # peers' row 12, as it stands
    spread = sum(b * b for b in y) - sum(y) ** 2 / n
    explained = slope * (xy - sum(x) * sum(y) / n) / spread
    return [(sum(y) - slope * sum(x)) / n, slope, explained]


def demand_response() -> list[Fraction]:
    statistic = said("13-demand-response")["statistic"]
    shops = JULY[(JULY["customer_class"] == "shop") & JULY["clock"].between("18:00", "20:59")]
    hours = shops.groupby(["day", shops["clock"].str[:2]])["wh"].sum().unstack()
    found, saved = [], Fraction(0)
    for hour in hours.columns:
        baseline = Fraction(int(hours.loc[statistic["baseline"], hour].sum()), 10_000)
        used = Fraction(int(hours.loc[statistic["event"][0], hour]), 1000)
        found += [baseline, used, baseline - used]
        saved += baseline - used
    return [*found, saved]


def losses() -> list[Fraction]:
    fed_in = of_others("feeder")
    used = [total(own) for _, own in JULY[JULY["zone"] == "futian"].groupby("day")]
    return [part for f, u in zip(fed_in, used, strict=True) for part in (f - u, 100 * (f - u) / f)]


def energy_intensity() -> list[Fraction]:
    shops = JULY[JULY["customer_class"] == "shop"]
    areas = of_others("floor-area")
    return [total(own) / m2 for (_, own), m2 in zip(shops.groupby("zone"), areas, strict=True)]


def collection_rate() -> list[Fraction]:
    billed = bills("2026-07").groupby("customer_class")["fen"].sum()
    paid = of_others("payments")
    return [
        100 * amount / Fraction(int(fen), 100) for amount, fen in zip(paid, billed, strict=True)
    ]


def peak_shift() -> list[Fraction]:
    ratios = []
    for month in (JULY, JUNE):
        homes = month[month["customer_class"] == "household"]
        evening, night = homes["clock"].between("18:00", "20:59"), homes["clock"] < "08:00"
        ratios.append(total(homes[evening]) / total(homes[night]))
    now, before = ratios
    elasticity = -log(now / before) / log(4.47 / 3.82)
    return [now, before, 100 * (now / before - 1), Fraction(round(elasticity, 6))]


def day_ahead() -> list[Fraction]:
    """Of Saturday 1 August, and of each day in July that has four days of its kind before it."""
    hours = JULY[JULY["zone"] == "futian"].groupby(["day", "clock"])["wh"].sum().unstack()
    is_free = pd.to_datetime(hours.index).day_of_week >= 5
    means, actual = [], []
    for own in (hours[is_free], hours[~is_free]):
        for at in range(4, len(own)):
            means += [Fraction(int(own[clock].iloc[at - 4 : at].sum()), 4) for clock in own]
            actual += own.iloc[at].tolist()
    missed = sum(abs(mean - wh) for mean, wh in zip(means, actual, strict=True))
    saturday = [Fraction(int(hours[is_free][clock].iloc[-4:].sum()), 4000) for clock in hours]
    return [*saturday, missed / len(means) / 1000, 100 * missed / sum(actual)]


EXPECTED: dict[str, Callable[[], list[Fraction]]] = {
    "01-load-curve": lambda: [total(own) for _, own in JULY.groupby(["zone", "start"])],
    "02-revenue-by-period": revenue_by_period,
    "03-average-use": average_use,
    "03-average-bill": average_bill,
    "04-what-if-rates": what_if,
    "06-coincident-peak": coincident_peak,
    "07-load-factor": load_factor,
    "08-recovery-index": recovery_index,
    "12-weather": weather,
    "13-demand-response": demand_response,
    "15-energy-intensity": energy_intensity,
    "16-feeder-losses": losses,
    "17-collection-rate": collection_rate,
    "19-peak-shift": peak_shift,
    "day-ahead-forecast": day_ahead,
    "revenue-index": revenue_index,
    "20-fused-total": lambda: [
        total(own) for _, own in JULY.groupby([JULY["day"], JULY["clock"].str[:2]])
    ],
}
NOT_PUBLISHED = {
    "05-private-segment", "09-vacancy", "10-deciles", "11-variation", "14-tier-energy",
    "18-maximum-demand", "unusual-months", "tier-revenue",
}  # fmt: skip


def test_every_example_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.json")} == EXPECTED.keys() | NOT_PUBLISHED


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_is_answered_from_releases_alone(name: str, releases: list[Published]) -> None:
    found = answer(name, releases)
    assert set(found["state"]) == {"told"}
    for value, expected in zip(map(Fraction, found["value"]), EXPECTED[name](), strict=True):
        if value != expected:  # it has no end, and was rounded half up to 6 decimals
            assert abs(value - expected) <= Fraction(1, 2_000_000)
            assert 10**6 % value.denominator == 0


@pytest.mark.parametrize("name", sorted(NOT_PUBLISHED))
def test_an_example_that_is_in_no_release_says_so(name: str, releases: list[Published]) -> None:
    with pytest.raises(NotFoundError) as refused:
        answer(name, releases)
    assert refused.value.reason == "query.not-published"
