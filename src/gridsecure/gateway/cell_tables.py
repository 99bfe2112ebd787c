"""The text of a file as a table of the columns that are known, before any cell is understood.

A table has lines of the file as its index, ids without the blanks around them, and neither totals
nor columns that are passed over. What its columns are together is one of the layouts of `formats`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.billing.interval_lengths import UNKNOWN
from gridsecure.billing.meter_serials import SERIAL
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import foreign_files
from gridsecure.gateway.channels import (
    CHANNEL,
    FACES,
    FACES_FED_IN,
    FACES_REACTIVE,
    name_channels_of_powers,
)
from gridsecure.gateway.column_names import (
    LAYOUTS,
    QUOTABLE_NAME,
    is_day,
    is_of_hours,
    is_passed_over,
    name_columns,
    powers_without_length,
    unknown_header,
)
from gridsecure.gateway.daily_values import is_daily, is_matrix, lines_of_days
from gridsecure.gateway.face_energies import NO_BOOKS, MeterBooks
from gridsecure.gateway.meanings import Meaning, Values
from gridsecure.gateway.row_faults import name_rows
from gridsecure.gateway.table_text import (
    TableText,
    check_field_counts,
    check_reading_count,
    no_readings,
    read_cells,
)
from gridsecure.gateway.wide_days import POINT_MINUTES
from gridsecure.gateway.written_units import POWERS, to_kwh

_TOTALS: Final = (
    "合计",
    "总计",
    "小计",
    "总和",
    "total",
    "totals",
    "subtotal",
    "grand total",
    "sum",
)
_LONG = {"meter_point_id", "start"}
WIDE: Final = {"meter_point_id", "date"}
"""Columns of every table of days."""
_ENERGIES = {"kwh", "export_kwh", "kvarh", FACES, FACES_FED_IN, FACES_REACTIVE}
_VALUES = {"kwh", "register_kwh", "ratio"}
_OPTIONAL = {"quality", "unit", "values", "stamps", CHANNEL}
REGISTERS: Final = {"kvarh": "reactive_varh", "export_kwh": "export_wh"}
"""Column of the file [kvarh, kWh] -> column of the frame [varh, Wh]."""
POINTS: Final = re.compile(r"p([1-9][0-9]{0,2})")
"""Columns of a wide line's energies, by number."""


@dataclass(frozen=True, slots=True, eq=False)
class CellTable:
    """A file as text in columns that are known, indexed by the lines of the file.

    Args:
        at_ends: As `ColumnNames` says.
        minutes: Length of every interval, where its format fixes it.
        delay: From the time that is written to the moment that a face was read.
        books, differences: As `read_readings` has them.
        units: Columns -> the unit that their names say, where they say one.
        passed_over: How many values it holds beside that are not billed, by name.
        are_powers: Whether its values are average powers of their intervals.
        system: The system whose export it is, if it is one that is known.
    """

    cells: pd.DataFrame
    encoding: str
    at_ends: bool
    minutes: int = 0
    delay: pd.Timedelta = UNKNOWN
    books: MeterBooks = NO_BOOKS
    differences: bool = True
    units: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    are_powers: bool = False
    system: str = ""

    def in_kwh(self, meaning: Meaning) -> CellTable:
        """The same table with all its energies in kWh, or all its powers in kW.

        Args:
            meaning: What was said of its values.

        Raises:
            InvalidReadingsError: Its units are not those that are read, or contradict each other
                (`readings.unit`), or it has powers of which too little is known
                (`readings.power`).
        """
        are_powers = _says_powers(self.cells, meaning)
        if are_powers and "p1" not in self.cells:
            raise powers_without_length()
        cells = name_channels_of_powers(self.cells, are_powers=are_powers)
        faces = self.units.get(FACES, "")
        said = {
            name: self.units.get(name, faces if is_of_hours(name) else "")
            for name in self.cells.columns
            if name in _ENERGIES or POINTS.fullmatch(name) or is_of_hours(name)
        }
        cells = to_kwh(cells, said, declared=meaning.unit, are_powers=are_powers)
        return replace(self, cells=cells, are_powers=are_powers)


def _says_powers(table: pd.DataFrame, meaning: Meaning) -> bool:
    """Whether it is said that values are average powers of their intervals.

    Raises:
        InvalidReadingsError: The source declared a unit of power, and the table says that its
            values are something else (`readings.values`).
    """
    stated = set()
    if "values" in table:
        stated = set(table["values"].astype("str").str.strip().str.lower().unique())
    if meaning.unit in POWERS.values():
        if stated - {Values.POWER.value}:
            raise InvalidReadingsError(
                f"The source declared {meaning.unit}, a unit of power, and the column values says"
                " something else.",
                reason="readings.values",
                remedy="Correct the column, or declare the source's unit anew, or none.",
            )
        return True
    return stated == {Values.POWER.value} or (not stated and meaning.values is Values.POWER)


def parse_table(text: TableText, *, packed: int | None, declared: str) -> CellTable:
    """The text of a file as a table of one of the layouts.

    Args:
        packed: The file's size before it was decompressed.
        declared: Unit that the source declared; empty where it declared none.

    Raises:
        InvalidReadingsError: It is none (`readings.columns`, `.malformed`, `.empty`, `.too-many`,
            or the refusal of a format that is not read).
    """
    header = text.header()
    separator = foreign_files.separator_of(header)
    columns = name_columns(foreign_files.cells_of(header), declared=declared)
    names = columns.names
    _check_names(names)
    lines = check_field_counts(text, separator=separator)
    points = 1
    if set(names) >= WIDE or is_matrix(names):
        points = max(sum(1 for name in names if POINTS.fullmatch(name) or is_day(name)), 1)
    check_reading_count((lines - 1) * points, packed=packed)
    table = read_cells(text, separator=separator, columns=names)
    aside = Counter[str]()
    for name, what in columns.passed_over.items():
        aside[what] += count_cells(table, [name])
    table = table[[name for name in names if not is_passed_over(name)]]
    if is_matrix(names):
        table = lines_of_days(table, totals=_TOTALS)
    check_columns(table)
    return CellTable(
        known_lines(table),
        text.encoding,
        columns.at_ends,
        units=columns.units,
        passed_over=+aside,
    )


def known_lines(table: pd.DataFrame) -> pd.DataFrame:
    """The table without totals, every line of which is some meter point's.

    Raises:
        InvalidReadingsError: One is nobody's (`readings.malformed`), or none is left
            (`readings.empty`).
    """
    # Exports of fixed width pad ids; a padded id is the same meter point.
    table = _without_totals(table.assign(meter_point_id=_stripped(table["meter_point_id"])))
    if table.empty:
        raise no_readings()
    blank = np.flatnonzero((table["meter_point_id"] == "").to_numpy())
    if len(blank):
        reason, detail = "readings.malformed", "no meter_point_id"
        remedy = "Every line needs the id of its meter point."
        lines = table.index.to_numpy(np.int64)[blank]
        raise InvalidReadingsError(
            f"Line {lines[0]} has no meter_point_id.",
            reason=reason,
            remedy=remedy,
            faults=[name_rows(lines, reason=reason, rule="no-id", detail=detail, remedy=remedy)],
        )
    return table


def count_cells(table: pd.DataFrame, columns: Sequence[str]) -> int:
    """How many cells of text hold something."""
    counts = (table[name].astype("str").str.strip() != "" for name in columns)
    return sum(int(np.count_nonzero(one)) for one in counts)


def _stripped(cells: pd.Series[str]) -> pd.Categorical:
    """Categories without blanks around them, in their order."""
    codes, names = pd.factorize(cells.cat.categories.str.strip(), sort=True)
    return pd.Categorical.from_codes(codes[cells.cat.codes], names)


def _without_totals(table: pd.DataFrame) -> pd.DataFrame:
    """The table without lines that add up others: they have no time, and a word where an id is."""
    ids = table["meter_point_id"].drop_duplicates().str.lower()
    if not ids.isin(["", *_TOTALS]).any():
        return table
    when = table["date" if "date" in table else "start"].str.strip()
    named = table["meter_point_id"].astype("str")
    words = named.mask(named == "", when)
    totals = words.str.lower().isin(_TOTALS) & ((when == "") | (when == words))
    return table[~totals] if totals.any() else table


def _check_names(known: Sequence[str]) -> None:
    if not known:
        raise InvalidReadingsError(
            "The file begins with a blank line in place of the header.",
            reason="readings.columns",
            remedy=f"Begin with the names of the columns. The layouts are {LAYOUTS}.",
        )
    twice = [name for name in known if known.count(name) > 1]
    if twice:
        shown = repr(twice[0]) if QUOTABLE_NAME.fullmatch(twice[0]) else "one of its columns"
        raise InvalidReadingsError(
            f"The header names {shown} twice.",
            reason="readings.columns",
            remedy="Name each column once.",
        )


def check_columns(table: pd.DataFrame) -> None:
    """Refuse a table whose columns are no layout.

    Raises:
        InvalidReadingsError: They are not (`readings.columns`), or are those of a format that is
            not read.
    """
    names = list(table.columns)
    points = sorted(int(found[1]) for name in names if (found := POINTS.fullmatch(name)))
    if is_daily(names):
        known = WIDE | _OPTIONAL | _VALUES | set(REGISTERS)
        complete = ("kwh" in names) != ("register_kwh" in names)
    elif set(names) >= WIDE:
        known = WIDE | _OPTIONAL | {"ratio"} | {f"p{number}" for number in points}
        complete = len(points) in POINT_MINUTES and points == list(range(1, len(points) + 1))
    else:
        known = _LONG | _OPTIONAL | _VALUES
        complete = set(names) >= _LONG and ("kwh" in names) != ("register_kwh" in names)
        # Beside another channel's lines, a column of energy fed in would say it twice.
        known |= set(REGISTERS)
    if "kwh" not in names or CHANNEL in names:
        known -= set(REGISTERS)
    if "register_kwh" in names and CHANNEL not in names:
        known |= {FACES_FED_IN, FACES_REACTIVE} | {name for name in names if is_of_hours(name)}
    if FACES in names:
        known |= {SERIAL}
    strange = [
        name if QUOTABLE_NAME.fullmatch(name) else f"number {position}"
        for position, name in enumerate(names, start=1)
        if name not in known
    ]
    if strange or not complete:
        foreign = unknown_header(names)
        if foreign is not None:
            raise foreign
        energies = [name for name in ("kwh", *REGISTERS) if name in names]
        if FACES in names and energies and set(strange) <= set(REGISTERS):
            raise _energies_beside_faces(energies)
        found_text = (
            f"Unknown columns: {', '.join(strange)}." if strange else "Columns are missing."
        )
        raise InvalidReadingsError(
            f"The columns are not those of a known layout. {found_text}",
            reason="readings.columns",
            remedy=f"Name the columns {LAYOUTS}.",
        )


def _energies_beside_faces(columns: Sequence[str]) -> InvalidReadingsError:
    """The refusal of a table that has faces of a register and columns of energies."""
    return InvalidReadingsError(
        f"Beside faces of a register stand energies of intervals: {', '.join(columns)}.",
        reason="readings.columns",
        remedy="If they are faces of registers as well, name the one of energy fed in"
        f" {FACES_FED_IN} and the one of reactive energy {FACES_REACTIVE}. Send energies in a file"
        " of their own.",
    )
