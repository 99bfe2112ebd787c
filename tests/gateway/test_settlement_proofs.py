"""Settlement proofs: the billing office learns which bill is whose, and checks it by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gridsecure.credentials.seats import settlement_domain
from gridsecure.credentials.settlement import verify_settlements
from gridsecure.errors import InvalidMessageError, NotFoundError, SignatureError
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.gateway.settlement_proofs import prove_settlements
from tests.gateway.gateway_world import MONTH, GatewayWorld, finished_month
from tests.identity.identity_world import suite

CHALLENGE = bytes(range(32))
DOMAIN = settlement_domain(MONTH)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = GatewayWorld.after(finished_month(), tmp_path_factory.mktemp("world"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def proofs(world):
    return prove_settlements(world.zone, MONTH, challenge=CHALLENGE)


def settled(world, proofs, *, domain=DOMAIN, challenge=CHALLENGE):
    """What the office makes of pseudonyms and their proof, knowing the accounts' enrolled keys."""
    group, g = suite().group, suite().g
    sent = [
        (pseudonym, group.multiply(g, scalar=world.meter_point(name).m1))
        for name, pseudonym in proofs.pseudonyms.items()
    ]
    return verify_settlements(sent, proofs.proof, domain=domain, challenge=challenge, suite=suite())


def test_every_billed_meter_point_proves_the_name_its_bill_is_under(world, proofs):
    assert list(proofs.pseudonyms) == sorted(world.simulated.meter_point_ids)
    bills = compute_expected_bills(world.zone, load_files(world.zone, MONTH))
    named = set(settled(world, proofs))
    assert named == {name for meters in bills.values() for name in meters}
    assert not named & set(world.identity_names().values())


def test_a_proof_is_for_one_account_one_challenge_and_one_domain(world, proofs):
    own = proofs.pseudonyms
    first, second, *_ = own
    swapped = replace(proofs, pseudonyms=own | {first: own[second], second: own[first]})
    less = replace(proofs, pseudonyms={name: own[name] for name in own if name != first})
    for sent, changes in (
        (swapped, {}),
        (less, {}),
        (replace(proofs, pseudonyms={}), {}),
        (proofs, {"challenge": bytes(32)}),
        (proofs, {"domain": settlement_domain("2027")}),
    ):
        with pytest.raises(SignatureError):
            settled(world, sent, **changes)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_challenge_of_another_length_is_refused(world, length):
    with pytest.raises(InvalidMessageError) as refusal:
        prove_settlements(world.zone, MONTH, challenge=bytes(length))
    assert refusal.value.reason == "message.challenge"


def test_a_month_that_was_not_processed_has_nothing_to_prove(world):
    with pytest.raises(NotFoundError) as refusal:
        prove_settlements(world.zone, "2026-06", challenge=CHALLENGE)
    assert refusal.value.reason == "month.not-processed"
