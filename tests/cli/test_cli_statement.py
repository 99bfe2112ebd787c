"""`gridsecure statement`: what it writes, what it refuses, and that nothing is half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app

DATA = Path(__file__).parents[1] / "statements" / "data"
CORRECTION = DATA / "correction.json"
PLAIN = DATA / "plain-contract.json"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["statement", *map(str, arguments)])


def test_a_folder_gets_a_file_for_each_statement(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "statements"
    result = run("--bill", CORRECTION, "--language", "en", "--format", "pdf", "--output", folder)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "statement-meter-0002-2026-07-v2-en.pdf",
        "statement-meter-0003-2026-07-v3-en.pdf",
    ]
    assert [Path(each).name for each in result.stdout.split()] == names
    assert all(path.read_bytes().startswith(b"%PDF") for path in folder.iterdir())


def test_one_statement_goes_to_a_file(tmp_path: Path) -> None:
    target = tmp_path / "august.html"
    choice = ("--meter", "at-tier-1", "--month", "2026-08", "--issuer", "Grid & Co")
    result = run("--bill", PLAIN, *choice, "--output", target)
    assert result.exit_code == 0, result.output
    text = target.read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in text
    assert "2026年8月1日至2026年8月31日（含）" in text
    assert "Grid &amp; Co" in text


def test_existing_files_are_kept_unless_forced(tmp_path: Path) -> None:
    orders = ("--bill", CORRECTION, "--output", tmp_path)
    (tmp_path / "statement-meter-0003-2026-07-v3-zh.html").write_text("mine")
    result = run(*orders)
    assert result.exit_code == 1
    assert "statement.exists" in result.stderr
    # The other statement was not written either.
    assert len(list(tmp_path.iterdir())) == 1
    assert run(*orders, "--force").exit_code == 0
    assert len(list(tmp_path.iterdir())) == 2
    assert "mine" not in (tmp_path / "statement-meter-0003-2026-07-v3-zh.html").read_text()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "not-json.json").write_text("{")
    (tmp_path / "not-text.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep.json").write_text("[" * 200_000)
    (tmp_path / "no-meters.json").write_text("{}")
    wrong = json.loads(PLAIN.read_text())
    del wrong["meters"]["at-tier-1"]["periods"][0]["lines"][0]["quantity"]
    (tmp_path / "no-quantity.json").write_text(json.dumps(wrong))
    twice = json.loads(PLAIN.read_text())
    twice["meters"]["at-tier-1"]["periods"] *= 2
    (tmp_path / "twice.json").write_text(json.dumps(twice))
    (tmp_path / "a-file").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("bill", "more", "reason"),
    [
        ("absent.json", (), "statement.file"),
        (".", (), "statement.file"),
        ("not-json.json", (), "statement.json"),
        ("not-text.json", (), "statement.json"),
        ("deep.json", (), "statement.json"),
        ("no-meters.json", (), "statement.shape"),
        ("no-quantity.json", (), "statement.shape"),
        ("twice.json", (), "statement.output"),
        (PLAIN, ("--meter", "[/bold] nobody"), "statement.meter"),
        (PLAIN, ("--month", "July"), "month.format"),
        (PLAIN, ("--month", "2020-01"), "statement.period"),
        (PLAIN, ("--output", "one.html"), "statement.output"),
        (PLAIN, ("--output", "a-file/below"), "statement.output"),
        (PLAIN, ("--format", "pdf", "--font", "a-file"), "statement.font"),
    ],
)
def test_what_is_wrong_is_said_with_a_reason(
    files: Path, bill: str | Path, more: tuple[str, ...], reason: str
) -> None:
    before = set(files.iterdir())
    paths = {"--output", "--font"}
    pairs = zip(("", *more[:-1]), more, strict=True) if more else ()
    given = [str(files / each) if key in paths else each for key, each in pairs]
    output = () if "--output" in more else ("--output", files / "out")
    result = run("--bill", files / bill, *given, *output)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith(reason)
    assert "Traceback" not in result.output
    assert set(files.iterdir()) == before


def test_the_message_shows_a_name_with_brackets_as_it_is() -> None:
    result = run("--bill", PLAIN, "--meter", "[/bold] nobody", "--output", "unused")
    assert "'[/bold] nobody'" in result.stderr


def test_nothing_half_written_stays_when_a_file_cannot_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "statement-at-tier-1-2026-08-en.html").mkdir()
    choice = ("--month", "2026-08", "--language", "en", "--force", "--output", tmp_path)
    result = run("--bill", PLAIN, *choice)
    assert result.exit_code == 1
    assert result.stderr.startswith("statement.output")
    (left,) = tmp_path.iterdir()
    assert left.is_dir()


def test_statements_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    assert run("--bill", PLAIN, "--output", tmp_path).exit_code == 0
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_receipt_that_is_none_leaves_no_file_behind(tmp_path: Path) -> None:
    document = json.loads(PLAIN.read_text(encoding="utf-8"))
    for meter in document["meters"].values():
        meter["periods"][0]["receipt"] = {"commitment": "none"}
    bill, folder = tmp_path / "bills.json", tmp_path / "statements"
    bill.write_text(json.dumps(document))
    result = run("--bill", bill, "--output", folder)
    assert result.exit_code == 1
    assert "statement.receipt" in result.stderr
    assert not folder.exists()
