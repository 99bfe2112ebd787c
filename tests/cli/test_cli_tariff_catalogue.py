"""`gridsecure tariff list|show|check|diff`: doubts and problems are told with their row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app
from gridsecure.cli.tariff_check import check_tariff
from gridsecure.tariffs.tariff import catalogue_paths, catalogue_tariffs
from tests.billing.bill_inputs import catalogue_text
from tests.plans.element_tariffs import BUSINESSES, DYNAMIC, HOUSEHOLDS

DEMAND = "shenzhen-commercial-demand"


def tariff(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tariff", *arguments])


def row(result: Result, start: str) -> str:
    """The one printed row that begins so, without the frame."""
    rows = [line.strip("│ ") for line in result.stdout.splitlines()]
    (found,) = [line for line in rows if line.startswith(start)]
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tariff.toml"


def test_list_names_every_edition_with_its_doubts() -> None:
    result = tariff("list")
    assert result.exit_code == 0, result.stderr
    for paths in catalogue_paths().values():
        for path in paths:
            assert path.stem in result.stdout
    assert row(result, f"{DEMAND}@2025-02").split("│")[3].strip() == "6"
    assert row(result, "shenzhen-residential-tiers").split("│")[3].strip() == "1"
    assert row(result, "shenzhen-residential-shared-meter").split("│")[3].strip() == ""
    assert "深圳居民阶梯电价" in tariff("list", "--language", "zh").stdout


def test_show_marks_a_doubtful_figure_in_its_own_row() -> None:
    result = tariff("show", DEMAND)
    assert result.exit_code == 0, result.stderr
    assert "UNCONFIRMED  basic-fee" in row(result, "Maximum demand")
    assert "42 CNY/kW-month" in row(result, "Maximum demand")
    assert "column of the gateway" in row(result, "Maximum demand")
    assert "UNCONFIRMED  use-hours" in row(result, "Demand discount")
    assert "UNCONFIRMED  tier-250" in row(result, "Tier surcharge tier 2")
    assert "energy above 250 kWh/kVA; on ciphertext" in row(result, "Tier surcharge tier 2")
    assert "confirmed  transmission-2023" in row(result, "Transmission and distribution")
    assert "UNCONFIRMED" not in row(result, "Agency purchase")
    assert "UNCONFIRMED  vat" in row(result, "tax inside prices")
    assert "UNCONFIRMED  tier-250" in row(result, "Tiers of 2025-02")
    assert "6 figures of this tariff are not confirmed" in result.stdout


def test_show_draws_the_day_of_the_month_asked_for() -> None:
    name = "shenzhen-commercial-four-period"
    july = tariff("show", name, "--month", "2026-07").stdout
    strip = "VVVVVVVVVVVVVVVVFFFFPPSSFFFFPPSSSSPPPPFFFFFFFFFF"
    assert f"weekday, weekend, hot │ {strip}" in july
    assert "sharp (S) 11:00-12:00, 15:00-17:00" in july
    march = tariff("show", name, "--month", "2026-03", "--language", "zh").stdout
    assert "谷谷谷谷谷谷谷谷平平峰峰平平峰峰峰峰峰平平平平平" in march
    assert "谷谷谷谷谷谷谷谷平平峰尖平平峰尖尖峰峰平平平平平" in march
    assert "未确认 UNCONFIRMED  capacity-fee" in march


def test_show_tells_tiers_of_a_year_and_shares() -> None:
    shown = tariff("show", "shanghai-residential-peak-valley", "--month", "2026-05")
    assert "a year, from 1 January" in shown.stdout
    assert "UNCONFIRMED  shanghai-split" in row(shown, "tiers and time of use")
    assert "share of the period in the energy from 3120 to 4800 kWh of the year" in shown.stdout
    assert "3120 kWh" in row(shown, "1 │")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ratchet", "share of an earlier month's demand"),
        ("demand-periods", "Hours of demand"),
        ("power-factor", "table of 0.90"),
        ("minimum", "at least 320 CNY/month"),
        ("feed-in", "energy fed in"),
        ("chronological", "in the order of time"),
        ("per-period", "valley 1"),
        ("free-quota", "free quota"),
        ("dynamic", "744 prices from 0.05 to 0.35"),
    ],
)
def test_show_has_words_for_every_element(file: Path, name: str, words: str) -> None:
    file.write_text({**HOUSEHOLDS, **BUSINESSES, "dynamic": DYNAMIC}[name], encoding="utf-8")
    for language in ("en", "zh"):
        result = tariff("show", str(file), "--month", "2026-07", "--language", language)
        assert result.exit_code == 0, result.stderr
        assert language == "zh" or words in result.stdout


def test_show_prints_names_out_of_files_as_they_are(file: Path) -> None:
    text = catalogue_text("flat").replace(
        "Shenzhen shared-meter", "[bold]Shared[/bold] [/] [link=x]"
    )
    file.write_text(text.replace('"flat"', '"[red]flat"'), encoding="utf-8")
    result = tariff("show", str(file))
    assert "[bold]Shared[/bold] [/] [link=x]" in result.stdout
    assert "[red]flat" in result.stdout


def test_show_unusual_hours_and_days(file: Path) -> None:
    text = catalogue_text("shenzhen-commercial-four-period").replace('"valley"', '"night [1]"')
    text = text.replace('to = "08:00"', 'to = "07:45"').replace('from = "08:00"', 'from = "07:45"')
    text += '\n[[days]]\ndate = 2026-03-04\nday_type = "hot"\n'
    file.write_text(text, encoding="utf-8")
    result = tariff("show", str(file), "--month", "2026-03")
    assert "AAAAAAAAAAAAAAA*FFFF" in result.stdout
    assert "night [1] 00:00-07:45" in result.stdout
    assert "Special days of the month: 2026-03-04 hot" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("show", "no-such-tariff"), "not-found"),
        (("show", "flat", "--month", "2026-13"), "month.format"),
        (("show", "flat", "--month", "July"), "month.format"),
        (("show", "flat", "--month", "2020-07"), "tariff.not-valid"),
        (("show", DEMAND, "--month", "2025-03"), "tariff.not-valid"),
        (("check", "no-such-tariff"), "not-found"),
        (("diff", "flat", "no-such-tariff"), "not-found"),
    ],
)
def test_what_is_not_there_is_refused(arguments: tuple[str, ...], reason: str) -> None:
    result = tariff(*arguments)
    assert result.exit_code == 1
    assert reason in result.stderr


def test_show_needs_a_whole_month(file: Path) -> None:
    text = catalogue_text("flat").replace("valid_from = 2021-10-01", "valid_from = 2021-10-02")
    file.write_text(text.replace("2021-10-02", "2021-10-02\nvalid_to = 2021-11-01"))
    assert "tariff.validity" in tariff("show", str(file)).stderr
    checked = check_tariff(file)
    assert [problem.reason for problem in checked.problems] == ["tariff.validity"]


def test_check_passes_the_whole_catalogue_and_warns_of_doubts() -> None:
    result = tariff("check", *catalogue_tariffs())
    assert result.exit_code == 0, result.stdout
    assert result.stdout.count("good") == len(catalogue_tariffs())
    assert "UNCONFIRMED rates[11]: Demand price times 0.9" in result.stdout
    assert "day type 'hot' has windows of its own and no date" in result.stdout
    quiet = tariff("check", "shenzhen-residential-shared-meter").stdout
    assert "12 months compiled" in quiet
    assert "warning" not in quiet


BAD = [
    # (tariff, what is changed, what it becomes, reason, what the message names)
    (HOUSEHOLDS["annual"], "3120", "3120.5", "plan.limit", "rates[1]"),
    (HOUSEHOLDS["annual"], "4800", "40000", "plan.threshold", "rates[3]"),
    (HOUSEHOLDS["annual"], "3120", "3121", "plan.limit", "rates[1]"),
    (BUSINESSES["kva-tier"], "= 250", "= 5000", "plan.threshold", "rates[6]"),
    (BUSINESSES["demand"], "260", "5000", "plan.threshold", "rates[7]"),
    (BUSINESSES["power-factor-demand"], "= 250", "= 5000", "plan.threshold", "rates[6]"),
    (BUSINESSES["ratchet"], '"42"', '"42.12345678"', "tariff.decimals", "rates[6]"),
    (BUSINESSES["power-factor"], '"0.51130000"', '"1000000.5"', "tariff.number", "rates[1]"),
    (DYNAMIC, "", "", "tariff.dynamic-range", "price series"),
    (catalogue_text("flat"), '"CNY/kWh"', '"CNY/kVA-month"', "tariff.rate-scope", "rates[1]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new", "reason", "named"), BAD)
def test_check_names_row_and_reason(
    file: Path, text: str, old: str, new: str, reason: str, named: str
) -> None:
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    result = tariff("check", "flat", str(file))
    assert result.exit_code == 1
    assert f"{reason}  " in result.stdout
    assert named in result.stdout
    assert "refused" in result.stdout


def test_check_tells_the_months_that_cannot_be_billed(file: Path) -> None:
    text = DYNAMIC.replace(
        "valid_from = 2020-01-01", "valid_from = 2026-07-01\nvalid_to = 2026-09-01"
    )
    file.write_text(text, encoding="utf-8")
    (problem,) = check_tariff(file).problems
    assert (problem.reason, problem.months) == ("tariff.dynamic-range", ("2026-08",))
    assert "(2026-08)" in tariff("check", str(file)).stdout


def test_check_refuses_what_is_no_tariff(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    result = tariff("check", str(file))
    assert result.exit_code == 1
    assert "tariff.unreadable" in result.stdout
    file.write_text("= [bold]", encoding="utf-8")
    assert "tariff.syntax" in tariff("check", str(file)).stdout


def test_diff_for_people_and_for_scripts(file: Path) -> None:
    text = catalogue_text("shenzhen-residential-tiers")
    file.write_text(text.replace("= 260", "= 300").replace('"0.05"', '"0.06"'), encoding="utf-8")
    name = "shenzhen-residential-tiers"
    table = tariff("diff", name, str(file)).stdout
    assert row_of(table, "tiers") == ["~", "tiers", "tier 1", "5-10", "to 260 kWh", "to 300 kWh"]
    document = json.loads(tariff("diff", name, str(file), "--format", "json").stdout)
    assert [change["key"] for change in document["changes"]] == ["tier 1", "tier-adder tier 2"]
    assert document["changes"][1]["after"] == "0.06 CNY/kWh [guangdong-tiers, confirmed]"
    assert "The two say the same" in tariff("diff", name, name).stdout
    several = tariff("diff", "flat", name).stdout
    assert row_of(several, "tier_convention")[0] == "+"
    assert row_of(tariff("diff", name, "flat").stdout, "tier_convention")[0] == "-"


def row_of(table: str, word: str) -> list[str]:
    (found,) = [line for line in table.splitlines() if f"│ {word} " in line]
    return [cell.strip() for cell in found.strip("│").split("│")]


def test_an_edition_can_be_asked_for_by_name() -> None:
    assert tariff("show", f"{DEMAND}@2025-02").exit_code == 0
    assert tariff("show", f"{DEMAND}@2025-03").exit_code == 1
