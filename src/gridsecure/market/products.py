"""Products at the market: their designs, and each step of their life."""

from __future__ import annotations

from typing import Final, get_args

from sqlmodel import Session, col, select

from gridsecure.circulation.documents import Member
from gridsecure.circulation.products import (
    ON_SALE,
    ProductDesign,
    ProductState,
    ProductStep,
    check_version,
    same_person,
    take_step,
)
from gridsecure.circulation.recipes import check_measures, check_registration
from gridsecure.circulation.uses import ReleasedAggregate, check_is_of, check_zones
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import ConflictError, ReleaseRefusedError
from gridsecure.market import holdings, shelf
from gridsecure.market.received import Received
from gridsecure.market.standing import check_standing
from gridsecure.market.tables import DocumentRow, PersonRow, PolicyRow
from gridsecure.market.zone import MarketZone
from gridsecure.messages import ReleaseCertificate
from gridsecure.policy.language import parse_policy
from gridsecure.store.database import read_session
from gridsecure.store.rows import find

_STATES: Final[dict[str, ProductState]] = {name: name for name in get_args(ProductState)}


def keep_design(session: Session, received: Received[ProductDesign]) -> DocumentRow:
    """Keep the design of a product's next version.

    Raises:
        GridSecureError: The organisation is no processor (`market.role`), or another's product has
            the name (`product.owner`); as `check_version` and `check_measures`; the right to
            process is missing; none of its datasets names a zone, as `check_zones`; or no
            organisation has the reviewer's name (`not-found.named`).
    """
    said, member = received.said, received.member
    holdings.check_role(member, "processor")
    row = received.row(
        f"{said.product}/{said.version}",
        counterpart=said.reviewer,
        about=said.product,
        state="designed",
    )
    newest = _newest(session, said.product)
    if newest is not None and newest.digest == row.digest:
        return newest
    if newest is not None and newest.organisation != member.organisation:
        raise ConflictError(
            "Another organisation has a product of this name.",
            reason="product.owner",
            remedy="Give the product another name.",
        )
    before = 0 if newest is None else ProductDesign.parse(newest.envelope.body).version
    check_version(said, newest=before)
    shelf.find_named(session, "organisation", f"{said.reviewer}/1")
    records = holdings.read_records(session, said)
    check_measures(said, records=records)
    check_zones(said, records=records)
    holdings.require_design(session, "design", member.organisation, said, now=received.now)
    shelf.keep_document(session, row, by=member.person)
    return row


def _newest(session: Session, product: str) -> DocumentRow | None:
    its = select(DocumentRow).where(
        DocumentRow.kind == ProductDesign.kind,
        DocumentRow.about == product,
        DocumentRow.month == "",
    )
    return session.exec(its.order_by(col(DocumentRow.id).desc()).limit(1)).first()


def keep_step(session: Session, received: Received[ProductStep]) -> DocumentRow:
    """Take a step of a product's life; the same again changes nothing.

    Raises:
        NotFoundError: There is no such design (`not-found.document`).
        GridSecureError: As `take_step`; or for a publication the right to operate is missing, or
            too much of the designer's is on sale already (`market.many`).
    """
    said, member = received.said, received.member
    row = shelf.load_readable(session, said.design, member, kind=ProductDesign.kind)
    design = ProductDesign.parse(row.envelope.body)
    step = received.row(
        f"{said.design}/{said.previous}", counterpart=design.organisation, about=said.design
    )
    if find(session, DocumentRow, digest=step.digest) is not None:
        return step
    if said.step in ("review", "reject") and received.envelope.signer == row.envelope.signer:
        raise same_person()
    after = take_step(
        _STATES[row.state], said, design=design, last=_last(session, row), member=member
    )
    if said.step == "publish":
        holdings.require_design(session, "publish", member.organisation, design, now=received.now)
        own = row.organisation
        check_standing(session, row.kind, received, organisation=own, states=ON_SALE)
    shelf.keep_document(session, step, by=member.person)
    shelf.move(session, row, target=after)
    return step


def check_bundle(zone: MarketZone, step: ProductStep, member: Member) -> None:
    """Hold a registration to the product that it registers, before anybody waits for it.

    Raises:
        NotFoundError: There is no such design (`not-found.document`).
        GridSecureError: As `check_registration`.
    """
    if step.step != "register":
        return
    with read_session(zone.engine) as session:
        row = shelf.load_readable(session, step.design, member, kind=ProductDesign.kind)
        design = ProductDesign.parse(row.envelope.body)
        records = holdings.read_records(session, design)
        signer = "" if step.bundle is None else step.bundle.signer
        by = find(session, PersonRow, thumbprint=signer)
    check_registration(
        step,
        design,
        registrant="" if by is None else by.organisation,
        key=None if by is None else Sm2PublicKey(bytes.fromhex(by.public_key)),
        holders=[record.organisation for record in records],
    )


def _last(session: Session, design: DocumentRow) -> str:
    """Digest of a version's last step, or of its design."""
    steps = select(DocumentRow.digest).where(
        DocumentRow.kind == ProductStep.kind,
        DocumentRow.about == design.digest,
        DocumentRow.month == "",
    )
    newest = steps.order_by(col(DocumentRow.id).desc()).limit(1)
    return session.exec(newest).first() or design.digest


def show_aggregate(session: Session, received: Received[ReleasedAggregate]) -> DocumentRow:
    """Show released totals of a published product to everybody.

    Raises:
        GridSecureError: The product is not there or not published (`product.order`); as
            `check_is_of`; the market never had the certificate's policy (`use.policy`), or it keeps
            values from analysts (`use.private`); the right to operate is missing; or as
            `check_standing`.
    """
    said, member = received.said, received.member
    row = shelf.load_readable(session, said.design, member, kind=ProductDesign.kind)
    design, certificate = ProductDesign.parse(row.envelope.body), received.certificate
    if row.state not in shelf.PUBLIC[row.kind]:
        raise ConflictError(
            "The product is not published.",
            reason="product.order",
            remedy="Have the product reviewed and published first.",
        )
    if certificate is None:
        raise AssertionError("the certificate is read before the document is kept")
    check_is_of(certificate, design, records=holdings.read_records(session, design))
    _check_policy(session, certificate)
    holdings.require_design(session, "show", member.organisation, design, now=received.now)
    check_standing(session, said.kind, received)
    kept = received.row(said.certificate.digest, counterpart=design.organisation, about=said.design)
    shelf.keep_document(session, kept, by=member.person)
    return kept


def _check_policy(session: Session, certificate: ReleaseCertificate) -> None:
    """Refuse to show what was released under a policy that is not known, or keeps it from some."""
    held = find(session, PolicyRow, digest=certificate.policy)
    if held is None:
        raise ReleaseRefusedError(
            "The certificate was released under a policy that this market never had.",
            reason="use.policy",
            remedy="Show what was released under the market's own policies.",
        )
    if parse_policy(held.text).private is not None:
        raise ReleaseRefusedError(
            "The certificate's policy tells analysts numbers with noise alone, and everybody no "
            "more than them.",
            reason="use.private",
            remedy="Show releases under other policies.",
        )
