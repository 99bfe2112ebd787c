"""Frames of readings as a body that the gateway takes, and its answers as frames."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import numpy as np
import pandas as pd
from pydantic import BaseModel

from gridsecure.head_end.sender import Became

_PLAIN_FROM: Final = 1e-4
_PLAIN_UNTIL: Final = 1e16
"""Between these, exclusive of the second, a float's shortest text has no exponent."""


def frame_body(readings: pd.DataFrame) -> bytes:
    r"""A frame as CSV. The same frame gives the same bytes, so that it may be sent again.

    Numbers are written as they are, digit by digit and without an exponent: a float that is no
    plain decimal of a kWh, such as 0.1 + 0.2, is refused by the gateway and not rounded here. Times
    keep their offset; those without one are read in the zone that the source declared. What is
    missing is left empty.

    Args:
        readings: With the columns of a table of docs/formats.md; its index is not sent.

    >>> frame_body(pd.DataFrame({"meter_point_id": ["MP-1"], "kwh": [Decimal("1E+1")]}))
    b'meter_point_id,kwh\nMP-1,10\n'
    """
    shown = {str(name): _written(column) for name, column in readings.items()}
    return pd.DataFrame(shown).to_csv(index=False, lineterminator="\n").encode()


def _written(column: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column.map(lambda moment: moment.isoformat(), na_action="ignore").astype(object)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _written(column.astype(column.cat.categories.dtype))
    if pd.api.types.is_float_dtype(column.dtype) and _has_exponents(column):
        numbers = pd.Series(list(column.to_numpy()), index=column.index, dtype=object)
        return numbers.map(_text, na_action="ignore")
    if column.dtype == object:
        return column.map(_text, na_action="ignore")
    return column


def _has_exponents(column: pd.Series) -> bool:
    """Whether some number would be written with an exponent, which takes a while to avoid."""
    sizes = column.abs()
    return bool((((sizes > 0) & (sizes < _PLAIN_FROM)) | (sizes >= _PLAIN_UNTIL)).any())


def _text(value: object) -> object:
    if isinstance(value, float | np.floating):
        return format(Decimal(str(value)), "f")
    return format(value, "f") if isinstance(value, Decimal) else value


def answer_frame(answers: Iterable[BaseModel], model: type[BaseModel]) -> pd.DataFrame:
    """A service's list as a frame, with the columns of its model also where it is empty."""
    rows = [one.model_dump() for one in answers]
    return pd.DataFrame(rows, columns=list(model.model_fields))


def became_frame(became: Became) -> pd.DataFrame:
    """What became of a batch, a month a row: `state`, and counts once the month was counted."""
    rows = []
    for month, state in became.months.items():
        counts = became.counts.get(month)
        rows.append({"month": month, "state": state, **(counts.model_dump() if counts else {})})
    return pd.DataFrame(rows)
