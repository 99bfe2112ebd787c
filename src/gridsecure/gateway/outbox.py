"""The outbox: encrypted columns and their signed manifest, kept until the platform has them.

Encryption is randomised, so a restarted month must send the columns it signed and not encrypt
again. Per roster and month:

1. the columns are written to one file, in the manifest's order, which appears whole or not at all;
2. in one transaction the next sequence number is taken, the manifest signed with it and recorded;
3. after the platform committed, the record says so, and then the file is deleted.

A process killed before 2 leaves at most a file that the next attempt replaces; killed later, it
finds the record and goes on from there. Sequence numbers only rise and none is used twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, NotFoundError, StorageError
from gridsecure.gateway.packing import PackedColumn
from gridsecure.gateway.private_files import private_folder, write_private
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import ColumnEntry, RosterManifest, Signed, UploadManifest, signed
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, advance, fetch, listed, record

SIGNED: Final = "signed"
COMMITTED: Final = "committed"

_ROSTER: Final = "roster"
_UPLOAD: Final = "upload"
_SEQUENCE: Final = "sequence"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One roster's month as it goes out.

    Args:
        roster: The signed roster.
        manifest: The signed upload manifest.
        state: `SIGNED` until the platform committed it, then `COMMITTED`.
    """

    roster: Signed
    manifest: Signed
    state: str

    @property
    def upload(self) -> UploadManifest:
        """The manifest, read."""
        return UploadManifest.parsed(self.manifest.body)


@dataclass(frozen=True, slots=True)
class Packed:
    """What is to be put into the outbox.

    Args:
        roster: The roster.
        columns: Its columns; consumed once, written as they come.
        start: Start of the period, ISO 8601.
        end: Its end, exclusive.
        estimated_readings: Readings of the roster that were estimated.
    """

    roster: RosterManifest
    columns: Iterable[PackedColumn]
    start: str
    end: str
    estimated_readings: int


def put(zone: GatewayZone, packed: Packed, *, at: datetime) -> Outgoing:
    """Write a roster's columns and sign their manifest; one that was signed before is kept.

    Args:
        zone: The gateway.
        packed: The roster's month; its columns are not touched when it is in the outbox already.
        at: Now.

    Raises:
        StorageError: The disk or database could not take it; nothing was signed.
    """
    found = find(zone, packed.roster.roster_id)
    if found is not None:
        return found
    entries: list[ColumnEntry] = []

    def parts() -> Iterator[bytes]:
        for column in packed.columns:
            entries.append(column.entry)
            yield column.data

    private_folder(_folder(zone))
    write_private(_path(zone, packed.roster.roster_id), parts(), what="The outbox")
    return _sign(zone, packed, entries=entries, at=at)


def find(zone: GatewayZone, roster_id: str) -> Outgoing | None:
    """What is in the outbox for a roster, or None when nothing was signed yet."""
    with write_session(zone.engine) as session:
        try:
            roster = fetch(session, kind=_ROSTER, name=roster_id)
            upload = fetch(session, kind=_UPLOAD, name=roster_id)
        except NotFoundError:
            return None
    return Outgoing(Signed.parsed(roster.text), Signed.parsed(upload.text), upload.state)


def required(zone: GatewayZone, roster_id: str) -> Outgoing:
    """What is in the outbox for a roster that must be there.

    Raises:
        NotFoundError: Nothing was signed for it (`outbox.missing`).
    """
    found = find(zone, roster_id)
    if found is None:
        raise NotFoundError(
            "A roster of the month was not encrypted yet.",
            reason="outbox.missing",
            remedy="Process the month again.",
        )
    return found


def read_columns(
    zone: GatewayZone, outgoing: Outgoing, *, wanted: frozenset[str]
) -> Iterator[bytes]:
    """Read column files back in the manifest's order, checked by digest.

    Raises:
        StorageError: The outbox file cannot be read (`storage.read`).
        AuditBrokenError: A column is not what was signed (`audit.object`).
    """
    upload = outgoing.upload
    try:
        with _path(zone, upload.roster_id).open("rb") as stream:
            for entry in upload.columns:
                if entry.digest not in wanted:
                    stream.seek(entry.size, 1)
                    continue
                data = stream.read(entry.size)
                if sm3_hex(data) != entry.digest:
                    raise AuditBrokenError(
                        "An encrypted column in the outbox is not the one that was signed.",
                        reason="audit.object",
                        remedy="Look for what altered the outbox; restore it from a backup.",
                    )
                yield data
    except OSError as error:
        raise StorageError(
            f"The outbox cannot be read: {error.strerror}.",
            reason="storage.read",
            remedy="Check the outbox folder.",
        ) from error


def mark_committed(zone: GatewayZone, roster_id: str, *, at: datetime) -> None:
    """Record that the platform committed a roster's month, then delete its columns here."""
    with write_session(zone.engine) as session:
        moved = advance(session, kind=_UPLOAD, name=roster_id, source=SIGNED, target=COMMITTED)
        if moved:
            digest = fetch(session, kind=_UPLOAD, name=roster_id).digest
            evidence.append(
                session,
                at=at,
                actor=zone.gateway_id,
                action="upload.committed",
                detail={"roster": roster_id, "upload": digest},
            )
    drop_columns(zone, roster_id)


def drop_columns(zone: GatewayZone, roster_id: str) -> None:
    """Delete a roster's columns where they are still there."""
    try:
        _path(zone, roster_id).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"The outbox cannot be emptied: {error.strerror}.") from error


def _sign(
    zone: GatewayZone, packed: Packed, *, entries: list[ColumnEntry], at: datetime
) -> Outgoing:
    roster_id = packed.roster.roster_id
    roster = signed(packed.roster, key=zone.signing_key)
    with write_session(zone.engine) as session:
        sequence = 1 + max(
            (int(found.name) for found in listed(session, kind=_SEQUENCE)), default=0
        )
        upload = UploadManifest(
            roster_id=roster_id,
            gateway_id=zone.gateway_id,
            start=packed.start,
            end=packed.end,
            sequence=sequence,
            estimated_readings=packed.estimated_readings,
            columns=entries,
        )
        manifest = signed(upload, key=zone.signing_key)
        number = str(sequence)
        for entry in (
            Record(_SEQUENCE, number, roster_id, manifest.digest, SIGNED, ""),
            Record(_ROSTER, roster_id, roster_id, roster.digest, SIGNED, roster.model_dump_json()),
            Record(
                _UPLOAD, roster_id, roster_id, manifest.digest, SIGNED, manifest.model_dump_json()
            ),
        ):
            record(session, entry, at=at)
        evidence.append(
            session,
            at=at,
            actor=zone.gateway_id,
            action="upload.signed",
            detail={"roster": roster_id, "upload": manifest.digest, "sequence": sequence},
        )
    return Outgoing(roster, manifest, SIGNED)


def _folder(zone: GatewayZone) -> Path:
    return zone.folder / "outbox"


def _path(zone: GatewayZone, roster_id: str) -> Path:
    return _folder(zone) / f"{roster_id}.columns"
