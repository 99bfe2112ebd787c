"""The ARC draft's vectors, byte for byte, through the code that serves SM2.

Differences to our protocol stay in this file: the transcript (SHAKE128, an earlier encoding of the
draft's proof library), and the client's own commitment to m2.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gridsecure.credentials.curves import P256
from gridsecure.credentials.grants import grant_relation
from gridsecure.credentials.group import group_on
from gridsecure.credentials.issuance import (
    issuance_relation,
    issuance_witness,
    mac_points,
    unblind_mac,
)
from gridsecure.credentials.issuer_keys import IssuerPrivateKey
from gridsecure.credentials.ranges import claim_digits, commit_digits, committed_number
from gridsecure.credentials.sigma import Relation, holds, prove
from gridsecure.credentials.suites import Suite, frame_parts

FILE = Path(__file__).parents[1] / "vectors" / "anonymous-credentials" / "arc_vectors.json"
VECTORS = json.loads(FILE.read_text(encoding="utf-8"))["ARCV1-P256"]
CONTEXT = b"ARCV1-P256"
LIMIT = 2
GROUP = group_on(P256)


def sponge(block: bytes):
    """SHAKE128 after a first block of 168 bytes: 64 given, the rest zero."""
    return hashlib.shake_128(block.ljust(168, b"\0"))


def challenge(session: bytes, statement: bytes, commitments: bytes) -> int:
    state = sponge(b"sigma-proofs_Shake128_P256".ljust(64, b"\0"))
    state.update(frame_parts(session, statement) + commitments)
    return int.from_bytes(state.digest(48), "big") % P256.order


def published_numbers(skip: int, modulus: int = P256.order):
    """The deterministic generator of the published run, from its number `skip` on.

    The run drew 4 keys; 3 secrets and 4 nonces of the request; b and 7 nonces of the response;
    then for each presentation a, r, z, the nonce's blinding, and 8 nonces.
    Nonces are reduced modulo the order; all else, by a slip of the draft's, modulo one less.
    """
    state = sponge(b"sigma-proofs/TestDRNG/SHAKE128".ljust(64, b"\0"))
    state.update(b"test vector seed" + bytes(16))
    stream = state.digest(48 * 60)
    numbers = [
        int.from_bytes(stream[at : at + 48], "big") % modulus for at in range(0, 48 * 60, 48)
    ]
    return iter(numbers[skip:]).__next__


SUITE = Suite(GROUP, CONTEXT, challenge)


def point(section: str, name: str):
    return GROUP.decode(bytes.fromhex(VECTORS[section][name]))


def number(section: str, name: str) -> int:
    return int(VECTORS[section][name], 16)


KEY = IssuerPrivateKey(*(number("ServerKey", name) for name in ("x0", "x1", "x2", "xb")))
PUBLIC = KEY.public_key(SUITE)


def test_keys():
    draw = published_numbers(0, P256.order - 1)
    assert [draw() for _ in range(4)] == [KEY.x0, KEY.x1, KEY.x2, KEY.xb]
    assert PUBLIC.to_bytes(SUITE).hex() == "".join(
        VECTORS["ServerKey"][name] for name in ("X0", "X1", "X2")
    )


def request_statement(m1_enc, m2_enc):
    statement = Relation(GROUP)
    m1, m2, r1, r2 = statement.scalars(4)
    g, h, one, two = map(statement.element, (SUITE.g, SUITE.h, m1_enc, m2_enc))
    statement.equate(one, (m1, g), (r1, h))
    statement.equate(two, (m2, g), (r2, h))
    return statement


def test_request():
    vector = VECTORS["CredentialRequest"]
    m1, m2, r1, r2 = (number("CredentialRequest", name) for name in ("m1", "m2", "r1", "r2"))
    request = bytes.fromhex(vector["request_context"])
    assert SUITE.hash_to_scalar(request, info=b"requestContext") == m2
    m1_enc = GROUP.sum((m1, SUITE.g), (r1, SUITE.h))
    m2_enc = GROUP.sum((m2, SUITE.g), (r2, SUITE.h))
    assert [GROUP.encode(m1_enc).hex(), GROUP.encode(m2_enc).hex()] == [
        vector["m1_enc"],
        vector["m2_enc"],
    ]
    statement, witness = request_statement(m1_enc, m2_enc), [m1, m2, r1, r2]
    check_proof(
        statement, witness, b"CredentialRequest", published=bytes.fromhex(vector["proof"]), skip=7
    )


def check_proof(statement, witness, purpose, *, published, skip):
    session = CONTEXT + purpose
    assert holds(statement, published, suite=SUITE, session=session)
    assert not holds(statement, published, suite=SUITE, session=session + b"!")
    draw = published_numbers(skip)
    made = prove(statement, witness, suite=SUITE, session=session, draw=draw)
    assert made == published


def test_response_and_credential():
    vector = VECTORS["CredentialResponse"]
    attributes = (point("CredentialRequest", "m1_enc"), point("CredentialRequest", "m2_enc"))
    b = number("CredentialResponse", "b")
    answer = mac_points(SUITE, key=KEY, attributes=attributes, b=b)
    names = ("U", "enc_U_prime", "X0_aux", "X1_aux", "X2_aux", "H_aux")
    assert [GROUP.encode(one).hex() for one in answer] == [vector[name] for name in names]
    statement = issuance_relation(SUITE, public=PUBLIC, attributes=attributes, answer=answer)
    witness = issuance_witness(KEY, b=b, order=P256.order)
    check_proof(
        statement, witness, b"CredentialResponse", published=bytes.fromhex(vector["proof"]), skip=12
    )
    blindings = (number("CredentialRequest", "r1"), number("CredentialRequest", "r2"))
    mac = unblind_mac(SUITE, answer=answer, blindings=blindings)
    credential = VECTORS["Credential"]
    assert GROUP.encode(mac).hex() == credential["U_prime"]
    assert (GROUP.encode(answer[0]).hex(), GROUP.encode(PUBLIC.x1).hex()) == (
        credential["U"],
        credential["X1"],
    )


@pytest.mark.parametrize(("name", "start"), [("Presentation1", 19), ("Presentation2", 31)])
def test_presentation(name, start):
    vector = VECTORS[name]
    m1 = number("Credential", "m1")
    a, r, z, nonce, blinding = (
        number(name, key) for key in ("a", "r", "z", "nonce", "nonce_blinding")
    )
    draw = published_numbers(start, P256.order - 1)
    assert [draw() for _ in range(4)] == [a, r, z, blinding]
    base = SUITE.hash_to_group(bytes.fromhex(vector["presentation_context"]), info=b"Tag")
    u = GROUP.sum((a, point("Credential", "U")))
    u_prime = GROUP.sum((a, point("Credential", "U_prime")), (r, SUITE.g))
    m = GROUP.sum((m1, u), (z, SUITE.h))
    tag = GROUP.sum((GROUP.invert(m1 + nonce), base))
    v = GROUP.sum((z, PUBLIC.x1), (-r, SUITE.g))
    digits = commit_digits(nonce, limit=LIMIT, blinding=blinding, draw=lambda: 0, suite=SUITE)
    commitment = committed_number(digits.commitments, limit=LIMIT, suite=SUITE)
    shown = (u, u_prime, m, tag, commitment)
    names = ("U", "U_prime_commit", "m1_commit", "tag", "nonce_commit")
    assert [GROUP.encode(one).hex() for one in shown] == [vector[key] for key in names]
    assert [GROUP.encode(one).hex() for one in digits.commitments] == [vector["D_0"]]
    statement = grant_relation(shown, v=v, x1=PUBLIC.x1, base=base, suite=SUITE)
    claim_digits(statement, digits.commitments, suite=SUITE)
    witness = [m1, z, -r, nonce, blinding, *digits.witness(P256.order)]
    encoded, proof = bytes.fromhex(vector["D_0"]), bytes.fromhex(vector["proof"])
    assert proof[:33] == encoded
    check_proof(statement, witness, b"CredentialPresentation", published=proof[33:], skip=start + 4)
