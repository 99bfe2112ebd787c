"""A suite: a group with its second generator, its labels, and its Fiat–Shamir hash.

The suite in use is SM2 with SM3. Every hash input is a sequence of parts, each after its length in
four bytes, so that no two sequences share a text; every purpose has a domain separation tag of its
own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from struct import Struct
from typing import Final

from gridsecure.credentials.curves import SM2, Point
from gridsecure.credentials.group import BackendName, Group, group_on
from gridsecure.credentials.hash_to_curve import hash_to_numbers, hash_to_point

CONTEXT: Final = b"GridSecureV1-SM2"
"""Goes into every label; a change of any formula is a new version here."""

_LENGTH: Final = Struct(">I").pack

Challenge = Callable[[bytes, bytes, bytes], int]
"""Session, statement and commitments to a scalar."""


def frame_parts(*parts: bytes | str) -> bytes:
    """Join parts, each after its length [4 bytes, big-endian]; texts as UTF-8."""
    framed: list[bytes] = []
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        framed += (_LENGTH(len(data)), data)
    return b"".join(framed)


@dataclass(frozen=True, slots=True, eq=False)
class Suite:
    """What all proofs share.

    Args:
        group: Where they are computed.
        context: The label that separates this suite from others.
        challenge: The Fiat–Shamir hash.
    """

    group: Group
    context: bytes
    challenge: Challenge
    h: Point = field(init=False)
    """The second generator; nobody knows its logarithm."""

    def __post_init__(self) -> None:
        generator = self.group.encode(self.group.generator)
        h = _hashed_point(self.group, generator, b"HashToGroup-" + self.context + b"generatorH")
        object.__setattr__(self, "h", h)

    @property
    def g(self) -> Point:
        """The first generator."""
        return self.group.generator

    def hash_to_group(self, data: bytes, *, info: bytes) -> Point:
        """Return the point of some data for one purpose; remembered for the last few hundred."""
        return _hashed_point(self.group, data, b"HashToGroup-" + self.context + info)

    def hash_to_scalar(self, data: bytes, *, info: bytes) -> int:
        """Return the scalar of some data for one purpose."""
        (number,) = hash_to_numbers(
            data,
            tag=b"HashToScalar-" + self.context + info,
            count=1,
            modulus=self.group.order,
            digest=self.group.curve.digest,
        )
        return number


@lru_cache(maxsize=256)
def _hashed_point(group: Group, data: bytes, tag: bytes) -> Point:
    return hash_to_point(data, tag=tag, group=group)


@cache
def sm2_suite(backend: BackendName = "auto") -> Suite:
    """The suite in use: SM2, SM3, and both generators prepared.

    Raises:
        GridSecureError: The backend asked for is not there (`identity.backend.unavailable`).
    """
    group = group_on(SM2, backend=backend)

    def challenge(session: bytes, statement: bytes, commitments: bytes) -> int:
        (number,) = hash_to_numbers(
            frame_parts(session, statement, commitments),
            tag=b"FiatShamir-" + CONTEXT,
            count=1,
            modulus=group.order,
            digest=group.curve.digest,
        )
        return number

    suite = Suite(group, CONTEXT, challenge)
    group.prepare(suite.g, suite.h)
    return suite
