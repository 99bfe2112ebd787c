"""Non-interactive proofs of linear relations between points (Schnorr, Maurer, Fiat–Shamir).

A statement lists points and equations `target = Σ scalar·point`; a proof shows that its maker knows
the scalars. The proof is the challenge and one response a scalar:

    commitment_i = Σ nonce_j·P_ij          challenge c = H(session, statement, all commitments)
    response_j = nonce_j + c·scalar_j      checked by Σ response_j·P_ij - c·target_i = commitment_i

An open proof holds the commitments in place of the challenge. It is longer, and what it claims is
that sums vanish, which many proofs can claim together (`batch_checks`).

Invariants:
- The hash covers the whole statement: every point and the wiring of every equation. A point that
  only the verifier can compute (`Derived`) is not covered itself; it must follow from points and
  keys that the statement and the session do cover, or a proof could be bent around it.
- A point is listed once, however many equations use it.
- Nonces come from the operating system; one that repeats gives the secret away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gridsecure.credentials.curves import Point, Term
from gridsecure.credentials.group import POINT_BYTES, SCALAR_BYTES, WHOLE_BYTES, Group
from gridsecure.credentials.issuer_keys import check_length
from gridsecure.credentials.suites import Suite
from gridsecure.errors import InvalidMessageError


@dataclass(frozen=True, slots=True)
class Derived:
    """A point known as a sum of terms, with secret scalars already blinded.

    As a target it may stand in any proof; as a base in open ones alone.
    """

    terms: tuple[Term, ...] = field(repr=False)


Equation = tuple[int, tuple[tuple[int, int], ...]]
"""The target's index; then, for each term, a scalar's and a point's index."""


@dataclass(slots=True)
class Relation:
    """Points and equations, built up in one order by prover and verifier.

    Args:
        group: Where the points are.
    """

    group: Group
    elements: list[Point | Derived] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    size: int = 0
    """How many scalars there are."""

    def scalars(self, count: int) -> range:
        """Add unknowns; return their indices."""
        self.size += count
        return range(self.size - count, self.size)

    def element(self, element: Point | Derived) -> int:
        """Add a point unless it is listed; return its index."""
        if element in self.elements:
            return self.elements.index(element)
        return self.add(element)

    def add(self, element: Point | Derived) -> int:
        """Add a point even if it is listed: as what it is known as differs by side."""
        self.elements.append(element)
        return len(self.elements) - 1

    def equate(self, target: int, *terms: tuple[int, int]) -> None:
        """Claim target = Σ scalar·point.

        Args:
            terms: A scalar's index and an element's index each.
        """
        self.equations.append((target, terms))

    def label(self) -> bytes:
        """The statement in bytes: counts and indices [4 bytes, little-endian], then the points."""
        words = [len(self.equations)]
        for target, terms in self.equations:
            words += [target, len(terms), *(index for term in terms for index in term)]
        points = [
            bytes(POINT_BYTES) if isinstance(element, Derived) else self.group.encode(element)
            for element in self.elements
        ]
        return b"".join([word.to_bytes(4, "little") for word in words] + points)

    def terms_of(self, target: int, factor: int) -> list[Term]:
        """factor·target as terms."""
        element = self.elements[target]
        if isinstance(element, Derived):
            return [(factor * scalar % self.group.order, point) for scalar, point in element.terms]
        return [(factor, element)]

    def point(self, index: int) -> Point:
        """A listed point.

        Raises:
            ValueError: It is a derived one, which can only be a target.
        """
        element = self.elements[index]
        if isinstance(element, Derived):
            raise ValueError("a derived point can only be a target")
        return element


def proof_bytes(scalars: int) -> int:
    """The length of a proof [bytes] about so many scalars."""
    return SCALAR_BYTES * (1 + scalars)


def prove(
    statement: Relation,
    witness: Sequence[int],
    *,
    suite: Suite,
    session: bytes,
    draw: Callable[[], int] | None = None,
) -> bytes:
    """Prove a statement.

    Args:
        witness: The scalars, in the order they were added.
        draw: Where nonces come from; leave it out except to repeat published vectors.

    Raises:
        ValueError: Another number of scalars than the statement has.
    """
    group = suite.group
    if len(witness) != statement.size:
        raise ValueError("a witness has one number for each scalar of the statement")
    nonces = [(draw or group.random_scalar)() for _ in witness]
    commitments = group.sums(
        [
            [
                share
                for scalar, index in terms
                for share in group.blind(nonces[scalar], statement.point(index))
            ]
            for _, terms in statement.equations
        ]
    )
    encoded = b"".join(map(group.encode, commitments))
    # The hash takes the whole statement, or a prover could choose its points after the challenge.
    challenge = suite.challenge(session, statement.label(), encoded)
    # A nonce that came twice would give the secret: two responses are two equations in two
    # unknowns.
    responses = [
        (nonce + challenge * secret) % group.order
        for nonce, secret in zip(nonces, witness, strict=True)
    ]
    return group.encode_scalars(challenge, *responses)


def holds(statement: Relation, proof: bytes, *, suite: Suite, session: bytes) -> bool:
    """Say whether a proof shows a statement.

    Args:
        proof: The challenge and the responses, 32 bytes each.
        session: What it must be bound to.
    """
    group = suite.group
    if len(proof) != proof_bytes(statement.size):
        return False
    try:
        challenge, *responses = group.decode_scalars(proof)
    except InvalidMessageError:
        return False
    commitments = group.sums(
        [
            [
                *((responses[scalar], statement.point(index)) for scalar, index in terms),
                # response·P - challenge·target is the nonce's commitment exactly where the claim
                # holds.
                *statement.terms_of(target, -challenge),
            ]
            for target, terms in statement.equations
        ]
    )
    try:
        encoded = b"".join(map(group.encode, commitments))
    except ValueError:  # the identity: no honest proof commits to it
        return False
    return suite.challenge(session, statement.label(), encoded) == challenge


def commit(statement: Relation, nonces: Sequence[int]) -> list[Point]:
    """Commit to nonces, for an open proof.

    Args:
        nonces: One a scalar, blinded here where they multiply a listed point.
    """

    def terms_of(nonce: int, index: int) -> Sequence[Term]:
        element = statement.elements[index]
        if isinstance(element, Derived):
            return statement.terms_of(index, nonce)
        return statement.group.blind(nonce, element)

    return statement.group.sums(
        [
            [term for scalar, index in terms for term in terms_of(nonces[scalar], index)]
            for _, terms in statement.equations
        ]
    )


def respond(
    statement: Relation,
    witness: Sequence[int],
    *,
    nonces: Sequence[int],
    commitments: Sequence[Point],
    suite: Suite,
    session: bytes,
) -> bytes:
    """Finish an open proof.

    Args:
        witness: The scalars, in the order they were added.
        nonces: Random, one a scalar, used for this and nothing else.
        commitments: Each equation's sum with the nonces in place of the scalars.
        session: What the proof is bound to.
    """
    group = suite.group
    encoded = b"".join(map(group.encode, commitments))
    challenge = suite.challenge(session, statement.label(), encoded)
    responses = [nonce + challenge * secret for nonce, secret in zip(nonces, witness, strict=True)]
    return group.encode_whole(*commitments) + group.encode_scalars(*responses)


def claimed_sums(
    statement: Relation, proof: bytes, *, suite: Suite, session: bytes
) -> list[list[Term]]:
    """What an open proof claims: these sums are all the identity where it shows its statement.

    Each sum begins with its commitment, once.

    Args:
        session: What the proof must be bound to.

    Raises:
        InvalidMessageError: Another length, or something in it is no point or number.
    """
    group, equations = suite.group, statement.equations
    split = WHOLE_BYTES * len(equations)
    check_length(proof, split + SCALAR_BYTES * statement.size)
    commitments, responses = group.decode_whole(proof[:split]), group.decode_scalars(proof[split:])
    encoded = b"".join(map(group.encode, commitments))
    challenge = suite.challenge(session, statement.label(), encoded)
    return [
        [
            (1, commitment),
            *(term for s, index in terms for term in statement.terms_of(index, -responses[s])),
            *statement.terms_of(target, challenge),
        ]
        for commitment, (target, terms) in zip(commitments, equations, strict=True)
    ]
