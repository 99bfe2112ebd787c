"""Headers of series that are written, and series that an answer is joined with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from gridsecure.analyst.desk import Joining
from gridsecure.analyst.series_files import load_series, read_table, write_header
from gridsecure.cli.online import utc_now
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.queries.refusals import explain_error
from gridsecure.queries.series import PublicSeries, SeriesHeader
from gridsecure.queries.spans import SHANGHAI


def joining_of(tables: Sequence[Path] | None, *, purpose: str) -> Joining:
    """The series in some files, to be used today, by the clock of the supply area.

    Raises:
        GridSecureError: As `analyst.series_files.load_series`.
    """
    today = utc_now().astimezone(ZoneInfo(SHANGHAI)).date()
    return Joining([load_series(path) for path in tables or ()], purpose, today)


def write_series(
    table: Path, *, said: Mapping[str, Any], policy: Mapping[str, Any]
) -> PublicSeries:
    """Write the header of a table.

    Args:
        said: Its fields.
        policy: Those of its policy.

    Raises:
        InputError: A field is not allowed (`query.field`), or as `analyst.series_files`.
    """
    digest = sm3_hex(read_table(table))
    try:
        header = SeriesHeader.model_validate({**said, "table": digest, "policy": policy})
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_input=False)
        raise explain_error(first, model=SeriesHeader) from error
    return write_header(table, header)


def count(series: PublicSeries) -> int:
    """How many values it has."""
    return len(series.rows) or len(series.groups)
