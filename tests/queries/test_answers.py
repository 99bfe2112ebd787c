"""Answers equal what the readings say, computed one by one in the open, and to the last digit."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from math import log
from statistics import fmean, linear_regression, pvariance
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridsecure.errors import InputError
from gridsecure.plans.noise import half_width
from gridsecure.queries.answers import answer_question
from gridsecure.queries.language import Question
from tests.queries.plain_grid import PlainGrid, plain_grid, total_up
from tests.queries.questions import question

DAYS = ["2026-06-29", "2026-06-30", *(f"2026-07-{day:02d}" for day in range(1, 9))]
BY_CLASS = {"group_by": ["customer_class"]}
SHOPS = {"customer_class": ["shop"]}
FUTIAN = {"zone": ["futian"]}
NIGHT = {"clock": [{"start": "00:00", "end": "08:00"}]}
DAY = {"clock": [{"start": "08:00", "end": "24:00"}]}


@pytest.fixture(scope="module")
def grid() -> PlainGrid:
    return plain_grid(DAYS)


@pytest.fixture(scope="module")
def july(grid: PlainGrid) -> pd.DataFrame:
    rows = grid.readings
    return rows[rows["start"] >= "2026-07"].assign(
        day=rows["start"].str[:10], clock=rows["start"].str[11:16], hour=rows["start"].str[:13]
    )


def answer(grid: PlainGrid, *, withheld: Any = None, **fields: Any) -> pd.DataFrame:
    asked = question(**fields)
    return answer_question(asked, [total_up(leg, grid, withheld=withheld) for leg in asked.legs])


def rounded(number: Fraction | int, places: int = 6) -> Decimal:
    """The way round that schoolbooks go, with as many digits as it takes."""
    with localcontext() as context:
        context.prec = 80
        exact = Decimal(Fraction(number).numerator) / Decimal(Fraction(number).denominator)
        return exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def values(frame: pd.DataFrame, quantity: str = "") -> list[Decimal | None]:
    kept = frame if not quantity else frame[frame["quantity"] == quantity]
    return list(kept["value"])


def test_numbers_with_noise_say_how_near_they_are(grid: PlainGrid) -> None:
    """Of a sum, a mean and differences; what divides totals says nothing of it."""
    scale, noise = 5_000, {"private": {"epsilon": "1"}}

    def near(**fields: Any) -> set[Decimal | None]:
        asked = question(**BY_CLASS, **fields, **noise)
        legs = [total_up(leg, grid).model_copy(update={"noise": scale}) for leg in asked.legs]
        return set(answer_question(asked, legs)["uncertainty"])

    one, two = (Decimal(half_width([scale] * n)) / 1000 for n in (1, 2))
    assert near() == {one}
    assert one < two < 3 * one
    assert near(statistic={"name": "difference", "base": {"month": "2026-06"}}) == {two}
    (crowd, *_) = {r["meter_points"] for r in answer(grid, **BY_CLASS).to_dict("records")}
    assert rounded(Fraction(one) / crowd) in near(statistic={"name": "mean"})
    assert near(statistic={"name": "load_factor"}, every="hour") == {None}
    assert "uncertainty" not in answer(grid).columns, "exact numbers have none"


def test_sums_of_groups_and_steps(grid: PlainGrid, july: pd.DataFrame) -> None:
    found = answer(grid, **BY_CLASS, every="day")
    expected = july.groupby(["customer_class", "day"])["wh"].sum()
    assert [
        (row.customer_class, row.start[:10], row.value * 1000) for row in found.itertuples()
    ] == [(*key, wh) for key, wh in expected.items()]
    assert set(found["unit"]) == {"kWh"}
    assert found["value"].map(type).eq(Decimal).all()
    assert dict(zip(found["customer_class"], found["meter_points"], strict=True)) == {
        "household": 13,
        "shop": 5,
    }


def test_counts_and_windows(grid: PlainGrid, july: pd.DataFrame) -> None:
    found = answer(grid, measure="count", where=FUTIAN)
    assert (values(found), set(found["unit"])) == ([Decimal(12)], {"meter points"})
    night = july[july["clock"] < "08:00"]["wh"].sum()
    assert values(answer(grid, when=NIGHT)) == [Decimal(int(night)).scaleb(-3)]


def test_means_per_meter_point_and_customer(grid: PlainGrid, july: pd.DataFrame) -> None:
    total = int(july[july["customer_class"] == "shop"]["wh"].sum())
    per_point = answer(grid, where=SHOPS, statistic={"name": "mean"})
    assert values(per_point) == [rounded(Fraction(total, 5000))]
    per_customer = answer(grid, where=SHOPS, statistic={"name": "mean", "per": "customer"})
    assert values(per_customer) == [rounded(Fraction(total, 4000))]
    assert list(per_customer["unit"]) == ["kWh per customer"]


def test_shares_and_differences_of_cohorts_that_overlap(
    grid: PlainGrid, july: pd.DataFrame
) -> None:
    futian = july[july["zone"] == "futian"].groupby("day")["wh"].sum()
    homes = july[july["customer_class"] == "household"].groupby("day")["wh"].sum()
    all_of_it = july.groupby("day")["wh"].sum()
    of_homes = {"name": "share", "of": {"customer_class": ["household"]}}
    assert values(answer(grid, where=FUTIAN, every="day", statistic=of_homes)) == [
        rounded(Fraction(100 * int(a), int(b))) for a, b in zip(futian, homes, strict=True)
    ]
    assert values(answer(grid, where=FUTIAN, every="day", statistic={"name": "share"})) == [
        rounded(Fraction(100 * int(a), int(b))) for a, b in zip(futian, all_of_it, strict=True)
    ]
    less = {"name": "difference", "of": {"customer_class": ["household"]}}
    assert values(answer(grid, where=FUTIAN, every="day", statistic=less)) == [
        Decimal(int(a) - int(b)).scaleb(-3) for a, b in zip(futian, homes, strict=True)
    ]


def test_periods_are_compared(grid: PlainGrid) -> None:
    rows = grid.readings
    june = int(rows[rows["start"] < "2026-07"]["wh"].sum())
    per_day = rows[rows["start"] >= "2026-07"].groupby(rows["start"].str[:10])["wh"].sum()
    base = {"month": "2026-06"}
    found = answer(grid, every="day", statistic={"name": "index", "base": base})
    # Two days of June are there; their mean power is that of a day of 1,440 minutes.
    assert values(found) == [rounded(Fraction(100 * int(wh) * 2, june)) for wh in per_day]
    whole = answer(grid, statistic={"name": "difference", "base": base})
    assert values(whole) == [Decimal(int(per_day.sum()) - june).scaleb(-3)]
    with pytest.raises(InputError) as refused:
        answer(grid, every="day", statistic={"name": "difference", "base": base})
    assert refused.value.reason == "query.steps"


def test_load_factor_and_coincident_peak(grid: PlainGrid, july: pd.DataFrame) -> None:
    curve = july[july["customer_class"] == "shop"].groupby("hour")["wh"].sum()
    found = answer(grid, where=SHOPS, every="hour", statistic={"name": "load_factor"})
    mean, peak = Fraction(int(curve.sum()), len(curve)), int(curve.max())
    assert values(found) == [
        rounded(mean / 1000), rounded(Fraction(peak, 1000)), rounded(mean / peak),
        rounded(peak / mean),
    ]  # fmt: skip
    assert found["start"][1][:13] == curve.idxmax()
    all_of_it = july.groupby("hour")["wh"].sum()
    at = all_of_it.idxmax()
    share = answer(grid, where=SHOPS, every="hour", statistic={"name": "coincident_peak"})
    assert values(share) == [rounded(Fraction(100 * int(curve[at]), int(all_of_it[at])))]
    assert share["start"][0][:13] == at


def test_revenue_of_rates_of_the_asker(grid: PlainGrid, july: pd.DataFrame) -> None:
    rates = [
        {"name": "valley", "yuan_per_kwh": "0.30291375", "when": NIGHT},
        {"name": "day", "yuan_per_kwh": "0.7", "when": DAY},
    ]
    against = [{"yuan_per_kwh": "0.65"}]
    what_if = {"name": "what_if", "rates": rates, "against": against}
    found = answer(grid, every="interval", **BY_CLASS, statistic=what_if)
    for customer_class, own in july.groupby("customer_class"):
        night = Fraction(int(own[own["clock"] < "08:00"]["wh"].sum()), 1000)
        whole = Fraction(int(own["wh"].sum()), 1000)
        valley, day = night * Fraction("0.30291375"), (whole - night) * Fraction("0.7")
        before = whole * Fraction("0.65")
        expected = [valley, day, valley + day, before, valley + day - before]
        assert [
            Fraction(v) for v in values(found[found["customer_class"] == customer_class])
        ] == expected, "no digit is rounded"
    assert list(found["quantity"][:3]) == ["revenue at valley", "revenue at day", "revenue"]


def test_revenue_of_a_tier_at_a_rate_of_the_asker(grid: PlainGrid, july: pd.DataFrame) -> None:
    what_if = {"name": "what_if", "rates": [{"yuan_per_kwh": "0.7278"}]}
    (found,) = values(answer(grid, measure="tier:2", statistic=what_if))
    # The plain grid has no tiers: its total stands for that of one.
    assert Fraction(found) == Fraction(int(july["wh"].sum()), 1000) * Fraction("0.7278")


def test_bins_and_quantiles(grid: PlainGrid, july: pd.DataFrame) -> None:
    kwh = july.groupby("pseudonym")["wh"].sum() / 1000
    edges = [550, 570, 580, 600]
    found = answer(grid, statistic={"name": "histogram", "edges_kwh": edges})
    expected, _ = np.histogram(kwh, bins=[0, *edges, 10**6])
    assert values(found) == list(map(Decimal, expected.tolist()))
    assert list(found["quantity"][[0, 1, 4]]) == [
        "below 550 kWh", "550 to 570 kWh", "600 kWh and more",
    ]  # fmt: skip
    shares = {"name": "histogram", "edges_kwh": edges, "shown": "share"}
    assert values(answer(grid, statistic=shares)) == [
        rounded(Fraction(100 * int(n), 18)) for n in expected
    ]
    points = {"name": "quantile", "edges_kwh": edges, "points": ["0.25", "0.5", "0.99"]}
    found = answer(grid, statistic=points)
    below = np.cumsum(expected)
    assert below[-2] < 0.99 * 18, "the last quantile lies beyond the edges"
    assert list(found["state"]) == ["told", "told", "beyond the last edge"]
    for value, wanted in zip(values(found)[:2], (4.5, 9), strict=True):
        assert float(value) == pytest.approx(np.interp(wanted, [0, *below[:-1]], [0, *edges]))


def test_variance_and_variation(grid: PlainGrid, july: pd.DataFrame) -> None:
    of_shops = july[july["customer_class"] == "shop"]
    per_day = of_shops.groupby(["day", "pseudonym"])["wh"].sum().groupby("day").agg(list)
    found = answer(grid, where=SHOPS, every="day", statistic={"name": "variance"})
    assert values(found) == [
        rounded(pvariance([Fraction(int(wh), 1000) for wh in numbers])) for numbers in per_day
    ]
    found = answer(grid, where=SHOPS, every="day", statistic={"name": "cv"})
    for value, numbers in zip(values(found), per_day, strict=True):
        assert float(value) == pytest.approx(float(np.std(numbers) / fmean(numbers)), abs=6e-7)


def test_concentration(grid: PlainGrid, july: pd.DataFrame) -> None:
    own = [int(wh) for wh in july.groupby("pseudonym")["wh"].sum()]
    (found,) = values(answer(grid, statistic={"name": "hhi"}))
    assert found == rounded(sum(Fraction(wh, sum(own)) ** 2 for wh in own))


def test_use_that_moves_from_peak_to_valley(grid: PlainGrid) -> None:
    rows = grid.readings.assign(clock=grid.readings["start"].str[11:16])
    night = rows["clock"] < "08:00"
    evening = rows["clock"].between("18:00", "21:59")
    ratios = [
        Fraction(int(rows[part & evening]["wh"].sum()), int(rows[part & night]["wh"].sum()))
        for part in (rows["start"] >= "2026-07", rows["start"] < "2026-07")
    ]
    shift = {
        "name": "shift",
        "base": {"month": "2026-06"},
        "peak": [{"start": "18:00", "end": "22:00"}],
        "valley": NIGHT["clock"],
        "price_ratio": {"now": "4.5", "base": "3"},
    }
    found = answer(grid, every="hour", statistic=shift)
    now, before = ratios
    assert values(found)[:3] == [rounded(now), rounded(before), rounded(100 * (now / before - 1))]
    assert float(values(found)[3]) == pytest.approx(-log(now / before) / log(1.5), abs=6e-7)


def test_regression_on_public_series(grid: PlainGrid, july: pd.DataFrame) -> None:
    per_day = july.groupby("day")["wh"].sum()
    degrees = ["28.5", "30", "31.2", "29.9", "27", "33.3", "35", "34.1"]
    weekend = [0, 0, 0, 1, 1, 0, 0, 0]
    one = answer(
        grid, every="day", statistic={"name": "regression", "series": {"temperature": degrees}}
    )
    plain = linear_regression(list(map(float, degrees)), list(per_day / 1000))
    assert [float(v) for v in values(one)[:2]] == pytest.approx([plain.intercept, plain.slope])
    two = {"name": "regression", "series": {"temperature": degrees, "weekend": weekend}}
    table = np.column_stack([np.ones(8), list(map(float, degrees)), weekend])
    found, rest, *_ = np.linalg.lstsq(table, np.array(per_day / 1000, dtype=float))
    spread = float(np.var(per_day / 1000) * 8)
    assert [float(v) for v in values(answer(grid, every="day", statistic=two))] == pytest.approx(
        [*found, 1 - rest[0] / spread], abs=1e-6
    )
    ridge = two | {"ridge": "2.5"}
    centred = table[:, 1:] - table[:, 1:].mean(axis=0)
    y = np.array(per_day / 1000, dtype=float)
    slopes = np.linalg.solve(centred.T @ centred + 2.5 * np.eye(2), centred.T @ (y - y.mean()))
    assert [float(v) for v in values(answer(grid, every="day", statistic=ridge))[1:3]] == (
        pytest.approx(slopes, abs=1e-6)
    )
    flat = {"name": "regression", "series": {"temperature": [30] * 8}}
    assert set(answer(grid, every="day", statistic=flat)["state"]) == {"undefined"}
    short = {"name": "regression", "series": {"temperature": [30] * 7}}
    with pytest.raises(InputError, match="has 7 values, and there are 8 steps") as refused:
        answer(grid, every="day", statistic=short)
    assert refused.value.reason == "query.steps"


def test_weighted_sums(grid: PlainGrid, july: pd.DataFrame) -> None:
    weights = ["0.5", 1, "2.25", 0, 0, 0, "0.000000001", 3]
    per_day = july.groupby("day")["wh"].sum()
    (found,) = values(answer(grid, every="day", statistic={"name": "score", "weights": weights}))
    assert Fraction(found) == sum(
        Fraction(str(w)) * int(wh) / 1000 for w, wh in zip(weights, per_day, strict=True)
    )


def test_demand_response(grid: PlainGrid, july: pd.DataFrame) -> None:
    event, baseline = "2026-07-08", ["2026-07-01", "2026-07-02", "2026-07-07"]
    statistic = {"name": "saving", "event": [event], "baseline": baseline}
    evening = {"clock": [{"start": "18:00", "end": "20:00"}]}
    found = answer(grid, where=SHOPS, every="hour", when=evening, statistic=statistic)
    own = july[(july["customer_class"] == "shop") & july["clock"].between("18:00", "19:59")]
    hours = own.groupby(["day", own["clock"].str[:2]])["wh"].sum().unstack()
    mean = [Fraction(int(hours.loc[baseline, hour].sum()), 3000) for hour in hours.columns]
    used = [Fraction(int(hours.loc[event, hour]), 1000) for hour in hours.columns]
    saved = [a - b for a, b in zip(mean, used, strict=True)]
    assert values(found, "baseline") == [rounded(one) for one in mean]
    assert list(map(Fraction, values(found, "used"))) == used
    assert values(found, "saving") == [rounded(one) for one in saved]
    assert values(found, "saving in all") == [rounded(sum(saved))]


def test_a_forecast_shows_its_error() -> None:
    days = [f"2026-07-{day:02d}" for day in range(1, 20)]  # until a Sunday
    grid = plain_grid(days)
    rows = grid.readings.assign(
        day=pd.to_datetime(grid.readings["start"].str[:10]), hour=grid.readings["start"].str[11:13]
    )
    hours = rows.groupby(["day", "hour"])["wh"].sum().unstack()
    kind = pd.Series(hours.index.day_of_week >= 5, index=hours.index)
    expected, errors, used = [], [], 0
    for own in (hours[kind], hours[~kind]):
        mean = own.rolling(3).mean().shift(1)
        tested = mean.notna().all(axis=1)
        errors += list((mean - own).abs()[tested].to_numpy().ravel())
        used += own[tested].to_numpy().sum()
    expected = [
        rounded(Fraction(int(sum(own)), 3000)) for own in hours[~kind].iloc[-3:].T.to_numpy()
    ]
    found = answer(grid, every="hour", statistic={"name": "forecast", "days": 3})
    assert values(found, "forecast") == expected, "a Monday is like the last three workdays"
    assert found["start"][0] == "2026-07-20T00:00:00+08:00"
    error, share = (float(value) for value in values(found)[-2:])
    assert error == pytest.approx(fmean(errors) / 1000, abs=1e-6)
    assert share == pytest.approx(100 * sum(errors) / used, abs=1e-6)
    too_few = answer(grid, every="hour", statistic={"name": "forecast", "days": 14})
    assert set(too_few["state"]) == {"undefined"}


def test_losses_of_a_feeder(grid: PlainGrid, july: pd.DataFrame) -> None:
    used = july[july["zone"] == "futian"].groupby("day")["wh"].sum()
    fed_in = [str(Decimal(int(wh) + 1234 * n).scaleb(-3)) for n, wh in enumerate(used)]
    loss = {"name": "loss", "fed_in_kwh": fed_in}
    found = answer(grid, where=FUTIAN, every="day", statistic=loss)
    assert values(found, "loss") == [Decimal(1234 * n).scaleb(-3) for n in range(8)]
    assert values(found, "share lost") == [
        rounded(Fraction(123_400 * n, int(wh) + 1234 * n)) for n, wh in enumerate(used)
    ]


def test_ratios_to_what_the_asker_knows(grid: PlainGrid, july: pd.DataFrame) -> None:
    given = [{"group": ["futian"], "amount": "1250.5"}]
    ratio = {"name": "ratio", "unit": "m²", "given": given}
    found = answer(grid, group_by=["zone"], statistic=ratio)
    used = int(july[july["zone"] == "futian"]["wh"].sum())
    assert values(found) == [rounded(Fraction(used, 1000) / Fraction("1250.5")), None]
    assert list(found["state"]) == ["told", "not given"]
    assert list(found["unit"]) == ["kWh per m²"] * 2
    paid = ratio | {"is_share": True}
    assert values(answer(grid, group_by=["zone"], statistic=paid))[0] == (
        rounded(100 * Fraction("1250.5") / Fraction(used, 1000))
    )


STATISTICS: list[dict[str, Any]] = [
    {"name": "sum"},
    {"name": "mean"},
    {"name": "share", "of": FUTIAN},
    {"name": "index", "base": {"month": "2026-06"}},
    {"name": "load_factor"},
    {"name": "coincident_peak", "of": FUTIAN},
    {"name": "what_if", "rates": [{"yuan_per_kwh": "0.5"}]},
    {"name": "variance"},
    {"name": "cv"},
    {"name": "hhi"},
    {"name": "regression", "series": {"x": list(range(8))}},
    {"name": "score", "weights": [1] * 8},
    {"name": "saving", "event": ["2026-07-02"], "baseline": ["2026-07-01"]},
]


@pytest.mark.parametrize("statistic", STATISTICS, ids=lambda one: one["name"])
def test_nothing_is_told_that_a_withheld_part_belongs_to(
    grid: PlainGrid, statistic: dict[str, Any]
) -> None:
    day = "2026-07-02T00:00:00+08:00"
    found = answer(
        grid,
        where={"customer_class": ["household"]},
        group_by=["zone"],
        every="day",
        statistic=statistic,
        withheld={("futian",): day},
    )
    of_that_day = found[
        (found["zone"] == "futian")
        & (found["start"] <= day)
        & (found["end"] > day)
        & (found["quantity"] != "baseline")  # which is of other days
    ]
    assert set(of_that_day["state"]) == {"withheld"}
    assert of_that_day["value"].isna().all()
    assert "withheld" not in set(found[found["zone"] == "luohu"]["state"])


def test_totals_of_another_question_are_not_taken(grid: PlainGrid) -> None:
    asked = question()
    with pytest.raises(ValueError, match="another question"):
        answer_question(asked, [])
    with pytest.raises(ValueError, match="another question"):
        answer_question(question(statistic={"name": "cv"}), [total_up(asked, grid)])


def test_an_answer_takes_totals_of_any_size() -> None:
    asked = Question.model_validate_json(question().text)
    huge = 10**40 + 1
    totals = total_up(asked, plain_grid(["2026-07-01"]))
    totals = totals.model_copy(update={"values": {"energy": [[huge]]}})
    assert values(answer_question(asked, [totals])) == [Decimal(f"{huge // 1000}.001")]
