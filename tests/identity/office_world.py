"""Two offices at the desk: each fetches the log and computes with its own half of the key."""

from __future__ import annotations

from sqlmodel import Session, col, update

from gridsecure.credentials.opening import OPENERS, Opener, OpenerKey
from gridsecure.identity.office_desk import OfficeDesk
from gridsecure.identity.registrations.leaves import leaves_of
from gridsecure.identity.registrations.person_searches import SearchState
from gridsecure.identity.registrations.tables import RegistrationRow
from gridsecure.identity.registrations.warrant_desk import Warrant
from gridsecure.identity_messages import SearchAnswer
from gridsecure.offices.log_checks import registration_entries
from gridsecure.offices.shares import CheckedSearch, check_search, search_answer, share_for
from gridsecure.store.database import write_session
from gridsecure.store.evidence import EvidenceEntry, list_entries_after
from tests.identity.identity_world import (
    BILLING,
    NOW,
    SETTLEMENT,
    Member,
    World,
    keys,
    suite,
)


def new_desk(world: World) -> OfficeDesk:
    """The desk as it is after a start: it remembers nothing."""
    return OfficeDesk(world.service.engine, world.issuer.engine, suite(), keys().published)


def log_of(world: World) -> list[EvidenceEntry]:
    """The log as an office fetches it."""
    with Session(world.service.engine) as session:
        return list_entries_after(session, -1)


def actions(world: World) -> list[str]:
    return [entry.action for entry in log_of(world)]


def registered(world: World, count: int, *, first: int = 0) -> list[Member]:
    """Meter points with a billing and a settlement pseudonym each."""
    members = world.members(count, first=first)
    outcomes = world.register_all(members, BILLING, SETTLEMENT)
    assert all(isinstance(one, tuple) for one in outcomes)
    return members


def share_of(world: World, warrant: Warrant, opener: Opener, key: OpenerKey | None = None) -> bytes:
    """What an office gives after it looked at the log."""
    return share_for(
        warrant.document,
        entries=log_of(world),
        key=key or keys().openers[opener],
        suite=suite(),
    )


def give(desk: OfficeDesk, world: World, warrant: Warrant, *openers: Opener, now=NOW) -> Warrant:
    for opener in openers or OPENERS:
        share = share_of(world, warrant, opener)
        warrant = desk.openings.give_share(warrant.entry.hash, opener=opener, share=share, now=now)
    return warrant


def leaves(world: World) -> dict[str, list[str]]:
    """The leaves of all registrations, as an office fetches them."""
    return {
        entry.hash: leaves_of(world.service.engine, entry.hash)
        for entry in registration_entries(log_of(world), before=len(log_of(world)))
    }


def looked_up(world: World, state: SearchState) -> CheckedSearch:
    return check_search(state.document, entries=log_of(world), leaves=leaves(world))


def answer_of(desk: OfficeDesk, checked: CheckedSearch, opener: Opener) -> SearchAnswer | None:
    """What an office answers to the batch that waits for it."""
    work = desk.searches.work(checked.document.entry, opener=opener, now=NOW)
    if work is None:
        return None
    return search_answer(work, search=checked, key=keys().openers[opener], suite=suite())


def step(desk: OfficeDesk, checked: CheckedSearch, opener: Opener) -> bool:
    answer = answer_of(desk, checked, opener)
    if answer is not None:
        desk.searches.take(checked.document.entry, opener=opener, answer=answer, now=NOW)
    return answer is not None


def run_search(desk: OfficeDesk, world: World, state: SearchState) -> SearchState:
    """Both offices work until nothing waits."""
    checked = looked_up(world, state)
    while any([step(desk, checked, opener) for opener in OPENERS]):
        pass
    return desk.searches.state(state.entry.hash, now=NOW)


def swap(world: World, subject: str, escrow: bytes) -> None:
    """What whoever runs the desk can do to its own database."""
    row = update(RegistrationRow).where(col(RegistrationRow.subject) == subject)
    with write_session(world.service.engine) as session:
        session.exec(row.values(escrow=escrow))
