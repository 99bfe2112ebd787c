"""Inputs at which a parser once raised another exception than ours."""

from __future__ import annotations

import io
import zipfile
from typing import Final


def _cut_archive() -> bytes:
    """A workbook whose directory is said to lie before the beginning of the file."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("xl/workbook.xml", b"")
    whole = sink.getvalue()
    return whole[:4] + whole[20:]


def _bad_lzma() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("xl/workbook.xml", b"<workbook/>")
    data = sink.getvalue()
    start = 30 + len("xl/workbook.xml")
    return data[: start + 4] + b"\xff" * 8 + data[start + 12 :]


FOUND: Final = (
    ("readings.file", b"\nMP-2,2026-07-01T00:00+08:00,0\n"),
    ("readings.file", b"\n002\n"),
    ("readings.body", b"\n200,NMI0000001,E1B1,1,E1,N1\n300,20250301,0.25\n"),
    ("readings.file", _cut_archive()),
    ("readings.file", _bad_lzma()),
    ("losses", b"zone,energy_kwh,start,end\nnorth,12.5,\r,2026-07-02T00:00+08:00\n"),
    ("series", b"\n"),
    ("series", b"start,end,value\n0001-01-01T00:00:00+14:00,2026-07-01T01:00,2\n"),
    ("series", b"start,end,value\n0001-01-01T00:00:00,2026-07-01T01:00,2\n"),
    ("series", b"day,value\n9999-12-31,1\n"),
    (
        "event",
        b'{"zone":"gateway","receiver":"erp","event":"cycle.done","subject":"2026-07","count":1,'
        b'"entry":7,"happened_at":"2026-08-01T00:00:00+00:00","at":"2026-08-01"}',
    ),
)
