"""Changed requests: one service in the gate, all of them by `make fuzz`."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from tests.fuzz.services import Trial, changed_copies, try_service
from tests.python_leaks import unwatched_errors


def test_no_changed_request_makes_the_encryption_service_fail() -> None:
    with unwatched_errors():
        trial = try_service("encryption", each=8, seed="gate")
    assert not trial.failed
    assert len(trial.kinds) > 10
    assert {200, 404, 422} <= trial.codes.keys()


def test_a_service_that_fails_is_found() -> None:
    app = FastAPI()

    @app.get("/doubles")
    def double(request: Request) -> int:
        return 2 * int(request.query_params["n"])

    trial = Trial(app, each=30, seed="gate")
    with TestClient(app) as client, changed_copies(trial):
        assert client.get("/doubles?n=2").json() == 4
    assert [what.partition(" at ")[0] for what in trial.failed] == ["GET /doubles: ValueError"]
