"""Imports into the books: compared first, applied by digest, whole or not at all.

    books/<digest>      an import that was handed in: what it was compared with, then its body

An import is compared with the books as they are, and the differences are told before anything
changes. Its digest names the body and the revision it was compared with, so what is applied is what
was looked at: once the books have changed, it is refused. Repeating either step is harmless.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final, Literal

import pandas as pd
from sqlmodel import Session

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError, NotFoundError, StorageError
from gridsecure.gateway.books.facts import (
    KINDS,
    NO_CONTRACT,
    Fact,
    Kind,
    MeterPoint,
    Value,
    covering,
)
from gridsecure.gateway.books.lines import LONGEST_ID, RefusedLine, read_lines
from gridsecure.gateway.books.register import (
    Change,
    find_revision,
    keep_change,
    meter_points_in,
    newest_revision,
    outdated,
    read_holding,
    read_meter_points,
    revision_in,
)
from gridsecure.gateway.books.statements import Statement, apply_statement
from gridsecure.gateway.private_files import private_folder, write_private
from gridsecure.gateway.tables import BooksRevisionRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.identity_messages import JOINT
from gridsecure.month_texts import is_in_years
from gridsecure.store.database import read_session

MOST_HELD: Final = 16
"""Imports that are held at once until one is applied; the oldest gives way."""

MOST_EXAMPLES: Final = 20
MOST_REFUSALS: Final = 100

What = Literal["added", "changed", "ended", "unchanged"]

_NOTHING: Final = MeterPoint()


@dataclass(frozen=True, slots=True)
class Difference:
    """What a line makes of a meter point."""

    meter_point_id: str
    what: What
    before: MeterPoint
    after: MeterPoint


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that have something in common.

    Args:
        count: How many.
        line: The number of the first, and whose it is.
    """

    count: int
    line: int
    meter_point_id: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """An import beside the books.

    Args:
        change: What it makes of them.
        lines: Lines that were read.
        unchanged: Those of them that say what is so.
        refused: How many cannot be taken.
        examples: The first differences, or those that were asked for.
        refusals: The first lines that cannot be taken.
        tariffs: Tariff id -> lines that state it.
        naming: Lines that give an account's number to a holder without one, from a later day than
            its first: mostly somebody else who moves in.
    """

    change: Change
    lines: int
    unchanged: int
    refused: int
    examples: tuple[Difference, ...]
    refusals: tuple[RefusedLine, ...]
    tariffs: Mapping[str, Lines] = field(default_factory=dict)
    naming: Lines | None = None


def hand_in(zone: GatewayZone, body: bytes, *, valid_from: date | None) -> Comparison:
    """Compare an import with the books, and hold it until it is applied.

    Args:
        body: As `read_lines` takes it.
        valid_from: First day of lines that state no day.

    Raises:
        InputError: As `read_lines`, or no such day (`books.date`).
        StorageError: The disk could not take it.
    """
    if valid_from is not None and not is_in_years(valid_from):
        raise InputError(
            "The first day is of a year without electricity bills.",
            reason="books.date",
            remedy="Give a date as 2026-07-15.",
        )
    head = {"base": newest_revision(zone), "valid_from": valid_from and valid_from.isoformat()}
    content = json.dumps(head).encode() + b"\n" + body
    with read_session(zone.engine) as session:
        compared = _compare(session, content)
    folder = private_folder(_folder(zone))
    write_private(folder / compared.change.digest, [content], what="The import")
    for path in sorted(folder.iterdir(), key=_age)[:-MOST_HELD]:
        path.unlink(missing_ok=True)
    return compared


def read_import(zone: GatewayZone, digest: str) -> Comparison:
    """An import that is held, beside the books.

    Args:
        digest: As `hand_in` told it.

    Raises:
        NotFoundError: None of that digest is held (`not-found.books-import`).
        ConflictError: The books changed since it was handed in (`conflict.books`).
    """
    with read_session(zone.engine) as session:
        return compare_held(session, zone, digest)


def require_held(zone: GatewayZone, digest: str) -> None:
    """Refuse an import that is not held, without reading it.

    Raises:
        NotFoundError: None of that digest is held (`not-found.books-import`).
    """
    if _find(zone, digest) is None:
        raise _not_held()


def compare_held(
    session: Session, zone: GatewayZone, digest: str, *, shown: range = range(MOST_EXAMPLES)
) -> Comparison:
    """As `read_import`, in a session of the zone's database.

    Args:
        shown: Which of its differences are told, by number from 0.
    """
    path = _find(zone, digest)
    try:
        content = path.read_bytes() if path is not None else b""
    except OSError as error:
        raise StorageError(
            f"The import cannot be read: {error.strerror}.", remedy="Check the gateway's folder."
        ) from error
    if not content or sm3_hex(content) != digest:
        raise _not_held()
    return _compare(session, content, shown=shown)


def apply_import(zone: GatewayZone, digest: str, *, person: str, at: datetime) -> BooksRevisionRow:
    """Apply an import that was handed in; one that was applied before changes nothing.

    Args:
        digest: As `hand_in` told it.
        person: Who applies it.

    Returns:
        The change that it made of the books.

    Raises:
        NotFoundError: None of that digest is held (`not-found.books-import`).
        ConflictError: The books changed since it was handed in (`conflict.books`).
        InputError: A line of it cannot be taken (`books.refused-lines`).
        StorageError: The database could not take it; nothing is changed.
    """
    made = find_revision(zone, digest)
    if made is None:
        compared = read_import(zone, digest)
        if compared.refused:
            raise InputError(
                f"{compared.refused:,} lines of the import cannot be taken.",
                reason="books.refused-lines",
                remedy="Correct the lines that the comparison names, and hand it in again.",
            )
        made = keep_change(zone, compared.change, person=person, at=at)
        for path in _folder(zone).glob("*"):  # compared with books that are no more
            path.unlink(missing_ok=True)
    return made


def state_contracts(
    zone: GatewayZone, frame: pd.DataFrame, *, valid_from: date, person: str, at: datetime
) -> int:
    """Let the books say from a day on what a contract file says, and of nobody else anything.

    Who is not in the file moves out on that day. What is so already changes nothing.

    Args:
        frame: A contract frame.
        person: Who handed it in.

    Returns:
        The revision of the books that says so.

    Raises:
        InputError: The file names a holder in place of a meter point (`books.meter-point`).
        ConflictError: The books were changed at the same time (`conflict.books`).
        StorageError: The database could not take it; nothing is changed.
    """
    base = newest_revision(zone)
    names = frame["meter_point_id"].tolist()
    joint = next((name for name in names if JOINT in name), None)
    if joint is not None:
        raise InputError(
            f"The meter point {joint[:LONGEST_ID]!r} has a {JOINT} in its id.",
            reason="books.meter-point",
            remedy="Leave whoever holds a meter point in the books; state it by its own id.",
        )
    statements: list[Statement | RefusedLine] = [
        Statement(line, name, valid_from, None, contract=own, is_whole=True)
        for line, (name, own) in enumerate(zip(names, _contracts(frame), strict=True), start=2)
    ]
    gone = sorted(set(read_holding(zone, valid_from)) - set(names))
    statements += [Statement(0, name, None, valid_from) for name in gone]
    said = [base, valid_from.isoformat(), frame.to_csv(index=False)]
    empty = Change(base=base, digest=sm3_hex(json.dumps(said).encode()))
    found = compare(statements, read_meter_points(zone, {*names, *gone}), empty)
    if not any(found.change.gone.values()) and not any(found.change.new.values()):
        return base
    return keep_change(zone, found.change, person=person, at=at).number


def _contracts(frame: pd.DataFrame) -> Iterator[Mapping[str, Value]]:
    columns = [frame[name].tolist() for name in NO_CONTRACT]
    for values in zip(*columns, strict=True):
        yield dict(zip(NO_CONTRACT, values, strict=True))


def compare(
    statements: Iterable[Statement | RefusedLine],
    known: Mapping[str, MeterPoint],
    empty: Change,
    *,
    shown: range = range(MOST_EXAMPLES),
) -> Comparison:
    """What statements make of the books.

    Args:
        known: What the books say of the meter points that they name.
        empty: The change without differences.
        shown: Which differences are told, by number from 0.
    """
    after = dict(known)
    seen: set[tuple[str, date | None, date | None]] = set()
    counts: dict[What, int] = {"added": 0, "changed": 0, "ended": 0, "unchanged": 0}
    examples: list[Difference] = []
    refusals: list[RefusedLine] = []
    tariffs: dict[str, Lines] = {}
    naming: Lines | None = None
    lines = refused = 0
    for said in statements:
        lines += 1
        found = said if isinstance(said, RefusedLine) else _difference(said, after, seen)
        if isinstance(found, RefusedLine):
            refused += 1
            refusals += [found] if len(refusals) < MOST_REFUSALS else []
            continue
        counts[found.what] += 1
        if isinstance(said, Statement):
            if tariff := str(said.contract.get("tariff_id", "")):
                tariffs[tariff] = _with(tariffs.get(tariff), said)
            if _names_holder(said, found.before):
                naming = _with(naming, said)
        after[found.meter_point_id] = found.after
        if found.what != "unchanged":
            number = counts["added"] + counts["changed"] + counts["ended"] - 1
            examples += [found] if number in shown else []
    change = replace(
        with_rows(empty, known, after),
        added=counts["added"],
        changed=counts["changed"],
        ended=counts["ended"],
    )
    told = tuple(examples), tuple(refusals)
    return Comparison(change, lines, counts["unchanged"], refused, *told, tariffs, naming)


def _with(lines: Lines | None, said: Statement) -> Lines:
    """Some lines and one more."""
    if lines is None:
        return Lines(1, said.line, said.meter_point_id)
    return replace(lines, count=lines.count + 1)


def _names_holder(said: Statement, before: MeterPoint) -> bool:
    """Whether a line gives a number to a holder without one, from a later day than its first."""
    if not said.account or said.valid_from is None:
        return False
    holding = covering(before.account, said.valid_from)
    return (
        holding is not None
        and not holding.values["account"]
        and holding.valid_from < said.valid_from
    )


def with_rows(
    change: Change, known: Mapping[str, MeterPoint], after: Mapping[str, MeterPoint]
) -> Change:
    """A change with the rows that lead from what is known to what is so after it."""
    gone: dict[Kind, list[int]] = {kind: [] for kind in KINDS}
    new: dict[Kind, list[tuple[str, Fact]]] = {kind: [] for kind in KINDS}
    for name, own in after.items():
        before = known.get(name, _NOTHING)
        if own is before:
            continue
        for kind in KINDS:
            kept = {fact.id for fact in own.of(kind)}
            gone[kind] += [f.id for f in before.of(kind) if f.id is not None and f.id not in kept]
            new[kind] += [(name, fact) for fact in own.of(kind) if fact.id is None]
    return replace(change, gone=gone, new=new)


def _difference(
    said: Statement,
    after: Mapping[str, MeterPoint],
    seen: set[tuple[str, date | None, date | None]],
) -> Difference | RefusedLine:
    name = said.meter_point_id
    before = after.get(name, _NOTHING)
    key = (name, said.valid_from, said.valid_to)
    if key in seen:
        return RefusedLine(
            said.line, name, "books.repeated", "An earlier line says something of these days."
        )
    seen.add(key)
    try:
        own = apply_statement(said, before)
    except InputError as error:
        return RefusedLine(said.line, name, error.reason, error.message)
    if own.says(before):
        return Difference(name, "unchanged", before, before)
    return Difference(name, _what(said, before), before, own)


def _what(said: Statement, before: MeterPoint) -> What:
    if said.valid_from is None:
        return "ended"
    return "changed" if before.account else "added"


def _compare(
    session: Session, content: bytes, *, shown: range = range(MOST_EXAMPLES)
) -> Comparison:
    first, _, body = content.partition(b"\n")
    head = json.loads(first)
    if head["base"] != revision_in(session):
        raise outdated()
    day = head["valid_from"] and date.fromisoformat(head["valid_from"])
    statements = list(read_lines(body, valid_from=day or None))
    names = [said.meter_point_id for said in statements if isinstance(said, Statement)]
    empty = Change(base=head["base"], digest=sm3_hex(content))
    return compare(statements, meter_points_in(session, names), empty, shown=shown)


def _find(zone: GatewayZone, digest: str) -> Path | None:
    """Where an import is held; a digest is never used as a path before it is found."""
    folder = _folder(zone)
    path = folder / digest
    return path if folder.is_dir() and path in folder.iterdir() else None


def _not_held() -> NotFoundError:
    return NotFoundError(
        "No import of this digest is held.",
        reason="not-found.books-import",
        remedy="Hand it in again; an import is held until another one is applied.",
    )


def _folder(zone: GatewayZone) -> Path:
    return zone.folder / "books"


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns
