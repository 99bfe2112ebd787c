"""A statement as PDF on A4: the same bytes for the same statement, on any machine.

Fonts: the package index has no font that could be embedded with a good conscience. The wheels with
Chinese fonts hold OpenType outlines that the PDF library cannot embed, or a variable font of which
it would embed the thinnest weight, or come from a thermal-printer project under a licence that is
not the font's. So Chinese is set in STSong-Light, which the viewer supplies, and whoever issues
statements can have a font of their own embedded instead (docs/adr/0011).

The library's invariant mode fixes dates and identifiers. A document is laid out twice: once to
count its pages, once with the count in each footer. Table headings are repeated on every page; a
line and its explanation stay together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from reportlab.lib.colors import HexColor, black, white
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, Paragraph, SimpleDocTemplate, Spacer
from reportlab.platypus import Table as Grid

from gridsecure.statements.model import (
    Column,
    LineView,
    Section,
    SourceView,
    StatementView,
    Table,
)
from gridsecure.statements.pdf_text import Typeface, make_typeface

MARGIN: Final = 15 * mm
WIDTH: Final = A4[0] - 2 * MARGIN
# The library's frame keeps this distance on all sides.
_FRAME_PADDING: Final = 6
_FOOT: Final = 9 * mm
# What of a meter point's id fits beside the page number.
_FOOT_LETTERS: Final = 48


def render_pdf(statement: StatementView, *, font: Path | None = None) -> bytes:
    """Draw a statement as a PDF.

    Args:
        font: A TrueType font file to embed; without one, nothing is embedded.

    Raises:
        InputError: `statement.font` for a file that cannot be embedded.
    """
    typeface = make_typeface(is_chinese=statement.language_tag.startswith("zh"), font=font)
    parts = Blocks(typeface, WIDTH)
    _, pages = _build(statement, parts, pages=0)
    content, _ = _build(statement, parts, pages=pages)
    return content


def _build(statement: StatementView, parts: Blocks, *, pages: int) -> tuple[bytes, int]:
    """Lay the document out; return its bytes and how many pages it took."""
    buffer = BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN - _FRAME_PADDING,
        rightMargin=MARGIN - _FRAME_PADDING,
        topMargin=MARGIN,
        bottomMargin=20 * mm,
        title=f"{statement.title} · {statement.meter_point.value}",
        author=statement.facts[0].value,
        creator="GridSecure",
        lang=statement.language_tag,
        invariant=1,
        initialFontName="Helvetica",
    )

    def draw_foot(canvas: Any, page: Any) -> None:
        _draw_foot(canvas, statement, parts, page=page.page, pages=pages)

    document.build(_story(statement, parts), onFirstPage=draw_foot, onLaterPages=draw_foot)
    return buffer.getvalue(), document.page


def _draw_foot(
    canvas: Any, statement: StatementView, parts: Blocks, *, page: int, pages: int
) -> None:
    name = statement.meter_point.value
    short = name if len(name) <= _FOOT_LETTERS else f"{name[:_FOOT_LETTERS]}…"
    number = statement.labels.page_of.format(page=page, pages=pages)
    for text, style in ((f"{statement.title} · {short}", "foot"), (number, "foot-right")):
        line: Paragraph = parts.text(text, style)
        line.wrap(WIDTH, _FOOT)
        line.drawOn(canvas, MARGIN, _FOOT)


def _story(statement: StatementView, parts: Blocks) -> list[Any]:
    story = [parts.head(statement), Spacer(1, 5 * mm), parts.facts(statement)]
    if statement.warning:
        story += [Spacer(1, 4 * mm), parts.warning(statement.warning)]
    story += [*parts.heading(statement.labels.lines), parts.lines(statement)]
    story.append(parts.text(statement.total_note, "note"))
    for section in statement.sections:
        story += parts.section(section)
    if statement.sources:
        story += parts.heading(statement.labels.sources)
        story += [parts.source(source) for source in statement.sources]
    if statement.code:
        story += [CondPageBreak(_CODE_SIDE + _HEADING_ROOM), *parts.heading(statement.labels.code)]
        story.append(parts.code(statement))
    story += parts.heading(statement.labels.notes)
    story += [parts.text(note, "bullet", bullet="•") for note in statement.notes]
    return story


# The same colours as in statement.css.
INK: Final = HexColor("#1b2430")
SOFT: Final = HexColor("#4a5563")
RULE: Final = HexColor("#d4dae1")
ACCENT: Final = HexColor("#0b4a6f")
TINT: Final = HexColor("#eef4f8")
ALARM: Final = HexColor("#8b1a1a")
ALARM_TINT: Final = HexColor("#fdeeee")

# name: size, leading, colour, bold, and what else the style sets
_STYLES: Final[Mapping[str, tuple[float, float, Any, bool, Mapping[str, Any]]]] = {
    "title": (20, 25, ACCENT, True, {}),
    "motto": (9, 13, SOFT, False, {}),
    "small": (8, 11, SOFT, False, {}),
    "meter": (12, 16, INK, True, {}),
    "due-label": (9, 12, white, False, {"alignment": TA_RIGHT}),
    "due": (20, 26, white, True, {"alignment": TA_RIGHT}),
    "due-long": (14, 19, white, True, {"alignment": TA_RIGHT}),
    "due-endless": (9, 12, white, True, {"alignment": TA_RIGHT}),
    "due-change": (13, 17, white, True, {"alignment": TA_RIGHT}),
    "fact-label": (9, 12.5, SOFT, False, {}),
    "fact": (9, 12.5, INK, False, {}),
    "warning": (9.5, 13, ALARM, True, {}),
    "heading": (12, 16, ACCENT, True, {"spaceBefore": 14, "spaceAfter": 4}),
    "column": (8, 10.5, SOFT, True, {}),
    "column-figure": (8, 10.5, SOFT, True, {"alignment": TA_RIGHT}),
    "cell": (9, 12, INK, False, {}),
    "cell-bold": (9, 12, INK, True, {}),
    "cell-figure": (9, 12, INK, False, {"alignment": TA_RIGHT}),
    "cell-figure-bold": (9, 12, INK, True, {"alignment": TA_RIGHT}),
    "total": (11, 14, INK, True, {}),
    "total-figure": (11, 14, INK, True, {"alignment": TA_RIGHT}),
    "why": (8, 11, SOFT, False, {}),
    "note": (8.5, 12, SOFT, False, {"spaceBefore": 4, "spaceAfter": 2}),
    "source": (9, 12.5, INK, False, {"spaceBefore": 3}),
    "bullet": (8.5, 12, SOFT, False, {"leftIndent": 10, "bulletIndent": 1, "spaceBefore": 2}),
    "foot": (7.5, 10, SOFT, False, {}),
    "foot-right": (7.5, 10, SOFT, False, {"alignment": TA_RIGHT}),
}
_BARE: Final = [
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 0),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
]
_ROWS: Final = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
    ("LEFTPADDING", (0, 0), (-1, -1), 4),
    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 3.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ("LINEBELOW", (0, 0), (-1, 0), 0.8, INK),
]
# What has to follow a heading on its page: a table's head and its first rows [pt].
_HEADING_ROOM: Final = 110.0
_DUE_WIDTH: Final = 190.0
_CODE_SIDE: Final = 40 * mm
_QUIET: Final = 4
"""Modules of white around a QR code."""
_LABEL_WIDTH: Final = 84.0
_FIGURE_WIDTH: Final = 84.0
_WORD_WIDTH: Final = 82.0


class QrDrawing(Flowable):  # type: ignore[misc]  # the library has no types
    """A QR code as one path: a shape a module took five times as long as all of the page.

    Args:
        modules: By row, `1` dark.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        super().__init__()
        self._modules = modules
        self.width = self.height = _CODE_SIDE

    def draw(self) -> None:
        """Draw it on the page that it was placed on."""
        module = _CODE_SIDE / (len(self._modules) + 2 * _QUIET)
        path = self.canv.beginPath()
        for number, row in enumerate(self._modules):
            bottom = _CODE_SIDE - (number + 1 + _QUIET) * module
            for run in re.finditer("1+", row):
                left = (_QUIET + run.start()) * module
                path.rect(left, bottom, len(run.group()) * module, module)
        self.canv.setFillColor(black)
        self.canv.drawPath(path, stroke=0, fill=1)


@dataclass(frozen=True)
class Blocks:
    """Makes the blocks of one document.

    Args:
        width: Width between the margins [pt].
    """

    typeface: Typeface
    width: float

    @cached_property
    def _styles(self) -> dict[str, ParagraphStyle]:
        wrap = {"wordWrap": "CJK"} if self.typeface.is_chinese else {}
        return {
            name: ParagraphStyle(
                name, fontSize=size, leading=leading, textColor=colour, **wrap, **more
            )
            for name, (size, leading, colour, _, more) in _STYLES.items()
        }

    def text(self, text: str, style: str, *, bullet: str | None = None) -> Any:
        """Return a paragraph of plain text; nothing in it is markup."""
        markup = self.typeface.markup(text, bold=_STYLES[style][3])
        return self._paragraph(markup, style, bullet=bullet)

    def _paragraph(self, markup: str, style: str, *, bullet: str | None = None) -> Any:
        return Paragraph(markup, self._styles[style], bulletText=bullet)

    def heading(self, text: str) -> list[Any]:
        """Return the heading of a part, which never stays alone at the foot of a page."""
        return [CondPageBreak(_HEADING_ROOM), self.text(text, "heading")]

    def head(self, statement: StatementView) -> Any:
        """Return the head: title and meter point on the left, the total on the right."""
        left = [
            self.text(statement.title, "title"),
            self.text(statement.motto, "motto"),
            Spacer(1, 8),
            self.text(statement.meter_point.label, "small"),
            self.text(statement.meter_point.value, "meter"),
        ]
        due = [
            [self.text(statement.total.label, "due-label")],
            [self.text(statement.total.value, _due_style(statement.total.value))],
        ]
        if statement.change:
            due.append([self.text(statement.change.label, "due-label")])
            due.append([self.text(statement.change.value, "due-change")])
        box = Grid(due, colWidths=[_DUE_WIDTH], style=_box(ACCENT))
        return Grid(
            [[left, box]], colWidths=[self.width - _DUE_WIDTH - 14, _DUE_WIDTH + 14],
            style=[*_BARE, ("ALIGN", (1, 0), (1, 0), "RIGHT")],
        )  # fmt: skip

    def facts(self, statement: StatementView) -> Any:
        """Return issuer, period, tariff and versions on a tinted ground."""
        rows = [
            [self.text(fact.label, "fact-label"), self.text(fact.value, "fact")]
            for fact in statement.facts
        ]
        return Grid(rows, colWidths=[_LABEL_WIDTH, self.width - _LABEL_WIDTH], style=_box(TINT))

    def warning(self, text: str) -> Any:
        """Return what must be read first."""
        bar = ("LINEBEFORE", (0, 0), (0, -1), 4, ALARM)
        style = [*_box(ALARM_TINT, round_corners=False), bar]
        return Grid([[self.text(text, "warning")]], colWidths=[self.width], style=style)

    def lines(self, statement: StatementView) -> Any:
        """Return the bill lines, each with its explanation in a row below it, and the total."""
        rows = [self._heading_row(statement.columns)]
        style = list(_ROWS)
        for line in statement.lines:
            at = len(rows)
            rows.append(self._line_row(statement.columns, line))
            rows.append([self._why(statement, line), *[""] * (len(statement.columns) - 1)])
            style += [
                ("SPAN", (0, at + 1), (-1, at + 1)),
                ("NOSPLIT", (0, at), (-1, at + 1)),
                ("BOTTOMPADDING", (0, at), (-1, at), 0),
                ("TOPPADDING", (0, at + 1), (-1, at + 1), 0.5),
                ("LINEBELOW", (0, at + 1), (-1, at + 1), 0.5, RULE),
            ]
        empty = [""] * (len(statement.columns) - 2)
        total = self.text(statement.labels.total, "total")
        rows.append([total, *empty, self.text(statement.total_figure, "total-figure")])
        style += [
            ("SPAN", (0, -1), (-2, -1)),
            ("LINEABOVE", (0, -1), (-1, -1), 1.4, INK),
            ("NOSPLIT", (0, max(0, len(rows) - 3)), (-1, len(rows) - 1)),
        ]
        return self._grid(statement.columns, rows, style)

    def section(self, section: Section) -> list[Any]:
        """Return a titled part with its tables."""
        blocks = [*self.heading(section.title), self.text(section.note, "note")]
        for table in section.tables:
            blocks += [Spacer(1, 4), self._table(table)]
        return blocks

    def source(self, source: SourceView) -> Any:
        """Return one price document with its reference."""
        return self.text(f"{source.reference} {source.title}", "source")

    def code(self, statement: StatementView) -> Any:
        """Return the QR code of what the issuer signed, and what it is for beside it."""
        cells = [[QrDrawing(statement.code), self.text(statement.labels.code_note, "note")]]
        widths = [_CODE_SIDE + 4 * mm, self.width - _CODE_SIDE - 4 * mm]
        return Grid(cells, colWidths=widths, style=[*_BARE, ("VALIGN", (0, 0), (-1, -1), "MIDDLE")])

    def _table(self, table: Table) -> Any:
        rows = [self._heading_row(table.columns)]
        for number, row in enumerate(table.rows, start=1):
            bold = number == len(table.rows)
            rows.append(self._cells(table.columns, row, all_bold=bold))
        style = [
            *_ROWS,
            ("LINEBELOW", (0, 1), (-1, -2), 0.5, RULE),
            ("LINEABOVE", (0, -1), (-1, -1), 1.2, INK),
        ]
        return self._grid(table.columns, rows, style)

    def _grid(self, columns: Sequence[Column], rows: list[Any], style: list[Any]) -> Any:
        rest = [_FIGURE_WIDTH if column.is_figure else _WORD_WIDTH for column in columns[1:]]
        widths = [self.width - sum(rest), *rest]
        return Grid(rows, colWidths=widths, repeatRows=1, style=style, spaceBefore=2)

    def _heading_row(self, columns: Sequence[Column]) -> list[Any]:
        return [
            self.text(column.heading, "column-figure" if column.is_figure else "column")
            for column in columns
        ]

    def _line_row(self, columns: Sequence[Column], line: LineView) -> list[Any]:
        cells = self._cells(columns, line.cells)
        cells[-1] = self.text(line.cells[-1], "cell-figure-bold")
        return cells

    def _cells(
        self, columns: Sequence[Column], texts: Sequence[str], *, all_bold: bool = False
    ) -> list[Any]:
        cells = []
        for number, (column, text) in enumerate(zip(columns, texts, strict=True)):
            style = "cell-figure" if column.is_figure else "cell"
            cells.append(self.text(text, f"{style}-bold" if all_bold or not number else style))
        return cells

    def _why(self, statement: StatementView, line: LineView) -> Any:
        labels = statement.labels
        plain = self.typeface.markup
        first = plain(f"{labels.arithmetic}{labels.colon}{line.arithmetic}")
        second = []
        if line.source:
            second.append(plain(f"{labels.source}{labels.colon}{line.source}"))
        if line.computed:
            second.append(plain(f"{labels.computed}{labels.colon}{line.computed}"))
        parts = [first, plain(" · ").join(second)] if second else [first]
        return self._paragraph("<br/>".join(parts), "why")


def _due_style(figure: str) -> str:
    """Choose a size in which a total stays on one line as long as it can."""
    if len(figure) <= 15:
        return "due"
    return "due-long" if len(figure) <= 21 else "due-endless"


def _box(ground: Any, *, round_corners: bool = True) -> list[Any]:
    """Return the style of a block on coloured ground."""
    corners = [("ROUNDEDCORNERS", [5, 5, 5, 5])] if round_corners else []
    return [
        ("BACKGROUND", (0, 0), (-1, -1), ground),
        ("LEFTPADDING", (0, 0), (-1, -1), 10),
        ("RIGHTPADDING", (0, 0), (-1, -1), 10),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ("TOPPADDING", (0, 0), (-1, 0), 8),
        ("BOTTOMPADDING", (0, -1), (-1, -1), 8),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        *corners,
    ]
