"""Uses of agreements, each a certificate counted once, and what they come to in a month."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Final

from sqlmodel import Session, col, func, select

from gridsecure.circulation.documents import Member, moment
from gridsecure.circulation.products import ProductDesign, ProductStep
from gridsecure.circulation.rights import DatasetRecord
from gridsecure.circulation.trade import Agreement
from gridsecure.circulation.uses import (
    MeteredUse,
    SettlementStatement,
    UseLine,
    check_is_of,
    check_requester,
    check_use,
    month_of,
    settle,
)
from gridsecure.errors import ConflictError, ReleaseRefusedError
from gridsecure.market import holdings, shelf
from gridsecure.market.holdings import was_withdrawn_since
from gridsecure.market.received import Received
from gridsecure.market.tables import DocumentRow, PersonRow
from gridsecure.market.trading import CONCLUDED, check_in_force, read_signatures
from gridsecure.market.zone import MarketZone
from gridsecure.messages import ReleaseCertificate, sign_message
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find

_SIDES: Final = 2
"""Who sign an agreement: its provider and its consumer."""


def meter_use(session: Session, received: Received[MeteredUse]) -> DocumentRow:
    """Count a certificate as a use of an agreement; of whatever agreement, it is counted once.

    The consumer's side reports it: what somebody owes is not for others to say. Where the
    certificate names the agreement, because policy wanted one, either side does. Agreement, product
    and rights are judged as of the release: what was had while all stood is owed whenever it is
    reported, or whoever reports would only have to wait.

    Raises:
        NotFoundError: There is no such agreement of the signer's (`not-found.document`).
        ConflictError: It was not concluded, or withdrawn before the release
            (`market.not-in-force`); its product was (`product.order`); the certificate was counted
            before (`conflict.document`).
        ReleaseRefusedError: The provider reports it (`use.reporter`); as `check_use`,
            `check_requester` and `check_is_of`; all uses of the agreement (`use.agreed`) or of a
            dataset (`use.dataset`) have been used; or the designer's right to process, or the
            provider's to operate, was missing.
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
        month=_open_month(session, said.agreement, received.now),
    )
    known = find(session, DocumentRow, kind=row.kind, name=row.name)
    if known is not None and known.about == row.about:
        return known  # the other side reported it before, or this one did
    released = moment(certificate.released_at)
    if not (_was_concluded(session, agreed) and was_withdrawn_since(session, agreed, released)):
        check_in_force(agreed, state=CONCLUDED)
    # A certificate that names the agreement says itself what is owed, whoever brings it.
    if member.organisation != agreement.consumer and certificate.agreement != said.agreement:
        raise _not_theirs()
    check_use(certificate, agreement, digest=said.agreement)
    asker = find(session, PersonRow, person=certificate.requested_by)
    check_requester(certificate, agreement, asker=None if asker is None else asker.organisation)
    design = _design(session, agreement, released=released)
    records = holdings.read_records(session, design, at=released)
    check_is_of(certificate, design, records=records)
    require = partial(holdings.require_design, session, now=released, is_past=True)
    require("meter", design.organisation, design)
    require("deliver", agreement.provider, design)
    shelf.keep_document(session, row, by=member.person, fen=agreement.price_fen)
    _count(session, agreement, said.agreement, records)
    return row


def _not_theirs() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "A use is reported by the consumer's side.",
        reason="use.reporter",
        remedy="Have a person of the consumer sign it.",
    )


def _was_concluded(session: Session, agreed: DocumentRow) -> bool:
    """Whether both sides signed an agreement, wherever it stands now."""
    return len(read_signatures(session, agreed.digest)) == _SIDES


def _design(session: Session, agreement: Agreement, *, released: datetime) -> ProductDesign:
    row = find(session, DocumentRow, digest=agreement.design)
    if row is None:
        raise AssertionError("an agreement's design is kept before it")
    if row.state not in shelf.PUBLIC[row.kind] and not _ended_since(session, row, released):
        raise ConflictError(
            "The product is not published any more.",
            reason="product.order",
            remedy="Ask for another product or version.",
        )
    return ProductDesign.parse(row.envelope.body)


def _ended_since(session: Session, design: DocumentRow, released: datetime) -> bool:
    """Whether a product's last step, which ended it, came after a release."""
    steps = select(DocumentRow).where(
        DocumentRow.kind == ProductStep.kind,
        DocumentRow.about == design.digest,
        DocumentRow.month == "",
    )
    last = session.exec(steps.order_by(col(DocumentRow.id).desc()).limit(1)).first()
    return last is not None and last.at > released


def _open_month(session: Session, agreement: str, now: datetime) -> str:
    """The month in which a use counts: the present one, or the first that is not settled.

    The present was read before this transaction began; meanwhile the month may have been settled.
    """
    month = month_of(now)
    while find(session, DocumentRow, kind=SettlementStatement.kind, name=f"{agreement}/{month}"):
        year, number = map(int, month.split("-"))
        month = f"{year + number // 12:04}-{number % 12 + 1:02}"
    return month


def _count(
    session: Session, agreement: Agreement, digest: str, records: Iterable[DatasetRecord]
) -> None:
    if shelf.count(session, f"agreement/{digest}") > agreement.uses:
        raise ReleaseRefusedError(
            f"All {agreement.uses} uses of the agreement have been used.",
            reason="use.agreed",
            remedy="Agree on more.",
        )
    for record in records:
        if shelf.count(session, f"dataset/{record.dataset}") > record.uses > 0:
            raise ReleaseRefusedError(
                f"All {record.uses} uses of the dataset {record.dataset} have been used.",
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
        ConflictError: The month is not over, or before the agreement (`settlement.month`).
        ReleaseRefusedError: The reader is of neither side, and there is none yet
            (`agreement.side`).
        StorageError: It cannot be kept.
    """
    name = f"{digest}/{month}"
    while True:
        with read_session(zone.engine) as session:
            agreed = shelf.load_readable(session, digest, reader, kind=Agreement.kind)
            found = find(session, DocumentRow, kind=SettlementStatement.kind, name=name)
            lines = [] if found is not None else read_lines(session, agreed, month=month)
        if found is not None:
            return found
        _check_may_settle(agreed, month=month, reader=reader)
        said = settle(agreed.envelope, lines, month=month, now=now)
        row = _statement_row(zone, said, name=name, now=now)  # signed while nobody waits for it
        with write_session(zone.engine) as session:
            kept = find(session, DocumentRow, kind=row.kind, name=name)
            if kept is not None:  # another process was faster
                return kept
            # A use of the month that came meanwhile has to be in it, so it is signed again. One
            # that comes later finds the month settled and counts in the next (`_open_month`).
            if _count_uses(session, digest, month) == len(lines):
                shelf.keep_document(session, row, by=reader.person)
                return row


def _check_may_settle(agreed: DocumentRow, *, month: str, reader: Member) -> None:
    """Refuse a statement that is nobody's to ask for, or of before there was an agreement.

    Raises:
        ReleaseRefusedError: The reader is of neither side (`agreement.side`).
        ConflictError: The agreement came later (`settlement.month`).
    """
    if reader.organisation not in (agreed.organisation, agreed.counterpart):
        raise ReleaseRefusedError(
            "A month is settled for the two sides of an agreement.",
            reason="agreement.side",
            remedy="Read the statements that there are (gridsecure market list).",
        )
    if month < month_of(agreed.at):
        raise ConflictError(
            "There was no agreement in this month.",
            reason="settlement.month",
            remedy="Settle months from the one in which the agreement was proposed.",
        )


def _count_uses(session: Session, agreement: str, month: str) -> int:
    uses = select(func.count()).where(
        DocumentRow.kind == MeteredUse.kind,
        DocumentRow.about == agreement,
        DocumentRow.month == month,
    )
    return session.exec(uses).one()


def _statement_row(
    zone: MarketZone, said: SettlementStatement, *, name: str, now: datetime
) -> DocumentRow:
    """The row that keeps a statement, which the market signs."""
    envelope = sign_message(said, key=zone.signing_key)
    return DocumentRow(
        message=envelope.model_dump_json(),
        digest=envelope.digest,
        kind=said.kind,
        name=name,
        organisation=said.provider,
        counterpart=said.consumer,
        about=said.agreement,
        month=said.month,
        state=shelf.IN_FORCE,
        at=now,
    )


def read_lines(session: Session, agreed: DocumentRow, *, month: str) -> list[UseLine]:
    """What was metered of an agreement in a month, in the order in which it was."""
    price = Agreement.parse(agreed.envelope.body).price_fen
    found = select(DocumentRow).where(
        DocumentRow.kind == MeteredUse.kind,
        DocumentRow.about == agreed.digest,
        DocumentRow.month == month,
    )
    lines = []
    for row in session.exec(found.order_by(col(DocumentRow.id))):
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
