"""`gridsecure run`: the whole product on one machine, through its real processes.

1. ports and a run folder; 2. meters; 3. keys and passwords, the services, and two of three
custodians unlock the vault; 4. the utility's books; 5. every month, as `run_month` says; 6. the
billing office's bill file; 7. a meter-data system that readings can be sent as, a data market and
an encryption service, each with a small example; 8. the closing table, and the dashboard.

Until the services are up, nothing in the run's folder could be wanted: keys nobody used, copies of
the input. It goes again when nothing came of the run. What a service wrote before it failed is
kept, because the message sends its reader there.

A second run of the same settings serves the finished one again, says where one is open, and begins
anew beside one that was stopped half-way.
"""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

from rich.console import Console

from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.home import (
    CUSTODIANS,
    NEEDED_CUSTODIANS,
    SHARE,
    Home,
    create_home,
    open_home,
)
from gridsecure.cli.meters import MeterFiles, meter_files
from gridsecure.cli.online import utc_now
from gridsecure.cli.ports import claim_ports
from gridsecure.cli.processes import Services
from gridsecure.cli.run_addresses import write_addresses
from gridsecure.cli.run_analyst import RunAnalyst
from gridsecure.cli.run_encryption import open_encryption
from gridsecure.cli.run_folder import (
    FoundRun,
    RunFolder,
    RunRecord,
    begin_record,
    find_run,
    hold_run,
    new_folder,
)
from gridsecure.cli.run_market import open_market
from gridsecure.cli.run_month import RunMonth, bill_file
from gridsecure.cli.run_order import RunMeters
from gridsecure.cli.run_progress import RunStages, show_progress
from gridsecure.cli.run_result import RunResult
from gridsecure.cli.run_source import (
    day_of_readings,
    describe_source,
    is_prepared,
    prepare_source,
    renew_token,
)
from gridsecure.cli.service_specs import (
    dashboard_spec,
    encryption_spec,
    market_spec,
    service_specs,
)
from gridsecure.cli.services_client import ServicesClient
from gridsecure.cli.statement import write_whole
from gridsecure.cli.tables import show_closing
from gridsecure.crypto.sm2 import cross_check
from gridsecure.errors import ConflictError, GridSecureError
from gridsecure.month_texts import year_text
from gridsecure.offices import custodians
from gridsecure.offices.billing_office import MAX_ACCOUNTS
from gridsecure.offices.files import read_signed
from gridsecure.simulator.accounts import invented_accounts
from gridsecure.wire.connections import new_client

ANEW: Final = "the same command with --new (make run ARGS=--new)"


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What is run, and where.

    Args:
        port: The dashboard's port; None takes the usual ones, or free ones.
        serve: Whether to stay open with the dashboard.
        anew: Whether to begin anew, whatever earlier runs there are.
    """

    meters: RunMeters
    port: int | None
    serve: bool
    anew: bool = False


class Run:
    """One run.

    Args:
        folder: Where its data go; kept once the services are up.
        ports: Port by service.
        console: Where progress is shown.
    """

    _home: Home
    result: RunResult

    def __init__(
        self,
        order: RunOrder,
        *,
        folder: RunFolder,
        ports: Mapping[str, int],
        console: Console,
        ctrl_c: Event,
    ) -> None:
        self._order = order
        self._ports = ports
        self._ctrl_c = ctrl_c
        self._console = console
        self._folder = folder

    def execute(self, services: Services) -> RunResult:
        """Do everything up to the closing table; the services stay up.

        Raises:
            GridSecureError: A stage failed; nothing it wrote is half-finished.
        """
        with show_progress(self._console) as progress, new_client(timeout=600) as http:
            stages = RunStages(progress, self._ctrl_c)
            with stages.stage("prepare meters") as note:
                input_folder = self._folder.path / "input"
                months = meter_files(self._order.meters, folder=input_folder, now=utc_now())
                note(_described(months), sum(files.size for files in months))
            with stages.stage("start services"):
                self._start(services, stages, months)
            client = ServicesClient(self._home, http)
            with stages.stage("unlock the vault") as note:
                note(unlock_vault(client))
            with stages.stage("enter accounts in the books") as note:
                note(f"{_enter_accounts(client, months[-1]):,} accounts")
            self._bill(client, stages, months)
            if self._order.serve:
                with stages.stage("register a meter-data system"):
                    services.launch([market_spec(self._home), encryption_spec(self._home)])
                    prepare_own_source(client, months[-1])
                with stages.stage("open the data market") as note:
                    services.wait_ready()
                    note(open_market(client, months[-1]))
                with stages.stage("open the encryption service") as note:
                    note(open_encryption(client))
            services.check()
        self._folder.note(
            meters=months[-1].meters,
            bills=self.result.bills,
            mismatches=self.result.mismatches,
            is_finished=True,
        )
        return self.result

    def _start(self, services: Services, stages: RunStages, months: Sequence[MeterFiles]) -> None:
        """Make keys and start the services, now that there is something to bill."""
        self._home = create_home(
            self._folder.path, ports=self._ports, has_dashboard=self._order.serve
        )
        self.result = RunResult(self._home, stages.done)
        services.launch(service_specs(self._home, years=_years([one.month for one in months])))
        cross_check()
        services.wait_ready()
        self._folder.is_kept = True
        self._console.print(f"Data of this run: [bold]{self._home.folder}[/]", soft_wrap=True)
        self._console.print(self._home.users.text, soft_wrap=True)

    def _bill(
        self, client: ServicesClient, stages: RunStages, months: Sequence[MeterFiles]
    ) -> None:
        """Bill each month, the earliest first, and keep all bills in the billing office's file."""
        analyst = RunAnalyst(self._home)
        with stages.stage("enrol an analyst"):
            analyst.enrol()
        for files in months:
            before = len(stages.done)
            stages.label = f"{files.month}  " if len(months) > 1 else ""
            done = RunMonth(files, client, analyst, stages).bill()
            self.result.months.append(done)
            self._folder.note(months=(*self._folder.record.months, files.month))
            if files is not months[-1]:
                told = f"{done.bills:,} bills, {done.mismatches} mismatches"
                stages.fold(before, name=f"month {files.month}", count=told)
        stages.label = ""
        write_whole(self._home.bills, bill_file(self.result.months))


def run_grid(order: RunOrder, *, parent: Path, console: Console) -> bool:
    """Run everything, show the closing table, and stay open until Ctrl-C when asked to.

    What is open already or was run before is not run again: it is named, or served again.

    Args:
        parent: Where runs' folders are.
        console: Where progress is shown.

    Returns:
        Whether there are bills and all are as they should be.

    Raises:
        GridSecureError: A stage failed, Ctrl-C ended the run half-way (`run.stopped`), or one like
            it is open (`run.open`). Every process that was started is stopped, and a run that has
            billed nothing leaves no folder.
    """
    record = begin_record(order.meters)
    found = None if order.anew or not order.serve else find_run(parent, like=record)
    if found is not None and found.record.build == record.build:
        if found.is_open:
            raise _open_already(found.folder, found.record)
        if found.record.is_finished:
            return serve_again(found, order, console=console)
    if found is not None:
        told = _cannot_go_on(found, record)
        console.print(told, soft_wrap=True, highlight=False, markup=False)
    return _run_anew(order, record, parent=parent, console=console)


def _run_anew(order: RunOrder, record: RunRecord, *, parent: Path, console: Console) -> bool:
    with (
        claim_ports(order.port) as ports,
        heed_ctrl_c() as ctrl_c,
        new_folder(parent, record, now=utc_now()) as folder,
    ):
        try:
            with Services() as services:
                run = Run(order, folder=folder, ports=ports, console=console, ctrl_c=ctrl_c)
                result = run.execute(services)
                show_closing(result, console)
                told = "Bills by meter point, for `gridsecure office statements`:"
                console.print(f"{told} {result.home.bills}", soft_wrap=True, highlight=False)
                if order.serve:
                    _serve(result.home, folder, services, console)
        except KeyboardInterrupt as error:
            raise _stopped(folder) from error
    return result.bills > 0 and not result.mismatches


def serve_again(found: FoundRun, order: RunOrder, *, console: Console) -> bool:
    """Serve a finished run once more, with its data as they were left.

    Raises:
        GridSecureError: As `run_grid`; or a file of the run is not as it was made (`run.damaged`).
    """
    record = found.record
    told = f"Serving again what {found.folder} has: {record.text}.\nTo begin anew: {ANEW}"
    console.print(told, soft_wrap=True, highlight=False, markup=False)
    with claim_ports(order.port) as ports, heed_ctrl_c(), hold_run(found.folder) as is_held:
        if not is_held:
            raise _open_already(found.folder, record)
        folder = RunFolder(found.folder, record, is_kept=True)
        try:
            with Services() as services, new_client(timeout=600) as http:
                home = open_home(found.folder, ports=ports)
                specs = [*service_specs(home, years=_years(record.months))]
                services.start([*specs, market_spec(home), encryption_spec(home)])
                client = ServicesClient(home, http)
                console.print(f"The vault is unlocked {unlock_vault(client)}.", highlight=False)
                contracts = found.folder / "input" / "contracts.csv"
                prepare_own_source(client, MeterFiles(record.months[-1], (), contracts, 0))
                _serve(home, folder, services, console)
        except KeyboardInterrupt as error:
            raise _stopped(folder) from error
    return record.bills > 0 and not record.mismatches


def prepare_own_source(client: ServicesClient, files: MeterFiles) -> None:
    """Have whoever looks at the run send readings, too.

    Raises:
        GridSecureError: A service refused, or the disk did.
    """
    home = client.home
    with new_client(base_url=home.url("identity"), timeout=60) as identity:
        if is_prepared(home.source):
            renew_token(home.source, identity=identity)
            return
        prepare_source(
            home.source,
            call=partial(client.call, "operator"),
            identity=identity,
            day=day_of_readings(files, now=utc_now()),
        )


def _open_already(folder: Path, record: RunRecord) -> ConflictError:
    where = f"its dashboard is {record.dashboard}" if record.dashboard else "it is still at work"
    return ConflictError(
        f"A run of these settings is open in {folder}: {where}.",
        reason="run.open",
        remedy=f"Use it, end it with Ctrl-C where it was started, or begin another: {ANEW}",
    )


def _cannot_go_on(found: FoundRun, record: RunRecord) -> str:
    """Why an earlier run is not served, for the person who started another."""
    folder, text = shlex.quote(str(found.folder)), found.record.text
    if found.record.build != record.build:
        return f"{folder} is of other software ({text}); a new run begins."
    return f"{folder} was {text} and cannot go on; a new run begins. To remove it: rm -r {folder}"


def _stopped(folder: RunFolder) -> GridSecureError:
    """What Ctrl-C came to."""
    if folder.record.is_finished:
        remedy = "The same command serves it again."
    elif folder.is_kept:
        remedy = f"The same command begins anew; rm -r {shlex.quote(str(folder.path))} removes it."
    else:
        remedy = "The same command begins anew; nothing was kept."
    return GridSecureError(
        f"Ctrl-C ended the run: {folder.record.text}.", reason="run.stopped", remedy=remedy
    )


@contextmanager
def heed_ctrl_c() -> Iterator[Event]:
    """Give what is set once Ctrl-C was pressed, because the exception alone can get lost.

    Python ignores whatever is raised while it finalises an object, and libraries' keys and points
    are finalised all the time. Each stage of a run therefore looks again.
    """
    pressed = Event()

    def note(_number: int, _frame: object) -> None:
        pressed.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(home: Home, folder: RunFolder, services: Services, console: Console) -> None:
    """Stay open until Ctrl-C, with the dashboard."""
    try:
        services.start([dashboard_spec(home)])
        folder.note(dashboard=home.url("dashboard"))
        _tell_served(home, console)
        while True:
            time.sleep(1)
            _supervise(home, services, console)
    except KeyboardInterrupt:
        console.print("Stopping. The same command serves it again.")
    finally:
        folder.note(dashboard="")


def _supervise(home: Home, services: Services, console: Console) -> None:
    """Have the vault, if it ended, start again and be unlocked; any other service ends the run."""
    if services.revive():
        with new_client(timeout=600) as http:
            unlocked = unlock_vault(ServicesClient(home, http))
        console.print(f"The vault ended and was started again; it is unlocked {unlocked}.")
    services.check()


def _tell_served(home: Home, console: Console) -> None:
    """Where everything is, and how to sign in."""
    console.print(f"\nDashboard   [bold]{home.url('dashboard')}[/]")
    for name in ("gateway", "platform", "authority", "identity", "market", "encryption"):
        console.print(f"API docs    {home.url(name)}/docs   ({name})")
    console.print(f"Portal      {home.url('market')}/portal   (market, for everybody)")
    console.print("\nSign in (local demonstration only; passwords were made for this run):")
    for user, password in home.passwords.items():
        console.print(f"  {user:<12} {password}", highlight=False)
    told = describe_source(home.source, identity=home.url("identity"), gateway=home.url("gateway"))
    console.print(f"\n{told}", soft_wrap=True, highlight=False, markup=False)
    console.print("\nEach person's SM2 key, and the two offices' halves of the opening key:")
    console.print(f"  {home.person('NAME')}/signing.key, opener.key   (gridsecure identity --help)")
    console.print("\nAddresses and public keys, for the commands of docs/quick-starts:")
    console.print(f"  . {shlex.quote(str(write_addresses(home)))}", soft_wrap=True, highlight=False)
    console.print("\nCtrl-C stops everything.")


def unlock_vault(client: ServicesClient) -> str:
    """As two of the run's custodians: each gives the own share; who did, and until when."""
    home = client.home
    for user in CUSTODIANS[:NEEDED_CUSTODIANS]:
        share = custodians.open_share(read_signed(home.person(user) / SHARE), key=home.people[user])
        status = custodians.give_share(
            partial(client.call, user), share, key=home.people[user], now=utc_now()
        )
    until = datetime.fromisoformat(status.until)
    return f"by {' and '.join(CUSTODIANS[:NEEDED_CUSTODIANS])}, until {until:%H:%M} UTC"


def _enter_accounts(client: ServicesClient, files: MeterFiles) -> int:
    """Enter every contract's meter point in the identity authority's books; how many.

    Zone and class are the contract's: in a run the utility and the gateway have one contract file.
    """
    gateway = client.home.keys["gateway"].public_key.thumbprint
    accounts = invented_accounts(load_contracts(files.contracts), gateway=gateway)
    for start in range(0, len(accounts), MAX_ACCOUNTS):
        part = accounts[start : start + MAX_ACCOUNTS]
        client.call("operator", "identity", "PUT", "/books", json=part)
    return len(accounts)


def _years(months: Sequence[str]) -> list[str]:
    """The months' years, whose meter points enrol, and this year, whose analysts do."""
    return sorted({*map(year_text, months), f"{utc_now():%Y}"})


def _described(months: Sequence[MeterFiles]) -> str:
    """How many meter points, and which months."""
    first, last = months[0].month, months[-1].month
    named = f"month {last}" if first == last else f"months {first} to {last}"
    return f"{months[-1].meters:,} meter points, {named}"
