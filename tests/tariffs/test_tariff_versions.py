"""Editions of a tariff over time: which one a month is billed with, and which are refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gridsecure.billing.rules import line_rules
from gridsecure.errors import InputError, InvalidTariffError
from gridsecure.periods import billing_month
from gridsecure.tariffs.tariff import catalogue_paths, catalogue_tariffs, load_tariff
from gridsecure.tariffs.versions import (
    choose_edition,
    find_edition,
    read_editions,
    tariff_paths,
)
from tests.billing.bill_inputs import catalogue_text

FEBRUARY, MARCH, MAY = "2025-02-01", "2025-03-01", "2025-05-01"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """February, March with an end, a gap in April, May and later."""
    write(tmp_path, "monthly@2025-03", MARCH, until="2025-04-01")
    write(tmp_path, "monthly@2025-02", FEBRUARY)
    write(tmp_path, "monthly@2025-05", MAY)
    write(tmp_path, "lasting", "2021-10-01")
    return tmp_path


def write(folder: Path, name: str, first: str, *, until: str = "") -> Path:
    end = f"valid_to = {until}\n" if until else ""
    text = catalogue_text("flat").replace("valid_from = 2021-10-01", f"valid_from = {first}\n{end}")
    path = folder / f"{name}.toml"
    path.write_text(text.replace('"flat"', f'"{name.partition("@")[0]}"'), encoding="utf-8")
    return path


def test_files_are_found_by_id(folder: Path) -> None:
    found = tariff_paths(folder)
    assert {name: len(paths) for name, paths in found.items()} == {"lasting": 1, "monthly": 3}


@pytest.mark.parametrize(
    ("month", "name"),
    [
        ("2025-02-01", "monthly@2025-02"),
        ("2025-02-28", "monthly@2025-02"),
        ("2025-03-15", "monthly@2025-03"),
        ("2025-05-01", "monthly@2025-05"),
        ("2031-12-31", "monthly@2025-05"),
    ],
)
def test_an_edition_holds_until_the_next_begins(folder: Path, month: str, name: str) -> None:
    files = read_editions(tariff_paths(folder)["monthly"])
    assert [file.path.stem[-2:] for file in files] == ["02", "03", "05"]
    assert find_edition(files, month=date.fromisoformat(month)).path.stem == name
    chosen = choose_edition(tariff_paths(folder)["monthly"], month=date.fromisoformat(month))
    assert chosen.stem == name


@pytest.mark.parametrize("month", ["2025-01-31", "2025-04-01"])
def test_no_edition_is_stretched_over_a_gap(folder: Path, month: str) -> None:
    paths, day = tariff_paths(folder)["monthly"], date.fromisoformat(month)
    with pytest.raises(InputError, match=r"tariff\.not-valid"):
        find_edition(read_editions(paths), month=day)
    newest = choose_edition(paths, month=day)
    assert newest.stem == "monthly@2025-05"
    with pytest.raises(InputError, match=r"tariff\.not-valid"):
        line_rules(
            load_tariff(newest), billing_month(day.year, day.month, timezone="Asia/Shanghai")
        )


def test_the_newest_is_taken_where_no_month_is_asked_for(folder: Path) -> None:
    assert choose_edition(tariff_paths(folder)["monthly"], month=None).stem == "monthly@2025-05"
    assert choose_edition(tariff_paths(folder)["lasting"], month=None).stem == "lasting"


def test_a_month_in_which_an_edition_begins_is_refused(folder: Path) -> None:
    write(folder, "monthly@2025-06b", "2025-06-15")
    files = read_editions(tariff_paths(folder)["monthly"])
    with pytest.raises(InputError, match=r"tariff\.changes-mid-month"):
        find_edition(files, month=date(2025, 6, 1))
    assert find_edition(files, month=date(2025, 5, 1)).path.stem == "monthly@2025-05"


@pytest.mark.parametrize(
    ("first", "until"), [("2025-03-01", ""), ("2025-03-10", ""), ("2025-02-01", "2025-02-15")]
)
def test_editions_that_hold_at_once_are_refused_by_file(
    folder: Path, first: str, until: str
) -> None:
    write(folder, "monthly@other", first, until=until)
    with pytest.raises(InvalidTariffError) as refused:
        read_editions(tariff_paths(folder)["monthly"])
    assert refused.value.reason == "tariff.version-overlap"
    assert "monthly@" in refused.value.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("valid_from =", "syntax"),
        ('tariff_id = "monthly"', "missing-key"),
        ('valid_from = "May"', "date"),
        ("valid_from = 2025-05-01\nvalid_to = 2025-05-01", "validity"),
    ],
)
def test_an_edition_without_a_validity_is_refused(folder: Path, text: str, reason: str) -> None:
    (folder / "monthly@2025-06.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidTariffError) as refused:
        read_editions(tariff_paths(folder)["monthly"])
    assert refused.value.reason == f"tariff.{reason}"


def test_the_catalogue_gives_a_file_for_every_id_in_every_month() -> None:
    assert set(catalogue_tariffs()) == set(catalogue_tariffs(date(2026, 7, 1)))
    assert set(catalogue_tariffs()) == set(catalogue_paths())
    for paths in catalogue_paths().values():
        assert len(read_editions(paths)) == len(paths)
