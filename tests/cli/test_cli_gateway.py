"""`gridsecure gateway reconcile` against real services: what adds up, and what does not."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from tests.apps.zone_apps import point
from tests.cli.gateway_desk import ADDRESSES, open_desk
from tests.gateway.gateway_world import MONTH

LINE = "MP-1,2026-07-01 00:00,0.412\n"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A gateway whose source sent one batch, and what an operator's commands are given."""
    key = generate_private_key()
    services = open_desk(tmp_path, monkeypatch, sources=(point(key),))
    operator = services.token("operator")
    declared = {"public_key": point(key), "stamps": "start"}
    ask = services.client
    ask.put("/v1/sources/headend", json=declared, headers=operator)
    sender = services.token("meter-data", subject=f"meter-data:{key.public_key.thumbprint}")
    named = {"Idempotency-Key": "one", "Batch-Sequence": "1"}
    sent = ask.post(
        "/v1/readings",
        content=f"meter_point_id,start,kwh\n{LINE}".encode(),
        headers=sender | named,
    )
    assert sent.status_code == 200, sent.text
    yield services, ("--key", str(tmp_path / "operator.key"), *ADDRESSES)
    services.close()


def reconcile(*arguments):
    given = ["gateway", "reconcile", *arguments]
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, given)


def test_months_are_reconciled_and_what_does_not_add_up_is_named(desk):
    services, operator = desk
    told = reconcile(MONTH, *operator)
    assert told.exit_code == 0, told.output
    assert "headend" in told.output
    assert "waiting: month-open 1" in told.output
    assert "The numbers add up." in told.output
    (path,) = (services.folder / "readings").glob("*.parquet")
    path.write_bytes(b"nothing of it")
    lost = reconcile(MONTH, *operator)
    assert lost.exit_code == 1
    assert "headend one: 1 came in, 0 are accounted for (storage.read)." in lost.output
    assert "add up" not in lost.output
    document = json.loads(reconcile(MONTH, *operator, "--format", "json").stdout)
    (month,) = document["months"]
    assert [one["name"] for one in month["differing"]] == ["one"]


def test_a_month_without_readings_is_explained(desk):
    _, operator = desk
    nothing = reconcile("2026-05", *operator)
    assert (nothing.exit_code, "not-found.readings" in nothing.output) == (1, True)
