"""Files that are no readings table, recognised by their content and refused by their name.

Whoever hands in a workbook or a Green Button document learns what was recognised and what to hand
in instead, not that line 2 has the wrong number of fields. Nothing of the content is repeated but
names of columns, and of those only what looks like a name.
"""

from __future__ import annotations

import csv
import re
from typing import Final

from gridsecure.errors import InvalidReadingsError

LAYOUTS: Final = (
    "meter_point_id,start,kwh[,kvarh][,export_kwh][,quality][,unit] or"
    " meter_point_id,date,p1..pN[,quality][,ratio][,unit] with N 24, 48 or 96"
)

_AS_CSV: Final = f"Export it as CSV with the columns {LAYOUTS}."
# First bytes -> what the file is, and what to do with it.
_SIGNATURES: Final = (
    (b"PK\x03\x04", "an Excel workbook (XLSX) or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (XLS)"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
)
_COMPRESSED: Final = ((b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "Zstandard"))
_LOOKED_AT: Final = 4096
_MOST_PREAMBLE_LINES: Final = 50
_FEWEST_DAYS: Final = 2
_FEWEST_TIMES: Final = 24
_HEADER_WORD: Final = re.compile(
    r"meter|date|start|time|usage|consum|kwh|interval|duration|户号|日期|时间|电量|示值|表号", re.I
)
_NUMBER: Final = re.compile(r"[-+]?\d+([.,]\d+)?")
_DAY: Final = re.compile(r"\d{4}[-/.]?\d{1,2}[-/.]?\d{1,2}|\d{1,2}[/.]\d{1,2}[/.]\d{4}")
_TIME: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
# What public exports call the columns of the two layouts.
_USUAL_NAMES: Final = {
    "meter_point_id": "户号 用户编号 用户号 计量点编号 测量点编号 表号 电表资产号 资产编号"
    " meter meter_id meterid meter_number nmi mpan cups usage_point cons_no",
    "date": "日期 数据日期 day",
    "start": "时间 数据时间 开始时间 time timestamp datetime interval_start start_time begin",
    "kwh": "电量 用电量 有功电量 usage consumption consumed energy usage_kwh consumption_kwh",
    "register_kwh": "示值 表码 正向有功总示值 register reading meter_reading",
    "export_kwh": "反向电量 上网电量 export generation feed_in",
    "quality": "质量 质量标志 flag status quality_flag",
}
_MEANT: Final = {name: ours for ours, names in _USUAL_NAMES.items() for name in names.split()}


def refuse_foreign_bytes(data: bytes) -> None:
    """Refuse what is no text at all.

    Raises:
        InvalidReadingsError: `readings.format`, naming what was recognised.
    """
    for signature, what in _SIGNATURES:
        if data.startswith(signature):
            raise _foreign(what, _AS_CSV)
    for signature, what in _COMPRESSED:
        if data.startswith(signature):
            raise _foreign(f"compressed with {what}", "Decompress it, or compress it with gzip.")


def refuse_foreign_text(text: str) -> None:
    """Refuse text that is another format than a table.

    Raises:
        InvalidReadingsError: `readings.format`, naming what was recognised.
    """
    head = text[:_LOOKED_AT].lstrip()
    lowered = head.lower()
    if head.startswith("<"):
        if "espi" in lowered:
            raise _foreign("a Green Button document (ESPI XML)", _AS_CSV)
        raise _foreign("a web page" if "<html" in lowered else "an XML document", _AS_CSV)
    if head.startswith(("{", "[")):
        raise _foreign("a JSON document", _AS_CSV)
    if re.match(r'"?100"?,"?NEM1[23]|"?200"?,[^,]*,[^,]*,[^,]*,E1', head):
        raise _foreign("a NEM12 meter data file", _AS_CSV)
    if head.startswith(("UNA:", "UNA+", "UNB+")):
        raise _foreign("an EDIFACT message (MSCONS)", _AS_CSV)


def refuse_preamble(text: str) -> None:
    """Refuse a table whose header is not its first line.

    Raises:
        InvalidReadingsError: `readings.preamble`.
    """
    lines = text.split("\n")[:_MOST_PREAMBLE_LINES]
    first = cells_of(lines[0])
    if _header_words(first) or len(first) > len(cells_of(max(lines, key=len))):
        return
    for number, line in enumerate(lines[1:], start=2):
        if _header_words(cells_of(line)):
            raise InvalidReadingsError(
                f"The first line is not a header; line {number} looks like one.",
                reason="readings.preamble",
                remedy=f"Remove the lines before it, and name the columns {LAYOUTS}.",
            )


def _header_words(names: list[str]) -> bool:
    """Whether cells look like the names of columns of readings."""
    named = sum(1 for name in names if _HEADER_WORD.search(name) and ":" not in name)
    return named > 1 and not any(_NUMBER.fullmatch(name) for name in names)


def cells_of(line: str) -> list[str]:
    """The cells of one line, without blanks around them."""
    for row in csv.reader([line], delimiter=separator_of(line), skipinitialspace=True):
        return [cell.strip() for cell in row]
    return [""]


def separator_of(header: str) -> str:
    """What separates the fields of a table, told by its header: a comma, a semicolon or a tab."""
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def unknown_header(names: list[str], *, quotable: re.Pattern[str]) -> InvalidReadingsError | None:
    """The refusal of a header whose columns are recognised as something else, or None.

    Args:
        quotable: What looks like a name; everything else may be a reading and is not repeated.
    """
    days = [name for name in names if _DAY.fullmatch(name)]
    if len(days) >= _FEWEST_DAYS:
        return InvalidReadingsError(
            f"The file has a column for each day ({len(days)} of them): these are daily energies.",
            reason="readings.daily",
            remedy="A bill by interval needs the readings of 5, 10, 15, 30 or 60 minutes; use"
            f" {LAYOUTS}.",
        )
    times = [name for name in names if _TIME.fullmatch(name)]
    renamed = [
        f"{name} is meant to be {_MEANT[key]}"
        for name in names
        if quotable.fullmatch(re.sub(r"[()\[\]]", "", name))
        and (key := re.sub(r"\W+", "_", name.lower()).strip("_")) in _MEANT
    ]
    if len(times) >= _FEWEST_TIMES:
        renamed.append(f"{times[0]} to {times[-1]} are meant to be p1 to p{len(times)}")
    if not renamed:
        return None
    return InvalidReadingsError(
        f"The header's names differ from the known layouts: {'; '.join(renamed)}.",
        reason="readings.columns",
        remedy=f"Rename the columns accordingly. The layouts are {LAYOUTS}.",
    )


def _foreign(what: str, remedy: str) -> InvalidReadingsError:
    return InvalidReadingsError(
        f"The file is {what}, which GridSecure does not read.",
        reason="readings.format",
        remedy=remedy,
    )
