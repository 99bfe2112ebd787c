"""What a release policy may say, and what is refused of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from gridsecure.errors import InputError
from gridsecure.plans.cells import MEASURES, WHOLE
from gridsecure.plans.purposes import PURPOSES
from gridsecure.policy.decisions import (
    Asked,
    Case,
    Terms,
    compare_policies,
    decide,
    find_approvals,
    find_minima,
    find_terms,
)
from gridsecure.policy.language import Approvals, parse_policy
from gridsecure.policy.packs import find_regional, list_packs, load_pack
from gridsecure.policy.signed_policies import load_policy

STRICT, UNIFORM = (load_pack(name).text for name in ("strict", "uniform-15"))
HOME, FACTORY = ("futian", "household"), ("futian", "factory")


def changed(*pairs: tuple[str, str], text: str = STRICT) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_policy(text)
    return caught.value.reason


@pytest.mark.parametrize("name", list_packs())
def test_every_pack_says_what_it_rests_on(name):
    policy = load_pack(name)
    assert policy.name == name
    assert all(rule.sources for rule in policy.rules)
    assert {source for rule in policy.rules for source in rule.sources} == policy.sources.keys()


def test_the_strict_pack_tells_of_a_hundred_homes_or_fifteen_others():
    minima = find_minima(load_pack("strict"), Asked("staff", "billing", "monthly"))
    assert minima.of(HOME) == dict.fromkeys(MEASURES, 100)
    assert minima.of(FACTORY) == dict.fromkeys(MEASURES, 15)
    # Who is in no class that is named counts as residential.
    assert minima.of(("futian", "school")) == dict.fromkeys(MEASURES, 100)


def test_the_policy_for_china_decides_as_the_strict_one_and_says_where_its_numbers_are_from():
    """No Chinese rule that was found fixes a number, so it cites Chinese law for all but that."""
    policy = find_regional("CN")
    assert not compare_policies(load_pack("strict"), policy)
    for rule in policy.rules:
        assert {"numbers", "dsl-21", "pipl-6-51-73"} <= set(rule.sources)
    assert "no Chinese law, measure or national standard" in policy.sources["numbers"]
    assert find_regional("us") == load_pack("strict")
    with pytest.raises(InputError) as unknown:
        find_regional("fr")
    assert unknown.value.reason == "policy.region"


def test_what_no_rule_permits_is_refused():
    research = find_minima(load_pack("strict"), Asked("analyst", "research", "interval"))
    assert research.of(HOME) == {"energy_wh": 100}
    none = find_minima(load_pack("strict"), Asked("analyst", "billing", "monthly"))
    assert none.of(HOME) == {}
    unnamed = changed(('["household", "*"]', '["household"]'))
    policy = parse_policy(unnamed)
    assert find_minima(policy, Asked("staff", "billing", "monthly")).of(("a", "school")) == {}


def test_of_several_rules_the_strictest_decides_in_any_order():
    for order in ((15, 40), (40, 15)):
        text = changed(
            *[("merge = true\n", "")] * 4,
            ("minimum = 100", f"minimum = {order[0]}"),
            ('classes = ["non-residential"]', 'classes = ["residential", "non-residential"]'),
            ("minimum = 15", f"minimum = {order[1]}"),
        )
        rule = decide(
            parse_policy(text), Case(MEASURES[0], "daily", "household", "staff", "billing")
        )
        assert rule is not None
        assert rule.minimum == 40


def test_a_finer_resolution_raised_to_a_grade_is_held_to_its_rules_at_once():
    text = changed(
        ("grades = [1, 2, 3]", "grades = [1, 2]"),
        ("[[rules]]", '[[rules]]\nname = "curves"\nmeasures = ["energy_wh"]\ngrades = [3]\n'
         'classes = ["residential"]\nroles = ["staff"]\npurposes = ["operations"]\nminimum = 500\n'
         'approvals = ["data-owner", "privacy-officer"]\nsources = ["cpuc-e-5105"]\n\n[[rules]]'),
    )  # fmt: skip
    before = parse_policy(text)
    after = parse_policy(changed(("daily = 2", "daily = 3"), text=text))
    daily = Asked("staff", "operations", "daily")
    assert find_minima(before, daily).of(HOME)["energy_wh"] == 100
    assert find_minima(after, daily).of(HOME)["energy_wh"] == 500
    changes = compare_policies(before, after)
    assert changes
    assert not any(one.is_looser for one in changes)
    assert all(one.is_looser for one in compare_policies(after, before))


TITLE = 'title = "'
LATER = "2027-01-01T00:00:00+08:00"
END = datetime.fromisoformat(LATER)


def test_a_rule_that_expired_permits_nothing():
    policy = parse_policy(changed(("minimum =", f"expires = {LATER}\nminimum ="), text=UNIFORM))
    case = Case("energy_wh", "monthly", "household", "staff", "billing")
    asked, second = Asked("staff", "billing", "monthly"), timedelta(seconds=1)
    for moment, is_permitted in ((END - second, True), (END, False), (END + second, False)):
        own = policy.at(moment)
        assert (decide(own, case) is not None) == is_permitted
        assert (find_terms(own, case) is not None) == is_permitted
        assert bool(find_minima(own, asked).of(HOME)) == is_permitted
        assert (own.terms_digest == own.digest) == is_permitted
        # Who approves what is issued all the same does not depend on the day.
        assert find_approvals(own, [asked], classes=["household"]) == find_approvals(
            policy, [asked], classes=["household"]
        )
    assert find_terms(policy, case).expires == END
    assert policy.at(END).digest == policy.digest


def test_time_takes_away_and_never_loosens():
    """A strict rule that expired beside one that goes on says its minimum still."""
    lasting = UNIFORM[UNIFORM.index("[[rules]]") :]
    short = lasting.replace('"everything"', '"short"')
    short = short.replace("minimum = 15", f"expires = {LATER}\nminimum = 30")
    policy = parse_policy(f"{UNIFORM}\n{short}")
    case = Case("energy_wh", "monthly", "household", "staff", "billing")
    for moment in (END - timedelta(seconds=1), END):
        assert find_terms(policy.at(moment), case).minimum == 30
    assert find_terms(policy, case).expires is None


@pytest.mark.parametrize(("before", "after", "is_looser"), [
    ("", f"expires = {LATER}\n", False),
    (f"expires = {LATER}\n", "", True),
    (f"expires = {LATER}\n", "expires = 2027-01-01T00:00:01+08:00\n", True),
    ("expires = 2027-01-01T00:00:01+08:00\n", f"expires = {LATER}\n", False),
])  # fmt: skip
def test_a_policy_that_holds_longer_is_looser(before, after, is_looser):
    first, second = (parse_policy(changed((TITLE, f"{own}{TITLE}"))) for own in (before, after))
    changes = compare_policies(first, second)
    assert changes
    assert {one.is_looser for one in changes} == {is_looser}


BUDGETED = UNIFORM.replace('"billing", ', "")


@pytest.mark.parametrize(("before", "after", "is_looser"), [
    ("", "budget = 3\n", False), ("budget = 3\n", "", True), ("budget = 3\n", "budget = 4\n", True),
    ("budget = 4\n", "budget = 3\n", False),
])  # fmt: skip
def test_a_larger_budget_is_looser(before, after, is_looser):
    first, second = (
        parse_policy(changed(("minimum =", f"{own}minimum ="), text=BUDGETED))
        for own in (before, after)
    )
    changes = compare_policies(first, second)
    assert changes
    assert {one.is_looser for one in changes} == {is_looser}


def test_the_smallest_budget_of_all_rules_holds():
    text = changed(("minimum =", "budget = 7\nminimum ="), text=BUDGETED)
    rule = text[text.index("[[rules]]") :]
    other = rule.replace('"everything"', '"again"').replace("budget = 7", "budget = 2")
    case = Case("energy_wh", "interval", "household", "staff", "operations")
    assert find_terms(parse_policy(text), case).budget == 7
    assert find_terms(parse_policy(f"{text}\n{other}"), case).budget == 2


@pytest.mark.parametrize(("pairs", "reason"), [
    ([("minimum =", "budget = 0\nminimum =")], "policy.value"),
    ([("minimum =", "budget = 1.5\nminimum =")], "policy.value"),
    ([("minimum =", "budget = true\nminimum =")], "policy.value"),
    ([("minimum =", 'budget = "12"\nminimum =')], "policy.value"),
    ([("minimum =", "expires = 2027-01-01\nminimum =")], "policy.value"),
    ([("minimum =", "expires = 2027-01-01T00:00:00\nminimum =")], "policy.value"),
    ([(TITLE, f"budget = 1\n{TITLE}")], "policy.term"),
    ([(TITLE, f"expires = 2026-01-01T00:00:00+00:00\n{TITLE}")], "policy.value"),
])  # fmt: skip
def test_what_is_no_budget_and_no_end(pairs, reason):
    assert refused(changed(*pairs, text=BUDGETED)) == reason


def test_a_budget_of_bills_is_refused_for_they_are_issued_all_the_same():
    text = changed(("minimum =", "budget = 3\nminimum ="), text=UNIFORM)
    assert refused(text) == "policy.value"


@pytest.mark.parametrize("term", ["budget = {}\n", "expires = 202{}-01-01T00:00:00+08:00\n"])
def test_a_higher_grade_is_permitted_no_oftener_and_no_longer(term):
    rule = BUDGETED[BUDGETED.index("[[rules]]") :].replace("grades = [1, 2, 3]", "grades = [{}]")

    def of(lower: int, higher: int) -> str:
        rules = [
            rule.replace("{}", grade)
            .replace('"everything"', f'"r{number}"')
            .replace("minimum =", f"{term.format(number)}minimum =")
            for grade, number in (("1, 2", lower), ("3", higher))
        ]
        return BUDGETED[: BUDGETED.index("[[rules]]")] + "\n".join(rules)

    assert refused(of(7, 8)) == "policy.grades"
    assert parse_policy(of(8, 7))


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("minimum = 100", "minimum = 1")], "policy.value"),
        ([("minimum = 100", "minimum = true")], "policy.value"),
        ([("minimum = 100", "minimum = 100.0")], "policy.value"),
        ([("minimum = 15", "minimum = 14")], "policy.value"),  # previews among its purposes
        ([("minimum = 100", "minimun = 100")], "policy.term"),
        ([("minimum = 100\n", "")], "policy.syntax"),
        ([('"billing", "operations"', '"billing", "curiosity"')], "policy.value"),
        ([('roles = ["staff"]', "roles = []")], "policy.value"),
        ([('roles = ["staff"]', 'roles = ["staff", "staff"]')], "policy.value"),
        ([('roles = ["staff"]', 'roles = [["staff"]]')], "policy.value"),
        ([("grades = [1, 2, 3]", "grades = [true]")], "policy.value"),
        ([('classes = ["residential"]', 'classes = ["household"]')], "policy.value"),
        ([('["cpuc-d-14-05-016", "cpuc-e-5105"]', '["hearsay"]')], "policy.value"),
        ([('["cpuc-d-14-05-016", "cpuc-e-5105"]', "[]")], "policy.value"),
        ([('name = "non-residential"', 'name = "residential"')], "policy.value"),
        ([('"shop", "factory"', '"shop", "household"')], "policy.value"),
        ([("version = 3", "version = 0")], "policy.value"),
        ([("2026-01-01T00:00:00+00:00", "2026-01-01")], "policy.value"),
        ([("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00")], "policy.value"),
        ([("2026-01-01T00:00:00+00:00", "9999-01-01T00:00:00+00:00")], "policy.value"),
        ([("daily = 2", "daily = 4")], "policy.grades"),
        ([("grades = [1, 2, 3]", "grades = [3]")], "policy.grades"),
        ([("[grades]", "[grades")], "policy.syntax"),
        ([("monthly = 1\n", "")], "policy.syntax"),
        ([("[[sources]]", "[[rules]]"), ("[[sources]]", "[[rules]]")], "policy.syntax"),
    ],
)  # fmt: skip
def test_a_policy_that_says_something_else_is_refused_by_name(pairs, reason):
    assert refused(changed(*pairs)) == reason


def test_a_higher_grade_is_never_permitted_more():
    looser = changed(
        ("grades = [1, 2, 3]", "grades = [1]"),
        ("[[rules]]", '[[rules]]\nname = "curves"\nmeasures = ["energy_wh"]\ngrades = [2, 3]\n'
         'classes = ["residential"]\nroles = ["staff"]\npurposes = ["operations"]\nminimum = 99\n'
         'sources = ["cpuc-e-5105"]\n\n[[rules]]'),
    )  # fmt: skip
    assert refused(looser) == "policy.grades"


BOTH = frozenset({"data-owner", "privacy-officer"})
APPROVED = 'approvals = ["data-owner", "privacy-officer"]\n'
STANDING = 'standing = ["data-owner", "privacy-officer"]\n'


def test_of_several_rules_all_approvals_are_needed():
    one = (
        "minimum = 100\n" + APPROVED + STANDING,
        'minimum = 100\napprovals = ["data-owner"]\nstanding = ["data-owner"]\n',
    )
    other = ("[[rules]]", '[[rules]]\nname = "more"\nmeasures = ["energy_wh"]\ngrades = [1, 2, 3]\n'
             'classes = ["residential"]\nroles = ["staff"]\npurposes = ["billing"]\nminimum = 20\n'
             'approvals = ["privacy-officer"]\nsources = ["cpuc-e-5105"]\n\n[[rules]]')  # fmt: skip
    policy = parse_policy(changed(one, other))
    energy, bills = (
        find_terms(policy, Case(measure, "monthly", "household", "staff", "billing"))
        for measure in ("energy_wh", "bills")
    )
    owner = frozenset({"data-owner"})
    assert energy == Terms(100, Approvals(BOTH, owner))
    assert bills == Terms(100, Approvals(owner, owner))
    asked = [Asked("staff", "billing", "monthly")]
    assert find_approvals(policy, asked, classes=["household"]) == Approvals(BOTH, owner)
    # Bills are issued whatever may be told: where nothing may, all approvals are needed.
    nothing = [Asked("analyst", "billing", "monthly")]
    assert find_approvals(policy, nothing, classes=["household"]).roles == BOTH
    assert find_approvals(policy, asked, classes=[]) == Approvals()


def test_fewer_approvals_are_looser_whatever_the_number_of_customers():
    before = parse_policy(STRICT)
    apart = [("merge = true\n", "")] * 4
    raised = ("minimum = 100", "minimum = 200")
    fewer = changed((APPROVED + STANDING, 'approvals = ["data-owner"]\n'), *apart, raised)
    changes = compare_policies(before, parse_policy(fewer))
    assert changes
    assert all(one.is_looser for one in changes)


@pytest.mark.parametrize("said", ["[]", "2", '["data-owner", "data-owner"]', '["clerk"]'])
def test_approvals_are_roles_that_approve(said):
    assert refused(changed((APPROVED + STANDING, f"approvals = {said}\n"))) == "policy.value"


@pytest.mark.parametrize(("roles", "standing"), [
    ('["data-owner"]', '["privacy-officer"]'), ('["data-owner"]', "[]"), (None, '["data-owner"]'),
])  # fmt: skip
def test_only_an_approval_that_is_needed_can_stand(roles, standing):
    said = f"approvals = {roles}\n" if roles else ""
    text = changed((APPROVED + STANDING, f"{said}standing = {standing}\n"))
    assert refused(text) == "policy.value"


def test_to_let_an_authorisation_do_is_looser():
    """In a rule of its own it changes nothing, as each of the others is asked for as before."""
    each = changed((STANDING, ""), (STANDING, ""))
    before, after = parse_policy(each), parse_policy(STRICT)
    changes = compare_policies(before, after)
    assert changes
    assert all(one.is_looser for one in changes)
    assert not any(one.is_looser for one in compare_policies(after, before))


def test_a_higher_grade_never_needs_fewer_approvals():
    finer = ("[[rules]]", '[[rules]]\nname = "curves"\nmeasures = ["energy_wh"]\ngrades = [2, 3]\n'
             'classes = ["residential"]\nroles = ["staff"]\npurposes = ["operations"]\n'
             'minimum = 100\nsources = ["cpuc-e-5105"]\n\n[[rules]]')  # fmt: skip
    text = changed(("grades = [1, 2, 3]", "grades = [1]"), finer)
    assert refused(text) == "policy.grades"


SHARE = "dominance = 15\n"


def test_the_strict_pack_lets_no_other_customer_than_a_home_be_above_fifteen_per_cent():
    policy = load_pack("strict")
    for asked in (("staff", "billing", "monthly"), ("staff", "operations", "interval"),
                  ("analyst", "research", "daily"), ("staff", "preview", "monthly")):  # fmt: skip
        minima = find_minima(policy, Asked(*asked))
        assert minima.dominance == {"factory": 15, "shop": 15}
        assert (minima.limit_of(FACTORY), minima.limit_of(HOME)) == (15, WHOLE)


@pytest.mark.parametrize("said", ["0", "100", "true", "15.0", '"15 %"', "6"])  # 6 % of 15 customers
def test_a_share_is_one_that_a_cell_of_the_minimum_can_keep(said):
    assert refused(changed((SHARE, f"dominance = {said}\n"))) == "policy.value"


def test_a_share_of_a_number_of_bills_is_refused():
    few = ('measures = ["bills", "energy_wh", "amount_fen"]', 'measures = ["bills"]')
    text = changed(few, ("minimum = 100", "minimum = 100\ndominance = 15"))
    assert refused(text) == "policy.value"


def test_less_dominance_is_looser_and_one_limit_more_is_stricter():
    wider = STRICT.replace(SHARE, "dominance = 20\n")
    before, after = parse_policy(STRICT), parse_policy(wider)
    changes = compare_policies(before, after)
    assert {(one.before.dominance, one.after.dominance) for one in changes} == {(15, 20)}
    assert all(one.is_looser for one in changes)
    assert not any(one.is_looser for one in compare_policies(after, before))
    raised = [("minimum = 15", "minimum = 30"), (SHARE, "")]
    changes = compare_policies(before, parse_policy(changed(*raised, *raised)))
    assert changes
    assert all(one.is_looser for one in changes), "whatever else is stricter"


ADDED = ('[[rules]]\nname = "added"\nmeasures = ["energy_wh"]\nclasses = ["non-residential"]\n'
         'approvals = ["data-owner", "privacy-officer"]\nsources = ["cpuc-e-5105"]\n')  # fmt: skip


def added(text: str, said: str) -> str:
    return changed(("[[rules]]", f"{ADDED}{said}\n[[rules]]"), text=text)


def test_the_smallest_share_of_several_rules_decides():
    said = (
        'roles = ["staff"]\npurposes = ["billing", "preview"]\ngrades = [1, 2, 3]\n'
        "minimum = 15\nmerge = true\ndominance = 9\n"
    )
    text = added(STRICT, said)
    policy = parse_policy(text)
    assert find_minima(policy, Asked("staff", "billing", "daily")).dominance["shop"] == 9
    assert find_minima(policy, Asked("staff", "operations", "daily")).dominance["shop"] == 15
    case = Case("energy_wh", "monthly", "shop", "staff", "billing")
    assert find_terms(policy, case).dominance == 9


def test_how_many_meter_points_a_customer_has_is_part_of_a_limit():
    counted = changed(("version = 3", "version = 3\ncustomer_points = 3"))
    before, after = parse_policy(STRICT), parse_policy(counted)
    assert find_minima(after, Asked("staff", "billing", "monthly")).customer_points == 3
    changes = compare_policies(before, after)
    assert {one.case.customer_class for one in changes} == {"factory", "shop"}
    assert all(one.is_looser for one in changes)
    assert not any(one.is_looser for one in compare_policies(after, before))
    fewer = parse_policy(counted.replace("points = 3", "points = 2"))
    assert all(one.is_looser for one in compare_policies(after, fewer))
    for said in ("1", "true", "2.0"):
        assert refused(counted.replace("points = 3", f"points = {said}")) == "policy.value"


@pytest.mark.parametrize(("pairs", "reason"), [
    # Half-hours that nothing limits beside months that are.
    ([("grades = [1, 2, 3]\nclasses = [\"non-residential\"]",
       "grades = [1]\nclasses = [\"non-residential\"]")], "policy.grades"),
    # Half-hours for research by a limit that the bills are not compared by.
    ([(SHARE, "")], "policy.dominance"),
])  # fmt: skip
def test_what_is_finer_follows_months_that_are_compared(pairs, reason):
    text = changed(*pairs)
    if reason == "policy.grades":
        text = added(text, 'roles = ["staff"]\npurposes = ["operations"]\ngrades = [2, 3]\n'
                           "minimum = 15\nmerge = true\n")  # fmt: skip
    assert refused(text) == reason


def test_previews_are_never_freer_than_bills():
    text = STRICT.replace('"operations", "preview", ', '"operations", ')
    assert parse_policy(text)
    preview = ('roles = ["staff"]\npurposes = ["preview"]\ngrades = [1]\nminimum = 15\n'
               "merge = true\n")  # fmt: skip
    assert refused(added(text, preview)) == "policy.dominance"
    assert parse_policy(added(text, preview + SHARE))


def test_a_policy_is_known_by_its_bytes(tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(STRICT.encode())
    assert load_policy(str(path)).digest == load_pack("strict").digest
    path.write_bytes(STRICT.replace("\n", "\r\n").encode())
    assert load_policy(str(path)).digest != load_pack("strict").digest
    path.write_bytes(b"\xff")
    for named, reason in ((str(path), "policy.file"), ("stricter", "policy.pack")):
        with pytest.raises(InputError) as caught:
            load_policy(named)
        assert caught.value.reason == reason


def test_every_purpose_can_be_written():
    assert set(PURPOSES) == {"billing", "operations", "preview", "research", "tariff-design"}
