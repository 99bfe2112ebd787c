"""Groups: whom a question counts where."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import InputError
from gridsecure.queries.groups import MAX_GROUPS, GroupLabel, group_rosters
from tests.queries.questions import question, roster

HOME, SHOP, FAR = ("futian", "household"), ("futian", "shop"), ("luohu", "household")
TARIFFS = {"1" * 64: "tou"}
ROSTERS = [
    roster("one", [FAR, HOME, SHOP, HOME], kva=[5, 10, 50, 100]),
    roster("two", [SHOP, FAR], tariff="1" * 64, large=True),
]


def rows(**fields: Any) -> list[list[int]]:
    return [r.tolist() for r in group_rosters(question(**fields), ROSTERS, tariffs=TARIFFS).rows]


def test_groups_are_numbered_by_their_labels_whatever_the_order_of_rosters() -> None:
    asked = question(group_by=["zone", "customer_class"])
    found = group_rosters(asked, iter(ROSTERS), tariffs=TARIFFS)
    assert found.labels == (
        GroupLabel(("household", "futian")),
        GroupLabel(("household", "luohu")),
        GroupLabel(("shop", "futian")),
    )
    assert [row.tolist() for row in found.rows] == [[1, 0, 2, 0], [2, 1]]
    turned = group_rosters(asked, ROSTERS[::-1], tariffs=TARIFFS)
    assert turned.labels == found.labels
    assert [row.tolist() for row in turned.rows] == [[2, 1], [1, 0, 2, 0]]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"zone": ["futian"]}, [[-1, 0, 0, 0], [0, -1]]),
        ({"zone": ["futian"], "customer_class": ["shop"]}, [[-1, -1, 0, -1], [0, -1]]),
        ({"none_of": [{"zone": ["futian"]}, {"large": True}]}, [[0, -1, -1, -1], [-1, -1]]),
        ({"any_of": [{"zone": ["luohu"]}, {"customer_class": ["shop"]}]}, [[0, -1, 0, -1], [0, 0]]),
        ({"large": False}, [[0, 0, 0, 0], [-1, -1]]),
        ({"tariff": ["tou"]}, [[-1, -1, -1, -1], [0, 0]]),
        ({"tariff": ["0" * 64]}, [[0, 0, 0, 0], [-1, -1]]),
        ({"contracted_kva": {"at_least": "10", "below": 100}}, [[-1, 0, 0, -1], [-1, -1]]),
        ({"pseudonym": ["one-3", "two-0"]}, [[-1, -1, -1, 0], [0, -1]]),
        (
            {"all_of": [{"zone": ["futian"]}, {"none_of": [{"customer_class": ["shop"]}]}]},
            [[-1, 0, -1, 0], [-1, -1]],
        ),
    ],
)
def test_a_cohort_is_whom_its_conditions_hold_of(where: object, expected: object) -> None:
    assert rows(where=where) == expected


def test_two_cohorts_are_three_groups_that_lie_apart() -> None:
    shops, all_of_futian = {"customer_class": ["shop"]}, {"zone": ["futian"]}
    asked = question(where=all_of_futian, statistic={"name": "difference", "of": shops})
    found = group_rosters(asked, ROSTERS, tariffs=TARIFFS)
    assert [label.cohort for label in found.labels] == ["first", "both"]
    assert [row.tolist() for row in found.rows] == [[-1, 0, 1, 0], [1, -1]]
    share = question(where=all_of_futian, statistic={"name": "share"})
    found = group_rosters(share, ROSTERS, tariffs=TARIFFS)
    assert [label.cohort for label in found.labels] == ["second", "both"]


def test_tariffs_are_called_by_name_where_there_is_one() -> None:
    found = group_rosters(question(group_by=["tariff"]), ROSTERS, tariffs=TARIFFS)
    assert [label.values for label in found.labels] == [("0" * 64,), ("tou",)]


def test_nobody_and_too_many_are_refused() -> None:
    with pytest.raises(InputError) as refused:
        rows(where={"zone": ["nowhere"]})
    assert refused.value.reason == "query.nobody"
    many = roster("many", [(str(n), "shop") for n in range(MAX_GROUPS + 1)])
    with pytest.raises(InputError) as refused:
        group_rosters(question(group_by=["zone"]), [many], tariffs={})
    assert refused.value.reason == "query.groups"


def is_question(where: dict[str, Any]) -> bool:
    try:
        question(where=where)
    except InputError:
        return False  # too deep, or contradictory in some part
    return True


CONDITIONS = st.recursive(
    st.sampled_from(
        [{"zone": ["futian"]}, {"customer_class": ["shop"]}, {"large": True},
         {"contracted_kva": {"at_least": 10}}]
    ),
    lambda inner: st.builds(
        lambda name, some: {name: some},
        st.sampled_from(["any_of", "all_of", "none_of"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
).filter(is_question)  # fmt: skip


def holds(where: dict[str, Any], slot: dict[str, Any]) -> bool:
    """What a cohort means, said of one meter point."""
    plain = {
        "any_of": lambda some: any(holds(one, slot) for one in some),
        "all_of": lambda some: all(holds(one, slot) for one in some),
        "none_of": lambda some: not any(holds(one, slot) for one in some),
        "contracted_kva": lambda limits: slot["kva"] >= limits["at_least"],
        "large": lambda large: slot["large"] == large,
        "zone": lambda names: slot["zone"] in names,
        "customer_class": lambda names: slot["customer_class"] in names,
    }
    return all(plain[name](said) for name, said in where.items())


@given(where=CONDITIONS)
def test_expressions_mean_what_they_mean_of_each_meter_point(where: dict[str, Any]) -> None:
    expected = [
        [
            0 if holds(where, {"zone": zone, "customer_class": name, "kva": va // 1000,
                               "large": one.large}) else -1
            for zone, name, va in zip(one.zones, one.customer_classes, one.contracted_va,
                                      strict=True)
        ]
        for one in ROSTERS
    ]  # fmt: skip
    is_anybody = any(0 in row for row in expected)
    with suppress(InputError) if not is_anybody else nullcontext():
        assert rows(where=where) == expected
        assert is_anybody, "nobody is a refusal"
