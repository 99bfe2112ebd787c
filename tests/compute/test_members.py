"""Whom the platform seats: who was revoked, absurd facts, changed keys, years."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlmodel import select

from gridsecure.compute import intake
from gridsecure.compute.seating import install_deny_list
from gridsecure.compute.tables import RosterRow, UploadRow, UploadSequenceRow
from gridsecure.credentials.seats import MAX_FACT, delegation_text
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import GridSecureError, InputError, UnknownMeterError
from gridsecure.gateway.rosters import Roster
from gridsecure.messages import RosterManifest
from gridsecure.store.database import write_session
from tests.compute.second_rosters import AUGUST, deny_list, known, part, upload_of
from tests.correction_simulator import CHEAPER, changed, correction, retariffed
from tests.grid_simulator import NOW, GridKeys, GridSimulator, GridUpload


@pytest.fixture
def first(grid: GridSimulator) -> GridUpload:
    """The flat roster's upload of July, committed."""
    roster = max(grid.rosters, key=lambda roster: roster.manifest.slots)
    upload = grid.upload(roster, days=1)
    grid.deliver(upload)
    return upload


@pytest.fixture
def revoked(grid: GridSimulator, first: GridUpload) -> str:
    """A member of that roster, revoked since."""
    name = first.roster.manifest.pseudonyms[7]
    revoke(grid, name)
    return name


def revoke(grid: GridSimulator, *names: str) -> None:
    install_deny_list(grid.platform_zone, deny_list(grid, *names), at=NOW)


def begin(grid: GridSimulator, upload: GridUpload) -> intake.UploadStatus:
    return intake.begin_upload(grid.platform_zone, upload.message, at=NOW)


def rosters_kept(grid: GridSimulator) -> list[str]:
    with write_session(grid.platform_zone.engine) as session:
        return list(session.exec(select(RosterRow.roster_id)))


def refuse_roster(grid: GridSimulator, manifest: RosterManifest, *, reason: str, **seats) -> None:
    """A roster is refused for a reason, and neither it nor its seats are kept."""
    before = rosters_kept(grid)
    roster = Roster(grid.seated(manifest, **seats), ())
    with pytest.raises(GridSecureError) as refused:
        grid.register(roster)
    assert refused.value.reason == reason
    assert rosters_kept(grid) == before
    assert not grid.platform_zone.objects.has(roster.manifest.seats)


# --- revoked members ---------------------------------------------------------------------------


def test_what_is_billed_is_corrected_although_a_member_was_revoked_since(grid, first, revoked):
    assert revoked in first.roster.manifest.pseudonyms
    readings = changed(grid, grid.readings, first, slots=[3])
    second = correction(grid, first, readings=readings, slots=[3])
    assert grid.deliver(second).state == "committed"


def test_a_repriced_roster_of_the_billed_members_is_taken_in(grid, first, revoked):
    cheaper = retariffed(grid, first.roster, change=CHEAPER)
    assert cheaper.manifest.roster_id in rosters_kept(grid)
    everyone = list(range(cheaper.manifest.slots))
    second = correction(grid, first, readings=grid.readings, slots=everyone, roster=cheaper)
    assert grid.deliver(second).state == "committed"


def test_a_repriced_roster_starts_no_month_with_a_revoked_member(grid, first, revoked):
    cheaper = retariffed(grid, first.roster, change=CHEAPER)
    for roster in (cheaper, first.roster):
        with pytest.raises(InputError) as refused:
            begin(grid, upload_of(grid, roster, first, **AUGUST))
        assert refused.value.reason == "identity.revoked"
        assert revoked not in str(refused.value)


OTHERS = {
    "fewer": lambda m: part(m, range(m.slots - 1)),
    "alone": lambda m: part(m, [7]),
    "other-order": lambda m: part(m, [*range(1, m.slots), 0]),
    "other-facts-too": lambda m: part(m, range(6, 9)).model_copy(update={"zones": ["a"] * 3}),
}


@pytest.mark.parametrize("other", OTHERS)
def test_any_other_roster_with_a_revoked_member_is_refused(grid, first, revoked, other):
    manifest = OTHERS[other](first.roster.manifest)
    assert revoked in manifest.pseudonyms
    refuse_roster(grid, manifest, reason="identity.revoked")


def test_without_the_revoked_member_a_roster_is_taken_in(grid, first, revoked):
    others = [slot for slot in range(first.roster.manifest.slots) if slot != 7]
    assert known(grid, part(first.roster.manifest, others)).manifest.roster_id in rosters_kept(grid)


def test_members_of_an_upload_that_is_not_committed_are_not_billed(grid):
    roster = grid.rosters[0]
    begin(grid, grid.upload(roster, days=1))
    revoke(grid, roster.manifest.pseudonyms[0])
    with pytest.raises(InputError) as refused:
        retariffed(grid, roster, change=('rate = "', 'rate = "1'))
    assert refused.value.reason == "identity.revoked"


def test_a_committed_upload_is_answered_as_before_when_a_member_was_revoked(grid, first, revoked):
    assert begin(grid, first).state == "committed"


# --- revoked gateways --------------------------------------------------------------------------


def test_a_revoked_gateway_registers_nothing_and_uploads_nothing(grid, first):
    readings = changed(grid, grid.readings, first, slots=[3])
    second = correction(grid, first, readings=readings, slots=[3])
    august = upload_of(grid, first.roster, first, **AUGUST)
    revoke(grid, grid.gateway_subject)
    for upload in (first, second, august):
        with pytest.raises(UnknownMeterError) as refused:
            begin(grid, upload)
        assert refused.value.reason == "authenticity.registration"
    smaller = part(first.roster.manifest, [1, 2])
    refuse_roster(grid, smaller, reason="authenticity.registration")
    with pytest.raises(UnknownMeterError):
        retariffed(grid, first.roster, change=CHEAPER)


def test_a_gateway_is_not_revoked_with_one_of_its_members(grid, first, revoked):
    (other,) = [roster for roster in grid.rosters if roster is not first.roster]
    assert begin(grid, upload_of(grid, other, first)).state == "pending"


# --- facts -------------------------------------------------------------------------------------

ABSURD = {
    "negative quota": {"household_quota_wh": -1},
    "huge quota": {"household_quota_wh": MAX_FACT + 1},
    "negative capacity": {"contracted_va": -1},
    "huge capacity": {"contracted_va": 10**30},
    "negative free quota": {"free_quota_wh": -1},
    "huge free quota": {"free_quota_wh": MAX_FACT + 1},
    "no month": {"service_from": "2026-13"},
    "month and more": {"service_from": "2026-01\n"},
    "words": {"service_from": "January"},
    "negative days": {"unheld_days": -1},
    "more days than a month": {"unheld_days": 32},
}


@pytest.mark.parametrize("name", ABSURD)
def test_facts_no_meter_point_has_are_refused(grid, name):
    whole = part(grid.rosters[0].manifest, range(3))
    ((fact, value),) = ABSURD[name].items()
    usual = getattr(whole, fact) or (["2026-01"] * 3 if fact == "service_from" else [0] * 3)
    manifest = whole.model_copy(update={fact: [*usual[:2], value]})
    refuse_roster(grid, manifest, reason="release.roster")


def test_facts_at_the_limit_are_taken(grid):
    whole = part(grid.rosters[0].manifest, range(3))
    limits = {"household_quota_wh": [0, 1, MAX_FACT], "contracted_va": [MAX_FACT] * 3}
    facts = limits | {"free_quota_wh": [MAX_FACT] * 3, "service_from": ["2026-01", "", "2026-12"]}
    assert known(grid, whole.model_copy(update=facts)).manifest.roster_id in rosters_kept(grid)


# --- keys --------------------------------------------------------------------------------------


def with_holder(grid: GridSimulator, manifest: RosterManifest, key) -> dict[str, object]:
    """Seats that the identity authority vouches for, with another key of every holder."""
    draft = replace_id(grid, manifest)
    return {
        "holders": grid.vouched(dict.fromkeys(draft.pseudonyms, key), domain=draft.domain),
        "delegations": [key.sign(delegation_text(draft, n)).hex() for n in range(draft.slots)],
    }


def replace_id(grid: GridSimulator, manifest: RosterManifest) -> RosterManifest:
    """The roster under its own id, as holders sign it."""
    return grid.seated(manifest).model_copy(update={"seats": ""})


def test_a_pseudonym_seated_again_with_another_key_is_refused(grid):
    """Not even the identity authority puts another key in the place of a household's."""
    manifest = part(grid.rosters[0].manifest, [0, 1])
    seats = with_holder(grid, manifest, generate_private_key())
    refuse_roster(grid, manifest, reason="authenticity.holder-pin", **seats)
    assert known(grid, manifest).manifest.roster_id in rosters_kept(grid)


def test_one_changed_key_pins_none_of_the_others(bare_grid):
    grid = bare_grid
    grid.install_tariffs()
    manifest = grid.rosters[0].manifest
    known(grid, part(manifest, [0]))
    both, other = part(manifest, [0, 1]), generate_private_key()
    refuse_roster(grid, both, reason="authenticity.holder-pin", **with_holder(grid, both, other))
    second = part(manifest, [1])
    roster = Roster(grid.seated(second, **with_holder(grid, second, other)), ())
    assert grid.register(roster).pseudonyms == second.pseudonyms


def test_a_gateway_does_not_come_back_with_another_key(grid):
    keys = replace(grid.keys, gateway=generate_private_key(), seated={}, packed={})
    other = Renamed(grid.folder, keys=keys, subject=grid.gateway_subject)
    refuse_roster(other, part(other.rosters[0].manifest, [0]), reason="authenticity.holder-pin")
    other.close()


def test_a_gateway_does_not_come_back_under_another_pseudonym(grid):
    """Or it would go on under it when the first one is revoked."""
    other = Renamed(grid.folder, keys=replace(grid.keys, seated={}), subject="ab" * 32)
    refuse_roster(other, part(other.rosters[0].manifest, [0]), reason="authenticity.holder-pin")
    other.close()


class Renamed(GridSimulator):
    """A gateway under a pseudonym of its choice."""

    def __init__(self, folder, *, keys: GridKeys, subject: str) -> None:
        self.subject = subject
        super().__init__(folder, keys=keys)

    @property
    def gateway_subject(self) -> str:
        return self.subject


# --- years -------------------------------------------------------------------------------------

BAD_PERIODS = {
    "in UTC": ("2026-12-31T16:00:00+00:00", "2027-01-31T16:00:00+00:00"),
    "start in UTC": ("2026-06-30T16:00:00+00:00", "2026-08-01T00:00:00+08:00"),
    "end in UTC": ("2026-12-01T00:00:00+08:00", "2026-12-31T16:00:00+00:00"),
    "over New Year": ("2026-12-15T00:00:00+08:00", "2027-01-15T00:00:00+08:00"),
    "naive": ("2026-07-01T00:00:00", "2026-08-01T00:00:00"),
    "reversed": ("2026-08-01T00:00:00+08:00", "2026-07-01T00:00:00+08:00"),
    "of next year": ("2027-01-01T00:00:00+08:00", "2027-02-01T00:00:00+08:00"),
}


@pytest.mark.parametrize("name", BAD_PERIODS)
def test_uploads_are_of_the_year_of_their_pseudonyms(grid, name):
    roster = grid.rosters[0]
    start, end = BAD_PERIODS[name]
    like = grid.upload(roster, days=1)
    with pytest.raises(InputError) as refused:
        begin(grid, upload_of(grid, roster, like, start=start, end=end))
    assert refused.value.reason == "identity.period"
    with write_session(grid.platform_zone.engine) as session:
        for table in (UploadRow, UploadSequenceRow):
            assert session.exec(select(table)).all() == []


@pytest.mark.parametrize("month", range(1, 13))
def test_every_month_of_the_year_is_taken(grid, month):
    roster = grid.rosters[0]
    following = f"{2026 + month // 12}-{month % 12 + 1:02d}"
    start, end = f"2026-{month:02d}-01T00:00:00+08:00", f"{following}-01T00:00:00+08:00"
    like = grid.upload(roster, days=1)
    assert begin(grid, upload_of(grid, roster, like, start=start, end=end)).state == "pending"
