"""Errors as the outside reads them: one table, one body, nothing of the request in it."""

from __future__ import annotations

import asyncio
import json
import logging
from array import array
from http import HTTPStatus

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from gridsecure import errors
from gridsecure.errors import AuthenticityError, GridSecureError, RowFault
from gridsecure.wire.problems import (
    INTERNAL,
    MOST_FAULTS,
    MOST_RUNS,
    PROBLEM_TYPE,
    STATUS,
    Problem,
    error_of,
    problem_of,
    status_of,
)
from gridsecure_api import deps
from gridsecure_api.errors import error_response
from gridsecure_api.own_build import open_build
from gridsecure_api.serving import ServiceDescription, new_app
from gridsecure_api.settings import BuildSettings
from tests.apps.zone_apps import TestClock, bearer, platform_app, refused_body
from tests.grid_simulator import grid_keys

EXPECTED = {
    errors.GridSecureError: 500,
    errors.InputError: 400,
    errors.InvalidReadingsError: 400,
    errors.InvalidTariffError: 400,
    errors.InvalidMessageError: 422,
    errors.AuthenticityError: 401,
    errors.SignatureError: 401,
    errors.EnvelopeError: 401,
    errors.StaleMessageError: 401,
    errors.UnknownMeterError: 401,
    errors.AccessDeniedError: 403,
    errors.RoleError: 403,
    errors.CiphertextError: 409,
    errors.MalformedCiphertextError: 409,
    errors.KeyMismatchError: 409,
    errors.DepthExceededError: 409,
    errors.OutOfRangeError: 409,
    errors.ReleaseRefusedError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.StorageError: 507,
    errors.AuditBrokenError: 500,
}
SECRET = "31415926-not-to-be-repeated"


class Wanted(BaseModel):
    count: int
    inner: dict[str, int] = {}


def tree(kind: type[GridSecureError]) -> set[type[GridSecureError]]:
    return {kind}.union(*(tree(inner) for inner in kind.__subclasses__()))


def app_that_raises(error: Exception) -> FastAPI:
    app = new_app(
        ServiceDescription("platform", "t", "t"),
        identity_key=grid_keys().identity.public_key,
        max_body_bytes=100_000,
        clock=TestClock(),
        build=open_build(BuildSettings(), whose="the tests"),
    )
    allowed = [Depends(deps.require("billing"))]

    @app.get("/raise", dependencies=allowed)
    def fail() -> None:
        raise error

    @app.get("/unsayable", dependencies=allowed, response_model=int)
    def answer_badly() -> str:
        return SECRET

    @app.post("/shape/{number}", dependencies=allowed)
    def shaped(number: int, wanted: Wanted, limit: int = 1) -> int:
        return number + wanted.count + limit

    return app


def client_of(error: Exception) -> TestClient:
    return TestClient(app_that_raises(error), headers=bearer("platform", "billing"))


@pytest.fixture
def shapes() -> TestClient:
    return client_of(GridSecureError("never"))


@pytest.mark.parametrize("kind", sorted(tree(GridSecureError), key=lambda kind: kind.__name__))
def test_every_error_of_the_tree_has_its_status_and_body(kind):
    error = kind("What happened.", reason="some.reason", remedy="What to do.")
    answer = client_of(error).get("/raise")
    assert answer.status_code == EXPECTED[kind] == status_of(error)
    assert answer.headers["content-type"] == PROBLEM_TYPE
    if issubclass(kind, AuthenticityError) and kind is not errors.RoleError:
        assert answer.json() == refused_body(answer.status_code)
    else:
        assert answer.json() == {
            "type": "/reasons/some.reason",
            "title": HTTPStatus(answer.status_code).phrase,
            "status": answer.status_code,
            "detail": "What happened.",
            "reason": "some.reason",
            "remedy": "What to do.",
        }


def test_rows_of_wrong_readings_travel_by_kind_of_fault():
    numbers = range(1, 2 * MOST_RUNS + 20, 2)
    fault = RowFault(
        reason="readings.energy",
        rule="kwh-decimals",
        detail="more\x07 decimals",
        remedy="Write less.",
        count=len(numbers),
        firsts=array("q", numbers),
        lasts=array("q", numbers),
    )
    error = errors.InvalidReadingsError("Wrong.", reason="readings.energy", faults=[fault] * 60)
    answer = error_response(error)
    told = error_of(answer.status_code, bytes(answer.body))
    assert isinstance(told, errors.InvalidReadingsError)
    assert len(told.faults) == MOST_FAULTS
    one = told.faults[0]
    assert (one.count, list(one.firsts)) == (len(numbers), list(numbers)[:MOST_RUNS])
    assert one.detail == "more decimals"
    said = json.loads(bytes(answer.body))
    beyond = said["faults"][0] | {"rows": [{"first": 1, "last": 2**70}]}
    for broken in ([7], [{"rule": "x"}], "x", [beyond]):
        other = error_of(400, json.dumps(said | {"faults": broken}).encode())
        assert isinstance(other, errors.InvalidReadingsError)
        assert (other.message, other.faults) == ("Wrong.", ())


def areas(kind: type[GridSecureError]) -> list[str]:
    """Reason codes that errors of a class carry; what matters is their area."""
    return {
        errors.CiphertextError: ["ciphertext.invalid", "plan.noise", "keys.id", "upload.roster"],
        errors.ReleaseRefusedError: ["release.refused", "correction.unreleased"],
        errors.ConflictError: ["conflict", "conflict.run", "closing.number", "correction.fork"],
    }.get(kind, [kind.default_reason])


@pytest.mark.parametrize("kind", sorted(STATUS, key=lambda kind: kind.__name__))
def test_a_client_makes_the_error_that_a_service_answered(kind):
    for reason in areas(kind):
        sent = kind("What happened.", reason=reason, remedy="What to do.")
        body = problem_of(sent).model_dump_json().encode()
        made = error_of(status_of(sent), body)
        assert type(made) is kind
        if not isinstance(sent, AuthenticityError):
            assert (made.reason, made.message, made.remedy) == (reason, sent.message, sent.remedy)


def test_an_error_links_to_what_its_code_means():
    """The same service answers the address in the body, and nobody is asked for a token."""
    stranger = TestClient(app_that_raises(GridSecureError("never")))
    refused = stranger.get("/raise").json()
    said = stranger.get(refused["type"])
    assert said.status_code == 200
    assert said.json()["code"] == refused["reason"] == "authenticity.refused"
    assert said.json()["meanings"]
    wrong = stranger.get("/reasons/no.such-code")
    assert (wrong.status_code, wrong.json()["reason"]) == (404, "not-found.reason")
    assert stranger.get(wrong.json()["type"]).json()["meanings"][0]["remedy"]


def test_the_table_names_no_class_twice_over():
    """Every row of the table says something its parent's row does not, or is the root."""
    for kind, status in STATUS.items():
        parents = [parent for parent in kind.__mro__[1:] if parent in STATUS]
        assert not parents or STATUS[parents[0]] != status or kind is errors.AuditBrokenError


def test_the_log_keeps_what_the_answer_hides(caplog):
    with caplog.at_level(logging.WARNING):
        answer = error_response(errors.StaleMessageError(SECRET, reason="authenticity.stale"))
    assert b"stale" not in answer.body
    assert "StaleMessageError authenticity.stale" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "error", [ValueError(SECRET), KeyError(SECRET), AssertionError(SECRET), RuntimeError(SECRET)]
)
def test_what_is_not_ours_says_nothing(error, caplog):
    """The test client would raise what a server logs with its traceback; nothing gets that far."""
    with caplog.at_level(logging.DEBUG):
        answer = client_of(error).get("/raise")
    assert (answer.status_code, answer.json()) == (500, INTERNAL.model_dump())
    assert type(error).__name__ in caplog.text
    assert "test_api_errors.py:" in caplog.text
    assert SECRET not in caplog.text


def test_an_answer_of_the_wrong_shape_says_nothing(shapes, caplog):
    answer = shapes.get("/unsayable")
    assert (answer.status_code, answer.json()) == (500, INTERNAL.model_dump())
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        (f"/shape/{SECRET}", '{"count": 1}', "path.number"),
        (f"/shape/1?limit={SECRET}", '{"count": 1}', "query.limit"),
        ("/shape/1", f'{{"count": "{SECRET}"}}', "body.count"),
        ("/shape/1", f'{{"count": 1, "inner": {{"{SECRET}": "x"}}}}', "body.inner"),
        ("/shape/1", f'{{"count": {SECRET}', "body"),
        ("/shape/1", f'["{SECRET}"]', "body"),
        ("/shape/1", "", "body"),
        ("/shape/1", "[" * 50_000, ""),
    ],
)
def test_a_request_of_the_wrong_shape_is_named_but_not_repeated(shapes, path, content, named):
    answer = shapes.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert set(answer.json()) == set(Problem.model_fields)
    assert named in answer.json()["detail"]
    assert SECRET not in answer.text


def test_an_unknown_fields_name_is_not_repeated(tmp_path):

    with TestClient(platform_app(tmp_path), headers=bearer("platform", "billing")) as client:
        order = {"plan": "bill", "start": "2026-07-01", "end": "2026-08-01", "purpose": "p"}
        answer = client.post("/runs", json={**order, SECRET: 1})
    assert answer.status_code == 422
    assert answer.json()["reason"] == "message.invalid"
    assert "unknown field" in answer.json()["detail"]
    assert SECRET not in answer.text


def test_wrong_addresses_and_methods_have_the_same_body(shapes):
    for answer, reason in (
        (shapes.get(f"/{SECRET}"), "http.404"),
        (shapes.delete("/raise"), "http.405"),
    ):
        assert answer.json()["reason"] == reason
        assert set(answer.json()) == set(Problem.model_fields)
        assert SECRET not in answer.text


def test_a_body_that_breaks_off_is_no_fault_of_the_service(tmp_path, caplog):
    app, sent = platform_app(tmp_path), []
    coming = iter([{"type": "http.request", "body": b"some", "more_body": True}])

    async def receive():
        return next(coming, {"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    told = bearer("platform", "gateway", person=grid_keys().gateway.public_key.thumbprint)
    headers = [(name.lower().encode(), text.encode()) for name, text in told.items()]
    scope = {
        "type": "http", "method": "POST", "path": "/rosters", "raw_path": b"/rosters",
        "query_string": b"", "headers": [*headers, (b"content-length", b"9")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "scheme": "http",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == HTTPStatus.BAD_REQUEST
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
