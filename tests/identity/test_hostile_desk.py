"""What the offices rely on when they do not trust the desk, and whom a search must not miss."""

from __future__ import annotations

import json

import pytest
from sqlmodel import Session, select

from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.log_details import (
    REGISTERED,
    SEARCH,
    WARRANT,
    commitment,
    leaf,
    name_digest,
)
from gridsecure.credentials.opening import OPENERS
from gridsecure.credentials.presentations import Escrow
from gridsecure.errors import AccessDeniedError, NotFoundError
from gridsecure.identity.enrolments.blocking import BLOCK
from gridsecure.identity.enrolments.enrolled_keys import keys_of
from gridsecure.identity.registrations.leaves import leaves_of
from gridsecure.identity.registrations.person_searches import BATCH, SEARCHED
from gridsecure.identity.registrations.registry import find_registration
from gridsecure.identity.registrations.revoking import REVOKED
from gridsecure.identity.registrations.tables import RegistrationRow
from gridsecure.identity.registrations.warrant_desk import OPENED, SHARED, Warrant
from gridsecure.offices.log_checks import find_committing_entry, list_committed_leaves
from gridsecure.offices.shares import check_search, search_answer, share_for
from gridsecure.store.database import write_session
from gridsecure.store.evidence import append, list_entries_of
from tests.identity.identity_world import BILLING, NOW, SETTLEMENT, World, keys, new_holder, suite
from tests.identity.office_world import (
    answer_of,
    leaves,
    log_of,
    looked_up,
    new_desk,
    registered,
    run_search,
    share_of,
    swap,
)


def test_a_search_finds_a_gateway_too(world: World):
    desk = new_desk(world)
    registered(world, 2)
    holder = new_holder()
    credential = world.enrol(holder, "station 1", Context("gateway", "2026"))
    world.register(holder, credential, BILLING)
    name = holder.name_in(BILLING)
    assert find_registration(world.service.engine, subject=name).role == "gateway"
    ordered = desk.order_search("gateway/station 1", reference="2026/4", now=NOW)
    state = run_search(desk, world, ordered)
    assert (state.found, state.total) == ((name,), 3)
    with pytest.raises(AccessDeniedError, match=r"authenticity\.registration"):
        find_registration(world.service.engine, subject=name)


def test_the_log_commits_to_every_escrow_when_it_is_registered(world: World):
    """Else the authority could have another escrow opened, or searched, and nobody could show it.

    Neither check of an office sees it: escrow and digest in the order come from the same desk.
    """
    registered(world, 3)
    (entry,) = [one for one in log_of(world) if one.action == REGISTERED]
    with Session(world.service.engine) as session:
        rows = session.exec(select(RegistrationRow)).all()
    assert len(rows) == 6

    def digest(escrows: list[bytes]) -> str:
        pairs = zip(rows, escrows, strict=True)
        return commitment(leaf(name_digest(row.subject), one) for row, one in pairs)

    escrows = [row.escrow for row in rows]
    said = json.loads(entry.detail)["digest"]
    assert digest(escrows) == said
    assert digest([*escrows[1:], escrows[0]]) != said
    assert commitment(leaves_of(world.service.engine, entry.hash)) == said
    with pytest.raises(NotFoundError, match=r"not-found\.registration-leaves"):
        leaves_of(world.service.engine, "ab" * 32)


# --- a desk that has another escrow opened -------------------------------------------------------


def refused_for_its_escrow(world: World, warrant: Warrant, **changes: object) -> None:
    document = warrant.document.model_copy(update=changes)
    for opener in OPENERS:
        with pytest.raises(AccessDeniedError, match=r"authenticity\.escrow"):
            share_for(document, entries=log_of(world), key=keys().openers[opener], suite=suite())


def test_no_office_opens_anothers_escrow(world: World):
    """The order says A, and digests B's escrow; the log agrees with the desk in all of it."""
    desk = new_desk(world)
    names = [member.holder.name_in(BILLING) for member in registered(world, 2)]
    honest = desk.openings.order(names[0], reference="r", now=NOW)
    other = find_registration(world.service.engine, subject=names[1]).escrow
    swap(world, names[0], other)
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    assert warrant.document.escrow == other.hex()
    assert warrant.document.leaves == []
    good = honest.document.leaves
    made_up = leaf(name_digest(names[0]), other)
    for shown in ([], good, [*good, made_up], [made_up]):
        refused_for_its_escrow(world, warrant, leaves=shown)


def test_a_registration_after_the_order_does_not_count(world: World):
    desk = new_desk(world)
    (member,) = registered(world, 1)
    name = member.holder.name_in(BILLING)
    first = find_registration(world.service.engine, subject=name).escrow
    world.register_all([member], BILLING, SETTLEMENT)  # with an escrow of its own, in the log only
    escrow = find_registration(world.service.engine, subject=name).escrow
    assert escrow == first
    warrant = desk.openings.order(name, reference="r", now=NOW)
    order = warrant.entry
    later = world.members(1, first=1)
    world.register_all(later, BILLING, SETTLEMENT)
    entries = log_of(world)
    last = entries[-1]
    leaves = leaves_of(world.service.engine, last.hash)
    assert last.index > order.index
    with pytest.raises(AccessDeniedError, match=r"authenticity\.escrow"):
        find_committing_entry(leaves, wanted=leaves[0], entries=entries, order=order)
    with pytest.raises(AccessDeniedError, match=r"authenticity\.escrow"):
        list_committed_leaves({last.hash: leaves}, entries=entries, order=order)


def test_other_entries_commit_to_nothing(world: World):
    """An entry of another kind with the right digest in it is no registration."""
    desk = new_desk(world)
    (member,) = registered(world, 1)
    name = member.holder.name_in(BILLING)
    stranger = registered(world, 1, first=1)[0].holder.name_in(BILLING)
    other = find_registration(world.service.engine, subject=stranger).escrow
    swap(world, name, other)
    lie = [leaf(name_digest(name), other)]
    with write_session(world.service.engine) as session:
        detail = {"registered": 1, "digest": commitment(lie)}
        append(session, at=NOW, actor="identity", action="identity.enrolled", detail=detail)
    refused_for_its_escrow(world, desk.openings.order(name, reference="r", now=NOW), leaves=lie)


def test_no_office_searches_escrows_that_were_made_up(world: World):
    """(E1_V + rG, E2_V + r·PK + Y_n - Y_X) matches the searched key if and only if V is X.

    With it a desk that may search for n could ask about anybody else, once an escrow.
    """
    group = suite().group
    desk = new_desk(world)
    members = registered(world, 3)
    victim = members[2].holder.name_in(BILLING)
    taken = find_registration(world.service.engine, subject=victim).escrow
    escrow = Escrow.from_bytes(taken, suite=suite())
    r = group.random_scalar()
    keys_by_name = keys_of(world.issuer.engine, ["customer 0", "customer 2"])
    searched, guessed = (group.decode(bytes.fromhex(key)) for key in keys_by_name.values())
    fake = Escrow(
        group.sum((1, escrow.e1), (r, suite().g)),
        group.sum((1, escrow.e2), (r, keys().public.opening), (1, searched), (-1, guessed)),
    )
    both = sum(half.k for half in keys().openers.values())
    held = group.subtract(fake.e2, second=group.multiply(fake.e1, scalar=both % group.order))
    assert held == searched  # the guess is right, and this is how the desk would know
    swap(world, members[1].holder.name_in(BILLING), fake.to_bytes(suite()))
    state = desk.order_search("customer 0", reference="r", now=NOW)
    checked = looked_up(world, state)
    for opener in OPENERS:
        work = desk.searches.work(state.entry.hash, opener="utility", now=NOW)
        assert fake.to_bytes(suite()).hex() in work.escrows
        asked = work if opener == "utility" else work.model_copy(update={"step": "blind-and-share"})
        with pytest.raises(AccessDeniedError, match=r"authenticity\.escrow"):
            search_answer(asked, search=checked, key=keys().openers[opener], suite=suite())


def test_an_escrow_under_anothers_name_or_none_is_not_searched(world: World):
    desk = new_desk(world)
    registered(world, 2)
    state = desk.order_search("customer 0", reference="r", now=NOW)
    checked = looked_up(world, state)
    work = desk.searches.work(state.entry.hash, opener="utility", now=NOW)
    for names in (work.names[::-1], work.names[:1], [*work.names, "ab" * 32]):
        asked = work.model_copy(update={"names": names})
        with pytest.raises(AccessDeniedError, match=r"authenticity\.escrow"):
            search_answer(asked, search=checked, key=keys().openers["utility"], suite=suite())
    unseen = check_search(state.document, entries=log_of(world), leaves={})
    with pytest.raises(AccessDeniedError, match=r"authenticity\.escrow"):
        search_answer(work, search=unseen, key=keys().openers["utility"], suite=suite())
    ((name, good),) = leaves(world).items()
    for wrong in ({name: good[:-1]}, {name: [*good, "cd" * 32]}, {"ab" * 32: good}):
        with pytest.raises(AccessDeniedError, match=r"authenticity\.escrow"):
            check_search(state.document, entries=log_of(world), leaves=wrong)


# --- officers ------------------------------------------------------------------------------------


def test_the_log_names_who_did_what(world: World):
    desk = new_desk(world)
    members = registered(world, 2)
    name = members[0].holder.name_in(BILLING)
    warrant = desk.openings.order(name, reference="r", now=NOW, actor="lin")
    for opener, officer in (("utility", "lin"), ("regulator", "wei")):
        share = share_of(world, warrant, opener)
        desk.openings.give_share(
            warrant.entry.hash, opener=opener, share=share, now=NOW, actor=officer
        )
    assert [(one.actor, one.action) for one in log_of(world)[1:]] == [
        ("lin", WARRANT), ("lin", SHARED), ("wei", SHARED), ("wei", OPENED),
    ]  # fmt: skip


def test_the_log_names_who_searched(world: World):
    desk = new_desk(world)
    registered(world, 1)
    state = desk.order_search("customer 0", reference="r", now=NOW, actor="lin")
    checked = looked_up(world, state)
    for opener, officer in (("utility", "lin"), ("regulator", "wei"), ("utility", "zhou")):
        answer = answer_of(desk, checked, opener)
        name = state.entry.hash
        desk.searches.take(name, opener=opener, answer=answer, now=NOW, actor=officer)
    said = {one.action: one for one in log_of(world)}
    assert [said[name].actor for name in (SEARCH, BATCH, REVOKED, SEARCHED)] == [
        "lin", "zhou", "zhou", "zhou",
    ]  # fmt: skip
    officers = {"blind": "lin", "blind-and-share": "wei", "share": "zhou"}
    assert json.loads(said[BATCH].detail)["officers"] == officers
    with Session(world.issuer.engine) as session:
        assert [one.actor for one in list_entries_of(session, BLOCK)] == ["lin"]
