"""JSON and Parquet bodies as cells of a long table, so that every check of a file is theirs too.

A column is its distinct values, each as the text that a file would have, and for every row which of
them. So what a cell means is decided in one place, for files and bodies alike, and once a value: a
month of moments is some thousand texts, whatever the meter points.

A number stays the digits that were sent: none becomes a binary fraction. Only Parquet's
floating-point columns are binary when they come; each is taken as the shortest decimal that stands
for it.

Columns are named as those of tables are, and their unit is said as there: by a name, by a column
`unit`, by the source. A body may say it once for all of its readings: an object in a member `unit`
beside `readings`, a Parquet file in its metadata or in those of a field.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gridsecure.billing.meter_serials import SERIAL
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.channels import CHANNEL, FACES, FACES_FED_IN, FACES_REACTIVE
from gridsecure.gateway.column_names import ColumnNames, is_of_hours, name_columns
from gridsecure.gateway.ingestion.parquet_pages import measure_pages
from gridsecure.gateway.ingestion.unfolding import bound_of, unfolds_too_far
from gridsecure.gateway.meanings import Unit
from gridsecure.gateway.row_faults import refuse_readings
from gridsecure.gateway.table_text import (
    MAX_LINE_BYTES,
    MAX_READINGS,
    check_reading_count,
    no_text,
)
from gridsecure.gateway.written_units import UNITS

PARQUET: Final = b"PAR1"
HEADER_LINES: Final = 1
"""Lines that a file would have before the first of the cells."""
_ENERGIES: Final = frozenset(("kwh", "kvarh", "export_kwh", FACES, FACES_FED_IN, FACES_REACTIVE))
_NAMES: Final = _ENERGIES | frozenset(
    ("meter_point_id", "start", CHANNEL, "quality", "unit", "values", "stamps", SERIAL)
)
_REACTIVE: Final = frozenset(("kvarh", FACES_REACTIVE))
_OF_UNIT: Final = _ENERGIES - _REACTIVE
_UNIT_KEY: Final = b"unit"
_LONGEST_TEXT: Final = 256
_UNSAFE: Final = r'[",;\t\r\n]'
_DECODER: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
"""Numbers are the texts that stand there."""
_LEFT_OUT: Final = object()
"""In place of a reading that is not looked at."""
_BROKEN: Final = object()
"""In place of a line that is no JSON."""


@dataclass(frozen=True, slots=True)
class BodyNames:
    """The columns of a body.

    Args:
        ours: Written names -> those of the long layout.
        units: Ours -> the unit that the written name says, or its field in Parquet.
        unit: Of all values that nothing else tells of; empty for kWh.
    """

    ours: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    unit: Unit = ""


@dataclass(frozen=True, slots=True, eq=False)
class BodyCells:
    """Readings as `formats.read_long_table` takes them.

    Args:
        cells: Under the names of the long layout.
        names: What its columns are called in the body.
    """

    cells: pd.DataFrame
    names: BodyNames


@dataclass(frozen=True, slots=True, eq=False)
class JsonBody:
    """The readings of a JSON body, before any is looked at.

    Args:
        unit: Of values that nothing else tells of.
    """

    readings: Sequence[Any]
    unit: Unit

    def table(self) -> BodyCells:
        """Them as cells.

        Raises:
            InvalidReadingsError: They are no readings (`readings.body`).
        """
        return _objects(self.readings, first=1, unit=self.unit)

    def without(self, numbers: NDArray[np.int64]) -> JsonBody:
        """The same without some of them; the others keep their numbers, from 1."""
        kept = list(self.readings)
        for number in numbers.tolist():
            kept[number - 1] = _LEFT_OUT
        return replace(self, readings=kept)


def read_json(body: bytes, *, declared: Unit) -> JsonBody:
    """The readings of a JSON body.

    Args:
        declared: Unit that the source declared; empty where it declared none.

    Raises:
        InvalidReadingsError: It is no list of readings (`readings.body`), or says another unit than
            its source (`readings.unit`).
    """
    readings, said = _parse(body)
    return JsonBody(readings, body_unit(said, declared=declared))


def objects_table(text: bytes, *, first: int, names: Set[str] | None, unit: Unit) -> BodyCells:
    """Objects of a JSON list, without its brackets, as cells.

    Args:
        first: Number of the first of them.
        names: Members that they have, or None for those that are found.
        unit: Of values that nothing else tells of.

    Raises:
        InvalidReadingsError: They are no readings, or have other members (`readings.body`).
    """
    try:
        readings = _DECODER.decode(f"[{text.decode()}]")
    except (ValueError, RecursionError) as error:
        raise no_table(f"The body is no JSON near reading {first}.") from error
    found = _objects(readings, first=first, unit=unit, beside=names or ())
    if names is not None and not names >= found.names.ours.keys():
        raise no_table("Readings of a large body have all the same names, those of the first ones.")
    return found


def body_unit(said: Any, *, declared: Unit) -> Unit:
    """The unit that a body says of all its values, or else the one that its source declared.

    Args:
        said: What stands in the body; None where nothing does.

    Raises:
        InvalidReadingsError: It is none that is read, or another than the source declared
            (`readings.unit`).
    """
    if said is None:
        return declared
    unit = UNITS.get(said.strip().lower()) if isinstance(said, str) else None
    if unit is None:
        raise InvalidReadingsError(
            "The body says a unit of its readings that is not read.",
            reason="readings.unit",
            remedy="Write Wh, kWh or MWh; GridSecure never guesses a factor.",
        )
    if declared and unit != declared:
        raise InvalidReadingsError(
            f"The body says {unit}, and the source declared {declared}.",
            reason="readings.unit",
            remedy="Correct the body's unit, or declare the source's unit anew, or none.",
        )
    return unit


def _our_names(written: Sequence[str], *, unit: str) -> ColumnNames:
    """What the columns of a body are called in the long layout.

    Args:
        unit: What is said of values that stand without one.

    Raises:
        InvalidReadingsError: Two names mean one column (`readings.body`).
    """
    found = name_columns(list(written), declared=unit)
    if len(set(found.names)) < len(written):
        raise no_table("Two names of the body mean one column, as kwh and wh do.")
    return found


def _parse(body: bytes) -> tuple[list[Any], Any]:
    """The readings of a JSON body, and the unit that it says of them."""
    try:
        text = body.decode()
        lines = text.strip().splitlines()
        if len(lines) > 1 and _is_object(lines[0]):
            return _parse_lines(lines), None
        read = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        at = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise no_table(f"The body is no JSON{at}.") from error
    said = None
    if isinstance(read, dict) and "readings" in read and set(read) <= {"readings", "unit"}:
        read, said = read["readings"], read.get("unit")
    elif isinstance(read, dict):
        read = [read]
    if not isinstance(read, list):
        raise no_table("The body holds no list of readings.")
    return read, said


def _parse_lines(lines: Sequence[str]) -> list[Any]:
    """Objects of lines, decoded at once: a call a line takes longer than its object."""
    said = [line for line in lines if line.strip()]
    try:
        read: list[Any] = _DECODER.decode(f"[{','.join(said)}]")
    except ValueError:
        return [_read_line(line) for line in said]
    if len(read) != len(said):
        raise no_table("A line of the body holds more than one reading.")
    return read


def _read_line(line: str) -> Any:
    try:
        return _DECODER.decode(line)
    except ValueError:
        return _BROKEN


def _is_object(line: str) -> bool:
    """Whether a line is an object in itself."""
    try:
        return isinstance(_DECODER.decode(line), dict)
    except ValueError:
        return False


def _objects(
    readings: Sequence[Any], *, first: int, unit: Unit, beside: Collection[str] = ()
) -> BodyCells:
    """Objects as cells.

    Args:
        beside: Members that there are in other objects of the body.
    """
    if not 0 < len(readings) <= MAX_READINGS:
        raise no_table(f"A batch holds 1 to {MAX_READINGS:,} readings.")
    numbers: Sequence[int] = range(first, first + len(readings))
    if any(one is _LEFT_OUT for one in readings):
        kept = [(n, one) for n, one in zip(numbers, readings, strict=True) if one is not _LEFT_OUT]
        numbers, readings = [n for n, _ in kept], [one for _, one in kept]
    written = sorted(set(beside).union(*(one for one in readings if isinstance(one, dict))))
    named = _our_names(written, unit=unit)
    names = BodyNames(dict(zip(written, named.names, strict=True)), named.units, unit)
    keys = {ours: name for name, ours in names.ours.items()}
    try:
        if _are_columns(keys) and all(_is_named(one.keys(), keys) for one in readings):
            columns = {
                ours: pa.array([one.get(name) for one in readings], pa.string())
                for name, ours in names.ours.items()
            }
            cells = _cells(pa.table(columns))
            if len(numbers) < numbers[-1] - first + 1:
                cells.index = pd.Index([n - first + HEADER_LINES + 1 for n in numbers])
            return BodyCells(cells, names)
    except (TypeError, AttributeError, UnicodeEncodeError, pa.ArrowException):
        pass  # said below, with their numbers
    raise _wrong_shape(readings, names.ours, numbers=numbers)


def _wrong_shape(
    readings: Sequence[Any], ours: Mapping[str, str], *, numbers: Sequence[int]
) -> InvalidReadingsError:
    """The refusal of objects that are no readings, by their numbers."""
    pairs = list(zip(numbers, readings, strict=True))
    broken = [number for number, one in pairs if one is _BROKEN]
    if broken:
        return refuse_readings(
            "a line that is no JSON",
            broken,
            reason="readings.body",
            rule="json",
            remedy="Each line is an object by itself, without a comma behind it.",
        )
    faulty = [number for number, one in pairs if not _is_reading(one, ours)]
    if not faulty and {"kwh", FACES} <= set(ours.values()):
        return InvalidReadingsError(
            "The body holds energies and faces of registers.",
            reason="readings.body",
            remedy="Send readings with kwh in one batch, and those with register_kwh in another.",
        )
    if not faulty:
        return no_table("A text of the body is not Unicode.")
    return refuse_readings(
        "a reading that is not as documented",
        faulty,
        reason="readings.body",
        rule="reading-shape",
        remedy=f"Each is an object with the names {', '.join(sorted(_NAMES))}, of which"
        " meter_point_id, start and either kwh or register_kwh must be there; values are texts or"
        " numbers. Energies in wh or mwh are named so, or energy where a unit is said.",
    )


def _is_named(names: Set[str], keys: Mapping[str, str]) -> bool:
    """Whether a reading says whose it is, when, and either an energy or a face.

    Args:
        keys: Our names -> what they are called here.
    """
    has_energy, has_face = keys.get("kwh") in names, keys.get(FACES) in names
    return keys["meter_point_id"] in names and keys["start"] in names and has_energy != has_face


def _are_columns(names: Collection[str]) -> bool:
    known = _are_known(names) and {"meter_point_id", "start"} <= set(names)
    return known and ("kwh" in names) != (FACES in names)


def _are_known(names: Collection[str]) -> bool:
    """Whether all names are those of a long table; registers of hours stand beside a total."""
    others = set(names) - _NAMES
    return not others or (FACES in names and all(is_of_hours(name) for name in others))


def _is_reading(one: Any, ours: Mapping[str, str]) -> bool:
    if not isinstance(one, dict) or not one.keys() <= ours.keys():
        return False
    names = [ours[name] for name in one]
    return _are_columns(names) and all(
        value is None or isinstance(value, str) for value in one.values()
    )


@dataclass(frozen=True, slots=True, eq=False)
class ParquetBody:
    """A Parquet body whose columns are known.

    Args:
        size: Of the body [bytes].
    """

    file: pq.ParquetFile
    names: BodyNames
    size: int

    def tables(self, *, rows: int | None) -> Iterator[BodyCells]:
        """Its rows as cells, so many at once.

        Args:
            rows: Of each at most, or None for all of them at once.

        Raises:
            InvalidReadingsError: It unfolds too far (`readings.expansion`), is damaged, or a value
                is none of a long table's (`readings.body`).
        """
        written = 0
        try:
            for table in [self.file.read()] if rows is None else _batches(self.file, rows):
                written += sum(_text_size(table[name]) for name in table.column_names)
                if written > bound_of(self.size):
                    raise unfolds_too_far()
                ours = [self.names.ours[name] for name in table.column_names]
                yield BodyCells(_cells(table.rename_columns(ours)), self.names)
        except (pa.ArrowException, OSError) as error:
            raise _damaged() from error


def open_parquet(file: pa.NativeFile, *, size: int, declared: Unit) -> ParquetBody:
    """A Parquet body whose columns are those of a long table, and whose counts are bounded.

    Args:
        size: Of the body [bytes].
        declared: Unit that the source declared; empty where it declared none.

    Raises:
        InvalidReadingsError: They are not (`readings.body`), their unit is open or said twice
            (`readings.unit`), or it unfolds too far (`readings.expansion`, `readings.too-many`).
    """
    try:
        about = pq.ParquetFile(file)
        metadata, schema = about.metadata, about.schema_arrow
        names = _parquet_names(schema, _said(metadata.metadata), declared=declared)
        if any(pa.types.is_nested(kind) for kind in schema.types):
            raise no_table("A column holds lists or structures.")
        check_reading_count(metadata.num_rows, packed=size)
        if _measured(file, metadata) > bound_of(size):
            raise unfolds_too_far()
        # Texts stay in dictionaries, so that a long one said often is no longer than once.
        opened = pq.ParquetFile(file, read_dictionary=schema.names, buffer_size=1 << 20)
        return ParquetBody(opened, names, size)
    except (pa.ArrowException, OSError) as error:
        raise _damaged() from error


def _measured(file: pa.NativeFile, metadata: pq.FileMetaData) -> int:
    try:
        return measure_pages(file, metadata)
    except ValueError as error:
        raise no_table(f"The Parquet file cannot be read within bounds: {error}.") from error


def _said(metadata: Mapping[bytes, bytes] | None) -> str | None:
    """The unit that metadata say."""
    written = (metadata or {}).get(_UNIT_KEY)
    return None if written is None else written[:_LONGEST_TEXT].decode(errors="replace")


def _parquet_names(schema: pa.Schema, said: str | None, *, declared: Unit) -> BodyNames:
    """What columns are called, and their units.

    Args:
        said: Unit that the file says of all its values.
    """
    unit, written = body_unit(said, declared=declared), schema.names
    fields = {name: _said(schema.field(place).metadata) for place, name in enumerate(written)}
    named = _our_names(written, unit=unit or next(filter(None, fields.values()), ""))
    ours = dict(zip(written, named.names, strict=True))
    if not _are_columns(named.names):
        raise no_table("The columns are not those of a long table.")
    units = dict(named.units)
    is_open = not unit and "unit" not in named.names
    for name, own in ours.items():
        in_field = fields[name]
        if own in _REACTIVE and in_field is not None and in_field.lower() != "kvarh":
            raise _other_unit(name)
        if own not in _OF_UNIT:
            continue
        field_unit = None if in_field is None else UNITS.get(in_field.strip().lower())
        if in_field is not None and units.setdefault(own, field_unit or "") != field_unit:
            raise _other_unit(name)
        if is_open and own not in units:
            raise _other_unit(name)
    return BodyNames(ours, units, unit)


def _other_unit(name: str) -> InvalidReadingsError:
    return InvalidReadingsError(
        f"The unit of the column {name!r} is left open, or its name and its metadata contradict"
        " each other.",
        reason="readings.unit",
        remedy="Say Wh, kWh or MWh in the member unit of its field's metadata or of the file's, in"
        " its name, or in a column unit; kvarh is in kvarh.",
    )


def _batches(opened: pq.ParquetFile, rows: int) -> Iterator[pa.Table]:
    for batch in opened.iter_batches(batch_size=rows):
        yield pa.Table.from_batches([batch])


def _damaged() -> InvalidReadingsError:
    return no_table("The Parquet file is damaged, or holds columns that are no text.")


def _text_size(column: pa.ChunkedArray) -> int:
    """Bytes of a column once its dictionaries are written out."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(one).as_py() or 0 for one in lengths)


def _cells(table: pa.Table) -> pd.DataFrame:
    """A table as `formats.read_long_table` takes it."""
    columns = {name: _coded(table[name], name) for name in table.column_names}
    for _, texts in columns.values():
        if pc.any(pc.match_substring_regex(texts, _UNSAFE)).as_py():
            raise no_table("A value holds a quotation mark, a separator or the end of a line.")
    for _, texts in columns.values():
        if pc.any(pc.match_substring(texts, "\0")).as_py():
            raise no_text()
    first = HEADER_LINES + 1
    return pd.DataFrame(
        {name: _categories(codes, texts) for name, (codes, texts) in columns.items()},
        index=pd.RangeIndex(first, first + len(table)),
    )


def _coded(column: pa.ChunkedArray, name: str) -> tuple[NDArray[np.int64], pa.Array]:
    """Which of the column's texts stands in each row, and the texts; each stands somewhere."""
    longest = MAX_LINE_BYTES
    if pa.types.is_dictionary(column.type):
        column, longest = column.unify_dictionaries(), _LONGEST_TEXT
    else:
        column = column.dictionary_encode()
    if not column.num_chunks:
        return np.zeros(0, dtype=np.int64), pa.array([], pa.string())
    values = column.chunk(column.num_chunks - 1).dictionary
    none = len(values)
    codes = np.concatenate(
        [chunk.indices.fill_null(none).to_numpy().astype(np.int64) for chunk in column.chunks]
    )
    used = np.flatnonzero(np.bincount(codes, minlength=none + 1))
    has_nulls = bool(len(used)) and used[-1] == none
    texts = _text(values.take(pa.array(used[:-1] if has_nulls else used)), name)
    if (pc.max(pc.utf8_length(texts)).as_py() or 0) > longest:
        raise no_table(f"A text has more than {longest:,} characters.")
    if has_nulls:
        if pa.types.is_timestamp(values.type):
            raise _broken_time()
        texts = pa.concat_arrays([texts, pa.array([""])])
    places = np.zeros(none + 1, dtype=np.int64)
    places[used] = np.arange(len(used))
    return places[codes], texts


def _text(values: pa.Array, name: str) -> pa.Array:
    """Values as the texts that a file would have."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        whole = pc.floor_temporal(values, unit="second")
        if not pc.all(pc.equal(whole, values)).as_py():
            raise _broken_time()
        # Arrow writes a Z behind times of UTC, which the reader of times knows.
        return whole.cast(pa.timestamp("s", kind.tz and "UTC")).cast(pa.string())
    if pa.types.is_floating(kind) and name not in _ENERGIES and not is_of_hours(name):
        raise no_table("A column of names or times holds fractions.")
    return values.cast(pa.string())


def _broken_time() -> InvalidReadingsError:
    return no_table("A time has fractions of a second, or is missing.")


def _categories(codes: NDArray[np.int64], texts: pa.Array) -> pd.Categorical:
    """The same without blanks before the texts, as the parser of files leaves them out."""
    again = pc.utf8_ltrim(texts, " ").dictionary_encode()
    names = pd.Index(again.dictionary.to_pandas(), dtype="str")
    return pd.Categorical.from_codes(again.indices.to_numpy()[codes], names)


def no_table(message: str) -> InvalidReadingsError:
    """A body that is no table of readings (`readings.body`)."""
    return InvalidReadingsError(
        message,
        reason="readings.body",
        remedy="Send CSV, a JSON list of readings, lines of JSON or Parquet, with the columns of"
        " the long table.",
    )
