"""JSON and Parquet bodies as cells of a long table, so that every check of a file is theirs too.

A column is its distinct values, each as the text that a file would have, and for every row which of
them. So what a cell means is decided in one place, for files and bodies alike, and once a value: a
month of moments is some thousand texts, whatever the meter points.

A number stays the digits that were sent: none becomes a binary fraction. Only Parquet's
floating-point columns are binary when they come; each is taken as the shortest decimal that stands
for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence, Set
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gridsecure.billing.readings import ReadingProblem
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.channels import CHANNEL, FACES, FACES_FED_IN
from gridsecure.gateway.column_names import is_of_hours
from gridsecure.gateway.ingestion.parquet_pages import measure_pages
from gridsecure.gateway.ingestion.unfolding import bound_of, unfolds_too_far
from gridsecure.gateway.table_text import (
    MAX_LINE_BYTES,
    MAX_READINGS,
    check_reading_count,
    no_text,
)

PARQUET: Final = b"PAR1"
HEADER_LINES: Final = 1
"""Lines that a file would have before the first of the cells."""
_ENERGIES: Final = frozenset(("kwh", "kvarh", "export_kwh", FACES, FACES_FED_IN))
_NAMES: Final = _ENERGIES | frozenset(
    ("meter_point_id", "start", CHANNEL, "quality", "unit", "values", "stamps")
)
_LONGEST_TEXT: Final = 256
_UNSAFE: Final = r'[",;\t\r\n]'
_DECODER: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
"""Numbers are the texts that stand there."""


def json_table(body: bytes) -> pd.DataFrame:
    """A JSON body as cells.

    Raises:
        InvalidReadingsError: It is no list of readings (`readings.body`).
    """
    return _cells(_objects(_parse(body), first=1))


def objects_table(text: bytes, *, first: int, names: frozenset[str] | None) -> pd.DataFrame:
    """Objects of a JSON list, without its brackets, as cells.

    Args:
        first: Number of the first of them.
        names: Columns that they have, or None for those that are found.

    Raises:
        InvalidReadingsError: They are no readings, or have other columns (`readings.body`).
    """
    try:
        readings = _DECODER.decode(f"[{text.decode()}]")
    except (ValueError, RecursionError) as error:
        raise no_table(f"The body is no JSON near reading {first}.") from error
    table = _objects(readings, first=first)
    if names is not None and not names >= set(table.column_names):
        raise no_table("Readings of a large body have all the same names, those of the first ones.")
    for name in sorted((names or frozenset()) - set(table.column_names)):
        table = table.append_column(name, pa.nulls(len(table), pa.string()))
    return _cells(table)


def _parse(body: bytes) -> list[Any]:
    """The readings of a JSON body."""
    try:
        text = body.decode()
        lines = text.strip().splitlines()
        if len(lines) > 1 and _is_object(lines[0]):
            return _parse_lines(lines)
        read = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        at = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise no_table(f"The body is no JSON{at}.") from error
    if isinstance(read, dict) and set(read) == {"readings"}:
        read = read["readings"]
    elif isinstance(read, dict):
        read = [read]
    if not isinstance(read, list):
        raise no_table("The body holds no list of readings.")
    return read


def _parse_lines(lines: Sequence[str]) -> list[Any]:
    """Objects of lines, decoded at once: a call a line takes longer than its object."""
    said = [line for line in lines if line.strip()]
    read: list[Any] = _DECODER.decode(f"[{','.join(said)}]")
    if len(read) != len(said):
        raise no_table("A line of the body holds more than one reading.")
    return read


def _is_object(line: str) -> bool:
    """Whether a line is an object in itself."""
    try:
        return isinstance(_DECODER.decode(line), dict)
    except ValueError:
        return False


def _objects(readings: Sequence[Any], *, first: int) -> pa.Table:
    if not 0 < len(readings) <= MAX_READINGS:
        raise no_table(f"A batch holds 1 to {MAX_READINGS:,} readings.")
    try:
        names = sorted(set().union(*readings))
        if _are_columns(names) and all(_is_named(one.keys()) for one in readings):
            return pa.table(
                {name: pa.array([one.get(name) for one in readings], pa.string()) for name in names}
            )
    except (TypeError, AttributeError, UnicodeEncodeError, pa.ArrowException):
        pass  # said below, with their numbers
    faulty = [number for number, one in enumerate(readings, start=first) if not _is_reading(one)]
    problems = [
        ReadingProblem("", None, "reading-shape", f"reading {number}: not as documented")
        for number in faulty[:20]
    ]
    if not faulty and {"kwh", FACES} <= set().union(*readings):
        raise InvalidReadingsError(
            "The body holds energies and faces of registers.",
            reason="readings.body",
            remedy="Send readings with kwh in one batch, and those with register_kwh in another.",
        )
    if not faulty:
        raise no_table("A text of the body is not Unicode.")
    raise InvalidReadingsError(
        f"{len(faulty):,} readings have the wrong shape; the first is number {faulty[0]}.",
        reason="readings.body",
        remedy=f"Each is an object with the names {', '.join(sorted(_NAMES))}, of which"
        " meter_point_id, start and either kwh or register_kwh must be there; values are texts or"
        " numbers.",
        problems=problems,
    )


def _is_named(names: Set[str]) -> bool:
    """Whether a reading says whose it is, when, and either an energy or a face."""
    return "meter_point_id" in names and "start" in names and ("kwh" in names) != (FACES in names)


def _are_columns(names: Collection[str]) -> bool:
    return _are_known(names) and _is_named(set(names))


def _are_known(names: Collection[str]) -> bool:
    """Whether all names are those of a long table; registers of hours stand beside a total."""
    others = set(names) - _NAMES
    return not others or (FACES in names and all(is_of_hours(name) for name in others))


def _is_reading(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and _are_known(one.keys())
        and _is_named(one.keys())
        and all(value is None or isinstance(value, str) for value in one.values())
    )


def open_parquet(file: pa.NativeFile, *, size: int) -> pq.ParquetFile:
    """A Parquet body whose columns are those of a long table, and whose counts are bounded.

    Args:
        size: Of the body [bytes].

    Raises:
        InvalidReadingsError: They are not (`readings.body`), or it unfolds too far
            (`readings.expansion`, `readings.too-many`).
    """
    try:
        about = pq.ParquetFile(file)
        names, kinds = about.schema_arrow.names, about.schema_arrow.types
        if not _are_columns(names) or len(set(names)) != len(names):
            raise no_table("The columns are not those of a long table.")
        if any(pa.types.is_nested(kind) for kind in kinds):
            raise no_table("A column holds lists or structures.")
        metadata = about.metadata
        check_reading_count(metadata.num_rows, packed=size)
        if _measured(file, metadata) > bound_of(size):
            raise unfolds_too_far()
        # Texts stay in dictionaries, so that a long one said often is no longer than once.
        return pq.ParquetFile(file, read_dictionary=names, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise _damaged() from error


def _measured(file: pa.NativeFile, metadata: pq.FileMetaData) -> int:
    try:
        return measure_pages(file, metadata)
    except ValueError as error:
        raise no_table(f"The Parquet file cannot be read within bounds: {error}.") from error


def parquet_tables(
    opened: pq.ParquetFile, *, size: int, rows: int | None
) -> Iterator[pd.DataFrame]:
    """The rows of a Parquet body as cells, so many at once.

    Args:
        size: Of the body [bytes].
        rows: Of each at most, or None for all of them at once.

    Raises:
        InvalidReadingsError: As `open_parquet`, or a value is none of a long table's
            (`readings.body`).
    """
    written = 0
    try:
        for table in [opened.read()] if rows is None else _batches(opened, rows):
            written += sum(_text_size(table[name]) for name in table.column_names)
            if written > bound_of(size):
                raise unfolds_too_far()
            yield _cells(table)
    except (pa.ArrowException, OSError) as error:
        raise _damaged() from error


def _batches(opened: pq.ParquetFile, rows: int) -> Iterator[pa.Table]:
    for batch in opened.iter_batches(batch_size=rows):
        yield pa.Table.from_batches([batch])


def _damaged() -> InvalidReadingsError:
    return no_table("The Parquet file is damaged, or holds columns that are no text.")


def _text_size(column: pa.ChunkedArray) -> int:
    """Bytes of a column once its dictionaries are written out."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(one).as_py() or 0 for one in lengths)


def _cells(table: pa.Table) -> pd.DataFrame:
    """A table as `formats.read_long_table` takes it."""
    columns = {name: _coded(table[name], name) for name in table.column_names}
    for _, texts in columns.values():
        if pc.any(pc.match_substring_regex(texts, _UNSAFE)).as_py():
            raise no_table("A value holds a quotation mark, a separator or the end of a line.")
    for _, texts in columns.values():
        if pc.any(pc.match_substring(texts, "\0")).as_py():
            raise no_text()
    first = HEADER_LINES + 1
    return pd.DataFrame(
        {name: _categories(codes, texts) for name, (codes, texts) in columns.items()},
        index=pd.RangeIndex(first, first + len(table)),
    )


def _coded(column: pa.ChunkedArray, name: str) -> tuple[NDArray[np.int64], pa.Array]:
    """Which of the column's texts stands in each row, and the texts; each stands somewhere."""
    longest = MAX_LINE_BYTES
    if pa.types.is_dictionary(column.type):
        column, longest = column.unify_dictionaries(), _LONGEST_TEXT
    else:
        column = column.dictionary_encode()
    if not column.num_chunks:
        return np.zeros(0, dtype=np.int64), pa.array([], pa.string())
    values = column.chunk(column.num_chunks - 1).dictionary
    none = len(values)
    codes = np.concatenate(
        [chunk.indices.fill_null(none).to_numpy().astype(np.int64) for chunk in column.chunks]
    )
    used = np.flatnonzero(np.bincount(codes, minlength=none + 1))
    has_nulls = bool(len(used)) and used[-1] == none
    texts = _text(values.take(pa.array(used[:-1] if has_nulls else used)), name)
    if (pc.max(pc.utf8_length(texts)).as_py() or 0) > longest:
        raise no_table(f"A text has more than {longest:,} characters.")
    if has_nulls:
        if pa.types.is_timestamp(values.type):
            raise _broken_time()
        texts = pa.concat_arrays([texts, pa.array([""])])
    places = np.zeros(none + 1, dtype=np.int64)
    places[used] = np.arange(len(used))
    return places[codes], texts


def _text(values: pa.Array, name: str) -> pa.Array:
    """Values as the texts that a file would have."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        whole = pc.floor_temporal(values, unit="second")
        if not pc.all(pc.equal(whole, values)).as_py():
            raise _broken_time()
        # Arrow writes a Z behind times of UTC, which the reader of times knows.
        return whole.cast(pa.timestamp("s", kind.tz and "UTC")).cast(pa.string())
    if pa.types.is_floating(kind) and name not in _ENERGIES and not is_of_hours(name):
        raise no_table("A column of names or times holds fractions.")
    return values.cast(pa.string())


def _broken_time() -> InvalidReadingsError:
    return no_table("A time has fractions of a second, or is missing.")


def _categories(codes: NDArray[np.int64], texts: pa.Array) -> pd.Categorical:
    """The same without blanks before the texts, as the parser of files leaves them out."""
    again = pc.utf8_ltrim(texts, " ").dictionary_encode()
    names = pd.Index(again.dictionary.to_pandas(), dtype="str")
    return pd.Categorical.from_codes(again.indices.to_numpy()[codes], names)


def no_table(message: str) -> InvalidReadingsError:
    """A body that is no table of readings (`readings.body`)."""
    return InvalidReadingsError(
        message,
        reason="readings.body",
        remedy="Send CSV, a JSON list of readings, lines of JSON or Parquet, with the columns of"
        " the long table.",
    )
