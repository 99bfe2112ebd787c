"""Corrections at the platform: which upload may take another one's place.

An upload that corrects another is kept beside it. The versions of a roster's period form a chain
and never a tree: the correction of an upload is recorded under that upload's digest, which the
database takes once, so of two that come at the same moment one stands and the other is refused.

A refused correction is entered in the evidence log with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from sqlalchemy import func
from sqlmodel import Session, col, select

from gridsecure.compute.requests import REFUSED, RELEASED
from gridsecure.compute.tables import (
    ReleaseRequestRow,
    RequestUploadRow,
    RosterRow,
    UploadRow,
)
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import ConflictError, GridSecureError, InputError
from gridsecure.messages import RosterManifest, Signed, UploadManifest
from gridsecure.plans.correction_rules import Version, check_correction, is_correction
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, load_row

COMMITTED: Final = "committed"

ReadUpload = tuple[Signed, UploadManifest]
"""A signed upload and its manifest, read."""


def admit_correction(
    zone: PlatformZone, envelope: Signed, manifest: UploadManifest, *, roster: RosterManifest
) -> None:
    """Refuse a correction of anything but a committed upload that it fits.

    Args:
        envelope: The signed manifest.
        manifest: The manifest, read.
        roster: The roster it is for.

    Raises:
        InputError: `correction.unknown`, `correction.uncommitted`, or as `check_correction`.
    """
    if not is_correction(manifest) or manifest.corrects is None:
        return
    with read_session(zone.engine) as session:
        if find(session, UploadRow, digest=envelope.digest) is not None:
            return  # the same manifest again: it was checked when it came
        found = find(session, UploadRow, digest=manifest.corrects)
        if found is None:
            raise _refusal("corrects an upload that is not here", "unknown")
        seated = load_row(session, RosterRow, roster_id=found.roster_id)
    earlier = UploadManifest.parse(found.envelope.body)
    corrected = Version(found.digest, earlier, RosterManifest.parse(seated.envelope.body))
    check_correction(Version(envelope.digest, manifest, roster), corrected=corrected)
    if found.state != COMMITTED:
        raise _refusal("corrects an upload that is not committed yet", "uncommitted")


@contextmanager
def note_refusals(
    zone: PlatformZone, envelope: Signed, manifest: UploadManifest, *, at: datetime
) -> Iterator[None]:
    """Enter the refusal of a correction in the evidence log, under its own reason.

    Raises:
        ConflictError: The upload was corrected otherwise (`correction.fork`).
        GridSecureError: Whatever else was refused, unchanged.
    """
    try:
        yield
    except GridSecureError as error:
        if not is_correction(manifest):
            raise
        refused = _forked() if isinstance(error, ConflictError) else error
        with write_session(zone.engine) as session:
            evidence.append(
                session,
                at=at,
                actor=envelope.signer,
                action="correction.refused",
                detail={
                    "upload": envelope.digest,
                    "corrects": manifest.corrects,
                    "reason": refused.reason,
                },
            )
        if refused is error:
            raise
        raise refused from error


def open_corrections(session: Session, *, start: str, end: str) -> list[ReadUpload]:
    """The corrections that may be released next: not released, and not of one that waits itself.

    They are asked for together. What was refused is asked for again when nothing else waits, one
    at a time and the least refused first, so that a bad correction cannot hold up the others.
    """
    month = {"start": start, "end": end}
    released = _count_answers(session, RELEASED, **month)
    refused = _count_answers(session, REFUSED, **month)
    committed = select(UploadRow).where(
        UploadRow.start == start, UploadRow.end == end, UploadRow.state == COMMITTED
    )
    corrections = committed.where(col(UploadRow.corrects).is_not(None)).order_by(col(UploadRow.id))
    waiting = {row.digest: row for row in session.exec(corrections) if row.digest not in released}
    found = [row for row in waiting.values() if row.corrects not in waiting]
    fresh = [row for row in found if row.digest not in refused]
    chosen = fresh or sorted(found, key=lambda row: refused[row.digest])[:1]
    envelopes = [row.envelope for row in chosen]
    return [(envelope, UploadManifest.parse(envelope.body)) for envelope in envelopes]


def _count_answers(session: Session, state: str, **month: str) -> Counter[str]:
    """How many requests in a state are about a correction of a month."""
    found = (
        select(RequestUploadRow.upload, func.count())
        .join(ReleaseRequestRow)
        .filter_by(plan="rebill", state=state, **month)
        .group_by(RequestUploadRow.upload)
    )
    return Counter(dict(session.exec(found).all()))


def _refusal(why: str, code: str) -> InputError:
    return InputError(
        f"A correction {why}.",
        reason=f"correction.{code}",
        remedy="Commit the upload that it corrects first, and name it by its digest.",
    )


def _forked() -> ConflictError:
    return ConflictError(
        "The upload that is to be corrected has another correction.",
        reason="correction.fork",
        remedy="Correct the latest committed upload of the roster and period.",
    )
