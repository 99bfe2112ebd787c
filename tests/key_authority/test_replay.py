"""Anybody executes a certificate's plans again, and finds what does not hold."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gridsecure import frames
from gridsecure.analyst import replays
from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.analyst.replay_counts import compare_counts
from gridsecure.analyst.replay_material import (
    ReplayMaterial,
    gather_material,
    read_messages,
    write_messages,
)
from gridsecure.analyst.replays import Replay, replay_certificate
from gridsecure.cli import online, replay
from gridsecure.cli.main import app as command
from gridsecure.cli.output import OutputFormat
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import EnvelopeError, GridSecureError
from gridsecure.key_authority.checker.answering import find_certificate
from gridsecure.key_authority.checker.key_sets import page_key_sets
from gridsecure.key_authority.checker.logged_messages import NOT_ENTERED, enter_message
from gridsecure.messages import (
    KeyNotice,
    ReleaseCertificate,
    ReleaseRequest,
    RosterManifest,
    Signed,
    Transcript,
    UploadManifest,
    sign_message,
)
from gridsecure.plans.execution import RosterData, roster_data
from gridsecure.store.database import read_session, write_session
from gridsecure.store.objects import folder_url, open_objects
from gridsecure.store.pages import PageAsked
from gridsecure.version import VERSION
from gridsecure.worker_processes import WorkerProcesses
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority
from tests.grid_simulator import NOW, GridSimulator
from tests.key_authority.test_corrections import corrected, slots_of


@dataclass(frozen=True)
class World:
    """A release, and what was gathered of it."""

    authority: Authority
    request: Signed
    content: bytes
    material: ReplayMaterial

    @property
    def certificate(self) -> ReleaseCertificate:
        return ReleaseCertificate.parse(Signed.parse(self.bare).body)

    @property
    def bare(self) -> str:
        return json.dumps({k: v for k, v in json.loads(self.content).items() if k != "values"})

    def replay(self, material: ReplayMaterial | None = None, **changed: Any) -> Replay:
        pinned = PinnedAuthority(self.authority.grid.authority_key.public_key)
        trusted = {"authority": pinned, "identity": [self.authority.grid.identity_key.public_key]}
        return replay_certificate(self.content, material or self.material, **(trusted | changed))

    def with_objects(self, folder: Path) -> ReplayMaterial:
        """The same with objects of its own, to be damaged."""
        shutil.copytree(self.material.store.url.removeprefix("file://"), folder)
        return ReplayMaterial(self.material.envelopes, open_objects(folder_url(folder)))

    def with_messages(self, change: Callable[[Signed], Signed | None]) -> ReplayMaterial:
        changed = filter(None, map(change, self.material.envelopes.values()))
        named = {(one.body_kind, one.digest): one for one in changed}
        return ReplayMaterial(named, self.material.store)

    def of(self, kind: type[Any]) -> list[Any]:
        return [kind.parse(signed.body) for signed in self.material.of_kind(kind.kind)]


def as_services(authority: Authority, request: Signed) -> Callable[..., Any]:
    """Platform and key authority as a regulator calls them."""
    asked = ReleaseRequest.parse(request.body).transcripts
    transcripts = {signed.digest: signed for signed in asked}

    def call(service: str, method: str, path: str, **said: Any) -> Any:
        if path.startswith("/releases/"):
            assert service == "authority"
            name = path.removeprefix("/releases/")
            return find_certificate(authority.zone, name).without_values().model_dump()
        if service == "authority":
            with read_session(authority.zone.engine) as session:
                rows, _ = page_key_sets(session, PageAsked(), gateway=said["params"]["gateway"])
            return [{"notice": row.envelope.model_dump()} for row in rows]
        if method == "GET":
            kind, digest = path.removeprefix("/messages/").split("/")
            found = transcripts.get(digest) or authority.view.message(kind, digest)
            return found.model_dump()
        # Two at a time, as an answer holds what fits.
        return frames.join_frames(
            authority.zone.objects.get(one)
            if authority.zone.objects.has(one)
            else authority.view.object(one)
            for one in said["json"]["digests"][:2]
        )

    return call


def gathered(authority: Authority, request: Signed, folder: Path) -> World:
    name = authority.answer(request).request_id
    content = find_certificate(authority.zone, name).model_dump_json().encode()
    certificate = ReleaseCertificate.parse(Signed.parse(_bare(content)).body)
    store = open_objects(folder_url(folder / "objects"))
    call = as_services(authority, request)
    messages = gather_material(certificate, call=call, store=store)
    (folder / "messages.json").write_bytes(write_messages(messages))
    (folder / "certificate.json").write_bytes(content)
    return World(authority, request, content, read_messages(folder / "messages.json", store=store))


def _bare(content: bytes) -> str:
    return json.dumps({k: v for k, v in json.loads(content).items() if k != "values"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def world(grid: GridSimulator, folder: Path) -> Iterator[World]:
    authority = Authority(grid, folder / "authority")
    uploads = sorted(grid.uploads, key=lambda upload: -upload.roster.manifest.slots)
    yield gathered(authority, authority.bill_request(uploads), folder)
    authority.close()


def reasons(found: Replay) -> list[str | None]:
    return [part.error.reason if part.error else None for part in found.parts]


def test_a_stranger_gets_the_certified_outputs(world: World) -> None:
    found = world.replay()
    assert found.is_same
    transcripts = world.of(Transcript)
    assert [part.transcript for part in found.parts] == world.certificate.transcripts
    assert sum(part.outputs for part in found.parts) == sum(len(t.outputs) for t in transcripts)
    assert all(part.outputs for part in found.parts)


def test_a_missing_object_is_named_with_what_it_is(world: World, tmp_path: Path) -> None:
    material = world.with_objects(tmp_path / "objects")
    transcript = next(t for t in world.of(Transcript) if "total" in t.inputs)
    (notice, *_) = world.of(KeyNotice)
    gone = {transcript.inputs["total"], notice.public_key}
    for digest in gone:
        material.store.discard(digest)
    found = world.replay(material)
    assert not found.is_same
    missing = {one: what for part in found.parts for one, what in part.missing.items()}
    assert set(missing) == gone
    assert missing[transcript.inputs["total"]].startswith("column total of roster ")
    assert missing[notice.public_key] == f"public key of key set {notice.key_id}"
    assert set(reasons(found)) == {"replay.missing"}


def test_a_damaged_object_is_named_and_fetched_again(world: World, tmp_path: Path) -> None:
    material = world.with_objects(tmp_path / "objects")
    transcript = world.of(Transcript)[0]
    digest = next(iter(transcript.inputs.values()))
    path = tmp_path / "objects" / digest[:2] / digest[2:]
    written = path.read_bytes()
    path.write_bytes(written[:-1] + bytes([written[-1] ^ 1]))
    found = world.replay(material)
    (broken,) = [part for part in found.parts if part.error]
    assert broken.error.reason == "audit.object"
    assert digest in broken.error.message

    data = world.material.store.get(digest)
    (material.store.put(data), world.replay(material))
    assert world.replay(material).is_same


def test_key_sets_must_be_the_authoritys_and_the_gateways(world: World) -> None:
    authority = world.authority.grid.authority_key
    stranger = generate_private_key()

    def signed_by(key, **change) -> ReplayMaterial:
        def change_notice(one: Signed) -> Signed:
            if one.body_kind != KeyNotice.kind:
                return one
            notice = KeyNotice.parse(one.body).model_copy(update=change)
            return sign_message(notice, key=key)

        return world.with_messages(change_notice)

    other = signed_by(authority, gateway=stranger.public_key.thumbprint)
    assert set(reasons(world.replay(other))) == {"keys.gateway"}
    none = world.with_messages(lambda one: None if one.body_kind == KeyNotice.kind else one)
    assert set(reasons(world.replay(none))) == {"ciphertext.key-id"}
    with pytest.raises(GridSecureError, match=r"authenticity\."):
        world.replay(signed_by(stranger))
    (notice, *_) = world.of(KeyNotice)
    others = {*world.authority.grid.keys.secret} - {notice.parameters}
    found = world.replay(signed_by(authority, parameters=min(others)))
    assert set(reasons(found)) == {"parameters.digest"}
    found = world.replay(signed_by(authority, public_key=world.of(RosterManifest)[0].tariff))
    assert not found.is_same
    assert all(reasons(found))


def test_a_transcript_that_the_certificate_does_not_name_is_refused(world: World) -> None:
    platform = world.authority.grid.platform_key

    def forge(one: Signed) -> Signed:
        if one.body_kind != Transcript.kind:
            return one
        changed = Transcript.parse(one.body).model_copy(update={"release": "9.9"})
        return sign_message(changed, key=platform)

    with pytest.raises(GridSecureError, match=r"replay\.transcript"):
        world.replay(world.with_messages(forge))
    without = world.with_messages(lambda one: None if one.body_kind == Transcript.kind else one)
    assert set(reasons(world.replay(without))) == {"replay.message"}


def certified(world: World, **change: object) -> World:
    """What a lying platform says it computed, certified by an authority that does not look."""
    grid = world.authority.grid
    (first, *_) = world.of(Transcript)
    lie = sign_message(first.model_copy(update=change), key=grid.platform_key)
    certificate = world.certificate.model_copy(update={"transcripts": [lie.digest]})
    envelopes = dict(world.material.envelopes) | {(lie.body_kind, lie.digest): lie}
    kept = {
        name: one
        for name, one in envelopes.items()
        if name[0] != Transcript.kind or one.digest == lie.digest
    }
    content = signed_anew(world, certificate)
    return World(
        world.authority, world.request, content, ReplayMaterial(kept, world.material.store)
    )


def signed_anew(world: World, certificate: ReleaseCertificate) -> bytes:
    """Another certificate by the same authority, in its log as any other."""
    zone = world.authority.zone
    unlogged = certificate.model_copy(update={"evidence_head": NOT_ENTERED, "log_proof": ""})
    with write_session(zone.engine) as session:
        about = ("release.granted", {"request": certificate.release_id})
        logged = enter_message(session, zone, unlogged, about=about, at=NOW)
    return sign_message(logged, key=zone.signing_key).model_dump_json().encode()


def test_other_outputs_than_the_plan_gives_are_found(world: World) -> None:
    transcript = world.of(Transcript)[0]
    name, entry = next(iter(transcript.outputs.items()))
    outputs = transcript.outputs | {name: entry.model_copy(update={"digest": "0" * 64})}
    found = certified(world, outputs=outputs, release=VERSION).replay()
    assert reasons(found) == ["release.re-execution"]
    found = certified(world, outputs=outputs, release="0.0.1").replay()
    assert reasons(found) == ["replay.release"]
    assert "0.0.1" in found.parts[0].error.message
    found = certified(world, plan_version=transcript.plan_version + 1).replay()
    assert reasons(found) == ["replay.release"]
    found = certified(world, start=transcript.end).replay()
    assert reasons(found) == ["replay.transcript"]


def test_other_outputs_than_the_transcripts_are_found(world: World) -> None:
    """The certificate's digest of what was decrypted is over one roster more."""
    found = certified(world, release=VERSION).replay()
    assert reasons(found) == [None]
    assert found.error is not None
    assert found.error.reason == "replay.outputs"
    assert not found.is_same


def reason_of(found: Replay) -> str | None:
    """The first of what does not hold."""
    every = [*reasons(found), found.error.reason if found.error else None]
    return next((one for one in every if one), None)


@attack(
    "an altered ciphertext in the folder that is replayed",
    rule(
        "An object is read under the digest that a signed message lists for it.",
        "audit.object",
        cut("gridsecure.store.objects:_checked", "sm3_hex(data) != digest", "False"),
    ),
    rule(
        "The plan gives on the objects what its transcript says.",
        "release.re-execution",
        cut(
            "gridsecure.plans.transcript_inputs:check_executed",
            "(inputs, told, outputs) != (transcript.inputs, transcript.steps, transcript.outputs)",
            "False",
        ),
    ),
    rule(
        "All outputs together are those that the certificate says were decrypted.",
        "replay.outputs",
        cut(
            "gridsecure.analyst.replays:_Replayer.compare_outputs",
            'sm3_hex("".join(self._outputs).encode()) == self.certificate.outputs_digest',
            "True",
        ),
    ),
)
def test_an_altered_ciphertext_is_found(
    world: World, tmp_path: Path, attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "VERSION", world.of(Transcript)[0].release)
    material = world.with_objects(tmp_path / "objects")
    digest = next(t for t in world.of(Transcript) if "total" in t.inputs).inputs["total"]
    path = tmp_path / "objects" / digest[:2] / digest[2:]
    data = bytearray(path.read_bytes())
    data[-8] ^= 1  # the lowest bit of a coefficient
    path.write_bytes(data)
    found = world.replay(material)
    attacked.ends(reason_of(found))
    assert found.is_same is attacked.goes_through


@attack(
    "a certificate that counts a customer more than its rosters have",
    rule(
        "The members of each cell are counted again in the signed rosters.",
        "replay.members",
        cut(
            "gridsecure.analyst.replays:replay_certificate",
            "or compare_counts(certificate, replayer.read)",
            "",
        ),
    ),
)
def test_a_customer_more_than_the_rosters_have_is_found(world: World, attacked: Attacked) -> None:
    """By a key authority that would tell of a cell of too few."""
    certificate = world.certificate
    first, *others = certificate.places
    (own, *rest) = first.counts
    more = own.model_copy(update={"points": own.points + 1, "customers": own.customers + 1})
    said = first.model_copy(update={"counts": [more, *rest]})
    cells = [
        cell.model_copy(update={"members": cell.members + (0 in cell.parts)})
        for cell in certificate.cells
    ]
    lie = certificate.model_copy(update={"places": [said, *others], "cells": cells})
    content = signed_anew(world, lie)
    found = World(world.authority, world.request, content, world.material).replay()
    attacked.ends(reason_of(found))
    assert found.is_same is attacked.goes_through


def test_owners_are_compared_as_well(world: World) -> None:
    """Half of a place as somebody else's customers, whom the first owner would not know."""
    certificate = world.certificate
    counted = list(certificate.places)
    (own,) = counted[0].counts
    half = {"points": own.points // 2, "customers": own.points // 2}
    rest = {"points": own.points - own.points // 2, "customers": own.points - own.points // 2}
    split = [own.model_copy(update=half), own.model_copy(update=rest | {"owner": own.owner + 9})]
    counted[0] = counted[0].model_copy(update={"counts": split})
    read = [
        (
            transcript,
            [data_of(world, transcript, number) for number in range(len(transcript.uploads))],
        )
        for transcript in world.of(Transcript)
    ]
    assert compare_counts(certificate, read) is None
    found = compare_counts(certificate.model_copy(update={"places": counted}), read)
    assert found is not None
    assert found.reason == "replay.members"
    assert compare_counts(certificate, read[:-1]) is not None, "of fewer rosters"


def data_of(world: World, transcript: Transcript, number: int) -> RosterData:
    bodies = [
        world.material.message(kind, digest).body
        for kind, digest in (
            ("roster", transcript.rosters[number]),
            ("upload", transcript.uploads[number]),
        )
    ]
    return roster_data(RosterManifest.parse(bodies[0]), UploadManifest.parse(bodies[1]))


def test_of_a_correction_the_corrected_are_counted(grid: GridSimulator, tmp_path: Path) -> None:
    authority = Authority(grid, tmp_path / "authority")
    uploads = sorted(grid.uploads, key=lambda upload: -upload.roster.manifest.slots)
    authority.answer(authority.bill_request(uploads))
    second = corrected(grid, uploads[0], slots_of(uploads[0]))
    world = gathered(authority, authority.rebill_request([second]), tmp_path)
    found = world.replay()
    authority.close()
    assert reason_of(found) is None
    assert found.counted == len(found.certificate.places) > 0


def test_only_seated_gateways_count(world: World) -> None:
    stranger = [generate_private_key().public_key]
    assert all(reasons(world.replay(identity=stranger)))


def test_a_load_curve_is_executed_with_another_seed_and_compared_but_for_its_bytes(
    grid: GridSimulator, tmp_path: Path
) -> None:
    authority = Authority(grid, tmp_path / "authority")
    request = authority.request([authority.load_curve_transcript(grid.uploads)], seeds=[SEED])
    world = gathered(authority, request, tmp_path)
    found = world.replay()
    (transcript,) = world.of(Transcript)
    name, entry = next(iter(transcript.outputs.items()))
    for other in ({"end": transcript.start}, {"high": entry.high - 1}, {"key_id": "0" * 64}):
        outputs = transcript.outputs | {name: entry.model_copy(update=other)}
        lied = certified(world, outputs=outputs, release=VERSION).replay()
        assert reasons(lied) == ["release.re-execution"]
    less = certified(world, outputs={name: entry}, release=VERSION).replay()
    assert reasons(less) == ["release.re-execution"]
    authority.close()
    assert reasons(found) == ["replay.blinded"]
    assert found.error is None
    assert found.counted == len(found.certificate.places) > 0
    assert not found.is_same
    digest = next(iter(transcript.inputs.values()))
    path = tmp_path / "objects" / digest[:2] / digest[2:]
    path.write_bytes(bytes(path.stat().st_size))
    assert reasons(world.replay()) == ["audit.object"]


def test_what_is_no_file_of_the_right_size_is_not_read(world: World, tmp_path: Path) -> None:
    transcript, *_ = world.of(Transcript)
    digest = transcript.inputs["total"]

    def replaced(name: str, put: Callable[[Path], object]) -> set[str | None]:
        material = world.with_objects(tmp_path / name)
        path = tmp_path / name / digest[:2] / digest[2:]
        path.rename(tmp_path / f"{name}-before")
        put(path)
        return {*reasons(world.replay(material))} - {None}

    def grow(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(1 << 40)  # a hole: nothing would hold its bytes

    assert replaced("pipe", os.mkfifo) == {"replay.missing"}
    link = replaced("link", lambda path: path.symlink_to(tmp_path / "link-before"))
    assert link == {"replay.missing"}
    assert replaced("folder", Path.mkdir) == {"replay.missing"}
    assert replaced("large", grow) == {"replay.size"}
    assert replaced("short", lambda path: path.write_bytes(b"x")) == {"replay.size"}


def test_the_plans_are_executed_in_a_process_that_is_confined(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def start(run: Callable[..., Any], **said: Any) -> WorkerProcesses[Any, Any]:
        given.append(said["confinement"])
        return WorkerProcesses(run, **said)

    def executed(*_: object, **__: object) -> None:
        pytest.fail("the command's own process executed a plan")

    monkeypatch.setattr(replay, "WorkerProcesses", start)
    monkeypatch.setattr(replays, "execute_bill", executed)
    grid = world.authority.grid
    points = [key.public_key.point.hex() for key in (grid.authority_key, grid.identity_key)]
    is_same = replay.replay_file(
        folder / "certificate.json",
        messages=None,
        objects=str(folder / "objects"),
        keys=(points[0], points[1]),
        output=OutputFormat.JSON,
    )
    assert is_same
    (confinement,) = given
    named = {str(folder / "messages.json"), str(folder / "objects")}
    assert set(confinement.reads) == named
    assert (confinement.wish, confinement.writes, confinement.network) == ("available", (), False)


def test_the_command_says_what_is_the_same(world: World, folder: Path) -> None:
    grid = world.authority.grid
    keys = [
        *("--authority-key", grid.authority_key.public_key.point.hex()),
        *("--identity-key", grid.identity_key.public_key.point.hex()),
    ]
    said = ["replay", str(folder / "certificate.json"), "--objects"]
    done = CliRunner().invoke(command, [*said, str(folder / "objects"), *keys])
    assert done.exit_code == 0, done.output
    assert "gave the outputs that the certificate names" in done.output
    url = folder_url(folder / "objects")
    done = CliRunner().invoke(command, [*said, url, *keys, "--format", "json"])
    assert json.loads(done.stdout)["is_same"]
    nowhere = str(folder / "nowhere")
    done = CliRunner().invoke(command, [*said, nowhere, *keys])
    assert done.exit_code == 1
    assert "replay.missing" in done.output
    assert world.of(Transcript)[0].inputs["total"] in done.output
    messages = ["--messages", str(folder / "certificate.json")]
    done = CliRunner().invoke(command, [*said, nowhere, *keys, *messages])
    assert done.exit_code == 1
    assert "replay.messages" in done.output


def test_a_regulator_exports_what_a_stranger_replays(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = as_services(world.authority, world.request)
    monkeypatch.setattr(online, "person", lambda *_, **__: nullcontext(call))
    name = world.certificate.release_id
    said = ["evidence", "export", name, "--out", str(tmp_path), "--key", "none"]
    urls = [f"--{zone}=http://{zone}" for zone in ("identity", "platform", "authority")]
    done = CliRunner().invoke(command, [*said, *urls])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "certificate.json").read_text())["values"] is None
    store = open_objects(folder_url(tmp_path / "objects"))
    assert world.replay(read_messages(tmp_path / "messages.json", store=store)).is_same

    # Damaged and half-fetched, it is made whole by the same command.
    first, second, *_ = (tmp_path / "objects").glob("*/*")
    first.write_bytes(b"other")
    second.unlink()
    assert not world.replay(read_messages(tmp_path / "messages.json", store=store)).is_same
    assert CliRunner().invoke(command, [*said, *urls]).exit_code == 0
    assert world.replay(read_messages(tmp_path / "messages.json", store=store)).is_same
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    elsewhere = ["--objects", str(tmp_path / "objects")]
    done = CliRunner().invoke(command, [*said[:4], str(blocked), *said[5:], *urls, *elsewhere])
    assert "replay.file" in done.output


def test_a_platform_that_sends_something_else_is_found_out(world: World, tmp_path: Path) -> None:
    call = as_services(world.authority, world.request)
    store = open_objects(folder_url(tmp_path))

    def other_objects(service: str, method: str, path: str, **said: Any) -> Any:
        return (
            frames.join_frames([b"other"])
            if path == "/objects"
            else call(service, method, path, **said)
        )

    def no_objects(service: str, method: str, path: str, **said: Any) -> Any:
        return b"" if path == "/objects" else call(service, method, path, **said)

    def other_message(service: str, method: str, path: str, **said: Any) -> Any:
        answer = call(service, method, path, **said)
        return answer | {"body": answer["body"] + " "} if "/messages/" in path else answer

    for liar in (other_objects, no_objects, other_message):
        with pytest.raises(EnvelopeError):
            gather_material(world.certificate, call=liar, store=store)
    assert not list(store.list_stored())
