"""The strictest of several policies: what all permit, on the strictest terms, in any order."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridsecure.errors import InputError
from gridsecure.policy.decisions import Case, compare_policies, decide, find_terms
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.policy.packs import list_packs, load_pack
from gridsecure.policy.strictest import find_strictest
from tests.policy.test_comparison import approved_by, asked_of, drawn_rules, let_out, read

STRICT = load_pack("strict")


def looser(before: Policy, after: Policy) -> list[Case]:
    return [one.case for one in compare_policies(before, after) if one.is_looser]


def changed(policy: Policy, *pairs: tuple[str, str]) -> Policy:
    text = policy.text
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return parse_policy(text)


# Noise is for customers of two meter points at most, and the other looks at any number.
APART = ("strict", "strict-noise")
TWO = [two for two in combinations(list_packs(), 2) if two not in (APART, ("cn", "strict-noise"))]


@pytest.mark.parametrize("names", TWO)
def test_the_strictest_of_two_is_looser_than_neither_and_no_stricter_than_need_be(names):
    one, other = map(load_pack, names)
    met = find_strictest([one, other])
    assert looser(one, met) == looser(other, met) == []
    assert met.text == find_strictest([other, one, other]).text
    for change in compare_policies(one, met):
        permitted = find_terms(one, change.case), find_terms(other, change.case)
        assert (change.after is None) == (None in permitted) or change.case.measure == "request"
    assert {name for name in names if load_pack(name).digest in str(met.sources)} == set(names)


def test_noise_for_customers_of_any_size_is_no_policy():
    with pytest.raises(InputError) as refused:
        find_strictest(map(load_pack, APART))
    assert refused.value.reason == "policy.incomparable"


def test_a_policy_and_itself_decide_as_it_does():
    for name in list_packs():
        policy = load_pack(name)
        assert not compare_policies(policy, find_strictest([policy, policy]))


def test_every_term_is_the_stricter_of_the_two():
    limited = changed(
        STRICT,
        ("version = 3", "version = 3\ncustomer_points = 4"),
        ("minimum = 100", "minimum = 120"),
        ('roles = ["analyst"]', 'roles = ["analyst"]\nbudget = 9'),
    )
    other = changed(
        STRICT,
        ("version = 3", "version = 3\ncustomer_points = 7\nexpires = 2030-01-01T00:00:00+00:00"),
        ("dominance = 15", "dominance = 12"),
        ('roles = ["analyst"]', 'roles = ["analyst"]\nbudget = 4'),
        ('standing = ["data-owner", "privacy-officer"]', 'standing = ["data-owner"]'),
    )
    met = find_strictest([limited, other], name="two-cities", version=5)
    homes = find_terms(met, Case("energy_wh", "interval", "household", "analyst", "research"))
    shops = find_terms(met, Case("energy_wh", "monthly", "shop", "staff", "billing"))
    assert (homes.minimum, homes.budget, str(homes.expires.year)) == (120, 4, "2030")
    assert (shops.dominance, shops.customer_points) == (12, 7)
    assert shops.approvals.standing == {"data-owner"}
    assert shops.approvals.roles == {"data-owner", "privacy-officer"}
    assert (met.name, met.version, met.merging) == ("two-cities", 5, STRICT.merging)


def test_what_one_does_not_permit_is_not_permitted():
    case = Case("amount_fen", "monthly", "shop", "analyst", "research")
    assert decide(load_pack("uniform-15"), case)
    assert decide(find_strictest([STRICT, load_pack("uniform-15")]), case) is None


def test_policies_that_permit_nothing_in_common_are_refused():
    def of(purpose: str) -> Policy:
        return read([(("purposes", [purpose]),)])

    with pytest.raises(InputError) as refused:
        find_strictest([of("billing"), of("operations")])
    assert refused.value.reason == "policy.nothing-common"


def test_noise_that_hides_a_bounded_customer_meets_a_limit_for_any_customer_and_is_refused():
    noisy = changed(
        load_pack("uniform-15"),
        ("[grades]", 'customer_points = 3\n[private]\nepsilon = "0.5"\nbudget = "1"\n[grades]'),
    )
    with pytest.raises(InputError) as refused:
        find_strictest([noisy, STRICT])
    assert refused.value.reason == "policy.incomparable"
    met = find_strictest([noisy, load_pack("uniform-15")])
    assert met.private == noisy.private


@settings(max_examples=12, deadline=None)
@given(*(st.lists(drawn_rules(), min_size=1, max_size=3),) * 2)
def test_what_the_gate_lets_out_under_it_it_lets_out_under_each(first, second):
    policies = [read(first), read(second)]
    try:
        met = find_strictest(policies)
    except InputError:
        assume(False)
    for asked in asked_of():
        for name in ("*", "shop"):
            told = let_out(met, asked, name)
            for one in policies:
                assert told <= let_out(one, asked, name), (asked, name)
                if told:
                    assert approved_by(met, asked, name) <= approved_by(one, asked, name)


def test_a_measure_that_one_drops_takes_its_terms_to_those_that_stay():
    """Energy's hundred customers hold for money in the first, and energy goes with the second."""
    first = [
        (("measures", ["energy_wh"]), ("minimum", 100)),
        (("measures", ["amount_fen"]), ("minimum", 20)),
    ]
    second = read([(("measures", ["amount_fen"]), ("minimum", 15))])
    met = find_strictest([read(first), second])
    assert find_terms(met, Case("amount_fen", "monthly", "shop", "staff", "billing")).minimum == 100
