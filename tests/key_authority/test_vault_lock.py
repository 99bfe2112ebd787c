"""The vault's lock: two of three custodians open it for a time, and nobody else, ever.

Each attack is one that somebody at the checker, or one custodian alone, could try.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from Cryptodome.Protocol.SecretSharing import Shamir
from hypothesis import given, settings
from hypothesis import strategies as st

from gridsecure import frames
from gridsecure.crypto.envelope import reseal, seal
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    EnvelopeError,
    GridSecureError,
    InputError,
    SignatureError,
    StaleMessageError,
    StorageError,
)
from gridsecure.homomorphic.parameters import INTERVAL, REGISTER
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.key_authority.packages import KeyOrder, LockOrder
from gridsecure.key_authority.vault.ceremony import finish, init_vault
from gridsecure.key_authority.vault.custody import keep_key_set, open_key_set
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.key_authority.vault.gate import ReleaseGate
from gridsecure.key_authority.vault.held_policies import VaultPolicies
from gridsecure.key_authority.vault.key_files import (
    FORMAT,
    KeyFile,
    key_path,
    list_key_files,
    read_key_file,
)
from gridsecure.key_authority.vault.key_lock import (
    GATHER,
    MOST_CHALLENGES,
    MOST_STATED,
    KeyLock,
    _Waiting,
)
from gridsecure.key_authority.vault.splitting import (
    KEK_BYTES,
    SplitOrder,
    combine_shares,
    keys_folder,
    read_splitting,
    share_digest,
    split_key,
)
from gridsecure.messages import Signed, sign_message
from gridsecure.offices.custodians import (
    KnownVault,
    answer_challenge,
    fetch_share,
    give_share,
    known_by,
    lock_vault,
    open_share,
    read_custodian,
    read_status,
    read_vault_key,
)
from gridsecure.offices.officers import Call
from gridsecure.policy.signed_policies import VaultPolicy
from gridsecure.vault_messages import (
    Challenge,
    GivenShare,
    SealedShare,
    SecretShare,
    SplitAgreement,
    VaultStatus,
)
from tests.approving import APPROVERS
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import keep_grid_keys, place_of
from tests.custodians import KEK, NAMES, custodian, custodian_key, init_with_kek, keys_of, own_share
from tests.grid_simulator import NOW, OFFICE, grid_keys
from tests.held_policy import POLICY

HOURS = 12


@dataclass
class Room:
    """A vault, its folder, and a clock that a test moves."""

    folder: Path
    now: datetime = NOW
    uptime: float = 0.0
    vault: Vault = field(init=False)

    def __post_init__(self) -> None:
        if not (self.folder / "splitting.json").exists():
            init_with_kek(self.folder)
        self.start()

    def clock(self) -> datetime:
        """The time in this room."""
        return self.now

    def start(self) -> None:
        """As after a new start of the process: locked."""
        lock = KeyLock(self.folder, hours=HOURS, clock=self.clock, uptime=lambda: self.uptime)
        policies = VaultPolicies(lock, clock=lock.now)
        policies.open(POLICY.name, approvers=APPROVERS)
        gate = ReleaseGate(self.folder, policies=policies, approvers=APPROVERS, clock=lock.now)
        checker = grid_keys().authority.public_key
        self.vault = Vault(self.folder, lock, checker, OFFICE.public_key, gate)

    def challenge(self, purpose: str = "unlock") -> Signed:
        return self.vault.state_challenge(purpose)

    def answer(self, name: str, stated: Signed | None = None, **given: object) -> Signed:
        """What a custodian answers; the challenge is a new one unless it is given."""
        own = own_share(self.folder, name)
        stated = stated or self.challenge("split" if "split" in given else "unlock")
        return answer_challenge(stated, own, key=custodian_key(name), now=self.now, **given)

    def give(self, name: str, **given: object) -> VaultStatus:
        return VaultStatus.parse(self.vault.give_share(self.answer(name, **given)).body)

    def unlock(self, *names: str) -> None:
        for name in names or NAMES[:2]:
            self.give(name)

    @property
    def status(self) -> VaultStatus:
        return VaultStatus.parse(self.vault.status().body)

    def use_key(self, name: str = REGISTER.name) -> str:
        """Ask for something that takes a secret key; the key set's id."""
        place = place_of(name)
        order = KeyOrder(
            gateway=place.gateway, parameters=name, generation=1, created_at=NOW.isoformat()
        )
        return self.vault.create_key_set(sign_message(order, key=grid_keys().authority)).key_id

    def reason(self, act: Callable[[], object]) -> str:
        with pytest.raises(GridSecureError) as refused:
            act()
        return refused.value.reason


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


# --- two of three, for a time ---------------------------------------------------------------------


@pytest.mark.parametrize("names", [("anna", "bert"), ("cleo", "anna"), ("bert", "cleo")])
def test_any_two_unlock_it_for_its_hours_and_no_longer(room: Room, names: tuple[str, str]) -> None:
    keep_grid_keys(room.folder)
    assert room.status.state == "locked"
    assert room.reason(room.use_key) == "vault.locked"
    first = room.give(names[0])
    assert (first.state, first.given, first.until) == ("locked", [names[0]], "")
    assert room.reason(room.use_key) == "vault.locked", "one alone opens nothing"
    opened = room.give(names[1])
    assert (opened.state, opened.given) == ("unlocked", [])
    assert opened.until == (NOW + timedelta(hours=HOURS)).isoformat()
    assert room.use_key() == grid_keys().secret[REGISTER.name].public.key_id
    room.now = NOW + timedelta(hours=HOURS) - timedelta(seconds=1)
    assert room.use_key()
    room.now += timedelta(seconds=1)
    assert room.reason(room.use_key) == "vault.locked"
    assert (room.status.state, room.vault._opened) == ("locked", {})


def test_it_locks_when_it_is_told_and_when_it_starts_anew(room: Room) -> None:
    keep_grid_keys(room.folder)
    order = LockOrder(ordered_at=NOW.isoformat())
    for forget in (
        lambda: room.vault.lock(sign_message(order, key=grid_keys().authority)),
        room.start,
    ):
        for name in NAMES[:2]:
            room.give(name)
        assert room.use_key()
        with room.vault.key_lock.use() as kek:
            pass
        forget()
        assert room.reason(room.use_key) == "vault.locked"
        assert room.vault._opened == {}
        room.give("cleo")
        assert room.status.state == "locked", "nothing that was given before counts"
        room.start()
    assert kek == KEK, "a process that ended had it until its end"


def test_a_locked_vault_overwrites_its_key(room: Room) -> None:
    for name in NAMES[:2]:
        room.give(name)
    with room.vault.key_lock.use() as kek:
        pass
    room.vault.key_lock.lock()
    assert kek == bytes(KEK_BYTES)


@pytest.mark.parametrize("look", ["status", "lock_in_time", "key_lock.status", "key_lock.lock"])
def test_a_key_is_not_overwritten_while_something_is_sealed_under_it(
    room: Room, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """The vault's time ends, and somebody looks, while a key set is being generated."""
    room.unlock()
    looking: list[Thread] = []

    def slow(_parameters: object) -> SecretKeySet:
        room.now += timedelta(hours=HOURS)
        looking.append(Thread(target=attrgetter(look)(room.vault)))
        looking[0].start()
        looking[0].join(timeout=0.3)
        return grid_keys().secret[REGISTER.name]

    monkeypatch.setattr("gridsecure.key_authority.vault.custody.generate_key_set", slow)
    key_id = room.use_key()
    looking[0].join()
    kept = open_key_set(keys_of(room.folder), place_of(REGISTER.name), kek=KEK)
    assert kept.public.key_id == key_id
    assert (room.status.state, room.vault._opened) == ("locked", {})


def test_whoever_finds_the_time_over_has_opened_key_sets_forgotten(room: Room) -> None:
    keep_grid_keys(room.folder)
    room.unlock()
    assert room.use_key()
    assert room.vault._opened
    room.now += timedelta(hours=HOURS)
    room.vault.key_lock.status()
    assert room.vault._opened == {}


def test_a_clock_that_is_set_back_keeps_nothing_open(room: Room) -> None:
    room.unlock()
    room.give("cleo", split=([custodian(name) for name in NAMES], 2))
    room.now -= timedelta(days=1)
    room.uptime = GATHER.total_seconds()
    assert (room.status.state, room.status.given) == ("unlocked", [])
    room.uptime = HOURS * 3600
    assert room.status.state == "locked"
    answer = room.answer("anna")
    room.uptime += 300
    assert room.reason(lambda: room.vault.give_share(answer)) == "vault.expired"


def test_a_share_for_something_else_takes_nobody_elses_away(room: Room) -> None:
    room.give("anna")
    split = ([custodian(name) for name in NAMES], 2)
    assert room.give("cleo", split=split).given == ["cleo"]
    assert room.status.state == "locked"
    assert room.give("bert").state == "unlocked", "Anna's still waited"
    assert room.status.given == []


def test_nobody_but_the_checker_locks_it(room: Room) -> None:
    order = sign_message(LockOrder(ordered_at=NOW.isoformat()), key=grid_keys().stranger)
    with pytest.raises(AuthenticityError):
        room.vault.lock(order)


def test_a_share_waits_half_an_hour_for_another_one(room: Room) -> None:
    room.give("anna")
    room.now += GATHER
    room.vault.lock_in_time()
    assert room.status.given == []
    assert room.give("bert").state == "locked"
    assert room.give("anna").state == "unlocked"


# --- refused --------------------------------------------------------------------------------------


LOCK = "gridsecure.key_authority.vault.key_lock:KeyLock"


@attack(
    "one custodian alone",
    rule(
        "In a custodian's name one share is taken.",
        "vault.given",
        cut(f"{LOCK}._let_wait", "earlier is not None and earlier.terms == given.terms", "False"),
    ),
    rule(
        "Fewer custodians than are needed unlock nothing.",
        "vault.locked",
        cut(f"{LOCK}.take_share", "len(agreed) < self.splitting.needed", "False"),
    ),
    rule(
        "What the shares make is the key that the splitting names.",
        "authenticity.envelope",
        cut(
            "gridsecure.key_authority.vault.splitting:combine_shares",
            "kek_id(kek).hex() != splitting.kek_id",
            "False",
        ),
    ),
    rule("Of a key that is shared two of three, one share tells nothing.", "keys.state-missing"),
)
def test_one_custodian_alone(room: Room, attacked: Attacked) -> None:
    keep_grid_keys(room.folder)

    def unlock() -> str:
        if attacked.goes_through:  # the last rule is arithmetic: only another's share removes it
            share = bytearray.fromhex(own_share(room.folder, "bert").share)
            waiting = _Waiting("", NOW + timedelta(minutes=1), share, None)
            room.vault.key_lock._waiting[2] = waiting
        for _ in range(2 - attacked.goes_through):
            room.give("anna")
        return room.use_key()

    key_id = attacked.tries(unlock)
    assert key_id in (None, grid_keys().secret[REGISTER.name].public.key_id)


@attack(
    "two custodians' answers, carried once more after a lock",
    rule(
        "A challenge is answered once.",
        "vault.replayed",
        cut(f"{LOCK}._challenge_of", "given.challenge in self._answered", "False"),
    ),
    rule(
        "A challenge is forgotten with its answer, and so is the key that opens the answer.",
        "vault.challenge",
        cut(
            f"{LOCK}._challenge_of",
            "self._stated.pop(given.challenge)",
            "self._stated[given.challenge]",
        ),
    ),
)
def test_an_answer_that_is_given_twice(room: Room, attacked: Attacked) -> None:
    answers = [room.answer(name) for name in NAMES[:2]]
    for answer in answers:
        room.vault.give_share(answer)
    room.vault.key_lock.lock()
    assert room.status.state == "locked"
    attacked.tries(lambda: [room.vault.give_share(answer) for answer in answers])
    assert room.status.state == ("unlocked" if attacked.goes_through else "locked")


def test_an_answer_that_a_new_start_forgot(room: Room) -> None:
    answer = room.answer("anna")
    room.start()
    assert room.reason(lambda: room.vault.give_share(answer)) == "vault.challenge"


def test_an_answer_that_comes_too_late(room: Room) -> None:
    answer = room.answer("anna")
    stated = room.challenge()
    room.now += timedelta(minutes=5)
    assert room.reason(lambda: room.vault.give_share(answer)) == "vault.expired"
    with pytest.raises(StaleMessageError):
        room.answer("anna", stated)
    assert room.status.given == []


def test_a_challenge_that_many_others_pushed_out(room: Room) -> None:
    answer = room.answer("anna")
    for number in range(3 * MOST_CHALLENGES):
        room.vault.state_challenge("unlock", asker=f"bert or {number % 2}")
    assert VaultStatus.parse(room.vault.give_share(answer).body).given == ["anna"]
    answer = room.answer("bert")
    for number in range(MOST_STATED):
        room.vault.state_challenge("unlock", asker=f"{number}")
    assert room.reason(lambda: room.vault.give_share(answer)) == "vault.challenge"
    answer = room.answer("bert")
    for _ in range(MOST_CHALLENGES):
        room.challenge()
    assert room.reason(lambda: room.vault.give_share(answer)) == "vault.challenge"


def wrong_share(room: Room, share: str) -> SecretShare:
    return own_share(room.folder, "anna").model_copy(update={"share": share})


@pytest.mark.parametrize("wrong", ["another", "bert's", "zero"])
def test_a_wrong_share(room: Room, wrong: str) -> None:
    share = {
        "another": "ab" * 16,
        "bert's": own_share(room.folder, "bert").share,
        "zero": "00" * 16,
    }[wrong]
    answer = answer_challenge(
        room.challenge(), wrong_share(room, share), key=custodian_key("anna"), now=NOW
    )
    assert room.reason(lambda: room.vault.give_share(answer)) == "vault.share"
    assert room.status.given == []
    assert room.give("anna").given == ["anna"], "the right one is taken afterwards"


def changed(answer: Signed, key: Sm2PrivateKey, **changes: object) -> Signed:
    return sign_message(GivenShare.parse(answer.body).model_copy(update=changes), key=key)


def test_a_share_in_another_custodians_name(room: Room) -> None:
    """Bert has Anna's answer to carry, and signs it as his own."""
    answer = room.answer("anna")
    own = changed(answer, custodian_key("bert"))
    assert room.reason(lambda: room.vault.give_share(own)) == "vault.share"
    own = changed(room.answer("anna"), custodian_key("bert"), number=2)
    assert room.reason(lambda: room.vault.give_share(own)) == "vault.share"
    assert room.status.given == []


def test_a_stranger_and_an_altered_answer(room: Room) -> None:
    answer = room.answer("anna")
    stranger = changed(answer, grid_keys().stranger)
    assert room.reason(lambda: room.vault.give_share(stranger)) == "vault.custodian"
    altered = answer.model_copy(update={"body": answer.body.replace('"unlock"', '"split"')})
    with pytest.raises(SignatureError):
        room.vault.give_share(altered)
    own = bytes.fromhex(GivenShare.parse(answer.body).sealed)
    for sealed in ("", "00", "zz", (own[:-1] + bytes([own[-1] ^ 1])).hex()):
        broken = changed(room.answer("anna"), custodian_key("anna"), sealed=sealed)
        assert room.reason(lambda one=broken: room.vault.give_share(one)) == "vault.share"


def test_an_answer_to_another_challenge(room: Room) -> None:
    """A carrier puts one challenge's answer under another's name: neither key nor purpose fits."""
    answer, other = room.answer("anna"), Challenge.parse(room.challenge().body)
    moved = changed(answer, custodian_key("anna"), challenge=other.challenge)
    assert room.reason(lambda: room.vault.give_share(moved)) == "vault.share"


def test_a_share_of_another_splitting(room: Room, tmp_path: Path) -> None:
    other = Room(tmp_path / "other")
    foreign = other.answer("anna")
    assert room.reason(lambda: room.vault.give_share(foreign)) == "vault.splitting-old"
    with pytest.raises(AuthenticityError):  # the custodian's own machine: it pinned the other vault
        room.answer("anna", other.challenge())


def test_a_challenge_of_somebody_between(room: Room) -> None:
    """The checker states a challenge with its own key in it: no custodian answers."""
    own = generate_private_key()
    challenge = Challenge.parse(room.challenge().body)
    forged = challenge.model_copy(update={"ephemeral": own.public_key.point.hex()})
    with pytest.raises(AuthenticityError):
        room.answer("anna", sign_message(forged, key=own))
    relabelled = sign_message(forged, key=own).model_copy(
        update={"signer": room.vault.key_lock.key.public_key.thumbprint}
    )
    with pytest.raises(AuthenticityError):
        room.answer("anna", relabelled)


def test_a_challenge_for_something_else_than_was_asked(room: Room) -> None:
    """The checker asks for a splitting where the custodian only unlocks, and the other way."""
    with pytest.raises(InputError) as refused:
        room.answer("anna", room.challenge("split"))
    assert refused.value.reason == "vault.challenge"
    with pytest.raises(InputError):
        room.answer("anna", room.challenge(), split=([custodian(name) for name in NAMES], 2))
    assert room.reason(lambda: room.challenge("open")) == "vault.purpose"


def test_what_the_checker_carries_holds_no_share(room: Room) -> None:
    stated = room.challenge()
    answer = room.answer("anna", stated)
    share = own_share(room.folder, "anna").share
    carried = (stated.model_dump_json() + answer.model_dump_json()).encode()
    for needle in (share.encode(), bytes.fromhex(share)):
        assert needle not in carried
    assert share not in repr(own_share(room.folder, "anna"))


def test_a_share_file_of_somebody_else(room: Room) -> None:
    splitting = read_splitting(room.folder)
    with pytest.raises(InputError) as refused:
        open_share(splitting.sealed[0], key=custodian_key("bert"))
    assert refused.value.reason == "vault.share-file"
    sealed = SealedShare.parse(splitting.sealed[0].body)
    resigned = sign_message(sealed, key=generate_private_key())
    with pytest.raises(InputError):
        open_share(resigned, key=custodian_key("anna"))


def carrying(answer: Signed) -> Call:
    """A key authority that answers whatever is asked by this."""
    return lambda *_asked, **_options: answer.model_dump()


def test_a_share_of_somebody_between_is_not_kept(room: Room) -> None:
    """Anybody can seal a share to a custodian: it counts if it names the vault that one knows."""
    pinned = own_share(room.folder, "anna").vault_key
    own = room.vault.hand_out_share("anna")
    key = custodian_key("anna")
    assert fetch_share(carrying(own), "anna", key=key, known=KnownVault(pinned)) == own
    everybody = [custodian(name) for name in NAMES]
    forged = split_key(SplitOrder(everybody, 2, generate_private_key()), created_at=NOW)
    (sealed, *_) = forged.splitting.sealed
    assert open_share(sealed, key=key).vault_key != pinned
    for known in (KnownVault(pinned), known_by(own, own_share(room.folder, "anna"))):
        forge = partial(fetch_share, carrying(sealed), "anna", key=key, known=known)
        assert room.reason(forge) == "vault.pin"


def test_whoever_pinned_the_vault_believes_nobody_else(room: Room) -> None:
    """A key authority that says the vault is locked when it is not, or was once."""
    pinned = KnownVault(own_share(room.folder, "anna").vault_key)
    before = room.vault.status()
    with pytest.raises(StaleMessageError):
        lock_vault(carrying(before), known=pinned)
    with pytest.raises(StaleMessageError):
        read_status(carrying(before), known=pinned)
    forged = sign_message(room.status, key=grid_keys().authority)
    assert room.reason(lambda: read_status(carrying(forged), known=pinned)) == "vault.signer"
    assert read_status(carrying(forged), known=None).state == "locked"
    room.unlock()

    def asked(*_asked: str, params: dict[str, str]) -> dict[str, Any]:
        return room.vault.status(params["nonce"]).model_dump()

    assert read_status(asked, known=pinned).state == "unlocked"
    assert room.reason(lambda: lock_vault(asked, known=pinned)) == "vault.unlocked"


def test_an_answer_to_another_share_is_not_believed(room: Room) -> None:
    own, older = own_share(room.folder, "anna"), room.vault.status()

    def between(_service: str, _method: str, path: str, **_options: object) -> dict[str, str]:
        return (room.challenge() if path.endswith("challenges") else older).model_dump()

    with pytest.raises(StaleMessageError):
        give_share(between, own, key=custodian_key("anna"), now=NOW)


def test_a_vaults_key_as_a_command_is_told_of_it(tmp_path: Path) -> None:
    point = custodian("anna").public_key
    (tmp_path / "vault.pub").write_text(point.upper() + "\n")
    assert read_vault_key(point) == read_vault_key(str(tmp_path / "vault.pub")) == point
    for text in ("", "04", "04" + "0" * 128):
        with pytest.raises(InputError) as refused:
            read_vault_key(text)
        assert refused.value.reason == "vault.pin"


def test_a_splitting_that_was_altered_on_disk(room: Room) -> None:
    path = room.folder / "splitting.json"
    path.write_text(path.read_text().replace('\\"needed\\":2', '\\"needed\\":3'))
    assert room.reason(room.start) == "vault.splitting"
    path.unlink()
    assert room.reason(room.start) == "vault.uninitialised"


# --- the key is split anew ------------------------------------------------------------------------


def split_anew(room: Room, *names: str) -> VaultStatus:
    """As Anna and Bert: Cleo leaves, Dora comes."""
    everybody = [custodian(name) for name in names]
    room.give("anna", split=(everybody, 2))
    return room.give("bert", split=(everybody, 2))


def test_a_custodian_leaves(room: Room) -> None:
    keep_grid_keys(room.folder)
    before = keys_of(room.folder)
    old = {name: own_share(room.folder, name) for name in NAMES}
    told = split_anew(room, "anna", "bert", "dora")
    assert told.state == "unlocked"
    assert told.uncollected == ["anna", "bert", "dora"]
    assert not before.exists(), "what the old key opens is gone"
    assert room.use_key() == grid_keys().secret[REGISTER.name].public.key_id
    with room.vault.key_lock.use() as kek:
        assert kek != KEK
    fetched = room.vault.hand_out_share("dora")
    assert open_share(fetched, key=custodian_key("dora")).number == 3
    assert room.reason(lambda: room.vault.hand_out_share("cleo")) == "not-found.share"

    stated = room.challenge()
    late = partial(answer_challenge, stated, old["cleo"], key=custodian_key("cleo"), now=NOW)
    assert room.reason(late) == "vault.signer"
    own = [own_share(room.folder, name) for name in ("anna", "dora")]  # while they are handed out
    room.start()
    for name, share in zip(("anna", "dora"), own, strict=True):
        answer = answer_challenge(room.challenge(), share, key=custodian_key(name), now=NOW)
        room.vault.give_share(answer)
    assert room.use_key()
    assert room.status.uncollected == ["bert"], "whoever has not shown the own share yet"
    assert room.reason(lambda: room.vault.hand_out_share("dora")) == "not-found.share"
    assert open_share(room.vault.hand_out_share("bert"), key=custodian_key("bert")).number == 2
    old_kek = combine_shares_of(old["cleo"], old["anna"])
    assert old_kek == KEK
    with pytest.raises(EnvelopeError):
        open_key_set(keys_of(room.folder), place_of(REGISTER.name), kek=old_kek)


def combine_shares_of(*shares: SecretShare) -> bytes:
    return bytes(
        Shamir.combine([(one.number, bytes.fromhex(one.share)) for one in shares], ssss=False)
    )


# --- the vault signs by a new key after each splitting --------------------------------------------


def test_an_old_copy_of_the_folder_collects_no_new_share(room: Room, tmp_path: Path) -> None:
    """Somebody has the folder as it was before a splitting, and carries every message."""
    copy = Room(shutil.copytree(room.folder, tmp_path / "copy"))
    before = {name: known_by(room.vault.hand_out_share(name), own_share(room.folder, name))
              for name in NAMES[:2]}  # fmt: skip
    split_anew(room, "anna", "bert", "dora")
    new = {name: own_share(room.folder, name) for name in ("anna", "bert", "dora")}
    for purpose in ("unlock", "split"):
        stated = Challenge.parse(copy.challenge(purpose).body)
        named = stated.model_copy(update={"splitting": new["anna"].splitting})
        forged = sign_message(named, key=copy.vault.key_lock.key)
        for name, share in new.items():
            act = partial(answer_challenge, forged, share, key=custodian_key(name), now=NOW)
            assert room.reason(act) == "vault.superseded"
    # Nor does it put a vault of its own in place of the one that became of it.
    own = SplitOrder([custodian(name) for name in new], 2, generate_private_key())
    (sealed, *_) = split_key(own, created_at=NOW).splitting.sealed
    agreed = SplitAgreement(
        vault_key=before["anna"].vault_key,
        next_key=own.key.public_key.point.hex(),
        custodians=list(own.custodians),
        needed=2,
    )
    for signers in ([], ["anna"], ["anna", "anna"], ["anna", "dora"], ["vault"]):
        keys = [copy.vault.key_lock.key if one == "vault" else custodian_key(one)
                for one in signers]  # fmt: skip
        chain = [[sign_message(agreed, key=key) for key in keys]]
        told = SealedShare.parse(sealed.body).model_copy(update={"successions": chain})
        forged = sign_message(told, key=own.key)
        for known in before.values():
            fetch = partial(
                fetch_share, carrying(forged), "anna", key=custodian_key("anna"), known=known
            )
            assert room.reason(fetch) == "vault.pin"


def test_a_custodian_follows_the_vault_through_splittings(room: Room) -> None:
    """Cleo was away for two of them, and has only the first share."""
    first = known_by(room.vault.hand_out_share("cleo"), own_share(room.folder, "cleo"))
    signed_by = {room.vault.key_lock.key.public_key.thumbprint}
    split_anew(room, "anna", "bert", "cleo")
    second = known_by(room.vault.hand_out_share("cleo"), own_share(room.folder, "cleo"))
    signed_by.add(room.vault.key_lock.key.public_key.thumbprint)
    split_anew(room, "dora", "bert", "cleo")
    assert room.vault.key_lock.key.public_key.thumbprint not in signed_by
    own, key = room.vault.hand_out_share("cleo"), custodian_key("cleo")
    for known in (first, second, KnownVault(room.status.vault_key)):
        assert fetch_share(carrying(own), "cleo", key=key, known=known) == own
    share = open_share(own, key=key)
    assert set(share.earlier) == signed_by
    kept = [
        partial(fetch_share, carrying(own), "cleo", key=key, known=known_by(own, share)),
        partial(fetch_share, carrying(own), "cleo", key=key, known=KnownVault(first.vault_key)),
    ]
    assert [room.reason(one) for one in kept] == ["vault.splitting-old", "vault.pin"]
    told = SealedShare.parse(own.body)
    without = told.model_copy(update={"successions": told.successions[1:]})
    other = sign_message(without, key=room.vault.key_lock.key)
    lost = partial(fetch_share, carrying(other), "cleo", key=key, known=first)
    assert room.reason(lost) == "vault.pin"


def test_an_agreement_to_another_key_than_the_vaults_next_one(room: Room) -> None:
    everybody = [custodian(name) for name in NAMES]
    given = GivenShare.parse(room.answer("anna", split=(everybody, 2)).body)
    agreement = SplitAgreement.parse(given.agreement.body)
    other = agreement.model_copy(update={"next_key": custodian("dora").public_key})
    unlocking = GivenShare.parse(room.answer("anna").body)
    for again, said in (
        (given, sign_message(other, key=custodian_key("anna"))),
        (given, sign_message(agreement, key=custodian_key("bert"))),
        (given, None),
        (unlocking, given.agreement),
    ):
        stated = Challenge.parse(room.challenge(again.purpose).body)
        wrong = again.model_copy(update={"challenge": stated.challenge, "agreement": said})
        envelope = sign_message(wrong, key=custodian_key("anna"))
        assert room.reason(lambda one=envelope: room.vault.give_share(one)) == "vault.share"
    assert room.status.given == []


def test_the_old_signing_key_goes_with_the_old_key_sets(room: Room) -> None:
    old = keys_of(room.folder) / "signing.key"
    secret = old.read_bytes()
    room.vault.states  # noqa: B018 - a vault that is at work
    split_anew(room, *NAMES)
    assert not old.exists()
    held = b"".join(path.read_bytes() for path in room.folder.rglob("*") if path.is_file())
    assert secret not in held
    (keys_of(room.folder) / "signing.key").chmod(0o644)
    assert room.reason(room.start) == "keys.permissions"


def test_policies_stay_when_the_key_is_split_anew(room: Room) -> None:
    before = VaultPolicy.parse(room.vault.read_policy().body)
    split_anew(room, "anna", "bert", "dora")
    assert before.in_force is not None
    for _ in range(2):
        told = VaultPolicy.parse(room.vault.read_policy().body)
        assert (told.in_force, told.taken_in) == (before.in_force, before.taken_in)
        room.start()


def test_two_who_want_different_custodians_split_nothing(room: Room) -> None:
    first = [custodian(name) for name in ("anna", "bert", "dora")]
    second = [custodian(name) for name in ("anna", "bert", "emil")]
    before = read_splitting(room.folder)
    room.give("anna", split=(first, 2))
    told = room.give("bert", split=(second, 2))
    assert (told.state, told.given) == ("locked", ["bert"])
    assert room.give("anna").given == ["anna"], "nor does a share for it unlock"
    assert room.status.state == "locked"
    assert read_splitting(room.folder) == before


@pytest.mark.parametrize(
    ("names", "needed"),
    [(("anna", "bert"), 2), (("anna", "bert", "dora"), 3), (("anna", "anna", "dora"), 2)],
)
def test_custodians_among_whom_a_key_cannot_be_split(
    room: Room, names: tuple[str, ...], needed: int
) -> None:
    everybody = [custodian(name) for name in names]
    before = read_splitting(room.folder)
    act = partial(room.give, "anna", split=(everybody, needed))
    assert room.reason(act) == "vault.custodians"
    assert read_splitting(room.folder) == before


def test_a_splitting_that_a_full_disk_stops(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_grid_keys(room.folder)
    before, files = read_splitting(room.folder), sorted(keys_of(room.folder).iterdir())
    everybody = [custodian(name) for name in NAMES]
    room.give("anna", split=(everybody, 2))
    answer = room.answer("bert", split=(everybody, 2))
    with monkeypatch.context() as patch:
        patch.setattr("gridsecure.whole_files.os.fsync", full_disk)
        assert room.reason(lambda: room.vault.give_share(answer)) == "storage.failed"
    assert read_splitting(room.folder) == before
    assert sorted(keys_of(room.folder).iterdir()) == files
    assert [path.name for path in room.folder.glob("keys-*")] == [keys_of(room.folder).name]
    assert room.reason(room.use_key) == "vault.locked", "they agreed to split, not to unlock"
    room.unlock()
    assert room.use_key()


def full_disk(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


@dataclass
class AfterRename:
    """A disk, or somebody at the keyboard, that stops what follows a replaced splitting."""

    folder: Path
    error: BaseException

    def __post_init__(self) -> None:
        self.before = self.named()

    def named(self) -> str | None:
        path = self.folder / "splitting.json"
        return path.read_text() if path.exists() else None

    def __call__(self, _descriptor: int) -> None:
        if self.named() != self.before:
            raise self.error


def test_a_splitting_in_force_that_the_disk_did_not_confirm(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file was replaced, then the folder could not be synchronised: the new one counts."""
    keep_grid_keys(room.folder)
    old = keys_of(room.folder)
    everybody = [custodian(name) for name in ("anna", "bert", "dora")]
    room.give("anna", split=(everybody, 2))
    answer = room.answer("bert", split=(everybody, 2))
    with monkeypatch.context() as patch:
        stop = AfterRename(room.folder, OSError(5, "Input/output error"))
        patch.setattr("gridsecure.whole_files.os.fsync", stop)
        told = VaultStatus.parse(room.vault.give_share(answer).body)
    assert (told.state, told.uncollected) == ("unlocked", ["anna", "bert", "dora"])
    assert old.exists(), "until the new one is sure to be on the disk"
    assert "old keys are left" in caplog.text
    assert room.use_key()
    finish(room.folder)
    assert list(room.folder.glob("keys-*")) == [keys_of(room.folder)] != [old]
    room.start()
    room.unlock("anna", "dora")
    assert room.use_key() == grid_keys().secret[REGISTER.name].public.key_id


def test_a_splitting_in_force_that_was_interrupted(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_grid_keys(room.folder)
    everybody = [custodian(name) for name in NAMES]
    room.give("anna", split=(everybody, 2))
    answer = room.answer("bert", split=(everybody, 2))
    with monkeypatch.context() as patch:
        patch.setattr(
            "gridsecure.whole_files.os.fsync", AfterRename(room.folder, KeyboardInterrupt())
        )
        with pytest.raises(KeyboardInterrupt):
            room.vault.give_share(answer)
    finish(room.folder)
    room.start()
    room.unlock()
    assert room.use_key() == grid_keys().secret[REGISTER.name].public.key_id


def test_an_older_splitting_restored_alone_destroys_nothing(room: Room, tmp_path: Path) -> None:
    keep_grid_keys(room.folder)
    older = (room.folder / "splitting.json").read_bytes()
    split_anew(room, *NAMES)
    current = keys_of(room.folder)
    newer = (room.folder / "splitting.json").read_bytes()
    (room.folder / "splitting.json").write_bytes(older)
    assert room.reason(lambda: finish(room.folder)) == "vault.splitting"
    assert len(list(list_key_files(current))) == len(grid_keys().secret)
    (room.folder / "splitting.json").write_bytes(newer)
    own = room.folder / "keys-of-mine"  # a name that the vault does not give
    own.mkdir()
    finish(room.folder)
    assert own.exists()


def test_a_splitting_killed_before_and_after_it_was_in_force(room: Room, tmp_path: Path) -> None:
    """What a killed process leaves is put right at the next start."""
    keep_grid_keys(room.folder)
    old = keys_of(room.folder)
    shutil.copytree(old, room.folder / f"keys-{'0' * 32}", dirs_exist_ok=True)  # killed before
    finish(room.folder)
    assert list(room.folder.glob("keys-*")) == [old]
    copy = tmp_path / "copy"
    shutil.copytree(old, copy)
    split_anew(room, *NAMES)
    shutil.copytree(copy, old)  # killed after
    finish(room.folder)
    assert list(room.folder.glob("keys-*")) == [keys_of(room.folder)]
    assert room.use_key()


def test_a_disk_that_is_full_at_unlocking_does_not_refuse_the_share(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That sealed shares are handed out no more is a tidying-up: it waits for the next time."""
    room.give("anna")
    answer = room.answer("bert")
    with monkeypatch.context() as patch:
        patch.setattr("gridsecure.whole_files.os.fsync", full_disk)
        told = VaultStatus.parse(room.vault.give_share(answer).body)
    assert (told.state, told.uncollected) == ("unlocked", list(NAMES))
    room.unlock()
    assert room.status.uncollected == ["cleo"]


# --- the first key, and folders of earlier releases -----------------------------------------------


def as_format_1(path: Path, kek: bytes) -> None:
    """Write a key file as the releases did that had a key file beside it."""
    file = read_key_file(path)
    old = KeyFile(1, b"", file.beside[1:])
    sealed = reseal(file.sealed, kek=kek, new_kek=kek, purpose=(file.purpose, old.purpose))
    path.write_bytes(frames.join_frames([sealed, *old.beside]))


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A vault's folder of earlier releases: key files of format 1, and the key that opens them."""
    folder = tmp_path / "vault"
    folder.mkdir(mode=0o700)
    (folder / "kek").write_bytes(KEK)
    for name in (REGISTER.name, INTERVAL.name):
        key_set = grid_keys().secret[name]
        keep_key_set(folder, place_of(name), key_set, kek=KEK, created_at=NOW)
        as_format_1(key_path(folder, place_of(name)), KEK)
    return folder


def init(folder: Path, **given: object):
    everybody = [custodian(name) for name in NAMES]
    return init_vault(folder, everybody, needed=2, created_at=NOW, **given)


def test_a_folder_of_an_earlier_release_is_taken_over(earlier: Path) -> None:
    versions = {read_key_file(path).version for path in list_key_files(earlier)}
    assert versions == {1}
    made = init(earlier, old_kek=earlier / "kek")
    assert (made.key_sets, sorted(made.shares)) == (2, sorted(NAMES))
    assert not (earlier / "kek").exists()
    assert list(list_key_files(earlier)) == []
    kept = list(list_key_files(keys_of(earlier)))
    assert {read_key_file(path).version for path in kept} == {FORMAT}
    room = Room(earlier)
    for name in NAMES[:2]:
        room.give(name)
    for name in (REGISTER.name, INTERVAL.name):
        assert room.use_key(name) == grid_keys().secret[name].public.key_id
    held = b"".join(path.read_bytes() for path in earlier.rglob("*") if path.is_file())
    assert KEK not in held
    assert room.reason(lambda: init(earlier)) == "vault.initialised"


def test_what_an_earlier_release_revoked_stays_so(earlier: Path) -> None:
    place = place_of(REGISTER.name)
    path = key_path(earlier, place)
    path.rename(path.with_suffix(".revoked"))
    assert init(earlier, old_kek=earlier / "kek").key_sets == 2
    room = Room(earlier)
    room.unlock()
    assert room.reason(room.use_key) == "keys.revoked"
    assert room.use_key(INTERVAL.name)


def test_a_taking_over_that_was_killed_before_it_destroyed_the_old_key(
    earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("gridsecure.key_authority.vault.ceremony.finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            init(earlier, old_kek=earlier / "kek")
    other = earlier / "kek-of-another-vault"
    other.write_bytes(bytes(KEK_BYTES))
    for path in (other, earlier / "kek"):
        with pytest.raises(ConflictError) as again:
            init(earlier, old_kek=path)
        assert again.value.reason == "vault.initialised"
    assert other.exists(), "it never was this vault's"
    assert not (earlier / "kek").exists()
    assert list(list_key_files(earlier)) == []
    room = Room(earlier)
    room.unlock()
    assert room.use_key() == grid_keys().secret[REGISTER.name].public.key_id


def interrupted(*_folder: Path, **_given: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("kek", [None, b"", b"x" * 15, b"x" * 17])
def test_an_earlier_folder_without_its_key(earlier: Path, kek: bytes | None) -> None:
    path = earlier / "kek"
    path.unlink() if kek is None else path.write_bytes(kek)
    before = sorted(earlier.iterdir())
    with pytest.raises(StorageError) as refused:
        init(earlier, old_kek=path)
    assert refused.value.reason == "vault.kek"
    assert sorted(earlier.iterdir()) == before


def test_an_earlier_folder_under_another_key_is_left_as_it_is(earlier: Path) -> None:
    (earlier / "kek").write_bytes(bytes(16))
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}
    with pytest.raises(EnvelopeError):
        init(earlier, old_kek=earlier / "kek")
    after = {path.name: path.read_bytes() for path in earlier.iterdir()}
    assert after.items() >= before.items()
    assert set(after) == set(before)


def test_a_key_file_of_a_later_release_says_so(tmp_path: Path) -> None:
    """Each format as this release reads it: its own opens, an earlier one is taken over first."""
    room = Room(tmp_path)
    keep_grid_keys(room.folder)
    keys, place = keys_of(room.folder), place_of(REGISTER.name)
    path = key_path(keys, place)
    assert open_key_set(keys, place, kek=KEK).public.key_id
    file = read_key_file(path)
    later = (file.beside[0].replace(b'"format":2', b'"format":3'), *file.beside[1:])
    path.write_bytes(frames.join_frames([file.sealed, *later]))
    assert room.reason(lambda: open_key_set(keys, place, kek=KEK)) == "keys.format"
    path.write_bytes(frames.join_frames([file.sealed, *file.beside]))
    as_format_1(path, KEK)
    assert room.reason(lambda: open_key_set(keys, place, kek=KEK)) == "keys.format"
    path.write_bytes(frames.join_frames([file.sealed, b"{}", *file.beside[1:]]))
    with pytest.raises(EnvelopeError):
        open_key_set(keys, place, kek=KEK)


def test_the_format_names_scheme_and_seal(tmp_path: Path) -> None:
    init_with_kek(tmp_path)
    keep_grid_keys(tmp_path)
    said = read_key_file(key_path(keys_of(tmp_path), place_of(REGISTER.name))).beside[0]
    scheme = REGISTER.scheme.name
    assert said.decode() == f'{{"format":2,"scheme":"{scheme}","sealed":"SM4-GCM"}}'


# --- the sharing itself ---------------------------------------------------------------------------


@settings(max_examples=20)
@given(kek=st.binary(min_size=16, max_size=16), needed=st.integers(2, 4), data=st.data())
def test_enough_shares_make_the_key_and_too_few_make_another(
    kek: bytes, needed: int, data: st.DataObject
) -> None:
    names = [f"custodian-{number}" for number in range(needed + 1)]
    order = SplitOrder([custodian(name) for name in names], needed, custodian_key("vault"))
    new = split_key(order, created_at=NOW, kek=kek)
    shares = {
        own.number: bytearray.fromhex(own.share)
        for own in (
            open_share(sealed, key=custodian_key(name))
            for name, sealed in zip(names, new.splitting.sealed, strict=True)
        )
    }
    for number, share in shares.items():
        named = new.splitting.shares[number - 1]
        assert share_digest(new.splitting.splitting, number, share) == named
    numbers = data.draw(st.permutations(sorted(shares)))
    chosen = {number: shares[number] for number in numbers[:needed]}
    assert combine_shares(new.splitting, chosen) == kek
    chosen.popitem()
    with pytest.raises(EnvelopeError):
        combine_shares(new.splitting, chosen)


def test_custodians_as_a_command_names_them(tmp_path: Path) -> None:
    own = custodian("anna")
    assert read_custodian(f"anna={own.public_key}") == own
    path = tmp_path / "anna.pub"
    path.write_text(own.public_key.upper() + "\n")
    assert read_custodian(f"anna={path}") == own
    for text in (
        "anna",
        "anna=",
        "=04",
        "anna=04ff",
        f"a b={own.public_key}",
        "anna=04" + "0" * 128,
    ):
        with pytest.raises(InputError) as refused:
            read_custodian(text)
        assert refused.value.reason == "vault.custodian-text"


def test_resealing_keeps_owner_and_time() -> None:
    blob = seal(b"secret", kek=KEK, purpose="old", owner="somebody", created_at=NOW)
    other = bytes(reversed(KEK))
    anew = reseal(blob, kek=KEK, new_kek=other, purpose=("old", "new"))
    direct = seal(b"secret", kek=other, purpose="new", owner="somebody", created_at=NOW)
    head = len(b"GSENV\x01\x01") + 8 + 2 + len("new") + 2 + len("somebody") + 8
    assert anew[:head] == direct[:head]
    with pytest.raises(EnvelopeError):
        reseal(blob, kek=other, new_kek=KEK, purpose=("old", "new"))


def test_the_folder_is_its_owners_alone(room: Room) -> None:
    keep_grid_keys(room.folder)
    folder = keys_folder(room.folder, read_splitting(room.folder))
    assert (folder / "signing.key").exists()
    for path in (folder, *folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0
