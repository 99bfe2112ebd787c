"""`gridsecure run`: the whole product on one machine, through its real processes.

1. ports and a run folder; 2. meters; 3. keys and passwords, the services, and two of three
custodians unlock the vault; 4. the utility's books; 5. every month, as `run_month` says; 6. the
billing office's bill file; 7. a meter-data system that readings can be sent as; 8. the closing
table, and the dashboard.

Until the services are up, nothing in the run's folder could be wanted: keys nobody used, copies of
the input. It goes again when nothing came of the run. What a service wrote before it failed is
kept, because the message sends its reader there.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event

from rich.console import Console

from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.home import CUSTODIANS, NEEDED_CUSTODIANS, SHARE, Home, create_home
from gridsecure.cli.meters import MeterFiles, meter_files
from gridsecure.cli.online import utc_now
from gridsecure.cli.processes import Services
from gridsecure.cli.run_addresses import write_addresses
from gridsecure.cli.run_analyst import RunAnalyst
from gridsecure.cli.run_month import RunMonth, bill_file
from gridsecure.cli.run_order import RunMeters
from gridsecure.cli.run_progress import RunStages, show_progress
from gridsecure.cli.run_result import RunResult
from gridsecure.cli.run_source import day_of_readings, describe_source, prepare_source
from gridsecure.cli.service_specs import dashboard_spec, service_specs
from gridsecure.cli.services_client import ServicesClient
from gridsecure.cli.statement import write_whole
from gridsecure.cli.tables import show_closing
from gridsecure.crypto.sm2 import cross_check
from gridsecure.errors import StorageError
from gridsecure.month_texts import year_text
from gridsecure.offices import custodians
from gridsecure.offices.billing_office import MAX_ACCOUNTS
from gridsecure.offices.files import read_signed
from gridsecure.simulator.accounts import invented_accounts
from gridsecure.wire.connections import new_client


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What is run, and where.

    Args:
        ports: Port by service.
        serve: Whether to stay open with the dashboard.
    """

    meters: RunMeters
    ports: Mapping[str, int]
    serve: bool


class Run:
    """One run.

    Args:
        folder: Where its data go; kept once the services are up.
        console: Where progress is shown.
    """

    _home: Home
    result: RunResult

    def __init__(
        self, order: RunOrder, *, folder: RunFolder, console: Console, ctrl_c: Event
    ) -> None:
        self._order = order
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
                    self._prepare_source(client, months[-1])
            services.check()
        return self.result

    def _start(self, services: Services, stages: RunStages, months: Sequence[MeterFiles]) -> None:
        """Make keys and start the services, now that there is something to bill."""
        self._home = create_home(
            self._folder.path, ports=self._order.ports, has_dashboard=self._order.serve
        )
        self.result = RunResult(self._home, stages.done)
        services.launch(service_specs(self._home, years=_years(months)))
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
            if files is not months[-1]:
                told = f"{done.bills:,} bills, {done.mismatches} mismatches"
                stages.fold(before, name=f"month {files.month}", count=told)
        stages.label = ""
        write_whole(self._home.bills, bill_file(self.result.months))

    def _prepare_source(self, client: ServicesClient, files: MeterFiles) -> None:
        """Have whoever looks at the run send readings, too."""
        with new_client(base_url=self._home.url("identity"), timeout=60) as identity:
            prepare_source(
                self._home.source,
                call=partial(client.call, "operator"),
                identity=identity,
                day=day_of_readings(files, now=utc_now()),
            )


def run_grid(order: RunOrder, *, parent: Path, console: Console) -> RunResult:
    """Run everything, show the closing table, and stay open until Ctrl-C when asked to.

    Args:
        parent: Where the run's folder is made.
        console: Where progress is shown.

    Raises:
        GridSecureError: A stage failed. Every process that was started is stopped, and a run that
            has billed nothing leaves no folder.
    """
    with (
        heed_ctrl_c() as ctrl_c,
        new_folder(parent, now=utc_now()) as folder,
        Services() as services,
    ):
        result = Run(order, folder=folder, console=console, ctrl_c=ctrl_c).execute(services)
        show_closing(result, console)
        told = f"Bills by meter point, for `gridsecure office statements`: {result.home.bills}"
        console.print(told, soft_wrap=True, highlight=False)
        if order.serve:
            _serve(result, services, console)
    return result


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


def _serve(result: RunResult, services: Services, console: Console) -> None:
    home = result.home
    services.start([dashboard_spec(home)])
    console.print(f"\nDashboard   [bold]{home.url('dashboard')}[/]")
    for name in ("gateway", "platform", "authority", "identity"):
        console.print(f"API docs    {home.url(name)}/docs   ({name})")
    console.print("\nSign in (local demonstration only; passwords were made for this run):")
    for user, password in home.passwords.items():
        console.print(f"  {user:<10} {password}", highlight=False)
    told = describe_source(home.source, identity=home.url("identity"), gateway=home.url("gateway"))
    console.print(f"\n{told}", soft_wrap=True, highlight=False, markup=False)
    console.print("\nEach person's SM2 key, and the two offices' halves of the opening key:")
    console.print(f"  {home.person('NAME')}/signing.key, opener.key   (gridsecure identity --help)")
    console.print("\nAddresses and public keys, for the commands of docs/quick-starts:")
    console.print(f"  . {shlex.quote(str(write_addresses(home)))}", soft_wrap=True, highlight=False)
    console.print("\nCtrl-C stops everything.")
    try:
        while True:
            time.sleep(1)
            services.check()
    except KeyboardInterrupt:
        console.print("Stopping.")


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


def _years(months: Sequence[MeterFiles]) -> list[str]:
    """The months' years, whose meter points enrol, and this year, whose analysts do."""
    return sorted({*(year_text(files.month) for files in months), f"{utc_now():%Y}"})


def _described(months: Sequence[MeterFiles]) -> str:
    """How many meter points, and which months."""
    first, last = months[0].month, months[-1].month
    named = f"month {last}" if first == last else f"months {first} to {last}"
    return f"{months[-1].meters:,} meter points, {named}"


@dataclass(slots=True)
class RunFolder:
    """A new folder.

    Args:
        is_kept: Whether it stays.
    """

    path: Path
    is_kept: bool = False


@contextmanager
def new_folder(parent: Path, *, now: datetime) -> Iterator[RunFolder]:
    """Make a run's folder, and take it away when the block ends before it is said to be kept.

    Args:
        parent: Where it is made.
        now: The present, aware.

    Raises:
        StorageError: The folder cannot be written (`run.folder`).
    """
    path = parent / now.strftime("%Y%m%d-%H%M%S")
    made = [place for place in (path, *path.parents) if not place.exists()]
    try:
        path.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise StorageError(
            f"The run's folder cannot be made below {parent}.",
            reason="run.folder",
            remedy=f"Choose another place with --home ({error.strerror}).",
        ) from error
    folder = RunFolder(path)
    try:
        yield folder
    finally:
        if not folder.is_kept:
            _take_away(path, made)


def _take_away(folder: Path, made: list[Path]) -> None:
    """Remove what is in the folder but logs that say something, and what is then empty."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log" or path.stat().st_size == 0:
            path.unlink()
    with suppress(OSError):
        for place in made:
            place.rmdir()
