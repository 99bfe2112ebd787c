"""Green Button documents to readings: what the types say, both directions, and the refusals."""

from __future__ import annotations

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import table_text
from gridsecure.gateway.formats import read_readings

# The structure is that of the sandbox feeds of the Green Button Alliance; the numbers are invented.
ROOT = "https://example.org/espi/1_1/resource/UsagePoint"
BEGIN = 1_740_758_400  # 2025-02-28 16:00 UTC
SECRET = "7731"


def entry(own: str, body: str, *, up: str = "", related: str = "") -> str:
    links = f'<link rel="self" href="{ROOT}/{own}"/><link rel="up" href="{ROOT}/{up}"/>'
    if related:
        links += f'<link rel="related" href="{ROOT}/{related}"/>'
    return f"<entry>{links}<content>{body}</content></entry>"


def reading_type(name: str = "T1", **said: str) -> str:
    parts = {"accumulationBehaviour": "4", "commodity": "1", "flowDirection": "1"}
    parts |= {"intervalLength": "900", "powerOfTenMultiplier": "0", "uom": "72", **said}
    body = "".join(f"<{key}>{value}</{key}>" for key, value in parts.items())
    return entry(
        f"types/{name}", f'<ReadingType xmlns="http://naesb.org/espi">{body}</ReadingType>'
    )


def block(*values: str, meter: str = "M1/MeterReading/1", kind: str = "T1", **more: str) -> str:
    """A meter reading of a type, and its block of quarter-hours."""
    quality = more.get("quality")
    said = f"<ReadingQuality><quality>{quality}</quality></ReadingQuality>" if quality else ""
    rows = "".join(
        f"<IntervalReading><cost>9</cost>{said}<timePeriod>"
        f"<duration>{more.get('duration', '900')}</duration><start>{BEGIN + 900 * number}</start>"
        f"</timePeriod><value>{value}</value></IntervalReading>"
        for number, value in enumerate(values)
    )
    body = f'<IntervalBlock xmlns="http://naesb.org/espi">{rows}</IntervalBlock>'
    reading = '<MeterReading xmlns="http://naesb.org/espi"/>'
    return entry(meter, reading, related=f"types/{kind}") + entry(
        f"{meter}/IntervalBlock/1", body, up=f"{meter}/IntervalBlock"
    )


def feed(*entries: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
        + "".join(entries)
        + "</feed>"
    ).encode()


def refusal(*entries: str) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(feed(*entries))
    assert refused.value.remedy
    assert SECRET not in f"{refused.value!s}{refused.value.problems!r}"
    return refused.value


def test_a_block_is_read_by_what_its_type_says():
    file = read_readings(feed(block("250", "1000"), reading_type(), reading_type("T2", uom="73")))
    assert (file.layout, file.interval) == ("green-button", pd.Timedelta(minutes=15))
    assert file.readings["meter_point_id"].tolist() == ["M1", "M1"]
    assert file.readings["energy_wh"].tolist() == [250, 1000]
    assert file.readings["start"].iloc[0] == pd.Timestamp("2025-03-01", tz="Asia/Shanghai")
    assert "export_wh" not in file.readings


@pytest.mark.parametrize(("tens", "energy_wh"), [("3", 250_000), ("-1", 25), ("", 250)])
def test_powers_of_ten_are_exact(tens, energy_wh):
    data = feed(reading_type(powerOfTenMultiplier=tens), block("250", duration=""))
    assert read_readings(data).readings["energy_wh"].tolist() == [energy_wh]


@pytest.mark.parametrize(
    ("code", "word"),
    [("0", "actual"), ("19", "actual"), ("8", "estimated"), ("10", "questionable")],
)
def test_qualities_are_those_of_the_schema(code, word):
    data = feed(reading_type(), block("250", "250", quality=code))
    assert set(read_readings(data).readings["quality"]) == {word}


def test_energy_fed_in_stands_beside_and_what_lacks_it_is_missing():
    data = feed(
        *(reading_type(), reading_type("T2", flowDirection="19")),
        *(block("250", "251", "252"), block("3", "4", meter="M1/MeterReading/2", kind="T2")),
        block("7", meter="M2/MeterReading/1"),
    )
    readings = read_readings(data).readings
    one = readings[readings["meter_point_id"] == "M1"]
    assert one[["energy_wh", "export_wh"]].to_numpy().tolist() == [[250, 3], [251, 4], [252, 0]]
    assert one["quality"].tolist() == ["actual", "actual", "missing"]
    two = readings[readings["meter_point_id"] == "M2"]
    assert two[["energy_wh", "export_wh", "quality"]].to_numpy().tolist() == [[7, 0, "actual"]]


def test_a_document_that_came_twice_counts_once():
    twice = (reading_type(), reading_type("T2", flowDirection="19"))
    export = block("3", meter="M1/MeterReading/2", kind="T2")
    data = feed(*twice, block("250"), block("250"), export, export)
    assert read_readings(data).readings["energy_wh"].tolist() == [250]
    assert refusal(*twice, block("250"), block(SECRET), export).reason == "readings.conflict"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ((block(SECRET),), "unit"),
        ((reading_type("T3"), reading_type("T4"), block(SECRET)), "unit"),
        ((reading_type(uom="38"), block(SECRET)), "unit"),
        ((reading_type(commodity="7"), block(SECRET)), "unit"),
        ((reading_type(flowDirection="4"), block(SECRET)), "format"),
        ((reading_type(accumulationBehaviour="3"), block(SECRET)), "format"),
        ((reading_type(powerOfTenMultiplier="-2"), block(SECRET)), "energy"),
        ((reading_type(powerOfTenMultiplier="9"), block(SECRET)), "energy"),
        ((reading_type(powerOfTenMultiplier="99"), block(SECRET)), "malformed"),
        ((reading_type(), block(SECRET, duration="172800")), "daily"),
        ((reading_type(), block(SECRET, duration="1200")), "interval"),
        ((reading_type(), block(f"{SECRET}.5")), "malformed"),
        ((reading_type(), block(SECRET), "<entry>"), "malformed"),
        ((reading_type(),), "empty"),
    ],
)
def test_what_the_document_does_not_say_is_refused_without_its_values(entries, reason):
    assert refusal(*entries).reason == f"readings.{reason}"


def test_no_entity_is_ever_expanded():
    bomb = '<!DOCTYPE feed [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/hostname">]>'
    data = feed(reading_type(), block("&b;")).replace(b"<feed", f"{bomb}<feed".encode(), 1)
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(data)
    assert refused.value.reason == "readings.malformed"


@pytest.mark.parametrize(
    "hostile",
    [
        f'<a xmlns="{"u" * 4096}"/>',
        "<a>" * 40 + "</a>" * 40,
        "<a/>" * 100_001,
    ],
)
def test_what_would_take_the_parsers_time_or_memory_is_refused(hostile):
    assert refusal(reading_type(), block(SECRET), hostile).reason == "readings.malformed"


def test_what_is_read_does_not_count_as_what_piles_up():
    many = block(*(["1"] * 20_000))
    assert len(read_readings(feed(reading_type(), many)).readings) == 20_000


def test_a_reading_is_counted_however_its_tags_are_written(monkeypatch):
    monkeypatch.setattr(table_text, "MAX_READINGS", 5)
    data = feed(reading_type(), block(*(["1"] * 6)))
    for written in (data, data.replace(b"IntervalReading>", b"IntervalReading >")):
        with pytest.raises(InvalidReadingsError) as refused:
            read_readings(written)
        assert refused.value.reason == "readings.too-many"
