"""What the vault tells of a month: decided by how many lie between edges, on decrypted numbers."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gridsecure.errors import GridSecureError
from gridsecure.homomorphic.parameters import find_parameters
from gridsecure.homomorphic.thresholds import thermometer
from gridsecure.key_authority.packages import Approved
from gridsecure.key_authority.query_orders import CheckedQuery, OrderedMonth
from gridsecure.key_authority.vault.month_queries import check_month, total_answer
from gridsecure.messages import RosterManifest
from gridsecure.plans.cells import ENERGY, MONEY
from gridsecure.plans.quantities import MONTH_MEASURE, register_quantity
from gridsecure.plans.query_edges import EdgedSet, check_edges, divide_by_sets
from gridsecure.plans.query_measures import (
    AskedMonth,
    check_what_if,
    divide_groups,
    narrow_rows,
)
from gridsecure.plans.query_parts import PartsLayout
from gridsecure.tariffs.tariff import parse_tariff
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.plans.element_tariffs import (
    DYNAMIC,
    HOUSEHOLDS,
    LADDER_RATES,
    PEAK_VALLEY,
    ladder,
    rate,
    tariff,
)
from tests.plans.query_world import END, START, query_roster
from tests.plans.test_query_bills import in_the_clear

TIERS = tariff("tiers", ladder("260", "600"), LADDER_RATES)
FLAT = tariff("flat", rate("energy", "0.6"))
METERED = tariff(
    "metered", rate("energy", "0.6"), rate("feed-in", "-0.453"),
    rate("demand", "42", unit="kW-month"),
)  # fmt: skip
HOURS = tariff(
    "hours",
    PEAK_VALLEY,
    rate("energy", "0.9", period="peak"),
    rate("energy", "0.3", period="valley"),
)
OTHER_HOURS = HOURS.replace("06:00", "08:00").replace('"hours"', '"other-hours"')
TARIFFS = {
    "0" * 64: TIERS, "1" * 64: FLAT, "2" * 64: METERED, "3" * 64: HOURS, "4" * 64: OTHER_HOURS,
}  # fmt: skip
SPREAD = rule(
    "Between two edges lie as many customers as policy wants, and never nobody.",
    WITHHELD,
    cut("gridsecure.plans.query_edges:_is_spread_among", ">= max(minimum, 1)", ">= -10_000"),
)


@dataclass
class Homes:
    """Homes of one or two rosters with what they used, and what the vault tells of them.

    Args:
        wh: What each used, per roster [Wh].
        told: What was told before that depends on edges.
        more: Further columns of every roster.
        own: Or of each.
        forged: What the gateway of a roster has a part say of its last slot.
        points: Most meter points of a customer, by policy.
    """

    wh: list[NDArray[np.int64]]
    tariffs: tuple[str, ...] = ("0" * 64,)
    told: list[EdgedSet] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    owners: tuple[str, ...] = ("one", "one")
    more: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    own: list[dict[str, NDArray[np.int64]]] = field(default_factory=list)
    forged: dict[tuple[int, str], int] = field(default_factory=dict)
    points: int = 0

    @property
    def rosters(self) -> list[RosterManifest]:
        return [
            query_roster(f"r{n}", len(own), **self.facts).model_copy(
                update={"tariff": name, "owner": self.owners[n], "gateway_id": f"{n}" * 64}
            )
            for n, (own, name) in enumerate(zip(self.wh, self.tariffs, strict=True))
        ]

    def names(self, *slots: int) -> frozenset[str]:
        """Pseudonyms of the first roster."""
        return frozenset(f"r0-{slot}" for slot in slots)

    def ask(
        self, *totals: str, rows: list[NDArray[np.int64]] | None = None, what_if: str = ""
    ) -> dict[str, list[int | None]]:
        """The answer by total, of each group."""
        rosters = self.rosters
        given = rows or [np.zeros(len(own), dtype=np.int64) for own in self.wh]
        texts = {name: TARIFFS[name] for name in self.tariffs}
        asked = AskedMonth(
            totals, (START, END), {name: parse_tariff(text) for name, text in texts.items()},
            parse_tariff(what_if) if what_if else None,
        )  # fmt: skip
        asked.check()
        narrowed = narrow_rows(asked, rosters, given)
        parts = divide_groups(asked, rosters, narrowed)
        cells = divide_by_sets(rosters, parts.rows, groups=parts.groups, told=self.told)
        month = OrderedMonth(
            totals=list(totals), tariffs=texts, what_if=what_if, rows=[],
            groups=list(cells.groups), links=list(cells.links),
            before=[sorted(own) for own in cells.before], blind=list(cells.is_blind),
            least=list(cells.least),
        )  # fmt: skip
        order = CheckedQuery(
            start=START, end=END, question="a" * 64, salt="0" * 64, rosters=[], rows=[],
            groups=1 + max(int(own.max()) for own in narrowed), steps=month.steps,
            spans=[(START, END)], outputs={}, withheld=[], minima={"*": {ENERGY: 15, MONEY: 15}},
            approved=Approved(subject="", grounds=[]), month=month, customer_points=self.points,
        )  # fmt: skip
        checked = check_month(order, month, rosters, rows=narrowed, cells=cells.rows)
        more = self.own or [self.more] * len(self.wh)
        values = [self._values(own) | one for own, one in zip(self.wh, more, strict=True)]
        seen = [v for layout in checked.layout.both for v in self._decrypted(layout, values)]
        found = [cell.value for cell in total_answer(order, checked, seen)]
        numbers = [None if value is None else int(value) for value in found]
        many = order.groups
        return {name: numbers[n * many : (n + 1) * many] for n, name in enumerate(totals)}

    def _decrypted(
        self, layout: PartsLayout, values: list[dict[str, NDArray[np.int64]]]
    ) -> list[NDArray[np.uint64]]:
        seen = in_the_clear(layout, values)
        for own, (place, name, parameters) in zip(seen, layout.outputs(), strict=True):
            if (place, name) in self.forged:
                modulus = find_parameters(parameters).plain_modulus
                own[-1] = self.forged[place, name] % modulus
        return seen

    def _values(self, wh: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        digits = thermometer(wh // 1000, digits=MONTH_MEASURE.digits)
        named = {MONTH_MEASURE.digit(*place): own for place, own in digits.items()}
        return {"total": wh, MONTH_MEASURE.energy: wh, **named}


def spread(low: int, middle: int, high: int) -> NDArray[np.int64]:
    """So many homes in the first, second and third tier [Wh]."""
    kwh = [*range(100, 100 + low), *range(300, 300 + middle), *range(700, 700 + high)]
    return np.array(kwh, dtype=np.int64) * 1000 + np.arange(len(kwh))


def above(wh: NDArray[np.int64], limit: int) -> int:
    return int(np.maximum(wh - 1000 * limit, 0).sum())


def test_tiers_are_told_where_every_tier_is_full() -> None:
    homes = Homes([spread(20, 16, 15)])
    (wh,) = homes.wh
    assert homes.ask("tier:1") == {"tier:1": [int(wh.sum()) - above(wh, 260)]}
    assert homes.ask("tier:2") == {"tier:2": [above(wh, 260) - above(wh, 600)]}
    assert homes.ask("tier:3") == {"tier:3": [above(wh, 600)]}
    assert homes.ask("bill")["bill"] != [None]


@pytest.mark.parametrize("wh", [spread(20, 16, 0), spread(0, 20, 20), spread(20, 0, 20)])
def test_that_nobody_is_in_a_tier_is_not_told_either(wh: NDArray[np.int64]) -> None:
    assert Homes([wh]).ask("bill") == {"bill": [None]}


def test_a_secret_tariff_is_computed_to_the_fen() -> None:
    homes = Homes([spread(20, 16, 15)])
    (wh,) = homes.wh
    other = tariff(
        "other", ladder("250"), rate("energy", "0.5", tier=1), rate("energy", "1", tier=2)
    )
    twentieths = int(wh.sum()) + above(wh, 250)  # 0.5 yuan a kWh is a twentieth of a fen a Wh
    told = homes.ask("bill:what-if", what_if=other)["bill:what-if"]
    assert told == [(twentieths + 10) // 20]


def test_bins_of_too_few_are_one_with_the_next() -> None:
    homes = Homes([spread(20, 16, 15)])
    told = homes.ask("at-least:110", "at-least:250", "at-least:700", "at-least:1000")
    assert told == {
        "at-least:110": [None],
        "at-least:250": [31],
        "at-least:700": [15],
        "at-least:1000": [None],
    }


def test_squares_are_those_of_the_energy_itself() -> None:
    homes = Homes([spread(20, 16, 15)])
    wh = homes.wh[0].astype(object)
    told = homes.ask("energy", "energy:squared")
    assert told == {"energy": [wh.sum()], "energy:squared": [(wh**2).sum()]}


def test_whoever_has_no_digits_is_in_no_group() -> None:
    homes = Homes([spread(20, 16, 15), spread(20, 0, 0)], ("0" * 64, "1" * 64))
    assert homes.ask("at-least:250") == {"at-least:250": [31]}


def test_what_does_not_count_for_its_customer_and_another_owners_points_may_lie_anywhere() -> None:
    counted = [True] * 50 + [False]
    homes = Homes([spread(20, 16, 15)], facts={"counted": counted})
    assert homes.ask("tier:3") == {"tier:3": [None]}
    both = Homes([spread(20, 16, 15), spread(16, 0, 0)], ("0" * 64, "0" * 64))
    assert both.ask("tier:3") != {"tier:3": [None]}
    both.owners = ("one", "another")  # who has but 16 homes, none of which uses much
    assert both.ask("tier:3") == {"tier:3": [None]}


def test_of_two_owners_each_has_to_leave_enough_of_the_other_everywhere() -> None:
    both = Homes([spread(20, 16, 15), spread(15, 15, 15)], ("0" * 64, "0" * 64))
    both.owners = ("one", "another")
    assert both.ask("tier:3") != {"tier:3": [None]}
    both.wh[1] = spread(15, 15, 14)
    assert both.ask("tier:3") == {"tier:3": [None]}


def test_columns_are_told_as_they_stand_of_whoever_has_them() -> None:
    """The first roster's tariff has no demand, so nobody there is counted."""
    homes = Homes([spread(20, 16, 15), spread(20, 0, 0)], ("0" * 64, "2" * 64))
    homes.more = {"demand": np.arange(20) + 5_000}
    assert homes.ask("demand") == {"demand": [int(homes.more["demand"].sum())]}


@pytest.mark.parametrize("total", ["export", "line:feed-in", "bill"])
def test_nothing_is_told_of_energy_fed_in(total: str) -> None:
    """Of all homes of a tariff one may have panels on its roof, and a total of zeros is hers."""
    homes = Homes([spread(20, 16, 15)], ("2" * 64,))
    with pytest.raises(GridSecureError) as refused:
        homes.ask(total)
    assert refused.value.reason == "query.limits"
    assert "feed in nothing" in refused.value.message


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (DYNAMIC, "query.other-tariff"),
        (HOUSEHOLDS["annual"], "query.limits"),
        (HOUSEHOLDS["per-period"], "query.limits"),
    ],
)
def test_tariffs_that_would_tell_more_are_refused_by_name(other: str, reason: str) -> None:
    with pytest.raises(GridSecureError) as refused:
        Homes([spread(20, 16, 15)]).ask("bill:what-if", what_if=other)
    assert refused.value.reason == reason


# --- attacks -------------------------------------------------------------------------------------


@attack("the month of the one home in the highest tier", SPREAD)
def test_the_energy_of_a_tier_that_one_home_reaches(attacked: Attacked) -> None:
    homes = Homes([spread(20, 20, 1)])
    (value,) = homes.ask("tier:3")["tier:3"]
    if value is not None:
        assert 600_000 + value == homes.wh[0][-1], "to the Wh"
    attacked.ends(WITHHELD if value is None else "")


@attack("the same by a bill and the energy of the same homes", SPREAD)
def test_a_bill_with_one_home_in_its_highest_tier(attacked: Attacked) -> None:
    (value,) = Homes([spread(20, 20, 1)]).ask("bill")["bill"]
    attacked.ends(WITHHELD if value is None else "")


@attack(
    "a home by a secret tariff that is dear from one limit on",
    rule(
        "Limits of another tariff are of the published grid.",
        "query.edge",
        cut("gridsecure.plans.query_edges:check_edges", "if not wrong:", "if True:"),
    ),
    SPREAD,
)
def test_a_tariff_whose_limit_finds_one_home(attacked: Attacked) -> None:
    homes = Homes([spread(20, 20, 1)])
    mine = tariff("mine", ladder("611"), rate("energy", "0", tier=1), rate("energy", "1", tier=2))
    asked = AskedMonth(
        ("bill:what-if",), (START, END), {"0" * 64: parse_tariff(TIERS)}, parse_tariff(mine)
    )
    try:
        check_what_if(asked, homes.rosters, [np.zeros(41, dtype=np.int64)])
    except GridSecureError as refused:
        attacked.ends(refused.reason)
        return
    (value,) = homes.ask("bill:what-if", what_if=mine)["bill:what-if"]
    attacked.ends(WITHHELD if value is None else "")


@attack(
    "sorted months by edges one kWh apart",
    rule(
        "Edges are of the published grid.",
        "query.edge",
        cut("gridsecure.plans.query_edges:check_edges", "if not wrong:", "if True:"),
    ),
    SPREAD,
)
def test_edges_one_kwh_apart(attacked: Attacked) -> None:
    homes = Homes([spread(20, 20, 20)])
    edges = [f"at-least:{edge}" for edge in range(311, 316)]
    try:
        told = homes.ask(*edges)
    except GridSecureError as refused:
        attacked.ends(refused.reason)
        return
    numbers = [value for (value,) in told.values() if value is not None]
    attacked.ends("" if len(numbers) > 1 else WITHHELD)


@attack(
    "the same edges in questions one after the other",
    rule(
        "Edges that were told of count for every later question of the same people.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.vault.month_queries:_needed_edges",
            "before | by_link.get(link, frozenset())",
            "by_link.get(link, frozenset())",
        ),
    ),
)
def test_edges_of_two_questions(attacked: Attacked) -> None:
    homes = Homes([spread(20, 20, 20)])
    first = homes.ask("at-least:250")
    assert first == {"at-least:250": [40]}
    homes.told = [EdgedSet(homes.names(*range(60)), frozenset({250}), 15)]
    (value,) = homes.ask("at-least:200")["at-least:200"]
    attacked.ends(WITHHELD if value is None else "")


@attack(
    "the one home of a tier among sixteen, by two cohorts that differ by these",
    rule(
        "Whoever is in one set and not in another is looked at by themselves.",
        WITHHELD,
        cut(
            "gridsecure.plans.query_edges:divide_by_sets",
            "near = [one for one in sets if one.is_near]",
            "near = []",
        ),
    ),
)
def test_cohorts_that_differ_by_one_who_reaches_a_limit(attacked: Attacked) -> None:
    """35, 35 and 31 homes; then the same without 15 of the first tier and one of the third."""
    homes = Homes([spread(35, 35, 31)])
    homes.told = [EdgedSet(homes.names(*range(101)), frozenset({260, 600}), 15)]
    rows = np.zeros(101, dtype=np.int64)
    rows[[*range(15), 100]] = -1
    (value,) = homes.ask("tier:3", rows=[rows])["tier:3"]
    attacked.ends(WITHHELD if value is None else "")


@attack(
    "a home beyond what squares are taken of",
    rule(
        "Sums of squares are told where nobody is beyond them.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.vault.month_queries:_decide",
            "if number}",
            "if False}",
        ),
    ),
)
def test_the_month_of_one_large_home(attacked: Attacked) -> None:
    wh = spread(20, 16, 15)
    wh[-1] = 5_000_123
    (value,) = Homes([wh]).ask("energy", "energy:squared")["energy"]
    if value is not None:
        assert int(wh.sum()) - value + 3_840_000 == 5_000_123
    attacked.ends(WITHHELD if value is None else "")


@attack(
    "an order with one customer of another tariff in a group",
    rule(
        "All who pay by the same function are enough to be told of by themselves.",
        "vault.group",
        cut(
            "gridsecure.key_authority.vault.month_queries:check_month",
            "groups[group].is_enough and part.is_enough",
            "groups[group].is_enough",
        ),
    ),
    rule(
        "A column that only few of a group have is not totalled.",
        "query.few",
        cut(
            "gridsecure.plans.query_parts:_check_enough",
            "if len(crowd) and not is_enough(crowd, minimum=minimum):",
            "if False:",
        ),
    ),
)
def test_one_customer_of_another_tariff(attacked: Attacked) -> None:
    homes = Homes([spread(20, 16, 15), spread(1, 0, 0)], ("0" * 64, "1" * 64))
    try:
        (value,) = homes.ask("bill")["bill"]
    except GridSecureError as refused:
        attacked.ends(refused.reason)
        return
    attacked.ends(WITHHELD if value is None else "")


@attack(
    "one shop's hours among homes, by a register of both tariffs and the same hours' energy",
    rule(
        "A register's total has enough customers of each tariff, which says its hours.",
        "vault.group",
        cut(
            "gridsecure.plans.query_measures:AskedMonth.keys",
            "return [(roster.tariff,)] * roster.slots",
            "return [None] * roster.slots",
        ),
    ),
)
def test_a_register_of_two_tariffs(attacked: Attacked) -> None:
    """The homes' peak begins at six and the shop's at eight: energy less peak is those hours."""
    used = [np.arange(40) * 7 + 900, np.array([4_321])]
    early = [np.arange(40), np.array([1_234])]
    homes = Homes(used, ("3" * 64, "4" * 64))
    homes.own = [
        {register_quantity("peak"): used[0]},
        {register_quantity("peak"): used[1] - early[1]},
    ]
    try:
        (value,) = homes.ask("register:peak")["register:peak"]
    except GridSecureError as refused:
        attacked.ends(refused.reason)
        return
    told_of_the_hours = sum(int(own.sum()) for own in used)
    assert told_of_the_hours - value == early[1][0]
    attacked.ends("")


def test_registers_of_two_tariffs_are_told_where_both_are_enough() -> None:
    homes = Homes([np.arange(20), np.arange(30)], ("3" * 64, "4" * 64))
    homes.own = [{register_quantity("peak"): wh} for wh in homes.wh]
    assert homes.ask("register:peak") == {"register:peak": [sum(map(sum, homes.wh))]}


@pytest.mark.parametrize(
    ("limit", "unit", "reason"),
    [
        ("10", "kWh/day", "query.edge"),  # of a July 310 kWh
        ("10.0", "kWh", ""),
        ("10.5", "kWh", "query.limits"),
        ("260", "kWh", ""),  # their own
        ("270", "kWh", "query.edge"),
        ("0.5", "kWh/day", "query.limits"),
    ],
)
def test_limits_of_another_tariff_are_looked_at_in_kwh_of_the_month(
    limit: str, unit: str, reason: str
) -> None:
    homes = Homes([spread(20, 20, 20)])
    mine = tariff(
        "mine", ladder(limit, unit=unit), rate("energy", "0", tier=1), rate("energy", "1", tier=2)
    )
    with pytest.raises(GridSecureError) if reason else nullcontext() as refused:
        homes.ask("bill:what-if", what_if=mine)
    assert not refused or refused.value.reason == reason


def test_a_quota_moves_a_limit_to_where_the_same_home_has_one_and_nowhere_else() -> None:
    quotas = {"household_quota_wh": [7_000] * 60}
    mine = tariff("mine", ladder("260"), rate("energy", "0", tier=1), rate("energy", "1", tier=2))
    homes = Homes([spread(20, 20, 20)], facts=quotas)
    assert homes.ask("bill:what-if", what_if=mine) != {"bill:what-if": [None]}
    with pytest.raises(GridSecureError) as refused:
        homes.ask("bill:what-if", what_if=mine.replace("260", "250"))
    assert refused.value.reason == "query.edge"


BY_GATEWAY = rule(
    "Who reaches an edge, or is beyond squares, is counted by gateway, within its own slots.",
    "query.inconsistent",
    cut(
        "gridsecure.plans.query_measures:share_cells",
        "whose = (roster.gateway_id, roster.owner or roster.gateway_id)",
        'whose = ("", roster.owner)',
    ),
)


@attack("a large home's month, hidden from the count of squares by a forged slot", BY_GATEWAY)
def test_a_slot_that_counts_one_less_beyond_squares(attacked: Attacked) -> None:
    """Another gateway's slot says "one less than none": the sum says that nobody is beyond."""
    honest = spread(20, 16, 15)
    honest[-1] = 5_000_123
    homes = Homes([honest, spread(0, 30, 0)], ("0" * 64, "0" * 64))
    homes.forged = {(1, "capped"): -1}
    try:
        (value,) = homes.ask("energy", "energy:squared")["energy"]
    except GridSecureError as refused:
        attacked.ends(refused.reason)
        return
    assert sum(int(own.sum()) for own in homes.wh) - value + 3_840_000 == 5_000_123
    attacked.ends("")


@attack("the one home in the highest tier, among as many as a forged slot says", BY_GATEWAY)
def test_a_slot_that_counts_for_many(attacked: Attacked) -> None:
    """One home of a gateway reaches 700 kWh, and one slot of another's ten says that 14 do."""
    homes = Homes([spread(30, 20, 1), spread(10, 0, 0)], ("0" * 64, "0" * 64))
    homes.forged = {(1, "reach:700"): 14}
    try:
        (value,) = homes.ask("at-least:700")["at-least:700"]
    except GridSecureError as refused:
        attacked.ends(refused.reason)
        return
    assert value == 15
    attacked.ends("")


@attack(
    "sixteen homes between shops' edges, told under the shops' own smaller minimum",
    rule(
        "Between edges that were told of a set lie as many as policy wanted of it.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.vault.month_queries:_kept_edges",
            "max(wanted, cells.least[cell])",
            "wanted",
        ),
    ),
)
def test_edges_told_of_others_under_a_larger_minimum(attacked: Attacked) -> None:
    """130 of 250 reach 250 kWh, told at a hundred; 114 of the first 150 are asked for at 15."""
    wh = np.repeat(np.array([100, 300, 100, 300]), [36, 114, 84, 16]) * 1000
    homes = Homes([wh])
    homes.told = [EdgedSet(homes.names(*range(250)), frozenset({250}), 100)]
    rows = np.where(np.arange(250) < 150, 0, -1)
    (value,) = homes.ask("at-least:250", rows=[rows])["at-least:250"]
    attacked.ends(WITHHELD if value is None else "")


@attack(
    "the largest of fifteen by their concentration and their sum",
    rule(
        "Squares are told of a group in which nobody can have more than half.",
        WITHHELD,
        cut("gridsecure.key_authority.vault.month_queries:_is_mixed", "4 * sum", "0 * sum"),
    ),
)
def test_the_concentration_of_one_large_and_many_small(attacked: Attacked) -> None:
    """One of 3,000 kWh and 14 of 10: sum and squares bound the largest within three kWh."""
    wh = np.array([3_000_000, *[10_000] * 14])
    told = Homes([wh]).ask("energy", "energy:squared")
    (total,), (squares,) = told.values()
    if total is not None and squares is not None:
        assert (total + (2 * squares - total**2) ** 0.5) / 2 > 2_990_000
    attacked.ends(WITHHELD if total is None else "")


@attack(
    "the largest of fifteen by sums and squares of two groups that differ by these",
    rule(
        "Squares are told where nobody has more than half of what two groups differ by.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.vault.month_queries:_dominated",
            "for cell in company)",
            "for cell in company[:1])",
        ),
    ),
)
def test_squares_with_and_without_fifteen(attacked: Attacked) -> None:
    homes = Homes([np.array([*range(250_000, 264_000, 140), 3_000_123, *[10_000] * 14])])
    rows = [np.where(np.arange(115) < 100, 0, -1)]
    (energy,), (squares,) = homes.ask("energy", "energy:squared", rows=rows).values()
    assert energy is not None
    assert squares is not None
    homes.told = [EdgedSet(homes.names(*range(100)), frozenset(), 15)]
    assert homes.ask("energy", "energy:squared", rows=rows)["energy"] == [energy], "the same again"
    (more,), (beyond,) = homes.ask("energy", "energy:squared").values()
    if more is not None and beyond is not None:
        rest, own = more - energy, beyond - squares
        assert (rest + (2 * own - rest**2) ** 0.5) / 2 > 2_990_000
    attacked.ends(WITHHELD if more is None else "")


@attack(
    "the largest of fifteen by squares of them and an owner's own homes, taken off",
    rule(
        "Squares are told where nobody has more than half of what is left without each owner.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.vault.month_queries:_is_mixed", "(None, *moments)", "(None,)"
        ),
    ),
)
def test_squares_with_ones_own_homes_taken_off(attacked: Attacked) -> None:
    homes = Homes([np.array([3_000_123, *[10_000] * 14]), np.full(30, 1_000_000)], ("0" * 64,) * 2)
    homes.owners = ("one", "another")
    (energy,), (squares,) = homes.ask("energy", "energy:squared").values()
    if energy is not None and squares is not None:
        rest, own = energy - 30 * 10**6, squares - 30 * 10**12
        assert (rest + (2 * own - rest**2) ** 0.5) / 2 > 2_990_000
    attacked.ends(WITHHELD if energy is None else "")


def test_squares_where_one_customer_has_most_by_several_meter_points() -> None:
    """Three of 900 kWh are one customer's, of 3,540: no point has half, and the customer 76 %."""
    wh = np.array([*[900_000] * 3, *[60_000] * 14])
    assert Homes([wh]).ask("energy", "energy:squared")["energy"] == [3_540_000]
    assert Homes([wh], points=3).ask("energy", "energy:squared")["energy"] == [None]


@attack(
    "the customer who has most of a group by three meter points, where policy says nothing of them",
    rule(
        "One customer has at most one meter point that counts and all that do not.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.vault.month_queries:_most_points",
            "points - customers",
            "0",
        ),
    ),
)
def test_squares_of_meter_points_that_do_not_count(attacked: Attacked) -> None:
    wh = np.array([*[900_000] * 3, *[60_000] * 15])
    counted = [True, False, False, *[True] * 15]
    (energy,) = Homes([wh], facts={"counted": counted}).ask("energy", "energy:squared")["energy"]
    attacked.ends(WITHHELD if energy is None else "")


def test_squares_of_what_overlaps_are_told_where_every_difference_is_mixed() -> None:
    homes = Homes([spread(20, 16, 15)])
    homes.told = [EdgedSet(homes.names(*range(35)), frozenset(), 15)]
    wh = homes.wh[0][20:].astype(object)
    told = homes.ask("energy", "energy:squared", rows=[np.where(np.arange(51) < 20, -1, 0)])
    assert told == {"energy": [wh.sum()], "energy:squared": [(wh**2).sum()]}


def test_squares_of_two_owners_are_told_where_either_is_mixed() -> None:
    homes = Homes([spread(20, 16, 15), spread(15, 15, 15)], ("0" * 64,) * 2)
    homes.owners = ("one", "another")
    wh = np.concatenate(homes.wh).astype(object)
    told = homes.ask("energy", "energy:squared")
    assert told == {"energy": [wh.sum()], "energy:squared": [(wh**2).sum()]}


def test_edges_of_the_grid_are_named_beside_those_that_are_not() -> None:
    with pytest.raises(GridSecureError) as refused:
        check_edges([20, 315])
    assert (refused.value.reason, "300 and 350" in refused.value.remedy) == ("query.edge", True)
