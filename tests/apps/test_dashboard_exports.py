"""Exported files: the figures as released, and where they come from, in each of them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO

import pytest
from python_calamine import CalamineWorkbook

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure_dashboard.exports import Sheet, pdf_bytes, xlsx_bytes

AT = datetime(2026, 8, 3, 9, 30, tzinfo=UTC)
DIGEST = "7b8e" * 16
SHEET = Sheet(
    title="2026-07 电费 [Bills]",
    titles=["供电区域 Zone", "账单数 Bills", "电费 (元) Amount (yuan)"],
    places=[0, 0, 2],
    rows=[
        ["福田 Futian", 1200, Decimal("245678.91")],
        ["=HYPERLINK(1)", 85, Decimal("-0.05")],
        ["罗湖 Luohu", None, None],
    ],
    notes=[("证书摘要 (SM3)", DIGEST), ("发布规则", "少于 15 户的分组不公布"), ("By", "=Li")],
    at=AT,
)


def test_a_workbook_has_numbers_and_their_source_and_no_formula() -> None:
    content = xlsx_bytes(SHEET, notes_title="来源 Source")
    book = CalamineWorkbook.from_filelike(BytesIO(content))
    assert book.sheet_names == ["2026-07 电费  Bills", "来源 Source"]
    rows = book.get_sheet_by_index(0).to_python()
    assert rows[1] == ["福田 Futian", 1200, 245678.91]
    assert rows[2] == ["=HYPERLINK(1)", 85, -0.05]
    assert rows[3][0] == "罗湖 Luohu"
    assert set(rows[3][1:]) == {""}
    assert ["证书摘要 (SM3)", DIGEST] in book.get_sheet_by_index(1).to_python()
    assert b"<f>" not in content
    assert content == xlsx_bytes(SHEET, notes_title="来源 Source")


@pytest.mark.parametrize("is_chinese", [True, False])
def test_a_pdf_names_its_certificate_on_as_many_pages_as_it_takes(is_chinese) -> None:
    content = pdf_bytes(SHEET, is_chinese=is_chinese)
    assert content.startswith(b"%PDF-")
    assert sm3_hex(content) == sm3_hex(pdf_bytes(SHEET, is_chinese=is_chinese))
    long = Sheet("t", SHEET.titles, SHEET.places, list(SHEET.rows) * 30, SHEET.notes, AT)
    assert pdf_bytes(long, is_chinese=is_chinese).count(b"/Type /Page\n") == 3
