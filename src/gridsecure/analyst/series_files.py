"""Series of others as files: a table (`weather.csv`) beside its header (`weather.series.json`).

What they say, and who may use them, is in `gridsecure.queries.series`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gridsecure.errors import NotFoundError, StorageError
from gridsecure.queries.series import PublicSeries, SeriesHeader, read_series
from gridsecure.whole_files import replace_file

HEADER: Final = ".series.json"


def load_series(table: Path) -> PublicSeries:
    """Read a series from its table's file and the header beside it.

    Raises:
        NotFoundError: One of both cannot be read (`series.file`).
        InputError: As `queries.series.read_series`.
    """
    header = read_table(table.with_suffix(HEADER)).decode(errors="replace")
    return read_series(header, read_table(table))


def read_table(path: Path) -> bytes:
    """The bytes of a series' file.

    Raises:
        NotFoundError: It cannot be read (`series.file`).
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{path.name} cannot be read.",
            reason="series.file",
            remedy="A series is a table and a header beside it, as weather.csv and"
            f" weather{HEADER}; its owner writes it with `gridsecure query series`.",
        ) from error


def write_header(table: Path, header: SeriesHeader) -> PublicSeries:
    """Write a header beside its table, if the table can be read as it says.

    Raises:
        NotFoundError: The table cannot be read (`series.file`).
        InputError: As `queries.series.read_series`.
        StorageError: The disk refuses (`series.output`).
    """
    series = read_series(header.text, read_table(table))
    path = table.with_suffix(HEADER)
    try:
        replace_file(path, [header.text.encode()], mode=0o644)
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written.",
            reason="series.output",
            remedy="Check its folder, its permissions and the space that is left.",
        ) from error
    return series
