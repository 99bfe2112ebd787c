"""The gateway's tables: what a migration makes of a kept database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine
from sqlmodel import col, select

from gridsecure.gateway.tables import (
    SCHEMA,
    AgentRow,
    CredentialRow,
    GatewayAgentRow,
    IdentityKeysRow,
    MonthPlanRow,
    MonthReportRow,
    QueuedBatchRow,
    RosterRow,
    SignedRow,
    UploadRow,
)
from gridsecure.messages import RosterManifest, UploadManifest
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.schema import migrate
from gridsecure.wire.problems import ReadingsProblem
from tests.store.schema_checks import check_kept, check_schema, check_signed, load_dump

DUMP = Path(__file__).parents[1] / "data" / "databases" / "gateway-records.sql"
COUNTS = {
    "agent": 13,
    "batch": 0,
    "batch_month": 0,
    "books_revision": 0,
    "contract": 0,
    "correction_order": 0,
    "correction_plan": 0,
    "correction_report": 0,
    "credential": 13,
    "cycle": 1,
    "edit": 0,
    "event_notice": 0,
    "exception": 0,
    "exception_note": 0,
    "gateway_agent": 1,
    "holding": 0,
    "identity_keys": 1,
    "installed_meter": 0,
    "key_set": 3,
    "month_count": 0,
    "month_plan": 1,
    "month_report": 1,
    "notice": 0,
    "queued_batch": 0,
    "receiver": 0,
    "roster": 3,
    "rule_set": 0,
    "rule_trial": 0,
    "rule_trial_count": 0,
    "sealed_day": 0,
    "source": 0,
    "upload": 3,
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A gateway's database of a month, made before tables were typed, and migrated."""
    made = open_database(database_url)
    load_dump(made, DUMP)
    migrate(made, SCHEMA)
    yield made
    made.dispose()


def test_an_empty_database_comes_to_these_tables(database_url: str) -> None:
    check_schema(database_url, SCHEMA)


def test_all_of_a_kept_database_is_there(engine: Engine) -> None:
    check_kept(engine, SCHEMA, counts=COUNTS, logged=6)


def test_refusals_of_batches_get_the_names_of_the_standard(engine: Engine) -> None:
    kept = {"reason": "readings.body", "message": "No table.", "remedy": "Send one.", "status": 400}
    row = QueuedBatchRow(
        source="a", batch_id="1", sequence=1, body_digest="", size=1, file="", declared="{}",
        state="refused", attempts=1,
        refusal=json.dumps({"type": "/reasons/readings.body", "problems": ["line 2"], **kept}),
        at=datetime(2026, 7, 1, tzinfo=UTC),
    )  # fmt: skip
    with write_session(engine) as session:
        session.add(row)
    script = import_module("gridsecure.gateway.migrations.r0020_refusals_as_problems")
    with engine.begin() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            script.upgrade()
        (text,) = connection.execute(select(col(QueuedBatchRow.refusal))).one()
    found = ReadingsProblem.model_validate_json(text)
    assert (found.title, found.status, found.problems) == ("Bad Request", 400, ["line 2"])
    assert (found.reason, found.detail, found.remedy) == (
        "readings.body", "No table.", "Send one.",
    )  # fmt: skip


def test_every_signed_message_is_the_one_its_digest_names(engine: Engine) -> None:
    check_signed(engine, SignedRow.__subclasses__())


def test_columns_say_what_was_signed(engine: Engine) -> None:
    with read_session(engine) as session:
        uploads = session.exec(select(UploadRow).order_by(UploadRow.sequence)).all()
        assert [upload.sequence for upload in uploads] == [1, 2, 3]
        for upload in uploads:
            said = UploadManifest.parse(upload.envelope.body)
            assert (upload.roster_id, upload.gateway_id, upload.sequence) == (
                said.roster_id,
                said.gateway_id,
                said.sequence,
            )
            assert (upload.name, upload.state) == (f"{said.roster_id}-2026-07", "committed")


def test_who_is_seated_is_registered(engine: Engine) -> None:
    with read_session(engine) as session:
        agents = session.exec(select(AgentRow)).all()
        seated = {
            name
            for roster in session.exec(select(RosterRow))
            for name in RosterManifest.parse(roster.envelope.body).pseudonyms
        }
        assert {agent.billing for agent in agents} == seated
        assert {agent.period for agent in agents} == {"2026"}
        assert not {agent.settlement for agent in agents} & seated
        assert sum(agent.facts.counted for agent in agents) >= 1
        credentials = session.exec(select(CredentialRow)).all()
        assert {len(one.mac) for one in credentials} == {66}
        (own,) = session.exec(select(GatewayAgentRow)).all()
        assert (own.period, len(own.subject)) == ("2026", 64)
        assert len(session.exec(select(IdentityKeysRow.statements)).one()) > 1000


def test_a_months_documents_are_of_that_month(engine: Engine) -> None:
    with read_session(engine) as session:
        plan = session.exec(select(MonthPlanRow)).one()
        assert (plan.month, plan.number) == ("2026-07", 1)
        assert session.exec(select(MonthReportRow.month)).one() == "2026-07"
