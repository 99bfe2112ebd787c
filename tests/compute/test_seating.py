"""Whose rosters and uploads the platform takes in, once they come, and after somebody is revoked.

What seats must hold at all is tried in tests/credentials/test_seats.py; here stands what the
platform makes of them and remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import select

from gridsecure.compute import intake, seating
from gridsecure.compute.holder_uploads import pin_holder
from gridsecure.compute.tables import DenyListRow, GatewayRow, RosterRow
from gridsecure.credentials import seats as seats_of_rosters
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    ConflictError,
    EnvelopeError,
    GridSecureError,
    InputError,
    InvalidMessageError,
    SignatureError,
    UnknownMeterError,
)
from gridsecure.gateway.rosters import assign_id
from gridsecure.identity_messages import DenyList
from gridsecure.messages import RosterManifest, sign_message
from gridsecure.store.database import write_session
from gridsecure.store.log_tree import verify_log
from tests.grid_simulator import NOW, GridSimulator, GridUpload


@pytest.fixture
def open_grid(bare_grid: GridSimulator) -> GridSimulator:
    """Key sets and tariffs are here, and no roster."""
    bare_grid.install_key_sets()
    bare_grid.install_tariffs()
    return bare_grid


def kept(grid: GridSimulator, column: Any) -> list[Any]:
    with write_session(grid.platform_zone.engine) as session:
        return list(session.exec(select(column)))


def entries(grid: GridSimulator) -> int:
    with write_session(grid.platform_zone.engine) as session:
        return verify_log(session)


def register(
    grid: GridSimulator,
    manifest: RosterManifest,
    *,
    seats: bytes | None = None,
    key: Sm2PrivateKey | None = None,
) -> RosterManifest:
    data = grid.keys.seats[manifest.seats] if seats is None else seats
    return intake.register_roster(
        grid.platform_zone, grid.sign(manifest, key=key), seats=data, at=NOW
    )


def begin(grid: GridSimulator, upload: GridUpload) -> intake.UploadStatus:
    return intake.begin_upload(grid.platform_zone, upload.message, at=NOW)


# --- rosters -------------------------------------------------------------------------------------


def test_a_seated_roster_is_kept_with_its_seats_and_gateway(open_grid: GridSimulator) -> None:
    grid, manifest = open_grid, open_grid.rosters[0].manifest
    assert register(grid, manifest) == manifest
    zone = grid.platform_zone
    assert zone.objects.get(manifest.seats) == grid.keys.seats[manifest.seats]
    assert kept(grid, GatewayRow.thumbprint) == [grid.gateway_key.public_key.thumbprint]
    with write_session(zone.engine) as session:
        found = seating.find_gateway(session, manifest.gateway_id)
    assert found == (grid.gateway_key.public_key, grid.gateway_subject)


def test_seats_are_checked_once_for_a_roster(
    open_grid: GridSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    real = seats_of_rosters._check_delegations

    def counted(roster: RosterManifest, holders: list[str], signatures: list[str]) -> None:
        checked.extend(range(len(signatures)))
        real(roster, holders, signatures)

    monkeypatch.setattr(seats_of_rosters, "_check_delegations", counted)
    manifest = open_grid.rosters[0].manifest
    for _ in range(3):
        register(open_grid, manifest)
    assert checked == list(range(manifest.slots))
    open_grid.restart_platform()
    register(open_grid, manifest)
    assert len(checked) == manifest.slots


def test_a_known_roster_under_a_forged_signature_is_refused(open_grid: GridSimulator) -> None:
    """Its record answers for the very same envelope; another signature is another envelope."""
    roster = open_grid.rosters[0]
    register(open_grid, roster.manifest)
    forged = open_grid.signed_roster(roster).model_copy(update={"signature": "00" * 64})
    # The digest of a signed message is over kind and text: what was kept is the genuine one.
    seats = open_grid.keys.seats[roster.manifest.seats]
    intake.register_roster(open_grid.platform_zone, forged, seats=seats, at=NOW)
    with write_session(open_grid.platform_zone.engine) as session:
        (row,) = session.exec(select(RosterRow)).all()
    row.envelope.verify(open_grid.gateway_key.public_key)


Change = Callable[[GridSimulator], RosterManifest]


def unseated(grid: GridSimulator) -> RosterManifest:
    return grid.rosters[0].manifest.model_copy(update={"seats": ""})


def foreign_delegation(grid: GridSimulator) -> RosterManifest:
    draft = grid.rosters[0].manifest
    said = grid.seats_of(draft).delegations
    own = grid.keys.stranger.sign(seats_of_rosters.delegation_text(draft, 0)).hex()
    return grid.seated(draft, delegations=[own, *said[1:]])


def swapped_slots(grid: GridSimulator) -> RosterManifest:
    draft = grid.rosters[0].manifest
    one, two, *rest = grid.seats_of(draft).delegations
    return grid.seated(draft, delegations=[two, one, *rest])


def changed_fact(grid: GridSimulator) -> RosterManifest:
    """Cheaper for everybody, and nobody was asked: the id is that of the new content."""
    old = grid.rosters[0].manifest
    cheaper = assign_id(old.model_copy(update={"household_quota_wh": [10**9] * old.slots}))
    return grid.seated(cheaper, delegations=grid.seats_of(old).delegations)


def changed_fact_under_the_old_id(grid: GridSimulator) -> RosterManifest:
    old = grid.rosters[0].manifest
    return old.model_copy(update={"household_quota_wh": [10**9] * old.slots})


def seats_of_another_roster(grid: GridSimulator) -> RosterManifest:
    one, two = (roster.manifest for roster in grid.rosters)
    return one.model_copy(update={"seats": two.seats})


def registered_by_a_stranger(grid: GridSimulator) -> RosterManifest:
    draft = grid.rosters[0].manifest
    said = dict.fromkeys(draft.pseudonyms, grid.keys.holder)
    return grid.seated(draft, holders=grid.vouched(said, key=grid.keys.stranger))


def registered_elsewhere(grid: GridSimulator) -> RosterManifest:
    draft = grid.rosters[0].manifest
    said = dict.fromkeys(draft.pseudonyms, grid.keys.holder)
    return grid.seated(draft, holders=grid.vouched(said, domain="platform/billing/2025"))


def registered_as_gateways(grid: GridSimulator) -> RosterManifest:
    draft = grid.rosters[0].manifest
    said = dict.fromkeys(draft.pseudonyms, grid.keys.holder)
    return grid.seated(draft, holders=grid.vouched(said, role="gateway"))


def a_gateway_nobody_registered(grid: GridSimulator) -> RosterManifest:
    own = {grid.gateway_subject: grid.gateway_key}
    word = grid.vouched(own, role="gateway", key=grid.gateway_key)
    return grid.seated(grid.rosters[0].manifest, gateway=word)


def another_domain(grid: GridSimulator) -> RosterManifest:
    """All of it holds, in a domain that bills are not of."""
    draft = grid.rosters[0].manifest.model_copy(update={"domain": "platform/upload/2026"})
    gateway = grid.vouched(
        {grid.gateway_subject: grid.gateway_key}, role="gateway", domain=draft.domain
    )
    return grid.seated(draft, gateway=gateway)


def a_malformed_domain(grid: GridSimulator) -> RosterManifest:
    draft = grid.rosters[0].manifest.model_copy(update={"domain": "billing"})
    gateway = grid.vouched(
        {grid.gateway_subject: grid.gateway_key}, role="gateway", domain=draft.domain
    )
    return grid.seated(draft, gateway=gateway)


REFUSED: dict[str, tuple[Change, type[GridSecureError], str]] = {
    make.__name__.replace("_", " "): (make, kind, reason)
    for make, kind, reason in (
        (foreign_delegation, SignatureError, "authenticity.delegation"),
        (swapped_slots, SignatureError, "authenticity.delegation"),
        (changed_fact, SignatureError, "authenticity.delegation"),
        (changed_fact_under_the_old_id, InvalidMessageError, "roster.name"),
        (registered_by_a_stranger, UnknownMeterError, "authenticity.unknown"),
        (registered_elsewhere, UnknownMeterError, "authenticity.seats"),
        (registered_as_gateways, UnknownMeterError, "authenticity.seats"),
        (a_gateway_nobody_registered, UnknownMeterError, "authenticity.unknown"),
        (another_domain, InputError, "identity.domain"),
        (a_malformed_domain, InputError, "identity.domain"),
        (seats_of_another_roster, UnknownMeterError, "authenticity.seats"),
    )
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_roster_is_refused_and_leaves_nothing(name: str, open_grid: GridSimulator) -> None:
    make, kind, reason = REFUSED[name]
    manifest, before = make(open_grid), entries(open_grid)
    with pytest.raises(kind) as refused:
        register(open_grid, manifest)
    assert refused.value.reason == reason
    assert kept(open_grid, RosterRow.roster_id) == kept(open_grid, GatewayRow.subject) == []
    assert not open_grid.platform_zone.objects.has(manifest.seats)
    assert entries(open_grid) == before


def test_a_roster_without_seats_is_refused(open_grid: GridSimulator) -> None:
    for seats in (b"", b"{}", open_grid.keys.seats[open_grid.rosters[0].manifest.seats]):
        with pytest.raises(EnvelopeError) as refused:
            register(open_grid, unseated(open_grid), seats=seats)
        assert refused.value.reason == "authenticity.seats"


def test_a_roster_signed_by_another_gateway_is_refused(open_grid: GridSimulator) -> None:
    with pytest.raises(UnknownMeterError) as refused:
        register(open_grid, open_grid.rosters[0].manifest, key=open_grid.keys.stranger)
    assert refused.value.reason == "authenticity.seats"


# --- a gateway's one key and one pseudonym -------------------------------------------------------


def of_a_gateway(grid: GridSimulator, subject: str, key: Sm2PrivateKey) -> RosterManifest:
    """The first roster, agreed to with another gateway."""
    draft = grid.rosters[0].manifest.model_copy(
        update={"gateway_id": key.public_key.thumbprint, "seats": ""}
    )
    return grid.seated(assign_id(draft), gateway=grid.vouched({subject: key}, role="gateway"))


def test_a_gateways_pseudonym_keeps_its_first_key(open_grid: GridSimulator) -> None:
    """Though the identity authority vouches for another one now."""
    grid, key = open_grid, generate_private_key()
    register(grid, grid.rosters[0].manifest)
    with pytest.raises(AccessDeniedError) as refused:
        register(grid, of_a_gateway(grid, grid.gateway_subject, key), key=key)
    assert refused.value.reason == "authenticity.holder-pin"


def test_a_key_has_one_pseudonym(open_grid: GridSimulator) -> None:
    """Under a second one it could go on when the first is revoked."""
    grid = open_grid
    register(grid, grid.rosters[1].manifest)
    with pytest.raises(AccessDeniedError) as refused:
        register(grid, of_a_gateway(grid, "b" * 64, grid.gateway_key))
    assert refused.value.reason == "authenticity.holder-pin"


def test_requests_and_rosters_have_the_same_pin(open_grid: GridSimulator) -> None:
    """The key that a pseudonym's first request came with is the one its rosters must name."""
    grid = open_grid
    pin_holder(
        grid.platform_zone.engine,
        subject=grid.gateway_subject,
        thumbprint=grid.keys.stranger.public_key.thumbprint,
        now=NOW,
    )
    with pytest.raises(AccessDeniedError) as refused:
        register(grid, grid.rosters[0].manifest)
    assert refused.value.reason == "authenticity.holder-pin"


# --- uploads -------------------------------------------------------------------------------------


def test_an_upload_of_a_gateway_without_a_roster_is_refused(open_grid: GridSimulator) -> None:
    with pytest.raises(UnknownMeterError):
        begin(open_grid, open_grid.upload(open_grid.rosters[0], days=0))


def test_an_upload_is_of_its_rosters_year(grid: GridSimulator) -> None:
    """In another year its meter points have other pseudonyms; nobody links the two by a roster."""
    for start, end in (
        ("2027-07-01T00:00:00+08:00", "2027-08-01T00:00:00+08:00"),
        ("2025-12-01T00:00:00+08:00", "2026-01-01T00:00:00+08:00"),
    ):
        upload = grid.upload(grid.rosters[0], days=0, start=start, end=end)
        with pytest.raises(InputError) as refused:
            begin(grid, upload)
        assert refused.value.reason == "identity.period"
        assert "year" in refused.value.remedy


# --- revoked -------------------------------------------------------------------------------------


def deny(
    grid: GridSimulator,
    *subjects: str,
    sequence: int | None = None,
    key: Sm2PrivateKey | None = None,
) -> DenyList:
    given = DenyList(
        sequence=len(subjects) if sequence is None else sequence,
        issued_at=NOW.isoformat(),
        subjects=list(subjects),
    )
    envelope = sign_message(given, key=key or grid.identity_key)
    return seating.install_deny_list(grid.platform_zone, envelope, at=NOW)


def test_a_roster_with_a_revoked_pseudonym_is_refused_and_told_how_many(
    open_grid: GridSimulator,
) -> None:
    manifest = open_grid.rosters[0].manifest
    deny(open_grid, *manifest.pseudonyms[3:6], "f" * 64)
    with pytest.raises(InputError) as refused:
        register(open_grid, manifest)
    assert refused.value.reason == "identity.revoked"
    assert refused.value.message.startswith("3 pseudonyms")
    assert not any(name in str(refused.value) for name in manifest.pseudonyms)


def test_without_it_the_same_roster_is_taken_in(open_grid: GridSimulator) -> None:
    roster = open_grid.rosters[0]
    deny(open_grid, roster.manifest.pseudonyms[0])
    rest = {
        name: getattr(roster.manifest, name)[1:]
        for name in RosterManifest.model_fields
        if isinstance(getattr(roster.manifest, name), list) and getattr(roster.manifest, name)
    }
    left = open_grid.seated(roster.manifest.model_copy(update=rest))
    assert register(open_grid, left).slots == roster.manifest.slots - 1


def test_an_upload_of_a_roster_with_a_revoked_pseudonym_is_refused(grid: GridSimulator) -> None:
    upload = grid.upload(grid.rosters[0], days=0)
    deny(grid, upload.roster.manifest.pseudonyms[0])
    with pytest.raises(InputError) as refused:
        begin(grid, upload)
    assert refused.value.reason == "identity.revoked"
    assert refused.value.message.startswith("1 pseudonyms")
    assert begin(grid, grid.upload(grid.rosters[1], days=0)).state == "pending"


def test_what_was_committed_before_stays_valid(grid: GridSimulator) -> None:
    upload = grid.upload(grid.rosters[0], days=0)
    done = grid.deliver(upload)
    deny(grid, upload.roster.manifest.pseudonyms[0])
    assert begin(grid, upload) == done, "a retry after a lost answer is told so"
    assert grid.register(upload.roster) == upload.roster.manifest
    run = grid.order("bill")
    assert run.start == upload.manifest.start


def another_roster(grid: GridSimulator, _upload: GridUpload) -> object:
    other = grid.rosters[0].manifest.model_copy(update={"large": True})
    return register(grid, grid.seated(other))


def its_upload(grid: GridSimulator, upload: GridUpload) -> object:
    return begin(grid, upload)


def its_committed_upload(grid: GridSimulator, upload: GridUpload) -> object:
    return begin(grid, upload)


@pytest.mark.parametrize("step", [another_roster, its_upload, its_committed_upload])
def test_a_revoked_gateway_is_unknown(
    grid: GridSimulator, step: Callable[[GridSimulator, GridUpload], object]
) -> None:
    upload = grid.upload(grid.rosters[0], days=0)
    if step is its_committed_upload:
        grid.deliver(upload)
    deny(grid, grid.gateway_subject)
    with pytest.raises(UnknownMeterError) as refused:
        step(grid, upload)
    assert refused.value.reason == "authenticity.registration"


def test_the_deny_list_with_the_greatest_number_is_in_force(grid: GridSimulator) -> None:
    assert deny(grid, "a" * 64, "b" * 64, sequence=2).sequence == 2
    before = entries(grid)
    assert deny(grid, "a" * 64, sequence=1).sequence == 2, "an older one changes nothing"
    assert deny(grid, "a" * 64, "b" * 64, sequence=2).sequence == 2
    assert entries(grid) == before
    with write_session(grid.platform_zone.engine) as session:
        assert seating.list_denied_subjects(session) == {"a" * 64, "b" * 64}
    deny(grid, "a" * 64, "b" * 64, "c" * 64, sequence=3)
    grid.restart_platform()
    with write_session(grid.platform_zone.engine) as session:
        assert seating.list_denied_subjects(session) == {"a" * 64, "b" * 64, "c" * 64}
    assert kept(grid, DenyListRow.sequence) == [2, 3]
    assert entries(grid) == before + 1


def test_two_deny_lists_under_one_number_are_a_conflict(grid: GridSimulator) -> None:
    deny(grid, "a" * 64)
    with pytest.raises(ConflictError) as refused:
        deny(grid, "b" * 64)
    assert refused.value.reason == "conflict.deny-list"
    with write_session(grid.platform_zone.engine) as session:
        assert seating.list_denied_subjects(session) == {"a" * 64}


@pytest.mark.parametrize("signer", ["gateway", "platform", "authority", "stranger"])
def test_nobody_else_revokes(grid: GridSimulator, signer: str) -> None:
    with pytest.raises(AuthenticityError):
        deny(grid, "a" * 64, key=getattr(grid.keys, signer))
    assert kept(grid, DenyListRow.sequence) == []


def test_a_roster_of_another_id_for_the_same_content_is_refused(grid: GridSimulator) -> None:
    other = grid.rosters[0].manifest.model_copy(update={"roster_id": "e" * 32})
    with pytest.raises(InvalidMessageError) as refused:
        register(grid, other)
    assert refused.value.reason == "roster.name"
