"""A month of registers of hours through all parties: from batches to statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO

import pandas as pd
import pytest

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.gateway.books import imports
from gridsecure.gateway.collection import LaterReadings, read_files
from gridsecure.gateway.correction_plan import list_corrections
from gridsecure.gateway.correction_versions import compute_expected_corrections
from gridsecure.gateway.ingestion.batches import (
    Arrival,
    BatchName,
    batch_folder,
    find_batches,
    newest_batch,
    take_in,
)
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.month_files import HandedIn, load_files, save_files
from gridsecure.gateway.reading_balance import balance_readings
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.key_authority.checker.answering import list_certificates
from gridsecure.statement_checks import check_statements
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.authority_simulator import Authority
from tests.gateway.gateway_world import MONTH, GatewayWorld
from tests.gateway.register_exports import (
    CHINESE,
    HOURS,
    OTHER_HOURS,
    ZONE,
    columns_csv,
    daily_faces,
)
from tests.gateway.test_corrections import correct, homes, released, saved, shops, told

SHENZHEN = "shenzhen-commercial-four-period"


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path, load_curves=False)
    yield made
    made.close()


def used(world, names: Sequence[str]) -> pd.DataFrame:
    """The simulated hours of meter points, in hundredths of a kWh."""
    readings = world.simulated.readings()
    own = readings[readings["meter_point_id"].isin(names)]
    ids = own["meter_point_id"].astype(str)
    return own.assign(meter_point_id=ids, energy_wh=own["energy_wh"] // 10 * 10)


def hours_csv(readings: pd.DataFrame) -> str:
    rows = zip(readings["meter_point_id"], readings["start"], readings["energy_wh"], strict=True)
    lines = [f"{m},{at:%Y-%m-%d %H:%M},{wh // 1000}.{wh % 1000:03d}" for m, at, wh in rows]
    return "\n".join(["meter_point_id,start,kwh", *lines, ""])


def send(world, text: str, *, sequence: int) -> None:
    source = Source("collection", "t", ("",), "start", ZONE, "")
    with SpooledBody(batch_folder(world.zone)) as body:
        body.add(text.encode())
        name = BatchName(f"b{sequence}", sequence)
        arrival = Arrival(source, name, world.clock(), is_answered=True)
        take_in(world.zone, body, arrival=arrival)


def contract(world) -> None:
    contracts = world.contracts_csv()
    world.list_contracts(world.read_contracts(contracts))
    files = HandedIn(contracts=BytesIO(contracts))
    save_files(world.zone, MONTH, files=files, person="op", at=world.clock())


def state_hours(world, hours: Mapping[str, str]) -> None:
    """Write into the gateway's books which hours the registers of each meter count."""
    lines = [f'{name},{MONTH}-01,"{text}"' for name, text in hours.items()]
    text = "\n".join(["meter_point_id,valid_from,register_hours", *lines, ""])
    found = imports.hand_in(world.zone, text.encode(), valid_from=None)
    imports.apply_import(world.zone, found.change.digest, person="op", at=world.clock())


def oracle(world, readings: pd.DataFrame) -> dict[str, object]:
    """Bills of the intervals themselves, by settlement pseudonym."""
    tariff = load_tariff(catalogue_tariffs()[SHENZHEN])
    contracts = world.contracts()
    names = set(readings["meter_point_id"])
    bills = bill_readings(
        readings,
        tariff=tariff,
        contracts=contracts[contracts["meter_point_id"].isin(names)],
        interval=pd.Timedelta(hours=1),
    )
    filed = world.settlement_names()
    meters = bills_to_json(bills, tariff=tariff)["meters"]
    return {filed[meter]: bill for meter, bill in meters.items()}


def stated(world, names: Sequence[str]) -> dict[str, object]:
    """What the gateway expects the statements of meter points to say."""
    expected = compute_expected_bills(world.zone, load_files(world.zone, MONTH))
    filed = world.settlement_names()
    wanted = {filed[name] for name in names}
    every = {name: bill for meters in expected.values() for name, bill in meters.items()}
    return {name: bill for name, bill in every.items() if name in wanted}


def test_registers_of_hours_are_billed_as_the_intervals_that_they_counted(world, tmp_path):
    """Batches of daily faces, as they come: encrypted, open and oracle agree to the fen."""
    own = used(world, shops(world))
    faces = daily_faces(own)
    send(world, hours_csv(used(world, homes(world))), sequence=1)
    contract(world)
    state_hours(world, dict.fromkeys(shops(world), HOURS))
    days = faces.index.get_level_values(1)
    for sequence, part in enumerate((days.day % 2 == 0, days.day % 2 == 1), start=2):
        send(world, columns_csv(faces[part], headers=CHINESE), sequence=sequence)
    report = world.process()
    assert (report.excluded, report.estimated) == ({}, 0)
    assert report.problems["register-hours"] == len(shops(world))
    filed = world.settlement_names()
    names = {subject: filed[name] for name, subject in world.identity_names().items()}

    def settlement(_domain: str, subjects: Sequence[str]) -> list[str]:
        return [names[subject] for subject in subjects]

    authority = Authority(
        world.grid, tmp_path / "authority", settlement=settlement, gateway=world.gateway_key
    )
    try:
        statements = released(world, authority, "bill")
        digests = told(world, list_certificates(authority.zone))
        found = check_statements(digests, statements=statements)
        assert (found.bills, found.mismatches) == (20, 0)
    finally:
        authority.close()
    assert stated(world, shops(world)) == oracle(world, own)
    assert balance_readings(world.zone, MONTH).adds_up


def test_who_is_priced_otherwise_than_counted_is_left_out_by_name(world):
    own = used(world, shops(world))
    first, second, *others = shops(world)
    send(world, hours_csv(used(world, homes(world))), sequence=1)
    contract(world)
    state_hours(world, dict.fromkeys(others, HOURS) | {first: OTHER_HOURS})
    text = columns_csv(daily_faces(own), headers=CHINESE)
    files = HandedIn([BytesIO(text.encode("gb18030"))])
    save_files(world.zone, MONTH, files=files, person="op", at=world.clock())
    assert balance_readings(world.zone, MONTH).adds_up
    report = world.process()
    # Of the second nobody said which hours its registers count: it has a total a day.
    assert report.excluded == {"interval-length": 1, "register-hours": 1}
    excluded = pd.read_csv(world.zone.folder / "months" / MONTH / "exceptions.csv", dtype=str)
    assert dict(zip(excluded["meter_point_id"], excluded["reason"], strict=True)) == {
        first: "register-hours",
        second: "interval-length",
    }
    rest = own[own["meter_point_id"].isin(others)]
    assert stated(world, others) == oracle(world, rest)
    balance = balance_readings(world.zone, MONTH)
    assert balance.adds_up
    assert sum(one.came_in for one in balance.taken_in) == 31 * len(shops(world)) + 744 * 14


def test_intervals_count_where_they_were_sent_and_registers_only_beside_them(world):
    own = used(world, shops(world))
    send(world, hours_csv(used(world, homes(world))), sequence=1)
    contract(world)
    state_hours(world, dict.fromkeys(shops(world), OTHER_HOURS))
    send(world, columns_csv(daily_faces(own), headers=CHINESE), sequence=2)
    send(world, hours_csv(own), sequence=3)
    report = world.process()
    assert (report.excluded, report.estimated) == ({}, 0)
    assert stated(world, shops(world)) == oracle(world, own)
    assert balance_readings(world.zone, MONTH).adds_up


def test_an_hour_that_was_sent_sets_the_days_registers_aside(world):
    """Parts of a day are right together alone: beside an interval its value is a total."""
    own = used(world, shops(world))
    name = shops(world)[0]
    send(world, hours_csv(used(world, homes(world))), sequence=1)
    contract(world)
    state_hours(world, dict.fromkeys(shops(world), HOURS))
    text = columns_csv(daily_faces(own), headers=CHINESE)
    files = HandedIn([BytesIO(text.encode())])
    save_files(world.zone, MONTH, files=files, person="op", at=world.clock())
    mine = own[own["meter_point_id"] == name]
    send(world, hours_csv(mine[mine["start"].dt.day == 5][3:20]), sequence=2)
    report = world.process()
    assert report.excluded == {}
    assert report.problems["compared"] == 1
    # Of the column 反向无功总电能, one value a line.
    assert report.problems["passed-over-reactive-fed-in"] == len(text.splitlines()) - 1
    assert report.estimated == 7
    rest = own[own["meter_point_id"] != name]
    assert stated(world, shops(world)[1:]) == oracle(world, rest)
    assert balance_readings(world.zone, MONTH).adds_up


@pytest.mark.parametrize("form", ["a file", "a batch"])
def test_an_hour_that_came_late_sets_the_days_registers_aside_as_well(world, tmp_path, form):
    """Laid over one part of the day, it would change what the registers counted."""
    own = used(world, shops(world))
    name = shops(world)[0]
    mine = own[(own["meter_point_id"] == name) & (own["start"].dt.day == 5)]
    send(world, hours_csv(used(world, homes(world))), sequence=1)
    contract(world)
    state_hours(world, dict.fromkeys(shops(world), HOURS))
    text = columns_csv(daily_faces(own), headers=CHINESE)
    files = HandedIn([BytesIO(text.encode())])
    save_files(world.zone, MONTH, files=files, person="op", at=world.clock())
    period, before = world.zone.period(MONTH), load_files(world.zone, MONTH)
    late = hours_csv(mine[9:12])
    if form == "a file":
        (tmp_path / "late.csv").write_text(late)
        came = LaterReadings(files=(tmp_path / "late.csv",))
    else:
        newest = newest_batch(world.zone)
        send(world, late, sequence=2)
        came = LaterReadings(
            batches=find_batches(world.zone, period, until=newest_batch(world.zone), after=newest)
        )
    (found,) = read_files(replace(before, later=(came,)), timezone=ZONE, period=period)
    told = found.readings
    day = told[(told["meter_point_id"] == name) & (told["start"].dt.day == 5)]
    by_length = day.groupby("minutes")["energy_wh"].agg(list).to_dict()
    assert by_length == {60: mine["energy_wh"].tolist()[9:12], 1440: [mine["energy_wh"].sum()]}
    others = told[(told["meter_point_id"] == name) & (told["start"].dt.day != 5)]
    assert set(others["minutes"]) == {60}
    assert name in found.placed


def test_later_faces_and_intervals_correct_what_registers_told(world):
    """A face put right, a last face that came late, and half a month of hours."""
    own = used(world, shops(world))
    first, second, third, *_ = shops(world)
    faces = daily_faces(own)
    last = faces.index.get_level_values(1)[-1]
    sent = faces.drop(index=[(second, last)])
    sent.loc[(first, last), ["total", "flat"]] += 10
    send(world, hours_csv(used(world, homes(world))), sequence=1)
    contract(world)
    state_hours(world, dict.fromkeys(shops(world), HOURS))
    send(world, columns_csv(sent, headers=CHINESE), sequence=2)
    # The last day of the second has no actual reading beside it that would tell an estimate.
    assert world.process().excluded == {"quarantined": 1}
    late = faces.loc[[(first, last), (second, last)]]
    send(world, columns_csv(late, headers=CHINESE), sequence=3)
    more = (own["meter_point_id"] == third) & (own["start"].dt.day <= 15)
    more &= own["start"].dt.hour == 3
    truth = own.assign(energy_wh=own["energy_wh"] + 10 * more)
    half = (own["meter_point_id"] == third) & (own["start"].dt.day <= 15)
    send(world, hours_csv(truth[half]), sequence=4)
    report = correct(world, saved(world))
    assert (report.corrected, report.late) == (2, 1)
    bills = oracle(world, truth)
    filed = world.settlement_names()
    versions = list_corrections(world.zone, MONTH)
    stated = compute_expected_corrections(
        world.zone, load_files(world.zone, MONTH), correction=versions[-1].files
    )
    corrections = {name: one for meters in stated.values() for name, one in meters.items()}
    assert corrections.keys() == {filed[first], filed[third]}
    for name, one in corrections.items():
        (bill,) = bills[name]["periods"]
        (corrected,) = one["periods"]
        assert corrected["lines"] == bill["lines"]
    assert balance_readings(world.zone, MONTH).adds_up
