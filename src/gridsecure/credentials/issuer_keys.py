"""The issuer's keys, and what a credential says besides its holder's secret.

keys x0, x1, x2, xb           X0 = x0·G + xb·H,  X1 = x1·H,  X2 = x2·H
context m2                    H(role ‖ period ‖ facts), each after its length
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Literal, get_args

from gridsecure.credentials.curves import Point
from gridsecure.credentials.group import POINT_BYTES
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.errors import InvalidMessageError
from gridsecure.identity_messages import NO_FACTS, Facts

Role = Literal["meter-point", "gateway", "analyst"]
"""Who may hold a credential."""

HIDDEN_ROLES: Final = frozenset({"analyst"})
"""Roles whose requests hide the key, and whose presentations carry no escrow."""

MAX_PERIOD_LETTERS: Final = 40

_FACTS_OF: Final[dict[Role, frozenset[str]]] = {
    "meter-point": frozenset({"zone", "customer_class", "counted"}),
    "gateway": frozenset({"owner"}),
    "analyst": frozenset(),
}


@dataclass(frozen=True, slots=True)
class Context:
    """What the issuer certifies besides the secret; public and coarse.

    Whoever asks names role and period. The facts are the issuer's alone to state, from its books.

    Args:
        period: For when, such as "2026".
        facts: What the books say of a meter point or gateway; of an analyst nothing.

    Raises:
        InvalidMessageError: An unknown role, a blank or overlong period, or facts that a holder of
            this role has not (`identity.context`).
    """

    role: Role
    period: str
    facts: Facts = NO_FACTS

    def __post_init__(self) -> None:
        if self.role not in get_args(Role) or not 1 <= len(self.period) <= MAX_PERIOD_LETTERS:
            raise InvalidMessageError(
                "A credential's role or period is not one in use.", reason="identity.context"
            )
        others = Facts.model_fields.keys() - _FACTS_OF[self.role]
        if any(getattr(self.facts, name) for name in others):
            raise InvalidMessageError(
                "A credential states facts that its role does not have.", reason="identity.context"
            )

    @property
    def is_hidden(self) -> bool:
        """Whether the holder's key stays hidden even from the issuer."""
        return self.role in HIDDEN_ROLES

    def certify(self, facts: Facts) -> Context:
        """The same role and period with the facts that the issuer certifies.

        Raises:
            InvalidMessageError: Facts of another role (`identity.context`).
        """
        return replace(self, facts=facts)

    @property
    def asked(self) -> bytes:
        """Role and period, which is what a holder asks for."""
        return frame_parts(self.role, self.period)

    def to_bytes(self) -> bytes:
        """Role, period and facts, which is what the issuer certifies."""
        facts = self.facts
        counted = "counted" if facts.counted else ""
        said = frame_parts(facts.zone, facts.customer_class, counted, facts.owner)
        return frame_parts(self.role, self.period, said)

    def scalar(self, suite: Suite) -> int:
        """The attribute m2; thousands of meter points have the same few."""
        return _attribute(suite, self.to_bytes())


@dataclass(frozen=True, slots=True)
class IssuerPublicKey:
    """What holders pin.

    Args:
        x0: x0·G + xb·H.
        x1: x1·H.
        x2: x2·H.
    """

    x0: Point
    x1: Point
    x2: Point

    def to_bytes(self, suite: Suite) -> bytes:
        """99 bytes, which go into the hash of every proof."""
        return _encoded(self, suite)

    @staticmethod
    def from_bytes(data: bytes, *, suite: Suite) -> IssuerPublicKey:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidMessageError: It is not three points (`identity.point`, `identity.length`).
        """
        check_length(data, 3 * POINT_BYTES)
        return IssuerPublicKey(*suite.group.decode_points(data))


@dataclass(frozen=True, slots=True, eq=False)
class IssuerPrivateKey:
    """What makes and checks MACs. Whoever has it can forge members, never unmask them."""

    x0: int = field(repr=False)
    x1: int = field(repr=False)
    x2: int = field(repr=False)
    xb: int = field(repr=False)

    def public_key(self, suite: Suite) -> IssuerPublicKey:
        """The key to publish; worked out once, for it goes into every answer's hash."""
        return _public_key(self, suite)

    def to_bytes(self, suite: Suite) -> bytes:
        """128 bytes, for sealing at rest and nothing else."""
        return suite.group.encode_scalars(self.x0, self.x1, self.x2, self.xb)

    @staticmethod
    def from_bytes(data: bytes, *, suite: Suite) -> IssuerPrivateKey:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidMessageError: Not four numbers in 1..n-1 (`identity.scalar`, `identity.length`).
        """
        check_length(data, 128)
        scalars = suite.group.decode_scalars(data)
        if 0 in scalars:
            raise InvalidMessageError("A number is out of range.", reason="identity.scalar")
        return IssuerPrivateKey(*scalars)


@lru_cache(maxsize=1024)
def _attribute(suite: Suite, context: bytes) -> int:
    return suite.hash_to_scalar(context, info=b"Context")


@lru_cache(maxsize=16)
def _encoded(key: IssuerPublicKey, suite: Suite) -> bytes:
    return b"".join(map(suite.group.encode, (key.x0, key.x1, key.x2)))


@lru_cache(maxsize=4)
def _public_key(key: IssuerPrivateKey, suite: Suite) -> IssuerPublicKey:
    group = suite.group
    points = group.sums(
        [
            [*group.blind(key.x0, suite.g), *group.blind(key.xb, suite.h)],
            group.blind(key.x1, suite.h),
            group.blind(key.x2, suite.h),
        ]
    )
    return IssuerPublicKey(*points)


def generate_issuer_key(suite: Suite) -> IssuerPrivateKey:
    """Return a new issuer key."""
    return IssuerPrivateKey(*(suite.group.random_scalar() for _ in range(4)))


def check_length(data: bytes, size: int) -> None:
    """Refuse a message of another length than its kind has.

    Raises:
        InvalidMessageError: It has (`identity.length`).
    """
    if len(data) != size:
        raise InvalidMessageError(
            "A credential message has the wrong length.",
            reason="identity.length",
            remedy="Use the same version at both ends.",
        )
