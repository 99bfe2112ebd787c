"""A bill of somebody who held the meter point for a part of the month, checked by the customer."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from gridsecure.bill_receipts import (
    BillCommitment,
    BillFacts,
    BillReceipt,
    DeliveredReceipt,
    EstimatedReading,
    ReadingsOpening,
)
from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import compute_bills
from gridsecure.billing.part_months import UNHELD_COLUMN
from gridsecure.billing.settlements import settle
from gridsecure.cli.receipt_check import CustomersFile, check_bill
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, InvalidReadingsError
from gridsecure.gateway.bill_commitments import count_readings
from gridsecure.gateway.energies import lay_out_energies
from gridsecure.gateway.meanings import Meaning
from gridsecure.periods import BillingPeriod
from gridsecure.plans.execution import billing_period
from gridsecure.tariffs.tariff import catalogue_tariffs, parse_tariff

NAME, SALT = "MP-1", b"\x11" * 32
START, HELD, END = (f"2026-{day}T00:00:00+08:00" for day in ("07-01", "07-11", "08-01"))
TARIFF = catalogue_tariffs()["shenzhen-residential-tiers"].read_text(encoding="utf-8")
FACTS = BillFacts(
    zone="futian",
    customer_class="household",
    household_quota_wh=0,
    contracted_va=0,
    unheld_days=10,
    cycle_day=1,
    held_from=HELD,
    held_until=END,
)


def month(tariff_period: BillingPeriod) -> pd.DataFrame:
    starts = pd.date_range(
        tariff_period.start, tariff_period.end, freq="1h", inclusive="left", unit="us"
    )
    frame = pd.DataFrame({"meter_point_id": NAME, "start": starts, "energy_wh": 1000})
    return frame.assign(energy_wh=500 + frame.index % 7 * 40, minutes=60, quality="actual")


def bill_of(own: pd.DataFrame, period: BillingPeriod) -> dict[str, object]:
    tariff = parse_tariff(TARIFF)
    contracts = pd.DataFrame(
        {
            "meter_point_id": [NAME],
            "zone": [FACTS.zone],
            "customer_class": [FACTS.customer_class],
            "household_quota_wh": [0],
            "free_quota_wh": [0],
            "contracted_va": [0],
            "service_from": [""],
            UNHELD_COLUMN: [FACTS.unheld_days],
            "year_to_date_wh": [0],
        }
    )
    settled = settle(
        own, tariff=tariff, interval=pd.Timedelta(hours=1), contracts=contracts, cycle_day=1
    )
    bills = compute_bills(
        settled, tariff=tariff, contracts=contracts.assign(tariff_id=""), period=period
    )
    made: dict[str, object] = bills_to_json([bills], tariff=tariff)["meters"][NAME]["periods"][0]
    return made


def written(path: Path, readings: pd.DataFrame) -> CustomersFile:
    kwh = readings["energy_wh"].map(lambda wh: f"{wh / 1000:.3f}")
    starts = readings["start"].map(lambda start: start.isoformat())
    table = pd.DataFrame({"meter_point_id": NAME, "start": starts, "kwh": kwh})
    table.assign(quality="actual").to_csv(path, index=False)
    return CustomersFile(path, Meaning(None, None, None, ""), TARIFF)


def test_a_file_of_the_whole_month_shows_a_movers_bill(tmp_path: Path) -> None:
    period = billing_period(START, END, tariff=parse_tariff(TARIFF))
    whole = month(period)
    window = (datetime.fromisoformat(HELD), datetime.fromisoformat(END))
    own = whole[whole["start"] >= window[0]].reset_index(drop=True)
    energies = lay_out_energies(own, period=period, parts={NAME: window})
    (counted,) = count_readings(energies, [0], windows=[window])
    named = {"meter_point_id": NAME, "start": START, "end": END, "version": 1}
    commitment = BillCommitment(
        **named,
        plan="bill",
        plan_version=1,
        tariff=sm3_hex(TARIFF.encode()),
        salt=sm3_hex(SALT),
        facts=sm3_hex(SALT + FACTS.model_dump_json().encode()),
        readings=sm3_hex(SALT + counted),
    )
    receipt = BillReceipt(commitment=commitment, index=0, size=1, path=[], log_proof="")
    served = {"served": {"start": HELD, "end": END}}
    bill = bill_of(own, period) | served
    delivered = DeliveredReceipt(meter_point_id=NAME, period=bill, receipt=receipt)
    before = EstimatedReading(start="2026-07-02T00:00:00+08:00", energy_wh=9)
    opening = ReadingsOpening(**named, salt=SALT.hex(), facts=FACTS, estimates=[before])

    def counted_of(readings: pd.DataFrame) -> int:
        file = written(tmp_path / "readings.csv", readings)
        return check_bill(delivered, [opening], own=file).readings

    assert counted_of(own) == counted_of(whole) == 21 * 24
    with pytest.raises(InvalidReadingsError, match=r"receipt\.incomplete"):
        counted_of(own.iloc[:-1])
    with pytest.raises(InvalidReadingsError, match=r"receipt\.incomplete"):
        counted_of(whole[whole["start"] < window[0]])
    delivered.period["served"] = {"start": START, "end": END}
    with pytest.raises(AuditBrokenError, match=r"receipt\.bill"):
        counted_of(whole)
