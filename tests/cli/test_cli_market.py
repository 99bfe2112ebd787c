"""`gridsecure market`: from a document in a file to a settlement, beside a running market."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from gridsecure.circulation.documents import REGISTRAR
from gridsecure.circulation.kinds import KIND_NAMES, KINDS
from gridsecure.circulation.products import Recipe
from gridsecure.circulation.recipes import question_digest
from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.cli.market_files import check_draft
from gridsecure.errors import GridSecureError
from gridsecure.products.designs import standard_text
from gridsecure_api.identity import create_identity_app
from gridsecure_api.identity_zone import ISSUER_KEY
from gridsecure_api.settings import IdentitySettings, PersonEntry
from tests.apps.zone_apps import TestClock, place_key, point
from tests.cli.test_cli_keys import Carrier
from tests.grid_simulator import NOW
from tests.identity.identity_world import keys as identity_keys
from tests.identity.identity_world import suite
from tests.market import market_world as world
from tests.market.market_world import Market, key_of, market_at

MONTH = f"{NOW:%Y-%m}"
PEOPLE = ("workshop-1", "exchange-1", "bank-1", REGISTRAR)
Run = Callable[..., Result]


def identity_settings(folder: Path) -> IdentitySettings:
    """An identity service that signs in people of the market."""
    made = identity_keys()
    place_key(folder, key_of("identity"))
    place_key(folder, made.issuer.to_bytes(suite()), name=ISSUER_KEY)
    return IdentitySettings(
        folder=folder,
        statements=tuple(one.model_dump_json() for one in made.statements),
        utility_public_key=point(made.staters["utility"]),
        regulator_public_key=point(made.staters["regulator"]),
        periods=("2026",),
        people=tuple(
            PersonEntry(
                name=one,
                roles=("operator" if one == REGISTRAR else "member",),
                public_key=point(key_of(one)),
            )
            for one in PEOPLE
        ),
    )


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    """A market with a published product, and the keys of its people in files."""
    for person in PEOPLE:
        path = tmp_path / f"{person}.key"
        path.write_bytes(key_of(person).to_bytes())
        path.chmod(0o600)
    clock = TestClock()
    identity = create_identity_app(identity_settings(tmp_path / "identity"), clock=clock)
    with market_at(tmp_path / "market", clock=clock) as found, TestClient(identity):
        carrier = Carrier({"identity": identity, "market": found.app})
        monkeypatch.setattr(online, "utc_now", lambda: found.clock.now)
        monkeypatch.setattr(online, "open_connection", lambda: httpx.Client(transport=carrier))
        monkeypatch.chdir(tmp_path)
        found.enter()
        found.publish()
        yield found


def run(*words: str, code: int = 0) -> str:
    """What a command prints."""
    done = CliRunner(env={"COLUMNS": "300"}).invoke(command, ["market", *words])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.output


def at(person: str) -> list[str]:
    services = ["--identity", "http://identity", "--market", "http://market"]
    return [*services, "--key", f"{person}.key"]


def bring(person: str, **fields: object) -> str:
    """Write a document, sign it and send it; its digest."""
    Path("document.json").write_text(json.dumps(world.by(person) | fields), encoding="utf-8")
    signed = f"{person}.{fields['kind']}.json"
    run("sign", "document.json", "--key", f"{person}.key", "--output", signed)
    assert Path(signed).stat().st_mode & 0o077 == 0, "terms and notes are for two alone"
    said = run("send", signed, *at(person)).split()
    return said[2]


def test_an_agreement_is_made_with_the_command_alone(market: Market) -> None:
    made = market.digests["design"]
    offer = bring(
        "exchange-1",
        kind="market-offer",
        product="recovery",
        version=1,
        design=made,
        price_fen=990,
        valid_until=world.LATER,
    )
    assert offer in run("list", "market-offer", *at("bank-1"), "--side", "everybody")
    request = bring(
        "bank-1",
        kind="offer-request",
        offer=offer,
        uses=3,
        begins_at=NOW.isoformat(),
        ends_at=world.LATER,
    )
    drafted = run(
        *("draft", "--offer", offer, "--request", request, *at("bank-1"), "--output", "draft.json")
    )
    assert "3 uses at 990 fen" in drafted
    for output in ("draft.json", "draft"):  # it, or the policy beside it, is there
        words = ("--offer", offer, "--request", request, *at("bank-1"), "--output", output)
        assert "office.file" in run("draft", *words, code=1)
    for person, state in (("bank-1", "proposed"), ("exchange-1", "concluded")):
        run("sign", "draft.json", "--key", f"{person}.key", "--output", f"{person}.json")
        said = run("send", f"{person}.json", *at(person))
        assert said.strip().endswith(f"is {state}.")
    agreement = said.split()[2]
    shown = run("show", agreement, *at("bank-1"))
    assert shown.count("signed by") == 2
    assert "policy_text" not in shown
    assert world.POLICY.text.splitlines()[0] in shown
    assert world.POLICY.digest in drafted
    assert Path("draft.policy.toml").read_text(encoding="utf-8") == world.POLICY.text
    market.take("use", world.use(agreement))
    market.clock.advance(days=31)
    month = ["--agreement", agreement, "--month", MONTH]
    told = json.loads(run("settle", *month, *at("exchange-1"), "--format", "json"))
    assert json.loads(told["signed"][0]["body"])["total_fen"] == 990
    used = CliRunner().invoke(
        command, ["usage", "show", "--month", MONTH, *at("bank-1"), "--format", "json"]
    )
    assert ("fen", 990) in [(one["measure"], one["amount"]) for one in json.loads(used.stdout)]
    checked = CliRunner().invoke(command, ["usage", "check", "market", "--zone", "market"])
    assert "reconcile" in checked.stdout


def test_a_market_that_drafts_other_terms_is_found_out(market: Market) -> None:
    market.take("offer", world.offer(market.digests["design"]))
    market.take("request", world.request(market.digests["offer"]))
    draft = market.draft()
    digests = (draft.offer, draft.request, draft.design)
    told = {one: market.get(f"/documents/{one}", "bank-1").json() for one in digests}
    check_draft(draft, told)
    for changes, reason in (
        ({"price_fen": 1}, "agreement.terms"),
        ({"offer": draft.request}, "market.proof"),
    ):
        with pytest.raises(GridSecureError) as refused:
            check_draft(draft.model_copy(update=changes), told)
        assert refused.value.reason == reason
    with pytest.raises(GridSecureError) as other:
        check_draft(draft, told | {draft.offer: told[draft.request]})
    assert other.value.reason == "market.proof"


def test_what_is_refused_says_why(market: Market) -> None:
    Path("document.json").write_text("[]", encoding="utf-8")
    words = ("sign", "document.json", "--key", "bank-1.key", "--output", "signed.json")
    assert "market.file" in run(*words, code=1)
    Path("document.json").write_text('{"kind": "poem"}', encoding="utf-8")
    assert "market.kind" in run(*words, code=1)
    hidden = market.digests["review"]
    assert "not-found.document" in run("show", hidden, *at("bank-1"), code=1)


def test_kinds_forms_and_recipes_need_no_market() -> None:
    assert json.loads(run("kinds", "--format", "json"))["kinds"] == dict(KIND_NAMES)
    assert KIND_NAMES.keys() == KINDS.keys()
    for kind in KINDS:
        assert json.loads(run("form", kind))["properties"]
    recipe = json.loads(run("recipe", "vacancy"))
    assert recipe["digest"] == question_digest("vacancy")
    assert json.loads(run("recipe", "bill", "--plan"))["recipe"] == "plan"
    assert "query.pack" in run("recipe", "nothing", code=1)
    made = Recipe(**json.loads(run("recipe", "vacancy-index", "--file")))
    assert (made.recipe, made.file) == ("composition", standard_text("vacancy-index"))


def test_a_catalogue_is_fetched_and_verified_here(market: Market) -> None:
    market.take("entry", world.entry())
    pinned = point(key_of("authority"))
    words = ["fetch", "found.json", *at("bank-1"), "--authority-key", pinned]
    done = CliRunner().invoke(command, ["catalogue", *words])
    assert done.exit_code == 0, done.output
    (card,) = json.loads(Path("found.json").read_text(encoding="utf-8"))["cards"]
    assert (card["owner"], card["price_yuan"], card["told"]) == ("grid", "120", 1)
    words[-1] = point(key_of("rival-1"))
    assert CliRunner().invoke(command, ["catalogue", *words]).exit_code == 1
