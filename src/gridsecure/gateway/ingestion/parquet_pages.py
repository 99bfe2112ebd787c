"""What the pages of a Parquet file unfold to, by the headers that a reader allocates from.

The footer says how large a file is, and whoever wrote the file wrote that too. The memory is spent
by what stands before each page. So the headers are walked before the library opens a page: Thrift's
compact protocol, of which a page header uses these few kinds.

Defined by the Apache Parquet format, `parquet.thrift` and `Encodings.md`, and by Apache Thrift,
`thrift-compact-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

_MOST_PAGES: Final = 100_000
_LARGEST_PAGE: Final = 64 << 20
"""Bytes of a page unfolded; writers make pages of about 1 MiB."""
_HEADER_BYTES: Final = 4096
_DEEPEST: Final = 8
_LONGEST_NUMBER: Final = 70
"""Bits of a number, seven from each byte."""
# Fields of PageHeader, and of the headers for each kind of page that it holds.
_UNFOLDED, _FOLDED = 2, 3
_ENCODING: Final = {5: 2, 7: 2, 8: 4}
_BOUNDED: Final = frozenset((0, 2, 3, 5, 6, 8, 9))
"""Plain, dictionaries, runs, deltas of numbers and lengths, split bytes. Texts as changes of the
one before (7) unfold without a bound."""


# Kinds of the compact protocol that a page header uses.
_TRUE, _FALSE, _BYTE, _DOUBLE, _TEXT, _STRUCT = 1, 2, 3, 7, 8, 12
_NUMBERS: Final = (4, 5, 6)
_MORE: Final = 0x80
_DOUBLE_BYTES: Final = 8


@dataclass(slots=True)
class _Bytes:
    """What may be a header, and how far it was read."""

    data: bytes
    at: int = 0

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise ValueError("a header is cut off")
        self.at += 1
        return self.data[self.at - 1]

    def skip(self, count: int) -> None:
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError("a header is cut off")
        self.at += count

    def number(self) -> int:
        """An unsigned number of seven bits a byte."""
        value = 0
        for shift in range(0, _LONGEST_NUMBER, 7):
            part = self.byte()
            value |= (part & 0x7F) << shift
            if part < _MORE:
                return value
        raise ValueError("a number has no end")

    def signed(self) -> int:
        value = self.number()
        return (value >> 1) ^ -(value & 1)


def measure_pages(file: pa.NativeFile, metadata: pq.FileMetaData) -> int:
    """What all pages unfold to [bytes], counted as often as a chunk names them.

    Raises:
        ValueError: A header is none, the footer contradicts itself, there are more than 100,000
            pages, or one is larger than 64 MiB or in an encoding that has no bound. The message
            says which.
    """
    size = pages = rows = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        rows += group.num_rows
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.num_values != group.num_rows:
                raise ValueError("a column has another number of values than its rows")
            for unfolded in _walk(file, chunk):
                size += unfolded
                pages += 1
                if pages > _MOST_PAGES:
                    raise ValueError(f"it has more than {_MOST_PAGES:,} pages")
    if rows != metadata.num_rows:
        raise ValueError("its groups have another number of rows than the file")
    return size


def _walk(file: pa.NativeFile, chunk: pq.ColumnChunkMetaData) -> Iterator[int]:
    """The unfolded size of each page of a column chunk."""
    begin = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < begin:
        begin = chunk.dictionary_page_offset
    end = begin + chunk.total_compressed_size
    if not 0 < begin <= end <= file.size():
        raise ValueError("a column lies outside the file")
    while begin < end:
        file.seek(begin)
        source = _Bytes(file.read(min(_HEADER_BYTES, end - begin)))
        header = _read_struct(source, depth=0)
        unfolded, folded = header.get(_UNFOLDED), header.get(_FOLDED)
        if not isinstance(unfolded, int) or not isinstance(folded, int):
            raise ValueError("a page has no size")
        if not 0 <= unfolded <= _LARGEST_PAGE or not 0 <= folded <= end - begin - source.at:
            raise ValueError("a page is larger than its column or than 64 MiB")
        for kind, field in _ENCODING.items():
            if kind in header and _encoding(header[kind], field) not in _BOUNDED:
                raise ValueError("a page has texts as changes of the one before")
        begin += source.at + folded
        yield unfolded


def _encoding(header: Any, field: int) -> Any:
    return header.get(field) if isinstance(header, dict) else None


def _read_struct(source: _Bytes, *, depth: int) -> dict[int, Any]:
    """Fields of a structure by their numbers: numbers and structures; of others that they stood."""
    if depth > _DEEPEST:
        raise ValueError("a header is too deep")
    fields: dict[int, Any] = {}
    number = 0
    while head := source.byte():
        step = head >> 4
        number = number + step if step else source.signed()
        fields[number] = _read_value(source, head & 0x0F, depth=depth)
    return fields


def _read_value(source: _Bytes, kind: int, *, depth: int) -> Any:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE
    if kind == _BYTE:
        return source.byte()
    if kind in _NUMBERS:
        return source.signed()
    if kind == _DOUBLE:
        return source.skip(_DOUBLE_BYTES)
    if kind == _TEXT:
        return source.skip(source.number())
    if kind == _STRUCT:
        return _read_struct(source, depth=depth + 1)
    # Page headers hold no lists, sets or maps.
    raise ValueError("a header holds what no page header has")
