"""`gridsecure objects` beside a platform's database and store."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from gridsecure.cli.main import app
from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.tables import SCHEMA
from gridsecure.store.database import open_database
from gridsecure.store.objects import folder_url, open_objects
from gridsecure.store.schema import migrate


def sweep(zone: Path, *arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["objects", "sweep", str(zone), *arguments], env=env)


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    """A platform with one object, one that nothing names, and what a killed writer left."""
    engine = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    migrate(engine, SCHEMA)
    objects = PlatformObjects(open_objects(folder_url(tmp_path / "objects")), engine)
    objects.put(b"named")
    objects.store.put(b"orphan")
    (tmp_path / "objects" / "aa").mkdir()
    (tmp_path / "objects" / "aa" / ".draft-0").write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    for path in (tmp_path / "objects").glob("*/*"):
        os.utime(path, (two_hours_ago, two_hours_ago))
    engine.dispose()
    return tmp_path


def test_what_is_old_and_unnamed_is_counted_then_removed(zone: Path) -> None:
    assert sweep(zone).stdout == "Removed 0 objects, 0 bytes.\n"
    assert sweep(zone, "--older-than", "3h").stdout == "Removed 0 objects, 0 bytes.\n"
    counted = sweep(zone, "--older-than", "1h", "--dry-run")
    assert (counted.exit_code, counted.stdout) == (0, "Would remove 2 objects, 10 bytes.\n")
    removed = sweep(zone, "--older-than", "1h")
    assert (removed.exit_code, removed.stdout) == (0, "Removed 2 objects, 10 bytes.\n")
    (left,) = (path for path in zone.glob("objects/*/*"))
    assert left.read_bytes() == b"named"


def test_the_service_s_settings_are_understood(zone: Path) -> None:
    told = {
        "GRIDSECURE_PLATFORM_DATABASE": f"sqlite:///{zone / 'zone.db'}",
        "GRIDSECURE_PLATFORM_OBJECTS": folder_url(zone / "objects"),
    }
    done = sweep(zone / "elsewhere", "--older-than", "1h", env=told)
    assert (done.exit_code, done.stdout) == (0, "Removed 2 objects, 10 bytes.\n")


@pytest.mark.parametrize("age", ["", "0h", "2", "59m", "-1d", "2d ", "1.5d"])
def test_other_ages_are_refused(zone: Path, age: str) -> None:
    refused = sweep(zone, f"--older-than={age}")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("objects.age")
    assert len(list(zone.glob("objects/*/*"))) == 3


def test_a_folder_without_a_platform_is_refused(zone: Path) -> None:
    refused = sweep(zone / "objects")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("objects.zone")
    assert not (zone / "objects" / "zone.db").exists()


def test_the_database_of_another_platform_is_refused(zone: Path, tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    migrate(engine, SCHEMA)
    engine.dispose()
    other = ("--database", f"sqlite:///{tmp_path / 'other.db'}")
    refused = sweep(zone, "--older-than", "1h", *other)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("objects.zone")
    assert len(list(zone.glob("objects/*/*"))) == 3


def test_a_database_with_other_tables_is_refused(zone: Path, tmp_path: Path) -> None:
    """Another zone's, or one that a service of this release has not brought to its tables yet."""
    for revision in ("gateway_0001", "platform_0001"):
        engine = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
        engine.dispose()
        refused = sweep(zone, "--older-than", "1h")
        assert refused.exit_code == 1
        assert refused.stderr.startswith("storage.schema")
        assert len(list(zone.glob("objects/*/*"))) == 3
