"""Statements from a bill document: the functions that a command, a service or a page calls.

    document = json.loads(text)
    for order in choose_statements(document, month="2026-07"):
        rendered = render_statement(order, options=RenderOptions(Language.CHINESE, Format.PDF))
        ...  # rendered.name, rendered.media_type, rendered.content

Nothing is read or written here, and nothing is remembered between calls.

HTML is one file: no script, no link, no font or picture from elsewhere. Every text passes through
the template engine's escaping, so markup in a name is shown as text; a content security policy in
the file would stop it from acting even so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from gridsecure.errors import NotFoundError
from gridsecure.month_texts import read_month
from gridsecure.statements.bill_document import read_bill
from gridsecure.statements.document import Addressee, make_statement
from gridsecure.statements.json_table import mapping, refusal
from gridsecure.statements.model import StatementView
from gridsecure.statements.options import Format, RenderOptions
from gridsecure.statements.pdf import render_pdf

# The longest meter point id that a file name carries as it is.
_NAME_LETTERS: Final = 80


_MEDIA_TYPES: Final = {Format.HTML: "text/html; charset=utf-8", Format.PDF: "application/pdf"}


@dataclass(frozen=True, slots=True)
class StatementOrder:
    """One meter point's bill for one period, as it stands in a bill document.

    Args:
        code: What its issuer signed of it, for a QR code; empty where it signed nothing.
    """

    meter_point_id: str
    period: Any
    code: str = ""


@dataclass(frozen=True, slots=True)
class RenderedStatement:
    """A finished statement.

    Args:
        name: A file name that is safe on every system and differs by meter point, month, version
            and language.
        media_type: For an HTTP answer.
    """

    name: str
    media_type: str
    content: bytes


def choose_statements(
    document: object, *, meter_point_id: str | None = None, month: str | None = None
) -> tuple[StatementOrder, ...]:
    """Return what a bill document has for a meter point, a month, both, or all of it.

    Args:
        document: {"meters": {meter point: {"periods": [...]}}}.
        meter_point_id: Only this meter point.
        month: Only the periods that start in this month, YYYY-MM.

    Raises:
        InputError: `statement.shape`, or `month.format` or `month.year` for a month that is none.
        NotFoundError: `statement.meter` or `statement.period` when nothing is left.
    """
    if month is not None:
        read_month(month)
    meters = mapping(mapping(document, "the document").get("meters"), "meters")
    if meter_point_id is not None and meter_point_id not in meters:
        raise NotFoundError(
            f"The bill document has no meter point {meter_point_id!r}.",
            reason="statement.meter",
            remedy="Check the id given to --meter.",
        )
    chosen = meters if meter_point_id is None else {meter_point_id: meters[meter_point_id]}
    orders = []
    for number, (name, meter) in enumerate(chosen.items()):
        periods = mapping(meter, f"meters[{number}]").get("periods")
        if not isinstance(periods, list):
            raise refusal(f"meters[{number}].periods", "is not a list")
        if not name.strip():
            raise refusal(f"meters[{number}]", "has no name")
        orders += [StatementOrder(name, period) for period in periods]
    if month is not None:
        orders = [order for order in orders if read_bill(order.period).month == month]
    if not orders:
        raise NotFoundError(
            "The bill document has no bill for that choice.",
            reason="statement.period",
            remedy="Leave --month out to get every period of the document.",
        )
    return tuple(orders)


def render_statement(order: StatementOrder, *, options: RenderOptions) -> RenderedStatement:
    """Render one statement.

    Raises:
        InputError: `statement.shape`, `statement.arithmetic` or `statement.font`.
    """
    addressee = Addressee(order.meter_point_id, options.issuer, order.code)
    statement = make_statement(order.period, addressee=addressee, language=options.language)
    if options.format is Format.HTML:
        content = render_html(statement)
    else:
        content = render_pdf(statement, font=options.font)
    return RenderedStatement(statement_name(order, options), _MEDIA_TYPES[options.format], content)


def statement_name(order: StatementOrder, options: RenderOptions) -> str:
    """Return the file name of a statement; a meter point id cannot lead it out of its folder."""
    bill = read_bill(order.period)
    safe = quote(order.meter_point_id, safe="", errors="surrogatepass").replace("%", "=")
    if len(safe) > _NAME_LETTERS:
        raw = order.meter_point_id.encode("utf-8", errors="surrogatepass")
        safe = f"{safe[:_NAME_LETTERS]}={hashlib.sha256(raw).hexdigest()[:16]}"
    version = "" if bill.version is None else f"-v{bill.version}"
    return f"statement-{safe}-{bill.month}{version}-{options.language}.{options.format}"


def render_html(statement: StatementView) -> bytes:
    """Draw a statement as a complete HTML file in UTF-8."""
    return _template().render(it=statement).encode("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("statement.html.jinja")
