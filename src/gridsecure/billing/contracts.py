"""Contracts: the public facts a bill needs about a meter point, as a frame.

Columns of the frame: `meter_point_id`, `zone`, `customer_class`, `tariff_id`, `service_from` (a
month, YYYY-MM) and `large` (`yes` or `no`), all text and empty when not given; `household_quota_wh`
and `free_quota_wh` [Wh a month], `contracted_va` [VA] and `year_to_date_wh` [Wh], int64 and exact.
The file states the numbers in kWh and kVA with at most three decimals.

`large` says that a month may take more than a household's 8,388 kWh: tiers are then counted in
steps of their limits, so that energies of any size fit (docs/tariffs.md).

`year_to_date_wh` is the energy since 1 January before the first settled month. It is no public
fact: the gateway encrypts it, and no roster holds it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridsecure.errors import InputError
from gridsecure.month_texts import FIRST_YEAR, LAST_YEAR, MONTH_PATTERN

TEXT_COLUMNS = ("meter_point_id", "zone", "customer_class", "tariff_id", "service_from", "large")
# Column of the file [kWh, kVA] -> column of the frame [Wh, VA].
NUMBER_COLUMNS = {
    "household_quota_kwh": "household_quota_wh",
    "free_quota_kwh": "free_quota_wh",
    "contracted_kva": "contracted_va",
    "year_to_date_kwh": "year_to_date_wh",
}
YES_OR_NO = ("yes", "no")
MAX_BYTES = 64 << 20
"""Contracts of half a million meter points."""
_LONGEST_HEADER = 4096
_ROWS_AT_ONCE = 1 << 16
NUMBER_PATTERN = r"(?P<whole>[0-9]{1,9})(?:\.(?P<part>[0-9]{1,3}))?"


def load_contracts(path: Path) -> pd.DataFrame:
    """Read contracts from a CSV file with a header.

    Only `meter_point_id` is required. Texts default to empty, numbers to zero.

    Args:
        path: CSV with the columns `meter_point_id`, `zone`, `customer_class`, `tariff_id`,
            `service_from` [YYYY-MM], `large` [yes or no], `household_quota_kwh` and
            `free_quota_kwh` [kWh per month], `contracted_kva` [kVA], `year_to_date_kwh` [kWh].

    Raises:
        InputError: Unreadable file, unknown, repeated or missing column, missing or repeated
            meter point, or a number that is not a plain decimal with up to three decimals.
    """
    return _build_frame(_read_table(path), source=path.name)


def meter_points_stating(path: Path, *, column: str) -> set[str]:
    """Meter points whose row in a contract file has a value in a column, be it zero.

    Args:
        path: As for `load_contracts`.

    Raises:
        InputError: As `load_contracts`, where the file is no table.
    """
    table = _read_table(path)
    if column not in table:
        return set()
    return set(table["meter_point_id"].str.strip()[table[column].str.strip() != ""])


def _read_table(path: Path) -> pd.DataFrame:
    data = _read_bytes(path)
    if len(re.split(rb"[\r\n]", data[: _LONGEST_HEADER + 1], maxsplit=1)[0]) > _LONGEST_HEADER:
        raise _refusal(f"{path.name} does not begin with a header line", "unreadable")
    try:
        # Read as text: a float would already have lost the exact decimals. A part at a time,
        # because cells take ten times their size while they are objects.
        with pd.read_csv(
            io.BytesIO(data),
            dtype=str,
            keep_default_na=False,
            header=None,
            encoding="utf-8-sig",
            chunksize=_ROWS_AT_ONCE,
        ) as parts:
            table = pd.concat(parts, ignore_index=True)
    except ValueError as error:
        raise _refusal(f"{path.name} cannot be read as a CSV table", "unreadable") from error
    # Names of columns count whatever their capitals, as in files of readings.
    header = [str(name).strip().lower() for name in table.iloc[0].fillna("")]
    mark = next((mark for mark in (";", "\t") if mark in header[0]), None)
    if mark is not None:
        raise _refusal(
            f"{path.name} separates its columns by {'tabs' if mark != ';' else 'semicolons'},"
            " where commas are wanted",
            "separator",
        )
    # A row shorter than the header leaves its last columns at their defaults.
    table = table.iloc[1:].fillna("").reset_index(drop=True)
    _check_header(header, source=path.name)
    table.columns = pd.Index(header)
    return table


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refusal(f"{path.name} cannot be read as a CSV table", "unreadable") from error
    if len(data) > MAX_BYTES:
        raise InputError(
            f"{path.name} is larger than {MAX_BYTES >> 20} MiB.",
            reason="contract.too-large",
            remedy="Split it by meter point, and bill or process each part by itself.",
        )
    return data


def default_contracts(meter_point_ids: Sequence[str], *, tariff_id: str = "") -> pd.DataFrame:
    """Return contracts without quota, capacity, zone or class for the given meter points."""
    table = pd.DataFrame({"meter_point_id": pd.Series(list(meter_point_ids), dtype=str)})
    return _build_frame(table.assign(tariff_id=tariff_id), source="contracts")


def align_contracts(contracts: pd.DataFrame, *, meter_point_ids: Sequence[str]) -> pd.DataFrame:
    """Return the contracts of these meter points, in their order.

    Raises:
        InputError: A meter point has no contract (`contract.unknown-meter-point`).
    """
    positions = pd.Index(contracts["meter_point_id"]).get_indexer(pd.Index(meter_point_ids))
    missing = np.flatnonzero(positions < 0)
    if missing.size:
        count = f"{missing.size} meter points have" if missing.size > 1 else "1 meter point has"
        raise InputError(
            f"{count} no contract; the first is {meter_point_ids[int(missing[0])]!r}.",
            reason="contract.unknown-meter-point",
            remedy="Add a row for each to the contract file, or bill the others by themselves.",
        )
    aligned: pd.DataFrame = contracts.iloc[positions].reset_index(drop=True)
    return aligned


def _check_header(header: Sequence[str], *, source: str) -> None:
    unknown = sorted(set(header) - set(TEXT_COLUMNS) - set(NUMBER_COLUMNS))
    if unknown:
        raise _refusal(f"{source} has the unknown column {unknown[0]!r}", "unknown-column")
    if len(set(header)) != len(header):
        raise _refusal(f"{source} has a column twice", "duplicate-column")
    if "meter_point_id" not in header:
        raise _refusal(f"{source} has no column meter_point_id", "missing-column")


def _build_frame(table: pd.DataFrame, *, source: str) -> pd.DataFrame:
    columns: dict[str, object] = {
        name: table[name].str.strip() if name in table else "" for name in TEXT_COLUMNS
    }
    ids = table["meter_point_id"].str.strip()
    if bool((ids == "").any()):
        raise _refusal(f"{source} has a row without a meter point", "missing-meter-point")
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise _refusal(f"{source} names {repeated.iloc[0]!r} twice", "duplicate-meter-point")
    for name, exact_name in NUMBER_COLUMNS.items():
        columns[exact_name] = (
            _thousandths(table[name].str.strip(), column=name, source=source)
            if name in table
            else np.zeros(len(table), np.int64)
        )
    frame = pd.DataFrame(columns, index=table.index)
    known = frame["service_from"].eq("") | frame["service_from"].str.fullmatch(MONTH_PATTERN)
    if not bool(known.all()):
        row = int(np.flatnonzero(~known)[0]) + 1
        raise _refusal(
            f"{source}, row {row}: service_from is not a month as 2026-03,"
            f" from {FIRST_YEAR} to {LAST_YEAR}",
            "month",
        )
    answered = frame["large"].isin(["", *YES_OR_NO])
    if not bool(answered.all()):
        row = int(np.flatnonzero(~answered)[0]) + 1
        raise _refusal(f"{source}, row {row}: large is yes or no", "large")
    return frame


def _thousandths(texts: pd.Series[str], *, column: str, source: str) -> npt.NDArray[np.int64]:
    """Turn decimal texts into exact thousandths; empty counts as zero."""
    parts = texts.where(texts != "", "0").str.extract(f"^{NUMBER_PATTERN}$")
    bad = parts["whole"].isna()
    if bool(bad.any()):
        row = int(np.flatnonzero(bad)[0]) + 1
        raise _refusal(
            f"{source}, row {row}: {column} is not a number from zero"
            " with up to nine digits and three decimals",
            "number",
        )
    thousandths = parts["part"].fillna("").str.ljust(3, "0").astype(np.int64)
    numbers = parts["whole"].astype(np.int64) * 1000 + thousandths
    return np.asarray(numbers, dtype=np.int64)


def _refusal(why: str, code: str) -> InputError:
    return InputError(
        f"{why}.", reason=f"contract.{code}", remedy="Correct the contract file and try again."
    )
