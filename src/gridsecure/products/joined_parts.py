"""Steps of a product: what is computed of numbers that parts were told, row by row, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import pandas as pd

from gridsecure.errors import InputError
from gridsecure.products.designs import Step
from gridsecure.queries.lines import TOLD, WITHHELD
from gridsecure.queries.numbers import round_half_up

_PERCENT: Final = 100
_NUMBERS: Final = ("quantity", "value", "unit", "meter_points", "state")


def run_step(step: Step, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """What a step makes of the rows of several frames.

    Raises:
        InputError: They are not of the same groups and times (`product.step`).
    """
    keys = [column for column in frames[0].columns if column not in _NUMBERS]
    tables = []
    for frame in frames:
        rows = {
            tuple(row[key] for key in keys if key in row): row for row in frame.to_dict("records")
        }
        if len(rows) != len(frame) or any(key not in frame.columns for key in keys):
            raise no_join(step)
        tables.append(rows)
    if any(table.keys() != tables[0].keys() for table in tables):
        raise no_join(step)
    made = []
    for key, first in tables[0].items():
        rows_of = [table[key] for table in tables]
        value = _compute(step, [row["value"] for row in rows_of])
        points = min(row["meter_points"] for row in rows_of)
        state = TOLD if value is not None else WITHHELD
        named = {name: first[name] for name in keys}
        made.append(
            named
            | {"quantity": step.name, "value": value, "unit": step.unit}
            | {"meter_points": points, "state": state}
        )
    return pd.DataFrame(made, columns=[*keys, *_NUMBERS], dtype=object)


def _compute(step: Step, values: Sequence[Any]) -> Any:
    """Exactly, and rounded once; None where a number is withheld or divided by nothing."""
    if any(value is None for value in values):
        return None
    numbers = [Fraction(value) for value in values]
    if step.do == "sum":
        return round_half_up(sum(numbers, Fraction(0)))
    if step.do == "difference":
        return round_half_up(numbers[0] - numbers[1])
    if not numbers[1]:
        return None
    return round_half_up(numbers[0] / numbers[1] * (_PERCENT if step.do == "percent" else 1))


def no_join(step: Step) -> InputError:
    """That a step joins what is of different groups or times (`product.step`)."""
    return InputError(
        f"Step {step.name} joins numbers of different groups or times.",
        reason="product.step",
        remedy="Group its parts by the same, in the same steps, by statistics of one number each.",
    )
