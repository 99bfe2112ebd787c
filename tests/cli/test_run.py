"""`gridsecure run` end to end: real processes, a user's own file, every bill against the oracle."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sqlite3
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest
from rich.console import Console

from benchmarks.whole_run import (
    ENROLMENT,
    OFFICES,
    PARTIES,
    PREPARATION,
    WatchedRun,
    stacked_table,
    watch_run,
)
from gridsecure.billing.contracts import default_contracts, load_contracts
from gridsecure.cli.home import CUSTODIANS, SHARE
from gridsecure.cli.meters import MeterFiles, meter_files
from gridsecure.cli.run_month import bill_file
from gridsecure.cli.run_order import RunMeters
from gridsecure.cli.run_progress import RunStages, show_progress
from gridsecure.cli.run_result import MonthResult
from gridsecure.errors import InputError
from gridsecure.gateway.formats import read_readings
from gridsecure.homomorphic.secret_key import load_secret_key_set
from gridsecure.key_authority.vault.key_files import list_key_files, open_key_file
from gridsecure.key_authority.vault.splitting import combine_shares, keys_folder, read_splitting
from gridsecure.offices.custodians import open_share
from gridsecure.offices.files import read_signed
from gridsecure.simulator.accounts import invented_accounts
from gridsecure.simulator.synthetic_meters import simulate
from gridsecure.zone_keys import load_signing_key
from tests.attacks import WITHHELD, Attacked, attack, rule
from tests.key_authority.test_vault import folder_holds, found_in, process_holds, raw_words

METERS = 20
NOW = datetime(2026, 9, 1, tzinfo=UTC)
NAMED_ZONES = {"gateway", "input", "identity", "people", "billing-office"}
"""Who may know meter numbers: the meter side, the identity authority's books, and the office whose
accounts proved which bill is theirs."""


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    """Hourly readings of some households, with no contract."""
    path = tmp_path / "mine.csv"
    path.write_bytes(simulate(METERS, month="2026-06", interval_minutes=60).wide_csv())
    return path


class Search:
    """Looks for the vault's secrets in every process of a run, while it waits after the release."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.needles: dict[str, bytes] = {}
        self.found: dict[str, set[str]] = defaultdict(set)

    def __call__(self, stage: str, processes: Mapping[int, str]) -> None:
        if stage != "compare with the oracle" or self.needles:
            return
        (run,) = [pid for pid, party in processes.items() if party == OFFICES]
        os.kill(run, signal.SIGSTOP)
        try:
            self.needles = vault_secrets(next(self._home.iterdir()))
            for pid, party in processes.items():
                if party != OFFICES:  # it plays the custodians, who have their shares
                    self.found[party] |= found_in(process_holds(pid), self.needles)
        finally:
            os.kill(run, signal.SIGCONT)


def vault_secrets(folder: Path) -> dict[str, bytes]:
    """The key of a run's vault, its shares, and every secret key that it has."""
    people = [folder / "people" / name for name in CUSTODIANS]
    shares = [
        open_share(read_signed(place / SHARE), key=load_signing_key(place)) for place in people
    ]
    kek = combine_shares(
        read_splitting(folder / "vault"),
        {one.number: bytearray.fromhex(one.share) for one in shares[:2]},
    )
    needles = {f"share {one.number}": bytes.fromhex(one.share) for one in shares}
    for path in list_key_files(keys_folder(folder / "vault", read_splitting(folder / "vault"))):
        secret, public = open_key_file(path, kek=kek)
        needles[path.name] = raw_words(load_secret_key_set(secret, public=public))
    return needles | {"the key": bytes(kek)}


@attack(
    "the secret key, searched in every other process, database and folder of a run",
    rule("The vault alone has it, while it is unlocked.", WITHHELD),
    together=True,
)
def test_a_users_own_file_is_billed_through_all_services(
    own_file: Path, tmp_path: Path, attacked: Attacked
) -> None:
    home = tmp_path / "run"
    search = Search(home)
    command = ["--readings", str(own_file), "--tariff", "flat", "--home", str(home)]
    run = watch_run(
        [*command, "--no-serve"],
        environment={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
        longest=240,
        look=search,
    )
    assert run.bills == METERS, run.output
    shown = f"{METERS} meter points taken in = {METERS} billed, their group shown in full + 0"
    assert shown in run.output
    assert re.search(r"energy of groups shown in full, kWh +│ +[\d,]+\.\d{3} │", run.output)
    assert re.search(r"amount of groups shown in full, yuan +│ +[\d,]+\.\d\d │", run.output)
    assert re.search(r"Energy of bills = energy of load curves: [\d,]+\.\d{3} kWh", run.output)
    assert "31 jobs" not in run.output, "June has thirty days"
    assert "30 jobs" in run.output
    assert "Traceback" not in run.output
    _every_party_is_seen_at_work(run)
    folder = next(home.iterdir())
    assert search.found.keys() == {*PARTIES} - {OFFICES}
    elsewhere = {party: found for party, found in search.found.items() if party != "vault"}
    files = found_in(folder_holds(folder), search.needles)
    attacked.ends_both(
        held=WITHHELD if not any(elsewhere.values()) and not files else None,
        without=WITHHELD if not search.found["vault"] else None,
    )
    numbers = sorted(read_readings(own_file).readings["meter_point_id"].unique())
    _nothing_names_anybody(folder, numbers)
    _logs_hold_no_plaintext(folder, numbers)
    _registrations_name_nobody(folder, numbers)


def _logs_hold_no_plaintext(folder: Path, numbers: list[str]) -> None:
    """Lines of JSON of every zone, with no reading, amount, token, key, name or address."""
    accounts = invented_accounts(default_contracts(numbers), gateway="")
    named = [*numbers, *(text for a in accounts for text in (a["name"], a["address"]))]
    requests: dict[str, set[str]] = defaultdict(set)
    for log in folder.glob("*.log"):
        for line in log.read_text("utf-8").splitlines():
            requests[json.loads(line).get("request", "")].add(log.stem)
            assert _plaintext_in(line, named) == [], line
    assert {"authority", "gateway", "identity", "platform"} <= set().union(*requests.values())
    crossed = {frozenset(zones) for number, zones in requests.items() if number}
    assert any({"authority", "platform"} <= zones for zones in crossed), "a number crosses zones"
    assert not any({"gateway", "platform"} <= zones for zones in crossed), "and names no pseudonym"


def _plaintext_in(line: str, named: list[str]) -> list[str]:
    """Readings, amounts, tokens, keys and names in a line of a log."""
    told = json.loads(line)
    for own in ("at", "seconds", "request"):
        told.pop(own, None)
    rest = json.dumps(told, ensure_ascii=False)
    return [
        *re.findall(r"\d\.\d|eyJ|[0-9a-f]{16}", rest),
        *(text for text in named if text in rest),
    ]


@pytest.mark.parametrize(
    "said",
    [
        *("12.375 kWh", "Bearer eyJhbGciOiJTTTIifQ", "04ab" * 16, "of MP-00017", "王芳 asked"),
        *("at Harbour Road 1", "paid 3.20"),
    ],
)
@pytest.mark.parametrize("place", ["message", "route", "logger", "error"])
def test_plaintext_is_found_wherever_a_line_has_it(said: str, place: str) -> None:
    line = {"at": "2026-07-01T00:00:00.125+00:00", "seconds": 0.25, "request": "ab" * 16}
    line |= {"message": "answered", "route": "/runs/{run_id}", "status": 200}
    named = ["MP-00017", "王芳", "Harbour Road 1"]
    assert _plaintext_in(json.dumps(line), named) == []
    assert _plaintext_in(json.dumps(line | {place: said}), named) != []


def _every_party_is_seen_at_work(run: WatchedRun) -> None:
    """What the benchmark makes of a run: who used the processor in which stage."""
    used = run.seconds
    assert min(used.values()) >= 0
    for stage, parties in {
        "gateway: enrol": ["gateway", "identity"],
        "gateway: encrypt": ["gateway"],
        "compute bills on ciphertext": ["platform"],
        "release": ["authority", "vault"],
        "compare with the oracle": [OFFICES],
    }.items():
        assert all(used[stage, party] > 0 for party in parties), stage
    assert run.wall.keys() >= ENROLMENT
    assert not any(used["gateway: enrol", party] > 1 for party in ("authority", "vault"))
    month = run.total(without=PREPARATION | ENROLMENT)
    assert 0 < month < run.total(without=PREPARATION) < run.total(without=frozenset())
    *rows, whole = stacked_table(run, meters=METERS)[2:]
    assert len(rows) == len(run.wall) - len(PREPARATION)
    assert sum(map(_share, rows)) == pytest.approx(_share(whole), abs=len(rows) / 2)
    assert _share(whole) == 100


def _share(row: str) -> int:
    return int(row.split("|")[-2].strip().removesuffix("%"))


def _secrets_of(folder: Path, numbers: list[str]) -> dict[str, list[bytes]]:
    """What must not be found, by what it is, in every form it is stored in anywhere."""
    accounts = invented_accounts(default_contracts(numbers), gateway="")
    keys = _column(folder, "enrolments", "SELECT key FROM enrolment WHERE key IS NOT NULL")
    assert len(keys) == len(numbers) + 1, "every meter point and the gateway"
    return {
        "meter number": [name.encode() for name in numbers],
        "name": [a["name"].encode() for a in accounts],
        "address": [a["address"].encode() for a in accounts],
        "enrolment key": [
            form
            for key in keys
            for form in (key.encode(), key.upper().encode(), bytes.fromhex(key))
        ],
        "enrolment key in base64": [b64encode(bytes.fromhex(key))[:40] for key in keys],
        "service key of the gateway": [_thumbprint(folder, "gateway").encode()],
    }


def _column(folder: Path, database: str, query: str) -> list[str]:
    with closing(sqlite3.connect(folder / "identity" / f"{database}.db")) as connection:
        return [value for (value,) in connection.execute(query)]


def _thumbprint(folder: Path, zone: str) -> str:
    return load_signing_key(folder / zone).public_key.thumbprint


def _dumped(path: Path) -> bytes:
    """A database as SQL, what is in its write-ahead log included."""
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()).encode()


def _nothing_names_anybody(folder: Path, numbers: list[str]) -> None:
    """The platform's database dumped, and every file of platform, authority and logs."""
    forbidden = _secrets_of(folder, numbers)
    dump = _dumped(folder / "platform" / "zone.db")
    assert b"roster" in dump
    texts = {"dump of the platform's database": dump}
    for path in folder.rglob("*"):
        outside = path.relative_to(folder).parts[0] not in NAMED_ZONES
        if outside and path.is_file():
            texts[str(path.relative_to(folder))] = path.read_bytes()
    assert len(texts) > 40
    for where, text in texts.items():
        # The key authority logs which gateways fetch its public keys, by their service keys.
        of_authority = where.startswith("authority")
        for what, forms in forbidden.items():
            if not (of_authority and what == "service key of the gateway"):
                assert not any(form in text for form in forms), f"{what} in {where}"


def _registrations_name_nobody(folder: Path, numbers: list[str]) -> None:
    """Who somebody is and what a pseudonym does are in two databases, with nothing in common."""
    forbidden = _secrets_of(folder, numbers)
    dump = _dumped(folder / "identity" / "registrations.db")
    for what, forms in forbidden.items():
        assert not any(form in dump for form in forms), what
    subjects = _column(folder, "registrations", "SELECT subject FROM registration")
    assert len(subjects) == 2 * len(numbers) + 1
    enrolments = _dumped(folder / "identity" / "enrolments.db")
    assert numbers[0].encode() in enrolments
    assert not any(subject.encode() in enrolments for subject in subjects)


def test_simulated_and_measured_meters_stand_in_one_contract_file(tmp_path: Path) -> None:
    (files,) = meter_files(RunMeters(meters=8), folder=tmp_path / "input", now=NOW)
    contracts = load_contracts(files.contracts)
    readings = [read_readings(path).readings for path in files.readings]
    named = {name for frame in readings for name in frame["meter_point_id"]}
    assert named == set(contracts["meter_point_id"])
    assert files.meters == len(named) > 8
    assert files.month == "2026-07"


def test_a_city_has_months_with_seasons_and_one_contract_file(tmp_path: Path) -> None:
    order = RunMeters(meters=32, month="2026-03", months=2)
    february, march = meter_files(order, folder=tmp_path / "input", now=NOW)
    assert (february.month, march.month) == ("2026-02", "2026-03")
    assert february.contracts == march.contracts
    assert not {*february.readings} & {*march.readings}
    daily = [_daily_wh(files) for files in (february, march)]
    assert daily[0] < 0.9 * daily[1], "factories stand still at Spring Festival"


def _daily_wh(files: MeterFiles) -> float:
    readings = read_readings(files.readings[-1]).readings
    return readings["energy_wh"].sum() / readings["start"].dt.day.nunique()


def test_bills_of_months_follow_each_other_in_one_file() -> None:
    months = [
        MonthResult(month, document={"meters": {name: {"periods": [month]} for name in names}})
        for month, names in (("2026-06", "ab"), ("2026-07", "bc"))
    ]
    assert json.loads(bill_file(months)) == {
        "meters": {
            "a": {"periods": ["2026-06"]},
            "b": {"periods": ["2026-06", "2026-07"]},
            "c": {"periods": ["2026-07"]},
        }
    }


def test_stages_of_a_month_that_is_not_the_last_become_one_line() -> None:
    console = Console(file=io.StringIO(), width=100)
    with show_progress(console) as progress:
        stages = RunStages(progress, Event(), label="2026-06  ")
        for name in ("before", "first", "second"):
            with stages.stage(name) as note:
                note(name)
        stages.fold(1, name="month 2026-06", count="2 bills")
    assert [(one.name, one.count) for one in stages.done] == [
        ("before", "before"),
        ("month 2026-06", "2 bills"),
    ]
    assert "2026-06  second" in console.file.getvalue()


def test_own_meters_take_the_month_and_interval_of_their_file(
    own_file: Path, tmp_path: Path
) -> None:
    (files,) = meter_files(
        RunMeters(meters=4, readings=(own_file,)), folder=tmp_path / "input", now=NOW
    )
    assert files.month == "2026-06"
    assert {read_readings(path).interval.total_seconds() for path in files.readings} == {3600}


def test_an_unknown_tariff_is_refused_before_anything_starts(
    own_file: Path, tmp_path: Path
) -> None:
    order = RunMeters(meters=0, readings=(own_file,), tariff="nowhere")
    with pytest.raises(InputError) as refused:
        meter_files(order, folder=tmp_path / "input", now=NOW)
    assert refused.value.reason == "tariff.unknown"


@pytest.mark.parametrize(
    ("month", "contract", "reason", "says"),
    [
        ("2026-05", None, "run.no-readings", "2026-06"),
        ("2026-09", None, "month.not-over", "--month"),
        (None, "another,z,household,flat,0,0", "run.no-readings", "--contract"),
    ],
)
def test_a_month_that_cannot_be_billed_is_refused_before_anything_starts(
    month: str | None, contract: str | None, reason: str, says: str, own_file: Path, tmp_path: Path
) -> None:
    file = None
    if contract is not None:
        header = "meter_point_id,zone,customer_class,tariff_id,household_quota_kwh,contracted_kva"
        file = tmp_path / "contracts.csv"
        file.write_text(f"{header}\n{contract}\n")
    order = RunMeters(meters=0, readings=(own_file,), contract=file, month=month)
    with pytest.raises(InputError) as refused:
        meter_files(order, folder=tmp_path / "input", now=NOW)
    assert refused.value.reason == reason
    assert says in refused.value.remedy
    assert not (tmp_path / "input").exists()


@pytest.mark.parametrize("month", ["2026-13", "July", "2026-7-1", ""])
def test_a_month_that_is_none_is_refused(month: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        meter_files(RunMeters(meters=1, month=month), folder=tmp_path / "input", now=NOW)
    assert refused.value.reason == "month.format"
