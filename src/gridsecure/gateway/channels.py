"""Lines that hold one channel of a meter point each: energy taken, fed in, or reactive.

Exports of collection systems hold 正向有功, 反向有功 and 正向无功 as lines of a day, and meters
count them in registers of their own. A column `channel` says which a line is. Each channel is read
like a file of its own, and they are joined by interval. Registers of the meter's own hours stand
beside them, as lines or as columns. From the first to the last interval that a meter point has of a
channel, a reading without that channel is missing.

Reactive energy fed in (反向无功) is billed nowhere. Its lines are passed over and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import NO_REGISTER, REGISTER_COLUMNS
from gridsecure.billing.register_hours import register_name
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.row_faults import name_rows

CHANNEL: Final = "channel"
FACES: Final = "register_kwh"
"""Column with faces of the register of energy taken."""
FACES_FED_IN: Final = "register_export_kwh"
"""Column with faces of the register of energy fed in, beside `register_kwh`."""
FACES_REACTIVE: Final = "register_kvarh"
"""Column with faces of the register of reactive energy taken, beside `register_kwh`."""
FACES_OF_HOURS: Final = "register_kwh_"
"""Before the name of a register of the meter's own hours: column with its faces."""
OF_HOURS: Final = "import/"
"""Before the same name: the register whose faces they are, beside `import` and `export`."""
_ENERGIES: Final = ("", "总", "电量", "总电量", "示值", "总示值")
_TAKEN: Final = ("import", "1.8.0", "1-0:1.8.0", *(f"正向有功{word}" for word in _ENERGIES))
_FED_IN: Final = ("export", "2.8.0", "1-0:2.8.0", *(f"反向有功{word}" for word in _ENERGIES))
_REACTIVE: Final = (
    *("reactive", "3.8.0", "1-0:3.8.0", "无功", "无功电量"),
    *(f"正向无功{word}" for word in _ENERGIES),
)
_REACTIVE_FED_IN: Final = (
    *("reactive-export", "4.8.0", "1-0:4.8.0"),
    *(f"反向无功{word}" for word in _ENERGIES),
)
_LINE_OF_HOURS: Final = re.compile(
    r"import/(?P<ours>\w+)|(?:1-0:)?1\.8\.(?P<obis>[1-9]\d?)"
    r"|正向有功(?:(?P<word>深谷|[尖峰平谷])段?|费率(?P<rate>\d{1,2}))(?:总?电量|电能|示值)?"
)
_POWER_LINE: Final = r"^(正向|反向)?(有功|无功)功率(?:曲线)?$"
_KEY: Final = ["meter_point_id", "start"]


def powers_unsaid() -> InvalidReadingsError:
    """The refusal of powers of which nobody said what they are."""
    return InvalidReadingsError(
        "The file has powers, such as kW, and nobody says that they are averages of intervals.",
        reason="readings.power",
        remedy="If each is the average power of its interval, say so by a column values that holds"
        " power on every line; or a source declares the unit kW, and for a file of its own"
        " `gridsecure bill` has --values power. Powers of single moments tell no energy: send"
        " energies.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """The lines of a table by what they are of, without the columns that say so.

    Args:
        fed_in: Those of energy fed in; without lines where the table has none.
        reactive: Those of reactive energy taken, likewise.
        passed_over: Those of reactive energy fed in, likewise.
        by_hours: Those of registers of the meter's own hours, by the register's name.
    """

    taken: pd.DataFrame
    fed_in: pd.DataFrame
    reactive: pd.DataFrame
    passed_over: pd.DataFrame
    by_hours: Mapping[str, pd.DataFrame]


def has_channels(table: pd.DataFrame) -> bool:
    """Whether a table has more than energy taken."""
    own = {CHANNEL, FACES_FED_IN, FACES_REACTIVE}
    return bool(own.intersection(table)) or bool(_columns_of_hours(table))


def name_channels_of_powers(table: pd.DataFrame, *, are_powers: bool) -> pd.DataFrame:
    """The table with lines of powers under the names of what they tell the energy of.

    Raises:
        InvalidReadingsError: There are some, and nobody said that they are averages
            (`readings.power`); or some lines are of powers and others are not
            (`readings.channel`).
    """
    if CHANNEL not in table:
        return table
    said = table[CHANNEL].astype("str").str.strip().str.lower()
    found = said.str.extract(_POWER_LINE)
    of_powers = found[1].notna()
    if not of_powers.any():
        return table
    if not are_powers:
        raise powers_unsaid()
    if not of_powers.all():
        raise InvalidReadingsError(
            "Some lines of the file are of powers, and others of energies.",
            reason="readings.channel",
            remedy="Send them in files of their own.",
        )
    names = found[0].fillna("正向") + found[1]
    return table.assign(**{CHANNEL: names.astype("category")})


def reactive_lines(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which lines of a table are of reactive energy."""
    if CHANNEL not in table:
        return np.zeros(len(table), dtype=bool)
    said = table[CHANNEL].astype("str").str.strip().str.lower()
    lines: NDArray[np.bool_] = said.isin((*_REACTIVE, *_REACTIVE_FED_IN)).to_numpy(bool)
    return lines


def split_channels(table: pd.DataFrame, *, are_faces: bool) -> Channels:
    """The lines of energy taken, fed in and reactive, and of registers of hours.

    A table without a column that says which has faces of all registers on each line.

    Args:
        are_faces: Whether its numbers are faces of registers.

    Raises:
        InvalidReadingsError: `readings.channel`: a line is none of them, or none is of energy
            taken.
    """
    if CHANNEL not in table:
        return _split_columns(table)
    said = table[CHANNEL].str.strip().str.lower()
    names = {one: _register_of_line(one) if are_faces else "" for one in said.unique()}
    registers = said.astype("str").map(names).astype("str")
    taken, fed_in, by_hours = said.isin(_TAKEN), said.isin(_FED_IN), registers != ""
    reactive, passed_over = said.isin(_REACTIVE), said.isin(_REACTIVE_FED_IN)
    other = np.flatnonzero(~(taken | fed_in | reactive | passed_over | by_hours))
    if len(other) or not taken.any():
        raise _refuse_channels(table, other)
    table = table.drop(columns=CHANNEL)
    lines = {name: table[registers == name] for name in sorted(set(registers[by_hours]))}
    return Channels(table[taken], table[fed_in], table[reactive], table[passed_over], lines)


def _refuse_channels(table: pd.DataFrame, other: NDArray[np.intp]) -> InvalidReadingsError:
    """The refusal of a table for lines of other channels, or because no line is of energy taken."""
    reason, rule = "readings.channel", "channel"
    where = f"line {table.index[other[0]]} is none" if len(other) else "no line is import"
    detail = "the channel is none of import, export and reactive"
    remedy = (
        "Write import (or 正向有功), export (or 反向有功) and reactive (or 正向无功, in kvarh), and"
        " leave out the lines of other channels."
    )
    lines = table.index.to_numpy(np.int64)[other]
    fault = {"reason": reason, "rule": rule, "detail": detail, "remedy": remedy}
    return InvalidReadingsError(
        f"The column channel says import, export or reactive of each line, and {where}.",
        reason=reason,
        remedy=remedy,
        faults=[name_rows(lines, **fault)] if len(lines) else (),
    )


def _split_columns(table: pd.DataFrame) -> Channels:
    columns = _columns_of_hours(table)
    taken = table.drop(columns=[*columns, FACES_FED_IN, FACES_REACTIVE], errors="ignore")
    nothing = taken.iloc[:0]
    fed_in, reactive = (
        taken.assign(register_kwh=table[name]) if name in table else nothing
        for name in (FACES_FED_IN, FACES_REACTIVE)
    )
    by_hours = {
        name.removeprefix(FACES_OF_HOURS): taken.assign(register_kwh=table[name])
        for name in columns
    }
    return Channels(taken, fed_in, reactive, nothing, by_hours)


def _columns_of_hours(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table if str(name).startswith(FACES_OF_HOURS)]


def _register_of_line(said: str) -> str:
    """The register of hours whose lines say so: `import/peak`, `1.8.2`, 正向有功峰."""
    found = _LINE_OF_HOURS.fullmatch(said)
    if found is None:
        return ""
    name = register_name(found["ours"] or found["obis"] or found["word"] or found["rate"])
    return name


def refuse_contradictions(other: pd.DataFrame) -> None:
    """Refuse lines that say different things of another channel in one interval.

    Raises:
        InvalidReadingsError: `readings.conflict`.
    """
    said = other[[*_KEY, "energy_wh", "quality", "minutes"]].drop_duplicates()
    if said.duplicated(_KEY).any():
        raise InvalidReadingsError(
            "Two lines of channel export or reactive hold different readings of one interval.",
            reason="readings.conflict",
            remedy="A line is one channel of one meter point; take the wrong one out.",
        )


def join_channels(taken: pd.DataFrame, other: pd.DataFrame, *, column: str) -> pd.DataFrame:
    """Readings of energy taken, with what was counted in another channel beside them.

    An interval of which several different values of that channel are told is there once for each,
    so that validation sets it aside by name.

    Args:
        column: That of the readings frame which the other channel counts for.
    """
    told = other[[*_KEY, "energy_wh", "quality", "minutes"]].drop_duplicates()
    names = {"energy_wh": column, "quality": "other_quality", "minutes": "other_minutes"}
    joined = taken.merge(told.rename(columns=names), on=_KEY, how="left")
    spans = told.groupby("meter_point_id")["start"].agg(["min", "max"])
    own = joined["meter_point_id"].map(spans["min"]), joined["meter_point_id"].map(spans["max"])
    expected = (joined["start"] >= own[0]) & (joined["start"] <= own[1])
    lacks = (joined["other_minutes"] != joined["minutes"]) | (joined["other_quality"] == "missing")
    missing: NDArray[np.bool_] = (expected & lacks).to_numpy(bool)
    quality = joined["quality"].mask(
        (joined["quality"] == "actual") & joined["other_quality"].notna(), joined["other_quality"]
    )
    # Who feeds nothing in has no such channel. Who has no reactive one has an unknown factor.
    has_one = joined["meter_point_id"].isin(spans.index) | (column != "reactive_varh")
    joined[column] = joined[column].fillna(0).where(has_one, NO_REGISTER).astype(np.int64)
    kept = joined[[*taken.columns, column]].assign(
        quality=quality.mask(missing, "missing").astype("str")
    )
    counted = ["energy_wh", *(name for name in REGISTER_COLUMNS if name in kept)]
    kept.loc[missing, counted] = 0
    return kept


def stand_side_by_side(rows: pd.DataFrame, *, what: str) -> pd.DataFrame:
    """What meters counted in several registers, each interval one row.

    Args:
        rows: One a reading: `meter`, `start`, `minutes`, `quality`, the `column` of a readings
            frame that it counts for, and its energy `wh`.
        what: What the readings come from, as a subject.

    Returns:
        `meter`, `start`, `minutes`, `quality` (of the worst), `energy_wh` and the other columns.
        A reading that lacks one of its meter's registers is missing.

    Raises:
        InvalidReadingsError: `readings.conflict`: two readings of one interval and register differ.
    """
    rows = rows.drop_duplicates()
    others = [name for name in REGISTER_COLUMNS if (rows["column"] == name).any()]
    if not others:
        return rows.rename(columns={"wh": "energy_wh"}).drop(columns="column")
    key = ["meter", "start", "minutes"]
    if rows.duplicated([*key, "column"]).any():
        raise InvalidReadingsError(
            f"{what} holds different readings of one interval and direction.",
            reason="readings.conflict",
            remedy="Take the wrong ones out, or fetch it again.",
        )
    both = rows.pivot_table(index=key, columns="column", values="wh", aggfunc="sum").reset_index()
    # By the alphabet: actual, estimated, missing, questionable.
    worse = rows.groupby(key)["quality"].max().reset_index(drop=True)
    both = both.reindex(columns=[*key, "energy_wh", *others])
    lacks = both["energy_wh"].isna()
    for name in others:
        counted = both["meter"].isin(rows.loc[rows["column"] == name, "meter"])
        lacks |= counted & both[name].isna()
        if name == "reactive_varh":
            both[name] = both[name].where(counted, NO_REGISTER)
    return both.fillna(0).assign(quality=worse.mask(lacks, "missing"))
