"""Security levels: at each of them, each switch refuses the weaker setting where it is set."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from typer.testing import CliRunner

from gridsecure.builds import measure_build
from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import AuthenticityError, InputError
from gridsecure.key_authority.checker.held_policies import policy_shelf
from gridsecure.key_authority.checker.tables import SCHEMA
from gridsecure.key_authority.vault.held_policies import VaultPolicies
from gridsecure.key_authority.vault.key_lock import KeyLock
from gridsecure.key_authority.vault.splitting import (
    SplitOrder,
    keep_splitting,
    keep_vault_key,
    keys_folder,
    split_key,
)
from gridsecure.messages import sign_message
from gridsecure.policy.levels import (
    SWITCHES,
    Level,
    find_level,
    find_policy_shortfalls,
    find_weaker_switches,
    list_levels,
    load_level,
    open_level,
)
from gridsecure.policy.packs import list_packs, load_pack
from gridsecure.sandbox import SandboxWish
from gridsecure.store.database import open_database
from gridsecure.store.schema import migrate
from gridsecure.wire.attested import AttestedTransport
from gridsecure.wire.service_tokens import ServiceLoginClient
from gridsecure.wire.services import About, LevelStated
from gridsecure.wire.words import ServiceWords
from gridsecure_api.authority import create_authority_app
from gridsecure_api.own_build import open_build
from gridsecure_api.peer_connections import connecting
from gridsecure_api.settings import BuildSettings, WorkerSettings
from gridsecure_api.worker import work
from gridsecure_api.worker_sandboxes import hold_sandbox
from tests.approving import APPROVERS, signed_policy, signing_in
from tests.apps.zone_apps import (
    TestClock,
    authority_settings,
    gateway_app,
    identity_app,
    platform_app,
    point,
)
from tests.attacks import Attacked, attack, cut, rule
from tests.custodians import custodian
from tests.grid_simulator import NOW, grid_keys

Attempt = Callable[[], object]
LEVELS = list_levels()
POLICY_SWITCHES = ("approvals", "groups", "noise")
KEPT_BY = {"L1": "small-demonstration", "L2": "uniform-15", "L3": "strict-noise"}
"""A policy that ships and keeps each level."""
MAKER = generate_private_key()
NOT_SWITCHED = {("L1", "noise"), ("L2", "noise"), ("L1", "sandbox"), ("L1", "attestation")}
"""What a level does not ask for, so that nothing is weaker."""
DIGESTS = {
    "L1": "ce337e12894d73c7896ffc8815da5cbf7541007d90f78d80171178b6d6a16738",
    "L2": "398b754f94778447305a30fad15960adb171b771837fe545eee7e633f6d87808",
    "L3": "fa3a5df27d6d32380056b8fbc6d006a18a60044d87856915117175206855c0ce",
}
"""Certificates name them for ever: what is to be changed becomes a level of another version."""


def renamed(text: str) -> str:
    """A pack as a policy of one's own."""
    return re.sub(r'^name = ".*"', 'name = "own"', text, count=1, flags=re.MULTILINE)


def now() -> datetime:
    return NOW


def released(folder: Path, level: str) -> BuildSettings:
    """Settings of a service that runs a build of its maker's."""
    path = folder / "build.json"
    path.write_text(sign_message(measure_build(), key=MAKER).model_dump_json())
    return BuildSettings(level=level, maker_public_key=point(MAKER), build_statement=path)


def weaker_text(name: str, switch: str) -> str:
    """The policy that keeps a level, weaker in one switch."""
    text = renamed(load_pack(KEPT_BY[name]).text)
    both = '["data-owner", "privacy-officer"]'
    if switch == "approvals":
        if name == "L3":
            return text.replace(f"approvals = {both}\n", f"approvals = {both}\nstanding = {both}\n")
        given = both if name == "L2" else '["data-owner"]'
        fewer = '["data-owner"]' if name == "L2" else '["privacy-officer"]'
        return text.replace(given, fewer)
    if switch == "groups":
        least = {"L1": 5, "L2": 15, "L3": 100}[name]
        return text.replace('"preview", ', "").replace(
            f"minimum = {least}\n", f"minimum = {least - 1}\n"
        )
    return re.sub(r"\[private\]\nepsilon = .*\nbudget = .*\n", "", text)


@contextmanager
def database(folder: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{folder / 'zone.db'}")
    migrate(engine, SCHEMA)
    yield engine
    engine.dispose()


def split_among(folder: Path, custodians: int, *, needed: int) -> None:
    """A vault's folder, its key split so."""
    people = [custodian(f"keeper-{number}") for number in range(custodians)]
    new = split_key(SplitOrder(people, needed, generate_private_key()), created_at=NOW)
    keys_folder(folder, new.splitting).mkdir(mode=0o700, parents=True)
    keep_vault_key(keys_folder(folder, new.splitting), new.key)
    keep_splitting(folder, new.splitting, key=new.key)


def hold_policy(folder: Path, level: Level, text: str, *, is_vault: bool) -> None:
    """Have a checker, or a vault, take a policy in that both officers signed."""
    document = signed_policy(text)
    if is_vault:
        folder.mkdir(exist_ok=True)
        kept = VaultPolicies(signing_in(folder), clock=lambda: NOW, level=level)
        kept.hold(document, approvers=APPROVERS)
        return
    with database(folder) as engine:
        shelf = policy_shelf(engine, level)
        shelf.hold(document, approvers=APPROVERS, now=NOW, by="anna")


def policies(folder: Path, level: Level, text: str) -> Iterator[Attempt]:
    yield lambda: hold_policy(folder, level, text, is_vault=False)
    yield lambda: hold_policy(folder / "vault", level, text, is_vault=True)


def custodies(folder: Path, level: Level, *given: tuple[int, int, float]) -> Iterator[Attempt]:
    for number, (custodians, needed, hours) in enumerate(given):
        if custodians >= 3 and needed >= 2:  # no key is split otherwise at all
            place = folder / f"vault-{number}"
            split_among(place, custodians, needed=needed)
            yield partial(KeyLock, place, hours=hours, clock=now, uptime=float, level=level)


def as_wanted(folder: Path, level: Level, switch: str) -> Iterator[Attempt]:
    """How a switch is set in each place where it is, just as the level wants it."""
    if switch in POLICY_SWITCHES:
        yield from policies(folder, level, renamed(load_pack(KEPT_BY[level.name]).text))
    elif switch == "custody":
        own = level.custody
        yield from custodies(folder, level, (own.custodians, own.needed, own.unlocked_hours))
    elif switch == "sandbox":
        wish: SandboxWish = "required" if level.sandbox.required else "off"
        yield lambda: hold_sandbox(level, wish, whose="it")
    else:
        pinned = level.attestation.pinned
        yield lambda: open_build(
            released(folder, level.name) if pinned else BuildSettings(), whose="it"
        )


def weaker(folder: Path, level: Level, switch: str) -> Iterator[Attempt]:
    """The same, weaker in one thing that the level wants of the switch."""
    name = level.name
    if switch in POLICY_SWITCHES:
        yield from policies(folder, level, weaker_text(name, switch))
    elif switch == "custody":
        own = level.custody
        yield from custodies(
            folder,
            level,
            (own.custodians - 1, min(own.needed, own.custodians - 2), 1),
            (own.custodians, own.needed - 1, 1),
            (own.custodians, own.needed, own.unlocked_hours + 1),
        )
    elif switch == "sandbox":
        own = released(folder, name).model_dump()
        yield lambda: platform_app(folder / "platform", **own, sandbox="available")
        checker = authority_settings(folder / "authority", vault=folder / "v", **own)
        yield lambda: create_authority_app(checker, clock=TestClock())
        yield lambda: gateway_app(folder / "gateway", **own, sandbox="available")
        worker = WorkerSettings(database="sqlite://", objects="file:///x", level=name)
        yield lambda: work(worker, until=Event())
    else:
        yield lambda: platform_app(folder / "platform", level=name)
        yield lambda: identity_app(folder / "identity", level=name)
        checker = authority_settings(folder / "authority", vault=folder / "v", level=name)
        yield lambda: create_authority_app(checker, clock=TestClock())
        yield lambda: open_build(BuildSettings(level=name), whose="the vault")


CELLS = [(level, switch) for level in LEVELS for switch in SWITCHES]


@pytest.mark.parametrize(("name", "switch"), CELLS)
def test_every_switch_of_every_level_refuses_what_is_weaker(
    tmp_path: Path, name: str, switch: str
) -> None:
    level = load_level(name)
    (tmp_path / "wanted").mkdir()
    for attempt in as_wanted(tmp_path / "wanted", level, switch):
        attempt()
    if (name, switch) in NOT_SWITCHED:
        return  # held to by the test below
    (tmp_path / "weaker").mkdir()
    refused = 0
    for attempt in weaker(tmp_path / "weaker", level, switch):
        with pytest.raises(InputError, match=f"{switch}: ") as below:
            attempt()
        assert below.value.reason == "level.below"
        refused += 1
    assert refused


def test_what_a_level_does_not_switch_is_what_the_next_one_does() -> None:
    one, two, three = map(load_level, LEVELS)
    assert {(level.name, "noise") for level in (one, two) if level.noise is None} | {
        (one.name, switch)
        for switch, is_on in (
            ("sandbox", one.sandbox.required), ("attestation", one.attestation.pinned),
        )
        if not is_on
    } == NOT_SWITCHED  # fmt: skip
    assert find_weaker_switches(one, two) == [
        "approvals", "groups", "custody", "sandbox", "attestation",
    ]  # fmt: skip
    assert find_weaker_switches(two, three) == ["approvals", "groups", "noise", "custody"]
    assert find_weaker_switches(three, one) == find_weaker_switches(three, two) == []


def test_the_text_of_a_level_that_shipped_stays_as_it_is() -> None:
    assert {name: load_level(name).digest for name in LEVELS} == DIGESTS
    assert find_level(DIGESTS["L2"]) is load_level("L2")
    assert find_level("") is find_level("0" * 64) is None


def test_which_policies_that_ship_keep_which_level() -> None:
    kept = {
        pack: [
            name for name in LEVELS if not find_policy_shortfalls(load_level(name), load_pack(pack))
        ]
        for pack in list_packs()
    }
    assert kept == {
        "billing-office": ["L1", "L2"],
        "cn": ["L1", "L2"],
        "small-demonstration": ["L1"],
        "strict": ["L1", "L2"],
        "strict-noise": ["L1", "L2", "L3"],
        "uniform-15": ["L1", "L2"],
    }


@attack(
    "officers put a policy in force that is below their deployment's level",
    rule(
        "No policy below the level is taken in, whoever signed it.",
        "level.below",
        cut(
            "gridsecure.key_authority.vault.held_policies:VaultPolicies._hold_to_level",
            "if self.level is not None:",
            "if False:",
        ),
    ),
)
def test_officers_sign_below_the_level(tmp_path: Path, attacked: Attacked) -> None:
    text = weaker_text("L2", "groups")
    attacked.tries(lambda: hold_policy(tmp_path / "vault", load_level("L2"), text, is_vault=True))


def test_a_policy_that_was_taken_in_before_the_level_stops_the_start(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        given = {"approvers": APPROVERS, "now": NOW}
        policy_shelf(engine).open("small-demonstration", **given)
        assert (
            policy_shelf(engine, load_level("L1")).open("", **given).name == "small-demonstration"
        )
        with pytest.raises(InputError, match=r"level\.below"):
            policy_shelf(engine, load_level("L2")).open("", **given)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name = "L9"', "level.syntax"),
        ("no toml", "level.syntax"),
        (load_level("L2").text.replace('[groups."*"]', "[groups.shop]"), "level.syntax"),
        (load_level("L3").text.replace('epsilon = "1"', 'epsilon = "much"'), "level.syntax"),
        (load_level("L2").text + "\n[more]\n", "level.syntax"),
    ],
    ids=["parts missing", "no TOML", "other classes unsaid", "no epsilon", "unknown part"],
)
def test_what_is_no_level_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(InputError) as refused:
        open_level(str(file))
    assert refused.value.reason == reason
    with pytest.raises(InputError, match=r"level\.unknown"):
        open_level("L9")


def test_a_level_of_ones_own_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(load_level("L2").text.replace("minimum = 15", "minimum = 20"))
    own = open_level(str(file))
    assert own is not None
    assert find_level(own.digest) is None
    assert find_weaker_switches(load_level("L2"), own) == ["groups"]
    assert open_level("") is None


# --- between services ----------------------------------------------------------------------------


def peer_at(level: Level | None) -> Callable[[httpx.Request], httpx.Response]:
    """A service that says it has a level."""
    about = About(
        zone="platform", title="t", description="d", version="1", sm2_engines=[], logs={},
        level=level and LevelStated(name=level.name, digest=level.digest),
    )  # fmt: skip

    def answer(request: httpx.Request) -> httpx.Response:
        content = about.model_dump_json() if request.url.path == "/about" else "taken"
        return httpx.Response(200, content=content)

    return answer


def sent(peer: Level | None, *, own: Level) -> str:
    carrier = AttestedTransport(
        httpx.MockTransport(peer_at(peer)),
        maker=None,
        ticks=lambda: 0.0,
        words=ServiceWords("service"),
        level=own,
    )
    with httpx.Client(transport=carrier, base_url="http://peer") as http:
        return http.post("/uploads", content=b"something").text


SAME_LEVEL = rule(
    "Services work together under one security level.",
    "level.differs",
    cut("gridsecure.wire.stated_levels:check_level", "stated != own.digest", "False"),
)


@attack("a platform of a lower level is handed a gateway's uploads", SAME_LEVEL)
def test_nothing_is_sent_to_a_service_of_another_level(attacked: Attacked) -> None:
    own = load_level("L2")
    assert sent(own, own=own) == "taken"
    attacked.tries(lambda: sent(load_level("L1"), own=own))


def test_a_service_without_a_level_is_of_another_one() -> None:
    with pytest.raises(AuthenticityError, match=r"level\.differs"):
        sent(None, own=load_level("L1"))


def test_a_service_connects_so_where_it_has_a_level() -> None:
    own = open_build(BuildSettings(level="L1"), whose="it")
    with connecting(own)("http://peer", None) as http:
        assert type(http._transport) is AttestedTransport


def test_the_identity_service_gives_tokens_within_one_level_and_says_which(tmp_path: Path) -> None:
    clock, level = TestClock(), load_level("L1")
    app = identity_app(tmp_path / "identity", clock=clock, level="L1")
    with TestClient(app) as client:
        login = partial(ServiceLoginClient, client, grid_keys().gateway, clock, "")
        assert login(level.digest).token("platform")
        for other in ("", load_level("L2").digest):
            with pytest.raises(AuthenticityError, match=r"authenticity\.login-refused"):
                login(other).token("platform")
        stated = client.get("/about").json()["level"]
    assert stated == {"name": "L1", "digest": level.digest}


# --- the command ---------------------------------------------------------------------------------


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, ["level", *words])
    return done.exit_code, done.output


def test_the_command_shows_and_explains_levels() -> None:
    assert run("show", "L3", "--text") == (0, load_level("L3").text)
    _, listed = run("list", "--format", "json")
    assert [one["digest"] for one in json.loads(listed)["levels"]] == list(DIGESTS.values())
    _, told = run("explain", "L3", "--policy", "strict", "--format", "json")
    said = json.loads(told)
    assert [one["switch"] for one in said["switches"]] == list(SWITCHES)
    assert {one["switch"] for one in said["shortfalls"]} == {"approvals", "noise"}
    assert "each release by itself" in run("show", "L3")[1]
    assert "takes standing" in run("explain", "L3", "--policy", "strict")[1]


def test_the_command_checks_policies_and_custody() -> None:
    assert run("check", "L3", "--policy", "strict-noise")[0] == 0
    code, told = run("check", "L2", "--policy", "small-demonstration", "--format", "json")
    assert code == 1
    assert {one["switch"] for one in json.loads(told)["checked"][0]["shortfalls"]} == {
        "approvals", "groups",
    }  # fmt: skip
    assert run("check", "L3", "--custodians", "5", "--needed", "3", "--hours", "4")[0] == 0
    assert run("check", "L3", "--custodians", "5", "--needed", "3")[0] == 1
    assert "level.nothing" in run("check", "L2")[1]


def test_the_command_asks_services_for_their_level(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = httpx.Client(transport=httpx.MockTransport(peer_at(load_level("L1"))))
    monkeypatch.setattr(online, "open_connection", lambda: peer)
    assert run("check", "L1", "http://platform")[0] == 0
    peer = httpx.Client(transport=httpx.MockTransport(peer_at(load_level("L1"))))
    monkeypatch.setattr(online, "open_connection", lambda: peer)
    code, told = run("check", "L2", "http://platform", "--maker", point(MAKER))
    assert code == 1
    assert "held to L1" in told
    assert "build.unstated" in told
