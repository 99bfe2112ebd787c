"""Uses of agreements, each a certificate counted once, and what they come to in a month."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, select

from gridsecure.circulation.documents import Member
from gridsecure.circulation.products import ProductDesign
from gridsecure.circulation.trade import Agreement
from gridsecure.circulation.uses import (
    MeteredUse,
    SettlementStatement,
    UseLine,
    check_use,
    month_of,
    settle,
)
from gridsecure.errors import ReleaseRefusedError
from gridsecure.market import holdings, shelf
from gridsecure.market.received import Received
from gridsecure.market.tables import DocumentRow
from gridsecure.market.trading import CONCLUDED, check_in_force
from gridsecure.market.zone import MarketZone
from gridsecure.messages import ReleaseCertificate, sign_message
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find


def meter_use(session: Session, received: Received[MeteredUse]) -> DocumentRow:
    """Count a certificate as a use of an agreement; of whatever agreement, it is counted once.

    Raises:
        NotFoundError: There is no such agreement of the signer's (`not-found.document`).
        ConflictError: It is not concluded, or was withdrawn (`market.not-in-force`); the
            certificate was counted before (`conflict.document`).
        ReleaseRefusedError: As `check_use`; all uses of the agreement (`use.agreed`) or of a
            dataset (`use.dataset`) were had; or the right to process is missing.
    """
    said, member, certificate = received.said, received.member, received.certificate
    agreed = shelf.load_readable(session, said.agreement, member, kind=Agreement.kind)
    agreement = Agreement.parse(agreed.envelope.body)
    if certificate is None or member.organisation not in (agreement.provider, agreement.consumer):
        raise ReleaseRefusedError(
            "The signer is of neither side of the agreement.",
            reason="agreement.side",
            remedy="Have the provider or the consumer report the use.",
        )
    row = received.row(
        certificate.release_id,
        organisation=agreement.consumer,
        counterpart=agreement.provider,
        about=said.agreement,
        month=month_of(received.now),
    )
    known = find(session, DocumentRow, kind=row.kind, name=row.name)
    if known is not None and known.about == row.about:
        return known  # the other side reported it before, or this one did
    check_in_force(agreed, state=CONCLUDED)
    check_use(certificate, agreement)
    design = _design(session, agreement)
    holdings.require_design(session, "meter", design.organisation, design, now=received.now)
    shelf.keep_document(session, row, by=member.person, fen=agreement.price_fen)
    _count(session, agreement, said.agreement, design)
    return row


def _design(session: Session, agreement: Agreement) -> ProductDesign:
    row = find(session, DocumentRow, digest=agreement.design)
    if row is None:
        raise AssertionError("an agreement's design is kept before it")
    return ProductDesign.parse(row.envelope.body)


def _count(session: Session, agreement: Agreement, digest: str, design: ProductDesign) -> None:
    if shelf.count(session, f"agreement/{digest}") > agreement.uses:
        raise ReleaseRefusedError(
            f"All {agreement.uses} uses of the agreement were had.",
            reason="use.agreed",
            remedy="Agree on more.",
        )
    for dataset in design.datasets:
        most = holdings.read_record(session, dataset).uses
        if shelf.count(session, f"dataset/{dataset}") > most > 0:
            raise ReleaseRefusedError(
                f"All {most} uses of the dataset {dataset} were had.",
                reason="use.dataset",
                remedy="Ask its holder for another dataset.",
            )


def issue_statement(
    zone: MarketZone, digest: str, *, month: str, reader: Member, now: datetime
) -> DocumentRow:
    """The settlement statement of a month, issued now if it was not before.

    Args:
        month: YYYY-MM, of UTC; in which the market metered the uses.

    Raises:
        NotFoundError: There is no such agreement of the reader's (`not-found.document`).
        ConflictError: The month is not over (`settlement.month`).
        StorageError: It cannot be kept.
    """
    name = f"{digest}/{month}"
    with read_session(zone.engine) as session:
        agreed = shelf.load_readable(session, digest, reader, kind=Agreement.kind)
        found = find(session, DocumentRow, kind=SettlementStatement.kind, name=name)
        lines = [] if found is not None else read_lines(session, agreed, month=month)
    if found is not None:
        return found
    # A month that is over gets no uses any more, so this may be signed before it is kept.
    said = settle(agreed.envelope, lines, month=month, now=now)
    envelope = sign_message(said, key=zone.signing_key)
    row = DocumentRow(
        message=envelope.model_dump_json(),
        digest=envelope.digest,
        kind=said.kind,
        name=name,
        organisation=said.provider,
        counterpart=said.consumer,
        about=digest,
        month=month,
        state=shelf.IN_FORCE,
        at=now,
    )
    with write_session(zone.engine) as session:
        kept = find(session, DocumentRow, kind=row.kind, name=name)
        if kept is not None:  # another process was faster
            return kept
        shelf.keep_document(session, row, by=reader.person)
    return row


def read_lines(session: Session, agreed: DocumentRow, *, month: str) -> list[UseLine]:
    """What was metered of an agreement in a month, in the order in which it was."""
    price = Agreement.parse(agreed.envelope.body).price_fen
    found = select(DocumentRow).where(
        DocumentRow.kind == MeteredUse.kind,
        DocumentRow.about == agreed.digest,
        DocumentRow.month == month,
    )
    lines = []
    for row in session.exec(found.order_by(DocumentRow.id)):  # type: ignore[arg-type] # a column
        certificate = MeteredUse.parse(row.envelope.body).certificate
        said = ReleaseCertificate.parse(certificate.body)
        lines.append(
            UseLine(
                release_id=said.release_id,
                certificate=certificate.digest,
                released_at=said.released_at,
                price_fen=price,
            )
        )
    return lines
