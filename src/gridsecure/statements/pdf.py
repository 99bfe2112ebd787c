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

from io import BytesIO
from pathlib import Path
from typing import Any, Final

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

from gridsecure.statements.model import StatementView
from gridsecure.statements.pdf_parts import Parts
from gridsecure.statements.pdf_text import make_typeface

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
        statement: What to draw.
        font: A TrueType font file to embed; without one, nothing is embedded.

    Raises:
        InputError: `statement.font` for a file that cannot be embedded.
    """
    typeface = make_typeface(is_chinese=statement.language_tag.startswith("zh"), font=font)
    parts = Parts(typeface, WIDTH)
    _, pages = _build(statement, parts, pages=0)
    content, _ = _build(statement, parts, pages=pages)
    return content


def _build(statement: StatementView, parts: Parts, *, pages: int) -> tuple[bytes, int]:
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
    canvas: Any, statement: StatementView, parts: Parts, *, page: int, pages: int
) -> None:
    name = statement.meter_point.value
    short = name if len(name) <= _FOOT_LETTERS else f"{name[:_FOOT_LETTERS]}…"
    number = statement.labels.page_of.format(page=page, pages=pages)
    for text, style in ((f"{statement.title} · {short}", "foot"), (number, "foot-right")):
        line: Paragraph = parts.text(text, style)
        line.wrap(WIDTH, _FOOT)
        line.drawOn(canvas, MARGIN, _FOOT)


def _story(statement: StatementView, parts: Parts) -> list[Any]:
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
    story += parts.heading(statement.labels.notes)
    story += [parts.text(note, "bullet", bullet="•") for note in statement.notes]
    return story
