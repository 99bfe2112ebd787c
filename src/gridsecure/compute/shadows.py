"""Shadow runs at the platform: ordered by the billing office, computed as any run, never released.

An order with a tariff is about first uploads that lists in force name, so that what a preview tells
of is what a release tells of. An order without one is about the corrections that a run would take
next. Orders and what the key authority is asked for them are kept apart from release requests, so
that nothing that reads those ever meets a shadow run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from sqlmodel import Session, col, update

from gridsecure.compute.closings import find_in_force, list_closings
from gridsecure.compute.correction_uploads import ReadUpload, open_corrections
from gridsecure.compute.intake import install_tariff
from gridsecure.compute.received import as_signed
from gridsecure.compute.requests import REFUSED, WAITING
from gridsecure.compute.tables import RosterRow, ShadowRow, UploadRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, InputError
from gridsecure.messages import (
    ShadowOrder,
    ShadowRequest,
    Signed,
    UploadManifest,
    open_message,
    shadow_name,
    sign_message,
)
from gridsecure.plans.previews import check_columns
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import advance, find, find_many, keep, load_row
from gridsecure.tariffs.tariff import Tariff, parse_tariff

ORDERED: Final = "ordered"
PREVIEWED: Final = "previewed"


def admit_order(zone: PlatformZone, envelope: Signed, *, tariff: str) -> ShadowOrder:
    """Check an order, and keep the tariff that it is about.

    Args:
        envelope: A signed `ShadowOrder`.
        tariff: The tariff's text; empty for corrections.

    Raises:
        AuthenticityError: The billing office did not sign it.
        InvalidMessageError: It did, but it is no order.
        InputError: It is about another tariff (`shadow.tariff`), or an upload that no list in force
            names (`shadow.upload`); or the tariff means other columns than were uploaded
            (`shadow.columns`).
        InvalidTariffError: The text is not a sound tariff.
    """
    content = open_message(envelope, expect=ShadowOrder, trusted=zone.office)
    if content.tariff != (sm3_hex(tariff.encode()) if tariff else ""):
        raise InputError(
            "The order of a shadow run names another tariff than the one that comes with it.",
            reason="shadow.tariff",
            remedy="Order it again with the file: gridsecure shadow order.",
        )
    lists = find_in_force(list_closings(zone, start=content.start, end=content.end))
    if not {digest for item in lists for digest in item.content.uploads}.issuperset(
        content.uploads
    ):
        raise InputError(
            "A shadow run names something other than an upload that is closed for its month.",
            reason="shadow.upload",
            remedy="Close the month first (gridsecure period close), then order it again.",
        )
    if tariff:
        tried = parse_tariff(tariff)
        for issued in _read_tariffs(zone, content):
            check_columns(issued, tried=tried)
        install_tariff(zone, tariff)
    return content


def _read_tariffs(zone: PlatformZone, order: ShadowOrder) -> list[Tariff]:
    """The tariffs that an order's uploads are billed by."""
    with read_session(zone.engine) as session:
        uploads = find_many(session, UploadRow, order.uploads, by="digest").values()
        named = {upload.roster_id for upload in uploads}
        rosters = find_many(session, RosterRow, sorted(named), by="roster_id").values()
        digests = {roster.tariff for roster in rosters}
    return [parse_tariff(zone.objects.get(digest).decode()) for digest in sorted(digests)]


def keep_order(session: Session, envelope: Signed, *, at: datetime) -> None:
    """Keep an order, in the transaction that records its run."""
    keep(session, ShadowRow(**as_signed(envelope, at=at), state=ORDERED))


def read_order(session: Session, digest: str) -> ShadowOrder:
    """The order of a run.

    Raises:
        NotFoundError: There is none (`not-found.shadow`).
    """
    return ShadowOrder.parse(load_row(session, ShadowRow, digest=digest).envelope.body)


def list_uploads(session: Session, order: ShadowOrder) -> list[ReadUpload]:
    """What an order is about."""
    if not order.tariff:
        return open_corrections(session, start=order.start, end=order.end)
    rows = find_many(session, UploadRow, order.uploads, by="digest")
    return [(row.envelope, UploadManifest.parse(row.envelope.body)) for row in rows.values()]


def keep_shadow_request(
    zone: PlatformZone,
    digest: str,
    transcripts: Sequence[Signed],
    *,
    requested_by: str,
    at: datetime,
) -> Signed:
    """Sign what the key authority is asked of a shadow run, once.

    Args:
        digest: Of the signed order.
    """
    with read_session(zone.engine) as session:
        order = load_row(session, ShadowRow, digest=digest).envelope
    request = ShadowRequest(
        request_id="", order=order, requested_by=requested_by, transcripts=list(transcripts)
    )
    name = shadow_name(request)
    named = request.model_copy(update={"request_id": name})
    envelope = sign_message(named, key=zone.signing_key)  # before the transaction: nobody waits
    with write_session(zone.engine) as session:
        row = load_row(session, ShadowRow, digest=digest)
        if row.request is not None:
            return Signed.parse(row.request)
        asked = {"request": envelope.model_dump_json(), "request_id": name, "state": WAITING}
        session.exec(update(ShadowRow).where(col(ShadowRow.digest) == digest).values(**asked))
        evidence.append(
            session,
            at=at,
            actor=requested_by,
            action="shadow.requested",
            detail={"request": name, "order": digest},
        )
    return envelope


def is_shadow_request(zone: PlatformZone, request_id: str) -> bool:
    """Whether a request is for a preview."""
    with read_session(zone.engine) as session:
        return find(session, ShadowRow, request_id=request_id) is not None


def record_preview(
    zone: PlatformZone,
    request_id: str,
    *,
    answer: Literal["released", "previewed", "refused"],
    at: datetime,
) -> None:
    """Keep the authority's answer; the same one again changes nothing.

    Raises:
        NotFoundError: No such request (`not-found.shadow`).
        ConflictError: It was answered otherwise, or cannot be answered so (`conflict.answer`).
    """
    with write_session(zone.engine) as session:
        row = load_row(session, ShadowRow, request_id=request_id)
        if answer in (PREVIEWED, REFUSED) and advance(
            session, ShadowRow, source=WAITING, target=answer, request_id=request_id
        ):
            detail: dict[str, evidence.JSON] = {"request": request_id}
            evidence.append(
                session, at=at, actor="authority", action=f"shadow.{answer}", detail=detail
            )
        elif row.state != answer:
            raise ConflictError(
                "This request for a preview already has a different answer.",
                reason="conflict.answer",
                remedy="Order another shadow run.",
            )
