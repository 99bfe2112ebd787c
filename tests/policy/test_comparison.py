"""What two policies let through otherwise: what is compared is what is enforced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridsecure.errors import InputError
from gridsecure.plans.cells import BILLS, ENERGY, MEASURES, MONEY, WHOLE, CellSets, Dominance
from gridsecure.plans.cells import Member as CellMember
from gridsecure.policy.decisions import (
    REQUEST,
    Asked,
    compare_policies,
    find_approvals,
    find_minima,
    list_cases,
)
from gridsecure.policy.language import Policy, parse_policy

HEAD = """
name = "own"
version = 1
in_force_from = 2026-01-01T00:00:00+00:00
title = "What we release"

[grades]
monthly = 1
daily = 1
interval = 1

[class_groups]
homes = ["*"]
shops = ["shop"]

[[sources]]
name = "one"
title = "A source"
"""
END = "2027-01-01T00:00:00+00:00"
OWNER, PRIVACY = "data-owner", "privacy-officer"
ALL_PURPOSES = ["billing", "operations", "preview", "research", "tariff-design"]
CLASSES = ("*", "shop")


def rule(name: str, **says: object) -> str:
    terms = {
        "name": name, "measures": list(MEASURES), "grades": [1], "classes": ["homes", "shops"],
        "roles": ["staff", "analyst"], "purposes": ALL_PURPOSES, "minimum": 20,
        "approvals": [OWNER, PRIVACY], "sources": ["one"],
    } | says  # fmt: skip
    if not terms["approvals"]:
        del terms["approvals"]
    lines = [
        f"{key} = {value if key == 'expires' else json.dumps(value)}"
        for key, value in terms.items()
    ]
    return "\n".join(["[[rules]]", *lines])


def policy_of(*rules: str) -> Policy:
    return parse_policy("\n\n".join([HEAD, *rules]))


@pytest.mark.parametrize(("dropped", "kept", "looser"), [
    (rule("energy", measures=[ENERGY], dominance=15), rule("money", measures=[MONEY]), MONEY),
    (rule("energy", measures=[ENERGY], minimum=100), rule("money", measures=[MONEY]), MONEY),
    (rule("energy", measures=[ENERGY], minimum=100), rule("bills", measures=[BILLS]), BILLS),
    (rule("shops", classes=["shops"]), rule("homes", classes=["homes"], approvals=[OWNER]),
     REQUEST),
    (rule("energy", measures=[ENERGY], purposes=["preview"], budget=1),
     rule("money", measures=[MONEY], purposes=["preview"]), MONEY),
])  # fmt: skip
def test_a_rule_that_goes_may_loosen_what_others_permit(dropped, kept, looser):
    before, after = policy_of(dropped, kept), policy_of(kept)
    found = [one for one in compare_policies(before, after) if one.is_looser]
    assert {one.case.measure for one in found} == {looser}
    assert not any(one.is_looser for one in compare_policies(before, before))


def test_a_limit_that_ends_earlier_is_looser_from_then_on():
    """Money of twenty customers is told once energy's rule is over."""
    money = rule("money", measures=[MONEY])
    before = policy_of(rule("energy", measures=[ENERGY], minimum=100), money)
    short = rule("energy", measures=[ENERGY], minimum=100, expires=END)
    found = [one for one in compare_policies(before, policy_of(short, money)) if one.is_looser]
    assert {one.case.measure for one in found} == {MONEY}
    assert {(one.before.minimum, one.after.minimum) for one in found} == {(100, 20)}


def test_a_number_of_bills_has_no_limit_where_no_energy_is_told():
    """A rule of money that goes takes its limit with it, and bills never had one."""
    bills = rule("bills", measures=[BILLS])
    before = policy_of(bills, rule("money", measures=[BILLS, MONEY], dominance=10))
    assert not any(one.is_looser for one in compare_policies(before, policy_of(bills)))
    energy = rule("energy", measures=[BILLS, ENERGY], dominance=10)
    found = compare_policies(policy_of(bills, energy), policy_of(bills))
    assert {one.case.measure for one in found if one.is_looser} == {BILLS}


def some(*words: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words), min_size=1, unique=True)


@st.composite
def drawn_rules(draw: st.DrawFn) -> tuple[tuple[str, object], ...]:
    roles = draw(st.sampled_from([[], [OWNER], [PRIVACY], [OWNER, PRIVACY]]))
    says: dict[str, object] = {
        "measures": draw(some(*MEASURES)),
        "classes": draw(some("homes", "shops")),
        "purposes": draw(st.sampled_from([["billing"], ["operations"], ALL_PURPOSES])),
        "minimum": draw(st.sampled_from([15, 20, 30])),
        "approvals": roles,
        "standing": draw(st.sampled_from([roles, roles[:1], []])),
        "dominance": draw(st.sampled_from([WHOLE, WHOLE, 10, 20])),
        "expires": draw(st.sampled_from([None, None, END])),
    }
    if not says["standing"]:
        del says["standing"]
    if says["dominance"] == WHOLE or says["measures"] == [BILLS]:
        del says["dominance"]
    if says["expires"] is None:
        del says["expires"]
    return tuple(says.items())


def read(rules: list[tuple[tuple[str, object], ...]]) -> Policy:
    try:
        return policy_of(*(rule(f"r{n}", **dict(one)) for n, one in enumerate(rules)))
    except InputError:
        assume(False)
        raise


@cache
def told(
    customers: int, is_money: bool, minima: tuple[tuple[str, int], ...], dominance: Dominance
) -> frozenset[str]:
    """What a cell of so many customers is told of, by the rules of the gate."""
    cell = frozenset(CellMember(str(n), "utility", True) for n in range(customers))
    sets = CellSets(cell, (cell,) if is_money else ())
    measures = frozenset(MEASURES if is_money else [ENERGY])
    return measures - sets.list_withheld(minima=dict(minima), dominance=dominance)


def let_out(policy: Policy, asked: Asked, name: str) -> set[tuple[object, ...]]:
    """Each number that may be told: of how many, and how large the largest may be."""
    minima, place = find_minima(policy, asked), ("zone", name)
    limit, fewest = minima.limit_of(place), tuple(minima.of(place).items())
    found: set[tuple[object, ...]] = set()
    is_money = asked.resolution == "monthly"
    told_of = frozenset(MEASURES if asked.role == "staff" else [ENERGY, MONEY])
    for customers, is_compared in product((15, 20, 30), (True, False)):
        measures = told(customers, is_money, fewest, Dominance(limit, is_compared))
        for measure, share in product(measures & told_of, (10, 20, 50)):
            # The vault withholds energy and money of a cell that is above its limit.
            if measure == BILLS or share <= limit:
                found.add((customers, is_compared, measure, share))
    return found


def approved_by(policy: Policy, asked: Asked, name: str) -> set[tuple[str, str]]:
    """The ways in which officers may have approved: not, once for all, or for this release."""
    needed = find_approvals(policy, [asked], classes=[name])

    def is_enough(role: str, given: str) -> bool:
        return role not in needed.roles or given == "each" or (
            given == "standing" and role in needed.standing
        )  # fmt: skip

    ways = product(("none", "standing", "each"), repeat=2)
    return {way for way in ways if all(map(is_enough, (OWNER, PRIVACY), way))}


def asked_of() -> Iterator[Asked]:
    cases = list_cases(["*"])
    yield from dict.fromkeys(Asked(case.role, case.purpose, case.resolution) for case in cases)


def lets_more(before: Policy, after: Policy, asked: Asked, name: str) -> bool:
    """Whether there is a number, or a bill, that only the second policy lets out."""
    earlier, later = (let_out(policy, asked, name) for policy in (before, after))
    old, new = (approved_by(policy, asked, name) for policy in (before, after))
    if asked.purpose == "billing" and not new <= old:
        return True  # bills are issued whatever is told
    return bool(later) and not (later <= earlier and new <= old)


@settings(max_examples=150, deadline=None)
@given(st.lists(drawn_rules(), min_size=1, max_size=4), st.data())
def test_a_case_is_looser_where_the_gate_lets_more_out(rules, data):
    before = read(rules)
    kept = data.draw(st.lists(st.sampled_from(rules), unique_by=id, max_size=len(rules)))
    after = read(kept + data.draw(st.lists(drawn_rules(), min_size=not kept, max_size=1)))
    looser = {
        (Asked(one.case.role, one.case.purpose, one.case.resolution), one.case.customer_class)
        for one in compare_policies(before, after)
        if one.is_looser and (one.case.measure != REQUEST or one.case.purpose == "billing")
    }
    end = datetime.fromisoformat(END)
    moments = [(before, after), (before.at(end), after.at(end))]
    found = {
        (asked, name)
        for asked, name in product(asked_of(), CLASSES)
        if any(lets_more(*pair, asked, name) for pair in moments)
    }
    assert looser == found
