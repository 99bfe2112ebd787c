"""The bills that the command computes make statements, with nothing between the two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from apps.statements.render import Format, RenderOptions, choose_statements, render_statement
from apps.statements.wording import Language
from gridsecure.billing.tariffs import catalogue_tariffs

CATALOGUE = catalogue_tariffs()
CONTRACTS = """meter_point_id,zone,customer_class,tariff_id,household_quota_kwh,contracted_kva
large,futian,household,,100,315
small,futian,household,,0,100
"""


@pytest.mark.parametrize(
    "tariff", ["shenzhen-residential-tiers", "shenzhen-commercial-four-period"]
)
def test_a_computed_bill_makes_a_statement(tariff: str, tmp_path: Path) -> None:
    rows = [
        f"{name},2026-07-{day:02d} {hour:02d}:00,{day * factor / 70 + hour / 100:.3f}"
        for name, factor in (("large", 9), ("small", 1))
        for day in range(1, 32)
        for hour in range(24)
    ]
    readings, contracts = tmp_path / "readings.csv", tmp_path / "contracts.csv"
    readings.write_text("meter_point_id,start,kwh\n" + "\n".join(rows) + "\n")
    contracts.write_text(CONTRACTS)
    arguments = ["bill", "--tariff", CATALOGUE[tariff], "--readings", readings]
    arguments += ["--contract", contracts, "--format", "json"]
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.stderr
    orders = choose_statements(json.loads(result.stdout))
    assert [order.meter_point_id for order in orders] == ["large", "small"]
    for order in orders:
        for language in Language:
            for kind in Format:
                assert render_statement(order, options=RenderOptions(language, kind)).content
