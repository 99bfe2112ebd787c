"""Registering many holders at once, and what the identity authority then says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import Session, col, delete, select, update

from gridsecure.credentials.access import ISSUER, batch_challenge
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.log_details import REGISTERED
from gridsecure.credentials.presentations import Domain, Escrow
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.tokens import verify_token
from gridsecure.errors import (
    AccessDeniedError,
    ConflictError,
    GridSecureError,
    InvalidMessageError,
    NotFoundError,
    StaleMessageError,
)
from gridsecure.identity.registrations.registrar import ReceivedPresentation
from gridsecure.identity.registrations.registry import find_registration
from gridsecure.identity.registrations.revoking import revoke
from gridsecure.identity.registrations.tables import RegistrationRow
from gridsecure.identity.registrations.vouching import (
    TOLD,
    vouch_deny_list,
    vouch_registrations,
    vouch_settlement_names,
)
from gridsecure.identity_messages import NO_FACTS
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import EvidenceRow
from tests.identity.identity_world import (
    BILLING,
    HOME,
    NOW,
    SETTLEMENT,
    UPLOAD,
    Member,
    World,
    answered,
    keys,
    new_holder,
    shown_together,
    shown_with,
    suite,
)

BOTH = (BILLING, SETTLEMENT)
NEXT = Context("meter-point", "2027")
NEXT_BOTH = tuple(replace(domain, period="2027") for domain in BOTH)
GATEWAY = Context("gateway", "2026")
STRANGER = "ab" * 32


def refused(kind: type[GridSecureError], reason: str):
    return pytest.raises(kind, match=rf"^\[{reason}\]")


def outcomes(answers) -> list[str]:
    """By holder "kept", or the reason why not."""
    return ["kept" if isinstance(one, tuple) else one.reason for one in answers]


def evidence(world: World) -> list[tuple[str, dict]]:
    with Session(world.service.engine) as session:
        rows = session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index)))
        return [(row.action, json.loads(row.detail)) for row in rows]


def subjects(members: list[Member], domain: Domain = BILLING) -> list[str]:
    return [member.holder.name_in(domain) for member in members]


# --- batches -------------------------------------------------------------------------------------


def test_a_batch_registers_each_holder_in_both_domains(world):
    members = world.members(3)
    answers = world.register_all(members, *BOTH)
    for member, (acting, settling) in zip(members, answers, strict=True):
        holder = member.holder
        assert acting.subject == holder.name_in(BILLING)
        assert acting.settlement == settling.subject == holder.name_in(SETTLEMENT)
        assert acting.holder == holder.key_in(BILLING).public_key.point
        assert (settling.holder, settling.settlement) == (b"", "")
        assert acting.role == settling.role == "meter-point"
        assert find_registration(world.service.engine, subject=acting.subject) == acting
        assert find_registration(world.service.engine, subject=settling.subject) == settling
    ((action, detail),) = evidence(world)
    assert action == REGISTERED
    counts = {name: detail[name] for name in ("role", "period", "registered", "refused")}
    assert counts == {"role": "meter-point", "period": "2026", "registered": 3, "refused": 0}
    assert len(detail["digest"]) == 64


def test_rows_follow_names_and_not_the_order_of_the_request(world):
    """Which may be that of an enrolment, and would link the two databases."""
    world.register_all(world.members(6), *BOTH)
    with Session(world.service.engine) as session:
        rows = select(RegistrationRow).where(RegistrationRow.holder != b"").order_by(text("rowid"))
        acting = [row.subject for row in session.exec(rows)]
    assert len(acting) == 6
    assert acting == sorted(acting)


def test_one_bad_holder_hurts_nobody_else(world):
    members = world.members(6)
    thief = generate_private_key()
    world.register_all([members[1]], *BOTH)
    challenge = world.service.challenge(now=NOW)
    shown = shown_together(members, BOTH, challenge=challenge)
    occasion, cloned = shown_with(
        members[1].holder,
        members[1].credential,
        *BOTH,
        key=thief,
        challenge=batch_challenge(challenge, 1),
    )
    shown[1] = ReceivedPresentation(occasion.holder.point, cloned, HOME)
    shown[2] = ReceivedPresentation(thief.public_key.point, shown[2].message, HOME)
    shown[3] = ReceivedPresentation(shown[3].holder, shown[3].message[:-1], HOME)
    shown[4] = ReceivedPresentation(shown[4].holder[:-1], shown[4].message, HOME)
    answers = world.registrar.register_all(
        shown, context=members[0].credential.context, domains=BOTH, challenge=challenge, now=NOW
    )
    assert outcomes(answers) == [
        "kept",
        "authenticity.cloned",
        "authenticity.presentation",
        "identity.length",
        "sm2.point",
        "kept",
    ]
    entries = evidence(world)
    assert [action for action, _ in entries] == [REGISTERED, "identity.clone-alarm", REGISTERED]
    assert entries[1][1]["second"] == thief.public_key.thumbprint
    assert (entries[2][1]["registered"], entries[2][1]["refused"]) == (2, 4)
    for at in (2, 3, 4):
        with refused(AccessDeniedError, "authenticity.registration"):
            find_registration(world.service.engine, subject=members[at].holder.name_in(BILLING))


def test_a_holder_is_registered_in_both_domains_or_in_none(world):
    (member,) = world.members(1)
    world.register(member.holder, member.credential, BILLING, SETTLEMENT)
    with write_session(world.service.engine) as session:  # its settlement pseudonym is another's
        name = col(RegistrationRow.subject)
        session.exec(delete(RegistrationRow).where(name == member.holder.name_in(BILLING)))
        other = update(RegistrationRow).where(name == member.holder.name_in(SETTLEMENT))
        session.exec(other.values(holder=b"another"))
    assert outcomes(world.register_all([member], *BOTH)) == ["authenticity.cloned"]
    with refused(AccessDeniedError, "authenticity.registration"):
        find_registration(world.service.engine, subject=member.holder.name_in(BILLING))


def test_registering_again_changes_nothing(world):
    members = world.members(2)
    first = world.register_all(members, *BOTH)
    again = world.register_all(list(reversed(members)), *BOTH)
    assert outcomes(again) == ["kept", "kept"]
    for entries in first:
        for entry in entries:
            assert find_registration(world.service.engine, subject=entry.subject) == entry


def test_two_of_one_batch_cannot_take_one_pseudonym(world):
    (member,) = world.members(1)
    challenge = world.service.challenge(now=NOW)
    shown = shown_together([member, member], BOTH, challenge=challenge)
    occasion, message = shown_with(
        member.holder,
        member.credential,
        *BOTH,
        key=generate_private_key(),
        challenge=batch_challenge(challenge, 1),
    )
    shown[1] = ReceivedPresentation(occasion.holder.point, message, HOME)
    answers = world.registrar.register_all(
        shown, context=member.credential.context, domains=BOTH, challenge=challenge, now=NOW
    )
    assert outcomes(answers) == ["kept", "authenticity.cloned"]


def test_presentations_are_for_their_places_and_their_challenge_once(world):
    members = world.members(2)
    challenge = world.service.challenge(now=NOW)
    shown = shown_together(members, BOTH, challenge=challenge)
    about = {"context": members[0].credential.context, "domains": BOTH, "now": NOW}
    swapped = world.registrar.register_all(shown[::-1], challenge=challenge, **about)
    assert outcomes(swapped) == ["authenticity.presentation"] * 2
    with refused(StaleMessageError, "authenticity.challenge"):
        world.registrar.register_all(shown, challenge=challenge, **about)
    other = world.service.challenge(now=NOW)
    replayed = world.registrar.register_all(shown, challenge=other, **about)
    assert outcomes(replayed) == ["authenticity.presentation"] * 2
    assert evidence(world) == []  # rubbish writes no evidence


def test_a_pseudonym_has_one_role(world):
    """The registry of enrolments gives a key one role; an issuer that forgot it is found out."""
    (meter,) = world.members(1)
    world.register_all([meter], *BOTH)
    holder, channel = meter.holder, b"c"
    with refused(ConflictError, "conflict.enrolment"):
        world.enrol(holder, "f" * 64, GATEWAY)
    pending = holder.ask(GATEWAY, channel=channel)
    response = answered(pending.message, context=GATEWAY, channel=channel)
    credential = holder.take(pending, response=response, channel=channel, facts=NO_FACTS)
    posing = Member(holder, credential)
    answers = world.register_all([posing], BILLING, context=GATEWAY)
    assert outcomes(answers) == ["authenticity.cloned"]


def test_a_gateway_registers_where_it_acts(world):
    holder = new_holder()
    gateway = Member(holder, world.enrol(holder, "f" * 64, GATEWAY))
    ((entry,),) = world.register_all([gateway], BILLING, context=GATEWAY)
    assert (entry.role, entry.settlement) == ("gateway", "")
    claims = verify_token(
        world.log_in(holder, BILLING),
        key=keys().signer.public_key,
        audience="platform",
        issuer=ISSUER,
        now=NOW,
    )
    assert (claims.roles, claims.subject) == (("gateway",), entry.subject)
    assert claims.holder_thumbprint == holder.key_in(BILLING).public_key.thumbprint


# --- periods -------------------------------------------------------------------------------------


def carried_on(world: World, count: int = 2):
    """Members of this year who register in the next and show this year's pseudonyms along."""
    members = world.members(count)
    world.register_all(members, *BOTH)
    renewed = [
        Member(member.holder, world.enrol(member.holder, f"customer {number}", NEXT))
        for number, member in enumerate(members)
    ]
    return members, renewed


def test_each_pseudonym_carries_on_its_own_and_no_other(world):
    """A registration is read by the platform; a settlement pseudonym in it would link them."""
    members, renewed = carried_on(world)
    answers = world.register_all(renewed, *NEXT_BOTH, *BOTH, context=NEXT)
    for member, (acting, settling) in zip(members, answers, strict=True):
        assert acting.carried == (member.holder.name_in(BILLING),)
        assert settling.carried == (member.holder.name_in(SETTLEMENT),)
    said, _ = vouch_registrations(
        world.service.engine,
        subjects(members, NEXT_BOTH[0]),
        domain=NEXT_BOTH[0].text,
        role="meter-point",
        now=NOW,
    )
    assert [entry.carried for entry in said.entries] == [[name] for name in subjects(members)]
    assert not any(name in said.model_dump_json() for name in subjects(members, SETTLEMENT))


def test_what_is_carried_on_must_be_registered_and_not_revoked(world):
    members, renewed = carried_on(world, 3)
    revoke(world.service.engine, subject=members[1].holder.name_in(BILLING), reference="w", now=NOW)
    (unknown,) = [Member(new_holder(), renewed[0].credential)]
    unknown = Member(unknown.holder, world.enrol(unknown.holder, "customer 9", NEXT))
    answers = world.register_all([*renewed, unknown], *NEXT_BOTH, *BOTH, context=NEXT)
    refusal = "authenticity.registration"
    assert outcomes(answers) == ["kept", refusal, "kept", refusal]
    assert str(answers[1]) == str(answers[3])  # revoked and unknown read alike
    answers = world.register_all([renewed[1]], *NEXT_BOTH, context=NEXT)
    assert outcomes(answers) == ["kept"]


@pytest.mark.parametrize(
    ("domains", "kind", "reason"),
    [
        (BOTH, AccessDeniedError, "authenticity.registration"),
        ((*NEXT_BOTH, UPLOAD), InvalidMessageError, "identity.domain"),
        (
            (*NEXT_BOTH, replace(UPLOAD, period="2027")),
            InvalidMessageError,
            "identity.domain",
        ),
    ],
    ids=["another period", "carried by nobody", "three of one period"],
)
def test_domains_must_belong_together(world, domains, kind, reason):
    with refused(kind, reason):
        world.register_all(world.members(1), *domains, context=NEXT)
    holder = new_holder()
    with refused(kind, reason):
        world.register(holder, world.enrol(holder, "customer 7", NEXT), *domains)


# --- revoked, and nobody acts --------------------------------------------------------------------


def test_a_revoked_pseudonym_cannot_be_registered_again(world):
    members = world.members(2)
    world.register_all(members, *BOTH)
    revoke(world.service.engine, subject=members[0].holder.name_in(BILLING), reference="w", now=NOW)
    answers = world.register_all(members, *BOTH)
    assert outcomes(answers) == ["authenticity.registration", "kept"]
    with refused(AccessDeniedError, "authenticity.registration"):
        world.log_in(members[0].holder, BILLING)


def test_nobody_acts_under_a_settlement_pseudonym(world):
    (member,) = world.members(1)
    world.register_all([member], *BOTH)
    with refused(AccessDeniedError, "authenticity.registration"):
        world.log_in(member.holder, SETTLEMENT)
    said, left = vouch_registrations(
        world.service.engine,
        subjects([member], SETTLEMENT),
        domain=SETTLEMENT.text,
        role="meter-point",
        now=NOW,
    )
    assert (said, left) == (None, subjects([member], SETTLEMENT))


# --- what is vouched for -------------------------------------------------------------------------


@pytest.fixture
def registered(world) -> list[Member]:
    members = world.members(4)
    world.register_all(members, *BOTH)
    return members


def test_registrations_come_in_the_order_asked_without_the_refused(world, registered):
    names = subjects(registered)
    revoke(world.service.engine, subject=names[2], reference="w", now=NOW)
    asked = [names[3], STRANGER, names[0], names[2], names[1]]
    said, left = vouch_registrations(
        world.service.engine, asked, domain=BILLING.text, role="meter-point", now=NOW
    )
    assert [entry.subject for entry in said.entries] == [names[3], names[0], names[1]]
    assert left == [STRANGER, names[2]]
    holders = {member.holder.name_in(BILLING): member.holder for member in registered}
    for entry in said.entries:
        key = holders[entry.subject].key_in(BILLING).public_key
        assert bytes.fromhex(entry.holder) == key.point
    assert (said.domain, said.role, said.issued_at) == (
        BILLING.text,
        "meter-point",
        NOW.isoformat(),
    )


@pytest.mark.parametrize(
    ("domain", "role"), [(BILLING.text, "gateway"), (SETTLEMENT.text, "meter-point")]
)
def test_registrations_are_of_their_domain_and_role(world, registered, domain, role):
    names = subjects(registered)
    said, left = vouch_registrations(world.service.engine, names, domain=domain, role=role, now=NOW)
    assert (said, left) == (None, names)


def test_settlement_names_are_those_of_the_same_presentation_also_of_the_revoked(world, registered):
    names = subjects(registered)
    revoke(world.service.engine, subject=names[1], reference="w", now=NOW)
    said = vouch_settlement_names(
        world.service.engine, names[::-1], domain=BILLING.text, actor="authority:a", now=NOW
    )
    assert said.subjects == names[::-1]
    assert said.names == subjects(registered, SETTLEMENT)[::-1]
    action, detail = evidence(world)[-1]
    assert (action, detail["told"], detail["domain"]) == (TOLD, 4, BILLING.text)


@pytest.mark.parametrize("wrong", ["stranger", "domain", "settlement"])
def test_settlement_names_are_all_or_nothing(world, registered, wrong):
    names = subjects(registered)
    asked = {
        "stranger": [*names, STRANGER],
        "domain": names,
        "settlement": subjects(registered, SETTLEMENT),
    }[wrong]
    domain = UPLOAD if wrong == "domain" else BILLING
    with refused(NotFoundError, "not-found.settlement") as error:
        vouch_settlement_names(world.service.engine, asked, domain=domain.text, actor="a", now=NOW)
    assert not any(name in str(error.value) for name in asked)


def test_the_deny_list_grows_and_says_nothing_of_bills(world, registered):
    def vouched(at):
        with read_session(world.service.engine) as session:
            return vouch_deny_list(session, now=at)

    assert vouched(NOW).model_dump() == {
        "sequence": 0,
        "issued_at": NOW.isoformat(),
        "subjects": [],
    }
    names = subjects(registered)
    for count, at in enumerate((2, 0), start=1):
        both = revoke(world.service.engine, subject=names[at], reference="w", now=NOW)
        assert both == 2, "the pseudonym its bills are under as well"
        said = vouched(NOW + timedelta(hours=1))
        assert said.sequence == len(said.subjects) == count
    assert said.subjects == sorted([names[0], names[2]])


def test_a_registration_holds_its_own_escrow(world, registered):
    found = find_registration(world.service.engine, subject=registered[0].holder.name_in(BILLING))
    assert len(Escrow.from_bytes(found.escrow, suite=suite()).to_bytes(suite())) == 66
