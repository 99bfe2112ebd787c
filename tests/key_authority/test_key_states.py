"""Key sets go through their states by custodians' signatures, and the vault holds to each."""

from __future__ import annotations

import shutil
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from gridsecure.crypto.envelope import open_sealed, seal
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import ConflictError, GridSecureError, StorageError
from gridsecure.homomorphic.parameters import INTERVAL, REGISTER
from gridsecure.key_authority.checker.answering import FAILED, REFUSED, RELEASED
from gridsecure.key_authority.checker.key_sets import (
    give_key_set,
    list_key_sets,
    move_key_set,
    read_life,
)
from gridsecure.key_authority.packages import KeyOrder
from gridsecure.key_authority.vault import splitting
from gridsecure.key_authority.vault.key_files import list_key_files
from gridsecure.key_authority.vault.key_states import (
    LIST,
    MOVES,
    SEALED_LIST,
    KeyStates,
    SealedStates,
)
from gridsecure.key_authority.vault.splitting import keep_splitting, read_splitting
from gridsecure.messages import Signed, sign_message
from gridsecure.vault_messages import KeyLife, KeyLives, KeyMove, KeyState
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import Authority, keep_grid_keys, key_set_request, place_of
from tests.custodians import KEK, NAMES, custodian, custodian_key, keys_of, signed_move
from tests.grid_simulator import NOW, GridSimulator, GridUpload, grid_keys
from tests.key_authority.test_vault_lock import Room, full_disk, split_anew

KEY_ID = grid_keys().secret[REGISTER.name].public.key_id
GATEWAY = place_of(REGISTER.name).gateway
STATES: tuple[KeyState, ...] = ("active", "suspended", "deactivated", "compromised", "destroyed")


def move(
    target: KeyState,
    *,
    after: int = 0,
    by: str = "anna",
    key: Sm2PrivateKey | None = None,
    key_id: str = KEY_ID,
) -> Signed:
    said = KeyMove(
        key_id=key_id, gateway=GATEWAY, target=target, after=after, signed_at=NOW.isoformat()
    )
    return sign_message(said, key=key or custodian_key(by))


def moved(room: Room, target: KeyState, *names: str) -> KeyLife:
    """Have these custodians sign a move; how the key set stands then."""
    for name in names:
        after = len(life_of(room).moves)
        envelope = room.vault.move_key_set(move(target, after=after, by=name))
    return KeyLife.parse(envelope.body)


def life_of(room: Room) -> KeyLife:
    return KeyLife.parse(room.vault.read_life(GATEWAY, KEY_ID).body)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """An unlocked vault that holds the grid's key sets."""
    made = Room(tmp_path)
    keep_grid_keys(made.folder)
    for name in ("anna", "bert"):
        made.give(name)
    return made


def bring_to(room: Room, state: KeyState) -> None:
    ways: dict[KeyState, tuple[KeyState, ...]] = {
        "suspended": ("suspended",),
        "deactivated": ("deactivated",),
        "compromised": ("compromised",),
        "destroyed": ("deactivated", "destroyed"),
    }
    for step in ways.get(state, ()):
        moved(room, step, *(("anna", "cleo") if step == "destroyed" else ("anna",)))


def test_every_move_that_there_is_and_no_other(tmp_path: Path) -> None:
    """By how many custodians; a single one's word for what takes two moves nothing."""
    for source in STATES:
        first = tmp_path / source
        room = Room(first)
        keep_grid_keys(first)
        bring_to(room, source)
        assert life_of(room).state == source
        for target in STATES:
            folder = tmp_path / f"{source}-{target}"
            shutil.copytree(first, folder)
            tried = Room(folder)
            after = len(life_of(tried).moves)
            count = MOVES.get((source, target))
            if count is None:
                with pytest.raises(ConflictError) as refused:
                    tried.vault.move_key_set(move(target, after=after))
                assert refused.value.reason == "keys.move"
                assert life_of(tried).state == source
                continue
            told = KeyLife.parse(tried.vault.move_key_set(move(target, after=after)).body)
            assert told.state == (target if count == "one" else source)
            if count == "enough":
                with pytest.raises(ConflictError) as twice:
                    tried.vault.move_key_set(move(target, after=after))
                assert twice.value.reason == "keys.signed"
                told = KeyLife.parse(
                    tried.vault.move_key_set(move(target, after=after, by="cleo")).body
                )
                assert told.state == target
            assert len(told.moves) == after + 1
            tried.start()
            assert life_of(tried).state == target, "it is kept"


def test_nobody_else_moves_a_key_set_and_no_signature_moves_it_twice(room: Room) -> None:
    stranger = move("suspended", key=grid_keys().authority)
    assert room.reason(lambda: room.vault.move_key_set(stranger)) == "vault.custodian"
    suspension = move("suspended")
    room.vault.move_key_set(suspension)
    moved(room, "active", "bert", "cleo")
    assert room.reason(lambda: room.vault.move_key_set(suspension)) == "keys.moved"
    assert life_of(room).state == "active"
    altered = suspension.model_copy(
        update={"body": suspension.body.replace('"after":0', '"after":2')}
    )
    with pytest.raises(GridSecureError):
        room.vault.move_key_set(altered)
    for key_id in ("0" * 32, grid_keys().secret[REGISTER.name].public.key_id[::-1]):
        unknown = move("suspended", key_id=key_id)
        assert room.reason(lambda one=unknown: room.vault.move_key_set(one)) == "not-found.key-set"


def test_two_who_want_different_things_move_nothing(room: Room) -> None:
    moved(room, "suspended", "anna")
    room.vault.move_key_set(move("active", after=1, by="bert"))
    assert moved(room, "deactivated", "cleo").state == "deactivated"
    late = move("active", after=1, by="anna")
    assert room.reason(lambda: room.vault.move_key_set(late)) == "keys.move"


def test_a_custodian_who_left_counts_no_more(room: Room) -> None:
    moved(room, "suspended", "anna")
    room.vault.move_key_set(move("active", after=1, by="cleo"))
    split_anew(room, "anna", "bert", "dora")
    left = move("active", after=1, by="cleo")
    assert room.reason(lambda: room.vault.move_key_set(left)) == "vault.custodian"
    assert moved(room, "active", "anna").state == "suspended", "Cleo's word went with Cleo"
    assert moved(room, "active", "dora").state == "active"


def test_a_state_stays_when_the_key_is_split_anew(room: Room) -> None:
    moved(room, "suspended", "anna")
    before = life_of(room)
    split_anew(room, "anna", "bert", "dora")
    assert life_of(room) == before
    room.start()
    assert life_of(room) == before


def test_a_locked_vault_stops_key_sets_all_the_same(room: Room) -> None:
    room.vault.key_lock.lock()
    assert moved(room, "suspended", "anna").state == "suspended"
    assert room.reason(room.use_key) == "vault.locked"


def test_a_destroyed_key_set_is_gone_and_is_not_made_anew(room: Room) -> None:
    files = {path.name for path in list_key_files(keys_of(room.folder))}
    assert room.use_key() == KEY_ID
    moved(room, "deactivated", "anna")
    told = moved(room, "destroyed", "anna", "bert")
    assert [len(signed) for signed in told.moves] == [1, 2]
    left = {path.name for path in list_key_files(keys_of(room.folder))}
    assert files - left == {f"{place_of(REGISTER.name).stem}.keys"}
    assert room.reason(room.use_key) == "keys.destroyed"
    room.start()
    assert life_of(room).state == "destroyed"
    assert room.reason(room.use_key) == "keys.destroyed"


def test_killed_between_the_word_and_the_file(room: Room) -> None:
    """What was destroyed stays so: the next start removes the file."""
    place = place_of(REGISTER.name)
    kept = (keys_of(room.folder) / f"{place.stem}.keys").read_bytes()
    bring_to(room, "destroyed")
    (keys_of(room.folder) / f"{place.stem}.keys").write_bytes(kept)
    room.start()
    assert not (keys_of(room.folder) / f"{place.stem}.keys").exists()


def test_a_list_of_states_that_was_altered_or_deleted(room: Room) -> None:
    moved(room, "suspended", "anna")
    path = keys_of(room.folder) / LIST
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"suspended", b"active"))
    assert life_of(room).state == "suspended", "a running vault goes by what it knows"
    assert room.reason(room.start) == "keys.state"
    path.write_bytes((room.folder / "splitting.json").read_bytes())
    assert room.reason(room.start) == "keys.state"
    path.unlink()
    assert room.reason(room.start) == "keys.state-missing"
    path.write_bytes(kept)
    room.start()
    room.unlock()
    assert (life_of(room).state, room.status.state) == ("suspended", "unlocked")


@attack(
    "an earlier list of key sets' states, put back",
    rule(
        "Moves that the vault sealed are in its list.",
        "keys.state-missing",
        cut(
            "gridsecure.key_authority.vault.key_states:KeyStates.prove",
            "not all(_keeps(self._lives.get(one.key_id), one) for one in before.lives)",
            "False",
        ),
    ),
)
def test_an_earlier_list_is_put_back(room: Room, attacked: Attacked) -> None:
    """Signed by the vault, as it lay in a backup, or by whoever has the key from the folder."""
    path = keys_of(room.folder) / LIST
    earlier = path.read_bytes()
    moved(room, "suspended", "anna")
    path.write_bytes(earlier)
    room.start()
    attacked.tries(room.unlock)
    assert room.status.state == ("unlocked" if attacked.goes_through else "locked")
    if attacked.goes_through:
        with room.vault.key_lock.use() as kek:
            room.vault.states.check(KEY_ID, kek=kek)


def written_anew(room: Room, **changes: object) -> None:
    """As whoever writes in the vault's folder, with the key that signs the list."""
    key = room.vault.key_lock.key
    path = keys_of(room.folder) / LIST
    lives = KeyLives.parse(Signed.parse(path.read_bytes()).body).lives
    (life,) = lives or [
        KeyLife(
            key_id=KEY_ID,
            place=place_of(REGISTER.name).stem,
            state="active",
            since="",
            moves=[],
            waiting=[],
        )
    ]
    forged = KeyLives(lives=[life.model_copy(update=changes)])
    path.write_text(sign_message(forged, key=key).model_dump_json())


@attack(
    "a list of key sets' states, written anew beyond what was sealed",
    rule(
        "What a list has beyond the sealed one, custodians signed.",
        "keys.state",
        cut(
            "gridsecure.key_authority.vault.key_states:KeyStates.prove",
            "self._check_added(life, earlier.get(life.key_id))",
            "pass",
        ),
    ),
)
@pytest.mark.parametrize("source", ["suspended", "compromised"])
def test_a_list_is_written_anew(room: Room, attacked: Attacked, source: KeyState) -> None:
    """All sealed moves, one more that nobody signed, and the key set is active."""
    bring_to(room, source)
    written_anew(room, state="active", moves=[*life_of(room).moves, []])
    room.start()
    attacked.tries(room.unlock)
    assert room.status.state == ("unlocked" if attacked.goes_through else "locked")


def test_nothing_is_added_to_the_list_but_what_custodians_signed(room: Room) -> None:
    """Each forgery alone: of moves, of words that wait, and of the rest of an entry."""
    moved(room, "suspended", "anna")
    before = life_of(room)
    kept = (keys_of(room.folder) / LIST).read_bytes()
    anna, bert = move("active", after=1), move("active", after=1, by="bert")
    stranger = move("active", after=1, key=grid_keys().authority)
    altered = bert.model_copy(update={"signature": anna.signature})
    resumed = [
        ([anna], "fewer than unlock the vault"),
        ([anna, anna], "one of them twice"),
        ([anna, stranger], "no custodian"),
        ([anna, altered], "another's signature"),
        ([anna, move("active", after=2, by="bert")], "a word for another move"),
        ([anna, move("deactivated", after=1, by="bert")], "a word for something else"),
        ([anna, move("active", after=1, by="bert", key_id="0" * 32)], "of another key set"),
    ]
    forgeries: list[tuple[dict[str, object], str]] = [
        ({"state": "active", "moves": [*before.moves, signed]}, why) for signed, why in resumed
    ]
    forgeries += [
        ({"state": "active"}, "a state without a move"),
        ({"since": ""}, "another day"),
        ({"place": place_of(INTERVAL.name).stem}, "another key set's file"),
        ({"waiting": [stranger]}, "no custodian's word waits"),
        ({"waiting": [anna, anna]}, "one word, twice"),
        ({"waiting": [altered]}, "a word that was altered"),
        ({"waiting": [move("active", after=0)]}, "a word of before"),
        ({"waiting": [anna, bert]}, "more words than it takes"),
        ({"waiting": [move("deactivated", after=1)]}, "a word that would not have waited"),
        ({"state": "destroyed", "moves": [*before.moves, [
            move("destroyed", after=1), move("destroyed", after=1, by="bert")
        ]]}, "a move that there is not"),
    ]  # fmt: skip
    for changes, why in forgeries:
        (keys_of(room.folder) / LIST).write_bytes(kept)
        written_anew(room, **changes)
        room.start()
        room.give("anna")
        assert room.reason(lambda: room.give("bert")) == "keys.state", why
        assert room.status.state == "locked", why
    (keys_of(room.folder) / LIST).write_bytes(kept)
    written_anew(room, state="active", moves=[*before.moves, [anna, bert]], waiting=[])
    room.start()
    room.unlock()
    assert life_of(room).state == "active", "what two custodians signed counts, whoever carries it"


def test_an_entry_of_a_key_set_that_nobody_moved(room: Room) -> None:
    for changes in ({}, {"state": "compromised"}, {"waiting": [move("active")]}):
        (keys_of(room.folder) / LIST).write_text(
            sign_message(KeyLives(lives=[]), key=room.vault.key_lock.key).model_dump_json()
        )
        written_anew(room, **changes)
        room.start()
        room.give("anna")
        assert room.reason(lambda: room.give("bert")) == "keys.state"


def test_custodians_are_those_who_were_sealed_with_the_list(room: Room) -> None:
    """Whoever writes in the folder writes who the custodians are as well; one more counts not."""
    moved(room, "suspended", "anna")
    key, before = room.vault.key_lock.key, read_splitting(room.folder)
    more = [*before.custodians, custodian("dora")]
    keep_splitting(room.folder, before.model_copy(update={"custodians": more}), key=key)
    signed = [move("active", after=1), move("active", after=1, by="dora")]
    written_anew(room, state="active", moves=[*life_of(room).moves, signed])
    room.start()
    room.give("anna")
    assert room.reason(lambda: room.give("bert")) == "keys.state"
    keep_splitting(room.folder, before, key=key)
    room.start()
    room.give("anna")
    assert room.reason(lambda: room.give("bert")) == "keys.state", "Dora is none"


def test_what_an_earlier_release_sealed_names_no_custodians_and_is_sealed_anew(room: Room) -> None:
    moved(room, "suspended", "anna")
    path = keys_of(room.folder) / SEALED_LIST
    earlier = KeyLives(lives=[life_of(room)]).model_dump_json().encode()
    path.write_bytes(seal(earlier, kek=KEK, purpose="key-states", owner="vault", created_at=NOW))
    room.start()
    room.unlock()
    opened = SealedStates.parse(open_sealed(path.read_bytes(), kek=KEK, purpose="key-states"))
    assert [one.name for one in opened.custodians] == list(NAMES)
    assert (opened.needed, opened.lives) == (2, [life_of(room)])


@pytest.mark.parametrize("lost", ["sealed", "of another key", "revoked", "destroyed"])
def test_what_was_sealed_is_wanted_before_anything_is_decrypted(room: Room, lost: str) -> None:
    keys = keys_of(room.folder)
    earlier = (keys / LIST).read_bytes()
    if lost == "sealed":
        (keys / SEALED_LIST).unlink()
    elif lost == "of another key":
        sealed = seal(b"{}", kek=bytes(16), purpose="key-states", owner="vault", created_at=NOW)
        (keys / SEALED_LIST).write_bytes(sealed)
    else:
        bring_to(room, "compromised" if lost == "revoked" else "destroyed")
        (keys / LIST).write_bytes(earlier)
    room.start()
    room.give("anna")
    assert room.reason(lambda: room.give("bert")) == "keys.state-missing"
    assert room.status.state == "locked"
    assert room.reason(room.use_key) == "vault.locked"
    everybody = [custodian(name) for name in NAMES]
    before = read_splitting(room.folder)
    room.give("anna", split=(everybody, 2))
    again = partial(room.give, "bert", split=(everybody, 2))
    assert room.reason(again) == "keys.state-missing", "nor is it taken into a new splitting"
    assert read_splitting(room.folder) == before
    # Whoever unlocks the key by another way finds the same.
    with pytest.raises(StorageError):
        room.vault.states.check(KEY_ID, kek=KEK)


def test_what_is_moved_while_the_vault_is_locked_is_sealed_when_it_is_opened(room: Room) -> None:
    keys = keys_of(room.folder)
    room.vault.key_lock.lock()
    sealed, earlier = (keys / SEALED_LIST).read_bytes(), (keys / LIST).read_bytes()
    moved(room, "suspended", "anna")
    assert (keys / SEALED_LIST).read_bytes() == sealed
    room.start()
    room.unlock()
    assert life_of(room).state == "suspended"
    (keys / LIST).write_bytes(earlier)
    room.start()
    room.give("anna")
    assert room.reason(lambda: room.give("bert")) == "keys.state-missing"


def test_killed_between_the_list_and_the_sealed_one(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The move counts, and is sealed the next time."""
    keys = keys_of(room.folder)
    sealed = (keys / SEALED_LIST).read_bytes()

    def full(_path: Path, _data: bytes) -> None:
        raise StorageError("No space is left.")

    with monkeypatch.context() as patch:
        patch.setattr(f"{KeyStates.__module__}._write_sealed", lambda *_, **__: full(keys, b""))
        assert moved(room, "suspended", "anna").state == "suspended"
    assert "were not sealed" in caplog.text
    assert (keys / SEALED_LIST).read_bytes() == sealed
    room.start()
    room.unlock()
    assert life_of(room).state == "suspended"
    assert (keys / SEALED_LIST).read_bytes() != sealed
    with monkeypatch.context() as patch:
        patch.setattr("gridsecure.whole_files.os.fsync", full_disk)
        refused = partial(moved, room, "deactivated", "anna")
        assert room.reason(refused) == "storage.failed"
    assert life_of(room).state == "suspended"


@attack(
    "a gateway's key set rotated or revoked without a custodian's key",
    rule(
        "A key set is moved by signatures of those who keep shares.",
        "vault.custodian",
        cut(
            "gridsecure.key_authority.vault.splitting:open_custodians",
            "if envelope.signer not in keys:",
            "keys[envelope.signer] = STRANGER\n    if False:",
        ),
    ),
)
def test_nobody_without_a_custodians_key_moves_one(
    room: Room, attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with a stolen token, or who took over the checker, has the checker's key at most."""
    own = grid_keys().authority
    monkeypatch.setattr(splitting, "STRANGER", own.public_key, raising=False)
    attacked.tries(lambda: room.vault.move_key_set(move("compromised", key=own)))
    assert life_of(room).state == ("compromised" if attacked.goes_through else "active")


@attack(
    "a gateway's next key set, made by a checker that was taken over",
    rule(
        "A next key set is made when a custodian ended the one before it.",
        "keys.in-force",
        cut(
            "gridsecure.key_authority.vault.key_states:KeyStates.check_next",
            "place.generation > 1 and before not in ended",
            "False",
        ),
    ),
)
def test_a_next_key_set_takes_a_custodian(room: Room, attacked: Attacked) -> None:
    attacked.tries(lambda: next_key_set(room, 2))


def next_key_set(room: Room, generation: int) -> str:
    order = KeyOrder(
        gateway=GATEWAY,
        parameters=REGISTER.name,
        generation=generation,
        created_at=NOW.isoformat(),
    )
    return room.vault.create_key_set(sign_message(order, key=grid_keys().authority)).key_id


@pytest.mark.parametrize("ended", ["deactivated", "compromised", "destroyed"])
def test_the_next_key_set_comes_after_the_end_of_the_one_before(
    room: Room, ended: KeyState
) -> None:
    assert room.reason(lambda: next_key_set(room, 2)) == "keys.in-force"
    moved(room, "suspended", "anna")
    assert room.reason(lambda: next_key_set(room, 2)) == "keys.in-force"
    moved(room, "active", "anna", "bert")
    bring_to(room, ended)
    assert room.reason(lambda: next_key_set(room, 3)) == "keys.in-force", "none is left out"
    assert next_key_set(room, 2) == next_key_set(room, 2) != KEY_ID


def test_an_end_is_signed_with_the_rotation(room: Room) -> None:
    until = (NOW + timedelta(days=9)).isoformat()
    key_set = (GATEWAY, KEY_ID)
    for target, wrong in (
        ("deactivated", NOW.isoformat()),
        ("deactivated", "tomorrow"),
        ("deactivated", "2031-01-01T00:00:00"),
        ("suspended", until),
    ):
        envelope = signed_move(target, key_set=key_set, until=wrong)
        assert room.reason(lambda one=envelope: room.vault.move_key_set(one)) == "keys.until"
    assert life_of(room).state == "active"
    room.vault.move_key_set(signed_move("deactivated", key_set=key_set, until=until))
    assert life_of(room).until == until
    assert moved(room, "compromised", "bert").until == until, "what was said holds"


# --- releases and gateways ------------------------------------------------------------------------


def sent(authority: Authority, target: KeyState, *names: str, key_id: str) -> KeyLife:
    """As custodians, by way of the checker."""
    for name in names:
        life = KeyLife.parse(read_life(authority.zone, key_id, at=NOW).body)
        wanted = move(target, after=len(life.moves), by=name, key_id=key_id)
        envelope = move_key_set(authority.zone, wanted, actor=name, at=NOW)
    return KeyLife.parse(envelope.body)


def test_a_release_waits_while_a_key_set_is_suspended(
    authority: Authority, uploads: list[GridUpload], grid: GridSimulator
) -> None:
    """And is made when it is resumed; of a deactivated one what exists is released."""
    keep_grid_keys(authority.folder)
    request = authority.bill_request(uploads[:1])
    (key_id,) = {entry.key_id for entry in authority.bill_transcript(uploads[0]).outputs.values()}
    sent(authority, "suspended", "anna", key_id=key_id)
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (FAILED, "keys.suspended")
    assert states(authority)[key_id] == "suspended"
    name = next(one.notice.parameters for one in list_key_sets(authority.zone)
                if one.notice.key_id == key_id)  # fmt: skip
    asked, word = key_set_request(grid, name)
    with pytest.raises(ConflictError) as refused:
        give_key_set(authority.zone, asked, registrations=word, at=NOW)
    assert refused.value.reason == "conflict.key-set-state"

    sent(authority, "active", "anna", "bert", key_id=key_id)
    assert states(authority)[key_id] == "in-force"
    sent(authority, "deactivated", "cleo", key_id=key_id)
    assert states(authority)[key_id] == "retired"
    assert authority.answer(request).state == RELEASED
    given = give_key_set(authority.zone, asked, registrations=word, at=NOW)
    assert '"generation":2' in given.body, "nothing new comes under it"

    with pytest.raises(ConflictError):
        sent(authority, "suspended", "anna", key_id=key_id)
    sent(authority, "destroyed", "anna", "bert", key_id=key_id)
    assert states(authority)[key_id] == "destroyed"
    late = authority.answer(authority.bill_request(uploads[1:2]))
    assert (late.state, late.reason) == (REFUSED, "keys.revoked")
    log = [(entry.action, entry.actor) for entry in authority.evidence]
    assert log.count(("key-set.move", "anna")) == 3
    assert log.count(("key-set.move-refused", "anna")) == 1


def states(authority: Authority) -> dict[str, str]:
    return {one.notice.key_id: one.state for one in list_key_sets(authority.zone)}


def test_the_vault_itself_decrypts_nothing_under_a_suspended_key_set(room: Room) -> None:
    """Whatever a checker says that was taken over."""
    with room.vault.key_lock.use() as kek:
        check = partial(room.vault.states.check, KEY_ID, kek=bytes(kek))
    check()
    moved(room, "suspended", "anna")
    assert room.reason(check) == "keys.suspended"
    bring_to(room, "deactivated")
    check()
    moved(room, "destroyed", "anna", "bert")
    assert room.reason(check) == "keys.destroyed"
