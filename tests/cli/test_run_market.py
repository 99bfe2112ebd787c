"""The example of a served run's market: every document is taken in, and read by its people."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gridsecure.circulation.documents import REGISTRAR
from gridsecure.cli.home import USERS
from gridsecure.cli.market_stand import OFFICE
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.run_market import ORGANISATIONS, open_market
from tests.apps.zone_apps import TestClock
from tests.market import market_world as world
from tests.market.market_world import Market, key_of, market_at


class Caller:
    """Calls a market in memory as people of a run; of the key authority it has one release."""

    def __init__(self, market: Market) -> None:
        self.market = market
        people = {user: key_of(user) for user in USERS}
        self.home = SimpleNamespace(people=people, keys={OFFICE: key_of(REGISTRAR)})

    def call(self, user: str, service: str, method: str, path: str, **options: Any) -> Any:
        if service == "authority":
            cells = [world.cell(), world.cell("luohu", members=3, value=None)]
            made = world.certificate(1, plan="bill", purpose="billing", cells=cells).model_dump()
            listed = {"release_id": "1", "plan": "bill", "released_at": "2026-08-01"}
            return [listed] if path == "/releases" else made
        roles = USERS[user]
        headers = self.market.headers(user, *roles)
        answer = self.market.client.request(method, path, headers=headers, **options)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()


def test_the_example_stands_in_the_market(tmp_path: Path, monkeypatch: Any) -> None:
    contracts = tmp_path / "contracts.csv"
    clock = TestClock()
    monkeypatch.setattr("gridsecure.cli.market_stand.utc_now", lambda: clock.now)
    monkeypatch.setattr(
        "gridsecure.cli.market_stand.load_contracts",
        lambda _path: {"zone": ["futian", "luohu"]},
    )
    with market_at(tmp_path / "market", clock=clock) as market:
        client: Any = Caller(market)
        told = open_market(client, MeterFiles("2026-07", (), contracts, 0))
        assert told.startswith(f"{len(ORGANISATIONS)} organisations")
        public = market.client.get("/public").json()
        assert [one["product"] for one in public["offers"]] == ["recovery-index"]
        assert [one["title_zh"] for one in public["needs"]] == ["各区逐月空置率"]
        (card,) = client.call("regulator", "market", "GET", "/catalogue")
        assert (card["card"]["owner"], card["card"]["price_yuan"]) == ("grid", "120")
