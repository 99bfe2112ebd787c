"""OPRF, VOPRF and POPRF: RFC 9497's vectors on P-256, the same code on SM2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gridsecure.credentials.curves import P256, SM2
from gridsecure.credentials.group import group_on
from gridsecure.credentials.oblivious import Mode, Oblivious
from gridsecure.errors import SignatureError

FILE = Path(__file__).parents[1] / "vectors" / "anonymous-credentials" / "voprf_vectors.json"
SUITES = [
    suite
    for suite in json.loads(FILE.read_text(encoding="utf-8"))
    if suite["identifier"] == "P256-SHA256"
]
CASES = [(suite, vector) for suite in SUITES for vector in suite["vectors"]]
GROUP = group_on(P256)


def parts(text: str) -> list[bytes]:
    return [bytes.fromhex(part) for part in text.split(",")]


@pytest.mark.parametrize(("suite", "vector"), CASES)
def test_published_vectors(suite, vector):
    function = Oblivious(GROUP, Mode(suite["mode"]))
    key = function.derive_key(bytes.fromhex(suite["seed"]), info=bytes.fromhex(suite["keyInfo"]))
    assert GROUP.encode_scalars(key).hex() == suite["skSm"]
    assert (b"HashToGroup-" + function.context).hex() == suite["groupDST"]
    info = bytes.fromhex(vector.get("Info", ""))
    inputs, blinds = parts(vector["Input"]), parts(vector["Blind"])
    numbers = [int.from_bytes(blind, "big") for blind in blinds]
    blinded = [function.blind(one, blind=b) for one, b in zip(inputs, numbers, strict=True)]
    assert [GROUP.encode(point) for point in blinded] == parts(vector["BlindedElement"])
    evaluated = function.evaluate(blinded, key=key, info=info)
    assert [GROUP.encode(point) for point in evaluated] == parts(vector["EvaluationElement"])
    if "Proof" in vector:
        public = function.public_key(key)
        assert GROUP.encode(public).hex() == suite["pkSm"]
        nonce = int(vector["Proof"]["r"], 16)
        proof = function.prove(blinded, evaluated, key=key, info=info, draw=lambda: nonce)
        assert proof.hex() == vector["Proof"]["proof"]
        function.verify(proof, blinded=blinded, evaluated=evaluated, public=public, info=info)
    outputs = [
        function.finalise(one, blind=b, evaluated=point, info=info)
        for one, b, point in zip(inputs, numbers, evaluated, strict=True)
    ]
    assert outputs == parts(vector["Output"])


def test_all_eight_vectors_are_there():
    assert sorted(suite["mode"] for suite, _ in CASES) == [0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("mode", [Mode.VOPRF, Mode.POPRF])
def test_another_key_or_a_swapped_batch_is_refused_on_sm2(mode):
    group = group_on(SM2)
    function = Oblivious(group, mode)
    key, other = (function.derive_key(bytes([seed]) * 32, info=b"") for seed in (1, 2))
    blinded = [function.blind(data, blind=group.random_scalar()) for data in (b"a", b"b")]
    evaluated = function.evaluate(blinded, key=key, info=b"i")
    proof = function.prove(blinded, evaluated, key=key, info=b"i")
    good = {
        "blinded": blinded,
        "evaluated": evaluated,
        "public": function.public_key(key),
        "info": b"i",
    }
    function.verify(proof, **good)
    wrong = [
        {"public": function.public_key(other)},
        {"evaluated": evaluated[::-1]},
        {"evaluated": function.evaluate(blinded, key=other, info=b"i")},
        {"evaluated": evaluated[:1]},
        {"blinded": [], "evaluated": []},
    ]
    if mode == Mode.POPRF:
        wrong.append({"info": b"j"})
    for change in wrong:
        with pytest.raises(SignatureError, match=r"authenticity\.oblivious"):
            function.verify(proof, **{**good, **change})
    with pytest.raises(SignatureError):
        function.verify(proof[:-1], **good)


def test_outputs_do_not_depend_on_the_blinding():
    group = group_on(SM2)
    function = Oblivious(group, Mode.OPRF)
    key = function.derive_key(bytes(32), info=b"")
    outputs = set()
    for _ in range(2):
        blind = group.random_scalar()
        (point,) = function.evaluate([function.blind(b"x", blind=blind)], key=key)
        outputs.add(function.finalise(b"x", blind=blind, evaluated=point))
    assert len(outputs) == 1


def test_keys_come_from_whole_seeds():
    with pytest.raises(ValueError, match="32 bytes"):
        Oblivious(GROUP, Mode.OPRF).derive_key(b"short", info=b"")


def test_a_tweak_that_cancels_the_key_is_refused():
    function = Oblivious(group_on(SM2), Mode.POPRF)
    tweak = function._tweak(b"i")
    public = function.public_key(-tweak % SM2.order)
    with pytest.raises(SignatureError):
        function.tweaked_public_key(public, info=b"i")
    with pytest.raises(ValueError, match="not invertible"):
        function.server_key(-tweak % SM2.order, info=b"i")
