"""The cells of a meter data table: energies, ratios and quality flags, column by column.

A cell that cannot be read refuses the file: the caller gets an `InvalidReadingsError` that names
lines and rules and repeats no value. The table's index holds the lines of the file.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gridsecure.billing.energy_text import EnergyStatus, kwh_to_wh, read_characters
from gridsecure.billing.readings import ReadingProblem, make_readings
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.row_faults import MOST_PROBLEMS, merge_refusals, name_rows
from gridsecure.gateway.written_numbers import decimal_mark, to_plain

_HOUR: Final = 60
_CELLS_AT_ONCE: Final = 1 << 18
_SHORT: Final = 12
"""Characters of a cell that are read from where they lie; almost every energy has fewer."""

_RULES = {
    EnergyStatus.NOT_A_NUMBER: ("kwh-not-a-number", "the energy is not a decimal number"),
    EnergyStatus.TOO_MANY_DECIMALS: ("kwh-decimals", "more than three decimals of a kWh"),
    EnergyStatus.TOO_LARGE: ("kwh-too-large", "more than nine digits before the point"),
}


def line_problems(
    table: pd.DataFrame, rows: NDArray[np.intp], *, rule: str, detail: str
) -> tuple[ReadingProblem, ...]:
    """Problems for the first rows of a list, naming meter point and line."""
    meters = table["meter_point_id"].iloc[rows[:MOST_PROBLEMS]]
    return tuple(
        ReadingProblem(str(meter), None, rule, f"line {line}: {detail}")
        for line, meter in meters.items()
    )


def refuse_lines(
    table: pd.DataFrame, rows: NDArray[np.intp], *, reason: str, rule: str, detail: str, remedy: str
) -> InvalidReadingsError:
    """The refusal of a file for some of its lines: how many, the first, and why."""
    count = len(rows)
    return InvalidReadingsError(
        f"{count} line{'s' if count > 1 else ''} refused ({rule}), first line "
        f"{table.index[rows[0]]}: "
        f"{detail}.",
        reason=reason,
        remedy=remedy,
        problems=line_problems(table, rows, rule=rule, detail=detail),
        faults=[
            name_rows(
                table.index.to_numpy(np.int64)[rows],
                reason=reason,
                rule=rule,
                detail=detail,
                remedy=remedy,
            )
        ],
    )


def read_energy(
    table: pd.DataFrame, columns: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Energy columns as Wh, row by row, and which cells hold no reading.

    Args:
        columns: Their names; a single one may hold categories, each of which is read once.

    Raises:
        InvalidReadingsError: `readings.energy`, with every kind of unreadable cell.
    """
    coded = table[columns[0]]
    if isinstance(coded.dtype, pd.CategoricalDtype):
        energy_wh, found = _read_texts(pd.DataFrame({columns[0]: coded.cat.categories}))
        codes = coded.cat.codes.to_numpy()
        energy_wh, found = energy_wh[codes], found[codes]
    else:
        energy_wh, found = _read_texts(table[columns])
    refusals = [
        refusal
        for status in _RULES
        for refusal in _refuse_cells(table, columns, np.flatnonzero(found == status), status)
    ]
    if refusals:
        raise merge_refusals(refusals)
    return energy_wh, found == EnergyStatus.MISSING


def _refuse_cells(
    table: pd.DataFrame, columns: list[str], wrong: NDArray[np.intp], status: EnergyStatus
) -> list[InvalidReadingsError]:
    """The refusal of lines for each way in which cells of one status are wrong.

    Args:
        wrong: Of the cells, line after line.
    """
    lines, places = np.divmod(wrong, len(columns))
    cells = np.empty(len(wrong), dtype=object)
    for place in np.unique(places):
        own = places == place
        cells[own] = table[columns[place]].astype("str").to_numpy(dtype=object)[lines[own]]
    codes, texts = pd.factorize(cells)
    kinds, names = pd.factorize(np.array([_why_refused(status, one)[0] for one in texts] or [""]))
    refusals = []
    for kind in range(len(names) if len(wrong) else 0):
        own = np.flatnonzero(kinds[codes] == kind)
        rule, detail, remedy = _why_refused(status, cells[own[0]])
        where = f" in column {columns[places[own[0]]]}" if len(columns) > 1 else ""
        more = " and others" if len(np.unique(places[own])) > 1 else ""
        refusal = refuse_lines(
            table,
            np.unique(lines[own]),
            reason="readings.energy",
            rule=rule,
            detail=f"{detail}{where}{more}",
            remedy=remedy,
        )
        refusals.append(refusal)
    return refusals


def _read_texts(table: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Cells of text as Wh, row by row, and an `EnergyStatus` of each."""
    columns = len(table.columns)
    energy_wh = np.empty(len(table) * columns, dtype=np.int64)
    found = np.empty(len(energy_wh), dtype=np.uint8)
    rows = max(1, _CELLS_AT_ONCE // columns)
    for first in range(0, len(table), rows):
        part = table.iloc[first : first + rows]
        own = slice(first * columns, (first + len(part)) * columns)
        characters = _characters(part)
        if characters is None:
            # As objects, cells take ten times their text: a few lines at a time.
            energy = kwh_to_wh(part.to_numpy(dtype=object).ravel())
            energy_wh[own], found[own] = energy.energy_wh, energy.status
        else:
            energy = read_characters(characters)
            energy_wh[own] = energy.energy_wh.reshape(columns, -1).T.ravel()
            found[own] = energy.status.reshape(columns, -1).T.ravel()
    if (found == EnergyStatus.NOT_A_NUMBER).any():
        _read_other_styles(table, energy_wh, found)
    return energy_wh, found


def _characters(table: pd.DataFrame) -> NDArray[np.uint8] | None:
    """Characters [positions, cells] of cells, column after column; None where one is long or odd.

    They are taken from where Arrow has them, all texts of a column behind each other.
    """
    rows, characters = len(table), np.zeros((_SHORT + 1, table.size), dtype=np.uint8)
    for number, name in enumerate(table):
        texts = pa.array(table[name], from_pandas=True)
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        if texts.type != pa.large_string() or texts.null_count:
            return None
        _, ends, data = texts.buffers()
        bounds = np.frombuffer(ends, dtype=np.int64)[texts.offset : texts.offset + rows + 1]
        starts, lengths = bounds[:-1], np.diff(bounds)
        longest = int(lengths.max(initial=0))
        if longest > _SHORT:
            return None
        if not longest:
            continue
        own, kept = slice(number * rows, (number + 1) * rows), np.frombuffer(data, dtype=np.uint8)
        for position in range(longest):
            # Behind the end of a cell lies the next one.
            there = kept.take(starts + position, mode="clip")
            np.multiply(there, lengths > position, out=characters[position, own])
    return characters


def _read_other_styles(
    table: pd.DataFrame, energy_wh: NDArray[np.int64], found: NDArray[np.uint8]
) -> None:
    """Read what is no plain decimal, in place, as far as it can be one number only."""
    mark = decimal_mark(table[column] for column in table)
    for number, column in enumerate(table):
        own = slice(number, None, len(table.columns))
        if mark == ",":
            # 12.345 is a number of its own, and in a file of decimal commas it would be another.
            doubtful = table[column].str.fullmatch(r"\s*[-+]?\d+\.\d+\s*").to_numpy(bool)
            found[own][doubtful] = EnergyStatus.NOT_A_NUMBER
        odd = np.flatnonzero(found[own] == EnergyStatus.NOT_A_NUMBER)
        for first in range(0, len(odd), _CELLS_AT_ONCE):
            part = odd[first : first + _CELLS_AT_ONCE]
            texts = table[column].take(part).to_numpy(dtype=object)
            again = kwh_to_wh(to_plain(texts, mark=mark))
            energy_wh[own][part], found[own][part] = again.energy_wh, again.status


# How text that is no decimal number looks, most telling first; the text itself is not repeated.
_NO_NUMBERS = (
    (
        re.compile(r"[-+]?[\d.]+,[\d.,]+"),
        ("kwh-decimal-comma", "the comma may be a decimal one or a mark between thousands"),
        "Write the decimal point and no marks between thousands, as in 1234.5 or 0.250.",
    ),
    (
        re.compile(r"[-+]?\d{1,3}([,'. ]\d{3})+([.,]\d+)?"),
        ("kwh-thousands", "the point may be a decimal one or a mark between thousands"),
        "Write the digits without marks between thousands, as in 1234.5.",
    ),
    (
        re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"),
        ("kwh-scientific", "the energy is in scientific notation that may have lost digits"),
        "Format the column as a number with three decimals before saving it as CSV.",
    ),
    (
        re.compile(r"[-+]?[\d.,]+\s*[kMm]?[Ww][Hh]"),
        ("kwh-unit", "the energy has its unit in the same cell"),
        "Write the number alone, in kWh.",
    ),
)


def _why_refused(status: EnergyStatus, text: str) -> tuple[str, str, str]:
    """Rule, detail and remedy for a cell that is no energy."""
    if status is EnergyStatus.NOT_A_NUMBER:
        for pattern, (rule, detail), remedy in _NO_NUMBERS:
            if pattern.fullmatch(text.strip()):
                return rule, detail, remedy
    remedy = "Write kWh with up to three decimals, such as 12.345; nothing is rounded here."
    return (*_RULES[status], remedy)


def apply_ratio(
    table: pd.DataFrame, energy_wh: NDArray[np.int64], *, points: int
) -> NDArray[np.int64]:
    """Multiply each line's energies by its transformer ratio, exactly.

    Raises:
        InvalidReadingsError: `readings.ratio` for a ratio that is not a positive number with up
            to three decimals, or that leaves a fraction of a Wh or more than 1 TWh.
    """
    ratio = kwh_to_wh(table["ratio"].to_numpy(dtype=object))
    thousandths = ratio.energy_wh
    per_line = energy_wh.reshape(-1, points)
    # Floating point only to see whether the integer product stays far inside int64.
    size = np.abs(per_line.astype(np.float64)).max(axis=1) * thousandths
    unusable = (ratio.status != EnergyStatus.EXACT) | (thousandths <= 0) | (size > 1e15)
    products = per_line * np.where(unusable, 0, thousandths)[:, None]
    inexact = (products % 1000 != 0).any(axis=1)
    wrong = np.flatnonzero(unusable | inexact)
    if len(wrong):
        raise refuse_lines(
            table,
            wrong,
            reason="readings.ratio",
            rule="ratio",
            detail="the ratio is not a positive number that gives whole Wh",
            remedy="Give the current ratio times the voltage ratio of the transformers, such as "
            "30 or 1000.",
        )
    energies: NDArray[np.int64] = (products // 1000).ravel()
    return energies


def energies_of_powers(
    table: pd.DataFrame, powers_w: NDArray[np.int64], *, points: int, minutes: int
) -> NDArray[np.int64]:
    """Energies of intervals by their average powers [W] and their length, exactly.

    Raises:
        InvalidReadingsError: `readings.energy`: one is no whole Wh.
    """
    products = powers_w * minutes
    wrong = np.flatnonzero((products % _HOUR != 0).reshape(-1, points).any(axis=1))
    if len(wrong):
        raise refuse_lines(
            table,
            wrong,
            reason="readings.energy",
            rule="power-part",
            detail=f"a power whose energy over {minutes} minutes is no whole Wh",
            remedy=f"Powers of {minutes} minutes have to be multiples of {_HOUR // minutes} W;"
            " nothing is rounded here. Send energies.",
        )
    return products // _HOUR


def read_quality(table: pd.DataFrame, missing: NDArray[np.bool_], *, repeat: int) -> pd.Series[str]:
    """Quality per reading: the file's flag, `actual` where it is blank, `missing` without energy.

    The letters of meter data files stand for our words, with or without the two digits of a
    method after them. Other flags are passed on as they are, so that validation can quarantine
    them.
    """
    if "quality" in table.columns:
        flags, names = pd.factorize(table["quality"])
        said = pd.Index(names, dtype="str").str.strip().str.lower()
        texts = [quality_word(str(name)) for name in said]
    else:
        flags, texts = np.zeros(len(table), dtype=np.int64), ["actual"]
    which = np.where(missing, len(texts), np.repeat(flags, repeat))
    return pd.Series(pd.array([*texts, "missing"], dtype="str").take(which))


# Actual, estimated, substituted, final estimate, null: the letters of NEM12 and of MDM exports.
_QUALITY_LETTERS = {
    "a": "actual",
    "e": "estimated",
    "s": "estimated",
    "f": "estimated",
    "n": "missing",
    "substituted": "estimated",
    "final": "estimated",
    "null": "missing",
    "": "actual",
}
_WITH_METHOD = re.compile(r"([aesfn])[0-9]{2}")


def quality_word(written: str) -> str:
    """Our word for a flag; one that is not known stays as it is."""
    flag = written.strip().lower()
    method = _WITH_METHOD.fullmatch(flag)
    letter = method[1] if method else flag
    return _QUALITY_LETTERS.get(letter, flag)


def build_readings(
    meters: pd.Series[str],
    *,
    start: pd.DatetimeIndex,
    energy_wh: NDArray[np.int64],
    quality: pd.Series[str],
) -> pd.DataFrame:
    """Put the columns together as a checked readings frame."""
    return make_readings(meters, start=start, energy_wh=energy_wh, quality=quality)
