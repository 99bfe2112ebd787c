"""`gridsecure query`: the language, and what a file asks for."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.queries.language import question_schema
from tests.analyst.logged_certificates import write_certificate
from tests.queries.published_months import bill_release, bills, curve_release

ASKED = {"measure": "energy", "period": {"month": "2026-07"}, "every": "day"}


KEY = generate_private_key()
BY_ZONE = {"measure": "energy", "period": {"month": "2026-07"}, "group_by": ["zone"]}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("releases")
    return write_certificate(bill_release("2026-07"), key=KEY, folder=folder)


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["query", *arguments])


def test_the_schema_is_printed() -> None:
    assert json.loads(run("schema").stdout) == question_schema()


def test_a_file_is_checked_before_anything_is_asked(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(json.dumps(ASKED | {"statistic": {"name": "sum"}}))
    document = json.loads(run("check", str(own), "--format", "json").stdout)
    assert document["question"] == ASKED
    assert (document["resolution"], document["totals"]) == ("daily", ["energy"])
    shown = run("check", str(own)).stdout
    assert "2026-07-01T00:00:00+08:00 to 2026-08-01T00:00:00+08:00" in shown
    own.write_text(json.dumps(ASKED | {"every": "week"}))
    refused = run("check", str(own))
    assert (refused.exit_code, "query.field" in refused.output) == (1, True)
    assert "'interval', 'hour', 'day' or 'month'" in refused.output.replace("\n", " ")
    missing = run("check", str(tmp_path / "none.json"))
    assert (missing.exit_code, "query.file" in missing.output) == (1, True)


def answer(tmp_path: Path, asked: object, certificate: Path, *options: object) -> Result:
    question = tmp_path / "question.json"
    question.write_text(json.dumps(asked))
    key = KEY.public_key.point.hex()
    given = ["answer", question, "--release", certificate, "--authority-key", key, *options]
    return run(*map(str, given))


def test_a_question_is_answered_from_a_certificate(tmp_path: Path, certificate: Path) -> None:
    result = answer(tmp_path, BY_ZONE, certificate, "--format", "json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    used = bills("2026-07").groupby("zone")["wh"].sum()
    assert [(row["zone"], Decimal(row["value"]) * 1000) for row in rows] == list(used.items())
    assert {row["unit"] for row in rows} == {"kWh"}
    assert "futian" in answer(tmp_path, BY_ZONE, certificate).stdout


def test_files_of_an_answer_have_every_digit(tmp_path: Path, certificate: Path) -> None:
    csv, parquet, chart = (tmp_path / f"answer.{kind}" for kind in ("csv", "parquet", "html"))
    image, drawing = tmp_path / "answer.png", tmp_path / "answer.SVG"
    result = answer(
        tmp_path, BY_ZONE, certificate, "--csv", csv, "--parquet", parquet, "--chart", chart
    )
    assert result.exit_code == 0, result.output
    used = [Decimal(int(wh)).scaleb(-3) for wh in bills("2026-07").groupby("zone")["wh"].sum()]
    assert [Decimal(text) for text in pd.read_csv(csv, dtype=str)["value"]] == used
    assert list(pd.read_parquet(parquet)["value"]) == used
    page = chart.read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert str(float(used[0])) in page
    assert "cdn" not in page
    assert re.search(r"<(script[^>]* src|link)\b", page) is None, "it loads nothing"
    for path in (image, drawing):
        assert answer(tmp_path, BY_ZONE, certificate, "--chart", path).exit_code == 0
    assert image.read_bytes().startswith(b"\x89PNG")
    assert "futian" in drawing.read_text(encoding="utf-8")
    other = answer(tmp_path, BY_ZONE, certificate, "--chart", tmp_path / "answer.gif")
    assert (other.exit_code, ".png" in other.output) == (2, True)
    missing = answer(tmp_path, BY_ZONE, certificate, "--csv", tmp_path / "no" / "folder.csv")
    assert (missing.exit_code, "query.output" in missing.output) == (1, True)


def test_an_owner_describes_a_series_that_a_question_names(
    tmp_path: Path, certificate: Path
) -> None:
    table = tmp_path / "area.csv"
    table.write_text("zone,value\nfutian,8400\nluohu,5125.5\n")
    said = ["--name", "area", "--owner", "register", "--unit", "m²", "--purpose", "research"]
    written = run("series", str(table), *said, "--format", "json")
    assert written.exit_code == 0, written.output
    digest = json.loads(written.stdout)["digest"]
    assert json.loads(written.stdout)["rows"] == 2
    assert digest == sm3_hex((tmp_path / "area.series.json").read_bytes())
    asked = BY_ZONE | {"statistic": {"name": "ratio", "unit": "m²", "given": f"area@{digest}"}}
    result = answer(tmp_path, asked, certificate, "--series", table, "--format", "json")
    assert result.exit_code == 0, result.output
    assert f"joined with area@{digest}" in run("check", str(tmp_path / "question.json")).stdout
    document = json.loads(result.stdout)
    assert {row["unit"] for row in document["rows"]} == {"kWh per m²"}
    assert {"step": "series area", "digest": digest} in document["chain"]
    assert document["terms"] == {"purposes": ["research"]}
    for options, reason in (
        (["--series", table, "--purpose", "sales"], "series.policy"),
        (["--series", tmp_path / "other.csv"], "series.file"),
        ([], "series.missing"),
    ):
        refused = answer(tmp_path, asked, certificate, *options)
        assert (refused.exit_code, reason in refused.output) == (1, True)
    wrong = run("series", str(table), *said, "--name", "Area")
    assert (wrong.exit_code, "query.field" in wrong.output) == (1, True)


def test_what_no_release_holds_is_said_with_a_reason(tmp_path: Path, certificate: Path) -> None:
    refused = answer(tmp_path, BY_ZONE | {"every": "day"}, certificate)
    assert (refused.exit_code, "query.not-published" in refused.output) == (1, True)
    other = generate_private_key()
    forged = write_certificate(bill_release("2026-06"), key=other, folder=tmp_path)
    refused = answer(tmp_path, BY_ZONE, forged)
    assert (refused.exit_code, "release.signature" in refused.output) == (1, True)


def test_an_answer_without_a_number_fails_and_says_why(tmp_path: Path) -> None:
    dark = curve_release("2026-07", withheld=("luohu", "shop"))
    path = write_certificate(dark, key=KEY, folder=tmp_path)
    shops = BY_ZONE | {"where": {"zone": ["luohu"]}}
    chart = tmp_path / "none.html"
    result = answer(tmp_path, shops, path, "--chart", chart)
    assert result.exit_code == 1
    assert "1 of 1 numbers are withheld." in result.output
    assert not chart.exists()


def test_a_question_that_ships_is_written_for_a_month(tmp_path: Path, certificate: Path) -> None:
    listed = json.loads(run("pack", "list", "--format", "json").stdout)["packs"]
    assert {"name": "feeder-losses", "series": ["feeder"]}.items() <= next(
        row for row in listed if row["name"] == "feeder-losses"
    ).items()
    assert "空置率" in run("pack", "list").stdout
    file = tmp_path / "own.json"
    written = run("pack", "show", "average-bill", "--month", "2026-07", "--to", str(file))
    assert written.exit_code == 0, written.output
    assert json.loads(file.read_text()) == json.loads(run("pack", "show", "average-bill").stdout)
    answered = answer(tmp_path, json.loads(file.read_text()), certificate)
    assert "yuan per customer" in answered.stdout
    refused = run("pack", "show", "none")
    assert (refused.exit_code, "query.pack" in refused.output) == (1, True)


def test_a_question_says_by_which_steps_it_is_answered(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(json.dumps(BY_ZONE))
    for options, party in (([], "platform, and the checker again"), (["--sealed"], "checker")):
        steps = json.loads(run("explain", str(own), *options, "--format", "json").stdout)["steps"]
        assert [step["party"] for step in steps] == ["gateway", party, "vault", "asker", "asker"]
    assert "transcript" in run("explain", str(own)).stdout
