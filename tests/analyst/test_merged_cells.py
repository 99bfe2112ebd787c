"""Readers merge the cells of a certificate again, from the counts in it."""

from __future__ import annotations

import pytest

from gridsecure.analyst.merged_cells import CellRules, name_cell
from gridsecure.analyst.releases import Release, pin_authority, verify_release
from gridsecure.analyst.reports import RELEASED, SUPPRESSED, bill_table
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import ReleaseRefusedError
from gridsecure.messages import (
    CellTotal,
    CountedPlace,
    MergeStep,
    Merging,
    OwnCount,
    sign_message,
)
from gridsecure.plans.cells import MEASURES, Minima
from tests.analyst.zone_services import BILL_ID, bill_cells, certificate

SPAN = ("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00")
CITY = Merging(classes=["*"], steps=[MergeStep(areas={"city": ["*"]})])
MINIMA = {"monthly": {"*": dict.fromkeys(MEASURES, 15)}}


def place(zone: str, count: int, *others: OwnCount) -> CountedPlace:
    own = OwnCount(owner=1, points=count, customers=count)
    return CountedPlace(zone=zone, customer_class="household", counts=[own, *others])


def cell(zone: str, parts: list[int], members: int, value: str | None = "1") -> CellTotal:
    return CellTotal(
        zone=zone, customer_class="household", start=SPAN[0], end=SPAN[1], measure="energy_wh",
        members=members, value=value, parts=parts,
    )  # fmt: skip


PLACES = [place("futian", 20), place("luohu", 9), place("nanshan", 8)]
RIGHT = [cell("futian", [0], 20), cell("city", [1, 2], 17)]


def rules(
    cells: list[CellTotal], places: list[CountedPlace] = PLACES, merging: Merging = CITY
) -> CellRules:
    return CellRules(
        cells, places=places, policies=[Minima(MINIMA["monthly"], merging)], least=15
    )  # fmt: skip


def test_a_merged_cell_is_what_it_is_made_of():
    found = rules(RIGHT).find(RIGHT[1])
    assert found.parts == (("luohu", "household"), ("nanshan", "household"))
    assert (found.minimum, found.is_met) == (15, True)
    assert name_cell(found.parts) == ("luohu + nanshan", "household")


WRONG: dict[str, list[CellTotal]] = {
    "one that has enough is merged": [cell("city", [0, 1, 2], 37)],
    "one is left out of its merged cell": [cell("futian", [0], 20), cell("luohu", [1], 9, None),
                                           cell("nanshan", [2], 8, None)],
    "one is in two cells": [cell("futian", [0], 20), cell("city", [0, 1, 2], 37)],
    "another name": [cell("futian", [0], 20), cell("town", [1, 2], 17)],
    "another number of members": [cell("futian", [0], 20), cell("city", [1, 2], 18)],
    "a place that is not listed": [cell("futian", [0], 20), cell("city", [1, 2, 3], 17)],
    "two in company of their own": [cell("futian", [0, 1], 29), cell("nanshan", [2], 8, None)],
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_other_cells_than_the_policy_makes_are_refused(wrong):
    with pytest.raises(ReleaseRefusedError) as refused:
        rules(WRONG[wrong])
    assert refused.value.reason == "release.merged"


def test_a_policy_that_merges_nothing_makes_other_cells():
    with pytest.raises(ReleaseRefusedError):
        rules(RIGHT, merging=Merging())


def test_customers_beside_those_of_one_owner_are_too_few_although_members_are_enough():
    mixed = [place("futian", 3, OwnCount(owner=2, points=14, customers=14))]
    alone = [cell("futian", [0], 17)]
    assert not rules(alone, mixed).find(alone[0]).is_met
    counted = [CountedPlace(zone="futian", customer_class="household",
                            counts=[OwnCount(owner=1, points=20, customers=14)])]  # fmt: skip
    twenty = [cell("futian", [0], 20)]
    assert not rules(twenty, counted).find(twenty[0]).is_met


def read(cells: list[CellTotal], places: list[CountedPlace], merging: Merging = CITY) -> Release:
    key = generate_private_key()
    changes = {"cells": cells, "places": places, "minima": MINIMA}
    message = certificate().model_copy(update=changes | {"merging": {"monthly": merging}})
    text = sign_message(message, key=key).model_dump_json().encode()
    pinned = pin_authority(key.public_key.point.hex())
    return verify_release(text, release_id=BILL_ID, authority=pinned)


def test_a_bill_table_has_a_row_for_a_merged_cell_and_no_gap_for_its_parts():
    rows = [("futian", 20, [0]), ("city", 17, [1, 2]), ("yantian", 4, [3])]
    cells = [
        one.model_copy(update={"parts": parts})
        for zone, count, parts in rows
        for one in bill_cells([(zone, "household", count, 1000, 60)])
    ]
    shown = [
        one if one.zone != "yantian" else one.model_copy(update={"value": None}) for one in cells
    ]
    merging = Merging(classes=["*"], steps=[MergeStep(areas={"city": ["luohu", "nanshan"]})])
    places = [*PLACES, place("yantian", 4)]
    table = bill_table(read(shown, places, merging))
    states = dict(zip(table["zone"], table["state"], strict=True))
    assert states == {"futian": RELEASED, "city": RELEASED, "yantian": SUPPRESSED}


def test_a_merged_cell_of_too_few_carries_no_value():
    places = [place("luohu", 9), place("nanshan", 5)]
    told = [
        one.model_copy(update={"parts": [number]})
        for number, (zone, count) in enumerate([("luohu", 9), ("nanshan", 5)])
        for one in bill_cells([(zone, "household", count, 1000, 60)])
    ]
    with pytest.raises(ReleaseRefusedError) as refused:
        read(told, places)
    assert refused.value.reason == "release.unsuppressed"
