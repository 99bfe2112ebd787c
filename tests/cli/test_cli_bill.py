"""`gridsecure bill`: the contract for scripts, and what a user sees when something is wrong."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.billing.contracts import default_contracts, load_contracts
from gridsecure.cli.main import app
from gridsecure.gateway.formats import read_readings
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff

CATALOGUE = catalogue_tariffs()
EDGES = """meter_point_id,start,kwh
at-tier-1,2026-07-01 00:00,259.999
at-tier-1,2026-07-01 01:00,0.001
over-tier-1,2026-07-01 00:00,260
over-tier-1,2026-07-01 01:00,0.001
over-tier-2,2026-07-01 00:00,600
over-tier-2,2026-07-01 01:00,0.001
two-months,2026-07-31 23:00,300
two-months,2026-08-01 00:00,1.5
"""
CONTRACTS = """meter_point_id,zone,customer_class,tariff_id,household_quota_kwh,contracted_kva
at-tier-1,futian,household,,0,0
over-tier-1,futian,household,,100,0
over-tier-2,futian,household,,0,0
two-months,futian,household,,0,0
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "readings.csv").write_text(EDGES)
    (tmp_path / "contracts.csv").write_text(CONTRACTS)
    return tmp_path


def bill(files: Path, *arguments: str, tariff: str = "shenzhen-residential-tiers") -> object:
    command = [
        "bill",
        "--tariff",
        str(CATALOGUE[tariff]),
        "--readings",
        str(files / "readings.csv"),
    ]
    return CliRunner().invoke(app, [*command, *arguments])


def figures(document: dict[str, Any]) -> dict[str, Any]:
    """A bill document without what stands beside its figures."""
    beside = ("readings", "notices")
    meters = {
        name: {
            "periods": [
                {key: value for key, value in bill.items() if key not in beside}
                for bill in meter["periods"]
            ]
        }
        for name, meter in document["meters"].items()
    }
    return {"meters": meters}


@pytest.mark.parametrize(
    "tariff", ["shenzhen-residential-tiers", "shenzhen-residential-peak-valley"]
)
def test_json_on_ciphertext_equals_the_plaintext_oracle(files: Path, tariff: str) -> None:
    contract = files / "contracts.csv"
    result = bill(files, "--contract", str(contract), "--format", "json", tariff=tariff)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)

    file = read_readings(files / "readings.csv")
    oracle = bill_readings(
        file.readings,
        tariff=load_tariff(CATALOGUE[tariff]),
        contracts=load_contracts(contract),
        interval=file.interval,
    )
    assert figures(document) == bills_to_json(oracle, tariff=load_tariff(CATALOGUE[tariff]))
    july, august = document["meters"]["two-months"]["periods"]
    assert (july["start"][:7], august["start"][:7]) == ("2026-07", "2026-08")


def test_one_meter_and_the_exact_line(files: Path) -> None:
    result = bill(files, "--meter", "over-tier-2", "--format", "json")
    (period,) = json.loads(result.stdout)["meters"]["over-tier-2"]["periods"]
    last = period["lines"][-1]
    assert last["quantity"] == "0.001"
    assert Decimal(last["amount_exact"]) == Decimal("0.0003")
    assert period["total"] == "414.72"


def test_table_for_people(files: Path) -> None:
    result = bill(files, "--meter", "at-tier-1")
    assert "172.35" in result.stdout
    assert "billed as read" in " ".join(result.stderr.split())
    assert "742 of 744 intervals" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--meter", "nobody"], "not-found"),
        (["--contract", "missing.csv"], "contract.file"),
    ],
)
def test_refusals_have_a_reason_and_a_way_out(
    files: Path, arguments: list[str], reason: str
) -> None:
    result = bill(files, *arguments)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert "What to do" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("meter_point_id,start,kwh\nA,2026-07-01 00:00,1.2345\n", "readings.energy"),
        ("meter_point_id,start,kwh,colour\nA,2026-07-01 00:00,1,red\n", "readings.columns"),
        ("meter_point_id,start,kwh,unit\nA,2026-07-01 00:00,1,MWh\n", "readings.unit"),
        ("", "readings.empty"),
        ('meter_point_id,start,kwh\nA,"2026-07-01 00:00,1\n', "readings.malformed"),
    ],
)
def test_bad_files_are_refused_without_their_values(files: Path, content: str, reason: str) -> None:
    (files / "readings.csv").write_text(content)
    result = bill(files)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert "1.2345" not in result.output
    assert "Traceback" not in result.output


def test_every_faulty_line_is_printed_by_kind(files: Path) -> None:
    wrong = ["A,2026-07-01 00:00,much", "A,2026-07-01 00:30,1e9", "A,2026-07-01 01:00,0.4"] * 40
    lines = ["meter_point_id,start,kwh", *wrong, "A,2026-07-01 01:30,much", "A,2026,1"]
    (files / "readings.csv").write_text("\n".join(lines))
    said = bill(files).stderr
    assert "41 lines refused" not in said  # times are judged first
    assert "timestamp: 1 line (123): the time is not of the form" in said
    assert "kwh-not-a-number: 41 lines (2, 5, 8, " in said
    assert " and 21 more): the energy is not a decimal number. Write kWh" in said
    assert "kwh-scientific: 40 lines (3, 6, 9, " in said


def test_broken_tariff_names_the_row(files: Path, tmp_path: Path) -> None:
    text = CATALOGUE["shenzhen-residential-tiers"].read_text(encoding="utf-8")
    broken = tmp_path / "broken.toml"
    broken.write_text(text.replace("upper_limit_kwh = 600", "upper_limit_kwh = 100"))
    command = ["bill", "--tariff", str(broken), "--readings", str(files / "readings.csv")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "tiers[" in result.stderr


def test_repeated_lines_count_once_and_contradictions_are_refused(files: Path) -> None:
    (files / "readings.csv").write_text(EDGES + EDGES.splitlines()[1] + "\n")
    result = bill(files, "--meter", "at-tier-1", "--format", "json")
    assert json.loads(result.stdout)["meters"]["at-tier-1"]["periods"][0]["total"] == "172.35"
    assert "1 repeated lines" in result.stderr
    (files / "readings.csv").write_text(EDGES + "at-tier-1,2026-07-01 00:00,5\n")
    result = bill(files)
    assert result.exit_code == 1
    assert "What to do" in result.stderr
    assert "259.999" not in result.output


PER_DAY = """tariff_id = "t"
version = "1"
name_en = "T"
name_zh = "测"
city = "Test"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2020-01-01
sources = [{ id = "s", title = "Invented", confidence = "unconfirmed" }]
rates = [
    { charge = "energy", rate = "0.5", unit = "CNY/kWh", source = "s" },
    { charge = "standing", rate = "1", unit = "CNY/day", source = "s" },
]
"""


def test_the_document_says_what_is_missing_estimated_and_charged(tmp_path: Path) -> None:
    # March until the 15th: one hour missing, one without energy, one estimated and one superseded.
    rows = ["meter_point_id,start,kwh,quality", "M,2025-03-02 00:00,7,E"]
    for hour in range(15 * 24):
        start = f"2025-03-{1 + hour // 24:02d} {hour % 24:02d}:00"
        quality = "E" if hour == 5 else "A"
        if hour != 100:
            rows.append(f"M,{start},{'' if hour == 200 else 1},{quality}")
    (tmp_path / "r.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "t.toml").write_text(PER_DAY, encoding="utf-8")
    files = ["--tariff", str(tmp_path / "t.toml"), "--readings", str(tmp_path / "r.csv")]
    result = CliRunner().invoke(app, ["bill", *files, "--format", "json"])
    assert result.exit_code == 0, result.stderr
    (bill,) = json.loads(result.stdout)["meters"]["M"]["periods"]
    read = bill["readings"]
    assert bill["total_exact"] == "210"  # 358 h of 1 kWh at 0.5, and 31 days
    counts = {"actual": 357, "estimated": 1, "missing": 31 * 24 - 358, "superseded": 1}
    assert {name: read[name] for name in counts} == counts
    assert (read["days"], read["days_read"], read["interval_minutes"]) == (31, 15, 60)
    assert read["gaps"] == [
        {"start": "2025-03-05T04:00+08:00", "end": "2025-03-05T05:00+08:00"},
        {"start": "2025-03-09T08:00+08:00", "end": "2025-03-09T09:00+08:00"},
        {"start": "2025-03-16T00:00+08:00", "end": "2025-04-01T00:00+08:00"},
    ]
    notices = {notice["code"]: notice for notice in bill["notices"]}
    assert set(notices) == {
        *("readings-missing", "readings-estimated", "readings-superseded", "days-charged"),
    }
    assert notices["days-charged"]["values"] == {"days": 31, "days_read": 15}
    assert "386 of 744 intervals" in notices["readings-missing"]["text"]
    statement = tmp_path / "s.html"
    (tmp_path / "b.json").write_text(result.stdout, encoding="utf-8")
    made = ["statement", "--bill", str(tmp_path / "b.json"), "--output", str(statement)]
    assert CliRunner().invoke(app, made).exit_code == 0
    html = statement.read_text(encoding="utf-8")
    assert "744 个 60 分钟时段中有 386 个没有读数" in html
    assert "按日收取的费用按全月 31 天计算，读数覆盖 15 天" in html


def test_the_document_names_who_has_no_reading_in_a_month(tmp_path: Path) -> None:
    rows = ["meter_point_id,start,kwh", "M2,2025-03-01 00:00,", "M2,2025-03-01 01:00,NaN"]
    rows += [f"{name},2025-0{month}-01 0{hour}:00,1" for hour in (0, 1)
             for name, month in (("M1", 3), ("M1", 4), ("M3", 4))]  # fmt: skip
    (tmp_path / "r.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "t.toml").write_text(PER_DAY, encoding="utf-8")
    files = ["--tariff", str(tmp_path / "t.toml"), "--readings", str(tmp_path / "r.csv")]
    result = CliRunner().invoke(app, ["bill", *files, "--format", "json"])
    document = json.loads(result.stdout)
    assert set(document["meters"]) == {"M1", "M3"}
    left_out = [(each["meter_point_id"], each["start"][:7]) for each in document["not_billed"]]
    assert left_out == [("M2", "2025-03"), ("M3", "2025-03"), ("M2", "2025-04")]
    assert {each["code"] for each in document["not_billed"]} == {"no-readings"}
    assert "2025-03: 2 meter points have no reading at all" in result.stderr


def test_a_file_from_the_future_is_a_what_if_and_says_so(files: Path) -> None:
    (files / "readings.csv").write_text(EDGES.replace("2026", "2096"))
    result = bill(files, "--meter", "at-tier-1")
    assert result.exit_code == 0, result.stderr
    assert "in the future" in result.stderr


def test_whoever_bills_learns_what_nobody_confirmed_and_the_bill_does_not_say_it(
    files: Path,
) -> None:
    result = bill(files, "--meter", "at-tier-1", tariff="shenzhen-commercial-four-period")
    assert result.exit_code == 0, result.stderr
    doubt = "shenzhen-commercial-four-period: some figures are UNCONFIRMED"
    assert doubt in result.stderr
    assert "UNCONFIRMED" not in result.stdout
    sure = bill(files, "--meter", "at-tier-1")
    assert "UNCONFIRMED" not in sure.stderr


# --- cycles ------------------------------------------------------------------------------------

CROSSING = """meter_point_id,start,kwh
a,2025-12-16 00:00,200
a,2025-12-31 23:00,199.999
a,2026-01-01 00:00,0.001
a,2026-01-15 23:00,0.5
b,2026-01-03 11:00,7.125
b,2026-01-03 12:00,1
"""


def test_a_cycle_that_crosses_the_year_equals_the_oracle(tmp_path: Path) -> None:
    """Tiers count 16 December to 15 January; keys and pseudonyms are of the year it begins in."""
    tariff = "shenzhen-residential-peak-valley"
    (tmp_path / "readings.csv").write_text(CROSSING)
    result = bill(tmp_path, "--cycle-day", "16", "--format", "json", tariff=tariff)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    loaded = load_tariff(CATALOGUE[tariff])
    file = read_readings(tmp_path / "readings.csv", timezone=loaded.timezone)
    bills = bill_readings(
        file.readings,
        tariff=loaded,
        contracts=default_contracts(["a", "b"]),
        interval=file.interval,
        cycle_day=16,
    )
    assert [found.period.name for found in bills] == ["2026-01"]
    assert figures(document) == bills_to_json(bills, tariff=loaded)
    spans = [(b["start"][:10], b["end"][:10]) for b in document["meters"]["a"]["periods"]]
    assert spans == [("2025-12-16", "2026-01-16")]


def test_a_cycle_begins_on_a_day_that_every_month_has(tmp_path: Path) -> None:
    (tmp_path / "readings.csv").write_text(CROSSING)
    result = bill(tmp_path, "--cycle-day", "30")
    assert result.exit_code == 1
    assert "cycle.day" in result.stderr
