"""What each party used in a month, counted from a zone's log as its entries are made.

The entries are the truth: an entry of a metered action says for whom it was done and how much, and
the month's totals change in the transaction that appends it. So nothing is metered that is not in
the log, and nothing in the log is metered twice. `find_differences` counts both ways: the totals
beside the entries, and the entries beside the rows that the zone keeps of what was done, one by
one; it names whatever is on one side only, or other on the two.

Months are those of UTC, as the log's times are. Entries of before there was metering say of no
party; they are compared with nothing and counted nowhere.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger
from sqlmodel import Field, Session, SQLModel, col, select, update

from gridsecure.plans.purposes import RESEARCH
from gridsecure.store import evidence

ANALYSTS: Final = "analysts"
"""The party of all research queries: nobody knows which analyst asked."""

_PARTY: Final = "party"


class UsageColumns(SQLModel):
    """A total of a party's month; the key finds a month's totals together."""

    month: str = Field(primary_key=True)
    party: str = Field(primary_key=True)
    measure: str = Field(primary_key=True)
    amount: int = Field(sa_type=BigInteger)


@dataclass(frozen=True, slots=True)
class Used:
    """What a party used of one thing in a month."""

    party: str
    measure: str
    amount: int


@dataclass(frozen=True, slots=True)
class Metered:
    """How an action is metered.

    Args:
        each: The measure that counts it as one.
        name: What its detail calls the thing that it was done to.
        amounts: Further measures, by what its detail calls their figures.
        month: What its detail calls the month that it counts in; without, the entry's own.
        shares: Likewise, where the detail has a figure for each of some names, as of customer
            classes: each is a measure of its own, `measure/name`.
    """

    each: str
    name: str
    amounts: Mapping[str, str] = field(default_factory=dict)
    month: str = ""
    shares: Mapping[str, str] = field(default_factory=dict)

    def read_amounts(self, detail: Mapping[str, Any]) -> dict[str, int]:
        """The figures of an entry, by their measures.

        Raises:
            KeyError: One is missing.
        """
        found = {to: detail[of] for of, to in self.amounts.items()}
        for of, to in self.shares.items():
            found |= {share_of(to, name): amount for name, amount in detail[of].items()}
        return found


@dataclass(frozen=True, slots=True)
class Done:
    """A thing that was done, as an entry or a row of the zone says.

    Args:
        action: As the log names it.
        name: Of the thing.
        party: For whom; empty where the row does not say.
        amounts: Figures by their measures.
        month: In which it counts, YYYY-MM; empty for the entry's own.
    """

    action: str
    name: str
    party: str
    amounts: Mapping[str, int]
    month: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """What does not reconcile.

    Args:
        kind: `not-in-log`, `not-in-ledger`, `figures`, `twice`, `entry`, `total`, or what a zone
            looks at besides.
        about: The thing, or the total.
    """

    kind: str
    about: str


_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class UsageBook:
    """What a zone meters, and where its totals are.

    Args:
        totals: The zone's table of totals.
        actions: By the action's name in the log.
    """

    totals: Any
    actions: Mapping[str, Metered]

    def enter(
        self,
        session: Session,
        *,
        at: datetime,
        actor: str,
        action: str,
        detail: Mapping[str, evidence.JSON],
    ) -> evidence.EvidenceEntry:
        """Append an entry of a metered action, and count it.

        Length: one argument more than usual, as `evidence.append` has them.

        Args:
            session: As for `evidence.append`.
            detail: With the thing, its party and its figures.

        Raises:
            StorageError: As `evidence.append`.
            KeyError: A figure is missing.
        """
        entry, is_new = evidence.add(session, at=at, actor=actor, action=action, detail=detail)
        if is_new:
            done = self._read(action, dict(detail))
            for key, amount in self._used(entry, done).items():
                self._count(session, key, amount)
        return entry

    def read_month(self, session: Session, month: str) -> list[Used]:
        """The totals of a month, by party and measure.

        Args:
            month: YYYY-MM, of UTC.
        """
        found = select(self.totals).where(self.totals.month == month)
        rows = session.exec(found.order_by(self.totals.party, self.totals.measure))
        return [Used(row.party, row.measure, row.amount) for row in rows]

    def find_differences(self, session: Session, ledger: Iterable[Done]) -> Iterator[Difference]:
        """Count both ways, and name what differs; nothing where all reconciles.

        It reads the whole log and all that `ledger` gives.

        Args:
            ledger: What was done, from the zone's own rows.
        """
        entered: dict[tuple[str, str], Done | None] = {}
        totals: Counter[_Key] = Counter()
        for entry in evidence.list_entries_of(session, *self.actions):
            done = self._read(entry.action, json.loads(entry.detail))
            thing = (entry.action, done.name)
            if not entry.is_itself:
                yield Difference("entry", f"{entry.action} {done.name}")
            if thing in entered:
                yield Difference("twice", f"{entry.action} {done.name}")
            entered[thing] = done if done.party else None
            totals.update(self._used(entry, done))
        yield from _beside_ledger(entered, ledger)
        kept = {
            (row.month, row.party, row.measure): row.amount
            for row in session.exec(select(self.totals))
        }
        for key in sorted(kept.keys() | totals.keys()):
            if kept.get(key, 0) != totals[key]:
                said = f"{kept.get(key, 0)} is kept, the entries say {totals[key]}"
                yield Difference("total", f"{' '.join(key)}: {said}")

    def _read(self, action: str, detail: Mapping[str, Any]) -> Done:
        metered = self.actions[action]
        name, party = str(detail[metered.name]), str(detail.get(_PARTY, ""))
        amounts = metered.read_amounts(detail) if party else {}
        month = str(detail.get(metered.month, "")) if metered.month else ""
        return Done(action, name, party, amounts, month)

    def _used(self, entry: evidence.EvidenceEntry, done: Done) -> dict[_Key, int]:
        if not done.party:
            return {}
        month = done.month or entry.at.astimezone(UTC).strftime("%Y-%m")
        used = {self.actions[done.action].each: 1, **done.amounts}
        return {(month, done.party, measure): amount for measure, amount in used.items()}

    def _count(self, session: Session, key: _Key, amount: int) -> None:
        month, party, measure = key
        its = (
            col(self.totals.month) == month,
            col(self.totals.party) == party,
            col(self.totals.measure) == measure,
        )
        counted = update(self.totals).where(*its).values(amount=self.totals.amount + amount)
        if not session.exec(counted).rowcount:
            session.add(self.totals(month=month, party=party, measure=measure, amount=amount))
            session.flush()


def share_of(measure: str, name: str) -> str:
    """What a measure is called of one name alone, as of a customer class."""
    return f"{measure}/{name}"


def party_of(requested_by: str, *, purpose: str) -> str:
    """Whom a run or release is metered for; all research is of one party."""
    return ANALYSTS if purpose == RESEARCH else requested_by


def _beside_ledger(
    entered: Mapping[tuple[str, str], Done | None], ledger: Iterable[Done]
) -> Iterator[Difference]:
    unseen = set(entered)
    for row in ledger:
        thing = (row.action, row.name)
        unseen.discard(thing)
        said = entered.get(thing)
        if thing not in entered:
            yield Difference("not-in-log", f"{row.action} {row.name}")
        elif said is not None and not _agree(said, row):
            yield Difference("figures", f"{row.action} {row.name}")
    for action, name in sorted(unseen):
        yield Difference("not-in-ledger", f"{action} {name}")


def _agree(said: Done, row: Done) -> bool:
    is_same_month = said.month in ("", row.month)  # an entry of before said none
    return said.amounts == row.amounts and row.party in ("", said.party) and is_same_month
