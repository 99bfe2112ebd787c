"""No message has words of Python in it: what finds them, tried on planted ones."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.readings import ReadingProblem
from gridsecure.errors import GridSecureError, InvalidReadingsError, NotFoundError
from tests.python_leaks import spelled_by_python, watched_errors


class Colour(Enum):
    RED = 1


PROBLEM = ReadingProblem("M1", None, "gap", "one missing")
PLANTED = [
    PROBLEM, ReadingProblem("", pd.Timestamp("2026-07-01", tz="UTC"), "gap", "x"), None, True,
    PurePosixPath("readings.csv"), datetime(2026, 7, 1, tzinfo=UTC), Decimal("0.10"), Colour.RED,
    ["M1", "M2"], ("M1",), {"M1": 2}, {"M1"}, [1, 2], b"key", np.int64(3), np.array([1, 2]),
    pd.Timestamp("2026-07-01"), pd.NaT, pd.NA, float("nan"), KeyError("M1"), object(), str, len,
    pd.Series([1]),
]  # fmt: skip


@pytest.mark.parametrize("value", PLANTED, ids=lambda value: type(value).__name__)
def test_a_planted_value_is_found(value: object) -> None:
    with watched_errors() as found:
        NotFoundError(f"There is no such thing: {value!r}.")
        InvalidReadingsError("Nothing.", remedy=f"Not {value!r}.")
    assert len(found) == 2
    assert repr(value) in found[0]


def test_a_problem_that_is_printed_as_python_spells_it_is_found() -> None:
    with watched_errors() as found:
        InvalidReadingsError("The readings cannot be used.", problems=[PROBLEM, ("M1", "gap")])
    assert found == ["('M1', 'gap')"]


@pytest.mark.parametrize(
    "text",
    [
        str(PROBLEM),
        "There is no readings file 'mine (2).csv'.",
        "The file '用电 (七月).csv' has the column 'kwh', and no column 'start'.",
        "None of the files has a reading; the first of 'a', 'b' and 'c' begins 2026-07-01 00:00.",
        "Write it as in 2026-07. Use one of flat, shenzhen-residential-tiers.",
        "Row tiers[2] names 3 limits (the first is 260 kWh), and set(s) of 2 rates.",
        "Give --readings FILE (a CSV file in UTF-8), or range(s) of 'nan-shan'.",
    ],
)
def test_what_people_write_is_not(text: str) -> None:
    with watched_errors() as found:
        GridSecureError(text)
    assert (found, spelled_by_python(text)) == ([], [])
