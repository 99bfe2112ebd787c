"""Tariff files by path or by catalogue name."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from gridsecure.errors import NotFoundError
from gridsecure.tariffs.tariff import catalogue_paths, catalogue_tariffs
from gridsecure.tariffs.versions import find_edition, read_editions


def find_tariff(name: str, *, month: date | None = None) -> Path:
    """Find a tariff file.

    Args:
        name: A path, a tariff id of the catalogue, or `id@version` for one edition.
        month: Any date of a month, to take the edition in force in it; else the newest.

    Raises:
        NotFoundError: There is neither such a file nor such a tariff.
        InputError: No edition is in force in the month.
    """
    path = Path(name)
    if path.is_file():
        return path
    paths = catalogue_paths()
    for files in paths.values():
        for file in files:
            if file.stem == name:
                return file
    if name not in paths:
        raise NotFoundError(
            f"There is no tariff file {path.name or name!r}, and no such tariff in the catalogue.",
            remedy="`gridsecure tariff list` names the catalogue's tariffs.",
        )
    if month is None:
        return catalogue_tariffs()[name]
    return find_edition(read_editions(paths[name]), month=month).path
