"""Seats: who may not act is left out, what leaves names nobody, and months share what they can."""

from __future__ import annotations

import csv
from datetime import UTC, datetime

import httpx
import pytest
from sqlmodel import select

from gridsecure import frames
from gridsecure.compute.seating import install_deny_list
from gridsecure.compute.tables import UploadRow
from gridsecure.credentials.seats import billing_domain, verify_seats
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    ConflictError,
    InputError,
    InvalidMessageError,
    NotFoundError,
)
from gridsecure.gateway import outbox
from gridsecure.gateway.correction_plan import save_correction
from gridsecure.gateway.correction_run import correct_month
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.months import SendingAhead
from gridsecure.gateway.packing import PackedColumn
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.gateway.roster_records import find_roster, keep_roster, load_roster
from gridsecure.gateway.rosters import Roster, assign_id, contract_frame, revise_roster
from gridsecure.gateway.seating import Seating, reseat_roster
from gridsecure.identity.registrations import revoking
from gridsecure.identity.registrations.vouching import vouch_deny_list
from gridsecure.identity_messages import DenyList, Registrations, RosterSeats
from gridsecure.messages import RosterManifest, Signed, sign_message
from gridsecure.simulator.synthetic_meters import simulate
from gridsecure.store.database import read_session, write_session
from tests.gateway.gateway_world import (
    METERS,
    MONTH,
    YEAR,
    GatewayWorld,
    Killed,
    enrolled_authority,
    forget_digests,
    kill_at,
)
from tests.gateway.identity_wire import Authority
from tests.grid_simulator import NOW, grid_keys, registry

START = f"{MONTH}-01T00:00:00+08:00"
AUGUST = "2026-08-01T00:00:00+08:00"


@pytest.fixture(autouse=True)
def _nothing_sent_ahead(monkeypatch):
    """As with a slow platform, so that threads do not decide what is committed at a kill."""
    monkeypatch.setattr(SendingAhead, "add", lambda _ahead, _item: None)


@pytest.fixture
def shared(tmp_path):
    """A world of the shared authority, whose meter points are registered."""
    made = GatewayWorld(tmp_path, load_curves=False)
    made.save()
    yield made
    made.close()


@pytest.fixture
def world(tmp_path):
    """A world whose meter points are registered at an authority of its own, told anything."""
    authority = enrolled_authority(tmp_path / "identity")
    made = GatewayWorld(tmp_path, authority=authority, load_curves=False)
    made.save()
    yield made
    made.close()
    authority.close()


@pytest.fixture
def fresh(tmp_path):
    """A world that nobody has met yet, at an identity authority of its own."""
    (tmp_path / "identity").mkdir()
    authority = Authority(tmp_path / "identity", [grid_keys().gateway.public_key])
    made = GatewayWorld(tmp_path, enrolled=False, authority=authority, load_curves=False)
    made.list_contracts(made.simulated.contracts)
    made.save()
    yield made
    made.close()
    authority.close()


def exceptions(world) -> dict[str, str]:
    with (world.folder / "months" / MONTH / "exceptions.csv").open() as file:
        return {row["meter_point_id"]: row["reason"] for row in csv.DictReader(file)}


def revoke(world, meter_point_id):
    name = world.meter_point(meter_point_id).name_in(billing_domain(YEAR))
    assert revoking.revoke(world.registry.registrations, subject=name, reference="w", now=NOW)
    return name


def rosters(world) -> list[RosterManifest]:
    plan = find_plan(world.zone, MONTH)
    return [outbox.load_outgoing(world.zone, name).seated for name in plan.names]


def committed(world) -> int:
    with write_session(world.grid.platform_zone.engine) as session:
        return len(session.exec(select(UploadRow).where(UploadRow.state == "committed")).all())


# --- who is seated ------------------------------------------------------------------------------


def test_a_month_begins_with_enrolling_and_ends_with_seats_that_hold(fresh):
    report = fresh.process()
    assert (report.billed_meters, report.excluded, report.rosters) == (20, {}, 2)
    names = fresh.identity_names()
    seen = {}
    for roster in rosters(fresh):
        envelope = load_roster(fresh.zone, roster.roster_id)
        seats = fresh.zone.objects.get(roster.seats)
        seated = verify_seats(envelope, seats=seats, identity=registry(fresh.grid.identity_key))
        assert seated.roster == roster
        assert seated.gateway_subject == fresh.holder("gateway").name_in(billing_domain(YEAR))
        assert roster.domain == f"platform/billing/{YEAR}"
        assert roster.gateway_id == fresh.gateway_key.public_key.thumbprint
        seen |= dict.fromkeys(roster.pseudonyms)
    assert seen.keys() == set(names.values())
    assert committed(fresh) == 2


def test_the_progress_of_enrolling_is_told(fresh):
    counts = []

    def note(stage, done, of):
        if stage == "enrol":
            counts.append((done, of))

    fresh.process(progress=note)
    assert counts == [(0, 0), (10, 20), (20, 20)]


def test_whoever_is_refused_is_an_exception_and_stops_nobody(fresh):
    unlisted, *_, revoked = fresh.simulated.meter_point_ids
    other = generate_private_key().public_key
    fresh.registry.list_accounts([unlisted], gateway=other, at=NOW)
    fresh.peers.identity.enrol([revoked], start=YEAR)
    revoke(fresh, revoked)
    report = fresh.process()
    assert exceptions(fresh) == {
        unlisted: "identity.unknown-account",
        revoked: "identity.revoked",
    }
    assert report.excluded == {"identity.unknown-account": 1, "identity.revoked": 1}
    assert (report.meters, report.billed_meters) == (20, 18)
    names = fresh.identity_names()
    seated = {name for roster in rosters(fresh) for name in roster.pseudonyms}
    assert seated == {names[n] for n in names if n not in (unlisted, revoked)}
    assert committed(fresh) == 2
    bills = compute_expected_bills(fresh.zone, load_files(fresh.zone, MONTH))
    assert sum(map(len, bills.values())) == 18


def test_a_contract_that_contradicts_the_books_is_named_and_left_out(fresh):
    """A gateway that writes another cell into its contract file pads no cell with it."""
    contracts = fresh.contracts()
    one, two, silent, *_ = contracts["meter_point_id"]
    moved = contracts.copy()
    moved.loc[0, "zone"] = "elsewhere"
    moved.loc[1, "customer_class"] = "elsewhat"
    fresh.list_contracts(moved)
    text = fresh.contracts_csv().decode().splitlines()
    cells = text[3].split(",")
    assert cells[0] == silent
    zone, kind = cells[1], cells[2]
    cells[1] = cells[2] = ""  # says nothing, and contradicts nothing
    text[3] = ",".join(cells)
    fresh.save(contracts="\n".join(text).encode())
    report = fresh.process()
    assert exceptions(fresh) == {one: "books.zone", two: "books.class"}
    assert report.excluded == {"books.zone": 1, "books.class": 1}
    name = fresh.identity_names()[silent]
    (manifest,) = [one for one in rosters(fresh) if name in one.pseudonyms]
    slot = manifest.pseudonyms.index(name)
    assert (manifest.zones[slot], manifest.customer_classes[slot]) == (zone, kind)


def test_a_month_in_which_everybody_is_refused_bills_nobody(fresh):
    other = generate_private_key().public_key
    fresh.registry.list_accounts(fresh.simulated.meter_point_ids, gateway=other, at=NOW)
    with pytest.raises(InputError) as refusal:
        fresh.process()
    assert refusal.value.reason == "month.nothing-billed"
    assert set(exceptions(fresh).values()) == {"identity.unknown-account"}
    assert find_plan(fresh.zone, MONTH) is None


WORDS = {
    1: "identity-keys",
    4: "the gateway's enrolment",
    6: "its registration",
    8: "the meter points' enrolment",
    10: "their registration",
    11: "the first roster's",
    12: "the gateway's own",
    13: "the second roster's",
    15: "the login",
}


@pytest.mark.parametrize("request_number", WORDS, ids=WORDS.values())
def test_killed_at_any_word_with_the_identity_authority_a_month_resumes(fresh, request_number):
    fresh.identity.break_at[request_number] = "killed"
    with pytest.raises(Killed):
        fresh.process()
    fresh.restart()
    report = fresh.process()
    assert (report.billed_meters, report.excluded) == (20, {})
    names = fresh.identity_names()
    seated = {name for roster in rosters(fresh) for name in roster.pseudonyms}
    assert seated == set(names.values())
    assert committed(fresh) == 2


def test_a_revocation_after_the_rosters_are_fixed_leaves_them(world):
    with pytest.raises(Killed):
        world.process(progress=kill_at("encrypt"))
    plan = find_plan(world.zone, MONTH)
    revoke(world, world.simulated.meter_point_ids[0])
    world.restart()
    world.identity.log.clear()
    report = world.process()
    assert find_plan(world.zone, MONTH) == plan
    assert (report.billed_meters, committed(world)) == (20, 2)
    # to be vouched for, and to log in: who is in the month is settled
    assert world.identity.log == [
        "GET /identity-keys",
        "POST /registrations/list",
        *["POST /challenges", "POST /logins"],
    ]


def test_whoever_was_left_out_of_a_fixed_month_stays_out(world):
    revoked = world.simulated.meter_point_ids[3]
    revoke(world, revoked)

    with pytest.raises(Killed):
        world.process(progress=kill_at("encrypt"))
    assert find_plan(world.zone, MONTH).refused == {revoked: "identity.revoked"}
    world.restart()
    assert world.process().excluded == {"identity.revoked": 1}
    assert exceptions(world) == {revoked: "identity.revoked"}


def denied(world):
    """Hand the identity authority's deny list to the platform."""
    with read_session(world.registry.registrations) as session:
        said = vouch_deny_list(session, now=NOW)
    install_deny_list(
        world.grid.platform_zone, sign_message(said, key=world.grid.identity_key), at=NOW
    )


def killed_at(world, stage, **moment):
    with pytest.raises(Killed):
        world.process(progress=kill_at(stage, **moment))
    world.restart()


def killed_after_one_commit(world):
    killed_at(world, "upload", when=lambda _done: world.wire.count("/commit") == 1)
    assert committed(world) == 1


def test_a_roster_that_the_platform_refuses_is_made_anew_without_the_revoked(world):
    killed_at(world, "upload")
    plan = find_plan(world.zone, MONTH)
    first, second = rosters(world)
    untouched = outbox.load_outgoing(world.zone, plan.names[1])
    gone = meters(world, first)[0]
    revoke(world, gone)
    denied(world)
    report = world.process()
    assert (report.billed_meters, report.excluded) == (19, {"identity.revoked": 1})
    assert exceptions(world) == {gone: "identity.revoked"}
    again = find_plan(world.zone, MONTH)
    assert again.rosters[1:] == plan.rosters[1:]
    assert rosters(world)[0].pseudonyms == first.pseudonyms[1:]
    assert rosters(world)[1] == second
    assert outbox.load_outgoing(world.zone, again.names[1]).manifest == untouched.manifest
    assert committed(world) == 2
    assert list((world.folder / "outbox").iterdir()) == []
    assert world.process() == report
    bills = compute_expected_bills(world.zone, load_files(world.zone, MONTH))
    assert sum(map(len, bills.values())) == 19


@pytest.mark.parametrize("stage", ["rosters", "encrypt", "upload"])
def test_killed_while_it_is_made_anew_the_next_run_completes_it(world, stage):
    killed_at(world, "upload")
    revoke(world, meters(world, rosters(world)[0])[0])
    denied(world)
    world.steps.clear()
    uploads = 2 if stage == "upload" else 1
    killed_at(world, stage, when=lambda _done: world.steps.count("upload") == uploads)
    assert world.process().excluded == {"identity.revoked": 1}
    assert committed(world) == 2
    assert list((world.folder / "outbox").iterdir()) == []


def test_what_is_committed_stays_whoever_is_revoked_later(world):
    killed_after_one_commit(world)
    first, second = rosters(world)
    for roster in (first, second):
        revoke(world, meters(world, roster)[0])
    denied(world)
    report = world.process()
    assert report.excluded == {"identity.revoked": 1}
    assert rosters(world)[0] == first
    assert rosters(world)[1].pseudonyms == second.pseudonyms[1:]
    assert committed(world) == 2


def test_a_platform_that_alone_knows_of_a_revocation_fails_the_month(world):
    killed_at(world, "upload")
    name = rosters(world)[0].pseudonyms[0]
    said = DenyList(sequence=1, issued_at=NOW.isoformat(), subjects=[name])
    install_deny_list(
        world.grid.platform_zone, sign_message(said, key=world.grid.identity_key), at=NOW
    )
    with pytest.raises(InputError) as refusal:
        world.process()
    assert refusal.value.reason == "identity.revoked"
    assert committed(world) == 0


def test_files_changed_meanwhile_do_not_take_a_committed_roster_away(world):
    killed_after_one_commit(world)
    first, second = rosters(world)
    revoke(world, meters(world, second)[0])
    denied(world)
    (readings,) = (world.folder / "months" / MONTH).glob("input-*/readings-0001")
    gone = meters(world, first)[0].encode()
    lines = readings.read_bytes().splitlines()
    readings.write_bytes(b"\n".join(line for line in lines if not line.startswith(gone + b",")))
    forget_digests(world.folder / "months" / MONTH)
    with pytest.raises(ConflictError) as refusal:
        world.process()
    assert refusal.value.reason == "conflict.month-plan"


# --- rosters of several months ------------------------------------------------------------------


def seating(world, start):
    return Seating(world.zone, world.peers.identity, start, world.clock)


def drafts(world):
    """The month's rosters before they had seats."""
    return [
        Roster(roster.model_copy(update={"seats": ""}), meters(world, roster))
        for roster in rosters(world)
    ]


def meters(world, roster):
    names = {subject: name for name, subject in world.identity_names().items()}
    return tuple(names[subject] for subject in roster.pseudonyms)


def test_the_next_month_has_the_same_rosters_and_signs_nothing_anew(shared):
    shared.process()
    shared.identity.log.clear()
    made, revoked = seating(shared, AUGUST).seat(drafts(shared))
    assert [item.manifest for item in made] == rosters(shared)
    assert revoked == frozenset()
    # asked only whether they may still act
    assert shared.identity.log == ["POST /registrations/list"] * 2


def test_a_second_month_from_files_to_uploads_enrols_and_seats_nobody(shared):
    shared.process()
    july = find_plan(shared.zone, MONTH)
    readings = simulate(METERS, month="2026-08", interval_minutes=60).wide_csv()
    shared.now = datetime(2026, 9, 2, tzinfo=UTC)
    shared.save(readings, month="2026-08")
    shared.identity.log.clear()
    report = shared.process(month="2026-08")
    august = find_plan(shared.zone, "2026-08")
    assert (report.billed_meters, report.excluded) == (20, {})
    assert august.rosters == july.rosters
    assert not set(august.names) & set(july.names)
    assert shared.identity.log == [
        "GET /identity-keys",
        *["POST /service-tokens", "POST /accounts/days"],
        *["POST /registrations/list"] * 3,
        *["POST /challenges", "POST /logins"],
    ]
    assert committed(shared) == 4
    sent = [outbox.load_outgoing(shared.zone, name).upload for name in (*july.names, *august.names)]
    assert [upload.sequence for upload in sent] == [1, 2, 3, 4]


def test_after_a_revocation_the_next_month_has_another_roster(world):
    world.process()
    first = drafts(world)
    name = revoke(world, first[0].meter_point_ids[0])
    made, revoked = seating(world, AUGUST).seat(first)
    assert revoked == {name}
    assert [item.manifest for item in made] == rosters(world)[1:]


def test_another_month_of_a_roster_is_another_upload(shared):
    july = shared.outgoing()
    august = shared.outgoing(span=(AUGUST, "2026-09-01T00:00:00+08:00"))
    assert july.roster == august.roster
    assert july.name != august.name
    assert (july.upload.sequence, august.upload.sequence) == (1, 2)
    assert outbox.find(shared.zone, july.name) == july


def test_another_year_is_another_gateway_and_other_rosters(shared):
    before, after = seating(shared, START), seating(shared, "2027-01-01T00:00:00+08:00")
    assert before.domain != after.domain
    assert before.gateway_id != after.gateway_id


def test_a_retariffed_roster_is_seated_by_the_same_word(shared):
    shared.process()
    draft = drafts(shared)[0]
    earlier = rosters(shared)[0]
    shared.identity.log.clear()
    contracts = contract_frame(draft.manifest).assign(meter_point_id=draft.meter_point_ids)
    other = revise_roster(draft, tariff="7" * 64, contracts=contracts)
    assert revise_roster(draft, tariff=draft.manifest.tariff, contracts=contracts) is draft
    made = reseat_roster(shared.zone, other, earlier=earlier, at=NOW).manifest
    assert made.pseudonyms == earlier.pseudonyms
    assert made.roster_id != earlier.roster_id
    before, after = (RosterSeats.parse(shared.zone.objects.get(r.seats)) for r in (earlier, made))
    assert (before.gateway, before.holders) == (after.gateway, after.holders)
    assert not set(before.delegations) & set(after.delegations)
    verify_seats(
        load_roster(shared.zone, made.roster_id),
        seats=shared.zone.objects.get(made.seats),
        identity=registry(shared.grid.identity_key),
    )
    again = reseat_roster(shared.zone, other, earlier=earlier, at=NOW).manifest
    assert again == made
    back = reseat_roster(shared.zone, draft, earlier=made, at=NOW).manifest
    assert back == earlier
    assert shared.identity.log == []


# --- whom it believes ---------------------------------------------------------------------------


def said_instead(world, change, *, key=None):
    """Let the authority sign other registrations than it has."""
    real = world.identity.answer

    def answer(request):
        response = real(request)
        if request.url.path != "/registrations/list":
            return response
        said = response.json()
        found = Registrations.parse(said["registrations"]["body"])
        told = sign_message(change(found), key=key or world.grid.identity_key)
        return httpx.Response(200, json=said | {"registrations": told.model_dump()})

    world.identity.answer = answer


def of_another_role(found):
    role = "gateway" if found.role == "meter-point" else "meter-point"
    return found.model_copy(update={"role": role})


def with_another_key(found):
    holder = generate_private_key().public_key.point.hex()
    first = found.entries[0].model_copy(update={"holder": holder})
    return found.model_copy(update={"entries": [first, *found.entries[1:]]})


LIES = {
    "another order": lambda found: found.model_copy(update={"entries": found.entries[::-1]}),
    "one missing": lambda found: found.model_copy(update={"entries": found.entries[1:]}),
    "another domain": lambda found: found.model_copy(update={"domain": "platform/billing/2025"}),
    "another role": of_another_role,
}


@pytest.mark.parametrize("change", LIES.values(), ids=LIES)
def test_another_word_than_was_asked_for_seats_nobody(shared, change):
    said_instead(shared, change)
    refused(shared, "identity.answer")


def test_a_key_that_is_not_the_agents_seats_nobody(shared):
    said_instead(shared, with_another_key)
    refused(shared, "identity.holder")


def test_a_word_that_another_key_signed_seats_nobody(shared):
    said_instead(shared, lambda found: found, key=grid_keys().stranger)
    refused(shared, "authenticity.unknown")


SHAPES = {
    "silence": {"registrations": None, "refused": []},
    "strangers": {"registrations": None, "refused": ["0" * 64]},
    "numbers": {"registrations": None, "refused": [1]},
    "nothing": {},
}


@pytest.mark.parametrize("said", SHAPES.values(), ids=SHAPES)
def test_a_word_of_another_shape_seats_nobody(shared, said):
    shared.identity.answer = lambda _request: httpx.Response(200, json=said)
    with pytest.raises(InvalidMessageError) as refusal:
        shared.peers.identity.registrations(["1" * 64], start=YEAR)
    assert refusal.value.reason == "identity.answer"


def refused(world, reason):
    with pytest.raises((AuthenticityError, AccessDeniedError, InvalidMessageError)) as refusal:
        world.process()
    assert refusal.value.reason == reason
    assert find_plan(world.zone, MONTH) is None
    assert committed(world) == 0


def test_a_roster_that_was_never_signed_is_nowhere(shared):
    assert find_roster(shared.zone, "0" * 32) is None
    with pytest.raises(NotFoundError):
        load_roster(shared.zone, "0" * 32)


# --- what leaves --------------------------------------------------------------------------------


def test_nothing_that_names_anybody_goes_to_the_platform(shared):
    """Not a meter point, not an enrolled key, not the gateway's name as a service."""
    sent = []
    real = shared.wire.answer

    def answer(request):
        sent.append((request, request.read()))
        return real(request)

    shared.wire.answer = answer
    shared.process()
    service = shared.zone.signing_key.public_key
    secret = [shared.zone.service_id.encode(), service.point, service.point.hex().encode()]
    for name in shared.simulated.meter_point_ids:
        holder = shared.meter_point(name)
        enrolled = holder.suite.group.encode(
            holder.suite.group.multiply(holder.suite.g, scalar=holder.m1)
        )
        settlement = shared.settlement_names()[name]
        secret += [name.encode(), enrolled, enrolled.hex().encode(), settlement.encode()]
    assert len(sent) == 12, [request.url.path for request, _ in sent]
    for request, body in sent:
        head = f"{request.method} {request.url} {request.headers}".encode()
        for text in secret:
            assert text not in head
            assert text not in body
    assert {request.url.path for request, _ in sent} >= {"/rosters", "/uploads", "/tariffs"}


def test_every_request_to_the_platform_has_a_higher_counter(shared):
    counters = []
    real = shared.wire.answer

    def answer(request):
        counters.append(int(request.headers["GridSecure-Counter"]))
        return real(request)

    shared.wire.answer = answer
    shared.wire.break_at = {2: "answer lost", 5: "request lost"}
    shared.process()
    assert len(counters) == 13
    assert counters == sorted(set(counters))


def test_the_platform_gets_seats_with_the_roster(shared):
    bodies = []
    real = shared.wire.answer

    def answer(request):
        if request.url.path == "/rosters":
            bodies.append(request.read())
        return real(request)

    shared.wire.answer = answer
    shared.process()
    for body, roster in zip(bodies, rosters(shared), strict=True):
        envelope, seats = frames.split_frames(body)
        assert RosterManifest.parse(Signed.parse(envelope).body) == roster
        assert shared.zone.objects.get(roster.seats) == seats


def test_an_upload_is_signed_by_the_gateway_that_its_roster_names(shared):
    shared.process()
    plan = find_plan(shared.zone, MONTH)
    for name in plan.names:
        outgoing = outbox.load_outgoing(shared.zone, name)
        assert outgoing.manifest.signer == outgoing.seated.gateway_id
        assert outgoing.upload.gateway_id == outgoing.seated.gateway_id
        outgoing.manifest.verify(shared.gateway_key.public_key)


def test_each_pseudonym_of_the_gateway_counts_its_uploads_from_one(shared):
    shared.process()
    first = rosters(shared)[0]
    outgoing = outbox.load_outgoing(shared.zone, find_plan(shared.zone, MONTH).names[0])
    columns = [PackedColumn(b"a column", outgoing.upload.columns[0])]
    domain = billing_domain("2027")
    key = shared.holder("gateway").key_in(domain)
    numbers = []
    for tariff in ("7" * 64, "8" * 64):
        changed = {"domain": domain.text, "gateway_id": key.public_key.thumbprint, "tariff": tariff}
        roster = assign_id(first.model_copy(update=changed))
        keep_roster(shared.zone, sign_message(roster, key=key), at=NOW)
        span = ("2027-01-01T00:00:00+08:00", "2027-02-01T00:00:00+08:00")
        packed = outbox.Packed(roster, columns, *span, 0)
        numbers.append(outbox.put(shared.zone, packed, key=key, at=NOW).upload.sequence)
    assert numbers == [1, 2]
    # and the year before goes on where it was, with two rosters
    packed = outbox.Packed(first, columns, AUGUST, "2026-09-01T00:00:00+08:00", 0)
    put = outbox.put(shared.zone, packed, key=shared.gateway_key, at=NOW)
    assert put.upload.sequence == 3


def test_an_upload_of_a_roster_that_was_never_kept_is_not_signed(shared):
    stranger = shared.outgoing().seated.model_copy(update={"roster_id": "0" * 32})
    packed = outbox.Packed(stranger, [], START, AUGUST, 0)
    with pytest.raises(NotFoundError):
        outbox.put(shared.zone, packed, key=shared.gateway_key, at=NOW)


def test_whoever_was_refused_is_billed_by_a_correction_once_the_reason_is_gone(fresh):
    """Nobody has to send its readings again."""
    unlisted, *_ = fresh.simulated.meter_point_ids
    other = generate_private_key().public_key
    fresh.registry.list_accounts([unlisted], gateway=other, at=NOW)
    assert fresh.process().excluded == {"identity.unknown-account": 1}

    def try_again():
        return correct_month(
            fresh.zone,
            files=load_files(fresh.zone, MONTH),
            correction=save_correction(fresh.zone, MONTH),
            peers=fresh.peers,
            clock=fresh.clock,
            progress=lambda *_: None,
        )

    refused = try_again()
    assert (refused.corrected, refused.late, refused.first_billed) == (0, 1, 0)
    contracts = fresh.contracts()
    fresh.list_contracts(contracts[contracts["meter_point_id"] == unlisted])
    billed = try_again()
    assert (billed.corrected, billed.late, billed.first_billed) == (0, 1, 1)
    bills = compute_expected_bills(fresh.zone, load_files(fresh.zone, MONTH))
    assert sum(map(len, bills.values())) == 20
    with pytest.raises(InputError) as nothing:
        try_again()
    assert nothing.value.reason == "correction.nothing"
