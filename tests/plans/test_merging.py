"""Merging cells that are too small: who is in which cell, by counts alone."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.messages import MergeStep, Merging
from gridsecure.plans.cells import Crowd, Member, Minima, is_enough
from gridsecure.plans.load_curve import SUPPRESSED, lay_out_cells
from gridsecure.plans.merging import find_node, merge_cells
from tests.plans.test_cells import roster

SOUTH = MergeStep(areas={"south": ["futian", "luohu"], "west": ["nanshan"]})
CITY = MergeStep(areas={"city": ["*"]})
EVERY = MergeStep(areas={"city": ["*"]}, groups={"home": ["household", "*"], "work": ["shop"]})
STEPS = Merging(classes=["*"], steps=[SOUTH, CITY, EVERY])
MINIMA = Minima({"*": {"energy_wh": 15}}, STEPS)
ZONES, CLASSES = ("futian", "luohu", "nanshan", "yantian"), ("household", "shop", "farm")


def crowds(counts: dict[tuple[str, str], int], owner: str = "utility") -> dict:
    found = {}
    for place, count in counts.items():
        found[place] = Crowd()
        found[place].add(Member("", owner, True), times=count)
    return found


def home(*counts: int) -> dict:
    return {(zone, "household"): count for zone, count in zip(ZONES, counts, strict=False) if count}


def cells_of(counts: dict, minima: Minima = MINIMA) -> dict:
    return {
        cell: parts for cell, parts in merge_cells(crowds(counts), minima=minima).parts().items()
    }


def test_the_small_ones_of_an_area_are_one_cell_and_the_others_stay():
    found = cells_of(home(20, 9, 8, 30) | {("luohu", "shop"): 9})
    # Luohu is alone in the south, so it goes on to the city, with Nanshan.
    assert found == {
        ("futian", "household"): [("futian", "household")],
        ("yantian", "household"): [("yantian", "household")],
        ("city", "household"): [("luohu", "household"), ("nanshan", "household")],
        ("luohu", "shop"): [("luohu", "shop")],
    }


def test_the_nearest_neighbours_come_first():
    found = cells_of(home(8, 9, 8, 9))
    assert found == {
        ("south", "household"): [("futian", "household"), ("luohu", "household")],
        ("city", "household"): [("nanshan", "household"), ("yantian", "household")],
    }


def test_classes_of_a_group_are_merged_at_the_last_step_only():
    counts = home(8) | {("futian", "farm"): 8, ("luohu", "shop"): 14}
    found = cells_of(counts)
    assert found["city", "home"] == [("futian", "farm"), ("futian", "household")]
    assert found["luohu", "shop"] == [("luohu", "shop")], "too small at every step: told in no cell"


def test_a_zone_that_no_step_names_stays_as_it_is():
    named = Merging(classes=["*"], steps=[SOUTH])
    found = cells_of(home(8, 8, 8, 8), Minima({"*": {"energy_wh": 15}}, named))
    assert ("yantian", "household") in found
    assert find_node(SOUTH, ("yantian", "household")) is None


def test_a_class_that_the_policy_does_not_merge_stays_as_it_is():
    homes = Merging(classes=["household"], steps=[CITY])
    minima = Minima({"household": {"energy_wh": 15}, "*": {"energy_wh": 15}}, homes)
    found = cells_of(home(8, 8) | {("futian", "shop"): 8, ("luohu", "shop"): 8}, minima)
    assert ("city", "household") in found
    assert ("futian", "shop") in found


def test_a_merged_cell_has_the_largest_minimum_of_its_parts_and_what_all_of_them_permit():
    every = Merging(
        classes=["a", "b"], steps=[MergeStep(areas={"city": ["*"]}, groups={"all": ["a", "b"]})]
    )
    by_class = {"a": {"energy_wh": 15, "bills": 15}, "b": {"energy_wh": 30}}
    minima = Minima(by_class, every)
    few, enough = ({("z", "a"): 14, ("z", "b"): count} for count in (15, 16))
    assert ("city", "all") not in cells_of(few, minima)
    merged = merge_cells(crowds(enough), minima=minima)
    assert merged.minima == {("city", "all"): {"energy_wh": 30}}


def test_an_owner_of_gateways_does_not_hide_a_victim_in_a_merged_cell():
    found = crowds(home(14), owner="attacker") | crowds({("luohu", "household"): 3}, owner="victim")
    merged = merge_cells(found, minima=MINIMA)
    assert merged.into == {place: place for place in found}


def test_a_zone_with_the_name_of_an_area_keeps_its_name():
    counts = home(8, 8) | {("south", "household"): 40}
    assert ("south (2)", "household") in cells_of(counts)


@st.composite
def drawn(draw: st.DrawFn) -> dict:
    places = draw(st.sets(st.tuples(st.sampled_from(ZONES), st.sampled_from(CLASSES)), min_size=1))
    found = {}
    for place in sorted(places):
        crowd = found[place] = Crowd()
        for owner in draw(st.sets(st.sampled_from("abc"), min_size=1)):
            crowd.add(Member("", owner, True), times=draw(st.integers(0, 30)))
            crowd.add(Member("", owner, False), times=draw(st.integers(0, 3)))
    return found


@given(drawn(), st.integers())
def test_everybody_is_in_one_cell_that_has_enough_or_in_its_own(found, seed):
    merged = merge_cells(found, minima=MINIMA)
    assert merged.into.keys() == found.keys()
    for cell, parts in merged.parts().items():
        joint = Crowd()
        for place in parts:
            joint.add_all(found[place])
        if len(parts) > 1:
            assert is_enough(joint, minimum=15)
            assert not any(is_enough(found[place], minimum=15) for place in parts)
        else:
            assert [cell] == parts
    # By counts alone: not by the order that they come in.
    shuffled = sorted(found)
    Random(seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    again = merge_cells({place: found[place] for place in shuffled}, minima=MINIMA)
    assert again.into == merged.into


def test_the_slots_of_a_merged_cell_are_blinded_as_one_group():
    zones = ["futian"] * 9 + ["luohu"] * 8 + ["nanshan"] * 3
    seated = roster("a", 20).model_copy(update={"zones": zones})
    layout = lay_out_cells([seated], minima=MINIMA)
    names = [(cell.zone, cell.members, cell.is_released) for cell in layout.cells]
    assert names == [("nanshan", 3, False), ("south", 17, True)]
    assert layout.groups[0].tolist() == [1] * 17 + [SUPPRESSED] * 3


@pytest.mark.parametrize("place", [("futian", "household"), ("nanshan", "farm")])
def test_a_step_names_where_a_place_goes(place):
    assert find_node(CITY, place) == ("city", place[1])
    assert find_node(EVERY, place) == ("city", "home")
