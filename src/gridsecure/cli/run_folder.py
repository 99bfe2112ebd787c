"""The folder of a run, and what it keeps of itself: settings, and how far it came.

A run holds a lock of its folder for as long as its process lives, however that ends. So a second
one can tell a run that is at work, or served, from one that was stopped half-way.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from gridsecure.builds import measure_build
from gridsecure.cli.meters import DEFAULT_MONTH
from gridsecure.cli.run_order import RunMeters
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError, StorageError
from gridsecure.whole_files import replace_file

RECORD: Final = "run.json"
LOCK: Final = "run.lock"


class RunRecord(BaseModel):
    """How far a run came.

    Args:
        settings: Digest of what was to be billed.
        build: Digest of the software that began it.
        wanted: How many months were to be billed.
        months: Those that were, YYYY-MM, the earliest first.
        meters: How many meter points it has.
        bills: How many bills were compared with the oracle.
        mismatches: How many of them differ.
        is_finished: Whether all is there that a served run needs.
        dashboard: Where it was last served.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: str
    build: str
    wanted: int
    months: tuple[str, ...] = ()
    meters: int = 0
    bills: int = 0
    mismatches: int = 0
    is_finished: bool = False
    dashboard: str = ""

    @property
    def text(self) -> str:
        """What it is, for people."""
        if not self.is_finished:
            return f"stopped after {len(self.months)} of {self.wanted} months"
        first, last = self.months[0], self.months[-1]
        named = f"month {last}" if first == last else f"months {first} to {last}"
        return (
            f"{self.meters:,} meter points, {named}, {self.bills:,} bills, "
            f"{self.mismatches:,} mismatches"
        )

    def write(self, folder: Path) -> None:
        """Write it into a run's folder.

        Raises:
            StorageError: The disk refuses (`run.folder`).
        """
        try:
            replace_file(folder / RECORD, [self.model_dump_json(indent=1).encode()])
        except OSError as error:
            raise _refused(folder, error) from error


@dataclass(frozen=True, slots=True)
class FoundRun:
    """An earlier run of the same settings.

    Args:
        is_open: Whether its process still lives.
    """

    folder: Path
    record: RunRecord
    is_open: bool


def begin_record(meters: RunMeters) -> RunRecord:
    """The record of a run that is about to begin.

    Raises:
        InputError: A file that was given cannot be read (`run.file`).
    """
    settings = {
        "meters": meters.meters,
        "readings": [_digest(path) for path in meters.readings],
        "contract": "" if meters.contract is None else _digest(meters.contract),
        "tariff": meters.tariff,
        "month": meters.month or ("" if meters.readings else DEFAULT_MONTH),
        "months": meters.months,
    }
    build = sm3_hex(measure_build().model_dump_json().encode())
    return RunRecord(
        settings=sm3_hex(json.dumps(settings).encode()), build=build, wanted=meters.months
    )


def find_run(parent: Path, *, like: RunRecord) -> FoundRun | None:
    """The earlier run that a second one of the same settings is told of.

    Args:
        parent: Where runs' folders are.
        like: The record that the second one begins with.

    Returns:
        One of the same software that is open or finished, if there is one, the newest; or else the
        newest of all.
    """
    found = [run for run in _runs(parent) if run.record.settings == like.settings]
    own = [run for run in found if run.record.build == like.build]
    useful = [run for run in own if run.is_open] + [run for run in own if run.record.is_finished]
    return next(iter(useful + found), None)


def _runs(parent: Path) -> Iterator[FoundRun]:
    """Every run below a folder that this user can read, the newest first."""
    for path in sorted(parent.glob(f"*/{RECORD}"), reverse=True):
        with suppress(OSError, ValidationError):
            record = RunRecord.model_validate_json(path.read_bytes())
            with hold_run(path.parent) as is_held:
                is_open = not is_held
            yield FoundRun(path.parent, record, is_open)


@contextmanager
def hold_run(folder: Path) -> Iterator[bool]:
    """Hold a run's folder until the block ends; whether nobody else does.

    Raises:
        OSError: The disk refuses, or the folder is another user's.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)  # and the lock with it


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _digest(path: Path) -> str:
    try:
        return sm3_hex(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be read.",
            reason="run.file",
            remedy=f"Give a file that is there and may be read ({error.strerror}).",
        ) from error


@dataclass(slots=True)
class RunFolder:
    """The folder of a run that this process holds.

    Args:
        record: How far the run came, as it stands in the folder.
        is_kept: Whether it stays.
    """

    path: Path
    record: RunRecord
    is_kept: bool = False

    def note(self, **changed: Any) -> None:
        """Write down how far the run came.

        Raises:
            StorageError: The disk refuses (`run.folder`).
        """
        self.record = self.record.model_copy(update=changed)
        self.record.write(self.path)


@contextmanager
def new_folder(parent: Path, record: RunRecord, *, now: datetime) -> Iterator[RunFolder]:
    """Make a run's folder, and take it away when the block ends before it is said to be kept.

    Args:
        parent: Where it is made.
        now: The present, aware.

    Raises:
        StorageError: The folder cannot be written (`run.folder`).
    """
    path = parent / now.strftime("%Y%m%d-%H%M%S")
    above = [place for place in path.parents if not place.exists()]
    try:
        path = _made(path)
    except OSError as error:
        raise _refused(path, error) from error
    folder = RunFolder(path, record)
    with hold_run(path):
        try:
            folder.note()
            yield folder
        finally:
            if not folder.is_kept:
                _take_away(path, [path, *above])


def _made(path: Path) -> Path:
    """A new folder of that name, or with a number behind it where another run was as fast."""
    for number in itertools.count(2):
        with suppress(FileExistsError):
            path.mkdir(parents=True, mode=0o700)
            return path
        path = path.with_name(f"{path.name[:15]}-{number}")
    raise AssertionError("counting has no end")


def _take_away(folder: Path, made: list[Path]) -> None:
    """Remove what is in the folder but logs that say something, and what is then empty."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log" or path.stat().st_size == 0:
            path.unlink()
    with suppress(OSError):
        for place in made:
            place.rmdir()


def _refused(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The run's folder {folder} cannot be written.",
        reason="run.folder",
        remedy=f"Choose another place with --home ({error.strerror}).",
    )
