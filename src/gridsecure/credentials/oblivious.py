"""Oblivious pseudo-random functions (RFC 9497): the fallback for grants if only RFCs are allowed.

A client learns F(key, input) and the server nothing of the input: one token per issuance, where a
grant needs one credential per period. The verifiable modes prove, for a whole batch at once, that
the published key was used; the partial one puts public text into the function (epoch, class).

    OPRF     output = H(input ‖ key·P),                   P = hash_to_group(input)
    VOPRF    the same, with a proof of the key
    POPRF    output = H(input ‖ info ‖ 1/(key + H(info))·P), with a proof

The suite's identifier and hash come with the curve: P256-SHA256 is the RFC's and is held against
its vectors; SM2-SM3 is the same with SM3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from gridsecure.credentials.curves import IDENTITY, Point
from gridsecure.credentials.group import Group
from gridsecure.credentials.hash_to_curve import hash_to_numbers, hash_to_point
from gridsecure.errors import SignatureError

_IDENTIFIERS: Final = {"P-256": b"P256-SHA256", "SM2": b"SM2-SM3"}
PROOF_BYTES: Final = 64


class Mode(IntEnum):
    """The RFC's modes."""

    OPRF = 0
    VOPRF = 1
    POPRF = 2


@dataclass(frozen=True, slots=True)
class Oblivious:
    """One mode on one curve.

    Args:
        group: The curve.
        mode: Which protocol.
    """

    group: Group
    mode: Mode
    context: bytes = field(init=False)

    def __post_init__(self) -> None:
        name = _IDENTIFIERS[self.group.curve.name]
        object.__setattr__(self, "context", b"OPRFV1-" + bytes([self.mode]) + b"-" + name)

    def derive_key(self, seed: bytes, *, info: bytes) -> int:
        """The server's key from a seed of 32 bytes (§3.2.1).

        Args:
            seed: Secret and uniform.
            info: Which key of this seed.

        Raises:
            ValueError: A seed of another length, or one that gives no key.
        """
        if len(seed) != 32:
            raise ValueError("a seed has 32 bytes")
        for counter in range(256):
            text = seed + _short(info) + bytes([counter])
            key = self._scalar(text, tag=b"DeriveKeyPair" + self.context)
            if key:
                return key
        raise ValueError("the seed gives no key")

    def public_key(self, key: int) -> Point:
        """The key to publish."""
        return self.group.multiply(self.group.generator, scalar=key)

    def element(self, data: bytes) -> Point:
        """The point of an input."""
        tag = b"HashToGroup-" + self.context
        return hash_to_point(data, tag=tag, group=self.group)

    def blind(self, data: bytes, *, blind: int) -> Point:
        """What the client sends.

        Args:
            data: Its input.
            blind: A random scalar, used once.
        """
        return self.group.multiply(self.element(data), scalar=blind)

    def server_key(self, key: int, *, info: bytes = b"") -> int:
        """The scalar the server multiplies by: its key, or the inverse of its tweaked key.

        Raises:
            ValueError: The tweaked key is 0, which tells the key; it must not be used again.
        """
        if self.mode != Mode.POPRF:
            return key
        tweaked = (key + self._tweak(info)) % self.group.order
        return self.group.invert(tweaked)

    def tweaked_public_key(self, public: Point, *, info: bytes) -> Point:
        """The partial mode's public key for some text.

        Raises:
            SignatureError: It is the identity (`authenticity.oblivious`).
        """
        tweaked = self.group.sum((self._tweak(info), self.group.generator), (1, public))
        if tweaked == IDENTITY:
            raise _refused()
        return tweaked

    def evaluate(self, blinded: Sequence[Point], *, key: int, info: bytes = b"") -> list[Point]:
        """What the server answers."""
        scalar = self.server_key(key, info=info)
        return self.group.sums([self.group.blinded(scalar, point) for point in blinded])

    def prove(
        self,
        blinded: Sequence[Point],
        evaluated: Sequence[Point],
        *,
        key: int,
        info: bytes = b"",
        draw: Callable[[], int] | None = None,
    ) -> bytes:
        """Prove for a batch that the published key was used (GenerateProof, §2.2.1), 64 bytes.

        Args:
            blinded: What was asked.
            evaluated: What `evaluate` answered.
            key: The server's key.
            info: The partial mode's public text.
            draw: Where the nonce comes from; leave it out except to repeat published vectors.
        """
        group = self.group
        k = key if self.mode == Mode.VOPRF else (key + self._tweak(info)) % group.order
        firsts, seconds = self._oriented(blinded, evaluated)
        public = group.multiply(group.generator, scalar=k)
        m = group.sum(*self._weights(public, firsts, seconds))
        z = group.multiply(m, scalar=k)
        nonce = (draw or group.random_scalar)()
        t2, t3 = group.sums([group.blinded(nonce, group.generator), group.blinded(nonce, m)])
        challenge = self._challenge(public, m, z, t2, t3)
        return group.encode_scalars(challenge, nonce - challenge * k)

    def verify(
        self,
        proof: bytes,
        *,
        blinded: Sequence[Point],
        evaluated: Sequence[Point],
        public: Point,
        info: bytes = b"",
    ) -> None:
        """Check a batch's proof (VerifyProof, §2.2.2).

        Args:
            proof: From the server.
            blinded: What was asked.
            evaluated: What was answered.
            public: The pinned key.
            info: The partial mode's public text.

        Raises:
            SignatureError: It does not hold, or the lists differ in length
                (`authenticity.oblivious`).
            InvalidMessageError: A number is out of range.
        """
        group = self.group
        if len(blinded) != len(evaluated) or not blinded or len(proof) != PROOF_BYTES:
            raise _refused()
        key = self.tweaked_public_key(public, info=info) if self.mode == Mode.POPRF else public
        challenge, s = group.decode_scalars(proof)
        firsts, seconds = self._oriented(blinded, evaluated)
        weights = self._weights(key, firsts, seconds)
        m = group.sum(*weights)
        factors = [factor for factor, _ in weights]
        z = group.sum(*zip(factors, seconds, strict=True))
        t2, t3 = group.sums([[(s, group.generator), (challenge, key)], [(s, m), (challenge, z)]])
        if IDENTITY in (m, z, t2, t3) or self._challenge(key, m, z, t2, t3) != challenge:
            raise _refused()

    def finalise(self, data: bytes, *, blind: int, evaluated: Point, info: bytes = b"") -> bytes:
        """The function's value, 32 bytes.

        Args:
            data: The input.
            blind: What blinded it.
            evaluated: The server's answer, its proof checked.
            info: The partial mode's public text.
        """
        point = self.group.multiply(evaluated, scalar=self.group.invert(blind))
        extra = _short(info) if self.mode == Mode.POPRF else b""
        text = _short(data) + extra + _short(self.group.encode(point)) + b"Finalize"
        return self.group.curve.digest(text)

    def _oriented(
        self, blinded: Sequence[Point], evaluated: Sequence[Point]
    ) -> tuple[Sequence[Point], Sequence[Point]]:
        """The lists C and D with D = k·C: the partial mode multiplies by the inverse."""
        return (evaluated, blinded) if self.mode == Mode.POPRF else (blinded, evaluated)

    def _weights(
        self, public: Point, firsts: Sequence[Point], seconds: Sequence[Point]
    ) -> list[tuple[int, Point]]:
        """The random weight of each first point (ComputeComposites, §2.2.1)."""
        group = self.group
        seed = group.curve.digest(_short(group.encode(public)) + _short(b"Seed-" + self.context))
        return [
            (
                self._scalar(
                    _short(seed)
                    + index.to_bytes(2, "big")
                    + _short(group.encode(first))
                    + _short(group.encode(second))
                    + b"Composite"
                ),
                first,
            )
            for index, (first, second) in enumerate(zip(firsts, seconds, strict=True))
        ]

    def _challenge(self, *points: Point) -> int:
        text = b"".join(_short(self.group.encode(point)) for point in points)
        return self._scalar(text + b"Challenge")

    def _tweak(self, info: bytes) -> int:
        return self._scalar(b"Info" + _short(info))

    def _scalar(self, text: bytes, *, tag: bytes = b"") -> int:
        curve = self.group.curve
        tag = tag or b"HashToScalar-" + self.context
        (number,) = hash_to_numbers(
            text, tag=tag, count=1, modulus=curve.order, digest=curve.digest
        )
        return number


def _short(data: bytes) -> bytes:
    """Data after its length in two bytes, as the RFC frames it."""
    return len(data).to_bytes(2, "big") + data


def _refused() -> SignatureError:
    return SignatureError(
        "An oblivious evaluation was not made with the published key.",
        reason="authenticity.oblivious",
    )
