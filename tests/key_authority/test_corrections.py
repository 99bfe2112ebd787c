"""Corrections at the authority: exact documents, one chain, nothing told of a few households."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import update

from gridsecure.analyst.releases import REBILL, pin_authority, verify_release
from gridsecure.analyst.reports import bill_table, correction_table
from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.corrections import correct_bills, corrections_to_json
from gridsecure.crypto.envelope import open_from
from gridsecure.gateway.rosters import Roster
from gridsecure.key_authority.checker.answering import (
    REFUSED,
    RELEASED,
    Outcome,
    find_certificate,
    read_sealed_statements,
)
from gridsecure.key_authority.checker.bill_versions import bill_versions, tabulate_versions
from gridsecure.key_authority.checker.tables import BillVersionRow
from gridsecure.key_authority.packages import CheckedCorrections, Keep, VaultAnswer
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.messages import CellTotal, Signed, sign_message
from gridsecure.statement_checks import STATEMENTS_PURPOSE
from gridsecure.store.database import write_session
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority, View, answer_approved, settlement
from tests.correction_simulator import CHEAPER, bills_after, changed, correction, retariffed
from tests.grid_simulator import NOW, OFFICE, GridSimulator, GridUpload
from tests.held_policy import FEWEST

Uploads = list[GridUpload]
BIG = ("futian", "household")


def slots_of(upload: GridUpload, place: tuple[str, str] = BIG) -> list[int]:
    """Slots of a cell; the big one has 26 in the flat roster."""
    manifest = upload.roster.manifest
    places = zip(manifest.zones, manifest.customer_classes, strict=True)
    return [slot for slot, found in enumerate(places) if found == place]


def corrected(
    grid: GridSimulator, upload: GridUpload, slots: Sequence[int], *, add_wh: int = 1000
) -> GridUpload:
    readings = changed(grid, grid.readings, upload, slots=slots, add_wh=add_wh)
    return correction(grid, upload, readings=readings, slots=slots)


def released(authority: Authority, request: Signed) -> str:
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (RELEASED, None)
    return outcome.request_id


def refused(authority: Authority, request: Signed) -> str | None:
    outcome = authority.answer(request)
    assert outcome.state == REFUSED
    return outcome.reason


def statements(authority: Authority, release_id: str, roster: Roster) -> dict[str, Any]:
    sealed = read_sealed_statements(authority.zone, release_id, roster.manifest.roster_id)
    opened = json.loads(open_from(sealed, private_key=OFFICE, purpose=STATEMENTS_PURPOSE))
    assert opened.pop("roster_id") == roster.manifest.roster_id
    documents: dict[str, Any] = opened["meters"]
    assert list(documents) == sorted(documents)
    names = roster.manifest.pseudonyms
    filed = dict(zip(settlement(roster.manifest.domain, names), names, strict=True))
    return {filed[name]: document for name, document in documents.items()}


def values(cells: Sequence[CellTotal]) -> dict[tuple[str, str, str], str | None]:
    return {(c.zone, c.customer_class, c.measure): c.value for c in cells}


@pytest.fixture
def billed(authority: Authority, uploads: Uploads) -> Authority:
    """An authority that released the bills of both rosters."""
    released(authority, authority.bill_request(uploads))
    return authority


# --- what comes out ----------------------------------------------------------------------------


def test_documents_are_the_oracles_and_the_issued_bill_is_untouched(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    first = uploads[0]
    slots = [*slots_of(first)[:3], slots_of(first, ("luohu", "household"))[0]]
    readings = changed(grid, grid.readings, first, slots=slots, add_wh=7_777)
    second = correction(grid, first, readings=readings, slots=slots)
    (issued,) = billed.certificates
    before = billed.zone.objects.get(issued.statements[first.roster.manifest.roster_id])
    release_id = released(billed, billed.rebill_request([second]))

    old, new = (bills_after(grid, first.roster, frame) for frame in (grid.readings, readings))
    names = {first.roster.manifest.pseudonyms[slot] for slot in slots}
    tariff = grid.tariff(first.roster)
    expected = corrections_to_json(
        correct_bills(old, new), version=2, meter_point_ids=names, tariff=tariff
    )
    assert statements(billed, release_id, first.roster) == expected["meters"]
    assert billed.zone.objects.get(issued.statements[first.roster.manifest.roster_id]) == before
    originals = statements(billed, issued.release_id, first.roster)
    assert originals == bills_to_json([old], tariff=tariff)["meters"]
    for name in names:
        (period,) = expected["meters"][name]["periods"]
        assert period["cancels"]["lines"] == originals[name]["periods"][0]["lines"]


def test_a_cell_gives_out_the_sum_of_its_differences(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    first = uploads[0]
    slots = sorted([*slots_of(first), slots_of(first, ("luohu", "household"))[0]])
    readings = changed(grid, grid.readings, first, slots=slots, add_wh=12_345)
    second = correction(grid, first, readings=readings, slots=slots)
    released(billed, billed.rebill_request([second]))
    certificate = billed.certificates[-1]
    assert (certificate.plan, certificate.minimum_members) == ("rebill", FEWEST)
    old, new = (bills_after(grid, first.roster, frame) for frame in (grid.readings, readings))
    fen = (new.totals_fen - old.totals_fen)[slots_of(first)].sum()
    assert values(certificate.cells) == {
        (*BIG, "bills"): "26",
        (*BIG, "energy_wh"): str(26 * 12_345),
        (*BIG, "amount_fen"): str(fen),
        ("luohu", "household", "bills"): None,
        ("luohu", "household", "energy_wh"): None,
        ("luohu", "household", "amount_fen"): None,
    }
    assert {c.members for c in certificate.cells if c.zone == "luohu"} == {1}


def test_another_price_table_and_back_nets_nothing(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    first = uploads[0]
    roster = retariffed(grid, first.roster, change=CHEAPER)
    every = range(roster.manifest.slots)
    second = correction(grid, first, readings=grid.readings, slots=every, roster=roster)
    third = correction(grid, second, readings=grid.readings, slots=every, roster=first.roster)
    there = released(billed, billed.rebill_request([second]))
    back = released(billed, billed.rebill_request([third]))
    down, up = (
        statements(billed, name, seats) for name, seats in ((there, roster), (back, first.roster))
    )
    assert len(down) == roster.manifest.slots
    for name in down:
        (lower,), (higher,) = down[name]["periods"], up[name]["periods"]
        assert Decimal(lower["adjustment"]["total"]) == -Decimal(higher["adjustment"]["total"]) < 0
        assert (lower["version"], higher["version"]) == (2, 3)
        assert higher["cancels"]["total"] == lower["total"]
    money = [values(c.cells)[*BIG, "amount_fen"] for c in billed.certificates[1:]]
    assert sum(int(value or "no") for value in money) == 0
    assert values(billed.certificates[1].cells)[*BIG, "energy_wh"] == "0"


def test_the_analyst_reads_differences_and_takes_them_for_no_bills(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """A negative difference is a value; a table of bills is not made of it."""
    slots = slots_of(uploads[0])
    second = corrected(grid, uploads[0], slots, add_wh=-1)
    release_id = released(billed, billed.rebill_request([second]))
    content = find_certificate(billed.zone, release_id).model_dump_json().encode()
    pinned = pin_authority(grid.authority_key.public_key.point.hex())
    release = verify_release(content, release_id=release_id, authority=pinned)
    assert (release.plan, release.minimum_members) == (REBILL, FEWEST)
    (energy,) = [c for c in release.cells if c.measure == "energy_wh"]
    assert energy.value == -len(slots)
    with pytest.raises(ValueError, match="bill"):
        bill_table(release)
    (row,) = correction_table(release).to_dict("records")
    assert row["energy_kwh"] == -Decimal(len(slots)) / 1000


# --- versions ----------------------------------------------------------------------------------


def test_every_version_is_kept_and_the_chain_adds_up(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    first, slots = uploads[0], slots_of(uploads[0])
    frames, chain = [grid.readings], [first]
    for add_wh in (4_000, -1_500):
        frames.append(changed(grid, frames[-1], first, slots=slots, add_wh=add_wh))
        chain.append(correction(grid, chain[-1], readings=frames[-1], slots=slots))
        released(billed, billed.rebill_request([chain[-1]]))
    found = bill_versions(billed.zone, first=first.upload_id)
    assert [item.version.upload for item in found] == [upload.upload_id for upload in chain]
    assert [item.version.revision for item in found] == [1, 2, 3]
    assert [item.version.corrected for item in found] == [first.roster.manifest.slots, 26, 26]
    assert [item.release_id for item in found] == [c.release_id for c in billed.certificates]
    assert len(bill_versions(billed.zone)) == 4
    bills = [bills_after(grid, first.roster, frame) for frame in frames]
    adjustments = [correct_bills(bills[0], bills[1]), correct_bills(bills[1], bills[2])]
    total = sum((c.totals_fen for c in adjustments), start=bills[0].totals_fen)
    assert total.tolist() == bills[2].totals_fen.tolist()

    rows = [r for r in tabulate_versions(billed.certificates) if (r.zone, r.customer_class) == BIG]
    energy = [row for row in rows if row.measure == "energy_wh"]
    assert [row.value for row in energy][1:] == [26 * 4_000, -26 * 1_500]
    inside = slots_of(first)
    latest = {
        "bills": 26,
        "energy_wh": int(bills[2].quantities[0][inside].sum()),
        "amount_fen": int(bills[2].totals_fen[inside].sum()),
    }
    assert {row.measure: row.total for row in rows if row.plan == "rebill"} == latest
    small = [r for r in tabulate_versions(billed.certificates) if (r.zone, r.customer_class) != BIG]
    assert {row.total for row in small if row.measure == "amount_fen"} == {None}
    released(billed, billed.load_curve_request(uploads))
    assert len(tabulate_versions(billed.certificates)) == len(
        tabulate_versions(billed.certificates[:-1])
    )


def test_the_evidence_log_says_which_bill_takes_the_place_of_which(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    second = corrected(grid, uploads[0], [2])
    released(billed, billed.rebill_request([second]))
    (entry,) = billed.entries("correction.released")
    detail = json.loads(entry.detail)
    assert (detail["upload"], detail["corrects"]) == (second.upload_id, uploads[0].upload_id)
    assert (detail["revision"], detail["corrected"]) == (2, 1)
    granted = billed.entries("release.granted")[-1]
    assert billed.certificates[-1].evidence_head == granted.hash
    assert json.loads(granted.detail)["plan"] == "rebill"


# --- what is refused ---------------------------------------------------------------------------


def test_what_was_not_released_is_not_corrected(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    second = corrected(grid, uploads[0], [1])
    request = authority.rebill_request([second])
    assert refused(authority, request) == "correction.unreleased"
    (entry,) = authority.entries("release.refused")
    assert json.loads(entry.detail)["reason"] == "correction.unreleased"
    released(authority, authority.bill_request(uploads))
    third = correction(grid, second, readings=grid.readings, slots=[1])
    assert refused(authority, authority.rebill_request([third])) == "correction.unreleased"
    assert authority.answer(request).state == RELEASED


def test_a_correction_is_released_once(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    second = corrected(grid, uploads[0], [1])
    request = billed.rebill_request([second])
    released(billed, request)
    assert billed.answer(request).state == RELEASED
    assert len(billed.certificates) == 2
    assert (
        refused(billed, billed.rebill_request([second], requested_by="another clerk"))
        == "release.repeated"
    )


def test_a_bill_is_cancelled_once(billed: Authority, grid: GridSimulator, uploads: Uploads) -> None:
    """A platform that takes in two corrections of one upload changes nothing."""
    released(billed, billed.rebill_request([corrected(grid, uploads[0], [1])]))
    fork = corrected(grid, uploads[0], [2])
    assert refused(billed, billed.rebill_request([fork])) == "release.repeated"
    together = [corrected(grid, uploads[1], [slot]) for slot in (0, 1)]
    assert refused(billed, billed.rebill_request(together)) == "release.overlap"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"revision": 3}, "correction.revision"),
        ({"corrected_slots": [39]}, "correction.slots"),
        ({"corrects": "b" * 64}, "correction.unreleased"),
    ],
)
def test_a_gateways_malformed_correction(
    billed: Authority,
    grid: GridSimulator,
    uploads: Uploads,
    change: dict[str, object],
    reason: str,
) -> None:
    """Signed, and taken in by a platform that does not look."""
    readings = changed(grid, grid.readings, uploads[0], slots=[1])
    second = correction(grid, uploads[0], readings=readings, slots=[1], **change)
    assert refused(billed, billed.rebill_request([second])) == reason
    assert len(billed.certificates) == 1


def test_a_slot_that_changed_must_be_listed(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    readings = changed(grid, grid.readings, uploads[0], slots=[1, 2])
    second = correction(grid, uploads[0], readings=readings, slots=[1])
    reason = refused(billed, billed.rebill_request([second]))
    assert reason == "correction.uncorrected-slot"
    assert len(billed.certificates) == 1
    assert [v.version.revision for v in bill_versions(billed.zone)] == [1, 1]


def test_corrections_and_first_uploads_do_not_stand_in_for_each_other(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    second = corrected(grid, uploads[0], range(39))
    billed.show(second)
    as_bill = billed.bill_transcript(second)
    assert refused(billed, billed.request([as_bill])) == "correction.plan"
    first_again = billed.rebill_transcript(uploads[1])
    assert refused(billed, billed.request([first_again], plan="rebill")) == "correction.plan"


def test_a_load_curve_of_corrected_readings_is_refused(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """Beside the month's released energy it would show what was corrected."""
    changes = {"revision": 2, "corrects": uploads[0].upload_id, "corrected_slots": [1]}
    second = grid.upload(uploads[0].roster, days=2, **changes)
    billed.show(second)
    curve = billed.load_curve_transcript([second, uploads[1]])
    assert refused(billed, billed.request([curve], seeds=[SEED])) == "correction.plan"


def test_an_altered_earlier_object_is_noticed(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    second = corrected(grid, uploads[0], [1])
    request = billed.rebill_request([second])
    column = next(c for c in uploads[0].manifest.columns if c.quantity == "total")
    billed.view.sent[column.digest] = b"something else"
    assert refused(billed, request) == "authenticity.envelope"
    del billed.view.sent[column.digest]
    assert billed.answer(request).state == RELEASED


def test_other_outputs_than_were_released_are_noticed(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """Someone with the authority's disk makes another bill out of the one to cancel."""
    request = billed.rebill_request([corrected(grid, uploads[0], [1])])
    with write_session(billed.zone.engine) as session:
        changed = update(BillVersionRow).filter_by(upload=uploads[0].upload_id)
        assert session.exec(changed.values(outputs="0" * 64)).rowcount == 1
    assert refused(billed, request) == "correction.re-execution"


@pytest.mark.parametrize("who", ["stranger", "platform", "gateway"])
def test_the_vault_takes_orders_from_the_checker_only(
    billed: Authority, grid: GridSimulator, uploads: Uploads, who: str
) -> None:
    kept: list[Signed] = []

    class Listening(View):
        """Nothing but the platform; the order is taken from the door below."""

    class Door:
        status = billed.vault.status

        def release_corrections(self, order: Signed, files: Iterable[bytes], keep: Keep) -> None:
            kept.append(order)
            assert isinstance(billed.vault, Vault)
            forged = signed_by(order, getattr(grid.keys, who))
            billed.vault.release_corrections(forged, files, keep)

    second = corrected(grid, uploads[0], [1])
    request = billed.rebill_request([second])
    zone = type(billed.zone)(
        **{
            name: getattr(billed.zone, name)
            for name in (
                *("engine", "objects", "checks", "signing_key", "platform", "identity", "office"),
                *("settlement", "policy", "approvers", "log", "query_key", "blinding_key"),
            )
        },
        vault=Door(),
    )
    outcome = answer_approved(zone, request, view=Listening(grid, billed.view.messages), clock=now)
    assert outcome.state == REFUSED
    assert len(kept) == 1


def signed_by(order: Signed, key: Any) -> Signed:
    other = order.model_copy(update={"signer": key.public_key.thumbprint})
    return other.model_copy(update={"signature": key.sign(other._signed_bytes).hex()})


def now() -> Any:
    return NOW


# --- attacks on a few households ----------------------------------------------------------------


def told(authority: Authority) -> list[object]:
    """Everything about values that leaves in the open: cells, and the table made from them."""
    cells = [cell for certificate in authority.certificates for cell in certificate.cells]
    rows = [(r.plan, r.measure, r.members, r.value, r.total) for r in staff_table(authority)]
    return [*(c.model_dump_json() for c in cells), *rows]


def staff_table(authority: Authority) -> list[Any]:
    return tabulate_versions(authority.certificates)


def world_with(
    grid: GridSimulator, uploads: Uploads, folder: Path, *, slots: list[int], add_wh: int
) -> list[object]:
    """What is told by an authority that released the bills and then one correction."""
    authority = Authority(grid, folder)
    try:
        released(authority, authority.bill_request(uploads))
        second = corrected(grid, uploads[0], slots, add_wh=add_wh)
        released(authority, authority.rebill_request([second]))
        return told(authority)
    finally:
        authority.close()


def test_one_households_correction_is_not_told(
    grid: GridSimulator, uploads: Uploads, tmp_path: Path
) -> None:
    """Whatever the correction was, what is told before and after it is the same, to the letter."""
    slot = slots_of(uploads[0])[5]
    small, large = (
        world_with(grid, uploads, tmp_path / str(wh), slots=[slot], add_wh=wh) for wh in (1, 50_000)
    )
    assert small == large
    reversed_sign = world_with(grid, uploads, tmp_path / "less", slots=[slot], add_wh=-1)
    assert reversed_sign == small


def test_no_total_of_corrected_bills_is_told(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """The new total of a cell, of a roster, of all: none can be subtracted from the old one."""
    first, slots = uploads[0], slots_of(uploads[0])[:3]
    readings = changed(grid, grid.readings, first, slots=slots, add_wh=7_531)
    second = correction(grid, first, readings=readings, slots=slots)
    released(billed, billed.rebill_request([second]))
    bills = bills_after(grid, first.roster, readings)
    text = billed.certificates[-1].model_dump_json() + "".join(e.detail for e in billed.evidence)
    for inside in (slots_of(first), slots_of(first, ("luohu", "household")), slots):
        for row in (*bills.quantities, bills.totals_fen):
            assert f'"{int(row[inside].sum())}"' not in text
    assert set(values(billed.certificates[-1].cells).values()) == {None}


@attack(
    "one household's correction, padded with slots that did not change",
    rule(
        "Enough bills of a cell really changed.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.compared_bills:_is_spread",
            "is_crowd(everybody, within=within, minimum=minimum) and",
            "True or",
        ),
    ),
)
def test_padding_with_unchanged_slots_gains_nothing(
    billed: Authority, grid: GridSimulator, uploads: Uploads, attacked: Attacked
) -> None:
    """All 26 are listed, one has changed: the sum would be that one's correction."""
    slots = slots_of(uploads[0])
    readings = changed(grid, grid.readings, uploads[0], slots=slots[:1], add_wh=9_000)
    second = correction(grid, uploads[0], readings=readings, slots=slots)
    release_id = released(billed, billed.rebill_request([second]))
    told_of = values(billed.certificates[-1].cells)[*BIG, "energy_wh"]
    attacked.ends(None if told_of else WITHHELD)
    assert told_of == ("9000" if attacked.goes_through else None)
    assert len(statements(billed, release_id, uploads[0].roster)) == 26


def test_all_but_a_few_of_a_cell_are_not_told(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """15 are many, but the 11 left are few: who knows the new readings could subtract."""
    slots = slots_of(uploads[0])[:FEWEST]
    released(billed, billed.rebill_request([corrected(grid, uploads[0], slots)]))
    assert set(values(billed.certificates[-1].cells).values()) == {None}


@attack(
    "a correction of 26 bills, and one back of 25",
    rule(
        "Differences are told only beside all that was told of their members.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.ledger:_compare",
            "if number in found and matters:",
            "if False:",
        ),
    ),
)
def test_corrections_that_differ_by_one_household_are_not_both_told(
    billed: Authority, grid: GridSimulator, uploads: Uploads, attacked: Attacked
) -> None:
    """A tracker over versions: there with 26, back with 25."""
    first, slots = uploads[0], slots_of(uploads[0])
    up = changed(grid, grid.readings, first, slots=slots, add_wh=2_000)
    second = correction(grid, first, readings=up, slots=slots)
    released(billed, billed.rebill_request([second]))
    down = changed(grid, up, first, slots=slots[1:], add_wh=-2_000)
    third = correction(grid, second, readings=down, slots=slots[1:])
    released(billed, billed.rebill_request([third]))
    told_of = [values(c.cells)[*BIG, "energy_wh"] for c in billed.certificates[1:]]
    attacked.ends(None if told_of[1] else WITHHELD)
    assert told_of[0] == str(26 * 2_000)
    if attacked.goes_through:
        assert int(told_of[0]) + int(told_of[1]) == 2_000, "of the one who did not come back"
        return
    fourth = correction(grid, third, readings=grid.readings, slots=slots)
    released(billed, billed.rebill_request([fourth]))
    rows = [r for r in staff_table(billed) if (r.zone, r.measure) == ("futian", "energy_wh")]
    assert [row.total is None for row in rows if row.customer_class == "household"] == [
        False, False, True, True,
    ]  # fmt: skip


# --- killed, and at the same moment --------------------------------------------------------------


class Killed(BaseException):
    """Ends the checker as a signal would."""


@attack(
    "one household's bill by two orders of one correction",
    rule(
        "What one approved request is compared with is the same in each order.",
        "approval.order",
        cut(
            "gridsecure.key_authority.vault.gate:Passage.admit_compared",
            "!= named",
            "is None",
        ),
    ),
)
def test_a_correction_is_compared_with_one_version(
    billed: Authority,
    grid: GridSimulator,
    uploads: Uploads,
    attacked: Attacked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A checker that was taken over makes up what one of the corrected bills was before."""
    given = list[tuple[Signed, list[bytes], VaultAnswer]]()
    release = Vault.release_corrections

    def watched(vault: Vault, order: Signed, files: Iterable[bytes], keep: Keep) -> VaultAnswer:
        handed = list(files)
        given.append((order, handed, release(vault, order, handed, keep)))
        return given[-1][2]

    monkeypatch.setattr(Vault, "release_corrections", watched)
    slots = slots_of(uploads[0])
    released(billed, billed.rebill_request([corrected(grid, uploads[0], slots)]))
    ((signed, files, true),) = given
    order = CheckedCorrections.parse(signed.body)
    (item,) = order.corrections
    made_up = corrected(grid, uploads[0], slots[:1], add_wh=5_000)
    billed.show(made_up)
    outputs = dict(billed.bill_job(made_up).outputs)
    before = item.before.model_copy(update={"outputs": outputs})
    lie = order.model_copy(update={"corrections": [item.model_copy(update={"before": before})]})
    objects = grid.platform_zone.objects
    handed = [objects.get(entry.digest) for entry in outputs.values()] + files[len(outputs) :]
    forged = sign_message(lie, key=grid.authority_key)
    answer = attacked.tries(lambda: release(billed.vault, forged, handed, lambda _sealed: None))
    if answer is not None:
        moved = {
            name: int(one or 0) - int(values(answer.cells)[name] or 0)
            for name, one in values(true.cells).items()
        }
        assert 5_000 in moved.values(), "what was made up of the one bill"


class DyingVault:
    """A vault whose process takes the checker along, before or after it decrypted."""

    def __init__(self, vault: Vault, *, dies_after: bool) -> None:
        self._vault = vault
        self._dies_after = dies_after
        self.status = vault.status

    def release_corrections(
        self, order: Signed, files: Iterable[bytes], keep: Keep, /
    ) -> VaultAnswer:
        if self._dies_after:
            self._vault.release_corrections(order, files, keep)
        raise Killed


@pytest.mark.parametrize("dies_after", [False, True])
def test_killed_between_claim_and_certificate(
    billed: Authority, grid: GridSimulator, uploads: Uploads, dies_after: bool
) -> None:
    """The same request succeeds afterwards, once, and tells what it would have told."""
    slots = slots_of(uploads[0])
    request = billed.rebill_request([corrected(grid, uploads[0], slots)])
    assert isinstance(billed.vault, Vault)
    vault = DyingVault(billed.vault, dies_after=dies_after)
    dying = Authority(grid, billed.folder, vault=vault)
    dying.view = billed.view
    with pytest.raises(Killed):
        dying.answer(request)
    dying.close()
    assert len(billed.certificates) == 1
    released(billed, request)
    assert values(billed.certificates[-1].cells)[*BIG, "energy_wh"] == str(26 * 1000)
    assert len(billed.entries("correction.released")) == 1


class MeetingView(View):
    """Holds every checker at its first object until all have come."""

    def __init__(self, grid: GridSimulator, known: View, meeting: threading.Barrier) -> None:
        super().__init__(grid, known.messages, known.sent)
        self._meeting = meeting
        self._met = False

    def object(self, digest: str) -> bytes:
        if not self._met:
            self._met = True
            self._meeting.wait(timeout=60)
        return super().object(digest)


def test_of_two_corrections_of_one_bill_at_once_one_is_released(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    requests = [billed.rebill_request([corrected(grid, uploads[0], [slot])]) for slot in (1, 2)]
    meeting = threading.Barrier(2)

    def answer(request: Signed) -> Outcome:
        view = MeetingView(grid, billed.view, meeting)
        return answer_approved(billed.zone, request, view=view, clock=now)

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(answer, requests))
    assert sorted(outcome.state for outcome in outcomes) == [REFUSED, RELEASED]
    assert {outcome.reason for outcome in outcomes} == {None, "release.repeated"}
    assert [v.version.revision for v in bill_versions(billed.zone, first=uploads[0].upload_id)] == [
        1, 2,
    ]  # fmt: skip


def test_rosters_corrected_together_and_one_after_the_other(
    billed: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    both = [corrected(grid, upload, [0]) for upload in uploads]
    release_id = released(billed, billed.rebill_request(both))
    for upload in uploads:
        found = statements(billed, release_id, upload.roster)
        assert set(found) == {upload.roster.manifest.pseudonyms[0]}
    again = corrected(grid, both[1], [0], add_wh=500)
    released(billed, billed.rebill_request([again]))
    assert len(bill_versions(billed.zone)) == 5
