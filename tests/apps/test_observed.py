"""What a service says of itself: metrics, readiness, and logs without plaintext."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import generate_latest

from gridsecure.errors import GridSecureError, InputError
from gridsecure.wire.connections import new_client
from gridsecure.wire.request_ids import CURRENT, HEADER
from gridsecure_api import readiness
from gridsecure_api.json_logs import FIELDS, JsonLines, log_as_json
from gridsecure_api.metrics import ServiceMetrics
from gridsecure_api.readiness import Readiness, disk_check
from gridsecure_api.serve import publish_metrics
from gridsecure_api.settings import ListenSettings
from tests.apps.zone_apps import authority_app, bearer, platform_app
from tests.attacks import WITHHELD, Attacked, attack, cut, rule

DOCS = Path(__file__).resolve().parents[2] / "docs"
SECRET = "NAME-OF-SOMEBODY-42.17-kWh"
METRIC = re.compile(r"\b(?:gridsecure|process)_\w+")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return platform_app(tmp_path_factory.mktemp("platform"))


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app)


def shown(app: FastAPI) -> str:
    return generate_latest(app.state.metrics.registry).decode()


def test_requests_are_counted_by_route_and_never_by_what_was_asked(
    app: FastAPI, client: TestClient
) -> None:
    assert client.get(f"/runs/{SECRET}", headers=bearer("platform", "billing")).status_code == 404
    assert client.get(f"/{SECRET}").status_code == 401
    assert client.request(SECRET, "/health").status_code == 405
    text = shown(app)
    counted = 'gridsecure_requests_total{method="GET",route="/runs/{run_id}",status="404"} '
    assert counted in text
    assert 'gridsecure_lane_waiting{lane="changes"} 0.0' in text
    assert 'gridsecure_holds{what="uploads"} 0.0' in text
    assert 'gridsecure_ready{check="database"} 1.0' in text
    assert SECRET not in text


def test_every_metric_of_the_dashboard_and_the_alerts_exists_and_every_alert_has_a_runbook(
    app: FastAPI, client: TestClient
) -> None:
    client.get("/health")
    app.state.metrics.watch_certificate(lambda: 0.0)
    known = set(re.findall(r"^(\w+)(?:\{| )", shown(app), re.MULTILINE))
    dashboard = json.loads((DOCS / "observability" / "grafana.json").read_text("utf-8"))
    told = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    alerts = yaml.safe_load((DOCS / "observability" / "alerts.yml").read_text("utf-8"))
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    told += [rule["expr"] for rule in rules]
    named = {name for text in told for name in METRIC.findall(text)}
    assert len(named) >= 9
    assert named - known == set()
    runbooks = (DOCS / "runbooks.md").read_text("utf-8")
    assert len(rules) == 10
    for one in rules:
        assert f"\n## {one['alert']}\n" in runbooks


def test_metrics_have_a_port_of_their_own_and_leave_the_machine_over_tls_alone(
    app: FastAPI, client: TestClient, tmp_path: Path
) -> None:
    assert client.get("/metrics").status_code == 401
    port = publish_metrics(app.state.metrics, ListenSettings(metrics_port=0))
    assert "gridsecure_build_info" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
    with pytest.raises(InputError) as taken:
        publish_metrics(app.state.metrics, ListenSettings(metrics_port=port))
    assert taken.value.reason == "metrics.port"
    beyond = ListenSettings(metrics_port=0, metrics_host="0.0.0.0")  # noqa: S104 - refused
    with pytest.raises(InputError) as refused:
        publish_metrics(app.state.metrics, beyond)
    assert refused.value.reason == "metrics.plain"
    assert publish_metrics(app.state.metrics, ListenSettings()) is None


# --- readiness


@attack(
    "the hours in which custodians have the vault unlocked",
    rule(
        "Strangers are told nothing of the vault by `/ready`.",
        WITHHELD,
        cut("gridsecure_api.authority:_vault_check", "is_told=False", "is_told=True"),
    ),
)
def test_a_stranger_does_not_see_whether_the_vault_is_unlocked(
    tmp_path: Path, attacked: Attacked
) -> None:
    app = authority_app(tmp_path / "authority")
    client = TestClient(app)
    assert client.get("/health").status_code == 200
    assert 'gridsecure_ready{check="vault"} 0.0' in shown(app)
    answer = client.get("/ready")
    attacked.ends(WITHHELD if answer.status_code == 200 else "")


def test_a_service_is_ready_until_its_database_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)
    app = platform_app(tmp_path / "platform")
    client = TestClient(app)
    assert client.get("/ready").json() == {"state": "ready"}
    app.state.platform.zone.engine.dispose()
    for path in (tmp_path / "platform").glob("zone.db*"):
        path.unlink()
    (tmp_path / "platform" / "zone.db").mkdir()
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["reason"]) == (503, "service.not-ready")
    assert answer.headers["Retry-After"] == "1"
    assert "database" not in answer.text
    assert 'gridsecure_ready{check="database"} 0.0' in shown(app)
    assert client.get("/health").status_code == 200


def test_a_full_or_missing_disk_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Readiness([disk_check(tmp_path)]).failing() == ()
    assert Readiness([disk_check(tmp_path / "missing")]).failing() == ("disk",)
    monkeypatch.setattr(readiness, "LEAST_FREE", 1 << 80)
    assert Readiness([disk_check(tmp_path)]).failing() == ("disk",)


def test_what_was_found_holds_for_a_moment_whoever_asks(tmp_path: Path) -> None:
    asked, now = [], [0.0]
    check = readiness.ReadyCheck("thing", lambda: asked.append(now[0]))
    ready = Readiness([check], ticks=lambda: now[0])
    for moment in (0.0, 1.0, 1.9, 2.0, 3.0, 5.0):
        now[0] = moment
        assert ready.failing() == ()
    assert asked == [0.0, 2.0, 5.0]


def test_while_one_looks_others_are_told_what_was_found_before() -> None:
    told: list[tuple[str, ...]] = []
    now = [0.0]

    def look() -> None:
        if now[0]:
            told.append(ready.failing())  # as another thread, which waits for nothing
        raise GridSecureError("gone")

    ready = Readiness([readiness.ReadyCheck("thing", look)], ticks=lambda: now[0])
    ready.failing()
    now[0] = 5.0
    ready.failing()
    assert told == [("thing",)]


def test_a_scrape_waits_for_no_database_that_hangs_and_says_that_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "WAIT_S", 0.05)
    go = threading.Event()
    ready = Readiness([readiness.ReadyCheck("database", go.wait)])

    def count() -> dict[str, int]:
        go.wait()
        return {"uploads": 3}

    registry = ServiceMetrics("platform", readiness=ready, counts=count).registry
    for _ in range(2):
        text = generate_latest(registry).decode()
        assert 'gridsecure_ready{check="database"} 0.0' in text
        assert "gridsecure_holds{" not in text
    go.set()
    monkeypatch.setattr(readiness, "WAIT_S", 60.0)
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)
    for _ in range(1000):
        text = generate_latest(registry).decode()
        if "gridsecure_holds{" in text and 'check="database"} 1.0' in text:
            break
        time.sleep(0.01)
    else:
        pytest.fail(text)


# --- logs


@pytest.fixture
def lines() -> Iterator[list[dict[str, object]]]:
    """What is logged while the test runs, as lines."""
    root, found = logging.getLogger(), []
    before = (root.handlers[:], root.level)
    log_as_json("platform")
    (handler,) = root.handlers
    handler.emit = lambda record: found.append(json.loads(handler.format(record)))
    yield found
    root.handlers[:], _ = before
    root.setLevel(before[1])
    for name in ("gridsecure", "gridsecure_api"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_request_is_one_line_with_its_number_and_no_path(
    client: TestClient, lines: list[dict[str, object]]
) -> None:
    number = "0123456789abcdef" * 2
    headers = {**bearer("platform", "billing"), HEADER: number}
    answer = client.get(f"/runs/{SECRET}?name={SECRET}", headers=headers)
    assert answer.headers[HEADER] == number
    assert client.get("/health").status_code == 200
    (line,) = lines
    assert (
        line.items()
        >= {
            "level": "info",
            "zone": "platform",
            "request": number,
            "route": "/runs/{run_id}",
            "status": 404,
        }.items()
    )
    assert SECRET not in json.dumps(lines)
    assert str(line["seconds"]) != ""


def test_nobody_writes_into_the_log_by_a_number(
    client: TestClient, lines: list[dict[str, object]]
) -> None:
    for sent in (SECRET, "0" * 31, "A" * 32, ""):
        answer = client.get("/about", headers={HEADER: sent})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers[HEADER])
        assert answer.headers[HEADER] != sent
    assert SECRET not in json.dumps(lines)


def test_a_number_goes_where_a_service_says_its_name_and_nowhere_else() -> None:
    seen = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get(HEADER))
        return httpx.Response(200)

    token = CURRENT.set("ab" * 16)
    try:
        for is_named in (True, False):
            carrier = httpx.MockTransport(take)
            with new_client(is_named=is_named, transport=carrier) as http:
                http.get("https://platform.example/")
    finally:
        CURRENT.reset(token)
    assert seen == ["ab" * 16, None]


def test_of_other_peoples_libraries_no_value_is_written() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        record = logging.LogRecord(
            "uvicorn.error", logging.ERROR, "x.py", 1, "failed: %s", (SECRET,),
            (type(error), error, error.__traceback__),
        )  # fmt: skip
    line = json.loads(JsonLines("platform").format(record))
    assert line["message"] == "failed: %s"
    assert line["error"] == "ValueError"
    assert line["place"].startswith(__file__)
    assert SECRET not in json.dumps(line)
    ours = logging.LogRecord("gridsecure_api.x", logging.INFO, "x.py", 1, "said %s", ("it",), None)
    setattr(ours, FIELDS, {"route": "/r"})
    assert (
        json.loads(JsonLines("gateway").format(ours)).items()
        >= {
            "message": "said it",
            "route": "/r",
            "zone": "gateway",
        }.items()
    )
