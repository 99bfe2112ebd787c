"""QR codes: every module where the encoder has it, on the page and on paper."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from reportlab.graphics.barcode.qr import QrCodeWidget

from gridsecure.errors import InputError
from gridsecure.statements.document import Addressee, make_statement
from gridsecure.statements.pdf import QrDrawing
from gridsecure.statements.qr_codes import MOST_BYTES, find_modules
from gridsecure.statements.render import render_html
from gridsecure.statements.wording import Language
from tests.statements.samples import first_period

TEXT = 'GRIDSECURE-BILL-1 {"account":"户-1"} ' + "ab" * 64
CODE = find_modules(TEXT)
FINDER = ("1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111")


def test_modules_are_those_of_the_encoder_row_by_row():
    encoder = QrCodeWidget(TEXT, barLevel="M").qr
    encoder.make()
    side = encoder.getModuleCount()
    assert [len(row) for row in CODE] == [side] * side
    assert all(
        (CODE[row][at] == "1") == bool(encoder.isDark(row, at))
        for row in range(side)
        for at in range(side)
    )
    assert tuple(row[:7] for row in CODE[:7]) == FINDER
    assert tuple(row[-7:] for row in CODE[:7]) == FINDER
    assert tuple(row[:7] for row in CODE[-7:]) == FINDER
    assert tuple("".join(column) for column in zip(*CODE, strict=True)) != CODE, "not symmetric"


def test_the_page_draws_each_module_in_its_place():
    addressee = Addressee("MP-1", None, TEXT)
    period = first_period("residential-tiers")
    page = render_html(make_statement(period, addressee=addressee, language=Language.ENGLISH))
    found = re.search(r'<path fill="#000" d="([^"]+)"', page.decode())
    assert found is not None
    drawn = {(int(y), int(x)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", found[1])}
    assert drawn == dark()


def test_paper_has_each_module_in_its_place():
    rects: list[tuple[float, float, float, float]] = []
    drawing = QrDrawing(CODE)
    path = SimpleNamespace(rect=lambda *given: rects.append(given))
    drawing.canv = SimpleNamespace(
        beginPath=lambda: path, setFillColor=lambda _: None, drawPath=lambda *_, **__: None
    )
    drawing.draw()
    module = drawing.width / (len(CODE) + 8)
    drawn = set()
    for left, bottom, width, height in rects:
        assert height == pytest.approx(module)
        row = round((drawing.height - bottom) / module) - 5
        first = round(left / module) - 4
        drawn |= {(row, first + n) for n in range(round(width / module))}
    assert drawn == dark()


def test_a_text_too_long_for_paper_is_refused():
    with pytest.raises(InputError) as refused:
        find_modules("a" * (MOST_BYTES + 1))
    assert refused.value.reason == "statement.code"


def dark() -> set[tuple[int, int]]:
    """Row and place of every dark module."""
    return {(y, x) for y, row in enumerate(CODE) for x, module in enumerate(row) if module == "1"}
