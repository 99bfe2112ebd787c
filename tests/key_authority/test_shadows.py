"""Shadow runs at the authority: proved like bills, told as a preview, released to nobody."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from unittest.mock import Mock

import pytest
from sqlmodel import select

from gridsecure.compute import intake
from gridsecure.errors import GridSecureError, OutOfRangeError
from gridsecure.key_authority.checker.answering import (
    FAILED,
    PREVIEWED,
    REFUSED,
    RELEASED,
    list_certificates,
)
from gridsecure.key_authority.checker.bill_versions import bill_versions
from gridsecure.key_authority.checker.tables import CohortRow
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.messages import PreviewCell, ShadowRequest, Signed, Transcript, sign_message
from gridsecure.store.database import read_session
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import Authority, lone_household
from tests.correction_simulator import CHEAPER, bills_after, changed, correction, retariffed
from tests.grid_simulator import GridSimulator, GridUpload
from tests.held_policy import FEWEST

FEN = 10**9  # in 1e-11 yuan
Uploads = list[GridUpload]
BIG = ("futian", "household")
ANNUAL_FEE = """
[[rates]]
charge = "customer"
rate = "12"
unit = "CNY/month"
source = "shenzhen-drc"
"""


def installed(
    grid: GridSimulator, upload: GridUpload, *edits: tuple[str, str], more: str = ""
) -> str:
    """The digest of an edited tariff that the platform has."""
    text = grid.tariff_texts[grid.tariff(upload.roster).tariff_id]
    for edit in edits:
        assert edit[0] in text
        text = text.replace(*edit)
    return intake.install_tariff(grid.platform_zone, text + more)


def previewed(authority: Authority, request: Signed) -> dict[tuple[str, str], PreviewCell]:
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (PREVIEWED, None)
    (found,) = [p for p in authority.previews if p.preview_id == outcome.request_id]
    return {(cell.zone, cell.customer_class): cell for cell in found.cells}


def refusal(authority: Authority, request: Signed) -> str | None:
    outcome = authority.answer(request)
    assert outcome.state == REFUSED
    assert not authority.previews
    assert f'"{outcome.reason}"' in authority.entries("shadow.refused")[-1].detail
    return outcome.reason


@pytest.fixture
def cheaper(authority: Authority, grid: GridSimulator, uploads: Uploads) -> Transcript:
    """A transcript of the household roster's bills by a cheaper tariff."""
    return authority.shadow_transcript(uploads[0], installed(grid, uploads[0], CHEAPER))


# --- what is told --------------------------------------------------------------------------------


def test_a_tariffs_preview_is_the_oracles_difference_by_cell(
    authority: Authority,
    grid: GridSimulator,
    uploads: Uploads,
    cheaper: Transcript,
    decrypted: list[str],
) -> None:
    cells = previewed(authority, authority.shadow_request([cheaper]))
    first = uploads[0].roster
    new = bills_after(grid, retariffed(grid, first, change=CHEAPER), grid.readings)
    old = bills_after(grid, first, grid.readings)
    manifest = first.manifest
    inside = [place == BIG for place in zip(manifest.zones, manifest.customer_classes, strict=True)]
    assert cells[BIG] == PreviewCell(
        zone="futian",
        customer_class="household",
        bills=26,
        changed_least=26 - (FEWEST - 1),  # all of them, which tells something of each
        changed_most=26,
        energy_wh="0",
        amount_fen=str(round(Decimal(int((new.totals - old.totals)[inside].sum())) / FEN)),
        parts=[0],
    )
    small = cells["luohu", "household"]
    assert (small.bills, small.changed_least, small.changed_most) == (13, 0, 13)
    assert (small.energy_wh, small.amount_fen) == (None, None)
    assert decrypted == ["preview_bills"]
    (entry,) = authority.entries("shadow.previewed")
    assert '"questions":1' in entry.detail.replace(" ", "")
    assert not list_certificates(authority.zone)
    assert not bill_versions(authority.zone)


def test_the_same_request_is_answered_once_and_its_order_never_again(
    authority: Authority, cheaper: Transcript, decrypted: list[str]
) -> None:
    request = authority.shadow_request([cheaper])
    assert authority.answer(request).state == authority.answer(request).state == PREVIEWED
    assert decrypted == ["preview_bills"]
    again = authority.shadow_request([cheaper.model_copy(update={"release": "another"})])
    outcome = authority.answer(again)
    assert (outcome.state, outcome.reason) == (REFUSED, "shadow.repeated")


def test_a_charge_by_contract_changes_every_bill_and_everybody_may_know(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    tariff = installed(grid, uploads[0], more=ANNUAL_FEE)
    cells = previewed(
        authority, authority.shadow_request([authority.shadow_transcript(uploads[0], tariff)])
    )
    cell = cells[BIG]
    assert (cell.changed_least, cell.changed_most, cell.amount_fen) == (26, 26, str(26 * 1200))


def test_the_same_tariff_changes_nothing_and_few_is_all_that_is_told(
    authority: Authority, uploads: Uploads
) -> None:
    own = uploads[0].roster.manifest.tariff
    cells = previewed(
        authority, authority.shadow_request([authority.shadow_transcript(uploads[0], own)])
    )
    cell = cells[BIG]
    assert (cell.changed_least, cell.changed_most, cell.amount_fen) == (0, 14, None)


def test_bills_are_released_after_their_shadow_run_as_without_it(
    authority: Authority, uploads: Uploads, cheaper: Transcript
) -> None:
    previewed(authority, authority.shadow_request([cheaper]))
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    (certificate,) = authority.certificates
    values = {c.value for c in certificate.cells if (c.zone, c.customer_class) == BIG}
    assert values
    assert None not in values
    # ... and a shadow run after the release is answered like one before it.
    second = cheaper.model_copy(update={"release": "another"})
    cells = previewed(authority, authority.shadow_request([second], ordered_at="later"))
    assert cells[BIG].amount_fen is not None


def test_a_correction_is_previewed_as_it_is_released_then(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    first = uploads[0]
    manifest = first.roster.manifest
    places = list(zip(manifest.zones, manifest.customer_classes, strict=True))
    slots = [slot for slot, place in enumerate(places) if place == BIG]
    readings = changed(grid, grid.readings, first, slots=slots, add_wh=12_345)
    second = correction(grid, first, readings=readings, slots=slots)
    authority.show(second)
    request = authority.shadow_request([authority.rebill_transcript(second)])
    assert refusal(authority, request) == "correction.unreleased"
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    cells = previewed(authority, request)
    # Another correction of the same bills, by what one household differs, would show that one.
    again = changed(grid, readings, first, slots=slots[:1], add_wh=1)
    other = correction(grid, first, readings=again, slots=slots)
    authority.show(other)
    asked = authority.shadow_request([authority.rebill_transcript(other)], ordered_at="beside")
    for beside in (asked, authority.rebill_request([other])):
        assert authority.answer(beside).reason == "release.repeated"
    assert authority.answer(authority.rebill_request([second])).state == RELEASED
    found = authority.certificates[-1].cells
    told = {cell.measure: int(cell.value or 0) for cell in found}
    assert cells[BIG].energy_wh == str(told["energy_wh"])
    # Each bill is rounded, a preview once for all of them.
    assert abs(int(cells[BIG].amount_fen or 0) - told["amount_fen"]) <= len(slots) / 2 + 1
    assert cells[BIG].amount_fen is not None
    assert (cells[BIG].bills, cells[BIG].changed_least, cells[BIG].changed_most) == (26, 12, 26)
    late = authority.shadow_request([authority.rebill_transcript(second)], ordered_at="later")
    assert authority.answer(late).reason == "release.repeated"


# --- what is not ---------------------------------------------------------------------------------


def test_a_preview_is_told_for_good_and_a_release_is_compared_with_it(
    authority: Authority, grid: GridSimulator, uploads: Uploads, cheaper: Transcript
) -> None:
    """One household more than the preview told of would be the difference."""
    lone = lone_household(grid, uploads[0])
    grid.register(lone.roster)
    grid.deliver(lone)
    previewed(authority, authority.shadow_request([cheaper]))
    request = authority.request([authority.bill_transcript(one) for one in (uploads[0], lone)])
    assert authority.answer(request).state == RELEASED
    (certificate,) = authority.certificates
    big = [c for c in certificate.cells if (c.zone, c.customer_class) == BIG]
    assert {c.members for c in big} == {27}
    assert {c.value for c in big} == {None}


def test_a_shadow_run_with_one_household_more_tells_nothing_of_the_cell(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    lone = lone_household(grid, uploads[0])
    grid.register(lone.roster)
    grid.deliver(lone)
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    tariff = installed(grid, uploads[0], CHEAPER)
    both = [authority.shadow_transcript(one, tariff) for one in (uploads[0], lone)]
    cell = previewed(authority, authority.shadow_request(both))[BIG]
    assert (cell.bills, cell.changed_least, cell.changed_most) == (27, 0, 27)
    assert (cell.energy_wh, cell.amount_fen) == (None, None)


def test_a_roster_that_was_told_of_leaves_a_cohort_and_a_silent_one_none(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """Readings of a cohort are seated once: two versions, each in a total, would differ by few."""
    tariff = installed(grid, uploads[0], CHEAPER)
    lone = lone_household(grid, uploads[0])
    grid.register(lone.roster)
    grid.deliver(lone)
    previewed(authority, authority.shadow_request([authority.shadow_transcript(lone, tariff)]))
    with read_session(authority.zone.engine) as session:
        assert session.exec(select(CohortRow)).all() == []
    first = authority.shadow_transcript(uploads[0], tariff)
    previewed(authority, authority.shadow_request([first]))
    with read_session(authority.zone.engine) as session:
        assert session.exec(select(CohortRow.upload)).all() == [uploads[0].upload_id]


def test_a_cell_answers_so_many_questions_and_no_more(
    authority: Authority, cheaper: Transcript
) -> None:
    authority.zone = replace(authority.zone, shadow_questions=2)
    for at in ("one", "two"):
        previewed(authority, authority.shadow_request([cheaper], ordered_at=at))
    outcome = authority.answer(authority.shadow_request([cheaper], ordered_at="three"))
    assert (outcome.state, outcome.reason) == (REFUSED, "shadow.questions")
    assert len(authority.previews) == 2


@attack(
    "tariffs tried until the vault's refusals tell",
    rule(
        "What a preview asks is spent before anything is decrypted, so that a refusal counts.",
        "shadow.questions",
        cut(
            "gridsecure.key_authority.checker.shadows:preview_shadow",
            "_spend(zone, request, asked_of, at=clock())",
            "pass",
        ),
    ),
)
def test_what_the_vault_cannot_put_together_is_answered_by_that_and_spends_its_questions(
    authority: Authority, cheaper: Transcript, monkeypatch: pytest.MonkeyPatch, attacked: Attacked
) -> None:
    authority.zone = replace(authority.zone, shadow_questions=1)
    request = authority.shadow_request([cheaper], ordered_at="one")
    for error, state in ((GridSecureError, FAILED), (OutOfRangeError, REFUSED)):
        with monkeypatch.context() as broken:
            raised = error("no bill", reason="bill.inconsistent")
            broken.setattr(Vault, "preview_bills", Mock(side_effect=raised))
            outcome = authority.answer(request)
        assert (outcome.state, outcome.reason) == (state, "bill.inconsistent")
    other = authority.answer(authority.shadow_request([cheaper], ordered_at="two"))
    attacked.ends(other.reason)
    assert other.state == (PREVIEWED if attacked.goes_through else REFUSED)
    previewed(authority, request)  # the same one asks nothing more


def test_a_tariff_that_means_other_columns_is_refused(
    authority: Authority, grid: GridSimulator, uploads: Uploads, decrypted: list[str]
) -> None:
    """A platform that ignores the rule bills by the columns there are, whatever they hold."""
    tariff = installed(grid, uploads[0], ("Asia/Shanghai", "Asia/Hong_Kong"))
    request = authority.shadow_request([authority.shadow_transcript(uploads[0], tariff)])
    assert refusal(authority, request) == "shadow.columns"
    assert decrypted == []


@attack(
    "bills by a tariff that was only tried",
    rule(
        "A transcript of a shadow run is never released.",
        "release.shadow",
        cut(
            "gridsecure.key_authority.checker.answering:_same_run",
            "if transcript.tariff:",
            "if False:",
        ),
    ),
    rule(
        "A decrypted line divides by the rate of the roster's own tariff.",
        "bill.inconsistent",
        cut(
            "gridsecure.plans.recombination:_put_together",
            "(part * output.factor != lifted).any() or (part != known).any()",
            "False",
        ),
    ),
)
def test_a_shadow_transcript_is_never_released(
    authority: Authority, cheaper: Transcript, attacked: Attacked
) -> None:
    attacked.ends(authority.answer(authority.request([cheaper])).reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"start": "2026-06-01T00:00:00+08:00"}, "shadow.order"),
        ({"tariff": "0" * 64}, "shadow.order"),
        ({"uploads": ["0" * 64]}, "shadow.order"),
        ({"tariff": "", "uploads": []}, "shadow.order"),
    ],
)
def test_what_the_office_did_not_order_is_refused(
    authority: Authority,
    cheaper: Transcript,
    decrypted: list[str],
    changes: dict[str, object],
    reason: str,
) -> None:
    assert refusal(authority, authority.shadow_request([cheaper], **changes)) == reason
    assert decrypted == []


def test_only_the_office_orders_and_only_true_outputs_are_decrypted(
    authority: Authority, grid: GridSimulator, cheaper: Transcript, decrypted: list[str]
) -> None:
    own = grid.platform_key
    assert refusal(authority, authority.shadow_request([cheaper], key=own)) == "shadow.order"
    name, entry = next(iter(cheaper.outputs.items()))
    outputs = {**cheaper.outputs, name: entry.model_copy(update={"digest": "0" * 64})}
    forged = cheaper.model_copy(update={"outputs": outputs})
    assert refusal(authority, authority.shadow_request([forged])) == "release.re-execution"
    renamed = authority.shadow_request([cheaper])
    body = renamed.body.replace('"request_id":"', '"request_id":"0')
    signed = sign_message(ShadowRequest.parse(body), key=own)
    assert refusal(authority, signed) == "release.name"
    assert decrypted == []
