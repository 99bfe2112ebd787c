"""`gridsecure run`: the whole product on one machine, through its real processes.

1. ports and a run folder; 2. meters; 3. keys and passwords, the services, and two of three
custodians unlock the vault; 4. the utility's books; 5. validate, enrol, get key sets, encrypt,
upload at the gateway, and the billing office closes the month; 6. bills on ciphertext at the
platform, and load curves as an analyst asks for them with an anonymous grant; 7. two officers
approve, and the key authority releases; 8. the billing office opens the statements, has each
account prove which one is its own, and compares them with digests from the gateway's plaintext
oracle; 9. a meter-data system that readings can be sent as; 10. the closing table, and the
dashboard.

Until the services are up, nothing in the run's folder could be wanted: keys nobody used, copies of
the input. It goes again when nothing came of the run. What a service wrote before it failed is
kept, because the message sends its reader there.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from gridsecure.analyst.queries import QueryProgress
from gridsecure.analyst.reconciliation import intake_of, reconcile_month
from gridsecure.analyst.releases import Release, pin_authority, verify_release
from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.home import (
    APPROVERS,
    CUSTODIANS,
    NEEDED_CUSTODIANS,
    SHARE,
    Home,
    create_home,
)
from gridsecure.cli.meters import MeterFiles, meter_files
from gridsecure.cli.online import utc_now
from gridsecure.cli.processes import Services
from gridsecure.cli.run_analyst import RunAnalyst
from gridsecure.cli.run_order import TIMEZONE, RunMeters
from gridsecure.cli.run_progress import RunProgress, show_progress
from gridsecure.cli.run_result import RunResult, Stage
from gridsecure.cli.run_source import day_of_readings, describe_source, prepare_source
from gridsecure.cli.service_specs import dashboard_spec, service_specs
from gridsecure.cli.services_client import ServicesClient
from gridsecure.cli.statement import write_whole
from gridsecure.cli.tables import show_closing
from gridsecure.crypto.sm2 import cross_check
from gridsecure.errors import GridSecureError, StorageError
from gridsecure.month_texts import year_text
from gridsecure.offices import custodians
from gridsecure.offices.approvals import approve_waiting
from gridsecure.offices.billing_office import (
    MAX_ACCOUNTS,
    BillingOffice,
    assign_bills,
    attach_receipts,
)
from gridsecure.offices.closing_lists import close_month
from gridsecure.offices.files import read_signed
from gridsecure.periods import billing_month
from gridsecure.simulator.accounts import invented_accounts
from gridsecure.statement_checks import check_statements
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
    _progress: RunProgress
    result: RunResult

    def __init__(
        self, order: RunOrder, *, folder: RunFolder, console: Console, ctrl_c: Event
    ) -> None:
        self._order = order
        self._ctrl_c = ctrl_c
        self._console = console
        self._folder = folder
        self._stages: list[Stage] = []
        self._period: dict[str, str] = {}

    def execute(self, services: Services) -> RunResult:
        """Do everything up to the closing table; the services stay up.

        Raises:
            GridSecureError: A stage failed; nothing it wrote is half-finished.
        """
        with show_progress(self._console) as progress, new_client(timeout=600) as http:
            self._progress = progress
            with self._stage("prepare meters") as note:
                input_folder = self._folder.path / "input"
                files = meter_files(self._order.meters, folder=input_folder, now=utc_now())
                note(f"{files.meters:,} meter points, month {files.month}", files.size)
            with self._stage("start services"):
                self._start(services, files)
            client = ServicesClient(self._home, http)
            with self._stage("unlock the vault") as note:
                note(unlock_vault(client))
            with self._stage("enter accounts in the books") as note:
                note(f"{_enter_accounts(client, files):,} accounts")
            self._bill(client, files)
            if self._order.serve:
                with self._stage("register a meter-data system"):
                    self._prepare_source(client, files)
            services.check()
        return self.result

    def _start(self, services: Services, files: MeterFiles) -> None:
        """Make keys and start the services, now that there is something to bill."""
        self._home = create_home(
            self._folder.path, ports=self._order.ports, has_dashboard=self._order.serve
        )
        self.result = RunResult(self._home, self._stages)
        services.launch(service_specs(self._home, years=_years(files.month)))
        cross_check()
        services.wait_ready()
        self._folder.is_kept = True
        self._console.print(f"Data of this run: [bold]{self._home.folder}[/]", soft_wrap=True)
        self._console.print(self._home.users.text, soft_wrap=True)

    def _bill(self, client: ServicesClient, files: MeterFiles) -> None:
        """From the files to bills and load curves that agree with what is expected."""
        period = billing_month(*map(int, files.month.split("-")), timezone=TIMEZONE)
        self._period = {"start": period.start.isoformat(), "end": period.end.isoformat()}
        self._gateway(client, files)
        with self._stage("close the month") as note:
            note(f"{self._close_month(client)} uploads")
        with self._stage("compute bills on ciphertext") as note:
            note(*self._compute(client))
        with self._stage("an analyst asks for load curves") as note:
            analyst = RunAnalyst(self._home, files.month)
            note(*self._ask(analyst))
        with self._stage("release") as note:
            note(self._release(client))
            curve = analyst.read().release
        with self._stage("compare with the oracle") as note:
            note(self._compare(client, files, curve))

    def _prepare_source(self, client: ServicesClient, files: MeterFiles) -> None:
        """Have whoever looks at the run send readings, too."""
        with new_client(base_url=self._home.url("identity"), timeout=60) as identity:
            prepare_source(
                self._home.source,
                call=partial(client.call, "operator"),
                identity=identity,
                day=day_of_readings(files, now=utc_now()),
            )

    def _close_month(self, client: ServicesClient) -> int:
        """As the billing office: what was uploaded is billed together."""
        call = partial(client.call, "billing")
        office = self._home.keys["billing-office"]
        start, end = self._period["start"], self._period["end"]
        return close_month(call, key=office, now=utc_now(), start=start, end=end)

    def _gateway(self, client: ServicesClient, files: MeterFiles) -> None:
        """Hand the files to the gateway and follow its stages."""
        path = f"/months/{files.month}"
        started = time.monotonic()
        with files.open_parts() as parts:
            client.call("operator", "gateway", "PUT", f"{path}/files", files=parts)
        client.call("operator", "gateway", "POST", f"{path}/process")
        shown = ""

        def show(answer: dict[str, Any]) -> None:
            nonlocal shown
            stage = f"gateway: {answer['stage']}" if answer.get("stage") else shown
            if stage != shown:
                if shown:
                    self._progress.end(shown)
                self._progress.begin(stage)
                shown = stage
            if stage:
                self._progress.advance(stage, answer.get("done") or 0, answer.get("of") or None)

        answer = client.poll("operator", "gateway", path, each=show)
        if shown:
            self._progress.end(shown)
        report = self.result.report = answer["report"]
        sizes = {"upload": report.get("bytes_uploaded"), "encrypt": report.get("bytes_stored")}
        spent = sum(report["seconds"].values())
        rest = max(0.0, time.monotonic() - started - spent)
        self._stages.append(Stage("gateway: receive files", rest, "", files.size))
        for name in sorted(report["seconds"], key=_gateway_order):
            count, size = _gateway_count(name, report), sizes.get(name)
            self._stages.append(Stage(f"gateway: {name}", report["seconds"][name], count, size))

    def _ask(self, analyst: RunAnalyst) -> tuple[str, int | None]:
        """Load curves, asked for with an anonymous grant and computed."""
        analyst.enrol()
        with self._part("load-curve jobs") as advance:

            def show(progress: QueryProgress) -> None:
                advance(progress.done, progress.of or None)

            done = analyst.ask(each=show)
        return f"{done.of} jobs, 1 grant", None

    def _compute(self, client: ServicesClient) -> tuple[str, int | None]:
        order = {"plan": "bill", "purpose": "billing", **self._period}
        run_id = client.call("billing", "platform", "POST", "/runs", json=order)["run_id"]
        with self._part("bill jobs") as advance:

            def show(answer: dict[str, Any]) -> None:
                advance(answer.get("done") or 0, answer.get("of") or None)

            answer = client.poll("billing", "platform", f"/runs/{run_id}", each=show)
        return f"{answer['of']} jobs", None

    def _release(self, client: ServicesClient) -> str:
        start = partial(client.call, "custodian", "authority", "POST", "/release-rounds")
        waiting = [one["request_id"] for one in start() if one["state"] == "waiting"]
        self._approve(client, waiting)
        outcomes = start()
        refused = [outcome for outcome in outcomes if outcome["state"] != "released"]
        if refused:
            raise GridSecureError(
                "The key authority refused a release.",
                reason=refused[0].get("reason") or "release.refused",
                remedy="The reason code says which check failed; the evidence log has the entry.",
            )
        releases = client.call("billing", "authority", "GET", "/releases")
        self.result.cells = sum(item["cells"] for item in releases)
        self.result.suppressed = sum(item["suppressed"] for item in releases)
        return f"{len(releases)} releases, {self.result.cells:,} cells"

    def _approve(self, client: ServicesClient, waiting: Sequence[str]) -> None:
        """As the officers, each with a key of their own: approve what this run asked for."""
        for user in APPROVERS:
            call, key = partial(client.call, user), self._home.people[user]
            done = approve_waiting(call, key=key, requests=waiting, now=utc_now())
            self.result.approvals += [
                f"{one.subject.plan} for {one.subject.purpose}: {user}, key "
                f"{key.public_key.thumbprint[:12]}"
                for one in done
            ]

    def _compare(self, client: ServicesClient, files: MeterFiles, curve: Release) -> str:
        """Open the statements as the billing office, and compare them with what is expected."""
        keys = {name: key.public_key for name, key in self._home.keys.items()}
        office = BillingOffice(
            partial(client.call, "billing"),
            self._home.keys["billing-office"],
            keys["authority"],
            keys["gateway"],
        )
        proven = office.prove_accounts(month=files.month, start=self._period["start"])
        accounts = proven.names
        certificates = office.fetch_certificates(start=self._period["start"])
        statements = office.open_statements(certificates)
        document = assign_bills(statements, proven)
        attach_receipts(document, office.fetch_receipts(files.month))
        text = json.dumps(document, ensure_ascii=False).encode()
        write_whole(self._home.bills, text)
        expected = office.fetch_expected_digests(files.month, certificates)
        found = check_statements(expected, statements=statements)
        self.result.bills, self.result.mismatches = found.bills, found.mismatches
        pinned = pin_authority(self._home.point("authority"))
        bills = []
        for name in certificates:
            # With its values: the office's own copies have none, because it shows them to gateways.
            told = client.call("billing", "authority", "GET", f"/releases/{name}")
            text = json.dumps(told).encode()
            bills.append(verify_release(text, release_id=name, authority=pinned))
        intake = intake_of(self.result.report)
        self.result.totals = reconcile_month(intake, bills=bills, curves=[curve])
        return (
            f"{found.bills:,} bills, {found.mismatches} mismatches, "
            f"{len(accounts):,} accounts proved theirs"
        )

    @contextmanager
    def _part(self, name: str) -> Iterator[Callable[[int, int | None], None]]:
        """Show a part of a stage."""
        self._progress.begin(name)
        yield partial(self._progress.advance, name)
        self._progress.end(name)

    @contextmanager
    def _stage(self, name: str) -> Iterator[Callable[..., None]]:
        """Time a stage, show it, and keep it for the closing table."""
        if self._ctrl_c.is_set():
            raise KeyboardInterrupt
        self._progress.begin(name)
        started = time.monotonic()
        notes: list[Any] = ["", None]

        def note(count: str, size: int | None = None) -> None:
            notes[:] = [count, size]

        yield note
        seconds = time.monotonic() - started
        self._progress.end(name)
        self._stages.append(Stage(name, seconds, notes[0], notes[1]))


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


def _years(month: str) -> list[str]:
    """The month's year, whose meter points enrol, and this year, whose analysts do."""
    return sorted({year_text(month), f"{utc_now():%Y}"})


def _gateway_order(stage: str) -> int:
    order = ("read", "validate", "admit", "enrol", "rosters", "encrypt", "upload")
    return order.index(stage) if stage in order else len(order)


def _gateway_count(stage: str, report: dict[str, Any]) -> str:
    counts = {
        "validate": f"{report['readings']:,} readings, {report['estimated']:,} estimated",
        "encrypt": f"{report['columns']:,} columns",
        "admit": f"{report['billed_meters']:,} of {report['meters']:,} meter points",
        "rosters": f"{report['rosters']} rosters",
    }
    return counts.get(stage, "")


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
