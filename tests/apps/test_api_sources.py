"""What meter-data systems declare: a zone that times may not contradict, formats, shared scopes."""

from __future__ import annotations

import pytest

from gridsecure.gateway.ingestion.batches import find_batches
from gridsecure.gateway.ingestion.stored_readings import read_batches
from gridsecure.periods import month_period
from tests.apps.test_api_readings import Sources

HEAD = "meter_point_id,start,kwh\n"
NAMES = iter(range(1, 10_000))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    made = Sources(tmp_path_factory.mktemp("declared"))
    yield made
    made.close()


def sent(sources, *starts: str, by="headend", kwh="0.4", name="M", tail=""):
    number = next(NAMES)
    rows = "".join(f"{name},{start},{kwh}{tail}\n" for start in starts)
    head = HEAD.replace("\n", ",quality\n") if tail else HEAD
    return sources.send((head + rows).encode(), batch=f"z{number}", sequence=number, by=by)


WINTER, SUMMER = ("2026-01-15", "2026-07-15")


@pytest.mark.parametrize(
    ("zone", "starts"),
    [
        ("Asia/Shanghai", ["2026-07-15T00:00+08:00", "2026-07-15T00:30+0800"]),
        ("+08:00", ["2026-07-15 00:00 +08", "2026-07-15 00:30"]),
        # A moment in UTC contradicts no clock, nor do seconds since 1970.
        ("+08:00", ["2026-07-14T16:00Z", "2026-07-14T16:30:00.000Z"]),
        ("+08:00", ["1784044800", "1784046600"]),
        ("Europe/London", [f"{WINTER}T00:00+00:00", f"{SUMMER}T00:00+01:00"]),
        ("-05:00", [f"{SUMMER}T00:00-05:00", f"{SUMMER}T00:30-05:00"]),
    ],
)
def test_times_that_agree_with_the_declared_zone_are_read(sources, zone, starts):
    assert sources.register("headend", timezone=zone, interval_minutes=30).status_code == 200
    answer = sent(sources, *starts)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("zone", "starts", "line"),
    [
        ("+08:00", ["2026-07-15 00:00", "2026-07-15T00:30+09:00"], 3),
        ("+08:00", ["2026-07-15T00:00+00:00", "2026-07-15T00:30+00:00"], 2),
        ("Etc/GMT-8", ["202607150000+0700", "202607150030+0700"], 2),
        # Standard time the whole year round, from a source of a zone that changes its clock.
        ("Europe/London", [f"{WINTER}T00:00+00:00", f"{SUMMER}T00:00+00:00"], 3),
        ("Europe/Berlin", [f"{SUMMER}T00:00+01:00", f"{SUMMER}T00:30+01:00"], 2),
        ("UTC", [f"{SUMMER}T00:00+01:00", f"{SUMMER}T00:30+01:00"], 2),
    ],
)
def test_an_offset_that_is_not_the_declared_one_then_is_refused(sources, zone, starts, line):
    assert sources.register("headend", timezone=zone, interval_minutes=30).status_code == 200
    refused = sent(sources, *starts)
    assert (refused.status_code, refused.json()["reason"]) == (400, "readings.offset")
    assert f"line {line}" in refused.text
    assert "Declare the zone" in refused.text


def test_a_fixed_clock_is_noticed_where_the_declared_one_is_changed(sources):
    sources.register("headend", timezone="Europe/Berlin", interval_minutes=30)
    refused = sent(sources, "2026-03-29 02:00", "2026-03-29 02:30")
    assert refused.json()["reason"] == "readings.timestamp"
    assert "+08:00" in refused.text
    sources.register("headend", timezone="+01:00", interval_minutes=30)
    taken = sent(sources, "2026-03-29 02:00", "2026-03-29 02:30")
    assert sources.receipt(taken).first == "2026-03-29T09:00:00+08:00"


@pytest.mark.parametrize(
    ("offset", "first"),
    [
        ("+05:30", "2026-07-15T02:30:00+08:00"),
        ("+0545", "2026-07-15T02:15:00+08:00"),
        ("+09:30", "2026-07-14T22:30:00+08:00"),
        ("-03:30", "2026-07-15T11:30:00+08:00"),
        ("-09:30", "2026-07-15T17:30:00+08:00"),
    ],
)
def test_an_offset_of_half_and_quarter_hours_is_a_clock_like_others(sources, offset, first):
    registered = sources.register("headend", timezone=offset, interval_minutes=30)
    assert registered.json()["timezone"] == f"{offset[:3]}:{offset[-2:]}"
    taken = sent(sources, "2026-07-15 00:00", f"2026-07-15T00:30{offset}")
    assert sources.receipt(taken).first == first
    number = next(NAMES)
    day = f"meter_point_id,date,{','.join(f'{hour:02}:00' for hour in range(24))}\n"
    wide = sources.send(
        f"{day}A,2026-07-15{',1' * 24}\n".encode(), batch=f"z{number}", sequence=number
    )
    assert sources.receipt(wide).first == first
    assert sent(sources, "2026-07-15T00:00+05:00").json()["reason"] == "readings.offset"


def test_a_source_declares_its_unit_once(sources):
    bare = b"start,state\n2026-07-15 01:00,6913.045\n2026-07-15 02:00,6913.845\n"
    own = {"meter_points": ["HOME-1"], "interval_minutes": 60}
    assert sources.register("headend", **own).json()["unit"] == ""
    number = next(NAMES)
    named = {"batch": f"z{number}", "sequence": number}
    refused = sources.send(bare, **named)
    assert refused.json()["reason"] == "readings.unit"
    assert "register the source" in refused.json()["remedy"]
    assert sources.register("headend", **own, unit="kWh").json()["unit"] == "kWh"
    assert sources.receipt(sources.send(bare, **named)).readings == 2
    assert sources.register("headend", **own, unit="MWh").json()["unit"] == "MWh"
    lines = bare.decode().splitlines()
    says = "\n".join([f"{lines[0]},unit", *(f"{line},kWh" for line in lines[1:])])
    by_name = f"{HEAD}HOME-1,2026-07-15 01:00,0.4\n"
    for contradicting in (says, by_name):
        number = next(NAMES)
        sent_now = {"batch": f"z{number}", "sequence": number}
        refused = sources.send(contradicting.encode(), **sent_now)
        assert refused.json()["reason"] == "readings.unit", refused.text
    wrong = sources.register("headend", **own, unit="GJ")
    assert (wrong.status_code, wrong.json()["reason"]) == (422, "message.invalid")


def test_a_source_without_a_zone_of_its_own_may_write_any_offset(sources):
    answer = sources.register("headend", interval_minutes=30)
    assert answer.json()["timezone"] == "Asia/Shanghai"
    assert sent(sources, "2026-07-15T00:00+09:00", "2026-07-15T00:30+09:00").status_code == 200


@pytest.mark.parametrize(
    "zone", ["+08:60", "+14:30", "-12:15", "+8", "Mars/North", "+15:00", "UTC+8"]
)
def test_a_zone_that_is_none_is_refused(sources, zone):
    refused = sources.register("headend", timezone=zone)
    assert (refused.status_code, refused.json()["reason"]) == (400, "source.timezone")


def test_a_format_that_was_not_declared_is_refused_by_its_name(sources):
    sources.register("headend", formats=["registers", "wide"], interval_minutes=30)
    refused = sent(sources, "2026-07-15T00:00", "2026-07-15T00:30")
    assert (refused.status_code, refused.json()["reason"]) == (400, "readings.undeclared")
    assert "format long" in refused.text
    assert "wide or registers" in refused.text
    faces = (HEAD.replace("kwh", "register_kwh") + "M,2026-07-15 00:00,1\n").encode()
    number = next(NAMES)
    assert sources.send(faces, batch=f"z{number}", sequence=number).status_code == 200
    octopus = b"Consumption (kwh), Start, End\n0.5,2026-07-15T00:00Z,2026-07-15T00:30Z\n"
    for formats, status in ((["octopus"], 200), (["home-assistant"], 400), (["long"], 200)):
        sources.register("headend", formats=formats, meter_points=["M"], interval_minutes=30)
        number = next(NAMES)
        answer = sources.send(octopus, batch=f"z{number}", sequence=number)
        assert answer.status_code == status, answer.text
        assert status == 200 or "format octopus" in answer.text
    unknown = sources.register("headend", formats=["edifact"])
    assert (unknown.status_code, unknown.json()["reason"]) == (400, "source.format")
    sources.register("headend", interval_minutes=30)


def test_sources_that_share_meter_points_are_named_and_one_reading_of_an_interval_counts(sources):
    sources.register("headend", meter_points=["S-1"], formats=["long"], interval_minutes=30)
    apart = sources.register("other", meter_points=["S-2"], interval_minutes=30).json()
    assert apart["overlaps"] == []
    narrower = sources.register("other", meter_points=["S-2", "S-12"]).json()
    assert narrower["overlaps"] == ["headend"]
    formats = sources.register("other", meter_points=["S-12"], formats=["nem12"]).json()
    assert formats["overlaps"] == []
    wider = sources.register("other", meter_points=[""], interval_minutes=30).json()
    assert wider["overlaps"] == ["headend"]
    headers = sources.token("operator")
    listed = sources.client.get("/v1/sources", headers=headers).json()
    assert {one["name"]: one["overlaps"] for one in listed} == {
        "headend": ["other"],
        "other": ["headend"],
    }

    at = "2026-07-20T00:00"
    sent(sources, at, by="other", kwh="1", name="S-1", tail=",actual")
    sent(sources, at, by="headend", kwh="2", name="S-1", tail=",actual")
    sent(sources, at, by="other", kwh="3", name="S-1", tail=",estimated")
    assert counting(sources, "S-1") == [2000]
    sent(sources, at, by="other", kwh="4", name="S-1", tail=",actual")
    assert counting(sources, "S-1") == [4000]
    sources.register("headend", interval_minutes=30)


def counting(sources, name: str) -> list[int]:
    zone = sources.app.state.service.zone
    july = month_period("2026-07", timezone=zone.timezone)
    paths = [
        path
        for path in find_batches(zone, july, until=10_000)
        if not path.name.endswith(".faces.parquet")
    ]
    readings = read_batches(paths, period=july)
    return readings.loc[readings["meter_point_id"] == name, "energy_wh"].tolist()


def test_exports_of_a_sources_only_meter_point_are_taken_in(sources):
    sources.register("headend", meter_points=["1900"], timezone="Europe/London")
    octopus = (
        " Consumption (kwh), Start, End\n"
        "0.579000, 2026-07-01T00:00:00+01:00, 2026-07-01T00:30:00+01:00\n"
        "0.028000, 2026-07-01T00:30:00+01:00, 2026-07-01T01:00:00+01:00\n"
    )
    registers = (
        "time,Import T1 kWh,Import T2 kWh,Export T1 kWh,Export T2 kWh\n"
        "2026-07-02 00:00,8293.146,7210.113,1916.077,4181.422\n"
    )
    for body, count, months in ((octopus, 2, {"2026-07"}), (registers, 2, {"2026-07"})):
        number = next(NAMES)
        answer = sources.send(body.encode(), batch=f"z{number}", sequence=number)
        receipt = sources.receipt(answer)
        assert (receipt.readings, receipt.rejected, set(receipt.months)) == (count, {}, months)
    # A source of several meter points has to name them.
    sources.register("headend", meter_points=["1900", "1901"], timezone="Europe/London")
    number = next(NAMES)
    refused = sources.send(octopus.encode(), batch=f"z{number}", sequence=number)
    assert (refused.status_code, refused.json()["reason"]) == (400, "readings.meter-point")
    sources.register("headend", interval_minutes=30)
