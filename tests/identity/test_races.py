"""Several processes at once: one spends a grant, one registers, one uses a counter.

The same races run on SQLite and on PostgreSQL; afterwards the evidence log has no gap.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlmodel import Session, select

from gridsecure.compute.holder_uploads import take_counter
from gridsecure.compute.tables import SCHEMA as PLATFORM
from gridsecure.credentials.access import batch_challenge
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import IssuerPrivateKey
from gridsecure.credentials.presentations import Occasion, PublicKeys, present
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import AuthenticityError, ConflictError
from gridsecure.identity.enrolments.enrolled_keys import Enrolment, keep_enrolments
from gridsecure.identity.enrolments.tables import SCHEMA as NAMES
from gridsecure.identity.registrations.registrar import ReceivedPresentation, Registrar
from gridsecure.identity.registrations.registry import (
    CHALLENGES,
    Registration,
    keep_registrations,
    spend_tag,
)
from gridsecure.identity.registrations.tables import SCHEMA as PSEUDONYMS
from gridsecure.identity.registrations.tables import ChallengeRow, RegistrationRow
from gridsecure.store.database import open_database, write_session
from gridsecure.store.evidence import append
from gridsecure.store.log_tree import verify_log
from gridsecure.store.schema import migrate
from tests.identity.identity_world import BILLING, METER, NOW, SETTLEMENT, keys, suite
from tests.processes_beside import BESIDE

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
    take_counter(engine, subject="one", counter=index + 1)


def answer(engine, index: int, racer: int) -> None:
    with write_session(engine) as session:
        given = session.exec(select(ChallengeRow.value).order_by(ChallengeRow.value)).all()[index]
    CHALLENGES.use(engine, value=bytes.fromhex(given), now=NOW)


def enrol(engine, index: int, racer: int) -> None:
    entry = Enrolment(f"customer {index}", METER, bytes([racer, index]))
    with write_session(engine) as session:
        (refused,) = keep_enrolments(session, [entry], now=NOW)
    if refused:
        raise refused


def log(engine, index: int, racer: int) -> None:
    """Nobody loses: every entry has a place of its own."""
    with write_session(engine) as session:
        detail = {"round": index, "racer": racer}
        append(session, at=NOW, actor="racer", action="test", detail=detail)


RACES = {
    "enrol": enrol,
    "spend": spend,
    "register": register,
    "count": count,
    "answer": answer,
    "log": log,
}


SCHEMA_OF = {"count": PLATFORM, "enrol": NAMES}


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
    with ProcessPoolExecutor(PROCESSES, mp_context=BESIDE) as pool:
        list(pool.map(abs, range(PROCESSES)))
        yield pool


@pytest.mark.parametrize("name", RACES)
def test_every_round_has_one_winner(racers, database_url, name):
    engine = open_database(database_url)
    migrate(engine, SCHEMA_OF.get(name, PSEUDONYMS))
    if name == "answer":
        for _ in range(ROUNDS):
            CHALLENGES.give(engine, now=NOW)
    started = [racers.submit(race, database_url, name, racer) for racer in range(PROCESSES)]
    won = sorted(index for one in started for index in one.result(timeout=120))
    if name == "log":
        assert won == sorted(list(range(ROUNDS)) * PROCESSES)
    else:
        assert won == list(range(ROUNDS))
    with Session(engine) as session:
        losses = (PROCESSES - 1) * ROUNDS if name == "register" else 0  # each rang the alarm
        assert verify_log(session) == (PROCESSES * ROUNDS if name == "log" else losses)
    engine.dispose()


# --- whole batches, two domains a holder

DOMAINS = (BILLING, SETTLEMENT)
MEMBERS = 6
PORTION = 2


@dataclass(frozen=True)
class Batch:
    """What one gateway sends: the members' places, its challenge, and what they show."""

    members: tuple[int, ...]
    challenge: bytes
    shown: list[ReceivedPresentation]


def send(url: str, key: IssuerPrivateKey, public: PublicKeys, batches: list[Batch], now: datetime):
    """One process: register every batch; the members it got, and why not the others."""
    engine, won, refused = open_database(url), [], []
    registrar = Registrar(suite(), public, key, engine)
    for place, batch in enumerate(batches):
        moment = now + timedelta(milliseconds=place)  # a record is in the log once
        outcomes = registrar.register_all(
            batch.shown, context=METER, domains=DOMAINS, challenge=batch.challenge, now=moment
        )
        for member, outcome in zip(batch.members, outcomes, strict=True):
            if isinstance(outcome, tuple):
                won.append(member)
            else:
                refused.append(getattr(outcome, "reason", ""))
    engine.dispose()
    return won, refused


def credentials() -> list[Credential]:
    """Members' credentials, made with the issuer's key as the issuer would."""
    made, key, group = [], keys().issuer, suite().group
    for _ in range(MEMBERS):
        m1, u = group.random_scalar(), group.multiply(suite().g, scalar=group.random_scalar())
        factor = key.x0 + m1 * key.x1 + METER.scalar(suite()) * key.x2
        made.append(Credential(m1, u, group.multiply(u, scalar=factor), METER))
    return made


def cloned_batches(engine, members: list[Credential], racer: int) -> list[Batch]:
    """The same credentials under keys of its own, in another order in every process."""
    order = [*range(racer, MEMBERS), *range(racer)]
    order = order[::-1] if racer % 2 else order
    batches = []
    for start in range(0, MEMBERS, PORTION):
        places = tuple(order[start : start + PORTION])
        challenge, shown = CHALLENGES.give(engine, now=NOW), []
        for at, place in enumerate(places):
            bound, own = batch_challenge(challenge, at), generate_private_key().public_key
            occasion = Occasion(METER, DOMAINS, own, bound)
            message = present(members[place], occasion=occasion, keys=keys().public, suite=suite())
            shown.append(ReceivedPresentation(own.point, message, METER.facts))
        batches.append(Batch(places, challenge, shown))
    return batches


def test_clones_in_two_domains_register_once_whole(racers, database_url):
    """Three gateways show the same six credentials: every member has one of them in both."""
    engine = open_database(database_url)
    migrate(engine, PSEUDONYMS)
    members = credentials()
    sent = [cloned_batches(engine, members, racer) for racer in range(PROCESSES)]
    moments = [NOW + timedelta(microseconds=racer) for racer in range(PROCESSES)]
    started = [
        racers.submit(send, database_url, keys().issuer, keys().public, batches, now)
        for batches, now in zip(sent, moments, strict=True)
    ]
    outcomes = [one.result(timeout=120) for one in started]
    assert sorted(member for won, _ in outcomes for member in won) == list(range(MEMBERS))
    lost = [reason for _, refused in outcomes for reason in refused]
    assert lost == ["authenticity.cloned"] * (PROCESSES - 1) * MEMBERS
    with Session(engine) as session:
        kept = session.exec(select(RegistrationRow)).all()
        batches = PROCESSES * MEMBERS // PORTION
        assert verify_log(session) == batches + len(lost)
    engine.dispose()
    acting = {entry.subject: entry for entry in kept if entry.domain == BILLING.text}
    settled = {entry.subject for entry in kept if entry.domain == SETTLEMENT.text}
    assert len(acting) == len(settled) == MEMBERS
    assert {entry.settlement for entry in acting.values()} == settled
    holders = {one.holder for batches in sent for batch in batches for one in batch.shown}
    assert {entry.holder for entry in acting.values()} <= holders
