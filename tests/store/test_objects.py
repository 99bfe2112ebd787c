"""Objects appear whole or not at all under their digest, wherever they are kept."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import obstore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obstore.store import LocalStore

from gridsecure.compute.jobs import WorkerPool
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, InputError, NotFoundError, StorageError
from gridsecure.plans.key_ring import KnownKeys
from gridsecure.store.object_bucket import RETRIES, ObjectBucket
from gridsecure.store.objects import Extent, ObjectStore, folder_url, open_objects
from tests.postgres_server import free_port
from tests.s3_server import SECRET, S3Server

SOURCES = Path(__file__).parents[2] / "src"


@pytest.fixture(params=["file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        return open_objects(request.getfixturevalue("s3_url"))
    return open_objects("memory://" if request.param == "memory" else folder_url(tmp_path / "o b"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def folder(root: Path) -> ObjectStore:
    return open_objects(folder_url(root))


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def replace_bytes(store: ObjectStore, digest: str, data: bytes) -> None:
    """What damages an object, or whoever may write there."""
    name = f"{digest[:2]}/{digest[2:]}"
    if store.url.startswith("file:"):
        (store._backend.root / name).write_bytes(data)
    else:
        obstore.put(store._backend._store, name, data)


def start_python(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env={"PYTHONPATH": str(SOURCES)}
        | {name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- whatever the store is ----------------------------------------------------------------------


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


def test_the_same_bytes_are_stored_once(store: ObjectStore) -> None:
    digest = store.put(b"column")
    (first,) = store.list_stored()
    assert (first.digest, first.size) == (digest, 6)
    store.put(b"column")
    assert list(store.list_stored()) == [first]


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
    replace_bytes(store, digest, damaged)
    with pytest.raises(AuditBrokenError) as refused:
        store.get(digest)
    assert refused.value.reason == "audit.object"
    assert digest in str(refused.value)
    store.put(b"column")
    assert store.get(digest) == b"column"


def test_a_part_is_read_alone_and_checked(store: ObjectStore) -> None:
    container = store.put(b"one" + b"another" + b"")
    second = Extent(sm3_hex(b"another"), container, offset=3, length=7)
    assert store.get_extent(second) == b"another"
    assert store.get_extent(Extent(sm3_hex(b""), container, offset=3, length=0)) == b""
    assert store.get_extent(Extent(container, container, offset=0, length=10)) == b"oneanother"
    for damaged in (b"oneanathereiou", b"oneanoth", b"on", b""):
        replace_bytes(store, container, damaged)
        with pytest.raises(AuditBrokenError) as refused:
            store.get_extent(second)
        assert refused.value.reason == "audit.object"
    with pytest.raises(NotFoundError) as absent:
        store.get_extent(Extent(second.digest, "0" * 64, offset=3, length=7))
    assert absent.value.reason == "not-found.object"


def test_what_is_removed_is_gone_and_may_be_gone_already(store: ObjectStore) -> None:
    kept, gone = store.put(b"kept"), store.put(b"gone")
    (listed,) = (one for one in store.list_stored() if one.digest == gone)
    store.remove([listed])
    store.remove([listed])
    assert not store.has(gone)
    assert store.get(kept) == b"kept"
    assert store.get(store.put(b"gone")) == b"gone"


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_concurrent_writers_of_the_same_objects_agree(
    kind: str, root: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("s3_url") if kind == "s3" else folder_url(root)
    script = """
        import sys
        from gridsecure.store.objects import open_objects
        store = open_objects(sys.argv[1])
        for number in range(20):
            data = number.to_bytes(4, "big") * 5000
            assert store.get(store.put(data)) == data
    """
    writers = [start_python(script, url) for _ in range(3)]
    for writer in writers:
        assert writer.communicate(timeout=60) == ("", "")
        assert writer.returncode == 0
    assert len(list(open_objects(url).list_stored())) == 20


# --- URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "objects",
        "/var/objects",
        "file://server/objects",
        "file://",
        "s3://",
        "memory://name",
        "https://bucket/x",
        "s3://[bucket",
        f"s3://key:{SECRET}@bucket/x",
        f"az://container/x?sig={SECRET}",
        f"gs://bucket/x#{SECRET}",
    ],
)
def test_other_urls_and_urls_with_secrets_are_refused(url: str) -> None:
    with pytest.raises(InputError) as refused:
        open_objects(url)
    assert refused.value.reason == "objects.url"
    assert SECRET not in str(refused.value)


def test_a_store_says_where_it_is_and_no_secret(s3_url: str) -> None:
    store = open_objects(s3_url)
    assert repr(store) == f"ObjectStore({s3_url!r})"
    assert SECRET not in repr(vars(store)) + repr(vars(store._backend))


def test_an_environment_that_says_too_little_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StorageError) as refused:
        open_objects("az://container/x")
    assert refused.value.reason == "storage.settings"


def test_google_and_azure_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "grid")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "Z3JpZA==")
    for url in ("az://container/x", "gs://bucket/x"):
        assert open_objects(url).url == url


def test_workers_cannot_share_this_process_s_memory() -> None:
    with pytest.raises(InputError) as refused:
        WorkerPool(open_objects("memory://"), KnownKeys(()), workers=1)
    assert refused.value.reason == "objects.url"


# --- buckets ------------------------------------------------------------------------------------


class Unwell(BaseHTTPRequestHandler):
    """A store that answers everything with one status."""

    status, asked = 503, 0

    def answer(self) -> None:
        type(self).asked += 1
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = f"<Error><Code>No</Code><AWSAccessKeyId>{SECRET}</AWSAccessKeyId></Error>".encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(body) + 9 * (self.status == 200)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)  # of an answer that is well, less than announced
        self.close_connection = True

    do_PUT = do_GET = do_HEAD = answer  # noqa: N815 - names of the library's

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def unwell(monkeypatch: pytest.MonkeyPatch, status: int) -> Iterator[ObjectStore]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unwell)
    Unwell.status, Unwell.asked = status, 0
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    told = S3Server(server.server_port, process=None).environment
    try:
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        yield open_objects("s3://bucket/x")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "reason", "attempts"),
    [
        (503, "storage.{}", 1 + RETRIES),
        (507, "storage.{}", 1 + RETRIES),
        (400, "storage.{}", 1),
        (401, "storage.denied", 1),
        (403, "storage.denied", 1),
    ],
)
def test_a_store_that_refuses_is_asked_so_often_and_told_apart(
    monkeypatch: pytest.MonkeyPatch, status: int, reason: str, attempts: int
) -> None:
    with unwell(monkeypatch, status) as store:
        asks = [
            (lambda: store.put(b"column"), "write"),
            (lambda: store.get("0" * 64), "read"),
            (lambda: list(store.list_stored()), "read"),
            (lambda: store.has("0" * 64), "read"),
        ]
        for ask, doing in asks[: 2 if attempts > 1 else None]:
            Unwell.asked = 0
            with pytest.raises(StorageError) as refused:
                ask()
            assert refused.value.reason == reason.format(doing)
            assert Unwell.asked == attempts
            assert SECRET not in "".join(map(str, (refused.value, refused.value.__cause__)))


def test_an_answer_that_breaks_off_is_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with unwell(monkeypatch, 200) as store, pytest.raises(StorageError) as refused:
        store.get("0" * 64)
    assert refused.value.reason == "storage.connection"


def test_a_store_out_of_reach_is_a_lost_connection(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_objects(s3_url).put(b"column")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{free_port()}")
        lost = open_objects(s3_url)
        for ask in (lost.put, lambda data: lost.get(sm3_hex(data))):
            with pytest.raises(StorageError) as refused:
                ask(b"column")
            assert refused.value.reason == "storage.connection"
    assert open_objects(s3_url).get(sm3_hex(b"column")) == b"column"


def test_what_is_gone_keeps_nothing_else_from_being_removed(tmp_path: Path) -> None:
    """A provider that minds, as Google's does, stops at the first one that is gone."""
    bucket = ObjectBucket("memory://")
    bucket._store = LocalStore(tmp_path)
    for name in ("00/1", "00/3"):
        bucket.write(name, b"column")
    with pytest.raises(FileNotFoundError):
        obstore.delete(bucket._store, ["00/2"])
    bucket.remove(["00/0", "00/1", "00/2", "00/3"])
    assert [*bucket.list_stored()] == []


@pytest.mark.usefixtures("s3_url")
def test_a_bucket_that_is_not_there_is_said() -> None:
    store = open_objects("s3://nowhere/x")
    for ask in (
        lambda: store.put(b"column"),
        lambda: store.get("0" * 64),
        lambda: [*store.list_stored()],
    ):
        with pytest.raises(StorageError) as refused:
            ask()
        assert "bucket" in refused.value.remedy


def test_an_object_that_vanishes_while_it_is_compared_is_written(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, read = open_objects(s3_url), ObjectBucket.read
    digest = store.put(b"column")

    def swept(bucket: ObjectBucket, name: str) -> bytes:
        bucket.remove([name])
        return read(bucket, name)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectBucket, "read", swept)
        store.put(b"column")
    assert store.get(digest) == b"column"


def test_a_store_that_cannot_write_only_what_is_absent_overwrites(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    store = open_objects(s3_url)
    digest = store.put(b"column")
    replace_bytes(store, digest, b"colums")
    assert store.get(store.put(b"column")) == b"column"


# --- folders ------------------------------------------------------------------------------------


def test_an_object_is_one_file_written_once(folder: ObjectStore, root: Path) -> None:
    digest = folder.put(b"column")
    written = files(root)[0].stat().st_mtime_ns
    folder.put(b"column")
    assert [path.relative_to(root) for path in files(root)] == [Path(digest[:2], digest[2:])]
    assert files(root)[0].stat().st_mtime_ns == written


@pytest.mark.parametrize("step", ["fsync", "replace", "mkdir"])
def test_a_full_disk_leaves_nothing(
    folder: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder.put(b"earlier")

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, full)
        with pytest.raises(StorageError) as refused:
            folder.put(b"later")
    assert refused.value.reason == "storage.write"
    assert "No space left" in str(refused.value)
    assert not folder.has(sm3_hex(b"later"))
    assert [path.read_bytes() for path in files(root)] == [b"earlier"]
    assert folder.get(folder.put(b"later")) == b"later"


def test_a_disk_that_ends_in_mid_file_leaves_nothing(folder: ObjectStore, root: Path) -> None:
    """A real limit of the operating system, met after half the object was written."""
    script = """
        import resource, sys
        from gridsecure.errors import StorageError
        from gridsecure.store.objects import open_objects
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            open_objects(sys.argv[1]).put(bytes(100_000))
        except StorageError as refused:
            print(refused.reason)
    """
    process = start_python(script, folder.url)
    output, errors = process.communicate(timeout=60)
    assert (output.strip(), errors) == ("storage.write", "")
    assert files(root) == []


def test_a_writer_killed_before_the_rename_shows_nothing(folder: ObjectStore, root: Path) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from gridsecure.store.objects import open_objects
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        open_objects(sys.argv[1]).put(b"column")
    """
    process = start_python(script, folder.url)
    process.communicate(timeout=60)
    assert process.returncode == -9
    digest = sm3_hex(b"column")
    assert not folder.has(digest)
    with pytest.raises(NotFoundError):
        folder.get(digest)
    (left,) = folder.list_stored()
    assert left.at - datetime.now(UTC) < timedelta(hours=1)
    assert folder.put(b"column") == digest
    folder.remove([left])
    assert folder.get(digest) == b"column"
    assert len(files(root)) == 1


def test_unreadable_objects_are_a_storage_error(folder: ObjectStore, root: Path) -> None:
    digest = folder.put(b"column")
    path = files(root)[0]
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError) as refused:
        folder.get(digest)
    assert refused.value.reason == "storage.read"
    assert not folder.has(digest)


def test_a_folder_that_is_a_file_is_a_storage_error(folder: ObjectStore, root: Path) -> None:
    root.write_bytes(b"")
    with pytest.raises(StorageError) as unwritten:
        folder.put(b"column")
    assert unwritten.value.reason == "storage.write"
    for ask in (folder.get, folder.size):
        with pytest.raises(StorageError) as unread:
            ask(sm3_hex(b"column"))
        assert unread.value.reason == "storage.read"
