"""A witness sees every way in which a log can be another than it was, and believes no stranger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import (
    AuditBrokenError,
    GridSecureError,
    InputError,
    InvalidMessageError,
    StorageError,
)
from gridsecure.offices.log_copies import LogCopy
from gridsecure.offices.log_witness import compare_checkpoint, witness_log
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.evidence import EvidenceRow, append, count_entries, list_entries_after
from gridsecure.store.log_tree import SignedLog, verify_log
from gridsecure.transparency.checkpoints import LogSigner
from gridsecure.transparency.notes import read_note, write_note
from gridsecure.wire.client import Client
from gridsecure.wire.words import PeopleWords
from gridsecure_api.errors import install_error_handlers
from gridsecure_api.log_pages import add_log_pages, serve_log
from tests.attacks import Attacked, attack, cut, rule

NOW = datetime(2026, 11, 29, tzinfo=UTC)
KEY = generate_private_key()
SIGNER = LogSigner("gridsecure/test/1", b"\1" * 32, KEY)
GUARDS = [
    f"DROP TRIGGER IF EXISTS {table}_no_{verb}"
    for table in ("evidence", "evidence_node")
    for verb in ("update", "delete")
]


class Log:
    """A served log, and what its owner can do to it."""

    def __init__(self, folder: Path, name: str = "log") -> None:
        self.engine: Engine = open_database(f"sqlite:///{folder / name}.db")
        EvidenceRow.metadata.create_all(self.engine)
        self.log = SignedLog(SIGNER)
        app = FastAPI()
        install_error_handlers(app)
        add_log_pages(app, "/log", serve_log(self.engine, self.log, folder, name=name))
        self.http = TestClient(app)
        self.client = Client(self.http, PeopleWords("log"), url="/log")

    def add(self, count: int, *, actor: str = "a") -> None:
        with write_session(self.engine) as session:
            for number in range(count):
                at = NOW + timedelta(microseconds=number)
                append(session, at=at, actor=actor, action="b", detail={"n": number})

    @property
    def size(self) -> int:
        with read_session(self.engine) as session:
            return count_entries(session)

    def cut(self, size: int) -> None:
        """Forget the newest entries and all nodes over them, and count on."""
        with self.engine.begin() as connection:
            for guard in GUARDS:
                connection.execute(text(guard))
            connection.execute(text(f'DELETE FROM evidence WHERE "index" >= {size}'))  # noqa: S608
            kept = [
                (index << (level + 1)) + (1 << level) - 1
                for level in range(1, size.bit_length())
                for index in range(size >> level)
            ]
            places = ",".join(map(str, kept)) or "-1"
            gone = f"DELETE FROM evidence_node WHERE place NOT IN ({places})"  # noqa: S608
            connection.execute(text(gone))

    @property
    def checkpoint(self) -> bytes:
        return self.http.get("/log/checkpoint").content

    def prove(self, index: int) -> str:
        with read_session(self.engine) as session:
            (entry,) = list_entries_after(session, index - 1, limit=1)
            return self.log.prove(session, entry).text


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def look(log: Log, folder: Path) -> int:
    """Look as a new process does; how many entries are new."""
    seen = witness_log(log.client, LogCopy(folder), keys=SIGNER.keys)
    return seen.checkpoint.size - seen.before


def alarm(log: Log, folder: Path) -> str:
    before = LogCopy(folder)
    with pytest.raises(AuditBrokenError) as raised:
        look(log, folder)
    after = LogCopy(folder)
    assert (after.tree, after.checkpoint) == (before.tree, before.checkpoint)
    (kept,) = (folder / "alarms").iterdir()
    assert kept.read_bytes() == log.checkpoint
    assert kept.name in raised.value.remedy
    return raised.value.reason


def ends(attacked: Attacked, log: Log, folder: Path) -> None:
    """By an alarm, or with nothing noticed."""
    if attacked.goes_through:
        attacked.ends(look(log, folder) and None)
    else:
        attacked.ends(alarm(log, folder))


WITNESS = "gridsecure.offices.log_witness:witness_log"


@pytest.mark.parametrize("sizes", [(0, 1, 2), (3, 300), (255, 256, 257, 600), (256, 512), (5, 5)])
def test_a_log_that_grows_is_copied(log: Log, folder: Path, sizes: tuple[int, ...]) -> None:
    before = 0
    for size in sizes:
        log.add(size)
        assert look(log, folder) == size - before
        assert look(log, folder) == 0
        before = size
    copy = LogCopy(folder)
    assert copy.checkpoint == log.checkpoint
    assert len(copy.leaves(before)) == before
    with read_session(log.engine) as session:
        assert verify_log(session, witnessed=copy.tree) == before


CONTINUED = rule(
    "The entries that were seen and the new ones together have the checkpoint's root.",
    "log.rewritten",
    cut(WITNESS, "is_other or tree.root != checkpoint.root", "False"),
)


@pytest.mark.parametrize("size", [256, 299])
@attack(
    "a log that lost its end",
    rule(
        "A log has at least as many entries as were seen.",
        "log.truncated",
        cut(
            WITNESS,
            """    if checkpoint.size < before.size:
        raise""",
            """    if False:
        raise""",
        ),
    ),
    CONTINUED,
)
def test_a_log_that_lost_its_end_raises_an_alarm(
    log: Log, folder: Path, size: int, attacked: Attacked
) -> None:
    log.add(300)
    look(log, folder)
    log.cut(size)
    ends(attacked, log, folder)


@pytest.mark.parametrize("size", [256, 299])
@attack(
    "another log of the same size, under the same keys",
    rule(
        "Of one size there is one root.",
        "log.split-view",
        cut(WITNESS, "before.size and checkpoint.root != before.root", "False"),
    ),
    CONTINUED,
)
def test_a_log_of_the_same_size_is_the_same(
    log: Log, folder: Path, size: int, attacked: Attacked
) -> None:
    log.add(300)
    look(log, folder)
    log.cut(size)
    log.add(300 - size, actor="intruder")
    ends(attacked, log, folder)


@pytest.mark.parametrize("size", [0, 3, 256, 299])
@attack("a log that was written anew, and grew", CONTINUED)
def test_a_log_that_was_rewritten_raises_an_alarm(
    log: Log, folder: Path, size: int, attacked: Attacked
) -> None:
    log.add(300)
    look(log, folder)
    log.cut(size)
    log.add(600, actor="intruder")
    ends(attacked, log, folder)


@pytest.mark.parametrize("tell", [lambda other: other.checkpoint.decode(), lambda o: o.prove(7)])
@attack(
    "two people who are told different logs",
    rule(
        "What somebody else was told is the root of a beginning of what was seen here.",
        "log.split-view",
        cut(
            "gridsecure.offices.log_witness:_prove",
            "Frontier().grow(copy.leaves(checkpoint.size)).root != checkpoint.root",
            "False",
        ),
    ),
)
def test_two_people_find_out_that_they_were_told_different_things(
    log: Log, folder: Path, tmp_path: Path, tell: Callable[[Log], str], attacked: Attacked
) -> None:
    log.add(300)
    other = Log(tmp_path, "other")  # of the same keys
    other.add(200, actor="intruder")
    look(log, folder)
    attacked.tries(lambda: compare_checkpoint(LogCopy(folder), tell(other), keys=SIGNER.keys))
    other.engine.dispose()


def test_what_others_were_told_is_the_same_log(log: Log, folder: Path) -> None:
    told = []
    for size in (1, 100, 256, 270):
        log.add(size)
        told += [log.checkpoint.decode(), log.prove(size - 1)]
    look(log, folder)
    copy = LogCopy(folder)
    for text_ in told:
        assert compare_checkpoint(copy, text_, keys=SIGNER.keys).size in (1, 100, 256, 270)


class Forked:
    """A log that shows one person a checkpoint of another tree, and no tiles of it."""

    def __init__(self, log: Log, other: Log) -> None:
        self.log, self.other = log, other

    def get(self, path: str):
        return (self.other if path == "/checkpoint" else self.log).client.get(path)


@pytest.fixture
def fork(tmp_path: Path) -> Iterator[Log]:
    """Nine entries under the log's own keys."""
    made = Log(tmp_path, "fork")
    made.add(9, actor="intruder")
    yield made
    made.engine.dispose()


def compare_longer(log: Log, fork: Log, folder: Path) -> None:
    """Somebody else was given a certificate of more entries than the log has."""
    told = fork.prove(8)
    look(log, folder)
    compare_checkpoint(LogCopy(folder), told, keys=SIGNER.keys)


def withhold_tiles(log: Log, fork: Log, folder: Path) -> None:
    """The other story is shown to this witness itself, and then no more of it."""
    look(log, folder)
    with pytest.raises(GridSecureError, match=r"not-found\.tile"):
        witness_log(Forked(log, fork), LogCopy(folder), keys=SIGNER.keys)
    look(log, folder)


@pytest.mark.parametrize("story", [compare_longer, withhold_tiles])
def test_a_story_longer_than_the_log_is_an_alarm_and_stays_one(
    log: Log, fork: Log, folder: Path, story
) -> None:
    log.add(5)
    with pytest.raises(AuditBrokenError, match=r"has 5 and had 9"):
        story(log, fork, folder)
    (kept,) = (folder / "alarms").iterdir()
    assert read_note(kept.read_bytes()).text == read_note(fork.checkpoint).text
    for more in (0, 20, 0):
        log.add(more)
        with pytest.raises(AuditBrokenError) as raised:
            look(log, folder)
        assert raised.value.reason == ("log.split-view" if log.size > 9 else "log.truncated")
        assert LogCopy(folder).tree.size == log.size


def test_a_checkpoint_whose_tiles_come_later_is_no_alarm(log: Log, folder: Path) -> None:
    log.add(5)
    early = log.checkpoint
    log.add(10)

    class Late:
        def get(self, path: str):
            if path == "/checkpoint":
                return log.client.get(path)
            raise StorageError("Later.", reason="service.busy")

    with pytest.raises(StorageError):
        witness_log(Late(), LogCopy(folder), keys=SIGNER.keys)
    assert len(list((folder / "unproved").iterdir())) == 1
    log.add(310)
    assert look(log, folder) == 310
    assert list((folder / "unproved").iterdir()) == []
    assert compare_checkpoint(LogCopy(folder), early.decode(), keys=SIGNER.keys).size == 5
    assert not (folder / "alarms").exists()


def test_a_copy_that_is_damaged_is_no_alarm(log: Log, folder: Path) -> None:
    log.add(300)
    look(log, folder)
    tile, partial = folder / "tile" / "0" / "000", folder / "tile" / "0" / "001.p" / "44"
    whole = tile.read_bytes()
    for damaged in (bytes([whole[0] ^ 1]) + whole[1:], whole[:-1], b""):
        tile.write_bytes(damaged)
        with pytest.raises(InputError, match=r"witness\.copy"):
            compare_checkpoint(LogCopy(folder), log.checkpoint.decode(), keys=SIGNER.keys)
    tile.write_bytes(whole)
    rest = partial.read_bytes()
    log.add(301)
    for damaged in (b"", rest[:-1], rest[:-32]):
        partial.write_bytes(damaged)
        with pytest.raises(InputError, match=r"witness\.copy"):
            look(log, folder)
    assert not (folder / "alarms").exists()
    partial.write_bytes(rest)
    assert look(log, folder) == 1


def test_a_size_that_no_log_has_costs_nothing_and_is_kept(log: Log, folder: Path) -> None:
    log.add(3)
    signed = SIGNER.sign(10**9, b"\1" * 32)

    class Boasting:
        def get(self, path: str):
            assert path == "/checkpoint", "no tile is asked for"
            answer = log.client.get(path)
            answer._content = signed
            return answer

    with pytest.raises(InvalidMessageError, match=r"log\.size"):
        witness_log(Boasting(), LogCopy(folder), keys=SIGNER.keys)
    with pytest.raises(AuditBrokenError, match=r"log\.truncated"):
        look(log, folder)


def test_only_the_logs_own_checkpoints_are_believed(log: Log, folder: Path) -> None:
    log.add(3)
    strangers = LogSigner(SIGNER.origin, b"\2" * 32, generate_private_key())
    for keys in (strangers.keys, (), [SIGNER.keys[0], strangers.keys[1]]):
        with pytest.raises(GridSecureError, match=r"log\.signature"):
            witness_log(log.client, LogCopy(folder), keys=keys)
    assert not folder.exists()


@pytest.mark.parametrize("wrong", ["/tile/0", "/tile/entries"])
def test_wrong_tiles_are_no_alarm(log: Log, folder: Path, monkeypatch, wrong: str) -> None:
    """What a cache spoils proves nothing against the log."""
    log.add(3)
    look(log, folder)
    log.add(9)
    whole = log.client.get

    def spoiled(path: str):
        answer = whole(path)
        if path.startswith(wrong):
            answer._content = answer.content[:-1] + bytes([answer.content[-1] ^ 1])
        return answer

    monkeypatch.setattr(log.client, "get", spoiled)
    with pytest.raises(GridSecureError, match=r"log\.tile"):
        look(log, folder)
    monkeypatch.undo()
    assert LogCopy(folder).tree.size == 3
    assert look(log, folder) == 6


def test_a_folder_is_for_one_log(log: Log, folder: Path, tmp_path: Path) -> None:
    log.add(3)
    look(log, folder)
    seen = json.loads((folder / "seen.json").read_text())
    (folder / "seen.json").write_text(json.dumps(seen | {"origin": "gridsecure/other/1"}))
    with pytest.raises(InputError, match=r"witness\.other-log"):
        look(log, folder)
    others = (
        {"size": 4, "hashes": []},
        {"hashes": ["ab" * 32, "ab" * 32]},
        {"checkpoint": "none"},
    )
    for damage in ("{}", "nothing", *(json.dumps(seen | other) for other in others)):
        (folder / "seen.json").write_text(damage)
        with pytest.raises(InputError, match=r"witness\.copy"):
            LogCopy(folder)


def test_a_missing_tile_of_the_copy_is_told(log: Log, folder: Path) -> None:
    log.add(300)
    look(log, folder)
    (folder / "tile" / "0" / "000").unlink()
    with pytest.raises(InputError, match=r"witness\.copy"):
        LogCopy(folder).leaves(300)


def test_a_folder_that_cannot_be_written_is_told(log: Log, tmp_path: Path) -> None:
    log.add(3)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"witness\.folder"):
        look(log, tmp_path / "file" / "copy")


# --- as its user would ------------------------------------------------------------------------


@pytest.fixture
def run(log: Log, folder: Path, monkeypatch):
    monkeypatch.setattr(online, "open_connection", lambda: log.http)
    given = [f"--key={key.text}" for key in SIGNER.keys]

    def call(*more: str):
        arguments = ["log", "witness", "http://testserver/log", f"--copy={folder}", *given, *more]
        return CliRunner().invoke(command, arguments)

    return call


def test_the_command_says_what_it_saw(log: Log, run, tmp_path: Path) -> None:
    log.add(3)
    told = tmp_path / "told"
    told.write_bytes(log.checkpoint)
    first = run()
    assert (first.exit_code, "3 entries" in first.stdout) == (0, True), first.output
    log.add(5)
    second = run(f"--compare={told}")
    assert second.exit_code == 0, second.output
    assert "It begins with the 3 entries seen before." in second.stdout
    assert "told: the same log, at 3 entries." in second.stdout
    log.cut(2)
    third = run()
    assert (third.exit_code, "log.truncated" in third.stderr) == (1, True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "witness.file"),
        ("{}", "witness.certificate"),
        ("text", "log.note"),
    ],
)
def test_the_command_refuses_what_is_no_checkpoint(
    log: Log, run, tmp_path: Path, content: str | None, reason: str
) -> None:
    log.add(1)
    if content is not None:
        (tmp_path / "told").write_text(content)
    result = run(f"--compare={tmp_path / 'told'}")
    assert (result.exit_code, reason in result.stderr) == (1, True), result.output


def test_an_unknown_line_in_a_checkpoint_is_no_matter(log: Log, folder: Path) -> None:
    log.add(1)
    note = read_note(log.checkpoint)
    doubled = write_note(note.text, [*note.signatures, note.signatures[0]])
    look(log, folder)
    assert compare_checkpoint(LogCopy(folder), doubled.decode(), keys=SIGNER.keys).size == 1
