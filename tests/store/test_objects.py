"""Objects appear whole or not at all, under the digest of what they hold."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, NotFoundError, StorageError
from gridsecure.store.objects import ObjectStore

SOURCES = Path(__file__).parents[2] / "src"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


def files(store: ObjectStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def start_python(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env={"PYTHONPATH": str(SOURCES)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@given(data=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_put_is_got(store: ObjectStore, data: bytes) -> None:
    digest = store.put(data)
    assert digest == sm3_hex(data)
    assert store.put(data) == digest
    assert store.get(digest) == data
    assert store.has(digest)
    assert store.size(digest) == len(data)


def test_a_wrong_digest_is_found_out_by_who_reads(store: ObjectStore) -> None:
    assert store.put(b"column", digest=sm3_hex(b"column")) == store.put(b"column")
    store.put(b"column", digest=sm3_hex(b"another"))
    with pytest.raises(AuditBrokenError):
        store.get(sm3_hex(b"another"))
    with pytest.raises(NotFoundError):
        store.put(b"column", digest="../escaped")
    assert not (store.root.parent / "escaped").exists()


def test_the_same_bytes_are_stored_once(store: ObjectStore) -> None:
    digest = store.put(b"column")
    written = files(store)[0].stat().st_mtime_ns
    store.put(b"column")
    assert len(files(store)) == 1
    assert files(store)[0].stat().st_mtime_ns == written
    assert files(store)[0].relative_to(store.root) == Path(digest[:2], digest[2:])


@pytest.mark.parametrize(
    "name",
    [
        "0" * 64,
        "",
        "..",
        "../../etc/passwd",
        "0" * 63,
        "0" * 65,
        "A" * 64,
        "0" * 64 + "\n",
        "é" * 64,
    ],
)
def test_other_names_are_not_found(store: ObjectStore, name: str) -> None:
    store.put(b"column")
    assert not store.has(name)
    for ask in (store.get, store.size):
        with pytest.raises(NotFoundError) as refused:
            ask(name)
        assert refused.value.reason == "not-found.object"


@pytest.mark.parametrize("damaged", [b"", b"colums", b"column!", b"colum"])
def test_damage_is_reported_and_healed_by_the_original(store: ObjectStore, damaged: bytes) -> None:
    digest = store.put(b"column")
    files(store)[0].write_bytes(damaged)
    with pytest.raises(AuditBrokenError) as refused:
        store.get(digest)
    assert refused.value.reason == "audit.object"
    assert digest in str(refused.value)
    store.put(b"column")
    assert store.get(digest) == b"column"


@pytest.mark.parametrize("step", ["fsync", "replace", "mkdir"])
def test_a_full_disk_leaves_nothing(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store.put(b"earlier")

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, full)
        with pytest.raises(StorageError) as refused:
            store.put(b"later")
    assert refused.value.reason == "storage.write"
    assert "No space left" in str(refused.value)
    assert not store.has(sm3_hex(b"later"))
    assert [path.read_bytes() for path in files(store)] == [b"earlier"]
    assert store.get(store.put(b"later")) == b"later"


def test_a_disk_that_ends_in_mid_file_leaves_nothing(store: ObjectStore) -> None:
    """A real limit of the operating system, met after half the object was written."""
    script = """
        import resource, sys
        from pathlib import Path
        from gridsecure.errors import StorageError
        from gridsecure.store.objects import ObjectStore
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            ObjectStore(Path(sys.argv[1])).put(bytes(100_000))
        except StorageError as refused:
            print(refused.reason)
    """
    process = start_python(script, str(store.root))
    output, errors = process.communicate(timeout=60)
    assert (output.strip(), errors) == ("storage.write", "")
    assert files(store) == []


def test_a_writer_killed_before_the_rename_shows_nothing(store: ObjectStore) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from gridsecure.store.objects import ObjectStore
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        ObjectStore(Path(sys.argv[1])).put(b"column")
    """
    process = start_python(script, str(store.root))
    process.communicate(timeout=60)
    assert process.returncode == -9
    digest = sm3_hex(b"column")
    assert not store.has(digest)
    with pytest.raises(NotFoundError):
        store.get(digest)
    (left,) = files(store)
    now = datetime.fromtimestamp(left.stat().st_mtime, UTC)
    assert store.sweep(before=now - timedelta(hours=1)) == 0
    assert store.put(b"column") == digest
    assert store.sweep(before=now + timedelta(hours=1)) == 1
    assert store.get(digest) == b"column"
    assert len(files(store)) == 1


def test_sweeping_leaves_files_whose_writer_finishes_meanwhile(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(b"column")
    vanished = files(store)[0].with_name(".draft-x")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([vanished]))
    assert store.sweep(before=datetime(2100, 1, 1, tzinfo=UTC)) == 0


def test_concurrent_writers_of_the_same_objects_agree(store: ObjectStore) -> None:
    script = """
        import sys
        from pathlib import Path
        from gridsecure.store.objects import ObjectStore
        store = ObjectStore(Path(sys.argv[1]))
        for number in range(60):
            data = number.to_bytes(4, "big") * 5000
            assert store.get(store.put(data)) == data
    """
    writers = [start_python(script, str(store.root)) for _ in range(3)]
    for writer in writers:
        assert writer.communicate(timeout=60) == ("", "")
        assert writer.returncode == 0
    assert len(files(store)) == 60
    assert not list(store.root.rglob(".draft-*"))


def test_unreadable_objects_are_a_storage_error(store: ObjectStore) -> None:
    digest = store.put(b"column")
    path = files(store)[0]
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError) as refused:
        store.get(digest)
    assert refused.value.reason == "storage.read"
    assert not store.has(digest)


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "objects").write_bytes(b"")
    store = ObjectStore(tmp_path / "objects")
    with pytest.raises(StorageError) as unwritten:
        store.put(b"column")
    assert unwritten.value.reason == "storage.write"
    for ask in (store.get, store.size):
        with pytest.raises(StorageError) as unread:
            ask(sm3_hex(b"column"))
        assert unread.value.reason == "storage.read"
