"""The data market as a reader meets it, in memory: documents that are signed as real ones are."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from threading import Lock
from typing import Any

import httpx

from gridsecure.circulation.entries import CatalogueEntry, entry_card
from gridsecure.circulation.trade import Agreement
from gridsecure.circulation.uses import SettlementStatement, UseLine
from gridsecure.messages import ReleaseCertificate, Signed
from gridsecure.products.checks import GroupCheck, PartCheck, ProductCheck, Refusal
from gridsecure.products.designs import list_standard, read_design, standard_text
from gridsecure.products.previews import ProductSample, SampledPart
from gridsecure_api import market_workshop
from tests.held_policy import POLICY
from tests.market import market_world as world

READERS = frozenset({"member", "regulator"})
_MAKING = Lock()
REFUSED = "refused"
"""A word in a product's file for which it is refused."""


def papers() -> dict[str, list[tuple[Signed, str, str, str, int | None]]]:
    """By kind: the document, whose it is, to whom, its state, its uses.

    Pages ask for several kinds at once, and all of them are to be of one making.
    """
    with _MAKING:
        return _papers()


@cache
def _papers() -> dict[str, list[tuple[Signed, str, str, str, int | None]]]:
    made = world.design()
    reviewed = world.step("grid-2", "review", of=made.digest, after=made.digest)
    offer = world.offer(made.digest)
    request = world.request(offer.digest)
    agreement = world.sign("bank-1", agreed(offer, request, made))
    use = world.use(agreement.digest)
    line = UseLine(
        release_id=f"{1:032x}", certificate="5" * 64, released_at=world.NOW.isoformat(),
        price_fen=world.PRICE,
    )  # fmt: skip
    statement = SettlementStatement(
        agreement=agreement.digest, provider="exchange", consumer="bank", month="2026-07",
        lines=[line], total_fen=world.PRICE, issued_at=world.NOW.isoformat(),
    )  # fmt: skip
    return {
        "organisation": [(world.record("grid"), "registrar", "grid", "in-force", None)],
        "dataset-record": [(world.dataset(), "grid", "", "in-force", 1)],
        "catalogue-entry": [(world.entry(), "grid", "", "in-force", None)],
        "right-grant": [(world.grant("process", "workshop"), "grid", "workshop", "in-force", None)],
        "product-design": [(made, "workshop", "grid", "published", None)],
        "product-step": [(reviewed, "grid", "workshop", "in-force", None)],
        "market-offer": [(offer, "exchange", "", "in-force", None)],
        "market-need": [(world.need(), "bank", "", "in-force", None)],
        "offer-request": [(request, "bank", "exchange", "in-force", None)],
        "agreement": [(agreement, "exchange", "bank", "concluded", 1)],
        "metered-use": [(use, "bank", "exchange", "in-force", None)],
        "settlement-statement": [
            (world.sign("exchange-1", statement), "exchange", "bank", "in-force", None)
        ],
    }


def agreed(offer: Signed, request: Signed, made: Signed) -> Agreement:
    """The agreement of an offer and a request."""
    return Agreement(
        provider="exchange", consumer="bank", offer=offer.digest, request=request.digest,
        product="recovery", version=1, design=made.digest, purpose="operations", plan="load-curve",
        price_fen=world.PRICE, uses=2, begins_at=world.NOW.isoformat(), ends_at=world.LATER,
        policy=POLICY.digest, policy_text=POLICY.text,
    )  # fmt: skip


def answer(request: httpx.Request, *, role: str) -> httpx.Response | None:
    """What the market answers; None for what is another service's."""
    path = request.url.path
    routes = {
        "/documents": lambda: told(request.url.params["kind"]),
        "/catalogue": cards,
        "/workshop/components": lambda: market_workshop._components().model_dump(mode="json"),
        "/workshop/products": products,
        "/workshop/checks": lambda: proven(request.content.decode()),
        "/workshop/previews": lambda: sample(request.content.decode()),
    }
    if path not in routes:
        return None
    if not READERS & set(role.split("+")):
        return httpx.Response(
            403, json={"reason": "authenticity.refused", "detail": "Refused.", "remedy": ""}
        )
    return httpx.Response(200, json=routes[path]())


def told(kind: str) -> list[dict[str, Any]]:
    """Documents of a kind."""
    return [
        {
            "digest": signed.digest, "kind": kind, "name": signed.digest, "organisation": of,
            "counterpart": to, "state": state, "at": datetime.now(UTC).isoformat(), "uses": uses,
            "signed": [signed.model_dump()],
        }
        for signed, of, to, state, uses in papers().get(kind, [])
    ]  # fmt: skip


def cards() -> list[dict[str, Any]]:
    """The catalogue."""
    (found,) = papers()["catalogue-entry"]
    said = CatalogueEntry.parse(found[0].body)
    card = entry_card(said, ReleaseCertificate.parse(said.certificate.body))
    return [{"digest": found[0].digest, "dataset": said.dataset, "card": card.model_dump()}]


def products() -> dict[str, Any]:
    """Products that ship."""
    return market_workshop._standard().model_dump(mode="json")


def proven(content: str) -> dict[str, Any]:
    """A proof of one part; refused where the file says so."""
    design = read_design(standard_text(list_standard()[0]))
    refusal = Refusal(field="parts.0.question", reason="query.shape", message="No.", remedy="Mend.")
    part = PartCheck(
        name="part-1",
        approvals=["data-owner"],
        groups=[
            GroupCheck(values=["household"], customers=120, minimum=15, is_told=True),
            GroupCheck(values=["factory"], customers=3, minimum=None, is_told=False),
        ],
        refusals=[refusal] if REFUSED in content else [],
    )
    check = ProductCheck(
        product=design.name, version=1, design=design.digest, policy=POLICY.digest,
        period="2026-07", city={"meters": 320}, parts=[part],
    )  # fmt: skip
    return {"digest": "7" * 64, "measures": ["energy_wh"], "check": check.model_dump(mode="json")}


def sample(_content: str) -> dict[str, Any]:
    """A sample of one part."""
    part = SampledPart(
        name="part-1", columns=["zone", "value"], rows=[["zone-9", "12.5"]], of=31, digest="8" * 64
    )
    made = ProductSample(
        product="index", version=1, design="9" * 64, period="2026-07", city={"meters": 320},
        parts=[part],
    )  # fmt: skip
    return {"digest": "8" * 64, "sample": made.model_dump(mode="json")}
