"""Register faces by the books: multipliers of their days, and meters that were exchanged."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.gateway.books import imports
from gridsecure.gateway.books.as_of import contracts_as_of
from gridsecure.gateway.books.months import MeterDays, MonthContracts
from gridsecure.gateway.books.register import newest_revision
from gridsecure.gateway.collection import MonthFiles, read_files
from gridsecure.periods import month_period
from tests.gateway.gateway_world import MONTH, GatewayWorld

JULY = month_period(MONTH, timezone="Asia/Shanghai")
ZONE = "Asia/Shanghai"
HOURS = pd.date_range(JULY.start, JULY.end, freq="h")
EXCHANGE = pd.Timestamp("2026-07-10", tz=ZONE)


def file_of(tmp_path, faces: dict[pd.Timestamp, int], *, header: str = "register_kwh"):
    """A register file of meter point m; faces in Wh."""
    path = tmp_path / "readings-0001"
    lines = [f"m,{at:%Y-%m-%d %H:%M},{wh // 1000}.{wh % 1000:03d}" for at, wh in faces.items()]
    path.write_text("\n".join([f"meter_point_id,start,{header}", *lines]) + "\n")
    return path


def read(tmp_path, faces, *meters: MeterDays, header: str = "register_kwh") -> pd.Series:
    """Energies of the month by the start of their hour [Wh]."""
    books = MonthContracts(default_contracts(["m"]), meters=meters)
    path = file_of(tmp_path, faces, header=header)
    files = MonthFiles(MONTH, tmp_path, (path,), {}, contracts=lambda: books)
    (file,) = read_files(files, timezone=ZONE, period=JULY)
    local = pd.DatetimeIndex(file.readings["start"]).tz_convert(ZONE)
    return pd.Series(file.readings["energy_wh"].to_numpy(), index=local)


def meter(first: str, end: str, multiplier: int = 1, *, built_in: int = -1, taken_out: int = -1):
    days = (date.fromisoformat(first), date.fromisoformat(end))
    return MeterDays("m", days, multiplier, built_in, taken_out)


def test_what_a_register_counted_is_multiplied_by_the_ratio_of_its_day(tmp_path):
    faces = {at: 1_000_000 + 100 * number for number, at in enumerate(HOURS)}
    old, new = meter("2026-01-01", "2026-07-10", 40), meter("2026-07-10", "9999-12-31", 60)
    found = read(tmp_path, faces, old, new)
    assert set(found[found.index < EXCHANGE]) == {4_000}
    assert set(found[found.index >= EXCHANGE]) == {6_000}
    assert len(found) == 744


def test_energies_are_taken_as_they_stand(tmp_path):
    energies = {at: 100 + number % 7 for number, at in enumerate(HOURS[:-1])}
    found = read(tmp_path, energies, meter("2026-01-01", "9999-12-31", 40), header="kwh")
    assert found.tolist() == list(energies.values())


@pytest.mark.parametrize("at_midnight", ["old", "new"])
def test_faces_of_two_meters_are_differenced_apart(tmp_path, at_midnight):
    """The old one is taken out at midnight at its last face, the new one begins at 5 kWh."""
    faces, shown = {}, 90_000_000
    for at in HOURS:
        faces[at] = shown
        shown += 100
    last = faces[EXCHANGE]
    for at in HOURS[HOURS > EXCHANGE]:
        faces[at] += 5_000 - last
    if at_midnight == "new":
        faces[EXCHANGE] = 5_000
    meters = (
        meter("2026-01-01", "2026-07-10", 1, taken_out=last),
        meter("2026-07-10", "9999-12-31", 20, built_in=5_000),
    )
    found = read(tmp_path, faces, *meters)
    assert len(found) == 744
    assert set(found[found.index < EXCHANGE]) == {100}
    assert set(found[found.index >= EXCHANGE]) == {2_000}


def test_a_meter_that_was_exchanged_as_the_month_began_is_told_with_it(tmp_path):
    world = GatewayWorld(tmp_path, enrolled=False)
    text = (
        "meter_point_id,valid_from,account,meter,multiplier,first_face_kwh,final_face_kwh\n"
        "m,2026-01-01,A,old,1,0,\nm,2026-07-01,A,new,1,5,90000\n"
    )
    found = imports.hand_in(world.zone, text.encode(), valid_from=None)
    imports.apply_import(world.zone, found.change.digest, person="op", at=world.clock())
    revision = newest_revision(world.zone)
    books = contracts_as_of(world.zone, period=JULY, revision=revision)
    world.close()
    # The month's first face is the old meter's last one; the new one went on from 5 kWh.
    faces = {at: 5_000 + 100 * number for number, at in enumerate(HOURS)}
    faces[HOURS[0]] = 90_000_000
    found = read(tmp_path, faces, *books.meters)
    assert len(found) == 744
    assert set(found) == {100}


def test_an_exchange_without_faces_leaves_what_nobody_knows_missing(tmp_path):
    faces = {at: 90_000_000 + 100 * number for number, at in enumerate(HOURS)}
    for number, at in enumerate(HOURS[HOURS > EXCHANGE]):
        faces[at] = 100 * number
    meters = meter("2026-01-01", "2026-07-10"), meter("2026-07-10", "9999-12-31", built_in=0)
    found = read(tmp_path, faces, *meters)
    assert len(found) == 743
    assert found.max() == 100


def test_the_books_tell_a_month_its_meters(tmp_path):
    world = GatewayWorld(tmp_path, enrolled=False)
    text = (
        "meter_point_id,valid_from,account,meter,multiplier,first_face_kwh,final_face_kwh\n"
        "m,2026-01-01,A,old,40,0,\nm,2026-07-10,A,new,60,5,99.5\nplain,2026-01-01,B,one,1,0,\n"
    )
    found = imports.hand_in(world.zone, text.encode(), valid_from=None)
    at = world.clock()
    imports.apply_import(world.zone, found.change.digest, person="op", at=at)
    revision = newest_revision(world.zone)
    books = contracts_as_of(world.zone, period=JULY, revision=revision)
    world.close()
    assert [(one.multiplier, one.first_face_wh, one.final_face_wh) for one in books.meters] == [
        (40, 0, 99_500),
        (60, 5_000, -1),
    ]
    assert {one.meter_point_id for one in books.meters} == {"m"}
