"""Facts with dates: what is so of a meter point, from one day until before another.

Nothing is overwritten. A statement closes the facts that it takes the place of and opens others;
what was so before keeps its dates. A fact that is cut in two is closed and opened anew as its
parts, so that the books of an earlier revision can always be read.

Days are local calendar days, ends exclusive; `OPEN` is the end of what has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, Literal

from gridsecure.identity_messages import JOINT

OPEN: Final = date(9999, 12, 31)
"""The end of what is still so."""

Kind = Literal["account", "meter", "contract"]
"""Who holds the meter point; which meter is there, and its multiplier; what its bill needs."""

KINDS: Final[tuple[Kind, ...]] = ("account", "meter", "contract")

Value = str | int

CONTRACT_TEXTS: Final = ("zone", "customer_class", "tariff_id", "service_from", "large")
CONTRACT_NUMBERS: Final = (
    *("household_quota_wh", "free_quota_wh"),
    *("contracted_va", "year_to_date_wh"),
)
NO_CONTRACT: Final[Mapping[str, Value]] = {
    **dict.fromkeys(CONTRACT_TEXTS, ""),
    **dict.fromkeys(CONTRACT_NUMBERS, 0),
}
"""What holds of a contract that states nothing."""


def point_of(holder: str) -> str:
    """The meter point of a holder's name: its id, alone or with `~` and a number."""
    return holder.partition(JOINT)[0]


UNREAD: Final = -1
"""In place of a register face that nobody stated."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is so of a meter point for some days.

    Args:
        valid_to: The day after the last one.
        values: What is so, by column.
        id: Its number in the database; None before it is kept.
    """

    valid_from: date
    valid_to: date
    values: Mapping[str, Value] = field(hash=False)
    id: int | None = None

    def covers(self, day: date) -> bool:
        """Whether it is so on a day."""
        return self.valid_from <= day < self.valid_to

    def says(self, other: Fact) -> bool:
        """Whether it says the same of the same days as another."""
        same_days = (self.valid_from, self.valid_to) == (other.valid_from, other.valid_to)
        return same_days and self.values == other.values


Facts = tuple[Fact, ...]
"""The facts of one kind of one meter point, in order of time; no two of one day."""


def covering(facts: Facts, day: date) -> Fact | None:
    """The fact of a day, or None."""
    return next((fact for fact in facts if fact.covers(day)), None)


def next_start(facts: Facts, day: date) -> date:
    """The first day after `day` that another fact begins on; `OPEN` if none does."""
    return min((fact.valid_from for fact in facts if fact.valid_from > day), default=OPEN)


def clear(facts: Facts, start: date, end: date) -> Facts:
    """The facts without what they say of the days from `start` until before `end`."""
    left: list[Fact] = []
    for fact in facts:
        if fact.valid_to <= start or fact.valid_from >= end:
            left.append(fact)
            continue
        if fact.valid_from < start:
            left.append(replace(fact, valid_to=start, id=None))
        if fact.valid_to > end:
            left.append(replace(fact, valid_from=end, id=None))
    return tuple(left)


def state(facts: Facts, new: Fact) -> Facts:
    """The facts with a new one in place of what they said of its days.

    What is already so on all of those days changes nothing.
    """
    known = covering(facts, new.valid_from)
    if known is not None and known.values == new.values and known.valid_to >= new.valid_to:
        return facts
    others = clear(facts, new.valid_from, new.valid_to)
    return tuple(sorted((*others, new), key=lambda fact: fact.valid_from))


@dataclass(frozen=True, slots=True)
class MeterPoint:
    """The books of one meter point.

    Args:
        account: Who holds it: `account` and `holder`, the name that its bills are under.
        meter: The meter there: `meter`, `multiplier`, `first_face_wh`, `final_face_wh`,
            `register_hours`.
        contract: What the bill needs, by the columns of `NO_CONTRACT`.
    """

    account: Facts = ()
    meter: Facts = ()
    contract: Facts = ()

    def of(self, kind: Kind) -> Facts:
        """The facts of a kind."""
        facts: Facts = getattr(self, kind)
        return facts

    def says(self, other: MeterPoint) -> bool:
        """Whether it says the same as another."""
        return all(_same(self.of(kind), other.of(kind)) for kind in KINDS)


def _same(own: Sequence[Fact], others: Sequence[Fact]) -> bool:
    return len(own) == len(others) and all(
        one.says(other) for one, other in zip(own, others, strict=True)
    )


def name_holder(meter_point_id: str, account: str, *, known: Facts, start: date) -> str:
    """The name that an account's bills of a meter point are under.

    The first account has the meter point's own name. Whoever moves in after another has a name of
    its own, and so a pseudonym of its own: nobody may link what two households used. An account
    that nobody stated is whoever is stated later, unless it moved out before.

    Args:
        known: The accounts that the books have of it.
        start: The account's first day.
    """
    for fact in known:
        if fact.values["account"] == account:
            return str(fact.values["holder"])
    others = any(fact.values["account"] or fact.valid_to <= start for fact in known)
    return f"{meter_point_id}{JOINT}{account}" if others and account else meter_point_id
