"""Signed notes and checkpoints: the published ones verify, and every forgery is refused."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from gridsecure.crypto import ed25519
from gridsecure.crypto.sm2 import private_key_from_bytes
from gridsecure.errors import InputError, InvalidMessageError, SignatureError
from gridsecure.transparency.checkpoints import (
    Checkpoint,
    LogSigner,
    open_checkpoint,
    read_checkpoint,
)
from gridsecure.transparency.inclusion_proofs import InclusionProof, read_proof, verify_proof
from gridsecure.transparency.notes import (
    NoteKey,
    NoteSignature,
    cosign,
    read_key,
    read_note,
    verify_note,
    write_note,
)
from gridsecure.transparency.tree import Frontier, leaf_hash

# c2sp.org/signed-note, "Example"
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""  # noqa: E501
# golang.org/x/mod/sumdb/note, example_test.go
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""  # noqa: E501
# c2sp.org/tlog-cosignature, the example of a checkpoint
SOFA_NOTE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501

SIGNER = LogSigner("gridsecure/test/1", bytes(range(32)), private_key_from_bytes(b"\1" * 32))
OTHER = LogSigner("gridsecure/test/1", bytes(32), private_key_from_bytes(b"\2" * 32))
TREE = Frontier().grow(leaf_hash(bytes([number])) for number in range(5))
SIGNED = SIGNER.sign(TREE.size, TREE.root)
PLAIN, SM2 = SIGNER.keys


def lines(note: bytes) -> list[NoteSignature]:
    return list(read_note(note).signatures)


def with_lines(*signatures: NoteSignature, text: str | None = None) -> bytes:
    return write_note(text or read_note(SIGNED).text, signatures)


@pytest.mark.parametrize(("key", "note"), [(FOO, FOO_NOTE), (NEUMANN, NEUMANN_NOTE)])
def test_published_notes_verify(key: str, note: str):
    read = read_note(note.encode())
    assert verify_note(read, [read_key(key)]) == (read_key(key),)
    assert read_key(key).text == key
    assert write_note(read.text, read.signatures) == note.encode()
    with pytest.raises(SignatureError, match=r"log\.signature"):
        verify_note(replace(read, text=read.text + "more\n"), [read_key(key)])


def test_the_published_checkpoint_is_read():
    checkpoint = read_checkpoint(SOFA_NOTE.encode())
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert read_note(SOFA_NOTE.encode()).text == checkpoint.text


def test_a_checkpoint_is_signed_twice():
    assert open_checkpoint(SIGNED, SIGNER.keys) == Checkpoint(SIGNER.origin, 5, TREE.root)
    text = read_note(SIGNED).text
    assert text == f"gridsecure/test/1\n5\n{base64.b64encode(TREE.root).decode()}\n"
    assert [len(line.signature) for line in lines(SIGNED)] == [64, 64]
    ed25519.verify(PLAIN.public_key, text.encode(), signature=lines(SIGNED)[0].signature)
    header = b"gridsecure.sm2/v1\n"
    SIGNER.sm2.public_key.verify(header + text.encode(), lines(SIGNED)[1].signature)
    assert read_key(SM2.text) == SM2
    assert base64.b64decode(SM2.text.split("+", 2)[2])[:18] == b"\xffgridsecure.sm2/v1"


@pytest.mark.parametrize("key", SIGNER.keys, ids=["ed25519", "sm2"])
def test_whoever_knows_one_kind_ignores_the_other(key: NoteKey):
    assert verify_note(read_note(SIGNED), [key]) == (key,)
    assert open_checkpoint(SIGNED, [key]).size == 5


@pytest.mark.parametrize(
    "forged",
    [
        with_lines(lines(SIGNED)[0]),
        with_lines(lines(SIGNED)[1]),
        with_lines(*lines(OTHER.sign(5, TREE.root))),
        with_lines(*lines(SIGNED), text=read_note(SIGNED).text.replace("\n5\n", "\n4\n")),
        with_lines(lines(SIGNED)[0], lines(SIGNER.sign(4, TREE.root))[1]),
        with_lines(
            replace(lines(SIGNED)[0], signature=lines(SIGNED)[1].signature),
            replace(lines(SIGNED)[1], signature=lines(SIGNED)[0].signature),
        ),
        with_lines(*lines(SIGNED), replace(lines(SIGNED)[0], signature=bytes(64))),
        with_lines(*(replace(one, name="another") for one in lines(SIGNED))),
        with_lines(*lines(SIGNED), text=read_note(SIGNED).text.replace("test/1", "test/2")),
    ],
    ids=[
        "no SM2 line", "no Ed25519 line", "other keys", "smaller", "a line of another checkpoint",
        "swapped", "a second line", "other names", "another origin",
    ],
)  # fmt: skip
def test_forged_checkpoints_are_refused(forged: bytes):
    with pytest.raises(SignatureError, match=r"log\.signature"):
        open_checkpoint(forged, SIGNER.keys)


WITNESS = NoteKey("witness.example/w", "cosignature", ed25519.public_key_of(b"\7" * 32))


def test_every_key_that_was_given_signs():
    """One that is of no use to the check was given by mistake, and is not passed over."""
    other = replace(PLAIN, name="gridsecure/test/2")
    with pytest.raises(InputError, match=r"log\.other-key"):
        open_checkpoint(SIGNED, [SM2, other])
    for keys in ([*SIGNER.keys, WITNESS], [WITNESS], []):
        with pytest.raises(SignatureError, match=r"log\.signature"):
            open_checkpoint(SIGNED, keys)


def test_what_is_not_ascii_is_malformed():
    root = base64.b64encode(TREE.root).decode()
    for read, text, reason in (
        (read_note, f"o\n5\n{root}\n\n— o éééé\n", "log.note"),
        (read_checkpoint, f"o\n5\n{'é' * 44}\n\n— o AAAAAAAAAAA=\n", "log.checkpoint"),
    ):
        with pytest.raises(InvalidMessageError) as refused:
            read(text.encode())
        assert refused.value.reason == reason
    with pytest.raises(InvalidMessageError, match=r"log\.key"):
        read_key("o+aabbccdd+éééé")


def test_unknown_lines_do_no_harm():
    stranger = NoteSignature("elsewhere", b"abcd", b"\0" * 2424)
    assert open_checkpoint(with_lines(stranger, *lines(SIGNED)), SIGNER.keys).size == 5


@pytest.mark.parametrize("at", [0, 1_679_315_147])
def test_a_cosignature_says_when(at: int):
    note = read_note(SIGNED)
    line = cosign(note, name="witness.example/w", seed=b"\7" * 32, at=at)
    key = WITNESS
    cosigned = with_lines(*lines(SIGNED), line)
    assert verify_note(read_note(cosigned), [key]) == (key,)
    assert open_checkpoint(cosigned, [*SIGNER.keys, key]).size == 5
    said = f"cosignature/v1\ntime {at}\n{note.text}".encode()
    ed25519.verify(key.public_key, said, signature=line.signature[8:])
    for altered in (b"\0" * 7 + b"\1" + line.signature[8:], line.signature[:-1], b"\xff" * 72):
        with pytest.raises(SignatureError):
            verify_note(replace(note, signatures=(replace(line, signature=altered),)), [key])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"text\n", b"text\n\n", SIGNED[:-1], SIGNED.replace(b"\n\n", b"\n"),
        SIGNED.replace(b"5", b"\x005"), SIGNED.replace(b"5", b"\xff5"), SIGNED + b"tail\n",
        SIGNED.replace("—".encode(), b"-"), SIGNED.replace(b"= ", b"! "), b"a" * 70_000,
        SIGNED.rpartition(b"\n\n")[0] + "\n\n— name AAAA\n".encode(),
        SIGNED.rpartition(b"\n\n")[0] + "\n\n— na+me AAAAAAAA\n".encode(),
        SIGNED.rpartition(b"\n\n")[0] + "\n\n— name A*AA\n".encode(),
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(data: bytes):
    if data == SIGNED.replace(b"= ", b"! "):
        data = SIGNED.replace(b"=\n", b"=!\n")
    with pytest.raises(InvalidMessageError, match=r"log\.(note|checkpoint)"):
        read_checkpoint(data)


@pytest.mark.parametrize(
    "text",
    [
        "log\n5\n", "log\n05\nROOT\n", "log\n-1\nROOT\n", "log\n5\nAAAA\n", "log\n5\n!!!!\n",
        "\n5\nROOT\n", "log\n5\nROOT\n\nmore\n", "log\n99999999999999999999\nROOT\n",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str):
    text = text.replace("ROOT", base64.b64encode(TREE.root).decode())
    with pytest.raises(InvalidMessageError, match=r"log\.(note|checkpoint)"):
        read_checkpoint(with_lines(*lines(SIGNED), text=text))


@pytest.mark.parametrize(
    "text",
    [
        "", "a+b", "a+00000000+AAAA", FOO[:-4], FOO.replace("530d903a", "530d903b"),
        FOO.replace("foo", "bar"), FOO.replace("+A", "+B"), "a b" + FOO, FOO + "!",
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused(text: str):
    with pytest.raises(InvalidMessageError, match=r"log\.key"):
        read_key(text)


# --- proofs -------------------------------------------------------------------------------------

ONLY = Frontier().grow([leaf_hash(b"entry")])
SHORT = InclusionProof(0, (), SIGNER.sign(1, ONLY.root), b"salt")


def test_a_proof_needs_nothing_beside_itself():
    text = SHORT.text
    assert text.startswith("c2sp.org/tlog-proof@v1\nextra c2FsdA==\nindex 0\n\ngridsecure/test/1\n")
    assert read_proof(text) == SHORT
    assert verify_proof(read_proof(text), entry=b"entry", keys=SIGNER.keys).size == 1
    assert read_proof(replace(SHORT, extra=b"").text) == replace(SHORT, extra=b"")


def test_a_proof_of_another_entry_or_log_is_refused():
    for proof, entry, keys in (
        (SHORT, b"another", SIGNER.keys),
        (replace(SHORT, index=1), b"entry", SIGNER.keys),
        (replace(SHORT, path=(bytes(32),)), b"entry", SIGNER.keys),
        (replace(SHORT, checkpoint=SIGNED), b"entry", SIGNER.keys),
        (SHORT, b"entry", OTHER.keys),
        (SHORT, b"entry", ()),
    ):
        with pytest.raises((SignatureError, Exception), match=r"log\.(inclusion|signature)"):
            verify_proof(proof, entry=entry, keys=keys)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"), ("index 0", "index 00"), ("index 0", "index x"), ("index 0\n", ""),
        ("extra ", "extra !"), ("index 0\n", "index 0\nAAAA\n"), ("\n\n", "\n"),
        ("index 0\n", "index 0\n" + "A" * 43 + "=\n" * 1 + ("A" * 43 + "=\n") * 63),
    ],
)  # fmt: skip
def test_what_is_no_proof_is_refused(old: str, new: str):
    with pytest.raises(InvalidMessageError, match=r"log\.proof"):
        read_proof(SHORT.text.replace(old, new, 1))
