"""`gridsecure period`: through real services, as the billing staff types it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from tests.apps.office_services import Offices, two_offices, write_secret
from tests.grid_simulator import OFFICE, GridSimulator, GridUpload


@pytest.fixture
def uploads(tmp_path: Path) -> list[GridUpload]:
    grid = GridSimulator(tmp_path / "platform")
    grid.install()
    uploads = [grid.upload(roster) for roster in grid.rosters]
    for upload in uploads:
        grid.deliver(upload)
    grid.close()
    return uploads


@pytest.fixture
def offices(tmp_path: Path, uploads: list[GridUpload]) -> Iterator[Offices]:
    write_secret(tmp_path / "office" / "signing.key", OFFICE.to_bytes())
    with two_offices(tmp_path) as offices:
        yield offices


def typed(offices: Offices, name: str, *arguments: str, month: str = "2026-07") -> Result:
    given = [
        "--identity",
        f"{offices.identity}/",
        "--platform",
        f"{offices.platform}/",
        "--month",
        month,
    ]
    given += ["--key", str(offices.file("clerk", "signing.key"))]
    wide = CliRunner(env={"COLUMNS": "200"})
    return wide.invoke(command, ["period", name, *given, *arguments])


def close(offices: Offices, *arguments: str, key: str = "office", month: str = "2026-07") -> Result:
    path = str(offices.file(key, "signing.key"))
    return typed(offices, "close", "--office-key", path, *arguments, month=month)


def test_a_month_is_closed_and_closed_anew_without_an_upload(
    offices: Offices, uploads: list[GridUpload]
) -> None:
    first, second = (upload.upload_id for upload in uploads)
    shown = typed(offices, "show")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("open") == 2
    done = close(offices)
    assert done.exit_code == 0, done.output
    assert "2 uploads" in done.stdout
    again = close(offices, "--leave-out", second)
    assert again.exit_code == 0, again.output
    table = typed(offices, "show").stdout
    assert table.count("replaced") == 2
    assert table.count("in force") == 1
    assert first in table
    assert close(offices).exit_code == 0, "what was left out is closed by a list of its own"
    nothing = close(offices)
    assert nothing.exit_code != 0
    assert "period.nothing-open" in nothing.output


def test_what_cannot_be_closed_is_told(offices: Offices, uploads: list[GridUpload]) -> None:
    for result, reason in (
        (close(offices, key="clerk"), "authenticity"),
        (close(offices, "--leave-out", "0" * 64), "period.leave-out"),
        (close(offices, month="2026-13"), "month.format"),
        (close(offices, month="2026-06"), "period.nothing-open"),
    ):
        assert result.exit_code != 0
        assert reason in result.output
        assert "Traceback" not in result.output
