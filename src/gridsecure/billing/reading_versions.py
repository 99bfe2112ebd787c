"""Versions of readings: a later file lies over an earlier one, interval by interval.

A corrected or late reading takes the place of the one for the same meter point and interval, and
everything else stays as it was read before. Neither file is changed: a version is the list of files
it was made from. Whether the result may be billed is for validation to say, once more.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.interval_lengths import (
    UNKNOWN,
    UNKNOWN_MINUTES,
    find_overlapping,
    interval_minutes,
)
from gridsecure.billing.readings import (
    DAY_MINUTES,
    MINUTE_US,
    NO_REGISTER,
    QUALITIES,
    REGISTER_COLUMNS,
    join_readings,
    register_columns,
    start_us,
)
from gridsecure.errors import InvalidReadingsError

_KEY = ["meter_point_id", "period_start"]

UNFIT: Final = "late-interval"
"""The rule that is said of later readings that do not fit the intervals of the earlier ones."""


def overlay_readings(
    readings: pd.DataFrame, *, later: pd.DataFrame, keeps_registers: bool = False
) -> pd.DataFrame:
    """Lay later readings over earlier ones.

    A few corrected readings do not show how long their intervals are: they are as long as what they
    correct, or as the reading before them, unless only their own length leaves no overlap. Values
    of whole days replace those of days, and stand beside shorter readings.

    Args:
        readings: A readings frame.
        later: Another one. Rows of it that contradict each other all stay, for validation to find.
        keeps_registers: Whether what was read of a register stays where `later` has none of it.

    Returns:
        A readings frame with what `later` says of its intervals, and `readings` of the others, each
        with its `minutes`.

    Raises:
        InvalidReadingsError: A later reading lies between the intervals of the earlier ones, so
            it would be counted beside what it corrects (`correction.interval`); or only one of the
            two has a meter point's reactive or export register, and they are not kept
            (`correction.register`).
    """
    if keeps_registers:
        later = keep_registers(readings, later=later)
    else:
        for column in REGISTER_COLUMNS:
            _check_register(readings, later, column=column)
    later = later.assign(minutes=interval_minutes(later, known=UNKNOWN))
    if readings.empty or later.empty:
        return later if readings.empty else readings
    laid = []
    for kind in _kinds(readings, later):
        kept, adopted, misfits = _adopt(*kind)
        if misfits:
            raise other_interval_error()
        laid.append(join_readings([kept, adopted]) if len(kept) else adopted)
    return laid[0].reset_index(drop=True) if len(laid) == 1 else join_readings(laid)


def find_misfits(readings: pd.DataFrame, *, later: pd.DataFrame) -> frozenset[str]:
    """Meter points whose later readings `overlay_readings` refuses because of their intervals.

    Args:
        readings: A readings frame.
        later: Another one.
    """
    if readings.empty or later.empty:
        return frozenset()
    later = later.assign(minutes=interval_minutes(later, known=UNKNOWN))
    return frozenset().union(*(_adopt(*kind)[2] for kind in _kinds(readings, later)))


def find_uncovered(unfit: pd.DataFrame, *, laid: pd.DataFrame, above: pd.DataFrame) -> pd.DataFrame:
    """Readings that did not fit, without those in whose time a later reading counts now.

    Args:
        unfit: Some readings.
        laid: A version of all readings, with `minutes`.
        above: What was laid over the version before it.
    """
    if unfit.empty or above.empty:
        return unfit
    names = unfit["meter_point_id"].astype("str").unique()
    own = laid[laid["meter_point_id"].isin(names)]
    own = own[_places(own).isin(_places(above))]
    known = pd.DataFrame(
        {
            "meter": own["meter_point_id"].astype("str"),
            "start": start_us(own),
            "end": start_us(own) + own["minutes"].to_numpy(np.int64) * MINUTE_US,
        }
    ).sort_values("start", kind="stable")
    asked = pd.DataFrame(
        {
            "meter": unfit["meter_point_id"].astype("str").to_numpy(),
            "start": start_us(unfit),
            "row": np.arange(len(unfit)),
        }
    ).sort_values("start", kind="stable")
    found = pd.merge_asof(asked, known, on="start", by="meter").sort_values("row")
    is_covered = (found["end"] > found["start"]).to_numpy(bool)
    return unfit[~is_covered]


def _kinds(readings: pd.DataFrame, later: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Readings and later ones, values of days apart from shorter ones; all with their lengths."""
    readings = readings.assign(minutes=interval_minutes(readings))
    totals = [_are_totals(one, other) for one, other in ((readings, later), (later, readings))]
    if not any(mask.any() for mask in totals):
        return [(readings, later)]
    return [(readings[own], later[above]) for own, above in (totals, [~mask for mask in totals])]


def _are_totals(readings: pd.DataFrame, other: pd.DataFrame) -> NDArray[np.bool_]:
    """Values of whole days of meter points that have shorter readings, in either version."""
    is_day = (readings["minutes"] == DAY_MINUTES).to_numpy(bool)
    if not is_day.any():
        return is_day
    both = pd.concat([one[["meter_point_id", "minutes"]] for one in (readings, other)])
    is_shorter = (both["minutes"] != DAY_MINUTES) & (both["minutes"] != UNKNOWN_MINUTES)
    names = both.loc[is_shorter, "meter_point_id"].unique()
    found: NDArray[np.bool_] = is_day & readings["meter_point_id"].isin(names).to_numpy(bool)
    return found


def _adopt(
    readings: pd.DataFrame, later: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, frozenset[str]]:
    """Earlier readings that stay, later ones with their lengths, and whose do not fit."""
    if readings.empty or later.empty:
        return readings, later, frozenset()
    taken = pd.MultiIndex.from_arrays([later["meter_point_id"], start_us(later)])
    own = pd.MultiIndex.from_arrays([readings["meter_point_id"], start_us(readings)])
    kept = readings[~own.isin(taken)]
    adopted = later.assign(minutes=_adopted(readings, later))
    clashing = _clashing(kept, adopted)
    if not clashing:
        return kept, adopted, frozenset()
    alone = later["meter_point_id"].isin(clashing).to_numpy()
    # Of another length than what it replaces, a reading would leave part of it uncovered.
    other = adopted["minutes"].to_numpy() != later["minutes"].to_numpy()
    is_misfit = alone & taken.isin(own) & other
    adopted["minutes"] = np.where(alone, later["minutes"], adopted["minutes"])
    is_misfit |= alone & (adopted["minutes"] == UNKNOWN_MINUTES).to_numpy(bool)
    misfits = set(later.loc[is_misfit, "meter_point_id"].astype("str").unique())
    return kept, adopted, frozenset(misfits | _clashing(kept, adopted))


def keep_registers(readings: pd.DataFrame, *, later: pd.DataFrame) -> pd.DataFrame:
    """Later readings with what earlier ones say of registers that they lack.

    Who sends energies taken need not know of the register beside them.

    Args:
        readings: A readings frame; of several rows of an interval the last one counts.
        later: Another one.
    """
    for column in register_columns(readings):
        has_one = readings[readings[column] != NO_REGISTER]
        own = later[column] if column in later else pd.Series(NO_REGISTER, index=later.index)
        lacks = (own == NO_REGISTER) & later["meter_point_id"].isin(_metered(readings, column))
        (rows,) = np.nonzero(lacks.to_numpy(bool))
        if not len(rows):
            continue
        known = pd.Series(has_one[column].to_numpy(np.int64), index=_places(has_one))
        known = known[~known.index.duplicated(keep="last")]
        values = own.to_numpy(np.int64).copy()
        told = known.reindex(_places(later.iloc[rows]), fill_value=NO_REGISTER)
        values[rows] = told.to_numpy(np.int64)
        later = later.assign(**{column: values})
    return later


def _places(readings: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([readings["meter_point_id"].astype("str"), start_us(readings)])


def outranking_readings(readings: pd.DataFrame, *, later: pd.DataFrame) -> pd.DataFrame:
    """Later readings without those of a lower quality than the reading that they would replace.

    An estimate that comes after an actual reading of its interval corrects nothing.

    Args:
        readings: A readings frame.
        later: Another one, whose qualities are all of `QUALITIES`.
    """
    known = readings[readings["quality"].isin(QUALITIES)]
    rank = {name: len(QUALITIES) - place for place, name in enumerate(QUALITIES)}
    own = pd.Series(
        known["quality"].map(rank).to_numpy(np.int64),
        index=pd.MultiIndex.from_arrays([known["meter_point_id"].astype("str"), start_us(known)]),
    )
    places = pd.MultiIndex.from_arrays([later["meter_point_id"].astype("str"), start_us(later)])
    below = own.groupby(level=[0, 1]).max().reindex(places, fill_value=0).to_numpy()
    outranks = later["quality"].map(rank).to_numpy(np.int64) >= below
    return later[outranks].reset_index(drop=True)


def _adopted(readings: pd.DataFrame, later: pd.DataFrame) -> NDArray[np.int64]:
    """Per later row, the length of the earlier reading there or before it, else its own."""
    below = pd.DataFrame(
        {
            "meter": readings["meter_point_id"].astype("str"),
            "start": start_us(readings),
            "length": readings["minutes"].to_numpy(np.int64),
        }
    ).sort_values("start", kind="stable")
    above = pd.DataFrame(
        {
            "meter": later["meter_point_id"].astype("str"),
            "start": start_us(later),
            "row": np.arange(len(later)),
        }
    ).sort_values("start", kind="stable")
    found = pd.merge_asof(above, below, on="start", by="meter").sort_values("row")
    lengths = found["length"].fillna(UNKNOWN_MINUTES).to_numpy(np.int64)
    return np.where(lengths == UNKNOWN_MINUTES, later["minutes"], lengths)


def _clashing(kept: pd.DataFrame, later: pd.DataFrame) -> set[str]:
    """Meter points of which an earlier and a later interval overlap."""
    names = later["meter_point_id"].unique()
    both = pd.concat(
        [frame[["meter_point_id", "start", "minutes"]] for frame in (kept, later)],
        ignore_index=True,
    )
    both = both[both["meter_point_id"].isin(names)].reset_index(drop=True)
    meters, found = pd.factorize(both["meter_point_id"])
    rows = find_overlapping(
        meters.astype(np.int64), start_us(both), both["minutes"].to_numpy(np.int64)
    )
    return {str(found[meter]) for meter in np.unique(meters[rows])}


def _check_register(readings: pd.DataFrame, later: pd.DataFrame, *, column: str) -> None:
    """A register that stands in one version only would be billed for part of the month."""
    below = set(readings["meter_point_id"].unique())
    above = set(later["meter_point_id"].unique()) & below
    if _metered(readings, column) & above != _metered(later, column) & above:
        raise InvalidReadingsError(
            "The corrected readings have different registers from those they correct.",
            reason="correction.register",
            remedy="Send them with the same columns for reactive and exported energy.",
        )


def _metered(readings: pd.DataFrame, column: str) -> set[str]:
    if column not in readings:
        return set()
    has_one = readings[column] != NO_REGISTER
    return set(readings.loc[has_one, "meter_point_id"].unique())


def other_interval_error() -> InvalidReadingsError:
    """The refusal of later readings that do not fit the intervals of the earlier ones."""
    return InvalidReadingsError(
        "The corrected readings have a different interval length from those they correct.",
        reason="correction.interval",
        remedy="Send them with the interval length that was billed first. If a few readings do "
        "not show it, add the neighbouring ones.",
    )


def find_changed_settlements(
    before: pd.DataFrame, after: pd.DataFrame
) -> set[tuple[str, pd.Timestamp]]:
    """Meter points and periods of both settlement frames that are settled otherwise in the second.

    Args:
        before: A settlement frame.
        after: Another one, settled under the same tariff.

    Returns:
        Pairs of meter point and period start. What is in one frame only is not among them: who was
        never billed cannot be corrected, and who has no readings any more cannot be billed.
    """
    old, new = before.set_index(_KEY), after.set_index(_KEY)
    both = old.index.intersection(new.index)
    old, new = old.loc[both], new.loc[both, old.columns]
    differs = (old.ne(new) & ~(old.isna() & new.isna())).any(axis=1)
    return {(str(name), start) for name, start in both[differs.to_numpy()]}
