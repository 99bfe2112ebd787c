"""Every equation is needed: without it a constructed attack goes through, with it it is refused.

`dropped` removes one equation from the statement on both sides, as a protocol without it would.
Each attacker is the best one for that protocol, and its harm is shown, not only its acceptance.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from gridsecure.credentials import grants, presentations, ranges
from gridsecure.credentials.curves import Point
from gridsecure.credentials.grants import Question, Quota, grant_relation, verify_grant
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.opening import OPENERS
from gridsecure.credentials.presentations import (
    Escrow,
    Occasion,
    present,
    presentation_relation,
    verify_presentation,
)
from gridsecure.credentials.ranges import claim_digits, digit_bases
from gridsecure.credentials.sigma import Derived, commit, prove, respond
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.errors import InvalidMessageError, SignatureError
from tests.identity.identity_world import ANALYST, METER, SETTLE, UPLOAD, keys, new_holder, suite

SUITE = suite()
GROUP = SUITE.group
ISSUER = keys().public.issuer
PK = keys().public.opening
BASE = UPLOAD.base(SUITE)
VICTIM = GROUP.random_scalar()
MEMBERSHIP, ESCROW_KEY, ESCROW_CONTENT, PSEUDONYM, MAC = range(5)


def credential_on(m1: int, context=METER) -> Credential:
    """A valid credential, made with the issuer's key as the issuer would."""
    key, u = keys().issuer, GROUP.multiply(SUITE.g, scalar=GROUP.random_scalar())
    factor = key.x0 + m1 * key.x1 + context.scalar(SUITE) * key.x2
    return Credential(m1, u, GROUP.multiply(u, scalar=factor), context)


@contextmanager
def dropped(equation: int):
    """The protocol without one equation."""

    def statement(*args, **kwargs):
        made = presentation_relation(*args, **kwargs)
        if equation != MAC:
            del made.equations[equation]
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presentations, "presentation_relation", statement)
        if equation == MAC:
            patch.setattr(presentations, "mac_sum", lambda *args, **kwargs: [])
        yield


@dataclass
class Attack:
    """What the attacker shows, and the scalars it pretends to know."""

    u: Point
    u_prime: Point
    w: Point
    e1: Point
    e2: Point
    nym: Point
    witness: list[int]

    def message(self, occasion: Occasion) -> bytes:
        shown = (self.u, self.u_prime, self.w, self.e1, self.e2, self.nym)
        statement = presentations.presentation_relation(
            shown, bases=[BASE], keys=keys().public, suite=SUITE
        )
        nonces = [GROUP.random_scalar() for _ in self.witness]
        proof = respond(
            statement,
            self.witness,
            nonces=nonces,
            commitments=commit(statement, nonces),
            suite=SUITE,
            session=occasion.session(SUITE, keys().public),
        )
        return GROUP.encode_whole(*shown) + proof


def honest_parts(credential: Credential, m1: int) -> Attack:
    """An honest presentation of a credential, but pretending to the secret m1."""
    a, e = (GROUP.random_scalar() for _ in range(2))
    return Attack(
        u=GROUP.sum((a, credential.u)),
        u_prime=GROUP.sum((a, credential.u_prime)),
        w=GROUP.sum((a * credential.m1, credential.u)),
        e1=GROUP.sum((e, SUITE.g)),
        e2=GROUP.sum((m1, SUITE.g), (e, PK)),
        nym=GROUP.sum((m1, BASE)),
        witness=[m1, e],
    )


def sybil() -> Attack:
    """One credential, any number of other secrets."""
    return honest_parts(credential_on(GROUP.random_scalar()), GROUP.random_scalar())


def outsider() -> Attack:
    """No credential at all: a made-up MAC."""
    m1 = GROUP.random_scalar()
    fake = Credential(m1, SUITE.g, GROUP.sum((GROUP.random_scalar(), SUITE.g)), METER)
    return honest_parts(fake, m1)


def unopenable() -> Attack:
    """E1 has nothing to do with E2, so that both openers together find noise."""
    attack = honest_parts(credential_on(m1 := GROUP.random_scalar()), m1)
    attack.e1 = GROUP.sum((GROUP.random_scalar(), SUITE.g))
    return attack


def framing() -> Attack:
    """The escrow holds a victim's enrolled key."""
    attack = honest_parts(credential_on(m1 := GROUP.random_scalar()), m1)
    attack.e2 = GROUP.sum((VICTIM, SUITE.g), (attack.witness[1], PK))
    return attack


def impostor() -> Attack:
    """The pseudonym is a victim's, seen on the wire."""
    attack = honest_parts(credential_on(m1 := GROUP.random_scalar()), m1)
    attack.nym = GROUP.sum((VICTIM, BASE))
    return attack


def opened(escrow: Escrow) -> Point:
    joint = sum(keys().openers[name].k for name in OPENERS)
    return GROUP.sum((1, escrow.e2), (-joint, escrow.e1))


def verify(attack: Attack):
    occasion = Occasion(
        METER, (UPLOAD,), generate_private_key().public_key, secrets.token_bytes(32)
    )
    return verify_presentation(
        attack.message(occasion),
        occasion=occasion,
        keys=keys().public,
        key=keys().issuer,
        suite=SUITE,
    )


ATTACKS = {
    MEMBERSHIP: sybil,
    MAC: outsider,
    ESCROW_KEY: unopenable,
    ESCROW_CONTENT: framing,
    PSEUDONYM: impostor,
}


@pytest.mark.parametrize("equation", ATTACKS)
def test_the_attack_needs_the_equation_gone(equation):
    attack = ATTACKS[equation]()
    with dropped(equation):
        shown = verify(attack)
    own = GROUP.sum((attack.witness[0], SUITE.g))
    harm = {
        MEMBERSHIP: lambda: opened(shown.escrow) == own,  # a person nobody enrolled
        MAC: lambda: opened(shown.escrow) == own,
        ESCROW_KEY: lambda: opened(shown.escrow) != own,
        ESCROW_CONTENT: lambda: opened(shown.escrow) == GROUP.sum((VICTIM, SUITE.g)),
        PSEUDONYM: lambda: shown.nyms == (GROUP.sum((VICTIM, BASE)),),
    }
    assert harm[equation]()
    with pytest.raises(SignatureError):
        verify(attack)


@pytest.mark.parametrize(
    ("equation", "other"), [(one, two) for one in ATTACKS for two in ATTACKS if one != two]
)
def test_no_other_equation_lets_it_through(equation, other):
    with dropped(other), pytest.raises(SignatureError):
        verify(ATTACKS[equation]())


# --- the grants' equations -----------------------------------------------------------------------

QUOTA = Quota(ANALYST, "2026-03", 8)
QUESTION = Question(QUOTA, "platform", sm3_digest(b"query"))


def grant_attack(*, nonce: int, bits: tuple[int, ...], tag_nonce: int | None = None) -> bytes:
    """A grant request whose digits are what the attacker likes."""
    m1, a, r, z = (GROUP.random_scalar() for _ in range(4))
    credential = credential_on(m1, ANALYST)
    u = GROUP.sum((a, credential.u))
    u_prime = GROUP.sum((a, credential.u_prime), (r, SUITE.g))
    m = GROUP.sum((m1, u), (z, SUITE.h))
    v = Derived(((z, ISSUER.x1), (-r, SUITE.g)))
    base = QUOTA.base(SUITE)
    used = nonce if tag_nonce is None else tag_nonce
    tag = GROUP.sum((pow(m1 + used, -1, GROUP.order), base))
    blindings = [GROUP.random_scalar() for _ in bits]
    digits = tuple(
        GROUP.sum((bit, SUITE.g), (blinding, SUITE.h))
        for bit, blinding in zip(bits, blindings, strict=True)
    )
    committed = list(zip(digit_bases(QUOTA.limit), blindings, strict=True))
    number = ranges.committed_number(digits, limit=QUOTA.limit, suite=SUITE)
    shown = (u, u_prime, m, tag, number)
    statement = grants.grant_relation(shown, v=v, x1=ISSUER.x1, base=base, suite=SUITE)
    grants.claim_digits(statement, digits, suite=SUITE)
    blinding = sum(weight * one for weight, one in committed)
    second = [(1 - bit) * one for bit, one in zip(bits, blindings, strict=True)]
    witness = [m1, z, -r, nonce, blinding, *bits, *blindings, *second]
    session = QUESTION.session(SUITE, ISSUER)
    proof = prove(statement, witness, suite=SUITE, session=session)
    return b"".join(map(GROUP.encode, (*shown[:4], *digits))) + proof


def verified(message: bytes) -> bytes:
    return verify_grant(message, question=QUESTION, issuer=ISSUER, key=keys().issuer, suite=SUITE)


@contextmanager
def grants_without(*, bit_check: bool = False, tag: bool = False, number: bool = False):
    def claims(statement, digits, *, suite):
        claim_digits(statement, digits, suite=suite)
        if bit_check:
            del statement.equations[-2 * len(digits) + 1 :: 2]

    def membership(*args, **kwargs):
        statement = grant_relation(*args, **kwargs)
        if tag:
            del statement.equations[3]
        if number:
            del statement.equations[2]
        return statement

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grants, "claim_digits", claims)
        patch.setattr(grants, "grant_relation", membership)
        yield


def test_honest_digits_pass():
    assert len(verified(grant_attack(nonce=5, bits=(1, 0, 1)))) == 33


ATTEMPTS = {
    "bit_check": {"nonce": 8, "bits": (2, 0, 0)},  # a ninth grant through a digit of 2
    "number": {"nonce": 99, "bits": (0, 0, 0)},  # the tag's nonce is not the committed one
    "tag": {"nonce": 0, "bits": (0, 0, 0), "tag_nonce": 1234},  # any tag at all
}


@pytest.mark.parametrize("part", ATTEMPTS)
def test_a_ninth_grant_needs_an_equation_gone(part):
    with grants_without(**{part: True}):
        assert len(verified(grant_attack(**ATTEMPTS[part]))) == 33
    with pytest.raises(SignatureError):
        verified(grant_attack(**ATTEMPTS[part]))


def test_digits_that_cancel_each_other_are_refused():
    message = grant_attack(nonce=5, bits=(1, 0, 1))
    points = [SUITE.h, SUITE.h, GROUP.sum((-6, SUITE.h))]  # weights 4, 2, 1
    digits = b"".join(map(GROUP.encode, points))
    with pytest.raises(SignatureError, match=r"authenticity\.grant"):
        verified(message[:132] + digits + message[231:])


# --- domains --------------------------------------------------------------------------------------


def is_accepted(message: bytes, occasion: Occasion) -> bool:
    try:
        verify_presentation(
            message, occasion=occasion, keys=keys().public, key=keys().issuer, suite=SUITE
        )
    except (SignatureError, InvalidMessageError):
        return False
    return True


def test_two_domains_do_not_swap():
    holder = new_holder()
    credential = credential_on(holder.m1)
    occasion = Occasion(METER, (UPLOAD, SETTLE), holder.key_in(UPLOAD).public_key, bytes(32))
    message = present(credential, occasion=occasion, keys=keys().public, suite=SUITE)
    assert is_accepted(message, occasion)
    swapped = message[:320] + message[384:448] + message[320:384] + message[448:]
    assert not is_accepted(swapped, occasion)


# --- facts ----------------------------------------------------------------------------------------

OTHER_CELL = METER.facts.model_copy(update={"zone": "luohu"})


def without_facts(context: Context) -> bytes:
    """A context that certifies role and period alone, as it did before."""
    return context.asked


def shown_elsewhere() -> tuple[bytes, Occasion]:
    """An own meter point shown in a victim's cell, by whoever has all of its secrets."""
    holder = new_holder()
    credential = credential_on(holder.m1)
    posing = replace(credential, context=METER.certify(OTHER_CELL))
    occasion = Occasion(posing.context, (UPLOAD,), holder.key_in(UPLOAD).public_key, bytes(32))
    return present(posing, occasion=occasion, keys=keys().public, suite=SUITE), occasion


def test_padding_a_cell_needs_the_facts_gone_from_the_credential():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "to_bytes", without_facts)
        assert is_accepted(*shown_elsewhere())
    assert not is_accepted(*shown_elsewhere())


def test_facts_in_the_proof_alone_would_not_do():
    """The hash covers them; but whoever makes the proof may put anything into it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Context,
            "scalar",
            lambda self, suite: suite.hash_to_scalar(self.asked, info=b"Context"),
        )
        assert is_accepted(*shown_elsewhere())
    assert not is_accepted(*shown_elsewhere())
