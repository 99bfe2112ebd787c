"""A certificate proves itself to whoever has the authority's public keys, and to nobody falsely."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridsecure.analyst.certificates import verify_certificate
from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.errors import AuditBrokenError, GridSecureError, InputError, SignatureError
from gridsecure.key_authority.checker.answering import find_certificate
from gridsecure.messages import ReleaseCertificate, Signed, sign_message
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import append, find_entry
from gridsecure.store.proved_entries import message_digest
from gridsecure.transparency.checkpoints import LogSigner
from gridsecure.transparency.notes import NoteKey
from tests.authority_simulator import Authority
from tests.grid_simulator import NOW, GridSimulator


@dataclass(frozen=True)
class World:
    """An authority that released a month, and its certificate."""

    authority: Authority
    envelope: Signed

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

    def signed(self, **changes: object) -> bytes:
        """Another certificate, signed by the authority itself."""
        changed = self.certificate.model_copy(update=changes)
        return sign_message(changed, key=self.key).model_dump_json().encode()

    def verify(self, content: bytes, *keys: NoteKey):
        return verify_certificate(content, authority=self.pinned, keys=keys or self.signer.keys)


@pytest.fixture(scope="module")
def world(grid: GridSimulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    authority = Authority(grid, tmp_path_factory.mktemp("authority"))
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


def test_the_authoritys_key_is_enough(world: World) -> None:
    content = world.envelope.model_dump_json().encode()
    assert verify_certificate(content, authority=world.pinned, keys=()).entry.index >= 0


def test_the_copy_without_values_has_the_same_entry(world: World) -> None:
    blank = [cell.model_copy(update={"value": None}) for cell in world.certificate.cells]
    found = world.verify(world.signed(cells=blank))
    assert not found.has_values
    assert found.entry == world.verify(world.envelope.model_dump_json().encode()).entry


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
    """The authority itself cannot give two people ones that differ in more than values."""
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
