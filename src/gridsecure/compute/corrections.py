"""Corrections at the platform: which upload may take another one's place.

An upload that corrects another is kept beside it. The versions of a roster's period form a chain
and never a tree: the correction of an upload is recorded under that upload's digest, which the
database takes once, so of two that come at the same moment one stands and the other is refused.

A refused correction is entered in the evidence log with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from sqlmodel import Session

from gridsecure.compute.requests import KIND as REQUEST
from gridsecure.compute.requests import REFUSED, RELEASED
from gridsecure.compute.zone import PlatformZone
from gridsecure.errors import ConflictError, GridSecureError, InputError, NotFoundError
from gridsecure.messages import (
    ReleaseRequest,
    RosterManifest,
    Signed,
    Transcript,
    UploadManifest,
)
from gridsecure.plans.corrections import Version, check_correction, is_correction
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.records import Record, fetch, listed

COMMITTED: Final = "committed"

ReadUpload = tuple[Signed, UploadManifest]
"""A signed upload and its manifest, read."""


def upload_scope(manifest: UploadManifest) -> str:
    """What an upload is the only one of: its roster's period, or the upload that it corrects.

    A digest holds no slash, so a correction never stands in the place of a first upload.
    """
    if manifest.corrects is None:
        return f"{manifest.roster_id}/{manifest.start}"
    return manifest.corrects


def admit_upload(
    zone: PlatformZone, envelope: Signed, manifest: UploadManifest, *, roster: RosterManifest
) -> None:
    """Refuse a correction of anything but a committed upload that it fits.

    Args:
        zone: The platform.
        envelope: The signed manifest.
        manifest: The manifest, read.
        roster: The roster it is for.

    Raises:
        InputError: `correction.unknown`, `correction.uncommitted`, or as `check_correction`.
    """
    if not is_correction(manifest) or manifest.corrects is None:
        return
    with read_session(zone.engine) as session:
        if _find(session, envelope.digest) is not None:
            return  # the same manifest again: it was checked when it came
        found = _find(session, manifest.corrects)
        if found is None:
            raise _refusal("corrects an upload that is not here", "unknown")
        earlier = UploadManifest.parsed(Signed.parsed(found.text).body)
        seated = fetch(session, kind="roster", name=earlier.roster_id)
    corrected = Version(found.name, earlier, RosterManifest.parsed(Signed.parsed(seated.text).body))
    check_correction(Version(envelope.digest, manifest, roster), corrected=corrected)
    if found.state != COMMITTED:
        raise _refusal("corrects an upload that is not committed yet", "uncommitted")


@contextmanager
def refusals_noted(
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


def open_corrections(session: Session, uploads: Iterable[ReadUpload]) -> list[ReadUpload]:
    """The corrections that may be released next: not released, and not of one that waits itself.

    They are asked for together. What was refused is asked for again when nothing else waits, one
    at a time and the least refused first, so that a bad correction cannot hold up the others.

    Args:
        session: A session of the platform.
        uploads: Committed uploads of one period.
    """
    released = _answers(session, RELEASED)
    refused = _answers(session, REFUSED)
    waiting = {
        envelope.digest: (envelope, manifest)
        for envelope, manifest in uploads
        if is_correction(manifest) and envelope.digest not in released
    }
    found = [pair for pair in waiting.values() if pair[1].corrects not in waiting]
    fresh = [pair for pair in found if pair[0].digest not in refused]
    return fresh or sorted(found, key=lambda pair: refused[pair[0].digest])[:1]


def _answers(session: Session, state: str) -> Counter[str]:
    """How many requests in a state are about a correction."""
    requests = [
        ReleaseRequest.parsed(Signed.parsed(item.text).body)
        for item in listed(session, kind=REQUEST, state=state)
    ]
    return Counter(
        upload
        for request in requests
        if request.plan == "rebill"
        for transcript in request.transcripts
        for upload in Transcript.parsed(transcript.body).uploads
    )


def _find(session: Session, digest: str) -> Record | None:
    try:
        return fetch(session, kind="upload", name=digest)
    except NotFoundError:
        return None


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
