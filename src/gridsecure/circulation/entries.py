"""Entries of the market's catalogue (数据目录): what was released of a dataset, on which terms.

An entry joins a dataset's record to a certificate, and its card is made of that alone: nobody
writes on it what the key authority did not sign.
"""

from __future__ import annotations

from typing import ClassVar

from gridsecure.circulation.documents import MarketDocument, Slug
from gridsecure.circulation.rights import DatasetRecord
from gridsecure.circulation.uses import check_cells
from gridsecure.errors import ReleaseRefusedError
from gridsecure.messages import Digest, ReleaseCertificate, Signed
from gridsecure.products.datasets import DatasetCard, Quality, Terms, make_card
from gridsecure.queries.exact import Unsigned


class CatalogueEntry(MarketDocument):
    """What a supplier says of a release of its dataset.

    Args:
        dataset: Of the record.
        price_yuan: Of one use.
        quality: As the gateway counts readings; None where it is not handed in.
        certificate: As the key authority signed it, without its values.
    """

    kind: ClassVar[str] = "catalogue-entry"
    dataset: Slug
    price_yuan: Unsigned = "0"
    quality: Quality | None = None
    certificate: Signed


def entry_card(entry: CatalogueEntry, found: ReleaseCertificate) -> DatasetCard:
    """The card of an entry.

    Args:
        found: Its certificate, from `open_certificate`.

    Raises:
        InputError: It is of a sealed question (`catalogue.sealed`).
    """
    digest: Digest = entry.certificate.digest
    terms = Terms(entry.organisation, entry.price_yuan)
    return make_card(found, digest=digest, terms=terms, quality=entry.quality)


def check_entry(found: ReleaseCertificate, *, record: DatasetRecord) -> None:
    """Refuse a certificate that is not of a dataset.

    Args:
        record: Of the dataset.

    Raises:
        ReleaseRefusedError: It has values in it (`use.values`), or tells of another measure or zone
            than the record (`use.measure`, `use.zone`).
    """
    if any(cell.value is not None for cell in found.cells):
        raise ReleaseRefusedError(
            "The certificate has values in it.",
            reason="use.values",
            remedy="Enter it without its values; the catalogue says what there is, not how much.",
        )
    check_cells(found, measures=record.measures, records=[record])
