"""XLSX workbooks to the text of a table.

A workbook is a ZIP archive of XML, which can unfold into more than the machine has, and a cell far
away makes a grid of billions. So the archive is unfolded within bounds, and the grid's size is read
from the cells' places, before the library sees it. Numbers are what a workbook keeps of them: 15
digits.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import lzma
import re
import zipfile
import zlib
from typing import Any, Final

from python_calamine import CalamineError, CalamineWorkbook

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.foreign_files import refuse_foreign_archive
from gridsecure.gateway.table_text import (
    TableText,
    check_expansion,
    check_reading_count,
    check_size,
)

SIGNATURE: Final = b"PK\x03\x04"
_PLACE: Final = re.compile(rb"\sr\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_CELL: Final = re.compile(rb"([A-Z]{0,3})([0-9]{1,7})")
_ROW: Final = re.compile(rb"<(?:[\w.-]+:)?row(?=[\s/>])")
_IN_ROW: Final = re.compile(rb"<(?:[\w.-]+:)?c(?=[\s/>])")
_STRING: Final = re.compile(rb">([^<]*)<")
_SHARED: Final = re.compile(rb"\st\s*=\s*[\"']s[\"']")
_LETTERS: Final = 26
_EXACT_DIGITS: Final = 15
_SECOND: Final = dt.timedelta(seconds=1)
_DAMAGED: Final = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)
"""What unfolding raises; a ValueError where a place of the archive lies before its beginning."""


def read_workbook(data: bytes) -> TableText:
    """The one sheet of a workbook that has cells, as CSV.

    Raises:
        InvalidReadingsError: It is damaged (`readings.malformed`), too large or unfolds like no
            meter data (`readings.too-large`, `.too-many`, `.expansion`), or has no such sheet or
            several, or a number of more digits than it keeps (`readings.format`).
    """
    try:
        grids = _read_grids(_unfold(data))
    except (CalamineError, zipfile.BadZipFile, RuntimeError, *_DAMAGED):
        raise InvalidReadingsError(
            "The file is no XLSX workbook that can be opened, or is damaged or protected.",
            reason="readings.malformed",
            remedy="Save it again without a password, or as CSV.",
        ) from None
    filled = [grid for grid in grids if grid]
    if len(filled) != 1:
        raise InvalidReadingsError(
            f"The workbook has {len(filled)} sheets with cells.",
            reason="readings.format",
            remedy="Keep the one sheet with the readings, or save that one as CSV.",
        )
    rows = [[_text(cell) for cell in row] for row in filled[0]]
    used = [column for column in range(len(rows[0])) if any(row[column] for row in rows)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row[one] for one in used] for row in rows)
    return TableText(text.getvalue().rstrip("\n").encode(), "xlsx")


def _read_grids(unfolded: io.BytesIO) -> list[list[list[Any]]]:
    """The cells of every sheet.

    Raises:
        BadZipFile: The library gave up on it.
    """
    try:
        workbook = CalamineWorkbook.from_filelike(unfolded)
        return [workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names]
    except BaseException as error:
        # A panic of the library's Rust is no Exception, and its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise zipfile.BadZipFile from None


def _unfold(data: bytes) -> io.BytesIO:
    """The workbook's archive without compression, within the bounds of a file of readings."""
    plain = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as packed, zipfile.ZipFile(plain, "w") as unpacked:
        size = sum(member.file_size for member in packed.infolist())
        check_size(size)
        check_expansion(size, len(data))
        names = packed.namelist()
        refuse_foreign_archive(names)
        # The library would read other kinds of workbook too, whose bounds nobody checks here.
        if "xl/workbook.xml" not in names or any(
            name == "content.xml" or name.endswith(".bin") for name in names
        ):
            raise zipfile.BadZipFile
        longest, said = 0, 0
        for member in packed.infolist():
            # It reads no further than the size that the member names, whatever it unfolds to.
            content = packed.read(member)
            check_reading_count(_grid_size(content), packed=len(data))
            said += sum(1 for _ in _SHARED.finditer(content))
            if member.filename.endswith("sharedStrings.xml"):
                longest = max((len(one[1]) for one in _STRING.finditer(content)), default=0)
            unpacked.writestr(member.filename, content)
        check_size(longest * said)  # a string that many cells share is written out in each
    plain.seek(0)
    return plain


def _grid_size(sheet: bytes) -> int:
    """Cells of the rectangle that the library makes of a sheet.

    Raises:
        BadZipFile: A place is written in another way than a spreadsheet does.
    """
    # A row or cell without a place comes after the one before it, so each can be one further.
    parts = _ROW.split(sheet)
    rows, columns, most = 0, set(), 0
    for part in parts:
        placed = 0
        for found in _PLACE.finditer(part):
            place = _CELL.fullmatch(found[1] or found[2] or b"")
            if place is None:
                raise zipfile.BadZipFile
            columns.add(place[1])
            placed += place[1] != b""
            rows = max(rows, int(place[2]))
        most = max(most, len(_IN_ROW.findall(part)) - placed)
    width = max((_column_number(letters) for letters in columns), default=0) + most
    return (rows + len(parts) - 1) * width if rows else len(parts) * width


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * _LETTERS + letter - ord("A") + 1
    return number


def _text(cell: Any) -> str:
    """A cell as text: numbers with the digits that a workbook keeps, times to the second."""
    if isinstance(cell, float):
        if abs(cell) >= 10**_EXACT_DIGITS:
            raise InvalidReadingsError(
                f"A cell holds a number of more than {_EXACT_DIGITS} digits, of which a workbook"
                f" keeps {_EXACT_DIGITS}.",
                reason="readings.format",
                remedy="Format the column of ids as text before filling it in, or export CSV.",
            )
        return f"{cell:.{_EXACT_DIGITS}g}"
    if isinstance(cell, dt.timedelta):
        minutes, rest = divmod(round(cell / _SECOND), 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"
    if isinstance(cell, dt.datetime):
        # Times are fractions of a day in binary, which miss the second by a hair.
        return (cell + _SECOND / 2).replace(microsecond=0).isoformat(" ")
    if isinstance(cell, dt.date):
        return f"{cell.isoformat()} 00:00:00"
    if isinstance(cell, dt.time):
        return cell.isoformat("seconds")
    return str(cell).replace("\n", " ").strip()
