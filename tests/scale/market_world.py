"""The market with years behind it, and every one of its requests about the next agreement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from gridsecure.circulation.kinds import KINDS
from gridsecure.market import tables
from gridsecure.market.tables import SCHEMA
from gridsecure.messages import Signed
from gridsecure.policy.packs import load_pack
from gridsecure.products.designs import standard_text
from gridsecure.store.database import open_database
from gridsecure.store.schema import migrate
from gridsecure_api.market import create_market_app
from tests.approving import signed_policy
from tests.apps.zone_apps import TestClock
from tests.grid_simulator import NOW
from tests.market import market_world as world
from tests.market.market_world import Market, market_settings
from tests.scale.filling import (
    AT,
    Size,
    count_rows,
    fill,
    fill_evidence,
    filled,
    name,
    numbers,
)
from tests.scale.work_meter import WorkMeter

OLD = "old"


def fill_market(engine: Engine, size: Size) -> None:
    """Documents of every kind, people and counters of the years before."""
    old = world.design(product=OLD)
    like: dict[str, Signed] = {
        "market-offer": world.offer(old.digest, product=OLD),
        "market-need": world.need(),
        "released-aggregate": world.aggregate(old.digest),
        "catalogue-entry": world.entry(),
        "product-design": old,
    }
    row: dict[str, object] = {}
    with filled(engine) as to:
        n = numbers(size.uploads)
        for kind in KINDS:
            text = like.get(kind, old).model_dump_json()
            is_old = kind == old.body_kind
            row = {"message": text, "at": AT, "kind": kind, "state": "in-force"}
            row |= {"digest": name(kind, n), "name": name(f"{kind} of", n), "month": "2025-01"}
            row |= {"organisation": name("organisation", n), "counterpart": name("other", n)}
            row |= {"about": name("about", n)} | ({"state": "published"} if is_old else {})
            fill(to, tables.DocumentRow, n, **row)
        row |= {"message": old.model_dump_json(), "kind": old.body_kind, "state": "published"}
        row |= {"digest": old.digest, "name": f"{OLD}/1", "organisation": OLD}
        row |= {"counterpart": "", "about": OLD, "month": ""}
        fill(to, tables.DocumentRow, numbers(1), **row)
        signed = {"message": old.model_dump_json(), "at": AT, "organisation": "somebody"}
        fill(to, tables.SignatureRow, n, **signed, digest=name("agreement", n))
        used = {"month": "2025-01", "party": name("party", n), "measure": "agreements"}
        fill(to, tables.UsageRow, n, **used, amount=1)
        n = numbers(size.seats)
        person = {"person": name("person", n), "thumbprint": name("thumb", n)}
        own = {"organisation": name("organisation", n), "public_key": "04", "roles": "consumer"}
        fill(to, tables.PersonRow, n, **person, **own)
        n = numbers(size.claims)
        fill(to, tables.CounterRow, n, name=name("counter", n), amount=1)
        fill_evidence(to, size.entries, "market.agreement")


@contextmanager
def market_at(folder: Path, size: Size, meter: WorkMeter) -> Iterator[MarketWorld]:
    """A market whose database is filled, and whose next agreement comes."""
    settings, clock = market_settings(folder), TestClock()
    settings.folder.mkdir(parents=True, exist_ok=True)
    engine = open_database(settings.database_url)
    migrate(engine, SCHEMA)
    fill_market(engine, size)
    rows = count_rows(engine)
    engine.dispose()
    with meter.counting():
        app = create_market_app(settings, clock=clock)
        meter.watch(app, "market")
        with TestClient(app) as client:
            yield MarketWorld(Market(app, client, clock), rows)


class MarketWorld:
    """The road of a product and an agreement, over HTTP."""

    def __init__(self, market: Market, rows: dict[str, int]) -> None:
        self.market, self.rows = market, rows
        self.app: FastAPI = market.app

    def run_month(self) -> None:
        """Every request of the market."""
        market = self.market
        market.enter()
        made = market.publish()
        market.take("need", world.need())
        market.take("aggregate", world.aggregate(made))
        market.take("entry", world.entry())
        agreement = market.agree()
        market.take("use", world.use(agreement))
        for person in ("bank-1", "bureau-1"):
            for kind in ("market-offer", "metered-use"):
                for side in ("everybody", "ours", "to-us"):
                    self.read(f"/documents?kind={kind}&side={side}&limit=5", person)
            self.read(f"/documents/{agreement}", person)
            self.read(f"/agreements/{agreement}/standing", person)
            self.read(f"/usage?month={NOW:%Y-%m}", person)
        for path in ("/workshop/components", "/workshop/products", "/catalogue?limit=5&zone=luohu"):
            self.read(path, "bank-1")
        for path in ("/workshop/checks", "/workshop/previews"):
            made = {"file": standard_text("vacancy-index")}
            answer = market.client.post(path, json=made, headers=market.headers("bank-1"))
            assert answer.status_code == 200, (path, answer.text)
        for path in ("/portal", "/portal.css", "/public", "/policy"):
            self.read(path, "bank-1")
        for path in ("/log/checkpoint", "/log/tile/0/000"):
            self.read(path, "bank-1")
        document = signed_policy(load_pack("strict").text).model_dump()
        headers = market.headers("data-owner", "data-owner")
        assert market.client.put("/policy", json=document, headers=headers).status_code == 200
        market.clock.now += timedelta(days=31)
        assert market.settle(f"{NOW:%Y-%m}").status_code == 200

    def read(self, path: str, person: str) -> None:
        answer = self.market.get(path, person)
        assert answer.status_code == 200, (path, answer.text)
