"""The body of a batch, whatever it is written in: read whole if it is small, or piece by piece.

CSV is read as a file is. JSON, lines of JSON and Parquet hold the long layout, one object or row a
reading, under the names of its columns.

A large body never becomes one frame. Each piece is read and passed on, and what only all readings
together tell, whether they rise like the faces of a register, is asked at the end of a few bytes
kept of each. What else only the whole would tell has to be declared: that times are starts.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from gridsecure.billing.readings import ReadingProblem, start_us
from gridsecure.billing.registers import REGISTER
from gridsecure.errors import InvalidReadingsError, RowFault
from gridsecure.gateway.foreign_files import is_meter_readings, refuse_foreign_json
from gridsecure.gateway.formats import ReadingsFile, read_long_table, read_readings
from gridsecure.gateway.ingestion.body_pieces import (
    BodyKind,
    Piece,
    cut_pieces,
    kind_of,
    kind_of_columns,
)
from gridsecure.gateway.ingestion.body_tables import (
    HEADER_LINES,
    PARQUET,
    BodyCells,
    JsonBody,
    open_parquet,
    read_json,
)
from gridsecure.gateway.ingestion.risen_values import RisenValues
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.ingestion.stored_readings import COUNTED
from gridsecure.gateway.ingestion.unfolding import UnfoldedBody
from gridsecure.gateway.meanings import Meaning, Stamps, Values
from gridsecure.gateway.row_faults import merge_refusals, read_or_name_rows
from gridsecure.gateway.table_text import MAX_READINGS, check_reading_count
from gridsecure.gateway.value_kinds import WrittenTimes

WHOLE_BYTES: Final = 64 << 20
"""A body of more text is read piece by piece, if pieces of it can be read by themselves."""

_HEAD_BYTES: Final = 256 << 10
_WHOLE_ROWS: Final = 1 << 20
_ROWS: Final = 1 << 17
_MOST_WHOLE_TEXT: Final = 1 << 30
_MOST_LATER: Final = 32
"""Pieces of a body that are looked at behind the first one with a fault."""
_LINE: Final = re.compile(r"\b([Ll])ine (\d+)")
_LINES: Final = re.compile(r"\b(\d[\d,]*) line(s?)\b")


def read_body(
    body: SpooledBody, *, source: Source, timezone: str, passed_over: Counter[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Read a batch: one readings frame, or one after the other of a large body.

    Faces of registers are given as they stand, for their neighbours may come in another batch.

    Args:
        body: A finished one: CSV of any layout, a JSON list of objects or an object with the list
            `readings` and, before it, their `unit`; lines of JSON, or Parquet. CSV and JSON may be
            compressed by gzip or Zstandard.
        timezone: The gateway's, which starts are given in.
        passed_over: Where values of it that are not billed are counted, by name.

    Raises:
        InvalidReadingsError: It cannot be taken in as a whole, whatever was given out before; as
            `read_readings` says, or it is no table (`readings.body`), or times of whole days are
            not what the source declared (`readings.stamps`).
    """
    with body.open() as file:
        is_parquet = file.read(4) == PARQUET
    aside = Counter[str]() if passed_over is None else passed_over
    found = _read_parquet(body, source) if is_parquet else _read_text(body, source)
    declared = source.meaning.stamps
    times = None if declared is None else WrittenTimes(declared, source.timezone)
    for file in found:
        aside.update(file.passed_over)
        readings = file.readings
        if times is not None and file.layout == "long" and not (file.system or file.says_stamps):
            times.add(start_us(readings), readings["minutes"].to_numpy(np.int64))
        yield readings.assign(start=readings["start"].dt.tz_convert(timezone))
    if times is not None:
        times.check()


def _read_text(body: SpooledBody, source: Source) -> Iterator[ReadingsFile]:
    text = UnfoldedBody(body)
    first = text.read(WHOLE_BYTES + 1)
    if len(first) > WHOLE_BYTES and _is_divisible(kind := kind_of(first), source):
        del first
        pieces = cut_pieces(UnfoldedBody(body), kind, declared=source.unit)
        yield from _read_pieces(pieces, body, source, kind)
    else:
        if len(first) > WHOLE_BYTES:
            _check_whole(body)
        data = first + text.read(_MOST_WHOLE_TEXT - len(first))
        if text.read(1):  # it unfolds beyond: what was cut off must not be lost without a word
            raise _too_large()
        yield _read_whole(data, source, packed=body.size if text.is_compressed else None)


def _is_divisible(kind: BodyKind, source: Source) -> bool:
    return kind.is_divisible and (not kind.needs_starts or source.stamps == "start")


def _check_whole(body: SpooledBody) -> None:
    """Refuse a body that has to be read whole and is too large for that."""
    if body.size > WHOLE_BYTES:
        raise _too_large()


def _too_large() -> InvalidReadingsError:
    return InvalidReadingsError(
        f"A body of more than {WHOLE_BYTES >> 20} MiB is read piece by piece, which this one"
        " cannot be.",
        reason="readings.too-large",
        remedy="Send long tables from a source that declared that its stamps are starts, or"
        " wide tables, without a column of channels; or several batches.",
    )


def _read_whole(data: bytes, source: Source, *, packed: int | None) -> ReadingsFile:
    # Before anything is taken apart: no reading is without a line or a brace, nor a point of a
    # wide line without a comma.
    check_reading_count(max(map(data.count, (b"\n", b"{"))), packed=None)
    if packed is not None:
        check_reading_count(min(data.count(b","), MAX_READINGS), packed=packed)
    if data[:4] == PARQUET:
        opened = open_parquet(pa.BufferReader(data), size=len(data), declared=source.unit)
        (cells,) = opened.tables(rows=None)
        return _read_table(cells, source)
    if data[:64].lstrip()[:1] in (b"{", b"[") and not is_meter_readings(
        data[:_HEAD_BYTES].decode(errors="ignore")
    ):
        refuse_foreign_json(data[:_HEAD_BYTES].decode(errors="ignore"))
        return read_or_name_rows(
            lambda body: _read_table(body.table(), source),
            read_json(data, declared=source.unit),
            without=JsonBody.without,
        )
    return _checked(_read(data, source, source.meaning), source)


def _read_table(cells: BodyCells, source: Source) -> ReadingsFile:
    piece = Piece(cells, HEADER_LINES, before=0)
    try:
        return _checked(_read(cells, source, source.meaning), source)
    except InvalidReadingsError as error:
        raise _placed(error, piece) from error


def _read_parquet(body: SpooledBody, source: Source) -> Iterator[ReadingsFile]:
    with body.open() as file:
        opened = open_parquet(file, size=body.size, declared=source.unit)
        kind = kind_of_columns([*opened.names.ours.values()])
        if opened.file.metadata.num_rows <= _WHOLE_ROWS or not _is_divisible(kind, source):
            _check_whole(body)
            for cells in opened.tables(rows=None):
                yield _read_table(cells, source)
            return
        yield from _read_pieces(_numbered(opened.tables(rows=_ROWS)), body, source, kind)


def _numbered(tables: Iterator[BodyCells]) -> Iterator[Piece]:
    before = 0
    for one in tables:
        yield Piece(one, HEADER_LINES, before)
        before += len(one.cells)


def _read_pieces(
    pieces: Iterator[Piece], body: SpooledBody, source: Source, kind: BodyKind
) -> Iterator[ReadingsFile]:
    """Readings of piece after piece, and at the end what all of them together tell."""
    stamps = Stamps.START if kind.needs_starts else source.meaning.stamps
    values = None if kind.says_values else Values.INTERVAL
    meaning = replace(source.meaning, values=values, stamps=stamps)
    risen, count = RisenValues(), 0
    for piece in pieces:
        try:
            file = _checked(_read(piece.data, source, meaning), source)
        except InvalidReadingsError as error:
            refusal = _placed(error, piece)
            if not refusal.faults:
                raise refusal from error
            read = partial(_read, source=source, meaning=meaning)
            raise _with_later_rows(refusal, pieces, read) from error
        if file.encoding != "utf-8":
            raise InvalidReadingsError(
                "The text of a large body is not UTF-8.",
                reason="readings.encoding",
                remedy=f"Send it in UTF-8, or in batches of at most {WHOLE_BYTES >> 20} MiB.",
            )
        count += len(file.readings)
        check_reading_count(count, packed=body.size)
        if not kind.says_values and REGISTER not in file.readings:
            risen.add(file.readings)
        yield file
    risen.check()


def _with_later_rows(
    first: InvalidReadingsError,
    pieces: Iterator[Piece],
    read: Callable[[bytes | BodyCells], ReadingsFile],
) -> InvalidReadingsError:
    """The refusal of a piece, with the rows that are wrong in the next ones."""
    refusals, last, is_whole = [first], None, False
    try:
        for last in islice(pieces, _MOST_LATER):
            try:
                read(last.data)
            except InvalidReadingsError as error:
                if error.faults:
                    refusals.append(_placed(error, last))
        is_whole = next(pieces, None) is None
    except InvalidReadingsError:
        pass  # it cannot be cut any further
    merged = merge_refusals(refusals)
    if not is_whole:
        merged.message += " Readings far behind the first of these were not looked at."
    return merged


def _read(data: bytes | BodyCells, source: Source, meaning: Meaning) -> ReadingsFile:
    """A table, with faces of registers as they stand."""
    zone, interval = source.timezone, source.interval
    if isinstance(data, BodyCells):
        own, meaning = data.names, replace(meaning, unit=data.names.unit)
        return read_long_table(
            data.cells, units=own.units, timezone=zone, interval=interval, meaning=meaning
        )
    return read_readings(data, timezone=zone, interval=interval, meaning=meaning, differences=False)


def _checked(found: ReadingsFile, source: Source) -> ReadingsFile:
    """The same with readings that a batch can hold, or with faces and `COUNTED`."""
    if source.formats and not {found.layout, found.system}.intersection(source.formats):
        raise InvalidReadingsError(
            f"The batch is of the format {found.system or found.layout}, which the source did not"
            " declare.",
            reason="readings.undeclared",
            remedy=f"Send {' or '.join(source.formats)}, or declare the format as well.",
        )
    if found.layout == "registers":
        return replace(found, readings=found.readings.assign(**{COUNTED: found.is_counted}))
    if source.stamps == "end" and (found.readings["minutes"] == 0).any():
        raise InvalidReadingsError(
            "A meter point has too few readings to tell where their intervals begin.",
            reason="readings.interval",
            remedy="Send two neighbouring readings of each meter point at least, or starts, or"
            " declare how long the source's intervals are.",
        )
    return found


def _placed(error: InvalidReadingsError, piece: Piece) -> InvalidReadingsError:
    """The same refusal with places of the body: its lines, or its readings where it has none."""
    are_readings = isinstance(piece.data, BodyCells)

    def place(found: re.Match[str]) -> str:
        number = int(found[2])
        if number > piece.header_lines:
            number += piece.before
        if not are_readings:
            return f"{found[1]}ine {number}"
        return f"{'R' if found[1] == 'L' else 'r'}eading {number - piece.header_lines}"

    def named(text: str) -> str:
        text = _LINES.sub(r"\1 reading\2", text) if are_readings else text
        return _LINE.sub(place, text)

    problems = [
        replace(p, detail=named(p.detail)) if isinstance(p, ReadingProblem) else p
        for p in error.problems
    ]
    return InvalidReadingsError(
        named(error.message),
        reason=error.reason,
        remedy=error.remedy,
        problems=problems,
        faults=[_moved(one, piece) for one in error.faults],
    )


def _moved(fault: RowFault, piece: Piece) -> RowFault:
    """The same rows, counted through the body."""
    are_readings = isinstance(piece.data, BodyCells)
    lines = piece.header_lines

    def place(row: int) -> int:
        row += piece.before if row > lines else 0
        return row - lines if are_readings else row

    return replace(
        fault,
        place="reading" if are_readings else "line",
        firsts=array("q", map(place, fault.firsts)),
        lasts=array("q", map(place, fault.lasts)),
    )
