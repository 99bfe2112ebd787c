"""Spans follow a request through services, and have nothing of it but its number and its route."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gridsecure.errors import InputError
from gridsecure.wire.request_ids import HEADER, PARENT_HEADER
from gridsecure_api.traces import Traces, new_provider, start_traces
from tests.apps.zone_apps import authority_app, bearer, identity_app, platform_app

SECRET = "NAME-OF-SOMEBODY-42.17-kWh"
ATTRIBUTES = {
    *("gridsecure.request", "http.request.method", "http.response.status_code", "http.route"),
}


def traced(app: FastAPI, zone: str, exporter: InMemorySpanExporter) -> None:
    provider = new_provider(zone)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app.state.traces.provider = provider


def zone_of(span: ReadableSpan) -> str:
    return str(span.resource.attributes["service.name"]).removeprefix("gridsecure-")


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, TestClient]:
    """Three services that reach each other by their clients' real hooks."""
    places = {f"{zone}_url": f"https://{zone}.invalid" for zone in ("identity", "platform")}
    apps = {
        "identity": identity_app(tmp_path / "identity"),
        "platform": platform_app(tmp_path / "platform"),
        "authority": authority_app(tmp_path / "authority", **places),
    }
    clients = {zone: TestClient(app) for zone, app in apps.items()}

    def carry(_self: object, request: httpx.Request) -> httpx.Response:
        zone = request.url.host.removesuffix(".invalid")
        return clients[zone]._transport.handle_request(request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", carry)
    return clients


def test_a_request_is_one_trace_through_services_and_says_nothing_else(
    services: dict[str, TestClient],
) -> None:
    exporter = InMemorySpanExporter()
    for zone, client in services.items():
        traced(client.app, zone, exporter)
    headers = bearer("authority", "operator", person=SECRET) | {"User-Agent": SECRET}
    headers |= {PARENT_HEADER: f"00-{'ab' * 16}-{'cd' * 8}-01"}
    answer = services["authority"].post(f"/release-rounds?of={SECRET}", headers=headers)
    number = answer.headers[HEADER]
    spans = {(zone_of(one), one.name): one for one in exporter.get_finished_spans()}
    own = spans["authority", "POST /release-rounds"]
    beyond = spans["platform", "GET /release-requests"]
    assert own.parent is None, "nothing is below a stranger's span"
    assert beyond.parent.span_id == own.context.span_id
    for span in (own, beyond):
        assert f"{span.context.trace_id:032x}" == span.attributes["gridsecure.request"] == number
    sign_in = spans["identity", "POST /service-tokens"]
    assert sign_in.context.trace_id != own.context.trace_id, "it signs in for many requests"
    services["authority"].get(f"/releases/{SECRET}", headers=headers)
    services["platform"].request(SECRET, f"/{SECRET}", content=SECRET)
    services["platform"].get("/health")
    everything = [json.loads(one.to_json()) for one in exporter.get_finished_spans()]
    told = json.dumps(everything)
    assert "/releases/{release_id}" in told
    assert "/health" not in told
    for secret in (SECRET, "eyJ", "127.0.0.1", "testserver", ".invalid", "ab" * 16, "cd" * 8):
        assert secret not in told, secret
    assert {key for one in everything for key in one["attributes"]} == ATTRIBUTES
    assert {key for one in everything for key in one["resource"]["attributes"]} == {
        *("service.name", "service.version"),
    }
    assert not any(one["events"] or one["links"] for one in everything)


def test_nothing_is_traced_unless_it_is_asked_for_and_never_in_the_clear() -> None:
    traces = Traces()
    start_traces(traces, "platform", None)
    assert traces.provider is None
    with pytest.raises(InputError) as refused:
        start_traces(traces, "platform", "http://collector.example/v1/traces")
    assert refused.value.reason == "traces.plain"
    with ExitStack() as ends:
        start_traces(traces, "platform", "http://127.0.0.1:9/v1/traces")
        assert traces.provider is not None
        ends.callback(traces.provider.shutdown)
