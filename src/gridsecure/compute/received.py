"""How a verified message is kept: once, with the seats it takes and its entry in the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gridsecure.compute.occupancy import SeatsClaimed, claim_seats
from gridsecure.compute.tables import SignedRow, UploadSequenceRow
from gridsecure.compute.tallies import count
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import ConflictError, StaleMessageError
from gridsecure.messages import Signed, UploadManifest
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.rows import keep, kind_of


def claim_sequence(
    zone: PlatformZone, manifest: UploadManifest, *, digest: str, at: datetime
) -> None:
    """A gateway uses a sequence number for one manifest only; the same manifest may come again."""
    gateway, number = manifest.gateway_id, manifest.sequence
    try:
        with write_session(zone.engine) as session:
            row = UploadSequenceRow(gateway_id=gateway, sequence=number, digest=digest, at=at)
            keep(session, row)
    except ConflictError as error:
        raise StaleMessageError("An upload's sequence number was used before.") from error


def keep_received(
    zone: PlatformZone,
    row: SignedRow,
    *,
    name: str,
    signer: str,
    seats: SeatsClaimed | None = None,
) -> None:
    """Keep a verified message, the seats it takes, and its entry in the evidence log.

    Args:
        signer: Who signed it.
        seats: The seats that it takes.
    """
    with write_session(zone.engine) as session:
        if keep(session, row):
            count(session, kind_of(type(row)))
            if seats is not None:
                claim_seats(session, seats)
            evidence.append(
                session,
                at=row.at,
                actor=signer,
                action=f"{kind_of(type(row))}.received",
                detail={"digest": row.digest, "name": name},
            )


def as_signed(envelope: Signed, *, at: datetime) -> dict[str, Any]:
    """The columns that every row with a signed message has."""
    return {"digest": envelope.digest, "message": envelope.model_dump_json(), "at": at}
