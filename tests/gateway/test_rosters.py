"""Rosters: everyone in exactly one slot, an order that says nothing about meter numbers."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import InputError, UnknownMeterError
from gridsecure.gateway import rosters as module
from gridsecure.gateway.agent_records import Member
from gridsecure.gateway.rosters import Speaker, build_rosters, remove_members
from gridsecure.identity_messages import Facts
from gridsecure.messages import SupplyTerms
from gridsecure.policy.packs import load_pack
from gridsecure_api.gateway_peers import _supply
from gridsecure_api.settings import GatewaySettings

TARIFFS = {"flat": "f" * 64, "tiers": "7" * 64}


def contracts(rows):
    frame = pd.DataFrame(
        rows, columns=["meter_point_id", "zone", "customer_class", "tariff_id"], dtype=str
    )
    return frame.assign(
        household_quota_wh=frame.index * 1000,
        contracted_va=frame.index * 7,
        free_quota_wh=frame.index * 3,
        service_from="",
        large="",
    )


def named(frame):
    """Pseudonyms whose order is not that of the meter points."""
    return {name: f"p{hash_of(name)}" for name in frame["meter_point_id"]}


def members(frame, names=None):
    """Everybody registered, on the facts of its own row."""
    order = named(frame) if names is None else names
    rows = zip(frame["meter_point_id"], frame["zone"], frame["customer_class"], strict=True)
    return {
        name: Member((order[name],), Facts(zone=zone, customer_class=kind, counted=True))
        for name, zone, kind in rows
        if name in order
    }


def hash_of(name):
    return sum((place + 7) * ord(letter) ** 3 for place, letter in enumerate(name)) % 9973


def built(frame, **changes):
    choices = {
        "members": members(frame),
        "tariffs": TARIFFS,
        "speaker": Speaker("g", owner=""),
        "domain": "d",
    }
    return build_rosters(frame, **(choices | changes))


ROWS = st.lists(
    st.tuples(
        st.text("abcdefgh", min_size=1, max_size=3),
        st.sampled_from(["east", "west"]),
        st.sampled_from(["household", "shop"]),
        st.sampled_from(sorted(TARIFFS)),
    ),
    min_size=1,
    max_size=30,
    unique_by=(lambda row: row[0], lambda row: hash_of(row[0])),
)


@given(ROWS, st.integers(1, 7))
def test_everyone_sits_in_one_slot_with_their_own_facts(rows, size):
    frame = contracts(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_SLOTS", size)
        rosters = built(frame)
    pseudonyms = named(frame)
    facts = {row.meter_point_id: row for row in frame.itertuples()}
    places = []
    for roster in rosters:
        manifest = roster.manifest
        assert 1 <= manifest.slots <= size
        for slot, name in enumerate(roster.meter_point_ids):
            places.append(name)
            row = facts[name]
            assert manifest.tariff == TARIFFS[row.tariff_id]
            assert (
                manifest.pseudonyms[slot],
                manifest.zones[slot],
                manifest.customer_classes[slot],
                manifest.household_quota_wh[slot],
                manifest.contracted_va[slot],
            ) == (
                pseudonyms[name],
                row.zone,
                row.customer_class,
                row.household_quota_wh,
                row.contracted_va,
            )
    assert sorted(places) == sorted(facts)
    assert len({roster.manifest.roster_id for roster in rosters}) == len(rosters)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_contracts_changes_nothing(rows, random):
    frame = contracts(rows)
    shuffled = frame.sample(frac=1, random_state=random.randrange(2**32))
    assert [r.manifest for r in built(frame)] == [r.manifest for r in built(shuffled)]


def test_slots_follow_zone_class_and_pseudonym_not_the_meter_number():
    frame = contracts([(name, "east", "household", "flat") for name in ("m1", "m2", "m3")])
    order = {"m1": "pc", "m2": "pa", "m3": "pb"}
    (roster,) = built(frame, members=members(frame, order))
    assert roster.meter_point_ids == ("m2", "m3", "m1")
    assert "m1" not in roster.manifest.model_dump_json()


@pytest.mark.parametrize(
    "change", [{"speaker": Speaker("h", "")}, {"speaker": Speaker("g", "o")}, {"domain": "e"}]
)
def test_the_roster_id_depends_on_gateway_and_domain(change):
    frame = contracts([("m1", "east", "household", "flat")])
    assert built(frame)[0].manifest.roster_id != built(frame, **change)[0].manifest.roster_id


def test_a_meter_point_that_was_not_enrolled_is_refused_without_its_name():
    frame = contracts([("secret-7", "east", "household", "flat")])
    with pytest.raises(UnknownMeterError) as refusal:
        built(frame, members={})
    assert "secret-7" not in str(refusal.value)


def test_a_tariff_that_is_not_given_is_refused():
    frame = contracts([("m", "east", "household", "other")])
    with pytest.raises(InputError) as refusal:
        built(frame)
    assert refusal.value.reason == "roster.tariff"


def test_without_some_members_the_others_keep_their_facts_and_order():
    frame = contracts([(f"m{n}", "east", "household", "flat") for n in range(4)])
    (roster,) = built(frame)
    gone = roster.manifest.pseudonyms[1]
    left = remove_members(roster, {gone, "stranger"})
    assert left is not None
    facts = left.manifest.model_dump()
    for name, values in roster.manifest.model_dump().items():
        if isinstance(values, list):
            assert facts[name] == (values and values[:1] + values[2:])
    assert left.meter_point_ids == roster.meter_point_ids[:1] + roster.meter_point_ids[2:]
    assert left.manifest.roster_id not in ("", roster.manifest.roster_id)


def test_without_a_member_it_is_the_roster_that_was_built_without_it():
    frame = contracts([(f"m{n}", "east", "household", "flat") for n in range(4)])
    frame["service_from"] = ["", "2026-03", "", ""]
    (roster,) = built(frame)
    (fewer,) = built(frame[frame["meter_point_id"] != "m1"])
    assert remove_members(roster, {named(frame)["m1"]}).manifest == fewer.manifest
    assert fewer.manifest.service_from == []


def test_a_roster_without_strangers_is_the_same_and_without_anybody_none():
    (roster,) = built(contracts([("m1", "east", "household", "flat")]))
    assert remove_members(roster, {"stranger"}) is roster
    assert remove_members(roster, set(roster.manifest.pseudonyms)) is None


def test_zone_and_class_are_the_certified_ones_whatever_the_contract_says():
    frame = contracts([("m1", "east", "household", "flat"), ("m2", "east", "household", "flat")])
    facts = Facts(zone="west", customer_class="shop", counted=False)
    own = members(frame) | {"m2": Member(("p2",), facts)}
    (roster,) = built(frame, members=own, speaker=Speaker("g", owner="o"))
    slot = roster.meter_point_ids.index("m2")
    manifest = roster.manifest
    assert (manifest.zones[slot], manifest.customer_classes[slot]) == ("west", "shop")
    assert manifest.counted == [name != "m2" for name in roster.meter_point_ids]
    assert manifest.owner == "o"
    left = remove_members(roster, {manifest.pseudonyms[1 - slot]})
    assert left.manifest.counted == [False]  # not empty, which would say that everybody counts
    alone = remove_members(roster, {manifest.pseudonyms[slot]})
    assert alone.manifest.counted == []


def test_terms_of_the_gateways_owner_stand_in_each_roster():
    frame = contracts([("m1", "futian", "household", "flat"), ("m2", "futian", "shop", "tiers")])
    point = generate_private_key().public_key
    terms = _supply(
        GatewaySettings.model_construct(
            supply_policy="strict", supply_officers=(point.point.hex(),)
        )
    )
    assert terms == SupplyTerms(policy=load_pack("strict").text, officers=[point.thumbprint])
    made = build_rosters(
        frame,
        members=members(frame),
        tariffs=TARIFFS,
        speaker=Speaker("g", "", supply=terms),
        domain="platform/billing/2026",
    )
    assert [one.manifest.supply for one in made] == [terms, terms]
    none = GatewaySettings.model_construct(supply_policy="", supply_officers=())
    assert _supply(none) is None
