"""`gridsecure gateway` against real services: files of a month, and whether readings add up."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.gateway.month_files import load_files
from tests.apps.zone_apps import point
from tests.cli.gateway_desk import ADDRESSES, open_desk
from tests.gateway.gateway_world import MONTH

LINE = "MP-1,2026-07-01 00:00,0.412\n"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A gateway whose source sent one batch, and what an operator's commands are given."""
    key = generate_private_key()
    services = open_desk(tmp_path, monkeypatch)
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
    services.sender = f"meter-data:{key.public_key.thumbprint}"
    yield services, ("--key", str(tmp_path / "operator.key"), *ADDRESSES)
    services.close()


def invoke(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["gateway", *arguments])


def reconcile(*arguments):
    return invoke("reconcile", *arguments)


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


def test_a_month_is_processed_and_says_why_it_is_not(desk):
    _, operator = desk
    refused = invoke("process", MONTH, *operator)
    assert refused.exit_code == 1
    assert "month.unknown" in refused.output
    assert "waiting: month.no-contracts" in invoke("months", *operator).output
    (listed,) = json.loads(invoke("months", *operator, "--format", "json").stdout)["months"]
    assert (listed["month"], listed["state"]) == (MONTH, "waiting")


def test_files_of_a_month_are_handed_in_and_a_wrong_one_changes_nothing(desk, tmp_path):
    services, operator = desk
    (faces, wrong, contracts) = (tmp_path / name for name in ("faces.csv", "no.csv", "books.csv"))
    faces.write_text("meter_point_id,start,register_kwh\nMP-1,2026-07-01 00:00,1\n")
    wrong.write_text("meter_point_id,start,kwh\nMP-1,2026-07-01 00:00,77.31\n")
    contracts.write_bytes(services.world.contracts_csv())
    given = ["--contracts", str(contracts), "--checks", str(faces)]
    kept = invoke("files", MONTH, *given, *operator)
    assert kept.exit_code == 0, kept.output
    assert "0 of readings, 1 to compare them with; 20 contracts" in kept.output
    zone = services.app.state.service.zone
    (path,) = load_files(zone, MONTH).checks
    assert path.read_text() == faces.read_text()
    refused = invoke("files", MONTH, "--checks", str(faces), "--checks", str(wrong), *operator)
    assert (refused.exit_code, "readings.columns" in refused.output) == (1, True)
    assert "77.31" not in refused.output
    assert load_files(zone, MONTH).checks == (path,)
    gone = invoke("files", MONTH, "--checks", str(tmp_path / "gone"), *operator)
    assert (gone.exit_code, "form.file" in gone.output) == (1, True)


def test_batches_that_wait_and_were_refused_are_listed(desk):
    services, operator = desk
    reader = services.app.state.intake.reader
    reader.stop()
    named = {"Idempotency-Key": "two", "Batch-Sequence": "2", "Prefer": "respond-async"}
    bad = b"meter_point_id,start,kwh\nMP-1,2026-07-01 00:30,77.31x\n"
    sender = services.token("meter-data", subject=services.sender)
    sent = services.client.post("/v1/readings", content=bad, headers=sender | named)
    assert sent.status_code == 202, sent.text
    (row,) = json.loads(invoke("waiting", *operator, "--format", "json").stdout)["batches"]
    assert (row["source"], row["batch_id"], row["state"]) == ("headend", "two", "waiting")
    assert "two" in invoke("waiting", *operator).output
    reader.start()
    reader.wait(60)
    refused = invoke("waiting", "--refused", *operator)
    assert "readings.energy" in refused.output
    assert "77.31" not in refused.output
    assert "two" not in invoke("waiting", *operator).output


def test_a_month_without_readings_is_explained(desk):
    _, operator = desk
    nothing = reconcile("2026-05", *operator)
    assert (nothing.exit_code, "not-found.readings" in nothing.output) == (1, True)
