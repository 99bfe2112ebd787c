"""The vault obeys the checker only, keeps its keys sealed, and can be killed without harm."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gridsecure.crypto.parameters import INTERVAL, REGISTER
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    EnvelopeError,
    GridSecureError,
    InvalidMessageError,
    KeyMismatchError,
    NotFoundError,
    StorageError,
)
from gridsecure.key_authority import custody
from gridsecure.key_authority.checker import FAILED, RELEASED
from gridsecure.key_authority.custody import keep_key_set, open_key_set
from gridsecure.key_authority.packages import CheckedBills, KeyOrder, RevocationOrder
from gridsecure.key_authority.vault_process import VaultClient, VaultSettings
from gridsecure.messages import RosterManifest, Signed, signed
from tests.authority_simulator import KEK, Authority, keep_grid_keys, place_of, settlement
from tests.correction_simulator import changed, correction
from tests.grid_simulator import NOW, OFFICE, GridSimulator, GridUpload, grid_keys

PLACE = place_of(INTERVAL.name)
Uploads = list[GridUpload]
Order = tuple[CheckedBills, list[bytes]]


def key_order(name: str) -> KeyOrder:
    """An order of the grid's gateway's first key set of these parameters."""
    place = place_of(name)
    return KeyOrder(
        gateway=place.gateway,
        parameters=name,
        generation=place.generation,
        created_at=NOW.isoformat(),
    )


@pytest.fixture
def order(authority: Authority, grid: GridSimulator, uploads: Uploads) -> Order:
    """An order of bills as the checker would sign it, with its files."""
    upload = uploads[0]
    transcript = authority.bill_transcript(upload)
    manifest = upload.roster.manifest
    text = grid.platform_zone.objects.get(manifest.tariff).decode()
    content = CheckedBills(
        start=transcript.start,
        end=transcript.end,
        created_at=NOW.isoformat(),
        rosters=[manifest],
        tariffs={manifest.tariff: text},
        outputs=[transcript.outputs],
        names=[settlement(manifest.domain, manifest.pseudonyms)],
        withheld=[],
    )
    files = [grid.platform_zone.objects.get(e.digest) for e in transcript.outputs.values()]
    return content, files


def test_the_checkers_order_is_obeyed(authority: Authority, order: Order) -> None:
    content, files = order
    answer, sealed = authority.vault.release_bills(
        signed(content, key=authority.grid.authority_key), files
    )
    assert len(sealed) == 1
    assert answer.statements == [content.rosters[0].roster_id]


@pytest.mark.parametrize("who", ["stranger", "platform", "gateway", "identity"])
def test_nobody_elses_order_is_obeyed(authority: Authority, order: Order, who: str) -> None:
    content, files = order
    key: Sm2PrivateKey = getattr(authority.grid.keys, who)
    with pytest.raises(AuthenticityError):
        authority.vault.release_bills(signed(content, key=key), files)


def test_an_order_for_something_else_is_refused(authority: Authority, order: Order) -> None:
    ordered = key_order(REGISTER.name)
    with pytest.raises(AuthenticityError):
        authority.vault.release_bills(signed(ordered, key=authority.grid.authority_key), order[1])


def test_files_that_the_order_does_not_name(authority: Authority, order: Order) -> None:
    content, files = order
    envelope = signed(content, key=authority.grid.authority_key)
    changed = [bytes([files[0][0]]) + files[0][1:-1] + bytes([files[0][-1] ^ 1]), *files[1:]]
    with pytest.raises(EnvelopeError):
        authority.vault.release_bills(envelope, changed)
    with pytest.raises(InvalidMessageError):
        authority.vault.release_bills(envelope, files[1:])
    with pytest.raises(InvalidMessageError):
        authority.vault.release_bills(envelope, [*files, files[0]])


def test_another_roster_than_the_columns_are_of(
    authority: Authority, order: Order, uploads: Uploads
) -> None:
    content, files = order
    other: RosterManifest = content.rosters[0].model_copy(update={"roster_id": "f" * 32})
    envelope = signed(
        content.model_copy(update={"rosters": [other]}), key=authority.grid.authority_key
    )
    with pytest.raises(KeyMismatchError):
        authority.vault.release_bills(envelope, files)


def test_a_column_under_another_name_than_its_label(authority: Authority, order: Order) -> None:
    """A total in a line's place would be billed as that line."""
    content, files = order
    renamed = {
        name: entry.model_copy(update={"quantity": "line:9:9"})
        for name, entry in content.outputs[0].items()
    }
    envelope = signed(
        content.model_copy(update={"outputs": [renamed]}), key=authority.grid.authority_key
    )
    with pytest.raises(KeyMismatchError):
        authority.vault.release_bills(envelope, files)


# --- keys at rest ---------------------------------------------------------------------------------


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    keep_key_set(tmp_path, PLACE, grid_keys().secret[INTERVAL.name], kek=KEK, created_at=NOW)
    (path,) = tmp_path.iterdir()
    return path


def test_a_key_file_opens_again_and_is_its_owners_alone(key_file: Path) -> None:
    opened = open_key_set(key_file.parent, PLACE, kek=KEK)
    assert opened.public.key_id == grid_keys().secret[INTERVAL.name].public.key_id
    assert key_file.stat().st_mode & 0o077 == 0
    assert grid_keys().secret[INTERVAL.name].to_bytes()[40:100] not in key_file.read_bytes()


def test_another_kek_does_not_open_it(key_file: Path) -> None:
    with pytest.raises(EnvelopeError):
        open_key_set(key_file.parent, PLACE, kek=bytes(16))


def test_no_altered_or_cut_key_file_opens(key_file: Path) -> None:
    data = key_file.read_bytes()
    places = {*range(0, 200), *range(200, len(data), 997), len(data) - 1}
    for place in sorted(places):
        changed = bytearray(data)
        changed[place] ^= 0x10
        key_file.write_bytes(changed)
        with pytest.raises((EnvelopeError, KeyMismatchError, NotFoundError)):
            open_key_set(key_file.parent, PLACE, kek=KEK)
    for length in (0, 3, 100, len(data) - 1):
        key_file.write_bytes(data[:length])
        with pytest.raises((EnvelopeError, KeyMismatchError)):
            open_key_set(key_file.parent, PLACE, kek=KEK)


def test_a_key_file_under_another_name_is_refused(key_file: Path) -> None:
    other = replace(PLACE, gateway="0" * 64)
    key_file.rename(key_file.with_name(f"{other.stem}.keys"))
    with pytest.raises(KeyMismatchError) as refused:
        open_key_set(key_file.parent, other, kek=KEK)
    assert refused.value.reason == "keys.file"


def test_a_key_set_is_never_replaced(key_file: Path) -> None:
    with pytest.raises(ConflictError):
        keep_key_set(
            key_file.parent, PLACE, grid_keys().secret[INTERVAL.name], kek=KEK, created_at=NOW
        )


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(custody.os, "fsync", full)
    with pytest.raises(StorageError):
        keep_key_set(tmp_path, PLACE, grid_keys().secret[INTERVAL.name], kek=KEK, created_at=NOW)
    assert list(tmp_path.iterdir()) == []


# --- a process of its own -------------------------------------------------------------------------


@pytest.fixture
def settings(grid: GridSimulator, tmp_path: Path) -> VaultSettings:
    folder = tmp_path / "vault"
    folder.mkdir()
    keep_grid_keys(folder)
    kek_file = folder / "kek"
    kek_file.write_bytes(KEK)
    kek_file.chmod(0o600)
    return VaultSettings(
        folder=folder,
        kek_file=kek_file,
        checker=grid.authority_key.public_key.point,
        billing_office=OFFICE.public_key.point,
    )


@pytest.fixture
def client(settings: VaultSettings) -> Iterator[VaultClient]:
    started = VaultClient(settings)
    yield started
    started.close()


def test_a_vault_of_its_own_is_killed_and_started_again(
    client: VaultClient,
    settings: VaultSettings,
    grid: GridSimulator,
    uploads: Uploads,
    tmp_path: Path,
) -> None:
    """Killed before a release: nothing comes out, and a new vault goes on with the same keys."""
    authority = Authority(grid, tmp_path / "authority", vault=client)
    request: Signed = authority.bill_request(uploads[:1])
    process = client._process
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (FAILED, "vault.down")
    assert authority.certificates == []
    authority.close()

    again = VaultClient(settings)
    try:
        authority = Authority(grid, tmp_path / "authority", vault=again)
        assert authority.answer(request).state == RELEASED
        authority.close()
    finally:
        again.close()


def test_corrections_cross_the_pipe(
    client: VaultClient, grid: GridSimulator, uploads: Uploads, tmp_path: Path
) -> None:
    authority = Authority(grid, tmp_path / "authority", vault=client)
    try:
        assert authority.answer(authority.bill_request(uploads)).state == RELEASED
        readings = changed(grid, grid.readings, uploads[0], slots=[0])
        second = correction(grid, uploads[0], readings=readings, slots=[0])
        assert authority.answer(authority.rebill_request([second])).state == RELEASED
        lying = correction(grid, second, readings=grid.readings, slots=[1])
        outcome = authority.answer(authority.rebill_request([lying]))
        assert outcome.reason == "correction.uncorrected-slot"
    finally:
        authority.close()


def test_a_refusal_crosses_the_pipe_with_its_class_and_reason(
    client: VaultClient, grid: GridSimulator
) -> None:
    order = key_order(REGISTER.name)
    revocation = RevocationOrder(
        gateway=order.gateway, key_id=grid_keys().secret[REGISTER.name].public.key_id
    )
    client.revoke_key_set(signed(revocation, key=grid.authority_key))
    with pytest.raises(KeyMismatchError) as refused:
        client.create_key_set(signed(order, key=grid.authority_key))
    assert refused.value.reason == "keys.revoked"
    with pytest.raises(AuthenticityError):
        client.create_key_set(signed(order, key=grid.keys.stranger))


def test_a_kek_others_can_read_stops_the_start(settings: VaultSettings) -> None:
    settings.kek_file.chmod(0o644)
    with pytest.raises(GridSecureError) as refused:
        VaultClient(settings)
    assert refused.value.reason == "vault.kek"
