"""What a file of readings may cost, measured: bombs are refused early, honest files stay cheap."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gridsecure.billing import contracts
from gridsecure.billing.contracts import load_contracts
from gridsecure.errors import InputError, InvalidReadingsError, InvalidTariffError
from gridsecure.gateway import table_text
from gridsecure.gateway.collection import LaterReadings, MonthFiles, read_files
from gridsecure.gateway.formats import read_readings
from gridsecure.periods import billing_month
from gridsecure.tariffs import tariff as tariffs
from gridsecure.tariffs.tariff import load_tariff, parse_tariff

MIB = 1 << 20
PERIOD = billing_month(2026, 7, timezone="Asia/Shanghai")
BYTES_PER_READING = 260
"""Memory that a reading may take while it is read [bytes]; `docs/limitations.md` says 200."""
OVERHEAD = 128 * MIB
"""What reading a small file takes beside its readings."""

# In a process of its own, whose peak is that of reading alone. VmHWM begins anew with each
# program; getrusage's peak would be that of the test runner where that was larger.
MEASURE = """
import json, sys
from pathlib import Path
from gridsecure.errors import GridSecureError
from gridsecure.gateway.formats import read_readings

def peak():
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak()
try:
    found = len(read_readings(Path(sys.argv[1])).readings)
except GridSecureError as error:
    found = error.reason
print(json.dumps([found, peak() - before]))
"""


def measured(path: Path) -> tuple[int | str, int]:
    """Readings or the reason of the refusal, and what it took at most [bytes]."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True, timeout=300
    )
    found, peak = json.loads(done.stdout)
    return found, peak


def packed(path: Path, *parts: tuple[bytes, int]) -> Path:
    """A gzip file of parts, each repeated so many times."""
    with gzip.open(path, "wb") as stream:
        for part, count in parts:
            block = part * max(1, MIB // len(part))
            for _ in range(count * len(part) // len(block)):
                stream.write(block)
            stream.write(part * (count % max(1, MIB // len(part))))
    return path


def wide_lines(meters: int, *, points: str) -> bytes:
    header = ",".join(f"p{number}" for number in range(1, 97))
    lines = [f"meter_point_id,date,{header}"]
    lines += [
        f"44030000{meter:04d},2026-07-{day:02d},{points}"
        for meter in range(meters)
        for day in range(1, 32)
    ]
    return ("\n".join(lines) + "\n").encode()


BOMBS = {
    "one endless line": ((b"meter_point_id,start,kwh\n", 1), (b"0", 128 * MIB)),
    "one line again and again": (
        (b"meter_point_id,start,kwh\n", 1),
        (b"A,2026-07-01 00:00,1\n", 8 * MIB),
    ),
    "blank lines": ((b"meter_point_id,start,kwh\nA,2026-07-01 00:00,1\n", 1), (b"\n", 128 * MIB)),
    "UTF-16": ((b"\xff\xfe", 1), (b"0\0", 64 * MIB)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(tmp_path, name):
    path = packed(tmp_path / "bomb.csv.gz", *BOMBS[name])
    assert path.stat().st_size < MIB
    reason, peak = measured(path)
    assert reason == "readings.expansion"
    assert peak < table_text.FREE_BYTES + OVERHEAD


def test_readings_are_counted_not_only_bytes(tmp_path):
    """Two bytes of text are a reading of two hundred bytes: the ratio of texts does not tell."""
    text = wide_lines(2000, points=",".join(["0"] * 96))
    path = tmp_path / "zeros.csv.gz"
    path.write_bytes(gzip.compress(text))
    assert len(text) < table_text.FREE_BYTES
    reason, peak = measured(path)
    assert reason == "readings.expansion"
    assert peak < 4 * len(text) + OVERHEAD


def test_a_large_honest_file_takes_a_small_multiple_of_its_readings(tmp_path):
    points = ",".join(f"0.{number * 7919 % 1000:03d}" for number in range(96))
    path = tmp_path / "month.csv.gz"
    path.write_bytes(gzip.compress(wide_lines(300, points=points), 1))
    readings, peak = measured(path)
    assert readings == 300 * 31 * 96
    assert peak < BYTES_PER_READING * readings + OVERHEAD


def test_a_long_honest_file_costs_no_more(tmp_path):
    lines = [
        f"44030000{meter:04d},2026-07-{day:02d} {quarter // 4:02d}:{quarter % 4 * 15:02d},"
        f"0.{quarter * day * 7919 % 1000:03d}\n"
        for meter in range(200)
        for day in range(1, 32)
        for quarter in range(96)
    ]
    path = tmp_path / "month.csv"
    path.write_text("meter_point_id,start,kwh\n" + "".join(lines))
    readings, peak = measured(path)
    assert readings == len(lines)
    assert peak < BYTES_PER_READING * readings + OVERHEAD


# --- each bound by itself -----------------------------------------------------------------------


def refusal(data: bytes | Path) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(data)
    assert refused.value.remedy
    return refused.value


def test_a_file_beyond_the_largest_is_read_no_further(monkeypatch, tmp_path):
    monkeypatch.setattr(table_text, "MAX_FILE_BYTES", 2 * MIB)
    data = b"meter_point_id,start,kwh\n" + b"A,2026-07-01 00:00,1\n" * (MIB // 4)
    for source in (data, gzip.compress(data)):
        assert refusal(source).reason == "readings.too-large"
    path = tmp_path / "large.csv"
    path.write_bytes(data)
    assert refusal(path).reason == "readings.too-large"


def test_more_readings_than_are_read_at_once_are_refused(monkeypatch):
    data = wide_lines(1, points=",".join(["0.1"] * 96))
    assert len(read_readings(data).readings) == 31 * 96
    monkeypatch.setattr(table_text, "MAX_READINGS", 31 * 96 - 1)
    refused = refusal(data)
    assert refused.reason == "readings.too-many"
    assert "2,976 readings" in refused.message
    assert "Split" in refused.remedy


def test_what_unfolds_far_within_the_free_amount_is_read():
    """A small utility whose meters all stood still is no attack."""
    data = gzip.compress(wide_lines(20, points=",".join(["0.000"] * 96)))
    assert len(read_readings(data).readings) == 20 * 31 * 96


@pytest.mark.parametrize("quote", ["", '"'])
def test_an_endless_line_is_named(quote):
    data = f"meter_point_id,start,kwh\nA,2026-07-01 00:00,1\nA,{quote}{'9' * (3 * MIB)}{quote},1\n"
    refused = refusal(data.encode())
    assert refused.reason == "readings.malformed"
    assert refused.message.startswith("Line 3 ")


def test_an_endless_header_is_refused():
    refused = refusal(b"meter_point_id," * (MIB // 8) + b"kwh\nA\n")
    assert refused.reason == "readings.malformed"
    assert refused.message.startswith("Line 1 ")


def test_a_field_beyond_the_csv_reader_is_no_error_of_ours():
    """Quoted fields may hold line breaks, so that no single line is long."""
    field = "\n".join(["9" * 1000] * 200)
    refused = refusal(f'meter_point_id,start,kwh\n"A","{field}",1\n'.encode())
    assert refused.reason == "readings.malformed"


@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 3 * MIB])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_where_blocks_end_changes_nothing(size, encoding):
    """Line breaks, characters of several bytes and byte order marks across the seams of blocks."""
    line = "户号-0001,2026-07-01 {:02d}:00,1.{:03d}\r\n"
    text = "meter_point_id,start,kwh\r\n"
    number = -(-(size - len(text)) // len(line.format(0, 0)))
    rows = (line.format(n % 24, n % 1000) for n in range(number))
    data = (text + "".join(rows)).encode(encoding)
    file = read_readings(data)
    assert file.readings["energy_wh"].tolist() == [1000 + n % 1000 for n in range(number)]
    assert set(file.readings["meter_point_id"]) == {"户号-0001"}


def test_a_refused_file_leaves_the_months_folder_as_it_was(tmp_path):
    bomb = packed(tmp_path / "readings-0001", *BOMBS["one line again and again"])
    (tmp_path / "contracts.csv").write_text("meter_point_id\nA\n")
    files = MonthFiles("2026-07", tmp_path, (bomb,), {})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidReadingsError, match=r"readings\.expansion.*file 1 of 1"):
        read_files(files, timezone="Asia/Shanghai", period=PERIOD)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("later", [False, True])
def test_the_files_of_a_month_are_counted_together(tmp_path, later):
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"readings-{number}")
        paths[-1].write_bytes(wide_lines(1, points=",".join(["0.1"] * 96)))
    own, corrected = (tuple(paths[:1]), tuple(paths[1:])) if later else (tuple(paths), ())
    files = MonthFiles("2026-07", tmp_path, own, {}, later=(LaterReadings(corrected),))
    assert read_files(files, timezone="Asia/Shanghai", period=PERIOD)
    fewer = replace(files, max_readings=2 * 31 * 96)
    with pytest.raises(InputError) as refused:
        read_files(fewer, timezone="Asia/Shanghai", period=PERIOD)
    assert refused.value.reason == "month.too-many"
    assert "8,928 readings" in refused.value.message


# --- contracts and tariffs ----------------------------------------------------------------------


def test_a_contract_file_is_read_as_it_is_and_never_decompressed(tmp_path):
    """A table library decompresses by the name of a file, without any bound."""
    stream = io.BytesIO()
    with gzip.open(stream, "wb") as bomb:
        bomb.write(b"meter_point_id\n" + b"A\n" * MIB)
    path = tmp_path / "contracts.csv.gz"
    path.write_bytes(stream.getvalue())
    with pytest.raises(InputError, match=r"contract\.unreadable"):
        load_contracts(path)


def test_a_contract_file_beyond_the_largest_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(contracts, "MAX_BYTES", 100)
    path = tmp_path / "contracts.csv"
    path.write_text("meter_point_id\n" + "".join(f"M{n}\n" for n in range(20)))
    assert len(load_contracts(path)) == 20
    path.write_text("meter_point_id\n" + "".join(f"M{n}\n" for n in range(40)))
    with pytest.raises(InputError, match=r"contract\.too-large"):
        load_contracts(path)


def test_a_contract_file_without_lines_is_refused(tmp_path):
    path = tmp_path / "contracts.csv"
    path.write_text("meter_point_id," * 10_000)
    with pytest.raises(InputError, match=r"contract\.unreadable"):
        load_contracts(path)


def test_a_tariff_beyond_the_largest_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tariffs, "LARGEST_TEXT", 1000)
    path = tmp_path / "tariff.toml"
    path.write_text("a = [\n" + "[],\n" * 1000 + "]\n")
    with pytest.raises(InvalidTariffError, match=r"tariff\.too-large"):
        parse_tariff(path.read_text())
    with pytest.raises(InvalidTariffError, match=r"tariff\.too-large"):
        load_tariff(path)
