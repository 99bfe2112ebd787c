"""The checker believes rosters by their seats alone, and bills are filed under settlement names.

What seats must hold at all is tried in tests/credentials/test_seats.py. Here the platform is the
dishonest one: it shows the checker rosters, seats and names of its own choosing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from gridsecure.credentials import seats as seats_of_rosters
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError
from gridsecure.gateway.rosters import assign_id
from gridsecure.identity_messages import SettlementNames
from gridsecure.key_authority.checker.answering import (
    FAILED,
    REFUSED,
    RELEASED,
    read_sealed_statements,
)
from gridsecure.key_authority.checker.seating import SettlementClient
from gridsecure.key_authority.filing import file_by_settlement_name
from gridsecure.messages import RosterManifest, Signed, sign_message
from gridsecure.statement_checks import STATEMENTS_PURPOSE
from gridsecure.wire.client import service_client
from tests.authority_simulator import SEED, Authority, answer_approved, settlement
from tests.correction_simulator import changed, correction
from tests.grid_simulator import NOW, OFFICE, GridSimulator, GridUpload, grid_keys, registry

Uploads = list[GridUpload]


# --- seats ---------------------------------------------------------------------------------------


def shown(
    authority: Authority,
    upload: GridUpload,
    manifest: RosterManifest,
    *,
    key: Sm2PrivateKey | None = None,
) -> Signed:
    """A request about an upload for which the platform shows another roster."""
    envelope = authority.grid.sign(manifest, key=key)
    authority.view.messages[envelope.digest] = envelope
    transcript = authority.bill_transcript(upload)
    return authority.request([transcript.model_copy(update={"rosters": [envelope.digest]})])


Change = Callable[[GridSimulator, RosterManifest], RosterManifest]


def no_seats(_grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    return manifest.model_copy(update={"seats": ""})


def seats_of_no_digest(_grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    return manifest.model_copy(update={"seats": "../../zone.db"})


def seats_that_are_a_column(grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    column = grid.packed(grid.rosters[0], days=2)[0]  # as delivered
    return manifest.model_copy(update={"seats": column.entry.digest})


def seats_of_another_roster(grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    (other,) = (r.manifest for r in grid.rosters if r.manifest.roster_id != manifest.roster_id)
    return manifest.model_copy(update={"seats": other.seats})


def one_slot_without_agreement(grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    said = grid.seats_of(manifest).delegations
    return grid.seated(manifest, delegations=[*said[:-1], "00" * 64])


def invented_meter_points(grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    """A small cell made large: the gateway vouches for members that nobody enrolled."""
    names = [sm3_hex(f"nobody {slot}".encode()) for slot in range(manifest.slots)]
    word = grid.vouched(dict.fromkeys(names, grid.gateway_key), key=grid.gateway_key)
    return grid.seated(manifest.model_copy(update={"pseudonyms": names}), holders=word)


def one_household_everywhere(grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    """Its zone changed after it agreed, so that it stands alone in its cell."""
    said = grid.seats_of(manifest).delegations
    zones = ["elsewhere", *manifest.zones[1:]]
    moved = assign_id(manifest.model_copy(update={"zones": zones, "seats": ""}))
    return grid.seated(moved, delegations=said)


def a_gateway_of_its_own_word(grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    own = {grid.gateway_subject: grid.gateway_key}
    return grid.seated(manifest, gateway=grid.vouched(own, role="gateway", key=grid.gateway_key))


def registered_last_year(grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    said = dict.fromkeys(manifest.pseudonyms, grid.keys.holder)
    return grid.seated(manifest, holders=grid.vouched(said, domain="platform/billing/2025"))


UNSEATED: dict[str, tuple[Change, str]] = {
    make.__name__.replace("_", " "): (make, reason)
    for make, reason in (
        (no_seats, "authenticity.seats"),
        (seats_of_no_digest, "authenticity.seats"),
        (seats_that_are_a_column, "message.invalid"),
        (seats_of_another_roster, "authenticity.seats"),
        (one_slot_without_agreement, "authenticity.delegation"),
        (invented_meter_points, "authenticity.unknown"),
        (one_household_everywhere, "authenticity.delegation"),
        (a_gateway_of_its_own_word, "authenticity.unknown"),
        (registered_last_year, "authenticity.seats"),
    )
}


@pytest.mark.parametrize("name", UNSEATED)
def test_an_unseated_roster_is_refused_before_anything_is_decrypted(
    name: str, authority: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    make, reason = UNSEATED[name]
    manifest = make(authority.grid, uploads[0].roster.manifest)
    outcome = authority.answer(shown(authority, uploads[0], manifest))
    assert (outcome.state, outcome.reason) == (REFUSED, reason)
    assert decrypted == authority.certificates == []
    (entry,) = authority.entries("release.refused")
    assert reason in entry.detail


def test_a_roster_signed_by_another_key_than_its_seats_name_is_refused(
    authority: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    manifest = uploads[0].roster.manifest
    request = shown(authority, uploads[0], manifest, key=authority.grid.keys.platform)
    outcome = authority.answer(request)
    # The digest of a message is over its text, so the view shows another envelope of that name.
    assert (outcome.state, outcome.reason) == (REFUSED, "authenticity.seats")
    assert decrypted == []


def test_a_roster_of_another_domain_counts_nobody_twice(
    authority: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    """In another domain a household has another pseudonym, and all of it could be well seated."""
    grid, domain = authority.grid, "platform/upload/2026"
    draft = uploads[0].roster.manifest.model_copy(update={"domain": domain})
    own = {grid.gateway_subject: grid.gateway_key}
    word = grid.vouched(own, role="gateway", domain=domain)
    manifest = grid.seated(draft, gateway=word)
    outcome = authority.answer(shown(authority, uploads[0], manifest))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.domain")
    assert decrypted == []


@pytest.mark.parametrize("start", ["2025-07-01T00:00:00+08:00", "2027-01-01T00:00:00+08:00"])
def test_a_roster_is_of_the_transcripts_year(
    authority: Authority, uploads: Uploads, decrypted: list[str], start: str
) -> None:
    end = start.replace("-07-", "-08-").replace("-01-01", "-02-01")
    transcript = authority.bill_transcript(uploads[0])
    other = transcript.model_copy(update={"start": start, "end": end})
    outcome = authority.answer(authority.request([other], start=start, end=end))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.domain")
    assert decrypted == []


def test_seats_are_checked_once_for_a_signed_roster(
    authority: Authority, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    real = seats_of_rosters._check_delegations

    def counted(roster: RosterManifest, holders: list[str], signatures: list[str]) -> None:
        checked.extend(f"{roster.roster_id}/{slot}" for slot in range(len(signatures)))
        real(roster, holders, signatures)

    monkeypatch.setattr(seats_of_rosters, "_check_delegations", counted)
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    restarted = authority.open_zone([authority.grid.identity_key])
    authority.zone.engine.dispose()
    authority.zone = restarted
    assert authority.answer(authority.load_curve_request(uploads)).state == RELEASED
    assert len(checked) == len(set(checked)) == sum(u.roster.manifest.slots for u in uploads)


def test_a_roster_changed_after_its_seats_were_checked_is_checked_anew(
    authority: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    """One fact, one pseudonym or the seats: another digest, which nothing is remembered of."""
    assert authority.answer(authority.bill_request(uploads[1:])).state == RELEASED
    manifest = authority.grid.signed_roster(uploads[1].roster)
    orders = len(decrypted)
    stated = RosterManifest.parse(manifest.body)
    for change, reason in (
        ({"contracted_va": [1] * stated.slots}, "roster.name"),
        ({"pseudonyms": stated.pseudonyms[::-1]}, "roster.name"),
        ({"seats": uploads[0].roster.manifest.seats}, "authenticity.seats"),
    ):
        outcome = authority.answer(shown(authority, uploads[1], stated.model_copy(update=change)))
        assert (outcome.state, outcome.reason) == (REFUSED, reason)
    assert len(decrypted) == orders


def test_seats_are_checked_anew_under_other_keys_of_the_identity_authority(
    authority: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    """A registration is revoked with the key that vouched for it, and by nothing less."""
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    orders = len(decrypted)
    withdrawn = authority.open_zone([generate_private_key()])
    request = authority.load_curve_request(uploads)
    outcome = answer_approved(withdrawn, request, view=authority.view, clock=lambda: NOW)
    withdrawn.engine.dispose()
    assert (outcome.state, outcome.reason) == (REFUSED, "authenticity.unknown")
    assert len(decrypted) == orders


def test_a_roster_that_was_seated_once_is_still_verified(
    authority: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    """That its seats hold is remembered; whose signature it bears is looked at each time."""
    authority.answer(authority.bill_request(uploads))
    orders = len(decrypted)
    roster = authority.grid.signed_roster(uploads[0].roster)
    forged = roster.model_copy(update={"signature": "00" * 64})
    authority.view.messages[roster.digest] = forged
    outcome = authority.answer(authority.load_curve_request(uploads))
    assert (outcome.state, outcome.reason) == (REFUSED, "authenticity.signature")
    assert len(decrypted) == orders


# --- settlement names ----------------------------------------------------------------------------


def document(authority: Authority, release_id: str, upload: GridUpload) -> str:
    sealed = read_sealed_statements(authority.zone, release_id, upload.roster.manifest.roster_id)
    return open_from(sealed, private_key=OFFICE, purpose=STATEMENTS_PURPOSE).decode()


def is_anonymous(text: str, upload: GridUpload) -> bool:
    """No platform pseudonym anywhere, and settlement names in an order of their own."""
    manifest = upload.roster.manifest
    meters = list(json.loads(text)["meters"])
    names = settlement(manifest.domain, manifest.pseudonyms)
    by_slot = [name for name in names if name in meters]
    assert meters, "nobody's bill would be anonymous"
    return (
        not any(name in text for name in (*manifest.pseudonyms, *upload.roster.meter_point_ids))
        and meters == sorted(by_slot)
        and (len(meters) < 9 or meters != by_slot)
    )


def test_statements_show_no_platform_pseudonym_and_no_slot(
    authority: Authority, uploads: Uploads
) -> None:
    release_id = authority.answer(authority.bill_request(uploads)).request_id
    for upload in uploads:
        text = document(authority, release_id, upload)
        assert is_anonymous(text, upload)
        assert len(json.loads(text)["meters"]) == upload.roster.manifest.slots


def test_corrections_show_no_platform_pseudonym_and_no_slot(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    authority.answer(authority.bill_request(uploads))
    slots = list(range(0, 20, 2))
    readings = changed(grid, grid.readings, uploads[0], slots=slots)
    upload = correction(grid, uploads[0], readings=readings, slots=slots)
    outcome = authority.answer(authority.rebill_request([upload]))
    assert (outcome.state, outcome.reason) == (RELEASED, None)
    text = document(authority, outcome.request_id, upload)
    assert is_anonymous(text, upload)
    assert len(json.loads(text)["meters"]) == len(slots)


def one_short(_domain: str, subjects: Sequence[str]) -> list[str]:
    return [sm3_hex(name.encode()) for name in subjects[:-1]]


def one_more(_domain: str, subjects: Sequence[str]) -> list[str]:
    return [sm3_hex(name.encode()) for name in (*subjects, "more")]


def all_one(_domain: str, subjects: Sequence[str]) -> list[str]:
    return ["a" * 64] * len(subjects)


def shorter(_domain: str, subjects: Sequence[str]) -> list[str]:
    return [name[:32] for name in subjects]


def upper_case(_domain: str, subjects: Sequence[str]) -> list[str]:
    return [name.upper() if name.upper() != name else "A" * 64 for name in subjects]


def unreachable(_domain: str, _subjects: Sequence[str]) -> list[str]:
    raise GridSecureError("The identity cannot be reached.", reason="identity.unreachable")


@pytest.mark.parametrize("names", [one_short, one_more, all_one, shorter, upper_case])
@pytest.mark.parametrize("plan", ["bill", "rebill"])
def test_names_that_are_not_one_a_slot_make_a_request_wait(
    grid: GridSimulator, uploads: Uploads, tmp_path: Path, decrypted: list[str], names, plan: str
) -> None:
    """Nothing is decrypted, and it is no fault of the request: with names it is released."""
    authority = Authority(grid, tmp_path / "authority")
    request = authority.bill_request(uploads)
    if plan == "rebill":
        assert authority.answer(request).state == RELEASED
        readings = changed(grid, grid.readings, uploads[0], slots=[3])
        upload = correction(grid, uploads[0], readings=readings, slots=[3])
        request = authority.rebill_request([upload])
    orders = len(decrypted)
    zone = authority.zone
    object.__setattr__(zone, "settlement", names)
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (FAILED, "settlement.names")
    assert len(decrypted) == orders
    object.__setattr__(zone, "settlement", settlement)
    assert authority.answer(request).state == RELEASED
    authority.close()


def test_without_the_identity_authority_bills_wait_and_load_curves_do_not(
    grid: GridSimulator, uploads: Uploads, tmp_path: Path, decrypted: list[str]
) -> None:
    authority = Authority(grid, tmp_path / "authority", settlement=unreachable)
    outcome = authority.answer(authority.bill_request(uploads))
    assert (outcome.state, outcome.reason) == (FAILED, "identity.unreachable")
    assert decrypted == []
    assert authority.answer(authority.load_curve_request(uploads)).state == RELEASED
    authority.close()


def test_names_are_asked_for_by_domain_and_roster(
    grid: GridSimulator, uploads: Uploads, tmp_path: Path
) -> None:
    asked: list[tuple[str, list[str]]] = []

    def noted(domain: str, subjects: Sequence[str]) -> list[str]:
        asked.append((domain, list(subjects)))
        return settlement(domain, subjects)

    authority = Authority(grid, tmp_path / "authority", settlement=noted)
    authority.answer(authority.bill_request(uploads))
    authority.answer(authority.request([authority.load_curve_transcript(uploads)], seeds=[SEED]))
    manifests = [upload.roster.manifest for upload in uploads]
    assert asked == [(manifest.domain, manifest.pseudonyms) for manifest in manifests]
    authority.close()


def test_the_vault_too_files_nothing_under_names_that_are_not_one_a_slot(
    uploads: Uploads,
) -> None:
    manifest = uploads[0].roster.manifest
    meters = {name: {} for name in manifest.pseudonyms}
    for names in (one_short, one_more, all_one, shorter):
        with pytest.raises(GridSecureError) as refused:
            file_by_settlement_name(meters, roster=manifest, names=names("", manifest.pseudonyms))
        assert refused.value.reason == "settlement.names"


# --- over the wire -------------------------------------------------------------------------------

DOMAIN, SUBJECTS = "platform/billing/2026", ["a" * 64, "b" * 64]
NAMES = ["c" * 64, "d" * 64]


class Identity:
    """The identity service, which answers what it is told."""

    def __init__(self) -> None:
        self.answer: httpx.Response | SettlementNames = SettlementNames(
            domain=DOMAIN, subjects=SUBJECTS, names=NAMES
        )
        self.key = grid_keys().identity
        self.asked: list[object] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, json.loads(request.content)))
        if isinstance(self.answer, httpx.Response):
            return self.answer
        return httpx.Response(200, json=sign_message(self.answer, key=self.key).model_dump())


@pytest.fixture
def identity() -> Identity:
    return Identity()


@pytest.fixture
def client(identity: Identity) -> Iterator[SettlementClient]:
    with httpx.Client(transport=httpx.MockTransport(identity), base_url="http://identity") as http:
        peer = service_client(http, name="identity", pause=lambda _seconds: None)
        yield SettlementClient(peer, identity=registry(grid_keys().identity))


def test_settlement_names_are_fetched_and_verified(
    client: SettlementClient, identity: Identity
) -> None:
    assert client(DOMAIN, SUBJECTS) == NAMES
    wanted = {"domain": DOMAIN, "subjects": SUBJECTS}
    assert identity.asked == [("/settlement-names", wanted)]


def said(**changes: object) -> Callable[[Identity], None]:
    def change(identity: Identity) -> None:
        assert isinstance(identity.answer, SettlementNames)
        identity.answer = identity.answer.model_copy(update=changes)

    return change


def of_a_stranger(identity: Identity) -> None:
    identity.key = grid_keys().stranger


def of_the_platform(identity: Identity) -> None:
    identity.key = grid_keys().platform


def unsigned(identity: Identity) -> None:
    assert isinstance(identity.answer, SettlementNames)
    envelope = sign_message(identity.answer, key=identity.key).model_copy(update={"signature": ""})
    identity.answer = httpx.Response(200, json=envelope.model_dump())


def of_another_kind(identity: Identity) -> None:
    assert isinstance(identity.answer, SettlementNames)
    envelope = sign_message(identity.answer, key=identity.key).model_copy(
        update={"body_kind": "registrations"}
    )
    identity.answer = httpx.Response(200, json=envelope.model_dump())


def no_message(identity: Identity) -> None:
    identity.answer = httpx.Response(200, json=[1])


OTHER_ANSWERS: dict[str, Callable[[Identity], None]] = {
    "for another domain": said(domain="platform/billing/2025"),
    "for other subjects": said(subjects=["a" * 64, "e" * 64]),
    "in another order": said(subjects=SUBJECTS[::-1]),
    "for fewer subjects": said(subjects=SUBJECTS[:1], names=NAMES[:1]),
    "signed by a stranger": of_a_stranger,
    "signed by the platform": of_the_platform,
    "unsigned": unsigned,
    "signed as something else": of_another_kind,
    "no message": no_message,
}


@pytest.mark.parametrize("name", OTHER_ANSWERS)
def test_another_answer_is_a_failure_and_no_refusal(
    name: str, client: SettlementClient, identity: Identity
) -> None:
    OTHER_ANSWERS[name](identity)
    with pytest.raises(GridSecureError) as failed:
        client(DOMAIN, SUBJECTS)
    assert type(failed.value) is GridSecureError
    assert failed.value.reason == "settlement.names"


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422])
def test_what_the_identity_authority_refuses_is_not_the_requests_fault(
    client: SettlementClient, identity: Identity, status: int
) -> None:
    body = {"reason": "authenticity.refused", "detail": "No.", "remedy": ""}
    identity.answer = httpx.Response(status, json=body)
    with pytest.raises(GridSecureError) as failed:
        client(DOMAIN, SUBJECTS)
    assert type(failed.value) is GridSecureError
    assert failed.value.reason == "identity.settlement"
    assert "authenticity.refused" in failed.value.remedy


def test_an_identity_authority_that_is_down_is_said_to_be(
    client: SettlementClient, identity: Identity
) -> None:
    identity.answer = httpx.Response(503)
    with pytest.raises(GridSecureError) as failed:
        client(DOMAIN, SUBJECTS)
    assert failed.value.reason == "identity.failed"
