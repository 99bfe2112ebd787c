"""One tenant's credential reads nothing of another's: tried on every route of every service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

import pytest
from fastapi.testclient import TestClient

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.key_authority.checker import approvals
from gridsecure_api.settings import Role
from tests.apps.zone_apps import bearer, every_zone, refused_body
from tests.attacks import Attacked, attack, cut, rule

NORTH, SOUTH = "north", "south"
ZONES = ("identity", "gateway", "platform", "authority", "market", "encryption")
GUESTS = {
    "identity": ("gateway", "analyst"),
    "gateway": ("meter-data",),
    "authority": (*APPROVER_ROLES, "member"),
    "market": ("member",),
    "encryption": ("member",),
}
"""Roles in which others are let in somewhere: they enrol, approve what is about them, and trade.
Meter-data systems have no tenant: each gateway admits those that were registered there."""
TOLD_TO_GUESTS = {"/enrolments/sessions"}
"""What a session is for is signed by whoever enrols."""
ROLES = set(get_args(Role))
Answers = dict[tuple[str, str], tuple[int, object]]


@pytest.fixture(scope="module")
def north(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TestClient]]:
    with every_zone(tmp_path_factory.mktemp("north"), tenant=NORTH) as running:
        yield running


def routes(client: TestClient) -> Iterator[tuple[str, str]]:
    """Every operation that a service describes, with something in the place of each parameter."""
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            yield method.upper(), re.sub(r"\{[^}]*\}", "0" * 64, path)


def answers(client: TestClient, headers: dict[str, str]) -> Answers:
    found: Answers = {}
    for method, path in routes(client):
        answer = client.request(method, path, headers=headers)
        is_json = answer.headers.get("content-type", "").endswith("json")
        found[method, path] = (answer.status_code, answer.json() if is_json else answer.content)
    return found


@pytest.mark.parametrize("zone", ZONES)
def test_no_route_tells_another_tenant_anything(north: dict[str, TestClient], zone: str) -> None:
    client, guests = north[zone], GUESTS.get(zone, ())
    guarded = [route for route, (status, _) in answers(client, {}).items() if status == 401]
    assert len(guarded) >= 8
    # 1. named people and services of another tenant, in every role at once
    theirs = answers(client, bearer(zone, *sorted(ROLES - set(guests)), tenant=SOUTH))
    refused = (403, refused_body(403))
    assert {route: theirs[route] for route in guarded} == dict.fromkeys(guarded, refused)
    # 2. those who are let in somewhere: what is there is not about them
    for role in guests:
        told = answers(client, bearer(zone, role, tenant=SOUTH, person="south"))
        for method, path in guarded:
            status, body = told[method, path]
            if status < 300 and zone != "market" and path not in TOLD_TO_GUESTS:
                assert body == [], (role, method, path)
    # 3. the service's own are known: it does not refuse everybody
    if zone == "encryption":
        return  # its settings name nobody here
    ours = answers(client, bearer(zone, *sorted(ROLES), tenant=NORTH))
    assert sum(ours[route] != refused for route in guarded) >= 3


def test_whoever_says_no_tenant_is_of_another_one(north: dict[str, TestClient]) -> None:
    answer = north["platform"].get("/runs", headers=bearer("platform", "billing"))
    assert (answer.status_code, answer.json()) == (403, refused_body(403))


@attack(
    "an operator of another tenant at a gateway",
    rule(
        "A service knows the people of its own tenant alone.",
        "authenticity.refused",
        cut("gridsecure_api.deps:AccessRules.is_guest",
            "claims.tenant == self.tenant", "claims.tenant"),
    ),
)  # fmt: skip
def test_an_operator_of_the_south_reads_no_source_of_the_north(
    north: dict[str, TestClient], attacked: Attacked
) -> None:
    headers = bearer("gateway", "operator", tenant=SOUTH)
    answer = north["gateway"].get("/v1/sources", headers=headers)
    attacked.ends(answer.json()["reason"] if answer.status_code >= 400 else None)


def test_an_officer_of_another_tenant_is_not_given_the_own_readers_page(
    north: dict[str, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither has a key among the suppliers' officers, and one of them sees all."""
    seen: list[object] = []

    def read(*_given: object, keys: object, **_named: object) -> tuple[list[object], None]:
        seen.append(keys)
        return [], None

    monkeypatch.setattr(approvals, "read_subjects", read)
    for tenant, person in ((NORTH, "north"), (SOUTH, "south")):
        headers = bearer("authority", "data-owner", tenant=tenant, person=person)
        assert north["authority"].get("/approvals?limit=7", headers=headers).status_code == 200
    assert seen == [None, frozenset()]
