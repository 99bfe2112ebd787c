"""The three rights: which step needs which, for what scope, and which one is named as missing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gridsecure.circulation.rights import NEEDED, RIGHT_NAMES, RightGrant, Wanted, check_right
from gridsecure.errors import GridSecureError
from tests.grid_simulator import NOW

WANTED = Wanted("workshop", "load", ("energy_wh",), "operations")
SCOPES = {
    "everything": {"scope": "everything"},
    "its domain": {"scope": "domain", "domain": "energy_wh"},
    "its purpose": {"scope": "purpose", "purpose": "operations"},
    "another domain": {"scope": "domain", "domain": "bills"},
    "another purpose": {"scope": "purpose", "purpose": "research"},
}
COVERS = {"everything": "", "its domain": "", "its purpose": ""} | {
    "another domain": "rights.domain",
    "another purpose": "rights.purpose",
}


def grant_of(right: str, *, days: int = 1, **changes: object) -> RightGrant:
    values = {
        "organisation": "grid", "person": "grid-1", "signed_at": NOW.isoformat(), "right": right,
        "dataset": "load", "grantee": "workshop", "scope": "everything",
        "expires_at": (NOW + timedelta(days=days)).isoformat(),
    }  # fmt: skip
    return RightGrant(**(values | changes))


def reason(step: str, *grants: RightGrant, wanted: Wanted = WANTED) -> tuple[str, str]:
    """Why a step is refused, and in which words; nothing if it is not."""
    try:
        assert check_right(step, wanted, grants, now=NOW) == NEEDED[step]
    except GridSecureError as error:
        return error.reason, error.message
    return "", ""


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("right", RIGHT_NAMES)
@pytest.mark.parametrize("step", NEEDED)
def test_a_step_needs_its_own_right_in_a_scope_that_covers_it(step, right, scope):
    code, message = reason(step, grant_of(right, **SCOPES[scope]))
    needed = NEEDED[step]
    assert code == (COVERS[scope] if right == needed else "rights.missing")
    if code:
        assert f"right to {needed} ({RIGHT_NAMES[needed]}) load" in message


@pytest.mark.parametrize("missing", RIGHT_NAMES)
def test_a_missing_right_stops_its_own_steps_alone(missing):
    others = [grant_of(right) for right in RIGHT_NAMES if right != missing]
    stopped = {step for step in NEEDED if reason(step, *others)[0]}
    assert stopped == {step for step, right in NEEDED.items() if right == missing}


def test_a_grant_is_of_one_dataset_for_one_organisation_until_it_ends():
    assert reason("design", grant_of("process"))[0] == ""
    assert reason("design", grant_of("process", days=-1))[0] == "rights.expired"
    for changes in ({"dataset": "bills"}, {"grantee": "rival"}):
        assert reason("design", grant_of("process", **changes))[0] == "rights.missing"


def test_domains_cover_a_product_together():
    both = Wanted("workshop", "load", ("energy_wh", "amount_fen"), "operations")
    energy, money = (
        grant_of("process", scope="domain", domain=one) for one in ("energy_wh", "amount_fen")
    )
    code, message = reason("design", energy, wanted=both)
    assert (code, "leaves out amount_fen" in message) == ("rights.domain", True)
    assert reason("design", energy, money, wanted=both)[0] == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "domain"},
        {"scope": "everything", "purpose": "operations"},
        {"scope": "domain", "domain": "weather"},
        {"scope": "purpose", "purpose": "curiosity"},
    ],
)
def test_a_scope_says_its_domain_or_purpose_and_nothing_else(changes):
    with pytest.raises(ValueError, match=r"scope|domain|purpose"):
        grant_of("process", **changes)
