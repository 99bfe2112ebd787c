"""What makes a certificate a use of an agreement and of a product: who asked, of what, of where."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gridsecure.circulation.products import ProductDesign
from gridsecure.circulation.rights import DatasetRecord
from gridsecure.circulation.trade import Agreement
from gridsecure.circulation.uses import check_is_of, check_requester
from gridsecure.errors import GridSecureError
from gridsecure.messages import CellTotal, CountedPlace, ReleaseCertificate
from tests.grid_simulator import NOW
from tests.held_policy import POLICY
from tests.market import market_world as world

DESIGN = ProductDesign.parse(world.design().body)
RECORD = DatasetRecord.parse(world.dataset().body)
MERGED = [CountedPlace(zone=zone, customer_class="shop", counts=[]) for zone in ("luohu", "baoan")]
AGREEMENT = Agreement(
    provider="exchange", consumer="bank", offer="1" * 64, request="2" * 64, product="recovery",
    version=1, design="3" * 64, purpose="operations", plan="load-curve", price_fen=1, uses=1,
    begins_at=NOW.isoformat(), ends_at=(NOW + timedelta(days=1)).isoformat(),
    policy=POLICY.digest, policy_text=POLICY.text,
)  # fmt: skip


def of_product(found: ReleaseCertificate, **record: object) -> str:
    """Why a certificate is not of the product; nothing if it is."""
    try:
        check_is_of(found, DESIGN, records=[RECORD.model_copy(update=record)])
    except GridSecureError as error:
        return error.reason
    return ""


def told(zone: str = "futian", **changes: object) -> CellTotal:
    return world.cell(zone, value=None, told=True, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"plan": "bill"}, "use.purpose"),
        ({"purpose": "billing"}, "use.purpose"),
        ({"cells": [told(), told(measure="amount_fen")]}, "use.measure"),
        ({"cells": [told(measure="amount_fen").model_copy(update={"told": False})]}, ""),
        ({"cells": [told("baoan")]}, "use.zone"),
        ({"cells": [told("west", parts=[0])], "places": MERGED}, ""),
        ({"cells": [told("west", parts=[0, 1])], "places": MERGED}, "use.zone"),
    ],
)
def test_a_certificate_is_of_the_product_that_it_is_used_for(
    changes: dict[str, object], reason: str
) -> None:
    assert of_product(world.release(**changes)) == reason


def test_a_dataset_has_the_zones_and_measures_that_its_record_names() -> None:
    assert of_product(world.release(), zones=[]) == "use.zone"
    assert of_product(world.release(), measures=["amount_fen"]) == "use.zone"


def asked_by(organisation: str | None, **changes: object) -> str:
    try:
        check_requester(world.release(**changes), AGREEMENT, asker=organisation)
    except GridSecureError as error:
        return error.reason
    return ""


def test_the_consumers_people_asked_for_what_it_pays() -> None:
    assert asked_by("bank") == ""
    assert asked_by("rival") == "use.requester"
    assert asked_by(None) == "use.requester"
    # Who asks for research has a pseudonym, which is nobody's here.
    assert asked_by(None, purpose="research") == ""
