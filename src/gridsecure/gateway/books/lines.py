"""Lines of an import: CSV with a header, or one JSON object a line, read into statements.

Both have the columns of a contract file, and `valid_from`, `valid_to`, `account`, `holder`,
`meter`, `multiplier`, `first_face_kwh`, `final_face_kwh` and `register_hours`. A blank cell says
nothing. What is wrong with a line is a value, so that all faults are told at once; a file that is
no table is refused whole.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from gridsecure.billing.contracts import NUMBER_COLUMNS, NUMBER_PATTERN, YES_OR_NO
from gridsecure.billing.register_hours import parse_register_hours
from gridsecure.errors import InputError
from gridsecure.gateway.books.facts import CONTRACT_TEXTS, Value
from gridsecure.gateway.books.statements import Statement
from gridsecure.identity_messages import JOINT
from gridsecure.month_texts import MONTH_PATTERN, is_in_years

MAX_BYTES: Final = 64 << 20
"""Largest body of an import [bytes], as of a contract file."""

MOST_LINES: Final = 200_000
"""Lines of an import: each becomes several objects before any is compared."""

MAX_MULTIPLIER: Final = 1_000_000
"""Greatest ratio; the energy of a register of nine digits times it is still counted exactly."""

NO_HOURS: Final = "none"
"""Says that nothing is known any more of the hours that registers count."""

LONGEST_ID: Final = 256
"""Letters of a meter point's id, as the identity authority's books take them."""

_FACES: Final = {"first_face_kwh": "first_face_wh", "final_face_kwh": "final_face_wh"}
_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,63}")
_MONTH: Final = re.compile(MONTH_PATTERN)
_NUMBER: Final = re.compile(NUMBER_PATTERN)
_DIGITS: Final = re.compile(r"[0-9]{1,8}")
_LONGEST_TEXT: Final = 64

COLUMNS: Final = frozenset(
    (
        *("meter_point_id", "valid_from", "valid_to", "account", "holder", "meter", "multiplier"),
        *("register_hours", *_FACES, *CONTRACT_TEXTS, *NUMBER_COLUMNS),
    )
)


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that cannot be taken, and why.

    Args:
        line: Its number in the file, from 1; the header of a CSV is line 1.
        meter_point_id: As far as it could be read.
        reason: Of the codes `books.*`.
    """

    line: int
    meter_point_id: str
    reason: str
    message: str


def read_lines(body: bytes, *, valid_from: date | None = None) -> Iterator[Statement | RefusedLine]:
    """Read an import, line by line.

    Args:
        body: CSV or lines of JSON, UTF-8.
        valid_from: First day of lines that state neither their first nor their last.

    Raises:
        InputError: It is no such file (`books.unreadable`), has too many lines (`books.lines`), or
            an unknown or repeated column or none of meter points (`books.columns`).
    """
    if body.count(b"\n") > MOST_LINES:
        raise InputError(
            f"The import has more than {MOST_LINES:,} lines.",
            reason="books.lines",
            remedy="Divide it into several, and apply one after the other.",
        )
    for number, cells in _rows(_text(body)):
        name = cells.get("meter_point_id", "")
        try:
            yield _statement(number, cells, valid_from)
        except InputError as error:
            yield RefusedLine(number, name[:LONGEST_ID], error.reason, error.message)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable() from error


def _rows(text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    if text.lstrip().startswith("{"):
        yield from _json_rows(text)
        return
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header)
        for cells in reader:
            if any(cells):
                # A row that is longer than the header has a cell that belongs to no column.
                beyond = {"": "x"} if len(cells) > len(header) else {}
                stripped = (cell.strip() for cell in cells)
                yield reader.line_num, dict(zip(header, stripped, strict=False)) | beyond
    except csv.Error as error:
        raise _unreadable() from error


def _check_header(header: list[str]) -> None:
    unknown = sorted(set(header) - COLUMNS)
    if unknown or len(set(header)) != len(header) or "meter_point_id" not in header:
        what = f"the unknown column {unknown[0][:40]!r}" if unknown else "a column twice, or no ids"
        raise InputError(
            f"The import has {what}.",
            reason="books.columns",
            remedy="Give meter_point_id, valid_from and the columns that docs/books.md lists.",
        )


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                fields = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
            except (ValueError, RecursionError) as error:
                raise _unreadable() from error
            if not isinstance(fields, dict):
                raise _unreadable()
            yield number, {name: _cell(value) for name, value in fields.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return YES_OR_NO[0] if value else YES_OR_NO[1]
    return value.strip() if isinstance(value, str) else "\0"  # which no column takes


def _statement(number: int, cells: Mapping[str, str], default: date | None) -> Statement:
    if cells.keys() - COLUMNS:
        raise _refused("columns", "The line has a cell or a name of no column")
    stated = {name: cell for name, cell in cells.items() if cell}
    name = stated.get("meter_point_id", "")
    if not name or len(name) > LONGEST_ID or not name.isprintable() or JOINT in name:
        raise _refused("meter-point", "The line names no meter point of up to 256 letters, no ~")
    start, end = (_day(stated, column) for column in ("valid_from", "valid_to"))
    if start is None and end is None:
        start = default
    meter: dict[str, Value] = {}
    if "meter" in stated:
        meter["meter"] = _name(stated, "meter")
    if "multiplier" in stated:
        meter["multiplier"] = _multiplier(stated["multiplier"])
    if "register_hours" in stated:
        meter["register_hours"] = _register_hours(stated["register_hours"])
    for column, own in _FACES.items():
        if column in stated:
            meter[own] = _thousandths(stated, column)
    account = _name(stated, "account") if "account" in stated else None
    holder = _holder(name, stated["holder"]) if "holder" in stated else None
    contract = _contract(stated)
    return Statement(number, name, start, end, account, meter, contract, holder=holder)


def _holder(name: str, cell: str) -> str:
    own, joint, rest = cell.partition(JOINT)
    if own != name or (joint and not _NAME.fullmatch(rest)) or len(cell) > LONGEST_ID:
        raise _refused("holder", "holder is not the meter point's id, alone or with ~ and a number")
    return cell


def _contract(stated: Mapping[str, str]) -> dict[str, Value]:
    contract: dict[str, Value] = {}
    for column in CONTRACT_TEXTS:
        if column in stated:
            contract[column] = _checked(stated, column)
    for column, own in NUMBER_COLUMNS.items():
        if column in stated:
            contract[own] = _thousandths(stated, column)
    return contract


def _checked(stated: Mapping[str, str], column: str) -> str:
    cell = stated[column]
    rules: dict[str, Callable[[], object]] = {
        "service_from": lambda: _MONTH.fullmatch(cell),
        "large": lambda: cell in YES_OR_NO,
    }
    good = rules.get(column, lambda: len(cell) <= _LONGEST_TEXT and cell.isprintable())
    if not good():
        raise _refused("text", f"{column} cannot be what the line says")
    return cell


def _day(stated: Mapping[str, str], column: str) -> date | None:
    if column not in stated:
        return None
    try:
        day = date.fromisoformat(stated[column])
    except ValueError:
        day = date.min
    if not is_in_years(day):
        raise _refused("date", f"{column} is not a date as 2026-07-15")
    return day


def _name(stated: Mapping[str, str], column: str) -> str:
    if not _NAME.fullmatch(stated[column]):
        raise _refused("name", f"{column} is not a number of up to 64 letters, digits and ._/-")
    return stated[column]


def _multiplier(cell: str) -> int:
    if not (_DIGITS.fullmatch(cell) and 1 <= int(cell) <= MAX_MULTIPLIER):
        raise _refused("multiplier", "multiplier is not a whole number from 1 to 1,000,000")
    return int(cell)


def _register_hours(cell: str) -> str:
    if cell == NO_HOURS:
        return ""
    try:
        parse_register_hours(cell)
    except InputError as error:
        raise _refused("register-hours", error.message.removesuffix(".")) from error
    return cell


def _thousandths(stated: Mapping[str, str], column: str) -> int:
    found = _NUMBER.fullmatch(stated[column])
    if found is None:
        raise _refused(
            "number",
            f"{column} is not a number from zero with up to nine digits and three decimals",
        )
    return int(found["whole"]) * 1000 + int((found["part"] or "").ljust(3, "0"))


def _refused(code: str, why: str) -> InputError:
    return InputError(f"{why}.", reason=f"books.{code}", remedy="Correct the line.")


def _unreadable() -> InputError:
    return InputError(
        "The import is neither a CSV table nor lines of JSON, in UTF-8.",
        reason="books.unreadable",
        remedy="Send a CSV file with a header, or one JSON object a line.",
    )
