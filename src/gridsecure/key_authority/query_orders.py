"""What the checker hands the vault of a question: blinded columns, and who is added to whom.

Officers sign digests of groups and times, and certificates show them to many. Both are under the
asker's salt: whoever guesses a cohort or hours, and has the rosters, finds out nothing by hashing.
Checker and vault alone have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.key_authority.packages import Approved, FewestCustomers, LargestShares
from gridsecure.messages import ColumnEntry, Digest, Merging, Message
from gridsecure.plans.cells import UNMERGED, Minima, Place
from gridsecure.plans.query_groups import MAX_GROUPS

QUERY_ZONE: Final = "query"
"""Begins what stands for a zone in the cells of a question."""
MAIN: Final = "main"
"""The outputs that a month's totals are put together of."""
REACH: Final = "reach"
"""Those that say how many reach an edge."""
_GROUPS: Final = "gridsecure-question-groups-1"
_STEPS: Final = "gridsecure-question-steps-1"


class OrderedMonth(Message):
    """What a question asks of a month, where that is no total of intervals.

    The vault finds for itself whom it is of, what depends on which edges, and how many have to lie
    between them. The checker's word is what was told before, as for all of the ledger.

    Args:
        totals: Their names.
        tariffs: Texts of the rosters' tariffs, by digest.
        what_if: The text of another tariff; empty where there is none.
        rows: Of each roster, the digest of the cells of its slots (`plans.query_edges`).
        groups: The group of each cell, or a negative number.
        links: Of each cell, which ones it hangs together with.
        before: Edges that were told of each cell [kWh].
        blind: Cells that somebody is missing of who was told of with them.
        least: Of each cell, how many customers had to lie between edges when it was told of.
    """

    kind: ClassVar[str] = "vault-month"
    totals: list[str] = Field(min_length=1)
    tariffs: dict[Digest, str]
    what_if: str = Field(default="", repr=False)
    rows: list[Digest]
    groups: list[int]
    links: list[int]
    before: list[list[int]]
    blind: list[bool]
    least: list[int]

    @property
    def steps(self) -> dict[str, list[int]]:
        """What officers approve of it, in the place of the steps of intervals."""
        return month_steps(self.totals, self.what_if)

    @property
    def cells(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[frozenset[int], ...]]:
        """Groups, links and earlier edges of cells."""
        before = tuple(map(frozenset, self.before))
        return tuple(self.groups), tuple(self.links), before


class CheckedQuery(Message):
    """Decrypt blinded columns and add them up by group and step.

    The texts of all rosters follow, then the group of each slot of every roster, then the files of
    the outputs over rosters and, within one, over quantities.

    Args:
        start: Of the period that was asked about.
        question: The salted digest of the question.
        salt: The asker's; it stands in no subject and no certificate.
        rosters: Digests of the rosters' texts.
        rows: Of each roster, the digest of the groups of its slots.
        groups: How many groups there are; nobody is in those that are too small.
        steps: By quantity, the step of each interval; -1 where it is in none.
        spans: Start and end of each step, as cells name them.
        outputs: Of each quantity, by roster; of a month, of each of its two layouts, roster by
            roster.
        withheld: Groups of which nothing is given out, whatever their size.
        month: What is asked of a month; None where intervals are added up.
    """

    kind: ClassVar[str] = "vault-query"
    start: str
    end: str
    question: Digest
    salt: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    rosters: list[Digest]
    rows: list[Digest]
    groups: int = Field(ge=1, le=MAX_GROUPS)
    steps: dict[str, list[int]]
    spans: list[tuple[str, str]]
    outputs: dict[str, list[ColumnEntry]]
    withheld: list[int]
    minima: FewestCustomers
    approved: Approved
    merging: Merging = UNMERGED
    dominance: LargestShares = Field(default={})
    customer_points: int = 0
    month: OrderedMonth | None = None

    @property
    def permitted(self) -> Minima:
        """What policy permits it to tell."""
        return Minima(self.minima, self.merging, self.dominance, self.customer_points)


def month_steps(totals: Sequence[str], what_if: str) -> dict[str, list[int]]:
    """What stands for steps where a month is asked about: the names of all that is computed.

    Args:
        what_if: The text of another tariff; empty where there is none.
    """
    names = [*totals, *([f"tariff:{sm3_hex(what_if.encode())}"] if what_if else [])]
    return {name: [0] for name in names}


def group_place(question: Digest, number: int) -> Place:
    """What stands for zone and class of a group: nothing of what the question says."""
    return (f"{QUERY_ZONE} {question[:16]}", str(number))


def groups_digest(rosters: Sequence[Digest], rows: Iterable[Digest], *, salt: str) -> Digest:
    """What officers approve of the groups of all rosters: which slots of which are in which group.

    Args:
        rosters: SM3 of each roster's text, in the order of the columns.
        rows: SM3 of each roster's rows as bytes.
        salt: The asker's, 64 hexadecimal digits.
    """
    pairs = zip(rosters, rows, strict=True)
    return sm3_hex(frame_parts(_GROUPS, salt, *chain.from_iterable(pairs)))


def is_group_place(place: Place) -> bool:
    """Whether a place stands for a group, and for no zone and class."""
    return place[0].startswith(f"{QUERY_ZONE} ")


def steps_digest(
    steps: Mapping[str, Sequence[int] | NDArray[np.int64]],
    spans: Iterable[tuple[str, str]],
    *,
    salt: str,
) -> Digest:
    """What officers approve of a question's times.

    Args:
        salt: As of `groups_digest`.
    """
    numbers = [(name, " ".join(map(str, own))) for name, own in steps.items()]
    said = [frame_parts(*chain.from_iterable(pairs)) for pairs in (numbers, spans)]
    return sm3_hex(frame_parts(_STEPS, salt, *said))
