"""Denied by default: every route of every service, walked; tokens, roles, body limits, settings."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import ValidationError

from gridsecure.crypto import sm2
from gridsecure.errors import AuthenticityError, GridSecureError, StorageError
from gridsecure.zone_keys import SIGNING_KEY, load_secret, load_signing_key
from gridsecure_api import deps
from gridsecure_api.own_build import open_build
from gridsecure_api.serving import ServiceDescription, new_app
from gridsecure_api.settings import (
    BuildSettings,
    GatewaySettings,
    IdentitySettings,
    PlatformSettings,
    key_registry,
)
from gridsecure_api.signed_uploads import signed_request
from tests.apps.zone_apps import TestClock, bearer, every_zone, point, refused_body
from tests.grid_simulator import NOW, grid_keys

PUBLIC = {
    "/about", "/health", "/ready", "/openapi.json",
    # what reason codes mean, as a route and as the walk below calls it
    "/reasons/{code}", "/reasons/x",
    # the API page and what it loads
    "/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css",
    "/docs/favicon-32x32.png",
    # logins, whose bodies are signed or hold a password
    "/sign-in", "/service-tokens", "/person-tokens",
    # pseudonyms and grants: a token has a name and must not be seen beside them
    "/identity-keys", "/challenges", "/registrations", "/registrations/list", "/logins",
    "/deny-list", "/grants", "/grants/returned", "/grants/terms", "/grants/trials",
}  # fmt: skip
PUBLIC_OF = {
    "authority": {"/key-sets", "/query-key", "/returned-grants"},
    "market": {"/portal", "/portal.css", "/public"},
}
"""What one zone answers without a token: a gateway signs its request for key sets itself, whoever
seals a question has no name, and what was published on the market is everybody's."""
ZONES = ("identity", "gateway", "platform", "authority", "market", "encryption")


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[dict[str, TestClient]]:
    with every_zone(tmp_path_factory.mktemp("zones")) as running:
        yield running


def operations(client: TestClient) -> list[tuple[str, str]]:
    """Method and concrete path of everything a service answers, as its own API page lists it."""
    pages = client.get("/openapi.json").json()["paths"]
    found = [
        (method.upper(), re.sub(r"\{[^}]+\}", "x", path))
        for path, methods in pages.items()
        for method in methods
    ]
    assert len(found) >= 5
    return found


def is_public(path: str, zone: str) -> bool:
    return path in PUBLIC | PUBLIC_OF.get(zone, set()) or path.startswith("/log/")


def guarded(client: TestClient, zone: str) -> list[tuple[str, str]]:
    return [(method, path) for method, path in operations(client) if not is_public(path, zone)]


@pytest.mark.parametrize("zone", ZONES)
def test_no_route_answers_without_a_token(services, zone):
    client = services[zone]
    routes = guarded(client, zone)
    assert routes
    for method, path in routes:
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()) == (401, refused_body(401)), (method, path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("zone", ZONES)
def test_no_route_answers_a_token_without_a_role(services, zone):
    client = services[zone]
    for method, path in guarded(client, zone):
        answer = client.request(method, path, headers=bearer(zone, "nobody"))
        # A parameter or body that has the wrong shape may be refused before the role is asked.
        assert answer.status_code in {403, 422}, (method, path)


@pytest.mark.parametrize("zone", ZONES)
def test_every_guarded_route_names_its_roles(services, zone):
    """Also where the walk above stops at the shape of the request."""
    app = services[zone].app
    assert isinstance(app, FastAPI)
    routes = api_routes(app)
    assert {route.path for route in routes} >= {"/about", "/health"}
    for route in routes:
        admitting = [d for d in all_dependencies(route.dependant) if is_admission(d)]
        assert bool(admitting) != is_public(route.path, zone), route.path


def api_routes(app: FastAPI) -> list[APIRoute]:
    from fastapi.routing import iter_route_contexts  # noqa: PLC0415

    return [c.route for c in iter_route_contexts(app.routes) if isinstance(c.route, APIRoute)]


def all_dependencies(dependant):
    for inner in dependant.dependencies:
        yield inner.call
        yield from all_dependencies(inner)


def is_admission(call) -> bool:
    return call is signed_request or getattr(call, "__qualname__", "").startswith(
        "require.<locals>"
    )


@pytest.mark.parametrize("zone", ZONES)
def test_what_is_not_there_is_not_told_to_strangers(services, zone):
    assert services[zone].get("/nothing/here").status_code == 401
    assert services[zone].get("/redoc").status_code == 401


@pytest.mark.parametrize("zone", ZONES)
def test_public_pages_say_what_the_service_is(services, zone):
    client = services[zone]
    about = client.get("/about").json()
    assert about["zone"] == zone
    assert about["version"]
    assert "gmssl" in about["sm2_engines"]
    assert client.get("/health").json() == {"state": "ok"}
    assert client.get("/docs").status_code == 200


# --- tokens ------------------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)
HEADERS = {
    "no scheme": lambda good: good.removeprefix("Bearer "),
    "another scheme": lambda good: good.replace("Bearer", "Basic"),
    "cut short": lambda good: good[:-1],
    "not a token": lambda good: "Bearer x.y.z",
    "empty": lambda good: "Bearer ",
    "flipped": lambda good: good[:-5] + ("A" if good[-5] != "A" else "B") + good[-4:],
    "no algorithm": lambda good: "Bearer eyJhbGciOiJub25lIn0." + good.split(".")[1] + ".",
}


@pytest.fixture(scope="module")
def platform(services) -> TestClient:
    return services["platform"]


def test_a_good_token_is_good(platform):
    assert platform.get("/runs", headers=bearer("platform", "billing")).json() == []
    assert platform.get("/runs", headers=bearer("platform", "x", "billing")).status_code == 200


@pytest.mark.parametrize("change", HEADERS)
def test_a_changed_token_is_refused(platform, change):
    good = bearer("platform", "billing")["Authorization"]
    answer = platform.get("/runs", headers={"Authorization": HEADERS[change](good)})
    assert (answer.status_code, answer.json()) == (401, refused_body(401))


def test_two_tokens_are_none(platform):
    good = bearer("platform", "billing")["Authorization"]
    answer = platform.get("/runs", headers=[("Authorization", good), ("Authorization", good)])
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (lambda: bearer("gateway", "billing"), 403),
        (lambda: bearer("platform", "billing", key=grid_keys().stranger), 401),
        (lambda: bearer("platform", "billing", key=grid_keys().platform), 401),
        (lambda: bearer("platform", "billing", valid=(NOW - 5 * MINUTE, NOW)), 401),
        (lambda: bearer("platform", "billing", valid=(NOW + MINUTE, NOW + 5 * MINUTE)), 401),
    ],
    ids=["audience", "stranger", "platform's own key", "expired", "future"],
)
def test_a_token_that_is_not_for_this_is_refused_alike(platform, token, status):
    answer = platform.get("/runs", headers=token())
    assert (answer.status_code, answer.json()) == (status, refused_body(status))


def test_whoever_has_another_role_is_told_which_roles_may(platform):
    refused = platform.get("/runs", headers=bearer("platform", "analyst"))
    assert (refused.status_code, refused.json()["reason"]) == (403, "authenticity.role")
    assert refused.json()["detail"].startswith("Only the roles ")
    assert "billing" in refused.json()["detail"]
    assert platform.get(refused.json()["type"]).json()["code"] == "authenticity.role"


def test_a_route_must_name_a_role():
    with pytest.raises(ValueError, match="role"):
        deps.require()


# --- the gate itself ---------------------------------------------------------------------------


def small_app(*, limit: int = 100) -> FastAPI:
    app = new_app(
        ServiceDescription("platform", "t", "t", public_paths=frozenset({"/open", "/leak"})),
        identity_key=grid_keys().identity.public_key,
        max_body_bytes=limit,
        clock=TestClock(),
        build=open_build(BuildSettings(), whose="the tests"),
    )

    @app.post("/raw", dependencies=[Depends(deps.require("billing"))])
    def raw(body: deps.RawBody) -> dict[str, int]:
        return {"length": len(body)}

    @app.post("/json", dependencies=[Depends(deps.require("billing"))])
    def parsed(body: dict[str, str]) -> dict[str, int]:
        return {"length": len(body["text"])}

    @app.get("/leak", dependencies=[Depends(deps.require("billing"))])
    def leak() -> None:
        """A path named public by mistake is still asked for a role."""

    return app


@pytest.mark.parametrize("path", ["/raw", "/json"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_read_up_to_the_limit(path, chunked):
    client = TestClient(small_app())
    headers = bearer("platform", "billing") | {"Content-Type": "application/json"}

    def send(length: int):
        body = b'{"text": "' + b"x" * (length - 12) + b'"}'
        return client.post(
            path, headers=headers, content=iter([body[:50], body[50:]]) if chunked else body
        )

    assert send(100).status_code == 200
    answer = send(101)
    assert answer.status_code == 413
    assert answer.json()["reason"] == "message.too-large"
    assert "xxx" not in answer.text


@pytest.mark.parametrize("length", ["-1", "x", "9" * 5000])
def test_a_nonsensical_length_is_too_large(length):
    client = TestClient(small_app())
    headers = bearer("platform", "billing") | {"Content-Length": length}
    assert client.post("/raw", headers=headers).status_code == 413


def test_a_path_named_public_by_mistake_still_asks_for_its_role():
    assert TestClient(small_app()).get("/leak").status_code == 401


def test_websockets_are_not_spoken():
    with (
        pytest.raises(AuthenticityError),
        TestClient(small_app()).websocket_connect("/raw"),
    ):
        pass


def test_a_service_does_not_start_on_engines_that_disagree(monkeypatch):
    def broken(_engines: object) -> None:
        raise GridSecureError("They disagree.", reason="crypto.engine.mismatch")

    monkeypatch.setattr(sm2, "check_engines", broken)
    sm2.cross_check.cache_clear()  # as in a process that has not checked yet
    with pytest.raises(GridSecureError) as refused:
        small_app()
    assert refused.value.reason == "crypto.engine.mismatch"


# --- settings and keys -------------------------------------------------------------------------


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    key = point(grid_keys().identity)
    monkeypatch.setenv("GRIDSECURE_PLATFORM_FOLDER", str(tmp_path))
    monkeypatch.setenv("GRIDSECURE_PLATFORM_IDENTITY_PUBLIC_KEY", key)
    monkeypatch.setenv("GRIDSECURE_PLATFORM_AUTHORITY_PUBLIC_KEY", key)
    monkeypatch.setenv("GRIDSECURE_PLATFORM_BILLING_OFFICE_PUBLIC_KEY", key)
    monkeypatch.setenv("GRIDSECURE_PLATFORM_WORKERS", "3")
    settings = PlatformSettings()
    assert (settings.folder, settings.workers) == (tmp_path, 3)
    assert settings.identity_public_key == key
    assert settings.database_url == f"sqlite:///{tmp_path / 'zone.db'}"
    monkeypatch.setenv("GRIDSECURE_PLATFORM_DATABASE", "postgresql+psycopg://grid:secret@db/grid")
    named = PlatformSettings()
    assert named.database_url == "postgresql+psycopg://grid:secret@db/grid"
    assert "secret" not in repr(named)
    monkeypatch.setenv("GRIDSECURE_PLATFORM_WORKERS", "0")
    with pytest.raises(ValidationError):
        PlatformSettings()


def test_settings_that_are_missing_or_malformed_are_refused(tmp_path):
    with pytest.raises(ValidationError):
        GatewaySettings(folder=tmp_path)
    for bad in ("", "04" + "g" * 128, "02" + "0" * 64, "04" + "0" * 127):
        with pytest.raises(ValidationError):
            IdentitySettings(folder=tmp_path, services=[{"role": "gateway", "public_key": bad}])
    with pytest.raises(GridSecureError):
        key_registry("04" + "0" * 128)  # well written, but no point of the curve


def test_a_zones_key_is_made_once_and_for_its_owner_alone(tmp_path):
    folder = tmp_path / "zone"
    key = load_signing_key(folder)
    assert load_signing_key(folder).public_key == key.public_key
    assert stat.S_IMODE((folder / SIGNING_KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [SIGNING_KEY]


def test_a_key_that_others_may_read_is_refused(tmp_path):
    load_signing_key(tmp_path)
    (tmp_path / SIGNING_KEY).chmod(0o640)
    with pytest.raises(StorageError) as refused:
        load_signing_key(tmp_path)
    assert refused.value.reason == "keys.permissions"


@pytest.mark.parametrize("content", [b"", b"\0" * 32, b"\xff" * 32, b"\1" * 31])
def test_a_damaged_key_is_refused_without_being_shown(tmp_path, content):
    load_signing_key(tmp_path)
    (tmp_path / SIGNING_KEY).write_bytes(content)
    with pytest.raises(StorageError) as refused:
        load_signing_key(tmp_path)
    assert refused.value.reason == "keys.damaged"


def test_of_two_processes_that_make_a_key_at_once_one_wins(tmp_path):
    path = tmp_path / "secret"

    def slower() -> bytes:
        assert load_secret(path, lambda: b"first") == b"first"
        return b"second"

    assert load_secret(path, slower) == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as refused:
        load_signing_key(tmp_path / "file" / "zone")
    assert refused.value.reason == "storage.folder"
