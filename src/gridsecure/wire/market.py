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


class PublicTold(Answer):
    """What everybody may read: signed documents, the newest first, with their states."""

    products: list[DocumentTold]
    offers: list[DocumentTold]
    needs: list[DocumentTold]
    aggregates: list[DocumentTold]
