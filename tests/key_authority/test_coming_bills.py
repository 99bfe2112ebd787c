"""Bills that are still to be released: no question costs them a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker import asked_questions, query_trials
from gridsecure.key_authority.checker.asked_questions import LookedQuestion
from gridsecure.key_authority.checker.coming_bills import (
    ComingBills,
    find_billed,
    find_coming,
    find_harming,
)
from gridsecure.key_authority.checker.ledger import OF_MONTH, KnownSet, enter, read_told
from gridsecure.key_authority.checker.queried_uploads import QueriedData, verify_queried
from gridsecure.key_authority.checker.tables import SCHEMA
from gridsecure.messages import ReleaseRequest
from gridsecure.plans.cells import ENERGY, CellSets, Member, Place, ToldSet, roster_members
from gridsecure.plans.merging import Merged
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.schema import migrate
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import Authority
from tests.grid_simulator import NOW, GridUpload
from tests.key_authority.asked_queries import Asker, question_of
from tests.key_authority.test_month_queries import looked
from tests.key_authority.test_query_trials import Trying
from tests.key_authority.test_sealed_attacks import FUTIAN
from tests.key_authority.test_sealed_days import sealed_day

CELL = ("futian", "household")
pytestmark = pytest.mark.usefixtures("bills_to_come")


@pytest.fixture
def asker(authority: Authority) -> Asker:
    return Asker(authority)


def lying(asker: Asker) -> QueriedData:
    request = ReleaseRequest.parse(asker.ask(question_of(), span=asker.span).request.body)
    return verify_queried(asker.authority.zone, request, view=asker.authority.view)


def coming(asker: Asker) -> tuple[ComingBills, ...]:
    zone = asker.authority.zone
    with read_session(zone.engine) as session:
        queried = lying(asker)
        return find_coming(session, zone, queried, billed=find_billed(session, queried))


def withheld_of(asker: Asker) -> frozenset[str]:
    """What the bills' release would not tell of the cell."""
    (bills,) = coming(asker)
    with read_session(asker.authority.zone.engine) as session:
        known = read_told(session, lying(asker).period)
    return bills.withheld(known).get(CELL, frozenset())


def but_five(asker: Asker) -> str:
    """A question about the cell's homes but for five of them."""
    names = [
        name
        for upload in asker.uploads
        for name, *place in zip(
            upload.roster.manifest.pseudonyms,
            upload.roster.manifest.zones,
            upload.roster.manifest.customer_classes,
            strict=True,
        )
        if tuple(place) == CELL
    ]
    return question_of(where=FUTIAN | {"none_of": [{"pseudonym": sorted(names)[:5]}]})


@attack(
    "a cell of the month's bills, silenced by an early question about all but five of it",
    rule(
        "A question is withheld that would cost bills, which are to be released yet, a number.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.coming_bills:ComingBills.find_harming",
            "if not bills.is_harmed(",
            "if True or bills.is_harmed(",
        ),
    ),
)
def test_an_early_question_silences_no_cell_of_the_bills(asker: Asker, attacked: Attacked) -> None:
    assert withheld_of(asker) == frozenset()
    if looked(asker, but_five(asker), keep="early").withheld:
        attacked.ends(WITHHELD)
    else:
        attacked.ends("" if withheld_of(asker) else WITHHELD)


def test_a_whole_cell_is_told_before_its_bills(asker: Asker) -> None:
    assert not looked(asker, question_of(where=FUTIAN), keep="early").withheld
    assert withheld_of(asker) == frozenset()


@attack(
    "a cell of the month's bills, silenced by two questions at once, neither of which would alone",
    rule(
        "A question that was looked at beside bills to come waits if anything was told meanwhile.",
        "release.meanwhile",
        cut(
            "gridsecure.key_authority.checker.ledger:enter",
            "if giving.beside is not None and",
            "if False and",
        ),
    ),
)
def test_two_questions_at_once_silence_no_cell(
    asker: Asker, database_url: str, monkeypatch: pytest.MonkeyPatch, attacked: Attacked
) -> None:
    """Two checkers of one database look before either certifies; 14 of 48 would be left."""
    rosters = [upload.roster.manifest for upload in asker.uploads]
    everybody = frozenset(one for roster in rosters for one in roster_members(roster))
    bills = bills_of({CELL: everybody}, fewest=15)
    monkeypatch.setattr(asked_questions, "find_coming", lambda *_given, **_named: (bills,))
    names = sorted(one.name for one in everybody)
    both = [
        looked(asker, question_of(where={"pseudonym": own})) for own in (names[:17], names[17:34])
    ]
    assert not any(one.withheld for one in both)
    engine = open_database(database_url)
    migrate(engine, SCHEMA)
    ended = []
    for number, one in enumerate(both):
        try:
            with write_session(engine) as session:
                enter(session, one.giving, release_id=str(number), at=NOW)
        except GridSecureError as error:
            ended.append(error.reason)
        else:
            ended.append("")
    with read_session(engine) as session:
        known = read_told(session, both[0].giving.period)
    engine.dispose()
    assert ended[0] == "", "the first is answered in any case"
    assert bool(ended[1]) != bool(bills.withheld(known)), "else the cell would be lost"
    attacked.ends(ended[1])


def test_bills_that_were_released_are_not_to_come(asker: Asker) -> None:
    assert len(coming(asker)) == 1
    request = asker.authority.bill_request(asker.uploads)
    assert asker.authority.answer(request).state == "released"
    assert coming(asker) == ()


def test_bills_of_a_sealed_day_come_until_those_of_its_month_are_released(
    authority: Authority, uploads: list[GridUpload]
) -> None:
    days = [sealed_day(authority.grid, upload) for upload in uploads]
    for day in days:
        authority.show(day)
    asker = Asker(authority, lying=days)
    (bills,) = coming(asker)
    assert CELL in bills.sets
    homes, others = uploads
    assert authority.answer(authority.bill_request([homes])).state == "released"
    (bills,) = coming(asker)
    assert bills.sets
    assert CELL not in bills.sets
    assert authority.answer(authority.bill_request([others])).state == "released"
    assert coming(asker) == ()


def test_trials_forget_bills_that_were_released_meanwhile(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying, seen = Trying(authority), list[int]()
    real = query_trials.look_beside

    def counted(*given: Any) -> LookedQuestion:
        seen.append(len(given[-1]))
        return real(*given)

    monkeypatch.setattr(query_trials, "look_beside", counted)
    trying.tried(question_of(where=FUTIAN))
    assert authority.answer(authority.bill_request(trying.uploads)).state == "released"
    trying.tried(question_of(where=FUTIAN))
    assert (seen, trying.view.reads) == ([1, 0], 1)


# --- which groups --------------------------------------------------------------------------------


def people(place: Place, many: int) -> frozenset[Member]:
    return frozenset(Member(f"{place[0]}/{n}", "utility", counts=True) for n in range(many))


def told(members: frozenset[Member], minimum: int = 15) -> KnownSet:
    return KnownSet("month", ToldSet(members, minimum), is_group=True)


def bills_of(cells: Mapping[Place, frozenset[Member]], *, fewest: int) -> ComingBills:
    """Bills whose cells are told of so many."""
    merged = Merged({place: place for place in cells}, {place: {ENERGY: fewest} for place in cells})
    return ComingBills({place: CellSets(own) for place, own in cells.items()}, merged, OF_MONTH)


@pytest.fixture
def bills() -> ComingBills:
    """Two cells of 40 homes, of each of which 25 have to be told together."""
    places: Sequence[Place] = [("east", "household"), ("west", "household")]
    return bills_of({place: people(place, 40) for place in places}, fewest=25)


def test_the_group_that_costs_a_cell_is_withheld_and_no_other(bills: ComingBills) -> None:
    east, west = (own.cell for own in bills.sets.values())
    some = frozenset(sorted(west)[:35])
    assert find_harming([bills], [], {0: [told(east)], 1: [told(some)]}, most=50) == {1}
    assert find_harming([bills], [], {0: [told(east | west)]}, most=50) == set()


def test_groups_are_counted_that_hang_together_over_cells_or_what_was_told() -> None:
    """As after the bills: of sixty zones, the one less five homes is withheld alone."""
    places: Sequence[Place] = [(f"z{number:02}", "household") for number in range(60)]
    bills = bills_of({place: people(place, 20) for place in places}, fewest=15)
    groups = {number: [told(people(place, 20))] for number, place in enumerate(places)}
    groups[0] = [told(frozenset(sorted(people(places[0], 20))[:15]))]
    assert find_harming([bills], [], groups, most=50) == {0}
    before = told(frozenset().union(*(people(place, 20) for place in places[:59])))
    assert find_harming([bills], [before], groups, most=59) == {0}
    assert find_harming([bills], [before], groups, most=58) == set(range(59))


def test_a_long_row_of_told_sets_joins_groups_too() -> None:
    places: Sequence[Place] = [(f"z{number:02}", "household") for number in range(40)]
    cells = {place: people(place, 20) for place in places}
    row = [told(cells[one] | cells[other]) for one, other in pairwise(places)]
    groups = {0: [told(frozenset(sorted(cells[places[0]])[:15]))], 1: [told(cells[places[-1]])]}
    assert find_harming([bills_of(cells, fewest=15)], row, groups, most=1) == {0, 1}
    assert find_harming([bills_of(cells, fewest=15)], row[1:], groups, most=1) == {0}


def test_people_beside_a_cell_count_as_its_bills_want_it(bills: ComingBills) -> None:
    """Twenty who are in no cell are enough for a question, and too few beside the bills' cell."""
    east = bills.sets["east", "household"].cell
    others = people(("north", "household"), 20)
    assert find_harming([bills], [], {0: [told(east | others)]}, most=50) == {0}
    assert find_harming([bills], [], {0: [told(others)]}, most=50) == set()


def test_a_cell_that_is_withheld_anyway_stands_in_nobodys_way(bills: ComingBills) -> None:
    east = bills.sets["east", "household"].cell
    before = told(frozenset(sorted(east)[:35]))
    again = told(frozenset(sorted(east)[:34]))
    assert find_harming([bills], [before], {0: [again]}, most=50) == set()


def test_squares_of_two_cells_wait_until_the_bills_of_both_are_out(bills: ComingBills) -> None:
    """The cells would divide them, and nobody would look at the squares of each."""
    east, west = (own.cell for own in bills.sets.values())
    squares = [told(own)._replace(has_squares=True) for own in (east, east | west)]
    assert find_harming([bills], [], {0: [squares[0]]}, most=50) == set()
    assert find_harming([bills], [], {0: [squares[1]]}, most=50) == {0}
    assert find_harming([bills], [told(east), told(west)], {0: [squares[1]]}, most=50) == set()
