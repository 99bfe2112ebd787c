"""What the platform takes in: tariffs, rosters and uploads, each signed.

An upload comes in three steps, and each may be repeated after a lost connection or a restart:

1. the signed manifest: the platform answers which objects it still lacks;
2. the objects, accepted only when the manifest names them;
3. commit: all objects are there, and only now may a plan use them.

An upload is never replaced: the same manifest again is answered as before, another one for the same
roster and period is a conflict, and another one under a used sequence number is a replay. What was
read wrong or late comes as a correction, an upload of its own that names the one it corrects
(`corrections`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from gridsecure.compute.correction_uploads import COMMITTED, admit_correction, note_refusals
from gridsecure.compute.key_sets import check_own_keys
from gridsecure.compute.occupancy import SeatsClaimed, is_seated_by_day, keep_members
from gridsecure.compute.received import as_signed, claim_sequence, keep_received
from gridsecure.compute.seating import (
    check_year,
    find_gateway,
    refuse_revoked,
    refuse_revoked_gateway,
    seat_roster,
)
from gridsecure.compute.tables import RosterRow, UploadRow
from gridsecure.compute.tallies import count
from gridsecure.compute.usage import BOOK, UPLOADED, taken_in
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import InputError, NotFoundError
from gridsecure.messages import RosterManifest, Signed, UploadManifest, open_message
from gridsecure.plans.correction_rules import is_correction
from gridsecure.plans.sealed_days import check_sealed_day, compared_period, is_sealed_day
from gridsecure.policy.language import parse_policy
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import advance, find, load_row
from gridsecure.tariffs.tariff import parse_tariff
from gridsecure.wire.platform import UploadStatus

PENDING: Final = "pending"


def install_tariff(zone: PlatformZone, text: str) -> str:
    """Keep a tariff's text, which rosters name by digest.

    Raises:
        InvalidTariffError: The text is not a sound tariff.
    """
    parse_tariff(text)
    return zone.objects.put(text.encode())


def register_roster(
    zone: PlatformZone, envelope: Signed, *, seats: bytes, at: datetime
) -> RosterManifest:
    """Register a roster with its seats; one that is registered is not checked again.

    Raises:
        AuthenticityError: As `seating.seat_roster`.
        InputError: As `seating.seat_roster`; its tariff is not here (`roster.tariff`); or its
            owner's policy is none, as `parse_policy`.
        ConflictError: Another roster has this id.
    """
    known = _registered(zone, envelope)
    if known is not None:
        return known
    roster = seat_roster(zone, envelope, seats=seats, at=at)
    if roster.supply is not None and roster.supply.policy:
        parse_policy(roster.supply.policy)  # what cannot be read would stop all releases
    if not zone.objects.has(roster.tariff):
        raise InputError(
            "The platform does not have the roster's tariff.",
            reason="roster.tariff",
            remedy="Send the tariff first.",
        )
    row = RosterRow(
        **as_signed(envelope, at=at),
        roster_id=roster.roster_id,
        gateway_id=roster.gateway_id,
        tariff=roster.tariff,
        cycle_day=roster.cycle_day,
    )
    keep_received(zone, row, name=roster.roster_id, signer=envelope.signer)
    return roster


def begin_upload(zone: PlatformZone, envelope: Signed, *, at: datetime) -> UploadStatus:
    """Take in an upload's manifest.

    Raises:
        AuthenticityError: Not signed by a seated gateway, a revoked one, or a replayed sequence
            number.
        NotFoundError: The roster is not registered.
        KeyMismatchError: A column is under no key set of this gateway, or under a revoked one
            (`ciphertext.key-id`, `keys.gateway`, `keys.revoked`), or one that a later one
            replaced by now (`keys.ended`).
        ConflictError: The roster and period have another upload, or the upload it corrects has
            another correction (`correction.fork`).
        InputError: It is no correction of what it names (`correction.*`), of another year than its
            roster (`identity.period`), seats a revoked pseudonym (`identity.revoked`), or is of a
            day and holds something else (`upload.day`).
    """
    with read_session(zone.engine) as session:
        seated = find_gateway(session, envelope.signer)
        refuse_revoked_gateway(session, seated[1] if seated else "")
    trusted = {} if seated is None else {envelope.signer: seated[0]}
    manifest = open_message(envelope, expect=UploadManifest, trusted=trusted)
    with read_session(zone.engine) as session:
        if find(session, UploadRow, digest=envelope.digest, state=COMMITTED) is not None:
            # What was revoked since stays in.
            return UploadStatus(upload_id=envelope.digest, state=COMMITTED, missing=[])
        roster = _roster(load_row(session, RosterRow, roster_id=manifest.roster_id))
    if roster.gateway_id != manifest.gateway_id or manifest.gateway_id != envelope.signer:
        raise InputError("An upload names another gateway.", reason="upload.gateway")
    claims = _claimed_seats(zone, roster, manifest)
    with read_session(zone.engine) as session:
        # A correction is pinned to members that are billed, and a day to those of the days before.
        if claims is not None and not is_seated_by_day(session, claims):
            refuse_revoked(session, roster)
        check_own_keys(session, manifest.columns, gateway=manifest.gateway_id, at=at)
    with note_refusals(zone, envelope, manifest, at=at):
        admit_correction(zone, envelope, manifest, roster=roster)
        claim_sequence(zone, manifest, digest=envelope.digest, at=at)
        row = UploadRow(
            **as_signed(envelope, at=at),
            roster_id=manifest.roster_id,
            gateway_id=manifest.gateway_id,
            start=manifest.start,
            end=manifest.end,
            first_start=None if is_correction(manifest) else _first_start(manifest),
            corrects=manifest.corrects,
            state=PENDING,
        )
        keep_received(zone, row, name=row.digest, signer=envelope.signer, seats=claims)
    return read_upload_status(zone, envelope.digest)


def check_sender(zone: PlatformZone, upload_id: str, *, thumbprint: str) -> None:
    """Refuse a step of an upload by another gateway than the one that began it.

    Args:
        upload_id: Digest of the signed manifest.
        thumbprint: Of the key that signed the request.

    Raises:
        NotFoundError: No such upload of this gateway.
    """
    with read_session(zone.engine) as session:
        found = load_row(session, UploadRow, digest=upload_id)
    if found.gateway_id != thumbprint:
        raise NotFoundError("There is no upload of that name here.", reason="not-found.upload")


def read_upload_status(zone: PlatformZone, upload_id: str) -> UploadStatus:
    """Where an upload stands.

    Raises:
        NotFoundError: No such upload.
    """
    with read_session(zone.engine) as session:
        found = load_row(session, UploadRow, digest=upload_id)
    missing: list[str] = []
    if found.state == PENDING:
        missing = zone.objects.list_missing([entry.digest for entry in _manifest(found).columns])
    return UploadStatus(upload_id=upload_id, state=found.state, missing=missing)


def receive_objects(zone: PlatformZone, upload_id: str, *, objects: Mapping[str, bytes]) -> int:
    """Store objects that the upload names, all in one container, and say how many they are.

    Args:
        objects: Their bytes by digest, as this process hashed them.

    Raises:
        NotFoundError: No such upload.
        InputError: An object the manifest does not name (`upload.unnamed-object`); none is stored.
    """
    with read_session(zone.engine) as session:
        manifest = _manifest(load_row(session, UploadRow, digest=upload_id))
    named = {entry.digest: entry.size for entry in manifest.columns}
    for digest, data in objects.items():
        if named.get(digest) != len(data):
            raise InputError(
                "The manifest does not name an uploaded object.",
                reason="upload.unnamed-object",
                remedy="It was damaged on the way, or belongs to another upload; send it again.",
            )
    zone.objects.put_together(objects)
    return len(objects)


def commit_upload(zone: PlatformZone, upload_id: str, *, at: datetime) -> UploadStatus:
    """Make an upload usable.

    Raises:
        NotFoundError: No such upload.
        InputError: Objects are missing (`upload.incomplete`).
    """
    status = read_upload_status(zone, upload_id)
    if status.missing:
        raise InputError(
            f"{len(status.missing)} objects of the upload are missing.",
            reason="upload.incomplete",
            remedy="Send the missing objects, then commit again.",
        )
    with write_session(zone.engine) as session:
        if advance(session, UploadRow, source=PENDING, target=COMMITTED, digest=upload_id):
            upload = load_row(session, UploadRow, digest=upload_id)
            seated = load_row(session, RosterRow, roster_id=upload.roster_id)
            keep_members(session, _roster(seated), at=at)
            count(session, "upload.committed")
            BOOK.enter(
                session,
                at=at,
                actor="platform",
                action=UPLOADED,
                detail={
                    "upload": upload_id,
                    "party": upload.gateway_id,
                    **taken_in(_manifest(upload)),
                },
            )
    return UploadStatus(upload_id=upload_id, state=COMMITTED, missing=[])


def _registered(zone: PlatformZone, envelope: Signed) -> RosterManifest | None:
    """This very roster, if it was checked and kept before."""
    draft = RosterManifest.parse(envelope.body)
    with read_session(zone.engine) as session:
        found = find(session, RosterRow, roster_id=draft.roster_id, digest=envelope.digest)
    return None if found is None else _roster(found)


def _claimed_seats(
    zone: PlatformZone, roster: RosterManifest, manifest: UploadManifest
) -> SeatsClaimed | None:
    """The seats that a first upload takes, whose period and content are sound."""
    by_day = is_sealed_day(manifest)
    if by_day:
        check_sealed_day(manifest)
    if is_correction(manifest):  # its period does not move, and it takes no seats
        return None
    timezone = parse_tariff(zone.objects.get(roster.tariff).decode()).timezone
    check_year(roster, manifest, timezone=timezone)
    return SeatsClaimed(roster, compared_period(manifest, roster, timezone=timezone), by_day)


def _first_start(manifest: UploadManifest) -> str:
    """What tells a roster's first uploads apart; a month and its first day begin alike."""
    return f"{manifest.start}/{manifest.end}" if is_sealed_day(manifest) else manifest.start


def _manifest(found: UploadRow) -> UploadManifest:
    return UploadManifest.parse(found.envelope.body)


def _roster(found: RosterRow) -> RosterManifest:
    return RosterManifest.parse(found.envelope.body)
