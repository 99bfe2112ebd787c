"""The outbox: encrypted columns and their signed manifest, kept until the platform has them.

Encryption is randomised, so a restarted month must send the columns it signed and not encrypt
again. Per roster and month:

1. the columns are written to one file, in the manifest's order, which appears whole or not at all;
2. in one transaction the next sequence number is taken, the manifest signed with it and recorded;
3. after the platform committed, the record says so, and then the file is deleted.

What goes out is named by its roster and month, for a roster may stay the same over the months of a
year, a sealed day by its roster and day, and a correction by its revision besides.

A process killed before 2 leaves at most a file that the next attempt replaces; killed later, it
finds the record and goes on from there.

Sequence numbers only rise, and none is used twice. The platform sees them. So each of the gateway's
pseudonyms, one a year, counts from 1: where one count went on over two years, the numbers would say
that two pseudonyms are one gateway's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func
from sqlmodel import Session, select

from gridsecure.bill_receipts import COMMITTED_BILLS, LEAVES, ROOT
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuditBrokenError,
    AuthenticityError,
    InputError,
    NotFoundError,
    StorageError,
)
from gridsecure.gateway.key_sets import collect_key_notices
from gridsecure.gateway.packing import PackedColumn
from gridsecure.gateway.private_files import private_folder, write_private
from gridsecure.gateway.roster_records import load_roster
from gridsecure.gateway.tables import UploadRow
from gridsecure.gateway.upload import Delivery, PlatformService, deliver
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import (
    FIRST_REVISION,
    ColumnEntry,
    RosterManifest,
    Signed,
    UploadManifest,
    sign_message,
)
from gridsecure.month_texts import day_text
from gridsecure.periods import is_day
from gridsecure.store import evidence, rows
from gridsecure.store.database import read_session, write_session

SIGNED: Final = "signed"
COMMITTED: Final = "committed"

_MONTH_LETTERS: Final = len("2026-07")


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
        return UploadManifest.parse(self.manifest.body)

    @property
    def seated(self) -> RosterManifest:
        """The roster, read."""
        return RosterManifest.parse(self.roster.body)

    @property
    def name(self) -> str:
        """Its name in the outbox."""
        upload = self.upload
        return _name(upload.roster_id, (upload.start, upload.end), upload.revision)


@dataclass(frozen=True, slots=True)
class Corrects:
    """What makes an upload a correction, as its manifest says it."""

    corrects: str
    revision: int
    corrected_slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CommittedTree:
    """What was committed to of a roster's bills.

    Args:
        root: Of the tree over the commitments, hexadecimal.
        leaves: Of the tree, filling among them.
    """

    root: str
    leaves: int


@dataclass(frozen=True, slots=True)
class Packed:
    """What is to be put into the outbox.

    Args:
        roster: The roster, which is kept already.
        columns: Its columns; consumed once, written as they come.
        start: Start of the period, ISO 8601.
        end: Its end, exclusive.
        correction: What it corrects; None for a first upload.
        changed_slots: Slots of a first upload whose readings differ from those sealed by day.
        silent_slots: Slots of a sealed day that have no complete day, and no energy in it.
        moved_slots: Slots whose holder has other days than when the month was first billed.
        commit: Writes down commitments to its bills; called once, before the manifest is signed.
    """

    roster: RosterManifest
    columns: Iterable[PackedColumn]
    start: str
    end: str
    estimated_readings: int
    correction: Corrects | None = None
    changed_slots: tuple[int, ...] = ()
    silent_slots: tuple[int, ...] = ()
    moved_slots: tuple[int, ...] = ()
    commit: Callable[[], CommittedTree | None] = lambda: None

    @property
    def name(self) -> str:
        """Its name in the outbox."""
        revision = self.correction.revision if self.correction else FIRST_REVISION
        return _name(self.roster.roster_id, (self.start, self.end), revision)


def upload_name(roster_id: str, start: str, revision: int) -> str:
    """The name in the outbox of one version of a roster's month.

    Args:
        start: Start of the month, ISO 8601 with the local offset, or YYYY-MM.
    """
    name = f"{roster_id}-{start[:_MONTH_LETTERS]}"
    return name if revision == FIRST_REVISION else f"{name}-{revision}"


def sealed_name(roster_id: str, day: str) -> str:
    """The name in the outbox of a roster's sealed day.

    Args:
        day: YYYY-MM-DD.
    """
    return f"{roster_id}-{day}"


def _name(roster_id: str, span: tuple[str, str], revision: int) -> str:
    if is_day(*span):
        return sealed_name(roster_id, day_text(span[0]))
    return upload_name(roster_id, span[0], revision)


def put(zone: GatewayZone, packed: Packed, *, key: Sm2PrivateKey, at: datetime) -> Outgoing:
    """Write a roster's columns and sign their manifest; one that was signed before is kept.

    Args:
        packed: The roster's month; its columns are not touched when it is in the outbox already.

    Raises:
        NotFoundError: The roster was not kept (`not-found.roster`).
        StorageError: The disk or database could not take it; nothing was signed.
    """
    found = find(zone, packed.name)
    if found is not None:
        return found
    entries: list[ColumnEntry] = []

    def parts() -> Iterator[bytes]:
        for column in packed.columns:
            entries.append(column.entry)
            yield column.data

    private_folder(_folder(zone))
    write_private(_path(zone, packed.name), parts(), what="The outbox")
    return _sign(zone, packed, entries=entries, key=key, at=at)


def find(zone: GatewayZone, name: str) -> Outgoing | None:
    """What is in the outbox under a name, or None when nothing was signed yet."""
    with read_session(zone.engine) as session:
        upload = rows.find(session, UploadRow, name=name)
    if upload is None:
        return None
    roster = load_roster(zone, upload.roster_id)
    return Outgoing(roster, upload.envelope, upload.state)


def load_outgoing(zone: GatewayZone, name: str) -> Outgoing:
    """What is in the outbox under a name that must be there.

    Raises:
        NotFoundError: Nothing was signed for it (`outbox.missing`).
    """
    found = find(zone, name)
    if found is None:
        raise NotFoundError(
            "A roster of the month was not encrypted yet.",
            reason="outbox.missing",
            remedy="Process the month again.",
        )
    return found


def read_columns(
    zone: GatewayZone, outgoing: Outgoing, *, wanted: frozenset[str]
) -> Iterator[tuple[str, bytes]]:
    """Read column files back by the digests they were signed with, in the manifest's order.

    They are not hashed here: the platform hashes them, and takes in none that differs.

    Raises:
        StorageError: The outbox file cannot be read (`storage.read`).
    """
    upload = outgoing.upload
    try:
        with _path(zone, outgoing.name).open("rb") as stream:
            for entry in upload.columns:
                if entry.digest not in wanted:
                    stream.seek(entry.size, 1)
                    continue
                yield entry.digest, stream.read(entry.size)
    except OSError as error:
        raise StorageError(
            f"The outbox cannot be read: {error.strerror}.",
            reason="storage.read",
            remedy="Check the outbox folder.",
        ) from error


def check_columns(zone: GatewayZone, outgoing: Outgoing) -> None:
    """Check that the columns in the outbox are the signed ones.

    Raises:
        AuditBrokenError: One is not (`audit.object`).
        StorageError: As `read_columns`.
    """
    wanted = frozenset(entry.digest for entry in outgoing.upload.columns)
    for digest, data in read_columns(zone, outgoing, wanted=wanted):
        if sm3_hex(data) != digest:
            raise AuditBrokenError(
                "An encrypted column in the outbox differs from the signed one.",
                reason="audit.object",
                remedy="Look for what altered the outbox; restore it from a backup.",
            )


def make_delivery(zone: GatewayZone, outgoing: Outgoing) -> Delivery:
    """What is sent of a roster's month besides its columns.

    Raises:
        NotFoundError: Its seats, or the notice of a key set it is under, were not kept.
    """
    seats = zone.objects.get(outgoing.seated.seats)
    notices = collect_key_notices(zone, outgoing.upload)
    return Delivery(outgoing.roster, seats, outgoing.manifest, notices)


def send(
    zone: GatewayZone,
    outgoing: Outgoing,
    *,
    platform: PlatformService,
    clock: Callable[[], datetime],
    sent: Callable[[int], None] = lambda _objects: None,
) -> int:
    """Send a roster's month with its tariff, and note that the platform committed it.

    Args:
        platform: Where it goes.
        clock: Gives the time, aware.
        sent: Called after every batch with its number of objects.

    Returns:
        Bytes of column files sent.

    Raises:
        GridSecureError: As `deliver` and `mark_committed`; sent again, it goes on.
        AuditBrokenError: As `check_columns`.
    """
    platform.send_tariff(zone.objects.get(outgoing.seated.tariff).decode())

    def load(wanted: frozenset[str]) -> Iterator[tuple[str, bytes]]:
        return read_columns(zone, outgoing, wanted=wanted)

    parts = make_delivery(zone, outgoing)
    try:
        sent_bytes = deliver(platform, parts, load=load, load_object=zone.objects.get, sent=sent)
    except (AuthenticityError, InputError):
        check_columns(zone, outgoing)  # what differs is refused there; here it can be said why
        raise
    mark_committed(zone, outgoing.name, at=clock())
    return sent_bytes


def mark_committed(zone: GatewayZone, name: str, *, at: datetime) -> None:
    """Record that the platform committed a roster's month, then delete its columns here."""
    with write_session(zone.engine) as session:
        if rows.advance(session, UploadRow, source=SIGNED, target=COMMITTED, name=name):
            digest = rows.load_row(session, UploadRow, name=name).digest
            evidence.append(
                session,
                at=at,
                actor=zone.service_id,
                action="upload.committed",
                detail={"roster": name, "upload": digest},
            )
    drop_columns(zone, name)


def drop_columns(zone: GatewayZone, name: str) -> None:
    """Delete a roster's columns where they are still there."""
    try:
        _path(zone, name).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"The outbox cannot be emptied: {error.strerror}.") from error


def _sign(
    zone: GatewayZone,
    packed: Packed,
    *,
    entries: list[ColumnEntry],
    key: Sm2PrivateKey,
    at: datetime,
) -> Outgoing:
    roster_id, name = packed.roster.roster_id, packed.name
    roster, tree = load_roster(zone, roster_id), packed.commit()
    with write_session(zone.engine) as session:
        sequence = _next_number(session, packed.roster.gateway_id)
        upload = UploadManifest(
            roster_id=roster_id,
            gateway_id=packed.roster.gateway_id,
            start=packed.start,
            end=packed.end,
            sequence=sequence,
            estimated_readings=packed.estimated_readings,
            columns=entries,
            changed_slots=list(packed.changed_slots),
            silent_slots=list(packed.silent_slots),
            moved_slots=list(packed.moved_slots),
            **_corrects(packed.correction),
        )
        manifest = sign_message(upload, key=key)
        row = _as_row(name, manifest, upload, at=at)
        if tree is not None:
            row.receipts = _enter_tree(session, zone, tree, upload=upload, at=at)
        rows.keep(session, row)
        evidence.append(
            session,
            at=at,
            actor=zone.service_id,
            action="upload.signed",
            detail={"roster": name, "upload": manifest.digest, "sequence": sequence},
        )
    return Outgoing(roster, manifest, SIGNED)


def _enter_tree(
    session: Session,
    zone: GatewayZone,
    tree: CommittedTree,
    *,
    upload: UploadManifest,
    at: datetime,
) -> str:
    """Enter the root in the log, and give the entry's name.

    The entry names no roster and no upload: whoever holds a receipt reads it, and under those names
    the platform knows the gateway by another.
    """
    detail: dict[str, evidence.JSON] = {
        ROOT: tree.root,
        LEAVES: tree.leaves,
        "start": upload.start,
        "version": upload.revision,
    }
    entry = evidence.append(
        session, at=at, actor=zone.service_id, action=COMMITTED_BILLS, detail=detail
    )
    return entry.hash


def _as_row(name: str, manifest: Signed, upload: UploadManifest, *, at: datetime) -> UploadRow:
    return UploadRow(
        name=name,
        roster_id=upload.roster_id,
        gateway_id=upload.gateway_id,
        sequence=upload.sequence,
        state=SIGNED,
        digest=manifest.digest,
        message=manifest.model_dump_json(),
        at=at,
    )


def _next_number(session: Session, gateway_id: str) -> int:
    """The number of a pseudonym's next upload, which is kept in the same transaction."""
    numbers = select(func.max(UploadRow.sequence)).where(UploadRow.gateway_id == gateway_id)
    return 1 + (session.exec(numbers).one() or 0)


def _corrects(correction: Corrects | None) -> dict[str, Any]:
    if correction is None:
        return {}
    return asdict(correction) | {"corrected_slots": list(correction.corrected_slots)}


def _folder(zone: GatewayZone) -> Path:
    return zone.folder / "outbox"


def _path(zone: GatewayZone, name: str) -> Path:
    return _folder(zone) / f"{name}.columns"
