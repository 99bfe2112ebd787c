"""Closed months: no other company than the billing office signed, and no month locked for ever."""

from __future__ import annotations

import json

import pytest
from sqlmodel import select

from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.key_authority.checker.answering import REFUSED, RELEASED
from gridsecure.key_authority.checker.tables import ClaimRow, CohortRow, ToldSetRow
from gridsecure.messages import ReleaseCertificate, ReleaseRequest
from gridsecure.plans.settlement_values import TOTAL_QUANTITY
from gridsecure.store.database import write_session
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority, lone_household
from tests.grid_simulator import GridSimulator, GridUpload
from tests.traps.test_forged_ciphertext_release import RogueGateway

Uploads = list[GridUpload]
OTHER_SEED = bytes(reversed(range(32)))
HOME = ("futian", "household")


def told(certificate: ReleaseCertificate) -> set[tuple[str, str]]:
    return {(c.zone, c.customer_class) for c in certificate.cells if c.value is not None}


def ledger(authority: Authority) -> list[str]:
    """What the ledger holds but for the seeds that blinded something."""
    with write_session(authority.zone.engine) as session:
        columns = (ClaimRow.claim, CohortRow.upload, ToldSetRow.name)
        return [name for column in columns for name in session.exec(select(column))]


def bills(authority: Authority, *uploads: GridUpload):
    """Close the month for some uploads, and ask for their bills."""
    transcripts = [authority.bill_transcript(upload) for upload in uploads]
    return authority.answer(authority.request(transcripts))


# --- the list ------------------------------------------------------------------------------------


def changed_lists(authority: Authority, uploads: Uploads) -> dict[str, object]:
    grid, names = authority.grid, [upload.upload_id for upload in uploads]
    return {
        "none": None,
        "another key's": grid.closing_list(names, key=generate_private_key()),
        "the platform's": grid.closing_list(names, key=grid.platform_key),
        "fewer uploads": grid.closing_list(names[:1]),
        "more uploads": grid.closing_list([*names, "0" * 64]),
        "another month": grid.closing_list(names, start="2026-06-01T00:00:00+08:00"),
        "no list": grid.sign(uploads[0].roster.manifest),
    }


@attack(
    "other uploads totalled together than the office closed",
    rule(
        "Who is totalled with whom stands in a list that the billing office signed.",
        "release.closing",
        cut("gridsecure.key_authority.checker.closings:check_closing", "or not is_whole", ""),
    ),
)
def test_a_platform_that_chooses_company(
    authority: Authority, uploads: Uploads, attacked: Attacked
) -> None:
    transcripts = [authority.bill_transcript(upload) for upload in uploads]
    first = authority.grid.closing_list([uploads[0].upload_id])
    attacked.ends(authority.answer(authority.request(transcripts, closing=first)).reason)


@pytest.mark.parametrize("plan", ["bill", "load-curve"])
def test_nothing_is_released_but_what_the_office_closed(
    authority: Authority, uploads: Uploads, decrypted: list[str], plan: str
) -> None:
    ask = authority.bill_request if plan == "bill" else authority.load_curve_request
    good = ReleaseRequest.parse(ask(uploads).body)
    for name, closing in changed_lists(authority, uploads).items():
        request = authority.request(
            good.transcripts,
            seeds=[bytes.fromhex(seed) for seed in good.seeds],
            closing=closing,
        )
        outcome = authority.answer(request)
        assert (name, outcome.state, outcome.reason) == (name, REFUSED, "release.closing")
    assert decrypted == []
    assert ledger(authority) == []


def test_of_two_lists_under_one_number_one_stands(authority: Authority, uploads: Uploads) -> None:
    """An office that signed two shows both: the first in use is on record."""
    first, second = (authority.grid.closing_list([upload.upload_id]) for upload in uploads)
    one = authority.request([authority.bill_transcript(uploads[0])], closing=first)
    two = authority.request([authority.bill_transcript(uploads[1])], closing=second)
    assert authority.answer(one).state == RELEASED
    assert authority.answer(two).reason == "release.closing"
    (entry,) = authority.entries("period.closed")
    assert json.loads(entry.detail)["closing"] == first.digest
    (granted,) = authority.entries("release.granted")
    assert json.loads(granted.detail)["closing"] == first.digest


# --- what once locked a month for ever ------------------------------------------------------------


def test_a_load_curve_while_one_of_three_rosters_was_there(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """It released no cell, so it keeps nothing; all three are billed and totalled afterwards."""
    early, late = uploads[1], lone_household(grid, uploads[0])
    authority.show(late)
    alone = authority.request([authority.load_curve_transcript([early])], seeds=[SEED])
    assert authority.answer(alone).state == RELEASED
    assert told(authority.certificates[0]) == set()
    assert ledger(authority) == []
    every = [*uploads, late]
    assert bills(authority, *every).state == RELEASED
    assert HOME in told(authority.certificates[1])
    assert len(authority.certificates[1].statements) == len(every)
    again = authority.load_curve_transcript(every, seed=OTHER_SEED)
    assert authority.answer(authority.request([again], seeds=[OTHER_SEED])).state == RELEASED
    assert HOME in told(authority.certificates[2])


def test_one_forged_roster_is_left_out_and_the_good_ones_are_billed(
    authority: Authority, uploads: Uploads
) -> None:
    victim, good = uploads
    forged = RogueGateway(authority, victim).forged(TOTAL_QUANTITY, share=1)
    outcome = bills(authority, good, forged)
    assert (outcome.state, outcome.reason) == (REFUSED, "bill.inconsistent")
    assert ledger(authority) == []
    assert bills(authority, good).state == RELEASED
    assert list(authority.certificates[0].statements) == [good.roster.manifest.roster_id]
    assert bills(authority, victim).state == RELEASED, "the true readings, in a later list"
    assert HOME in told(authority.certificates[1])


def test_a_roster_after_the_first_release(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """It is billed with a list of its own; its cell is told of only if it is large enough."""
    late = lone_household(grid, uploads[0])
    authority.show(late)
    assert bills(authority, *uploads).state == RELEASED
    assert bills(authority, late).state == RELEASED
    first, second = authority.certificates
    assert HOME in told(first)
    assert told(second) == set()
    assert list(second.statements) == [late.roster.manifest.roster_id]
