"""What the market answers."""

from __future__ import annotations

from pydantic import Field

from gridsecure.messages import Digest, Signed
from gridsecure.wire.services import Answer, Count


class DocumentTold(Answer):
    """A document as signed, and how it stands.

    `signed` has one envelope; of an agreement one for each side that signed. `uses` is how often an
    agreement or dataset was used; a dataset's is told to its own organisation and to regulators.
    """

    digest: Digest
    kind: str
    name: str
    organisation: str
    counterpart: str
    state: str
    at: str
    uses: Count | None = None
    signed: list[Signed] = Field(min_length=1)


class AgreementDrafted(Answer):
    """The text that both sides of an agreement sign."""

    text: str


class PublicProduct(Answer):
    """A published product. `digest` names its design, which members read as signed."""

    digest: Digest
    organisation: str
    stage: str
    product: str
    version: int
    title: str
    title_zh: str
    summary: str
    measures: list[str]
    purpose: str


class PublicOffer(Answer):
    """A product at a price of a use in fen."""

    digest: Digest
    organisation: str
    design: Digest
    product: str
    version: int
    price_fen: int
    valid_until: str
    terms: str


class PublicNeed(Answer):
    """What somebody looks for."""

    digest: Digest
    organisation: str
    title: str
    title_zh: str
    text: str
    valid_until: str


class PublicCell(Answer):
    """A released number, with its unit. Of cells that were withheld there is none."""

    zone: str
    customer_class: str
    start: str
    end: str
    measure: str
    unit: str
    value: str


class PublicTotals(Answer):
    """Released totals: their numbers, and by what names the release is known.

    `certificate` is the digest of the certificate, which stays with members: it also says who asked
    for the release, who approved it, and how many customers a withheld cell has.
    """

    digest: Digest
    organisation: str
    design: Digest
    title: str
    title_zh: str
    release_id: str
    certificate: Digest
    policy: Digest
    start: str
    end: str
    cells: list[PublicCell]


class PublicTold(Answer):
    """What everybody may read, the newest first: nobody's name, and no withheld cell."""

    products: list[PublicProduct]
    offers: list[PublicOffer]
    needs: list[PublicNeed]
    aggregates: list[PublicTotals]
