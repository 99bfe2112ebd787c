"""The meter-data system of a served run: what it prints is copied into a shell, and works."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest

from gridsecure.cli import online
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.run_source import (
    TOKEN_MINUTES,
    day_of_readings,
    describe_source,
    prepare_source,
)
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.messages import BatchReceipt
from gridsecure.simulator.synthetic_meters import simulate
from gridsecure.wire.gateway import BatchStatus
from gridsecure_api.deps import utc_now
from gridsecure_api.identity import create_identity_app
from gridsecure_api.settings import PersonEntry
from tests.apps.office_services import served, write_secret
from tests.apps.zone_apps import gateway_app, identity_settings, point

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def contracts(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("input") / "contracts.csv"
    simulate(2, month="2026-07", interval_minutes=60).contracts.to_csv(path, index=False)
    return path


def files(month: str, contracts: Path) -> MeterFiles:
    return MeterFiles(month, (), contracts, 2)


@pytest.fixture(scope="module")
def services(tmp_path_factory, contracts):
    """Addresses, and the folder of a source that was prepared; its name has a blank."""
    folder = tmp_path_factory.mktemp("a run")
    key = generate_private_key()
    write_secret(folder / "operator.key", key.to_bytes())
    settings = identity_settings(
        folder / "identity",
        people=(PersonEntry(name="op", roles=("operator",), public_key=point(key)),),
        source_token_minutes=TOKEN_MINUTES,
    )
    identity = create_identity_app(settings, clock=utc_now)
    gateway = gateway_app(folder / "gateway", clock=utc_now)
    with served(identity) as identity_url, served(gateway) as gateway_url:
        addresses = {"identity": identity_url, "gateway": gateway_url}
        signed_in = online.person(identity_url, key=folder / "operator.key", services=addresses)
        with signed_in as call, httpx.Client(base_url=identity_url) as client:
            day = day_of_readings(files("2026-07", contracts), now=NOW)
            prepare_source(folder / "meter data", call=call, identity=client, day=day)
        yield folder, addresses
    identity.state.zone.close()


def run(text: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", text],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_that_is_printed_sends_a_day_of_readings(services):
    folder, addresses = services
    own = folder / "meter data"
    for name in ("signing.key", "token", "day.csv"):
        assert stat.S_IMODE((own / name).stat().st_mode) == 0o600
    told = describe_source(own, **addresses)
    assert (own / "token").read_text() not in told
    _, _, commands = told.partition("\n")
    send, _, renew = commands.partition("Its token ends after 12 hours")
    status = BatchStatus.model_validate_json(run(send))
    receipt = BatchReceipt.parse(status.receipt.body)
    assert (receipt.readings, receipt.rejected) == (48, {})
    assert status.months == {"2026-08": "waiting"}
    assert run(send).count('"batch-receipt"') == 1  # again, with the first receipt
    token = run(renew.partition("\n")[2]).strip()
    answer = httpx.get(
        f"{addresses['gateway']}/v1/sources/headend-1/batches",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert len(answer.json()) == 1


def test_the_day_is_after_the_month_and_is_over(contracts):
    day = partial(day_of_readings, now=NOW)
    lines = day(files("2026-07", contracts)).decode().splitlines()
    assert lines[0] == "meter_point_id,start,kwh"
    assert len(lines) == 49
    assert [lines[1].split(",")[1], lines[-1].split(",")[1]] == [
        "2026-08-01T00:00:00+08:00",
        "2026-08-01T23:30:00+08:00",
    ]
    yesterday = day(files("2026-11", contracts)).decode().splitlines()
    assert yesterday[1].split(",")[1] == "2026-11-28T00:00:00+08:00"
