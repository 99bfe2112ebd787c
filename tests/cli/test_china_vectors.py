"""`gridsecure bill` on published Chinese figures: the power-factor table and household bills."""

from __future__ import annotations

import json
from decimal import Decimal
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from gridsecure.cli.bill import BillOrder, bill_file
from gridsecure.cli.bill_tariffs import TariffOptions
from gridsecure.tariffs.tariff import catalogue_tariffs
from tests.plans.element_tariffs import BUSINESSES

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "oracle" / "china_vectors.json").read_text("utf-8")
)
PERCENT = VECTORS["power_factor"]["percent"]
HOUSEHOLDS = VECTORS["shenzhen_residential_third_party"]["vectors"]
ACTIVE_KWH = 10_000


def billed(tariff: Path, rows: list[str], folder: Path, *, header: str) -> dict[str, Any]:
    readings = folder / "readings.csv"
    readings.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return bill_file(BillOrder(readings, TariffOptions((str(tariff),))), report=lambda _text: None)[
        "meters"
    ]


@pytest.mark.parametrize("standard", sorted(PERCENT))
def test_every_entry_of_the_power_factor_table_comes_out_of_ciphertext(
    standard: str, tmp_path: Path
) -> None:
    """One meter point for each printed factor; the base leaves the government funds out."""
    tariff = tmp_path / "tariff.toml"
    text = BUSINESSES["power-factor"].replace('standard = "0.90"', f'standard = "{standard}"')
    tariff.write_text(text, encoding="utf-8")
    rows = []
    for factor in PERCENT[standard]:
        reactive = round(ACTIVE_KWH * sqrt(1 / float(factor) ** 2 - 1))
        rows += [
            f"pf-{factor},2026-07-01 00:00,{ACTIVE_KWH - 1},{reactive}",
            f"pf-{factor},2026-07-01 01:00,1,0",
        ]
    meters = billed(tariff, rows, tmp_path, header="meter_point_id,start,kwh,kvarh")
    assert len(meters) == len(PERCENT[standard])
    for factor, percent in PERCENT[standard].items():
        (period,) = meters[f"pf-{factor}"]["periods"]
        lines = {line["charge"]: line for line in period["lines"]}
        line = lines["power-factor"]
        assert Decimal(line["quantity"]) == Decimal(percent)
        base = sum(
            Decimal(other["amount_exact"])
            for other in period["lines"]
            if other["charge"] not in ("power-factor", "government-funds")
        )
        assert Decimal(line["base"]) == base
        exact = base * Decimal(percent) / 100
        assert abs(Decimal(line["amount_exact"]) - exact) < Decimal("1e-11")
        assert line["computed"] == "gateway"


def test_published_household_bills_come_out_of_ciphertext(tmp_path: Path) -> None:
    rows = []
    for number, vector in enumerate(HOUSEHOLDS):
        home, kwh = f"home-{number},2025-{vector['month']:02d}-01", Decimal(vector["kwh"])
        rows += [f"{home} 00:00,{kwh - 1}", f"{home} 01:00,1"]
    tariff = catalogue_tariffs()["shenzhen-residential-tiers"]
    meters = billed(tariff, rows, tmp_path, header="meter_point_id,start,kwh")
    found = [meters[f"home-{number}"]["periods"] for number in range(len(HOUSEHOLDS))]
    assert [[period["total"] for period in periods] for periods in found] == [
        [vector["yuan"]] for vector in HOUSEHOLDS
    ]
