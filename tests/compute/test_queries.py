"""Queries at the platform: checked, answered once, spent with the run they start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from gridsecure.compute import queries
from gridsecure.compute.jobs import WorkerPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.requests import record_answer
from gridsecure.compute.runs import RunOrder, run_plan
from gridsecure.credentials.queries import load_curve_query
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    InputError,
    InvalidMessageError,
    NotFoundError,
    StaleMessageError,
)
from gridsecure.messages import ReleaseRequest
from gridsecure.store.database import write_session
from tests.grid_simulator import NOW, GridSimulator, delivered_grid, grid_keys, registry
from tests.query_grants import grant_claims, grant_token, query_of


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[GridSimulator]:
    with delivered_grid(tmp_path / "grid", meters=16) as grid:
        yield grid


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[GridSimulator]:
    """A platform without a single upload."""
    grid = GridSimulator(tmp_path / "grid", meters=16)
    yield grid
    grid.close()


def ask(grid: GridSimulator, query: str, *, claims=None, grant: str | None = None):
    """Check a query with good grants, unless told otherwise."""
    return queries.admit_query(
        grid.platform_zone,
        claims or grant_claims(query),
        query=query,
        grant=grant or grant_token(query),
        now=NOW,
    )


def run(grid: GridSimulator, order: RunOrder) -> ReleaseRequest:
    zone = grid.platform_zone
    with closing(WorkerPool(zone.objects.store, read_known_keys(zone.engine), workers=1)) as pool:
        envelope = run_plan(zone, order, pool=pool, clock=lambda: NOW, progress=lambda *_: None)
    return ReleaseRequest.parse(envelope.body)


def spend(grid: GridSimulator, wanted: queries.AdmittedQuery) -> None:
    with write_session(grid.platform_zone.engine) as session:
        queries.spend(session, wanted, at=NOW)


def test_the_request_of_a_query_names_it_and_carries_the_grant(grid):
    query = query_of(grid).text
    wanted = ask(grid, query)
    queries.check_answerable(grid.platform_zone, wanted)
    request = run(grid, wanted.order)
    assert (request.query, request.grant) == (query, wanted.order.grant)
    assert (request.purpose, request.requested_by) == ("research", grant_claims(query).subject)
    staff = run(grid, grid.order("load-curve"))
    assert [t.digest for t in staff.transcripts] == [t.digest for t in request.transcripts]
    assert staff.request_id != request.request_id
    assert (staff.query, staff.grant) == ("", "")


def test_an_order_does_not_show_its_grant(empty):
    wanted = ask(empty, query_of(empty).text)
    assert wanted.order.grant not in repr(wanted)


OTHER = load_curve_query(
    "2026-06-01T00:00:00+08:00", "2026-07-01T00:00:00+08:00", reader=grid_keys().holder.public_key
).text


@pytest.mark.parametrize(
    ("claims", "grant"),
    {
        "bearer for another query": (lambda _q: grant_claims(OTHER), grant_token),
        "a clerk": (lambda q: grant_claims(q, roles=("billing",)), grant_token),
        "grant for another query": (grant_claims, lambda _q: grant_token(OTHER)),
        "grant for the platform": (grant_claims, lambda q: grant_token(q, audience="platform")),
        "expired grant": (
            grant_claims,
            lambda q: grant_token(q, issued_at=NOW - timedelta(days=1), expires_at=NOW),
        ),
        "grant of a stranger": (grant_claims, lambda q: grant_token(q, key=generate_private_key())),
        "no token": (grant_claims, lambda _q: "nonsense"),
    }.values(),
    ids=[
        "bearer-other", "clerk", "grant-other", "grant-audience", "expired", "stranger", "nonsense",
    ],
)  # fmt: skip
def test_grants_that_do_not_hold_are_refused(empty, claims, grant):
    query = query_of(empty).text
    with pytest.raises(AuthenticityError):
        ask(empty, query, claims=claims(query), grant=grant(query))
    ask(empty, query)


def respelled(text: str) -> Iterator[tuple[str, str]]:
    said = json.loads(text)
    yield "blanks", json.dumps(said)
    yield "order", json.dumps(dict(reversed(said.items())), separators=(",", ":"))
    yield "twice", text.replace("{", '{"plan":"load-curve",')
    yield "purpose", text.replace("research", "operations")
    yield "plan", text.replace("load-curve", "bill")
    yield "more", text.replace("}", ',"who":"me"}')
    yield "less", json.dumps({"plan": said["plan"]}, separators=(",", ":"))
    yield "no object", '"query"'
    yield "no point", text.replace(said["reader"], "04" + "0" * 127 + "1")
    yield "no reader", text.replace(f',"reader":"{said["reader"]}"', "")
    yield "capitals", text.replace(said["reader"], said["reader"].upper())


@pytest.mark.parametrize("name", [name for name, _ in respelled(OTHER)])
def test_a_query_has_one_spelling(empty, name):
    text = dict(respelled(query_of(empty).text))[name]
    assert text != query_of(empty).text
    with pytest.raises(InvalidMessageError):
        ask(empty, text)


def test_a_grant_is_spent_once_and_the_same_request_is_the_same(empty):
    query = query_of(empty).text
    claims = grant_claims(query)
    wanted = ask(empty, query, claims=claims)
    zone = empty.platform_zone
    assert not queries.is_spent(zone, wanted)
    spend(empty, wanted)
    spend(empty, wanted)
    assert queries.is_spent(zone, wanted)
    assert queries.is_spent(zone, ask(empty, query, claims=claims, grant=wanted.order.grant))
    other = ask(empty, query, claims=claims)
    with pytest.raises(StaleMessageError) as read:
        queries.is_spent(zone, other)
    with pytest.raises(StaleMessageError) as written:
        spend(empty, other)
    assert read.value.reason == written.value.reason == "authenticity.spent"
    spend(empty, ask(empty, query))


def test_runs_of_a_grant_have_names_of_their_own(empty):
    query = query_of(empty).text
    one, two = (queries.grant_name(grant_claims(query)) for _ in range(2))
    names = {queries.run_name(grant) for grant in (one, two)}
    assert len(names) == 2
    assert queries.run_name(one) in names


def test_without_data_nothing_is_asked(empty):
    with pytest.raises(NotFoundError) as refused:
        queries.check_answerable(empty.platform_zone, ask(empty, query_of(empty).text))
    assert refused.value.reason == "run.empty"


@pytest.mark.parametrize(
    ("first", "state"),
    [
        ("analyst", "waiting"),
        ("analyst", "released"),
        ("staff", "waiting"),
        ("staff", "released"),
        ("staff", "refused"),
    ],
)
def test_what_was_asked_before_takes_no_grant(grid, state, first):
    query = query_of(grid).text
    order = ask(grid, query).order if first == "analyst" else grid.order("load-curve")
    request = run(grid, order)
    if state != "waiting":
        record_answer(grid.platform_zone, request.request_id, answer=state, at=NOW)
    wanted = ask(grid, query)
    for refuse in (lambda: queries.check_answerable(grid.platform_zone, wanted),
                   lambda: spend(grid, wanted)):  # fmt: skip
        with pytest.raises(ConflictError) as refused:
            refuse()
        assert refused.value.reason == "conflict.asked"
        assert state in refused.value.message
        assert "existing release" in refused.value.remedy
        assert "another period" in refused.value.remedy
    assert not queries.is_spent(grid.platform_zone, wanted)
    assert queries.answer_state(grid.platform_zone, request.request_id) == state


def test_research_that_was_refused_may_be_asked_again(grid):
    """A grant may expire before a release round; its month must not be lost to everybody."""
    first = run(grid, ask(grid, query_of(grid).text).order)
    record_answer(grid.platform_zone, first.request_id, answer="refused", at=NOW)
    again = query_of(grid, reader=generate_private_key().public_key).text
    wanted = ask(grid, again)
    queries.check_answerable(grid.platform_zone, wanted)
    spend(grid, wanted)
    second = run(grid, wanted.order)
    assert second.request_id != first.request_id
    assert second.transcripts == first.transcripts, "nothing is computed twice"
    with pytest.raises(ConflictError):
        queries.check_answerable(grid.platform_zone, ask(grid, query_of(grid).text))


def test_another_reader_is_another_query_about_the_same(grid):
    """Its grant is no other's, and yet the period is asked about once."""
    one = query_of(grid).text
    two = query_of(grid, reader=generate_private_key().public_key).text
    with pytest.raises(AuthenticityError):
        ask(grid, two, claims=grant_claims(one))
    with pytest.raises(AuthenticityError):
        ask(grid, two, grant=grant_token(one))
    run(grid, ask(grid, one).order)
    with pytest.raises(ConflictError) as refused:
        queries.check_answerable(grid.platform_zone, ask(grid, two))
    assert refused.value.reason == "conflict.asked"


def test_bills_of_the_period_are_in_nobodys_way(grid):
    run(grid, grid.order("bill"))
    queries.check_answerable(grid.platform_zone, ask(grid, query_of(grid).text))


@pytest.mark.parametrize(
    ("plan", "purpose"),
    [
        ("bill", "billing"),
        ("rebill", "billing"),
        ("load-curve", "operations"),
        ("load-curve", "tariff-design"),
    ],
)
def test_staff_order_for_what_is_released(plan, purpose):
    queries.check_staff_purpose(plan, purpose=purpose)


@pytest.mark.parametrize(
    ("plan", "purpose"),
    [
        ("bill", "research"),
        ("load-curve", "research"),
        ("load-curve", "billing"),
        ("bill", "monthly bills"),
        ("rebill", ""),
    ],
)
def test_staff_order_for_nothing_else(plan, purpose):
    with pytest.raises(InputError) as refused:
        queries.check_staff_purpose(plan, purpose=purpose)
    assert refused.value.reason == "run.purpose"
    assert "query grant" in refused.value.remedy


def test_a_platform_that_trusts_nobody_takes_no_grant(empty):
    query = query_of(empty).text
    claims = grant_claims(query)
    with pytest.raises(AuthenticityError):
        queries.verify_grant_token(
            grant_token(query), query=query, audience="authority", trusted={}, now=NOW
        )
    keys = registry(generate_private_key(), empty.identity_key)
    found = queries.verify_grant_token(
        grant_token(query), query=query, audience="authority", trusted=keys, now=NOW
    )
    assert found.subject == claims.subject
