"""Sample bill documents and what tests read back from the statements made of them."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from gridsecure.statements.document import Addressee, make_statement
from gridsecure.statements.model import StatementView
from gridsecure.statements.wording import Language

DATA = Path(__file__).parent / "data"
GOLDEN = Path(__file__).parent / "golden"
SAMPLES = tuple(sorted(path.stem for path in DATA.glob("*.json")))
JULY = {"start": "2026-07-01T00:00:00+08:00", "end": "2026-08-01T00:00:00+08:00"}


def document(sample: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / f"{sample}.json").read_text(encoding="utf-8"))
    return loaded


def first_period(sample: str) -> dict[str, Any]:
    meter = next(iter(document(sample)["meters"].values()))
    period: dict[str, Any] = meter["periods"][0]
    return period


def statements(sample: str, language: Language) -> list[StatementView]:
    """Every statement of a sample, in its order."""
    return [
        make_statement(period, addressee=Addressee(name), language=language)
        for name, meter in document(sample)["meters"].items()
        for period in meter["periods"]
    ]


def statement(period: Any, language: Language = Language.ENGLISH, **more: Any) -> StatementView:
    addressee = Addressee(more.pop("meter", "meter-1"), more.pop("issuer", None))
    return make_statement(period, addressee=addressee, language=language)


def line(**changes: Any) -> dict[str, Any]:
    """A flat energy line of 10 kWh at half a yuan, with some keys changed."""
    return {
        "charge": "energy", "tou_period": None, "tier": None, "quantity": "10", "rate": "0.5",
        "amount_exact": "5", "amount": "5.00", "unit": "kWh", "source": None,
        "computed": "ciphertext",
    } | changes  # fmt: skip


def period(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A July bill of lines, its totals added up."""
    lines = lines or (line(),)
    exact = sum(Decimal(each["amount_exact"]) for each in lines)
    total = sum(Decimal(each["amount"]) for each in lines)
    totals = {"total_exact": format(exact, "f"), "total": f"{total:.2f}"}
    return JULY | {"lines": list(lines)} | totals | more


def every_text(shown: StatementView) -> list[str]:
    """Every text that a statement has for its reader, in the order of the page."""
    texts = [shown.title, shown.motto, shown.meter_point.label, shown.meter_point.value]
    texts += [shown.total.label, shown.total.value]
    texts += [shown.change.label, shown.change.value] if shown.change else []
    texts += [text for fact in shown.facts for text in (fact.label, fact.value)]
    texts += [shown.warning, *(column.heading for column in shown.columns)]
    for each in shown.lines:
        texts += [*each.cells, each.arithmetic, each.source, each.computed]
    texts += [shown.total_figure, shown.total_note]
    for section in shown.sections:
        texts += [section.title, section.note]
        for table in section.tables:
            texts += [column.heading for column in table.columns]
            texts += [cell for row in table.rows for cell in row]
    for source in shown.sources:
        texts += [source.reference, source.title]
    return [text for text in (*texts, *shown.notes) if text]


class Page(HTMLParser):
    """What a reader of an HTML file sees, by line, and the tags that it is made of."""

    BLOCKS = frozenset(["h1", "h2", "p", "dt", "dd", "tr", "li", "br"])
    HIDDEN = frozenset(["style", "title"])

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._hidden = False
        self._pieces: list[str] = []
        self.feed(html.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = self._hidden or tag in self.HIDDEN
        if tag in self.BLOCKS:
            self._pieces.append("\n")
        elif tag in {"th", "td"}:
            self._pieces.append(" | ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.HIDDEN:
            self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._pieces.append(data.replace("\n", " "))

    @property
    def text(self) -> str:
        lines = (" ".join(each.split()) for each in "".join(self._pieces).split("\n"))
        return "\n".join(re.sub(r"^\| ", "", each) for each in lines if each) + "\n"
