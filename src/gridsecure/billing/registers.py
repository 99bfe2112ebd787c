"""Cumulative register faces to energy per interval.

A register counts up and starts again at zero when its digits are used up (999999.99 -> 0 with six
digits before the point). The energy of an interval is the difference of two neighbouring faces. A
face below its predecessor is taken for a rollover only if it is plausible: the old face was within
the last and the new one within the first hundredth of the register. Everything else that runs
backwards stays negative, so that validation quarantines it: a meter exchange or a corrected
estimate is not a rollover.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.billing.readings import (
    ReadingProblem,
    check_readings,
    make_readings,
    neighbour_steps,
    start_us,
)

# Six digits before the point, as in DL/T 645-2007 (format XXXXXX.XX kWh): 1 000 000 kWh in Wh.
SIX_DIGIT_REGISTER_WH: Final = 1_000_000_000

_PLAUSIBLE_PART = 100


@dataclass(frozen=True, slots=True)
class RegisterResult:
    """Energies from register faces.

    Attributes:
        readings: A readings frame; an interval starts at its earlier face.
        problems: One `rollover` problem per register that was seen to start again.
    """

    readings: pd.DataFrame
    problems: tuple[ReadingProblem, ...]


def registers_to_readings(
    faces: pd.DataFrame, *, modulus_wh: int = SIX_DIGIT_REGISTER_WH
) -> RegisterResult:
    """Difference neighbouring register faces of each meter point.

    Args:
        faces: A readings frame whose `start` is the moment of reading and whose `energy_wh` is the
            register's face [Wh]. Missing faces are passed over.
        modulus_wh: Where the register starts again [Wh].

    Returns:
        One reading fewer than faces per meter point, from each face to the next. It is `actual`
        when both faces are. Where a face is missing the difference belongs to more than one
        interval, so it is flagged `missing` and left to estimation. The same face twice at one
        moment is passed over.
    """
    check_readings(faces)
    faces = faces[faces["quality"] != "missing"]
    meters, _ = pd.factorize(faces["meter_point_id"], sort=True)
    order, steps = neighbour_steps(meters.astype(np.int64), start_us(faces))
    faces = faces.iloc[order]
    old_wh = faces["energy_wh"].to_numpy(np.int64)
    new_wh = np.append(old_wh[1:], 0)
    step_sizes, step_counts = np.unique(steps[steps > 0], return_counts=True)
    usual = int(step_sizes[step_counts.argmax()]) if len(step_sizes) else 0
    repeated = (steps == 0) & (old_wh == new_wh)
    within = (steps >= 0) & ~repeated
    edge_wh = modulus_wh // _PLAUSIBLE_PART
    rolled = within & (new_wh < edge_wh) & (old_wh >= modulus_wh - edge_wh)
    energy_wh = new_wh - old_wh + np.where(rolled, modulus_wh, 0)
    whole = within & (steps <= usual)
    actual = (faces["quality"] == "actual").to_numpy()
    quality = np.where(actual & np.append(actual[1:], True), "actual", "estimated")
    readings = make_readings(
        faces["meter_point_id"].array[within],
        start=faces["start"].array[within],
        energy_wh=np.where(whole, energy_wh, 0)[within],
        quality=np.where(whole, quality, "missing")[within],
    )
    rollovers = faces[rolled]
    problems = tuple(
        ReadingProblem(str(meter), start, "rollover", "the register started again from zero")
        for meter, start in zip(rollovers["meter_point_id"], rollovers["start"], strict=True)
    )
    return RegisterResult(readings, problems)
