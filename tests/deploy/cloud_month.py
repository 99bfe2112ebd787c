"""`make cloud`: a month in an industry cloud on loopback, with a replica killed in the middle.

python -m tests.deploy.cloud_month [FOLDER]     keeps the folder, and prints what it does
"""

from __future__ import annotations

import io
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
from rich.console import Console

from deploy.zones import PEOPLE
from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.meters import meter_files
from gridsecure.cli.online import utc_now
from gridsecure.cli.run_analyst import RunAnalyst
from gridsecure.cli.run_month import RunMonth
from gridsecure.cli.run_order import RunMeters
from gridsecure.cli.run_progress import RunStages, show_progress
from gridsecure.cli.run_result import MonthResult
from gridsecure.cli.services_client import ServicesClient
from gridsecure.compute.tables import JobRow, RunRow
from gridsecure.offices import custodians
from gridsecure.offices.files import read_signed
from gridsecure.simulator.accounts import invented_accounts
from gridsecure.simulator.synthetic_meters import simulate
from gridsecure.wire.connections import new_client
from gridsecure.zone_keys import load_signing_key
from tests.deploy.loopback import Cloud, CloudHome, cloud, missing_programs, wait_for

METERS = 20
REPLICAS = ("platform-1", "platform-2")
WORKERS = ("worker-1", "worker-2")


@dataclass(slots=True)
class Interrupted(ServicesClient):
    """Kills the replica that took the order of the bills, while their jobs are under way."""

    cloud: Cloud | None = None
    killed: str = ""

    def call(self, user: str, service: Any, method: str, path: str, **options: Any) -> Any:
        orders = (service, method, path) == ("platform", "POST", "/runs") and not self.killed
        if not orders:
            return ServicesClient.call(self, user, service, method, path, **options)
        assert self.cloud is not None
        for name in WORKERS:  # no job ends before the replica does
            self.cloud.process(name).send_signal(signal.SIGSTOP)
        answer = ServicesClient.call(self, user, service, method, path, **options)
        wait_for(lambda: any(took_order(self.cloud, name) for name in REPLICAS))
        (self.killed,) = (name for name in REPLICAS if took_order(self.cloud, name))
        wait_for(lambda: min(counts_in_hand(self.cloud)) > 0)
        self.cloud.process(self.killed).kill()
        self.cloud.process(self.killed).wait()
        for name in WORKERS:
            self.cloud.process(name).send_signal(signal.SIGCONT)
        return answer


def took_order(cloud: Cloud, name: str) -> bool:
    lines = [json.loads(line) for line in cloud.log(name).splitlines() if line.startswith("{")]
    return any(one.get("route") == "/runs" and one.get("method") == "POST" for one in lines)


def counts_in_hand(cloud: Cloud) -> list[int]:
    """How many runs and jobs somebody has in hand."""
    url = (cloud.place.secrets / "platform-database").read_text().strip()
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        asked = (
            connection.execute(f"SELECT count(*) FROM {table} WHERE owner IS NOT NULL")  # noqa: S608 - two names
            for table in (RunRow.__tablename__, JobRow.__tablename__)
        )
        return [row[0] for one in asked if (row := one.fetchone())]


def home_of(made: Cloud) -> CloudHome:
    srv = made.place.srv
    keys = {
        zone: load_signing_key(srv / zone)
        for zone in ("identity", "gateway", "platform", "authority", "billing-office")
    }
    people = {name: load_signing_key(srv / "people" / name) for name in PEOPLE}
    people |= {name: people["cleo"] for name in ("billing", "operator")}
    people |= {"custodian": load_signing_key(srv / "utility")}
    people |= {"regulator": load_signing_key(srv / "regulator")}
    host = made.place.hosts["identity"].rpartition(":")[0]
    return CloudHome(srv, keys, people, ("", ""), {}, made.ports, host=host)


def unlock(client: ServicesClient, srv: Path) -> None:
    for name in ("ann", "bob"):
        share = read_signed(srv / "vault" / "setup" / "shares" / f"{name}.json")
        opened = custodians.open_share(share, key=client.home.people[name])
        ask = partial(client.call, name)
        custodians.give_share(ask, opened, key=client.home.people[name], now=utc_now())


def bill_month(made: Cloud, client: ServicesClient, folder: Path) -> MonthResult:
    """A month from its readings to bills that were compared with those of the oracle."""
    readings = folder / "june.csv"
    readings.write_bytes(simulate(METERS, month="2026-06", interval_minutes=60).wide_csv())
    meters = RunMeters(meters=0, readings=(readings,), month="2026-06")
    (files,) = meter_files(meters, folder=folder / "input", now=utc_now())
    unlock(client, made.place.srv)
    gateway = client.home.keys["gateway"].public_key.thumbprint
    accounts = invented_accounts(load_contracts(files.contracts), gateway=gateway)
    client.call("operator", "identity", "PUT", "/books", json=accounts)
    with show_progress(Console(file=io.StringIO())) as progress:
        analyst = RunAnalyst(client.home)
        analyst.enrol()
        return RunMonth(files, client, analyst, RunStages(progress, Event())).bill()


def run_month(folder: Path, *, show: Callable[[str], None]) -> tuple[MonthResult, str]:
    """Make a cloud, bill a month in it, kill a replica; what came of it, and which was killed."""
    with cloud(folder, show=show) as made, new_client(timeout=600) as http:
        client = Interrupted(home_of(made), http, cloud=made)
        result = bill_month(made, client, folder)
        # It comes back, and the proxy finds it.
        assert made.services.revive() == [client.killed]
        wait_for(lambda: made.is_ready(client.killed))
        return result, client.killed


def main(arguments: list[str]) -> None:
    """Run it in a folder that stays, and say what came of it."""
    missing = missing_programs()
    if missing:
        sys.exit(f"This machine has no {', '.join(missing)}: apt-get install haproxy")
    folder = Path(arguments[0] if arguments else tempfile.mkdtemp(prefix="gridsecure-cloud-"))
    began = time.monotonic()
    result, killed = run_month(folder.absolute(), show=print)
    print(
        f"{result.bills} bills, {result.mismatches} differences to the open bills, {killed} killed "
        f"on the way; {time.monotonic() - began:.0f} s in {folder}"
    )
    sys.exit(result.mismatches != 0)


if __name__ == "__main__":
    main(sys.argv[1:])
