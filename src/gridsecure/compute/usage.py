"""What the platform meters, and what its own rows say of the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlmodel import Session, col, select

from gridsecure.compute.correction_uploads import COMMITTED
from gridsecure.compute.tables import RunRow, TranscriptRow, UploadRow, UsageRow
from gridsecure.messages import Transcript, UploadManifest
from gridsecure.store.usage import Done, Metered, UsageBook, party_of

UPLOADED: Final = "upload.committed"
RUN_ORDERED: Final = "run.ordered"
COMPUTED: Final = "plan.run"

BOOK: Final = UsageBook(
    UsageRow,
    {
        UPLOADED: Metered(
            "uploads",
            name="upload",
            amounts={"columns": "columns_taken_in", "bytes": "bytes_taken_in"},
        ),
        RUN_ORDERED: Metered("runs", name="run"),
        COMPUTED: Metered(
            "jobs",
            name="job",
            amounts={"columns": "columns_processed", "bytes": "bytes_stored"},
        ),
    },
)


def taken_in(manifest: UploadManifest) -> dict[str, int]:
    """The figures of an upload: its columns, and their bytes."""
    return {
        "columns": len(manifest.columns),
        "bytes": sum(column.size for column in manifest.columns),
    }


def computed(transcript: Transcript) -> dict[str, int]:
    """The figures of a job: the columns that it read, and the bytes of those that it wrote."""
    return {
        "columns": len(transcript.inputs),
        "bytes": sum(column.size for column in transcript.outputs.values()),
    }


def list_done(session: Session) -> Iterator[Done]:
    """What was done, from the platform's rows: uploads, runs and transcripts."""
    uploads = select(UploadRow).where(col(UploadRow.state) == COMMITTED)
    for upload in session.exec(uploads.execution_options(yield_per=100)):
        figures = taken_in(UploadManifest.parse(upload.envelope.body))
        yield _done(UPLOADED, upload.digest, upload.gateway_id, figures)
    for run in session.exec(select(RunRow).execution_options(yield_per=1000)):
        yield _done(RUN_ORDERED, run.run_id, party_of(run.requested_by, purpose=run.purpose), {})
    for row in session.exec(select(TranscriptRow).execution_options(yield_per=100)):
        yield _done(COMPUTED, row.job, "", computed(Transcript.parse(row.envelope.body)))


def _done(action: str, name: str, party: str, figures: dict[str, int]) -> Done:
    amounts = BOOK.actions[action].amounts
    return Done(action, name, party, {amounts[of]: figure for of, figure in figures.items()})
