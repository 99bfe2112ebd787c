"""Who may change readings alone, and what takes a second person.

Edits of an open month and corrections of a billed one are decided alike. Whoever asks for a change
says why. A change above the limits of the month's rule book waits until another person approves it
or rejects it; who asked cannot approve. Energy that is taken away counts like energy that is added,
and a register is money too: feed-in is paid for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import pandas as pd

from gridsecure.billing.readings import REGISTER_COLUMNS, start_us
from gridsecure.billing.rule_books import EditLimits
from gridsecure.errors import ConflictError, InputError
from gridsecure.gateway.tables import ApprovedRow

PENDING: Final = "pending"
REJECTED: Final = "rejected"
LONGEST_REASON: Final = 2000

_WH_PER_KWH: Final = 1000
_ENERGIES: Final = ["energy_wh", *REGISTER_COLUMNS]


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
    """Energies by meter point and start, the last of each; 0 of a register that is not there.

    Args:
        readings: A readings frame.
    """
    places = pd.MultiIndex.from_arrays(
        [readings["meter_point_id"].astype("str"), start_us(readings)]
    )
    kept = readings.reindex(columns=_ENERGIES, fill_value=0).set_axis(places)
    kept[list(REGISTER_COLUMNS)] = kept[list(REGISTER_COLUMNS)].clip(lower=0)
    return kept[~places.duplicated(keep="last")]


def compare_energies(stands: pd.DataFrame, laid: pd.DataFrame) -> pd.Series[int]:
    """By how much each interval of `laid` differs from what stands [Wh], all registers together.

    Args:
        stands: Of `energies_by_interval`; what it lacks is 0.
        laid: Likewise.
    """
    differences = laid - stands.reindex(laid.index, fill_value=0)
    found: pd.Series[int] = differences.abs().sum(axis=1)
    return found


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
