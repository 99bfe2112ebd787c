"""Openings at the desk: both offices or nothing, each act in the log, results that end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import Session, delete

from gridsecure.credentials.log_details import WARRANT
from gridsecure.credentials.opening import (
    OPENERS,
    generate_opener_key,
    make_opening_share,
    share_digest,
)
from gridsecure.credentials.presentations import Escrow
from gridsecure.errors import (
    AccessDeniedError,
    AuditBrokenError,
    InvalidMessageError,
    NotFoundError,
    SignatureError,
)
from gridsecure.identity.enrolments.books import write_books
from gridsecure.identity.enrolments.tables import AccountRow
from gridsecure.identity.office_desk import OfficeDesk
from gridsecure.identity.registrations.registry import find_registration
from gridsecure.identity.registrations.revoking import revoke
from gridsecure.identity.registrations.short_memory import LIMIT
from gridsecure.identity.registrations.vouching import vouch_deny_list
from gridsecure.identity.registrations.warrant_desk import OPENED, SHARE_REFUSED, SHARED
from gridsecure.offices.shares import share_for
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import EvidenceEntry
from gridsecure.store.log_tree import verify_log
from gridsecure.transparency.tree import Frontier
from tests.identity.identity_world import BILLING, NOW, SETTLEMENT, World, account_of, keys, suite
from tests.identity.office_world import actions, give, log_of, new_desk, registered, share_of

SUITE = suite()


@pytest.fixture
def desk(world: World) -> OfficeDesk:
    return new_desk(world)


@pytest.fixture
def names(world: World, desk: OfficeDesk) -> list[str]:
    """Pseudonyms of three meter points, customer 0 to 2."""
    return [member.holder.name_in(BILLING) for member in registered(world, 3)]


def test_both_offices_open_one_pseudonym(world: World, desk: OfficeDesk, names):
    write_books(
        world.issuer.engine,
        [account_of("customer 1")],
        actor="operator",
        now=NOW,
    )
    warrant = desk.openings.order(names[1], reference="2026/17", now=NOW)
    assert warrant.waiting_for == OPENERS
    first = give(desk, world, warrant, "utility")
    assert first.waiting_for == ("regulator",)
    last = give(desk, world, warrant, "regulator")
    assert (last.waiting_for, last.opened) == ((), 1)
    opening = desk.openings.result(warrant.entry.hash, now=NOW)
    assert (opening.subject, opening.person.identity) == (names[1], "customer 1")
    assert opening.person.account is not None
    assert (opening.person.account.name, opening.person.account.address) == (
        "Lin",
        "Harbour Road 1",
    )
    assert "Lin" not in repr(opening)
    assert "customer 1" not in repr(opening)
    assert [name for name in actions(world) if "share" in name or name in (WARRANT, OPENED)] == [
        WARRANT, SHARED, SHARED, OPENED,
    ]  # fmt: skip


def test_who_is_not_in_the_books_has_an_identity_and_no_account(world: World, desk, names):
    with write_session(world.issuer.engine) as session:
        session.exec(delete(AccountRow))  # a customer that left
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    give(desk, world, warrant)
    opening = desk.openings.result(warrant.entry.hash, now=NOW)
    assert (opening.person.identity, opening.person.account) == ("customer 0", None)


def test_the_log_holds_digests_of_shares_and_nobodys_name(world: World, desk, names):
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    shares = {name: share_of(world, warrant, name) for name in OPENERS}
    for name, share in shares.items():
        desk.openings.give_share(warrant.entry.hash, opener=name, share=share, now=NOW)
    details = "".join(entry.detail for entry in log_of(world))
    for share in shares.values():
        assert share_digest(share) in details
        assert share.hex() not in details
    assert "customer" not in details
    with Session(world.service.engine) as session:
        verify_log(session)


@pytest.mark.parametrize("alone", OPENERS)
def test_one_office_alone_gets_nothing(world: World, desk, names, alone):
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    for _ in range(2):
        give(desk, world, warrant, alone)
    with pytest.raises(NotFoundError, match=r"not-found\.opening"):
        desk.openings.result(warrant.entry.hash, now=NOW)
    (other,) = set(OPENERS) - {alone}
    for share in (
        share_of(world, warrant, alone),
        make_opening_share(
            replace(keys().openers[alone], opener=other),
            point=Escrow.from_bytes(bytes.fromhex(warrant.document.escrow), suite=SUITE).e1,
            head=warrant.entry.hash,
            suite=SUITE,
        ),
    ):
        with pytest.raises(SignatureError, match=other):
            desk.openings.give_share(warrant.entry.hash, opener=other, share=share, now=NOW)
    with pytest.raises(NotFoundError, match=r"not-found\.opening"):
        desk.openings.result(warrant.entry.hash, now=NOW)


@pytest.mark.parametrize("liar", OPENERS)
def test_a_wrong_share_is_refused_and_logged_with_its_opener(world: World, desk, names, liar):
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    wrong = share_of(world, warrant, liar, generate_opener_key(liar, suite=SUITE))
    with pytest.raises(SignatureError, match=liar):
        desk.openings.give_share(warrant.entry.hash, opener=liar, share=wrong, now=NOW)
    with pytest.raises(InvalidMessageError):
        desk.openings.give_share(warrant.entry.hash, opener=liar, share=wrong[:-1], now=NOW)
    last = log_of(world)[-2:]
    assert [entry.action for entry in last] == [SHARE_REFUSED, SHARE_REFUSED]
    assert all(f'"opener":"{liar}"' in entry.detail for entry in last)
    assert desk.openings.warrant(warrant.entry.hash, now=NOW).waiting_for == OPENERS


def test_a_share_for_another_order_is_refused(world: World, desk, names):
    one, again = (
        desk.openings.order(names[0], reference="r", now=now)
        for now in (NOW, NOW + timedelta(microseconds=1))
    )
    other = desk.openings.order(names[1], reference="r", now=NOW)
    for share in (share_of(world, again, "utility"), share_of(world, other, "utility")):
        with pytest.raises(SignatureError, match=r"authenticity\.share"):
            desk.openings.give_share(one.entry.hash, opener="utility", share=share, now=NOW)


def test_several_orders_stand_beside_each_other(world: World, desk, names):
    orders = [desk.openings.order(name, reference="r", now=NOW) for name in names]
    give(desk, world, orders[2], "utility")
    give(desk, world, orders[0], "regulator", "utility")
    assert [one.waiting_for for one in desk.openings.warrants(now=NOW)] == [
        (),
        OPENERS,
        ("regulator",),
    ]
    assert [one.opened for one in desk.openings.warrants(now=NOW)] == [1, 0, 0]
    give(desk, world, orders[2], "regulator")
    found = [desk.openings.result(orders[at].entry.hash, now=NOW).person.identity for at in (0, 2)]
    assert found == ["customer 0", "customer 2"]


def test_nothing_is_opened_without_an_entry_of_its_own(world: World, desk, names):
    with pytest.raises(NotFoundError, match=r"not-found\.registration"):
        desk.openings.order("ab" * 32, reference="r", now=NOW)
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    share = share_of(world, warrant, "utility")
    other = next(entry for entry in log_of(world) if entry.action != WARRANT)
    for name in ("ab" * 32, other.hash):
        with pytest.raises(NotFoundError, match=r"not-found\.warrant"):
            desk.openings.give_share(name, opener="utility", share=share, now=NOW)
        with pytest.raises(NotFoundError, match=r"not-found\.warrant"):
            desk.openings.result(name, now=NOW)


def test_a_revoked_pseudonym_can_still_be_opened(world: World, desk, names):
    revoke(world.service.engine, subject=names[0], reference="r", now=NOW)
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    give(desk, world, warrant)
    assert desk.openings.result(warrant.entry.hash, now=NOW).person.identity == "customer 0"


# --- time and restarts ---------------------------------------------------------------------------


def test_a_result_ends(world: World, desk, names):
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    give(desk, world, warrant)
    end = NOW + LIMIT
    assert (
        desk.openings.result(warrant.entry.hash, now=end - timedelta(seconds=1)).expires_at == end
    )
    with pytest.raises(NotFoundError, match=r"not-found\.opening"):
        desk.openings.result(warrant.entry.hash, now=end)
    assert desk.openings.warrant(warrant.entry.hash, now=end).waiting_for == OPENERS
    give(desk, world, warrant, "utility", now=end)  # its earlier share was dropped
    assert desk.openings.warrant(warrant.entry.hash, now=end).waiting_for == ("regulator",)


@pytest.mark.parametrize("again", OPENERS)
def test_shares_open_once(world: World, desk, names, again):
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    give(desk, world, warrant)
    later = NOW + LIMIT - timedelta(seconds=1)
    assert give(desk, world, warrant, again, now=later).opened == 1
    with pytest.raises(NotFoundError, match=r"not-found\.opening"):
        desk.openings.result(warrant.entry.hash, now=NOW + LIMIT)


def test_a_share_ends(world: World, desk, names):
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    give(desk, world, warrant, "utility")
    last = give(desk, world, warrant, "regulator", now=NOW + LIMIT)
    assert last.waiting_for == ("utility",)


def test_a_restart_keeps_the_order_and_forgets_the_rest(world: World, desk, names):
    begun, done = (desk.openings.order(name, reference="r", now=NOW) for name in names[:2])
    give(desk, world, begun, "utility")
    give(desk, world, done)
    restarted = new_desk(world)
    assert [one.waiting_for for one in restarted.openings.warrants(now=NOW)] == [OPENERS, OPENERS]
    with pytest.raises(NotFoundError, match=r"not-found\.opening"):
        restarted.openings.result(done.entry.hash, now=NOW)
    give(restarted, world, begun, "regulator")
    with pytest.raises(NotFoundError, match=r"not-found\.opening"):
        restarted.openings.result(begun.entry.hash, now=NOW)
    give(restarted, world, begun, "utility")
    assert restarted.openings.result(begun.entry.hash, now=NOW).person.identity == "customer 0"


# --- what an office checks for itself ------------------------------------------------------------


def test_an_office_gives_nothing_for_what_the_log_does_not_order(world: World, desk, names):
    one, other = (desk.openings.order(name, reference="r", now=NOW) for name in names[:2])
    said = one.document
    for document in (
        said.model_copy(update={"subject": names[1]}),
        said.model_copy(update={"escrow": other.document.escrow}),
        said.model_copy(update={"reference": "q"}),
        said.model_copy(update={"entry": other.document.entry}),
        said.model_copy(update={"entry": "ab" * 32}),
        said.model_copy(update={"entry": log_of(world)[0].hash}),
    ):
        with pytest.raises(AccessDeniedError, match=r"authenticity\.warrant"):
            share_for(document, entries=log_of(world), key=keys().openers["regulator"], suite=SUITE)


def test_an_office_gives_nothing_on_a_log_that_does_not_hold(world: World, desk, names):
    early = log_of(world)
    warrant = desk.openings.order(names[0], reference="r", now=NOW)
    log, key = log_of(world), keys().openers["regulator"]
    forged = replace(log[0], detail="{}")
    for entries, witnessed in (
        ([forged, *log[1:]], None),
        (log[1:], None),
        ([*log[:-2], log[-1]], None),
        (log, seen([*early[:-1], replace(early[-1], salt="ab" * 16)])),
        (log[len(early) :], seen(early)),
        (log[:-1], seen(log)),
        ([], seen(early)),
    ):
        with pytest.raises(AuditBrokenError, match=r"audit\.log"):
            share_for(warrant.document, entries=entries, key=key, suite=SUITE, witnessed=witnessed)
    for entries, witnessed in ((log, None), (log, seen(early)), (log, seen(log))):
        assert share_for(
            warrant.document, entries=entries, key=key, suite=SUITE, witnessed=witnessed
        )
    with pytest.raises(AccessDeniedError, match=r"authenticity\.warrant"):
        share_for(warrant.document, entries=early, key=key, suite=SUITE, witnessed=seen(early))


def seen(entries: list[EvidenceEntry]) -> Frontier:
    """What an office keeps of a log."""
    return Frontier().grow(entry.leaf for entry in entries)


# --- revoking by pseudonym -----------------------------------------------------------------------


@pytest.mark.parametrize("domain", [BILLING, SETTLEMENT], ids=["billing", "settlement"])
def test_the_pseudonyms_of_one_presentation_are_revoked_together(world: World, domain):
    one, other = registered(world, 2)
    engine = world.service.engine
    asked = one.holder.name_in(domain)
    assert revoke(engine, subject=asked, reference="2026/3", now=NOW) == 2
    for gone in (BILLING, SETTLEMENT):
        with pytest.raises(AccessDeniedError):
            find_registration(engine, subject=one.holder.name_in(gone))
        assert find_registration(engine, subject=other.holder.name_in(gone))
    with read_session(engine) as session:
        assert vouch_deny_list(session, now=NOW).subjects == [one.holder.name_in(BILLING)]
    last = log_of(world)[-1]
    assert asked in last.detail
    assert "2026/3" in last.detail
    (partner,) = {one.holder.name_in(each) for each in (BILLING, SETTLEMENT)} - {asked}
    assert all(partner not in entry.detail for entry in log_of(world))
    assert revoke(engine, subject=asked, reference="2026/3", now=NOW) == 0


def test_an_unknown_pseudonym_is_not_revoked(world: World):
    before = actions(world)
    with pytest.raises(NotFoundError, match=r"not-found\.registration"):
        revoke(world.service.engine, subject="ab" * 32, reference="r", now=NOW)
    assert actions(world) == before
