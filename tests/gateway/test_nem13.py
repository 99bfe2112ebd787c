"""NEM13 files: reads of registers as faces at midnights, exact in their sums, and the refusals."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.meter_serials import UNDECLARED
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.batch_readings import meter_books, read_month_batches
from gridsecure.gateway.books.months import MeterDays, MonthContracts
from gridsecure.gateway.formats import read_offsets, read_readings
from gridsecure.gateway.ingestion.body_pieces import kind_of
from gridsecure.periods import month_period
from tests.gateway.stored_batches import ZONE, batch

# The layout is that of the examples in AEMO's specification; the numbers are invented.
HEAD = "100,NEM13,202507010000,MDP1,RET1"
MARKET = "Australia/Brisbane"
SYDNEY = "Australia/Sydney"
SECRET = "007731.5"


def record(first, last, *, begin="20250401000000", end="20250701000000", **said):
    """A 250 record between two reads."""
    quantity = said.get("quantity", "")
    own = {"nmi": "1234567890", "suffix": "11", "meter": "METSER66", "way": "E", "unit": "kWh"}
    own |= {"qualities": ("A", "A"), "updated": "20250702125010"} | said
    return (
        f"250,{own['nmi']},1141,01,{own['suffix']},{own['suffix']},{own['meter']},{own['way']},"
        f"{first},{begin},{own['qualities'][0]},,,{last},{end},{own['qualities'][1]},,,"
        f"{quantity},{own['unit']},20251001,{own['updated']},20250703000130"
    )


def file_of(*records, head=HEAD) -> bytes:
    return "\n".join([*([head] if head else []), *records, "550,N,,A,", "900", ""]).encode()


def read(*records, zone=MARKET, **how):
    return read_readings(file_of(*records), timezone=zone, **how)


def refusal(*records):
    with pytest.raises(InvalidReadingsError) as refused:
        read(*records)
    assert refused.value.remedy
    assert SECRET.lstrip("0") not in f"{refused.value}{refused.value.problems}"
    return refused.value


def test_reads_at_midnights_are_faces_whose_energy_is_told_by_days():
    file = read(record("000100.0", "000191.0", quantity="91.0"))
    assert (file.layout, file.system, len(file.readings)) == ("registers", "nem13", 91)
    assert file.readings["energy_wh"].tolist() == [1000] * 91
    assert set(file.readings["minutes"]) == {1440}
    assert set(file.readings["quality"]) == {"estimated"}
    assert file.readings["start"].iloc[0] == pd.Timestamp("2025-04-01", tz=MARKET)
    day = read(record("000100.0", "000101.5", end="20250402000000", quantity="1.5")).readings
    assert day[["energy_wh", "quality"]].to_numpy().tolist() == [[1500, "actual"]]


def test_a_read_at_an_hour_of_the_day_tells_of_the_whole_days_beside_it():
    """36 hours at 1 kWh an hour, from noon: half a day, and a whole one."""
    noon = {"begin": "20250401120000", "end": "20250403000000"}
    file = read(record("000100.0", "000136.0", quantity="36", **noon))
    assert file.readings[["energy_wh", "quality"]].to_numpy().tolist() == [[24_000, "estimated"]]
    follows = {"begin": "20250401120000", "end": "20250403120000"}
    before = {"begin": "20250330120000", "end": "20250401120000"}
    both = read(
        record("000052.0", "000100.0", quantity="48", **before),
        record("000100.0", "000148.0", quantity="48", **follows),
    )
    assert both.readings["energy_wh"].tolist() == [24_000] * 3
    assert both.readings["start"].iloc[0] == pd.Timestamp("2025-03-31", tz=MARKET)


def test_days_are_local_ones_and_times_those_of_the_market():
    """Sydney is an hour ahead of the market until the sixth of April 2025, a day of 25 hours."""
    file = read(
        record(
            "000000.0", "000240.0", begin="20250401000000", end="20250411000000", quantity="240"
        ),
        zone=SYDNEY,
    )
    assert read_offsets(file_of(record("0", "1"))) == {600}
    own = file.readings.groupby(file.readings["start"].dt.date)["energy_wh"].sum()
    assert (len(own), own.iloc[0], own.sum()) == (9, 24_000, 217_000)
    assert own.loc[pd.Timestamp("2025-04-06").date()] == 25_000


@given(
    moments=st.lists(st.integers(0, 20 * 86_400), min_size=2, max_size=6, unique=True).map(sorted),
    powers=st.lists(st.integers(1_000, 5_000), min_size=5, max_size=5),
)
@settings(max_examples=15, deadline=None)
def test_records_that_follow_each_other_lose_no_watt_hour(moments, powers):
    gains = [(b - a) * w // 3600 for (a, b), w in zip(pairwise(moments), powers, strict=False)]
    begin = pd.Timestamp("2025-04-01")
    times = [f"{begin + pd.Timedelta(seconds=one):%Y%m%d%H%M%S}" for one in moments]
    faces = [500_000]
    records = []
    for (first, last), gain in zip(pairwise(times), gains, strict=False):
        faces.append(faces[-1] + gain)
        shown = [f"{one // 1000:06}.{one % 1000:03}" for one in faces[-2:]]
        records.append(record(*shown, begin=first, end=last, quantity=f"{gain / 1000:.3f}"))
    told = read_readings(file_of(*records), timezone=MARKET, differences=False).readings
    midnights = told.sort_values("start")["energy_wh"].to_numpy()
    assert (midnights[1:] >= midnights[:-1]).all()
    if len(midnights) > 1:
        energies = read(*records).readings["energy_wh"]
        assert energies.sum() == midnights[-1] - midnights[0]
        assert 0 <= energies.sum() <= sum(gains[: len(records)])


def test_a_ratio_a_rollover_and_an_exchange_are_told_by_quantity_digits_and_record():
    day = {"begin": "20250401000000", "end": "20250402000000"}
    times_40 = read(record("000100.0", "000102.0", quantity="80", **day))
    assert times_40.readings["energy_wh"].tolist() == [80_000]
    over = read(record("99990.0", "00010.0", quantity="20.0", **day))
    assert over.readings["energy_wh"].tolist() == [20_000]
    exchanged = read(
        record("054321.0", "054331.0", quantity="10", **day),
        record(
            "000000.0", "000020.0", quantity="20", meter="NEW", begin="20250402000000",
            end="20250403000000",
        ),
    )  # fmt: skip
    assert exchanged.readings["energy_wh"].tolist() == [10_000, 20_000]


def test_data_streams_of_one_direction_are_added_and_others_stand_beside():
    day = {"begin": "20250401000000", "end": "20250402000000"}
    file = read(
        record("000100.0", "000110.0", quantity="10", **day),
        record("999995.0", "000002.0", quantity="7", suffix="41", **day),
        record("000100.0", "000103.0", quantity="3", suffix="71", way="I", **day),
        record("000100.0", "000104.0", quantity="4", suffix="Q1", unit="kvarh", **day),
        record("000100.0", "000109.0", quantity="9", suffix="K1", unit="kvarh", way="I", **day),
        record("0.100", "0.101", quantity="0.001", nmi="2", unit="MWh", **day),
    )
    figures = file.readings[["energy_wh", "export_wh", "reactive_varh"]]
    assert figures.to_numpy().tolist() == [[17_000, 3_000, 4_000], [1_000, 0, -1]]
    assert file.passed_over == {"reactive-fed-in": 2}


def test_a_day_of_which_a_data_stream_is_lacking_is_not_told():
    file = read(
        record("000100.0", "000130.0", begin="20250401000000", end="20250404000000"),
        record("000100.0", "000110.0", begin="20250402000000", end="20250403000000", suffix="41"),
    )
    assert file.readings["energy_wh"].tolist() == [20_000]
    assert file.readings["start"].tolist() == [pd.Timestamp("2025-04-02", tz=MARKET)]


@pytest.mark.parametrize(
    ("qualities", "word"),
    [(("A", "A"), "actual"), (("A", "E64"), "estimated"), (("S11", "A"), "estimated"),
     (("A", "F52"), "estimated"), (("X", "A"), "questionable")],
)  # fmt: skip
def test_qualities_are_those_of_both_reads(qualities, word):
    day = {"begin": "20250401000000", "end": "20250402000000"}
    records = [
        record("000100.0", "000110.0", qualities=qualities, **day),
        record(
            "000110.0",
            "000120.0",
            begin="20250402000000",
            end="20250403000000",
            qualities=(qualities[1], "A"),
        ),
    ]
    told = read_readings(file_of(*records), timezone=MARKET, differences=False).readings
    found = told[told["start"] == pd.Timestamp("2025-04-01", tz=MARKET)]["quality"].tolist()
    first = qualities[0][:1] == "A"
    if word == "questionable":
        assert found == ["questionable"]
    else:
        assert found == ["actual" if first else "estimated"]
        assert read(*records).readings["quality"].iloc[0] == word


def test_of_two_records_of_a_time_the_one_updated_later_counts():
    day = {"begin": "20250401000000", "end": "20250402000000"}
    earlier = record("000100.0", "000110.0", updated="20250402000000", **day)
    later = record("000100.0", "000112.0", updated="20250403000000", **day)
    for records in ((earlier, later), (later, earlier)):
        assert read(*records).readings["energy_wh"].tolist() == [12_000]
    again = record("000100.0", "000113.0", updated="20250403000000", **day)
    assert refusal(later, again).reason == "readings.conflict"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((record(SECRET, "008731.5", quantity="343.5"),), "conflict"),
        ((record(SECRET, SECRET, quantity="5"),), "conflict"),
        ((record(SECRET, "008731.5", unit="GJ"),), "unit"),
        ((record(SECRET, "008731.5", way="B"),), "format"),
        ((record(SECRET, "008731.5", end="20250401000000"),), "malformed"),
        ((record(SECRET, "008731.5", end="2025-07-01"),), "malformed"),
        ((record(SECRET, "008731.5", end="20290701000000"),), "malformed"),
        ((record(SECRET, "x"),), "malformed"),
        ((record(SECRET, "008731.5005"),), "energy"),
        ((record(SECRET, "008731.5", quantity="x"),), "malformed"),
        ((record(SECRET, "008731.5").replace(",kWh", ""),), "unit"),
        ((",".join(record(SECRET, "008731.5").split(",")[:19]),), "malformed"),
        ((record(SECRET, "008731.5", qualities=("A", "N")),), "empty"),
        (("300,20250401,1", record(SECRET, "008731.5")), "malformed"),
        ((record(SECRET, "008731.5", way="I", unit="kvarh"),), "empty"),
        ((record("0", "1", quantity="2"),
          record("1", "2", begin="20250701000000", end="20250801000000", quantity="3")),
         "conflict"),
    ],
)  # fmt: skip
def test_what_is_not_as_defined_is_refused_with_a_way_out(lines, reason):
    assert refusal(*lines).reason == f"readings.{reason}"


def test_a_file_without_its_first_record_is_one_and_is_read_whole():
    data = file_of(record("000100.0", "000191.0", quantity="91.0"), head="")
    assert read_readings(data, timezone=MARKET).system == "nem13"
    assert not kind_of(data).is_divisible


def test_reads_of_batches_fit_together_across_files_and_a_rollover(tmp_path):
    """One read in the middle of July, in one file and the next: every watt-hour is told."""
    one = record(
        "999900.0", "000060.0", begin="20250620093000", end="20250715141500", quantity="160"
    )
    two = record(
        "000060.0", "000300.0", begin="20250715141500", end="20250810101000", quantity="240"
    )
    july = month_period("2025-07", timezone=ZONE)
    books = meter_books(MonthContracts(default_contracts(["1234567890"])), timezone=ZONE)
    paths = [batch(tmp_path, file_of(each).decode()) for each in (two, one)]
    told = read_month_batches(paths, period=july, books=books).readings
    assert len(told) == 31
    together = read(one, two, zone=ZONE).readings
    inside = together[(together["start"] >= july.start) & (together["start"] < july.end)]
    assert told["energy_wh"].sum() == inside["energy_wh"].sum()
    assert set(told["quality"]) == {"estimated"}


# A meter that shows more than the one before it: 1 kWh an hour, exchanged at four.
OUT = "20250716040000"
OLD = record("000100.0", "000976.0", begin="20250609160000", end=OUT, meter="OLD", quantity="876")
NEW = record("001500.0", "002124.0", begin=OUT, end="20250811040000", meter="NEW", quantity="624")
LATER = record(
    "001501.0", "002125.0", begin="20250717050000", end="20250812050000", meter="NEW",
    quantity="624",
)  # fmt: skip
JULY = month_period("2025-07", timezone=ZONE)


def told(paths, *meters: MeterDays, period=JULY):
    contracts = MonthContracts(default_contracts(["1234567890"]), meters=meters)
    return read_month_batches(paths, period=period, books=meter_books(contracts, timezone=ZONE))


def installed(day: str, *, out: int = 976_000, built_in: int = 1_500_000) -> list[MeterDays]:
    at = date.fromisoformat(day)
    return [
        MeterDays("1234567890", (date(2020, 1, 1), at), 1, -1, out),
        MeterDays("1234567890", (at, date.max), 1, built_in, -1),
    ]


def test_reads_of_another_meter_that_shows_more_are_no_energy_until_its_exchange_is_declared(
    tmp_path,
):
    """Two files of two meters, a day apart: what lies between their faces is not known."""
    paths = [batch(tmp_path, file_of(one).decode()) for one in (LATER, OLD)]
    waiting = told(paths)
    assert {one.rule for one in waiting.problems} == {UNDECLARED}
    (first, last) = (one.start for one in waiting.problems)
    assert (first, last) == (
        pd.Timestamp("2025-07-16", tz=ZONE),
        pd.Timestamp("2025-07-17 23:59", tz=ZONE),
    )
    days = waiting.readings.set_index("start")["energy_wh"]
    assert set(days) == {24_000}
    absent = pd.date_range("2025-07-16", "2025-07-17", tz=ZONE)
    assert len(days) == 29
    assert not absent.isin(days.index).any()
    # The exchange as the books have it: the same readings tell all of the month.
    declared = told(paths, *installed("2025-07-17", built_in=1_476_000))
    assert {one.rule for one in declared.problems} == {"register-gap"}
    assert declared.readings["energy_wh"].tolist() == [24_000] * 31


@pytest.mark.parametrize("day", ["", "2025-07-16", "2025-07-17"])
def test_both_faces_of_an_exchange_in_one_file_lose_nothing_whether_or_not_books_have_it(
    tmp_path, day
):
    paths = [batch(tmp_path, file_of(OLD, NEW).decode())]
    found = told(paths, *(installed(day) if day else ()))
    assert found.readings["energy_wh"].tolist() == [24_000] * 31
    assert found.problems == ()


def test_a_declaration_that_serials_contradict_is_not_followed(tmp_path):
    """The books have the exchange a week late: neither time is differenced, and both are told."""
    paths = [batch(tmp_path, file_of(one).decode()) for one in (OLD, LATER)]
    found = told(paths, *installed("2025-07-24"))
    assert set(found.readings["energy_wh"]) == {24_000}
    assert len(found.readings) == 28
    assert [one.rule for one in found.problems] == [UNDECLARED] * 3
    days = {one.start.day for one in found.problems}
    assert days == {16, 17, 23}
    # A collection system that never says the new number contradicts nothing.
    stale = [one.replace(",OLD,", ",NEW,") for one in (OLD, LATER)]
    paths = [batch(tmp_path, file_of(one).decode()) for one in stale]
    known = told(paths, *installed("2025-07-17", built_in=1_476_000)).readings
    assert known["energy_wh"].tolist() == [24_000] * 31


def test_faces_that_were_stored_without_serials_are_differenced_as_they_were(tmp_path):
    """What was taken in before, and what other formats send."""
    old, new = (one.replace(",OLD,", ",,").replace(",NEW,", ",,") for one in (OLD, NEW))
    paths = [batch(tmp_path, file_of(one).decode()) for one in (old, new)]
    found = told(paths)
    assert len(found.readings) == 31
    assert found.readings["energy_wh"].max() > 500_000
    # One that says it beside one that does not: the meter of the latter may be either.
    assert told([paths[0], batch(tmp_path, file_of(NEW).decode())]).readings.equals(found.readings)


def test_data_streams_of_one_meter_are_exchanged_together(tmp_path):
    streams = [
        one.replace(",11,11,", f",{suffix},{suffix},")
        for suffix in ("11", "41")
        for one in (OLD, NEW)
    ]
    found = told([batch(tmp_path, file_of(*streams).decode())])
    assert found.readings["energy_wh"].tolist() == [48_000] * 31
    # Of streams of two meters, one of which stays.
    alone = record(
        "000100.0", "001600.0", begin="20250609160000", end="20250811040000", meter="STAYS",
        quantity="1500", suffix="41",
    )  # fmt: skip
    found = told([batch(tmp_path, file_of(*streams[:2], alone).decode())])
    assert found.readings["energy_wh"].tolist() == [48_000] * 31
    assert found.problems == ()
