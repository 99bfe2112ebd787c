"""Every kind of document that the market takes in or signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gridsecure.circulation.entries import CatalogueEntry
from gridsecure.circulation.organisations import OrganisationRecord
from gridsecure.circulation.products import ProductDesign, ProductStep
from gridsecure.circulation.rights import DatasetRecord, RightGrant, Withdrawal
from gridsecure.circulation.trade import Agreement, Need, Offer, OfferRequest
from gridsecure.circulation.uses import MeteredUse, ReleasedAggregate, SettlementStatement
from gridsecure.errors import InputError
from gridsecure.messages import Message

KINDS: Final[Mapping[str, type[Message]]] = {
    one.kind: one
    for one in (
        OrganisationRecord,
        DatasetRecord,
        CatalogueEntry,
        RightGrant,
        ProductDesign,
        ProductStep,
        Offer,
        Need,
        OfferRequest,
        Agreement,
        MeteredUse,
        ReleasedAggregate,
        Withdrawal,
        SettlementStatement,
    )
}
KIND_NAMES: Final[Mapping[str, str]] = {
    "organisation": "主体登记",
    "dataset-record": "数据产权记录",
    "catalogue-entry": "数据目录条目",
    "right-grant": "授权",
    "product-design": "产品设计",
    "product-step": "产品流程",
    "market-offer": "供给",
    "market-need": "需求",
    "offer-request": "求购",
    "agreement": "合约",
    "metered-use": "使用计量",
    "released-aggregate": "公开结果",
    "withdrawal": "撤回",
    "settlement-statement": "结算单",
}


def kind_named(name: str) -> type[Message]:
    """The kind of a name.

    Raises:
        InputError: There is none (`market.kind`).
    """
    found = KINDS.get(name)
    if found is None:
        raise InputError(
            "The market has no documents of this kind.",
            reason="market.kind",
            remedy=f"Name one of {', '.join(KINDS)}.",
        )
    return found
