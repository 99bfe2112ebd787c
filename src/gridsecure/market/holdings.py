"""Datasets, and who has which right to them."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, col, select

from gridsecure.circulation.documents import Member
from gridsecure.circulation.entries import CatalogueEntry, check_entry
from gridsecure.circulation.organisations import OrganisationRecord
from gridsecure.circulation.products import ProductDesign
from gridsecure.circulation.rights import (
    DatasetRecord,
    RightGrant,
    Step,
    Wanted,
    Withdrawal,
    check_grant,
    check_right,
)
from gridsecure.circulation.trade import Agreement, Need, Offer, OfferRequest, check_open
from gridsecure.circulation.uses import ReleasedAggregate
from gridsecure.errors import ConflictError, ReleaseRefusedError
from gridsecure.market import members, shelf
from gridsecure.market.received import Received
from gridsecure.market.tables import DocumentRow
from gridsecure.store.rows import find

_OF_SIGNER = frozenset(
    one.kind
    for one in (
        *(RightGrant, CatalogueEntry, Offer, Need, OfferRequest),
        *(ReleasedAggregate, Agreement),
    )
)


def enter_organisation(session: Session, received: Received[OrganisationRecord]) -> DocumentRow:
    """Enter an organisation, or its next record, in whose place the last one stood.

    Raises:
        ReleaseRefusedError: The registration office did not sign it (`market.registrar`).
        ConflictError: It is not the next number (`market.number`), or as `replace_people`.
    """
    said, member = received.said, received.member
    check_registrar(member)
    earlier = session.exec(
        select(DocumentRow)
        .where(DocumentRow.kind == said.kind, DocumentRow.about == said.name)
        .where(DocumentRow.month == "")  # or the index of what documents are about ends here
        .order_by(col(DocumentRow.id).desc())
        .limit(1)
    ).first()
    newest = 0 if earlier is None else OrganisationRecord.parse(earlier.envelope.body).number
    row = received.row(f"{said.name}/{said.number}", counterpart=said.name, about=said.name)
    if earlier is not None and earlier.digest == row.digest:
        return earlier
    if said.number != newest + 1:
        raise ConflictError(
            f"The next record of {said.name} has the number {newest + 1}.",
            reason="market.number",
            remedy="Number the organisation's records without gaps.",
        )
    if earlier is not None:
        shelf.move(session, earlier, target="replaced")
    members.replace_people(session, said)
    shelf.keep_document(session, row, by=member.person)
    return row


def check_registrar(member: Member) -> None:
    """Refuse what the registration office alone may do.

    Raises:
        ReleaseRefusedError: Somebody else signed it (`market.registrar`).
    """
    if not member.is_registrar:
        raise ReleaseRefusedError(
            "Only the registration office may do this.",
            reason="market.registrar",
            remedy="Have the registration office sign it.",
        )


def check_role(member: Member, role: str) -> None:
    """Refuse an organisation that is something else in the market.

    Raises:
        ReleaseRefusedError: It has not this role (`market.role`).
    """
    if role not in member.roles:
        raise ReleaseRefusedError(
            f"Only an organisation entered as {role} may do this.",
            reason="market.role",
            remedy="Have the registration office enter this role in the organisation's record.",
        )


def record_dataset(session: Session, received: Received[DatasetRecord]) -> DocumentRow:
    """Keep whose a dataset is; a name is given once, to one organisation.

    The next record of a dataset waits until the registration office confirms it (`grant_right`):
    zones that it adds are to be looked at as the first ones were.

    Raises:
        ReleaseRefusedError: The organisation is no supplier (`market.role`), or the dataset is
            another's (`rights.giver`).
        ConflictError: It is not kept any more (`market.over`), the name is taken
            (`conflict.document`), or it is not the next number (`market.number`).
        NotFoundError: It is a next record, and there is no first (`not-found.named`).
    """
    said, member = received.said, received.member
    check_role(member, "supplier")
    check_open(said.retained_until, now=received.now, what="dataset")
    if said.number == 1:
        row = received.row(said.dataset)
    else:
        row = received.row(f"{said.dataset}/{said.number}", about=said.dataset, state=shelf.WAITING)
        _check_next(session, said, member)
    shelf.keep_document(session, row, by=member.person)
    return row


def _check_next(session: Session, said: DatasetRecord, member: Member) -> None:
    """Refuse a next record that is not the next, and let one that still waits make place for it."""
    first = shelf.find_named(session, DatasetRecord.kind, said.dataset)
    if first.organisation != member.organisation:
        raise _not_holder(said.dataset, "Record datasets of your own.")
    rows = _next_records(session, said.dataset)
    if said.number != len(rows) + 2:
        raise ConflictError(
            f"The next record of the dataset {said.dataset} has the number {len(rows) + 2}.",
            reason="market.number",
            remedy="Number the dataset's records without gaps.",
        )
    for one in rows:
        if one.state == shelf.WAITING:
            shelf.move(session, one, target=shelf.REPLACED)


def _next_records(session: Session, dataset: str) -> list[DocumentRow]:
    """A dataset's records after the first, oldest first."""
    found = select(DocumentRow).where(
        DocumentRow.kind == DatasetRecord.kind,
        DocumentRow.about == dataset,
        DocumentRow.month == "",
    )
    return list(session.exec(found.order_by(col(DocumentRow.id))))


def _not_holder(dataset: str, remedy: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        f"The dataset {dataset} is another organisation's.", reason="rights.giver", remedy=remedy
    )


def enter_release(session: Session, received: Received[CatalogueEntry]) -> DocumentRow:
    """Enter a release of a dataset in the catalogue, once.

    Raises:
        NotFoundError: There is no such dataset (`not-found.named`).
        ReleaseRefusedError: It is another organisation's (`rights.giver`), or its right to hold is
            missing, as `check_right`; or as `check_entry`.
        ConflictError: The release is in the catalogue already (`conflict.document`).
    """
    said, member = received.said, received.member
    record = read_record(session, said.dataset)
    if record.organisation != member.organisation:
        raise _not_holder(said.dataset, "Enter releases of your own datasets.")
    if received.certificate is None:
        raise AssertionError("the certificate is read before the document is kept")
    check_entry(received.certificate, record=record)
    wanted = Wanted(member.organisation, said.dataset, tuple(record.measures), "")
    require_right(session, "list", wanted, now=received.now)
    row = received.row(received.certificate.release_id, about=said.dataset)
    shelf.keep_document(session, row, by=member.person)
    return row


def read_record(session: Session, dataset: str, *, at: datetime | None = None) -> DatasetRecord:
    """The ownership record of a dataset that counts: the newest that was confirmed, or the first.

    Args:
        at: The moment at which it counted; now if it is left out.

    Raises:
        NotFoundError: There is none (`not-found.named`).
    """
    row = _counting(session, dataset) if at is None else _counted(session, dataset, at)
    return DatasetRecord.parse(row.envelope.body)


def _counted(session: Session, dataset: str, at: datetime) -> DocumentRow:
    """The record that counted at a moment: what confirms the next ones says since when."""
    first = shelf.find_named(session, DatasetRecord.kind, dataset)
    grants = select(DocumentRow).where(
        DocumentRow.kind == RightGrant.kind,
        DocumentRow.about == _grants_of("hold", dataset, first.organisation),
        DocumentRow.at <= at,
    )
    confirmed = {RightGrant.parse(one.envelope.body).confirms for one in session.exec(grants)}
    later = (one for one in _next_records(session, dataset) if one.digest in confirmed)
    return [first, *later][-1]


def _counting(session: Session, dataset: str) -> DocumentRow:
    first = shelf.find_named(session, DatasetRecord.kind, dataset)
    if first.state == shelf.IN_FORCE:
        return first
    rows = _next_records(session, dataset)
    return next(one for one in reversed(rows) if one.state == shelf.IN_FORCE)


def read_records(
    session: Session, design: ProductDesign, *, at: datetime | None = None
) -> list[DatasetRecord]:
    """The ownership records of a product's datasets, as `read_record`.

    Raises:
        NotFoundError: There is one missing (`not-found.named`).
    """
    return [read_record(session, one, at=at) for one in design.datasets]


def grant_right(session: Session, received: Received[RightGrant]) -> DocumentRow:
    """Keep a grant of a right.

    Raises:
        NotFoundError: There is no such dataset (`not-found.named`).
        ConflictError: It is not kept any more (`market.over`), or the record that it confirms does
            not wait for that (`market.not-in-force`).
        GridSecureError: As `check_grant`, and of the giver's own right as `check_right`.
    """
    said, member = received.said, received.member
    if said.confirms:
        check_registrar(member)
        _confirm(session, said)
    record = read_record(session, said.dataset)
    check_open(record.retained_until, now=received.now, what="dataset")
    check_grant(said, record=record, is_registrar=member.is_registrar)
    if said.right != "hold":
        measures = (said.domain,) if said.domain else tuple(record.measures)
        wanted = Wanted(member.organisation, said.dataset, measures, said.purpose)
        require_right(session, "grant", wanted, now=received.now)
    about = _grants_of(said.right, said.dataset, said.grantee)
    row = received.row(received.envelope.digest, counterpart=said.grantee, about=about)
    shelf.keep_document(session, row, by=member.person)
    return row


def _confirm(session: Session, grant: RightGrant) -> None:
    """Let a dataset's next record count, in the place of the one that did."""
    row = find(session, DocumentRow, digest=grant.confirms)
    if (
        row is None
        or (row.kind, row.about) != (DatasetRecord.kind, grant.dataset)
        or row.state != shelf.WAITING
    ):
        raise ConflictError(
            "The record that the grant confirms is none that waits for it.",
            reason="market.not-in-force",
            remedy="Name the digest of the dataset's newest record (gridsecure market list).",
        )
    before = _counting(session, grant.dataset)
    shelf.move(session, row, target=shelf.IN_FORCE)
    shelf.move(session, before, target=shelf.REPLACED)


def _grants_of(right: str, dataset: str, grantee: str) -> str:
    return f"{right}/{dataset}/{grantee}"


def require_right(
    session: Session, step: Step, wanted: Wanted, *, now: datetime, is_past: bool = False
) -> None:
    """Refuse a step whose right is not in force.

    Args:
        now: The moment that is judged.
        is_past: Whether that is over: what was withdrawn since was still in force then, and what
            was granted since was not yet.

    Raises:
        ReleaseRefusedError: As `check_right`.
    """
    about = [
        _grants_of(right, wanted.dataset, wanted.organisation)
        for right in ("hold", "process", "operate")
    ]
    found = select(DocumentRow).where(
        DocumentRow.kind == RightGrant.kind,
        col(DocumentRow.about).in_(about),
    )
    # By the index of what grants are about: by their state all that are in force would be read.
    grants = [
        RightGrant.parse(row.envelope.body)
        for row in session.exec(found)
        if (row.at <= now or not is_past)
        and (row.state == shelf.IN_FORCE or (is_past and was_withdrawn_since(session, row, now)))
    ]
    check_right(step, wanted, grants, now=now)


def was_withdrawn_since(session: Session, row: DocumentRow, moment: datetime) -> bool:
    """Whether a document was taken back after a moment, until which it stood."""
    taken = find(session, DocumentRow, kind=Withdrawal.kind, name=row.digest)
    return taken is not None and taken.at > moment


def require_design(
    session: Session,
    step: Step,
    organisation: str,
    design: ProductDesign,
    *,
    now: datetime,
    is_past: bool = False,
) -> None:
    """As `require_right`, for each dataset of a product and what it has of its measures.

    Raises:
        ConflictError: A dataset is not kept any more (`market.over`).
        ReleaseRefusedError: As `check_right`.
    """
    asked = set(design.measures)
    for dataset in design.datasets:
        record = read_record(session, dataset, at=now if is_past else None)
        check_open(record.retained_until, now=now, what="dataset")
        told = tuple(one for one in record.measures if one in asked)
        wanted = Wanted(organisation, dataset, told, design.purpose)
        require_right(session, step, wanted, now=now, is_past=is_past)


def withdraw(session: Session, received: Received[Withdrawal]) -> DocumentRow:
    """Take a document back, for good and at once.

    Its own organisation may, of an agreement either side, of a grant a regulator too.

    Raises:
        NotFoundError: It is not there, or does not concern the signer (`not-found.document`).
        ReleaseRefusedError: It is not the signer's to take back (`market.withdrawal`).
        ConflictError: It is not in force (`market.not-in-force`).
    """
    said, member = received.said, received.member
    about = shelf.load_readable(session, said.about, member)
    sides = {about.organisation} | ({about.counterpart} if about.kind == Agreement.kind else set())
    is_theirs = member.organisation in sides or (
        about.kind == RightGrant.kind and "regulator" in member.roles
    )
    if about.kind not in _OF_SIGNER or not is_theirs:
        raise ReleaseRefusedError(
            "The document is not this signer's to take back.",
            reason="market.withdrawal",
            remedy="Have the organisation take it back that gave it; products have a step for it.",
        )
    others = {about.organisation, about.counterpart} - {member.organisation, ""}
    row = received.row(said.about, counterpart=min(others, default=""), about=said.about)
    if not shelf.keep_document(session, row, by=member.person):
        return row
    if about.state == shelf.WITHDRAWN or not shelf.move(session, about, target=shelf.WITHDRAWN):
        raise ConflictError(
            "The document is not in force any more.",
            reason="market.not-in-force",
            remedy="Look at how it stands (gridsecure market show).",
        )
    return row
