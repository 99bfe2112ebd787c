"""Several processes at once: one spends a grant, one registers, one uses a counter.

The database is named by URL, so that the same races run wherever a server is given.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from gridsecure.compute.admission import raise_counter
from gridsecure.errors import AuthenticityError, ConflictError
from gridsecure.identity.enrolments import Enrolment, keep_enrolments
from gridsecure.identity.one_use import CHALLENGES
from gridsecure.identity.registry import Registration, keep_registrations, spend_tag
from gridsecure.store.database import open_database, write_session
from gridsecure.store.records import create_tables, listed
from tests.identity.identity_world import METER, NOW

PROCESSES = 3
ROUNDS = 15


def spend(engine, index: int, racer: int) -> None:
    digest = bytes([racer]) * 32
    spend_tag(engine, tag=bytes([index]), quota=b"q", digest=digest, now=NOW)


def register(engine, index: int, racer: int) -> None:
    entry = Registration(f"{index:064x}", "p/u/1", b"\2", bytes([4, racer]), b"\2")
    with write_session(engine) as session:
        (refused,) = keep_registrations(session, [(entry,)], now=NOW)
    if refused:
        raise refused


def count(engine, index: int, racer: int) -> None:
    raise_counter(engine, subject="one", counter=index + 1, now=NOW)


def answer(engine, index: int, racer: int) -> None:
    with write_session(engine) as session:
        given = listed(session, kind=CHALLENGES.kind)[index]
    CHALLENGES.use(engine, value=bytes.fromhex(given.name), now=NOW)


def enrol(engine, index: int, racer: int) -> None:
    entry = Enrolment(f"customer {index}", METER, bytes([racer, index]))
    with write_session(engine) as session:
        (refused,) = keep_enrolments(session, [entry], now=NOW)
    if refused:
        raise refused


RACES = {"enrol": enrol, "spend": spend, "register": register, "count": count, "answer": answer}


def race(url: str, name: str, racer: int) -> list[int]:
    """One process: try every round, return those it won."""
    engine, won = open_database(url), []
    for index in range(ROUNDS):
        try:
            RACES[name](engine, index, racer)
        except (AuthenticityError, ConflictError):
            continue
        won.append(index)
    engine.dispose()
    return won


@pytest.fixture(scope="module")
def racers():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        list(pool.map(abs, range(PROCESSES)))
        yield pool


@pytest.mark.parametrize("name", RACES)
def test_every_round_has_one_winner(racers, database_url, name):
    engine = open_database(database_url)
    create_tables(engine)
    if name == "answer":
        for _ in range(ROUNDS):
            CHALLENGES.give(engine, now=NOW)
    engine.dispose()
    started = [racers.submit(race, database_url, name, racer) for racer in range(PROCESSES)]
    won = sorted(index for one in started for index in one.result(timeout=120))
    if name == "count":  # a counter may be overtaken by a greater one, but never be used twice
        assert len(won) == len(set(won))
        assert won[-1] == ROUNDS - 1
    else:
        assert won == list(range(ROUNDS))
