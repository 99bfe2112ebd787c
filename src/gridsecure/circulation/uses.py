"""Metered use and settlement: a use is a release certificate, counted once; money is whole fen.

A certificate names no agreement, so what makes it a use of one is compared: who asked for it, what
it tells of, of which zones (`check_requester`, `check_is_of`). What is shown to everybody is held
to the same (`check_is_of`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final, Self

from pydantic import Field, model_validator

from gridsecure.circulation.documents import MarketDocument, Named, Slug, Title, When, moment
from gridsecure.circulation.products import ProductDesign
from gridsecure.circulation.rights import DatasetRecord
from gridsecure.circulation.trade import MOST_FEN, Agreement
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import (
    AuthenticityError,
    ConflictError,
    InvalidMessageError,
    ReleaseRefusedError,
    SignatureError,
)
from gridsecure.messages import (
    CellTotal,
    Digest,
    Message,
    ReleaseCertificate,
    Signed,
    open_message,
)
from gridsecure.plans.purposes import RESEARCH
from gridsecure.released_values import SignedCertificate, attach_values

Authority = Mapping[Digest, Sm2PublicKey]
"""The key authority's key by its thumbprint."""

MONTH: Final = r"^[0-9]{4}-(0[1-9]|1[0-2])$"


class MeteredUse(MarketDocument):
    """That a certificate was released under an agreement.

    Args:
        agreement: Its digest.
        certificate: As the key authority signed it, without its values.
    """

    kind: ClassVar[str] = "metered-use"
    agreement: Named
    certificate: Signed


class UseLine(Message):
    """One use in a statement.

    Args:
        release_id: Of the certificate.
        certificate: Its digest.
    """

    kind: ClassVar[str] = "use-line"
    release_id: str
    certificate: Named
    released_at: When
    price_fen: int = Field(ge=0, le=MOST_FEN)


class SettlementStatement(Message):
    """What a consumer owes a provider for a month's uses, as the market signs it.

    Args:
        month: In which the market metered the uses, of UTC: YYYY-MM.
        total_fen: The sum of the lines [fen].
    """

    kind: ClassVar[str] = "settlement-statement"
    agreement: Named
    provider: Slug
    consumer: Slug
    month: str = Field(pattern=MONTH)
    lines: list[UseLine]
    total_fen: int = Field(ge=0)
    issued_at: When

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if sum(line.price_fen for line in self.lines) != self.total_fen:
            raise ValueError("the total is the sum of the lines")
        if len({line.release_id for line in self.lines}) != len(self.lines):
            raise ValueError("every release is there once")
        return self


class ReleasedAggregate(MarketDocument):
    """Released totals that their operator shows to everybody.

    Args:
        certificate: With its values.
    """

    kind: ClassVar[str] = "released-aggregate"
    design: Named
    title: Title
    title_zh: Title
    certificate: SignedCertificate


def open_certificate(envelope: Signed, authority: Authority) -> ReleaseCertificate:
    """A certificate of the key authority's.

    Raises:
        SignatureError: Somebody else signed it, or it was altered (`use.certificate`).
        InvalidMessageError: It has another shape.
    """
    try:
        return open_message(envelope, expect=ReleaseCertificate, trusted=authority)
    except InvalidMessageError:
        raise
    except AuthenticityError as error:
        raise SignatureError(
            "The certificate is not signed by the key authority.",
            reason="use.certificate",
            remedy="Send it as the key authority gave it.",
        ) from error


def check_use(found: ReleaseCertificate, agreement: Agreement, *, digest: Digest) -> None:
    """Refuse a certificate that is no use of an agreement; `check_is_of` has its product.

    Args:
        found: From `open_certificate`.
        digest: Of the agreement.

    Raises:
        ReleaseRefusedError: It names another agreement (`use.agreement`); it has values in it,
            which the market takes none of (`use.values`); it
            is of another plan or purpose (`use.purpose`), or under another policy than the one
            that was agreed (`use.policy`); or it was released before or after (`use.period`).
    """
    if found.agreement not in ("", digest):
        raise _refused("The certificate was released under another agreement", "agreement")
    if any(cell.value is not None for cell in found.cells):
        raise _refused("The certificate has values in it", "values")
    if (found.plan, found.purpose) != (agreement.plan, agreement.purpose):
        raise _refused("The certificate is of another plan or purpose", "purpose")
    if found.policy != agreement.policy:
        raise _refused("The certificate was released under another policy", "policy")
    released = moment(found.released_at)
    if not moment(agreement.begins_at) <= released < moment(agreement.ends_at):
        raise _refused("The certificate was released before or after the agreement", "period")


def check_requester(found: ReleaseCertificate, agreement: Agreement, *, asker: str | None) -> None:
    """Refuse a certificate that somebody else asked for than the consumer's people.

    Whoever asks for research is named by a pseudonym, which is nobody's of the market: there the
    consumer's own signature under the use is all there is.

    Args:
        asker: The organisation that `found.requested_by` signs for; None for nobody's.

    Raises:
        ReleaseRefusedError: Nobody of the consumer's asked for it (`use.requester`).
    """
    if found.purpose != RESEARCH and asker != agreement.consumer:
        raise _refused("Nobody of the consumer's people asked for the certificate", "requester")


def check_is_of(
    found: ReleaseCertificate, design: ProductDesign, *, records: Sequence[DatasetRecord]
) -> None:
    """Refuse a certificate that is not of a product, for a use of it as for everybody to see.

    Of a sealed question it names neither cells nor measures, and nothing of these is compared.

    Args:
        found: From `open_certificate`.
        records: Of the product's datasets.

    Raises:
        ReleaseRefusedError: It is of another plan or purpose (`use.purpose`), tells of another
            measure (`use.measure`), or of a zone of which no dataset of the product tells that
            (`use.zone`).
    """
    if (found.plan, found.purpose) != (design.recipe.plan, design.purpose):
        raise _refused("The certificate is of another plan or purpose than the product", "purpose")
    check_cells(found, measures=design.measures, records=records)


def check_zones(design: ProductDesign, *, records: Sequence[DatasetRecord]) -> None:
    """Refuse a product of which no certificate could ever be, before anybody agrees on it.

    Args:
        records: Of its datasets.

    Raises:
        ReleaseRefusedError: Its certificates name zones, and none of its datasets that tells of
            what it tells of names one (`use.zone`).
    """
    its = [one for one in records if set(one.measures) & set(design.measures)]
    if design.recipe.recipe == "plan" and not any(one.zones for one in its):
        raise ReleaseRefusedError(
            "No dataset of the product names a zone, so no release would be of it.",
            reason="use.zone",
            remedy="Have the dataset's holder record it anew, with its zones and the next number, "
            "and the registration office confirm that.",
        )


def check_cells(
    found: ReleaseCertificate, *, measures: Collection[str], records: Sequence[DatasetRecord]
) -> None:
    """Refuse a certificate that tells of what some datasets have not.

    Args:
        measures: It may tell of no others.

    Raises:
        ReleaseRefusedError: It tells of another measure (`use.measure`), or of a zone of which no
            dataset tells that (`use.zone`).
    """
    for cell in found.cells:
        if not (cell.told or cell.value is not None):
            continue
        if cell.measure not in measures:
            raise _refused("The certificate tells of a measure that is not agreed on", "measure")
        zones = {found.places[part].zone for part in cell.parts} or {cell.zone}
        known = {zone for one in records if cell.measure in one.measures for zone in one.zones}
        if not zones <= known:
            raise _refused(
                "The certificate tells of zones that are in none of the datasets", "zone"
            )


def read_aggregate(said: ReleasedAggregate, found: ReleaseCertificate) -> list[CellTotal]:
    """The cells that are shown, with the values that were told.

    Args:
        found: Its certificate, from `open_certificate`.

    Raises:
        SignatureError: As `attach_values`.
        ReleaseRefusedError: The certificate comes without its values, or answers a sealed question,
            whose cells have numbers for names (`use.shown`).
    """
    if found.question or said.certificate.values is None:
        raise _refused("The certificate has no values that everybody could read", "shown")
    return attach_values(found, said.certificate).cells


def month_of(at: datetime) -> str:
    """The month of UTC that a moment is in."""
    return at.astimezone(UTC).strftime("%Y-%m")


def settle(
    agreement: Signed, uses: Sequence[UseLine], *, month: str, now: datetime
) -> SettlementStatement:
    """The statement of a month.

    Args:
        agreement: As either side signed it.
        uses: That the market metered in the month, in their order.

    Raises:
        ConflictError: The month is not over (`settlement.month`).
    """
    if month_of(now) <= month:
        raise ConflictError(
            "A month is settled once it is over.",
            reason="settlement.month",
            remedy="Ask again after the last day of the month, of UTC.",
        )
    said = Agreement.parse(agreement.body)
    return SettlementStatement(
        agreement=agreement.digest,
        provider=said.provider,
        consumer=said.consumer,
        month=month,
        lines=list(uses),
        total_fen=sum(line.price_fen for line in uses),
        issued_at=now.isoformat(),
    )


def _refused(message: str, code: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        f"{message}.",
        reason=f"use.{code}",
        remedy="Send certificates of the product and agreement alone, as the key authority signed "
        "them. A dataset's record says which zones are of it.",
    )
