"""Objects that come together lie together, and what a killed process leaves is in nobody's way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from gridsecure.compute import containers
from gridsecure.compute.containers import PlatformObjects, Swept
from gridsecure.compute.tables import SCHEMA, ExtentRow, StoredRow
from gridsecure.compute.tallies import STORED_BYTES, read_tallies
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, ConflictError, NotFoundError, StorageError
from gridsecure.frames import split_frames
from gridsecure.store import objects as objects_module
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.objects import (
    CONTAINER,
    ObjectStore,
    folder_url,
    open_objects,
    store_as_made,
    store_together,
)
from gridsecure.store.schema import migrate
from tests.processes_beside import BESIDE

DAY = {sm3_hex(data): data for data in (b"first", b"second", b"third" * 1000)}
MORE = {sm3_hex(data): data for data in (b"fourth", b"fifth")}
LATER = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def stored_bytes(objects: PlatformObjects) -> int:
    with read_session(objects._engine) as session:
        return read_tallies(session)[STORED_BYTES]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    migrate(made, SCHEMA)
    yield made
    made.dispose()


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    is_file = request.param == "file"
    return open_objects(folder_url(tmp_path) if is_file else request.getfixturevalue("s3_url"))


@pytest.fixture
def objects(store: ObjectStore, engine: Engine) -> PlatformObjects:
    return PlatformObjects(store, engine)


@pytest.fixture
def small(engine: Engine) -> PlatformObjects:
    """In memory: what lies where is the same in every store."""
    return PlatformObjects(open_objects("memory://"), engine)


def names(objects: PlatformObjects) -> list[str]:
    return sorted(one.digest for one in objects.store.list_stored())


def damage(objects: PlatformObjects, name: str, data: bytes) -> None:
    objects.store._backend._overwrite(f"{name[:2]}/{name[2:]}", data)


def test_what_comes_together_is_one_object_and_read_in_parts(objects: PlatformObjects) -> None:
    objects.put_together(DAY)
    assert objects.put(b"alone") == sm3_hex(b"alone")
    container, alone = sorted(names(objects), key=len, reverse=True)
    assert (container[-len(CONTAINER) :], alone) == (CONTAINER, sm3_hex(b"alone"))
    for digest, data in (DAY | {alone: b"alone"}).items():
        assert objects.has(digest)
        assert objects.get(digest) == data
        assert objects.size(digest) == len(data)
    assert objects.list_missing([*MORE, *DAY]) == list(MORE)
    assert stored_bytes(objects) == sum(one.size for one in objects.store.list_stored())
    for absent in (*MORE, container, "..", ""):
        assert not objects.has(absent)
        with pytest.raises(NotFoundError):
            objects.get(absent)


def test_an_index_could_be_made_anew_from_a_container(small: PlatformObjects) -> None:
    small.put_together(DAY)
    (container,) = names(small)
    framed = small.store._backend.read(f"{container[:2]}/{container[2:]}")
    assert {sm3_hex(data): data for data in split_frames(framed)} == DAY
    assert container == sm3_hex("".join(DAY).encode()) + CONTAINER


def test_what_is_here_is_not_stored_again(small: PlatformObjects) -> None:
    small.put_together(DAY)
    small.put_together(DAY)
    assert len(names(small)) == 1
    small.put_together(DAY | MORE)
    assert len(names(small)) == 2
    assert len({extent.container for extent in small.find_extents(DAY | MORE).values()}) == 2


def test_no_object_can_take_the_name_of_a_container(small: PlatformObjects) -> None:
    """Its bytes could be chosen so, if a container's name were a digest like any other."""
    small.put_together(DAY)
    small.put("".join(DAY).encode())
    assert {digest: small.get(digest) for digest in DAY} == DAY


def test_what_is_put_alone_is_found_by_its_name_though_a_container_has_it(
    small: PlatformObjects,
) -> None:
    """Or a gateway could hide a published tariff from the workers: as a column of its own."""
    small.put_together(DAY)
    digest = small.put(b"first")
    assert small.store.get(digest) == small.get(digest) == b"first"
    small.put_together(DAY)
    assert len(names(small)) == 2


@pytest.mark.parametrize("again", ["alone", "together", "otherwise"])
def test_damage_is_reported_and_healed_by_the_original(small: PlatformObjects, again: str) -> None:
    small.put_together(DAY)
    (container,) = names(small)
    damage(small, container, b"\0" * 40)
    for digest in DAY:
        with pytest.raises(AuditBrokenError) as refused:
            small.get(digest)
        assert refused.value.reason == "audit.object"
    if again == "alone":
        for data in DAY.values():
            small.put(data)
    else:
        small.put_together(DAY if again == "together" else MORE | DAY)
    assert {digest: small.get(digest) for digest in DAY} == DAY


def test_a_container_that_was_taken_away_is_missed_and_sent_again(small: PlatformObjects) -> None:
    small.put_together(DAY)
    small.store.remove(list(small.store.list_stored()))
    assert small.list_missing(list(DAY)) == list(DAY)
    small.put_together(DAY)
    assert small.list_missing(list(DAY)) == []
    assert {digest: small.get(digest) for digest in DAY} == DAY


# --- sweeping -----------------------------------------------------------------------------------


def test_a_sweep_takes_what_is_old_and_named_by_no_row(objects: PlatformObjects) -> None:
    objects.put_together(DAY)
    objects.put(b"alone")
    named = names(objects)
    store_together(objects.store, MORE)
    orphan = objects.store.put(b"orphan")
    (more,) = (one for one in objects.store.list_stored() if one.digest not in [*named, orphan])
    found = Swept(2, more.size + len(b"orphan"))
    assert objects.sweep(before=now() - LATER, dry_run=False) == Swept(0, 0)
    assert objects.sweep(before=now() + LATER, dry_run=True) == found
    assert len(names(objects)) == 4
    assert objects.sweep(before=now() + LATER, dry_run=False) == found
    assert names(objects) == named
    assert objects.sweep(before=now() + LATER, dry_run=False) == Swept(0, 0)
    objects.put_together(MORE)
    assert {digest: objects.get(digest) for digest in DAY | MORE} == DAY | MORE


def test_a_store_of_another_zone_is_not_swept(small: PlatformObjects) -> None:
    orphan = small.store.put(b"orphan")
    for named in ((), (b"named",)):  # by an empty database, and by one of another store
        for data in named:
            small.put(data)
            small.store.remove([s for s in small.store.list_stored() if s.digest != orphan])
        with pytest.raises(ConflictError) as refused:
            small.sweep(before=now() + LATER, dry_run=False)
        assert refused.value.reason == "objects.zone"
    assert names(small) == [orphan]


def test_a_store_of_a_zone_with_the_same_tariff_is_not_swept(small: PlatformObjects) -> None:
    small.put(b"tariff")
    small.put_together(DAY)
    small.put_together(MORE)
    (tariff,) = (one for one in small.store.list_stored() if one.size == len(b"tariff"))
    small.store.remove([one for one in small.store.list_stored() if one != tariff])
    orphan = small.store.put(b"orphan")
    with pytest.raises(ConflictError) as refused:
        small.sweep(before=now() + LATER, dry_run=False)
    assert refused.value.reason == "objects.zone"
    assert names(small) == sorted([tariff.digest, orphan])


def test_a_container_whose_parts_all_lie_elsewhere_is_swept(small: PlatformObjects) -> None:
    small.put_together(DAY)
    (container,) = names(small)
    damage(small, container, b"")
    small.put_together(MORE | DAY)
    size = stored_bytes(small)
    assert small.sweep(before=now() + LATER, dry_run=False) == Swept(1, 0)
    assert container not in names(small)
    assert stored_bytes(small) < size
    assert {digest: small.get(digest) for digest in DAY} == DAY


def test_more_than_one_portion_is_swept(
    small: PlatformObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "_SWEPT_AT_ONCE", 2)
    for number in range(7):
        small.store.put(bytes([number]))
    small.put(b"kept")
    assert small.sweep(before=now() + LATER, dry_run=False) == Swept(7, 7)
    assert names(small) == [sm3_hex(b"kept")]


def test_what_a_sweep_takes_before_it_is_named_is_stored_again(
    small: PlatformObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left by a killed process, stored again, and swept before the rows are written."""
    small.put(b"named")
    store_together(small.store, DAY)

    def swept_meanwhile(store: ObjectStore, together: dict[str, bytes]) -> object:
        monkeypatch.undo()
        extents = store_together(store, together)
        assert small.sweep(before=now() + LATER, dry_run=False).objects == 1
        return extents

    monkeypatch.setattr(containers, "store_together", swept_meanwhile)
    small.put_together(DAY)
    assert {digest: small.get(digest) for digest in DAY} == DAY


def test_what_a_job_makes_is_stored_as_it_is_made(
    small: PlatformObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container is written before the next output is made, so that no job holds them all."""
    monkeypatch.setattr(objects_module, "_HELD_BYTES", 8)
    stored: list[int] = []

    def make() -> Iterator[tuple[str, bytes]]:
        for made in (DAY | MORE).items():
            stored.append(len(list(small.store.list_stored())))
            yield made

    extents = store_as_made(small.store, make())
    assert stored == [0, 0, 1, 2, 2]  # the second one fills a container, as the third does alone
    with write_session(small._engine) as session:
        small.name_extents(session, extents)
    assert {digest: small.get(digest) for digest in DAY | MORE} == DAY | MORE
    assert small.sweep(before=now() + LATER, dry_run=True) == Swept(0, 0)


def test_a_job_whose_outputs_were_swept_is_told_to_run_again(small: PlatformObjects) -> None:
    small.put(b"named")
    extents = store_together(small.store, DAY)
    small.sweep(before=now() + LATER, dry_run=False)
    with pytest.raises(StorageError) as refused, write_session(small._engine) as session:
        small.name_extents(session, extents)
    assert refused.value.reason == "storage.swept"
    assert small.list_missing(list(DAY)) == list(DAY)


# --- killed processes ---------------------------------------------------------------------------

STEPS = {
    "before the draft is whole": "os.fsync",
    "before it has its name": "Path.replace",
    "before its name is durable": "object_folder.sync_folder",
    "before a row is written": "PlatformObjects.name_extents",
    "between the rows": "containers.delete",
    "before the rows are durable": "Session.commit",
    "in a sweep, before it removes": "ObjectStore.remove",
    "in a sweep, before its rows are gone": "containers.delete",
}


def killed_at(step: str, url: str, database: str, environment: Mapping[str, str]) -> None:
    """In a process of its own: end like a machine that loses power."""
    from sqlalchemy.orm import SessionTransaction  # noqa: PLC0415

    from gridsecure.store import object_folder  # noqa: PLC0415

    os.environ.update(environment)

    def die(*_args: object, **_kwargs: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    holders = {
        "os.fsync": (os, "fsync"),
        "Path.replace": (Path, "replace"),
        "object_folder.sync_folder": (object_folder, "sync_folder"),
        "PlatformObjects.name_extents": (PlatformObjects, "name_extents"),
        "containers.delete": (containers, "delete"),
        "Session.commit": (SessionTransaction, "commit"),
        "ObjectStore.remove": (ObjectStore, "remove"),
    }
    objects = PlatformObjects(open_objects(url), open_database(database))
    holder, name = holders[STEPS[step]]
    setattr(holder, name, die)
    if "sweep" in step:
        objects.sweep(before=now() + LATER, dry_run=False)
    else:
        objects.put_together(DAY)


ON_FILES = ("os.fsync", "Path.replace", "object_folder.sync_folder")
PLACES = [("file", step) for step in STEPS] + [
    ("s3 and postgresql", step) for step, where in STEPS.items() if where not in ON_FILES
]


@pytest.mark.parametrize(("kind", "step"), PLACES)
def test_a_process_killed_at_any_step_leaves_garbage_only(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, step: str
) -> None:
    url, database = folder_url(tmp_path / "objects"), f"sqlite:///{tmp_path / 'zone.db'}"
    if kind != "file":
        url, database = (request.getfixturevalue(name) for name in ("s3_url", "postgres_url"))
    engine = open_database(database)
    migrate(engine, SCHEMA)
    objects = PlatformObjects(open_objects(url), engine)
    objects.put_together(MORE)
    if "sweep" in step:
        store_together(objects.store, DAY)
    process = BESIDE.Process(target=killed_at, args=(step, url, database, dict(os.environ)))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert objects.list_missing([*DAY, *MORE]) == list(DAY)
    with read_session(engine) as session:
        assert len(session.exec(select(ExtentRow)).all()) == len(MORE)
        assert len(session.exec(select(StoredRow)).all()) == 1
    assert objects.sweep(before=now() + LATER, dry_run=False).objects <= 1
    assert len(names(objects)) == 1
    objects.put_together(DAY)
    assert {digest: objects.get(digest) for digest in DAY | MORE} == DAY | MORE
    engine.dispose()
