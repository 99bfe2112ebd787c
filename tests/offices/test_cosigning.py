"""Witnesses pass a checkpoint around, cosign it, and prove certificates in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.crypto import ed25519
from gridsecure.errors import AuditBrokenError, InputError, SignatureError
from gridsecure.offices.log_copies import LogCopy
from gridsecure.offices.log_witness import cosign_checkpoint, prove_again, witness_log
from gridsecure.transparency.checkpoints import open_checkpoint, read_checkpoint
from gridsecure.transparency.inclusion_proofs import read_proof, verify_proof
from gridsecure.transparency.log_policies import read_policy
from gridsecure.transparency.notes import NoteKey, read_note, write_note
from gridsecure.transparency.tiles import split_entries
from tests.offices.test_log_witness import SIGNER, Log

AT = 1_700_000_000
SEEDS = {name: bytes([number]) * 32 for number, name in enumerate(("utility", "regulator"), 2)}
WITNESSES = {
    name: NoteKey(f"example.org/{name}", "cosignature", ed25519.public_key_of(seed))
    for name, seed in SEEDS.items()
}


@pytest.fixture
def log(tmp_path: Path):
    made = Log(tmp_path)
    made.add(300)
    yield made
    made.engine.dispose()


def look(log: Log, folder: Path, given: bytes | None = None) -> LogCopy:
    copy = LogCopy(folder)
    witness_log(log.client, copy, keys=SIGNER.keys, given=given)
    return LogCopy(folder)


def cosigned(copy: LogCopy, name: str, *, at: int = AT) -> bytes:
    return cosign_checkpoint(copy, name=WITNESSES[name].name, seed=SEEDS[name], at=at)


def policy(quorum: str = "group offices all utility regulator\nquorum offices\n"):
    lines = [f"log {key.text}\n" for key in SIGNER.keys]
    lines += [f"witness {name} {key.text}\n" for name, key in WITNESSES.items()]
    return read_policy("".join([*lines, quorum]).encode())


@pytest.fixture
def passed(log: Log, tmp_path: Path) -> bytes:
    """A checkpoint that one witness cosigned, then the other, while the log went on."""
    first = cosigned(look(log, tmp_path / "utility"), "utility")
    log.add(7, actor="later")
    return cosigned(look(log, tmp_path / "regulator", first), "regulator")


def test_a_checkpoint_that_goes_around_has_every_line(passed: bytes) -> None:
    keys = [*SIGNER.keys, *WITNESSES.values()]
    assert open_checkpoint(passed, keys).size == 300
    known = policy()
    assert known.find_cosigners(passed) == ["utility", "regulator"]
    known.check_quorum(known.find_cosigners(passed))


def test_a_witness_cosigns_again_with_one_line(passed: bytes, tmp_path: Path) -> None:
    copy = LogCopy(tmp_path / "regulator")
    again = cosigned(copy, "regulator", at=AT + 60)
    assert len(read_note(again).signatures) == len(read_note(passed).signatures)
    assert policy().find_cosigners(again) == ["utility", "regulator"]


def test_nothing_older_is_cosigned(log: Log, tmp_path: Path) -> None:
    first = cosigned(look(log, tmp_path / "utility"), "utility")
    log.add(1, actor="later")
    seen = look(log, tmp_path / "regulator")
    with pytest.raises(InputError, match=r"witness\.older.*300 entries, and 301"):
        look(log, tmp_path / "regulator", first)
    assert LogCopy(tmp_path / "regulator").checkpoint == seen.checkpoint
    assert not (tmp_path / "regulator" / "alarms").exists()


def test_another_tree_that_is_passed_around_is_an_alarm(log: Log, tmp_path: Path) -> None:
    other = Log(tmp_path, "other")
    other.add(200, actor="intruder")
    told = cosigned(look(other, tmp_path / "utility"), "utility")
    look(log, tmp_path / "regulator")
    with pytest.raises(AuditBrokenError, match=r"log\.split-view"):
        look(log, tmp_path / "regulator", told)
    assert len(list((tmp_path / "regulator" / "alarms").iterdir())) == 1
    other.engine.dispose()


def test_nothing_of_a_log_that_raised_an_alarm_is_cosigned(log: Log, tmp_path: Path) -> None:
    copy = look(log, tmp_path / "utility")
    larger = SIGNER.sign(10**9, b"\1" * 32)
    copy.keep_unproved(read_checkpoint(larger), larger)
    with pytest.raises(AuditBrokenError, match=r"witness\.alarm"):
        cosigned(copy, "utility")
    with pytest.raises(AuditBrokenError, match=r"log\.truncated"):
        look(log, tmp_path / "utility")
    with pytest.raises(AuditBrokenError, match=r"witness\.alarm"):
        cosigned(LogCopy(tmp_path / "utility"), "utility")


def test_who_saw_nothing_cosigns_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"witness\.empty"):
        cosigned(LogCopy(tmp_path / "empty"), "utility")


@pytest.mark.parametrize("index", [0, 1, 127, 128, 255, 256, 299])
def test_an_entry_is_proved_in_the_cosigned_checkpoint(
    log: Log, passed: bytes, tmp_path: Path, index: int
) -> None:
    first = log.prove(index)
    proof = prove_again(LogCopy(tmp_path / "utility"), first, passed)
    read, before = read_proof(proof), read_proof(first)
    assert (read.index, read.extra, read.checkpoint) == (index, before.extra, passed)
    leaf = entries(log)[index]
    assert verify_proof(read, entry=leaf, keys=SIGNER.keys).size == 300
    other = entries(log)[(index + 1) % 300]
    with pytest.raises(AuditBrokenError, match=r"log\.inclusion"):
        verify_proof(read, entry=other, keys=SIGNER.keys)


def entries(log: Log) -> list[bytes]:
    paths = ("000", "001.p/44")
    found = [log.http.get(f"/log/tile/entries/{path}").content for path in paths]
    return [entry for content in found for entry in split_entries(content)]


def test_no_entry_is_proved_in_an_earlier_or_another_checkpoint(
    log: Log, passed: bytes, tmp_path: Path
) -> None:
    copy = LogCopy(tmp_path / "utility")
    with pytest.raises(InputError, match=r"log\.earlier"):
        prove_again(copy, log.prove(305), passed)
    forged = SIGNER.sign(300, b"\1" * 32)
    with pytest.raises(AuditBrokenError, match=r"log\.split-view"):
        prove_again(copy, log.prove(3), forged)


# --- policies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quorum", "given", "met"),
    [
        ("quorum none\n", [], True),
        ("quorum utility\n", ["utility"], True),
        ("quorum utility\n", ["regulator"], False),
        ("group g any utility regulator\nquorum g\n", ["regulator"], True),
        ("group g any utility regulator\nquorum g\n", [], False),
        ("group g all utility regulator\nquorum g\n", ["regulator"], False),
        ("group g 2 utility regulator\nquorum g\n", ["regulator", "utility"], True),
        ("group g 1 utility\ngroup h all g regulator\nquorum h\n", ["utility"], False),
        ("group g 1 utility\ngroup h all g regulator\nquorum h\n", ["utility", "regulator"], True),
        ("# c\n \t\n\tquorum\t utility \n", ["utility"], True),
    ],
)
def test_a_quorum_is_met_or_not(quorum: str, given: list[str], met: bool) -> None:
    known = policy(quorum)
    if met:
        known.check_quorum(given)
    else:
        with pytest.raises(AuditBrokenError, match=r"log\.quorum"):
            known.check_quorum(given)


UTILITY, LOG = WITNESSES["utility"].text, SIGNER.keys[0].text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum none",
        "log\nquorum none\n",
        f"log {LOG}\n",
        f"log {UTILITY}\nquorum none\n",
        f"witness a {LOG}\nquorum a\n",
        f"witness none {UTILITY}\nquorum none\n",
        f"witness a {UTILITY}\nwitness b {UTILITY}\nquorum a\n",
        f"witness a {UTILITY} http://a b\nquorum a\n",
        f"log {LOG}\nlog {LOG}\nquorum none\n",
        "quorum a\n",
        f"quorum a\nwitness a {UTILITY}\n",
        "quorum none\nquorum none\n",
        f"witness a {UTILITY}\ngroup g 2 a\nquorum g\n",
        f"witness a {UTILITY}\ngroup g 0 a\nquorum g\n",
        f"witness a {UTILITY}\ngroup g all\nquorum a\n",
        f"witness a {UTILITY}\ngroup g any a\ngroup h any a\nquorum g\n",
        f"witness a {UTILITY}\ngroup g any a a\nquorum g\n",
        f"witness a {UTILITY}\ngroup a any a\nquorum a\n",
        "group g any none\nquorum g\n",
        "witness a nonsense\nquorum a\n",
        f"Witness a {UTILITY}\nquorum a\n",
        "quorum none\r\n",
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"log\.policy"):
        read_policy(text.encode())


def test_names_are_octets() -> None:
    """The Kelvin sign is no K."""
    with pytest.raises(InputError, match=r"log\.policy"):
        read_policy(f"witness \u212a {UTILITY}\nquorum K\n".encode())
    assert read_policy(f"witness \u212a {UTILITY}\nquorum \u212a\n".encode()).witnesses


def test_a_spoiled_line_of_a_witness_spoils_the_checkpoint(passed: bytes) -> None:
    note = read_note(passed)
    line = note.signatures[-1]
    other = line.signature[:-1] + bytes([line.signature[-1] ^ 1])  # one in seventeen ends in a zero
    spoiled = type(line)(line.name, line.key_id, other)
    with pytest.raises(SignatureError, match=r"log\.signature"):
        policy().find_cosigners(write_note(note.text, [*note.signatures[:-1], spoiled]))


def test_a_log_that_the_policy_does_not_know() -> None:
    with pytest.raises(InputError, match=r"log\.policy-log"):
        policy().keys_of("gridsecure/other/1")


# --- the commands ------------------------------------------------------------------------------


def test_an_office_witnesses_cosigns_and_proves(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Connection:
        def __enter__(self):
            return log.http

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(online, "open_connection", Connection)
    copy, key, out = tmp_path / "copy", tmp_path / "witness.key", tmp_path / "cosigned"
    proof, first = tmp_path / "entry.proof", tmp_path / "first.proof"
    first.write_text(log.prove(7))
    runner, named = CliRunner(), ["--name", "example.org/utility"]
    cosigning = ["log", "cosign", "--copy", str(copy), "--key", str(key), *named]
    missing = runner.invoke(command, [*cosigning, "--out", str(out)])
    assert (missing.exit_code, "witness.key" in missing.output) == (1, True)
    made = runner.invoke(command, ["log", "new-witness", str(key), *named]).output.strip()
    keys = [part for one in SIGNER.keys for part in ("--key", one.text)]
    seen = runner.invoke(command, ["log", "witness", "/log", "--copy", str(copy), *keys])
    assert seen.exit_code == 0, seen.output
    said = runner.invoke(command, [*cosigning, "--out", str(out)])
    assert "300 entries, cosigned as example.org/utility" in said.output
    known = read_policy(f"log {LOG}\nwitness utility {made}\nquorum utility\n".encode())
    known.check_quorum(known.find_cosigners(out.read_bytes()))
    proving = ["log", "prove", str(first), "--copy", str(copy), "--checkpoint", str(out)]
    assert runner.invoke(command, [*proving, "--out", str(proof)]).exit_code == 0
    assert read_proof(proof.read_text()).checkpoint == out.read_bytes()
    nowhere = runner.invoke(command, [*proving, "--out", str(tmp_path / "no" / "folder")])
    assert (nowhere.exit_code, "witness.file" in nowhere.output) == (1, True)
    passed_on = ["log", "witness", "/log", "--copy", str(tmp_path / "other"), *keys]
    again = runner.invoke(command, [*passed_on, "--checkpoint", str(out)])
    assert (again.exit_code, LogCopy(tmp_path / "other").checkpoint) == (0, out.read_bytes())
