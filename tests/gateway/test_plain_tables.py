"""A text without quotes is cut into cells as the parser of any text cuts it."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import table_text
from gridsecure.gateway.table_text import TableText, read_cells

COLUMNS = ("meter_point_id", "00:00", "quality", "00:30")
HEADER = b"Meter,00:00,Quality,00:30\n"
# what cells may hold: blanks that are no spaces, signs of other writing, numbers that are none
CELLS = st.text(
    st.sampled_from("a0.-é中 \t\x0b\x1c\x85\u2028#'\\;NA"), max_size=4
) | st.sampled_from(
    [
        "",
        "NA",
        "nan",
        "null",
        "1e5",
        "0x1",
        "007",
        "-0",
        "True",
        "\N{ZERO WIDTH NO-BREAK SPACE}x",
        " x",
        "x ",
    ]
)
LINES = st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=9)


def table_of(data: bytes, *, separator: str = ",") -> pd.DataFrame | str:
    """A table, or the reason why there is none."""
    text = TableText(data.rstrip(b"\n"), "utf-8", first_line=3)
    try:
        return read_cells(text, separator=separator, columns=COLUMNS)
    except InvalidReadingsError as refused:
        return refused.reason


def slowly(data: bytes, *, separator: str = ",") -> pd.DataFrame | str:
    """The same by the parser of any text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_text, "_plain_cells", lambda *_: None)
        return table_of(data, separator=separator)


def assert_same(data: bytes, *, separator: str = ",") -> None:
    found, wanted = table_of(data, separator=separator), slowly(data, separator=separator)
    if isinstance(found, str) or isinstance(wanted, str):
        assert (found, wanted) == (wanted, found)
    else:
        assert_frame_equal(found, wanted)


@given(LINES, st.sampled_from(",;\t|"))
def test_cells_are_the_parsers(lines: list[list[str]], separator: str) -> None:
    cells = [[cell.replace(separator, "") for cell in line] for line in lines]
    rows = "\n".join(separator.join(line) for line in cells).encode()
    assert_same(HEADER.replace(b",", separator.encode()) + rows, separator=separator)


@pytest.mark.parametrize(
    "rows",
    [
        b"m1,1,actual,2\n\nm2,3,actual,4",
        b"m1,1,actual,2\n,,,\nm2,3,actual,4",
        b"m1,1,actual,2\n ,,,\nm2,3,actual,4",
        b'm1,1,"actual",2\nm2,3,actual,4',
        b'm1,1,"act,ual",2',
        b"m1, 1,actual,2",
        b"m1,1,actual ,2",
        b"m1,1,actual,2\n,,\n, \nm2,3,actual,4",
        b",,,",
        b"m1,1,actual,2\n" * 3,
    ],
)
def test_blank_quoted_and_padded_lines_are_the_parsers(rows: bytes) -> None:
    assert_same(HEADER + rows)


def test_tables_of_many_blocks_are_the_parsers() -> None:
    """Texts that come first in a later block are categories in order all the same."""
    lines = [f"m{9999 - at // 40:05d},{at / 1000:.3f},q{at % 7},{at}" for at in range(60_000)]
    data = HEADER + "\n".join(lines).encode()
    found, wanted = table_of(data), slowly(data)
    assert isinstance(found, pd.DataFrame)
    assert isinstance(wanted, pd.DataFrame)
    assert_frame_equal(found, wanted, check_categorical=False)
    assert found.astype("str").equals(wanted.astype("str"))
    assert found["meter_point_id"].cat.categories.is_monotonic_increasing


def test_a_line_as_long_as_any_is_read() -> None:
    long = b"x" * (table_text.MAX_LINE_BYTES - 40)
    assert_same(HEADER + b"\n".join([b"m1,1,actual," + long] * 40))


def test_plain_text_makes_no_object_of_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_text, "_parsed_cells", None)
    found = table_of(HEADER + b"m1,0.125,actual,12.250\n" * 3)
    assert isinstance(found, pd.DataFrame)
    assert found.index.tolist() == [4, 5, 6]
