"""Why no blind SM2 signatures: concurrent sessions give one signature more than were signed.

SM2's response is linear in what it answers: with Q = P + G and q = 1 + d, t = r + s satisfies
q·t = k + r, so t·Q = K + r·G. A blind signer that answers chosen r in many sessions at once meets
the ROS attack (Benhamouda, Lepoint, Loss, Orrù, Raykova, EUROCRYPT 2021): as many sessions as the
order has bits suffice, and it costs nothing. Tokens are therefore not blindly signed here.
"""

from __future__ import annotations

from gridsecure.credentials.curves import SM2, Point
from gridsecure.credentials.group import group_on
from gridsecure.crypto.sm2 import Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm2_curve import N, join_numbers, message_digest

SESSIONS = 256
GROUP = group_on(SM2)
G = SM2.generator


class BlindSigner:
    """Signs what it does not see, once a session; it counts its signatures."""

    def __init__(self) -> None:
        key = generate_private_key()
        self.public_key: Sm2PublicKey = key.public_key
        self._q = (int.from_bytes(key.to_bytes(), "big") + 1) % N
        self._nonces = [GROUP.random_scalar() for _ in range(SESSIONS)]
        self.signatures = 0

    def commitments(self) -> list[Point]:
        return GROUP.sums([[(k, G)] for k in self._nonces])

    def answer(self, session: int, r: int) -> int:
        k, self._nonces[session] = self._nonces[session], 0
        assert k, "one answer a session"
        self.signatures += 1
        return (k + r) * pow(self._q, -1, N) % N


def challenge(key: Sm2PublicKey, message: bytes, commitment: Point) -> int:
    return (message_digest(key.point, message) + commitment.x) % N


def test_256_sessions_give_257_signatures():
    signer = BlindSigner()
    key, commitments = signer.public_key, signer.commitments()
    # 1. In each session two challenges are possible, for two messages.
    pairs = [
        tuple(challenge(key, b"paid %d/%d" % (i, b), point) for b in (0, 1))
        for i, point in enumerate(commitments)
    ]
    # 2. Σ 2^i·(c_i - c_i0)/(c_i1 - c_i0) spells any number by the choice of challenges.
    weights = [pow(2, i, N) * pow(one - zero, -1, N) % N for i, (zero, one) in enumerate(pairs)]
    constant = -sum(w * zero for w, (zero, _) in zip(weights, pairs, strict=True)) % N
    # 3. So it spells the challenge of a message nobody will be asked to sign.
    forged = GROUP.sum((-constant, G), *zip(weights, commitments, strict=True))
    target = challenge(key, b"never signed", forged)
    bits = [target >> i & 1 for i in range(SESSIONS)]
    # 4. The signer answers every session once.
    chosen = [pair[bit] for pair, bit in zip(pairs, bits, strict=True)]
    answers = [signer.answer(i, r) for i, r in enumerate(chosen)]
    total = sum(w * t for w, t in zip(weights, answers, strict=True)) % N
    # 5. All verify as ordinary SM2 signatures.
    for i, (r, t) in enumerate(zip(chosen, answers, strict=True)):
        key.verify(b"paid %d/%d" % (i, bits[i]), join_numbers(r, (t - r) % N))
    key.verify(b"never signed", join_numbers(target, (total - target) % N))
    assert signer.signatures == SESSIONS
