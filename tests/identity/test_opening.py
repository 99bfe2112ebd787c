"""Opening under dual control, and revoking a person without opening everyone."""

from __future__ import annotations

import json

import pytest
from sqlmodel import Session, select

from gridsecure.credentials.log_details import WARRANT, check_warrant, warrant_detail
from gridsecure.credentials.opening import (
    OPENERS,
    OpenerKey,
    generate_opener_key,
    joint_key,
    make_opening_share,
    open_escrow,
    opener_public_key,
    share_digest,
)
from gridsecure.credentials.presentations import Escrow
from gridsecure.credentials.revocation import (
    Difference,
    blind_difference,
    difference,
    matches,
    verify_blinding,
)
from gridsecure.errors import AccessDeniedError, InvalidMessageError, SignatureError
from gridsecure.identity.enrolments.enrolled_keys import identity_of
from gridsecure.identity.registrations.warrant_desk import OPENED
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.log_tree import verify_log
from tests.identity.identity_world import NOW, World, keys, new_holder, suite
from tests.identity.office_world import new_desk

HEAD = "ab" * 32
SUITE = suite()
GROUP = SUITE.group


def escrow_of(m1: int) -> Escrow:
    e = GROUP.random_scalar()
    joint = keys().public.opening
    return Escrow(GROUP.sum((e, SUITE.g)), GROUP.sum((m1, SUITE.g), (e, joint)))


def shares_for(point, head: str = HEAD) -> dict:
    return {
        name: make_opening_share(key, point=point, head=head, suite=SUITE)
        for name, key in keys().openers.items()
    }


def opened(escrow: Escrow, shares: dict, head: str = HEAD):
    return open_escrow(escrow, shares=shares, published=keys().published, head=head, suite=SUITE)


def test_a_registered_pseudonym_opens_to_its_customer(world: World):
    holder = new_holder()
    (entry,) = world.register(holder, world.enrol(holder, "customer 7"))
    escrow, log = Escrow.from_bytes(entry.escrow, suite=SUITE), world.service.engine
    desk = new_desk(world)
    warrant = desk.openings.order(entry.subject, reference="2026/17", now=NOW)
    head = warrant.entry.hash
    shares = shares_for(escrow.e1, head)
    key = GROUP.encode(opened(escrow, shares, head))
    assert identity_of(world.issuer.engine, key=key) == "customer 7"
    for name, share in shares.items():
        desk.openings.give_share(head, opener=name, share=share, now=NOW)
    assert desk.openings.result(head, now=NOW).person.identity == "customer 7"
    with Session(log) as session:
        assert verify_log(session) > warrant.entry.index
        rows = session.exec(select(EvidenceRow)).all()
    assert rows[-1].action == OPENED
    assert all(share_digest(share) in rows[-1].detail for share in shares.values())
    assert not any(share.hex() in row.detail for share in shares.values() for row in rows)


@pytest.mark.parametrize("alone", OPENERS)
def test_one_opener_alone_opens_nothing(alone):
    escrow = escrow_of(5)
    shares = shares_for(escrow.e1)
    with pytest.raises(InvalidMessageError, match=r"identity\.openers"):
        opened(escrow, {alone: shares[alone]})
    (other,) = set(OPENERS) - {alone}
    with pytest.raises(SignatureError, match=r"authenticity\.share"):
        opened(escrow, {alone: shares[alone], other: shares[alone]})
    half = GROUP.subtract(
        escrow.e2, second=GROUP.multiply(escrow.e1, scalar=keys().openers[alone].k)
    )
    assert half != GROUP.sum((5, SUITE.g))


@pytest.mark.parametrize("name", OPENERS)
def test_a_wrong_share_is_detected_and_named(name):
    escrow = escrow_of(5)
    shares = shares_for(escrow.e1)
    liar = OpenerKey(name, GROUP.random_scalar())
    shares[name] = make_opening_share(liar, point=escrow.e1, head=HEAD, suite=SUITE)
    with pytest.raises(SignatureError, match=name):
        opened(escrow, shares)


def test_a_share_without_its_log_entry_or_for_another_escrow_is_refused():
    escrow, other = escrow_of(5), escrow_of(6)
    with pytest.raises(SignatureError, match=r"authenticity\.share"):
        opened(escrow, shares_for(escrow.e1, "cd" * 32))
    with pytest.raises(SignatureError, match=r"authenticity\.share"):
        opened(escrow, shares_for(other.e1))


def ordered(subject: str, escrow: Escrow, reference: str) -> dict[str, str]:
    return warrant_detail(subject, escrow=escrow, reference=reference, suite=SUITE)


def test_a_warrant_orders_one_opening():
    escrow = escrow_of(5)
    logged = json.dumps(ordered("s", escrow, "r"))
    check_warrant(WARRANT, logged, ordered=ordered("s", escrow, "r"))
    for wanted, action, detail in (
        (ordered("t", escrow, "r"), WARRANT, logged),
        (ordered("s", escrow_of(5), "r"), WARRANT, logged),
        (ordered("s", escrow, "q"), WARRANT, logged),
        (ordered("s", escrow, "r"), "identity.revoked", logged),
        (ordered("s", escrow, "r"), WARRANT, "{}"),
    ):
        with pytest.raises(AccessDeniedError, match=r"authenticity\.warrant"):
            check_warrant(action, detail, ordered=wanted)


def test_a_rogue_key_cannot_cancel_the_other():
    """Without proof of possession the regulator could publish k·G - K_utility and open alone."""
    utility = keys().published["utility"]
    k = GROUP.random_scalar()
    honest = opener_public_key("utility", published=utility, suite=SUITE)
    rogue = GROUP.sum((k, SUITE.g), (-1, honest))
    assert GROUP.sum((1, rogue), (1, honest)) == GROUP.sum((k, SUITE.g))
    proof = OpenerKey("regulator", k).publish(SUITE)[33:]
    published = {"utility": utility, "regulator": GROUP.encode(rogue) + proof}
    with pytest.raises(SignatureError, match=r"authenticity\.opener-key"):
        joint_key(published, suite=SUITE)
    copied = {"utility": utility, "regulator": utility}
    with pytest.raises(SignatureError, match=r"authenticity\.opener-key"):
        joint_key(copied, suite=SUITE)
    with pytest.raises(InvalidMessageError, match=r"identity\.openers"):
        joint_key({"utility": utility}, suite=SUITE)


# --- revocation by person ------------------------------------------------------------------------


def holds_person(escrow: Escrow, enrolled) -> bool:
    pair = difference(escrow, enrolled=enrolled, suite=SUITE)
    for name in OPENERS:
        message = blind_difference(pair, opener=name, head=HEAD, suite=SUITE)
        pair = verify_blinding(message, pair=pair, opener=name, head=HEAD, suite=SUITE)
    return matches(
        pair, shares=shares_for(pair.a), published=keys().published, head=HEAD, suite=SUITE
    )


def test_a_person_is_found_among_escrows_and_nobody_else_is_opened():
    people = [GROUP.random_scalar() for _ in range(4)]
    wanted = GROUP.sum((people[2], SUITE.g))
    assert [holds_person(escrow_of(m1), wanted) for m1 in people] == [False, False, True, False]


def test_a_difference_that_is_not_zero_stays_hidden():
    m1, other = 11, 7
    pair = difference(escrow_of(m1), enrolled=GROUP.sum((other, SUITE.g)), suite=SUITE)
    joint = sum(keys().openers[name].k for name in OPENERS)

    def decrypted(one: Difference):
        return GROUP.sum((1, one.b), (-joint, one.a))

    assert decrypted(pair) == GROUP.sum((m1 - other, SUITE.g))  # unblinded, it would tell
    seen = set()
    for _ in range(2):
        message = blind_difference(pair, opener="utility", head=HEAD, suite=SUITE)
        blinded = verify_blinding(message, pair=pair, opener="utility", head=HEAD, suite=SUITE)
        seen.add(decrypted(blinded))
    assert len(seen) == 2
    assert decrypted(pair) not in seen


def test_an_unproved_blinding_is_refused():
    pair = difference(escrow_of(1), enrolled=SUITE.g, suite=SUITE)
    message = blind_difference(pair, opener="utility", head=HEAD, suite=SUITE)
    wrong = {
        "opener": ("regulator", HEAD, message, pair),
        "head": ("utility", "cd" * 32, message, pair),
        "pair": ("utility", HEAD, message, Difference(pair.b, pair.a)),
        "point": ("utility", HEAD, GROUP.encode(SUITE.h) + message[33:], pair),
    }
    for opener, head, sent, of in wrong.values():
        with pytest.raises(SignatureError, match=r"authenticity\.blinding"):
            verify_blinding(sent, pair=of, opener=opener, head=head, suite=SUITE)


def test_the_test_needs_both_openers():
    pair = difference(escrow_of(1), enrolled=SUITE.h, suite=SUITE)
    shares = {"utility": shares_for(pair.a)["utility"]}
    with pytest.raises(InvalidMessageError, match=r"identity\.openers"):
        matches(pair, shares=shares, published=keys().published, head=HEAD, suite=SUITE)


def test_opener_keys_are_fresh():
    one, two = (generate_opener_key("utility", suite=SUITE) for _ in range(2))
    assert one.k != two.k
