"""What the platform takes in: signed only, once only, whole only."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from gridsecure.compute import intake
from gridsecure.compute.key_sets import check_own_keys, install_key_set, read_known_keys
from gridsecure.compute.tables import KeySetRow, RosterRow, UploadRow
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    InputError,
    InvalidMessageError,
    InvalidTariffError,
    KeyMismatchError,
    NotFoundError,
    SignatureError,
    StaleMessageError,
    StorageError,
    UnknownMeterError,
)
from gridsecure.homomorphic.parameters import PARAMETER_SETS, REGISTER
from gridsecure.homomorphic.secret_key import generate_key_set
from gridsecure.messages import ColumnEntry, KeyNotice, Signed
from gridsecure.store.database import write_session
from gridsecure.store.log_tree import verify_log
from tests.grid_simulator import NOW, GridSimulator, GridUpload


def begin(grid: GridSimulator, upload: GridUpload) -> intake.UploadStatus:
    return intake.begin_upload(grid.platform_zone, upload.message, at=NOW)


def receive(grid: GridSimulator, upload: GridUpload, objects: list[bytes]) -> int:
    named = {sm3_hex(data): data for data in objects}
    return intake.receive_objects(grid.platform_zone, upload.upload_id, objects=named)


def commit(grid: GridSimulator, upload: GridUpload) -> intake.UploadStatus:
    return intake.commit_upload(grid.platform_zone, upload.upload_id, at=NOW)


def kept(grid: GridSimulator, column: Any) -> list[str]:
    with write_session(grid.platform_zone.engine) as session:
        return list(session.exec(select(column)))


def evidence_length(grid: GridSimulator) -> int:
    with write_session(grid.platform_zone.engine) as session:
        return verify_log(session)


# --- key sets ----------------------------------------------------------------------------------


def test_key_sets_of_the_authority_come_into_force_once(bare_grid):
    bare_grid.install_key_sets()
    entries = evidence_length(bare_grid)
    bare_grid.install_key_sets()
    assert {n.key_id for n in read_known_keys(bare_grid.platform_zone.engine).notices} == {
        key_set.public.key_id for key_set in bare_grid.keys.secret.values()
    }
    assert evidence_length(bare_grid) == entries == len(PARAMETER_SETS)


def test_a_second_key_set_of_the_same_parameters_is_a_conflict(bare_grid):
    bare_grid.install_key_sets()
    other = generate_key_set(REGISTER)
    with pytest.raises(ConflictError) as refused:
        install_key_set(
            bare_grid.platform_zone,
            bare_grid.key_notice(other),
            keys=(other.public.public_key,),
            at=NOW,
        )
    assert refused.value.reason == "conflict.key-set"


def test_nothing_begins_under_a_key_set_whose_time_is_over(grid):
    """The notice of the next one says when; what was taken in before stays in."""
    roster = max(grid.rosters, key=lambda roster: roster.manifest.slots)
    taken, late = (grid.upload(roster, days=days) for days in (1, 2))
    grid.deliver(taken)
    (key_id, parameters) = next(
        (column.key_id, column.parameters) for column in late.manifest.columns
    )
    following = generate_key_set(PARAMETER_SETS[parameters])
    public, until = following.public, NOW + timedelta(days=7)
    notice = KeyNotice.parse(grid.key_notice(following).body).model_copy(
        update={"generation": 2, "earlier_until": until.isoformat()}
    )
    keys = tuple(key for key in (public.public_key, public.relinearisation_keys) if key)
    signed = grid.sign(notice, key=grid.authority_key)
    install_key_set(grid.platform_zone, signed, keys=keys, at=NOW)

    def check(entries: list[ColumnEntry], at: datetime) -> None:
        with write_session(grid.platform_zone.engine) as session:
            gateway = grid.gateway_key.public_key.thumbprint
            check_own_keys(session, entries, gateway=gateway, at=at)

    entries = [column for column in late.manifest.columns if column.key_id == key_id]
    check(entries, until - timedelta(microseconds=1))
    with pytest.raises(KeyMismatchError) as refused:
        check(entries, until)
    assert refused.value.reason == "keys.ended"
    check([entry.model_copy(update={"key_id": public.key_id}) for entry in entries], until)
    with pytest.raises(KeyMismatchError) as begun:
        intake.begin_upload(grid.platform_zone, late.message, at=until)
    assert begun.value.reason == "keys.ended"
    again = intake.begin_upload(grid.platform_zone, taken.message, at=until)
    assert again.state == "committed"


@pytest.mark.parametrize("signer", ["gateway", "platform", "stranger"])
def test_nobody_else_may_publish_keys(bare_grid, signer):
    key_set = bare_grid.keys.secret[REGISTER.name]
    notice = bare_grid.key_notice(key_set, key=getattr(bare_grid.keys, signer))
    with pytest.raises(UnknownMeterError):
        install_key_set(bare_grid.platform_zone, notice, keys=(key_set.public.public_key,), at=NOW)
    assert kept(bare_grid, KeySetRow.key_id) == []


@pytest.mark.parametrize("keys", [(b"",), (b"other",)])
def test_keys_must_be_the_ones_named(bare_grid, keys):
    notice = bare_grid.key_notice(bare_grid.keys.secret[REGISTER.name])
    with pytest.raises(KeyMismatchError):
        install_key_set(bare_grid.platform_zone, notice, keys=keys, at=NOW)


def test_a_secret_key_sent_for_a_public_one_never_touches_the_disk(bare_grid):
    """Even when the authority itself signs it by mistake."""
    key_set = bare_grid.keys.secret[REGISTER.name]
    secret = key_set.to_bytes()
    honest = KeyNotice.parse(bare_grid.key_notice(key_set).body)
    mistaken = honest.model_copy(update={"public_key": sm3_hex(secret)})
    notice = bare_grid.sign(mistaken, key=bare_grid.authority_key)
    with pytest.raises(KeyMismatchError):
        install_key_set(bare_grid.platform_zone, notice, keys=(secret,), at=NOW)
    assert not bare_grid.platform_zone.objects.has(sm3_hex(secret))
    assert kept(bare_grid, KeySetRow.key_id) == []


# --- tariffs and rosters -----------------------------------------------------------------------


def test_a_tariff_that_is_none_is_not_kept(bare_grid):
    with pytest.raises(InvalidTariffError):
        intake.install_tariff(bare_grid.platform_zone, "price = 1")
    assert not bare_grid.platform_zone.objects.has(sm3_hex(b"price = 1"))


def test_a_roster_needs_its_tariff(bare_grid):
    with pytest.raises(InputError) as refused:
        bare_grid.install_rosters()
    assert refused.value.reason == "roster.tariff"


def test_rosters_are_registered_once(grid):
    entries = evidence_length(grid)
    grid.install_rosters()
    assert sorted(kept(grid, RosterRow.roster_id)) == sorted(
        r.manifest.roster_id for r in grid.rosters
    )
    assert evidence_length(grid) == entries


def test_another_roster_under_a_taken_id_is_refused(grid):
    roster = grid.rosters[0].manifest
    other = roster.model_copy(update={"zones": ["elsewhere"] * roster.slots})
    seats = grid.keys.seats[other.seats]
    with pytest.raises(InvalidMessageError) as refused:
        intake.register_roster(grid.platform_zone, grid.sign(other), seats=seats, at=NOW)
    assert refused.value.reason == "roster.name"


def test_a_gateway_registers_its_own_rosters_only(grid):
    other = grid.rosters[0].manifest.model_copy(update={"gateway_id": "f" * 64})
    other = grid.seated(other)
    seats = grid.keys.seats[other.seats]
    with pytest.raises(UnknownMeterError) as refused:
        intake.register_roster(grid.platform_zone, grid.sign(other), seats=seats, at=NOW)
    assert refused.value.reason == "authenticity.seats"


# --- three steps -------------------------------------------------------------------------------


def test_three_steps_make_an_upload_usable(grid):
    upload = grid.upload(grid.rosters[0])
    status = begin(grid, upload)
    assert status.state == "pending"
    assert set(status.missing) == set(upload.objects)
    assert receive(grid, upload, list(upload.objects.values())) == len(upload.objects)
    assert commit(grid, upload).state == "committed"
    assert intake.read_upload_status(grid.platform_zone, upload.upload_id).missing == []


def test_every_step_may_be_repeated(grid):
    upload = grid.upload(grid.rosters[0])
    data = list(upload.objects.values())
    for _ in range(2):
        begin(grid, upload)
        receive(grid, upload, data)
    commit(grid, upload)
    entries = evidence_length(grid)
    assert commit(grid, upload) == begin(grid, upload)
    assert receive(grid, upload, data[:1]) == 1
    assert evidence_length(grid) == entries


def test_an_upload_goes_on_where_it_stopped_after_a_restart(grid):
    upload = grid.upload(grid.rosters[0], days=3)
    digests = list(upload.objects)
    begin(grid, upload)
    receive(grid, upload, [upload.objects[digest] for digest in digests[:2]])
    grid.restart_platform()
    assert set(begin(grid, upload).missing) == set(digests[2:])
    with pytest.raises(InputError) as refused:
        commit(grid, upload)
    assert refused.value.reason == "upload.incomplete"
    receive(grid, upload, [upload.objects[digest] for digest in digests[2:]])
    assert commit(grid, upload).state == "committed"


def test_objects_the_manifest_does_not_name_are_refused_and_none_is_stored(grid):
    upload = grid.upload(grid.rosters[0])
    begin(grid, upload)
    own = next(iter(upload.objects.values()))
    foreign = grid.packed(grid.rosters[1])[0].data
    for bad in (foreign, own[:-1], own[:-1] + bytes([own[-1] ^ 1]), b""):
        with pytest.raises(InputError) as refused:
            receive(grid, upload, [own, bad])
        assert refused.value.reason == "upload.unnamed-object"
        assert not grid.platform_zone.objects.has(sm3_hex(bad))
    assert not grid.platform_zone.objects.has(sm3_hex(own))


def test_a_manifest_that_lies_about_a_size_takes_no_object(grid):
    upload = grid.upload(grid.rosters[0])
    first = upload.manifest.columns[0]
    wrong = first.model_copy(update={"size": first.size + 1})
    lying = grid.upload(grid.rosters[0], columns=[wrong, *upload.manifest.columns[1:]])
    begin(grid, lying)
    with pytest.raises(InputError):
        receive(grid, lying, [upload.objects[first.digest]])


def test_an_unknown_upload_is_not_found(grid):
    upload = grid.upload(grid.rosters[0])
    for step in (lambda: receive(grid, upload, []), lambda: commit(grid, upload)):
        with pytest.raises(NotFoundError):
            step()


# --- who and what is refused -------------------------------------------------------------------


def test_an_unsigned_manifest_is_refused(grid):
    upload = grid.upload(grid.rosters[0])
    unsigned = upload.message.model_copy(update={"signature": ""})
    with pytest.raises(SignatureError):
        begin(grid, replace(upload, message=unsigned))


def altered_body(message: Signed) -> Signed:
    body = message.body.replace('"estimated_readings":0', '"estimated_readings":1')
    assert body != message.body
    return message.model_copy(update={"body": body})


def another_kind(message: Signed) -> Signed:
    return message.model_copy(update={"body_kind": "roster"})


def flipped_signature(message: Signed) -> Signed:
    last = format(int(message.signature[-1], 16) ^ 1, "x")
    return message.model_copy(update={"signature": message.signature[:-1] + last})


@pytest.mark.parametrize("change", [altered_body, another_kind, flipped_signature])
def test_a_changed_message_is_refused(grid, change: Callable[[Signed], Signed]):
    upload = grid.upload(grid.rosters[0])
    with pytest.raises(SignatureError):
        begin(grid, replace(upload, message=change(upload.message)))
    assert kept(grid, UploadRow.digest) == []


@pytest.mark.parametrize("signer", ["stranger", "authority", "platform"])
def test_a_manifest_of_anybody_but_a_gateway_is_refused(grid, signer):
    upload = grid.upload(grid.rosters[0], key=getattr(grid.keys, signer))
    with pytest.raises(AuthenticityError):
        begin(grid, upload)
    pretending = upload.message.model_copy(
        update={"signer": grid.gateway_key.public_key.thumbprint}
    )
    with pytest.raises(SignatureError):
        begin(grid, replace(upload, message=pretending))


def test_an_upload_in_another_gateways_name_is_refused(grid):
    upload = grid.upload(grid.rosters[0], gateway_id="f" * 64)
    with pytest.raises(InputError) as refused:
        begin(grid, upload)
    assert refused.value.reason == "upload.gateway"


def test_an_upload_of_an_unknown_roster_is_refused(grid):
    with pytest.raises(NotFoundError):
        begin(grid, grid.upload(grid.rosters[0], roster_id="0" * 32))


def test_a_column_under_another_key_is_refused(grid):
    columns = [column.entry for column in grid.packed(grid.rosters[0])]
    columns[-1] = columns[-1].model_copy(update={"key_id": "0" * 32})
    with pytest.raises(KeyMismatchError) as refused:
        begin(grid, grid.upload(grid.rosters[0], columns=columns))
    assert refused.value.reason == "ciphertext.key-id"


def test_a_used_sequence_number_is_a_replay(grid):
    begin(grid, grid.upload(grid.rosters[0], sequence=7))
    with pytest.raises(StaleMessageError):
        begin(grid, grid.upload(grid.rosters[1], sequence=7))
    assert begin(grid, grid.upload(grid.rosters[1], sequence=8)).state == "pending"


def test_a_second_upload_of_a_roster_and_month_is_a_conflict(grid):
    grid.deliver(grid.upload(grid.rosters[0]))
    with pytest.raises(ConflictError) as refused:
        begin(grid, grid.upload(grid.rosters[0], estimated_readings=3))
    assert refused.value.reason == "conflict.upload"


# --- at the same time, and on a full disk ------------------------------------------------------


def at_once(action: Callable[[], object], *, times: int = 6) -> list[object]:
    with ThreadPoolExecutor(times) as pool:
        futures = [pool.submit(action) for _ in range(times)]
        return [future.result() for future in futures]


def test_steps_taken_at_the_same_moment_count_once(grid):
    upload = grid.upload(grid.rosters[0])
    entries = evidence_length(grid)
    begun = at_once(lambda: begin(grid, upload))
    assert all(status == begun[0] for status in begun)
    receive(grid, upload, list(upload.objects.values()))
    committed = at_once(lambda: commit(grid, upload))
    assert all(status.state == "committed" and not status.missing for status in committed)
    assert evidence_length(grid) == entries + 2
    assert kept(grid, UploadRow.digest) == [upload.upload_id]


def test_of_two_manifests_at_the_same_moment_one_stands(grid):
    uploads = [grid.upload(grid.rosters[0], estimated_readings=n) for n in range(4)]
    refused = []

    def try_one(upload: GridUpload) -> None:
        try:
            begin(grid, upload)
        except ConflictError as error:
            refused.append(error.reason)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(try_one, uploads))
    assert refused == ["conflict.upload"] * 3
    assert len(kept(grid, UploadRow.digest)) == 1


def test_a_full_disk_leaves_nothing_half_written_and_the_upload_goes_on(grid, monkeypatch):
    upload = grid.upload(grid.rosters[0], days=3)
    begin(grid, upload)
    first, *others = upload.objects.values()
    receive(grid, upload, [first])

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError) as refused:
            receive(grid, upload, others)
    assert refused.value.reason == "storage.write"
    root = grid.folder / "objects"
    assert list(root.rglob(".draft-*")) == []
    missing = begin(grid, upload).missing
    assert missing == list(map(sm3_hex, others))
    receive(grid, upload, [upload.objects[digest] for digest in missing])
    assert commit(grid, upload).state == "committed"
