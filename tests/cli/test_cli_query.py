"""`gridsecure query`: the language, and what a file asks for."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.queries.language import question_schema

ASKED = {"measure": "energy", "period": {"month": "2026-07"}, "every": "day"}


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
