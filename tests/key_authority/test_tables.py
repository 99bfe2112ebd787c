"""The checker's tables: what a migration makes of a kept database, and what an index answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session, col, select

from gridsecure.errors import StorageError
from gridsecure.key_authority.checker.ledger import Period, find_withheld_cells, read_told
from gridsecure.key_authority.checker.tables import (
    SCHEMA,
    BillVersionRow,
    ClaimRow,
    CohortRow,
    KeySetRow,
    ListedMemberRow,
    ListedSeatRow,
    ReleasedTranscriptRow,
    ReleaseRow,
    SeedRow,
    SignedRow,
    ToldEdgeRow,
    ToldMonthRow,
    ToldSetRow,
)
from gridsecure.messages import KeyNotice, ReleaseCertificate
from gridsecure.plans.cells import CellSets, Member
from gridsecure.plans.merging import Merged
from gridsecure.store.database import open_database, read_session, write_session, write_transaction
from gridsecure.store.rows import keep
from gridsecure.store.schema import migrate
from tests.held_policy import BY_MEASURE
from tests.store.schema_checks import check_kept, check_schema, check_signed, load_dump

DUMP = Path(__file__).parents[1] / "data" / "databases" / "checker-records.sql"
MONTH = (datetime(2026, 6, 30, 16, tzinfo=UTC), datetime(2026, 7, 31, 16, tzinfo=UTC))
DOMAIN = "platform/billing/2026"
COUNTS = {
    "agreed_release": 0,
    "approval": 0,
    "approver_revocation": 0,
    "authorisation": 0,
    "bill_version": 3,
    "claim": 3,
    "closing": 1,
    "cohort": 3,
    "key_revocation": 0,
    "key_set": 3,
    "listed_member": 0,
    "listed_seat": 13,
    "member_list": 0,
    "seat_list": 3,
    "policy": 0,
    "spent_budget": 0,
    "spent_noise": 0,
    "told_month": 1,
    "question": 0,
    "kept_answer": 0,
    "answered_query": 0,
    "query_grant": 1,
    "told_edge": 0,
    "failed_question": 0,
    "event_notice": 0,
    "receiver": 0,
    "preview": 0,
    "preview_cell": 0,
    "release": 1,
    "release_subject": 0,
    "released_transcript": 3,
    "seated_roster": 0,
    "seed": 31,
    "told_set": 0,
    "usage": 0,
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A checker's database of four meters, made before tables were typed, and migrated."""
    made = open_database(database_url)
    load_dump(made, DUMP)
    migrate(made, SCHEMA)
    yield made
    made.dispose()


def test_an_empty_database_comes_to_these_tables(database_url: str) -> None:
    check_schema(database_url, SCHEMA)


def test_all_of_a_kept_database_is_there(engine: Engine) -> None:
    check_kept(engine, SCHEMA, counts=COUNTS, logged=6)


def test_every_signed_message_is_the_one_its_digest_names(engine: Engine) -> None:
    check_signed(engine, SignedRow.__subclasses__())


def test_columns_say_what_was_signed(engine: Engine) -> None:
    with read_session(engine) as session:
        (release,) = session.exec(select(ReleaseRow)).all()
        said = ReleaseCertificate.parse(release.envelope.body)
        assert (release.release_id, release.plan) == (said.release_id, said.plan)
        assert (release.purpose, release.requested_by) == (said.purpose, said.requested_by)
        assert (release.start, release.end, release.released_at) == (
            said.start,
            said.end,
            said.released_at,
        )
        told = [cell.value is not None for cell in said.cells]
        assert (release.cells, release.suppressed) == (told.count(True), told.count(False))
        transcripts = session.exec(select(ReleasedTranscriptRow.transcript)).all()
        assert set(transcripts) == set(said.transcripts)
        for row in session.exec(select(KeySetRow)):
            notice = KeyNotice.parse(row.envelope.body)
            assert (row.key_id, row.gateway) == (notice.key_id, notice.gateway)
            assert (row.parameters, row.generation) == (notice.parameters, notice.generation)
            assert row.state == "in-force"
        versions = session.exec(select(BillVersionRow)).all()
        assert {(v.release_id, v.revision, v.corrects) for v in versions} == {
            (release.release_id, 1, None)
        }
        assert {v.transcript for v in versions} == set(transcripts)


def test_what_is_spent_stays_spent(engine: Engine) -> None:
    with read_session(engine) as session:
        claims = session.exec(select(ClaimRow)).all()
        assert {claim.release_id for claim in claims} == {
            session.exec(select(ReleaseRow.release_id)).one()
        }
        assert all(seed.seed.startswith("seed/") for seed in session.exec(select(SeedRow)))
        cohorts = session.exec(select(CohortRow)).all()
        assert {(one.domain, one.start_at, one.end_at) for one in cohorts} == {(DOMAIN, *MONTH)}
        seated = session.exec(select(ListedSeatRow.seats)).all()
        assert {*seated} == {one.seats for one in cohorts} == {one.upload for one in cohorts}


@pytest.mark.parametrize(
    ("end", "months"),
    [
        ("2026-08-01T00:00:00+08:00", ["2026-07"]),
        ("2026-09-15T00:00:00+08:00", ["2026-07", "2026-08", "2026-09"]),
    ],
)
def test_all_months_of_what_was_released_were_told_exactly(
    tmp_path: Path, end: str, months: list[str]
) -> None:
    """Also the later ones of a billing cycle: noise beside exact numbers would hide nothing."""
    made = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    load_dump(made, DUMP)
    migrate(made, replace(SCHEMA, head="checker_0016", scripts=scripts_until(16, tmp_path)))
    with write_transaction(made) as connection:
        connection.execute(text('UPDATE release SET "end" = :end'), {"end": end})
    migrate(made, SCHEMA)
    with read_session(made) as session:
        (released,) = session.exec(select(ReleaseRow.at)).all()
        rows = session.exec(select(ToldMonthRow).order_by(ToldMonthRow.month)).all()
        assert [(row.month, row.told, row.at) for row in rows] == [
            (month, "exactly", released) for month in months
        ]
    made.dispose()


def scripts_until(number: int, folder: Path) -> Path:
    """A folder with the migrations up to one of them."""
    made = folder / "migrations"
    made.mkdir()
    for script in SCHEMA.scripts.glob("r*.py"):
        if int(script.name[1:5]) <= number:
            (made / script.name).write_bytes(script.read_bytes())
    return made


def test_squares_of_before_are_taken_for_squares(tmp_path: Path) -> None:
    """They stood at edge 0: what divides them would be told today."""
    made = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    load_dump(made, DUMP)
    migrate(made, replace(SCHEMA, head="checker_0020", scripts=scripts_until(20, tmp_path)))
    start, end = (f"{at:%Y-%m-%d %H:%M:%S.%f}" for at in MONTH)
    with write_transaction(made) as connection:
        for name, edge in (("squares", 0), ("tier", 250)):
            told = (name, DOMAIN, start, end, "query:q", "0", end, "month", 15, 100)
            rows = {
                "told_set": told,
                "told_member": (name, f"{name}-member", "owner", 1),
                "told_edge": (name, edge, end),
            }
            for table, row in rows.items():
                places = ", ".join("?" * len(row))
                insert = f"INSERT INTO {table} VALUES ({places})"  # noqa: S608 - names of above
                connection.exec_driver_sql(insert, row)
    migrate(made, SCHEMA)
    with read_session(made) as session:
        found = read_told(session, Period(DOMAIN, *MONTH))
        assert {one.name: one.has_squares for one in found} == {"squares": True, "tier": False}
        members = {one.name: one.told.members for one in found}
        assert members == {n: {Member(f"{n}-member", "owner", True)} for n in members}
        edges = session.exec(select(ToldEdgeRow.told_set, ToldEdgeRow.edge)).all()
        assert sorted(edges) == [("squares", -1), ("squares", 0), ("tier", 250)]
    with write_session(made) as session:
        keep(session, ToldEdgeRow(told_set="tier", edge=-1, at=MONTH[1]))
        known = {one.name: one for one in found}
        again = read_told(session, Period(DOMAIN, *MONTH), known=known)
        assert all(one.has_squares for one in again), "what was told since is read anew"
    made.dispose()


TOLD = {"zone": "futian", "customer_class": "household"}
MEMBERS = [[f"{number:064x}", "owner", True] for number in range(30)]


def test_sets_that_were_told_are_found_by_their_period(database_url: str) -> None:
    """The kept database told of no cell; what its checker wrote for one that did is as here."""
    made = open_database(database_url)
    load_dump(made, DUMP)
    state = "/".join([DOMAIN, *(moment.isoformat() for moment in MONTH)])
    with write_transaction(made) as connection:
        connection.execute(
            text(
                "INSERT INTO record (id, kind, name, scope, digest, state, text, at) VALUES"
                " (999, 'told-set', 'n', 'n', 'd', :state, :text, '2026-08-01T00:00:00+00:00')"
            ),
            {"state": state, "text": json.dumps(TOLD | {"members": MEMBERS})},
        )
    migrate(made, SCHEMA)
    told = frozenset(Member(*row) for row in MEMBERS)
    place = ("futian", "household")
    with read_session(made) as session:
        assert session.exec(select(ToldSetRow.start_at)).one() == MONTH[0]
        assert len(session.exec(select(ListedMemberRow)).all()) == len(MEMBERS)
        nearly = CellSets(cell=told - {Member(*MEMBERS[0])}, parts=())
        for period, withheld in ((MONTH, True), ((MONTH[1], MONTH[1]), False)):
            found = find_withheld_cells(
                session,
                {place: nearly},
                period=Period(DOMAIN, *period),
                merged=Merged({}, {place: BY_MEASURE}),
            )
            assert (place in found) == withheld
    made.dispose()


def test_a_claim_of_a_release_that_is_not_kept_is_not_kept(engine: Engine) -> None:
    """The certificate comes last in its transaction, and the claim must not outlive its absence."""

    def enter(session: Session) -> None:
        row = ClaimRow(claim="c", transcript="t", release_id="never kept", at=MONTH[0])
        assert keep(session, row)

    with pytest.raises(StorageError), write_session(engine) as session:
        enter(session)
    with read_session(engine) as session:
        assert session.exec(select(ClaimRow).where(col(ClaimRow.claim) == "c")).first() is None
