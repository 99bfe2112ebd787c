"""Parquet bodies whose footers lie: what pages unfold to is told by the pages."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.ingestion import parquet_pages
from gridsecure.gateway.ingestion.body_tables import open_parquet
from gridsecure.gateway.ingestion.parquet_pages import measure_pages

ROWS = 300_000


def parquet(rows: int = ROWS, *, text: str = "7" * 250, **written: object) -> bytes:
    table = pa.table(
        {"meter_point_id": [text] * rows, "start": ["2026-07-01 00:00"] * rows, "kwh": [1] * rows}
    )
    out = io.BytesIO()
    pq.write_table(table, out, **written)
    return out.getvalue()


def metadata(body: bytes) -> pq.FileMetaData:
    return pq.ParquetFile(io.BytesIO(body)).metadata


def varint(value: int, *, length: int) -> bytes:
    """A signed number in so many bytes, of which the last may say nothing."""
    doubled = value << 1
    parts = [doubled >> 7 * place & 0x7F | 0x80 for place in range(length)]
    return bytes([*parts[:-1], parts[-1] & 0x7F])


def lying(body: bytes) -> bytes:
    """The body with a footer that says every size is one byte."""
    group = metadata(body).row_group(0)
    said = [group.column(number).total_uncompressed_size for number in range(group.num_columns)]
    begin = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    footer = body[begin:]
    for size in {group.total_byte_size, *said}:
        length = -(-(size << 1).bit_length() // 7)
        footer = footer.replace(varint(size, length=length), varint(1, length=length))
    return body[:begin] + footer


def refusal(body: bytes) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        open_parquet(pa.BufferReader(body), size=len(body), declared="")
    assert refused.value.remedy
    return refused.value


def test_a_footer_that_lies_about_its_size_is_not_believed():
    body = lying(parquet(compression="zstd", use_dictionary=False))
    assert metadata(body).row_group(0).total_byte_size == 1
    assert measure_pages(pa.BufferReader(body), metadata(body)) > ROWS * 250
    assert refusal(body).reason == "readings.expansion"


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"compression": "zstd", "data_page_version": "2.0"},
        {"compression": "none", "write_page_checksum": True, "use_dictionary": False},
        {"row_group_size": 100},
        {"use_dictionary": False, "column_encoding": {"kwh": "DELTA_BINARY_PACKED"}},
    ],
)
def test_pages_that_writers_write_are_measured(written):
    body = parquet(1000, text="MP-1", **written)
    about = metadata(body)
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    said = sum(group.total_byte_size for group in groups)
    # What the footer says counts the headers too, of at most 100 bytes a page.
    pages = 6 * len(groups)
    assert said - 100 * pages < measure_pages(pa.BufferReader(body), about) <= said


def test_one_page_of_too_much_is_refused(monkeypatch):
    body = parquet(1000, use_dictionary=False)
    open_parquet(pa.BufferReader(body), size=len(body), declared="")
    monkeypatch.setattr(parquet_pages, "_LARGEST_PAGE", 100_000)
    assert refusal(body).reason == "readings.body"


def test_texts_as_changes_of_the_one_before_are_refused():
    encoding = {"meter_point_id": "DELTA_BYTE_ARRAY"}
    body = parquet(9, use_dictionary=False, column_encoding=encoding)
    assert refusal(body).reason == "readings.body"


def test_damaged_headers_are_refused_and_nothing_else_happens():
    body = parquet(50, text="MP-1")
    about = metadata(body)
    for place in range(4, about.row_group(0).column(0).data_page_offset + 40):
        for value in (0x00, 0x7F, 0xFF):
            damaged = body[:place] + bytes([value]) + body[place + 1 :]
            try:
                measured = measure_pages(pa.BufferReader(damaged), about)
            except ValueError:
                continue
            assert measured >= 0
