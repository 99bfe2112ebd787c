"""The bills that the command computes make statements, with nothing between the two."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.billing.contracts import default_contracts
from gridsecure.cli.main import app
from gridsecure.cli.tables import show_bills
from gridsecure.statements.options import Format, RenderOptions
from gridsecure.statements.render import choose_statements, render_statement
from gridsecure.statements.wording import Language
from gridsecure.tariffs.tariff import catalogue_paths, catalogue_tariffs, load_tariff
from tests.billing.bill_inputs import readings_frame
from tests.statements.pdf_text import page_texts
from tests.statements.samples import Page

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


FILES = [path for paths in catalogue_paths().values() for path in paths]
# What we, who keep the catalogue, write about where its figures were found.
REMARK = re.compile(
    r"secondary|confirm|production\s*use|transcri|repositor|\bcited\b|told|press\b|not\s*found"
    r"|public\s*(source|database)|partial|verif|guide|from\s*another|one\s*source|dependable"
    r"|\bSHINE\b|Yicai|二手|未确认|已确认|核实|核对|转录|可信|来源|存疑|未找到|部分电价",
    re.IGNORECASE,
)


def catalogue_bill(path: Path) -> dict[str, Any]:
    """A month by a tariff of the catalogue, with a demand and a capacity for those that ask."""
    tariff = load_tariff(path)
    month = pd.date_range(tariff.valid_from, periods=24 * 28, freq="h", tz=tariff.timezone)
    rows = [("A", start.strftime("%Y-%m-%d %H:%M"), 700 + start.hour) for start in month]
    contracts = default_contracts(["A"]).assign(
        contracted_va=315_000, tariff_id=tariff.tariff_id, large=""
    )
    (bills,) = bill_readings(
        readings_frame(rows, timezone=tariff.timezone).assign(reactive_varh=100),
        tariff=tariff,
        contracts=contracts,
        interval=pd.Timedelta(hours=1),
    )
    return bills_to_json([bills], tariff=tariff)


def printed(document: dict[str, Any]) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        show_bills(document, console)
    return capture.get()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_bill_or_statement_says_what_we_think_of_our_sources(path: Path) -> None:
    document = catalogue_bill(path)
    (order,) = choose_statements(document)
    said = [json.dumps(document, ensure_ascii=False), printed(document)]
    for language in Language:
        html = render_statement(order, options=RenderOptions(language, Format.HTML))
        pdf = render_statement(order, options=RenderOptions(language, Format.PDF))
        page = Page(html.content).text
        assert ("供电企业" if language is Language.CHINESE else "Electricity utility") in page
        said += [page, *page_texts(pdf.content)]
    for text in said:
        assert not REMARK.search(text), REMARK.search(text)
    # Without this the test would pass on bills that name nothing at all.
    named = [source for source in load_tariff(path).sources if source.document]
    for source in named:
        assert str(source.document) in said[0]


def test_the_words_that_are_looked_for_are_those_of_the_catalogue() -> None:
    doubted = [
        source
        for path in FILES
        for source in load_tariff(path).sources
        if source.confidence != "confirmed" and source.title != source.document
    ]
    found = [source for source in doubted if REMARK.search(f"{source.title} {source.confidence}")]
    assert found == doubted != []
