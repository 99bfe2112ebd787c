"""The attack: whoever runs a gateway fills up the cell in which somebody else has one household.

It enrols enough meter points of its own in that cell, waits for the release, and subtracts what it
knows. When cells were counted over all gateways alike, the rest was the victim's energy to the Wh
and its bill to the fen. What stops it is counted by owner: a number about a cell is about enough
customers outside any one owner, or about none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gridsecure.gateway.rosters import Roster, remove_members
from gridsecure.key_authority.checker.answering import RELEASED
from gridsecure.messages import ReleaseCertificate
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import Authority
from tests.grid_simulator import GridSimulator, GridUpload, delivered_grid
from tests.held_policy import FEWEST

CELL = ("futian", "household")


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[GridSimulator]:
    with delivered_grid(tmp_path / "platform") as grid:
        yield grid


def owned(grid: GridSimulator, members: Sequence[str], *, owner: str) -> GridUpload:
    """The upload of some households, from a gateway that the owner runs."""
    every = next(r for r in grid.rosters if "household" in r.manifest.customer_classes)
    others = set(every.manifest.pseudonyms) - set(members)
    roster = remove_members(every, others)
    assert roster is not None
    manifest = grid.seated(roster.manifest.model_copy(update={"owner": owner}))
    return grid.upload(replace(roster, manifest=manifest))


def split_cell(grid: GridSimulator) -> tuple[GridUpload, GridUpload]:
    """The victim's one household of the cell, and the attacker's, which are all the others."""
    homes = [
        name
        for roster in grid.rosters
        for name, *place in zip(
            roster.manifest.pseudonyms,
            roster.manifest.zones,
            roster.manifest.customer_classes,
            strict=True,
        )
        if tuple(place) == CELL
    ]
    assert len(homes) > FEWEST
    return owned(grid, homes[:1], owner="victim"), owned(grid, homes[1:], owner="attacker")


def told(certificate: ReleaseCertificate) -> dict[str, str | None]:
    return {
        cell.measure: cell.value
        for cell in certificate.cells
        if (cell.zone, cell.customer_class) == CELL
    }


def release(grid: GridSimulator, folder: Path) -> tuple[dict[str, str | None], list[Roster]]:
    """What a release of both tells of the cell, and their rosters."""
    authority = Authority(grid, folder)
    try:
        uploads = split_cell(grid)
        for upload in uploads:
            authority.show(upload)
        assert authority.answer(authority.bill_request(uploads)).state == RELEASED
        (certificate,) = authority.certificates
        return told(certificate), [upload.roster for upload in uploads]
    finally:
        authority.close()


def truth(grid: GridSimulator, roster: Roster) -> tuple[int, int]:
    """Energy [Wh] and money [fen] of a roster in the open."""
    bills = grid.bills(roster)
    own = grid.readings[grid.readings["meter_point_id"].isin(roster.meter_point_ids)]
    return int(own["energy_wh"].sum()), int(sum(bills.totals_fen))


@attack(
    "a cell that one gateway's owner filled up around one household",
    rule(
        "Without the customers of any one owner of gateways, enough others are left, or none.",
        WITHHELD,
        cut("gridsecure.plans.cells:is_enough", "len(owners) == 1 or", "True or"),
    ),
)
def test_a_cell_padded_by_one_owner_is_withheld(
    grid: GridSimulator, tmp_path: Path, attacked: Attacked
) -> None:
    """Counted over all owners alike, the victim is what is left."""
    seen, (victim, attacker) = release(grid, tmp_path / "authority")
    assert set(seen) == {"bills", "energy_wh", "amount_fen"}
    attacked.ends(WITHHELD if set(seen.values()) == {None} else None)
    if attacked.goes_through:
        known_wh, known_fen = truth(grid, attacker)
        told_wh, told_fen = (int(seen[name] or 0) for name in ("energy_wh", "amount_fen"))
        assert (told_wh - known_wh, told_fen - known_fen) == truth(grid, victim)
