"""Released once: races, kills at every point, repeated parts, and rosters in other company."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from sqlmodel import select

from gridsecure.gateway.rosters import Roster
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.key_authority.checker.answering import REFUSED, RELEASED, Outcome
from gridsecure.key_authority.checker.tables import ClaimRow, SeedRow
from gridsecure.key_authority.packages import Keep, VaultAnswer
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.messages import (
    ReleaseCertificate,
    ReleaseRequest,
    Signed,
    request_name,
    sign_message,
)
from gridsecure.store.database import write_session
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority, View, answer_approved, lone_household
from tests.grid_simulator import NOW, GridSimulator, GridUpload

T = TypeVar("T")
Uploads = list[GridUpload]
OTHER_SEED = bytes(reversed(range(32)))


class Killed(BaseException):
    """Ends the checker as a signal would: nothing of ours catches it."""


class DyingVault:
    """A vault whose process takes the checker along, before or after it decrypted."""

    def __init__(self, vault: Vault, *, dies_after: bool, orders: int = 1) -> None:
        self._vault = vault
        self._dies_after = dies_after
        self._left = orders

    def create_key_set(self, order: Signed, /) -> PublicKeySet:
        return self._vault.create_key_set(order)

    def status(self, nonce: str = "") -> Signed:
        return self._vault.status(nonce)

    def release_bills(self, order: Signed, files: Iterable[bytes], keep: Keep, /) -> VaultAnswer:
        return self._dying(lambda: self._vault.release_bills(order, files, keep))

    def release_totals(self, order: Signed, files: Iterable[bytes], /) -> VaultAnswer:
        return self._dying(lambda: self._vault.release_totals(order, files))

    def _dying(self, work: Callable[[], T]) -> T:
        self._left -= 1
        result = work() if self._dies_after or self._left else None
        if not self._left:
            raise Killed
        assert result is not None
        return result


def claims(authority: Authority) -> dict[str, str]:
    """Claim or seed -> its state."""
    with write_session(authority.zone.engine) as session:
        return {row.claim: "spent" for row in session.exec(select(ClaimRow))} | {
            row.seed: "bound" for row in session.exec(select(SeedRow))
        }


@pytest.mark.parametrize("dies_after", [False, True])
def test_killed_before_the_certificate(
    authority: Authority, grid: GridSimulator, uploads: Uploads, tmp_path: Path, dies_after: bool
) -> None:
    """The same request succeeds afterwards, once, and any other could have."""
    request = authority.bill_request(uploads)
    healthy = authority.vault
    assert isinstance(healthy, Vault)
    dying = Authority(
        grid, tmp_path / "authority", vault=DyingVault(healthy, dies_after=dies_after)
    )
    with pytest.raises(Killed):
        dying.answer(request)
    dying.close()
    assert authority.certificates == []
    assert claims(authority) == {}

    assert authority.answer(request).state == RELEASED
    assert authority.answer(request).state == RELEASED
    assert len(authority.certificates) == 1
    assert len(authority.entries("release.granted")) == 1
    assert set(claims(authority).values()) == {"spent"}


def test_killed_on_the_second_of_two_days(
    authority: Authority, grid: GridSimulator, uploads: Uploads, tmp_path: Path
) -> None:
    days = [
        authority.load_curve_transcript(uploads, day=day, seed=seed)
        for day, seed in enumerate((SEED, OTHER_SEED))
    ]
    request = authority.request(days, seeds=[SEED, OTHER_SEED])
    assert isinstance(authority.vault, Vault)
    vault = DyingVault(authority.vault, dies_after=True, orders=2)
    dying = Authority(grid, tmp_path / "authority", vault=vault)
    with pytest.raises(Killed):
        dying.answer(request)
    dying.close()
    assert authority.answer(request).state == RELEASED
    (certificate,) = authority.certificates
    assert len({cell.start for cell in certificate.cells}) == 48


class MeetingView(View):
    """Holds every checker at its first object until all have come: all looked, none claimed."""

    def __init__(self, grid: GridSimulator, meeting: threading.Barrier) -> None:
        super().__init__(grid)
        self._meeting = meeting
        self._met = False

    def object(self, digest: str) -> bytes:
        if not self._met:
            self._met = True
            self._meeting.wait(timeout=60)
        return super().object(digest)


def answered_together(authority: Authority, requests: Sequence[Signed]) -> list[Outcome]:
    meeting = threading.Barrier(len(requests))

    def answer(request: Signed) -> Outcome:
        view = MeetingView(authority.grid, meeting)
        return answer_approved(authority.zone, request, view=view, clock=lambda: NOW)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(answer, requests))


def test_two_at_once_answer_one_request_once(authority: Authority, uploads: Uploads) -> None:
    request = authority.bill_request(uploads)
    outcomes = answered_together(authority, [request, request])
    assert [outcome.state for outcome in outcomes] == [RELEASED, RELEASED]
    assert len(authority.certificates) == 1
    assert len(authority.entries("release.granted")) == 1
    assert authority.entries("release.refused") == []


def test_of_two_requests_for_one_upload_at_once_one_is_released(
    authority: Authority, uploads: Uploads
) -> None:
    """The same transcript in two requests: both may claim it, one can spend it."""
    shared = authority.bill_transcript(uploads[0])
    requests = [authority.request([shared], requested_by=name) for name in ("a1", "b2")]
    outcomes = answered_together(authority, requests)
    assert sorted(outcome.state for outcome in outcomes) == [REFUSED, RELEASED]
    (lost,) = [outcome for outcome in outcomes if outcome.state == REFUSED]
    assert lost.reason == "release.repeated"
    assert len(authority.certificates) == 1


def test_a_refused_roster_does_not_burn_the_others(authority: Authority, uploads: Uploads) -> None:
    good = authority.bill_transcript(uploads[0])
    sound = authority.bill_transcript(uploads[1])
    broken = sound.model_copy(update={"outputs": {}})
    assert authority.answer(authority.request([good, broken])).reason == "release.re-execution"
    assert claims(authority) == {}
    assert authority.answer(authority.request([good, sound])).state == RELEASED


def test_what_was_released_is_not_decrypted_again(
    authority: Authority, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another request about the same transcript ends before the vault hears of it."""
    transcript = sign_message(
        authority.bill_transcript(uploads[0]), key=authority.grid.platform_key
    )
    first = authority.answer(authority.request([transcript]))

    def asked(*_arguments: object) -> None:
        raise AssertionError("the vault was asked")

    monkeypatch.setattr(Vault, "release_bills", asked)
    outcome = authority.answer(authority.request([transcript], requested_by="another clerk"))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.repeated")
    assert (first.state, outcome.earlier) == (RELEASED, first.request_id)


def test_the_same_figures_for_a_second_purpose_are_asked_for_on_record(
    authority: Authority, uploads: Uploads
) -> None:
    """Refused with the first release's name: no purpose hides behind the answer to another."""
    transcript = authority.load_curve_transcript(uploads)
    first = authority.request([transcript], seeds=[SEED])
    second = authority.request([transcript], seeds=[SEED], purpose="tariff-design")
    released, refused = authority.answer(first), authority.answer(second)
    assert (released.state, refused.state) == (RELEASED, REFUSED)
    assert (refused.reason, refused.earlier) == ("release.repeated", released.request_id)
    (entry,) = authority.entries("release.refused")
    detail = json.loads(entry.detail)
    assert detail["request"] == refused.request_id != released.request_id
    assert (detail["purpose"], detail["requested_by"]) == ("tariff-design", "clerk")
    assert detail["earlier"] == released.request_id


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "tariff-design"},
        {"requested_by": "another clerk"},
        {"plan": "rebill"},
        {"plan_version": 99},
        {"start": "2026-06-01T00:00:00+08:00"},
        {"query": "{}"},
        {"grant": "a grant"},
    ],
)
def test_all_that_makes_another_question_is_in_its_name(
    authority: Authority, uploads: Uploads, changes: dict[str, object]
) -> None:
    """The platform cannot put another question under the name of one that was answered."""
    first = authority.bill_request(uploads)
    assert authority.answer(first).state == RELEASED
    asked = ReleaseRequest.parse(first.body).model_copy(update=changes)
    assert request_name(asked) != asked.request_id
    outcome = authority.answer(sign_message(asked, key=authority.grid.platform_key))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.name")
    assert len(authority.certificates) == 1


def test_another_request_under_a_released_name(authority: Authority, uploads: Uploads) -> None:
    first = authority.request([authority.bill_transcript(uploads[0])])
    name = authority.answer(first).request_id
    second = authority.request([authority.bill_transcript(uploads[1])], request_id=name)
    outcome = authority.answer(second)
    assert (outcome.state, outcome.reason) == (REFUSED, "release.name")


@attack(
    "a day's load curve released once more, under another seed",
    rule(
        "What was released before is not decrypted again.",
        "release.repeated",
        cut(
            "gridsecure.key_authority.checker.ledger:check_claims",
            'find_many(session, ClaimRow, names, by="claim")',
            "False",
        ),
    ),
    rule(
        "A certificate is kept only with claims that no other one has.",
        "release.repeated",
        cut(
            "gridsecure.key_authority.checker.ledger:enter",
            "elif not _keep(",
            "elif False and not _keep(",
        ),
    ),
)
def test_a_released_day_is_not_released_under_another_seed(
    authority: Authority, uploads: Uploads, attacked: Attacked
) -> None:
    assert authority.answer(authority.load_curve_request(uploads)).state == RELEASED
    again = authority.load_curve_transcript(uploads, seed=OTHER_SEED)
    attacked.ends(authority.answer(authority.request([again], seeds=[OTHER_SEED])).reason)
    if attacked.goes_through:
        first, second = authority.certificates
        assert told(first) == told(second)


@pytest.mark.parametrize("in_one_request", [True, False])
def test_a_seed_blinds_one_job_only(
    authority: Authority, uploads: Uploads, in_one_request: bool
) -> None:
    days = [authority.load_curve_transcript(uploads, day=day) for day in (0, 1)]
    if in_one_request:
        outcome = authority.answer(authority.request(days, seeds=[SEED, SEED]))
    else:
        assert authority.answer(authority.request(days[:1], seeds=[SEED])).state == RELEASED
        outcome = authority.answer(authority.request(days[1:], seeds=[SEED]))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.repeated")


def told(certificate: ReleaseCertificate) -> set[tuple[str, str]]:
    """The cells that a certificate tells of."""
    return {(c.zone, c.customer_class) for c in certificate.cells if c.value is not None}


@pytest.mark.parametrize("reader", ["clerk", "another clerk"])
@attack(
    "a cell of N and the same of N - 1, asked for by one reader or by two",
    rule(
        "A cell is told of only beside all that was told of its members, to whomever.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.ledger:withhold_beside",
            "told=company.told",
            "told=()",
        ),
    ),
    rule(
        "It is looked at again in the transaction that keeps the certificate.",
        "release.meanwhile",
        cut(
            "gridsecure.key_authority.checker.ledger:enter",
            "not may_tell(wanted, told=company.told, is_compared=giving.basis.is_compared)",
            "False",
        ),
    ),
)
def test_a_cell_in_other_company_than_before_is_withheld(
    authority: Authority, grid: GridSimulator, uploads: Uploads, reader: str, attacked: Attacked
) -> None:
    """A second roster of the cell came late, with one household."""
    late = lone_household(grid, uploads[0])
    authority.show(late)
    assert authority.answer(authority.load_curve_request(uploads)).state == RELEASED
    bills = [authority.bill_transcript(upload) for upload in (*uploads, late)]
    outcome = authority.answer(authority.request(bills, requested_by=reader))
    if outcome.state != RELEASED:
        attacked.ends(outcome.reason)
        return
    first, second = authority.certificates
    late_cell = ("futian", "household")
    assert late_cell in told(first)
    attacked.ends(None if late_cell in told(second) else WITHHELD)
    assert told(first) - told(second) <= {late_cell}
    assert late.roster.manifest.roster_id in second.statements


def test_later_days_follow_in_the_same_company(authority: Authority, uploads: Uploads) -> None:
    assert authority.answer(authority.load_curve_request(uploads)).state == RELEASED
    day = authority.load_curve_transcript(uploads, day=1, seed=OTHER_SEED)
    assert authority.answer(authority.request([day], seeds=[OTHER_SEED])).state == RELEASED
    first, second = authority.certificates
    assert told(first) == told(second) != set()


def overlapping(grid: GridSimulator, upload: GridUpload, **changes: object) -> GridUpload:
    """A second roster of the gateway with the same households, and an upload for it."""
    facts = {"service_from": ["2020-01"] * upload.roster.manifest.slots, **changes}
    manifest = grid.seated(upload.roster.manifest.model_copy(update=facts))
    roster = Roster(manifest, upload.roster.meter_point_ids)
    columns = grid.packed(roster, days=1)
    sent = upload.manifest.model_copy(
        update={
            "roster_id": manifest.roster_id,
            "sequence": 999,
            "columns": [column.entry for column in columns],
        }
    )
    objects = {column.entry.digest: column.data for column in columns}
    return GridUpload(roster, sent, grid.sign(sent), objects)


@pytest.mark.parametrize("together", [True, False])
def test_nobody_counts_twice_and_no_roster_differs_by_one(
    authority: Authority, grid: GridSimulator, uploads: Uploads, together: bool
) -> None:
    """Eight shops listed twice would look like sixteen; N and N - 1 would show one household."""
    second = overlapping(grid, uploads[1])
    authority.show(second)
    transcripts = [authority.bill_transcript(upload) for upload in (uploads[1], second)]
    if not together:
        assert authority.answer(authority.request(transcripts[:1])).state == RELEASED
        transcripts = transcripts[1:]
    outcome = authority.answer(authority.request(transcripts))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.overlap")


def test_a_roster_is_billed_once_a_month(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """Two uploads of one roster are two months of the same households, a change apart."""
    first = uploads[1]
    sent = first.manifest.model_copy(update={"sequence": 999})
    second = GridUpload(first.roster, sent, grid.sign(sent), first.objects)
    authority.show(second)
    requests = [authority.request([authority.bill_transcript(one)]) for one in (first, second)]
    assert authority.answer(requests[0]).state == RELEASED
    outcome = authority.answer(requests[1])
    assert (outcome.state, outcome.reason) == (REFUSED, "release.overlap")


def test_pseudonyms_of_two_domains_are_not_totalled_together(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """They cannot be compared, so one household could stand under both."""
    other = overlapping(grid, uploads[1], domain="platform/billing/2025")
    authority.show(other)
    transcripts = [authority.bill_transcript(upload) for upload in (uploads[0], other)]
    outcome = authority.answer(authority.request(transcripts))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.domain")
