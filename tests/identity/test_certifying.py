"""Facts of credentials: from the books alone, decided once a period, one that counts a customer."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlmodel import Session, col, select

from gridsecure.credentials.access import batch_challenge
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.presentations import Occasion, present
from gridsecure.errors import AccessDeniedError, InvalidMessageError, SignatureError
from gridsecure.identity.enrolments.accounts import Account
from gridsecure.identity.enrolments.books import OWNERS_WRITTEN, write_books, write_owners
from gridsecure.identity.enrolments.issuer import CredentialRequest
from gridsecure.identity.registrations.registrar import ReceivedPresentation
from gridsecure.identity.registrations.vouching import vouch_registrations
from gridsecure.identity_messages import NO_FACTS, Facts
from gridsecure.store.evidence import EvidenceRow
from tests.identity.identity_world import (
    BILLING,
    CHANNEL,
    METER,
    NOW,
    SETTLEMENT,
    Member,
    World,
    account_of,
    keys,
    new_holder,
    new_world,
    suite,
)

GATEWAY = Context("gateway", "2026")
NEXT_GATEWAY = Context("gateway", "2027")
NEXT = Context("meter-point", "2027")
CHAIN = "a chain of shops"


@pytest.fixture
def world(tmp_path) -> World:
    return new_world(tmp_path)


def write(world: World, *accounts: Account) -> None:
    write_books(world.issuer.engine, accounts, actor="ops", now=NOW)


def chain(*names: str, **changes: object) -> list[Account]:
    return [account_of(name, customer_id=CHAIN, **changes) for name in names]


def facts_of(world: World, *names: str, context: Context = METER) -> list[Facts]:
    return [world.enrol(new_holder(), name, context).context.facts for name in names]


def entries_of_action(engine, action: str) -> list[dict]:
    with Session(engine) as session:
        rows = session.exec(select(EvidenceRow).order_by(col(EvidenceRow.index)))
        return [json.loads(row.detail) for row in rows if row.action == action]


# --- one counts ----------------------------------------------------------------------------------


def test_twenty_meter_points_of_one_customer_count_once(world):
    names = [f"shop {number:02d}" for number in range(20)]
    write(world, *chain(*names))
    requests = [
        CredentialRequest(name, new_holder().ask(METER, channel=CHANNEL).message, CHANNEL)
        for name in names
    ]
    issued, _ = world.issuer.issue_all(requests, context=METER, now=NOW)
    assert [one.facts.counted for one in issued] == [True] + [False] * 19
    assert {(one.facts.zone, one.facts.customer_class) for one in issued} == {
        ("futian", "household")
    }


def test_a_customer_counts_once_whatever_zones_and_classes_it_has(world):
    write(
        world,
        *chain("1", "2"),
        *chain("3", "4", zone="luohu"),
        *chain("5", customer_class="shop"),
        account_of("6"),
    )
    counted = [facts.counted for facts in facts_of(world, "1", "2", "3", "4", "5", "6")]
    assert counted == [True, False, False, False, False, True]


def test_the_next_period_counts_anew(world):
    write(world, *chain("1", "2"))
    holders = new_holder(), new_holder()
    for context, first in ((METER, 0), (NEXT, 1)):
        order = holders[first:] + holders[:first]
        names = ["1", "2"][first:] + ["1", "2"][:first]
        facts = [
            world.enrol(one, name, context).context.facts
            for one, name in zip(order, names, strict=True)
        ]
        assert [one.counted for one in facts] == [True, False]


def test_a_lost_answer_is_given_again_on_the_same_facts(world):
    write(world, *chain("1", "2"))
    holder = new_holder()
    first = world.enrol(holder, "1").context.facts
    facts_of(world, "2")
    write(world, *chain("1", zone="luohu", customer_class="shop"))
    assert world.enrol(holder, "1").context.facts == first
    assert world.enrol(holder, "1", NEXT).context.facts == Facts(
        zone="luohu", customer_class="shop", counted=True
    )


def test_who_is_refused_takes_nobodys_count(world):
    write(world, *chain("1", "2"), account_of("3"))
    taken = new_holder()
    world.enrol(taken, "3")
    pending = taken.ask(METER, channel=CHANNEL)  # the key of "3", asked for "1"
    (refused,), _ = world.issuer.issue_all(
        [CredentialRequest("1", pending.message, CHANNEL)], context=METER, now=NOW
    )
    assert refused.reason == "conflict.enrolment"
    assert facts_of(world, "2")[0].counted


def test_two_gateways_at_once_count_one_customer_once(world):
    """Each enrols one of its two meter points in the same moment, again and again."""
    for turn in range(8):
        names = [f"{turn} one", f"{turn} two"]
        write(world, *(account_of(name, customer_id=f"chain {turn}") for name in names))
        with ThreadPoolExecutor(2) as pool:
            facts = list(pool.map(lambda name: facts_of(world, name)[0], names))
        assert sorted(one.counted for one in facts) == [False, True]


def test_a_meter_point_that_changes_hands_counts_for_its_new_customer(world):
    write(world, *chain("1"), account_of("2", customer_id="Lin"), account_of("3"))
    facts_of(world, "1")
    write(world, account_of("1", customer_id="Lin"))
    assert not facts_of(world, "2")[0].counted


def test_what_counts_twice_after_changing_hands_is_on_the_record(world):
    write(world, *chain("1"), account_of("2", customer_id="Lin"))
    facts_of(world, "1", "2")
    write(world, account_of("1", customer_id="Lin"))
    details = entries_of_action(world.issuer.engine, "identity.books-written")
    assert [detail["counted_twice"] for detail in details] == [0, 1]


def test_who_is_not_in_the_books_gets_nothing(world):
    message = new_holder().ask(METER, channel=CHANNEL).message
    with pytest.raises(AccessDeniedError) as refused:
        world.issuer.issue(message, identity="x", context=METER, channel=CHANNEL, now=NOW)
    assert refused.value.reason == "identity.unknown-account"


# --- owners --------------------------------------------------------------------------------------


def test_two_gateways_of_one_owner_have_its_name_of_the_period(world):
    owners = {"a" * 64: "operator 7", "b" * 64: "operator 7", "c" * 64: "operator 8"}
    write_owners(world.issuer.engine, owners, actor="ops", now=NOW)
    names = [letter * 64 for letter in "abcd"]
    one, two, three, four = (facts.owner for facts in facts_of(world, *names, context=GATEWAY))
    assert one == two
    assert len({one, three, four}) == 3
    assert four == NO_FACTS.owner == ""
    assert "operator" not in one


def test_an_owner_has_another_name_in_another_period(world):
    write_owners(world.issuer.engine, {"a" * 64: "operator 7"}, actor="ops", now=NOW)
    holder = new_holder()
    names = {
        world.enrol(holder, "a" * 64, context).context.facts.owner
        for context in (GATEWAY, NEXT_GATEWAY)
    }
    assert len(names) == 2


def test_the_evidence_of_owners_names_none(world):
    write_owners(world.issuer.engine, {"a" * 64: "operator 7"}, actor="ops", now=NOW)
    (detail,) = entries_of_action(world.issuer.engine, OWNERS_WRITTEN)
    assert detail["gateways"] == 1
    assert "operator 7" not in json.dumps(detail)


# --- shown and vouched for -----------------------------------------------------------------------


def test_registrations_say_what_was_certified(world):
    write(world, *chain("1", "2"), *chain("3", zone="luohu"))
    members = []
    for name in ("1", "2", "3"):
        holder = new_holder()
        members.append(Member(holder, world.enrol(holder, name)))
    world.register_all(members, BILLING, SETTLEMENT)
    subjects = [member.holder.name_in(BILLING) for member in members]
    said, _ = vouch_registrations(
        world.registrar.engine, subjects, domain=BILLING.text, role="meter-point", now=NOW
    )
    assert [entry.facts for entry in said.entries] == [
        member.credential.context.facts for member in members
    ]
    assert [entry.facts.counted for entry in said.entries] == [True, False, False]


LIES = {
    "zone": {"zone": "luohu"},
    "class": {"customer_class": "factory"},
    "counted": {"counted": True},
    "no zone": {"zone": ""},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_rogue_cannot_register_its_own_meter_points_in_another_cell(world, lie):
    """Sixteen of its own in the cell where the victim is; and none that counts twice."""
    write(world, *chain("0", *(f"{number}" for number in range(1, 17))))
    facts_of(world, "0")
    challenge, shown = world.service.challenge(now=NOW), []
    for at in range(16):
        holder = new_holder()
        credential = world.enrol(holder, f"{at + 1}")
        told = credential.context.facts.model_copy(update=LIES[lie])
        posing = replace(credential, context=credential.context.certify(told))
        key, bound = holder.key_in(BILLING).public_key, batch_challenge(challenge, at)
        occasion = Occasion(posing.context, (BILLING, SETTLEMENT), key, bound)
        message = present(posing, occasion=occasion, keys=keys().public, suite=suite())
        shown.append(ReceivedPresentation(key.point, message, told))
    outcomes = world.registrar.register_all(
        shown, context=METER, domains=(BILLING, SETTLEMENT), challenge=challenge, now=NOW
    )
    assert {type(one) for one in outcomes} == {SignatureError}
    assert {one.reason for one in outcomes} == {"authenticity.presentation"}


def test_the_message_of_one_cell_does_not_register_in_another(world):
    """The presentation is honest; only what is said beside it is changed on the way."""
    holder = new_holder()
    credential = world.enrol(holder, "1")
    challenge = world.service.challenge(now=NOW)
    domains = (BILLING, SETTLEMENT)
    occasion, message = holder.show(
        credential, domains=domains, challenge=batch_challenge(challenge, 0)
    )
    told = credential.context.facts.model_copy(update={"zone": "luohu"})
    (outcome,) = world.registrar.register_all(
        [ReceivedPresentation(occasion.holder.point, message, told)],
        context=METER,
        domains=domains,
        challenge=challenge,
        now=NOW,
    )
    assert isinstance(outcome, SignatureError)


@pytest.mark.parametrize(
    ("role", "facts"),
    [
        ("meter-point", Facts(owner="o")),
        ("gateway", Facts(zone="futian")),
        ("gateway", Facts(counted=True)),
        ("analyst", Facts(zone="futian")),
        ("analyst", Facts(owner="o")),
    ],
)
def test_a_role_has_its_own_facts_alone(role, facts):
    with pytest.raises(InvalidMessageError) as refused:
        Context(role, "2026", facts)
    assert refused.value.reason == "identity.context"


BAD = ["x" * 65, " futian", "futian ", "fu\ntian", "fu\u200btian", "\u202efutian", "a\0"]


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("fact", ["zone", "customer_class"])
def test_texts_that_would_make_a_second_cell_are_not_taken(text, fact):
    with pytest.raises(InvalidMessageError) as refused:
        account_of("1", **{fact: text})
    assert refused.value.reason == "books.account"
    with pytest.raises(InvalidMessageError):
        Facts.parse(json.dumps({fact: text}))


def test_an_account_has_a_customer():
    with pytest.raises(InvalidMessageError):
        account_of("1", customer_id="")
