"""Readings of batches as they are kept: a Parquet file each, and a month of many put together.

The file lies by itself, or in a pack of batches that came together (`batch_packs`).

Lengths of intervals are not kept, but for daily values. A batch may be too short to show them; all
batches together do.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Protocol, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gridsecure.billing.interval_lengths import UNKNOWN_MINUTES, interval_minutes
from gridsecure.billing.meter_serials import SERIAL
from gridsecure.billing.reading_versions import keep_registers
from gridsecure.billing.readings import (
    COLUMNS,
    DAY_MINUTES,
    MINUTES_COLUMN,
    QUALITIES,
    REGISTER_COLUMNS,
    join_readings,
    neighbour_steps,
    register_columns,
    start_us,
)
from gridsecure.billing.registers import REGISTER
from gridsecure.crypto.sm3 import Sm3
from gridsecure.errors import InvalidReadingsError, StorageError
from gridsecure.gateway.ingestion.batch_packs import open_stored
from gridsecure.gateway.ingestion.batch_rules import RULES, ReadingColumns
from gridsecure.gateway.private_files import private_folder
from gridsecure.periods import BillingPeriod
from gridsecure.whole_files import DRAFT, sync_folder

RULE: Final = "rule"
"""The column with the rule that rejects a reading; empty where none does."""

COUNTED: Final = "is_counted"
"""The column that says whether faces are as registers show them, without a ratio."""

_FACES: Final = ".faces"
_TYPES: Final = {
    "energy_wh": pa.int64(),
    MINUTES_COLUMN: pa.int64(),
    COUNTED: pa.bool_(),
} | dict.fromkeys(REGISTER_COLUMNS, pa.int64())
_BLOCK: Final = 1 << 20
_COMPRESSION: Final = "zstd"

_NONE: Final[Mapping[str, int]] = {}


class Mark(Protocol):
    """Told the readings of each batch of energies in turn; may add columns."""

    def __call__(
        self, readings: pd.DataFrame, /, *, aside: Mapping[str, int] = _NONE
    ) -> pd.DataFrame:
        """The readings as they go on.

        Args:
            aside: How many more there were that do not count, by reason.
        """
        ...


def unmarked(readings: pd.DataFrame, *, aside: Mapping[str, int] = _NONE) -> pd.DataFrame:  # noqa: ARG001 - as `Mark`
    """The same readings."""
    return readings


class ReadingsWriter:
    """A batch's file while it is written, a group of rows for each frame; a draft until kept."""

    def __init__(self, folder: Path) -> None:
        """Begin a file.

        Args:
            folder: Of the batches; made when it is needed.

        Raises:
            StorageError: The disk refuses (`storage.failed`).
        """
        self._draft = private_folder(folder) / f"{DRAFT}{secrets.token_hex(8)}"
        self._sm3 = Sm3()
        with disk_errors():
            descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._digesting = _Digesting(self._file, self._sm3)
        self._sink = pa.PythonFile(self._digesting, mode="w")
        self._writer: pq.ParquetWriter | None = None
        self._kind = ""
        self._digest = ""

    def add(self, readings: pd.DataFrame) -> None:
        """Write a readings frame with `RULE`, or faces; all have the same columns.

        Raises:
            StorageError: The disk refuses (`storage.failed`).
        """
        of_faces = [name for name in (REGISTER, COUNTED, SERIAL) if name in readings]
        self._kind = _FACES if of_faces else ""
        days = _of_days(readings)
        columns = (*COLUMNS, *register_columns(readings), *of_faces, *days, RULE)
        schema = _schema(columns, str(readings["start"].dt.tz))
        arrays = [pa.Array.from_pandas(readings[one.name], type=one.type) for one in schema]
        self._write(pa.Table.from_arrays(arrays, schema=schema))

    def _write(self, table: pa.Table) -> None:
        with disk_errors():
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._sink, table.schema, compression=_COMPRESSION)
            self._writer.write_table(table)

    def finish(self) -> str:
        """Write what is left, and return its digest, by which it is named [SM3, hex].

        Raises:
            StorageError: The disk refuses (`storage.failed`).
        """
        with disk_errors():
            if self._writer is not None:
                self._writer.close()
            self._file.flush()
        self._digest = self._sm3.hexdigest()
        return self._digest

    def sync(self) -> None:
        """Make the finished file's bytes durable.

        Raises:
            StorageError: The disk refuses (`storage.failed`).
        """
        with disk_errors():
            os.fsync(self._file.fileno())

    def place(self) -> None:
        """Give the file its name, once its bytes last; `sync_batches` makes the name last.

        Raises:
            StorageError: The disk refuses (`storage.failed`).
        """
        name = batch_file(self._digest, has_faces=bool(self._kind))
        with disk_errors():
            self._draft.replace(self._draft.with_name(name))

    def keep(self) -> str:
        """Make it durable under its digest, which is returned [SM3, hex].

        Raises:
            StorageError: The disk refuses (`storage.failed`).
        """
        digest = self.finish()
        self.sync()
        self.place()
        sync_batches(self._draft.parent)
        return digest

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Leave nothing behind of a file that was not kept."""
        # The writer of Parquet ends its file whenever it goes, and so must be able to.
        self._digesting.is_given_up = True
        if self._writer is not None:
            self._writer.close()
        # What is still held goes to a file that is unlinked; a full disk says so once more.
        with suppress(OSError):
            self._file.close()
        self._draft.unlink(missing_ok=True)


def energies_file(
    readings: ReadingColumns,
    *,
    energy_wh: NDArray[np.int64],
    broken: NDArray[np.int8],
    timezone: str,
) -> bytes:
    """A file of energies alone, as `ReadingsWriter` writes one of a single frame.

    Args:
        energy_wh: Of each [Wh].
        broken: Which of `RULES` rejects each.
        timezone: What their starts are given in.
    """
    texts = (
        pa.array(names, pa.string()).take(pa.array(codes))
        for codes, names in (
            (readings.meters, readings.names),
            (readings.qualities, readings.flags),
            (broken, RULES),
        )
    )
    ids, qualities, rules = texts
    schema = _schema((*COLUMNS, RULE), timezone)
    starts = pa.array(readings.starts).view(schema.field("start").type)
    columns = [ids, starts, pa.array(energy_wh), qualities, rules]
    whole = pa.BufferOutputStream()
    with pq.ParquetWriter(whole, schema, compression=_COMPRESSION) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return whole.getvalue().to_pybytes()  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _schema(columns: tuple[str, ...], timezone: str) -> pa.Schema:
    types = _TYPES | {"start": pa.timestamp("us", timezone)}
    return pa.schema([(name, types.get(name, pa.string())) for name in columns])


def sync_batches(folder: Path) -> None:
    """Make names of files that were placed in a folder last.

    Raises:
        StorageError: The disk refuses (`storage.failed`).
    """
    with disk_errors():
        sync_folder(folder)


@dataclass(slots=True)
class _Digesting:
    """A file that is digested as it is written, until it is given up."""

    file: BinaryIO
    sm3: Sm3
    closed: bool = False
    is_given_up: bool = False

    def write(self, part: bytes) -> int:
        """Write a part."""
        if self.is_given_up:
            return len(part)
        self.sm3.update(part)
        return self.file.write(part)

    def flush(self) -> None:
        """Nothing: the file is synchronised once, at its end."""

    def tell(self) -> int:
        """How far it is written."""
        return 0 if self.is_given_up else self.file.tell()


@contextmanager
def disk_errors() -> Iterator[None]:
    """Say of readings what the disk refuses.

    Raises:
        StorageError: It does (`storage.failed`).
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The readings could not be written: {error.strerror or 'the disk refuses'}.",
            remedy="Free disk space or check the folder, then send it again.",
        ) from error


def read_batches(
    paths: Sequence[Path],
    *,
    period: BillingPeriod,
    mark: Mark = unmarked,
) -> pd.DataFrame:
    """The readings of a period that batches hold, one an interval, with `minutes`.

    Args:
        paths: At least one, in the order in which the batches came; named by their digests.

    Raises:
        StorageError: A batch is gone or was altered (`storage.read`).
    """
    return combine_batches([mark(_load(path, period)) for path in paths])


def load_parts(paths: Sequence[Path], *, period: BillingPeriod) -> list[pd.DataFrame]:
    """The readings of a period of each batch, as `combine_batches` takes them.

    Raises:
        StorageError: A batch is gone or was altered (`storage.read`).
    """
    return [_load(path, period) for path in paths]


def combine_batches(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The readings of several batches, one an interval, with `minutes`.

    Args:
        parts: At least one, in the order in which the batches came.
    """
    if any(MINUTES_COLUMN in part for part in parts):
        unstated = {MINUTES_COLUMN: np.int64(UNKNOWN_MINUTES)}
        parts = [part if MINUTES_COLUMN in part else part.assign(**unstated) for part in parts]
    kept = best_readings(parts)
    return kept.assign(minutes=_minutes(kept))


def best_readings(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Of each interval the reading of the best quality, and of equals the last one.

    A day is another interval than its first hour. A register that a reading lacks is as another
    reading of the interval says.

    Args:
        parts: Readings frames, in the order in which they count.
    """
    joined = join_readings(parts).reset_index(drop=True)
    if MINUTES_COLUMN in joined:
        is_day = (joined[MINUTES_COLUMN] == DAY_MINUTES).to_numpy(bool)
        if is_day.any() and not is_day.all():
            parts = [joined[one].reset_index(drop=True) for one in (~is_day, is_day)]
            return join_readings([_best_of_each(part) for part in parts])
    return _best_of_each(joined)


def _best_of_each(joined: pd.DataFrame) -> pd.DataFrame:
    codes, _ = pd.factorize(joined["meter_point_id"])
    order, steps = neighbour_steps(codes.astype(np.int64), start_us(joined))
    again = np.flatnonzero(steps == 0)
    if not len(again):
        return joined
    # Only readings that have others of their interval are compared: most months have none.
    several = joined.iloc[np.unique(order[[again, again + 1]])]
    quality = several["quality"].map({name: rank for rank, name in enumerate(QUALITIES[::-1])})
    ranked = several.iloc[np.argsort(quality.to_numpy(np.int64), kind="stable")]
    is_worse = ranked.duplicated(["meter_point_id", "start"], keep="last")
    kept = keep_registers(ranked, later=ranked[~is_worse])
    for column in register_columns(kept):
        joined.loc[kept.index, column] = kept[column]
    return joined.drop(index=ranked.index[is_worse]).reset_index(drop=True)


def read_edit(path: Path, *, period: BillingPeriod) -> pd.DataFrame:
    """The readings of an edit.

    Args:
        path: Named by its digest.

    Raises:
        StorageError: It is gone or was altered (`storage.read`).
    """
    return _load(path, period)


def _minutes(readings: pd.DataFrame) -> NDArray[np.int64]:
    """Lengths as all readings together tell them; unknown where not one does.

    What a batch of daily values states of its own readings stays.
    """
    if MINUTES_COLUMN in readings:
        minutes = readings[MINUTES_COLUMN].to_numpy(np.int64).copy()
        untold = minutes == UNKNOWN_MINUTES
        if untold.any():
            minutes[untold] = _minutes(readings.loc[untold].drop(columns=MINUTES_COLUMN))
        return minutes
    try:
        return interval_minutes(readings)
    except InvalidReadingsError:
        return np.zeros(len(readings), dtype=np.int64)


def _of_days(readings: pd.DataFrame) -> list[str]:
    """The column with lengths, where some are days: no distance between readings tells those."""
    is_told = MINUTES_COLUMN in readings and bool((readings[MINUTES_COLUMN] == DAY_MINUTES).any())
    return [MINUTES_COLUMN] if is_told else []


def batch_file(digest: str, *, has_faces: bool) -> str:
    """The name of a batch's file."""
    return f"{digest}{_FACES if has_faces else ''}.parquet"


def has_faces(path: Path) -> bool:
    """Whether a batch's file holds faces of registers instead of energies."""
    return path.name.endswith(f"{_FACES}.parquet")


def read_stored_faces(path: Path, *, period: BillingPeriod) -> pd.DataFrame:
    """The faces of a period that a batch holds, with `REGISTER` and `COUNTED`.

    And with `SERIAL`, but for batches of formats that give none, or of before it was kept.

    Raises:
        StorageError: It is gone or was altered (`storage.read`).
    """
    return _load(path, period)


def count_accepted(path: Path, *, period: BillingPeriod) -> tuple[int, int]:
    """How many accepted readings a batch holds of a period, and of other times.

    Args:
        path: Named by its digest.

    Raises:
        StorageError: The batch is gone or was altered (`storage.read`).
    """
    inside = total = 0
    with _opened(path) as stored:
        for group in range(stored.metadata.num_row_groups):
            part = stored.read_row_group(group, columns=["start", RULE]).to_pandas()
            starts = part.loc[part[RULE] == "", "start"]
            inside += int(((starts >= period.start) & (starts < period.end)).sum())
            total += len(starts)
    return inside, total - inside


class RejectedRow(NamedTuple):
    """A reading of a batch that a rule rejects.

    Attributes:
        number: Its place in the batch, from 1.
    """

    number: int
    meter_point_id: str
    start: datetime
    rule: str


def find_rejected(path: Path, *, after: int, limit: int) -> list[RejectedRow]:
    """Readings of a batch that a rule rejects, in its order.

    Args:
        path: Named by its digest.
        after: Number of the reading that they come behind.
        limit: At most so many.

    Raises:
        StorageError: The batch is gone or was altered (`storage.read`).
    """
    found: list[RejectedRow] = []
    begin = 0
    with _opened(path) as stored:
        for group in range(stored.metadata.num_row_groups):
            size = stored.metadata.row_group(group).num_rows
            if begin + size > after and len(found) < limit:
                rules = stored.read_row_group(group, columns=[RULE])[RULE]
                places = np.flatnonzero(pc.not_equal(rules, "").to_numpy())
                places = places[places + begin >= after][: limit - len(found)]
                if len(places):
                    found += _rejected(stored, group, places, begin=begin)
            begin += size
    return found


def _rejected(
    stored: pq.ParquetFile, group: int, places: NDArray[np.int64], *, begin: int
) -> list[RejectedRow]:
    columns = ["meter_point_id", "start", RULE]
    part = stored.read_row_group(group, columns=columns).take(places)
    values = (part[name].to_pylist() for name in columns)
    return list(map(RejectedRow, (places + begin + 1).tolist(), *values))


def count_rows(paths: Sequence[Path], *, period: BillingPeriod) -> int:
    """How many readings batches hold in groups that have some of a period, before any is read."""
    return sum(_rows(path, period) for path in paths)


def _load(path: Path, period: BillingPeriod) -> pd.DataFrame:
    """Readings of a period; of a batch of many months no more than the groups that have some."""
    with _opened(path) as stored:
        groups = _groups(stored, period) or [0]
        parts = [_counting(stored, group, period) for group in groups]
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A batch's file, once its bytes were compared with its name."""
    try:
        with open_stored(path) as file:
            if _digest(file) != path.name.partition(".")[0]:
                raise _unreadable()
            file.seek(0)
            yield pq.ParquetFile(file)
    except (OSError, ValueError) as error:
        raise _unreadable() from error


def _digest(file: BinaryIO) -> str:
    sm3 = Sm3()
    while block := file.read(_BLOCK):
        sm3.update(block)
    return sm3.hexdigest()


def _groups(stored: pq.ParquetFile, period: BillingPeriod) -> list[int]:
    """Groups of rows that have readings of a period, by their statistics."""
    metadata = stored.metadata
    column = stored.schema_arrow.names.index("start")
    found = []
    for number in range(metadata.num_row_groups):
        known = metadata.row_group(number).column(column).statistics
        if (
            known is None
            or not known.has_min_max
            or (known.min < period.end and known.max >= period.start)
        ):
            found.append(number)
    return found


def _counting(stored: pq.ParquetFile, group: int, period: BillingPeriod) -> pd.DataFrame:
    readings = stored.read_row_group(group)
    starts, kind = readings["start"], readings["start"].type
    counts = pc.equal(readings[RULE], "")
    counts = pc.and_(counts, pc.greater_equal(starts, pa.scalar(period.start, kind)))
    counts = pc.and_(counts, pc.less(starts, pa.scalar(period.end, kind)))
    found: pd.DataFrame = readings.drop_columns([RULE]).filter(counts).to_pandas()
    return found.astype({"meter_point_id": "str"})


def _rows(path: Path, period: BillingPeriod) -> int:
    try:
        with open_stored(path) as file, pq.ParquetFile(file) as stored:
            groups = _groups(stored, period)
            return sum(int(stored.metadata.row_group(group).num_rows) for group in groups)
    except (OSError, ValueError) as error:
        raise _unreadable() from error


def _unreadable() -> StorageError:
    return StorageError(
        "A batch of readings is gone, or is not the one that was taken in.",
        reason="storage.read",
        remedy="Restore the gateway's folder from its backup.",
    )
