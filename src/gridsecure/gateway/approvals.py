"""Who may change readings alone, and what takes a second person.

Edits of an open month and corrections of a billed one are decided alike. Whoever asks for a change
says why. A change above the limits of the month's rule book waits until another person approves it
or rejects it; who asked cannot approve. Energy that is taken away counts like energy that is added,
and a register is money too: feed-in is paid for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from gridsecure.billing.interval_lengths import UNKNOWN, interval_minutes
from gridsecure.billing.readings import MINUTES_COLUMN, REGISTER_COLUMNS, start_us
from gridsecure.billing.rule_books import EditLimits
from gridsecure.billing.validation_rules import find_uncounted
from gridsecure.errors import ConflictError, InputError
from gridsecure.gateway.tables import ApprovedRow

PENDING: Final = "pending"
REJECTED: Final = "rejected"
LONGEST_REASON: Final = 2000

_WH_PER_KWH: Final = 1000
_ENERGIES: Final = ["energy_wh", *REGISTER_COLUMNS]
_COUNTS: Final = "counts"
_ESTIMATES: Final = "estimates.csv"


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks for a change or decides on one, and why.

    Args:
        person: Who.
        reason: Why; it is kept.
    """

    person: str
    reason: str

    def check(self) -> None:
        """Refuse what nobody could understand later.

        Raises:
            InputError: `approval.reason`.
        """
        if not self.reason.strip() or len(self.reason) > LONGEST_REASON:
            raise InputError(
                f"Whoever changes readings says why, in up to {LONGEST_REASON:,} characters.",
                reason="approval.reason",
                remedy="Write the reason.",
            )


@dataclass(frozen=True, slots=True)
class Change:
    """How much is changed.

    Args:
        intervals: How many intervals.
        energy_wh: By how much they differ, added and taken away alike [Wh].
    """

    intervals: int
    energy_wh: int

    def exceeds(self, limits: EditLimits) -> bool:
        """Whether it takes a second person."""
        is_much = self.energy_wh > limits.alone_kwh * _WH_PER_KWH
        return is_much or self.intervals > limits.alone_intervals


def energies_by_interval(readings: pd.DataFrame) -> pd.DataFrame:
    """Energies by meter point and start, as bills count them, and whether there is a reading.

    What no bill counts is no energy, whatever is written beside it: it is missing, of an unknown
    flag, the total of a day beside shorter readings, or one of several that contradict each other.
    A register that is not there is 0.

    Args:
        readings: A readings frame.
    """
    if MINUTES_COLUMN not in readings:
        readings = readings.assign(minutes=interval_minutes(readings, known=UNKNOWN))
    counts = ~find_uncounted(readings)
    places = pd.MultiIndex.from_arrays(
        [readings["meter_point_id"].astype("str"), start_us(readings)]
    )
    kept = readings.reindex(columns=_ENERGIES, fill_value=0).set_axis(places)
    kept[list(REGISTER_COLUMNS)] = kept[list(REGISTER_COLUMNS)].clip(lower=0)
    kept[_COUNTS] = counts.astype(np.int64)
    kept.loc[~counts, _ENERGIES] = 0
    kept = kept.iloc[np.argsort(counts, kind="stable")]  # of each interval, what counts is last
    return kept[~kept.index.duplicated(keep="last")]


def measure_change(
    stands: pd.DataFrame, laid: pd.DataFrame, *, estimates: pd.Series[int] | None = None
) -> Change:
    """How much the intervals of `laid` differ from what stands, all registers together.

    An interval that had no reading and has one now differs, and so does the reverse, even if the
    reading is 0: an estimate stood or stands in its place. Its energy counts whole, or by how much
    the estimate was more. Where no estimate is known, the mean of the meter point's readings is.

    Args:
        stands: Of `energies_by_interval`; what it lacks is 0.
        laid: Likewise.
        estimates: Energies of intervals that were estimated, by the same places [Wh].
    """
    before = stands.reindex(laid.index, fill_value=0)
    differences = (laid - before).abs()
    differs = (differences > 0).any(axis=1)
    filled = (before[_COUNTS] == 0) & (laid[_COUNTS] == 1)
    if filled.any():
        names, own = laid.index.get_level_values(0), stands[stands[_COUNTS] == 1]["energy_wh"]
        means = own.groupby(level=0).mean()
        stood = pd.Series(names, laid.index).map(means).fillna(0).astype(np.int64)
        if estimates is not None:
            stood = estimates.reindex(laid.index).fillna(stood).astype(np.int64)
        less = (stood - laid["energy_wh"]).where(filled, 0)
        differences["energy_wh"] = np.maximum(differences["energy_wh"], less)
    return Change(int(differs.sum()), int(differences[_ENERGIES].to_numpy().sum()))


def read_estimates(folders: Iterable[Path], names: Collection[str]) -> pd.Series[int]:
    """Energies that validation estimated of some meter points, as it did last [Wh].

    Args:
        folders: Of a month and of its corrections, in order; those without estimates count nothing.

    Returns:
        By meter point and start, as `energies_by_interval` has them.
    """
    found = [path for folder in folders if (path := folder / _ESTIMATES).exists()]
    if not found:
        return pd.Series(dtype=np.int64, index=pd.MultiIndex.from_arrays([[], []]))
    table = pd.read_csv(found[-1], dtype=str)
    table = table[table["meter_point_id"].isin(names)]
    starts = pd.to_datetime(table["start"], utc=True, format="%Y-%m-%d %H:%M:%S%z")
    wh = table["kwh"].str.replace(".", "", regex=False).astype(np.int64)
    places = pd.MultiIndex.from_arrays(
        [table["meter_point_id"], start_us(pd.DataFrame({"start": starts}))]
    )
    return wh.set_axis(places)


def decide(row: ApprovedRow, *, approved: str, rejectable: Collection[str], by: Author) -> None:
    """Approve a change that waits, or reject one.

    Args:
        row: The change; its state, approver and decision are set.
        approved: The state that approval gives; empty to reject it.
        rejectable: The states in which it can be rejected.
        by: Who decides, and why.

    Raises:
        ConflictError: It is decided (`conflict.approval`), or who asked for it would approve it
            (`approval.same-person`).
        InputError: It is rejected without a reason (`approval.reason`).
    """
    if not approved:
        by.check()
    if row.state not in ((PENDING,) if approved else rejectable):
        raise ConflictError(
            "It is decided.",
            reason="conflict.approval",
            remedy="Look at what became of it, and ask for another change if one is needed.",
        )
    if approved and by.person == row.person:
        raise ConflictError(
            "Who asked for a change of this size cannot approve it.",
            reason="approval.same-person",
            remedy="Ask another operator to look at it.",
        )
    row.state = approved or REJECTED
    row.approver, row.decision = by.person, by.reason
