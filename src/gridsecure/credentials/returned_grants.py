"""Grants given back: whoever spent one on a question that was refused gets another, unlinkably.

The key authority blindly evaluates what the asker hid in its question, as RFC 9497 does it with
proofs (a verifiable oblivious pseudorandom function):

    B = b·H(seed)            the asker's, in the sealed question; b random hides the seed perfectly
    W' = k·B                 the authority's, in the refusal, with a proof that k belongs to K = k·G
    W = W'/b = k·H(seed)     the asker's, known to whoever has k once the seed is told, and to
                             nobody else

To use it, the asker tells the seed and shows, by a code under W over the digest of its next query,
that it knows W. The authority sees a seed that it never saw, and a W that it gave to some refusal:
every b makes every B of every seed, so to which one nothing says. That digest is under a salt which
the identity service alone is told, so that the authority does not know the query by it when it
comes. One K stands for everybody, in the authority's signed notice, and the proof holds the
authority to it: with a key of its own for somebody it would know them again.

How many an analyst may use is counted where grants are given, by the credential, as grants are
(`returned_quota`). So being refused is no way to ask without end.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Self

from gridsecure.credentials.curves import Point
from gridsecure.credentials.grants import Quota
from gridsecure.credentials.group import POINT_BYTES, SCALAR_BYTES
from gridsecure.credentials.sigma import Relation, holds, proof_bytes, prove
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import hmac_sm3, sm3_digest
from gridsecure.errors import InvalidMessageError, SignatureError
from gridsecure.messages import Digest, Message

SEED_BYTES: Final = 32
RETURNED_BYTES: Final = POINT_BYTES + proof_bytes(1)
"""What comes back in a refusal: W' and its proof."""
TICKET_BYTES: Final = SEED_BYTES + SCALAR_BYTES + POINT_BYTES

_FEWEST: Final = 2
_LABEL: Final = b"gridsecure-returned-grant-1"


class GrantOrder(Message):
    """The key authority has the identity service give a grant for a query once more.

    Args:
        digest: Of the query, as `hidden_digest`, and nothing of the one that was refused.
    """

    kind: ClassVar[str] = "grant-order"
    digest: Digest


def hidden_digest(digest: bytes, *, salt: bytes) -> bytes:
    """What the key authority is told of the query that a returned grant is used for.

    Args:
        digest: SM3 of the query.
        salt: 32 random bytes, told to the identity service alone.
    """
    return sm3_digest(frame_parts(_LABEL, salt, digest))


def returned_quota(quota: Quota) -> Quota:
    """How many returned grants an analyst may use: half as many as grants, at least two."""
    limit = max(quota.limit // 2, _FEWEST)
    return replace(quota, epoch=f"{quota.epoch}/returned", limit=limit)


def return_key(secret: Sm2PrivateKey, *, suite: Suite) -> int:
    """The key k of an authority, which follows from its query key."""
    scalar = suite.hash_to_scalar(frame_parts(_LABEL, secret.to_bytes()), info=b"ReturnKey")
    return 1 + scalar % (suite.group.order - 1)


def public_return_key(key: int, *, suite: Suite) -> bytes:
    """K, as the authority publishes it."""
    return suite.group.encode(suite.group.multiply(suite.g, scalar=key))


@dataclass(frozen=True, slots=True)
class Ticket:
    """What an asker keeps of a question, to take a grant back with.

    Args:
        seed: Told to nobody before it is used [32 bytes].
        blinding: What hides it in the question.
        public: K, as the pinned authority published it when the question was sealed.
    """

    seed: bytes = field(repr=False)
    blinding: int = field(repr=False)
    public: bytes

    def to_bytes(self, suite: Suite) -> bytes:
        """As kept."""
        return self.seed + suite.group.encode_scalars(self.blinding) + self.public

    @classmethod
    def from_bytes(cls, data: bytes, *, suite: Suite) -> Self:
        """As `to_bytes` wrote it.

        Raises:
            InvalidMessageError: It did not.
        """
        middle = SEED_BYTES + SCALAR_BYTES
        (blinding,) = suite.group.decode_scalars(data[SEED_BYTES:middle])
        return cls(data[:SEED_BYTES], blinding, data[middle:])

    def blinded(self, suite: Suite) -> bytes:
        """B, for the sealed question."""
        point = suite.group.multiply(_hashed(self.seed, suite), scalar=self.blinding)
        return suite.group.encode(point)


def new_ticket(public: bytes, *, suite: Suite) -> Ticket:
    """Draw a ticket; one for each question.

    Args:
        public: K, from the pinned authority's notice.
    """
    return Ticket(secrets.token_bytes(SEED_BYTES), suite.group.random_scalar(), public)


def give_back(blinded: bytes, *, key: int, suite: Suite) -> bytes:
    """Evaluate what an asker hid in a question (W' and its proof); again gives the same W'.

    Raises:
        InvalidMessageError: It is no point.
    """
    group = suite.group
    point = group.decode(blinded)
    given, public = group.sums([group.blind(key, point), group.blind(key, suite.g)])
    statement = _relation(point, given, public, suite)
    proof = prove(statement, [key], suite=suite, session=_LABEL)
    return group.encode(given) + proof


def take_back(ticket: Ticket, returned: bytes, *, suite: Suite) -> ReturnedGrant:
    """Check what came back with a refusal, and take the blinding off.

    Raises:
        InvalidMessageError: Another length, or something in it is no point.
        SignatureError: Made with another key than was published (`grants.returned`).
    """
    group = suite.group
    if len(returned) != RETURNED_BYTES:
        raise InvalidMessageError("A returned grant has another length.", reason="grants.returned")
    given, public = group.decode(returned[:POINT_BYTES]), group.decode(ticket.public)
    point = group.decode(ticket.blinded(suite))
    statement = _relation(point, given, public, suite)
    if not holds(statement, returned[POINT_BYTES:], suite=suite, session=_LABEL):
        raise SignatureError(
            "A returned grant was not made with the key that the key authority published.",
            reason="grants.returned",
            remedy="Do not use it: it could be a mark. Tell the security officer.",
        )
    value = group.multiply(given, scalar=group.invert(ticket.blinding))
    return ReturnedGrant(ticket.seed, group.encode(value))


@dataclass(frozen=True, slots=True)
class ReturnedGrant:
    """A grant that came back and was not used yet.

    Args:
        seed: The ticket's.
        value: W.
    """

    seed: bytes = field(repr=False)
    value: bytes = field(repr=False)

    def code(self, digest: bytes) -> str:
        """What shows that its holder knows W, for one query, as `hidden_digest` names it."""
        return _code(self.value, self.seed, digest)


def check_returned(code: str, *, seed: bytes, digest: bytes, key: int, suite: Suite) -> None:
    """Check that a returned grant is one, for this very query. That it is used once, others see to.

    Args:
        code: From `ReturnedGrant.code`.

    Raises:
        SignatureError: It is none (`grants.returned`).
    """
    value = suite.group.encode(suite.group.multiply(_hashed(seed, suite), scalar=key))
    if not secrets.compare_digest(_code(value, seed, digest), code):
        raise SignatureError(
            "A returned grant does not verify.",
            reason="grants.returned",
            remedy="Ask with another grant: the key authority's query key was renewed, or it is"
            " for another query.",
        )


def _code(value: bytes, seed: bytes, digest: bytes) -> str:
    return hmac_sm3(value, frame_parts(_LABEL, seed, digest)).hex()


def _hashed(seed: bytes, suite: Suite) -> Point:
    return suite.hash_to_group(seed, info=b"ReturnedGrant")


def _relation(point: Point, given: Point, public: Point, suite: Suite) -> Relation:
    """That W' is of B what K is of G."""
    statement = Relation(suite.group)
    (key,) = statement.scalars(1)
    given_at, public_at = statement.element(given), statement.element(public)
    statement.equate(public_at, (key, statement.element(suite.g)))
    statement.equate(given_at, (key, statement.element(point)))
    return statement
