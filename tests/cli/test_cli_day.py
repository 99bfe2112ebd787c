"""`gridsecure day` against real services, and closing a day: as it is typed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.cli.period import period_span
from gridsecure.errors import InputError
from gridsecure.gateway.ingestion.batches import Arrival, BatchName, batch_folder, take_in
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from tests.cli.gateway_desk import ADDRESSES, open_desk
from tests.gateway.gateway_world import MONTH
from tests.gateway.reading_tables import long_table

DAY = f"{MONTH}-01"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    services = open_desk(tmp_path, monkeypatch)
    table = long_table(services.world)
    day = table[table["start"].str.startswith(DAY)].to_csv(index=False).encode()
    zone, at = services.app.state.service.zone, services.world.clock()
    with SpooledBody(batch_folder(zone)) as body:
        assert not body.add(day)
        source = Source("headend", "", ("",), "start", "Asia/Shanghai", "")
        arrival = Arrival(source, BatchName("day", 1), at, is_answered=True)
        take_in(zone, body, arrival=arrival)
    services.put_files(readings=[])
    yield ("--key", str(tmp_path / "operator.key"), *ADDRESSES)
    services.close()


def run(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["day", *arguments])


def test_a_day_is_sealed_and_listed(desk):
    sealed = run("seal", DAY, *desk)
    assert sealed.exit_code == 0, sealed.output
    assert "sealed" in sealed.output
    again = json.loads(run("seal", DAY, *desk, "--format", "json").stdout)
    assert (again["state"], again["report"]["meters"], again["report"]["silent"]) == (
        "sealed", 20, 0,
    )  # fmt: skip
    (listed,) = json.loads(run("list", MONTH, *desk, "--format", "json").stdout)["days"]
    assert listed == again


@pytest.mark.parametrize(
    ("day", "reason"), [(f"{MONTH}-02", "day.no-readings"), ("tomorrow", "day.format")]
)
def test_what_cannot_be_sealed_is_explained(desk, day, reason):
    refused = run("seal", day, *desk)
    assert (refused.exit_code, reason in refused.output) == (1, True)
    assert "Traceback" not in refused.output


def test_a_period_is_a_month_or_a_day():
    told = period_span("", DAY, "Asia/Shanghai", cycle_day=1)
    assert told == {"start": f"{DAY}T00:00:00+08:00", "end": f"{MONTH}-02T00:00:00+08:00"}
    month = period_span(MONTH, "", "Asia/Shanghai", cycle_day=1)
    assert month["end"] == "2026-08-01T00:00:00+08:00"
    of_cycle = period_span(MONTH, "", "Asia/Shanghai", cycle_day=16)
    assert of_cycle["end"] == "2026-07-16T00:00:00+08:00"
    for month, day in (("", ""), (MONTH, DAY)):
        with pytest.raises(InputError) as refused:
            period_span(month, day, "Asia/Shanghai", cycle_day=1)
        assert refused.value.reason == "period.one"
