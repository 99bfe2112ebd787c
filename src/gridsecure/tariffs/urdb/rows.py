"""The rows an import writes, and how they become the text of a tariff file.

Rows are plain values in the order they are written; the text is then read and checked like any
other tariff file, so nothing here decides what a valid tariff is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

SOURCE = "urdb"
ALL_MONTHS = tuple(range(1, 13))
PRICES_PER_LINE = 12

Value = str | int | Decimal | date | tuple[int, ...] | tuple[str, ...] | tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One table of the tariff file: `[[table]]`, or `[table]` for the few that occur once."""

    table: str
    values: Mapping[str, Value]
    repeats: bool = True


@dataclass(frozen=True, slots=True)
class ConvertedElement:
    """What one group of URDB elements becomes.

    Args:
        rows: Rows in the order of the file.
        header: Entries of the header that these elements decide.
        notes: What whoever imports should know, a sentence each.
    """

    rows: tuple[Row, ...] = ()
    header: Mapping[str, Value] | None = None
    notes: tuple[str, ...] = ()


def rate_row(charge: str, rate: Decimal, *, unit: str, **scope: Value) -> Row:
    """Build a `[[rates]]` row; `scope` is its period, tier and months."""
    values: dict[str, Value] = {"charge": charge}
    values |= {name: value for name, value in scope.items() if value != ALL_MONTHS}
    values |= {"rate": plain(rate), "unit": unit, "source": SOURCE}
    return Row("rates", values)


def plain(value: Decimal) -> str:
    """Write a number without an exponent and without zeros at its end.

    >>> plain(Decimal("1.50E+2")), plain(Decimal("-0.0520")), plain(Decimal("0E-9"))
    ('150', '-0.052', '0')
    """
    written = format(value, "f")
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    return "0" if written in {"-0", ""} else written


def tariff_file(header: Mapping[str, Value], rows: Sequence[Row], *, notes: Sequence[str]) -> str:
    """Write a tariff file; notes become comments at its top."""
    lines = [f"# {_one_line(note)}" for note in notes]
    lines += [f"{key} = {_toml(value)}" for key, value in header.items()]
    for row in rows:
        lines += ["", f"[[{row.table}]]" if row.repeats else f"[{row.table}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in row.values.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Value) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, tuple):
        parts = [_quoted(plain(v)) if isinstance(v, Decimal) else _toml(v) for v in value]
        if len(parts) <= PRICES_PER_LINE:
            return f"[{', '.join(parts)}]"
        starts = range(0, len(parts), PRICES_PER_LINE)
        return "\n".join(
            ["[", *(f"  {', '.join(parts[s : s + PRICES_PER_LINE])}," for s in starts), "]"]
        )
    if isinstance(value, date):
        return value.isoformat()
    return plain(Decimal(value))


def _quoted(value: str) -> str:
    """A TOML basic string: quotes, backslashes and control characters are escaped."""
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c) or _printable(c) for c in value) + '"'


def _printable(character: str) -> str:
    control = character < " " or character == "\x7f"
    return f"\\u{ord(character):04x}" if control else character


def _one_line(note: str) -> str:
    return "".join(" " if c < " " or c == "\x7f" else c for c in note)
