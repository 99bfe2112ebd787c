"""A zone's key is on the disk, name and all, before anybody can know it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from gridsecure.errors import StorageError
from gridsecure.zone_keys import SIGNING_KEY, load_secret, load_signing_key

SECRET = b"secret " * 5


class Synchronised:
    """Notes what is brought to the disk, and what the key's file looked like then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[tuple[str, bool]] = []
        self.files: list[tuple[int, int]] = []
        self.open: list[int] = []
        self.fsync = os.fsync

    def __call__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            assert os.path.samestat(status, self.path.parent.stat())
            self.seen.append(("folder", self.path.exists()))
        else:
            self.files.append((status.st_dev, status.st_ino))
            self.seen.append(("file", self.path.exists()))
        self.open.append(descriptor)
        self.fsync(descriptor)


@pytest.fixture
def watched(tmp_path, monkeypatch) -> Synchronised:
    made = Synchronised(tmp_path / "zone" / "a.key")
    made.path.parent.mkdir()
    monkeypatch.setattr(os, "fsync", made)
    return made


def test_the_file_and_then_the_folder_with_its_name_are_synchronised(watched):
    assert load_secret(watched.path, lambda: SECRET) == SECRET
    assert watched.seen == [("file", False), ("folder", True)]
    status = watched.path.stat()
    assert watched.files == [(status.st_dev, status.st_ino)], "the very file that has the name"
    assert stat.S_IMODE(status.st_mode) == 0o600


def test_no_descriptor_stays_open(watched):
    load_secret(watched.path, lambda: SECRET)
    for descriptor in watched.open:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_key_that_is_there_is_read_and_nothing_written(watched):
    load_secret(watched.path, lambda: SECRET)
    watched.seen.clear()
    assert load_secret(watched.path, lambda: pytest.fail("it draws another")) == SECRET
    assert watched.seen == []


def test_a_folder_that_cannot_be_synchronised_gives_no_key_out(tmp_path, monkeypatch):
    """And the next start goes on with the key that is there."""
    real = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    path = tmp_path / SIGNING_KEY
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse_folders)
        with pytest.raises(StorageError) as refused:
            load_signing_key(tmp_path)
    assert refused.value.reason == "storage.folder"
    assert [one.name for one in tmp_path.iterdir()] == [SIGNING_KEY], "no partial file"
    assert load_signing_key(tmp_path).to_bytes() == path.read_bytes()
