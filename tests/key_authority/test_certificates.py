"""A certificate proves itself to whoever has the authority's public keys, and to nobody falsely."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridsecure.analyst.certificates import verify_certificate
from gridsecure.analyst.certified_levels import check_certified_level
from gridsecure.analyst.releases import PinnedAuthority, verify_release
from gridsecure.cli.main import app as command
from gridsecure.crypto import ed25519
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.errors import AuditBrokenError, GridSecureError, InputError, SignatureError
from gridsecure.key_authority.checker import release_lists
from gridsecure.key_authority.checker.answering import find_certificate
from gridsecure.messages import ReleaseCertificate, sign_message
from gridsecure.policy.levels import load_level, open_level
from gridsecure.released_values import (
    ReleasedValues,
    SignedCertificate,
    attach_values,
    sign_certificate,
)
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import append, find_entry
from gridsecure.store.proved_entries import message_digest
from gridsecure.transparency.checkpoints import LogSigner
from gridsecure.transparency.inclusion_proofs import read_proof
from gridsecure.transparency.log_policies import read_policy
from gridsecure.transparency.notes import NoteKey, cosign, read_note, write_note
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import Authority
from tests.grid_simulator import NOW, GridSimulator


@dataclass(frozen=True)
class World:
    """An authority that released a month, and its certificate."""

    authority: Authority
    envelope: SignedCertificate

    @property
    def key(self) -> Sm2PrivateKey:
        return self.authority.grid.authority_key

    @property
    def pinned(self) -> PinnedAuthority:
        return PinnedAuthority(self.key.public_key)

    @property
    def signer(self) -> LogSigner:
        return self.authority.zone.log.signer

    @property
    def certificate(self) -> ReleaseCertificate:
        return ReleaseCertificate.parse(self.envelope.body)

    @property
    def values(self) -> ReleasedValues:
        assert self.envelope.values
        return self.envelope.values

    def signed(self, *, values: ReleasedValues | None = None, **changes: object) -> bytes:
        """Another certificate, signed by the authority itself."""
        changed = self.certificate.model_copy(update=changes)
        signed = sign_certificate(changed, values or self.values, key=self.key)
        shown = signed if values else signed.without_values()
        return shown.model_dump_json().encode()

    def verify(self, content: bytes, *keys: NoteKey):
        return verify_certificate(content, authority=self.pinned, keys=keys or self.signer.keys)


@pytest.fixture(scope="module")
def world(grid: GridSimulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    authority = Authority(grid, tmp_path_factory.mktemp("authority"))
    # As services that are held to a level: what is certified here names it.
    authority.zone = replace(authority.zone, level=load_level("L2"))
    authority.vault.gate.policies.level = load_level("L2")
    uploads = sorted(grid.uploads, key=lambda upload: -upload.roster.manifest.slots)
    name = authority.answer(authority.bill_request(uploads)).request_id
    yield World(authority, find_certificate(authority.zone, name))
    authority.close()


def test_a_certificate_proves_itself(world: World) -> None:
    found = world.verify(world.envelope.model_dump_json().encode())
    with read_session(world.authority.zone.engine) as session:
        entry = find_entry(session, world.certificate.evidence_head)
    assert entry is not None
    assert found.entry.index == entry.index
    assert found.entry.detail["message"] == message_digest(world.envelope.body)
    assert found.entry.checkpoint.size > entry.index
    assert found.has_values
    assert found.release.release_id == world.certificate.release_id


def certified(world: World, named: str = "", *, wanted: str = "", **changes: object) -> str:
    """The level that a certificate is found to keep, or why it is refused."""
    digest = load_level(named).digest if named else ""
    certificate = world.certificate.model_copy(update={"level": digest} | changes)
    try:
        kept = check_certified_level(certificate, wanted=open_level(wanted))
    except GridSecureError as refused:
        return refused.reason
    return kept.name if kept else ""


def test_a_certificate_is_held_to_the_level_that_it_names(world: World) -> None:
    content = world.envelope.model_dump_json().encode()
    found = world.verify(content)
    assert (found.level, found.level_digest) == (load_level("L2"), load_level("L2").digest)
    old = ReleaseCertificate.parse(world.certificate.model_dump_json(exclude={"level"}))
    assert old == world.certificate.model_copy(update={"level": ""})  # of before there were levels
    assert certified(world, "L2", wanted="L1") == certified(world, "L2", wanted="L2") == "L2"
    assert certified(world, "L3") == "level.below"  # its policy is one of 15 customers
    assert certified(world) == certified(world, level="0" * 64) == ""
    for level in ("", "L1"):
        assert certified(world, level, wanted="L2") == "level.uncertified"
    assert certified(world, "L1", wanted="L1") == "L1"
    assert certified(world, "L2", approvals=world.certificate.approvals[:1]) == "level.below"
    rejected = [
        one.model_copy(update={"body": one.body.replace('"approve"', '"reject"')})
        for one in world.certificate.approvals
    ]
    assert certified(world, "L2", approvals=rejected) == "level.below"
    subject = world.certificate.subject.replace('"billing"', '"operations"')
    assert certified(world, "L2", subject=subject) == "level.below"  # nobody approved that one
    whole = {"monthly": {"*": {"energy_wh": 100}}}
    assert certified(world, "L3", minima=whole) == "level.below"
    fewer = {"monthly": {"*": {"bills": 14}}}
    assert certified(world, "L2", minima=fewer) == "level.below"
    assert certified(world, "L1", minima=fewer) == "L1"


def test_the_authoritys_key_is_enough(world: World) -> None:
    content = world.envelope.model_dump_json().encode()
    assert verify_certificate(content, authority=world.pinned, keys=()).entry.index >= 0


def test_without_its_values_it_is_the_same_certificate(world: World) -> None:
    whole, bare = world.envelope, world.envelope.without_values()
    assert (bare.body, bare.digest, bare.signature) == (whole.body, whole.digest, whole.signature)
    found = world.verify(bare.model_dump_json(exclude_none=True).encode())
    assert not found.has_values
    assert found.entry == world.verify(whole.model_dump_json().encode()).entry


def test_the_signed_text_has_no_value(world: World) -> None:
    cells = world.certificate.cells
    assert [value is not None for value in world.values.values] == [cell.told for cell in cells]
    assert any(cell.told for cell in cells)
    assert all(cell.value is None for cell in cells)


@attack(
    "other values beside a certificate than were certified",
    rule(
        "A certificate names a salted digest of the values that go with it.",
        "release.values",
        cut(
            "gridsecure.released_values:attach_values",
            "envelope.values.digest != certificate.values_digest",
            "False",
        ),
    ),
)
def test_another_value_beside_a_certificate(world: World, attacked: Attacked) -> None:
    first = next(n for n, value in enumerate(world.values.values) if value is not None)
    values = [*world.values.values[:first], "1", *world.values.values[first + 1 :]]
    other = ReleasedValues(salt=world.values.salt, values=values)
    content = world.envelope.model_copy(update={"values": other}).model_dump_json().encode()
    attacked.tries(lambda: world.verify(content))


@pytest.mark.parametrize("change", ["value", "blank", "told", "order", "salt", "fewer", "more"])
def test_no_other_values_go_with_a_certificate(world: World, change: str) -> None:
    own = world.values
    first = next(n for n, value in enumerate(own.values) if value is not None)
    none = next(n for n, value in enumerate(own.values) if value is None)
    values = list(own.values)
    if change in ("value", "blank"):
        values[first] = {"value": str(int(own.values[first] or 0) + 1), "blank": None}[change]
    elif change == "told":
        values[none] = "1"
    values = {"order": values[::-1], "fewer": values[:-1], "more": [*values, None]}.get(
        change, values
    )
    salt = "0" * 64 if change == "salt" else own.salt
    other = world.envelope.model_copy(update={"values": ReleasedValues(salt=salt, values=values)})
    with pytest.raises(SignatureError, match=r"release\.values"):
        world.verify(other.model_dump_json().encode())


def test_values_are_not_told_in_two_places(world: World) -> None:
    """Not inside and beside it, and none beside a certificate that names none."""
    first, *rest = world.certificate.cells
    inside = world.signed(cells=[first.model_copy(update={"value": "1"}), *rest])
    for content in (inside, world.signed(values=world.values, values_digest="")):
        with pytest.raises(SignatureError, match=r"release\.values"):
            world.verify(content)


def test_another_digest_of_values_is_another_certificate(world: World) -> None:
    """The authority cannot certify two sets of values on one entry."""
    values = ReleasedValues(salt="1" * 64, values=world.values.values)
    content = world.signed(values=values, values_digest=values.digest)
    with pytest.raises(AuditBrokenError, match=r"log\.other-entry"):
        world.verify(content)


def test_a_certificate_of_before_keeps_its_values_inside_and_the_regulator_gets_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attach_values(world.certificate, world.envelope)
    cells = [cell.model_copy(update={"told": False}) for cell in whole.cells]
    before = whole.model_copy(update={"cells": cells, "values_digest": ""})
    text = sign_message(before, key=world.key).model_dump_json()
    release = verify_release(text.encode(), authority=world.pinned)
    assert [cell.value for cell in release.cells] == [
        None if value is None else int(value) for value in world.values.values
    ]
    monkeypatch.setattr(release_lists, "read_certificate_text", lambda *_kept: text)
    bare = release_lists.read_bare_certificate_text(world.authority.zone, release.release_id)
    blank = verify_release(bare.encode(), authority=world.pinned)
    assert [cell.value for cell in blank.cells] == [None] * len(release.cells)


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "another"},
        {"requested_by": "another"},
        {"outputs_digest": "ab" * 32},
        {"transcripts": []},
        {"statements": {}},
        {"cells": []},
        {"policy_version": 9},
        {"released_at": "2026-01-01T00:00:00+00:00"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_second_certificate_on_one_entry_is_found_out(world: World, changes: dict) -> None:
    """The authority itself cannot give two people different ones."""
    with pytest.raises(AuditBrokenError, match=r"log\.other-entry"):
        world.verify(world.signed(**changes))


def test_another_entry_is_no_proof(world: World) -> None:
    zone = world.authority.zone
    with write_session(zone.engine) as session:
        entry = append(session, at=NOW, actor="checker", action="release.granted", detail={})
        proof = zone.log.prove(session, entry).text
    with pytest.raises(AuditBrokenError, match=r"log\.other-entry"):
        world.verify(world.signed(log_proof=proof))
    with pytest.raises(AuditBrokenError, match=r"log\.other-entry"):
        world.verify(world.signed(log_proof=proof, evidence_head=entry.hash))


def test_an_entry_of_something_else_that_was_done_is_no_proof(world: World) -> None:
    zone = world.authority.zone
    detail = {"message": message_digest(world.envelope.body)}
    with write_session(zone.engine) as session:
        entry = append(session, at=NOW, actor="checker", action="release.refused", detail=detail)
        proof = zone.log.prove(session, entry).text
    with pytest.raises(AuditBrokenError, match=r"log\.other-entry"):
        world.verify(world.signed(log_proof=proof, evidence_head=entry.hash))


def test_too_few_cosignatures_are_refused_and_enough_are_named(
    world: World, tmp_path: Path
) -> None:
    seed, content = b"\7" * 32, world.envelope.model_dump_json().encode()
    witness = NoteKey("example.org/regulator", "cosignature", ed25519.public_key_of(seed))
    lines = [f"log {key.text}" for key in world.signer.keys]
    lines += [f"witness regulator {witness.text}", "quorum regulator", ""]
    policy = tmp_path / "log-policy"
    policy.write_text("\n".join(lines))
    wanted = read_policy(policy.read_bytes())
    with pytest.raises(AuditBrokenError, match=r"log\.quorum.*nobody"):
        verify_certificate(content, authority=world.pinned, policy=wanted)
    first = read_proof(world.certificate.log_proof)
    note = read_note(first.checkpoint)
    line = cosign(note, name=witness.name, seed=seed, at=1)
    checkpoint = write_note(note.text, [*note.signatures, line])
    proof = tmp_path / "proof"
    proof.write_text(replace(first, checkpoint=checkpoint).text)
    found = verify_certificate(
        content, authority=world.pinned, policy=wanted, proof=proof.read_text()
    )
    assert found.cosigners == ("regulator",)
    file = tmp_path / "certificate.json"
    file.write_bytes(content)
    asked = ["verify", str(file), "--authority-key", world.key.public_key.point.hex()]
    asked += ["--policy", str(policy), "--proof", str(proof), "--format", "json"]
    said = CliRunner().invoke(command, asked)
    assert json.loads(said.output)["cosigners"] == ["regulator"]
    unknown = read_policy(b"quorum none\n")
    with pytest.raises(InputError, match=r"log\.policy-log"):
        verify_certificate(content, authority=world.pinned, policy=unknown)


def test_a_key_of_another_log_is_not_passed_over(world: World) -> None:
    other = NoteKey("gridsecure/platform/x", "ed25519", b"\2" * 32)
    content = world.envelope.model_dump_json().encode()
    with pytest.raises(InputError, match=r"log\.other-key"):
        world.verify(content, *world.signer.keys, other)


def test_a_forged_certificate_or_proof_is_refused(world: World) -> None:
    proof = world.certificate.log_proof
    lines = proof.split("\n")
    index = next(place for place, line in enumerate(lines) if line.startswith("index"))
    moved = "\n".join([*lines[:index], "index 0", *lines[index + 1 :]])
    for changes, reason in (
        ({"log_proof": ""}, "log.no-proof"),
        ({"values_digest": "", "cells": []}, "log.no-proof"),
        ({"log_proof": "nonsense"}, "log.proof"),
        ({"log_proof": moved}, "log.inclusion"),
        ({"log_proof": proof.replace("extra ", "extra AAAA")}, "log.proof"),
        ({"log_proof": "\n".join(lines[:-2]) + "\n"}, "log.signature"),
    ):
        with pytest.raises(GridSecureError) as refused:
            world.verify(world.signed(**changes))
        assert refused.value.reason == reason
    stranger = sign_message(world.certificate, key=generate_private_key())
    with pytest.raises(SignatureError, match=r"release\.signature"):
        world.verify(stranger.model_dump_json().encode())


def test_a_log_of_other_keys_is_refused(world: World) -> None:
    other = LogSigner(world.signer.origin, b"\7" * 32, generate_private_key())
    content = world.envelope.model_dump_json().encode()
    with pytest.raises(SignatureError, match=r"log\.signature"):
        world.verify(content, other.keys[0])


def test_the_command_checks_a_file_offline(world: World, tmp_path: Path) -> None:
    file = tmp_path / "certificate.json"
    file.write_text(world.envelope.model_dump_json())
    given = [str(file), "--authority-key", world.key.public_key.point.hex()]
    given += [f"--log-key={key.text}" for key in world.signer.keys]
    shown = CliRunner().invoke(command, ["verify", *given])
    assert shown.exit_code == 0, shown.output
    assert world.certificate.evidence_head in shown.stdout
    told = CliRunner().invoke(command, ["verify", *given, "--format", "json"])
    assert json.loads(told.stdout)["has_values"] is True
    file.write_bytes(world.signed(purpose="another"))
    forged = CliRunner().invoke(command, ["verify", *given])
    assert (forged.exit_code, "log.other-entry" in forged.stderr) == (1, True)
    file.unlink()
    missing = CliRunner().invoke(command, ["verify", *given])
    assert (missing.exit_code, "certificate.file" in missing.stderr) == (1, True)
