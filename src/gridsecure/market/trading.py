"""Offers, needs, requests and agreements.

Each document is taken in by one transaction: a process that is killed anywhere leaves what was
there before, or all of it. An agreement is proposed by the side that signs first and concluded by
the other one's signature under the same digest.
"""

from __future__ import annotations

from sqlmodel import Session, select

from gridsecure.circulation.documents import moment
from gridsecure.circulation.products import ProductDesign
from gridsecure.circulation.trade import (
    Agreement,
    Need,
    Offer,
    OfferRequest,
    check_agreement,
    check_open,
    check_period,
    make_agreement,
)
from gridsecure.circulation.uses import check_zones
from gridsecure.errors import ConflictError, ReleaseRefusedError
from gridsecure.market import holdings, shelf
from gridsecure.market.received import Received
from gridsecure.market.standing import check_standing
from gridsecure.market.tables import DocumentRow, SignatureRow
from gridsecure.messages import Signed
from gridsecure.policy.language import Policy
from gridsecure.store import evidence
from gridsecure.store.rows import find, keep

PROPOSED = "proposed"
CONCLUDED = "concluded"


def keep_offer(session: Session, received: Received[Offer]) -> DocumentRow:
    """Put a product on sale.

    Raises:
        GridSecureError: It is not published, or another version (`product.order`); its time is over
            (`market.over`); `MOST_STANDING` of the organisation's stand already (`market.many`); or
            the right to operate is missing, as `require_rights`.
    """
    said, member = received.said, received.member
    check_open(said.valid_until, now=received.now, what="offer")
    design = _on_sale(session, said, received)
    holdings.require_design(session, "offer", member.organisation, design, now=received.now)
    check_standing(session, received.said.kind, received)
    row = received.row(received.envelope.digest, about=said.design)
    shelf.keep_document(session, row, by=member.person)
    return row


def _on_sale(session: Session, offer: Offer, received: Received[Offer]) -> ProductDesign:
    row = shelf.load_readable(session, offer.design, received.member, kind=ProductDesign.kind)
    design = ProductDesign.parse(row.envelope.body)
    is_it = (design.product, design.version) == (offer.product, offer.version)
    if not is_it or row.state not in shelf.PUBLIC[row.kind]:
        raise ConflictError(
            "The offer is not of a published product of that name and version.",
            reason="product.order",
            remedy="Have the product reviewed and published first.",
        )
    return design


def keep_need(session: Session, received: Received[Need]) -> DocumentRow:
    """Publish what a consumer looks for.

    Raises:
        GridSecureError: The organisation is no consumer (`market.role`), its time is over, or
            `MOST_STANDING` of the organisation's stand already (`market.many`).
    """
    holdings.check_role(received.member, "consumer")
    check_open(received.said.valid_until, now=received.now, what="need")
    check_standing(session, received.said.kind, received)
    row = received.row(received.envelope.digest)
    shelf.keep_document(session, row, by=received.member.person)
    return row


def keep_request(session: Session, received: Received[OfferRequest]) -> DocumentRow:
    """Bring a consumer's request to whoever offers.

    Raises:
        GridSecureError: The organisation is no consumer (`market.role`); its period is none
            (`market.time`); there is no such offer (`not-found.document`), or it is not in force
            (`market.not-in-force`, `market.over`).
    """
    said, member = received.said, received.member
    holdings.check_role(member, "consumer")
    check_period(said)
    offer = shelf.load_readable(session, said.offer, member, kind=Offer.kind)
    check_in_force(offer)
    check_open(Offer.parse(offer.envelope.body).valid_until, now=received.now, what="offer")
    row = received.row(received.envelope.digest, counterpart=offer.organisation, about=offer.digest)
    shelf.keep_document(session, row, by=member.person)
    return row


def check_in_force(row: DocumentRow, *, state: str = shelf.IN_FORCE) -> None:
    """Refuse what was taken back, or does not stand yet.

    Raises:
        ConflictError: It is in another state (`market.not-in-force`).
    """
    if row.state != state:
        raise ConflictError(
            f"The {row.kind} is not {state}: it is {row.state}.",
            reason="market.not-in-force",
            remedy="Look at how it stands (gridsecure market show).",
        )


def draft_agreement(
    session: Session, offer: DocumentRow, request: DocumentRow, *, policy: Policy
) -> Agreement:
    """The agreement that an offer and a request lead to.

    Raises:
        GridSecureError: As `make_agreement`.
    """
    design = find(session, DocumentRow, digest=Offer.parse(offer.envelope.body).design)
    if design is None:
        raise AssertionError("an offer's design is kept before it")
    return make_agreement(
        offer.envelope,
        request.envelope,
        design=ProductDesign.parse(design.envelope.body),
        policy=policy,
    )


def sign_agreement(
    session: Session, received: Received[Agreement], *, policy: Policy | None
) -> DocumentRow:
    """Take in one side's signature: the first proposes, the second concludes.

    Args:
        policy: In force now.

    Raises:
        ReleaseRefusedError: The signer is of neither side (`agreement.side`), it says something
            else than its offer and request (`agreement.terms`), it ends after a dataset's retention
            (`agreement.retention`), or the provider's right to operate is missing.
        ConflictError: Another policy is in force (`agreement.policy`), the offer or request does
            not stand any more (`market.not-in-force`, `market.over`), or the agreement was
            withdrawn.
        NotFoundError: Offer or request are not there (`not-found.document`).
    """
    said, member, digest = received.said, received.member, received.envelope.digest
    if member.organisation not in (said.provider, said.consumer):
        raise ReleaseRefusedError(
            "The signer is of neither side of the agreement.",
            reason="agreement.side",
            remedy="Have a person of the provider and one of the consumer sign it.",
        )
    row = find(session, DocumentRow, digest=digest)
    mark = _signature(received)
    if row is not None and find(
        session, SignatureRow, digest=digest, organisation=mark.organisation
    ):
        return row
    _check_terms(session, received, policy)
    if row is None:
        row = received.row(
            digest,
            organisation=said.provider,
            counterpart=said.consumer,
            about=said.request,
            state=PROPOSED,
        )
        shelf.keep_document(session, row, by=member.person)
        keep(session, mark)
        return row
    check_in_force(row, state=PROPOSED)
    keep(session, mark)
    shelf.move(session, row, target=CONCLUDED)
    detail: dict[str, evidence.JSON] = {"document": digest, "by": member.person}
    evidence.append(
        session, at=received.now, actor=member.person, action="market.concluded", detail=detail
    )
    return find(session, DocumentRow, digest=digest) or row


def _signature(received: Received[Agreement]) -> SignatureRow:
    return SignatureRow(
        digest=received.envelope.digest,
        organisation=received.member.organisation,
        message=received.envelope.model_dump_json(),
        at=received.now,
    )


def _check_terms(session: Session, received: Received[Agreement], policy: Policy | None) -> None:
    said, member, now = received.said, received.member, received.now
    offer = shelf.load_readable(session, said.offer, member, kind=Offer.kind)
    request = shelf.load_readable(session, said.request, member, kind=OfferRequest.kind)
    for one in (offer, request):
        check_in_force(one)
    check_open(Offer.parse(offer.envelope.body).valid_until, now=now, what="offer")
    if policy is None:
        raise ConflictError(
            "No release policy is in force at the market.",
            reason="agreement.policy",
            remedy="Wait for the policy's day, or put one in force (gridsecure policy put).",
        )
    check_agreement(said, draft_agreement(session, offer, request, policy=policy))
    check_open(said.ends_at, now=now, what="agreement")
    design = find(session, DocumentRow, digest=said.design)
    if design is None or design.state not in shelf.PUBLIC[design.kind]:
        raise ConflictError(
            "The product is not published any more.",
            reason="product.order",
            remedy="Ask for another product or version.",
        )
    product = ProductDesign.parse(design.envelope.body)
    holdings.require_design(session, "agree", said.provider, product, now=now)
    records = holdings.read_records(session, product)
    check_zones(product, records=records)
    for record in records:
        if moment(said.ends_at) > moment(record.retained_until):
            raise ReleaseRefusedError(
                f"The dataset {record.dataset} is not kept until the agreement ends.",
                reason="agreement.retention",
                remedy="Ask for a shorter time; the dataset's record says until when it is kept.",
            )


def read_signatures(session: Session, digest: str) -> list[Signed]:
    """The signatures under an agreement."""
    found = select(SignatureRow).where(SignatureRow.digest == digest)
    return [row.envelope for row in session.exec(found.order_by(SignatureRow.organisation))]
