"""A bill of somebody who held the meter point for a part of the month, checked by the customer."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from gridsecure.bill_receipts import (
    LEAVES,
    ROOT,
    BillCommitment,
    BillFacts,
    BillReceipt,
    DeliveredReceipt,
    EstimatedReading,
    Filling,
    ReadingsOpening,
    ReceiptTree,
    tree_root,
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
from gridsecure.transparency.tree import leaf_hash
from tests.attacks import Attacked, attack, cut, rule

NAME, SALT = "MP-1", b"\x11" * 32
START, HELD, END = (f"2026-{day}T00:00:00+08:00" for day in ("07-01", "07-11", "08-01"))
TARIFF = catalogue_tariffs()["shenzhen-residential-tiers"].read_text(encoding="utf-8")
WINDOW = (datetime.fromisoformat(HELD), datetime.fromisoformat(END))
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


def issued(own: pd.DataFrame, period: BillingPeriod) -> tuple[DeliveredReceipt, ReadingsOpening]:
    """A bill of some readings with its receipt, and what opens that."""
    energies = lay_out_energies(own, period=period, parts={NAME: WINDOW})
    (counted,) = count_readings(energies, [0], windows=[WINDOW])
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
    bill = bill_of(own, period) | {"served": {"start": HELD, "end": END}}
    before = EstimatedReading(start="2026-07-02T00:00:00+08:00", energy_wh=9)
    opening = ReadingsOpening(**named, salt=SALT.hex(), facts=FACTS, estimates=[before])
    return DeliveredReceipt(meter_point_id=NAME, period=bill, receipt=receipt), opening


def held_month() -> tuple[pd.DataFrame, pd.DataFrame, BillingPeriod]:
    """The readings of the whole month, those of its holder, and the period."""
    period = billing_period(START, END, tariff=parse_tariff(TARIFF))
    whole = month(period)
    return whole, whole[whole["start"] >= WINDOW[0]].reset_index(drop=True), period


def test_a_file_of_the_whole_month_shows_a_movers_bill(tmp_path: Path) -> None:
    whole, own, period = held_month()
    delivered, opening = issued(own, period)

    def counted_of(readings: pd.DataFrame) -> int:
        file = written(tmp_path / "readings.csv", readings)
        return check_bill(delivered, [opening], own=file).readings

    assert counted_of(own) == counted_of(whole) == 21 * 24
    with pytest.raises(InvalidReadingsError, match=r"receipt\.incomplete"):
        counted_of(own.iloc[:-1])
    with pytest.raises(InvalidReadingsError, match=r"receipt\.incomplete"):
        counted_of(whole[whole["start"] < WINDOW[0]])
    delivered.period["served"] = {"start": START, "end": END}
    with pytest.raises(AuditBrokenError, match=r"receipt\.bill"):
        counted_of(whole)


@attack(
    "a bill of other readings than the meter's, with a receipt",
    rule(
        "The readings are committed to by a salted digest, which the meter's own have to give.",
        "receipt.readings",
        cut(
            "gridsecure.cli.receipt_check:check_bill",
            "sm3_hex(salt + data) != commitment.readings",
            "False",
        ),
    ),
    rule(
        "The bill is computed again from the meter's readings.",
        "receipt.bill",
        cut(
            "gridsecure.cli.receipt_check:_compare",
            "if any(own.get(name) != line.get(name) for name in wanted):",
            "if False:",
        ),
        cut(
            "gridsecure.cli.receipt_check:_compare", "if made[name] != said.get(name):", "if False:"
        ),
    ),
)
def test_a_bill_of_other_readings_is_found(tmp_path: Path, attacked: Attacked) -> None:
    _whole, own, period = held_month()
    more = own.assign(energy_wh=own["energy_wh"] + 40)
    delivered, opening = issued(more, period)
    file = written(tmp_path / "readings.csv", own)
    attacked.tries(lambda: check_bill(delivered, [opening], own=file))


@attack(
    "a receipt that was written after the month was committed to",
    rule(
        "A commitment is in the tree whose root the gateway's log has.",
        "receipt.tree",
        cut(
            "gridsecure.bill_receipts:BillReceipt.check_tree",
            "verify_inclusion(",
            "(lambda *_, **_named: None)(",
        ),
    ),
)
def test_a_forged_receipt_is_found(attacked: Attacked) -> None:
    """By whoever hands receipts on: over the readings of a bill that was raised since."""
    _whole, own, period = held_month()
    delivered, _ = issued(own, period)
    filling = Filling(size=2, seed="00" * 32)
    tree = ReceiptTree(commitments=[delivered.receipt.commitment], filling=filling, log_proof="")
    (true,) = tree.receipts()
    leaves = filling.leaves([leaf_hash(true.commitment.text)])
    entry = {ROOT: tree_root(leaves), LEAVES: 2}
    true.check_tree(entry)
    raised, _ = issued(own.assign(energy_wh=own["energy_wh"] + 40), period)
    forged = true.model_copy(update={"commitment": raised.receipt.commitment})
    attacked.tries(lambda: forged.check_tree(entry))
