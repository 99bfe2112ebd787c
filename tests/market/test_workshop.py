"""The workshop and the catalogue over HTTP, and a composition from its file to its registration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

import pytest
from httpx import Response

from gridsecure.circulation.documents import REGISTRAR
from gridsecure.circulation.entries import check_entry
from gridsecure.circulation.recipes import file_recipe
from gridsecure.circulation.rights import DatasetRecord
from gridsecure.errors import ReleaseRefusedError
from gridsecure.messages import Signed
from gridsecure.products.checks import check_design
from gridsecure.products.components import make_library
from gridsecure.products.designs import SAMPLE_ENDING, STANDARD, read_design, standard_text
from gridsecure.products.previews import preview_design, sample_of
from gridsecure.products.registration import (
    ComplianceStatement,
    Holder,
    Ownership,
    RegistrationBundle,
    make_bundle,
)
from gridsecure.wire.workshop import ProductPreviewed, ProductProven
from tests.attacks import Attacked, attack, cut, rule
from tests.market import market_world as world
from tests.market.market_world import Market, market_at
from tests.products.small_city import JULY, city_of

NAME = "vacancy-index"
FILE = standard_text(NAME)
OTHER = FILE.replace('price_yuan = "', 'price_yuan = "1')


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with market_at(tmp_path) as found:
        found.enter()
        yield found


def ask(market: Market, path: str, text: str, *, person: str = "bank-1") -> Response:
    headers = market.headers(person)
    return market.client.post(f"/workshop/{path}", json={"file": text}, headers=headers)


def test_a_product_is_proven_and_previewed_as_by_the_command(market: Market) -> None:
    ships = market.get("/workshop/products", "bank-1").json()["products"]
    assert {one["name"]: one["file"] for one in ships}[NAME] == FILE
    proven = ask(market, "checks", FILE)
    assert proven.status_code == 200, proven.text
    found = ProductProven.model_validate_json(proven.content)
    assert (found.check.refusals, found.digest) == ([], file_recipe(FILE).digest)
    assert found.measures == ["energy_wh"]
    sample = ProductPreviewed.model_validate_json(ask(market, "previews", FILE).content).sample
    kept = (STANDARD / f"{NAME}{SAMPLE_ENDING}").read_text(encoding="utf-8")
    assert sample.model_dump() == json.loads(kept)
    refused = FILE.replace('measure = "energy"', 'measure = "nothing"')
    answer = ask(market, "checks", refused).json()
    assert {one["reason"] for part in answer["check"]["parts"] for one in part["refusals"]}
    assert answer["measures"] == []
    assert ask(market, "checks", "name = ").json()["reason"] == "product.syntax"
    assert ask(market, "checks", "#" * 40_000).status_code == 422


def test_the_component_library_is_the_one_of_the_command(market: Market) -> None:
    told = market.get("/workshop/components", "bank-1").json()["cards"]
    assert {one["card"]["name"]: one["version"] for one in told} == {
        card.name: card.version for card in make_library().cards
    }


def test_the_workshop_is_of_members(market: Market) -> None:
    for path in ("/workshop/components", "/workshop/products", "/catalogue"):
        assert market.client.get(path).status_code == 401
        assert market.client.get(path, headers=market.headers("nobody")).status_code == 403
    assert ask(market, "checks", FILE, person="nobody").status_code == 403


def test_the_catalogue_has_what_suppliers_entered_and_is_searched(market: Market) -> None:
    entered = market.take("entry", world.entry())
    (found,) = market.get("/catalogue?zone=futian&measure=energy_wh", "bank-1").json()
    assert (found["digest"], found["dataset"]) == (entered, "load")
    assert (found["card"]["owner"], found["card"]["price_yuan"]) == ("grid", "120")
    assert (found["card"]["told"], found["card"]["withheld"]) == (1, 1)
    assert market.get("/catalogue?zone=nowhere", "bank-1").json() == []
    assert market.get("/catalogue?measured=90", "bank-1").json() == []
    assert market.get("/catalogue?at=never", "bank-1").json()["reason"] == "catalogue.period"
    with pytest.raises(ReleaseRefusedError, match="values"):
        check_entry(world.release(), record=DatasetRecord.parse(world.dataset().body))
    assert market.refusal(world.entry("rival-1", number=8)) == "rights.giver"
    assert market.refusal(world.entry("grid-2")) == "conflict.document"
    market.take("elsewhere", world.dataset(dataset="west", zones=["west"]))
    assert market.refusal(world.entry(number=8, dataset="west")) == "use.zone"


@cache
def bundle(text: str = FILE) -> RegistrationBundle:
    """What registers a file; its proof and sample are those that ship."""
    design, issue, city = read_design(text), JULY, city_of(1)
    frames = preview_design(design, city=city, issue=issue)
    rights = ("hold", "process", "operate")
    return make_bundle(
        text,
        holder=Holder("示范供电局", "data-index", date(2026, 11, 30)),
        check=check_design(design, city=city, issue=issue),
        sample=sample_of(design, frames, city=city, issue=issue),
        cards=make_library().cards,
        ownership=[Ownership(right=one, holder="示范供电局", basis="合同") for one in rights],
        statements=[ComplianceStatement(clause="第六条", statement="只有合计", evidence="见样例")],
    )


def publish(market: Market) -> tuple[str, str]:
    """A composition from its design to its publication; its digest and its last step's."""
    made = market.take(
        "design",
        world.design(recipe=file_recipe(FILE), purpose="research", measures=["energy_wh"]),
    )
    step = market.take("review", world.step("grid-2", "review", of=made, after=made))
    return made, market.take("publish", world.step("exchange-1", "publish", of=made, after=step))


def registration(made: str, last: str, signed: Signed) -> Signed:
    return world.step(
        REGISTRAR, "register", of=made, after=last, evidence=signed.digest, bundle=signed
    )


def test_a_composition_is_registered_with_the_bundle_of_its_file(market: Market) -> None:
    made, last = publish(market)
    bare = world.step(REGISTRAR, "register", of=made, after=last, evidence="5" * 64)
    assert market.refusal(bare) == "product.bundle"
    by_stranger = registration(made, last, world.sign("rival-1", bundle()))
    assert market.refusal(by_stranger) == "product.registrant"
    market.take("register", registration(made, last, world.sign("grid-1", bundle())))
    assert market.state("design", "bank-1") == "registered"


@attack(
    "a product registered with the bundle of another file",
    rule(
        "A composition is registered with the bundle of the file that it was published with.",
        "product.bundle",
        cut(
            "gridsecure.circulation.recipes:check_registration",
            "sm3_hex(bundle.design.encode()) != design.recipe.digest",
            "False",
        ),
    ),
)
def test_a_bundle_of_another_file_registers_nothing(market: Market, attacked: Attacked) -> None:
    made, last = publish(market)
    signed = world.sign("grid-1", bundle(OTHER))
    attacked.ends(market.bring(registration(made, last, signed)).json().get("reason"))
