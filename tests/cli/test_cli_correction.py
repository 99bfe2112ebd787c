"""Commands against the services that `gridsecure run` leaves running: corrections, quick starts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from gridsecure.cli.ports import claim_ports
from gridsecure.errors import InputError
from gridsecure.gateway.reconciliation import read_oracle
from gridsecure.zone_keys import read_private_key
from gridsecure_dashboard import access
from tests.browser.chromium import HOW_TO, is_left_out, launched
from tests.browser.open_pages import Tab

PROGRAM = str(Path(sys.executable).parent / "gridsecure")
RUN = [PROGRAM, "run", "--meters", "16", "--months", "2"]
ADDRESS = re.compile(r"API docs +(http://127\.0\.0\.1:\d+)/docs +\((\w+)\)")
MONTH = "2026-07"
WHY = ("--reason=read on site",)
DOCS = Path(__file__).parents[2] / "docs"
QUICK_STARTS = DOCS / "quick-starts"
PAGES = ("billing", "integrator", "analyst", "officer", "customer", "operator", "contributor")
STAGES = "stages"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Two billed months, the addresses of their services, and the folder of people's keys.

    They are served a second time: whatever is tried here works after that.
    """
    tmp_path, port = tmp_path_factory.mktemp("run"), free_row()
    with served(tmp_path, "first.log", port=port):
        pass
    with served(tmp_path, "run.log", port=port) as told:
        (home,) = (tmp_path / "home").iterdir()
        assert f"Serving again what {home} has: 25 meter points" in told
        assert "start services" not in told, "it was run again"
        yield {name: url for url, name in ADDRESS.findall(told)}, home


def free_row() -> int:
    """Ports that no other process's runs look for: a run beside this one takes the usual ones."""
    for first in range(20_000 + os.getpid() % 1_700 * 7, 32_000, 7):
        with suppress(InputError), claim_ports(first) as ports:
            return ports["dashboard"]
    raise AssertionError("no seven ports in a row are free")


@contextmanager
def served(folder: Path, log: str, *, port: int) -> Iterator[str]:
    """A run from its start to Ctrl-C; what it printed until it was open."""
    log_file = folder / log
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            [*RUN, "--home", str(folder / "home"), "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"COLUMNS": "200"},
            cwd=folder,
        )
    deadline = time.monotonic() + 240
    try:
        while "Ctrl-C stops everything" not in (told := log_file.read_text()):
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.2)
        yield told
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert log_file.read_text().endswith("Stopping. The same command serves it again.\n")


class Tried(NamedTuple):
    """A page of the quick starts as it was gone through, and the folder it left its files in."""

    done: subprocess.CompletedProcess[str]
    folder: Path


@pytest.fixture(scope="module")
def tried(running, tmp_path_factory):
    """What each page of the quick starts printed and how it ended, before anything is corrected."""
    _, home = running
    pages = {}
    texts = {page: QUICK_STARTS / f"{page}.md" for page in PAGES} | {STAGES: DOCS / "stages.md"}
    for page, text in texts.items():
        folder = tmp_path_factory.mktemp(page)
        script = "".join(commands_of(text))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f". {home}/addresses.sh\n{script}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
            cwd=folder,
            env=os.environ | {"PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}"},
        )
        pages[page] = Tried(done, folder)
    return pages


def commands_of(page: Path) -> list[str]:
    """The shell's blocks of a page."""
    return re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def run(services, person, *command: str, of: str = "correction") -> str:
    urls, home = services
    given = [f"--identity={urls['identity']}", f"--key={home / 'people' / person / 'signing.key'}"]
    given += [f"--{name}={urls[name]}" for name in needed(command[0])]
    done = subprocess.run(
        [PROGRAM, of, *command, *given],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    return done.stdout + done.stderr


def compared(services, *more: str, month: str = MONTH) -> tuple[int, str]:
    """`gridsecure period compare`, as the billing office; its exit code and what it printed."""
    return office(services, "compare", *more, month=month)


def statements_of(services, folder: Path, name: str) -> list[str]:
    """The names of a customer's statements, made of what the billing office opened."""
    bills, made = folder / "bills.json", folder / "made"
    assert office(services, "bills", f"--output={bills}")[0] == 0
    code, told = office(services, "bills", f"--output={bills}")
    assert (code, "statement.exists" in told) == (1, True), told
    assert bills.stat().st_mode & 0o077 == 0
    command = [PROGRAM, "statement", f"--bill={bills}", f"--meter={name}", "--language=en"]
    subprocess.run([*command, f"--output={made}"], check=True, timeout=120)
    return sorted(path.name for path in made.iterdir())


def office(services, command: str, *more: str, month: str = MONTH) -> tuple[int, str]:
    """A command of `gridsecure period` as the billing office types it."""
    urls, home = services
    done = subprocess.run(
        [
            *(PROGRAM, "period", command, f"--month={month}"),
            *(f"--{name}={urls[name]}" for name in ("identity", "authority", "gateway")),
            *(f"--{name}-key={public_key(home / name)}" for name in ("authority", "gateway")),
            f"--key={home / 'people' / 'billing' / 'signing.key'}",
            f"--office-key={home / 'billing-office' / 'signing.key'}",
            *more,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    return done.returncode, done.stdout + done.stderr


def public_key(folder: Path) -> str:
    return read_private_key(folder / "signing.key").public_key.point.hex()


@contextmanager
def spoiled_correction(home: Path, *versions: str) -> Iterator[None]:
    """Settle the corrected meter point otherwise in the gateway's plaintext oracle, by 10 kWh.

    As it was again afterwards: the next correction of the month is compared with this one.

    Args:
        versions: The month's corrections; the last one is spoiled.
    """
    month = home / "gateway" / "months" / MONTH
    before, now = ([month] + [month / "corrections" / name for name in versions])[-2:]
    path, changed = next(
        (path, changed)
        for path in (now / "oracle").glob("*.csv")
        if (changed := find_changed(path, before / "oracle" / path.name))
    )
    kept, corrected = path.read_bytes(), read_oracle(path)
    energies = [name for name in corrected.columns if name.endswith("_wh")]
    corrected.loc[changed[0], energies] += 10_000
    corrected.to_csv(path, index=False, lineterminator="\n")
    try:
        yield
    finally:
        path.write_bytes(kept)


def find_changed(path: Path, before: Path) -> list[int]:
    """The rows of an oracle's file that were settled otherwise before."""
    changed = read_oracle(path)["total_wh"] != read_oracle(before)["total_wh"]
    return [int(row) for row in changed.to_numpy().nonzero()[0]]


def list_corrections(services) -> list[str]:
    """The corrections of the month that there are already, of tests before."""
    shown = run(services, "billing", "show", MONTH, "--format=json")
    return [one["name"] for one in json.loads(shown)["corrections"]]


def approve(services) -> None:
    """As both officers: sign what waits."""
    listed = run(services, "data-owner", "list", "--format=json", of="approval")
    for asked in json.loads(listed)["requests"]:
        for officer in ("data-owner", "privacy-officer"):
            told = run(services, officer, "sign", asked["subject"], of="approval")
            assert "approv" in told.lower(), told


def needed(name: str) -> tuple[str, ...]:
    if name in {"list", "sign"}:  # of approvals
        return ("authority",)
    return ("platform", "authority") if name == "release" else ("gateway",)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_quick_start_runs(tried, page):
    done = tried[page].done
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Traceback" not in done.stdout


def test_the_four_stages_run_from_a_city_to_documents_of_the_market(tried):
    told = tried[STAGES].done
    assert told.returncode == 0, told.stdout[-2000:]
    assert "Traceback" not in told.stdout
    for said in ("unlocked", "Wrote sample.json", "numbers were compared", "No forecast is of",
                 "is proposed", "is concluded"):  # fmt: skip
        assert said in told.stdout, said


@pytest.mark.parametrize("page", PAGES)
def test_both_editions_of_a_quick_start_have_the_same_commands(page):
    def plain(edition: str) -> list[str]:
        text = "".join(commands_of(QUICK_STARTS / f"{page}{edition}.md"))
        return re.sub(r'"[^"]*"', '""', text.replace("--language zh", "--language en")).split()

    assert plain("") == plain(".zh")
    assert len(plain("")) > 5


def test_a_run_that_is_open_is_named_to_a_second_one(running):
    _, home = running
    command = [*RUN, "--home", str(home.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    sentence, remedy = done.stderr.splitlines()
    assert re.match(f"run.open .*{home}: its dashboard is http://127.0.0.1:", sentence)
    assert "--new" in remedy
    assert len(list(home.parent.iterdir())) == 1


def test_a_run_of_months_keeps_all_their_bills(running):
    _, home = running
    told = (home.parents[1] / "first.log").read_text()
    assert re.search(r"month 2026-06 +│ 25 bills, 0 mismatches", told), told
    assert re.search(r"differ from the plaintext oracle │ +0 │ +0 │", told), told
    document = json.loads((home / "billing-office" / "bills.json").read_text())
    starts = {
        tuple(period["start"][:7] for period in bill["periods"])
        for bill in document["meters"].values()
    }
    assert (len(document["meters"]), starts) == (25, {("2026-06", "2026-07")})


def test_a_billed_month_is_corrected_computed_and_released(running, tried, tmp_path):
    _, home = running
    assert tried
    processed = json.loads(
        run(running, "operator", "process", MONTH, "--format=json", of="gateway")
    )
    assert (processed["state"], processed["report"]["excluded"]) == ("done", {})
    shown = run(running, "operator", "months", of="gateway")
    assert re.search(f"{MONTH} .*done", shown), shown
    assert "run.released" in run(running, "billing", "release", f"--month={MONTH}", of="period")
    name, *_ = (home / "input" / "contracts.csv").read_text().splitlines()[1].split(",")
    late = tmp_path / "late.csv"
    late.write_text(f"meter_point_id,start,kwh\n{name},{MONTH}-01 00:00,9.5\n")
    earlier = list_corrections(running)
    told = json.loads(
        run(running, "operator", "start", MONTH, f"--readings={late}", *WHY, "--format=json")
    )
    found = (told["state"], told["number"], told["report"]["corrected"])
    assert found == ("done", len(earlier) + 1, 1), told
    shown = run(running, "billing", "show", MONTH)
    assert "done" in shown
    waits = json.loads(run(running, "billing", "release", MONTH, "--format=json"))
    assert [one["reason"] for one in waits["outcomes"]] == ["approval.missing"]
    approve(running)
    released = json.loads(run(running, "billing", "release", MONTH, "--format=json"))
    assert [one["state"] for one in released["outcomes"]] == ["released"]
    assert "run.empty" in run(running, "billing", "release", MONTH)
    assert "period.gateways" in compared(running, "--gateway", "http://127.0.0.1:9")[1]
    code, shown = compared(running)
    counted = f"{len(earlier) + 2} releases, {len(earlier) + 1} of them corrections"
    assert (code, counted in shown) == (0, True), shown
    assert "period.nothing-released" in compared(running, month="2026-05")[1]
    stems = [f"statement-{name}-2026-07-{version}en" for version in ("", "v2-")]
    made = sorted(f"{stem}.{kind}" for stem in stems for kind in ("html", "receipt.json"))
    assert statements_of(running, tmp_path, name) == made
    with spoiled_correction(home, *earlier, told["name"]):
        code, shown = compared(running, "--format=json")
    found = json.loads(shown)
    assert (code, found["mismatches"], len(found["differing"])) == (1, 1, 1)

    late.write_text(late.read_text().replace(" 00:00", " 00:01"))
    refused = run(running, "operator", "start", MONTH, f"--readings={late}", *WHY)
    assert "correction.interval" in refused
    assert "form.file" in run(running, "operator", "start", MONTH, "--readings=nothing.csv")


@pytest.mark.skipif(is_left_out(), reason=HOW_TO)
def test_a_cycle_from_a_held_exception_to_a_verification_in_a_browser(running, tried, tmp_path):
    """Pages show and start the work; what takes somebody's key is their own command's."""
    passwords = dict(re.findall(r"^ +([a-z-]+) +(\S{8,})$", told_of(running), re.MULTILINE))
    with launched() as browser, browser.new_context(reduced_motion="reduce") as context:
        tab = Tab(context.new_page(), console_of(running))
        with asking(running, tmp_path) as asked:
            held = correct_one_and_spoil_another(running, tmp_path)
            see_what_is_held(tab, held, password=passwords["operator"])
            approve_what_waits(tab, running)
            release_by_the_page(tab, password=passwords["billing"])
            assert asked.wait(240) == 0
        assert "kWh" in (tmp_path / "asked.log").read_text()
        tab.turn_to(access.RELEASES)
        tab.page.get_by_role("button", name="Verify now").click()
        tab.page.get_by_text("The certificate holds").wait_for()
        assert not tab.noted, "\n".join(tab.noted)
        open_own_bill(tab, running, tried["customer"].folder)
        assert not tab.noted, "\n".join(tab.noted)


def told_of(running) -> str:
    return (running[1].parents[1] / "run.log").read_text()


def console_of(running) -> str:
    """The dashboard's address."""
    return re.search(r"Dashboard +(http://127\.0\.0\.1:\d+)", told_of(running))[1]


def correct_one_and_spoil_another(running, folder: Path) -> str:
    """Late readings: those of a meter point are billed anew, and another's cannot be."""
    contracts = (running[1] / "input" / "contracts.csv").read_text().splitlines()
    fine, spoiled = (line.partition(",")[0] for line in contracts[2:4])
    late = folder / "late.csv"
    late.write_text(
        f"meter_point_id,start,kwh\n{fine},{MONTH}-02 00:00,9.5\n{spoiled},{MONTH}-02 00:00,-3\n"
    )
    command = ("start", MONTH, f"--readings={late}", *WHY, "--format=json")
    told = json.loads(run(running, "operator", *command))
    assert (told["state"], told["report"]["corrected"]) == ("done", 1), told
    waits = json.loads(run(running, "billing", "release", MONTH, "--format=json"))
    assert {one["reason"] for one in waits["outcomes"]} == {"approval.missing"}
    return spoiled


def see_what_is_held(tab: Tab, held: str, *, password: str) -> None:
    """An operator finds the meter point whose bill is held, and takes it on."""
    tab.start_anew()
    tab.sign_in("operator", password=password)
    tab.wait_for(access.HOME)
    tab.speak("en", page=access.HOME)
    tab.turn_to(access.EXCEPTIONS)
    tab.page.get_by_label("Meter point").fill(held)
    tab.page.keyboard.press("Enter")
    tab.page.locator("canvas td", has_text="Yes").first.wait_for(state="attached")
    tab.page.get_by_label("Owner").fill("operator")
    tab.page.get_by_role("button", name="Save").click()
    tab.page.get_by_text("Saved.").wait_for()
    tab.turn_to(access.CORRECTIONS)


@contextmanager
def asking(running, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An analyst who asks a sealed question, and waits for its answer."""
    urls, home = running
    question = folder / "question.json"
    wanted = {"measure": "energy", "period": {"month": "2026-06"}}
    question.write_text(json.dumps(wanted | {"group_by": ["zone", "customer_class"]}))
    command = [
        *(PROGRAM, "query", "ask", str(question)),
        f"--wallet={home / 'people' / 'analyst' / 'wallet.json'}",
        *(f"--{name}-url={urls[name]}" for name in ("identity", "platform", "authority")),
        f"--authority-key={public_key(home / 'authority')}",
    ]
    with (folder / "asked.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 240
        try:
            while "waiting" not in (folder / "asked.log").read_text():
                assert process.poll() is None, (folder / "asked.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield process
        finally:
            process.kill()
            process.wait(60)


def approve_what_waits(tab: Tab, running) -> None:
    """An officer sees what waits, with the command that approves it; both officers use theirs."""
    key = running[1] / "people" / "data-owner" / "signing.key"
    code = subprocess.run(
        [PROGRAM, "identity", "sign-in", f"--key={key}"], capture_output=True, check=True, text=True
    )
    tab.start_anew()
    tab.sign_in_by_code(code.stdout.strip())
    tab.wait_for(access.HOME)
    tab.turn_to(access.APPROVALS)
    deadline = time.monotonic() + 240
    both = re.compile("Waiting for you: [2-9]")  # the correction, and the question once it is there
    while not tab.page.get_by_text(both).count():
        assert time.monotonic() < deadline, tab.text()
        tab.turn_to(access.HOME)
        tab.turn_to(access.APPROVALS)
    assert tab.page.get_by_text("gridsecure approval sign").count()
    approve(running)


def release_by_the_page(tab: Tab, *, password: str) -> None:
    """Billing staff have the key authority look again; what was approved is released."""
    tab.start_anew()
    tab.sign_in("billing", password=password)
    tab.wait_for(access.HOME)
    tab.turn_to(access.BILL_RUNS)
    tab.page.get_by_role("button", name="Request a release round").click()
    tab.page.locator("canvas td", has_text="Released").first.wait_for(
        state="attached", timeout=240_000
    )


def open_own_bill(tab: Tab, running, folder: Path) -> None:
    """A customer opens July's bill at their own machine's address."""
    bills = next((folder / "delivered" / "sealed").iterdir())
    office = public_key(running[1] / "billing-office")
    command = [PROGRAM, "my", "portal", str(bills), f"--key={folder / 'my.key'}"]
    with subprocess.Popen(
        [*command, f"--office-key={office}"], stdout=subprocess.PIPE, text=True
    ) as portal:
        try:
            assert portal.stdout is not None
            tab.page.goto(portal.stdout.readline().removeprefix("Your bills: ").strip())
            tab.page.get_by_role("link", name=re.compile("2026年7月")).first.click()
            tab.page.get_by_text(re.compile("[0-9]+\\.[0-9]{2}")).first.wait_for()
        finally:
            portal.send_signal(signal.SIGINT)
            portal.wait(60)
