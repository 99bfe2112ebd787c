"""XLSX workbooks: what is read of them, and their bounds."""

from __future__ import annotations

import io
import zipfile

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import table_text, workbooks
from gridsecure.gateway.formats import read_readings

_TYPES = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
# Format 1 is a date with its time, format 2 hours beyond a day.
_STYLES = (
    f'<styleSheet xmlns="{_MAIN}"><numFmts><numFmt numFmtId="164" formatCode="[h]:mm"/></numFmts>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="22"/><xf numFmtId="164"/></cellXfs></styleSheet>'
)


def cell(value: object, *, style: int = 0) -> str:
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c s="{style}"><v>{value!r}</v></c>'


def workbook(*sheets: list[list[str]]) -> bytes:
    """A workbook of sheets, each a list of rows of XML cells."""
    names = [f"sheet{number}" for number in range(1, len(sheets) + 1)]
    parts = {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="r"'
        f' Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/styles.xml": _STYLES,
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        + "".join(f'<sheet name="{n}" sheetId="{n[5:]}" r:id="r{n[5:]}"/>' for n in names)
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_RELATIONS}">'
        + "".join(
            f'<Relationship Id="r{n[5:]}" Type="{_OFFICE}/worksheet" Target="worksheets/{n}.xml"/>'
            for n in names
        )
        + "</Relationships>",
    }
    for name, rows in zip(names, sheets, strict=True):
        body = "".join(f"<row>{''.join(row)}</row>" for row in rows)
        sheet = f'<worksheet xmlns="{_MAIN}"><sheetData>{body}</sheetData></worksheet>'
        parts[f"xl/worksheets/{name}.xml"] = sheet
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return packed.getvalue()


LONG = [[cell(name) for name in ("meter_point_id", "start", "kwh")]]
# Serial numbers of days since 1899-12-30: 46204 is 2026-07-01.
ROWS = [[cell("A"), cell(46204 + n / 96, style=1), cell(0.1 + 0.2)] for n in range(4)]


def refusal(data: bytes) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(data)
    assert refused.value.remedy
    return refused.value


def test_a_sheet_is_read_as_a_table_with_the_digits_that_it_keeps():
    file = read_readings(workbook([], [*LONG, *ROWS]))
    assert file.encoding == "xlsx"
    assert file.readings["energy_wh"].tolist() == [300] * 4
    expected = pd.date_range("2026-07-01", periods=4, freq="15min", tz="Asia/Shanghai")
    assert file.readings["start"].tolist() == list(expected)


def test_an_export_of_96_points_is_read_with_its_title_and_its_total():
    clock = [cell((n + 1) / 96, style=2) for n in range(96)]
    title = [cell("用户日冻结电量")]
    header = [cell("户号"), cell("数据日期"), *clock, cell("综合倍率")]
    day = [cell("0310000000001"), cell(46204, style=1), *[cell(0.1)] * 96, cell(30)]
    total = [cell("合计"), cell(""), *[cell(0.1)] * 96, cell("")]
    readings = read_readings(workbook([title, header, day, total])).readings
    assert readings["energy_wh"].tolist() == [3_000] * 96
    assert readings["start"].iloc[0] == pd.Timestamp("2026-07-01", tz="Asia/Shanghai")
    assert set(readings["meter_point_id"]) == {"0310000000001"}


@pytest.mark.parametrize(
    ("sheets", "reason"),
    [
        (([*LONG, *ROWS], [*LONG, *ROWS]), "readings.format"),
        (([],), "readings.format"),
        (([*LONG, [cell(3.1e21), *ROWS[0][1:]]],), "readings.format"),
        (([*LONG, ['<c r="XFD1048576"><v>1</v></c>']],), "readings.expansion"),
    ],
)
def test_what_a_workbook_does_not_say_plainly_is_refused(sheets, reason):
    assert refusal(workbook(*sheets)).reason == reason


def test_a_workbook_is_unfolded_within_the_bounds_of_any_file(monkeypatch):
    data = workbook([*LONG, *ROWS])
    for number in range(0, len(data), 97):
        damaged = data[:number] + b"\xff" + data[number + 1 :]
        with pytest.raises(InvalidReadingsError):
            read_readings(damaged[: len(data) - 30])
    monkeypatch.setattr(table_text, "MAX_FILE_BYTES", 1000)
    assert refusal(data).reason == "readings.too-large"
    monkeypatch.setattr(table_text, "MAX_FILE_BYTES", 1 << 30)
    monkeypatch.setattr(table_text, "FREE_BYTES", 1000)
    monkeypatch.setattr(table_text, "MAX_EXPANSION", 1)
    assert refusal(data).reason == "readings.expansion"


@pytest.mark.parametrize("place", ["r='ZZ10000'", 'r = "ZZ10000"', 'r="&#90;Z9999"'])
def test_a_far_cell_is_seen_however_its_place_is_written(place):
    far = f'<c {place} t="inlineStr"><is><t>x</t></is></c>'
    assert refusal(workbook([*LONG, [far]])).reason in {"readings.expansion", "readings.malformed"}


def test_cells_without_a_place_are_counted_by_where_they_come_to_stand():
    wide = [cell(1.0)] * 2_000
    far = ['<c r="A1000000"><v>1</v></c>']
    assert refusal(workbook([*LONG, wide, far])).reason == "readings.expansion"
    # The library follows the place of the row, whatever its cells say.
    moved = workbook([*LONG, wide, [*far, "</row><row r='1000000'><c><v>1</v></c>"]])
    assert refusal(moved).reason == "readings.expansion"


class PanicException(BaseException):
    """As the library's, which no module exports."""


@pytest.mark.parametrize(
    ("fault", "seen"), [(PanicException, InvalidReadingsError), (KeyboardInterrupt,) * 2]
)
def test_a_panic_of_the_library_is_a_refusal_and_an_interrupt_is_not(monkeypatch, fault, seen):
    def give_up(_: object) -> None:
        raise fault

    monkeypatch.setattr(workbooks.CalamineWorkbook, "from_filelike", staticmethod(give_up))
    with pytest.raises(seen) as refused:
        read_readings(workbook([*LONG, *ROWS]))
    assert seen is not InvalidReadingsError or refused.value.reason == "readings.malformed"


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["mimetype", "content.xml"], "format"),
        (["word/document.xml"], "format"),
        (["readings.csv"], "format"),
        (["xl/workbook.xml", "content.xml"], "malformed"),
        (["xl/workbook.xml", "xl/workbook.bin"], "malformed"),
    ],
)
def test_workbooks_of_other_kinds_are_not_opened(names, reason):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "<x/>")
    assert refusal(packed.getvalue()).reason == f"readings.{reason}"
