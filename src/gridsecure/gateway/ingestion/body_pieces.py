"""A large body as pieces, each a table of its own that is read like a file.

Where a piece ends is found without understanding it: CSV and lines of JSON at the end of a line, a
JSON list between two objects. Were that inside a text, the piece would end in an open quotation
and be refused; no text of a reading holds a line break or a comma between braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import foreign_files
from gridsecure.gateway.channels import CHANNEL, FACES, FACES_FED_IN, FACES_REACTIVE
from gridsecure.gateway.column_names import name_columns
from gridsecure.gateway.daily_values import is_daily, is_matrix
from gridsecure.gateway.ingestion.body_tables import (
    HEADER_LINES,
    BodyCells,
    body_unit,
    no_table,
    objects_table,
)
from gridsecure.gateway.ingestion.unfolding import UnfoldedBody
from gridsecure.gateway.meanings import Unit
from gridsecure.gateway.public_exports import find_export
from gridsecure.gateway.workbooks import SIGNATURE

PIECE_BYTES: Final = 4 << 20
"""Text that is made a table at once; as a frame it takes about ten times as much memory."""

_HEAD_BYTES: Final = 256 << 10
_LONGEST_OBJECT: Final = 64 << 10
_BLANKS: Final = 64
_LIST: Final = re.compile(
    rb'\s*(\{\s*(?:"unit"\s*:\s*"([^"\\]{0,64})"\s*,\s*)?"readings"\s*:\s*)?\[\s*'
)
_MEMBER: Final = re.compile(rb'"([^"\\]{1,64})"\s*:')
_LIST_END: Final = re.compile(rb"\s*\]\s*(\}?)\s*\Z")
_OF_CHANNELS: Final = frozenset((CHANNEL, FACES_FED_IN, FACES_REACTIVE))
"""Columns of which all lines together are needed: channels are joined."""
_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", SIGNATURE)

_Cut = Callable[[bytes], tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a body that is a table by itself.

    Args:
        data: CSV with its header, or the cells of readings that stand on no lines.
        header_lines: Lines of it before its readings.
        before: Lines of readings, or readings, before it in the body.
    """

    data: bytes | BodyCells
    header_lines: int
    before: int


@dataclass(frozen=True, slots=True)
class BodyKind:
    """What a body is, told by its beginning.

    Args:
        head: Lines that stand before its readings, where it is CSV.
        is_list: Whether it is a JSON list.
        is_json: Whether it is JSON of any kind.
        needs_starts: Whether the readings' times have to be known to be starts before all of them
            were seen, as in every layout with a time on each reading but a register's.
        says_values: Whether a column says what its values are.
        is_divisible: Whether parts of it are tables by themselves at all.
    """

    head: bytes = b""
    is_list: bool = False
    is_json: bool = False
    needs_starts: bool = True
    says_values: bool = False
    is_divisible: bool = True


def kind_of(first: bytes) -> BodyKind:
    """What a body is.

    Args:
        first: At least its first 256 KiB, without compression.

    Raises:
        InvalidReadingsError: It is JSON of an interface that is not read (`readings.format`).
    """
    start, text = first[:64].lstrip(), first[:_HEAD_BYTES].decode("utf-8-sig", errors="ignore")
    is_nem = foreign_files.is_nem12(text) or foreign_files.is_nem13(text)
    if is_nem or foreign_files.is_document(text):
        return BodyKind(is_divisible=False)
    if start[:1] in (b"{", b"["):
        head = first[:_HEAD_BYTES]
        foreign_files.refuse_foreign_json(text)
        members = {found.decode(errors="replace") for found in _MEMBER.findall(head)}
        of_columns = kind_of_columns(name_columns(sorted(members)).names)
        return replace(of_columns, is_json=True, is_list=_LIST.match(head) is not None)
    if first.startswith(_MARKS):
        return BodyKind(is_divisible=False)
    lines = foreign_files.preamble_lines(text.replace("\r\n", "\n")) + 1
    head = b"".join(line + b"\n" for line in first[:_HEAD_BYTES].split(b"\n")[:lines])
    header = head.decode(errors="ignore").splitlines()[-1]
    written = foreign_files.cells_of(header.removeprefix("\ufeff"))
    if find_export(written) is not None:
        return BodyKind(is_divisible=False)
    names = name_columns(written).names
    return BodyKind(
        head,
        needs_starts=not {"date", FACES}.intersection(names),
        says_values="values" in names,
        is_divisible=not _OF_CHANNELS.intersection(names)
        and not (is_daily(names) or is_matrix(names))
        and b"\n" in first[len(head) :],
    )


def kind_of_columns(names: Sequence[str]) -> BodyKind:
    """What a table with these columns is that stands on no lines."""
    return BodyKind(
        needs_starts=FACES not in names,
        says_values="values" in names,
        is_divisible=not _OF_CHANNELS.intersection(names),
    )


def cut_pieces(text: UnfoldedBody, kind: BodyKind, *, declared: Unit) -> Iterator[Piece]:
    """The pieces of a body.

    Args:
        text: From its first byte on.
        declared: Unit that the source declared; empty where it declared none.

    Raises:
        InvalidReadingsError: It cannot be cut, or is no table (`readings.body`,
            `readings.malformed`), says another unit than its source (`readings.unit`), or unfolds
            too far.
    """
    if kind.is_json:
        yield from _json_pieces(text, kind, declared)
        return
    text.read(len(kind.head))
    before, lines = 0, kind.head.count(b"\n")
    for part in _cut(text, b"", _line_end):
        yield Piece(kind.head + part, lines, before)
        before += part.count(b"\n")


def _json_pieces(text: UnfoldedBody, kind: BodyKind, declared: Unit) -> Iterator[Piece]:
    unit, head = declared, b""
    if kind.is_list:
        head = text.read(min(_HEAD_BYTES, PIECE_BYTES))
        unit = body_unit(_unit_before(head), declared=declared)
    names: Set[str] | None = None
    before = 0
    for part in _listed(text, head) if kind.is_list else _lines(text):
        found = objects_table(part, first=before + 1, names=names, unit=unit)
        names = found.names.ours.keys()
        yield Piece(found, HEADER_LINES, before)
        before += len(found.cells)


def _unit_before(head: bytes) -> str | None:
    """The unit that an object says before its list of readings."""
    opening = _LIST.match(head)
    said = None if opening is None else opening[2]
    return None if said is None else said.decode(errors="replace")


def _lines(text: UnfoldedBody) -> Iterator[bytes]:
    """Objects of lines, with commas between them."""
    for part in _cut(text, b"", _line_end):
        yield b",".join(line for line in part.split(b"\n") if line.strip())


def _listed(text: UnfoldedBody, first: bytes) -> Iterator[bytes]:
    """Objects of a list, without its brackets.

    Args:
        first: What was read of the text already.
    """
    opening = _LIST.match(first)
    if opening is None:
        raise no_table("The body holds no list of readings.")
    last: bytes | None = None
    for part in _cut(text, first[opening.end() :], _between_objects):
        if last is not None:
            yield last
        last = part
    closing = _LIST_END.search(last or b"", max(0, len(last or b"") - _LONGEST_OBJECT))
    if last is None or closing is None or bool(closing[1]) != bool(opening[1]):
        raise no_table("The list of readings does not end, or a unit stands behind it.")
    yield last[: closing.start()]


def _cut(text: UnfoldedBody, held: bytes, find: _Cut) -> Iterator[bytes]:
    while block := text.read(PIECE_BYTES):
        held += block
        found = find(held)
        if found is None and len(held) > _LONGEST_OBJECT:
            raise InvalidReadingsError(
                "A reading of the body is longer than any reading is.",
                reason="readings.malformed",
                remedy="Send one reading a line, or a list of readings.",
            )
        if found is not None:
            yield held[: found[0]]
            held = held[found[1] :]
    if held.strip():
        yield held


def _line_end(held: bytes) -> tuple[int, int] | None:
    end = held.rfind(b"\n") + 1
    return (end, end) if end else None


def _between_objects(held: bytes) -> tuple[int, int] | None:
    """Where the last comma between two objects is, and where the second one begins."""
    least = max(0, len(held) - _LONGEST_OBJECT)
    end = len(held)
    while (brace := held.rfind(b"{", least, end)) > 0:
        start = max(0, brace - _BLANKS)
        before = held[start:brace].rstrip()
        if before.endswith(b",") and before[:-1].rstrip().endswith(b"}"):
            return start + len(before) - 1, brace
        end = brace
    return None
