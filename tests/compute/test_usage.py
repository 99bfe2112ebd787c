"""What the platform meters: the very figures of its rows, and whatever was planted is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import pytest
from sqlmodel import Session, col, delete, select, update

from gridsecure.compute import intake
from gridsecure.compute.desk import RunDesk
from gridsecure.compute.runs import RunOrder
from gridsecure.compute.tables import RunRow, TranscriptRow, UploadRow, UsageRow
from gridsecure.compute.usage import BOOK, UPLOADED, list_done
from gridsecure.messages import Transcript, UploadManifest
from gridsecure.store import evidence
from gridsecure.store.database import read_session
from gridsecure.store.usage import Difference, Used
from tests.compute.test_crew import finished
from tests.grid_simulator import NOW, GridSimulator, delivered_grid
from tests.scale.platform_world import HerePool

MONTH = f"{NOW:%Y-%m}"
CLERK = "clerk"


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridSimulator]:
    """A platform with uploads, and a run of a clerk; tests undo what they plant."""
    with delivered_grid(tmp_path_factory.mktemp("used")) as grid:
        desk = RunDesk(
            grid.platform_zone,
            open_pool=partial(HerePool, grid.platform_zone.objects.store, workers=1),
            clock=lambda: NOW,
        )
        manifest = grid.uploads[0].manifest
        order = RunOrder("bill", manifest.start, manifest.end, "billing", CLERK)
        assert finished(desk, desk.start(order)).state == "done"
        desk.stop()
        yield grid


def differences(session: Session) -> list[Difference]:
    return list(BOOK.find_differences(session, list_done(session)))


def test_the_months_totals_are_those_of_the_rows(used: GridSimulator) -> None:
    with read_session(used.platform_zone.engine) as session:
        found = BOOK.read_month(session, MONTH)
        manifests = [
            UploadManifest.parse(one.envelope.body) for one in session.exec(select(UploadRow))
        ]
        made = [Transcript.parse(one.envelope.body) for one in session.exec(select(TranscriptRow))]
        assert BOOK.read_month(session, "2020-01") == []
        assert differences(session) == []
    gateway = {one.gateway_id for one in manifests}.pop()
    columns = [column for one in manifests for column in one.columns]
    written = [column.size for one in made for column in one.outputs.values()]
    expected = {
        (gateway, "uploads"): len(manifests),
        (gateway, "columns_taken_in"): len(columns),
        (gateway, "bytes_taken_in"): sum(column.size for column in columns),
        (CLERK, "runs"): 1,
        (CLERK, "jobs"): len(made),
        (CLERK, "columns_processed"): sum(len(one.inputs) for one in made),
        (CLERK, "bytes_stored"): sum(written),
    }
    assert found == [Used(*key, amount) for key, amount in sorted(expected.items())]
    assert all(expected.values())


def lose_a_row(session: Session) -> None:
    first = session.exec(select(TranscriptRow)).first()
    session.exec(delete(TranscriptRow).where(col(TranscriptRow.job) == first.job))


def plant_a_row(session: Session) -> None:
    run = session.exec(select(RunRow)).one()
    session.add(RunRow(**run.model_dump(exclude={"id", "run_id"}), run_id="planted"))
    session.flush()


def plant_an_entry(session: Session) -> None:
    detail = {"upload": "planted", "party": "gateway", "columns": 1, "bytes": 1}
    evidence.append(session, at=NOW, actor="platform", action=UPLOADED, detail=detail)


def repeat_an_entry(session: Session) -> None:
    first = evidence.list_entries_of(session, UPLOADED)[0]
    later = NOW + timedelta(seconds=1)
    detail = json.loads(first.detail)
    evidence.append(session, at=later, actor="platform", action=UPLOADED, detail=detail)


def raise_a_total(session: Session) -> None:
    session.exec(
        update(UsageRow).where(col(UsageRow.measure) == "jobs").values(amount=UsageRow.amount + 1)
    )


def lose_a_total(session: Session) -> None:
    session.exec(delete(UsageRow).where(col(UsageRow.measure) == "runs"))


def change_a_party(session: Session) -> None:
    session.exec(update(RunRow).values(requested_by="somebody else"))


@pytest.mark.parametrize(
    ("plant", "kinds"),
    [
        (lose_a_row, ["not-in-ledger"]),
        (plant_a_row, ["not-in-log"]),
        (plant_an_entry, ["not-in-ledger", "total", "total", "total"]),
        (repeat_an_entry, ["twice", "total", "total", "total"]),
        (raise_a_total, ["total"]),
        (lose_a_total, ["total"]),
        (change_a_party, ["figures"]),
    ],
)
def test_whatever_was_planted_or_lost_is_named(
    used: GridSimulator, plant: Callable[[Session], None], kinds: list[str]
) -> None:
    with Session(used.platform_zone.engine) as session:  # never committed
        plant(session)
        assert [one.kind for one in differences(session)] == kinds


def test_the_same_again_is_counted_once(used: GridSimulator) -> None:
    """A commit that comes twice, and an order that does."""
    with read_session(used.platform_zone.engine) as session:
        before = BOOK.read_month(session, MONTH)
    for upload in used.uploads:
        intake.commit_upload(used.platform_zone, upload.upload_id, at=NOW + timedelta(hours=1))
    with read_session(used.platform_zone.engine) as session:
        assert BOOK.read_month(session, MONTH) == before
