"""A month of daily values through all parties: from batches to statements, and reconciled."""

from __future__ import annotations

from contextlib import closing
from io import BytesIO

import pandas as pd
import pytest

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.billing.readings import make_readings
from gridsecure.gateway.ingestion.batches import Arrival, BatchName, batch_folder, take_in
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.month_files import HandedIn, load_files, save_files
from gridsecure.gateway.reading_balance import balance_readings
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.key_authority.checker.answering import list_certificates
from gridsecure.statement_checks import check_statements
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.gateway.gateway_world import MONTH, GatewayWorld
from tests.gateway.test_corrections import authority_of, homes, released, shops, told

ZONE = "Asia/Shanghai"
DAYS = pd.date_range(f"{MONTH}-01", periods=31, tz=ZONE)


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path, load_curves=False)
    yield made
    made.close()


def daily_wh(world) -> pd.DataFrame:
    """The simulated month's energy of each day [Wh]: days by meter points."""
    readings = world.simulated.readings()
    days = [readings["meter_point_id"].astype(str), readings["start"].dt.floor("D")]
    return readings.groupby(days)["energy_wh"].sum().unstack(0)


def send(world, energies: pd.DataFrame, *, sequence: int) -> None:
    """A batch of a collection system: a line for each meter point and day."""
    lines = ["meter_point_id,date,kwh"]
    for day, own in energies.iterrows():
        lines += [f"{m},{day:%Y-%m-%d},{wh // 1000}.{wh % 1000:03d}" for m, wh in own.items()]
    source = Source("collection", "t", ("",), "start", ZONE, "")
    name = BatchName(f"b{sequence}", sequence)
    with SpooledBody(batch_folder(world.zone)) as body:
        body.add("\n".join([*lines, ""]).encode())
        take_in(world.zone, body, arrival=Arrival(source, name, world.clock(), is_answered=True))


def hand_in(world) -> None:
    contracts = world.contracts_csv()
    world.list_contracts(world.read_contracts(contracts))
    files = HandedIn(contracts=BytesIO(contracts))
    save_files(world.zone, MONTH, files=files, person="op", at=world.clock())


def oracle(world, energies: pd.DataFrame) -> dict[str, object]:
    """Bills of the homes from the days as they were sent, by settlement pseudonym."""
    long = energies[homes(world)].melt(ignore_index=False, var_name="meter", value_name="wh")
    readings = make_readings(
        long["meter"].to_numpy(object), start=long.index, energy_wh=long["wh"].to_numpy()
    )
    tariff = load_tariff(catalogue_tariffs()["flat"])
    contracts = world.contracts()
    bills = bill_readings(
        readings.assign(minutes=1440),
        tariff=tariff,
        contracts=contracts[contracts["meter_point_id"].isin(homes(world))],
        interval=pd.Timedelta(days=1),
    )
    names = world.settlement_names()
    meters = bills_to_json(bills, tariff=tariff)["meters"]
    return {names[meter]: bill for meter, bill in meters.items()}


def test_days_are_billed_from_batch_to_statement_and_add_up(world, tmp_path):
    energies = daily_wh(world)
    wrong = energies.iloc[:7].copy()
    wrong.iloc[3] += 1000
    send(world, wrong, sequence=1)
    # The first week again, put right; then the others, the last one first.
    for sequence, days in enumerate((energies[:7], energies[14:], energies[7:14]), start=2):
        send(world, days, sequence=sequence)
    hand_in(world)
    report = world.process()
    # A day has no place among the prices of the shops' hours, so they are named.
    assert report.billed_meters == len(homes(world))
    assert report.excluded == {"interval-length": len(shops(world))}
    assert (report.readings, report.estimated) == (31 * 20, 0)

    with closing(authority_of(world, tmp_path)) as authority:
        statements = released(world, authority, "bill")
        digests = told(world, list_certificates(authority.zone))
        found = check_statements(digests, statements=statements)
        assert (found.bills, found.mismatches) == (len(homes(world)), 0)
    expected = compute_expected_bills(world.zone, load_files(world.zone, MONTH))
    stated = {name: bill for meters in expected.values() for name, bill in meters.items()}
    assert stated == oracle(world, energies)
    balance = balance_readings(world.zone, MONTH)
    assert balance.adds_up
    assert sum(one.came_in for one in balance.taken_in) == (31 + 7) * 20


def test_a_day_that_never_came_is_estimated_and_billed(world):
    energies = daily_wh(world)
    name = homes(world)[0]
    send(world, energies.drop(columns=name), sequence=1)
    send(world, energies[[name]].drop(index=DAYS[9]), sequence=2)
    hand_in(world)
    report = world.process()
    assert (report.billed_meters, report.estimated) == (len(homes(world)), 1)
    assert sum(report.estimated_by.values()) == 1
    assert balance_readings(world.zone, MONTH).adds_up
