"""Questions: one spelling each, and refusals that name the field and what is allowed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import InputError
from gridsecure.queries.language import parse_question, question_schema
from tests.queries.questions import JULY, question

SCHEMA = Path(__file__).parents[2] / "docs" / "question.schema.json"
SHOPS = {"customer_class": ["shop"]}
FLAT = {"yuan_per_kwh": "0.5"}
NIGHT = {"clock": [{"start": "00:00", "end": "08:00"}]}
DAY = {"clock": [{"start": "08:00", "end": "24:00"}]}


def test_the_published_schema_is_that_of_the_language() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == question_schema(), (
        "write it anew: gridsecure query schema > docs/question.schema.json"
    )


def test_one_question_has_one_spelling() -> None:
    one = question(
        where={"zone": ["luohu", "futian", "luohu"], "any_of": [{"large": True}, SHOPS]},
        group_by=["zone", "customer_class"],
        statistic={"name": "what_if", "rates": [{"yuan_per_kwh": "0.50"}]},
        every="month",
    )
    other = question(
        statistic={"rates": [{"yuan_per_kwh": "0.5"}], "name": "what_if"},
        group_by=["customer_class", "zone"],
        where={"any_of": [SHOPS, {"large": True}, SHOPS], "zone": ["futian", "luohu"]},
        version=1,
    )
    assert one.text == other.text
    assert parse_question(one.text).text == one.text
    assert '"every"' not in one.text, "what is left at its default is not written"


@pytest.mark.parametrize(
    ("fields", "resolution"),
    [
        ({}, "monthly"),
        ({"every": "day"}, "daily"),
        ({"every": "hour"}, "interval"),
        ({"when": {"weekdays": ["monday"]}}, "daily"),
        # A month less the same month without one half-hour is that half-hour.
        ({"when": NIGHT}, "interval"),
        ({"period": {"day": "2026-07-01"}, "every": "day"}, "daily"),
    ],
)
def test_what_may_be_left_out_makes_the_resolution(fields: Any, resolution: str) -> None:
    assert question(**fields).resolution == resolution


@pytest.mark.parametrize(
    ("fields", "totals", "measures"),
    [
        ({}, ("energy",), {"energy_wh"}),
        ({"measure": "count"}, (), {"bills"}),
        ({"measure": "line:energy"}, ("line:energy",), {"amount_fen"}),
        ({"measure": "register:尖"}, ("register:尖",), {"energy_wh"}),
        ({"statistic": {"name": "cv"}}, ("energy", "energy:squared"), {"energy_wh"}),
        (
            {"statistic": {"name": "histogram", "edges_kwh": [10, 50]}},
            ("at-least:10", "at-least:50"),
            {"energy_wh"},
        ),
    ],
)
def test_it_names_the_totals_that_it_takes(fields: Any, totals: object, measures: object) -> None:
    asked = question(**fields)
    assert (asked.totals, asked.measures) == (totals, measures)


def test_one_that_compares_periods_is_two_sums() -> None:
    index = {"name": "index", "base": {"month": "2026-06"}}
    now, base = question(statistic=index, every="day", where=SHOPS).legs
    assert now == question(every="day", where=SHOPS)
    assert base == question(every="day", where=SHOPS, period={"month": "2026-06"})
    assert question().legs == (question(),)


def test_noise_belongs_to_the_totals_and_is_asked_of_each_period() -> None:
    half = {"epsilon": "0.5"}
    assert '"private":{"epsilon":"0.5"}' in question(private=half).text
    assert (question(private=half).private or question()).millionths == 500_000
    mean = question(private=half, statistic={"name": "mean"})
    assert mean.legs == (question(private=half),)
    index = {"name": "index", "base": {"month": "2026-06"}}
    legs = question(private=half, statistic=index).legs
    assert [leg.private for leg in legs] == [question(private=half).private] * 2


EDGES = {"edges_kwh": [10, 50]}
DAYS = {"event": ["2026-07-02"], "baseline": ["2026-07-01"]}
ASKED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"name": "mean", "per": "customer"}, {"name": "sum"}, {}),
    ({"name": "what_if", "rates": [FLAT]}, {"name": "sum"}, {}),
    ({"name": "score", "weights": [7] * 31}, {"name": "sum"}, {}),
    ({"name": "regression", "series": {"degrees": [30] * 31}}, {"name": "sum"}, {}),
    ({"name": "loss", "fed_in_kwh": [30] * 31}, {"name": "sum"}, {}),
    ({"name": "saving"} | DAYS, {"name": "sum"}, {"days": ["2026-07-01", "2026-07-02"]}),
    ({"name": "difference", "of": SHOPS}, {"name": "share", "of": SHOPS}, {}),
    ({"name": "coincident_peak"}, {"name": "share"}, {}),
    ({"name": "quantile", "points": ["0.5"]} | EDGES, {"name": "histogram"} | EDGES, {}),
    ({"name": "histogram", "shown": "share"} | EDGES, {"name": "histogram"} | EDGES, {}),
    ({"name": "hhi"}, {"name": "variance"}, {}),
]


@pytest.mark.parametrize(("statistic", "asked", "when"), ASKED, ids=lambda one: one.get("name", ""))
def test_what_the_asker_computes_with_is_not_asked(statistic: Any, asked: Any, when: Any) -> None:
    every = "month" if "edges_kwh" in statistic else "day"
    own = {"where": {"zone": ["futian"]}, "group_by": ["tariff"], "every": every}
    own |= {"group_by": []} if statistic["name"] == "loss" else {}
    whole = question(statistic=statistic, **own)
    (leg,) = whole.legs
    assert leg.text == question(statistic=asked, **own, **({"when": when} if when else {})).text
    assert (leg.totals, leg.measures, leg.resolution) == (
        whole.totals,
        whole.measures,
        whole.resolution,
    )
    assert leg.legs == (leg,)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "epsilon in another spelling": (
        {"private": {"epsilon": "0.50"}},
        "query.field",
        "private.epsilon is not allowed. Allowed are a number above 0 and up to 10 as text",
    ),
    "epsilon of nothing": ({"private": {"epsilon": "0"}}, "query.private", "private.epsilon"),
    "too large an epsilon": ({"private": {"epsilon": "10.5"}}, "query.private", "up to 10"),
    "epsilon as a number": (
        {"private": {"epsilon": 0.5}},
        "query.field",
        "private.epsilon has another type",
    ),
    "delta": (
        {"private": {"epsilon": "1", "delta": "0.1"}},
        "query.field",
        "no private.delta",
    ),
    "noise on squares": (
        {"private": {"epsilon": "1"}, "statistic": {"name": "variance"}},
        "query.private",
        "totals of energy alone",
    ),
    "noise on a count": (
        {"private": {"epsilon": "1"}, "measure": "count"},
        "query.private",
        "leave private out",
    ),
    "unknown field": (
        {"cohort": {}},
        "query.field",
        "no cohort. Fields there are version, measure",
    ),
    "unknown measure": ({"measure": "voltage"}, "query.field", "measure.*register:NAME"),
    "unknown word": ({"every": "week"}, "query.field", "every.*'interval', 'hour', 'day'"),
    "unknown field of a statistic": (
        {"statistic": {"name": "mean", "by": "customer"}},
        "query.field",
        r"no statistic\.by\. Fields there are name, per",
    ),
    "a name that is no list": ({"where": {"zone": "a"}}, "query.field", r"where\.zone.*a list"),
    "unknown field of a cohort": (
        {"where": {"any_of": [{"zones": ["a"]}]}},
        "query.field",
        r"no where\.any_of\.0\.zones\. Fields there are zone",
    ),
    "unknown statistic": ({"statistic": {"name": "mode"}}, "query.field", "'sum', 'mean'"),
    "a float": (
        {"statistic": {"name": "score", "weights": [0.5]}, "every": "day"},
        "query.number",
        "weights",
    ),
    "not a number": (
        {"statistic": {"name": "score", "weights": [float("nan")]}, "every": "day"},
        "query.number",
        "NaN",
    ),
    "a negative weight": (
        {"statistic": {"name": "score", "weights": ["-1"]}, "every": "day"},
        "query.negative",
        "weights.*0 or more",
    ),
    "an empty cohort": ({"where": {}}, "query.cohort", "customer_class"),
    "an empty range": ({"where": {"contracted_kva": {}}}, "query.range", "at_least, below"),
    "a range that ends before it begins": (
        {"where": {"contracted_kva": {"at_least": 9, "below": 5}}},
        "query.contradiction",
        "",
    ),
    "two zones at once": (
        {"where": {"zone": ["a"], "all_of": [{"zone": ["b"]}]}},
        "query.contradiction",
        "No zone",
    ),
    "a zone that is ruled out": (
        {"where": {"zone": ["a"], "none_of": [{"zone": ["a", "c"]}]}},
        "query.contradiction",
        "No zone",
    ),
    "large and not": (
        {"where": {"large": True, "all_of": [{"large": False}]}},
        "query.contradiction",
        "large",
    ),
    "too many names": (
        {"where": {"pseudonym": [str(n) for n in range(1001)]}},
        "query.size",
        "1000",
    ),
    "a cohort of itself": (
        {"where": {"zone": ["a", "b"]}, "statistic": {"name": "share", "of": {"zone": ["b", "a"]}}},
        "query.contradiction",
        "itself",
    ),
    "everybody of everybody": ({"statistic": {"name": "share"}}, "query.contradiction", "itself"),
    "a base that is the period": (
        {"statistic": {"name": "index", "base": JULY}},
        "query.contradiction",
        "itself",
    ),
    "a month with a day": (
        {"statistic": {"name": "index", "base": {"day": "2026-06-01"}}},
        "query.period",
        "same kind",
    ),
    "no period": ({"period": {}}, "query.period", "month as in 2026-07"),
    "no month": ({"period": {"month": "2026-13"}}, "month.format", ""),
    "no timezone": ({"period": JULY | {"timezone": "../x"}}, "query.timezone", "Asia/Shanghai"),
    "days of another month": (
        {"when": {"days": ["2026-08-01"]}},
        "query.outside-period",
        "2026-07-01 to 2026-07-31",
    ),
    "no day is left": (
        {"when": {"days": ["2026-07-01"], "weekdays": ["monday"]}},
        "query.contradiction",
        "No day",
    ),
    "windows that overlap": (
        {"when": {"clock": [*NIGHT["clock"], {"start": "07:00", "end": "09:00"}]}},
        "query.clock",
        "overlap",
    ),
    "a window over midnight": (
        {"when": {"clock": [{"start": "22:00", "end": "06:00"}]}},
        "query.clock",
        "divide",
    ),
    "a register by the hour": (
        {"measure": "register:peak", "every": "hour"},
        "query.every",
        "whole months",
    ),
    "energy fed in": ({"measure": "export"}, "query.limits", "registers"),
    "a load factor of a month": ({"statistic": {"name": "load_factor"}}, "query.every", "day"),
    "a load factor of bills": (
        {"measure": "bill", "statistic": {"name": "load_factor"}},
        "query.measure",
        "energy",
    ),
    "months of a day": ({"period": {"day": "2026-07-01"}}, "query.every", "hour"),
    "edges that do not ascend": (
        {"statistic": {"name": "histogram", "edges_kwh": [5, 5]}},
        "query.edges",
        "",
    ),
    "an edge beyond what is compared": (
        {"statistic": {"name": "histogram", "edges_kwh": [9000]}},
        "query.field",
        "edges_kwh.*8191",
    ),
    "quantile one": (
        {"statistic": {"name": "quantile", "edges_kwh": [5], "points": ["1"]}},
        "query.quantile",
        "0.5",
    ),
    "rates that leave hours out": (
        {"every": "hour", "statistic": {"name": "what_if", "rates": [FLAT | {"when": NIGHT}]}},
        "query.rates",
        "2026-07-01",
    ),
    "rates that hold at once": (
        {
            "every": "hour",
            "statistic": {"name": "what_if", "rates": [FLAT | {"when": NIGHT}, FLAT]},
        },
        "query.rates",
        "2026-07-01",
    ),
    "rates of hours for days": (
        {"every": "day", "statistic": {"name": "what_if", "rates": [FLAT | {"when": NIGHT}]}},
        "query.every",
        "interval, hour",
    ),
    "an event that is its baseline": (
        {
            "every": "hour",
            "statistic": {"name": "saving", "event": ["2026-07-01"], "baseline": ["2026-07-01"]},
        },
        "query.contradiction",
        "baseline",
    ),
    "hours of the peak and the valley": (
        {
            "every": "hour",
            "statistic": {
                "name": "shift",
                "base": {"month": "2026-06"},
                "peak": DAY["clock"],
                "valley": [{"start": "07:00", "end": "08:30"}],
            },
        },
        "query.clock",
        "overlap",
    ),
    "prices that do not change": (
        {
            "every": "hour",
            "statistic": {
                "name": "shift",
                "base": {"month": "2026-06"},
                "peak": DAY["clock"],
                "valley": NIGHT["clock"],
                "price_ratio": {"now": "2.5", "base": "2.50"},
            },
        },
        "query.prices",
        "both periods",
    ),
    "a feeder by class": (
        {"group_by": ["zone"], "statistic": {"name": "loss", "fed_in_kwh": [5]}},
        "query.group-by",
        "where",
    ),
    "given amounts of no group": (
        {
            "group_by": ["zone"],
            "statistic": {"name": "ratio", "unit": "m²", "given": [{"group": [], "amount": 5}]},
        },
        "query.given",
        "group_by",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_field_and_what_is_allowed(name: str) -> None:
    fields, reason, said = REFUSED[name]
    with pytest.raises(InputError) as refused:
        question(**fields)
    assert refused.value.reason == reason
    assert re.search(said, str(refused.value)), str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize("name", ["signature_count", "gini", "top_share", "median", "k_means"])
def test_what_no_ciphertext_can_say_is_refused_with_the_nearest_question(name: str) -> None:
    with pytest.raises(InputError) as refused:
        question(statistic={"name": name, "anything": [1, 2]})
    assert refused.value.reason == "query.not-computable"
    assert refused.value.message.startswith(f"{name} is not computable here. It ")
    assert re.search("histogram|cohorts", refused.value.remedy)


def nested(depth: int) -> dict[str, Any]:
    return {"none_of": [nested(depth - 1)]} if depth else SHOPS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "query.shape"),
        ("[]", "query.field"),
        ("null", "query.field"),
        ('{"measure": "energy"', "query.shape"),
        ('{"measure": "energy", "measure": "bill"}', "query.twice"),
        ("[" * 100_000, "query.depth"),
        ('{"measure": "' + "x" * 131_072 + '"}', "query.size"),
        ('{"x": Infinity}', "query.number"),
        ("\ud800", "query.shape"),
        (r'{"measure":"\ud800"}', "query.shape"),
        ('{"where":' + '{"none_of":[' * 150 + "1" + "]}" * 150 + "}", "query.shape"),
        (json.dumps({"measure": "energy", "period": JULY, "where": nested(6)}), "query.depth"),
        (
            json.dumps({"measure": "energy", "period": JULY, "where": {"any_of": [SHOPS] * 100}}),
            "query.size",
        ),
    ],
)
def test_hostile_text_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_question(text)
    assert refused.value.reason == reason


def test_rates_that_fill_the_day_are_taken() -> None:
    rates = [FLAT | {"when": DAY}, FLAT | {"when": NIGHT}]
    assert question(every="hour", statistic={"name": "what_if", "rates": rates}).resolution
    weekdays = ["monday", "tuesday", "wednesday", "thursday", "friday"]
    parted = [FLAT | {"when": {"weekdays": days}} for days in (weekdays, ["saturday", "sunday"])]
    assert question(every="day", statistic={"name": "what_if", "rates": parted})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["measure", "where", "period", "every", "statistic", "zone", "name"]
                )
                | st.text(max_size=3),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_is_sent_a_refusal_comes_back(document: object) -> None:
    with pytest.raises(InputError):
        parse_question(json.dumps(document))
