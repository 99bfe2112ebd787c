"""The bills that the product computes make statements, with nothing between the two."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from apps.statements.render import Format, RenderOptions, choose_statements, render_statement
from apps.statements.wording import Language
from gridsecure.billing.bills import bill_readings, bills_to_json
from gridsecure.billing.contracts import load_contracts
from gridsecure.billing.tariffs import catalogue_tariffs, load_tariff
from gridsecure.gateway.formats import read_readings

CATALOGUE = catalogue_tariffs()
CONTRACTS = """meter_point_id,zone,customer_class,tariff_id,household_quota_kwh,contracted_kva
large,futian,household,,0,315
small,futian,household,,0,100
"""


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize(
    "tariff",
    [
        "shenzhen-residential-tiers",
        "shenzhen-residential-peak-valley",
        "shenzhen-commercial-four-period",
    ],
)
def test_a_computed_bill_makes_a_statement(tariff: str, language: Language, tmp_path: Path) -> None:
    hours = pd.date_range("2026-07-01", "2026-08-02", freq="h", inclusive="left")
    rows = [
        f"{name},{hour:%Y-%m-%d %H:%M},{0.137 * factor + hour.hour / 100:.3f}"
        for name, factor in (("large", 9), ("small", 1))
        for hour in hours
    ]
    readings = tmp_path / "readings.csv"
    readings.write_text("meter_point_id,start,kwh\n" + "\n".join(rows) + "\n")
    contracts = tmp_path / "contracts.csv"
    contracts.write_text(CONTRACTS)
    file = read_readings(readings)
    bills = bill_readings(
        file.readings,
        tariff=load_tariff(CATALOGUE[tariff]),
        contracts=load_contracts(contracts),
        interval=file.interval,
    )
    document = json.loads(json.dumps(bills_to_json(bills)))
    orders = choose_statements(document)
    assert len(orders) == 4
    for order in orders:
        for kind in Format:
            assert render_statement(order, options=RenderOptions(language, kind)).content
