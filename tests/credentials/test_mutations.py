"""Altered messages: of thousands, each made the same way in every run, none is accepted.

The keys and nonces are new each time; which byte, field or splice is altered, and how, is not. An
altered message is refused as malformed or as not proved, never in any other way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, permutations

import pytest

from gridsecure.credentials.batch_issuance import finalise_alone
from gridsecure.credentials.grants import Question, Quota, request_grant, verify_grant
from gridsecure.credentials.issuance import (
    Credential,
    check_request,
    finalise_credential,
    request_credential,
)
from gridsecure.credentials.opening import make_opening_share, opener_public_key, verify_share
from gridsecure.credentials.presentations import Occasion, present, verify_presentation
from gridsecure.credentials.revocation import Difference, blind_difference, verify_blinding
from gridsecure.credentials.settlement import prove_settlements, verify_settlements
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import InvalidMessageError, SignatureError
from tests.identity.identity_world import ANALYST, METER, SETTLE, UPLOAD, answered, keys, suite

SUITE = suite()
GROUP = SUITE.group
ISSUER = keys().public.issuer
POINT, WHOLE, SCALAR = 33, 64, 32
HEAD = "ab" * 32
CHANNEL = b"channel"


CODES = {
    POINT: (GROUP.decode, GROUP.encode),
    WHOLE: (lambda data: GROUP.decode_whole(data)[0], GROUP.encode_whole),
}
"""How points are read and written."""


@dataclass(frozen=True)
class Kind:
    """A kind of message.

    Args:
        points: How many it begins with; scalars follow.
        size: Of a point.
        pair: Two good ones for the same occasion.
        check: Accepts a good one, or refuses.
        flips: How many ways each byte is altered.
        least: Fewer mutations than this would not be worth the name.
    """

    points: int
    pair: tuple[bytes, bytes]
    check: Callable[[bytes], object]
    flips: int
    least: int
    size: int = POINT

    @property
    def fields(self) -> list[tuple[int, int]]:
        """Where each field begins, and its length."""
        size = self.size
        scalars = range(self.points * size, len(self.pair[0]), SCALAR)
        return [(at * size, size) for at in range(self.points)] + [(at, SCALAR) for at in scalars]


def credential_on(m1: int, context) -> Credential:
    """A valid credential, made with the issuer's key as the issuer would."""
    key, u = keys().issuer, GROUP.multiply(SUITE.g, scalar=GROUP.random_scalar())
    factor = key.x0 + m1 * key.x1 + context.scalar(SUITE) * key.x2
    return Credential(m1, u, GROUP.multiply(u, scalar=factor), context)


def presentation(*domains) -> Kind:
    credential = credential_on(GROUP.random_scalar(), METER)
    occasion = Occasion(METER, domains, generate_private_key().public_key, bytes(32))
    one, other = (
        present(credential, occasion=occasion, keys=keys().public, suite=SUITE) for _ in range(2)
    )

    def check(message: bytes) -> object:
        return verify_presentation(
            message, occasion=occasion, keys=keys().public, key=keys().issuer, suite=SUITE
        )

    return Kind(8 + 2 * len(domains), (one, other), check, 2, 1200, WHOLE)


def grant() -> Kind:
    member = credential_on(GROUP.random_scalar(), ANALYST)
    question = Question(Quota(ANALYST, "2026-03", 4), "platform", bytes(32))
    one, other = (
        request_grant(member, nonce=1, question=question, issuer=ISSUER, suite=SUITE)
        for _ in range(2)
    )

    def check(message: bytes) -> object:
        return verify_grant(
            message, question=question, issuer=ISSUER, key=keys().issuer, suite=SUITE
        )

    return Kind(6, (one, other), check, 1, 600)


def request(context) -> Kind:
    m1, r1 = GROUP.random_scalar(), GROUP.random_scalar()
    one, other = (
        request_credential(
            SUITE, issuer=ISSUER, context=context, channel=CHANNEL, secrets=(m1, r1)
        ).message
        for _ in range(2)
    )

    def check(message: bytes) -> object:
        return check_request(message, suite=SUITE, issuer=ISSUER, context=context, channel=CHANNEL)

    return Kind(2, (one, other), check, 2, 200, WHOLE)


def response(context) -> Kind:
    pending = request_credential(
        SUITE, issuer=ISSUER, context=context, channel=CHANNEL, secrets=(GROUP.random_scalar(), 0)
    )
    one, other = (answered(pending.message, context=context, channel=CHANNEL) for _ in range(2))
    finalise, size = (finalise_credential, POINT) if context.is_hidden else (finalise_alone, WHOLE)

    def check(message: bytes) -> object:
        return finalise(
            pending,
            message,
            suite=SUITE,
            issuer=ISSUER,
            channel=CHANNEL,
            facts=context.facts,
        )

    return Kind(6, (one, other), check, 1, 600, size)


def share() -> Kind:
    point, key = GROUP.multiply(SUITE.g, scalar=GROUP.random_scalar()), keys().openers["utility"]
    public = opener_public_key("utility", published=keys().published["utility"], suite=SUITE)
    one, other = (make_opening_share(key, point=point, head=HEAD, suite=SUITE) for _ in range(2))

    def check(message: bytes) -> object:
        return verify_share(
            message, opener="utility", public=public, point=point, head=HEAD, suite=SUITE
        )

    return Kind(1, (one, other), check, 2, 200)


def blinding() -> Kind:
    pair = Difference(*(GROUP.multiply(SUITE.g, scalar=GROUP.random_scalar()) for _ in range(2)))
    one, other = (
        blind_difference(pair, opener="utility", head=HEAD, suite=SUITE) for _ in range(2)
    )

    def check(message: bytes) -> object:
        return verify_blinding(message, pair=pair, opener="utility", head=HEAD, suite=SUITE)

    return Kind(2, (one, other), check, 2, 250)


def opener_key() -> Kind:
    one, other = (keys().openers["utility"].publish(SUITE) for _ in range(2))

    def check(message: bytes) -> object:
        return opener_public_key("utility", published=message, suite=SUITE)

    return Kind(1, (one, other), check, 2, 200)


def settlement() -> Kind:
    m1 = GROUP.random_scalar()
    enrolled = GROUP.multiply(SUITE.g, scalar=m1)
    occasion = {"domain": SETTLE, "challenge": bytes(32), "suite": SUITE}
    one, other = (
        nym + proof for (nym,), proof in (prove_settlements([m1], **occasion) for _ in range(2))
    )

    def check(message: bytes) -> object:
        return verify_settlements([(message[:WHOLE], enrolled)], message[WHOLE:], **occasion)

    return Kind(1, (one, other), check, 2, 200, WHOLE)


KINDS = {
    "presentation": lambda: presentation(UPLOAD),
    "presentation-two-domains": lambda: presentation(UPLOAD, SETTLE),
    "grant": grant,
    "request": lambda: request(METER),
    "hidden-request": lambda: request(ANALYST),
    "response": lambda: response(METER),
    "hidden-response": lambda: response(ANALYST),
    "share": share,
    "blinding": blinding,
    "opener-key": opener_key,
    "settlement": settlement,
}


def mutations(kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Every mutation with its name; the same list for every message of a kind."""
    return chain(flipped(kind), replaced(kind), calculated(kind), spliced(kind))


def flipped(kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Every byte: its lowest bit, and other values."""
    message, numbers = kind.pair[0], random.Random(1)  # noqa: S311 # repeats, hides nothing
    for at in range(len(message)):
        for flip in (1, *(numbers.randrange(2, 256) for _ in range(kind.flips - 1))):
            changed = bytes([message[at] ^ flip])
            yield f"byte {at} ^ {flip}", message[:at] + changed + message[at + 1 :]


def replaced(kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Every field: the other message's, nought, all ones, and another field of its own size."""
    message, donor = kind.pair
    for at, size in kind.fields:
        for name, value in (
            ("donor's", donor[at : at + size]),
            ("nought", bytes(size)),
            ("ones", b"\xff" * size),
        ):
            yield f"field at {at}: {name}", message[:at] + value + message[at + size :]
    for (at, size), (other, width) in permutations(kind.fields, 2):
        if size == width:
            copied = bytearray(message)
            copied[at : at + size] = message[other : other + size]
            yield f"field at {at}: that at {other}", bytes(copied)
            copied[other : other + size] = message[at : at + size]
            yield f"fields at {at} and {other} swapped", bytes(copied)


def calculated(kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Every scalar's neighbours, negative, second encoding; every point's negative and double."""
    message, order = kind.pair[0], GROUP.order
    for at, size in kind.fields:
        field = message[at : at + size]
        if size == kind.size:
            read, write = CODES[size]
            values = [write(GROUP.sum((factor, read(field)))) for factor in (-1, 2)]
        else:
            scalar = int.from_bytes(field, "big")
            numbers = (scalar + 1, scalar - 1, order - scalar, scalar + order)
            values = [number.to_bytes(SCALAR, "big") for number in numbers if 0 <= number < 2**256]
        for number, value in enumerate(values):
            yield f"field at {at}: value {number}", message[:at] + value + message[at + size :]


def spliced(kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Stretches of the other message, and other lengths."""
    message, donor = kind.pair
    size, numbers = len(message), random.Random(2)  # noqa: S311 # repeats, hides nothing
    for _ in range(50 * kind.flips):
        start = numbers.randrange(size)
        end = numbers.randrange(start + 1, size + 1)
        yield f"{start}:{end} donor's", message[:start] + donor[start:end] + message[end:]
    for length in (0, 1, POINT, size - SCALAR, size - 1, size + 1, size + SCALAR, 2 * size):
        yield f"{length} bytes", (message + donor)[:length]


@pytest.mark.parametrize("name", KINDS)
def test_no_mutation_is_accepted(name, sampled):
    kind = KINDS[name]()
    for good in kind.pair:
        kind.check(good)
    altered = [one for one in mutations(kind) if one[1] not in kind.pair]
    assert len({message for _, message in altered}) >= kind.least
    accepted = [one for one in sampled(altered) if is_accepted(kind, one[1])]
    assert [(name, message.hex(), kind.pair[0].hex()) for name, message in accepted] == []


def test_mutations_repeat():
    first, second = ([name for name, _ in mutations(share())] for _ in range(2))
    assert first == second


def test_messages_of_one_form_do_not_pass_for_each_other():
    """Two kinds are a point and two numbers; what each is for goes into its proof."""
    kinds = {name: make() for name, make in KINDS.items()}
    alike = [name for name, kind in kinds.items() if len(kind.pair[0]) == POINT + 2 * SCALAR]
    assert alike == ["share", "opener-key"]
    for one in alike:
        message = kinds[one].pair[0]
        assert [other for other in alike if is_accepted(kinds[other], message)] == [one]


@pytest.mark.parametrize("name", KINDS)
def test_a_good_message_of_another_occasion_is_refused(name):
    """But for those that bring their own secret, where the channel and the books say whose."""
    kind, other = KINDS[name](), KINDS[name]()
    everybodys = ("grant", "request", "hidden-request", "opener-key")
    assert is_accepted(kind, other.pair[0]) is (name in everybodys)


def is_accepted(kind: Kind, message: bytes) -> bool:
    try:
        kind.check(message)
    except (SignatureError, InvalidMessageError):
        return False
    return True


ALTERED_FACTS = [
    {"zone": "futian2"},
    {"zone": ""},
    {"zone": "household", "customer_class": "futian"},
    {"zone": "futianhousehold", "customer_class": ""},
    {"customer_class": "Household"},
    {"customer_class": "counted"},
    {"counted": False},
    {"counted": False, "customer_class": "householdcounted"},
]


@pytest.mark.parametrize("change", ALTERED_FACTS)
@pytest.mark.parametrize("kind", ["presentation", "response"])
def test_no_mutation_of_facts_is_accepted(kind, change):
    """The message is good; what is said of its facts is not."""
    told = METER.facts.model_copy(update=change)
    m1 = GROUP.random_scalar()
    if kind == "presentation":
        occasion = Occasion(METER, (UPLOAD,), generate_private_key().public_key, bytes(32))
        message = present(
            credential_on(m1, METER), occasion=occasion, keys=keys().public, suite=SUITE
        )

        def check(facts) -> object:
            said = replace(occasion, context=METER.certify(facts))
            return verify_presentation(
                message, occasion=said, keys=keys().public, key=keys().issuer, suite=SUITE
            )
    else:
        pending = request_credential(
            SUITE, issuer=ISSUER, context=METER, channel=CHANNEL, secrets=(m1, 0)
        )
        message = answered(pending.message, context=METER, channel=CHANNEL)

        def check(facts) -> object:
            return finalise_alone(
                pending, message, suite=SUITE, issuer=ISSUER, channel=CHANNEL, facts=facts
            )

    check(METER.facts)
    with pytest.raises(SignatureError):
        check(told)
