"""Questions about registers, tiers, bills, edges and squares of a month, from query to answer.

What is expected is what pandas and the plaintext bills say of the same meter points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gridsecure.billing.bills import compute_bills
from gridsecure.billing.rounding import round_half_up
from gridsecure.billing.settlements import settle
from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.checker.asked_questions import (
    AskedQuestion,
    LookedQuestion,
    lay_out_question,
    look_at_groups,
    look_beside,
    part_places,
    read_question,
)
from gridsecure.key_authority.checker.key_sets import key_ring
from gridsecure.key_authority.checker.ledger import SQUARES, KnownSet, enter
from gridsecure.key_authority.checker.queried_uploads import verify_queried
from gridsecure.key_authority.checker.told_edges import enter_edges
from gridsecure.messages import ReleaseRequest
from gridsecure.plans.cells import Member, ToldSet
from gridsecure.plans.execution import compile_bill, execute_bill, roster_data
from gridsecure.plans.transcript_inputs import check_executed
from gridsecure.store.database import read_session, write_session
from gridsecure.tariffs.tariff import parse_tariff
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import Authority
from tests.billing.bill_inputs import catalogue_text
from tests.grid_simulator import HOUR, NOW, TIERS, GridSimulator, delivered_grid
from tests.key_authority.asked_queries import Asked, Asker, question_of

HOMES = {"customer_class": ["household"]}
MINE = catalogue_text(TIERS).replace("upper_limit_kwh = 600", "upper_limit_kwh = 550")


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridSimulator]:
    """104 homes by tiers, 50, 38 and 16 of which end in each, and 24 shops and factories."""
    folder = tmp_path_factory.mktemp("months")
    with delivered_grid(folder, meters=128, household_tariff=TIERS) as found:
        yield found


@pytest.fixture
def asker(months: GridSimulator, tmp_path: Path) -> Iterator[Asker]:
    authority = Authority(months, tmp_path / "authority")
    # Columns are at hand, so that no test waits for the platform's disk.
    authority.view.sent |= {name: d for one in months.uploads for name, d in one.objects.items()}
    yield Asker(authority)
    authority.close()


def settled(grid: GridSimulator, *, homes: bool) -> pd.DataFrame:
    """What the meters of homes, or of all others, are settled at."""
    (roster,) = [r for r in grid.rosters if ("household" in r.manifest.customer_classes) == homes]
    own = grid.readings[grid.readings["meter_point_id"].isin(roster.meter_point_ids)]
    return settle(own, tariff=grid.tariff(roster), interval=HOUR)


def month_wh(grid: GridSimulator) -> pd.Series:
    """What each home used [Wh]."""
    return settled(grid, homes=True)["total_wh"].astype(object)


def billed(grid: GridSimulator) -> int:
    """What everybody was billed, before lines are rounded [fen]."""
    return int(round_half_up(sum(grid.bills(roster).totals.sum() for roster in grid.rosters)))


def billed_by_mine(grid: GridSimulator) -> int:
    bills = compute_bills(
        settled(grid, homes=True), tariff=parse_tariff(MINE), contracts=grid.contracts,
        period=grid.period,
    )  # fmt: skip
    return int(round_half_up(bills.totals.sum()))


def between(wh: pd.Series, low: int, high: int) -> int:
    return int((wh.clip(1000 * low, 1000 * high) - 1000 * low).sum())


EXACT: dict[str, tuple[str, Callable[[GridSimulator], list[int]]]] = {
    "a register": (
        question_of(measure="register:peak"),
        lambda grid: [int(settled(grid, homes=False)["peak_wh"].sum())],
    ),
    "a tier": (
        question_of(measure="tier:2", where=HOMES),
        lambda grid: [between(month_wh(grid), 260, 600)],
    ),
    "bills of two tariffs": (question_of(measure="bill"), lambda grid: [billed(grid)]),
    "bills by a secret tariff": (
        question_of(measure="bill", where=HOMES, statistic={"name": "what_if", "tariff": MINE}),
        lambda grid: [billed_by_mine(grid)],
    ),
    "deciles": (
        question_of(
            where=HOMES,
            statistic={"name": "quantile", "points": ["0.5"], "edges_kwh": [100, 250, 550]},
        ),
        lambda grid: [int((month_wh(grid) >= 1000 * edge).sum()) for edge in (100, 250, 550)],
    ),
    "squares": (
        question_of(where=HOMES, statistic={"name": "cv"}),
        lambda grid: [int(month_wh(grid).sum()), int((month_wh(grid) ** 2).sum())],
    ),
}


def values(asker: Asker, asked: Asked) -> list[int | None]:
    return [cell.value for cell in asker.release(asked).cells]


@pytest.mark.parametrize("name", EXACT)
def test_what_is_told_is_what_the_open_says(asker: Asker, name: str) -> None:
    question, expected = EXACT[name]
    asked = asker.ask(question)
    assert asker.answered(asked).state == "released"
    assert values(asker, asked) == expected(asker.grid)


def test_what_was_told_of_all_homes_is_looked_at_zone_by_zone(asker: Asker) -> None:
    """In each zone are fewer than 15 of the highest tier: one zone would be all less the other."""
    every = asker.ask(question_of(measure="tier:3", where=HOMES))
    assert asker.answered(every).state == "released"
    assert values(asker, every) != [None]
    zones = asker.ask(question_of(measure="tier:2", where=HOMES, group_by=["zone"]))
    assert asker.answered(zones).state == "released"
    assert values(asker, zones) == [None, None]
    answer = asker.answer(zones)
    assert answer.groups is not None
    assert [group.points for group in answer.groups.groups] == [0, 0]


def looked(asker: Asker, question: str, *, keep: str = "", is_told: bool = True) -> LookedQuestion:
    """What of a question may be told, without anything computed; kept as if it was told.

    Or, of squares, as if the vault withheld it.
    """
    return laid_out(asker, question, keep=keep, is_told=is_told)[1]


def laid_out(
    asker: Asker, question: str, *, keep: str = "", is_told: bool = True
) -> tuple[AskedQuestion, LookedQuestion]:
    """The same, and how it is laid out."""
    zone, asked = asker.authority.zone, asker.ask(question)
    request = ReleaseRequest.parse(asked.request.body)
    queried = verify_queried(zone, request, view=asker.authority.view)
    laid = lay_out_question(zone, read_question(zone, asked.query), queried)
    with read_session(zone.engine) as session:
        found = look_at_groups(session, zone, laid, queried)
    if keep:
        with write_session(zone.engine) as session:
            enter(session, found.giving, release_id=keep, at=NOW)
            if laid.is_squared and laid.month is not None and laid.month.known is not None:
                edges = dict.fromkeys(found.giving.told, frozenset({SQUARES}))
                if not is_told:
                    own = laid.month.told_edges([], groups=len(laid.found))
                    edges = {place: own[part] for part, place in part_places(laid).items()}
                enter_edges(session, found.giving, edges, known=laid.month.known, at=NOW)
    return laid, found


@attack(
    "one shop among sixteen meter points that two questions about bills differ by",
    rule(
        "Those who pay by one tariff are a set of their own in the ledger.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.asked_questions:AskedQuestion.parts",
            "if self.month is None",
            "if True",
        ),
    ),
)
def test_cohorts_that_differ_by_one_of_a_tariff(asker: Asker, attacked: Attacked) -> None:
    by_class: dict[str, list[str]] = {"household": [], "other": []}
    for upload in asker.uploads:
        roster = upload.roster.manifest
        for name, kind in zip(roster.pseudonyms, roster.customer_classes, strict=True):
            by_class["household" if kind == "household" else "other"].append(name)
    left = sorted([*by_class["household"][:15], by_class["other"][0]])
    assert not looked(asker, question_of(measure="bill"), keep="first").withheld
    second = looked(asker, question_of(measure="bill", where={"none_of": [{"pseudonym": left}]}))
    attacked.ends(WITHHELD if second.withheld else "")


def test_steps_of_a_bill_are_named_and_the_first_that_differs_is_told(asker: Asker) -> None:
    """Energy above each limit, then what each line multiplies: digests that a second run gives."""
    (homes,) = [one for one in asker.uploads if "household" in one.roster.manifest.customer_classes]
    said = asker.authority.bill_transcript(homes)
    assert list(said.steps) == ["above:0", "above:1", "line:1:0", "line:2:0"]
    assert not {*said.steps.values()} & {*said.inputs.values()}
    data = roster_data(homes.roster.manifest, homes.manifest)
    steps: dict[str, str] = {}
    inputs, outputs = execute_bill(
        data,
        plan=compile_bill(data, tariff=asker.grid.tariff(homes.roster)),
        load=asker.authority.view.object,
        keys=key_ring(asker.authority.zone),
        steps=steps,
    )
    given = {"inputs": inputs, "outputs": {name: one.entry for name, one in outputs}}
    check_executed(said, **given, steps=steps)
    check_executed(said.model_copy(update={"steps": {}}), **given, steps=steps)
    other = said.steps | {"line:2:0": "0" * 64, "above:1": "0" * 64}
    for wrong in (other, {**said.steps, "above:1": "0" * 64}):
        with pytest.raises(ReleaseRefusedError, match=r"first step that differs is 'above:1'"):
            check_executed(said.model_copy(update={"steps": wrong}), **given, steps=steps)
    long = said.model_copy(update={"steps": steps | {"x" * 10_000: "0" * 64}})
    with pytest.raises(ReleaseRefusedError, match=f"differs is '{'x' * 64}'"):
        check_executed(long, **given, steps=steps)


def first_homes(asker: Asker, many: int) -> dict[str, Any]:
    """A cohort of some homes."""
    (homes,) = [one for one in asker.uploads if "household" in one.roster.manifest.customer_classes]
    return {"pseudonym": sorted(homes.roster.manifest.pseudonyms)[:many]}


@attack(
    "the largest of fifteen by their energy and, later, a variance of them and others",
    rule(
        "Squares are looked at in all that sets divide of which anything was told.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.asked_months:read_known",
            "if asked.is_of_moments",
            "if False",
        ),
    ),
)
def test_a_variance_of_more_than_a_plain_energy(asker: Asker, attacked: Attacked) -> None:
    """The vault looks at the fifteen by themselves, as at any cell, and withholds the variance."""
    fifteen = first_homes(asker, 15)
    assert not looked(asker, question_of(where=fifteen), keep="energy").withheld
    laid, found = laid_out(asker, question_of(where=HOMES, statistic={"name": "variance"}))
    assert not found.withheld
    assert laid.month is not None
    counted = sorted(sum((own == cell).sum() for own in laid.month.cells.rows) for cell in (0, 1))
    attacked.ends(WITHHELD if counted == [15, 89] else "")


@attack(
    "the same the other way round: the variance first",
    rule(
        "Nothing is told of a set that divides what squares were told of.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.ledger:Basis.divides_squares",
            "not self.is_squared and",
            "False and",
        ),
    ),
)
def test_a_plain_energy_of_some_of_a_variance(asker: Asker, attacked: Attacked) -> None:
    variance = {"name": "variance"}
    assert not looked(asker, question_of(where=HOMES, statistic=variance), keep="one").withheld
    for more in (question_of(where=HOMES), question_of(where=HOMES, statistic={"name": "cv"})):
        assert not looked(asker, more).withheld, "the same people, or squares again"
    fifteen = question_of(where=first_homes(asker, 15), statistic=variance)
    assert not looked(asker, fifteen, keep="two").withheld, "the vault looks at both"
    assert not looked(asker, question_of(where=first_homes(asker, 15))).withheld, "as it did"
    found = looked(asker, question_of(where=first_homes(asker, 30)))
    attacked.ends(WITHHELD if found.withheld else "")


def test_squares_that_the_vault_withheld_divide_nothing(asker: Asker) -> None:
    """Their set is no edge that the vault found nobody to have most beside."""
    variance = {"name": "variance"}
    fifteen = first_homes(asker, 15)
    assert not looked(asker, question_of(where=HOMES, statistic=variance), keep="one").withheld
    asked = question_of(where=fifteen, statistic=variance)
    assert not looked(asker, asked, keep="two", is_told=False).withheld
    assert looked(asker, question_of(where=fifteen)).withheld
    assert not looked(asker, question_of(where=HOMES)).withheld


@attack(
    "how much one home has, by which variances of it and fifteen others the vault withholds",
    rule(
        "Sets of which squares were withheld are compared like those that something was told of.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.ledger:_compare",
            "matters = one.kind",
            "matters = not one.is_withheld and one.kind",
        ),
    ),
)
def test_variances_that_are_withheld_weigh_nobody(asker: Asker, attacked: Attacked) -> None:
    home, *others = first_homes(asker, 31)["pseudonym"]
    first, second = (
        question_of(where={"pseudonym": [home, *fifteen]}, statistic={"name": "variance"})
        for fifteen in (others[:15], others[15:])
    )
    assert not looked(asker, first, keep="first", is_told=False).withheld
    attacked.ends(WITHHELD if looked(asker, second).withheld else "")


@attack(
    "the energy of fifteen by load curves of days on which all others of a variance were silent",
    rule(
        "Nothing of squares is told of a group in which somebody's readings changed.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.asked_questions:_moved_groups",
            "and not asked.is_squared",
            "",
        ),
    ),
)
def test_a_variance_of_homes_that_were_silent_by_day(asker: Asker, attacked: Attacked) -> None:
    """Their days were settled later, so their slots of the month are said to be changed."""
    zone = asker.authority.zone
    asked = asker.ask(question_of(where=HOMES, statistic={"name": "variance"}))
    request = ReleaseRequest.parse(asked.request.body)
    queried = verify_queried(zone, request, view=asker.authority.view)
    laid = lay_out_question(zone, read_question(zone, asked.query), queried)
    assert not look_beside(laid, queried, ()).withheld
    moved = []
    for data in queried.datas:
        slots = list(range(data.roster.slots - 15, data.roster.slots))
        upload = data.upload.model_copy(update={"changed_slots": slots})
        moved.append(replace(data, upload=upload))
    found = look_beside(laid, replace(queried, datas=tuple(moved)), ())
    attacked.ends(WITHHELD if found.withheld else "")


def test_a_variance_of_homes_that_changed_in_an_earlier_version(asker: Asker) -> None:
    homes = first_homes(asker, 30)["pseudonym"]
    members = frozenset(Member(name, "utility", True) for name in homes)
    zone = asker.authority.zone
    for question, is_withheld in (
        (question_of(where=HOMES, statistic={"name": "variance"}), True),
        (question_of(measure="tier:2", where=HOMES), False),
    ):
        asked = asker.ask(question)
        request = ReleaseRequest.parse(asked.request.body)
        queried = verify_queried(zone, request, view=asker.authority.view)
        laid = lay_out_question(zone, read_question(zone, asked.query), queried)
        found = look_beside(laid, queried, [KnownSet("changed", ToldSet(members, 0))])
        assert bool(found.withheld) == is_withheld


def test_squares_are_asked_again_where_more_was_told_since_officers_saw_them(asker: Asker) -> None:
    asked = asker.ask(question_of(where=HOMES, statistic={"name": "variance"}))
    assert asker.unapproved(asked).state == "waiting"
    looked(asker, question_of(where=first_homes(asker, 15)), keep="energy")
    assert asker.answered(asked).reason == "release.query"
    assert asker.answer(asked).reason == "query.meanwhile"
