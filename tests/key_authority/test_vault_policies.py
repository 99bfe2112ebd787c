"""The policies of a running vault: a splitting, an upgrade, and a clock that is set back."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.key_authority.vault.ceremony import init_vault
from gridsecure.key_authority.vault.held_policies import FILE, KeptPolicies, KeptPolicy
from gridsecure.messages import sign_message
from gridsecure.policy import signed_policies
from gridsecure.policy.language import parse_policy
from gridsecure.policy.packs import load_pack
from gridsecure.policy.signed_policies import SignedPolicy, VaultPolicy
from tests.custodians import NAMES, custodian, keys_of
from tests.grid_simulator import NOW
from tests.held_policy import POLICY
from tests.key_authority.test_vault_lock import Room, split_anew
from tests.store.test_held_policies import own


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """A vault that holds to a policy of the utility's own, which is stricter than the pack's."""
    made = Room(tmp_path)
    made.vault.hold_policy(own(3, minimum=20))
    return made


def holds(room: Room) -> VaultPolicy:
    told = VaultPolicy.parse(room.vault.read_policy().body)
    return told.model_copy(update={"at": "", "nonce": ""})


def written_by(key: Sm2PrivateKey) -> str:
    """What somebody writes as the vault's file, under a signature that does not hold."""
    small = SignedPolicy(text=load_pack("small-demonstration").text)
    kept = KeptPolicy(document=small, taken_in_at=NOW.isoformat(), begun=True)
    signed = sign_message(KeptPolicies(policies=[kept]), key=key)
    return signed.model_copy(update={"signature": "00"}).model_dump_json()


@pytest.mark.parametrize("how", ["written anew", "deleted"])
def test_a_splitting_carries_the_policies_that_the_vault_knows(room: Room, how: str) -> None:
    """Whoever writes in its folder has nothing signed anew by the vault's next key."""
    before, path = holds(room), keys_of(room.folder) / FILE
    path.unlink()
    if how == "written anew":
        path.write_text(written_by(room.vault.key_lock.key))
    split_anew(room, *NAMES)
    assert holds(room) == before
    room.start()
    assert holds(room) == before
    assert before.in_force is not None
    assert before.in_force.name == "own"


def test_a_vault_that_is_initialised_takes_no_policy_from_its_folder(tmp_path: Path) -> None:
    """Somebody who wrote there before it had a key has none signed by that key."""
    (tmp_path / FILE).write_text(written_by(generate_private_key()))
    everybody = [custodian(name) for name in NAMES]
    init_vault(tmp_path, everybody, needed=2, created_at=NOW)
    assert not (keys_of(tmp_path) / FILE).exists()


@pytest.mark.parametrize("wording", ["the same version", "a new version"])
def test_a_release_that_words_what_ships_anew_stops_no_vault(
    room: Room, wording: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings still name the pack of the first start, and officers were stricter since."""
    before = holds(room)
    text = f"# worded anew\n{POLICY.text}"
    if wording == "a new version":
        text = re.sub(r"version = \d+", f"version = {POLICY.version + 1}", text, count=1)
    monkeypatch.setattr(signed_policies, "load_pack", lambda _name: parse_policy(text))
    room.start()
    assert holds(room) == before


def test_a_clock_that_is_set_back_brings_no_signature_back(room: Room) -> None:
    """While the vault runs: a policy that officers signed and did not put in force stays over."""
    stale = own(4, minimum=16)
    room.uptime = timedelta(days=32).total_seconds()
    for now in (NOW + timedelta(days=32), NOW, NOW - timedelta(days=400)):
        room.now = now
        assert room.reason(lambda: room.vault.hold_policy(stale)) == "policy.stale"
        assert room.vault.gate.now() == NOW + timedelta(days=32)


def test_a_clock_that_was_right_once_stays_so(room: Room) -> None:
    """Started with a clock that was set back, right for custodians' answers, and set back again."""
    stale = own(4, minimum=16)
    room.now = NOW + timedelta(days=32)
    room.unlock()
    room.now = NOW
    assert room.reason(lambda: room.vault.hold_policy(stale)) == "policy.stale"
