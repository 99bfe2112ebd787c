"""What the offices rely on when they do not trust the desk, and whom a search must not miss."""

from __future__ import annotations

import json

import pytest
from sqlmodel import Session

from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.suites import framed
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AccessDeniedError
from gridsecure.identity.registrar import REGISTERED
from gridsecure.identity.registry import registration, registration_in
from gridsecure.store.records import listed
from tests.identity.identity_world import BILLING, NOW, World, new_holder
from tests.identity.office_world import log_of, new_desk, registered, run_search


def test_a_search_finds_a_gateway_too(world: World):
    desk = new_desk(world)
    registered(world, 2)
    holder = new_holder()
    credential = world.enrol(holder, "station 1", Context("gateway", "2026"))
    world.register(holder, credential, BILLING)
    name = holder.name_in(BILLING)
    assert registration(world.service.engine, subject=name).role == "gateway"
    ordered = desk.searches.order("gateway/station 1", reference="2026/4", now=NOW)
    state = run_search(desk, world, ordered)
    assert (state.found, state.total) == ((name,), 3)
    with pytest.raises(AccessDeniedError, match=r"authenticity\.registration"):
        registration(world.service.engine, subject=name)


def test_the_log_commits_to_every_escrow_when_it_is_registered(world: World):
    """Else the authority could have another escrow opened, or searched, and nobody could show it.

    Neither check of an office sees it: escrow and digest in the order come from the same desk.
    """
    registered(world, 3)
    (entry,) = [one for one in log_of(world) if one.action == REGISTERED]
    with Session(world.service.engine) as session:
        rows = [registration_in(row) for row in listed(session, kind="registration")]
    assert len(rows) == 6

    def digest(escrows: list[bytes]) -> str:
        pairs = zip(rows, escrows, strict=True)
        return sm3_hex(framed(*sorted(sm3_hex(framed(row.subject, one)) for row, one in pairs)))

    escrows = [row.escrow for row in rows]
    said = json.loads(entry.detail)["digest"]
    assert digest(escrows) == said
    assert digest([*escrows[1:], escrows[0]]) != said
