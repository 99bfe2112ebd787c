"""No customer above a share of a cell: compared in the vault, followed by everything finer.

The household cell of Futian has 26 meter points, of which the largest has 11.77 % of the energy and
of the money: it keeps a limit of 12 % and not one of 11 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from gridsecure.analyst import reports
from gridsecure.analyst.releases import Release, pin_authority, verify_release
from gridsecure.errors import GridSecureError, ReleaseRefusedError
from gridsecure.key_authority.checker import told_cells
from gridsecure.key_authority.checker.answering import RELEASED, list_certificates
from gridsecure.key_authority.checker.tables import ToldSetRow
from gridsecure.key_authority.checker.told_cells import settle_dominance
from gridsecure.key_authority.dominance import CellShares, Shares
from gridsecure.key_authority.packages import CheckedRoster, VaultAnswer
from gridsecure.messages import (
    CellTotal,
    PreviewCell,
    ReleaseCertificate,
    sign_message,
)
from gridsecure.plans.cells import ENERGY, MEASURES, MONEY, NO_MEASURES, Member, ToldSet, may_tell
from gridsecure.policy.language import Policy
from gridsecure.released_values import detach_values, sign_certificate
from gridsecure.store.database import read_session
from tests.approving import approved_bills
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority
from tests.correction_simulator import CHEAPER
from tests.grid_simulator import GridSimulator, GridUpload
from tests.key_authority.test_corrections import corrected, slots_of
from tests.key_authority.test_policies import hold, policy_of
from tests.key_authority.test_shadows import installed, previewed
from tests.key_authority.test_vault import Order, changed_roster, keep_no_more, order, roster_of

__all__ = ["order"]

BIG = ("futian", "household")
KEPT, BROKEN = 12, 11
Uploads = list[GridUpload]


def limited(limit: int) -> Policy:
    return policy_of(("minimum = 15", f"minimum = 15\ndominance = {limit}"))


def member(number: int, owner: str = "utility", *, counts: bool = True) -> Member:
    return Member(f"{owner}-{number}", owner, counts)


# --- what the vault compares ----------------------------------------------------------------------


def shares_of(rows: Sequence[tuple[Member, int]], points: int = 0) -> Shares:
    shares = Shares(points)
    for one, value in rows:
        shares.add(one, value)
    return shares


TWO_OWNERS = [(member(n), 10) for n in range(18)] + [(member(n, "b"), 10) for n in range(2)]


@pytest.mark.parametrize(
    ("rows", "limit", "expected"),
    [
        ([(member(n), 10) for n in range(20)], 5, True),
        ([(member(n), 10) for n in range(20)], 4, False),
        ([(member(n), 10 + n // 19) for n in range(20)], 5, False),
        ([(member(n), 0) for n in range(20)], 5, True),
        ([], 5, True),
        # Whoever has no other meter point is one customer; the others may all be one's.
        ([(member(n, counts=n > 2), 10) for n in range(20)], 20, True),
        ([(member(n, counts=n > 2), 10) for n in range(20)], 19, False),
        # An owner subtracts its own: what is a twentieth of the cell is half of the others'.
        (TWO_OWNERS, 5, False),
        (TWO_OWNERS, 49, False),
        (TWO_OWNERS, 50, True),
        # What is given back is as large as what is taken, and the total that is told is smaller.
        ([(member(n), 10 if n else -10) for n in range(20)], 5, False),
    ],
)  # fmt: skip
def test_no_customer_is_above_the_limit(
    rows: list[tuple[Member, int]], limit: int, expected: bool
) -> None:
    assert shares_of(rows).keep(limit) is expected


points = st.lists(
    st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 60)), min_size=1, max_size=7
)


@given(points, st.integers(1, 99), st.data())
def test_no_cell_passes_whoevers_the_meter_points_are_that_do_not_count(
    found: list[tuple[str, bool, int]], limit: int, data: st.DataObject
) -> None:
    """The vault does not know it, so whatever the books say has to be within the limit."""
    rows = [(member(n, owner, counts=counts), v) for n, (owner, counts, v) in enumerate(found)]
    customers: dict[int, list[tuple[str, int]]] = {}
    for number, (owner, counts, value) in enumerate(found):
        whose = number if counts else data.draw(st.integers(-1, len(found) - 1))
        customers.setdefault(whose, []).append((owner, value))
    rests = [lambda _owner: True, *[lambda owner, own=own: owner != own for own in "ab"]]
    if len({owner for owner, _, _ in found}) == 1:
        rests = rests[:1]
    is_within = all(
        100 * max(sum(v for owner, v in own if keeps(owner)) for own in customers.values())
        <= limit * sum(v for own in customers.values() for owner, v in own if keeps(owner))
        for keeps in rests
    )
    assert is_within or not shares_of(rows).keep(limit)
    if all(counts for _, counts, _ in found):
        assert shares_of(rows).keep(limit) is is_within
    # Whose counting point is elsewhere has one more than here.
    counting = {number for number, (_, counts, _) in enumerate(found) if counts}
    most = max(len(own) + (whose not in counting) for whose, own in customers.items())
    if most > 1:
        assert is_within or not shares_of(rows, most).keep(limit), "the books say how many at most"


def test_the_fewer_meter_points_a_customer_has_the_more_cells_keep_the_limit() -> None:
    rows = [(member(n, counts=n % 5 != 4), 10) for n in range(60)]
    assert [shares_of(rows, points).keep(5) for points in (0, 2, 3, 4)] == [
        False,
        True,
        True,
        False,
    ]


def test_money_is_compared_in_each_part_that_the_reader_can_compute() -> None:
    """Energy and money of two prices give both parts: one of five has 40 % of its own."""
    cell = CellShares()
    for number in range(30):
        cell.add(member(number), "flat", energy_wh=100, amount_fen=50)
    for number, energy_wh in enumerate((40, 15, 15, 15, 15), 30):
        cell.add(member(number), "peak", energy_wh=energy_wh, amount_fen=energy_wh)
    assert cell.list_withheld(15, tells_money=False) == NO_MEASURES
    assert cell.list_withheld(15, tells_money=True) == {MONEY}
    assert cell.list_withheld(40, tells_money=True) == NO_MEASURES
    assert cell.list_withheld(3, tells_money=True) == {ENERGY, MONEY}


def test_zones_of_a_merged_cell_are_compared_together() -> None:
    parts = [CellShares() for _ in range(3)]
    for number, part in product(range(7), range(3)):
        parts[part].add(member(10 * part + number), "flat", energy_wh=10, amount_fen=1)
    assert parts[0].list_withheld(10, tells_money=True) == {ENERGY, MONEY}
    for other in parts[1:]:
        parts[0].add_all(other)
    assert parts[0].list_withheld(10, tells_money=True) == NO_MEASURES


# --- sets -----------------------------------------------------------------------------------------


def test_of_a_limited_cell_only_sets_that_kept_it_can_be_told_apart() -> None:
    whole, some = (frozenset(map(member, found)) for found in (range(60), range(20)))
    rest = whole - some
    month = ToldSet(whole, 15, 15)
    curve = {"is_compared": False}
    assert may_tell([month], told=[])
    assert not may_tell([month], told=[], **curve), "half-hours before the month"
    assert may_tell([month], told=[month], **curve)
    assert not may_tell([ToldSet(whole, 15, 14)], told=[month], **curve), "by a smaller limit"
    assert not may_tell([ToldSet(some, 15, 15)], told=[month], **curve), "half-hours of a part"
    # The rest would be what is left of the month, and nobody compared it.
    assert not may_tell([ToldSet(some, 15, 15)], told=[month])
    assert not may_tell([ToldSet(some, 15)], told=[month]), "the month's limit stays"
    assert not may_tell([month], told=[ToldSet(some, 15)])
    # Two lists, each compared, and half-hours of both.
    lists = [ToldSet(some, 15, 15), ToldSet(rest, 15, 15)]
    assert may_tell(lists[:1], told=lists[1:])
    assert may_tell([month], told=lists, **curve)
    assert not may_tell([month], told=[lists[0], ToldSet(rest, 15)], **curve)


# --- end to end -----------------------------------------------------------------------------------


def by_cell(
    certificate: ReleaseCertificate | VaultAnswer,
) -> dict[tuple[str, str], dict[str, CellTotal]]:
    found: dict[tuple[str, str], dict[str, CellTotal]] = {}
    for cell in certificate.cells:
        found.setdefault((cell.zone, cell.customer_class), {})[cell.measure] = cell
    return found


def told(cells: Mapping[str, CellTotal]) -> set[str]:
    return {measure for measure, cell in cells.items() if cell.value is not None}


def billed(authority: Authority, uploads: Uploads) -> dict[tuple[str, str], dict[str, CellTotal]]:
    outcome = authority.answer(authority.bill_request(uploads))
    assert (outcome.state, outcome.reason) == (RELEASED, None)
    return by_cell(authority.certificates[-1])


def curves(
    authority: Authority, uploads: Uploads, *, day: int = 0, seed: bytes = SEED
) -> dict[tuple[str, str], dict[str, CellTotal]]:
    """A day of load curves, one interval of each cell."""
    transcript = authority.load_curve_transcript(uploads, day=day, seed=seed)
    own = transcript.model_copy(update={"policy": authority.zone.policy.digest})
    outcome = authority.answer(authority.request([own], seeds=[seed]))
    assert (outcome.state, outcome.reason) == (RELEASED, None)
    return by_cell(authority.certificates[-1])


def read(authority: Authority) -> Release:
    envelope = list_certificates(authority.zone)[-1]
    pinned = pin_authority(authority.grid.authority_key.public_key.point.hex())
    return verify_release(envelope.model_dump_json().encode(), authority=pinned)


def kept_shares(authority: Authority) -> set[int]:
    with read_session(authority.zone.engine) as session:
        return {row.largest_share for row in session.exec(select(ToldSetRow))}


def test_a_cell_that_keeps_the_limit_is_told_and_its_load_curve_follows(
    authority: Authority, uploads: Uploads
) -> None:
    hold(authority, limited(KEPT))
    cells = billed(authority, uploads)
    assert told(cells[BIG]) == set(MEASURES)
    assert {cell.withheld_by for cell in cells[BIG].values()} == {""}
    assert authority.certificates[-1].dominance == {"monthly": {"*": KEPT}}
    assert kept_shares(authority) == {KEPT}
    assert told(curves(authority, uploads)[BIG]) == {ENERGY}
    assert {cell.limit for cell in read(authority).cells} == {KEPT}


def test_a_cell_with_a_customer_above_it_is_withheld_by_name(
    authority: Authority, uploads: Uploads
) -> None:
    hold(authority, limited(BROKEN))
    cells = billed(authority, uploads)
    assert told(cells[BIG]) == {"bills"}
    assert {m: cell.withheld_by for m, cell in cells[BIG].items()} == {
        "bills": "", ENERGY: "dominance", MONEY: "dominance",
    }  # fmt: skip
    assert kept_shares(authority) == set(), "of no cell it is thought that it kept the limit"
    release = read(authority)
    table = reports.bill_table(release)
    assert reports.DOMINATED in set(table["state"])
    assert reports.bill_totals(table).dominated == 2  # the merged cell has a factory
    # Half-hours of it would tell the month.
    followed = curves(authority, uploads)[BIG]
    assert told(followed) == set()
    assert {cell.withheld_by for cell in followed.values()} == {"dominance"}
    assert len(authority.certificates[0].statements) == len(uploads), "bills are issued"


@attack(
    "one customer's month by the total of a cell of which it has most",
    rule(
        "No customer is above the share of a cell that policy lets one have.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.dominance:Shares.keep",
            "<= limit * abs(held.total)",
            ">= 0",
        ),
    ),
)
def test_a_dominant_customer_by_a_months_total(
    authority: Authority, uploads: Uploads, attacked: Attacked
) -> None:
    hold(authority, limited(BROKEN))
    cells = billed(authority, uploads)
    attacked.ends(None if ENERGY in told(cells[BIG]) else WITHHELD)


def test_half_hours_come_after_the_month(authority: Authority, uploads: Uploads) -> None:
    hold(authority, limited(KEPT))
    early = curves(authority, uploads)[BIG]
    assert told(early) == set()
    assert {cell.withheld_by for cell in early.values()} == {"dominance"}
    assert told(billed(authority, uploads)[BIG]) == set(MEASURES)
    # Nothing was told of that day, so it can be asked for again.
    assert told(curves(authority, uploads, seed=bytes(32))[BIG]) == {ENERGY}


@attack(
    "one customer's month by the load curves of its cell",
    rule(
        "What is finer is told of sets whose month was compared and kept the limit.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.answering:_bill",
            "settle_dominance(prepared, cells)",
            "prepared",
        ),
    ),
)
def test_a_dominant_customer_by_load_curves(
    authority: Authority, uploads: Uploads, attacked: Attacked
) -> None:
    """Were a cell above the limit kept as one that was compared, its half-hours would be told."""
    hold(authority, limited(BROKEN))
    assert ENERGY not in told(billed(authority, uploads)[BIG])
    followed = curves(authority, uploads)[BIG]
    attacked.ends(None if ENERGY in told(followed) else WITHHELD)


def test_corrections_of_a_limited_cell_tell_nothing(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    hold(authority, limited(KEPT))
    billed(authority, uploads)
    upload = corrected(grid, uploads[0], slots_of(uploads[0]))
    assert authority.answer(authority.rebill_request([upload])).state == RELEASED
    cells = by_cell(authority.certificates[-1])[BIG]
    assert told(cells) == set()
    assert {cell.withheld_by for cell in cells.values()} == {"dominance"}
    assert read(authority).plan == "rebill"
    assert told(curves(authority, uploads)[BIG]) == {ENERGY}, "no set was made of the corrected"


def test_previews_of_a_limited_cell_tell_nothing(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    hold(authority, limited(KEPT))
    tariff = installed(grid, uploads[0], CHEAPER)
    cells: Mapping[tuple[str, str], PreviewCell] = previewed(
        authority, authority.shadow_request([authority.shadow_transcript(uploads[0], tariff)])
    )
    cell = cells[BIG]
    assert (cell.energy_wh, cell.amount_fen) == (None, None)
    assert (cell.changed_least, cell.changed_most) == (0, 26)
    # And so they are in nobody's way.
    assert told(billed(authority, uploads)[BIG]) == set(MEASURES)


# --- a checker that lies --------------------------------------------------------------------------


def released(authority: Authority, ordered: Order) -> VaultAnswer:
    content, files = ordered
    return authority.vault.release_bills(
        sign_message(content, key=authority.grid.authority_key), files, list[bytes]().append
    )


@attack(
    "an order of bills without the policy's limit of dominance",
    rule(
        "The vault compares what it is ordered to tell with its own policy.",
        "policy.differs",
        cut(
            "gridsecure.key_authority.vault.gate:Passage.check_minima",
            "if minima !=",
            "if False and minima !=",
        ),
    ),
)
def test_the_vault_takes_no_other_limit_from_the_checker(
    authority: Authority, order: Order, attacked: Attacked
) -> None:
    content, files = approved_under(authority, order, limited(BROKEN))
    answer = attacked.tries(lambda: released(authority, (content, files)))
    assert answer is None or told(by_cell(answer)[BIG]) == set(MEASURES)


def test_the_vault_takes_the_limit_of_its_own_policy(authority: Authority, order: Order) -> None:
    content, files = approved_under(authority, order, limited(KEPT))
    for dominance in ({"*": KEPT + 1}, {"*": KEPT, "household": 99}):
        said = content.model_copy(update={"dominance": dominance})
        with pytest.raises(GridSecureError) as refused:
            released(authority, (said, files))
        assert refused.value.reason == "policy.differs"
    answer = released(authority, (content.model_copy(update={"dominance": {"*": KEPT}}), files))
    assert told(by_cell(answer)[BIG]) == set(MEASURES)


def approved_under(authority: Authority, order: Order, policy: Policy) -> Order:
    """An order that officers approved under a policy, which the vault has."""
    hold(authority, policy)
    content, files = order
    checked = CheckedRoster.parse(files[0])
    span = {"start": content.start, "end": content.end}
    approved = approved_bills(checked.roster, checked.outputs, policy=policy.digest, **span)
    return content.model_copy(update={"approved": approved}), files


def test_the_vault_takes_nobodys_word_for_who_counts(authority: Authority, order: Order) -> None:
    """With others counting than officers approved, a customer's meter points would be several's."""
    roster = roster_of(order)
    counted = [number > 0 for number in range(roster.slots)]
    (content, files) = changed_roster(order, roster=roster.model_copy(update={"counted": counted}))
    said = content.model_copy(update={"approved": order[0].approved})
    with pytest.raises(ReleaseRefusedError) as refused:
        authority.vault.release_bills(
            sign_message(said, key=authority.grid.authority_key), files, keep_no_more
        )
    assert refused.value.reason == "approval.order"


# --- readers --------------------------------------------------------------------------------------


def test_a_reader_refuses_a_certificate_that_breaks_its_own_limit(
    authority: Authority, uploads: Uploads
) -> None:
    hold(authority, limited(BROKEN))
    billed(authority, uploads)
    (certificate,) = authority.certificates
    pinned = pin_authority(authority.grid.authority_key.public_key.point.hex())

    def verify(**changes: object) -> None:
        said = certificate.model_copy(update=changes)
        key = authority.grid.authority_key
        text = sign_certificate(*detach_values(said), key=key).model_dump_json()
        verify_release(text.encode(), authority=pinned)

    def with_value(measure: str, **changes: object) -> list[CellTotal]:
        return [
            cell.model_copy(update={"value": "1", **changes})
            if (cell.zone, cell.customer_class, cell.measure) == (*BIG, measure)
            else cell
            for cell in certificate.cells
        ]

    verify()
    for lie in (
        {"cells": with_value(ENERGY)},
        {"cells": with_value(MONEY, withheld_by="")},
        {"dominance": {}},
    ):
        with pytest.raises(ReleaseRefusedError) as refused:
            verify(**lie)
        assert refused.value.reason == "release.dominance"


def test_a_cell_whose_money_alone_is_above_keeps_its_energy_in_the_ledger() -> None:
    cell = ToldSet(frozenset(map(member, range(30))), 15, 15)
    part = cell._replace(members=frozenset(map(member, range(15))))
    prepared = told_cells.Prepared(
        giving=replace(EMPTY, told={BIG: (cell, part)}),
        withheld={}, minima=None, counted={}, merged=None,
    )  # fmt: skip
    span = {"start": "", "end": "", "members": 30, "value": None}
    above = CellTotal(zone=BIG[0], customer_class=BIG[1], measure=MONEY, withheld_by="dominance",
                      **span)  # fmt: skip
    assert settle_dominance(prepared, [above]).giving.told == {BIG: (cell,)}
    both = [above, above.model_copy(update={"measure": ENERGY})]
    assert settle_dominance(prepared, both).giving.told == {}


EMPTY = told_cells.Giving({}, {}, None)
