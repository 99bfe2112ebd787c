"""Settings are read from variables and files, refused by reason codes, and never repeated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gridsecure.errors import InputError
from gridsecure_api.settings import PlatformSettings, WorkerSettings
from gridsecure_api.settings_table import PROGRAMS, list_settings, settings_page
from gridsecure_api.start import FILE, read_settings, secret_names

POINT = "04" + "ab" * 64
SECRET = "hunter2-hunter2"
URL = f"postgresql+psycopg://gs:{SECRET}@db/platform"


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that starts a platform."""
    for name in ("IDENTITY", "AUTHORITY", "BILLING_OFFICE"):
        monkeypatch.setenv(f"GRIDSECURE_PLATFORM_{name}_PUBLIC_KEY", POINT)
    monkeypatch.setenv("GRIDSECURE_PLATFORM_FOLDER", ".")
    return monkeypatch


def refused() -> InputError:
    with pytest.raises(InputError) as error:
        read_settings(PlatformSettings)
    assert SECRET not in str(error.value)
    assert error.value.__context__ is None, "what pydantic says repeats values"
    assert error.value.remedy
    return error.value


def test_a_secret_comes_from_a_file_that_its_owner_alone_reads(
    platform: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "database"
    file.write_text(URL + "\n")
    platform.setenv(f"GRIDSECURE_PLATFORM_DATABASE{FILE}", str(file))
    assert refused().reason == "settings.secret-file"
    file.chmod(0o600)
    settings = read_settings(PlatformSettings)
    assert settings.database_url == URL
    assert SECRET not in repr(settings)
    platform.setenv("GRIDSECURE_PLATFORM_DATABASE", URL)
    assert refused().reason == "settings.twice"


def test_a_credential_of_systemds_is_taken_though_a_list_of_access_shows_as_the_groups_bits(
    platform: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "handed out" / "database"
    file.parent.mkdir()
    file.write_text(URL)
    file.chmod(0o440)
    platform.setenv(f"GRIDSECURE_PLATFORM_DATABASE{FILE}", str(file))
    assert refused().reason == "settings.secret-file"
    platform.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    assert read_settings(PlatformSettings).database_url == URL
    for mode in (0o444, 0o460):
        file.chmod(mode)
        assert refused().reason == "settings.secret-file"
    file.chmod(0o440)
    platform.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "of another service"))
    assert refused().reason == "settings.secret-file"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("DATABSE", URL, "settings.unknown"),
        ("WORKERS", SECRET, "settings.value"),
        ("APPROVERS", SECRET, "settings.value"),
        ("APPROVERS", f'[{{"person": "{SECRET}"}}]', "settings.value"),
        ("AUTHORITY_PUBLIC_KEY", SECRET, "settings.value"),
        ("AUTHORITY_PUBLIC_KEY", None, "settings.missing"),
    ],
)
def test_a_refusal_names_the_variable_and_not_its_value(
    platform: pytest.MonkeyPatch, name: str, value: str | None, reason: str
) -> None:
    variable = f"GRIDSECURE_PLATFORM_{name}"
    if value is None:
        platform.delenv(variable)
    else:
        platform.setenv(variable, value)
    error = refused()
    assert error.reason == reason
    assert variable in error.message


def test_a_service_ends_with_the_reason_and_no_value_of_a_setting() -> None:
    """The very process: whatever it prints, its log keeps."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gridsecure_api.serve", "market"],
        env={"PYTHONPATH": ":".join(sys.path), "GRIDSECURE_MARKET_DATABASE": URL},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "[settings.missing]" in said
    assert "GRIDSECURE_MARKET_FOLDER" in said
    assert SECRET not in said
    assert "Traceback" not in said


def test_every_setting_has_a_meaning_on_the_page() -> None:
    page = settings_page()
    for program, kind in PROGRAMS.items():
        rows = list_settings(kind)
        assert f"## {program}" in page
        assert [row.variable for row in rows if not row.meaning] == []
        assert all(f"`{row.variable}`" in page for row in rows)
    assert secret_names(WorkerSettings) == ["database", "objects"]
    assert f"or `GRIDSECURE_WORKER_DATABASE{FILE}` | text | has to be set |" in page
