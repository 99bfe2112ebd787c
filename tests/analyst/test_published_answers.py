"""Answers from releases: of whole cells alone, of whole periods, and each number once."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pandas as pd
import pytest

from gridsecure.analyst.published_answers import collect_totals, list_joined, read_published
from gridsecure.analyst.releases import PinnedAuthority, verify_release
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import InputError, NotFoundError
from gridsecure.messages import (
    CellTotal,
    CountedPlace,
    MergeStep,
    Merging,
    OwnCount,
    ReleaseCertificate,
    sign_message,
)
from gridsecure.queries.answers import answer_question
from tests.analyst.zone_services import certificate
from tests.queries.published_months import bill_release, bills, curve_release, hours_of
from tests.queries.questions import question

KEY = generate_private_key()
JULY = hours_of("2026-07")


def published(item: ReleaseCertificate) -> Any:
    content = sign_message(item, key=KEY).model_dump_json().encode()
    return read_published(verify_release(content, authority=PinnedAuthority(KEY.public_key)))


@pytest.fixture(scope="module")
def curve() -> Any:
    return published(curve_release("2026-07"))


@pytest.fixture(scope="module")
def dark() -> Any:
    return published(curve_release("2026-07", withheld=("luohu", "shop")))


def answer(*releases: Any, **fields: Any) -> pd.DataFrame:
    asked = question(**fields)
    return answer_question(asked, collect_totals(asked, releases))


def test_a_group_with_a_withheld_cell_is_withheld_and_no_other(dark: Any) -> None:
    found = answer(dark, group_by=["zone"], every="day")
    assert set(found[found["zone"] == "luohu"]["state"]) == {"withheld"}
    assert set(found[found["zone"] == "futian"]["state"]) == {"told"}
    homes = answer(dark, where={"customer_class": ["household"]})
    own = JULY[JULY["customer_class"] == "household"]
    assert [int(value * 1000) for value in homes["value"]] == [own["wh"].sum()]
    assert list(homes["meter_points"]) == [210]


def test_a_merged_cell_answers_for_all_of_its_places_together() -> None:
    release = published(certificate_of_merged_cells())
    whole = answer(release, measure="bill")
    assert [str(value) for value in whole["value"]] == ["3000.00"]
    apart = answer(release, measure="bill", group_by=["zone"])
    assert list(apart["state"]) == ["withheld", "withheld"]
    assert list(apart["meter_points"]) == [10, 10]
    assert list_joined(question(measure="bill"), [release]) == []
    assert list_joined(question(group_by=["zone"]), [release]) == ["futian + luohu shop"]
    shops = answer(release, measure="bill", where={"zone": ["futian"]})
    assert list(shops["state"]) == ["withheld"]


def certificate_of_merged_cells() -> ReleaseCertificate:
    """Ten bills in each of two zones, which are told together."""
    release = bill_release("2026-07")
    ten = [OwnCount(owner=0, points=10, customers=10)]
    told = {"bills": "20", "energy_wh": "5000", "amount_fen": "300000"}
    step = MergeStep(areas={"city": ["futian", "luohu"]})
    return release.model_copy(
        update={
            "places": [
                CountedPlace(zone=zone, customer_class="shop", counts=ten)
                for zone in ("futian", "luohu")
            ],
            "cells": [
                CellTotal(
                    zone="city", customer_class="shop", start=release.start, end=release.end,
                    measure=measure, members=20, value=value, parts=[0, 1],
                )
                for measure, value in told.items()
            ],
            "merging": {"monthly": Merging(classes=["*"], steps=[step])},
            "minima": {"monthly": release.minima["monthly"]},
        }
    )  # fmt: skip


def test_whole_months_come_from_bills_and_otherwise_from_curves(curve: Any) -> None:
    month = bill_release("2026-07")
    more = [
        cell.model_copy(update={"value": str(int(cell.value or 0) + 1)}) for cell in month.cells
    ]
    marked = published(month.model_copy(update={"cells": more}))
    plain, from_bills = answer(curve), answer(curve, marked)
    assert str(from_bills["value"][0] - plain["value"][0]) == "0.004", "a Wh more in each of four"


def test_customers_are_those_that_the_certificate_counts() -> None:
    month = published(bill_release("2026-07"))
    assert list(answer(month, measure="count")["value"]) == [275]
    per_customer = answer(month, statistic={"name": "mean", "per": "customer"})
    used = Fraction(int(bills("2026-07")["wh"].sum()), 271_000)
    assert abs(Fraction(per_customer["value"][0]) - used) <= Fraction(1, 2_000_000)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"where": {"large": True}}, "say nothing of large"),
        ({"where": {"any_of": [{"pseudonym": ["a"]}]}}, "say nothing of pseudonym"),
        ({"group_by": ["tariff"]}, "tariffs apart"),
        ({"measure": "register:peak"}, "no totals of register:peak"),
        ({"statistic": {"name": "cv"}}, "no totals of energy, energy:squared"),
        ({"measure": "bill"}, "No bills of 2026-07-01 to 2026-08-01"),
        ({"period": {"month": "2026-06"}}, "No load curve of 2026-06-01 and 29 more days"),
        ({"statistic": {"name": "difference", "base": {"month": "2026-06"}}}, "2026-06-01"),
    ],
)
def test_what_releases_do_not_hold_is_named(curve: Any, fields: Any, said: str) -> None:
    with pytest.raises(NotFoundError, match=said) as refused:
        answer(curve, **fields)
    assert refused.value.reason == "query.not-published"


def test_a_day_of_a_month_is_in_its_release(curve: Any) -> None:
    found = answer(curve, period={"day": "2026-07-05"}, every="hour")
    own = JULY[JULY["day"] == "2026-07-05"].groupby(JULY["clock"].str[:2])["wh"].sum()
    assert [int(value * 1000) for value in found["value"]] == own.tolist()


def test_a_curve_with_a_hole_answers_nothing() -> None:
    release = curve_release("2026-07")
    cells = [cell for cell in release.cells if "2026-07-03T12:00" not in cell.start]
    holed = published(release.model_copy(update={"cells": cells}))
    with pytest.raises(NotFoundError, match="2026-07-03 is not of a whole day") as refused:
        answer(holed)
    assert refused.value.reason == "query.not-published"
    assert answer(holed, when={"weekdays": ["monday"]})["state"].tolist() == ["told"]


def test_the_same_release_twice_is_not_added_up(curve: Any) -> None:
    with pytest.raises(InputError) as refused:
        answer(curve, curve)
    assert refused.value.reason == "query.two-releases"


def test_nobody_asked_about_is_in_the_release(curve: Any) -> None:
    with pytest.raises(InputError) as refused:
        answer(curve, where={"zone": ["nanshan"]})
    assert refused.value.reason == "query.nobody"


def test_a_certificate_without_counts_has_no_customers() -> None:
    old = published(certificate())
    found = answer(old, statistic={"name": "mean", "per": "customer"},
                   where={"customer_class": ["household"]})  # fmt: skip
    assert list(found["state"]) == ["undefined"]
