"""Months with a limit of dominance, drawn at random: nothing computed is about one large customer.

As in `test_row_space`, and every meter point uses so much a month, a few of them very much. The
vault's comparison is made of the sets that the ledger is about to keep. Members that no released
number tells apart are put together; of each such group, whatever owner of gateways takes its own
away, the limit holds. Whoever a combination is about is a union of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gridsecure.key_authority.checker import ledger
from gridsecure.key_authority.checker.told_cells import Prepared, settle_dominance
from gridsecure.key_authority.dominance import Shares
from gridsecure.messages import DOMINANCE, CellTotal, Merging
from gridsecure.plans import cells
from gridsecure.plans.cells import (
    ENERGY,
    MEASURES,
    MONEY,
    NO_MEASURES,
    UNMERGED,
    Member,
    Minima,
    Place,
    ToldSet,
)
from tests.key_authority.test_row_space import FEWEST, MERGING, Month, begun, fill

LIMIT = 20
SEEDS = range(30)


@dataclass
class Limited(Month):
    """A month in which no customer may be above the limit.

    Args:
        withheld: How many cells the vault withheld energy of.
        kept: How many it told of.
        curves: How many cells of load curves were told of.
    """

    energy: dict[str, int] = field(default_factory=dict)
    withheld: int = 0
    kept: int = 0
    curves: int = 0

    def _minima(self, kind: str) -> Minima:
        return Minima({"*": dict.fromkeys(MEASURES, FEWEST)}, self.merging, {"*": LIMIT})

    def _let_out(self, prepare: Callable[[], Prepared]) -> Prepared | None:
        return super()._let_out(lambda: self._compare(prepare()))

    def _compare(self, prepared: Prepared) -> Prepared:
        """What is left to tell once the vault has compared."""
        told = prepared.giving.told
        if not prepared.giving.basis.is_compared:
            self.curves += len(told)
            return prepared
        above = {place: self._list_above(sets) for place, sets in told.items()}
        withheld = {**prepared.withheld}
        for place, some in above.items():
            withheld[place] = withheld.get(place, NO_MEASURES) | some
            self.withheld += ENERGY in some
            self.kept += ENERGY not in some
        totals = [total(place, one) for place, some in above.items() for one in some]
        return replace(settle_dominance(prepared, totals), withheld=withheld)

    def _list_above(self, sets: tuple[ToldSet, ...]) -> frozenset[str]:
        if not self.keeps(sets[0].members):
            return frozenset({ENERGY, MONEY})
        return NO_MEASURES if all(self.keeps(s.members) for s in sets) else frozenset({MONEY})

    def keeps(self, members: Iterable[Member]) -> bool:
        """Whether nobody of some members can be above the limit."""
        shares = Shares()
        for member in members:
            if member.name not in self.energy:
                large = self.random.random() < 0.03
                self.energy[member.name] = self.random.randint(800, 1200) * (12 if large else 1)
            shares.add(member, self.energy[member.name] if member.counts else 1)
        return shares.keep(LIMIT)


def total(place: Place, measure: str) -> CellTotal:
    return CellTotal(
        zone=place[0], customer_class=place[1], start="", end="", measure=measure, members=0,
        value=None, withheld_by=DOMINANCE,
    )  # fmt: skip


def drawn(seed: int, folder: Path, *, merging: Merging = UNMERGED) -> Limited:
    with begun(seed, folder, kind=Limited) as month:
        assert isinstance(month, Limited)
        month.merging = merging
        fill(month, steps=14)
    return month


def dominated(months: Iterable[Limited]) -> Iterator[list[Member]]:
    """Members that a combination may be about, of whom one is above the limit."""
    for month in months:
        columns: dict[str, dict[int, dict[tuple[int, int], int]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        for number, row in enumerate(month.rows):
            for (who, version, day), factor in row.items():
                columns[who][number][version, day] = factor
        atoms: dict[str, list[Member]] = defaultdict(list)
        for who, own in columns.items():
            atoms[str(sorted((n, sorted(c.items())) for n, c in own.items()))].append(
                month.members[who]
            )
        yield from (some for some in atoms.values() if not month.keeps(some))


def test_no_combination_is_about_members_of_whom_one_is_above_the_limit(tmp_path: Path) -> None:
    months = [
        *(drawn(seed, tmp_path) for seed in SEEDS),
        *(drawn(seed, tmp_path, merging=MERGING) for seed in range(1000, 1000 + len(SEEDS) // 2)),
    ]
    assert list(dominated(months)) == []
    # The rule has something to do, and lets something out.
    assert sum(month.withheld for month in months) > 3
    assert sum(month.kept for month in months) > 10
    assert sum(month.curves for month in months) > 3


def _ignored(wanted: list[ToldSet], *, told: Iterable[ToldSet], is_compared: bool = True) -> bool:
    """Sets by their minima alone."""
    del is_compared
    each = [[ToldSet(s.members, s.minimum) for s in some] for some in (wanted, list(told))]
    return TELL(each[0], told=each[1])


TELL = cells.may_tell


def test_by_compared_sets_alone_a_difference_or_a_load_curve_tells_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vault compares what is told; without the ledger's rule, what lies between is not."""
    for place in (cells, ledger):
        monkeypatch.setattr(place, "may_tell", _ignored)
    assert next(dominated(drawn(seed, tmp_path) for seed in range(400)), None) is not None


def test_without_the_vaults_comparison_a_cell_tells_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Limited, "_list_above", lambda _self, _sets: NO_MEASURES)
    assert next(dominated(drawn(seed, tmp_path) for seed in range(400)), None) is not None
