"""Both databases' tables: migrated from a kept database of records, nothing lost or mixed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from gridsecure.credentials.log_details import commitment
from gridsecure.identity.enrolments import tables as names
from gridsecure.identity.enrolments.blocking import blocked_name
from gridsecure.identity.enrolments.certifying import Facts
from gridsecure.identity.enrolments.enrolled_keys import Enrolment, generations_of, keys_ever_of
from gridsecure.identity.registrations import tables as pseudonyms
from gridsecure.identity.registrations.leaves import leaves_of
from gridsecure.identity.registrations.registry import CHALLENGES, find_registration
from gridsecure.identity.registrations.revoking import revoke
from gridsecure.store.database import open_database, read_session
from gridsecure.store.evidence import list_entries_after
from gridsecure.store.rows import load_row
from gridsecure.store.schema import migrate
from tests.identity.identity_world import METER, NOW
from tests.store.schema_checks import check_kept, check_schema, load_dump

DUMPS = Path(__file__).parents[1] / "data" / "databases"
SCHEMAS = {"enrolments": names.SCHEMA, "registrations": pseudonyms.SCHEMA}
COUNTS = {
    "enrolments": {
        "account": 5, "blocked": 1, "certified": 8, "counted": 5, "credential": 9, "enrolment": 9,
        "enrolment_session": 2, "former_source_key": 0, "gateway_owner": 1, "login": 2,
        "rekey_order": 2, "source_key": 0,
    },
    "registrations": {
        "carried": 1, "challenge": 5, "opening": 1, "registration": 12, "registration_leaf": 12,
        "registration_leaves": 4, "spent_grant": 1,
    },
}  # fmt: skip
LOGGED = {"enrolments": 17, "registrations": 9}


def kept(url: str, side: str) -> Engine:
    """A database from before tables were typed, migrated."""
    engine = open_database(url)
    load_dump(engine, DUMPS / f"{side}-records.sql")
    migrate(engine, SCHEMAS[side])
    return engine


@pytest.mark.parametrize("side", SCHEMAS)
def test_an_empty_database_comes_to_these_tables(database_url: str, side: str) -> None:
    check_schema(database_url, SCHEMAS[side])


@pytest.mark.parametrize("side", SCHEMAS)
def test_all_of_a_kept_database_is_there(database_url: str, side: str) -> None:
    engine = kept(database_url, side)
    check_kept(engine, SCHEMAS[side], counts=COUNTS[side], logged=LOGGED[side])
    engine.dispose()


def test_keys_credentials_and_facts_are_whose_they_were(database_url: str) -> None:
    engine = kept(database_url, "enrolments")
    with read_session(engine) as session:
        assert generations_of(session, ["customer 0", "customer 1"]) == {"customer 0": 2}
        assert len(set(keys_ever_of(session, "customer 0"))) == 3
        hidden = load_row(session, names.EnrolmentRow, identity="analyst/lin")
        assert (hidden.generation, hidden.key) == (0, None)
        for row in session.exec(select(names.CredentialRow)):
            identity = row.identity.removeprefix(f"{row.role}/")
            context = METER if row.role == "meter-point" else None
            if context and row.period == context.period:
                again = Enrolment(identity, context, b"").credential_name(row.generation)
                assert row.name == again
        first = Enrolment("customer 0", METER, b"")
        facts = [
            load_row(session, names.CertifiedRow, credential=first.credential_name(generation))
            for generation in (0, 1)
        ]
        assert [(one.zone, one.customer_class, one.counted) for one in facts] == [
            ("futian", "household", True),
            ("futian", "household", False),
        ]
        (twin,) = session.exec(
            select(names.CertifiedRow).where(names.CertifiedRow.credential.contains(b"0b".hex()))
        )
        assert not twin.counted
        counted = session.exec(select(names.CountedRow.meter_point_id)).all()
        assert sorted(counted) == ["customer 0", *(f"customer {at}" for at in (1, 2, 3, 3))]
    engine.dispose()


def test_a_block_keeps_the_name_that_the_log_gave_it(database_url: str) -> None:
    engine = kept(database_url, "enrolments")
    with read_session(engine) as session:
        row = load_row(session, names.BlockedRow, identity="customer 2")
        said = json.loads(list_entries_after(session, -1)[-2].detail)
        assert said == {"identity": blocked_name(row), "reference": row.reference}
        assert row.at == datetime(2026, 3, 1, 8, tzinfo=UTC)
        orders = session.exec(select(names.RekeyOrderRow.orders)).all()
        assert all(len(json.loads(one)) == 2 for one in orders)
    engine.dispose()


def test_registrations_act_and_are_revoked_as_before(database_url: str) -> None:
    engine = kept(database_url, "registrations")
    with read_session(engine) as session:
        rows = session.exec(select(pseudonyms.RegistrationRow)).all()
    by_name = {row.subject: row for row in rows}
    assert sorted(row.state for row in rows) == ["active"] * 10 + ["denied"] * 2
    active = [row for row in rows if row.state == "active" and row.settlement]
    assert len(active) == 4
    for row in active:
        found = find_registration(engine, subject=row.subject)
        assert found.settlement == row.settlement
        assert not by_name[row.settlement].holder
        assert (found.facts.zone, found.holder[0]) == ("futian", 4)
    (carrying,) = [
        one
        for one in (
            find_registration(engine, subject=r.subject) for r in rows if r.state == "active"
        )
        if one.carried
    ]
    assert carrying.domain == "platform/billing/2027"
    # A pseudonym that bills are under takes with it the one that acts.
    assert revoke(engine, subject=active[0].settlement, reference="r", now=NOW) == 2
    assert isinstance(carrying.facts, Facts)
    engine.dispose()


def test_leaves_are_what_the_log_committed_to(database_url: str) -> None:
    engine = kept(database_url, "registrations")
    with read_session(engine) as session:
        entries = [e for e in list_entries_after(session, -1) if e.action == "identity.registered"]
    assert len(entries) == 4
    for entry in entries:
        assert commitment(leaves_of(engine, entry.hash)) == json.loads(entry.detail)["digest"]
    engine.dispose()


def test_an_open_challenge_is_still_good_once(database_url: str) -> None:
    engine = kept(database_url, "registrations")
    with read_session(engine) as session:
        row = load_row(session, pseudonyms.ChallengeRow, state="open")
    assert row.expires_at == NOW + timedelta(minutes=2)
    CHALLENGES.use(engine, value=bytes.fromhex(row.value), now=NOW)
    with pytest.raises(Exception, match=r"authenticity\.challenge"):
        CHALLENGES.use(engine, value=bytes.fromhex(row.value), now=NOW)
    engine.dispose()
