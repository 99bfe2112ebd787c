"""Which policy may follow which, as checker and platform keep them, and as a vault does.

Every case of `Keeper` is tried at both: what one of them let pass would be the gap of the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.held_policies import policy_shelf
from gridsecure.key_authority.checker.tables import SCHEMA, PolicyRow, ToldSetRow
from gridsecure.key_authority.vault import held_policies
from gridsecure.key_authority.vault.held_policies import FILE, VaultPolicies
from gridsecure.policy.language import Policy
from gridsecure.policy.packs import load_pack
from gridsecure.policy.signed_policies import PolicyNamed, SignedPolicy, sign_policy
from gridsecure.store import held_policies as store_policies
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.held_policies import PolicyShelf
from gridsecure.store.schema import migrate
from tests.approving import APPROVERS, officer_key, signed_policy, signing_in
from tests.attacks import Attacked, attack, cut, rule
from tests.grid_simulator import NOW

UNIFORM, STRICT, SMALL = map(load_pack, ("uniform-15", "strict", "small-demonstration"))
DAY = timedelta(days=1)
OWNER, PRIVACY = "data-owner", "privacy-officer"


def number(version: int) -> int:
    """A version as these tests count: the packs' is 2, whatever it is by now."""
    return version - 2 + UNIFORM.version


def text_of(version: int, *, minimum: int = 15, start: datetime | None = None) -> str:
    """A policy of a utility's own: so many customers, of anything but previews."""
    text = UNIFORM.text.replace('name = "uniform-15"', 'name = "own"')
    text = re.sub(r"version = \d+", f"version = {number(version)}", text, count=1)
    text = text.replace('"preview", ', "")
    text = text.replace("minimum = 15", f"minimum = {minimum}")
    return text if start is None else text.replace("2026-01-01T00:00:00+00:00", start.isoformat())


def own(version: int, **says: object) -> SignedPolicy:
    return signed_policy(text_of(version, **says))


class Keeper:
    """A checker's policies or a vault's, whose clock the test sets."""

    def __init__(self, folder: Path, *, is_vault: bool) -> None:
        self.folder, self.is_vault, self.now = folder, is_vault, NOW
        self.engine: Engine | None = None
        if not is_vault:
            self.engine = open_database(f"sqlite:///{folder / 'zone.db'}")
            migrate(self.engine, SCHEMA)
        self.start()

    def start(self) -> None:
        """As after a new start of the process."""
        if self.engine is None:
            self.kept = VaultPolicies(signing_in(self.folder), clock=lambda: self.now)
        else:
            self.kept = policy_shelf(self.engine)

    def open(self, named: str, approvers=APPROVERS) -> str:
        """Start with a setting; the policy that holds then."""
        self.start()
        if self.engine is None:
            return self.kept.open(named, approvers=approvers).name
        return self.kept.open(named, approvers=approvers, now=self.now).name

    def hold(self, document: SignedPolicy, approvers=APPROVERS) -> None:
        if self.engine is None:
            self.kept.hold(document, approvers=approvers)
        else:
            self.kept.hold(document, approvers=approvers, now=self.now, by="anna")

    def refuse(self, document: SignedPolicy, approvers=APPROVERS) -> str:
        before = self.standing()
        with pytest.raises(GridSecureError) as refused:
            self.hold(document, approvers)
        assert self.standing() == before
        return refused.value.reason

    def standing(self) -> tuple[str | None, list[str]]:
        """What holds, and what waits, as NAME-VERSION."""
        if self.engine is None:
            told = self.kept.stand()
            found, waiting = told.in_force, told.waiting
        else:
            held = self.kept.stand(now=self.now)
            found = held.in_force and held.in_force.policy
            waiting = [one.policy for one in held.waiting]
        return found and spoken(found), [spoken(one) for one in waiting]


def spoken(policy: Policy | PolicyNamed) -> str:
    return f"{policy.name}-{policy.version - number(0)}"


@pytest.fixture(params=[False, True], ids=["checker", "vault"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper(tmp_path, is_vault=request.param)
    yield made
    if made.engine is not None:
        made.engine.dispose()


def test_a_first_start_takes_what_ships_and_nothing_of_its_own_unsigned(
    keeper: Keeper, tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text_of(3))
    with pytest.raises(GridSecureError) as refused:
        keeper.open(str(file))
    assert refused.value.reason == "policy.unsigned"
    assert keeper.open("") == "strict"


@pytest.mark.parametrize("setting", ["", "strict", "uniform-15"])
def test_a_later_start_changes_nothing_whatever_was_named_before(
    keeper: Keeper, setting: str
) -> None:
    keeper.open("uniform-15")
    keeper.hold(signed_policy(STRICT.text))
    keeper.hold(own(3, minimum=8))
    assert keeper.open(setting) == "own"
    assert keeper.standing() == ("own-3", [])


SUCCESSOR = "gridsecure.policy.succession:check_successor"
OFFICERS_SIGN = rule(
    "What decides anything looser is signed by officers of both roles.",
    "policy.unsigned",
    cut(SUCCESSOR, "if looser and not opened.is_signed:", "if False:"),
)


@pytest.mark.parametrize("named", ["uniform-15", "small-demonstration"])
@attack(
    "a policy dropped by a start with a looser one",
    rule(
        "What decides anything looser is of a larger version than all that held.",
        "policy.rollback",
        cut(SUCCESSOR, "if looser and policy.version <= newest:", "if False:"),
    ),
    OFFICERS_SIGN,
)
def test_a_start_with_a_looser_policy_is_refused(
    keeper: Keeper, named: str, attacked: Attacked
) -> None:
    keeper.open("")
    attacked.tries(lambda: keeper.open(named))
    assert keeper.open("") == (named if attacked.goes_through else "strict")


@attack(
    "a looser policy that no officer signed",
    rule(
        "A policy that does not ship is signed by officers of both roles.",
        "policy.unsigned",
        cut(
            "gridsecure.policy.signed_policies:open_policy",
            "lacking and document.digest not in _pack_digests()",
            "False",
        ),
    ),
    OFFICERS_SIGN,
)
def test_a_policy_that_nobody_signed(keeper: Keeper, attacked: Attacked) -> None:
    keeper.open("")
    attacked.tries(lambda: keeper.hold(SignedPolicy(text=text_of(3))))
    assert keeper.standing()[0] == ("own-3" if attacked.goes_through else "strict-2")


def test_a_stricter_pack_needs_no_officer(keeper: Keeper) -> None:
    keeper.open("uniform-15")
    keeper.hold(SignedPolicy(text=STRICT.text))
    assert keeper.standing() == ("strict-2", [])
    assert keeper.refuse(SignedPolicy(text=UNIFORM.text)) == "policy.rollback"
    assert keeper.refuse(signed_policy(UNIFORM.text)) == "policy.rollback", "signed or not"


def test_a_looser_policy_needs_both_officers_and_a_larger_version(keeper: Keeper) -> None:
    keeper.open("")
    assert keeper.refuse(SignedPolicy(text=text_of(3))) == "policy.unsigned"
    assert keeper.refuse(signed_policy(text_of(3), roles=[OWNER])) == "policy.unsigned"
    assert keeper.refuse(signed_policy(text_of(3), roles=[PRIVACY])) == "policy.unsigned"
    assert keeper.refuse(own(2)) == "policy.rollback"
    keeper.hold(own(3))
    assert keeper.standing() == ("own-3", [])
    assert keeper.refuse(own(3, minimum=14)) == "policy.altered"
    assert keeper.refuse(own(2, minimum=14)) == "policy.rollback"
    keeper.hold(own(2, minimum=16))  # looser nowhere, so its version matters not
    keeper.hold(own(4, minimum=30))
    assert keeper.refuse(own(3)) == "policy.rollback"


@attack(
    "a policy that officers regret, brought out again while their signatures count",
    rule(
        "What was replaced comes back only to tighten.",
        "policy.rollback",
        cut(SUCCESSOR, "before.is_known and", "False and"),
    ),
)
def test_what_officers_replaced_does_not_come_back(keeper: Keeper, attacked: Attacked) -> None:
    keeper.open("")
    # Of previews as well, so that the strict pack is stricter.
    text = text_of(4).replace('purposes = ["', 'purposes = ["preview", "')
    regretted = signed_policy(text)
    keeper.hold(regretted)
    keeper.hold(SignedPolicy(text=STRICT.text))
    keeper.now = NOW + DAY
    attacked.tries(lambda: keeper.hold(regretted))
    assert keeper.standing()[0] == ("own-4" if attacked.goes_through else "strict-2")


def test_policies_that_take_turns_are_kept_once_each(keeper: Keeper) -> None:
    """Where each is of the same strictness as well."""
    keeper.open("uniform-15")
    one, other = own(3), own(4)
    keeper.hold(one)
    keeper.hold(other)
    for _ in range(3):
        assert keeper.refuse(one) == "policy.rollback"
        keeper.hold(other)
    assert kept_by(keeper) == 3


def test_what_holds_comes_back_to_call_off_a_looser_one_that_waits(keeper: Keeper) -> None:
    keeper.open("uniform-15")
    looser = own(3, minimum=10, start=NOW + DAY)
    keeper.hold(own(2))
    keeper.hold(looser)
    keeper.hold(own(2))
    assert keeper.refuse(looser) == "policy.rollback"
    keeper.now = NOW + 2 * DAY
    assert keeper.standing() == ("own-2", [])


def test_a_pack_whose_text_a_new_release_changed_was_named_before(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.open("uniform-15")
    keeper.hold(own(3, minimum=40))
    changed = SignedPolicy(text=UNIFORM.text + "# as the new release says it\n")
    for room in (held_policies, store_policies):
        monkeypatch.setattr(room, "read_document", lambda _named: changed)
    assert keeper.open("uniform-15") == "own"
    assert keeper.standing() == ("own-3", [])


def test_an_unsigned_policy_of_its_own_is_refused_where_it_is_stricter_too(keeper: Keeper) -> None:
    keeper.open("uniform-15")
    assert keeper.refuse(SignedPolicy(text=text_of(3, minimum=500))) == "policy.unsigned"


def test_signatures_that_do_not_count(keeper: Keeper) -> None:
    keeper.open("uniform-15")
    good, other = own(3), own(4)
    assert keeper.refuse(good.model_copy(update={"text": other.text})) == "policy.signature"
    stranger = {OWNER: APPROVERS[officer_key(OWNER).public_key.thumbprint]}
    stranger = {one.key.thumbprint: one for one in stranger.values()}
    assert keeper.refuse(good, stranger) == "policy.signature", "a revoked officer's"
    twice = signed_policy(text_of(3), roles=[OWNER, OWNER])
    assert [keeper.refuse(twice), len(twice.signatures)] == ["policy.unsigned", 1]
    keeper.now = NOW - timedelta(minutes=6)
    assert keeper.refuse(good) == "policy.stale"
    keeper.now = NOW + 31 * DAY
    assert keeper.refuse(good) == "policy.stale"
    keeper.now = NOW + 31 * DAY - timedelta(seconds=1)
    keeper.hold(good)


def test_an_officer_in_anothers_name_signs_nothing(keeper: Keeper) -> None:
    keeper.open("uniform-15")
    forged = sign_policy(
        signed_policy(text_of(3), roles=[PRIVACY]),
        person="somebody", role=OWNER, key=officer_key(OWNER), now=NOW,
    )  # fmt: skip
    assert keeper.refuse(forged) == "policy.signature"


def test_a_policy_waits_for_its_day_and_takes_over_without_a_start(keeper: Keeper) -> None:
    keeper.open("uniform-15")
    keeper.hold(own(3, minimum=20, start=NOW + DAY))
    assert keeper.standing() == ("uniform-15-2", ["own-3"])
    keeper.now = NOW + DAY - timedelta(seconds=1)
    assert keeper.standing() == ("uniform-15-2", ["own-3"])
    keeper.now = NOW + DAY
    assert keeper.standing() == ("own-3", [])
    # A clock that is set back brings nothing back, with a new start or without.
    keeper.now = NOW
    assert keeper.standing() == ("own-3", [])
    assert keeper.open("uniform-15") == "own"
    assert keeper.standing() == ("own-3", [])


def test_what_was_taken_in_later_supersedes_what_waits(keeper: Keeper) -> None:
    keeper.open("uniform-15")
    keeper.hold(own(3, minimum=20, start=NOW + 2 * DAY))
    # It is compared with the one that waits, too, which would have been stricter.
    assert keeper.refuse(own(2, minimum=16, start=NOW + DAY)) == "policy.rollback"
    keeper.hold(own(4, minimum=30, start=NOW + DAY))
    assert keeper.standing() == ("uniform-15-2", ["own-3", "own-4"])
    keeper.now = NOW + DAY
    assert keeper.standing() == ("own-4", [])
    keeper.now = NOW + 2 * DAY
    assert keeper.standing() == ("own-4", [])


def test_two_whose_days_came_while_nobody_looked(keeper: Keeper) -> None:
    keeper.open("uniform-15")
    keeper.hold(own(3, minimum=20, start=NOW + 2 * DAY))
    keeper.hold(own(4, minimum=30, start=NOW + DAY))
    keeper.now = NOW + 3 * DAY
    assert keeper.standing() == ("own-4", [])
    assert keeper.open("") == "own"


def test_before_the_first_ones_day_nothing_is_in_force(keeper: Keeper, tmp_path: Path) -> None:
    file = tmp_path / "later.json"
    file.write_text(own(1, start=NOW + DAY).model_dump_json())
    assert keeper.open(str(file)) == "own"
    assert keeper.standing() == (None, ["own-1"])


def test_the_same_again_changes_nothing(keeper: Keeper) -> None:
    keeper.open("uniform-15")
    for _ in range(2):
        keeper.hold(own(3))
    assert keeper.standing() == ("own-3", [])
    assert kept_by(keeper) == 2


def kept_by(keeper: Keeper) -> int:
    """How many policies it keeps."""
    if keeper.engine is not None:
        return len(rows(keeper.engine))
    return len(json.loads(json.loads((keeper.folder / FILE).read_text())["body"])["policies"])


def rows(engine: Engine) -> list[PolicyRow]:
    with read_session(engine) as session:
        return list(session.exec(select(PolicyRow).order_by(PolicyRow.id)))


def shelf_of(tmp_path: Path) -> PolicyShelf:
    engine = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    migrate(engine, SCHEMA)
    return policy_shelf(engine)


def test_the_evidence_log_says_who_put_what_in_force_and_what_got_looser(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path)
    shelf.open("", approvers=APPROVERS, now=NOW)
    document = own(3, start=NOW + DAY)
    looser = shelf.hold(document, approvers=APPROVERS, now=NOW, by="anna")
    shelf.stand(now=NOW + DAY)
    with read_session(shelf.engine) as session:
        found = session.exec(select(EvidenceRow).order_by(EvidenceRow.index)).all()
    entries = [(one.action, json.loads(one.detail)) for one in found]
    assert [action for action, _ in entries] == ["policy.held", "policy.held", "policy.begun"]
    held, begun = entries[1][1], entries[2][1]
    assert (held["by"], held["replaces"], held["policy"]) == (
        "anna", STRICT.digest, document.digest,
    )  # fmt: skip
    assert held["looser"] == len(looser) > 0
    assert held["signatures"] == [one.digest for one in document.signatures]
    assert begun["policy"] == document.digest
    shelf.engine.dispose()


def test_of_two_policies_at_the_same_time_one_is_taken_in(tmp_path: Path) -> None:
    """Both were compared with the one that holds; the second is compared anew."""
    shelf = shelf_of(tmp_path)
    shelf.open("", approvers=APPROVERS, now=NOW)
    both, outcomes = Barrier(2, timeout=20), []

    def put(version: int) -> None:
        try:
            shelf.hold(own(version, minimum=20 - version), approvers=APPROVERS, now=NOW, by="a")
        except GridSecureError as refused:
            outcomes.append(refused.reason)
        else:
            outcomes.append("held")

    compared = PolicyShelf._compare

    def compare(*given: object, **more: object) -> object:
        found = compared(*given, **more)
        both.wait()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PolicyShelf, "_compare", compare)
        threads = [Thread(target=put, args=(version,)) for version in (3, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert sorted(outcomes) == ["held", "policy.meanwhile"]
    assert len(rows(shelf.engine)) == 2
    shelf.engine.dispose()


def test_two_processes_that_take_the_same_in_at_once_keep_it_once(tmp_path: Path) -> None:
    """As platforms on one database do at their first start."""
    shelf = shelf_of(tmp_path)
    compared, begun = PolicyShelf._compare, []

    def compare(*given: object, **more: object) -> object:
        found = compared(*given, **more)
        if not begun:
            begun.append(1)
            shelf.open("uniform-15", approvers=APPROVERS, now=NOW)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PolicyShelf, "_compare", compare)
        assert shelf.open("uniform-15", approvers=APPROVERS, now=NOW) == UNIFORM
    assert len(rows(shelf.engine)) == 1
    shelf.engine.dispose()


def test_what_was_released_before_there_were_policies_was_of_fifteen_customers(
    tmp_path: Path,
) -> None:
    shelf = shelf_of(tmp_path)
    told = ToldSetRow(
        name="before", minimum=15, domain="d", start_at=NOW, end_at=NOW, zone="z",
        customer_class="c", at=NOW,
    )  # fmt: skip
    with write_session(shelf.engine) as session:
        session.add(told)
    for document, reason in (
        (SignedPolicy(text=SMALL.text), "policy.rollback"),
        (own(2, minimum=14), "policy.rollback"),
    ):
        with pytest.raises(GridSecureError) as refused:
            shelf.hold(document, approvers=APPROVERS, now=NOW, by="anna")
        assert refused.value.reason == reason
    assert shelf.open("uniform-15", approvers=APPROVERS, now=NOW) == UNIFORM
    shelf.engine.dispose()


def test_a_disk_that_refuses_leaves_the_vaults_policy_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(tmp_path, is_vault=True)
    keeper.open("uniform-15")
    keeper.hold(own(3, minimum=20, start=NOW + DAY))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(held_policies, "replace_file", full)
        assert keeper.refuse(own(4, minimum=30)) == "storage.failed"
        keeper.now = NOW + DAY
        with pytest.raises(GridSecureError):
            keeper.standing()
    keeper.start()
    assert keeper.standing() == ("own-3", [])


def test_a_file_that_somebody_changed_stops_the_vaults_start(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, is_vault=True)
    keeper.open("")
    kept = (tmp_path / FILE).read_text()
    for changed in ("", kept[:-40], kept.replace("minimum = 100", "minimum = 002", 1)):
        assert changed != kept
        (tmp_path / FILE).write_text(changed)
        with pytest.raises(GridSecureError) as refused:
            keeper.start()
        assert refused.value.reason == "policy.kept"


def test_a_vault_with_keys_that_lost_the_file_takes_nothing_loose_unsigned(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, is_vault=True)
    keeper.open("")
    (tmp_path / FILE).unlink()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / f"{'0' * 64}.x.1.keys").write_bytes(b"")
    with pytest.raises(GridSecureError) as refused:
        keeper.open("small-demonstration")
    assert refused.value.reason == "policy.rollback"
    old = signed_policy(text_of(3, minimum=5))
    keeper.now = NOW + 31 * DAY
    assert keeper.refuse(old) == "policy.stale"
    assert keeper.open("uniform-15") == "uniform-15"
