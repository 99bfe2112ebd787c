"""Editions of a tariff over time: which file holds in a month.

A folder holds tariff files named after their id, `<id>.toml`, or `<id>@<version>.toml` where a
tariff is published anew, as the agency-purchase table is every month. An edition holds from its
`valid_from` until the next one begins, or until its own `valid_to`. A new edition is a new file;
the one before, whose digest issued bills name, is never edited.

A month is billed with one edition. One that begins within it is refused, because tiers and monthly
charges are defined for whole months.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

from gridsecure.errors import InputError
from gridsecure.tariffs.cells import refusal
from gridsecure.tariffs.header import read_validity

VERSION_MARK = "@"


@dataclass(frozen=True, slots=True)
class TariffFile:
    """One edition of a tariff.

    Args:
        tariff_id: The tariff, as the file's name says.
        valid_from: First local date of validity.
        valid_to: First local date after it, or None.
    """

    tariff_id: str
    valid_from: date
    valid_to: date | None
    path: Path


def tariff_paths(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the tariff files of a folder by tariff id, without opening any."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.toml")):
        found.setdefault(path.stem.partition(VERSION_MARK)[0], []).append(path)
    return {tariff_id: tuple(paths) for tariff_id, paths in found.items()}


def read_editions(paths: Sequence[Path]) -> tuple[TariffFile, ...]:
    """Read the validity of a tariff's editions and put them in order of time.

    Args:
        paths: The files of one tariff id.

    Raises:
        InvalidTariffError: A file that is no TOML or has no validity, or two editions that hold at
            once (`tariff.version-overlap`).
    """
    found = sorted((_edition(path) for path in paths), key=lambda file: file.valid_from)
    for earlier, later in pairwise(found):
        ends = earlier.valid_to
        if earlier.valid_from == later.valid_from or (ends and ends > later.valid_from):
            raise refusal(
                later.path.name,
                f"it holds from {later.valid_from}, when {earlier.path.name} is in force",
                "version-overlap",
            )
    return tuple(found)


def find_edition(files: Sequence[TariffFile], *, month: date) -> TariffFile:
    """Return the edition that holds in all of a month.

    Args:
        files: Editions of one tariff in order of time, at least one.
        month: Any date of the month.

    Raises:
        InputError: None does (`tariff.not-valid`), or one begins within the month
            (`tariff.changes-mid-month`).
    """
    first = month.replace(day=1)
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    name = files[0].tariff_id
    if any(first < file.valid_from < after for file in files[1:]):
        raise InputError(
            f"An edition of {name!r} begins within {first:%Y-%m}.",
            reason="tariff.changes-mid-month",
            remedy="Bill the month with a tariff file that covers the whole month.",
        )
    begun = [file for file in files if file.valid_from <= first]
    if not begun or (begun[-1].valid_to is not None and begun[-1].valid_to < after):
        raise InputError(
            f"No edition of {name!r} is in force in all of {first:%Y-%m}.",
            reason="tariff.not-valid",
            remedy="Write a tariff file for this month; see docs/catalogue.md.",
        )
    return begun[-1]


def choose_edition(paths: Sequence[Path], *, month: date | None) -> Path:
    """Return the file to bill a month with; the newest where no edition is in force, or no month.

    Billing with the newest then says by name that it does not cover the month.

    Args:
        paths: The files of one tariff id.
        month: Any date of the month, or None.

    Raises:
        InvalidTariffError: As `read_editions`.
    """
    if len(paths) == 1:
        return paths[0]
    files = read_editions(paths)
    if month is not None:
        try:
            return find_edition(files, month=month).path
        except InputError:
            pass  # no edition is: the newest refuses the month
    return files[-1].path


def _edition(path: Path) -> TariffFile:
    """The header's dates; the rest is checked when the file is used."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise refusal(path.name, f"it cannot be read as TOML ({error})", "syntax") from error
    if "valid_from" not in document:
        raise refusal(path.name, "valid_from is missing", "missing-key")
    valid_from, valid_to = read_validity(document)
    return TariffFile(path.stem.partition(VERSION_MARK)[0], valid_from, valid_to, path)
