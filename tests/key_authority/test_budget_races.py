"""The race for a cell's last question: two processes ask at one moment, and one is answered."""

from __future__ import annotations

from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker import shadows
from gridsecure.key_authority.checker.ledger import Period
from gridsecure.key_authority.checker.tables import SCHEMA
from gridsecure.periods import billing_month
from gridsecure.store.database import open_database, write_session
from gridsecure.store.schema import migrate
from tests.attacks import Attacked, attack, cut, rule
from tests.processes_beside import BESIDE

JULY = billing_month(2026, 7, timezone="Asia/Shanghai")
PERIOD = Period("platform/billing/2026", JULY.start, JULY.end)
# Looked at under a lock of its own, and spent under another: both look before one has spent.
APART = cut(
    "gridsecure.key_authority.checker.shadows:_spend",
    "    with write_session(zone.engine) as session:\n        _check_questions(",
    "    with read_session(zone.engine) as session:\n"
    "        _check_questions(zone, session, asked)\n"
    "    zone.tell('looked')\n"
    "    with write_session(zone.engine) as session:\n        (lambda *_, **__: None)(",
)


def ask(url: str, name: str, *, is_apart: bool, parent: Connection) -> None:
    """Spend the one question that a cell has, as a checker of its own does."""
    engine = open_database(url)
    zone = SimpleNamespace(engine=engine, shadow_questions=1, tell=parent.send)
    with APART.applied() if is_apart else nullcontext():
        parent.send("ready")
        parent.recv()
        try:
            asked = shadows._ask(name, {("futian", "household")}, 1, period=PERIOD)
            request = SimpleNamespace(request_id=name, requested_by="clerk")
            shadows._spend(zone, request, asked, at=JULY.end)
        except GridSecureError as refused:
            parent.send(refused.reason)
        else:
            parent.send("")
    engine.dispose()


@attack(
    "two processes race for a cell's last question",
    rule(
        "Questions are counted and spent under one lock, whichever process asks.",
        "shadow.questions",
        APART,
    ),
)
def test_two_processes_ask_at_once(tmp_path: Path, attacked: Attacked) -> None:
    url, is_apart = f"sqlite:///{tmp_path / 'zone.db'}", attacked.goes_through
    engine = open_database(url)
    migrate(engine, SCHEMA)
    pipes, running = [], []
    for name in ("one", "two"):
        own, theirs = BESIDE.Pipe()
        given = {"is_apart": is_apart, "parent": theirs}
        running.append(BESIDE.Process(target=ask, args=(url, name), kwargs=given))
        running[-1].start()
        pipes.append(own)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 2
    with write_session(engine) as session:
        session.connection()  # takes the lock, for which both wait
        for pipe in pipes:
            pipe.send("go")
        if is_apart:
            assert [pipe.recv() for pipe in pipes] == ["looked"] * 2
    answers = sorted(pipe.recv() for pipe in pipes)
    for process in running:
        process.join()
    engine.dispose()
    assert answers[0] == "", "one is answered in any case"
    attacked.ends(answers[1])
