"""Faces of a meter point's registers to its energies, by what is known of its meters.

The register of all energy taken tells the energies; those of energy fed in and of reactive energy
stand beside it.
Where it was said which hours the other registers count, they tell when it was used as far as prices
ask (`billing.register_hours`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.billing.meter_serials import UNDECLARED
from gridsecure.billing.readings import MINUTES_COLUMN, ReadingProblem, make_readings
from gridsecure.billing.register_hours import HoursOf, PlacedRegisters, place_registers
from gridsecure.billing.registers import (
    EXCHANGE,
    FED_IN,
    GAP,
    REACTIVE,
    REGISTER,
    TAKEN,
    read_at_midnights,
    registers_to_readings,
)
from gridsecure.gateway.channels import OF_HOURS, join_channels

_BESIDE: Final = {FED_IN: "export_wh", REACTIVE: "reactive_varh"}
"""Register -> the column that its energies count for."""

OfFaces = Callable[[pd.DataFrame], pd.DataFrame]


def as_they_stand(faces: pd.DataFrame) -> pd.DataFrame:
    """The same faces: no meter was exchanged."""
    return faces


@dataclass(frozen=True, slots=True)
class MeterBooks:
    """What is known of meters.

    Args:
        join_meters: Faces -> those of one register, where meters were exchanged.
        multiply: Energies that registers counted -> energies of the meter point.
        hours_of: Which hours their registers count; None where nobody said it of any.
    """

    join_meters: OfFaces = as_they_stand
    multiply: OfFaces = as_they_stand
    hours_of: HoursOf | None = None


NO_BOOKS: Final = MeterBooks()


def tell_energies(
    faces: pd.DataFrame, *, books: MeterBooks, known: pd.Timedelta | None
) -> PlacedRegisters:
    """Energies between faces, as registers counted them.

    Args:
        faces: A readings frame whose `start` is the moment and `energy_wh` the face [Wh], with
            `REGISTER`, and with `SERIAL` where that is known.
        known: Interval length of meter points that have too few faces to tell it.

    Returns:
        A readings frame with `minutes`, and what was concluded on the way.

    Raises:
        InvalidReadingsError: As `registers_to_readings`.
    """
    faces = faces.reset_index(drop=True)
    register = faces[REGISTER]
    taken, problems = _differenced(faces[register == TAKEN], books.join_meters, known)
    readings = taken
    for name, column in _BESIDE.items():
        other, more = _differenced(faces[register == name], as_they_stand, known)
        if not other.empty:
            readings = join_channels(readings, other, column=column)
        problems += _beside(name, more)
    by_hours = faces[register.str.startswith(OF_HOURS)]
    if books.hours_of is None or by_hours.empty or readings.empty:
        return PlacedRegisters(readings, problems, frozenset())
    own = by_hours[by_hours["meter_point_id"].isin(readings["meter_point_id"].unique())]
    if own.empty:
        return PlacedRegisters(readings, problems, frozenset())
    parts, found = [], []
    for register_of, one in own.groupby(REGISTER, sort=True):
        name = str(register_of).removeprefix(OF_HOURS)
        energies, told = _differenced(one, as_they_stand, known)
        parts.append(energies.assign(**{REGISTER: name}))
        # Where faces are missing, the total says so once for all.
        found += [
            replace(problem, detail=f"register {name}: {problem.detail}")
            for problem in told
            if problem.rule not in (GAP, UNDECLARED)
        ]
    placed = place_registers(
        readings,
        pd.concat(parts, ignore_index=True),
        hours_of=books.hours_of,
        units_wh=_units_wh(faces[~register.isin(list(_BESIDE))]),
        at_midnights=frozenset() if known else read_at_midnights(faces),
    )
    counting = {one.meter_point_id for one in placed.problems}
    problems += tuple(one for one in found if one.meter_point_id in counting)
    return PlacedRegisters(placed.readings, (*problems, *placed.problems), placed.placed)


def _beside(name: str, problems: tuple[ReadingProblem, ...]) -> tuple[ReadingProblem, ...]:
    """What is said of a register beside the one of energy taken.

    That one says of an exchange that nobody declared it; of the others the books declare no faces.
    """
    return tuple(
        replace(one, rule=EXCHANGE, detail=f"register {name}: {one.detail}")
        if one.rule == UNDECLARED
        else one
        for one in problems
    )


def _units_wh(faces: pd.DataFrame) -> dict[str, int]:
    """What the faces of each meter point are multiples of [Wh]."""
    read = faces[faces["quality"] != "missing"]
    codes, names = pd.factorize(read["meter_point_id"])
    if not len(names):
        return {}
    order = np.argsort(codes, kind="stable")
    firsts = np.searchsorted(codes[order], np.arange(len(names)))
    units = np.gcd.reduceat(read["energy_wh"].to_numpy(np.int64)[order], firsts)
    return {str(name): max(int(unit), 1) for name, unit in zip(names, units, strict=True)}


def _differenced(
    faces: pd.DataFrame, join_meters: OfFaces, known: pd.Timedelta | None
) -> tuple[pd.DataFrame, tuple[ReadingProblem, ...]]:
    # Faces have no length; what stands between them shows it.
    faces = faces.drop(columns=[REGISTER, MINUTES_COLUMN], errors="ignore").reset_index(drop=True)
    if faces.empty:
        nothing = make_readings([], start=faces["start"], energy_wh=[], minutes=[])
        return nothing, ()
    result = registers_to_readings(join_meters(faces), known=known)
    return result.readings, result.problems
