"""The platform's tables: what a migration makes of a kept database, and what an index answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from gridsecure.compute import tables
from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.requests import list_requests_about, request_state
from gridsecure.compute.tables import (
    SCHEMA,
    ClosingRow,
    GatewayRow,
    HolderPinRow,
    ReleaseRequestRow,
    RunRow,
    SeatRow,
    SignedRow,
    UploadCounterRow,
    UploadRow,
)
from gridsecure.compute.tallies import STORED_BYTES, read_tallies
from gridsecure.messages import (
    KeyNotice,
    ReleaseRequest,
    RosterManifest,
    Transcript,
    UploadManifest,
)
from gridsecure.store.database import open_database, read_session
from gridsecure.store.objects import open_objects
from gridsecure.store.rows import find, kind_of, load_row
from gridsecure.store.schema import migrate
from tests.store.schema_checks import check_kept, check_schema, check_signed, load_dump

DUMP = Path(__file__).parents[1] / "data" / "databases" / "platform-records.sql"
MONTH = ("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00")
COUNTS = {
    "billed_members": 3,
    "closing": 1,
    "day_seat": 0,
    "deny_list": 0,
    "gateway": 1,
    "holder_pin": 14,
    "job": 0,
    "job_seed": 31,
    "key_revocation": 0,
    "key_set": 3,
    "extent": 0,
    "policy": 0,
    "query_grant": 1,
    "release_request": 2,
    "request_upload": 6,
    "roster": 3,
    "run": 2,
    "seat": 13,
    "shadow": 0,
    "stored": 318,
    "tally": 6,
    "transcript": 34,
    "upload": 3,
    "upload_counter": 1,
    "upload_sequence": 3,
    "usage": 0,
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A platform's database of four meters, made before tables were typed, and migrated."""
    made = open_database(database_url)
    load_dump(made, DUMP)
    migrate(made, SCHEMA)
    yield made
    made.dispose()


def test_an_empty_database_comes_to_these_tables(database_url: str) -> None:
    check_schema(database_url, SCHEMA)


def test_all_of_a_kept_database_is_there(engine: Engine) -> None:
    check_kept(engine, SCHEMA, counts=COUNTS, logged=55)


def test_every_signed_message_is_the_one_its_digest_names(engine: Engine) -> None:
    check_signed(engine, SignedRow.__subclasses__())


def test_columns_say_what_was_signed(engine: Engine) -> None:
    with read_session(engine) as session:
        members: set[tuple[str, str]] = set()
        for upload in session.exec(select(UploadRow)):
            said = UploadManifest.parse(upload.envelope.body)
            assert (upload.roster_id, upload.gateway_id) == (said.roster_id, said.gateway_id)
            assert (upload.start, upload.end) == (said.start, said.end) == MONTH
            assert (upload.first_start, upload.corrects, upload.state) == (
                said.start,
                None,
                "committed",
            )
            roster = load_row(session, tables.RosterRow, roster_id=upload.roster_id)
            manifest = RosterManifest.parse(roster.envelope.body)
            members |= {(manifest.roster_id, name) for name in manifest.pseudonyms}
        seats = session.exec(select(SeatRow)).all()
        assert {(seat.roster_id, seat.pseudonym) for seat in seats} == members
        assert {(seat.start_at, seat.end_at, seat.domain) for seat in seats} == {
            (
                datetime(2026, 6, 30, 16, tzinfo=UTC),
                datetime(2026, 7, 31, 16, tzinfo=UTC),
                "platform/billing/2026",
            )
        }


def test_every_object_that_was_there_is_named_alone(engine: Engine) -> None:
    named: dict[str, int] = {}
    with read_session(engine) as session:
        for row in session.exec(select(tables.KeySetRow)):
            notice = KeyNotice.parse(row.envelope.body)
            named |= {key: 0 for key in (notice.public_key, notice.relinearisation_keys) if key}
        for row in session.exec(select(tables.RosterRow)):
            roster = RosterManifest.parse(row.envelope.body)
            named |= {roster.tariff: 0, roster.seats: 0}
        for row in session.exec(select(UploadRow)):
            upload = UploadManifest.parse(row.envelope.body)
            named |= {column.digest: column.size for column in upload.columns}
        for row in session.exec(select(tables.TranscriptRow)):
            outputs = Transcript.parse(row.envelope.body).outputs.values()
            named |= {column.digest: column.size for column in outputs}
        stored = session.exec(select(tables.StoredRow)).all()
        kinds = (tables.KeySetRow, tables.RosterRow, UploadRow, tables.RunRow)
        counted = {kind_of(kind): len(session.exec(select(kind)).all()) for kind in kinds}
        totals = dict(read_tallies(session))
    counted |= {"upload.committed": counted["upload"], STORED_BYTES: sum(named.values())}
    assert totals == counted
    assert {row.name: row.size for row in stored} == named
    objects = PlatformObjects(open_objects("memory://"), engine)
    assert objects.list_missing(list(named)) == list(named)
    some = next(iter(named))
    objects.store.put(b"whose bytes are not looked at", digest=some)
    assert objects.list_missing(list(named)) == list(named)[1:]


def test_requests_are_found_by_plan_and_closing_list(engine: Engine) -> None:
    with read_session(engine) as session:
        (closing,) = session.exec(select(ClosingRow.digest)).all()
        for plan in ("bill", "load-curve"):
            ((request_id, state),) = list_requests_about(session, plan=plan, closing=closing)
            assert request_state(session, request_id) == state == "released"
            row = load_row(session, ReleaseRequestRow, request_id=request_id)
            said = ReleaseRequest.parse(row.envelope.body)
            assert (row.plan, row.start, row.end, row.purpose) == (
                said.plan,
                said.start,
                said.end,
                said.purpose,
            )


def test_runs_keep_their_order_and_outcome(engine: Engine) -> None:
    with read_session(engine) as session:
        found = session.exec(select(RunRow).order_by(col(RunRow.id))).all()
        assert [(run.plan, run.state, run.jobs_done, run.jobs) for run in found] == [
            ("bill", "done", 3, 3),
            ("load-curve", "done", 31, 31),
        ]
        assert {(run.start, run.end) for run in found} == {MONTH}
        for run in found:
            assert find(session, ReleaseRequestRow, request_id=run.request_id) is not None


def test_who_acts_is_still_pinned(engine: Engine) -> None:
    with read_session(engine) as session:
        (gateway,) = session.exec(select(GatewayRow)).all()
        assert len(gateway.point) == 65
        pin = load_row(session, HolderPinRow, subject=gateway.subject)
        assert pin.thumbprint == gateway.thumbprint
        (counter,) = session.exec(select(UploadCounterRow)).all()
        assert counter.subject == gateway.subject
        assert counter.closed_to > 1
        assert counter.recent == ""
