"""The statement as it is shown: every text final, nothing left for a renderer to decide.

Both renderers draw these values and add no word and no figure of their own, so HTML and PDF say
the same.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and what it is."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; figures stand to the right."""

    heading: str
    is_figure: bool = False


@dataclass(frozen=True, slots=True)
class LineView:
    """One bill line and what is said under it.

    Args:
        cells: One text per column of the statement's lines.
        arithmetic: How the amount was reached.
        source: Reference to the source of the price, such as "[1]"; empty where none is named.
        computed: How the line was computed; empty where the bill does not say.
    """

    cells: tuple[str, ...]
    arithmetic: str
    source: str
    computed: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names its rows and whose last row is the total."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part: a sentence, then tables."""

    title: str
    note: str
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class SourceView:
    """A published price document in the list at the end."""

    reference: str
    title: str


@dataclass(frozen=True, slots=True)
class Labels:
    """The fixed words a renderer needs."""

    lines: str
    total: str
    arithmetic: str
    source: str
    computed: str
    sources: str
    code: str
    code_note: str
    notes: str
    page_of: str
    colon: str


@dataclass(frozen=True, slots=True)
class StatementView:
    """A customer's bill for one period, ready to be drawn.

    Args:
        language_tag: Language of the document (BCP 47).
        motto: One sentence under it.
        facts: Issuer, period, tariff and versions.
        total: The prominent figure, with its currency.
        total_figure: The same figure as it stands under the lines.
        change: For a correction, the second prominent figure: what is refunded or to pay.
        warning: What a reader must know first; empty if nothing.
        lines: The bill lines, in the bill's order.
        total_note: How lines and total belong together.
        sections: VAT, price build-up and correction, as far as the bill has them.
        code: Modules of a QR code by row, `1` dark; none where the issuer signed nothing.
    """

    language_tag: str
    title: str
    motto: str
    meter_point: Fact
    facts: tuple[Fact, ...]
    total: Fact
    total_figure: str
    change: Fact | None
    warning: str
    labels: Labels
    columns: tuple[Column, ...]
    lines: tuple[LineView, ...]
    total_note: str
    sections: tuple[Section, ...]
    sources: tuple[SourceView, ...]
    code: tuple[str, ...]
    notes: tuple[str, ...]
