"""`gridsecure catalogue`: from signed certificates to a catalogue that others can read."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from tests.analyst.logged_certificates import write_certificate
from tests.queries.published_months import bill_release


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "250"}).invoke(command, ["catalogue", *map(str, arguments)])


def test_a_release_is_entered_found_exported_and_read_back(tmp_path: Path) -> None:
    key, file, report = generate_private_key(), tmp_path / "own.json", tmp_path / "report.json"
    certificate = write_certificate(bill_release("2026-07"), key=key, folder=tmp_path)
    report.write_text(json.dumps({"accepted": 100, "estimated": 5, "quarantined": 0, "meters": 9}))
    said = ("--release", certificate, "--owner", "示范供电局", "--quality", report)
    other = generate_private_key().public_key.point.hex()
    assert "release.signature" in run("add", file, *said, "--authority-key", other).output
    assert not file.exists()
    authority = ("--authority-key", key.public_key.point.hex(), "--price", "12.5")
    assert run("add", file, *said, *authority).exit_code == 0
    assert run("add", file, *said, *authority).exit_code == 0  # entered once
    (card,) = json.loads(file.read_text())["cards"]
    assert (card["told"], card["meter_points"], card["price_yuan"]) == (12, 275, "12.5")
    shown = run("find", file, "--class", "shop", "--at", "2026-07", "--measured", 95)
    assert "示范供电局" in shown.stdout
    assert run("find", file, "--zone", "baoan").exit_code == 1
    for ending in (".jsonld", ".ttl"):
        rdf, back = tmp_path / f"dcat{ending}", tmp_path / f"back{ending}.json"
        assert run("export", file, "--to", rdf).exit_code == 0
        assert "It conforms" in run("check", rdf).stdout
        assert run("import", rdf, "--to", back).exit_code == 0
        assert back.read_text() == file.read_text()


def test_a_policy_is_printed_as_odrl_and_read_back(tmp_path: Path) -> None:
    printed = run("odrl", "strict", "--owner", "utility", "--target", "urn:x")
    file = tmp_path / "policy.jsonld"
    file.write_text(printed.stdout)
    rules = json.loads(run("read-odrl", file).stdout)["rules"]
    assert {rule["minimum"] for rule in rules} == {15, 100}
    file.write_text(printed.stdout.replace('"isAnyOf"', '"isNoneOf"'))
    assert "odrl.term" in run("read-odrl", file).output
