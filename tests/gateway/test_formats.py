"""Files of both layouts to readings frames, and the refusals."""

from __future__ import annotations

import gzip
import stat

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import InvalidReadingsError, StorageError
from gridsecure.gateway import format_cells
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.preparation import write_quarantine

LONG = "meter_point_id,start,kwh\n"
# An energy that would be noticed in any message.
SECRET = "77.31"


def long_file(*rows):
    return (LONG + "".join(f"{row}\n" for row in rows)).encode()


def wide_file(*rows, points=24, extra=""):
    header = ",".join(f"p{number + 1}" for number in range(points))
    return (f"meter_point_id,date,{header}{extra}\n" + "".join(f"{r}\n" for r in rows)).encode()


def test_a_long_file_is_read_in_local_time():
    data = long_file(
        "A,2026-07-01 00:00,0.1", "A,2026-07-01 00:15:00,12.345", "A,2026-07-01T00:30,"
    )
    file = read_readings(data)
    assert (file.layout, file.encoding) == ("long", "utf-8")
    assert file.interval == pd.Timedelta(minutes=15)
    assert file.readings["energy_wh"].tolist() == [100, 12_345, 0]
    assert file.readings["quality"].tolist() == ["actual", "actual", "missing"]
    assert str(file.readings["start"].dt.tz) == "Asia/Shanghai"
    assert file.readings["start"].iloc[1] == pd.Timestamp("2026-06-30 16:15", tz="UTC")


def test_an_offset_in_the_file_wins_over_the_zone():
    data = long_file("A,2026-07-01T00:00Z,1", "A,2026-07-01 08:30+08:00,2")
    assert read_readings(data).readings["start"].tolist() == [
        pd.Timestamp("2026-07-01 08:00", tz="Asia/Shanghai"),
        pd.Timestamp("2026-07-01 08:30", tz="Asia/Shanghai"),
    ]


def test_quoted_cells_and_spaces_after_commas_are_understood():
    data = long_file('"A", 2026-07-01 00:00, "1.5"', '"A", 2026-07-01 01:00, 2')
    assert read_readings(data).readings["energy_wh"].tolist() == [1_500, 2_000]


def test_quality_flags_are_kept_even_when_unknown():
    data = (
        b"meter_point_id,start,kwh,quality\n"
        b"A,2026-07-01 00:00,1,\nA,2026-07-01 00:30,1,Estimated\nA,2026-07-01 01:00,1,odd\n"
    )
    assert read_readings(data).readings["quality"].tolist() == ["actual", "estimated", "odd"]


@pytest.mark.parametrize(("points", "minutes"), [(24, 60), (48, 30), (96, 15)])
def test_a_wide_file_has_one_reading_per_point(points, minutes):
    cells = ",".join(f"0.{number:03d}" for number in range(points))
    file = read_readings(wide_file(f"A,2026-07-01,{cells}", f"B,2026-07-02,{cells}", points=points))
    assert file.layout == "wide"
    assert file.interval == pd.Timedelta(minutes=minutes)
    assert file.readings["energy_wh"].tolist() == [*range(points), *range(points)]
    assert file.readings["meter_point_id"].tolist() == ["A"] * points + ["B"] * points
    second = file.readings["start"].iloc[points + 1]
    assert second == pd.Timestamp("2026-07-02", tz="Asia/Shanghai") + file.interval


@pytest.mark.parametrize("name", ["ratio", "综合倍率"])
def test_the_transformer_ratio_multiplies_exactly(name):
    cells = ",".join(["0.125"] * 24)
    file = read_readings(
        wide_file(f"A,2026-07-01,{cells},30", f"B,2026-07-01,{cells},1.6", extra=f",{name}")
    )
    assert set(file.readings["energy_wh"].iloc[:24]) == {3_750}
    assert set(file.readings["energy_wh"].iloc[24:]) == {200}


@pytest.mark.parametrize("ratio", ["0", "-3", "", "x", "1.5", "999999999"])
def test_a_ratio_that_gives_no_whole_wh_is_refused(ratio):
    cells = ",".join(["9999.001"] * 24)
    with pytest.raises(InvalidReadingsError, match=r"readings\.ratio"):
        read_readings(wide_file(f"A,2026-07-01,{cells},{ratio}", extra=",ratio"))


def test_blank_points_are_missing_readings():
    cells = ",".join(["", "NaN"] + ["1"] * 22)
    readings = read_readings(wide_file(f"A,2026-07-01,{cells}")).readings
    assert readings["quality"].tolist() == ["missing"] * 2 + ["actual"] * 22


def test_register_faces_are_differenced_and_a_rollover_is_told():
    data = (
        b"meter_point_id,start,register_kwh\n"
        b"A,2026-07-01 00:00,999999.90\nA,2026-07-01 01:00,999999.99\nA,2026-07-01 02:00,0.09\n"
    )
    file = read_readings(data)
    assert file.layout == "registers"
    assert file.readings["energy_wh"].tolist() == [90, 100]
    assert [problem.rule for problem in file.problems] == ["rollover"]


@given(st.lists(st.integers(0, 10**9), min_size=48, max_size=48))
def test_both_layouts_say_the_same(energies_wh):
    texts = [f"{wh // 1000}.{wh % 1000:03d}" for wh in energies_wh]
    starts = pd.date_range("2026-07-01", periods=48, freq="30min").strftime("%Y-%m-%d %H:%M")
    wide = read_readings(wide_file(f"A,2026-07-01,{','.join(texts)}", points=48))
    long = read_readings(long_file(*(f"A,{s},{t}" for s, t in zip(starts, texts, strict=True))))
    pd.testing.assert_frame_equal(wide.readings, long.readings)


def test_a_byte_order_mark_gzip_and_a_path_make_no_difference(tmp_path):
    plain = long_file("A,2026-07-01 00:00,1", "A,2026-07-01 01:00,2")
    path = tmp_path / "readings.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")))
    pd.testing.assert_frame_equal(read_readings(path).readings, read_readings(plain).readings)


def test_chinese_exports_are_read_and_say_so():
    cells = ",".join(["1"] * 24)
    text = wide_file(f"A,2026-07-01,{cells},2", extra=",综合倍率").decode()
    file = read_readings(text.encode("gb18030"))
    assert file.encoding == "gb18030"
    assert set(file.readings["energy_wh"]) == {2_000}


ROW = f"A,2026-07-01 00:00,{SECRET}"


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"", "empty", "no readings"),
        (LONG.encode(), "empty", "no readings"),
        (b"\xff\xfe\x00\x01", "encoding", "UTF-8"),
        (gzip.compress(long_file(ROW), mtime=0)[:30], "malformed", "gzip"),
        (long_file(ROW, f"{ROW},1,2"), "malformed", "Line 3"),
        (long_file(f"{ROW},1", f"{ROW},1"), "malformed", "Line 2"),
        (long_file(ROW, "A,2026-07-01 00:30"), "malformed", "Line 3"),
        (long_file(ROW, f'"A,2026-07-01 00:00,{SECRET}'), "malformed", "Line 3"),
        (
            long_file(f'"A",2026-07-01 00:00,{SECRET}', '"A",2026-07-01 00:30'),
            "malformed",
            "Line 3",
        ),
        (long_file(f",2026-07-01 00:00,{SECRET}"), "malformed", "meter_point_id"),
        (f"{ROW}\n{ROW}\n".encode(), "columns", "number 3"),
        (f"meter_point_id,start,kwh,colour\n{ROW},red\n".encode(), "columns", "colour"),
        (f"meter_point_id,start\nA,{SECRET}\n".encode(), "columns", "missing"),
        (f"meter_point_id,start,kwh,KWH\n{ROW},1\n".encode(), "columns", "'kwh' twice"),
        (wide_file("A,2026-07-01" + f",{SECRET}" * 26, points=26), "columns", "missing"),
        (f"meter_point_id,start,kwh,unit\n{ROW},Wh\n".encode(), "unit", "kWh for kwh, and line 2"),
        (f"meter_point_id,start,kwh,unit\n{ROW},kWh\n{ROW},MWh\n".encode(), "unit", "line 3"),
        (long_file(ROW, f"A,2026-07-01 00:30,{SECRET}45"), "energy", "line 3: more than three"),
        (long_file(ROW, f"A,2026-07-01 00:30,{SECRET}x"), "energy", "not a decimal number"),
        (long_file(ROW, f"A,2026-07-01 00:30,99999999{SECRET}"), "energy", "nine digits"),
        (long_file(ROW, f"A,2026-13-01 00:30,{SECRET}"), "timestamp", "line 3"),
        (long_file(ROW, f"A,01/07/2026 00:30,{SECRET}"), "timestamp", "line 3"),
        (long_file(ROW, f"A,,{SECRET}"), "timestamp", "line 3"),
        (wide_file("A,2026-02-30" + f",{SECRET}" * 24), "timestamp", "line 2"),
        # The clock of China was put forward on 1986-05-04 at 02:00, and back on 1986-09-14.
        (long_file(f"A,1986-05-04 02:30,{SECRET}"), "timestamp", "nonexistent"),
        (long_file(f"A,1986-09-14 01:30,{SECRET}"), "timestamp", "ambiguous"),
        (long_file(ROW), "interval", "interval"),
    ],
)
def test_an_unusable_file_is_refused_with_reason_and_without_values(data, reason, says):
    with pytest.raises(InvalidReadingsError) as refusal:
        read_readings(data)
    error = refusal.value
    assert error.reason == f"readings.{reason}"
    assert error.remedy
    assert says in str(error)
    told = f"{error!s} {error.problems!r} {error.__cause__!r}"
    assert SECRET not in told
    assert error.__suppress_context__ or error.__context__ is None or error.__cause__


GOOD_FILES = [
    long_file(*(f"A,2026-07-01 {hour:02d}:00,{hour}.5" for hour in range(24))),
    wide_file("A,2026-07-01" + ",1.25" * 24, '"B",2026-07-02' + ",0.5" * 24),
]


@given(
    st.sampled_from(GOOD_FILES),
    st.integers(0, 10**6),
    st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from(b',\n"\r\0\xff.-9a \x80')), max_size=3
    ),
)
def test_a_damaged_file_is_read_or_refused_and_never_breaks(data, length, damage):
    damaged = bytearray(data)
    for place, byte in damage:
        damaged[place % len(damaged)] = byte
    try:
        rows = len(read_readings(bytes(damaged[: length % len(damaged) + 1])).readings)
        outcome = "read"
    except InvalidReadingsError as refusal:
        rows, outcome = 0, refusal.reason
    assert (outcome == "read") == (rows > 0)
    assert outcome == "read" or outcome.startswith("readings.")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidReadingsError, match=r"readings\.file"):
        read_readings(tmp_path / "absent.csv")


def test_at_most_twenty_places_are_listed():
    rows = (f"A,2026-07-01 {hour:02d}:{minute:02d},x" for hour in range(24) for minute in (0, 30))
    with pytest.raises(InvalidReadingsError, match="48 lines refused") as refusal:
        read_readings(long_file(*rows))
    assert len(refusal.value.problems) == 20


def quarantined():
    file = read_readings(long_file("A,2026-07-01 00:00,-0.05", "A,2026-07-01 01:00,12.3"))
    return file.readings.assign(row=np.arange(2), reason=["negative", "future;spike"])


def test_the_quarantine_file_is_whole_exact_and_private(tmp_path):
    path = tmp_path / "quarantine.csv"
    path.write_text("earlier")
    write_quarantine(quarantined(), path=path)
    assert path.read_text().splitlines() == [
        "row,meter_point_id,start,kwh,quality,reason",
        "0,A,2026-07-01 00:00:00+0800,-0.050,actual,negative",
        "1,A,2026-07-01 01:00:00+0800,12.300,actual,future;spike",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_half_written_is_left_when_the_file_cannot_be_placed(tmp_path):
    path = tmp_path / "quarantine.csv"
    path.mkdir()
    with pytest.raises(StorageError):
        write_quarantine(quarantined(), path=path)
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_quarantine_is_a_header(tmp_path):
    path = tmp_path / "quarantine.csv"
    write_quarantine(quarantined().iloc[:0], path=path)
    assert path.read_text() == "row,meter_point_id,start,kwh,quality,reason\n"


def test_a_cim_message_without_its_namespace_is_refused_by_its_name():
    message = b'<MeterReadings xmlns="http://iec.ch/TC57/MeterReadings"><x>7731</x></MeterReadings>'
    with pytest.raises(InvalidReadingsError, match="IEC 61968-9") as refused:
        read_readings(message)
    assert refused.value.reason == "readings.format"
    assert refused.value.remedy
    assert "7731" not in str(refused.value)


CELLS = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.decimals(-(10**6), 10**6, places=3).map(str),
    st.sampled_from(["", "nan", "#N/A", "missing", " 1.5", "1.5 ", "-", "+1", "1.2.3", "1e3"]),
    st.sampled_from(["１.5", "0.2500", "0.0000000000", "0.00000000001", "1234567890.1", "1.23456"]),
    st.text("0123456789.+- ,eaN千", max_size=16),
)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12), st.integers(0, 3))
def test_cells_are_read_alike_where_they_lie_and_as_objects(
    rows: list[tuple[str, str, str]], first: int
) -> None:
    """Columns of Arrow's texts, in pieces and not from their beginning, and columns of objects."""
    objects = pd.DataFrame(rows, columns=["p1", "p2", "p3"], dtype=object)
    texts = pd.concat([objects.astype("str")] * 2, ignore_index=True).iloc[first:]
    objects = pd.concat([objects] * 2, ignore_index=True).iloc[first:]
    short = texts.map(lambda cell: len(cell.encode()) <= format_cells._SHORT).to_numpy().all()
    assert (format_cells._characters(texts) is not None) == short
    assert format_cells._characters(objects) is None
    for found, expected in zip(
        format_cells._read_texts(texts), format_cells._read_texts(objects), strict=True
    ):
        assert found.tolist() == expected.tolist()
