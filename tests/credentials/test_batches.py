"""Batches checked by one sum: the false ones are named, and none hides behind another.

Attackers here may make all messages of a batch together. Each attack goes through where weights are
known beforehand, and does not where they are drawn when everything is in.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gridsecure.credentials import batch_checks, batch_issuance
from gridsecure.credentials.batch_checks import find_false
from gridsecure.credentials.batch_issuance import (
    GivenMac,
    finalise_credentials,
    issue_credentials,
)
from gridsecure.credentials.curves import IDENTITY
from gridsecure.credentials.issuance import Applicant, check_requests, request_credentials
from gridsecure.credentials.issuer_keys import generate_issuer_key
from gridsecure.credentials.presentations import (
    Occasion,
    Verified,
    present_all,
    verify_presentations,
)
from gridsecure.errors import InvalidMessageError, SignatureError
from tests.identity.identity_world import METER, SETTLE, UPLOAD, keys, new_holder, suite

SUITE = suite()
GROUP = SUITE.group
ISSUER = keys().public.issuer
SIZE = 5
CHANNELS = [f"channel {at}".encode() for at in range(SIZE)]


@pytest.fixture(scope="module")
def given():
    """What holders asked and got, in one batch; and the proof."""
    return issued([METER.facts] * SIZE)


def issued(facts) -> tuple[list[GivenMac], bytes]:
    asking = [Applicant(channel, (new_holder().m1, 0)) for channel in CHANNELS]
    pending = request_credentials(SUITE, asking, issuer=ISSUER, context=METER)
    sent = [(one.message, channel) for one, channel in zip(pending, CHANNELS, strict=True)]
    asked = check_requests(sent, suite=SUITE, issuer=ISSUER, context=METER)
    macs, proof = issue_credentials(asked, suite=SUITE, key=keys().issuer, facts=facts)
    rows = zip(pending, macs, CHANNELS, facts, strict=True)
    return [GivenMac(*row) for row in rows], proof


def taken(given, proof):
    return finalise_credentials(given, proof=proof, suite=SUITE, issuer=ISSUER)


@pytest.fixture(scope="module")
def shown(given):
    """Presentations of them, with their occasions."""
    made = []
    for credential in taken(*given):
        holder = replace(new_holder(), m1=credential.m1)
        occasion, message = holder.show(credential, domains=(UPLOAD, SETTLE), challenge=bytes(32))
        made.append((message, occasion))
    return made


@pytest.fixture(scope="module")
def shown_together(given):
    """The same credentials shown together, in two domains, in one and in the others' order."""
    credentials = taken(*given)
    domains = [(UPLOAD, SETTLE), (SETTLE,), (SETTLE, UPLOAD), (UPLOAD,), (UPLOAD, SETTLE)]
    occasions = [
        Occasion(one.context, at, new_holder().public_in(at[0]), bytes([place]) * 32)
        for place, (one, at) in enumerate(zip(credentials, domains, strict=True))
    ]
    wanted = list(zip(credentials, occasions, strict=True))
    messages = present_all(wanted, keys=keys().public, suite=SUITE)
    return list(zip(messages, occasions, strict=True))


def refused(sent) -> dict[int, str]:
    found = verify_presentations(sent, keys=keys().public, key=keys().issuer, suite=SUITE)
    return {at: one.reason for at, one in enumerate(found) if not isinstance(one, Verified)}


def bent(message: bytes, by: int) -> bytes:
    """A presentation whose second response, that of the escrow, is off by a number."""
    number = int.from_bytes(message[-32:], "big")
    return message[:-32] + GROUP.encode_scalars(number + by)


# --- sums ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("false", [set(), {0}, {6}, {1, 2}, {0, 3, 6}, set(range(7))])
def test_false_claims_are_found_and_no_others(false):
    sound = [(5, SUITE.g), (-2, SUITE.g), (-3, SUITE.g)]
    claims = [[sound, [(int(at in false), SUITE.h)]] for at in range(7)]
    assert set(find_false(claims, group=GROUP)) == false


@pytest.mark.parametrize(("false", "times"), [(set(range(64)), 3), ({63}, 2.5)])
def test_false_claims_cost_a_few_times_the_sum(false, times, monkeypatch):
    drawn = []
    monkeypatch.setattr(batch_checks.secrets, "randbits", lambda bits: drawn.append(bits) or 1)
    claims = [[[(int(at in false), SUITE.h)]] for at in range(64)]
    assert set(find_false(claims, group=GROUP)) == false
    assert len(drawn) <= times * len(claims)
    drawn.clear()
    assert next(find_false(claims, group=GROUP)) == min(false)
    assert len(drawn) <= 2.5 * len(claims), "whoever stops at the first pays for no other"


def test_no_claim_is_false_among_none():
    assert set(find_false([], group=GROUP)) == set()
    assert set(find_false([[]], group=GROUP)) == set()


def test_weights_are_new_each_time(monkeypatch):
    drawn = []
    draw = batch_checks.secrets.randbits

    def noted(bits):
        drawn.append((bits, draw(bits)))
        return drawn[-1][1]

    monkeypatch.setattr(batch_checks.secrets, "randbits", noted)
    claims = [[[(1, SUITE.g)]], [[(-1, SUITE.g)]]]
    assert set(find_false(claims, group=GROUP)) == {0, 1}
    assert {bits for bits, _ in drawn} == {128}
    assert len(set(drawn)) == len(drawn) == 4


# --- presentations -------------------------------------------------------------------------------


def test_one_forged_presentation_is_named_and_harms_no_other(shown):
    assert refused(shown) == {}
    sent = list(shown)
    sent[3] = (bent(sent[3][0], 1), sent[3][1])
    sent[1] = (sent[1][0][:-1], sent[1][1])
    assert refused(sent) == {1: "identity.length", 3: "authenticity.presentation"}


def test_two_forgeries_that_cancel_are_refused(shown, monkeypatch):
    sent = list(shown)
    for at, by in ((1, 7), (4, -7)):
        sent[at] = (bent(sent[at][0], by), sent[at][1])
    with monkeypatch.context() as patch:  # one weight for all: what is off by 7 makes up for -7
        patch.setattr(batch_checks.secrets, "randbits", lambda _: 12)
        assert refused(sent) == {}
    assert refused(sent) == dict.fromkeys((1, 4), "authenticity.presentation")


def test_a_presentation_does_not_stand_in_anothers_place(shown):
    (one, first), (other, second), *_ = shown
    assert set(refused([(other, first), (one, second)])) == {0, 1}


# --- requests ------------------------------------------------------------------------------------


def test_two_requests_that_cancel_are_refused(given, monkeypatch):
    sent = [(one.pending.message, one.channel) for one in given[0]]
    for at, by in ((0, 5), (2, -5)):
        sent[at] = (bent(sent[at][0], by), sent[at][1])

    def bad():
        found = check_requests(sent, suite=SUITE, issuer=ISSUER, context=METER)
        return [at for at, one in enumerate(found) if isinstance(one, SignatureError)]

    with monkeypatch.context() as patch:
        patch.setattr(batch_checks.secrets, "randbits", lambda _: 12)
        assert bad() == []
    assert bad() == [0, 2]


# --- issuing -------------------------------------------------------------------------------------


def test_every_credential_of_a_batch_is_the_issuers(given):
    for credential in taken(*given):
        key = keys().issuer
        factor = key.x0 + credential.m1 * key.x1 + METER.scalar(SUITE) * key.x2
        assert GROUP.sum((factor, credential.u), (-1, credential.u_prime)) == IDENTITY


def swapped(given):
    return [replace(given[0], mac=given[1].mac), replace(given[1], mac=given[0].mac), *given[2:]]


ALTERED = {
    "macs of two swapped": swapped,
    "the order": lambda given: given[::-1],
    "one left out": lambda given: given[1:],
    "another channel": lambda given: [*given[:-1], replace(given[-1], channel=b"other")],
    "other facts": lambda given: [
        replace(given[0], facts=METER.facts.model_copy(update={"counted": False})),
        *given[1:],
    ],
    "one mac doubled": lambda given: [
        replace(
            given[0],
            mac=GROUP.encode_whole(
                *(GROUP.sum((2, point)) for point in GROUP.decode_whole(given[0].mac))
            ),
        ),
        *given[1:],
    ],
}


@pytest.mark.parametrize("what", ALTERED)
def test_no_altered_batch_is_taken(given, what):
    macs, proof = given
    with pytest.raises(SignatureError, match=r"authenticity\.credential-response"):
        taken(ALTERED[what](macs), proof)


def test_a_malformed_batch_is_refused(given):
    macs, proof = given
    for bad in (proof[:-1], b"", proof + bytes(32)):
        with pytest.raises(InvalidMessageError):
            taken(macs, bad)
    with pytest.raises(InvalidMessageError):
        taken([replace(macs[0], mac=macs[0].mac[:-1]), *macs[1:]], proof)


def marked(monkeypatch, marks):
    """A batch of an issuer that adds something of its own to MACs."""
    made = batch_issuance._multiply_macs

    def multiply(*args, **kwargs):
        return [
            (u, GROUP.sum((1, u_prime), (mark, SUITE.g)))
            for (u, u_prime), mark in zip(made(*args, **kwargs), marks, strict=True)
        ]

    monkeypatch.setattr(batch_issuance, "_multiply_macs", multiply)
    return issued([METER.facts] * SIZE)


def test_a_mark_on_one_device_needs_the_proof_gone(monkeypatch):
    batch = marked(monkeypatch, (1, 0, 0, 0, 0))
    with pytest.raises(SignatureError):
        taken(*batch)


def test_marks_that_cancel_are_found_unless_weights_are_known(monkeypatch):
    """The issuer marks two devices so that the sum of their MACs is right."""
    session = batch_issuance._session
    marks = (1, -1, 0, 0, 0)
    with monkeypatch.context() as patch:
        patch.setattr(
            batch_issuance, "_session", lambda *args, **how: (session(*args, **how)[0], [1] * SIZE)
        )
        assert len(taken(*marked(patch, marks))) == SIZE
    with pytest.raises(SignatureError):
        taken(*marked(monkeypatch, marks))


def test_a_key_of_its_own_for_one_device_is_found(monkeypatch):
    """With it, the issuer could tell that device's presentations from all others."""
    other, made = generate_issuer_key(SUITE), batch_issuance._multiply_macs

    def multiply(asked, contexts, randoms, *, suite, key):
        macs = made(asked, contexts, randoms, suite=suite, key=key)
        return [made(asked, contexts, randoms, suite=suite, key=other)[0], *macs[1:]]

    monkeypatch.setattr(batch_issuance, "_multiply_macs", multiply)
    with pytest.raises(SignatureError):
        taken(*issued([METER.facts] * SIZE))


def guessed(given, pseudonym):
    """The answer of an issuer that asks the first holder whether a pseudonym is its own.

    The first U is a multiple of the base that the pseudonym was shown under, and the pseudonym's
    multiple stands where m1·U belongs. All else is honest.
    """
    key, asked = keys().issuer, [batch_issuance._read(one, SUITE) for one in given]
    randoms = [GROUP.random_scalar() for _ in asked]
    bases = [(UPLOAD.base(SUITE), pseudonym), *((SUITE.g, one.key) for one in asked[1:])]
    us, ws = (
        [GROUP.multiply(own[at], scalar=b) for b, own in zip(randoms, bases, strict=True)]
        for at in (0, 1)
    )
    m2 = METER.scalar(SUITE)
    made = [
        replace(one, u=u, u_prime=GROUP.sum((key.x0 + key.x2 * m2, u), (key.x1, w)))
        for one, u, w in zip(asked, us, ws, strict=True)
    ]
    session, weights = batch_issuance._session(made, suite=SUITE, issuer=ISSUER)
    of_u, of_w = (list(zip(weights, points, strict=True)) for points in (us, ws))
    of_m2_u = [(weight * m2 % GROUP.order, u) for weight, u in of_u]
    statement = batch_issuance._joint_relation(SUITE, public=ISSUER, sums=(of_u, of_w, of_m2_u, []))
    known = sum(weight * b for weight, b in zip(weights, randoms, strict=True))
    witness = [key.x0, key.x1, key.x2, key.xb, known][: statement.size]
    proof = batch_issuance._prove_jointly(statement, witness, suite=SUITE, session=session)
    macs = [GROUP.encode_whole(one.u, one.u_prime) for one in made]
    return [replace(one, mac=mac) for one, mac in zip(given, macs, strict=True)], proof


def test_no_holder_tells_the_issuer_which_pseudonym_is_its_own(given, monkeypatch):
    """An issuer that has seen pseudonyms takes their base for U, and sees who takes the MAC."""
    macs, _ = given
    base, joint = UPLOAD.base(SUITE), batch_issuance._joint_relation
    own, others = (GROUP.multiply(base, scalar=one.pending.m1) for one in macs[:2])

    def without_known_bases(*args, **kwargs):
        statement = joint(*args, **kwargs)
        del statement.equations[-1]
        return statement

    with monkeypatch.context() as patch:
        patch.setattr(batch_issuance, "_joint_relation", without_known_bases)
        assert len(taken(*guessed(macs, own))) == SIZE
        with pytest.raises(SignatureError):
            taken(*guessed(macs, others))
    for pseudonym in (own, others):
        with pytest.raises(SignatureError):
            taken(*guessed(macs, pseudonym))


def test_weights_follow_from_all_that_was_said(given):
    macs, _ = given
    made = [batch_issuance._read(one, SUITE) for one in macs]
    _, weights = batch_issuance._session(made, suite=SUITE, issuer=ISSUER)
    assert len(set(weights)) == SIZE
    assert all(weight < 2**128 for weight in weights)
    changed = [replace(made[0], channel=b"other"), *made[1:]]
    _, others = batch_issuance._session(changed, suite=SUITE, issuer=ISSUER)
    assert not set(weights) & set(others)


# --- shown together -------------------------------------------------------------------------------


def test_what_is_shown_together_is_what_each_shows_alone(given, shown_together):
    found = verify_presentations(shown_together, keys=keys().public, key=keys().issuer, suite=SUITE)
    for one, (_, occasion), (mac, *_) in zip(
        found, shown_together, zip(given[0], strict=True), strict=True
    ):
        secret = mac.pending.m1
        assert one.nyms == tuple(
            GROUP.multiply(domain.base(SUITE), scalar=secret) for domain in occasion.domains
        )
    points = [message[at : at + 64] for message, _ in shown_together for at in range(0, 320, 64)]
    assert len(set(points)) == len(points), "nothing random is shared but what hides the secrets"


def test_presentations_of_one_batch_are_bound_to_their_own_occasion(shown_together):
    moved = [
        (message, occasion)
        for (message, _), (_, occasion) in zip(
            shown_together[::4], reversed(shown_together[::4]), strict=True
        )
    ]
    assert refused(moved) == dict.fromkeys(range(2), "authenticity.presentation")


def test_a_batch_shows_no_credential_in_another_context(given):
    (credential, *_) = taken(*given)
    occasion = Occasion(
        replace(METER, period="2031"), (UPLOAD,), new_holder().public_in(UPLOAD), bytes(32)
    )
    with pytest.raises(ValueError, match="its own context"):
        present_all([(credential, occasion)], keys=keys().public, suite=SUITE)
    assert present_all([], keys=keys().public, suite=SUITE) == []
