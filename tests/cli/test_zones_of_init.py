"""Zones that `init` and `join` alone made, started by their units, bill a month."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event

from rich.console import Console

from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.doctor_checks import examine
from gridsecure.cli.home import Home
from gridsecure.cli.meters import meter_files
from gridsecure.cli.online import utc_now
from gridsecure.cli.ports import claim_ports
from gridsecure.cli.processes import Services, ServiceSpec
from gridsecure.cli.run_analyst import RunAnalyst
from gridsecure.cli.run_month import RunMonth
from gridsecure.cli.run_order import RunMeters
from gridsecure.cli.run_progress import RunStages, show_progress
from gridsecure.cli.services_client import ServicesClient
from gridsecure.cli.zone_setup import read_facts
from gridsecure.cli.zone_units import read_settings_text
from gridsecure.offices import custodians
from gridsecure.offices.files import read_signed
from gridsecure.simulator.accounts import invented_accounts
from gridsecure.simulator.synthetic_meters import simulate
from gridsecure.wire.connections import new_client
from gridsecure.zone_keys import load_signing_key
from tests.cli.test_cli_init import PEOPLE, call, make_zones

METERS = 20
ZONES = ("vault", "platform", "gateway", "authority", "identity")


def specs_of(folder: Path, ports: dict[str, int]) -> Iterator[ServiceSpec]:
    """What a supervisor makes of the units."""
    for zone in ZONES:
        setup = folder / zone / "setup"
        lines = (setup / f"gridsecure-{zone}.service").read_text().splitlines()
        unit = dict(line.split("=", 1) for line in lines if "=" in line)
        yield ServiceSpec(
            name=zone,
            command=shlex.split(unit["ExecStart"]),
            environment=read_settings_text(Path(unit["EnvironmentFile"]).read_text()),
            log=folder / f"{zone}.log",
            ready_url="" if zone == "vault" else f"http://127.0.0.1:{ports[zone]}/health",
            ready_path=folder / "vault-door" / "vault.sock" if zone == "vault" else None,
            folder=Path(unit["WorkingDirectory"]),
        )


def utc_now_off(*, seconds: int) -> datetime:
    return utc_now() + timedelta(seconds=seconds)


def test_zones_made_by_init_alone_bill_a_month(tmp_path: Path) -> None:
    with claim_ports(None) as ports:
        check_month(tmp_path, {**ports, "market": 1, "encryption": 2})


def check_month(tmp_path: Path, ports: dict[str, int]) -> None:
    make_zones(tmp_path, ports=ports)
    keys = {
        zone: load_signing_key(tmp_path / zone)
        for zone in ("identity", "gateway", "platform", "authority", "billing-office")
    }
    people = {name: load_signing_key(tmp_path / "people" / name) for name in PEOPLE}
    roles = {name: people["cleo"] for name in ("billing", "operator")}
    roles |= {
        user: load_signing_key(tmp_path / office)
        for user, office in (("custodian", "utility"), ("regulator", "regulator"))
    }
    home = Home(tmp_path, keys, people | roles, ("", ""), {}, ports)
    readings = tmp_path / "june.csv"
    readings.write_bytes(simulate(METERS, month="2026-06", interval_minutes=60).wide_csv())
    meters = RunMeters(meters=0, readings=(readings,), month="2026-06")
    (files,) = meter_files(meters, folder=tmp_path / "input", now=utc_now())
    console = Console(file=io.StringIO())
    with Services() as services, new_client(timeout=600) as http:
        services.start(specs_of(tmp_path, ports))
        client = ServicesClient(home, http)
        for name in ("ann", "bob"):
            share = read_signed(tmp_path / "vault" / "setup" / "shares" / f"{name}.json")
            opened = custodians.open_share(share, key=people[name])
            ask = partial(client.call, name)
            custodians.give_share(ask, opened, key=people[name], now=utc_now())
        gateway = keys["gateway"].public_key.thumbprint
        accounts = invented_accounts(load_contracts(files.contracts), gateway=gateway)
        client.call("operator", "identity", "PUT", "/books", json=accounts)
        with show_progress(console) as progress:
            stages = RunStages(progress, Event())
            analyst = RunAnalyst(home)
            analyst.enrol()
            result = RunMonth(files, client, analyst, stages).bill()
        services.check()
        well = [call("doctor", tmp_path / zone) for zone in ZONES]
        off = partial(utc_now_off, seconds=3600)
        facts = read_facts(tmp_path / "gateway")
        ill = examine(tmp_path / "gateway", facts, now=off)
    peers = [one for one in well[2]["checks"] if one["check"].startswith("peer ")]
    assert len(peers) == 2 * 4, "clock and build of gateway, identity, platform, authority"
    assert {one["state"] for one in peers} == {"ok"}
    assert {one.check for one in ill if one.state == "failure"} == {
        one["check"] for one in peers
    }, "the clocks, and nothing else"
    assert (result.bills, result.mismatches) == (result.report["billed_meters"], 0)
    assert result.bills > METERS / 2, "the simulator leaves some without their readings"
    assert result.cells
