"""Units of a table's energies: Wh, kWh and MWh, as lines, header or source say.

Powers are in W, kW and MW. They tell energies only where each is the average of its interval, which
has to be said.

Reactive energy is in varh, kvarh and Mvarh. Where its column or its line says none, its power of
ten is that of the energies beside it.

A unit is said by a column `unit` for each line, by the name of a column, or by whoever declared the
source; where several say it, they have to agree, and where nobody does, it is kWh. Numbers are
moved by whole places of their text, so nothing is rounded and no binary fraction comes into it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.energy_text import EnergyStatus, kwh_to_wh
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.channels import FACES_REACTIVE, powers_unsaid, reactive_lines
from gridsecure.gateway.format_cells import line_problems
from gridsecure.gateway.meanings import Unit
from gridsecure.gateway.row_faults import name_rows
from gridsecure.gateway.written_numbers import decimal_mark, to_plain

KWH: Final[Unit] = "kWh"
_PLACES: Final[Mapping[str, int]] = {"Wh": -3, KWH: 0, "MWh": 3, "W": -3, "kW": 0, "MW": 3}
UNITS: Final[Mapping[str, Unit]] = {"wh": "Wh", "kwh": KWH, "mwh": "MWh"}
"""By their names in small letters."""
POWERS: Final[Mapping[str, Unit]] = {"w": "W", "kw": "kW", "mw": "MW"}
"""Units of power, likewise."""
_REACTIVE_POWERS: Final[Mapping[str, Unit]] = {"var": "W", "kvar": "kW", "mvar": "MW"}
_REACTIVE_UNITS: Final[Mapping[str, Unit]] = {"varh": "Wh", "kvarh": KWH, "mvarh": "MWh"}
"""Of reactive energy, by their names -> the unit of energy with the same power of ten."""
_REACTIVE: Final = ("kvarh", FACES_REACTIVE)
_DECIMAL: Final = re.compile(r"([-+]?)(\d*)(?:\.(\d*))?")


def to_kwh(
    table: pd.DataFrame, said: Mapping[str, str], *, declared: str = "", are_powers: bool = False
) -> pd.DataFrame:
    """The same table in kWh, or powers in kW, on every line and in every column.

    Args:
        table: Cells of text, indexed by the lines of the file.
        said: Columns of energies -> the unit that their name says; empty where it says none.
        declared: Unit that the source declared; empty where it declared none.
        are_powers: Whether the values are said to be average powers of their intervals.

    Raises:
        InvalidReadingsError: `readings.unit`: a line says another unit than these three, or none
            where the others do; or two of the three say different ones. `readings.power`: one is
            of power, and nobody said what the powers are.
    """
    if not are_powers and declared in POWERS.values():
        raise powers_unsaid()
    codes, units = _units_of_lines(table, declared, are_powers=are_powers)
    if {*units, *said.values()} <= {"", "kW" if are_powers else KWH}:
        return table
    for column in (name for name, unit in said.items() if unit and name not in _REACTIVE):
        others = np.array([one != said[column] for one in units])[codes]
        _check_agreement(table, others, column=f"{said[column]} for {column}", declared=declared)
    mark = decimal_mark(table[column] for column in said)
    changed = {}
    for column, unit in said.items():
        places = np.array([_PLACES[unit or one] for one in units], dtype=np.int64)[codes]
        if places.any():
            changed[column] = _moved(table[column], places, mark=mark)
    return table.assign(**changed, **({"unit": KWH} if "unit" in table else {}))


def _units_of_lines(
    table: pd.DataFrame, declared: str, *, are_powers: bool
) -> tuple[NDArray[np.int64], list[str]]:
    """The unit of each line, as the line says or else the source: its place among all units."""
    if "unit" not in table:
        usual = "kW" if are_powers else KWH
        return np.zeros(len(table), dtype=np.int64), [declared or usual]
    codes, found = pd.factorize(table["unit"])
    written = [str(one).strip().lower() for one in found]
    if not are_powers and {*POWERS, *_REACTIVE_POWERS}.intersection(written):
        raise powers_unsaid()
    own_units, of_reactive = (POWERS, _REACTIVE_POWERS) if are_powers else (UNITS, _REACTIVE_UNITS)
    known = {**own_units, **of_reactive, "": declared}
    units = [known.get(one, "") for one in written]
    reactive = reactive_lines(table)
    for code, unit in enumerate(units):
        own = codes == code
        is_reactive = written[code] in of_reactive
        unread = own & (reactive != is_reactive) if unit and written[code] else own & (not unit)
        if unread.any():
            raise _refused(
                table,
                unread,
                "Line {line} says no unit that is read.",
                "Write Wh, kWh or MWh on every line, and varh, kvarh or Mvarh on lines of reactive"
                " energy (W, kW or MW of powers); GridSecure never guesses a factor.",
            )
        if declared and unit not in ("", declared):
            raise _refused(
                table,
                codes == code,
                f"Line {{line}} says {unit}, and the source declared {declared}.",
                "Correct the column, or declare the source's unit anew, or none.",
            )
    return codes.astype(np.int64), units


def _check_agreement(
    table: pd.DataFrame, others: NDArray[np.bool_], *, column: str, declared: str
) -> None:
    """Refuse a column whose name says another unit than some lines, or the source, do.

    Args:
        others: Which lines say another one, or the source for them.
        column: Its unit and its name.
    """
    if others.any() and "unit" in table:
        raise _refused(
            table,
            others,
            f"The header says {column}, and line {{line}} says another unit.",
            "Name the column energy, and say the unit of each line in the column unit.",
        )
    if others.any() and declared:
        raise _refused(
            table,
            others,
            f"The header says {column}, and the source declared {declared}.",
            "Correct the header, or declare the source's unit anew, or none.",
        )


def _refused(
    table: pd.DataFrame, rows: NDArray[np.bool_], message: str, remedy: str
) -> InvalidReadingsError:
    places = np.flatnonzero(rows)
    numbers = table.index.to_numpy(np.int64)[places]
    rule, detail = "unit-mismatch", "another unit"
    fault = name_rows(numbers, reason="readings.unit", rule=rule, detail=detail, remedy=remedy)
    return InvalidReadingsError(
        message.format(line=table.index[places[0]]),
        reason="readings.unit",
        remedy=remedy,
        problems=line_problems(table, places, rule=rule, detail=detail),
        faults=[fault],
    )


def _moved(texts: pd.Series[Any], places: NDArray[np.int64], *, mark: str | None) -> Any:
    """Numbers of a column as plain decimals of kWh; what is no number stays none."""
    codes, unique = pd.factorize(texts.astype("str").to_numpy(dtype=object))
    plain = to_plain(unique, mark=mark)
    unread = kwh_to_wh(plain).status == EnergyStatus.MISSING
    moved = {
        step: np.array(
            [
                one if is_missing else move_point(str(one), step)
                for one, is_missing in zip(plain, unread, strict=True)
            ],
            dtype=object,
        )
        for step in np.unique(places).tolist()
    }
    written = np.empty(len(codes), dtype=object)
    for step, texts_of in moved.items():
        own = places == step
        written[own] = texts_of[codes[own]]
    return pd.Series(written, index=texts.index, dtype="str")


def move_point(text: str, places: int) -> str:
    """A decimal number with its point moved to the right; what is none can be read as none.

    >>> move_point("-12.5", 3), move_point("7", -3)
    ('-12500', '0.007')
    """
    found = _DECIMAL.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        return f"{text}?"
    sign, whole, part = found[1], found[2], found[3] or ""
    if places >= 0:
        part = part.ljust(places, "0")
        whole, part = whole + part[:places], part[places:]
    else:
        whole = whole.rjust(1 - places, "0")
        whole, part = whole[:places], whole[places:] + part
    whole = whole.lstrip("0") or "0"
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"
