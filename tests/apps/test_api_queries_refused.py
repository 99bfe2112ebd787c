"""What comes near a query at the platform's and the authority's routes, and is not it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from gridsecure.compute.tables import QueryGrantRow, RunRow
from gridsecure.credentials.queries import Query
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.key_authority.checker.pull import PlatformPull
from gridsecure.store.database import write_session
from gridsecure.wire.client import service_client
from gridsecure_api.authority import create_authority_app
from gridsecure_api.platform import create_platform_app
from tests.apps.test_api_signed_uploads import TRICKS
from tests.apps.zone_apps import (
    TestClock,
    authority_settings,
    bearer,
    is_refused,
    platform_settings,
    refused_body,
)
from tests.authority_simulator import settlement
from tests.cli.in_process import client_of
from tests.grid_simulator import NOW, GridSimulator, grid_keys
from tests.query_grants import grant_token, query_of

BILLING = bearer("platform", "billing")


def authority_app(folder: Path, platform: object, *, clock: TestClock):
    """The key authority, which pulls from the platform's real routes."""
    # Nothing here is released.
    settings = authority_settings(folder, vault=folder / "no-vault", policy="strict")
    pulled = client_of(platform, headers=bearer("platform", "authority"))
    pull = PlatformPull(service_client(pulled, name="platform", pause=lambda _seconds: None))
    return create_authority_app(settings, clock=clock, pull=pull, settlement=settlement)


# --- what is not a query with its grants ---------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A platform and an authority with nothing to answer; for what is refused before it matters."""
    folder = tmp_path_factory.mktemp("queries")
    grid = GridSimulator(folder / "platform")
    platform = create_platform_app(platform_settings(folder / "platform"), clock=TestClock())
    authority = authority_app(folder / "authority", platform, clock=TestClock())
    with TestClient(platform) as one, TestClient(authority) as two:
        yield SimpleNamespace(grid=grid, platform=one, authority=two)
    grid.close()


@dataclass
class Asked:
    """A request to `/queries`: one thing of it is changed."""

    query: Query
    text: str = ""
    token: str = ""
    grant: str = ""

    def __post_init__(self) -> None:
        self.text = self.text or self.query.text
        self.token = self.token or grant_token(self.query.text, audience="platform")
        self.grant = self.grant or grant_token(self.query.text)

    def send(self, platform: TestClient) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        body = {"query": self.text, "grant": self.grant}
        return platform.post("/queries", json=body, headers=headers)


def other_query(query: Query) -> Query:
    return query.model_copy(update={"end": "2026-09-01T00:00:00+08:00"})


def token_for_another_query(asked: Asked) -> None:
    asked.token = grant_token(other_query(asked.query).text, audience="platform")


def grant_for_another_query(asked: Asked) -> None:
    asked.grant = grant_token(other_query(asked.query).text)


def another_query_under_both(asked: Asked) -> None:
    asked.text = other_query(asked.query).text


def the_authoritys_token_here(asked: Asked) -> None:
    asked.token = asked.grant


def the_platforms_token_there(asked: Asked) -> None:
    asked.grant = asked.token


def an_expired_token(asked: Asked) -> None:
    asked.token = expired(asked.query, audience="platform")


def an_expired_grant(asked: Asked) -> None:
    asked.grant = expired(asked.query, audience="authority")


def expired(query: Query, *, audience: str) -> str:
    at = NOW - timedelta(days=2)
    return grant_token(
        query.text, audience=audience, issued_at=at, expires_at=at + timedelta(days=1)
    )


def a_strangers_token(asked: Asked) -> None:
    asked.token = grant_token(asked.query.text, audience="platform", key=grid_keys().stranger)


def a_strangers_grant(asked: Asked) -> None:
    asked.grant = grant_token(asked.query.text, key=grid_keys().stranger)


def the_platforms_own_grant(asked: Asked) -> None:
    asked.grant = grant_token(asked.query.text, key=grid_keys().platform)


def no_grant_but_a_word(asked: Asked) -> None:
    asked.grant = "grant"


def an_analysts_own_token(asked: Asked) -> None:
    """By name: it may read releases, and asks nothing here."""
    asked.token = bearer("platform", "analyst")["Authorization"].removeprefix("Bearer ")


def a_grant_with_a_second_role(asked: Asked) -> None:
    roles = ("query-grant", "operator")
    asked.token = grant_token(asked.query.text, audience="platform", roles=roles)


def a_grant_bound_to_a_key(asked: Asked) -> None:
    thumbprint = grid_keys().gateway.public_key.thumbprint
    asked.token = grant_token(asked.query.text, audience="platform", holder_thumbprint=thumbprint)


BAD: dict[str, tuple[Callable[[Asked], None], int]] = {
    change.__name__.replace("_", " "): (change, status)
    for change, status in (
        (token_for_another_query, 401),
        (grant_for_another_query, 401),
        (another_query_under_both, 401),
        (the_authoritys_token_here, 403),
        (the_platforms_token_there, 403),
        (an_expired_token, 401),
        (an_expired_grant, 401),
        (a_strangers_token, 401),
        (a_strangers_grant, 401),
        (the_platforms_own_grant, 401),
        (no_grant_but_a_word, 401),
        (an_analysts_own_token, 403),
        (a_grant_with_a_second_role, 401),
        (a_grant_bound_to_a_key, 403),
    )
}


def nothing_was_taken(shared: SimpleNamespace) -> bool:
    with write_session(shared.platform.app.state.platform.zone.engine) as session:
        return not any(session.exec(select(table)).all() for table in (QueryGrantRow, RunRow))


@pytest.mark.parametrize("name", BAD)
def test_a_query_is_refused_alike(name: str, shared: SimpleNamespace) -> None:
    change, status = BAD[name]
    asked = Asked(query_of(shared.grid))
    change(asked)
    answer = asked.send(shared.platform)
    assert is_refused(answer, status)
    assert nothing_was_taken(shared)


@pytest.mark.parametrize("name", TRICKS)
@pytest.mark.parametrize("place", ["token", "grant"])
def test_tricks_with_an_algorithm(name: str, place: str, shared: SimpleNamespace) -> None:
    asked = Asked(query_of(shared.grid))
    setattr(asked, place, TRICKS[name](getattr(asked, place)))
    answer = asked.send(shared.platform)
    assert (answer.status_code, answer.json()) == (401, refused_body(401))
    assert nothing_was_taken(shared)


def spelled(text: str) -> str:
    return text.replace(",", ", ", 1)


SPELLINGS: dict[str, tuple[Callable[[Query], str], str]] = {
    "with a blank": (lambda query: spelled(query.text), "query.spelling"),
    "with a field more": (lambda query: query.text[:-1] + ',"note":"x"}', "message.invalid"),
    "for bills": (lambda query: query.text.replace('"load-curve"', '"bill"'), "message.invalid"),
    "for operations": (
        lambda query: query.text.replace('"research"', '"operations"'),
        "message.invalid",
    ),
    "without a reader": (lambda query: query.text.replace(query.reader, ""), "message.invalid"),
    "with a reader that is no key": (
        lambda query: query.text.replace(query.reader, "04" + "0" * 128),
        "sm2.point",
    ),
    "no JSON": (lambda _query: "load curve", "message.invalid"),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_query_of_another_shape_is_refused_although_granted(
    name: str, shared: SimpleNamespace
) -> None:
    make, reason = SPELLINGS[name]
    query = query_of(shared.grid)
    text = make(query)
    tokens = {"token": grant_token(text, audience="platform"), "grant": grant_token(text)}
    answer = Asked(query, text=text, **tokens).send(shared.platform)
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert nothing_was_taken(shared)


def test_without_data_a_grant_is_not_taken(shared: SimpleNamespace) -> None:
    answer = Asked(query_of(shared.grid)).send(shared.platform)
    assert (answer.status_code, answer.json()["reason"]) == (404, "run.empty")
    assert nothing_was_taken(shared)


def test_staff_order_no_research(shared: SimpleNamespace) -> None:
    order = shared.grid.order("load-curve")
    body = {"plan": "load-curve", "start": order.start, "end": order.end, "purpose": "research"}
    answer = shared.platform.post("/runs", json=body, headers=BILLING)
    assert (answer.status_code, answer.json()["reason"]) == (400, "run.purpose")


def test_a_query_is_looked_at_by_whoever_has_its_grant(shared: SimpleNamespace) -> None:
    query = query_of(shared.grid)
    digest = sm3_hex(query.text.encode())
    own = {"Authorization": f"Bearer {grant_token(query.text, audience='platform')}"}
    answer = shared.platform.get(f"/queries/{digest}", headers=own)
    assert (answer.status_code, answer.json()["reason"]) == (404, "not-found.query")
    other = grant_token(other_query(query).text, audience="platform")
    answer = shared.platform.get(f"/queries/{digest}", headers={"Authorization": f"Bearer {other}"})
    assert (answer.status_code, answer.json()) == (403, refused_body(403))
    answer = shared.platform.get(f"/queries/{digest}", headers=BILLING)
    assert (answer.status_code, answer.json()["reason"]) == (403, "authenticity.role")


def test_a_result_is_asked_for_with_the_authoritys_token_for_the_very_query(
    shared: SimpleNamespace,
) -> None:
    query = query_of(shared.grid)

    def answer(token: str, text: str = query.text) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return shared.authority.post("/query-results", json={"query": text}, headers=headers)

    own = grant_token(query.text)
    assert (answer(own).status_code, answer(own).json()["reason"]) == (
        404,
        "not-found.query-result",
    )
    for token, status in (
        (grant_token(other_query(query).text), 401),
        (grant_token(query.text, audience="platform"), 403),
        (expired(query, audience="authority"), 401),
        (bearer("authority", "analyst")["Authorization"].removeprefix("Bearer "), 403),
    ):
        found = answer(token)
        assert is_refused(found, status)
