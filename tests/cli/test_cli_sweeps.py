"""`gridsecure objects sweep` in a gateway and a key authority that did their work."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import MetaData, String

from gridsecure.billing.rule_books import default_text
from gridsecure.gateway.rule_sets import keep_rules
from gridsecure.key_authority.checker.answering import RELEASED
from gridsecure.store.database import open_database, read_session
from gridsecure.store.objects import CONTAINER, ObjectStore, folder_url, open_objects
from tests.authority_simulator import Authority
from tests.cli.test_cli_objects import sweep
from tests.gateway.gateway_world import GatewayWorld, finished_month
from tests.grid_simulator import NOW, delivered_grid
from tests.processes_beside import BESIDE

ORPHAN, DRAFT = b"orphan", b"half of it"
HOUR = ("--older-than", "1h")
ZONES = ("gateway", "authority")


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of a gateway with a month and a rule book, and of an authority that released."""
    world = GatewayWorld.after(finished_month(), tmp_path_factory.mktemp("world"))
    keep_rules(world.zone, default_text() + "\n", person="operator", at=NOW)
    world.close()
    with delivered_grid(tmp_path_factory.mktemp("grid")) as grid:
        authority = Authority(grid, tmp_path_factory.mktemp("authority"))
        assert authority.answer(authority.bill_request(grid.uploads)).state == RELEASED
        authority.close()
    return {"gateway": world.folder, "authority": authority.folder}


@pytest.fixture(scope="module")
def left(worked: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of those folders, in which a process was killed as it stored something."""
    left = {name: tmp_path_factory.mktemp("left") / name for name in ZONES}
    for name, folder in left.items():
        shutil.copytree(worked[name], folder)
        process = BESIDE.Process(target=die_storing, args=(folder_url(folder / "objects"),))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    return left


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, left: dict[str, Path], tmp_path: Path) -> Path:
    """A test's own copy of such a folder."""
    folder = tmp_path / str(request.param)
    shutil.copytree(left[request.param], folder)
    make_older(folder)
    return folder


def die_storing(url: str) -> None:
    """Store an object that nothing will name, and be killed within the next one."""
    store = open_objects(url)
    store.put(ORPHAN)
    # In a process of its own, which ends by it.
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign] # see above
    store.put(DRAFT)


def make_older(folder: Path) -> None:
    for path in folder.glob("objects/*/*"):
        os.utime(path, (time.time() - 7200,) * 2)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob("objects/*/*")}


def read_names(folder: Path) -> set[str]:
    """Whatever looks like an object's name anywhere in a zone's database."""
    engine, found = open_database(f"sqlite:///{folder / 'zone.db'}"), set[str]()
    tables = MetaData()
    tables.reflect(engine)
    with read_session(engine) as session:
        for table in tables.tables.values():
            texts = [column for column in table.columns if isinstance(column.type, String)]
            for row in session.execute(table.select().with_only_columns(*texts)) if texts else ():
                found |= set(re.findall(r"[0-9a-f]{64}", " ".join(map(str, row))))
    engine.dispose()
    return found


def zone_option(folder: Path) -> tuple[str, str]:
    return ("--zone", folder.name)


def test_what_a_killed_process_left_goes_and_what_is_named_anywhere_stays(zone: Path) -> None:
    before, names = files(zone), read_names(zone)
    named = {path for path in before if path.removeprefix("objects/").replace("/", "") in names}
    size = len(ORPHAN) + len(DRAFT)
    counted = sweep(zone, *zone_option(zone), *HOUR, "--dry-run")
    assert counted.stdout == f"Would remove 2 objects, {size} bytes.\n", counted.output
    assert files(zone) == before
    removed = sweep(zone, *zone_option(zone), *HOUR)
    assert removed.stdout == f"Removed 2 objects, {size} bytes.\n", removed.output
    assert files(zone) == named
    assert len(named) > 2
    assert sweep(zone, *zone_option(zone), *HOUR).stdout == "Removed 0 objects, 0 bytes.\n"


def test_what_is_young_stays(zone: Path) -> None:
    before = files(zone)
    assert sweep(zone, *zone_option(zone)).stdout == "Removed 0 objects, 0 bytes.\n"
    assert files(zone) == before


def test_a_zone_at_work_is_counted_but_not_swept(zone: Path) -> None:
    before = files(zone)
    engine = open_database(f"sqlite:///{zone / 'zone.db'}")
    refused = sweep(zone, *zone_option(zone), *HOUR)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("storage.in-use")
    assert sweep(zone, *zone_option(zone), *HOUR, "--dry-run").exit_code == 0
    engine.dispose()
    assert files(zone) == before


def refused_stores(zone: Path, worked: dict[str, Path], tmp_path: Path) -> list[ObjectStore]:
    """Another zone's, a platform's that has all of these objects, and an empty one."""
    (other,) = set(ZONES) - {zone.name}
    shutil.copytree(worked[other] / "objects", tmp_path / "other")
    shutil.copytree(zone / "objects", tmp_path / "platform")
    urls = [folder_url(tmp_path / name) for name in ("other", "platform", "empty")]
    (tmp_path / "platform" / "ab").mkdir(exist_ok=True)
    (tmp_path / "platform" / "ab" / f"{'c' * 62}{CONTAINER}").write_bytes(b"columns")
    return [open_objects(url) for url in urls]


def test_the_store_of_another_zone_is_refused(
    zone: Path, worked: dict[str, Path], tmp_path: Path
) -> None:
    for store in refused_stores(zone, worked, tmp_path):
        before = [one.name for one in store.list_stored()]
        refused = sweep(zone, *zone_option(zone), *HOUR, "--objects", store.url)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("objects.zone")
        assert [one.name for one in store.list_stored()] == before


def test_the_database_of_another_zone_is_refused(zone: Path) -> None:
    for name in {*ZONES, "platform"} - {zone.name}:
        refused = sweep(zone, "--zone", name, *HOUR)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("storage.schema")


def test_the_service_s_settings_are_understood(zone: Path) -> None:
    name = zone.name.upper()
    told = {
        f"GRIDSECURE_{name}_DATABASE": f"sqlite:///{zone / 'zone.db'}",
        f"GRIDSECURE_{name}_OBJECTS": folder_url(zone / "objects"),
    }
    done = sweep(zone / "elsewhere", *zone_option(zone), *HOUR, env=told)
    assert (done.exit_code, done.stdout[:17]) == (0, "Removed 2 objects"), done.output
