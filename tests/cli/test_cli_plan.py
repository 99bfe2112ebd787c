"""`gridsecure plan explain`: tables, JSON, and refusals that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app
from tests.plans.element_tariffs import BUSINESSES, DYNAMIC, HOUSEHOLDS

TIERS = "shenzhen-residential-tiers"


@pytest.fixture
def explain_plan(tmp_path: Path) -> Any:
    def run(text: str, *options: str) -> Any:
        path = tmp_path / "tariff.toml"
        path.write_text(text, encoding="utf-8")
        return CliRunner().invoke(app, ["plan", "explain", "--tariff", str(path), *options])

    return run


def test_a_tariff_of_the_catalogue_is_explained_line_by_line() -> None:
    wide = CliRunner(env={"COLUMNS": "120"})
    result = wide.invoke(app, ["plan", "explain", "--tariff", TIERS, "--month", "2026-07"])
    assert result.exit_code == 0, result.output
    for words in ("tier-adder tier 2", "threshold on digits", "tier digits", "round every line"):
        assert words in " ".join(result.stdout.split())
    assert "315 kVA" in result.stderr


def test_json_tells_columns_bounds_and_costs(explain_plan: Any) -> None:
    result = explain_plan(
        BUSINESSES["power-factor-demand"], "--month", "2026-07", "--slots", "16384",
        "--format", "json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["month"], document["slots"]) == ("2026-07", 16384)
    lines = {line["charge"]: line for line in document["lines"]}
    assert lines["energy"]["operation"] == "linear"
    assert lines["demand"]["computed"] == "gateway"
    assert lines["standing"]["computed"] == "contract"
    factor = lines["power-factor"]
    assert {c["parameters"] for c in factor["columns"]} == {"bgv_16384_q360_t35"}
    assert factor["depth"] == 3
    assert factor["noise_margin_bits"] >= 5
    assert int(factor["largest"]) < 2**35
    costs = document["costs"]
    assert costs["platform_us"] == pytest.approx(
        sum(line["platform_us"] for line in document["lines"]), abs=0.01
    )
    assert costs["gateway_us"] > costs["platform_us"] > 0
    assert any("divide percentage" in step for step in document["authority"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HOUSEHOLDS["pro-rata"], "divide register × tier part by the total"),
        (HOUSEHOLDS["minimum"], "top the bill up"),
        (BUSINESSES["power-factor"], "net = total / 1.13"),
        (BUSINESSES["kva-tier"], "public kVA"),
    ],
)
def test_the_authority_s_part_is_told(explain_plan: Any, text: str, words: str) -> None:
    result = explain_plan(text)
    assert result.exit_code == 0, result.output
    assert words in result.stdout


def test_the_first_whole_month_is_explained_unless_told(explain_plan: Any) -> None:
    for text, month in (
        (HOUSEHOLDS["minimum"], "2020-01"),
        (HOUSEHOLDS["minimum"].replace("2020-01-01", "2020-12-02"), "2021-01"),
        (DYNAMIC, "2026-07"),
    ):
        result = explain_plan(text, "--slots", "5", "--format", "json")
        assert json.loads(result.stdout)["month"] == month


def test_contracts_are_repeated_over_the_slots(explain_plan: Any, tmp_path: Path) -> None:
    contract = tmp_path / "contract.csv"
    contract.write_text("meter_point_id,household_quota_kwh\na,0\nb,100\n", encoding="utf-8")
    options = ("--contract", str(contract), "--format", "json")
    own = json.loads(explain_plan(HOUSEHOLDS["pro-rata"], *options).stdout)
    full = json.loads(explain_plan(HOUSEHOLDS["pro-rata"], *options, "--slots", "16384").stdout)
    assert (own["slots"], full["slots"]) == (2, 16384)
    assert own["lines"][0]["columns"] == full["lines"][0]["columns"]
    contract.write_text("meter_point_id\n", encoding="utf-8")
    refused = explain_plan(HOUSEHOLDS["pro-rata"], *options)
    assert (refused.exit_code, "contract.file" in refused.stderr) == (1, True)


def test_a_line_that_cannot_be_computed_is_named_with_its_reason(explain_plan: Any) -> None:
    broken = HOUSEHOLDS["annual-pro-rata"].replace("upper_limit = 3120", "upper_limit = 33.6")
    for output in ("table", "json"):
        result = explain_plan(broken, "--format", output)
        assert result.exit_code == 1
        assert "plan.limit line 1 energy peak tier 1" in result.stderr
        assert "Traceback" not in result.output
    assert json.loads(result.stdout)["lines"][0]["refusal"]["reason"] == "plan.limit"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--tariff", "nowhere"], "not-found"),
        (["--tariff", TIERS, "--month", "2026-13"], "month.format"),
        (["--tariff", TIERS, "--month", "1999-01"], "tariff.not-valid"),
    ],
)
def test_other_refusals_have_a_reason_too(options: list[str], reason: str) -> None:
    result = CliRunner().invoke(app, ["plan", "explain", *options])
    assert (result.exit_code, reason in result.stderr) == (1, True)


def test_a_roster_larger_than_any_is_refused(explain_plan: Any) -> None:
    done = explain_plan(HOUSEHOLDS["pro-rata"], "--slots", "16385")
    assert done.exit_code == 1
    assert "plan.slots" in done.stderr
    assert "16384" in done.stderr
