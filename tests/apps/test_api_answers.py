"""Every route says in OpenAPI what comes back: a model, bytes of a named kind, or a problem.

And that is what comes back, whatever was asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import get_args

import httpx
import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient

from gridsecure.wire.problems import PROBLEM_TYPE, Problem
from gridsecure.wire.services import Health
from gridsecure_api.settings import Role, ServiceRole
from tests.apps.described_answers import Described
from tests.apps.zone_apps import all_services, bearer, every_zone
from tests.python_leaks import unwatched_errors

ZONES = ("identity", "gateway", "platform", "authority", "market", "encryption")
NAMED = "#/components/schemas/"
LATER = {"post /v1/readings"}
"""Routes that answer at once or later (202), with the same model."""
BYTES = {"type": "string", "format": "binary"}


EACH = int(os.environ.get("FUZZ_REQUESTS") or 5)


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[dict[str, TestClient]]:
    with every_zone(tmp_path_factory.mktemp("zones")) as running:
        yield running


@pytest.fixture(scope="module")
def documents(services) -> dict[str, dict]:
    return {zone: client.get("/openapi.json").json() for zone, client in services.items()}


def operations(document: dict) -> list[tuple[str, dict]]:
    return [
        (f"{method} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def says_what_comes(content: dict, schemas: dict) -> bool:
    """One kind of content: a model with fields, a list of one, or bytes that are called bytes."""
    if len(content) != 1:
        return False
    ((kind, body),) = content.items()
    schema = body.get("schema", {})
    if kind == "text/event-stream":
        return body["itemSchema"]["properties"].keys() >= {"event", "data"}
    if kind != "application/json":
        return schema == BYTES
    if schema.get("type") == "array":
        schema = schema["items"]
    name = schema.get("$ref", "").removeprefix(NAMED)
    return bool(schemas.get(name, {}).get("properties"))


@pytest.mark.parametrize("zone", ZONES)
def test_every_good_answer_has_a_schema(documents, zone):
    document = documents[zone]
    schemas = document["components"]["schemas"]
    routes = operations(document)
    assert len(routes) >= 8
    for name, operation in routes:
        good = {
            status: answer
            for status, answer in operation["responses"].items()
            if status.startswith("2")
        }
        assert len(good) == 1 + (name in LATER), name
        for answer in good.values():
            assert says_what_comes(answer.get("content", {}), schemas), name


@pytest.mark.parametrize("zone", ZONES)
def test_every_route_answers_errors_as_problems(documents, zone):
    document = documents[zone]
    assert set(document["components"]["schemas"]["Problem"]["required"]) == set(
        Problem.model_fields
    )
    for name, operation in operations(document):
        bad = {
            status: answer
            for status, answer in operation["responses"].items()
            if not status.startswith(("2", "304"))
        }
        assert set(bad) == {"4XX", "503", "5XX"}, name
        assert set(bad["503"]["headers"]) == {"Retry-After"}, name
        for status, answer in bad.items():
            ((form, said),) = answer["content"].items()
            kind = "ReadingsProblem" if (name, status) == READINGS else "Problem"
            schema = {"schema": {"$ref": NAMED + kind}}
            assert (form, said | schema) == (PROBLEM_TYPE, said), name
            shows = {"example"} if (name, status) == READINGS else set()
            assert said.keys() - schema.keys() == shows, name


READINGS = ("post /v1/readings", "4XX")
PAGED = {
    "gateway": {
        *("/v1/sources/{name}/batches", "/v1/sources/{name}/notices"),
        "/v1/sources/{name}/batches/{batch_id}/rejected",
        "/v1/books/imports/{digest}/differences",
        *("/v1/books/meter-points", "/v1/edits", "/v1/exceptions", "/v1/waiting-batches"),
        *("/v1/correction-orders", "/v1/receivers/{name}/notices"),
    },
    "platform": {"/runs", "/release-requests"},
    "market": {"/documents", "/catalogue"},
    "encryption": {"/keys", "/keys/{key_id}/uses"},
    "authority": {
        "/approvals",
        "/authorisations",
        "/releases",
        "/shadow-previews",
        *("/gateway-key-sets", "/v1/receivers/{name}/notices"),
    },
}


@pytest.mark.parametrize("zone", ZONES)
def test_what_has_pages_has_a_tag_and_leads_on(documents, zone):
    found = set()
    for name, operation in operations(documents[zone]):
        asked = {one["name"] for one in operation.get("parameters", ())}
        if {"limit", "after"} <= asked:
            found.add(name.split()[-1])
            answers = operation["responses"]
            assert set(answers["200"]["headers"]) == {"ETag", "Link"}, name
            assert set(answers["304"]["headers"]) == {"ETag"}, name
            assert "content" not in answers["304"], name
    assert found == PAGED.get(zone, set())


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"application/json": {}},
        {"application/json": {"schema": {}}},
        {"application/json": {"schema": {"type": "object"}}},
        {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}}},
        {"application/json": {"schema": {"$ref": f"{NAMED}Free"}}},
        {"application/octet-stream": {}},
        {"text/event-stream": {"itemSchema": {"properties": {"event": {}}}}},
        {"application/json": {"schema": {"$ref": f"{NAMED}Told"}}, "text/plain": {}},
    ],
)
def test_the_walk_sees_an_answer_that_says_nothing(content):
    schemas = {"Free": {"type": "object"}, "Told": {"properties": {"a": {}}}}
    assert not says_what_comes(content, schemas)
    assert says_what_comes({"application/json": {"schema": {"$ref": f"{NAMED}Told"}}}, schemas)


def test_a_problem_on_the_wire_is_one_of_the_schema(tmp_path):
    with all_services(tmp_path) as running:
        client: TestClient = running["platform"]
        answer = client.get("/runs")
    assert Problem.model_validate_json(answer.content).reason == "authenticity.refused"


@pytest.mark.parametrize("zone", ZONES)
def test_what_comes_back_is_what_was_said_whatever_was_asked(services, zone):
    """Requests that the document allows, and such that it does not, of who may do everything."""
    client = services[zone]
    everyone = bearer(zone, *get_args(Role), *get_args(ServiceRole))

    def ask(method, url, headers, body) -> httpx.Response:
        return client.request(method, url, headers=dict(headers), content=body)

    with unwatched_errors():
        found = Described(client.app).try_requests(ask, everyone, each=EACH)
    assert found.faults == {}
    assert {200, 401, 404, 422} <= found.codes.keys()


def test_an_answer_that_is_not_as_it_was_said_is_found():
    app = FastAPI(responses={"4XX": {"model": Problem}})
    app.get("/right")(lambda: Health(state="ok"))

    @app.get("/wrong/{way}", response_model=Health)
    def answer_wrongly(way: int) -> Response:
        return (
            Response("{}", media_type="application/json"),
            Response('{"state": "ok"}', media_type="text/plain"),
            Response('{"state": "ok"}', 202, media_type="application/json"),
            Response('{"reason": "internal"}', 503, media_type=PROBLEM_TYPE),
        )[way]

    described, client = Described(app), TestClient(app)
    assert described.check("GET", "/right", client.get("/right")) == ""
    for way, said in enumerate(("'state' is a required", "text/plain", "202", "internal")):
        path = f"/wrong/{way}"
        assert said in described.check("GET", path, client.get(path)).replace('"', "'")
