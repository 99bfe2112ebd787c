"""A file of readings as text, and its text as a table, within bounds.

A file comes from a stranger, and a small one can unfold into gigabytes. So its text is unfolded
block by block and counted as it comes, the bounds are checked before the memory is spent, and the
table is built from a few lines at a time: between the text and the table there are never more than
`_CELLS` cells as objects. Both together take a small multiple of the text.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv_of_arrow
from numpy.typing import NDArray
from pandas.api.types import union_categoricals

from gridsecure.billing.meter_serials import SERIAL
from gridsecure.billing.readings import ReadingProblem
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.row_faults import MOST_PROBLEMS, name_rows

MAX_FILE_BYTES: Final = 1 << 30
"""Text of one file, decompressed."""
MAX_EXPANSION: Final = 100
"""Bytes of text for one compressed byte: meter data unfold 3 to 20 times, nothing but zeros 140."""
FREE_BYTES: Final = 64 << 20
"""Text that a file may unfold into whatever its size."""
MAX_LINE_BYTES: Final = 64 << 10
MAX_READINGS: Final = 16_000_000
"""Readings of one file, empty cells among them: 5,376 meter points, a month of quarter-hours. A
reading takes about 200 bytes of memory while it is read, however short its text."""
FREE_READINGS: Final = 4_000_000
READINGS_PER_BYTE: Final = 10
"""Readings for one compressed byte beyond the free ones: meter data hold 1 or 2, zeros 30."""

REPEATED: Final = frozenset(
    ("meter_point_id", "start", "date", "quality", "unit", "values", "stamps", "channel", SERIAL)
)
"""Columns whose texts stand on many lines."""

_BLOCK: Final = 1 << 20
_BLANK: Final = ord(" ")
_CELLS: Final = 1 << 18
_MOST_AGAIN: Final = 64 << 20
"""Text that is read several times, so that every faulty line is named."""


@dataclass(frozen=True, slots=True)
class TableText:
    """The text of a file.

    Args:
        data: Its lines as UTF-8, separated by line feeds, without blank ones at the end.
        encoding: What it was written in: `utf-8`, `utf-16`, `gb18030` or `xlsx`.
        first_line: Line of the file that the first of them is.
    """

    data: bytes
    encoding: str
    first_line: int = 1

    def without_preamble(self, lines: int) -> TableText:
        """The text without so many lines before its header."""
        start = 0
        for _ in range(lines):
            start = self.data.index(b"\n", start) + 1
        return replace(self, data=self.data[start:], first_line=self.first_line + lines)

    def head(self, size: int) -> str:
        """About the first so many bytes."""
        return self.data[:size].decode(errors="ignore")

    def header(self) -> str:
        """The first line.

        Raises:
            InvalidReadingsError: There is no other (`readings.empty`).
        """
        end = self.data.find(b"\n", 0, MAX_LINE_BYTES + 1)
        if end < 0:
            raise no_readings()
        return self.data[:end].decode()


def no_readings() -> InvalidReadingsError:
    """A table without a line of readings (`readings.empty`)."""
    return InvalidReadingsError(
        "The file holds no readings.",
        reason="readings.empty",
        remedy="It needs a header line and at least one line of readings.",
    )


def load_bytes(source: bytes | Path) -> tuple[bytearray, int | None]:
    """The content of a file, and its size before it was decompressed, where gzip compressed it.

    Raises:
        InvalidReadingsError: It cannot be opened (`readings.file`), is damaged
            (`readings.malformed`), unfolds like no meter data (`readings.expansion`) or is too
            large (`readings.too-large`). It is read no further than to the bound.
    """
    if isinstance(source, bytes):
        return _load(io.BufferedReader(io.BytesIO(source)))
    try:
        with source.open("rb") as stream:
            return _load(stream)
    except OSError as error:
        raise InvalidReadingsError(
            f"The readings file {source.name!r} cannot be opened: {error.strerror}.",
            reason="readings.file",
            remedy="Check the path and the permissions.",
        ) from error


def _load(stream: io.BufferedReader) -> tuple[bytearray, int | None]:
    data = bytearray()
    if stream.peek(2)[:2] != b"\x1f\x8b":
        while block := stream.read(_BLOCK):
            data += block
            check_size(len(data))
        return data, None
    try:
        with gzip.GzipFile(fileobj=stream) as unfolded:
            while block := unfolded.read(_BLOCK):
                data += block
                check_size(len(data))
                check_expansion(len(data), stream.tell())
            return data, stream.tell()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidReadingsError(
            "The gzip file is damaged or cut off.",
            reason="readings.malformed",
            remedy="Compress or transfer the file again.",
        ) from error


def check_size(size: int) -> None:
    """Refuse more text than a file may hold (`readings.too-large`)."""
    if size > MAX_FILE_BYTES:
        raise InvalidReadingsError(
            f"The file is larger than {MAX_FILE_BYTES >> 30} GiB of text.",
            reason="readings.too-large",
            remedy="Split it by meter point.",
        )


def check_expansion(size: int, packed: int) -> None:
    """Refuse a file that unfolds like no meter data (`readings.expansion`)."""
    if size > FREE_BYTES and size > MAX_EXPANSION * packed:
        raise _expands()


def _expands() -> InvalidReadingsError:
    return InvalidReadingsError(
        f"The file unfolds to more than {MAX_EXPANSION} times its size, or to more than"
        f" {READINGS_PER_BYTE} readings a byte, more than any meter data of that size.",
        reason="readings.expansion",
        remedy=f"Send it without compression, or split it by meter point into parts of at most"
        f" {FREE_BYTES >> 20} MiB of text and {FREE_READINGS // 1_000_000} million readings.",
    )


def decode(data: bytearray) -> TableText:
    """Text of one of the encodings that are read.

    Raises:
        InvalidReadingsError: It is none of them (`readings.encoding`).
    """
    # Spreadsheets write "Unicode text" in UTF-16, which its first two bytes tell.
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "gb18030"):
        try:
            text = _to_utf8(data, encoding)
        except UnicodeDecodeError:
            continue
        if b"\0" not in text and (b"\n" in text or not marked):
            # Blank lines at the end are harmless; elsewhere they are refused as malformed.
            return TableText(text.rstrip(b"\n"), encoding.removesuffix("-sig"))
    raise no_text()


def no_text() -> InvalidReadingsError:
    """Bytes that are text in no encoding that is read (`readings.encoding`)."""
    return InvalidReadingsError(
        "The file is neither UTF-8 nor GB 18030 text.",
        reason="readings.encoding",
        remedy="Save it as CSV in UTF-8.",
    )


def _to_utf8(data: bytearray, encoding: str) -> bytes:
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    text = io.BytesIO()
    for start in range(0, len(data), _BLOCK):
        text.write(decoder.decode(bytes(data[start : start + _BLOCK])).encode())
    text.write(decoder.decode(b"", final=True).encode())
    return text.getvalue()


def check_line_lengths(text: TableText) -> None:
    """Refuse a line longer than any line of readings.

    Raises:
        InvalidReadingsError: `readings.malformed`.
    """
    line = 1
    for start, end in _blocks(text.data):
        breaks = np.flatnonzero(_characters(text.data, start, end) == ord("\n"))
        lengths = np.diff(breaks, prepend=-1, append=end - start)
        long = np.flatnonzero(lengths > MAX_LINE_BYTES)
        if len(long) or end - start > _BLOCK:
            raise InvalidReadingsError(
                f"Line {line + int(long[0] if len(long) else 0)} is longer than"
                f" {MAX_LINE_BYTES >> 10} KiB.",
                reason="readings.malformed",
                remedy="Each line needs one field per column, and ends in a line break.",
            )
        line += len(breaks)


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where to cut text into runs of whole lines; a run beyond `_BLOCK` is one endless line."""
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + _BLOCK) + 1
        if len(data) - start <= _BLOCK:
            end = len(data)
        elif not end:
            end = (data.find(b"\n", start) + 1) or len(data)
        yield start, end
        start = end


def _characters(data: bytes, start: int, end: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, dtype=np.uint8, count=end - start, offset=start)


def check_field_counts(text: TableText, *, separator: str) -> int:
    """Refuse a line with more or fewer fields than the header; blank lines may have any number.

    The table parser pads short lines, so that a file cut off in transfer would look as if it had
    missing readings.

    Returns:
        Lines, the header among them.

    Raises:
        InvalidReadingsError: `readings.malformed`.
    """
    if b'"' in text.data:
        return _check_quoted_field_counts(text, separator)
    lines, fields, uneven = 0, None, []
    for start, end in _blocks(text.data):
        characters = _characters(text.data, start, end)
        starts = np.append(0, np.flatnonzero(characters == ord("\n")) + 1)
        starts = starts[starts < len(characters)]
        marks = (characters == ord(separator)).view(np.int8)
        counts = np.add.reduceat(marks, starts, dtype=np.int64)
        fields = counts[0] if fields is None else fields
        if (counts != fields).any():
            said = (characters > _BLANK) & (characters != ord(separator))
            wrong = np.flatnonzero((counts != fields) & np.logical_or.reduceat(said, starts))
            uneven.append(text.first_line + lines + wrong)
        lines += len(starts)
    if any(map(len, uneven)):
        raise _malformed(np.concatenate(uneven))
    return lines


def _check_quoted_field_counts(text: TableText, separator: str) -> int:
    rows = csv.reader(_lines(text), strict=True, skipinitialspace=True, delimiter=separator)
    number, uneven = 0, []
    try:
        fields = len(next(rows))
        for number, row in enumerate(rows, start=2):  # noqa: B007 - the last one counts the rows
            if len(row) != fields and any(cell.strip() for cell in row):
                uneven.append(text.first_line - 1 + rows.line_num)
    except csv.Error:
        uneven.append(text.first_line - 1 + rows.line_num)
    if uneven:
        raise _malformed(np.array(uneven))
    return number


def _lines(text: TableText) -> Iterator[str]:
    for start, end in _blocks(text.data):
        for line in text.data[start:end].decode().removesuffix("\n").split("\n"):
            yield f"{line}\n"


def _malformed(lines: NDArray[np.int64] | None) -> InvalidReadingsError:
    where = ["A line"] if lines is None else [f"Line {line}" for line in lines[:MOST_PROBLEMS]]
    reason, rule = "readings.malformed", "malformed"
    detail = "not as many fields as the header"
    remedy = (
        "Each line needs one field per column, separated by commas; beside decimal commas, by"
        " semicolons."
    )
    return InvalidReadingsError(
        f"{where[0]} of the file does not have as many fields as the header.",
        reason=reason,
        remedy=remedy,
        problems=[ReadingProblem("", None, rule, f"{one.lower()}: {detail}") for one in where],
        faults=()
        if lines is None
        else [name_rows(lines, reason=reason, rule=rule, detail=detail, remedy=remedy)],
    )


def without_lines(text: TableText, lines: NDArray[np.int64]) -> TableText | None:
    """The text with nothing on some of its lines; the others keep their numbers.

    Args:
        lines: Their numbers in the file, in order.

    Returns:
        None for more text than is read several times, and where a quoted cell goes on in the next
        line, so that rows are no lines.
    """
    data = text.data
    if len(data) > _MOST_AGAIN or (
        b'"' in data and any(line.count(b'"') % 2 for line in data.split(b"\n"))
    ):
        return None
    breaks = np.flatnonzero(_characters(data, 0, len(data)) == ord("\n"))
    begins, ends = np.append(0, breaks + 1), np.append(breaks, len(data))
    parts, after = [], 0
    for row in (lines - text.first_line).tolist():
        parts.append(data[after : begins[row]])
        after = ends[row]
    return replace(text, data=b"".join([*parts, data[after:]]))


def check_reading_count(count: int, *, packed: int | None) -> None:
    """Refuse a file with more readings than are read at once.

    Args:
        count: Readings, counting empty cells.
        packed: Size of the file before it was decompressed.

    Raises:
        InvalidReadingsError: `readings.too-many`, or `readings.expansion` where so many come out
            of so few bytes.
    """
    if packed is not None and FREE_READINGS < count > READINGS_PER_BYTE * packed:
        raise _expands()
    if count > MAX_READINGS:
        raise InvalidReadingsError(
            f"The file holds {count:,} readings, counting empty cells; at most"
            f" {MAX_READINGS // 1_000_000} million are read at once.",
            reason="readings.too-many",
            remedy="Split it by meter point.",
        )


def read_cells(text: TableText, *, separator: str, columns: Sequence[str]) -> pd.DataFrame:
    """The lines as a table of text, indexed by their lines in the file; blank ones are left out.

    Args:
        text: The text, whose lines all have as many fields as the header.
        columns: Their names. Those of `REPEATED` become categories: of a few texts each, which
            are then looked at once and not once a line.

    Raises:
        InvalidReadingsError: `readings.malformed`.
    """
    table = _plain_cells(text.data, separator, columns)
    if table is None:
        table = _parsed_cells(text.data, separator, columns)
    table.index = pd.RangeIndex(text.first_line + 1, text.first_line + 1 + len(table))
    return without_blank_lines(table)


def _plain_cells(data: bytes, separator: str, columns: Sequence[str]) -> pd.DataFrame | None:
    """The table of a text that needs cutting alone, in a third of the time; None of any other.

    That is one without quotes, spaces that belong to no cell, and blank lines: no cell becomes an
    object of its own.
    """
    if any(mark in data for mark in (b'"', b"\n ", f"{separator} ".encode())):
        return None
    text, repeated = pa.large_string(), pa.dictionary(pa.int32(), pa.large_string())
    try:
        table = csv_of_arrow.read_csv(
            pa.BufferReader(data),
            csv_of_arrow.ReadOptions(
                use_threads=False, block_size=_BLOCK, skip_rows=1, column_names=list(columns)
            ),
            csv_of_arrow.ParseOptions(
                delimiter=separator, quote_char=False, ignore_empty_lines=False
            ),
            csv_of_arrow.ConvertOptions(
                check_utf8=False,  # it was decoded, and encoded here
                column_types={one: repeated if one in REPEATED else text for one in columns},
            ),
        )
    except pa.ArrowInvalid:
        return None  # the other parser knows what a blank line is, and what is malformed
    return pd.DataFrame(
        {
            name: _categorical(column) if name in REPEATED else pd.array(column, dtype="str")
            for name, column in zip(columns, table.combine_chunks().columns, strict=True)
        }
    )


def _categorical(column: pa.ChunkedArray) -> pd.Categorical:
    """A column of few texts, which are in order."""
    coded = column.unify_dictionaries().combine_chunks()
    order = pc.array_sort_indices(coded.dictionary).to_numpy()
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    texts = pd.Index(coded.dictionary.take(order), dtype="str")
    return pd.Categorical.from_codes(places[coded.indices.to_numpy()], categories=texts)


def _parsed_cells(data: bytes, separator: str, columns: Sequence[str]) -> pd.DataFrame:
    """The table of any text.

    Raises:
        InvalidReadingsError: `readings.malformed`.
    """
    try:
        with pd.read_csv(
            io.BytesIO(data),
            sep=separator,
            names=list(columns),
            header=0,
            dtype=str,
            na_filter=False,
            skipinitialspace=True,
            skip_blank_lines=False,
            index_col=False,
            chunksize=max(1, _CELLS // len(columns)),
        ) as parts:
            return _joined([_coded(part) for part in parts])
    except pd.errors.ParserError:
        # The parser's own message can quote the line, so it is not carried along.
        raise _malformed(None) from None


def _coded(part: pd.DataFrame) -> pd.DataFrame:
    # Not by the parser, which makes numbers of categories that look like some.
    return part.astype({name: "category" for name in part if name in REPEATED})


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Parts of a table put together; categories are those of all parts."""
    if len(parts) == 1:
        return parts[0]
    columns = {}
    for name, kind in parts[0].dtypes.items():
        own = [part[name] for part in parts]
        is_coded = isinstance(kind, pd.CategoricalDtype)
        columns[name] = union_categoricals(own) if is_coded else pd.concat(own, ignore_index=True)
    return pd.DataFrame(columns)


def without_blank_lines(table: pd.DataFrame) -> pd.DataFrame:
    """The table without lines on which nothing stands."""
    first = table.iloc[:, 0]
    unnamed = first.isna() | (first == "")
    if not unnamed.any():
        return table
    cells = table[unnamed].astype(object).fillna("")
    said = cells.apply(lambda column: column.str.strip() != "").any(axis=1)
    kept: pd.DataFrame = table.drop(index=cells.index[~said])
    for name in kept.select_dtypes("category"):
        kept[name] = kept[name].cat.remove_unused_categories()
    return kept
