"""Key sets: made by the vault, sealed, published once under the authority's signature."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gridsecure.crypto.keys import PublicKeySet
from gridsecure.crypto.parameters import INTERVAL, PARAMETER_SETS
from gridsecure.crypto.secret_key import SecretKeySet
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, EnvelopeError, NotFoundError, StorageError
from gridsecure.key_authority.custody import create_key_set, keep_key_set, open_key_sets
from gridsecure.key_authority.key_sets import key_notices, publish_key_sets
from gridsecure.key_authority.packages import KeyOrder
from gridsecure.key_authority.vault import Vault
from gridsecure.key_authority.vault_process import VaultClient, VaultSettings
from gridsecure.key_authority.verification import current_evaluations
from gridsecure.key_authority.zone import AuthorityZone, VaultDoor
from gridsecure.messages import KeyNotice, opened, signed
from gridsecure.store.database import open_database
from gridsecure.store.objects import ObjectStore
from gridsecure.store.records import create_tables
from tests.authority_simulator import KEK, OFFICE, settlement
from tests.grid_simulator import NOW, grid_keys, registry


@pytest.fixture
def settings(tmp_path: Path) -> VaultSettings:
    folder = tmp_path / "vault"
    folder.mkdir()
    kek_file = folder / "kek"
    kek_file.write_bytes(KEK)
    kek_file.chmod(0o600)
    checker = grid_keys().authority.public_key.point
    return VaultSettings(folder, kek_file, checker, OFFICE.public_key.point)


def zone_with(vault: VaultDoor, folder: Path) -> AuthorityZone:
    engine = open_database(f"sqlite:///{folder / 'zone.db'}")
    create_tables(engine)
    return AuthorityZone(
        engine=engine,
        objects=ObjectStore(folder / "objects"),
        signing_key=grid_keys().authority,
        platform={},
        identity={},
        settlement=settlement,
        vault=vault,
    )


@pytest.fixture
def started(settings: VaultSettings) -> Iterator[list[VaultClient]]:
    """Vaults started by a test; all are stopped."""
    vaults = [VaultClient(settings)]
    yield vaults
    for vault in vaults:
        vault.close()


def test_made_once_and_found_again_by_the_next_vault(
    started: list[VaultClient], settings: VaultSettings, tmp_path: Path
) -> None:
    zone = zone_with(started[0], tmp_path)
    notices = publish_key_sets(zone, at=NOW)
    trusted = registry(grid_keys().authority)
    read = [opened(notice, expect=KeyNotice, trusted=trusted) for notice in notices]
    found = {notice.parameters: notice for notice in read}
    assert set(found) == set(PARAMETER_SETS)
    assert publish_key_sets(zone, at=NOW) == notices
    started[0].close()

    started.append(VaultClient(settings))
    again = {key_set.parameters.name: key_set for key_set in started[1].public_key_sets()}
    for name, notice in found.items():
        assert again[name].key_id == notice.key_id
        assert sm3_hex(again[name].public_key) == notice.public_key
        assert zone.objects.get(notice.public_key) == again[name].public_key
    assert set(current_evaluations(zone)) == set(PARAMETER_SETS)
    zone.engine.dispose()


def test_a_notice_lost_on_the_way_is_published_later(tmp_path: Path) -> None:
    """Killed between the key file and its notice: the key set is there, and is not made anew."""
    vault = Vault(tmp_path, KEK, grid_keys().authority.public_key, OFFICE.public_key)
    order = KeyOrder(parameters=INTERVAL.name, created_at=NOW.isoformat())
    made = vault.create_key_set(signed(order, key=grid_keys().authority))
    zone = zone_with(vault, tmp_path)
    assert key_notices(zone) == []
    names = [KeyNotice.parsed(notice.body) for notice in publish_key_sets(zone, at=NOW)]
    assert [n.key_id for n in names if n.parameters == INTERVAL.name] == [made.key_id]
    zone.engine.dispose()


def test_what_one_vault_sealed_another_opens_and_decrypts(tmp_path: Path) -> None:
    made = create_key_set(tmp_path, parameters_name=INTERVAL.name, kek=KEK, created_at=NOW)
    opened_again: SecretKeySet = open_key_sets(tmp_path, kek=KEK)[INTERVAL.name]
    public: PublicKeySet = made.public
    column = public.encrypt(np.arange(50) * 7, high=400)
    assert opened_again.decrypt(column).tolist() == [7 * i for i in range(50)]
    with pytest.raises(ConflictError):
        create_key_set(tmp_path, parameters_name=INTERVAL.name, kek=KEK, created_at=NOW)
    with pytest.raises(NotFoundError):
        create_key_set(tmp_path, parameters_name="bfv_weak", kek=KEK, created_at=NOW)


def test_a_disk_one_byte_too_small_keeps_nothing(tmp_path: Path) -> None:
    """The operating system itself stops the write, as a full disk does."""
    key_set = grid_keys().secret[INTERVAL.name]
    whole, full = tmp_path / "whole", tmp_path / "full"
    for folder in (whole, full):
        folder.mkdir()
    keep_key_set(whole, key_set, kek=KEK, created_at=NOW)
    limit = next(whole.iterdir()).stat().st_size - 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(StorageError):
            keep_key_set(full, key_set, kek=KEK, created_at=NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(full.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        create_key_set(tmp_path / "no", parameters_name=INTERVAL.name, kek=KEK, created_at=NOW)


@pytest.mark.parametrize("kek", [b"", b"x" * 15, b"x" * 17, None])
def test_a_vault_without_its_key_does_not_start(settings: VaultSettings, kek: bytes | None) -> None:
    if kek is None:
        settings.kek_file.unlink()
    else:
        settings.kek_file.write_bytes(kek)
    with pytest.raises(StorageError) as refused:
        VaultClient(settings)
    assert refused.value.reason == "vault.kek"


def test_a_vault_under_another_key_does_not_start(settings: VaultSettings) -> None:
    create_key_set(settings.folder, parameters_name=INTERVAL.name, kek=KEK, created_at=NOW)
    settings.kek_file.write_bytes(bytes(16))
    with pytest.raises(EnvelopeError):
        VaultClient(settings)


def test_keys_are_printed_nowhere(tmp_path: Path) -> None:
    vault = Vault(tmp_path, KEK, grid_keys().authority.public_key, OFFICE.public_key)
    made = create_key_set(tmp_path, parameters_name=INTERVAL.name, kek=KEK, created_at=NOW)
    for shown in (repr(vault), repr(made), repr(made.public)):
        assert KEK.hex() not in shown
        assert repr(KEK) not in shown
        assert len(shown) < 1000
