"""MeterReadings of IEC 61968-9: types, qualities, faces, times and refusals, as XML and JSON.

The structure is that of published messages of head-end systems (an EventMessage of IEC 61968-100
around the profile of `MeterReadings.xsd`, 2011); the numbers are invented.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import table_text
from gridsecure.gateway.formats import read_offsets, read_readings
from gridsecure.gateway.meanings import Meaning, Stamps
from gridsecure.gateway.reading_types import is_code, read_type

SPACE = "http://iec.ch/TC57/2011/MeterReadings#"
TAKEN = "0.0.2.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0"
FED_IN = "0.0.2.4.19.1.12.0.0.0.0.0.0.0.0.3.72.0"
REACTIVE = "0.0.2.4.1.1.12.0.0.0.0.0.0.0.0.3.73.0"
VOLTAGE = "0.0.2.0.0.1.54.0.0.0.0.0.0.0.128.0.29.0"
FACE = "0.0.0.1.1.1.12.0.0.0.0.0.0.0.0.3.72.0"
SUMMATION = "0.0.2.9.1.2.12.0.0.0.0.0.0.0.0.3.72.0"
FACE_FED_IN = "0.0.0.1.19.1.12.0.0.0.0.0.0.0.0.3.72.0"
BEGIN = pd.Timestamp("2026-03-01 00:15", tz="Asia/Shanghai")
SECRET = "7731.5"


def reading(value: str, number: int = 0, *, kind: str = "IntervalReadings", **more: str) -> str:
    at = more.get("at") or (BEGIN + pd.Timedelta(minutes=15 * number)).isoformat()
    quality = "".join(
        f'<ReadingQualities><ReadingQualityType ref="{ref}"/></ReadingQualities>'
        for ref in more.get("quality", "").split()
    )
    of = f'<ReadingType ref="{more["type"]}"/>' if "type" in more else ""
    return f"<{kind}><timeStamp>{at}</timeStamp><value>{value}</value>{quality}{of}</{kind}>"


def block(*values: str, of: str = TAKEN, **more: str) -> str:
    rows = "".join(reading(value, number, **more) for number, value in enumerate(values))
    return f'<IntervalBlocks>{rows}<ReadingType ref="{of}"/></IntervalBlocks>'


def registers(*values: str, of: str = FACE) -> str:
    return "".join(
        reading(value, number - 1, kind="Readings", type=of) for number, value in enumerate(values)
    )


def meter(*parts: str, name: str = "M1", owner: str = "UsagePoint") -> str:
    return f"<MeterReading>{''.join(parts)}<{owner}><mRID>{name}</mRID></{owner}></MeterReading>"


def message(*meters: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<EventMessage xmlns="http://iec.ch/TC57/2011/schema/message"><Header><Verb>created</Verb>'
        "<Noun>MeterReadings</Noun><Source>HES</Source></Header><Payload>"
        f'<MeterReadings xmlns="{SPACE}">{"".join(meters)}</MeterReadings></Payload></EventMessage>'
    ).encode()


def members(element: ET.Element) -> object:
    """An element as the JSON that has the same names."""
    held: dict[str, object] = dict(element.attrib)
    for child in element:
        name, own = child.tag.rpartition("}")[2], members(child)
        if name in held:
            before = held[name]
            own = [*(before if isinstance(before, list) else [before]), own]
        held[name] = own
    return held or (element.text or "")


def as_json(*meters: str) -> bytes:
    (payload,) = ET.fromstring(message(*meters)).iter(f"{{{SPACE}}}MeterReadings")  # noqa: S314
    return json.dumps({"MeterReadings": members(payload)}).encode()


def refusal(*meters: str, **options: Meaning) -> InvalidReadingsError:
    found = []
    for written in (message(*meters), as_json(*meters)):
        with pytest.raises(InvalidReadingsError) as refused:
            read_readings(written, **options)
        assert refused.value.remedy
        assert SECRET not in f"{refused.value!s}{refused.value.problems!r}"
        found.append(refused.value)
    assert found[0].reason == found[1].reason
    return found[0]


@pytest.mark.parametrize("write", [message, as_json])
def test_a_block_is_read_by_its_type_and_stamped_at_its_end(write):
    file = read_readings(write(meter(block("0.25", "1.0", "12345.6780"))))
    assert (file.layout, file.interval) == ("meter-readings", pd.Timedelta(minutes=15))
    assert file.readings["meter_point_id"].tolist() == ["M1"] * 3
    assert file.readings["energy_wh"].tolist() == [250, 1000, 12_345_678]
    assert file.readings["start"].iloc[0] == pd.Timestamp("2026-03-01", tz="Asia/Shanghai")
    assert file.readings["quality"].tolist() == ["actual"] * 3
    assert list(file.readings) == ["meter_point_id", "start", "energy_wh", "quality", "minutes"]


def test_the_same_document_says_the_same_in_another_year_and_without_an_envelope():
    data = message(meter(block("0.25")))
    other = data.replace(b"2011/MeterReadings", b"2019/MeterReadings")
    bare = data[data.index(b"<MeterReadings") : data.index(b"</Payload>")]
    for written in (other, bare):
        assert read_readings(written).readings.equals(read_readings(data).readings)
    assert read_offsets(data) == frozenset({0})


@pytest.mark.parametrize(
    ("code", "energy_wh"),
    [
        ("0.0.2.4.1.1.12.0.0.0.0.0.0.0.0.0.72.0", 25),
        ("0.0.2.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0", 25_000),
        ("0.0.2.4.1.2.12.0.0.0.0.0.0.0.224.6.72.0", 25_000_000),
        ("0.0.2.4.0.0.12.0.0.0.0.0.0.0.0.-1.72.0", None),
    ],
)
def test_powers_of_ten_are_exact_or_refused(code, energy_wh):
    document = meter(block("25", of=code))
    if energy_wh is None:
        assert refusal(document).reason == "readings.energy"
    else:
        assert read_readings(message(document)).readings["energy_wh"].tolist() == [energy_wh]


@pytest.mark.parametrize(
    ("refs", "word"),
    [
        ("", "actual"),
        ("1.0.0", "actual"),
        ("1.2.32", "actual"),
        ("3.8.1 1.0.0", "estimated"),
        ("3.7.0", "estimated"),
        ("3.11.0", "estimated"),
        ("3.6.0", "questionable"),
        ("3.10.0 3.8.0", "questionable"),
        ("1.5.259 1.0.0", "missing"),
        ("unheard of", "questionable"),
    ],
)
def test_the_worst_quality_counts(refs, word):
    read = read_readings(message(meter(block("0.25", quality=refs)))).readings
    assert read["quality"].tolist() == [word]
    assert read["energy_wh"].tolist() == [0 if word == "missing" else 250]


def test_registers_of_both_directions_and_reactive_energy_stand_side_by_side():
    data = message(
        meter(block("0.25", "0.26"), block("0.1", of=FED_IN), block("0.03", "0.04", of=REACTIVE)),
        meter(block("0.5"), name="M2"),
    )
    readings = read_readings(data).readings.set_index("meter_point_id")
    own = readings.loc[["M1"], ["energy_wh", "export_wh", "reactive_varh", "quality"]]
    assert own.to_numpy().tolist() == [[250, 100, 30, "actual"], [260, 0, 40, "missing"]]
    assert readings.loc["M2", ["energy_wh", "quality"]].tolist() == [500, "actual"]


def test_what_is_no_energy_is_passed_over_and_a_meter_point_of_nothing_else_is_named():
    tou = TAKEN.replace(".0.0.0.0.3.72", ".1.0.0.0.3.72")
    net = TAKEN.replace("4.1.1", "4.4.1")
    phase = TAKEN.replace("0.3.72", "128.3.72")
    beside = [
        block("230.1", of=VOLTAGE),
        block("9", of=tou),
        block("9", of=net),
        block("9", of=phase),
    ]
    data = message(meter(*beside, block("0.25"), *[registers("100", "101")]))
    assert read_readings(data).readings["energy_wh"].tolist() == [250]
    for alone in (*beside, registers(SECRET, SECRET)):
        found = refusal(meter(block("0.25")), meter(alone, name="M2"))
        assert found.reason == "readings.format"
    assert VOLTAGE in refusal(meter(block(SECRET, of=VOLTAGE))).message


@pytest.mark.parametrize("of", [FACE, SUMMATION])
def test_faces_become_energies_by_their_differences(of):
    file = read_readings(message(meter(registers("6519.000", "6519.250", "6519.275", of=of))))
    assert (file.layout, file.is_counted) == ("registers", True)
    assert file.readings["energy_wh"].tolist() == [250, 25]
    assert file.readings["start"].iloc[0] == pd.Timestamp("2026-03-01", tz="Asia/Shanghai")


def test_faces_of_both_directions_are_differenced_each():
    both = meter(registers("10", "10.25", "10.5"), registers("5", "5.1", "5.2", of=FACE_FED_IN))
    readings = read_readings(as_json(both)).readings
    assert readings[["energy_wh", "export_wh"]].to_numpy().tolist() == [[250, 100], [250, 100]]
    assert refusal(meter(registers("5", "6", of=FACE_FED_IN))).reason == "readings.format"


def test_times_that_look_like_starts_are_refused_until_somebody_says_what_they_are():
    day = "".join(reading("0.1", number - 1) for number in range(96))
    document = meter(f'<IntervalBlocks>{day}<ReadingType ref="{TAKEN}"/></IntervalBlocks>')
    assert refusal(document).reason == "readings.stamps"
    for stamps, first in ((Stamps.START, "2026-03-01 00:00"), (Stamps.END, "2026-02-28 23:45")):
        read = read_readings(message(document), meaning=Meaning(stamps=stamps)).readings
        assert read["start"].iloc[0] == pd.Timestamp(first, tz="Asia/Shanghai")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([block(SECRET, of="")], "unit"),
        ([block(SECRET, of="kWh 15 minutes")], "unit"),
        ([block(SECRET, of="11.0.0.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0")], "daily"),
        ([block(SECRET, of="0.0.4.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0")], "daily"),
        ([block(SECRET, of="13.0.0.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0")], "format"),
        ([block(SECRET, of="0.0.2.4.1.7.12.0.0.0.0.0.0.0.0.3.72.0")], "format"),
        ([block(f"{SECRET}e3")], "malformed"),
        ([block("0.2505")], "energy"),
        ([block(SECRET, at="2026-03-01T00:15:00")], "malformed"),
        ([block(SECRET, at="2026-03-32T00:15:00Z")], "malformed"),
        ([block(SECRET, at="9999-12-31T23:59:59Z")], "malformed"),
        (
            [block("0.2", at=BEGIN.isoformat()), block("0.3", "0.2"), block("1", of=FED_IN)],
            "conflict",
        ),
        ([], "empty"),
        ([block("1"), block("1", of=FED_IN), "<UsagePoint/>"], None),
    ],
)
def test_what_cannot_be_billed_is_refused_without_its_values(parts, reason):
    if reason is None:
        assert len(read_readings(message(meter(*parts, owner="Meter"))).readings) == 1
    else:
        assert refusal(meter(*parts)).reason == f"readings.{reason}"


def test_a_meter_point_has_a_name():
    nameless = message(meter(block(SECRET))).replace(b"<mRID>M1</mRID>", b"")
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(nameless)
    assert refused.value.reason == "readings.malformed"
    named = nameless.replace(b"<UsagePoint>", b"<UsagePoint><Names><name> 0310 </name></Names>")
    assert read_readings(named).readings["meter_point_id"].tolist() == ["0310"]


@pytest.mark.parametrize(
    "definition",
    [
        '<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE m [<!ENTITY b SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE m SYSTEM "http://127.0.0.1:9/m.dtd">',
    ],
)
def test_no_entity_is_expanded_and_nothing_is_fetched(definition):
    data = message(meter(block("0.25"), name="&b;"))
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(data.replace(b"<EventMessage", f"{definition}<EventMessage".encode(), 1))
    assert refused.value.reason == "readings.malformed"


@pytest.mark.parametrize(
    "hostile",
    [
        f'<a xmlns="{"u" * 4096}"/>',
        "<a>" * 40 + "</a>" * 40,
        "<a/>" * 100_001,
        "<a>",
        reading(SECRET),
    ],
)
def test_what_would_take_the_parsers_time_or_memory_is_refused(hostile):
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(message(meter(block("0.25")), meter(hostile, block("0.25"))[:-1] + ">"))
    assert refused.value.reason == "readings.malformed"


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"MeterReadings": ' + b"[" * 100_000,
        b'{"MeterReadings": {"MeterReading": ' + b'{"a":' * 40 + b"1" + b"}" * 41,
        b'{"MeterReadings": {"MeterReading": [[1]]}}',
        b'{"MeterReadings": []}',
        b'{"MeterReadings": {"MeterReading": true}}',
    ],
)
def test_hostile_json_is_refused(hostile):
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(hostile)
    assert refused.value.reason == "readings.malformed"


def test_readings_are_counted_before_they_are_read(monkeypatch):
    monkeypatch.setattr(table_text, "MAX_READINGS", 5)
    many = meter(block(*(["1"] * 6)))
    for written in (message(many), as_json(many)):
        with pytest.raises(InvalidReadingsError) as refused:
            read_readings(written)
        assert refused.value.reason == "readings.too-many"


def test_what_is_read_does_not_pile_up():
    readings = read_readings(message(meter(block(*(["1"] * 15_000)))), timezone="UTC").readings
    assert len(readings) == 15_000


def test_a_code_is_eighteen_numbers():
    assert is_code(TAKEN)
    assert not is_code(TAKEN.removesuffix(".0"))
    assert not is_code(f"{TAKEN}\n")
    assert read_type(VOLTAGE) is None


def test_a_face_of_a_document_has_the_serial_of_the_meter_beside_its_usage_point():
    def exchanged(serial: str, first: int) -> str:
        faces = [
            reading(str(10 + row), row, kind="Readings", type=FACE)
            for row in range(first, first + 3)
        ]
        return meter(*faces, f"<Meter><mRID>{serial}</mRID></Meter>")

    both = message(exchanged("A", -1), exchanged("B", 2))
    stored = read_readings(both, differences=False).readings
    assert stored["meter_serial"].tolist() == ["A"] * 3 + ["B"] * 3
    file = read_readings(both)
    assert file.readings["energy_wh"].tolist() == [1000] * 4
    assert [one.rule for one in file.problems] == ["undeclared-exchange"]
