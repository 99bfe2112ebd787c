"""Bills of the folders under `cases/`, each computed by hand, and published household bills."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.billing.contracts import default_contracts, load_contracts
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.billing.bill_inputs import HOUR, contract_part, read_case_readings, readings_frame

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("folder", sorted(p.name for p in CASES.iterdir() if p.is_dir()))
def test_bill_folder(folder: str) -> None:
    case = CASES / folder
    bills = bill_readings(
        read_case_readings(case / "readings.csv"),
        tariff=load_tariff(case / "tariff.toml"),
        contracts=load_contracts(case / "contract.csv"),
        interval=HOUR,
    )
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    assert contract_part(bills_to_json(bills)) == expected


# Published in the unit tests of benj-tang/china_southern_power_grid_stat (2026 prices).
@pytest.mark.parametrize(
    ("month", "kwh", "yuan"),
    [
        (8, "367.88", "249.25"),
        (8, "250", "165.72"),
        (8, "270", "179.47"),
        (11, "10", "6.63"),
        (9, "1", "0.66"),
    ],
)
def test_published_shenzhen_household_bill(month: int, kwh: str, yuan: str) -> None:
    readings = readings_frame([("H", f"2025-{month:02d}-01T00:00", int(Decimal(kwh) * 1000))])
    (bills,) = bill_readings(
        readings,
        tariff=load_tariff(catalogue_tariffs()["shenzhen-residential-tiers"]),
        contracts=default_contracts(["H"]),
        interval=HOUR,
    )
    assert bills_to_json([bills])["meters"]["H"]["periods"][0]["total"] == yuan


def test_commercial_bill_in_a_sharp_month_and_in_an_ordinary_one() -> None:
    """11-12 is sharp every day of July and peak in June; capacity is 22 yuan per kVA."""
    readings = readings_frame(
        [("S", "2025-06-30T11:00", 100_000), ("S", "2025-07-01T11:00", 100_000)]
    )
    contracts = default_contracts(["S"]).assign(contracted_va=pd.Series([500_000]))
    june, july = bill_readings(
        readings,
        tariff=load_tariff(catalogue_tariffs()["shenzhen-commercial-four-period"]),
        contracts=contracts,
        interval=HOUR,
    )
    # sharp, peak, flat, valley, capacity [fen]: 100 x 1.15526875, 100 x 1.43716875, 500 x 22.
    assert june.amounts_fen[:, 0].tolist() == [0, 11553, 0, 0, 1_100_000]
    assert july.amounts_fen[:, 0].tolist() == [14372, 0, 0, 0, 1_100_000]
