from __future__ import annotations

from pathlib import Path

import pytest

from gridsecure.billing.contracts import align_contracts, default_contracts, load_contracts
from gridsecure.errors import InputError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "contract.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_numbers_are_exact_thousandths_and_defaults_are_zero(tmp_path: Path) -> None:
    contracts = load_contracts(
        written(
            tmp_path,
            "\ufeffmeter_point_id,zone,customer_class,tariff_id,household_quota_kwh,contracted_kva\n"
            "001,南山,household,t,100.1,\n"
            "NA, futian ,shop,, ,315.05\n",
        )
    )
    assert contracts.to_dict("list") == {
        "meter_point_id": ["001", "NA"],
        "zone": ["南山", "futian"],
        "customer_class": ["household", "shop"],
        "tariff_id": ["t", ""],
        "service_from": ["", ""],
        "large": ["", ""],
        "household_quota_wh": [100_100, 0],
        "free_quota_wh": [0, 0],
        "contracted_va": [0, 315_050],
        "year_to_date_wh": [0, 0],
    }
    assert contracts["household_quota_wh"].dtype == "int64"


def test_only_the_meter_point_is_required(tmp_path: Path) -> None:
    contracts = load_contracts(written(tmp_path, "meter_point_id\nA\n"))
    assert contracts.equals(default_contracts(["A"]))


def test_a_row_shorter_than_the_header_takes_the_defaults(tmp_path: Path) -> None:
    contracts = load_contracts(written(tmp_path, "meter_point_id,zone,contracted_kva\nA\nB,z,1\n"))
    assert contracts["zone"].tolist() == ["", "z"]
    assert contracts["contracted_va"].tolist() == [0, 1000]


def test_a_header_alone_is_no_contracts(tmp_path: Path) -> None:
    contracts = load_contracts(written(tmp_path, "meter_point_id,contracted_kva\n"))
    assert len(contracts) == 0
    assert contracts["contracted_va"].dtype == "int64"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unreadable"),
        ('meter_point_id\n"A\n', "unreadable"),
        ("meter_point_id,zone\nA,futian,3,4\n", "unreadable"),
        ("zone\nfutian\n", "missing-column"),
        ("zone,meter_point_id\nfutian\n", "missing-meter-point"),
        ("meter_point_id,quota\nA,1\n", "unknown-column"),
        ("meter_point_id,zone,zone\nA,a,b\n", "duplicate-column"),
        ("meter_point_id,zone\n ,futian\n", "missing-meter-point"),
        ("meter_point_id\nA\nB\nA \n", "duplicate-meter-point"),
        ("meter_point_id,contracted_kva\nA,-1\n", "number"),
        ("meter_point_id,contracted_kva\nA,1e3\n", "number"),
        ("meter_point_id,contracted_kva\nA,1.0005\n", "number"),
        ("meter_point_id,contracted_kva\nA,1234567890\n", "number"),
        ("meter_point_id,contracted_kva\nA,1\nB,many\n", "number"),
    ],
)
def test_a_bad_contract_file_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        load_contracts(written(tmp_path, text))
    assert caught.value.reason == f"contract.{reason}"


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"contract\.unreadable"):
        load_contracts(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"meter_point_id\n\xff\n")
    with pytest.raises(InputError, match=r"contract\.unreadable"):
        load_contracts(tmp_path / "binary.csv")


def test_the_refusal_counts_rows_as_people_do(tmp_path: Path) -> None:
    path = written(tmp_path, "meter_point_id,contracted_kva\nA,1\nB,many\n")
    with pytest.raises(InputError, match="row 2: contracted_kva"):
        load_contracts(path)


def test_contracts_align_to_the_order_asked_for() -> None:
    contracts = default_contracts(["A", "B", "C"], tariff_id="t")
    aligned = align_contracts(contracts, meter_point_ids=["C", "A"])
    assert aligned["meter_point_id"].tolist() == ["C", "A"]
    with pytest.raises(InputError, match="'D'") as caught:
        align_contracts(contracts, meter_point_ids=["A", "D"])
    assert caught.value.reason == "contract.unknown-meter-point"
