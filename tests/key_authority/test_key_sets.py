"""Key sets: made by the vault, sealed, published once under the authority's signature."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    GridSecureError,
    KeyMismatchError,
    NotFoundError,
    StorageError,
)
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import INTERVAL, PARAMETER_SETS, REGISTER
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.key_authority.checker.key_sets import (
    give_key_set,
    key_ring,
    list_key_sets,
    move_key_set,
    read_life,
    revoke_key_set,
)
from gridsecure.key_authority.checker.reexecution import Checks
from gridsecure.key_authority.checker.tables import SCHEMA
from gridsecure.key_authority.checker.zone import AuthorityZone, VaultDoor
from gridsecure.key_authority.packages import KeyOrder
from gridsecure.key_authority.vault.custody import create_key_set, keep_key_set, open_key_set
from gridsecure.messages import ColumnEntry, KeyNotice, KeyRevocation, open_message, sign_message
from gridsecure.store.database import open_database
from gridsecure.store.objects import folder_url, open_objects
from gridsecure.store.schema import migrate
from gridsecure.vault_messages import KeyLife, KeyState
from gridsecure_api.settings import VaultSettings
from tests.approving import APPROVERS
from tests.authority_simulator import (
    key_set_request,
    own_vault,
    place_of,
    settlement,
    signed_log,
)
from tests.custodians import KEK, keys_of, signed_move, unlock
from tests.grid_simulator import NOW, GridSimulator, grid_keys, registry
from tests.held_policy import POLICY
from tests.vault_services import RunningVault, running_vault, vault_settings

PLACE = {"gateway", "parameters", "generation"}


@pytest.fixture
def settings(tmp_path: Path) -> VaultSettings:
    return vault_settings(tmp_path, grid_keys().authority, has_keys=False)


def zone_with(vault: VaultDoor, folder: Path) -> AuthorityZone:
    engine = open_database(f"sqlite:///{folder / 'zone.db'}")
    migrate(engine, SCHEMA)
    objects = open_objects(folder_url(folder / "objects"))
    return AuthorityZone(
        engine=engine,
        objects=objects,
        checks=Checks(objects),
        signing_key=grid_keys().authority,
        query_key=grid_keys().query,
        blinding_key=bytes(32),
        log=signed_log(grid_keys().authority),
        platform={},
        identity=registry(grid_keys().identity),
        office={},
        settlement=settlement,
        vault=vault,
        policy=POLICY,
        approvers=APPROVERS,
    )


@pytest.fixture
def running(settings: VaultSettings) -> Iterator[RunningVault]:
    with running_vault(settings) as vault:
        yield vault


def asked(zone: AuthorityZone, grid: GridSimulator, *names: str, **word: Any) -> list[KeyNotice]:
    """Ask for key sets as the grid's gateway."""
    trusted = registry(grid_keys().authority)
    found = []
    for name in names:
        request, registrations = key_set_request(grid, name, **word)
        notice = give_key_set(zone, request, registrations=registrations, at=NOW)
        found.append(open_message(notice, expect=KeyNotice, trusted=trusted))
    return found


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[GridSimulator]:
    made = GridSimulator(tmp_path / "platform")
    yield made
    made.close()


def test_made_when_asked_for_and_found_again_by_the_next_vault(
    running: RunningVault, tmp_path: Path, grid: GridSimulator
) -> None:
    client = running.client()
    zone = zone_with(client, tmp_path)
    notices = asked(zone, grid, *PARAMETER_SETS)
    assert [notice.parameters for notice in notices] == list(PARAMETER_SETS)
    assert {notice.gateway for notice in notices} == {grid.gateway_key.public_key.thumbprint}
    assert asked(zone, grid, *PARAMETER_SETS) == notices

    running.kill()
    running.start()
    for notice in notices:
        order = KeyOrder(**notice.model_dump(include=PLACE), created_at=NOW.isoformat())
        again = client.create_key_set(sign_message(order, key=grid_keys().authority))
        assert again.key_id == notice.key_id
        assert zone.objects.get(notice.public_key) == again.public_key
    assert asked(zone, grid, *PARAMETER_SETS) == notices
    client.close()
    zone.engine.dispose()


def test_a_notice_lost_on_the_way_is_published_later(tmp_path: Path, grid: GridSimulator) -> None:
    """Killed between the key file and its notice: the key set is there, and is not made anew."""
    vault = own_vault(tmp_path, grid_keys().authority)
    gateway = grid.gateway_key.public_key.thumbprint
    order = KeyOrder(
        gateway=gateway, parameters=INTERVAL.name, generation=1, created_at=NOW.isoformat()
    )
    made = vault.create_key_set(sign_message(order, key=grid_keys().authority))
    zone = zone_with(vault, tmp_path)
    assert list_key_sets(zone) == []
    assert [notice.key_id for notice in asked(zone, grid, INTERVAL.name)] == [made.key_id]
    zone.engine.dispose()


def test_two_that_ask_at_once_get_one_key_set(tmp_path: Path, grid: GridSimulator) -> None:
    vault = own_vault(tmp_path, grid_keys().authority)
    zone = zone_with(vault, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: asked(zone, grid, REGISTER.name)[0], range(8)))
    assert len({notice.model_dump_json() for notice in found}) == 1
    assert len(list_key_sets(zone)) == 1
    zone.engine.dispose()


def test_every_gateway_and_year_has_keys_of_its_own(tmp_path: Path, grid: GridSimulator) -> None:
    vault = own_vault(tmp_path, grid_keys().authority)
    zone = zone_with(vault, tmp_path)
    (own,) = asked(zone, grid, REGISTER.name)
    (other,) = asked(zone, grid, REGISTER.name, key=grid_keys().stranger)
    assert own.key_id != other.key_id
    assert [one.notice for one in list_key_sets(zone, gateway=other.gateway)] == [other]
    zone.engine.dispose()


@pytest.mark.parametrize(
    "change",
    ["another signs", "a meter point", "another domain", "no identity authority", "old word"],
)
def test_who_is_not_vouched_for_gets_no_key_set(
    tmp_path: Path, grid: GridSimulator, change: str
) -> None:
    vault = own_vault(tmp_path, grid_keys().authority)
    zone = zone_with(vault, tmp_path)
    word: dict[str, Any] = {
        "a meter point": {"role": "meter-point"},
        "another domain": {"domain": "platform/billing/2025"},
        "no identity authority": {"key": None},
    }.get(change, {})
    request, registrations = key_set_request(grid, REGISTER.name)
    if change == "no identity authority":
        registrations = grid.vouched(
            {"0" * 64: grid.gateway_key}, role="gateway", key=grid_keys().stranger
        )
    elif change == "another signs":
        request, _ = key_set_request(grid, REGISTER.name, key=grid_keys().stranger)
    elif word:
        _, registrations = key_set_request(grid, REGISTER.name, **word)
    at = NOW + timedelta(days=2 if change == "old word" else 0)
    with pytest.raises(AuthenticityError):
        give_key_set(zone, request, registrations=registrations, at=at)
    assert list_key_sets(zone) == []
    zone.engine.dispose()


def sent(zone: AuthorityZone, notice: KeyNotice, target: KeyState, **given: Any) -> KeyLife:
    """A custodian's move of a key set, by way of the checker."""
    move = signed_move(target, key_set=(notice.gateway, notice.key_id), **given)
    return KeyLife.parse(move_key_set(zone, move, actor="kate", at=NOW).body)


def test_rotated_and_revoked(tmp_path: Path, grid: GridSimulator) -> None:
    vault = own_vault(tmp_path, grid_keys().authority)
    zone = zone_with(vault, tmp_path)
    (first,) = asked(zone, grid, REGISTER.name)
    sent(zone, first, "deactivated")
    (second,) = asked(zone, grid, REGISTER.name)
    assert (second.generation, second.gateway) == (2, first.gateway)
    assert asked(zone, grid, REGISTER.name) == [second]
    assert second.earlier_until == ""
    ring = key_ring(zone)
    entry = column_entry(first)
    assert ring.evaluation(entry, gateway=first.gateway).key_id == first.key_id

    with pytest.raises(ConflictError) as refused:  # the token of a custodian alone revokes nothing
        revoke_key_set(zone, first.key_id, actor="kate", at=NOW)
    assert refused.value.reason == "conflict.key-set-state"
    sent(zone, first, "compromised", after=1)
    assert [one.state for one in list_key_sets(zone)] == ["revoked", "in-force"]
    revocation = revoke_key_set(zone, first.key_id, actor="kate", at=NOW)
    later = NOW + timedelta(days=1)
    assert revoke_key_set(zone, first.key_id, actor="bert", at=later) == revocation
    with pytest.raises(KeyMismatchError) as denied:
        key_ring(zone).check([entry], gateway=first.gateway)
    assert denied.value.reason == "keys.revoked"
    with pytest.raises(KeyMismatchError) as closed, vault.key_lock.use() as kek:
        vault.states.check(first.key_id, kek=kek)
    assert closed.value.reason == "keys.revoked"
    # The one in force is revoked as well: the gateway is given a third.
    sent(zone, second, "compromised")
    assert [notice.generation for notice in asked(zone, grid, REGISTER.name)] == [3]
    zone.engine.dispose()


def test_rotated_with_an_end(tmp_path: Path, grid: GridSimulator) -> None:
    """A rotation that was cut short anywhere keeps the date that a custodian signed."""
    vault = own_vault(tmp_path, grid_keys().authority)
    zone = zone_with(vault, tmp_path)
    (first,) = asked(zone, grid, REGISTER.name)
    until = (NOW + timedelta(days=14)).isoformat()
    vault.key_lock.lock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gridsecure.key_authority.checker.key_sets.advance", killed)
        with pytest.raises(KeyboardInterrupt):
            sent(zone, first, "deactivated", until=until)
    assert [one.state for one in list_key_sets(zone)] == ["in-force"], "the vault was faster"
    life = KeyLife.parse(read_life(zone, first.key_id, at=NOW).body)
    assert (life.state, life.until) == ("deactivated", until)
    assert [one.state for one in list_key_sets(zone)] == ["retired"], "looked at, it is followed"
    with pytest.raises(GridSecureError) as locked:
        asked(zone, grid, REGISTER.name)
    assert locked.value.reason == "vault.locked"
    unlock(vault.key_lock, tmp_path)
    (given,) = asked(zone, grid, REGISTER.name)
    assert (given.generation, given.earlier_until) == (2, until)
    assert [one.state for one in list_key_sets(zone)] == ["retired", "in-force"]
    zone.engine.dispose()


def test_a_revocation_that_was_cut_short_is_carried_on(tmp_path: Path, grid: GridSimulator) -> None:
    vault = own_vault(tmp_path, grid_keys().authority)
    zone = zone_with(vault, tmp_path)
    (first,) = asked(zone, grid, REGISTER.name)
    move = signed_move("compromised", key_set=(first.gateway, first.key_id))
    vault.move_key_set(move)  # and the checker was killed
    revocation = revoke_key_set(zone, first.key_id, actor="kate", at=NOW)
    assert KeyRevocation.parse(revocation.body).key_id == first.key_id
    assert [one.state for one in list_key_sets(zone)] == ["revoked"]
    zone.engine.dispose()


def killed(*_: object, **__: object) -> bool:
    raise KeyboardInterrupt


def column_entry(notice: KeyNotice) -> ColumnEntry:
    """A column under a key set."""
    return ColumnEntry(
        quantity="total", parameters=notice.parameters, key_id=notice.key_id, unit="Wh",
        start=NOW.isoformat(), end=NOW.isoformat(), high=1, digest="0" * 64, size=1,
    )  # fmt: skip


def test_what_one_vault_sealed_another_opens_and_decrypts(tmp_path: Path) -> None:
    made = create_key_set(tmp_path, place_of(INTERVAL.name), kek=KEK, created_at=NOW)
    opened_again: SecretKeySet = open_key_set(tmp_path, place_of(INTERVAL.name), kek=KEK)
    public: PublicKeySet = made.public
    column = public.encrypt(np.arange(50) * 7, high=400)
    assert opened_again.decrypt(column).tolist() == [7 * i for i in range(50)]
    with pytest.raises(ConflictError):
        create_key_set(tmp_path, place_of(INTERVAL.name), kek=KEK, created_at=NOW)
    with pytest.raises(NotFoundError):
        create_key_set(tmp_path, place_of("bfv_weak"), kek=KEK, created_at=NOW)


def test_a_disk_one_byte_too_small_keeps_nothing(tmp_path: Path) -> None:
    """The operating system itself stops the write, as a full disk does."""
    key_set = grid_keys().secret[INTERVAL.name]
    whole, full = tmp_path / "whole", tmp_path / "full"
    for folder in (whole, full):
        folder.mkdir()
    keep_key_set(whole, place_of(INTERVAL.name), key_set, kek=KEK, created_at=NOW)
    limit = next(whole.iterdir()).stat().st_size - 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(StorageError):
            keep_key_set(full, place_of(INTERVAL.name), key_set, kek=KEK, created_at=NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(full.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        create_key_set(tmp_path / "no", place_of(INTERVAL.name), kek=KEK, created_at=NOW)


def test_keys_are_printed_nowhere(tmp_path: Path) -> None:
    vault = own_vault(tmp_path, grid_keys().authority)
    made = create_key_set(keys_of(tmp_path), place_of(INTERVAL.name), kek=KEK, created_at=NOW)
    for shown in (repr(vault), repr(made), repr(made.public)):
        assert KEK.hex() not in shown
        assert repr(KEK) not in shown
        assert len(shown) < 1000
