"""The body of a batch, whatever it is written in, as the table of text that files are read from.

CSV is read as a file is. JSON, lines of JSON and Parquet hold the long layout, one object or row a
reading, under the names of its columns. They become that table first, so that every check of a file
is a check of a body, and a number stays the digits that were sent: none becomes a binary fraction.
Only Parquet's floating-point columns are binary when they come; each is taken as the shortest
decimal that stands for it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gridsecure.billing.interval_lengths import UNKNOWN
from gridsecure.billing.readings import ReadingProblem
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import ReadingsFile, read_readings
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.table_text import MAX_READINGS, check_reading_count

_PARQUET: Final = b"PAR1"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BLOCK: Final = 1 << 20
_MOST_TEXT: Final = 1 << 30
_FREE_TEXT: Final = 64 << 20
_EXPANSION: Final = 100
_ROWS_AT_ONCE: Final = 1 << 17
_NAMES: Final = frozenset(
    ("meter_point_id", "start", "kwh", "kvarh", "export_kwh", "quality", "unit", "values", "stamps")
)
_NEEDED: Final = frozenset(("meter_point_id", "start", "kwh"))
_LONGEST_TEXT: Final = 256
_ENERGIES: Final = frozenset(("kwh", "kvarh", "export_kwh"))
_UNSAFE: Final = re.compile(r'[",;\t\r\n]')
_LINE: Final = re.compile(r"\b([Ll])ine (\d+)")
_LINES: Final = re.compile(r"\b(\d[\d,]*) lines?\b")


def read_body(body: bytes, *, source: Source, timezone: str) -> ReadingsFile:
    """Read a batch.

    Args:
        body: As it was sent: CSV of any layout, a JSON list of objects or an object with the list
            `readings`, lines of JSON, or Parquet; CSV and JSON compressed by gzip or Zstandard or
            not at all.
        timezone: The gateway's, which starts are given in.

    Raises:
        InvalidReadingsError: It cannot be taken in as a whole; as `read_readings` says, or it holds
            faces of a register (`readings.registers`) or is no table (`readings.body`).
    """
    unfolded = _unfold(body)
    # Before anything is taken apart: no reading is without a line or a brace, nor a point of a
    # wide line without a comma.
    check_reading_count(max(map(unfolded.count, (b"\n", b"{"))), packed=None)
    if unfolded is not body:
        check_reading_count(min(unfolded.count(b","), MAX_READINGS), packed=len(body))
    data, is_table = _as_csv(unfolded)
    try:
        found = read_readings(
            data, timezone=source.timezone, interval=UNKNOWN, meaning=source.meaning
        )
    except InvalidReadingsError as error:
        if is_table:
            raise _by_reading(error) from error
        raise
    if source.stamps == "end" and (found.readings["minutes"] == 0).any():
        raise InvalidReadingsError(
            "A meter point has too few readings to tell where their intervals begin.",
            reason="readings.interval",
            remedy="Send two neighbouring readings of each meter point at least, or starts.",
        )
    if found.layout == "registers":
        raise InvalidReadingsError(
            "The batch holds faces of a register, and not what was used between them.",
            reason="readings.registers",
            remedy="Send energies, or hand in the whole month's faces as a file.",
        )
    starts = found.readings["start"].dt.tz_convert(timezone)
    return replace(found, readings=found.readings.assign(start=starts))


def _unfold(body: bytes) -> bytes:
    """The body without the compression that its first bytes name."""
    if body[:2] == b"\x1f\x8b":
        stream = pa.CompressedInputStream(pa.BufferReader(body), "gzip")
    elif body[:4] == _ZSTD:
        stream = pa.CompressedInputStream(pa.BufferReader(body), "zstd")
    else:
        return body
    bound = _bound(len(body))
    parts, size = [], 0
    try:
        while block := stream.read(_BLOCK):
            parts.append(block)
            size += len(block)
            if size > bound:
                raise _unfolds()
    except OSError as error:
        raise InvalidReadingsError(
            "The compressed body is damaged or cut off.",
            reason="readings.malformed",
            remedy="Compress or transfer it again.",
        ) from error
    return b"".join(parts)


def _bound(size: int) -> int:
    """What a body of a size may unfold to [bytes]."""
    return min(_MOST_TEXT, max(_FREE_TEXT, _EXPANSION * size))


def _unfolds() -> InvalidReadingsError:
    return InvalidReadingsError(
        "The body unfolds like no meter data, or to more than 1 GiB of text.",
        reason="readings.expansion",
        remedy="Send it in several batches, or without compression.",
    )


def _as_csv(body: bytes) -> tuple[bytes, bool]:
    """The body as CSV, and whether its lines are readings of something else."""
    if body[:4] == _PARQUET:
        return _write(_parquet(body)), True
    head = body[:64].lstrip()
    if head[:1] not in (b"{", b"["):
        return body, False
    return _write(_objects(_parse(body))), True


def _parse(body: bytes) -> list[Any]:
    """The readings of a JSON body."""
    try:
        text = body.decode()
        is_lines = text.lstrip()[:1] == "{" and "\n" in text.strip() and _is_whole(text)
        if is_lines:
            return [_load(line) for line in text.splitlines() if line.strip()]
        read = _load(text)
    except (ValueError, RecursionError) as error:
        at = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise _no_table(f"The body is no JSON{at}.") from error
    if isinstance(read, dict) and set(read) == {"readings"}:
        read = read["readings"]
    elif isinstance(read, dict):
        read = [read]
    if not isinstance(read, list):
        raise _no_table("The body holds no list of readings.")
    return read


def _is_whole(text: str) -> bool:
    """Whether the first line is an object in itself."""
    try:
        return isinstance(_load(text.lstrip().split("\n", 1)[0]), dict)
    except ValueError:
        return False


def _load(text: str) -> Any:
    """JSON whose numbers are the texts that stand there."""
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def _objects(readings: Sequence[Any]) -> pa.Table:
    if not 0 < len(readings) <= MAX_READINGS:
        raise _no_table(f"A batch holds 1 to {MAX_READINGS:,} readings.")
    faulty = [number for number, one in enumerate(readings, start=1) if not _is_reading(one)]
    if faulty:
        problems = [
            ReadingProblem("", None, "reading-shape", f"reading {number}: not as documented")
            for number in faulty[:20]
        ]
        raise InvalidReadingsError(
            f"{len(faulty):,} readings have the wrong shape; the first is number {faulty[0]}.",
            reason="readings.body",
            remedy=f"Each is an object with the names {', '.join(sorted(_NAMES))}, of which"
            " meter_point_id, start and kwh must be there; values are texts or numbers.",
            problems=problems,
        )
    names = sorted(set().union(*readings))
    return pa.table(
        {name: pa.array([one.get(name) for one in readings], pa.string()) for name in names}
    )


def _is_reading(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and one.keys() <= _NAMES
        and one.keys() >= _NEEDED
        and all(value is None or isinstance(value, str) for value in one.values())
    )


def _parquet(body: bytes) -> pa.Table:
    """The rows of a Parquet body as text."""
    try:
        # Texts stay in dictionaries, so that a long one said often is no longer than once.
        about = pq.ParquetFile(io.BytesIO(body))
        names, kinds = about.schema_arrow.names, about.schema_arrow.types
        if set(names) - _NAMES or not set(names) >= _NEEDED or len(set(names)) != len(names):
            raise _no_table("The columns are not those of a long table.")
        if any(pa.types.is_nested(kind) for kind in kinds):
            raise _no_table("A column holds lists or structures.")
        _check_unfolded(about.metadata, size=len(body))
        table = pq.ParquetFile(io.BytesIO(body), read_dictionary=names).read()
        if sum(_text_size(table[name]) for name in names) > _bound(len(body)):
            raise _unfolds()
        return pa.table({name: _text(table[name], name) for name in names})
    except (pa.ArrowException, OSError) as error:
        raise _no_table(
            "The Parquet file is damaged, or holds columns that are no text."
        ) from error


def _text_size(column: pa.ChunkedArray) -> int:
    """Bytes of a column once its dictionaries are written out."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(one).as_py() or 0 for one in lengths)


def _check_unfolded(metadata: pq.FileMetaData, *, size: int) -> None:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    check_reading_count(metadata.num_rows, packed=size)
    if sum(group.total_byte_size for group in groups) > _bound(size):
        raise _unfolds()


def _text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        for chunk in column.chunks:
            if any(len(text.as_py() or "") > _LONGEST_TEXT for text in chunk.dictionary):
                raise _no_table(f"A text has more than {_LONGEST_TEXT} characters.")
    if pa.types.is_timestamp(kind):
        moments = pd.DatetimeIndex(column.to_pandas())
        if (moments != moments.floor("s")).any():
            raise _no_table("A time has fractions of a second, or is missing.")
        form = "%Y-%m-%d %H:%M:%S" + ("+00:00" if kind.tz else "")
        if kind.tz:
            moments = moments.tz_convert("UTC")
        return pa.chunked_array([pa.array(moments.strftime(form), pa.string())])
    if pa.types.is_floating(kind) and name not in _ENERGIES:
        raise _no_table("A column of names or times holds fractions.")
    return column.cast(pa.string())


def _write(table: pa.Table) -> bytes:
    out = io.BytesIO()
    options = pa_csv.WriteOptions(quoting_style="needed", batch_size=_ROWS_AT_ONCE)
    for name in table.column_names:
        if any(_UNSAFE.search(text or "") for text in table[name].unique().to_pylist()):
            raise _no_table("A value holds a quotation mark, a separator or the end of a line.")
    pa_csv.write_csv(table, out, write_options=options)
    return out.getvalue()


def _by_reading(error: InvalidReadingsError) -> InvalidReadingsError:
    """The same refusal where readings stand in objects or rows and not on lines."""

    def named(text: str) -> str:
        text = _LINES.sub(r"\1 readings", text)
        return _LINE.sub(lambda m: f"{'R' if m[1] == 'L' else 'r'}eading {int(m[2]) - 1}", text)

    problems = [
        replace(p, detail=named(p.detail)) if isinstance(p, ReadingProblem) else p
        for p in error.problems
    ]
    return InvalidReadingsError(
        named(error.message), reason=error.reason, remedy=error.remedy, problems=problems
    )


def _no_table(message: str) -> InvalidReadingsError:
    return InvalidReadingsError(
        message,
        reason="readings.body",
        remedy="Send CSV, a JSON list of readings, lines of JSON or Parquet, with the columns of"
        " the long table.",
    )
