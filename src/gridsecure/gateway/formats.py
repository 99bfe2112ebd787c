"""Meter data files to readings frames.

Layouts of tables, told apart by their header:

- long: `meter_point_id,start,kwh[,kvarh][,export_kwh][,quality][,unit]`, one reading per line, with
  reactive energy and energy fed in where meters have those registers. A cumulative register face
  may stand in place of the energy: `register_kwh` instead of `kwh`.
- wide, the "96 points" collection layout: `meter_point_id,date,p1..pN[,quality][,ratio][,unit]`
  with N = 24, 48 or 96 energies per local day, or an hour more or less, for the days on which the
  clock is changed (`wide_days`); `ratio` (综合倍率) is the current x voltage transformer ratio that
  every energy of the line is multiplied by. The columns may be named by the clock instead:
  00:15 … 24:00 by the ends of their intervals, 00:00 … 23:45 by their starts;
- daily: `meter_point_id,date,kwh`, or a column for each day (`daily_values`).

Energies are kWh with up to three decimals and become exact Wh. Times are local to the zone given,
or carry an offset of their own (long layout). Fields are separated by commas, semicolons or tabs.
Files are UTF-8, or UTF-16 with its mark; what is neither is read as GB 18030, the encoding Chinese
collection systems export, and the result says so. A file that cannot be read as a whole is refused
with line numbers and reasons and without any value from it; whether single readings are plausible
is for `billing.validation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.interval_lengths import (
    UNKNOWN,
    find_length_changes,
    interval_minutes,
    usual_interval,
)
from gridsecure.billing.meter_serials import SERIAL
from gridsecure.billing.readings import ReadingProblem
from gridsecure.billing.registers import FED_IN, REACTIVE, REGISTER, TAKEN, registers_to_readings
from gridsecure.gateway import foreign_files, format_times
from gridsecure.gateway import format_cells as cells
from gridsecure.gateway.cell_tables import (
    POINTS,
    REGISTERS,
    WIDE,
    CellTable,
    check_columns,
    count_cells,
    known_lines,
    parse_table,
)
from gridsecure.gateway.channels import (
    FACES,
    OF_HOURS,
    Channels,
    has_channels,
    join_channels,
    refuse_contradictions,
    split_channels,
)
from gridsecure.gateway.daily_values import (
    is_daily,
    moments_of_faces,
    read_energies,
)
from gridsecure.gateway.face_energies import (
    NO_BOOKS,
    MeterBooks,
    as_they_stand,
    tell_energies,
)
from gridsecure.gateway.green_button import read_green_button
from gridsecure.gateway.meanings import NOTHING_SAID, Meaning, Stamps, Values
from gridsecure.gateway.meter_readings import MeterReadings, read_meter_readings
from gridsecure.gateway.nem12 import MARKET_MINUTES, read_nem12
from gridsecure.gateway.nem13 import read_nem13
from gridsecure.gateway.passed_over import REACTIVE_FED_IN
from gridsecure.gateway.public_exports import SYSTEMS, find_export, read_export
from gridsecure.gateway.row_faults import read_or_name_rows
from gridsecure.gateway.table_text import (
    TableText,
    check_line_lengths,
    decode,
    load_bytes,
    without_blank_lines,
    without_lines,
)
from gridsecure.gateway.value_kinds import (
    find_meaning,
    meaning_of_intervals,
    move_to_starts,
    refuse_cumulative,
    refuse_ends,
)
from gridsecure.gateway.wide_days import POINT_MINUTES, WidePoints, lay_out_days
from gridsecure.gateway.workbooks import SIGNATURE, read_workbook

_ANYTHING: Final = Meaning(stamps=Stamps.END, meter_point_id="any")
_SIGNATURE_BYTES: Final = 512
_HEAD_BYTES: Final = 256 << 10

LAYOUT_NAMES: Final = (
    "long",
    "wide",
    "daily",
    "registers",
    "nem12",
    "green-button",
    "meter-readings",
)
"""Formats that are told apart, by the names that `ReadingsFile.layout` has."""

SYSTEM_NAMES: Final = ("nem13", *SYSTEMS)
"""Formats that are read as one of those, by the names that `ReadingsFile.system` has."""


@dataclass(frozen=True, slots=True)
class ReadingsFile:
    """A file as read.

    Attributes:
        readings: A readings frame in the order of the file.
        layout: One of `LAYOUT_NAMES`.
        interval: The most frequent interval length; each reading's own is in its `minutes`, from
            the distances of its meter point's readings (long) or the number of points (wide).
        encoding: `utf-8`, `utf-16`, `gb18030` or `xlsx`.
        problems: What reading itself found or concluded: register faces passed over or spread,
            days on which the clock is changed, meter points that went over to another length.
        lines: Line of the file that each reading stands on, where readings stand on lines.
        meaning: What its values and times were taken for, where anything but the layout said so.
        is_counted: Whether its energies are what registers counted, of which no ratio is told.
        placed: Meter points of which energies of registers stand evenly over their hours.
        passed_over: How many values it holds beside that are not billed, by the names of
            `gateway.passed_over`.
        system: One of `SYSTEM_NAMES`, where its content shows it.
        says_stamps: Whether a column of it says what its times are.
    """

    readings: pd.DataFrame
    layout: str
    interval: pd.Timedelta
    encoding: str
    problems: tuple[ReadingProblem, ...] = ()
    lines: NDArray[np.int64] | None = None
    meaning: Meaning = NOTHING_SAID
    is_counted: bool = False
    placed: frozenset[str] = frozenset()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    system: str = ""
    says_stamps: bool = False


def read_readings(
    source: bytes | Path,
    *,
    timezone: str = "Asia/Shanghai",
    interval: pd.Timedelta | None = None,
    meaning: Meaning = NOTHING_SAID,
    books: MeterBooks = NO_BOOKS,
    differences: bool = True,
) -> ReadingsFile:
    """Read a meter data file.

    Args:
        source: The file's bytes or its path; gzip (`.csv.gz`) is recognised by its first bytes.
        timezone: Zone of local times in the file, the tariff's zone.
        interval: Length to take for meter points of a long file that have too few readings to
            tell it.
        meaning: What its values and times are, where the file does not say and leaves a doubt.
        books: What is known of meters; energies are not multiplied here.
        differences: Whether faces of registers become energies. Otherwise they are given as they
            stand: `start` is the moment of reading, `energy_wh` the face [Wh], and `register` says
            `import` or `export`.

    Returns:
        The readings with how they were read.

    Raises:
        InvalidReadingsError: The file is unusable; `faults` has every row that is wrong by kind,
            of a table of at most 64 MiB, and `reason` names the first kind of fault found
            (`readings.file`, `.expansion`, `.too-large`, `.too-many`, `.format`, `.preamble`,
            `.empty`, `.encoding`, `.malformed`, `.columns`, `.daily`, `.unit`, `.timestamp`,
            `.offset`, `.energy`, `.ratio`, `.interval`, `.values`, `.cumulative`, `.stamps`,
            `.channel`, `.conflict`), `problems` lists up to 20 places.
    """
    text, packed = _load_text(source)
    opened = _OpenFile(text, packed, timezone, interval, books, differences)
    defined = _read_defined(opened, meaning)
    if defined is not None:
        return defined

    def read(text: TableText) -> ReadingsFile:
        table = _read_table(text, packed=packed, meaning=meaning, timezone=timezone)
        found = replace(table, books=books, differences=differences)
        return _read_cells(found, timezone, interval, meaning)

    return read_or_name_rows(read, text, without=without_lines)


def _read_defined(opened: _OpenFile, meaning: Meaning) -> ReadingsFile | None:
    """A file of a format that a standard defines, or None for a table."""
    text, timezone, packed = opened.text, opened.timezone, opened.packed
    head = text.head(_HEAD_BYTES)
    if foreign_files.is_nem12(head):
        data = read_nem12(text, timezone=timezone, packed=packed)
        file = _as_defined(data.readings, "nem12", text, lines=data.lines)
        return replace(file, passed_over=data.passed_over)
    if foreign_files.is_nem13(head):
        # Where books know the exchanges of meters, faces are left as meters showed them.
        chains = opened.differences and opened.books.join_meters is as_they_stand
        reads = read_nem13(text, timezone=timezone, packed=packed, chains=chains)
        file = _faces_file(reads.faces, opened, is_counted=reads.is_counted)
        return replace(file, system="nem13", passed_over=reads.passed_over)
    if foreign_files.is_green_button(head):
        feed = read_green_button(text, timezone=timezone, packed=packed)
        file = _as_defined(feed.readings, "green-button", text)
        problems = (*feed.problems, *file.problems)
        return replace(file, passed_over=feed.passed_over, problems=problems)
    if foreign_files.is_meter_readings(head):
        document = read_meter_readings(text, timezone=timezone, packed=packed, meaning=meaning)
        if not document.are_faces:
            file = _as_defined(document.readings, "meter-readings", text)
            problems = (*document.problems, *file.problems)
            return replace(file, passed_over=document.passed_over, problems=problems)
        return _read_faces(document, opened)
    return None


def read_long_table(
    cells: pd.DataFrame,
    *,
    units: Mapping[str, str],
    timezone: str,
    interval: pd.Timedelta | None,
    meaning: Meaning,
) -> ReadingsFile:
    """Read a table of the long layout whose cells are there already, and no text of a file.

    Args:
        cells: Categories of text, without blanks before it, under the names of the long layout;
            an empty text where nothing is said. The index has the number that each row's line
            would have in a file.
        units: Columns -> the unit that is said of all their values, where one is.
        timezone: As `read_readings` has it, and so the others.

    Returns:
        The readings as `read_readings` gives them without `differences`.

    Raises:
        InvalidReadingsError: As `read_readings`.
    """
    check_columns(cells)

    def read(cells: pd.DataFrame) -> ReadingsFile:
        table = known_lines(without_blank_lines(cells))
        found = CellTable(table, "utf-8", at_ends=False, differences=False, units=units)
        return _read_cells(found.in_kwh(meaning), timezone, interval, meaning)

    return read_or_name_rows(read, cells, without=_without_rows)


def _without_rows(cells: pd.DataFrame, rows: NDArray[np.int64]) -> pd.DataFrame:
    return cells[~cells.index.isin(rows)]


def _read_cells(
    found: CellTable, timezone: str, interval: pd.Timedelta | None, meaning: Meaning
) -> ReadingsFile:
    """Read a table, one channel after the other."""
    if meaning.zone is not None:
        format_times.refuse_other_offsets(found.cells, meaning.zone)
    asked = _tell_ends(found.cells, find_meaning(found.cells, meaning))
    if found.minutes:
        asked = meaning_of_intervals(asked)
    if found.are_powers:
        asked = replace(asked, values=Values.POWER)
    table = found.cells
    if is_daily(table) and ("register_kwh" in table or asked.values is Values.REGISTER):
        table = moments_of_faces(table, asked.stamps)
        found = replace(found, cells=table)
    if not has_channels(table):
        return _read_channel(found, timezone, interval, asked)
    are_faces = "register_kwh" in table or asked.values is Values.REGISTER
    channels = split_channels(table, are_faces=are_faces)
    found = replace(found, passed_over=_with_lines(found.passed_over, channels.passed_over))
    if are_faces:
        return _read_registers(found, channels, (timezone, interval, asked))
    file = _read_channel(replace(found, cells=channels.taken), timezone, interval, asked)
    joined, problems = file.readings.assign(row=range(len(file.readings))), list(file.problems)
    for column, lines in (("export_wh", channels.fed_in), ("reactive_varh", channels.reactive)):
        if lines.empty:
            continue
        other = _read_channel(replace(found, cells=lines), timezone, interval, asked)
        if not found.differences:  # who sends a batch is there to send a better one
            refuse_contradictions(other.readings)
        joined = join_channels(joined, other.readings, column=column)
        problems += other.problems
    rows = joined.pop("row").to_numpy(np.int64)
    return replace(
        file,
        readings=joined,
        problems=tuple(problems),
        lines=None if file.lines is None else file.lines[rows],
    )


def _with_lines(passed_over: Mapping[str, int], lines: pd.DataFrame) -> Mapping[str, int]:
    """What is passed over, with lines of reactive energy fed in."""
    if lines.empty:
        return passed_over
    values = [one for one in map(str, lines) if one in ("kwh", FACES) or POINTS.fullmatch(one)]
    return {**passed_over, REACTIVE_FED_IN: count_cells(lines, values)}


def _read_registers(
    found: CellTable, channels: Channels, how: tuple[str, pd.Timedelta | None, Meaning]
) -> ReadingsFile:
    """Faces of several registers, or the energies between them.

    Args:
        how: Timezone, known interval and meaning, as `_read_channel` has them.
    """
    as_shown = replace(found, differences=False)
    file = _read_channel(replace(as_shown, cells=channels.taken), *how)
    parts, problems = [file.readings], list(file.problems)
    beside = {FED_IN: channels.fed_in, REACTIVE: channels.reactive}
    others = {name: lines for name, lines in beside.items() if not lines.empty}
    if not found.differences or found.books.hours_of is not None:
        others |= {f"{OF_HOURS}{name}": lines for name, lines in channels.by_hours.items()}
    for name, lines in others.items():
        own = _read_channel(replace(as_shown, cells=lines), *how)
        parts.append(own.readings.assign(**{REGISTER: name}))
        problems += own.problems
    faces = pd.concat(parts, ignore_index=True)
    if not found.differences:
        return replace(file, readings=faces)
    read = replace(file, problems=tuple(problems))
    return _between(read, faces, books=found.books, known=how[1])


def _read_days(
    found: CellTable, timezone: str, meaning: Meaning
) -> tuple[str, pd.DataFrame, NDArray[np.int64], tuple[ReadingProblem, ...]]:
    """Lines of days that hold a day's one energy, or all of its points."""
    if is_daily(found.cells):
        return "daily", *read_energies(found.cells, timezone)
    faces = meaning.values is Values.REGISTER
    kind = Values.POWER if found.are_powers else meaning.values
    readings, lines, problems = _read_wide(found.cells, timezone, kind=kind)
    if faces and found.at_ends:
        step = pd.to_timedelta(readings["minutes"], unit="min").astype("timedelta64[us]")
        readings["start"] += step
    return "wide", readings, lines, problems


def _read_channel(
    found: CellTable, timezone: str, interval: pd.Timedelta | None, meaning: Meaning
) -> ReadingsFile:
    """Read a table whose lines are all of one channel.

    Length: one question about the table after the other.
    """
    table = found.cells
    lines: NDArray[np.int64] | None = table.index.to_numpy(np.int64)
    problems: tuple[ReadingProblem, ...] = ()
    is_wide, named = set(table.columns) >= WIDE, "register_kwh" in table.columns
    if is_wide:
        layout, readings, lines, problems = _read_days(found, timezone, meaning)
    else:
        layout = "long"
        readings = _read_long(table, timezone, energy="register_kwh" if named else "kwh")
        moved = readings["start"] + found.delay  # in nanoseconds
        readings["start"] = moved.astype(readings["start"].dtype)
        if found.minutes:
            readings["minutes"] = np.int64(found.minutes)
    if named or meaning.values is Values.REGISTER:
        layout, lines = "registers", None
    if layout == "registers" and not found.differences:
        readings = readings.assign(minutes=np.int64(0))
        readings[REGISTER] = TAKEN
    elif layout == "registers":
        joined = found.books.join_meters(_with_texts(readings))
        result = registers_to_readings(joined, known=interval)
        readings, problems = result.readings, (*problems, *result.problems)
    else:
        for name, column in REGISTERS.items():
            if name in table.columns and not is_wide:
                # An empty cell is a register that did not move.
                readings[column], _ = cells.read_energy(table, [name])
        _refuse_doubts(table, readings, meaning)
        if not is_wide:
            readings["minutes"] = interval_minutes(readings, known=interval)
        if not is_wide and meaning.stamps is Stamps.END:
            readings = move_to_starts(readings, interval=UNKNOWN)
    return ReadingsFile(
        _with_texts(readings),
        layout,
        usual_interval(readings["minutes"].to_numpy()),
        found.encoding,
        (*problems, *find_length_changes(readings)),
        lines=lines,
        meaning=meaning,
        is_counted=layout == "registers" and "ratio" not in table.columns,
        passed_over=found.passed_over,
        system=found.system,
        says_stamps="stamps" in table.columns,
    )


def _with_texts(readings: pd.DataFrame) -> pd.DataFrame:
    """Readings with the names of meter points written out, as who reads files expects them."""
    names = readings["meter_point_id"]
    if not isinstance(names.dtype, pd.CategoricalDtype):
        return readings
    return readings.assign(meter_point_id=names.cat.categories.take(names.cat.codes.to_numpy()))


def _tell_ends(table: pd.DataFrame, meaning: Meaning) -> Meaning:
    """The meaning, with ends where the times run from 01:00 to 24:00 and nothing else is said."""
    if meaning.stamps is not None or "start" not in table:
        return meaning
    if not format_times.writes_last_hour(table) or format_times.writes_first_hour(table):
        return meaning
    return replace(meaning, stamps=Stamps.END)


def _refuse_doubts(table: pd.DataFrame, readings: pd.DataFrame, meaning: Meaning) -> None:
    """Refuse values and times that look like something else, unless it was said what they are."""
    if meaning.values is None:
        refuse_cumulative(readings)
    if "start" in table and meaning.stamps is not Stamps.END:
        last_hour = format_times.writes_last_hour(table)
        if last_hour or meaning.stamps is None:
            refuse_ends(pd.DatetimeIndex(readings["start"]), last_hour=last_hour)


def read_offsets(source: bytes | Path) -> frozenset[int | None]:
    """The offsets from UTC that the times of a file are written with.

    Args:
        source: As for `read_readings`.

    Returns:
        Offsets [minutes], and None among them for local times; for a wide file None alone.

    Raises:
        InvalidReadingsError: As `read_readings`, where the file is no table of readings.
    """
    text, packed = _load_text(source)
    head = text.head(_HEAD_BYTES)
    if foreign_files.is_nem12(head) or foreign_files.is_nem13(head):
        return frozenset({MARKET_MINUTES})
    if foreign_files.is_document(head):
        return frozenset({0})
    table = _read_table(text, packed=packed, meaning=_ANYTHING, timezone="UTC").cells
    return format_times.stated_offsets(table) if "start" in table else frozenset({None})


@dataclass(frozen=True, slots=True, eq=False)
class _OpenFile:
    """The text of a file, its size before it was decompressed, and what `read_readings` is given.

    Args:
        timezone, interval, books, differences: As `read_readings` has them.
    """

    text: TableText
    packed: int | None
    timezone: str
    interval: pd.Timedelta | None
    books: MeterBooks
    differences: bool


def _load_text(source: bytes | Path) -> tuple[TableText, int | None]:
    """The file's text, and its size before it was decompressed."""
    data, packed = load_bytes(source)
    return _to_text(data), packed


def _as_defined(
    readings: pd.DataFrame, layout: str, text: TableText, *, lines: NDArray[np.int64] | None = None
) -> ReadingsFile:
    """A file of a format whose definition leaves nothing to tell from its content."""
    return ReadingsFile(
        readings,
        layout,
        usual_interval(readings["minutes"].to_numpy()),
        text.encoding,
        find_length_changes(readings),
        lines=lines,
    )


def _read_faces(document: MeterReadings, opened: _OpenFile) -> ReadingsFile:
    """The register faces of a document, or energies from their differences."""
    registers = (
        (document.readings, TAKEN),
        (document.fed_in, FED_IN),
        (document.reactive, REACTIVE),
    )
    parts = [one.assign(**{REGISTER: name}) for one, name in registers]
    file = _faces_file(pd.concat(parts, ignore_index=True), opened, is_counted=True)
    return replace(file, passed_over=document.passed_over)


def _faces_file(faces: pd.DataFrame, opened: _OpenFile, *, is_counted: bool) -> ReadingsFile:
    """A file of faces, or of the energies between them."""
    file = ReadingsFile(
        faces.assign(minutes=np.int64(0)),
        "registers",
        UNKNOWN,
        opened.text.encoding,
        is_counted=is_counted,
    )
    if not opened.differences:
        return file
    return _between(file, faces, books=opened.books, known=opened.interval)


def _between(
    file: ReadingsFile, faces: pd.DataFrame, *, books: MeterBooks, known: pd.Timedelta | None
) -> ReadingsFile:
    """The energies between the faces of a file, in place of its readings."""
    told = tell_energies(faces, books=books, known=known)
    return replace(
        file,
        readings=told.readings,
        interval=usual_interval(told.readings["minutes"].to_numpy()),
        problems=(*file.problems, *told.problems, *find_length_changes(told.readings)),
        placed=told.placed,
    )


def _read_table(
    text: TableText, *, packed: int | None, meaning: Meaning, timezone: str
) -> CellTable:
    """The text as a table."""
    head = text.head(_HEAD_BYTES)
    foreign_files.refuse_foreign_text(head)
    check_line_lengths(text)
    text = text.without_preamble(foreign_files.preamble_lines(head))
    export = find_export(foreign_files.cells_of(text.header()))
    if export is None:
        return parse_table(text, packed=packed, declared=meaning.unit).in_kwh(meaning)
    exported = read_export(text, export, packed=packed, meaning=meaning, timezone=timezone)
    delay = pd.Timedelta(minutes=export.delay)
    return CellTable(
        exported,
        text.encoding,
        at_ends=False,
        minutes=export.minutes,
        delay=delay,
        system=export.system,
    )


def _to_text(data: bytearray) -> TableText:
    if data.startswith(SIGNATURE):
        return read_workbook(bytes(data))
    foreign_files.refuse_foreign_bytes(bytes(data[:_SIGNATURE_BYTES]))
    return decode(data)


def _read_long(table: pd.DataFrame, timezone: str, *, energy: str) -> pd.DataFrame:
    starts = format_times.read_starts(table, timezone)
    energy_wh, missing = cells.read_energy(table, [energy])
    if "ratio" in table.columns:
        energy_wh = cells.apply_ratio(table, energy_wh, points=1)
    readings = cells.build_readings(
        table["meter_point_id"].reset_index(drop=True),
        start=starts,
        energy_wh=energy_wh,
        quality=cells.read_quality(table, missing, repeat=1),
    )
    if SERIAL in table.columns:
        said = table[SERIAL].astype("str").str.strip()
        readings[SERIAL] = said.to_numpy(object)
    return readings


def _read_wide(
    table: pd.DataFrame, timezone: str, *, kind: Values | None
) -> tuple[pd.DataFrame, NDArray[np.int64], tuple[ReadingProblem, ...]]:
    count = sum(1 for name in table.columns if POINTS.fullmatch(name))
    days = format_times.read_days(table, timezone)
    energy_wh, missing = cells.read_energy(table, [f"p{number + 1}" for number in range(count)])
    if "ratio" in table.columns:
        energy_wh = cells.apply_ratio(table, energy_wh, points=count)
    minutes = POINT_MINUTES[count]
    if kind is Values.POWER:
        energy_wh = cells.energies_of_powers(table, energy_wh, points=count, minutes=minutes)
    points = WidePoints(
        minutes=minutes,
        energy_wh=energy_wh.reshape(-1, count),
        missing=missing.reshape(-1, count),
        are_faces=kind is Values.REGISTER,
        are_powers=kind is Values.POWER,
    )
    laid = lay_out_days(points, days=days)
    meters = table["meter_point_id"]
    flags = cells.read_quality(table, np.zeros(len(table), dtype=bool), repeat=1)
    quality = flags.take(laid.lines).reset_index(drop=True)
    quality[laid.divided & (quality == "actual").to_numpy()] = "estimated"
    quality[laid.missing] = "missing"
    readings = cells.build_readings(
        pd.Series(meters.array.take(laid.lines)),
        start=laid.starts,
        energy_wh=laid.energy_wh,
        quality=quality,
    )
    readings["minutes"] = np.int64(points.minutes)
    problems = tuple(
        ReadingProblem(
            meters.iloc[row], days[row], "clock-change", f"line {meters.index[row]}: {detail}"
        )
        for row, detail in laid.notes
    )
    return readings, table.index.to_numpy(np.int64)[laid.lines], problems
