"""The data market of a served run: a few organisations, and a small example that stands in it.

The utility supplies and designs, with two people, of whom one reviews what the other designed; the
exchange operates; the firm consumes; the bureau supervises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gridsecure.circulation.entries import CatalogueEntry
from gridsecure.circulation.recipes import file_recipe
from gridsecure.circulation.trade import Need
from gridsecure.cli.market_stand import YEAR, MarketStand, Organisations, after, read_zones
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.services_client import ServicesClient
from gridsecure.messages import Signed
from gridsecure.products.designs import standard_text

DATASET: Final = "month-of-the-city"
PRODUCT: Final = "recovery-index"
ORGANISATIONS: Final[Organisations] = {
    "grid": ("Demonstration utility", "示范供电局", ["supplier", "processor"],
             ("utility", "reviewer")),
    "data-exchange": ("Demonstration data exchange", "示范数据交易所", ["operator"], ("exchange",)),
    "firm": ("Demonstration analyst firm", "示范分析公司", ["consumer"], ("firm-analyst",)),
    "bureau": ("Demonstration regulator", "示范监管局", ["regulator"], ("regulator",)),
}  # fmt: skip
_PRICE_FEN: Final = 150_000
_BILL: Final = "bill"


def open_market(client: ServicesClient, files: MeterFiles) -> str:
    """Bring the example to a market that is new; what it has.

    Raises:
        GridSecureError: A service refused.
    """
    stand = MarketStand(client, ORGANISATIONS)
    stand.enter_organisations()
    stand.hold(
        DATASET,
        ("Released totals of the demonstration city", "示范城市已发布合计"),
        zones=read_zones(files),
        rights=(("grid", "process"), ("data-exchange", "operate")),
    )
    stand.offer(
        DATASET,
        PRODUCT,
        ("Recovery index", "复工电力指数"),
        recipe=file_recipe(standard_text(PRODUCT)),
        price_fen=_PRICE_FEN,
    )
    need = Need(
        **stand.by("firm-analyst"),
        title="Vacancy of districts, month by month",
        title_zh="各区逐月空置率",
        valid_until=after(YEAR),
    )
    stand.send(need, "firm-analyst")
    for certificate in _bill_certificates(client):
        entry = CatalogueEntry(
            **stand.by("utility"), dataset=DATASET, price_yuan="120", certificate=certificate
        )
        stand.send(entry, "utility")
    return f"{len(ORGANISATIONS)} organisations, {stand.sent} documents"


def _bill_certificates(client: ServicesClient) -> Iterator[Signed]:
    """The newest release of bills, without its values."""
    listed = client.call("billing", "authority", "GET", "/releases")
    found = [one for one in listed if one["plan"] == _BILL]
    if not found:
        return  # nothing was told of so few meters
    newest = max(found, key=lambda one: str(one["released_at"]))
    answer = client.call("billing", "authority", "GET", f"/releases/{newest['release_id']}")
    bare = {name: answer[name] for name in Signed.model_fields if name in answer}
    yield Signed(**bare)
