"""No altered message passes: presentations, grants, requests, answers, shares, blindings, proofs.

Thousands of ways to alter each: every byte, every field exchanged, numbers and points moved where
algebra could hide it, splices of two valid messages, other lengths. Which ones is fixed by a seed;
an accepted one is named with all that is needed to repeat it. Refusals are our own two errors: any
other exception would be a way to crash a service.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from gridsecure.credentials.grants import Question, Quota, grant_bytes, request_grant, verify_grant
from gridsecure.credentials.issuance import (
    Credential,
    finalise_credential,
    issue_credential,
    request_credential,
)
from gridsecure.credentials.opening import opener_public_key, opening_share, verified_share
from gridsecure.credentials.presentations import Escrow, Occasion, present, verify_presentation
from gridsecure.credentials.revocation import (
    Difference,
    blind_difference,
    blinded_difference,
    difference,
)
from gridsecure.credentials.settlement import prove_settlement, settled_subject
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.errors import InvalidMessageError, SignatureError
from tests.identity.identity_world import (
    ANALYST,
    CHANNEL,
    METER,
    SETTLE,
    UPLOAD,
    keys,
    new_holder,
    suite,
)

SEED = 20260301
SPLICES = 150
PAIRS = 150
SUITE = suite()
GROUP = SUITE.group
HEAD = "ab" * 32
POINT, SCALAR = 33, 32


@dataclass(frozen=True)
class Kind:
    """A kind of message.

    Args:
        points: How many it begins with.
        scalars: How many follow.
        make: Makes a new one, valid for the same occasion as all others.
        check: Refuses all but valid ones.
        flips: Ways to alter each byte.
        least: How many alterations there must be.
    """

    points: int
    scalars: int
    make: Callable[[], bytes]
    check: Callable[[bytes], object]
    flips: int = 3
    least: int = 550

    @property
    def fields(self) -> list[tuple[int, int]]:
        """Place and width of every field."""
        numbers = POINT * self.points
        return [(POINT * at, POINT) for at in range(self.points)] + [
            (numbers + SCALAR * at, SCALAR) for at in range(self.scalars)
        ]

    @property
    def size(self) -> int:
        return POINT * self.points + SCALAR * self.scalars


# --- the messages --------------------------------------------------------------------------------


def credential(context) -> Credential:
    pending = request(context)
    answer = issue_credential(
        pending.message, suite=SUITE, key=keys().issuer, context=context, channel=CHANNEL
    )
    return finalise_credential(
        pending, answer, suite=SUITE, issuer=keys().public.issuer, channel=CHANNEL
    )


def request(context):
    return request_credential(
        SUITE,
        issuer=keys().public.issuer,
        context=context,
        channel=CHANNEL,
        secrets=(GROUP.random_scalar(), GROUP.random_scalar()),
    )


def presentations(*domains, flips: int = 3) -> Kind:
    shown = credential(METER)
    occasion = Occasion(METER, domains, generate_private_key().public_key, bytes(32))

    def check(message: bytes):
        return verify_presentation(
            message, occasion=occasion, keys=keys().public, key=keys().issuer, suite=SUITE
        )

    return Kind(
        points=5 + len(domains),
        scalars=5,
        make=lambda: present(shown, occasion=occasion, keys=keys().public, suite=SUITE),
        check=check,
        flips=flips,
        least=1_200 if flips == 3 else 850,
    )


def grants() -> Kind:
    member, issuer = credential(ANALYST), keys().public.issuer
    question = Question(Quota(ANALYST, "2026-03", 8), "platform", sm3_digest(b"query"))
    assert grant_bytes(8) == 7 * POINT + 15 * SCALAR
    return Kind(
        points=7,
        scalars=15,
        make=lambda: request_grant(member, nonce=5, question=question, issuer=issuer, suite=SUITE),
        check=lambda message: verify_grant(
            message, question=question, issuer=issuer, key=keys().issuer, suite=SUITE
        ),
        flips=1,
        least=1_200,
    )


def requests(context, scalars: int) -> Kind:
    return Kind(
        points=1,
        scalars=scalars,
        make=lambda: request(context).message,
        check=lambda message: issue_credential(
            message, suite=SUITE, key=keys().issuer, context=context, channel=CHANNEL
        ),
    )


def answers(context) -> Kind:
    pending = request(context)
    return Kind(
        points=6,
        scalars=8,
        make=lambda: issue_credential(
            pending.message, suite=SUITE, key=keys().issuer, context=context, channel=CHANNEL
        ),
        check=lambda answer: finalise_credential(
            pending, answer, suite=SUITE, issuer=keys().public.issuer, channel=CHANNEL
        ),
        flips=1,
        least=850,
    )


def escrow() -> Escrow:
    m1, e = GROUP.random_scalar(), GROUP.random_scalar()
    return Escrow(GROUP.sum((e, SUITE.g)), GROUP.sum((m1, SUITE.g), (e, keys().public.opening)))


def shares() -> Kind:
    point, key = escrow().e1, keys().openers["utility"]
    public = opener_public_key("utility", published=keys().published["utility"], suite=SUITE)
    return Kind(
        points=1,
        scalars=2,
        make=lambda: opening_share(key, point=point, head=HEAD, suite=SUITE),
        check=lambda message: verified_share(
            message, opener="utility", public=public, point=point, head=HEAD, suite=SUITE
        ),
    )


def blindings() -> Kind:
    pair: Difference = difference(escrow(), enrolled=SUITE.h, suite=SUITE)
    return Kind(
        points=2,
        scalars=2,
        make=lambda: blind_difference(pair, opener="utility", head=HEAD, suite=SUITE),
        check=lambda message: blinded_difference(
            message, pair=pair, opener="utility", head=HEAD, suite=SUITE
        ),
    )


def opener_keys() -> Kind:
    key = keys().openers["utility"]
    return Kind(
        points=1,
        scalars=2,
        make=lambda: key.published(SUITE),
        check=lambda message: opener_public_key("utility", published=message, suite=SUITE),
    )


def settlements() -> Kind:
    holder = new_holder()
    enrolled = GROUP.multiply(SUITE.g, scalar=holder.m1)
    return Kind(
        points=1,
        scalars=2,
        make=lambda: prove_settlement(holder.m1, domain=SETTLE, challenge=b"1", suite=SUITE),
        check=lambda message: settled_subject(
            message, enrolled=enrolled, domain=SETTLE, challenge=b"1", suite=SUITE
        ),
    )


KINDS: dict[str, Callable[[], Kind]] = {
    "presentation": lambda: presentations(UPLOAD),
    "presentation in two domains": lambda: presentations(UPLOAD, SETTLE, flips=1),
    "grant": grants,
    "traceable request": lambda: requests(METER, 2),
    "hidden request": lambda: requests(ANALYST, 3),
    "answer": lambda: answers(ANALYST),
    "share": shares,
    "blinding": blindings,
    "opener's key": opener_keys,
    "settlement": settlements,
}


# --- the alterations -----------------------------------------------------------------------------

Mutant = tuple[str, bytes]


def mutants(kind: Kind, message: bytes, donor: bytes) -> Iterator[Mutant]:
    """Every alteration with its name, which repeats it."""
    draw = random.Random(SEED)  # noqa: S311 # chooses what to alter
    for at in range(len(message)):
        for flip in (1, 1 << draw.randrange(1, 8), draw.randrange(1, 256))[-kind.flips :]:
            yield f"byte {at} ^ {flip}", replaced(message, at, bytes([message[at] ^ flip]))
    for at, width in kind.fields:
        yield from field_mutants(message, donor, at=at, width=width)
        yield from exchanges(message, at=at, fields=[one for one in kind.fields if one[1] == width])
    for number in range(SPLICES):
        start = draw.randrange(len(message))
        end = draw.randrange(start, len(message)) + 1
        yield f"splice {number}", replaced(message, start, donor[start:end])
    for number in range(PAIRS):
        mutant = bytearray(message)
        for at in draw.sample(range(len(message)), 2):
            mutant[at] ^= draw.randrange(1, 256)
        yield f"pair {number}", bytes(mutant)
    for size in (0, 1, POINT, len(message) - SCALAR, len(message) - 1):
        yield f"cut to {size}", message[:size]
    for more in (1, SCALAR, POINT, len(donor)):
        yield f"longer by {more}", message + donor[:more]


def field_mutants(message: bytes, donor: bytes, *, at: int, width: int) -> Iterator[Mutant]:
    """One field replaced by something of its own kind, or by what is none."""
    field = message[at : at + width]
    others = {
        "of another message": donor[at : at + width],
        "0": bytes(width),
        "max": b"\xff" * width,
    }
    if width == POINT:
        point = GROUP.decode(field)
        for name, terms in {
            "negative": [(-1, point)],
            "double": [(2, point)],
            "plus G": [(1, point), (1, SUITE.g)],
            "G": [(1, SUITE.g)],
            "H": [(1, SUITE.h)],
            "PK": [(1, keys().public.opening)],
        }.items():
            others[name] = GROUP.encode(GROUP.sum(*terms))
        others["prefix 4"] = b"\x04" + field[1:]
    else:
        number = int.from_bytes(field, "big")
        for name, changed in {
            "plus 1": number + 1,
            "minus 1": number - 1,
            "negative": GROUP.order - number,
        }.items():
            others[name] = changed.to_bytes(SCALAR, "big")
    for name, other in others.items():
        yield f"field {at}: {name}", replaced(message, at, other)


def exchanges(message: bytes, *, at: int, fields: list[tuple[int, int]]) -> Iterator[Mutant]:
    """One field written over another of its kind, and both exchanged."""
    for other, width in fields:
        if other == at:
            continue
        copied = replaced(message, other, message[at : at + width])
        yield f"field {at} over {other}", copied
        yield f"fields {at}, {other}", replaced(copied, at, message[other : other + width])


def replaced(message: bytes, at: int, part: bytes) -> bytes:
    return message[:at] + part + message[at + len(part) :]


def is_accepted(kind: Kind, message: bytes) -> bool:
    try:
        kind.check(message)
    except (SignatureError, InvalidMessageError):
        return False
    return True


# --- the tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_no_altered_message_is_accepted(name):
    kind = KINDS[name]()
    message, donor = kind.make(), kind.make()
    assert is_accepted(kind, message)
    assert is_accepted(kind, donor)
    assert len(message) == kind.size
    accepted, tried = [], {message, donor}
    for mutation, mutant in mutants(kind, message, donor):
        if mutant not in tried and is_accepted(kind, mutant):
            accepted.append((mutation, message.hex(), mutant.hex()))
        tried.add(mutant)
    assert accepted == []
    assert len(tried) - 2 >= kind.least


def test_messages_of_one_form_do_not_pass_for_each_other():
    """Four kinds are a point and two numbers; what each is for goes into its proof."""
    kinds = {name: make() for name, make in KINDS.items()}
    alike = [name for name, kind in kinds.items() if (kind.points, kind.scalars) == (1, 2)]
    assert alike == ["traceable request", "share", "opener's key", "settlement"]
    for one in alike:
        message = kinds[one].make()
        assert [other for other in alike if is_accepted(kinds[other], message)] == [one]


def test_a_message_of_one_holder_does_not_serve_another():
    """Valid messages of another occasion are refused too, not only altered ones."""
    for name, make in KINDS.items():
        kind, other = make(), make()
        bound = name not in ("grant", "traceable request", "hidden request", "opener's key")
        assert is_accepted(kind, other.make()) is not bound, name
