"""What a gateway took in of a month, by the records that were made as it came.

Each batch, edit and file is an entry. How many readings came in is what was counted then: of a
batch its signed receipt, of an edit its row. What the stored file holds now is counted apart, so
that the two can differ. Readings that a rule rejected as the batch came were not taken in; the
receipt names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlmodel import col, select

from gridsecure.errors import GridSecureError, StorageError
from gridsecure.gateway.approvals import PENDING, REJECTED
from gridsecure.gateway.edits import IN_FORCE, edit_files
from gridsecure.gateway.ingestion.batches import load_batches, locate_batch
from gridsecure.gateway.ingestion.stored_readings import count_accepted
from gridsecure.gateway.tables import BatchRow, EditRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import BatchReceipt, open_message
from gridsecure.periods import BillingPeriod
from gridsecure.store.database import read_session
from gridsecure.wire.gateway import TakenInKind

BILLED: Final = "billed"
ESTIMATED: Final = "estimated"
QUARANTINED: Final = "quarantined"
WAITING: Final = "waiting"


@dataclass(slots=True, eq=False)
class TakenIn:
    """A batch, an edit or a file of a month, and what became of its readings.

    Args:
        source: Who sent it; empty where that is said by its kind.
        name: Its id.
        number: Of a batch or an edit, the order in which it came.
        path: Where its readings lie.
        came_in: Readings of the month, as counted when it came.
        is_counted: Whether they were. A file is not: its bytes were digested as it came, and what
            is read of the same bytes is what came in.
        held: Readings of the month that lie there now.
        has_faces: Whether its readings are faces of registers.
        damage: Reason code of why they cannot be read; empty where they can.
        became: What became of so many of its readings: state and reason.
        lost: Readings without any that counts in their place.
        twice: Readings that count more often than they came.
    """

    kind: TakenInKind
    source: str
    name: str
    number: int
    path: Path
    came_in: int = 0
    is_counted: bool = True
    held: int = 0
    has_faces: bool = False
    damage: str = ""
    became: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: int = 0
    twice: int = 0

    @property
    def found(self) -> int:
        """Readings of which it is known what became of them."""
        return self.became.total()

    @property
    def is_any(self) -> bool:
        """Whether it is about the month at all; faces beyond its edges only end what is in it."""
        return bool(self.came_in or self.held or self.damage)

    @property
    def adds_up(self) -> bool:
        """Whether every reading became one thing."""
        return self.found == self.came_in and not (self.damage or self.lost or self.twice)

    def wait(self, reason: str) -> None:
        """Say that all of its readings wait, and for what."""
        self.became[WAITING, reason] += self.held


def find_taken_batches(zone: GatewayZone, period: BillingPeriod) -> list[TakenIn]:
    """The batches of a period in the order in which they came; nothing is said of what became.

    What is damaged on disk or in the database is marked. Of a damaged batch all readings of its
    receipt count as the period's, because nobody can tell which were.
    """
    return [_taken_batch(zone, row, period) for row in load_batches(zone, period)]


def _taken_batch(zone: GatewayZone, row: BatchRow, period: BillingPeriod) -> TakenIn:
    path = locate_batch(zone, row)
    number, faces = row.id or 0, row.has_faces
    taken = TakenIn("source", row.source, row.batch_id, number, path, has_faces=faces)
    key = zone.signing_key.public_key
    try:
        trusted = {key.thumbprint: key}
        receipt = open_message(row.envelope, expect=BatchReceipt, trusted=trusted)
        taken.came_in = receipt.readings - sum(receipt.rejected.values())
        taken.held, elsewhere = count_accepted(path, period=period)
        # What it holds of other months came in too, so whatever is lost of any is missed here.
        taken.came_in = max(taken.came_in - elsewhere, 0)
    except GridSecureError as error:
        taken.damage = error.reason
    return taken


def find_taken_edits(
    zone: GatewayZone, month: str, *, period: BillingPeriod, counted: Sequence[str] | None
) -> tuple[list[TakenIn], list[TakenIn]]:
    """Edits of a month: those that count, or will, and the others with what became of them.

    Args:
        counted: Digests of those that count, in order; None while the month is open.
    """
    own = select(EditRow).where(EditRow.month == month).order_by(col(EditRow.id))
    with read_session(zone.engine) as session:
        rows = list(session.exec(own))
        session.expunge_all()
    left = Counter(counted or ())
    used, others = [], []
    for row in rows:
        taken = _taken_edit(zone, row, period)
        is_meant = counted is None or left[row.readings_digest] > 0
        if row.state == IN_FORCE and is_meant:
            left[row.readings_digest] -= 1
            used.append(taken)
            continue
        if row.state == PENDING and counted is None:
            taken.wait("edit-pending")
        else:
            reason = "edit-rejected" if row.state == REJECTED else "edit-late"
            taken.became[QUARANTINED, reason] = taken.held
        others.append(taken)
    return used, others


def _taken_edit(zone: GatewayZone, row: EditRow, period: BillingPeriod) -> TakenIn:
    (path,) = edit_files(zone, [row.readings_digest])
    number = row.id or 0
    taken = TakenIn("edits", "", str(number), number, path, came_in=row.intervals)
    try:
        taken.held, _ = count_accepted(path, period=period)
    except StorageError as error:
        taken.damage = error.reason
    return taken
