"""Numbers with noise in policies: read exactly, held to what is enforced, and compared."""

from __future__ import annotations

import pytest

from gridsecure.policy.decisions import Case, compare_policies, find_terms
from gridsecure.policy.language import parse_policy
from gridsecure.policy.private_answers import PrivateTerms
from tests.policy.test_language import changed, refused

POINTS = "version = 3\ncustomer_points = 3"
HALF = '[private]\nepsilon = "0.5"\nbudget = "2"\n\n[[sources]]'


def with_noise(said: str = HALF, *, points: str = POINTS) -> str:
    return changed(("version = 3", points), ("[[sources]]", said))


def test_analysts_are_told_with_noise_and_staff_exactly():
    policy = parse_policy(with_noise())
    assert policy.private == PrivateTerms(500_000, 2_000_000)
    for role, purpose, private in (
        ("analyst", "research", policy.private),
        ("staff", "operations", None),
    ):
        terms = find_terms(policy, Case("energy_wh", "interval", "household", role, purpose))
        assert terms.private == private
    assert policy.private.said == "with noise of ε 0.5 a question and 2 a month of readings"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('private = "0.5"\n[[sources]]', "policy.syntax"),
        (HALF.replace("budget", "delta"), "policy.term"),
        (HALF.replace('budget = "2"\n', ""), "policy.value"),
        (HALF.replace('"0.5"', "0.5"), "policy.value"),
        (HALF.replace('"0.5"', '"0"'), "policy.value"),
        (HALF.replace('"0.5"', '"0.50"'), "policy.value"),
        (HALF.replace('"0.5"', '"3"'), "policy.value"),
    ],
)
def test_other_noise_is_refused(said, reason):
    if said.startswith("private ="):
        assert refused(changed(("version = 3", f"{POINTS}\n{said.split(chr(10))[0]}"))) == reason
    else:
        assert refused(with_noise(said)) == reason


def test_noise_that_hides_nobody_is_refused():
    """Without the largest number of meter points of a customer, and where no analyst may ask."""
    assert refused(with_noise(points="version = 3")) == "policy.private"
    nobody = with_noise().replace('"analyst"', '"staff"').replace('"staff", "staff"', '"staff"')
    assert refused(nobody) == "policy.private"


@pytest.mark.parametrize(
    ("said", "points"),
    [
        (None, POINTS),
        (HALF.replace('"0.5"', '"0.6"'), POINTS),
        (HALF.replace('"2"', '"2.5"'), POINTS),
        (HALF, "version = 3\ncustomer_points = 2"),
    ],
    ids=["exact", "less noise", "more questions", "smaller customers"],
)
def test_a_comparison_knows_what_says_more(said, points):
    noisy = parse_policy(with_noise())
    other = parse_policy(
        changed(("version = 3", points)) if said is None else with_noise(said, points=points)
    )
    changes = compare_policies(noisy, other)
    asked = [one for one in changes if one.case.role == "analyst"]
    assert asked
    assert all(one.is_looser for one in asked)
    if points == POINTS:
        assert {one.case.role for one in changes} == {"analyst"}
        assert not any(one.is_looser for one in compare_policies(other, noisy))
