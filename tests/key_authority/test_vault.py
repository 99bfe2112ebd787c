"""The vault obeys the checker only, keeps its keys sealed, and can be killed without harm."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import FileIO
from pathlib import Path
from secrets import token_bytes

import numpy as np
import pytest
from Cryptodome.Protocol.SecretSharing import Shamir
from hypothesis import given
from hypothesis import strategies as st

from gridsecure import frames
from gridsecure.approvals import APPROVER_ROLES
from gridsecure.cli import home as home_room
from gridsecure.cli.home import SHARE, create_home, make_vault_folders
from gridsecure.cli.ports import claim_ports
from gridsecure.cli.service_specs import service_specs
from gridsecure.cli.service_users import FIRST_UID, ServiceUsers, give
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    ConflictError,
    EnvelopeError,
    GridSecureError,
    InvalidMessageError,
    KeyMismatchError,
    NotFoundError,
    StorageError,
)
from gridsecure.homomorphic.parameters import INTERVAL, PARAMETER_SETS, REGISTER
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.key_authority.checker.answering import FAILED, RELEASED
from gridsecure.key_authority.checker.vault_client import VaultClient
from gridsecure.key_authority.control_totals import CountedOnce
from gridsecure.key_authority.door import WANTED, Line
from gridsecure.key_authority.packages import (
    Approved,
    CheckedBills,
    CheckedRoster,
    KeyOrder,
    LockOrder,
)
from gridsecure.key_authority.vault.custody import keep_key_set, open_key_set
from gridsecure.key_authority.vault.ordered_rosters import Seated
from gridsecure.messages import RosterManifest, Signed, sign_message
from gridsecure.offices.custodians import open_share
from gridsecure.offices.files import read_signed
from gridsecure_api.authority import open_zone
from gridsecure_api.settings import AuthoritySettings
from tests.approving import ENTRIES, approval_of, approved_bills
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import Authority, place_of, settlement
from tests.correction_simulator import changed, correction
from tests.custodians import KEK, give_shares, own_share, signed_move
from tests.custodians import NAMES as CUSTODIANS
from tests.grid_simulator import NOW, GridSimulator, GridUpload, grid_keys
from tests.held_policy import FIFTEEN
from tests.vault_services import (
    START_SECONDS,
    RunningVault,
    running_vault,
    vault_settings,
    why_not_started,
)

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


def keep_no_more(_sealed: bytes) -> None:
    raise AssertionError("nothing is sealed")


@pytest.fixture
def order(authority: Authority, grid: GridSimulator, uploads: Uploads) -> Order:
    """An order of bills as the checker would sign it, with its files."""
    upload = uploads[0]
    transcript = authority.bill_transcript(upload)
    manifest = upload.roster.manifest
    text = grid.platform_zone.objects.get(manifest.tariff).decode()
    part = (
        CheckedRoster(
            roster=manifest,
            outputs=transcript.outputs,
            names=settlement(manifest.domain, manifest.pseudonyms),
        )
        .model_dump_json()
        .encode()
    )
    content = CheckedBills(
        start=transcript.start,
        end=transcript.end,
        created_at=NOW.isoformat(),
        rosters=[sm3_hex(part)],
        tariffs={manifest.tariff: text},
        minima=FIFTEEN.as_message(),
        merging=FIFTEEN.merging,
        withheld=[],
        approved=approved_bills(
            manifest, transcript.outputs, start=transcript.start, end=transcript.end
        ),
    )
    files = [grid.platform_zone.objects.get(e.digest) for e in transcript.outputs.values()]
    return content, [part, *files]


def roster_of(order: Order) -> RosterManifest:
    return CheckedRoster.parse(order[1][0]).roster


def changed_roster(order: Order, **changes: object) -> Order:
    """The same order about a roster of which something is different."""
    content, (part, *files) = order
    checked = CheckedRoster.parse(part).model_copy(update=changes)
    other = checked.model_dump_json().encode()
    span = {"start": content.start, "end": content.end}
    approved = approved_bills(checked.roster, checked.outputs, **span)
    said = {"rosters": [sm3_hex(other)], "approved": approved}
    return content.model_copy(update=said), [other, *files]


def test_the_checkers_order_is_obeyed(authority: Authority, order: Order) -> None:
    content, files = order
    sealed: list[bytes] = []
    answer = authority.vault.release_bills(
        sign_message(content, key=authority.grid.authority_key), files, sealed.append
    )
    assert len(sealed) == 1
    assert answer.statements == [roster_of(order).roster_id]


@pytest.mark.parametrize("who", ["stranger", "platform", "gateway", "identity"])
def test_nobody_elses_order_is_obeyed(authority: Authority, order: Order, who: str) -> None:
    content, files = order
    key: Sm2PrivateKey = getattr(authority.grid.keys, who)
    with pytest.raises(AuthenticityError):
        authority.vault.release_bills(sign_message(content, key=key), files, keep_no_more)


def test_an_order_for_something_else_is_refused(authority: Authority, order: Order) -> None:
    ordered = key_order(REGISTER.name)
    with pytest.raises(AuthenticityError):
        authority.vault.release_bills(
            sign_message(ordered, key=authority.grid.authority_key), order[1], keep_no_more
        )


def test_files_that_the_order_does_not_name(authority: Authority, order: Order) -> None:
    content, files = order
    envelope = sign_message(content, key=authority.grid.authority_key)
    for number, data in enumerate(files):  # the roster's text, and its outputs
        changed = [*files[:number], data[:-1] + bytes([data[-1] ^ 1]), *files[number + 1 :]]
        with pytest.raises(EnvelopeError):
            authority.vault.release_bills(envelope, changed, keep_no_more)
    for some in ([], files[:-1]):
        with pytest.raises(InvalidMessageError):
            authority.vault.release_bills(envelope, some, keep_no_more)
    with pytest.raises(InvalidMessageError):
        authority.vault.release_bills(envelope, [*files, files[0]], list[bytes]().append)


def test_another_roster_than_the_columns_are_of(
    authority: Authority, order: Order, uploads: Uploads
) -> None:
    other: RosterManifest = roster_of(order).model_copy(update={"roster_id": "f" * 32})
    content, files = changed_roster(order, roster=other)
    envelope = sign_message(content, key=authority.grid.authority_key)
    with pytest.raises(KeyMismatchError):
        authority.vault.release_bills(envelope, files, keep_no_more)


def test_a_meter_point_in_two_rosters_of_an_order(authority: Authority, order: Order) -> None:
    """It would count twice in its cell, which would look larger than it is."""
    content, files = order
    subject = json.loads(content.approved.subject)
    text = json.dumps(subject | {"outputs": subject["outputs"] * 2})
    grounds = [approval_of(text, role=role) for role in APPROVER_ROLES]
    approved = Approved(subject=text, grounds=grounds)
    twice = content.model_copy(update={"rosters": content.rosters * 2, "approved": approved})
    envelope = sign_message(twice, key=authority.grid.authority_key)
    kept: list[bytes] = []
    # Nothing of the second one is asked for: it is refused before it would be decrypted.
    with pytest.raises(InvalidMessageError) as refused:
        authority.vault.release_bills(envelope, [*files, files[0]], kept.append)
    assert (refused.value.reason, len(kept)) == ("vault.twice", 1)


@given(st.lists(st.lists(st.integers(0, 40), max_size=6), max_size=12))
def test_a_meter_point_is_counted_once_in_whatever_roster_it_comes_again(rosters) -> None:
    counted, known = CountedOnce(), set[int]()
    for numbers in rosters:
        names = [f"{number:064x}" for number in numbers]
        if len(known) + len(numbers) == len(known | set(numbers)):
            counted.count(names)
            known |= set(numbers)
            continue
        with pytest.raises(InvalidMessageError) as refused:
            counted.count(names)
        assert refused.value.reason == "vault.twice"


def test_a_column_under_another_name_than_its_label(authority: Authority, order: Order) -> None:
    """A total in a line's place would be billed as that line."""
    renamed = {
        name: entry.model_copy(update={"quantity": "line:9:9"})
        for name, entry in CheckedRoster.parse(order[1][0]).outputs.items()
    }
    content, files = changed_roster(order, outputs=renamed)
    envelope = sign_message(content, key=authority.grid.authority_key)
    with pytest.raises(KeyMismatchError):
        authority.vault.release_bills(envelope, files, keep_no_more)


@attack(
    "a slot number forged in a column's file",
    rule(
        "A column is opened under the digest that a signed message lists for it.",
        "authenticity.envelope",
        cut("gridsecure.homomorphic.column_files:open_column", "sm3_hex(data) != digest", "False"),
    ),
    rule(
        "A column has as many slots as its roster.",
        "ciphertext.key-mismatch",
        cut(
            "gridsecure.key_authority.vault.decryption:Vault._decrypt",
            "column.slots != roster.slots * entry.intervals",
            "False",
        ),
    ),
)
def test_slots_that_nobody_was_to_read(
    authority: Authority, order: Order, attacked: Attacked
) -> None:
    """The file says that more slots are told than the roster has."""
    content, (_, first, *_) = order
    roster, vault = roster_of(order), authority.vault
    entry = next(iter(CheckedRoster.parse(order[1][0]).outputs.values()))
    start = len(b"GSEC") + 4
    (length,) = struct.unpack_from(">I", first, start - 4)
    header = json.loads(first[start : start + length])
    header["label"]["slots"] = every = PARAMETER_SETS[entry.parameters].ring_degree
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    forged = first[: start - 4] + struct.pack(">I", len(text)) + text + first[start + length :]
    passage = vault.gate.open(content.approved, plan="bill")
    told = attacked.tries(lambda: vault._decrypt(entry, forged, Seated.of(roster), passage))
    assert told is None or len(told) == every > roster.slots


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

    monkeypatch.setattr("gridsecure.whole_files.os.fsync", full)
    with pytest.raises(StorageError):
        keep_key_set(tmp_path, PLACE, grid_keys().secret[INTERVAL.name], kek=KEK, created_at=NOW)
    assert list(tmp_path.iterdir()) == []


# --- a process of its own -------------------------------------------------------------------------


@pytest.fixture
def running(
    grid: GridSimulator, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[RunningVault]:
    """A vault, with another patience than it has by default where a test names one."""
    settings = vault_settings(tmp_path, grid.authority_key)
    seconds = getattr(request, "param", settings.file_seconds)
    with running_vault(settings.model_copy(update={"file_seconds": seconds})) as vault:
        yield vault


@pytest.fixture
def client(running: RunningVault) -> Iterator[VaultClient]:
    made = running.client()
    yield made
    made.close()


def test_a_vault_of_its_own_is_killed_and_started_again(
    running: RunningVault,
    client: VaultClient,
    grid: GridSimulator,
    uploads: Uploads,
    tmp_path: Path,
) -> None:
    """Killed before a release: nothing comes out, and the same checker goes on afterwards."""
    authority = Authority(grid, tmp_path / "authority", vault=client)
    try:
        request: Signed = authority.bill_request(uploads[:1])
        running.kill()
        outcome = authority.answer(request)
        assert (outcome.state, outcome.reason) == (FAILED, "vault.down")
        assert authority.certificates == []
        running.start()
        assert authority.answer(request).state == RELEASED
        running.kill()
        running.start()
        order = sign_message(key_order(REGISTER.name), key=grid.authority_key)
        assert client.create_key_set(order).parameters == REGISTER, "it noticed before asking"
    finally:
        authority.close()


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


def test_a_file_that_cannot_be_read_ends_its_order_alone(
    client: VaultClient, grid: GridSimulator, order: Order
) -> None:
    content, files = order
    envelope = sign_message(content, key=grid.authority_key)

    def torn() -> Iterator[bytes]:
        yield from files[:-1]
        raise StorageError("The disk refuses.", reason="check.disk")

    with pytest.raises(StorageError):
        client.release_bills(envelope, torn(), keep_no_more)
    with pytest.raises(InvalidMessageError):
        client.release_bills(envelope, files[:-1], keep_no_more)
    sealed: list[bytes] = []
    answer = client.release_bills(envelope, iter(files), sealed.append)
    assert answer.statements == [roster_of(order).roster_id]
    assert len(sealed) == 1


def test_a_refusal_crosses_the_pipe_with_its_class_and_reason(
    client: VaultClient, grid: GridSimulator
) -> None:
    order = key_order(REGISTER.name)
    key_set = (order.gateway, grid_keys().secret[REGISTER.name].public.key_id)
    client.move_key_set(signed_move("compromised", key_set=key_set))
    with pytest.raises(KeyMismatchError) as refused:
        client.create_key_set(sign_message(order, key=grid.authority_key))
    assert refused.value.reason == "keys.revoked"
    with pytest.raises(AuthenticityError):
        client.create_key_set(sign_message(order, key=grid.keys.stranger))


def test_two_vaults_never_share_a_folder(running: RunningVault) -> None:
    other = running.settings.model_copy(update={"socket": running.settings.socket.with_name("w")})
    assert "[vault.running]" in why_not_started(other)
    assert not other.socket.exists()


# --- apart from the checker -----------------------------------------------------------------------


def test_what_is_no_order_is_refused_and_what_is_no_frame_ends_the_connection(
    running: RunningVault, client: VaultClient, grid: GridSimulator
) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        client._ask("decrypt", [b"any bytes"])
    assert refused.value.reason == "vault.order"
    with pytest.raises(GridSecureError) as ended:
        client._ask("create-key-set", [])  # a mistake of the program: it says nothing about it
    assert ended.value.reason == "vault.down"
    order = sign_message(key_order(REGISTER.name), key=grid.authority_key)
    assert client.create_key_set(order).parameters == REGISTER
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(running.settings.socket))
        raw.sendall(b"\x7f\xff\xff\xff" + pickle.dumps(os.getpid))
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(10)
        with contextlib.suppress(ConnectionResetError):  # it left without reading the rest
            assert raw.recv(100) == b""
    assert client.create_key_set(order).parameters == REGISTER


@pytest.fixture
def stalled(running: RunningVault, order: Order, grid: GridSimulator) -> Iterator[socket.socket]:
    """A checker that hangs in the middle of an order's first file."""

    envelope = sign_message(order[0], key=grid.authority_key).model_dump_json().encode()
    text = order[1][0]
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(running.settings.socket))
        line = Line(raw)
        line.send(frames.join_frames([b"release-bills", envelope]))
        assert frames.split_frames(line.receive(seconds=START_SECONDS)) == [WANTED]
        raw.sendall(struct.pack(">Q", len(text)) + text[:-1])
        raw.settimeout(START_SECONDS)
        yield raw


def is_waited_for(raw: socket.socket) -> bool:
    """Whether the vault has neither answered nor ended the connection."""
    raw.setblocking(False)
    try:
        raw.recv(1)
    except BlockingIOError:
        return True
    return False


def test_a_key_set_is_revoked_while_a_checker_hangs_in_the_middle_of_a_file(
    stalled: socket.socket, client: VaultClient, grid: GridSimulator
) -> None:
    key_id = grid_keys().secret[INTERVAL.name].public.key_id
    client.move_key_set(signed_move("compromised", key_set=(PLACE.gateway, key_id)))
    assert is_waited_for(stalled)
    with pytest.raises(KeyMismatchError) as refused:
        client.create_key_set(sign_message(key_order(INTERVAL.name), key=grid.authority_key))
    assert refused.value.reason == "keys.revoked"
    created = client.create_key_set(sign_message(key_order(REGISTER.name), key=grid.authority_key))
    assert created.parameters == REGISTER
    assert is_waited_for(stalled)


@pytest.mark.parametrize("running", [1.0], indirect=True)
def test_a_checker_that_hangs_loses_its_order_and_the_next_one_is_answered(
    stalled: socket.socket, client: VaultClient, order: Order, grid: GridSimulator
) -> None:
    envelope = sign_message(order[0], key=grid.authority_key)
    sealed: list[bytes] = []
    answer = client.release_bills(envelope, order[1], sealed.append)
    assert answer.statements == [roster_of(order).roster_id]
    assert stalled.recv(1) == b"", "it was given up"


def test_a_key_set_revoked_during_an_order_decrypts_no_further_column(
    running: RunningVault, client: VaultClient, order: Order, grid: GridSimulator
) -> None:
    """By the same checker, whose own order waits for a file meanwhile."""
    content, (part, *files) = order
    (entry,) = {e.key_id: e for e in CheckedRoster.parse(part).outputs.values()}.values()
    key_set = (roster_of(order).gateway_id, entry.key_id)

    def revoked_on_the_way() -> Iterator[bytes]:
        yield part
        client.move_key_set(signed_move("compromised", key_set=key_set))
        yield from files

    with pytest.raises(KeyMismatchError) as refused:
        client.release_bills(
            sign_message(content, key=grid.authority_key), revoked_on_the_way(), keep_no_more
        )
    assert refused.value.reason == "keys.revoked"


CHECKER = """
import os, sys
from pathlib import Path
import gridsecure_api.authority
from gridsecure.key_authority.checker.vault_client import VaultClient
from gridsecure.messages import Signed
client = VaultClient(Path(sys.argv[1]), uid=os.geteuid())
for line in sys.stdin:
    given = Path(line.strip())
    if given.name == "status":
        client.status()
    else:
        files = [path.read_bytes() for path in sorted(given.glob("file-*"))]
        client.release_bills(Signed.parse((given / "order").read_bytes()), files, lambda _: None)
    assert "gridsecure.homomorphic.secret_key" not in sys.modules
    print("done", flush=True)
"""


def secret_needles(kek: bytes, folder: Path) -> dict[str, bytes]:
    """What must be nowhere but in an unlocked vault: the key, its shares, a secret key."""
    shares = {f"share of {name}": own_share(folder, name).share for name in CUSTODIANS}
    needles = {name: bytes.fromhex(share) for name, share in shares.items()}
    needles |= {f"{name}, in digits": share.encode() for name, share in shares.items()}
    for name, key_set in grid_keys().secret.items():
        half = key_set.to_bytes()
        needles[f"{name}, as saved"] = half[len(half) // 2 :][:32]
        needles[name] = raw_words(key_set)
    return needles | {"the key": kek, "the key, in digits": kek.hex().encode()}


def raw_words(key_set: SecretKeySet) -> bytes:
    """A few of a secret key's residues, as the library has them in memory."""
    raw = key_set._secret_key.data()
    return b"".join(raw.data(place).to_bytes(8, "little") for place in range(8, 12))


def found_in(held: bytes, needles: dict[str, bytes]) -> set[str]:
    return {name for name, needle in needles.items() if needle in held}


def folder_holds(folder: Path) -> bytes:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return b"\n".join(path.read_bytes() for path in files)


@attack(
    "the secret key, searched in the checker's memory and both folders",
    rule("The vault alone has it, while it is unlocked.", WITHHELD),
    together=True,
)
def test_memory_and_folders_of_both_during_a_release(
    tmp_path: Path, grid: GridSimulator, order: Order, attacked: Attacked
) -> None:
    """The checker has no part of any secret; the vault has them while it is unlocked alone."""
    kek = token_bytes(len(KEK))
    settings = vault_settings(tmp_path, grid.authority_key, kek=kek)
    needles = secret_needles(kek, settings.folder)
    given = tmp_path / "checker"
    given.mkdir()
    outputs = CheckedRoster.parse(order[1][0]).outputs.values()
    signed = sign_message(order[0], key=grid.authority_key)
    (given / "order").write_text(signed.model_dump_json())
    for number, data in enumerate(order[1]):
        (given / f"file-{number:03}").write_bytes(data)
    with running_vault(settings, is_locked=True) as running:
        vault = running.process.pid
        assert found_in(process_holds(vault), needles) == set(), "before it was unlocked"
        checker = subprocess.Popen(
            [sys.executable, "-c", CHECKER, str(running.settings.socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        client = running.client()
        try:
            give_shares(client, settings.folder)
            ask(checker, given)
            seen = process_holds(checker.pid)
            assert str(running.settings.socket).encode() in seen, "it was read"
            held = found_in(process_holds(vault), needles)
            assert held >= {"the key", *(entry.parameters for entry in outputs)}
            # Were it there, it would be found: as it is in the vault's own memory.
            attacked.ends_both(
                held=None if found_in(seen, needles) else WITHHELD,
                without=None if held else WITHHELD,
            )
            client.lock(sign_message(LockOrder(ordered_at=NOW.isoformat()), key=grid.authority_key))
            ask(checker, given.with_name("status"))
            assert found_in(process_holds(checker.pid), needles) == set()
            assert found_in(process_holds(vault), needles) == set(), "after it was locked"
        finally:
            client.close()
            checker.communicate()
    for folder in (given, settings.folder, settings.socket.parent):
        assert found_in(folder_holds(folder), needles) == set()


def ask(checker: subprocess.Popen[str], given: Path) -> None:
    assert checker.stdin is not None
    assert checker.stdout is not None
    checker.stdin.write(f"{given}\n")
    checker.stdin.flush()
    assert checker.stdout.readline() == "done\n"


def process_holds(pid: int) -> bytes:
    """Everything that a process of this user can have a secret in."""
    proc = Path(f"/proc/{pid}")
    held = [(proc / "cmdline").read_bytes(), (proc / "environ").read_bytes()]
    held += [os.fsencode(path.readlink()) for path in (proc / "fd").iterdir()]
    with (
        (proc / "mem").open("rb", buffering=0) as memory,
        (proc / "pagemap").open("rb", buffering=0) as pages,
    ):
        for line in (proc / "maps").read_text().splitlines():
            area, mode, _, _, file, *_ = line.split()
            if mode.startswith("rw") and "[v" not in line:
                start, end = (int(edge, 16) for edge in area.split("-"))
                is_own = mode == "rw-p" and file == "0"
                spans = written_spans(pages, start, end) if is_own else [(start, end)]
                for begin, stop in spans:
                    memory.seek(begin)
                    held.append(memory.read(stop - begin))
    return b"\n".join(held)


def written_spans(pages: FileIO, start: int, end: int) -> list[tuple[int, int]]:
    """Where an area that is of no file and shared with nobody holds anything.

    What is neither in memory nor swapped out of such an area was never written, and is four fifths
    of a service's: stacks of threads, and room that libraries set aside.
    """
    size = resource.getpagesize()
    pages.seek(start // size * 8)
    entries = np.frombuffer(pages.read((end - start) // size * 8), np.uint64)
    assert len(entries) == (end - start) // size
    there = np.concatenate(([False], entries >> np.uint64(62) != 0, [False]))
    edges = np.flatnonzero(there[1:] != there[:-1]) * size + start
    return [(int(begin), int(stop)) for begin, stop in edges.reshape(-1, 2)]


def test_the_checkers_files_do_not_open_a_key_set(tmp_path: Path, grid: GridSimulator) -> None:
    """All that a run gives the checker, in the hands of a third process."""
    with claim_ports(None) as ports:
        home = create_home(tmp_path, ports=ports)
    vault_spec, authority_spec = (
        next(spec for spec in service_specs(home, years=["2026"]) if spec.name == name)
        for name in ("vault", "authority")
    )
    shares = [
        open_share(read_signed(home.person(name) / SHARE), key=home.people[name])
        for name in home_room.CUSTODIANS
    ]
    kek = Shamir.combine([(one.number, bytes.fromhex(one.share)) for one in shares[:2]])
    told = "".join((*authority_spec.command, *authority_spec.environment.values()))
    needles = [kek, *(bytes.fromhex(one.share) for one in shares)]
    needles += [needle.hex().encode() for needle in needles]
    held = folder_holds(home.zone("authority")) + told.encode()
    assert not [needle for needle in needles if needle in held]
    kept = folder_holds(home.zone("vault")) + "".join(vault_spec.environment.values()).encode()
    assert not [needle for needle in needles if needle in kept], "nor is it in the vault's"
    (home.zone("authority") / "vault").mkdir()  # as earlier releases kept it
    settings = AuthoritySettings(
        folder=home.zone("authority"),
        identity_public_key=home.point("identity"),
        identity_url="http://identity.invalid",
        platform_url="http://platform.invalid",
        platform_public_key=home.point("platform"),
        billing_office_public_key=home.point("billing-office"),
        vault_socket=home.folder / "vault-door" / "vault.sock",
        workers=0,
        policy="uniform-15",
        approvers=ENTRIES,
    )
    with pytest.raises(StorageError) as refused:
        open_zone(settings, settlement=settlement, now=NOW)
    assert refused.value.reason == "vault.beside"


def test_another_user_at_the_vaults_socket_is_told_nothing(
    running: RunningVault, grid: GridSimulator
) -> None:
    stranger = VaultClient(running.settings.socket, uid=os.geteuid() + 1)
    with pytest.raises(AccessDeniedError) as refused:
        stranger.create_key_set(sign_message(key_order(REGISTER.name), key=grid.authority_key))
    assert refused.value.reason == "vault.stranger"


def test_a_connection_of_another_user_is_closed(grid: GridSimulator, tmp_path: Path) -> None:
    settings = vault_settings(tmp_path, grid.authority_key)
    settings = settings.model_copy(update={"checker_uid": os.geteuid() + 1})
    with running_vault(settings, is_locked=True) as running:
        client = running.client()
        with pytest.raises(GridSecureError) as refused:
            client.create_key_set(sign_message(key_order(REGISTER.name), key=grid.authority_key))
        client.close()
    assert refused.value.reason == "vault.down"


def test_two_users_cannot_read_each_others_folders(tmp_path: Path) -> None:
    """Tried as those very users where this process may, and not concluded from modes."""
    with claim_ports(None) as ports:
        home = create_home(tmp_path, ports=ports)
    assert (home.users.vault is None) == ("same user" in home.users.text)
    if os.geteuid() != 0:
        assert home.users.vault is None
        return
    folder = tmp_path / "run"
    (folder / "authority").mkdir(parents=True, mode=0o700)
    (folder / "authority" / "signing.key").write_bytes(b"checker")
    users = ServiceUsers(checker=FIRST_UID, vault=FIRST_UID + 1)
    make_vault_folders(folder, users)
    (folder / "vault" / "kek").write_bytes(b"vault")
    give(folder / "vault", users.vault)

    def reads(uid: int | None, name: str, start: str) -> bool:
        tried = subprocess.run(
            ["cat", name],
            cwd=folder / start,
            user=uid,
            group=uid,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
        return tried.returncode == 0

    assert reads(users.vault, "kek", "vault")
    assert reads(users.checker, "signing.key", "authority")
    assert not reads(users.checker, "../vault/kek", "authority")
    assert not reads(users.vault, "../authority/signing.key", "vault")
