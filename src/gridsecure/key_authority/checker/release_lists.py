"""Releases as they are listed and handed out: no certificate is parsed for either."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlmodel import Session, col

from gridsecure.errors import NotFoundError
from gridsecure.key_authority.checker.tables import ReleaseRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import ReleaseCertificate, sign_message
from gridsecure.released_values import SignedCertificate
from gridsecure.store.database import read_session
from gridsecure.store.pages import PageAsked, newest, read_page
from gridsecure.store.rows import load_row
from gridsecure.wire.authority import ReleaseSummary

_SUMMARIES: Final = select(
    *(getattr(ReleaseRow, name) for name in ("id", *ReleaseSummary.model_fields))
)


def list_summaries(session: Session, asked: PageAsked) -> tuple[list[ReleaseSummary], int | None]:
    """A page of releases, oldest first, and the number it ends at if there are more."""
    page = read_page(session, _SUMMARIES, key=ReleaseRow.id, asked=asked)
    rows = [ReleaseSummary.model_validate(row, from_attributes=True) for row in page.rows]
    return rows, page.after


def read_revision(session: Session) -> int:
    """Differs whenever the list does: releases are added, and stay as they are."""
    return newest(session, ReleaseRow.id)


def find_release(zone: AuthorityZone, release_id: str) -> tuple[str, str]:
    """The digest of a certificate, and its plan, without reading it.

    Raises:
        NotFoundError: Nothing was released under its name (`not-found.release`).
    """
    asked = select(col(ReleaseRow.digest), col(ReleaseRow.plan)).where(
        col(ReleaseRow.release_id) == release_id
    )
    with read_session(zone.engine) as session:
        found = session.execute(asked).first()
    if found is None:
        raise NotFoundError("There is no release of that name here.", reason="not-found.release")
    digest, plan = found
    return digest, plan


def read_certificate_text(zone: AuthorityZone, release_id: str) -> str:
    """A certificate as the text that is kept.

    Raises:
        NotFoundError: As `find_release`.
    """
    with read_session(zone.engine) as session:
        return load_row(session, ReleaseRow, release_id=release_id).message


def read_bare_certificate_text(zone: AuthorityZone, release_id: str) -> str:
    """A certificate without the values beside it.

    One of before values could be detached is signed anew with every value blank.

    Raises:
        NotFoundError: As `find_release`.
    """
    kept = SignedCertificate.parse(read_certificate_text(zone, release_id))
    if kept.values is not None:
        return kept.without_values().model_dump_json(exclude_none=True)
    certificate = ReleaseCertificate.parse(kept.body)
    blank = [cell.model_copy(update={"value": None}) for cell in certificate.cells]
    copy = certificate.model_copy(update={"cells": blank})
    return sign_message(copy, key=zone.signing_key).model_dump_json()
