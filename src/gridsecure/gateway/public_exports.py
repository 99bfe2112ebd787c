"""Tables that suppliers and home systems export, as tables of the long layout.

Each is recognised by the names of its columns, and by all of them: a column that is not known may
change what the others mean. Where their definitions are is in docs/formats.md.

Registers that count one direction under several tariffs are added up: what a meter point took is
what all of them took. An export of one meter point does not name it; whoever hands it in does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.channels import CHANNEL
from gridsecure.gateway.foreign_files import cells_of, separator_of
from gridsecure.gateway.format_cells import read_energy, refuse_lines
from gridsecure.gateway.format_times import read_starts
from gridsecure.gateway.home_states import faces_of_states
from gridsecure.gateway.meanings import Meaning
from gridsecure.gateway.table_text import (
    TableText,
    check_field_counts,
    check_reading_count,
    no_readings,
    read_cells,
)
from gridsecure.gateway.written_units import KWH, to_kwh

_OURS: Final = ("meter_point_id", "mpan", "unit")


@dataclass(frozen=True, slots=True)
class Export:
    """A format.

    Args:
        what: As people call it.
        system: The name that a source declares it by.
        time: The column of times.
        taken: Columns that together are energy taken.
        fed_in: Those of energy fed in; empty where there are none.
        are_faces: Whether they are faces of registers.
        minutes: Length of its intervals; 0 where faces show it.
        delay: From the time that is written to the moment of a face [minutes].
        ids: The column of ids, where it has one.
        asks_unit: Whether its values may be in any unit.
        also: Columns that are passed over.
    """

    what: str
    system: str
    time: str
    taken: tuple[str, ...]
    fed_in: tuple[str, ...] = ()
    are_faces: bool = True
    minutes: int = 0
    delay: int = 0
    ids: str = ""
    asks_unit: bool = False
    also: re.Pattern[str] = re.compile(r"(?!)")

    def has(self, keys: Sequence[str]) -> bool:
        """Whether a table with these columns is one."""
        own = {self.time, *self.taken, *self.fed_in, *([self.ids] if self.ids else [])}
        known = own | set(_OURS)
        return own <= set(keys) and all(key in known or self.also.fullmatch(key) for key in keys)


_COSTS: Final = re.compile(r"end|(estimated_cost|standing_charge)_inc_tax_p|unit_rate_p_kwh")
_HOURS: Final = re.compile(r"gas")
_MAXIMA: Final = re.compile(r"l[123]_max_w")
_TELEGRAM: Final = re.compile(
    r"id|electricity_currently_(delivered|returned)|phase_\w+|extra_device_\w+|gas\w*"
)

_EXPORTS: Final = (
    Export(
        "a consumption file of Octopus Energy",
        "octopus",
        "start",
        ("consumption_kwh",),
        are_faces=False,
        minutes=30,
        also=_COSTS,
    ),
    Export(
        "the hour totals of DSMR-reader",
        "dsmr-reader",
        "hour_start",
        ("electricity_1_dutch_users_low_tariff", "electricity_2_dutch_users_normal_tariff"),
        (
            "electricity_1_returned_dutch_users_low_tariff",
            "electricity_2_returned_dutch_users_normal_tariff",
        ),
        are_faces=False,
        minutes=60,
        also=_HOURS,
    ),
    Export(
        "the hour totals of DSMR-reader",
        "dsmr-reader",
        "hour_start",
        ("electricity1", "electricity2"),
        ("electricity1_returned", "electricity2_returned"),
        are_faces=False,
        minutes=60,
        also=re.compile(r"id|gas"),
    ),
    Export(
        "the registers of a P1 meter by HomeWizard",
        "homewizard",
        "time",
        ("import_t1_kwh", "import_t2_kwh"),
        ("export_t1_kwh", "export_t2_kwh"),
        also=_MAXIMA,
    ),
    Export(
        "the registers of a P1 meter by HomeWizard",
        "homewizard",
        "time",
        ("import_kwh",),
        ("export_kwh",),
        also=_MAXIMA,
    ),
    Export(
        "the registers of DSMR telegrams",
        "dsmr",
        "timestamp",
        ("electricity_delivered_1", "electricity_delivered_2"),
        ("electricity_returned_1", "electricity_returned_2"),
        also=_TELEGRAM,
    ),
    Export(
        "long-term statistics of Home Assistant",
        "home-assistant",
        "start",
        ("state",),
        delay=60,
        asks_unit=True,
        ids="statistic_id",
        also=re.compile(r"sum|delta"),
    ),
    Export(
        "long-term statistics of Home Assistant",
        "home-assistant",
        "start",
        ("state",),
        delay=60,
        asks_unit=True,
        also=re.compile(r"sum|delta"),
    ),
    Export(
        "a history of Home Assistant",
        "home-assistant",
        "last_changed",
        ("state",),
        ids="entity_id",
        asks_unit=True,
        also=re.compile(r"last_updated"),
    ),
    Export(
        "a history of Home Assistant",
        "home-assistant",
        "last_changed",
        ("state",),
        asks_unit=True,
        also=re.compile(r"last_updated"),
    ),
)


# Columns that tell an export which is not read -> what it is, the reason, and what to hand in.
_NOT_READ: Final = (
    (
        {"day", "electricity_1_dutch_users_low_tariff"},
        "the day totals of DSMR-reader",
        "readings.daily",
        "Export the hour totals instead.",
    ),
    (
        {"mprn", "read_value", "read_type", "read_date_and_end_time"},
        "a file of harmonised data of ESB Networks, with kW or daily registers by type",
        "readings.format",
        "Write its half-hours in kWh, half of the kW, with the columns meter_point_id,start,kwh"
        " and stamps, which holds end.",
    ),
)


SYSTEMS: Final = tuple(dict.fromkeys(one.system for one in _EXPORTS))
"""Names of what exports come from."""


def find_export(written: Sequence[str]) -> Export | None:
    """The export that a header is of; None where it is of none.

    Raises:
        InvalidReadingsError: It is of one that is not read (`readings.format`, `readings.daily`).
    """
    keys = _keys(written)
    for needed, what, reason, remedy in _NOT_READ:
        if needed <= set(keys):
            raise InvalidReadingsError(
                f"The file is {what}, which GridSecure does not read.", reason=reason, remedy=remedy
            )
    if len(set(keys)) < len(keys):
        return None
    return next((one for one in _EXPORTS if one.has(keys)), None)


def _keys(written: Sequence[str]) -> list[str]:
    keys = [re.sub(r"\W+", "_", name.lower()).strip("_") for name in written]
    return ["meter_point_id" if key == "mpan" else key for key in keys]


def read_export(
    text: TableText, export: Export, *, packed: int | None, meaning: Meaning, timezone: str
) -> pd.DataFrame:
    """An export as a table of the long layout, indexed by the lines of the file.

    Args:
        packed: The file's size before it was decompressed.
        meaning: What was said of it; names its meter point where the export does not.
        timezone: Zone of times without an offset.

    Raises:
        InvalidReadingsError: `readings.meter-point` where nobody names it, `readings.unit` where
            the export leaves the unit open, `readings.stamps` where it leaves the moments open,
            `readings.interval`, `readings.timestamp`, `readings.energy`.
    """
    header = text.header()
    separator = separator_of(header)
    check_reading_count(check_field_counts(text, separator=separator) - 1, packed=packed)
    names = _keys(cells_of(header))
    table = read_cells(text, separator=separator, columns=names)
    if table.empty:
        raise no_readings()
    table = table.assign(meter_point_id=_ids(table, export, meaning.meter_point_id))
    if export.asks_unit:
        table = _with_unit(table, export, meaning.unit)
    own = "" if export.asks_unit else KWH
    values = dict.fromkeys((*export.taken, *export.fed_in), own)
    table = to_kwh(table, values, declared=meaning.unit)
    if export.time == "last_changed":
        return faces_of_states(table, stamps=meaning.stamps)
    if "end" in table:
        _check_ends(table, export.minutes, timezone=timezone)
    return _to_long(table, export)


def _to_long(table: pd.DataFrame, export: Export) -> pd.DataFrame:
    kept = {"meter_point_id": table["meter_point_id"], "start": table[export.time]}
    if "unit" in table:
        kept["unit"] = table["unit"]
    taken = _added(table, export.taken)
    if not export.are_faces:
        more = {"export_kwh": _added(table, export.fed_in)} if export.fed_in else {}
        return pd.DataFrame({**kept, "kwh": taken, **more}, index=table.index)
    faces = pd.DataFrame({**kept, "register_kwh": taken}, index=table.index)
    if not export.fed_in:
        return faces
    fed_in = faces.assign(register_kwh=_added(table, export.fed_in), **{CHANNEL: "export"})
    return pd.concat([faces.assign(**{CHANNEL: "import"}), fed_in])


def _ids(table: pd.DataFrame, export: Export, given: str) -> pd.Series[str]:
    """The meter point of each line."""
    written = next((name for name in ("meter_point_id", export.ids) if name and name in table), "")
    ids: pd.Series[str] = table[written].str.strip() if written else pd.Series(dtype="str")
    if ids.nunique() > 1 or (written and not given):
        return ids
    if not given:
        raise InvalidReadingsError(
            f"The file is {export.what}, and does not say of which meter point.",
            reason="readings.meter-point",
            remedy="Put a column meter_point_id before the others, or send it from a source whose"
            " scope is that meter point alone; for a file of its own, `gridsecure bill` has"
            " --meter-point.",
        )
    return pd.Series(given, index=table.index, dtype="str")


def _with_unit(table: pd.DataFrame, export: Export, declared: str) -> pd.DataFrame:
    """A table that says the unit of every value: its own, or else the declared one.

    Energies of Home Assistant may be Wh, kWh or MWh, and statistics leave the unit out.
    """
    written = table["unit"].astype("str").str.strip() if "unit" in table else ""
    table = table.assign(unit=written)
    table["unit"] = table["unit"].mask(table["unit"] == "", declared)
    if (table["unit"] == "").any():
        raise InvalidReadingsError(
            f"The file is {export.what}, and does not say in which unit its values are.",
            reason="readings.unit",
            remedy="Put a column unit beside the others that says Wh, kWh or MWh on every line, or"
            " register the source that sends it with its unit.",
        )
    return table


def _check_ends(table: pd.DataFrame, minutes: int, *, timezone: str) -> None:
    """Refuse lines whose interval has another length than the format's."""
    starts = read_starts(table[["meter_point_id", "start"]], timezone)
    ends = read_starts(table[["meter_point_id"]].assign(start=table["end"]), timezone)
    rows = np.flatnonzero(ends - starts != pd.Timedelta(minutes=minutes))
    if len(rows):
        raise refuse_lines(
            table,
            rows,
            reason="readings.interval",
            rule="interval-end",
            detail=f"the interval does not end {minutes} minutes after its start",
            remedy="Take out the lines of other intervals, or write them in a file of the long"
            " layout.",
        )


def _added(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series[str]:
    """Registers of one direction as one [kWh]; empty where one of them is."""
    if len(columns) == 1:
        only: pd.Series[str] = table[columns[0]]
        return only
    wh, missing = np.zeros(len(table), dtype=np.int64), np.zeros(len(table), dtype=bool)
    for column in columns:
        more, without = read_energy(table, [column])
        wh, missing = wh + more, missing | without
    if (wh < 0).any():
        raise refuse_lines(
            table,
            np.flatnonzero(wh < 0),
            reason="readings.energy",
            rule="negative",
            detail="a register is below zero",
            remedy="Take the lines out, or correct them.",
        )
    text = pd.Series(wh // 1000, index=table.index).astype(str) + "."
    text += pd.Series(wh % 1000, index=table.index).astype(str).str.zfill(3)
    return text.mask(missing, "")
