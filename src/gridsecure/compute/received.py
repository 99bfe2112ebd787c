"""How a verified message is kept: once, with the seats it takes and its entry in the log."""

from __future__ import annotations

from datetime import datetime

from gridsecure.compute.corrections import COMMITTED
from gridsecure.compute.occupancy import claim_seats
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import ConflictError, StaleMessageError
from gridsecure.messages import RosterManifest, Signed, UploadManifest
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, record


def claim_sequence(
    zone: PlatformZone, manifest: UploadManifest, *, digest: str, at: datetime
) -> None:
    """A gateway uses a sequence number for one manifest only; the same manifest may come again."""
    name = f"{manifest.gateway_id}/{manifest.sequence}"
    try:
        with write_session(zone.engine) as session:
            record(session, Record("sequence", name, name, digest, COMMITTED, ""), at=at)
    except ConflictError as error:
        raise StaleMessageError("An upload's sequence number was used before.") from error


def keep(
    zone: PlatformZone,
    entry: Record,
    *,
    signer: str,
    at: datetime,
    seats: tuple[RosterManifest, UploadManifest] | None = None,
) -> None:
    """Record a verified message, the seats it takes, and its entry in the evidence log."""
    with write_session(zone.engine) as session:
        if record(session, entry, at=at):
            if seats is not None:
                claim_seats(session, *seats, at=at)
            evidence.append(
                session,
                at=at,
                actor=signer,
                action=f"{entry.kind}.received",
                detail={"digest": entry.digest, "name": entry.name},
            )


def received(
    kind: str, envelope: Signed, *, name: str, scope: str, state: str = COMMITTED
) -> Record:
    """A verified message as a record.

    Args:
        kind: What it is.
        envelope: As it was signed.
        name: Its name among its kind.
        scope: What it is the only one of.
        state: Where it stands.
    """
    return Record(kind, name, scope, envelope.digest, state, envelope.model_dump_json())
