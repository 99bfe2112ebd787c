"""Both forms say what the statement says, and take nothing for markup; bytes never vary."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grimp
import pytest
import reportlab

import gridsecure.statements.render as html_room
from gridsecure.errors import GridSecureError, InputError
from gridsecure.statements.options import Format, RenderOptions
from gridsecure.statements.pdf import render_pdf
from gridsecure.statements.plain_text import make_visible
from gridsecure.statements.render import (
    StatementOrder,
    choose_statements,
    render_html,
    render_statement,
)
from gridsecure.statements.wording import Language
from tests.statements.pdf_text import page_texts
from tests.statements.samples import (
    JULY,
    SAMPLES,
    Page,
    document,
    every_text,
    first_period,
    line,
    period,
    statement,
    statements,
)

ROOT = Path(__file__).resolve().parents[2]
VERA = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<b>bold</b><br/><font color='red'>x</font>",
    "&amp;&lt;b&gt; & <para> </para>",
    "{{ 7 * 7 }} {% raw %}",
    "</style><style>*{display:none}",
    "<a href=\"http://example.org\">x</a> \\(x\\) Tj",
    "%s %(name)s {page} {0} {unit}",
]  # fmt: skip


def squeezed(text: str) -> str:
    """A text without blanks, which line breaks of a PDF swallow."""
    return "".join(text.split())


def pdf_text(pdf: bytes) -> str:
    return "".join(page_texts(pdf))


def hostile_period(text: str) -> dict[str, Any]:
    tariff = {"id": text, "version": text, "name_en": text, "name_zh": text, "currency": "CNY"}
    sources = {text: {"document": text}}
    lines = (
        line(charge=text, tou_period=text, unit=text, source=text, computed=text),
        line(charge="government-funds", tou_period=text, source="unknown" + text),
    )
    change = {"charge": text, "tou_period": text, "tier": None, "amount": "1.00"}
    adjustment = {"lines": [change], "total": "1.00"}
    return period(*lines, tariff=tariff, sources=sources, adjustment=adjustment)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("sample", SAMPLES)
def test_both_forms_hold_every_text(sample: str, language: Language) -> None:
    for each in statements(sample, language):
        page = Page(render_html(each)).text
        drawn = pdf_text(render_pdf(each))
        for text in every_text(each):
            assert " ".join(text.split()) in page
            assert squeezed(text) in drawn


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("text", HOSTILE)
def test_markup_comes_out_as_text(text: str, language: Language) -> None:
    each = statement(hostile_period(text), language, meter=text, issuer=text)
    clean = Page(render_html(statement(hostile_period("x"), language, meter="x", issuer="x")))
    page = Page(render_html(each))
    assert page.tags == clean.tags
    assert page.text.count(" ".join(text.split())) >= 8
    assert pdf_text(render_pdf(each)).count(squeezed(text)) >= 8


@pytest.mark.parametrize("language", Language)
def test_text_that_hides_itself_is_shown_by_number(language: Language) -> None:
    sly = "a\u202eb\u200bc\u0000d\ud800e\x07f\u2066g\U000e0041h"
    seen = "a[U+202E]b[U+200B]c[U+0000]d[U+D800]e[U+0007]f[U+2066]g[U+E0041]h"
    each = statement(hostile_period(sly), language, meter=sly)
    assert seen in Page(render_html(each)).text
    assert seen in pdf_text(render_pdf(each))
    assert make_visible("one\ntwo\tthree") == "one two three"


def test_what_no_font_draws_is_shown_by_number_in_a_pdf() -> None:
    each = statement(period(), meter="计量点-😀-م-á-€")
    assert "计量点-[U+1F600]-[U+0645]-á-€" in pdf_text(render_pdf(each))
    assert "计量点-😀-م-á-€" in Page(render_html(each)).text


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("long", ["W" * 100_000, "电" * 5_000, "many words " * 500])
def test_endless_names_are_cut_and_stay_on_the_page(long: str, language: Language) -> None:
    each = statement(hostile_period(long), language, meter=long, issuer=long)
    assert "…" in Page(render_html(each)).text
    pages = page_texts(render_pdf(each))
    assert len(pages) < 20
    assert squeezed(make_visible(long)) in "".join(pages)


def test_long_figures_stay_on_the_page() -> None:
    wide = line(
        quantity="9" * 30, rate="1", amount_exact="9" * 30, amount="9" * 30 + ".00"
    )  # fmt: skip
    bill = JULY | {"lines": [wide], "total_exact": "9" * 30, "total": "9" * 30 + ".00"}
    shown_total = squeezed(statement(bill).total.value)
    assert shown_total in pdf_text(render_pdf(statement(bill)))


def test_long_statements_have_pages_with_repeated_headings_and_numbers() -> None:
    lines = [line(tou_period=f"period {number}") for number in range(150)]
    each = statement(period(*lines), meter="m" * 300)
    pages = page_texts(render_pdf(each))
    assert len(pages) > 5
    for number, text in enumerate(pages, start=1):
        assert f"Page{number}of{len(pages)}" in text
        assert "m" * 48 + "…" in text
    heading = "ChargePeriodQuantityRate(CNY)Amount(CNY)"
    holding = [text for text in pages if "Calculation" in text]
    assert all(heading in text for text in holding)
    # The lines begin under the head, not on a page of their own.
    assert "Calculation" in pages[0]
    # A line and its explanation are on the same page.
    assert all(text.count("Energyperiod") == text.count("Calculation:") for text in holding)


def test_the_same_statement_gives_the_same_bytes_on_every_run() -> None:
    program = (
        "import hashlib; from tests.statements.samples import *;"
        "from gridsecure.statements.pdf import render_pdf;"
        "from gridsecure.statements.render import render_html;"
        "s = statements('commercial-four-period', Language.CHINESE)[0];"
        "print(hashlib.sha256(render_pdf(s) + render_html(s)).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "TZ": zone},
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Shanghai"))
    }
    assert len(seen) == 1


def test_html_reaches_for_nothing_outside_and_is_accessible() -> None:
    for language, tag in ((Language.CHINESE, "zh-CN"), (Language.ENGLISH, "en")):
        html = render_html(statements("commercial-four-period", language)[0])
        page = Page(html)
        assert page.tags[0] == ("html", {"lang": tag})
        names = {name for name, _ in page.tags}
        assert not names & {"script", "link", "img", "iframe", "object", "form", "base", "svg"}
        attributes = [pair for _, each in page.tags for pair in each.items()]
        assert all(value.startswith("#") for name, value in attributes if name == "href" and value)
        assert not {name for name, _ in attributes} & {"src", "onload", "style", "srcset"}
        assert not re.search(rb"url\(|@import|@font-face|https?:", html)
        scopes = [each.get("scope") for name, each in page.tags if name == "th"]
        assert scopes
        assert set(scopes) == {"col", "row"}


def test_references_lead_to_sources() -> None:
    page = Page(render_html(statements("commercial-four-period", Language.ENGLISH)[0]))
    marks = {each["id"] for _, each in page.tags if each.get("id")}
    links = {str(each["href"])[1:] for name, each in page.tags if name == "a"}
    assert links
    assert links <= marks


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("ink", "#ffffff"), ("soft", "#ffffff"), ("soft", "tint"), ("accent", "tint"),
        ("accent", "#ffffff"), ("alarm", "alarm-tint"),
    ],
)  # fmt: skip
def test_text_stands_out_from_its_ground(ink: str, ground: str) -> None:
    css = Path(html_room.__file__).with_name("statement.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", css))
    dark, light = luminance(colours[ink]), luminance(colours.get(ground, ground))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_font_of_the_issuer_is_embedded() -> None:
    each = statement(period(), meter="计量点 7")
    plain, embedded = render_pdf(each), render_pdf(each, font=VERA)
    assert b"/FontFile2" in embedded
    assert b"/FontFile2" not in plain
    assert b"STSong-Light" in embedded  # this font has no Chinese
    assert render_pdf(each, font=VERA) == embedded


@pytest.mark.parametrize("content", [None, b"", b"junk" * 100, b"OTTO" + bytes(200)])
def test_a_file_that_is_no_truetype_font_is_refused(content: bytes | None, tmp_path: Path) -> None:
    font = tmp_path / "font.ttf"
    if content is not None:
        font.write_bytes(content)
    with pytest.raises(InputError) as caught:
        render_pdf(statement(period()), font=font)
    assert caught.value.reason == "statement.font"


@pytest.mark.parametrize("cut", [20, 300, 3000, 30000])
def test_a_torn_font_is_refused(cut: int, tmp_path: Path) -> None:
    font = tmp_path / "font.ttf"
    font.write_bytes(VERA.read_bytes()[:cut])
    with pytest.raises(InputError) as caught:
        render_pdf(statement(period()), font=font)
    assert caught.value.reason == "statement.font"


# --- the functions for other programs -----------------------------------------------------------


def test_choosing_by_meter_point_and_month() -> None:
    bills = document("plain-contract")
    assert len(choose_statements(bills)) == 2
    (august,) = choose_statements(bills, month="2026-08")
    assert august.period["start"].startswith("2026-08")
    assert len(choose_statements(document("correction"), meter_point_id="meter-0003")) == 1


CHOICES: list[tuple[Any, dict[str, str], str]] = [
    ([], {}, "statement.shape"),
    ({}, {}, "statement.shape"),
    ({"meters": {"a": {}}}, {}, "statement.shape"),
    ({"meters": {" ": {"periods": []}}}, {}, "statement.shape"),
    ({"meters": {"a": {"periods": []}}}, {}, "statement.period"),
    ({"meters": {"a": {"periods": []}}}, {"meter_point_id": "b"}, "statement.meter"),
    ({"meters": {}}, {"month": "2026-13"}, "month.format"),
    ({"meters": {"a": {"periods": [period()]}}}, {"month": "2026-08"}, "statement.period"),
    ({"meters": {"a": {"periods": [{}]}}}, {"month": "2026-08"}, "statement.shape"),
]


@pytest.mark.parametrize(("bills", "choice", "reason"), CHOICES)
def test_a_choice_of_nothing_says_why(bills: Any, choice: dict[str, str], reason: str) -> None:
    with pytest.raises(GridSecureError) as caught:
        choose_statements(bills, **choice)
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c:d", ".hidden", "ü" * 90, "\ud800"])
def test_file_names_are_safe_and_differ(name: str) -> None:
    options = RenderOptions(Language.ENGLISH, Format.HTML)
    order = StatementOrder(name, period(version=3))
    rendered = render_statement(order, options=options)
    assert re.fullmatch(r"statement-[\w.=~-]+-2026-07-v3-en\.html", rendered.name, re.ASCII)
    assert len(rendered.name) < 140
    other = render_statement(StatementOrder(name + "x", period(version=3)), options=options)
    assert other.name != rendered.name


def test_media_types() -> None:
    order = StatementOrder("a", first_period("minimum-bill"))
    for kind, start in ((Format.HTML, b"<!DOCTYPE html>"), (Format.PDF, b"%PDF-1.")):
        rendered = render_statement(order, options=RenderOptions(Language.CHINESE, kind))
        assert rendered.content.startswith(start)
        assert rendered.media_type.split(";")[0] in {"text/html", "application/pdf"}


def test_statements_reach_nothing_of_the_product_but_errors_and_months() -> None:
    """So that a page or a service can use them, whatever its zone."""
    graph = grimp.build_graph("gridsecure", cache_dir=None)
    reached = {
        module
        for room in graph.find_descendants("gridsecure.statements")
        for module in graph.find_upstream_modules(room)
        if not module.startswith("gridsecure.statements")
    }
    assert reached == {"gridsecure.errors", "gridsecure.month_texts"}
