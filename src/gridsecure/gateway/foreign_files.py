"""Files that are no readings table, recognised by their content and refused by their name.

Whoever hands in a workbook or a Green Button document learns what was recognised and what to hand
in instead, not that line 2 has the wrong number of fields. Nothing of the content is repeated but
names of columns, and of those only what looks like a name.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import Final

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.column_names import LAYOUTS

_AS_CSV: Final = f"Export it as CSV with the columns {LAYOUTS}."
_AS_BATCH: Final = f"Send it to a gateway as a batch. {_AS_CSV}"
# First bytes -> what the file is, and what to do with it.
_SIGNATURES: Final = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (XLS)"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x00\x01\x00\x00Standard ", "an Access database"),
    (b"ARROW1\0\0", "an Arrow or Feather file"),
    (b"Obj\x01", "an Avro file"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"{\\rtf", "an RTF document"),
    (b"\x7e\xa0", "a recording of DLMS frames"),
)
_COMPRESSED: Final = (
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
)
_DLT645: Final = re.compile(rb"\xfe{0,4}h[\x00-\x99\xaa]{6}h[\x11\x81-\x84\x91-\x94\xb1-\xd4]")
"""A frame: start, address in BCD, start again, a control code that no text has there."""
_ORC: Final = re.compile(rb"ORC[\x00-\x1f\x80-\xff]")
_TAR: Final = slice(257, 262)
# What stands in an XML document's beginning -> what it is, and what to do with it.
_XML: Final = (
    ("urn:aseXML", "an aseXML message", "Send the NEM12 or NEM13 file that it carries."),
    ('progid="Excel.Sheet"', "an Excel workbook (XML Spreadsheet 2003)", "Save it as XLSX."),
    ("iec62325", "a market document of IEC 62325", _AS_CSV),
    ("dccinterface.co.uk", "a message of the British DCC", _AS_CSV),
    ("<html", "a web page", _AS_CSV),
)
# Members that stand in the beginning of JSON -> likewise.
_JSON: Final = (
    (
        ('"consumption"', '"interval_start"'),
        "an answer of Octopus Energy's API",
        "Send its results as a list with the names meter_point_id, start (interval_start) and kwh"
        " (consumption), or the CSV file that it offers.",
    ),
    (
        ('"entity_id"', '"last_changed"'),
        "an answer of Home Assistant's API",
        "Download the history or the statistics as CSV.",
    ),
    (
        ('"cups"', '"consumptionKWh"'),
        "an answer of Datadis",
        "Send CSV with CUPS, start (date and hour) and kwh; its hours are those that end.",
    ),
    (('IntervalBlock"',), "Green Button as JSON", "Download the XML."),
)
# How the first line of a text begins -> likewise.
_TEXTS: Final = (
    (re.compile(r"(UNA:|UNA\+|UNB\+)"), "an EDIFACT message (MSCONS)", _AS_CSV),
    (
        re.compile(r'"?HDR"?,"?ICP'),
        "a consumption file of New Zealand's EIEP formats",
        _AS_CSV,
    ),
    (
        re.compile(r"ZHV\|"),
        "a flow of the British Data Transfer Catalogue (such as D0010)",
        _AS_CSV,
    ),
    (
        re.compile(r"Identifiant PRM;"),
        "a load curve of Enedis in average W",
        "Write its energies with the columns meter_point_id,start,kwh: the W of 30 minutes are half"
        " as many Wh. A column stamps says whether its times are start or end.",
    ),
    (
        re.compile(r"CUPS;Fecha;Hora"),
        "a consumption file of Spanish distributors",
        "Write it with the columns CUPS,start,kwh: hour 1 of Hora is the one from 00:00 to 01:00.",
    ),
)
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
            raise _foreign(what, _AS_BATCH if signature == b"PAR1" else _AS_CSV)
    if _DLT645.match(data):
        raise _foreign("a recording of DL/T 645 frames", _AS_CSV)
    if _ORC.match(data):
        raise _foreign("an ORC file", _AS_CSV)
    if data[_TAR] == b"ustar":
        raise _foreign("a TAR archive", "Send each of its files by itself.")
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
        for mark, what, remedy in _XML:
            if mark.lower() in lowered:
                raise _foreign(what, remedy)
        raise _foreign("an XML document", _AS_CSV)
    if head.startswith(("{", "[")):
        refuse_foreign_json(head)
        raise _foreign("a JSON document", _AS_BATCH)
    for form, what, remedy in _TEXTS:
        if form.match(head):
            raise _foreign(what, remedy)


def refuse_foreign_json(text: str) -> None:
    """Refuse JSON of an interface that is known by its members.

    Raises:
        InvalidReadingsError: `readings.format`, naming what was recognised.
    """
    for members, what, remedy in _JSON:
        if all(member in text[:_LOOKED_AT] for member in members):
            raise _foreign(what, remedy)


def refuse_foreign_archive(names: Sequence[str]) -> None:
    """Refuse an archive that is no workbook, by the files in it.

    Raises:
        InvalidReadingsError: `readings.format`, naming what was recognised.
    """
    if any(name.startswith("xl/") for name in names):
        return
    if "content.xml" in names and "mimetype" in names:
        raise _foreign("an OpenDocument file (ODS)", "Save it as XLSX or as CSV.")
    if any(name.startswith("word/") for name in names):
        raise _foreign("a Word document", _AS_CSV)
    raise _foreign("a ZIP archive", "Send each of its files by itself, or compressed with gzip.")


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
