"""Taking in a document: who signed it, whether that holds, then what its kind says.

1. The signer is found by the key, and the one who sends it is of the same organisation.
2. Signatures are verified, the document's and that of a certificate in it, whose cells are held to
   their policy and whose entry to the authority's log; a design is held to its recipe, and a
   registration to its design. Nobody waits for that.
3. In one transaction the signer is looked up again, the kind's own rules are held, and the row, its
   entry in the log, counters and states change together. So whoever is killed leaves all or
   nothing, and a right that was withdrawn a moment ago is missing already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlmodel import Session

from gridsecure.circulation.documents import MarketDocument, Member, open_document
from gridsecure.circulation.entries import CatalogueEntry, entry_card
from gridsecure.circulation.kinds import kind_named
from gridsecure.circulation.organisations import OrganisationRecord
from gridsecure.circulation.products import ProductDesign, ProductStep
from gridsecure.circulation.recipes import check_recipe
from gridsecure.circulation.rights import DatasetRecord, RightGrant, Withdrawal
from gridsecure.circulation.trade import Agreement, Need, Offer, OfferRequest
from gridsecure.circulation.uses import (
    MeteredUse,
    ReleasedAggregate,
    open_certificate,
    read_aggregate,
)
from gridsecure.errors import (
    AccessDeniedError,
    AuditBrokenError,
    InputError,
    ReleaseRefusedError,
)
from gridsecure.market import holdings, metering, products, trading
from gridsecure.market.members import find_person, find_signer
from gridsecure.market.received import Received
from gridsecure.market.tables import DocumentRow
from gridsecure.market.zone import MarketZone
from gridsecure.messages import ReleaseCertificate, Signed, open_message
from gridsecure.policy.language import Policy
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find

_Keep = Callable[[Session, Received[Any]], DocumentRow]

_KEEP: Final[Mapping[str, _Keep]] = {
    OrganisationRecord.kind: holdings.enter_organisation,
    DatasetRecord.kind: holdings.record_dataset,
    CatalogueEntry.kind: holdings.enter_release,
    RightGrant.kind: holdings.grant_right,
    Withdrawal.kind: holdings.withdraw,
    ProductDesign.kind: products.keep_design,
    ProductStep.kind: products.keep_step,
    ReleasedAggregate.kind: products.show_aggregate,
    Offer.kind: trading.keep_offer,
    Need.kind: trading.keep_need,
    OfferRequest.kind: trading.keep_request,
    MeteredUse.kind: metering.meter_use,
}
"""What keeps each kind; agreements need the policy besides."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who brings a document.

    Args:
        person: As the token names it.
        is_staff: Whether of the market's own staff, who bring what others signed.
    """

    person: str
    is_staff: bool = False


def take_in(zone: MarketZone, envelope: Signed, *, sender: Sender, now: datetime) -> DocumentRow:
    """Take a document in; the same again changes nothing.

    Raises:
        AuthenticityError: Nobody of the market signed it (`market.stranger`, `market.signer`), or
            somebody of another organisation brings it (`market.sender`).
        InputError: The market takes in no documents of this kind (`market.kind`), or it is wrong.
        GridSecureError: What its kind's rules refuse.
        StorageError: It cannot be kept; nothing of it was.
    """
    with read_session(zone.engine) as session:
        member = find_signer(session, envelope, zone=zone)
        if not sender.is_staff:
            _check_sender(find_person(session, sender.person), member)
    received = _verified(zone, envelope, member, now)
    policy = zone.policy(now) if envelope.body_kind == Agreement.kind else None
    with write_session(zone.engine) as session:
        if find_signer(session, envelope, zone=zone) != member:
            raise _no_sender()  # another record of the organisation came meanwhile
        return _keep(session, received, policy)


def _keep(session: Session, received: Received[Any], policy: Policy | None) -> DocumentRow:
    if isinstance(received.said, Agreement):
        return trading.sign_agreement(session, received, policy=policy)
    kept = find(session, DocumentRow, digest=received.envelope.digest)
    if kept is not None:
        return kept  # as it stands now, which may be withdrawn
    return _KEEP[received.said.kind](session, received)


def _verified(zone: MarketZone, envelope: Signed, member: Member, now: datetime) -> Received[Any]:
    kind = kind_named(envelope.body_kind)
    if issubclass(kind, MarketDocument) and kind.kind in _KEEP:
        said = open_document(envelope, expect=kind, member=member, now=now)
        certificate = _certificate(zone, said)
        received = Received(envelope, said, member, now, certificate)
        if isinstance(said, ProductDesign):
            check_recipe(said)
        if isinstance(said, ProductStep):
            products.check_bundle(zone, said, member)
        return received
    if kind is Agreement:  # both sides sign one text, which names neither's person
        trusted = {member.key.thumbprint: member.key}
        agreed = open_message(envelope, expect=Agreement, trusted=trusted)
        return Received(envelope, agreed, member, now)
    raise InputError(
        "The market signs documents of this kind itself.",
        reason="market.kind",
        remedy="Ask for a settlement with gridsecure market settle.",
    )


def _certificate(zone: MarketZone, said: MarketDocument) -> ReleaseCertificate | None:
    if not isinstance(said, MeteredUse | ReleasedAggregate | CatalogueEntry):
        return None
    found = open_certificate(said.certificate, zone.authority)
    if isinstance(said, ReleasedAggregate):
        read_aggregate(said, found)  # or the portal could not show it
    if isinstance(said, CatalogueEntry):
        entry_card(said, found)  # or the catalogue could not
    try:
        zone.verify(said.certificate.model_dump_json().encode())
    except AuditBrokenError as error:
        raise ReleaseRefusedError(
            "The certificate is not proved to be in the key authority's log.",
            reason="use.log",
            remedy="Send it as the key authority gave it, with its proof.",
        ) from error
    return found


def _check_sender(sender: Member, signer: Member) -> None:
    if sender.organisation != signer.organisation:
        raise _no_sender()


def _no_sender() -> AccessDeniedError:
    return AccessDeniedError(
        "A document is brought by somebody of the organisation that signed it.",
        reason="market.sender",
        remedy="Sign in as a person of that organisation.",
    )
