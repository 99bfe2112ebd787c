"""Tables as files that say where they come from: spreadsheet and PDF.

Every file names its certificates, who made it, when, and the rule under which groups were withheld.
Numbers in a spreadsheet are numbers, so that they can be added up; text is never a formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from typing import Final

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer
from reportlab.platypus import Table as Grid
from xlsxwriter import Workbook

from gridsecure.statements.pdf_text import Typeface, make_typeface
from gridsecure_dashboard import figures

Value = str | int | Decimal | None

_MARGIN: Final = 15 * mm
_WIDTH: Final = landscape(A4)[0] - 2 * _MARGIN
_LINE: Final = HexColor("#d9e0e7")
_HEAD: Final = HexColor("#f3f6f9")
_WIDEST: Final = 44  # characters of a column
_NARROWEST: Final = 6
_NAME_WIDTH: Final = 60 * mm


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table to be exported.

    Args:
        titles: One a column, in the reader's language.
        places: Decimals of each column's numbers.
        rows: In the order shown; None is a figure that was not released.
        notes: Name and text of each fact about where it comes from.
        at: When it was exported, aware; it is what the file's own properties say.
    """

    title: str
    titles: Sequence[str]
    places: Sequence[int]
    rows: Sequence[Sequence[Value]]
    notes: Sequence[tuple[str, str]]
    at: datetime


def xlsx_bytes(sheet: Sheet, *, notes_title: str) -> bytes:
    """A workbook: the table, and on a second sheet where it comes from.

    Args:
        notes_title: Name of the second sheet.
    """
    buffer = BytesIO()
    with Workbook(buffer, {"in_memory": True, "strings_to_formulas": False}) as book:
        book.set_properties({"title": sheet.title, "created": sheet.at.replace(tzinfo=None)})
        bold = book.add_format({"bold": True})
        formats = [book.add_format({"num_format": _number_format(n)}) for n in sheet.places]
        data = book.add_worksheet(_sheet_name(sheet.title))
        data.freeze_panes(1, 0)
        for column, title in enumerate(sheet.titles):
            data.write_string(0, column, title, bold)
        for number, row in enumerate(sheet.rows, 1):
            for column, value in enumerate(row):
                if isinstance(value, str):
                    data.write_string(number, column, value)
                elif value is not None:
                    data.write_number(number, column, value, formats[column])
        data.autofit()
        notes = book.add_worksheet(_sheet_name(notes_title))
        for number, (name, text) in enumerate(sheet.notes):
            notes.write_string(number, 0, name, bold)
            notes.write_string(number, 1, text)
        notes.autofit()
    return buffer.getvalue()


def _number_format(places: int) -> str:
    return "#,##0" + (f".{'0' * places}" if places else "")


def _sheet_name(title: str) -> str:
    """A name that a workbook takes: 31 characters, none of seven signs."""
    return "".join(" " if sign in "[]:*?/\\'" else sign for sign in title)[:31].strip()


def pdf_bytes(sheet: Sheet, *, is_chinese: bool) -> bytes:
    """The table on A4 across, its headings on every page, and where it comes from above it."""
    face = make_typeface(is_chinese=is_chinese)
    buffer = BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=landscape(A4),
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title=sheet.title,
        creator="GridSecure",
        lang="zh-CN" if is_chinese else "en",
        invariant=1,
    )
    style = ParagraphStyle("cell", fontSize=8, leading=10, wordWrap="CJK")
    parts: list[Flowable] = [
        Paragraph(
            face.markup(sheet.title, bold=True), ParagraphStyle("h", fontSize=14, leading=20)
        ),
        Spacer(0, 2 * mm),
        _notes(sheet, face, style),
        Spacer(0, 4 * mm),
        _grid(sheet, face, style),
    ]
    document.build(parts)
    return buffer.getvalue()


def _notes(sheet: Sheet, face: Typeface, style: ParagraphStyle) -> Grid:
    rows = [
        [Paragraph(face.markup(name, bold=True), style), Paragraph(face.markup(text), style)]
        for name, text in sheet.notes
    ]
    return Grid(rows, colWidths=[_NAME_WIDTH, _WIDTH - _NAME_WIDTH], style=_RULED)


def _grid(sheet: Sheet, face: Typeface, style: ParagraphStyle) -> Grid:
    right = ParagraphStyle("number", parent=style, alignment=2)
    numeric = [
        any(isinstance(row[column], int | Decimal) for row in sheet.rows)
        for column in range(len(sheet.titles))
    ]
    texts = [
        list(sheet.titles),
        *([_text(*cell) for cell in _cells(sheet, row)] for row in sheet.rows),
    ]
    drawn = [
        [
            Paragraph(face.markup(text, bold=not number), right if numeric[column] else style)
            for column, text in enumerate(row)
        ]
        for number, row in enumerate(texts)
    ]
    sizes = [
        min(max(_NARROWEST, *(len(row[column]) for row in texts)), _WIDEST)
        for column in range(len(sheet.titles))
    ]
    widths = [_WIDTH * size / sum(sizes) for size in sizes]
    heads = ("BACKGROUND", (0, 0), (-1, 0), _HEAD)
    return Grid(drawn, colWidths=widths, repeatRows=1, style=[*_RULED, heads])


def _cells(sheet: Sheet, row: Sequence[Value]) -> list[tuple[Value, int]]:
    return list(zip(row, sheet.places, strict=True))


def _text(value: Value, places: int) -> str:
    if value is None:
        return figures.NOTHING
    return value if isinstance(value, str) else figures.decimal(Decimal(value), places=places)


_RULED: Final = [
    ("LINEBELOW", (0, 0), (-1, -1), 0.5, _LINE),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
]
