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
from gridsecure.gateway.column_names import LAYOUTS

_AS_CSV: Final = f"Export it as CSV with the columns {LAYOUTS}."
# First bytes -> what the file is, and what to do with it.
_SIGNATURES: Final = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (XLS)"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
)
_COMPRESSED: Final = ((b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "Zstandard"))
_METER_READINGS: Final = re.compile(r"http://iec\.ch/TC57/20\d\d/MeterReadings#")
_LOOKED_AT: Final = 4096
_MOST_PREAMBLE_LINES: Final = 50
_HEADER_WORD: Final = re.compile(
    r"meter|date|start|time|usage|consum|kwh|interval|duration|户号|日期|时间|电量|示值|表号", re.I
)
_NUMBER: Final = re.compile(r"[-+]?\d+([.,]\d+)?")
_OTHER_MEANING: Final = re.compile(r"\b(MWh|Wh|kW|MW|GJ)\b|万千瓦时|兆瓦时|倍率", re.I)


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


def is_green_button(text: str) -> bool:
    """Whether text is an ESPI document."""
    return text.lstrip().startswith("<") and "naesb.org/espi" in text


def is_meter_readings(text: str) -> bool:
    """Whether text is a MeterReadings document of IEC 61968-9, in XML or JSON."""
    start = text.lstrip()
    if start.startswith("<"):
        return _METER_READINGS.search(text) is not None
    return start.startswith("{") and '"MeterReadings"' in text


def is_document(text: str) -> bool:
    """Whether text is a document, whose times have offsets and whose parts need each other."""
    return is_green_button(text) or is_meter_readings(text)


def is_nem12(text: str) -> bool:
    """Whether text is NEM12 meter data; files without their first record are common."""
    return re.match(r'"?100"?,"?NEM12|"?200"?,[^,]*,[^,]*,[^,]*,"?[EBQK]\d', text) is not None


def is_nem13(text: str) -> bool:
    """Whether text is NEM13 accumulated meter data, with or without its first record."""
    return re.match(r'"?100"?,"?NEM13|"?250"?,(?:[^,\n]*,){6}"?[EI]"?,', text) is not None


def refuse_foreign_text(text: str) -> None:
    """Refuse text that is another format than a table.

    Raises:
        InvalidReadingsError: `readings.format`, naming what was recognised.
    """
    head = text[:_LOOKED_AT].lstrip()
    lowered = head.lower()
    if head.startswith("<") and ("meterreadings" in lowered or "iec.ch/tc57" in lowered):
        raise _foreign(
            "an IEC 61968-9 message without the namespace of MeterReadings",
            "Send MeterReadings in its namespace http://iec.ch/TC57/2011/MeterReadings#.",
        )
    if head.startswith("<"):
        raise _foreign("a web page" if "<html" in lowered else "an XML document", _AS_CSV)
    if head.startswith(("{", "[")):
        raise _foreign("a JSON document", _AS_CSV)
    if re.match(r'"?HDR"?,"?ICP', head):
        raise _foreign("a consumption file of New Zealand's EIEP formats", _AS_CSV)
    if head.startswith(("UNA:", "UNA+", "UNB+")):
        raise _foreign("an EDIFACT message (MSCONS)", _AS_CSV)


def preamble_lines(text: str) -> int:
    """How many lines stand before the header of a table.

    Raises:
        InvalidReadingsError: `readings.preamble`: they name a unit or ratio, which would change
            what the numbers mean.
    """
    lines = text.split("\n")[:_MOST_PREAMBLE_LINES]
    first = cells_of(lines[0])
    if _header_words(first) or len(first) > len(cells_of(max(lines, key=len))):
        return 0
    for number, line in enumerate(lines):
        if not _header_words(cells_of(line)):
            continue
        if any(_OTHER_MEANING.search(before) for before in lines[:number]):
            raise InvalidReadingsError(
                f"The lines before the header, which is line {number + 1}, name a unit or a ratio.",
                reason="readings.preamble",
                remedy="Remove them, and convert every reading to kWh; a transformer ratio goes"
                " into a column ratio of the wide layout.",
            )
        return number
    return 0


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


def _foreign(what: str, remedy: str) -> InvalidReadingsError:
    return InvalidReadingsError(
        f"The file is {what}, which GridSecure does not read.",
        reason="readings.format",
        remedy=remedy,
    )
