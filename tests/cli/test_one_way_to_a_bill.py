"""`bill` and `rebill` go the way of a utility's month, through every party, and leave nothing."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select
from typer.testing import CliRunner

from gridsecure.cli import local_months
from gridsecure.cli.bill import BillOrder, prepare_bills
from gridsecure.cli.bill_tariffs import TariffOptions
from gridsecure.cli.local_months import close_month, release_month
from gridsecure.cli.local_parties import LocalParties, local_parties
from gridsecure.cli.main import app
from gridsecure.cli.rebill import RebillOrder, rebill_file
from gridsecure.compute.tables import TranscriptRow
from gridsecure.errors import StorageError
from gridsecure.gateway.month_files import HandedIn, load_files, save_files
from gridsecure.gateway.months import process_month
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.messages import Transcript, UploadManifest
from gridsecure.periods import billing_month
from gridsecure.simulator.synthetic_meters import simulate
from gridsecure.store import evidence
from gridsecure.store.database import read_session
from gridsecure.store.log_tree import verify_log

MONTH = "2026-07"
METERS = 3
TIMEZONE = "Asia/Shanghai"
PERIOD = billing_month(2026, 7, timezone=TIMEZONE)
NOW = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
BESIDE = ("readings", "notices")
"""What `bill` says beside a bill's figures."""

ACTIONS = {
    "gateway": {"upload.signed", "upload.committed"},
    "platform": {"period.closed", "plan.run", "release.requested", "release.released"},
    "authority": {"key-set.published", "release.granted"},
    "enrolments": {"identity.books-written"},
    "registrations": {"identity.registered"},
}
"""What a billed month leaves in the log of each zone, at least."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every reading of a month: nothing to estimate, so both ways have the same to bill."""
    folder, month = tmp_path_factory.mktemp("files"), simulate(8, month=MONTH, interval_minutes=60)
    homes = month.contracts[month.contracts["customer_class"] == "household"][:METERS]
    homes.assign(tariff_id="flat").to_csv(folder / "contracts.csv", index=False)
    names = tuple(homes["meter_point_id"])
    header, *rows = month.wide_csv().decode().splitlines(keepends=True)
    text = "".join([header, *(row for row in rows if row.startswith(names))])
    (folder / "readings.csv").write_text(text)
    return folder


def order(files: Path) -> BillOrder:
    return BillOrder(
        files / "readings.csv", TariffOptions(timezone=TIMEZONE), contract=files / "contracts.csv"
    )


def quiet(*_: object) -> None:
    """A command's progress, untold."""


def actions(engine: Engine) -> set[str]:
    """The actions in an evidence log that holds."""
    with read_session(engine) as session:
        verify_log(session)
        return {entry.action for entry in evidence.list_entries_after(session, -1)}


def logs(local: LocalParties) -> dict[str, set[str]]:
    return {
        "gateway": actions(local.gateway.engine),
        "platform": actions(local.platform.zone.engine),
        "authority": actions(local.authority.engine),
        "enrolments": actions(local.identity.desk.issuer.engine),
        "registrations": actions(local.identity.registrar.engine),
    }


def computed(local: LocalParties) -> list[str]:
    """The transcripts: what was computed on and what came out, but for names and ciphertexts."""
    found = []
    with read_session(local.platform.zone.engine) as session:
        envelopes = [row.envelope for row in session.exec(select(TranscriptRow))]
    for envelope in envelopes:
        transcript = Transcript.parse(envelope.body)
        (upload,) = transcript.uploads
        manifest = UploadManifest.parse(local.platform.message("upload", upload).body)
        own = {"digest", "key_id"}
        columns = [column.model_dump(exclude=own) for column in manifest.columns]
        outputs = {n: entry.model_dump(exclude=own) for n, entry in transcript.outputs.items()}
        plan = (transcript.plan, transcript.plan_version, transcript.start, transcript.end)
        found.append(json.dumps([plan, sorted(transcript.inputs), columns, outputs]))
    return sorted(found)


def figures(bills: dict[str, Any]) -> str:
    own = {n: {k: v for k, v in bill.items() if k not in BESIDE} for n, bill in bills.items()}
    return json.dumps(own, sort_keys=True)


def test_a_file_and_a_utilitys_month_make_the_same_bills(files: Path) -> None:
    first = prepare_bills(order(files), report=quiet)
    with first.parties() as local:
        bills = first.bill(local, first.periods[0], report=quiet).bills
        told, transcripts = logs(local), computed(local)
    with local_parties(years=["2026"], timezone=TIMEZONE) as local:
        for part in first.parts:
            local.identity.enter(part.contracts)
        with (files / "readings.csv").open("rb") as readings:
            contracts = BytesIO((files / "contracts.csv").read_bytes())
            handed = HandedIn([readings], contracts)
            save_files(local.gateway, MONTH, files=handed, person="operator", at=NOW)
        process_month(
            local.gateway,
            files=load_files(local.gateway, MONTH),
            peers=local.peers,
            clock=lambda: NOW,
            progress=quiet,
            load_curves=False,
        )
        close_month(local, PERIOD)
        expected = compute_expected_bills(local.gateway, load_files(local.gateway, MONTH))
        again = release_month(local, PERIOD, plan="bill", expected=expected)
        assert figures(again) == figures(dict(bills))
        assert computed(local) == transcripts
        # A utility's contracts are in its gateway's books, a person hands its files in, and its
        # customers get receipts.
        more = {"books.changed", "month.files", "bills.committed"}
        books = {"gateway": told["gateway"] | more}
        assert logs(local) == told | books
    assert len(bills) == METERS
    assert {zone: ACTIONS[zone] - found for zone, found in told.items()} == {
        zone: set() for zone in ACTIONS
    }


def test_a_correction_is_the_gateways_own(files: Path, tmp_path: Path, monkeypatch: Any) -> None:
    header, row, *_ = (files / "readings.csv").read_text().splitlines()
    meter, day, _, *rest = row.split(",")
    (tmp_path / "later.csv").write_text(f"{header}\n{','.join([meter, day, '999.999', *rest])}\n")
    seen: list[dict[str, set[str]]] = []
    release = release_month

    def noting(local: LocalParties, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        bills = release(local, *arguments, **keywords)
        seen.append(logs(local))
        return bills

    monkeypatch.setattr(local_months, "release_month", noting)
    found = rebill_file(RebillOrder(order(files), corrected=tmp_path / "later.csv"), report=quiet)
    versions = {name: [p["version"] for p in m["periods"]] for name, m in found["meters"].items()}
    assert versions.pop(meter) == [1, 2]
    assert list(versions.values()) == [[1], [1]]
    first, second = seen
    assert second["gateway"] - first["gateway"] == {"correction.fixed", "correction.done"}


@pytest.mark.parametrize("failure", [StorageError("The disk is full."), KeyboardInterrupt()])
def test_nothing_is_left_however_a_command_ends(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    kept = []

    def failing(*_: object, **__: object) -> None:
        kept.extend(folder.glob("*/*"))
        raise failure

    monkeypatch.setattr(local_months, "run_plan", failing)
    command = ["bill", "--readings", str(files / "readings.csv")]
    result = CliRunner().invoke(app, [*command, "--contract", str(files / "contracts.csv")])
    assert result.exit_code != 0
    assert len(kept) > 5
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("oracle", ["compute_expected_bills", "compute_expected_corrections"])
def test_a_bill_that_is_not_the_oracles_is_not_issued(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, oracle: str
) -> None:
    compute = getattr(local_months, oracle)

    def altered(*arguments: Any, **keywords: Any) -> Any:
        found = compute(*arguments, **keywords)
        document = next(iter(next(iter(found.values())).values()))
        document["periods"][0]["total"] = "0.01"
        return found

    monkeypatch.setattr(local_months, oracle, altered)
    later = tmp_path / "later.csv"
    header, row, *_ = (files / "readings.csv").read_text().splitlines()
    meter, day, _, *rest = row.split(",")
    later.write_text(f"{header}\n{','.join([meter, day, '999.999', *rest])}\n")
    given = ["--readings", str(files / "readings.csv"), "--contract", str(files / "contracts.csv")]
    result = CliRunner().invoke(app, ["rebill", *given, "--corrected", str(later)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "audit.oracle" in result.stderr
