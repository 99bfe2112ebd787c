"""`gridsecure office` and `gridsecure my`, as office and customer type them."""

from __future__ import annotations

import csv
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridsecure.cli import portal_server
from gridsecure.cli.main import app
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.delivered_bills import issue_bill
from gridsecure.errors import GridSecureError
from gridsecure.offices import files as office_files
from gridsecure.whole_files import create_file
from tests.statements.samples import document

OFFICE = generate_private_key()
POINT = OFFICE.public_key.point.hex()


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 1, result.output
    return result.output


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """An office that delivered three bills, the first two accounts of one customer's key."""
    folder: Path = tmp_path_factory.mktemp("office")
    create_file(folder / "office.key", OFFICE.to_bytes())
    bills = {"meters": document("correction")["meters"] | document("residential-tiers")["meters"]}
    first, _, third = bills["meters"]
    bills["meters"]["=cmd"] = bills["meters"].pop(third)
    (folder / "bills.json").write_text(json.dumps(bills), encoding="utf-8")
    run("my", "key", "--account", first, "--key", folder / "my.key", "--request", folder / "a.json")
    enrol = ("office", "enrol", folder / "a.json", "--customers", folder / "customers.json")
    assert "customers.account" in refused(*enrol, "--account", "MP-7"), "of who was spoken to"
    assert not (folder / "customers.json").exists()
    run(*enrol, "--account", first)
    deliver(folder, "out")
    return folder


def deliver(folder: Path, output: str, *more: str) -> str:
    return run(
        *("office", "statements", "--bill", folder / "bills.json", "--output", folder / output),
        *("--office-key", folder / "office.key", "--customers", folder / "customers.json"),
        *("--format", "html", "--issuer", "Utility", *more),
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_who_has_a_key_gets_the_bill_sealed_and_everybody_else_printed(desk):
    rows = table(desk / "out" / "deliveries.csv")
    assert [row["way"] for row in rows] == ["sealed", "print", "print"]
    assert all((desk / "out" / row["file"]).is_file() for row in rows)
    names = {path.name for path in (desk / "out" / "sealed").rglob("*")}
    assert not any(row["account"] in name for row in rows for name in names)


def test_no_spreadsheet_runs_an_account_as_a_formula(desk):
    for name in ("deliveries.csv", "invoices.csv"):
        assert [row["account"] for row in table(desk / "out" / name)][-1] == "'=cmd"


def test_invoices_say_what_the_bills_say(desk):
    """Every kWh once, whatever the number of components and surcharges."""
    found = table(desk / "out" / "invoices.csv")
    meters = json.loads((desk / "bills.json").read_text(encoding="utf-8"))["meters"]
    for row, meter in zip(found, meters.values(), strict=True):
        (period,) = meter["periods"]
        assert row["total"] == period["total"]
        assert row["change"] == period.get("adjustment", {}).get("total", "")
    assert found[0]["quantity"] == "612.08"


def test_a_customer_opens_a_bill_and_has_the_statement_written(desk, tmp_path):
    (sealed,) = (desk / "out" / "sealed").rglob("*.bill")
    keys = ("--key", desk / "my.key", "--office-key", POINT)
    files = ("--statement", tmp_path / "july.html", "--earlier", sealed)
    shown = run("my", "bill", sealed, *keys, *files)
    assert "426.35" in shown
    assert "signed this bill" in shown
    page = (tmp_path / "july.html").read_text(encoding="utf-8")
    assert "426.35" in page
    assert "<svg" in page
    found = json.loads(run("my", "bill", sealed, *keys, "--earlier", sealed, "--format", "json"))
    assert found["issuer"] == "Utility"
    assert found["compared"]["difference"] == "0.00"
    assert "statement.exists" in refused(
        "my", "bill", sealed, *keys, "--statement", tmp_path / "july.html"
    )
    assert "delivery.file" in refused("my", "bill", tmp_path / "none.bill", *keys)
    assert "delivery.receipt" in refused("my", "bill", sealed, *keys, "--receipt", tmp_path / "r")
    assert "authenticity.bill-code" in refused(
        *("my", "bill", sealed, "--key", desk / "my.key"),
        *("--office-key", generate_private_key().public_key.point.hex()),
    )


@contextmanager
def web_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A plain server of files, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            asked.append(self.path)

    make = partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), make) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_customer_fetches_the_own_bills_from_any_web_server(desk, tmp_path):
    site, into = tmp_path / "site", tmp_path / "bills"
    given = ("--office-key", desk / "office.key", "--customers", desk / "customers.json")
    told = run("office", "post", desk / "out", "--site", site, "--name", "2026-07", *given)
    assert "Posted as 2026-07: 1 bills of 1 customers." in told
    keys = ("--key", desk / "my.key", "--office-key", POINT)
    with web_server(site) as (url, asked):
        told = run("my", "fetch", f"{url}/", *keys, "--into", into)
        assert "New bills: 1." in told
        assert asked == ["/mailings.json", "/2026-07/00000.shelf"]
        assert "New bills: 0." in run("my", "fetch", url, *keys, "--into", into)
        assert asked[2:] == ["/mailings.json"]
        other = generate_private_key()
        create_file(tmp_path / "other.key", other.to_bytes())
        theirs = ("--key", tmp_path / "other.key", "--office-key", POINT)
        assert "New bills: 0." in run("my", "fetch", url, *theirs, "--into", tmp_path / "none")
        assert asked[-1] == "/2026-07/00000.shelf", "the server sees no difference"
        assert "New bills: 0." in run("my", "fetch", url, *theirs, "--into", tmp_path / "none")
        assert asked[-1] == "/mailings.json", "nor at the next run"
        shelf = site / "2026-07" / "00000.shelf"
        shelf.write_bytes(shelf.read_bytes() + bytes(8192))
        assert "mailing.server" in refused("my", "fetch", url, *theirs, "--into", tmp_path / "anew")
        assert "mailing.server" in refused("my", "fetch", f"{url}/no", *keys, "--into", into)
    assert "426.35" in run("my", "bill", Path(told.splitlines()[0]), *keys)


def test_a_customer_asks_and_the_office_answers(desk, tmp_path):
    (sealed,) = (desk / "out" / "sealed").rglob("*.bill")
    keys = ("--key", desk / "my.key", "--office-key", POINT)
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    first = json.loads(run("my", "bill", sealed, *keys, "--format", "json"))["period"]["lines"][0]
    words = ("--text", " 4.26 yuan too much? ", "--line", first["charge"], "--reason", "tier")
    run("my", "ask", sealed, *keys, *words, "--out", asked)
    assert "delivery.output" in refused("my", "ask", sealed, *keys, *words, "--out", asked)
    office = ("--office-key", desk / "office.key", "--customers", desk / "customers.json")
    listed = ("--questions", tmp_path / "questions.json")
    (tmp_path / "000.question").write_bytes(b"no question")
    beside = refused(
        "office", "questions", "take", tmp_path / "000.question", asked, *office, *listed
    )
    assert "000.question: authenticity.envelope" in beside
    assert "Question 1, of" in beside, "the bad file keeps no other out"
    for _ in range(2):  # taken in once
        assert "Question 1, of" in run("office", "questions", "take", asked, *office, *listed)
    (one,) = json.loads(run("office", "questions", "list", *listed, "--format", "json"))[
        "questions"
    ]
    assert (one["line"], one["reason"], one["start"][:7]) == (first["charge"], "tier", "2026-07")
    assert "426.35" not in (tmp_path / "questions.json").read_text(), "no amount"
    assert "yuan" not in (tmp_path / "questions.json").read_text(), "and no word of the customer's"
    shown = run("office", "questions", "show", "1", *listed, *office[:2])
    assert shown.endswith("\n> 4.26 yuan too much?\n")
    assert "before the key that asked was entered" in shown, "of July, and the key is of today"
    assert "later" in run("office", "questions", "list", *listed)
    (tmp_path / "words").write_text("No: tier 2.", encoding="utf-8")
    told = (
        "office",
        "questions",
        "answer",
        "1",
        "--text",
        f"@{tmp_path / 'words'}",
        *office,
        *listed,
    )
    assert "before the key that asked was entered" in run(*told, "--out", answered)
    assert "\n> 4.26 yuan too much?\nNo: tier 2.\n" in run("my", "answer", answered, *keys)
    assert "questions.answered" in refused(*told, "--out", tmp_path / "twice")
    assert not (tmp_path / "twice").exists()
    assert "tier" not in run("office", "questions", "list", *listed)
    assert "answered" in run("office", "questions", "list", "--all", *listed)
    assert "questions.number" in refused("office", "questions", "show", "2", *listed, *office[:2])
    assert "questions.answered" in refused("office", "questions", "close", "1", *listed)
    nothing = ("--text", f"@{tmp_path / 'nowhere'}", "--out", tmp_path / "no")
    assert "question.file" in refused(
        "office", "questions", "answer", "1", *nothing, *office, *listed
    )


def test_what_others_call_things_steers_no_terminal(desk, tmp_path, monkeypatch):
    """A refusal's words reach the terminal without what erases it, and accounts are no markup."""

    def refuse(*_given: object) -> None:
        raise GridSecureError("No \x1b[2J\x1b]52;c;eA==\x07[bold]", reason="a.b", remedy="\x1b[8m")

    monkeypatch.setattr(office_files, "read_signed", refuse)
    told = refused(
        *("office", "enrol", tmp_path / "a.json", "--account", "MP-1"),
        *("--customers", desk / "customers.json"),
    )
    assert "[bold]" in told
    assert not {"\x1b", "\x07"} & set(told)
    monkeypatch.undo()
    odd, listed = "MP-1[/][link=http://a.b]", ("--customers", tmp_path / "customers.json")
    run(
        *("my", "key", "--account", odd, "--key", tmp_path / "odd.key"),
        *("--request", tmp_path / "odd.json"),
    )
    run("office", "enrol", tmp_path / "odd.json", "--account", odd, *listed)
    assert "[link=" in run("office", "customers", *listed)


def test_a_second_account_does_not_lock_out_the_first_of_a_key_without_a_list(desk, tmp_path):
    """Keys that were made before there were lists have none, and a list can be lost."""
    (sealed,) = (desk / "out" / "sealed").rglob("*.bill")
    own = tmp_path / "my.key"
    create_file(own, (desk / "my.key").read_bytes())
    more = ("my", "key", "--key", own, "--account", "MP-2", "--request")
    opens = ("my", "bill", sealed, "--key", own, "--office-key", POINT)
    assert "my.key.accounts is missing" in run(*more, tmp_path / "b.json")
    assert "426.35" in run(*opens)
    first = next(iter(document("correction")["meters"]))
    assert "missing" not in run(*more, tmp_path / "c.json", "--also", first)
    assert "426.35" in run(*opens)
    own.with_name("my.key.accounts").write_text('"MP-2"\n', encoding="utf-8")
    assert "delivery.account" in refused(*opens)


def test_a_portal_listens_on_this_machine_and_says_where(desk, monkeypatch):
    served = []
    monkeypatch.setattr(portal_server, "serve", lambda app, at: served.append(at.getsockname()))
    words = ("my", "portal", desk / "out", "--key", desk / "my.key", "--office-key", POINT)
    told = run(*words)
    ((host, port),) = served
    assert host == "127.0.0.1"
    token = re.search(rf"http://127.0.0.1:{port}/([\w-]+)/", told)
    assert token is not None
    assert len(token[1]) == 43
    assert run(*words) != told, "another start has another token"
    with portal_server.listen(0) as taken:
        taken.listen()
        assert "portal.port" in refused(*words, "--port", taken.getsockname()[1])


def test_a_code_that_was_scanned_is_checked_offline(desk):
    period = next(iter(document("residential-tiers")["meters"].values()))["periods"][0]
    code = issue_bill("MP-1", period, issuer="", key=OFFICE)
    assert period["total"] in run("my", "code", code, "--office-key", POINT)
    forged = code.replace(period["total"], "1.00")
    assert "authenticity.bill-code" in refused("my", "code", forged, "--office-key", POINT)


def test_a_repeat_writes_over_nothing_unless_it_is_told_to(desk):
    before = {p: p.stat().st_size for p in (desk / "out").rglob("*") if p.is_file()}
    words = ("office", "statements", "--bill", desk / "bills.json", "--output", desk / "out")
    keys = ("--office-key", desk / "office.key", "--customers", desk / "customers.json")
    assert "statement.exists" in refused(*words, *keys, "--format", "html")
    deliver(desk, "out", "--force")
    assert {p for p in (desk / "out").rglob("*") if p.is_file()} == set(before)


def test_a_folder_with_other_files_is_refused_whatever_is_forced(desk, tmp_path):
    """Of who has a key by now, the statement of before would go out in the clear."""
    words = ("office", "statements", "--bill", desk / "bills.json", "--output", tmp_path / "out")
    keys = ("--office-key", desk / "office.key", "--format", "html")
    run(*words, *keys, "--customers", tmp_path / "nobody.json")
    told = refused(*words, *keys, "--customers", desk / "customers.json", "--force")
    assert "delivery.other-files" in told


def test_a_key_is_made_once_and_taken_off_the_list(desk, tmp_path):
    key = (desk / "my.key").read_bytes()
    again = ("--key", desk / "my.key", "--request", tmp_path / "b.json")
    (folder,) = (desk / "out" / "sealed").iterdir()
    assert folder.name in run("my", "key", "--account", "MP-1", *again), "one key, two accounts"
    assert (desk / "my.key").read_bytes() == key
    nowhere = ("--key", tmp_path / "none" / "my.key", "--request", tmp_path / "c.json")
    assert "my.key" in refused("my", "key", "--account", "MP-1", *nowhere)
    assert not (tmp_path / "c.json").exists()
    customers = ("--customers", tmp_path / "customers.json")
    (tmp_path / "customers.json").write_bytes((desk / "customers.json").read_bytes())
    listed = run("office", "customers", *customers)
    account = next(iter(document("correction")["meters"]))
    assert account in listed
    run("office", "withdraw", "--account", account, "--thumbprint", folder.name, *customers)
    assert account not in run("office", "customers", *customers)
    assert "customers.key" in refused(
        *("office", "withdraw", "--account", account, "--thumbprint", folder.name), *customers
    )
    (tmp_path / "customers.json").write_bytes((desk / "customers.json").read_bytes())
    words = ("office", "withdraw", "--account", account, "--thumbprint", folder.name, "--lost")
    assert f"No later bill of {account} is sealed" in run(*words, *customers)
