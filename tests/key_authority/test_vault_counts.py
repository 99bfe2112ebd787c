"""An older copy of the vault's whole folder is put back: the evidence log knows better."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.answering import FAILED, RELEASED
from gridsecure.key_authority.checker.approvals import revoke_approver
from gridsecure.key_authority.checker.held_policies import put_policy
from gridsecure.key_authority.checker.key_sets import move_key_set
from gridsecure.key_authority.checker.vault_counts import COUNTED, check_counts
from gridsecure.key_authority.checker.vault_lock import give_share
from gridsecure.offices.custodians import answer_challenge
from tests.approving import signed_policy
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import Authority, keep_grid_keys
from tests.custodians import custodian_key, keys_of, own_share, signed_move
from tests.grid_simulator import NOW, GridUpload, grid_keys
from tests.held_policy import POLICY


def suspend_all(authority: Authority) -> None:
    for key_set in grid_keys().secret.values():
        move = signed_move("suspended", key_set=(authority.gateway, key_set.public.key_id))
        move_key_set(authority.zone, move, actor="anna", at=NOW)


def put_back(authority: Authority, act: Callable[[], object]) -> None:
    """Do something, and start the vault with its folder as it was before."""
    folder = authority.folder
    keys, kept = keys_of(folder), folder / "backup"
    shutil.copytree(keys, kept)
    act()
    shutil.rmtree(keys)
    kept.rename(keys)
    for path in folder.glob("*.revoked-ground"):
        path.unlink()
    authority.vault = authority._own_vault()
    authority.zone = replace(authority.zone, vault=authority.vault)


@pytest.fixture
def kept(authority: Authority) -> Authority:
    """Its vault has the session's key sets in files."""
    keep_grid_keys(authority.folder)
    return authority


@attack(
    "an older copy of the vault's whole folder, put back",
    rule(
        "A vault has as many moves, policies and revocations as the evidence log once had of it.",
        "vault.rolled-back",
        cut(
            "gridsecure.vault_messages:VaultCounts.check_after",
            "self != self.joined(logged)",
            "False",
        ),
    ),
)
def test_a_suspended_key_set_comes_back_with_an_older_folder(
    kept: Authority, uploads: list[GridUpload], attacked: Attacked
) -> None:
    request = kept.bill_request(uploads)
    put_back(kept, lambda: suspend_all(kept))
    outcome = kept.answer(request)
    attacked.ends(outcome.reason)
    assert outcome.state == (RELEASED if attacked.goes_through else FAILED)


def test_what_is_missing_is_repeated_and_then_holds(
    kept: Authority, uploads: list[GridUpload]
) -> None:
    request = kept.bill_request(uploads)
    put_back(kept, lambda: suspend_all(kept))
    assert kept.answer(request).reason == "vault.rolled-back"
    suspend_all(kept)
    assert kept.answer(request).reason == "keys.suspended"


def test_an_older_vault_is_given_no_share(kept: Authority) -> None:
    put_back(kept, lambda: suspend_all(kept))
    stated = kept.vault.state_challenge("unlock")
    own = own_share(kept.folder, "anna")
    given = answer_challenge(stated, own, key=custodian_key("anna"), now=NOW)
    with pytest.raises(GridSecureError) as refused:
        give_share(kept.zone, given, actor="anna", at=NOW)
    assert refused.value.reason == "vault.rolled-back"
    (entry,) = kept.entries("vault-share.refused")
    assert json.loads(entry.detail)["reason"] == "vault.rolled-back"


@pytest.mark.parametrize("what", ["policies", "revocations"])
def test_policies_and_revocations_count_as_well(kept: Authority, what: str) -> None:
    def tighten() -> None:
        text = POLICY.text.replace("version = ", "version = 9", 1).replace(POLICY.name, "own", 1)
        put_policy(kept.zone, signed_policy(text), by="wu", now=NOW)

    def revoke() -> None:
        revoke_approver(kept.zone, "data-owner", actor="anna", at=NOW)

    check_counts(kept.zone, at=NOW)
    assert kept.entries(COUNTED) == [], "there is nothing older that could be put back"
    put_back(kept, tighten if what == "policies" else revoke)
    (entry,) = kept.entries(COUNTED)
    assert json.loads(entry.detail)[what] == (2 if what == "policies" else 1)
    with pytest.raises(GridSecureError) as refused:
        check_counts(kept.zone, at=NOW)
    assert refused.value.reason == "vault.rolled-back"
