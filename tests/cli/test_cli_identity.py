"""`gridsecure identity`: two officers, each with files of their own, at a service that runs."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import get_args

import pytest
from click.testing import Result
from sqlmodel import Session

from gridsecure.credentials.opening import OPENERS
from gridsecure.identity.enrolments.accounts import find_accounts, find_owners
from gridsecure.identity.enrolments.books import write_books
from gridsecure.identity.enrolments.enrolled_keys import keys_of
from gridsecure.identity.registrations.registry import find_registration
from gridsecure.identity_messages import Audience, PersonLogin
from gridsecure.messages import Signed, open_message
from gridsecure.store.database import write_session
from gridsecure.store.evidence import append, list_entries_after
from tests.apps.office_services import Offices, two_offices, write_secret
from tests.identity.identity_world import BILLING, NOW, account_of, keys, new_holder, suite
from tests.identity.office_world import registered, swap

HASH = re.compile(r"\b[0-9a-f]{64}\b")
NEXT = re.compile(r"Next: (.*?): gridsecure")


@pytest.fixture
def offices(tmp_path: Path):
    with two_offices(tmp_path) as made:
        yield made


def pseudonyms(offices: Offices, count: int) -> list[str]:
    return [one.holder.name_in(BILLING) for one in registered(offices.world, count)]


def order(offices: Offices, subject: str) -> str:
    said = offices.done("utility", "warrant", "--subject", subject, "--reference", "2026/1")
    return HASH.findall(said)[0]


def log(offices: Offices):
    with Session(offices.world.service.engine) as session:
        return list_entries_after(session, -1)


def refused(result, reason: str) -> None:
    assert result.exit_code == 1, result.output
    assert reason in result.stderr
    assert result.stdout == ""


# --- openings ------------------------------------------------------------------------------------


def test_two_officers_open_one_pseudonym(offices):
    subject, _ = pseudonyms(offices, 2)
    account = account_of("customer 0", name="Lin [of Futian]")
    write_books(offices.world.issuer.engine, [account], actor="operator", now=NOW)
    name = order(offices, subject)
    early = offices.run("regulator", "result", name)
    refused(early, "not-found.opening")
    first = offices.done("utility", "share", name, tools=True)
    assert NEXT.findall(first) == ["the regulator"]
    last = offices.done("regulator", "share", name, tools=True)
    assert f"gridsecure identity result {name}" in last
    for opener in OPENERS:
        said = offices.done(opener, "result", name)
        for words in (subject, "customer 0", "Lin [of Futian]", "Harbour Road 1"):
            assert words in said
    listed = offices.done("regulator", "warrants")
    assert name in listed
    assert "2026/1" in listed
    acts = [(one.actor, one.action) for one in log(offices)[-4:]]
    assert acts == [
        ("lin", "identity.warrant"), ("lin", "identity.share"),
        ("wei", "identity.share"), ("wei", "identity.opened"),
    ]  # fmt: skip


def test_a_share_is_printed_for_the_dashboard_and_not_sent(offices):
    name = order(offices, pseudonyms(offices, 1)[0])
    result = offices.run("regulator", "share", name, "--print", tools=True)
    assert re.fullmatch(r"[0-9a-f]{194}\n", result.stdout)
    assert f"registrations: {len(log(offices))} entries hold" in result.stderr
    assert "2026/1" in result.stderr
    assert log(offices)[-1].action == "identity.warrant"


def test_an_office_is_told_whether_it_knew_the_registration(offices):
    names = pseudonyms(offices, 1)
    newer = "newer than what this office kept"
    for known in (False, True):
        result = offices.run("utility", "share", order(offices, names[0]), "--print", tools=True)
        assert "Its escrow is in the log since 2026-03-01 08:00 UTC, 0." in result.stderr
        assert (newer not in result.stderr) == known


def test_nothing_secret_is_printed(offices):
    name = order(offices, pseudonyms(offices, 1)[0])
    results = [
        offices.run("utility", "share", name, tools=True),
        offices.run("utility", "verify-log", "--witness", str(offices.folder / "w")),
        offices.run("utility", "sign-in", url=False),
    ]
    for result in results:
        assert result.exit_code == 0
        for file in ("signing.key", "opener.key"):
            assert offices.file("utility", file).read_bytes().hex() not in result.output


def test_an_officer_with_the_other_offices_half_sends_nothing(offices):
    name = order(offices, pseudonyms(offices, 1)[0])
    half = offices.file("regulator", "opener.key").read_bytes()
    write_secret(offices.file("utility", "opener.key"), half)
    refused(offices.run("utility", "share", name, tools=True), "office.opener-key")
    assert log(offices)[-1].action == "identity.warrant"


def test_who_acts_for_no_office_does_nothing(offices):
    result = offices.run("clerk", "warrant", "--subject", "ab" * 32, "--reference", "r")
    refused(result, "office.role")
    stranger = offices.file("utility", "signing.key")
    write_secret(stranger, (7).to_bytes(32, "big"))
    refused(offices.run("utility", "warrants"), "authenticity.refused")


@pytest.mark.parametrize(
    ("file", "command"), [("signing.key", "warrants"), ("opener.key", "share")]
)
def test_a_key_that_others_may_read_is_not_used(offices, file, command):
    path = offices.file("utility", file)
    arguments = ("share", "ab" * 32) if command == "share" else ("warrants",)
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        result = offices.run("utility", *arguments, tools=command == "share")
        refused(result, "keys.permissions")


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 32, b"\xff" * 32, b"1" * 31, b"1" * 33],
    ids=["empty", "zero", "too great", "short", "long"],
)
@pytest.mark.parametrize("file", ["signing.key", "opener.key"])
def test_a_damaged_key_is_told(offices, file, data):
    write_secret(offices.file("utility", file), data)
    refused(offices.run("utility", "share", "ab" * 32, tools=True), "keys.damaged")


def test_a_missing_key_is_told(offices):
    offices.file("utility", "signing.key").unlink()
    refused(offices.run("utility", "warrants"), "office.file")


def test_an_escrow_that_was_swapped_is_not_opened(offices):
    """Through the real desk: the order is in the log and digests the wrong escrow."""
    one, two = pseudonyms(offices, 2)
    engine = offices.world.service.engine
    swap(offices.world, one, find_registration(engine, subject=two).escrow)
    name = order(offices, one)
    for opener in OPENERS:
        refused(offices.run(opener, "share", name, tools=True), "authenticity.escrow")
    search = ("revoke-person", "--identity", "customer 1", "--reference", "2026/6")
    started = HASH.findall(offices.done("utility", *search))[0]
    go_on = ("revoke-person", "--continue", started)
    refused(offices.run("utility", *go_on, tools=True), "authenticity.escrow")
    assert log(offices)[-1].action == "identity.search"


def test_a_service_that_is_not_there_is_told(offices):
    result = offices.run("utility", "warrants", "--url", "http://127.0.0.1:9")
    refused(result, "service.unreachable")


# --- the log -------------------------------------------------------------------------------------


def test_the_log_is_verified_against_what_the_office_kept(offices):
    pseudonyms(offices, 1)
    witness = offices.file("utility", "witness.json")
    first = offices.done("utility", "verify-log", "--witness", str(witness))
    assert first.count("Nothing was kept before") == 2
    kept = json.loads(witness.read_text())
    assert kept["registrations"]["size"] == len(log(offices))
    second = offices.done("utility", "verify-log", "--witness", str(witness))
    assert second.count("are in it unchanged") == 2


def test_a_log_written_anew_is_refused_and_the_witness_stays(offices):
    name = order(offices, pseudonyms(offices, 1)[0])
    offices.done("utility", "verify-log", "--witness", str(offices.file("utility", "witness.json")))
    witness = offices.file("utility", "witness.json")
    kept = json.loads(witness.read_text())
    kept["registrations"]["hashes"][-1] = "ab" * 32
    witness.write_text(json.dumps(kept))
    refused(offices.run("utility", "share", name, tools=True), "audit.log")
    result = offices.run("utility", "verify-log", "--witness", str(witness))
    assert result.exit_code == 1
    assert json.loads(witness.read_text()) == kept
    witness.write_text("{}x")
    refused(offices.run("utility", "share", name, tools=True), "office.witness")


def test_a_long_log_is_fetched_whole(offices):
    with write_session(offices.world.service.engine) as session:
        for number in range(1001):
            detail = {"number": number}
            append(session, at=NOW, actor="identity", action="test.filler", detail=detail)
    said = offices.done("utility", "verify-log", "--witness", str(offices.folder / "w"))
    assert "registrations: 1001 entries hold" in said


# --- revoking ------------------------------------------------------------------------------------


def test_a_revocation_reaches_the_platform(offices):
    subject, _ = pseudonyms(offices, 2)
    order = ("revoke", "--subject", subject, "--reference", "2026/2")
    said = offices.done("regulator", *order, "--platform-url", offices.platform)
    assert "2 pseudonyms that were active are revoked" in said
    assert "refuses 1 pseudonyms now" in said
    again = offices.done("utility", *order)
    assert "0 pseudonyms" in again
    assert "--platform-url" in again
    assert log(offices)[-1].actor == "lin"


def test_a_person_is_found_by_turns(offices):
    names = pseudonyms(offices, 3)
    start = ("revoke-person", "--identity", "customer 1", "--reference", "2026/3")
    started = offices.done("regulator", *start)
    name = HASH.findall(started)[0]
    assert NEXT.findall(started) == ["the utility (custodian)"]
    go_on = ("revoke-person", "--continue", name, "--platform-url", offices.platform)
    for opener, following in (
        ("regulator", ["the utility (custodian)"]),  # not its turn: nothing happens
        ("utility", ["the regulator"]),
        ("regulator", ["the utility (custodian)"]),
        ("utility", []),
    ):
        said = offices.done(opener, *go_on, tools=True)
        assert NEXT.findall(said) == following
    assert f"revoked    {names[1]}" in said
    assert "Over: 1 found" in said
    assert "refuses 1 pseudonyms now" in said


def test_a_person_is_ordered_or_continued(offices):
    for arguments in (
        (),
        ("--identity", "a"),
        ("--continue", "ab" * 32),
        ("--continue", "ab" * 32, "--identity", "a", "--reference", "r"),
        ("--continue", "ab" * 32, "--replaced"),
    ):
        tools = "--replaced" in arguments
        refused(offices.run("utility", "revoke-person", *arguments, tools=tools), "office.options")


def test_an_identity_is_blocked(offices):
    order = ("block", "--identity", "customer 9", "--reference", "2026/4")
    assert "Blocked from now on" in offices.done("utility", *order)
    assert "blocked before" in offices.done("regulator", *order)


# --- re-keys and sign-in -------------------------------------------------------------------------


def test_a_key_is_replaced_by_orders_of_both(offices):
    pseudonyms(offices, 1)
    engine = offices.world.issuer.engine
    old = keys_of(engine, ["customer 0"])["customer 0"]
    fresh = suite().group.multiply(suite().g, scalar=new_holder().m1)
    new = suite().group.encode(fresh).hex()
    one, two = (offices.folder / f"{opener}.json" for opener in OPENERS)
    said = ("--identity", "customer 0", "--old", old, "--new", new, "--reference", "2026/5")
    first = offices.done("utility", "rekey-order", *said, "--output", str(one), url=False)
    assert "--like" in first
    like = ("--like", str(one), "--output", str(two))
    second = offices.done("regulator", "rekey-order", *like, url=False)
    for words in ("customer 0", old, new, "2026/5"):
        assert words in second
    again = offices.run("regulator", "rekey-order", *like, url=False)
    assert again.exit_code == 1
    assert "office.file" in again.stderr
    both = ("--order", str(one), "--order", str(two))
    alone = offices.run("utility", "rekey", *both[:2])
    refused(alone, "office.options")
    refused(offices.run("utility", "rekey", *both[:2], *both[:2]), "authenticity.refused")
    done = offices.done("utility", "rekey", *both)
    assert "--replaced" in done
    assert keys_of(engine, ["customer 0"])["customer 0"] == new
    with Session(engine) as session:
        last = list_entries_after(session, -1)[-2:]
    assert ("lin", "identity.rekeyed") in [(one.actor, one.action) for one in last]


def test_a_re_key_order_is_whole_or_like_anothers(offices, tmp_path):
    output = ("--output", str(tmp_path / "o.json"))
    for arguments in ((), ("--identity", "a"), ("--like", "x", "--identity", "a")):
        result = offices.run("utility", "rekey-order", *output, *arguments, url=False)
        refused(result, "office.options")
    said = ("--identity", "a", "--old", "00", "--new", "00", "--reference", "r")
    refused(offices.run("utility", "rekey-order", *output, *said, url=False), "message.invalid")


def test_a_sign_in_code_is_one_signed_login_for_all_services(offices):
    result = offices.run("utility", "sign-in", url=False)
    assert result.exit_code == 0
    code = result.stdout.strip()
    padded = code + "=" * (-len(code) % 4)
    envelope = Signed.parse(urlsafe_b64decode(padded))
    key = keys().staters["utility"].public_key
    login = open_message(envelope, expect=PersonLogin, trusted={key.thumbprint: key})
    assert set(login.audiences) == set(get_args(Audience))
    assert "minute" in result.stderr


# --- the books -----------------------------------------------------------------------------------

GATEWAY = "ab" * 32
ACCOUNTS = f"""\ufeffmeter_point_id,gateway,name,address,customer_id,zone,customer_class,remark
4403001,{GATEWAY},Lin,"1, Harbour Road",C1,futian,household,new
4403002,{GATEWAY},Wei,2 Harbour Road,C2,futian,shop,
"""


def test_an_operator_enters_the_books_from_files(offices, tmp_path):
    (tmp_path / "accounts.csv").write_text(ACCOUNTS)
    (tmp_path / "gateways.csv").write_text(f"gateway,owner\n{GATEWAY},grid company\n")
    files = ("--accounts", str(tmp_path / "accounts.csv"))
    for _ in range(2):
        said = offices.done("ops", "books", *files, "--gateways", str(tmp_path / "gateways.csv"))
        assert "2 meter points and 1 gateways" in said
    with Session(offices.world.issuer.engine) as session:
        kept = find_accounts(session, ["4403001", "4403002"])
        assert find_owners(session, [GATEWAY]) == {GATEWAY: "grid company"}
    assert kept["4403001"].address == "1, Harbour Road"
    assert (kept["4403002"].zone, kept["4403002"].customer_class) == ("futian", "shop")
    refused(offices.run("utility", "books", *files), "authenticity.role")


def test_a_meter_point_that_moves_between_gateways_has_its_days_in_the_file(offices, tmp_path):
    path, other = tmp_path / "accounts.csv", "cd" * 32
    header = (
        "meter_point_id,gateway,name,address,customer_id,zone,customer_class,valid_from,valid_to"
    )
    new = f"4403001~B,{other},Lin,,C1,futian,household,2026-07-16,"

    def entered(end: str) -> Result:
        old = f"4403001,{GATEWAY},Lin,,C1,futian,household,,{end}"
        path.write_text("\n".join([header, new, old, ""]))
        return offices.run("ops", "books", "--accounts", str(path))

    refused(entered("2026-07-17"), "books.two-gateways")
    refused(entered(""), "books.two-gateways")
    refused(entered("16.07.2026"), "books.days")
    assert entered("2026-07-16").exit_code == 0
    with Session(offices.world.issuer.engine) as session:
        kept = find_accounts(session, ["4403001", "4403001~B"])
    assert (kept["4403001"].days, kept["4403001~B"].days) == (
        ("", "2026-07-16"),
        ("2026-07-16", ""),
    )


@pytest.mark.parametrize(
    ("text", "reason", "word"),
    [
        ("", "books.file", "meter_point_id"),
        (ACCOUNTS.splitlines()[0], "books.file", "no row"),
        (ACCOUNTS.replace("customer_id", "customer"), "books.file", "customer_id"),
        (ACCOUNTS.replace(",household,new", ""), "books.file", "line 2"),
        (ACCOUNTS.replace("4403002", "4403001"), "books.twice", "4403001"),
        (ACCOUNTS.replace(",futian,shop,", ',"futian,shop,'), "books.file", "CSV"),
    ],
)
def test_books_that_cannot_be_read_whole_are_not_entered(offices, tmp_path, text, reason, word):
    path = tmp_path / "accounts.csv"
    path.write_text(text)
    result = offices.run("ops", "books", "--accounts", str(path))
    refused(result, reason)
    assert word in result.stderr
    with Session(offices.world.issuer.engine) as session:
        assert find_accounts(session, ["4403001", "4403002"]) == {}


def test_books_without_a_file_or_with_none_there_are_refused(offices, tmp_path):
    refused(offices.run("ops", "books"), "office.options")
    refused(offices.run("ops", "books", "--gateways", str(tmp_path / "none.csv")), "books.file")
