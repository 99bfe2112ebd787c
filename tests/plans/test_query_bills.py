"""Bill lines of groups, by own tariffs and by one that nobody has, are the sums of the bills."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gridsecure.billing.charges import exact_lines
from gridsecure.billing.part_months import month_share
from gridsecure.billing.rules import line_rules
from gridsecure.errors import InputError, KeyMismatchError, NotFoundError, OutOfRangeError
from gridsecure.homomorphic.parameters import PRODUCT, REGISTER, TIER, find_parameters
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.messages import RosterManifest
from gridsecure.plans.execution import RosterData, roster_contracts, roster_rules
from gridsecure.plans.needs import published_needs
from gridsecure.plans.outputs import last_level
from gridsecure.plans.query_bills import (
    WHAT_IF,
    BillRecipe,
    GroupBills,
    add_up_bills,
    bill_recipes,
    find_parameters_of,
)
from gridsecure.plans.query_parts import (
    PartsLayout,
    add_up_parts,
    execute_parts,
    lay_out_parts,
)
from gridsecure.plans.query_totals import OUTSIDE
from gridsecure.plans.settlement_values import settlement_values
from gridsecure.tariffs.tariff import Tariff, parse_tariff
from tests.plans.element_tariffs import ALL_BY_NAME, HOUSEHOLDS, LADDER_RATES, ladder, rate, tariff
from tests.plans.query_world import END, START, QueryWorld, query_roster
from tests.plans.test_elements import PERIOD, prepared

SEED = bytes(range(32))
MADE_UP = "0" * 64
TIERS = tariff("tiers", ladder("260", "600"), LADDER_RATES)
SECRET = tariff(
    "secret",
    ladder("120", "1000"),
    rate("energy", "0.51234567", tier=1),
    rate("energy", "0.70000001", tier=2),
    rate("energy", "1.5", tier=3),
    rate("fund", "0.0312"),
)


def roster_of(
    name: str, contracts: pd.DataFrame, *, large: bool = False, digest: str = MADE_UP
) -> RosterManifest:
    """A roster with the facts of a contract frame."""
    slots = len(contracts)
    facts = {
        fact: contracts[fact].tolist()
        for fact in ("household_quota_wh", "contracted_va", "free_quota_wh", "service_from")
    }
    unheld = contracts["unheld_days"].tolist() if "unheld_days" in contracts else []
    return query_roster(
        name, slots, large=large, unheld_days=unheld, **facts
    ).model_copy(update={"tariff": digest})  # fmt: skip


def summed(table: NDArray[Any], rows: NDArray[np.int64], *, groups: int) -> list[list[int]]:
    return [
        [int(sum(row[rows == group].astype(object))) for group in range(groups)] for row in table
    ]


def oracle(
    tariff: Tariff, settled: pd.DataFrame, roster: RosterManifest, rows: NDArray[np.int64]
) -> tuple[list[list[int]], list[list[int]]]:
    """Quantities and amounts of every line by group, from plaintext bills."""
    tables = exact_lines(
        line_rules(tariff, PERIOD),
        settlements=settled,
        contracts=roster_contracts(roster),
        period=PERIOD,
    )
    quantities, amounts = (summed(table, rows, groups=2) for table in tables)
    return quantities, amounts


def in_the_clear(
    layout: PartsLayout, values: Sequence[Mapping[str, NDArray[Any]]]
) -> list[NDArray[np.uint64]]:
    """What would be decrypted of unblinded parts."""
    seen = []
    for place, recipe in enumerate(layout.recipes):
        inputs = {name: PlainColumn.of(own) for name, own in values[place].items()}
        parts = recipe.compute(inputs)
        for block in layout.blocks:
            modulus = block.layout.parameters.plain_modulus
            seen += [
                ((last_level(parts[name]).values - block.low) % modulus).astype(np.uint64)
                for name in block.layout.quantities
                if place in block.places
            ]
    return seen


def months_of(tariff: Tariff, rules: Any, settled: pd.DataFrame, contracts: pd.DataFrame) -> Any:
    return settlement_values(
        settled,
        rules=rules,
        tou_periods=tariff.tou_periods,
        contracted_va=contracts["contracted_va"].to_numpy(np.int64),
    )


def is_sum(own: Tariff, contracts: pd.DataFrame) -> bool:
    """Whether every line of a bill is a sum over meter points, but for what is public."""
    rules = line_rules(own, PERIOD)
    divides = {"share", "power-factor", "minimum"} & {rule.basis for rule in rules}
    parts = (month_share(rule, contracts, PERIOD) for rule in rules if rule.basis != "contract")
    return not divides and all(part is None for part in parts)


@pytest.mark.parametrize("name", ALL_BY_NAME)
def test_every_element_is_exact_or_refused_by_name(name: str) -> None:
    """The circuits of all tariffs in the clear: the groups' lines are the sums of the bills."""
    own, settled, contracts = prepared(ALL_BY_NAME[name], quotas=name not in ("demand", "kva-tier"))
    roster = roster_of("one", contracts, large=name.startswith("wide"))

    def make() -> tuple[BillRecipe, ...]:
        return bill_recipes([roster], span=(START, END), parameters=[TIER], tariffs={MADE_UP: own})

    if not is_sum(own, contracts):
        with pytest.raises(InputError) as refusal:
            make()
        assert refusal.value.reason == "query.not-linear"
        return
    recipes = make()
    rows = [np.arange(roster.slots) % 3 - 1]
    layout = lay_out_parts([roster], recipes=recipes, rows=rows, minima=[2, 2])
    rules = roster_rules(roster, tariff=own, period=PERIOD)
    values = months_of(own, rules, settled, contracts)
    parts = add_up_parts(in_the_clear(layout, [values]), layout=layout)
    (bills,) = add_up_bills(parts, recipes=recipes, rows=rows, groups=2).values()
    expected = oracle(own, settled, roster, rows[0])
    assert (bills.quantities.tolist(), bills.amounts.tolist()) == expected


def test_most_elements_are_sums() -> None:
    sums = [
        name
        for name, text in ALL_BY_NAME.items()
        if is_sum(parse_tariff(text), pd.DataFrame({"meter_point_id": ["a"]}))
    ]
    assert len(sums) > len(ALL_BY_NAME) / 2


def test_a_group_over_two_tariffs_has_the_lines_of_each() -> None:
    """Digits in two sets, too: those of a tariff with shares are in the larger one."""
    texts = {MADE_UP: TIERS, "1" * 64: HOUSEHOLDS["per-period"]}
    tariffs = {digest: parse_tariff(text) for digest, text in texts.items()}
    rosters, values, expected = [], [], {}
    rows = [np.arange(24) % 3 - 1, np.arange(24) % 2]
    for (digest, text), own in zip(texts.items(), rows, strict=True):
        tariff_, settled, contracts = prepared(text, quotas=True, largest=40_000)
        roster = roster_of(digest[:4], contracts, digest=digest)
        rules = roster_rules(roster, tariff=tariff_, period=PERIOD)
        rosters.append(roster)
        values.append(months_of(tariff_, rules, settled, contracts))
        expected[digest] = oracle(tariff_, settled, roster, own)
    recipes = bill_recipes(rosters, span=(START, END), parameters=[TIER, PRODUCT], tariffs=tariffs)
    layout = lay_out_parts(rosters, recipes=recipes, rows=rows, minima=[2, 2])
    sets = {block.layout.parameters for block in layout.blocks}
    assert sets == {TIER, PRODUCT}
    parts = add_up_parts(in_the_clear(layout, values), layout=layout)
    bills = add_up_bills(parts, recipes=recipes, rows=rows, groups=2)
    assert {
        digest: (own.quantities.tolist(), own.amounts.tolist()) for digest, own in bills.items()
    } == expected


@pytest.fixture(scope="module")
def world() -> QueryWorld:
    return QueryWorld()


@pytest.fixture(scope="module")
def households(world: QueryWorld) -> tuple[RosterData, pd.DataFrame]:
    """24 households under tiers, of every size, some with quotas; and their settlements."""
    own, settled, contracts = prepared(TIERS, quotas=True, largest=40_000)
    roster = roster_of("homes", contracts)
    rules = roster_rules(roster, tariff=own, period=PERIOD)
    values = months_of(own, rules, settled, contracts)
    needs = published_needs(rules, tou_periods=own.tou_periods)
    columns = {
        need.quantity: (values[need.quantity], need.high, need.parameters.name) for need in needs
    }
    return world.upload(roster, columns), settled


def ask(
    world: QueryWorld,
    data: RosterData,
    rows: NDArray[np.int64],
    *,
    what_if: Tariff | None,
    seed: bytes = SEED,
) -> tuple[GroupBills, dict[str, bytes]]:
    recipes = bill_recipes(
        [data.roster], span=(START, END), parameters=[find_parameters_of(data)],
        tariffs={MADE_UP: parse_tariff(TIERS)}, what_if=what_if,
    )  # fmt: skip
    layout = lay_out_parts([data.roster], recipes=recipes, rows=[rows], minima=[2, 2])
    layout = pickle.loads(pickle.dumps(layout))  # as it crosses to a worker process  # noqa: S301
    _, outputs = execute_parts(
        [data], layout=layout, seed=seed, load=world.objects.__getitem__, keys=world.ring
    )
    made = list(outputs)
    parts = add_up_parts(world.decrypt(made), layout=layout)
    (bills,) = add_up_bills(parts, recipes=recipes, rows=[rows], groups=2).values()
    return bills, {name: output.data for name, output in made}


@pytest.mark.parametrize("text", [None, SECRET], ids=["own tariff", "secret tariff"])
def test_encrypted_lines_of_groups_are_the_sums_of_the_bills(
    world: QueryWorld, households: tuple[RosterData, pd.DataFrame], text: str | None
) -> None:
    data, settled = households
    rows = np.arange(24) % 3 - 1
    what_if = parse_tariff(text) if text else None
    bills, files = ask(world, data, rows, what_if=what_if)
    expected = oracle(parse_tariff(text or TIERS), settled, data.roster, rows)
    assert (bills.quantities.tolist(), bills.amounts.tolist()) == expected
    assert bills.totals.tolist() == [sum(column) for column in zip(*expected[1], strict=True)]
    again, same = ask(world, data, rows, what_if=what_if)
    assert same == files
    other, others = ask(world, data, rows, what_if=what_if, seed=bytes(32))
    assert not set(others.values()) & set(files.values())
    for one in (again, other):
        assert one.amounts.tolist() == bills.amounts.tolist()


def test_parts_are_blinded_and_a_line_leaves_once(
    world: QueryWorld, households: tuple[RosterData, pd.DataFrame]
) -> None:
    """No slot of any output is what it was; rates are in none of them."""
    data, settled = households
    rows = np.arange(24) % 3 - 1
    recipes = bill_recipes(
        [data.roster], span=(START, END), parameters=[TIER], tariffs={MADE_UP: parse_tariff(TIERS)},
        what_if=parse_tariff(SECRET),
    )  # fmt: skip
    layout = lay_out_parts([data.roster], recipes=recipes, rows=[rows], minima=[2, 2])
    _, outputs = execute_parts(
        [data], layout=layout, seed=SEED, load=world.objects.__getitem__, keys=world.ring
    )
    made = list(outputs)
    assert [name for name, _ in made] == [
        f"homes/{WHAT_IF}:{part}" for part in ("0:0", "1:0", "2:0", "3:0")
    ]
    plain = in_the_clear(
        layout,
        [
            months_of(
                parse_tariff(SECRET), recipes[0].rules, settled,
                pd.DataFrame({"contracted_va": data.roster.contracted_va}),
            )
        ],
    )  # fmt: skip
    seen = world.decrypt(made)
    for blinded, values in zip(seen, plain, strict=True):
        assert not (blinded == values).any()


def test_a_rosters_flat_tariff_has_no_digits_to_ask_tiers_of(world: QueryWorld) -> None:
    flat = tariff("flat", rate("energy", "0.6"))
    roster = query_roster("flat", 20)
    data = world.upload(roster, {"total": (np.arange(20), 2**31 - 1, REGISTER.name)})
    recipes = bill_recipes(
        [roster], span=(START, END), parameters=[TIER], tariffs={MADE_UP: parse_tariff(flat)},
        what_if=parse_tariff(SECRET),
    )  # fmt: skip
    layout = lay_out_parts(
        [roster], recipes=recipes, rows=[np.zeros(20, dtype=np.int64)], minima=[15]
    )
    with pytest.raises(NotFoundError) as refusal:
        execute_parts([data], layout=layout, seed=SEED, load=world.objects.get, keys=world.ring)
    assert refusal.value.reason == "query.columns"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("chronological", "query.other-tariff"),
        ("per-period", "query.other-tariff"),
        ("pro-rata", "query.not-linear"),
    ],
)
def test_a_what_if_tariff_is_refused_where_columns_mean_something_else(
    name: str, reason: str
) -> None:
    with pytest.raises(InputError) as refusal:
        bill_recipes(
            [query_roster("one", 20)], span=(START, END), parameters=[TIER],
            tariffs={MADE_UP: parse_tariff(TIERS)}, what_if=parse_tariff(HOUSEHOLDS[name]),
        )  # fmt: skip
    assert refusal.value.reason == reason


def test_a_limit_beyond_the_digits_asks_for_columns_that_nobody_has() -> None:
    far = parse_tariff(tariff("far", ladder("3000", "3840"), LADDER_RATES))
    roster = query_roster("one", 20)
    recipes = bill_recipes(
        [roster], span=(START, END), parameters=[TIER], tariffs={MADE_UP: parse_tariff(TIERS)},
        what_if=far,
    )  # fmt: skip
    # Such limits are counted in steps, of which no household's roster has digits.
    assert any("steps:total" in need.quantity for need in recipes[0].published)


def test_members_of_another_form_of_bill_are_not_told_of_alone() -> None:
    """Two of a group's customers are under another tariff: its total would be about those two."""
    rosters = [query_roster("one", 20), query_roster("two", 20)]
    rosters[1] = rosters[1].model_copy(update={"tariff": "1" * 64})
    recipes = bill_recipes(
        rosters, span=(START, END), parameters=[TIER] * 2,
        tariffs={MADE_UP: parse_tariff(TIERS), "1" * 64: parse_tariff(SECRET)},
    )  # fmt: skip
    rows = [np.zeros(20, dtype=np.int64), np.where(np.arange(20) < 2, 0, OUTSIDE)]
    with pytest.raises(InputError) as refusal:
        lay_out_parts(rosters, recipes=recipes, rows=rows, minima=[15])
    assert refusal.value.reason == "query.few"
    rows[1] = np.full(20, OUTSIDE)
    rosters[1] = rosters[1].model_copy(update={"owner": "somebody else"})
    assert lay_out_parts(rosters, recipes=recipes, rows=rows, minima=[15]).blocks, "nobody there"
    rosters[1] = rosters[1].model_copy(update={"owner": ""})
    rows[1] = np.where(np.arange(20) < 15, 0, OUTSIDE)
    assert len(lay_out_parts(rosters, recipes=recipes, rows=rows, minima=[15]).blocks) >= 2


def test_large_groups_are_taken_in_pieces_or_refused() -> None:
    """4,097 households' tier parts could reach 2^35 Wh."""
    roster = query_roster("one", 4200)
    recipes = bill_recipes(
        [roster], span=(START, END), parameters=[TIER], tariffs={MADE_UP: parse_tariff(TIERS)}
    )
    rows = [np.zeros(4200, dtype=np.int64)]
    layout = lay_out_parts([roster], recipes=recipes, rows=rows, minima=[15])
    assert {len(block.layout.told) for block in layout.blocks} == {2 * 3}
    with pytest.raises(OutOfRangeError) as refusal:
        lay_out_parts([roster], recipes=recipes, rows=rows, minima=[2200])
    assert refusal.value.reason == "query.large"


def test_another_bound_and_other_rosters_are_refused(
    world: QueryWorld, households: tuple[RosterData, pd.DataFrame]
) -> None:
    data, _ = households
    rows = np.arange(24) % 3 - 1
    recipes = bill_recipes(
        [data.roster], span=(START, END), parameters=[TIER], tariffs={MADE_UP: parse_tariff(TIERS)}
    )
    layout = lay_out_parts([data.roster], recipes=recipes, rows=[rows], minima=[2, 2])
    name = layout.needs[0][0].quantity
    wrong = data.entry(name).model_copy(update={"high": data.entry(name).high + 1})
    changed = RosterData(data.roster, data.upload, {**data.columns, name: wrong})
    other = RosterData(query_roster("other", 24), data.upload, data.columns)
    for given, reason in (([changed], "plan.input"), ([other], "query.roster")):
        with pytest.raises(KeyMismatchError) as refusal:
            execute_parts(given, layout=layout, seed=SEED, load=world.objects.get, keys=world.ring)
        assert refusal.value.reason == reason
    assert find_parameters(data.entry(name).parameters) == TIER
