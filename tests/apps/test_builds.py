"""Services run, and talk to, builds that their maker signed, where a maker's key is pinned."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from gridsecure import builds
from gridsecure.builds import BuildStatement, measure_build
from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import AuthenticityError, GridSecureError, StorageError
from gridsecure.messages import Signed, sign_message
from gridsecure.policy.packs import load_pack
from gridsecure.wire.attested import RECHECK_S, AttestedTransport
from gridsecure.wire.connections import new_client
from gridsecure.wire.service_tokens import ServiceLoginClient
from gridsecure.wire.services import About, PolicyStated
from gridsecure.wire.words import ServiceWords
from gridsecure_api.own_build import OwnBuild, open_build
from gridsecure_api.peer_connections import connecting
from gridsecure_api.serving import ServiceDescription, new_app
from gridsecure_api.settings import BuildSettings
from tests.apps.zone_apps import TestClock, identity_app, point
from tests.attacks import Attacked, attack, cut, rule
from tests.grid_simulator import grid_keys

MAKER = generate_private_key()
KEYS = grid_keys()


@pytest.fixture(scope="module")
def build() -> BuildStatement:
    return measure_build()


def stated(build: BuildStatement, *, key=MAKER, **changes: str) -> Signed:
    return sign_message(build.model_copy(update=changes), key=key)


def settings(folder: Path, statement: Signed | None) -> BuildSettings:
    path = folder / "build.json"
    if statement is not None:
        path.write_text(statement.model_dump_json())
    named = path if statement is not None else None
    return BuildSettings(maker_public_key=point(MAKER), build_statement=named)


# --- measuring ---------------------------------------------------------------------------------


@pytest.fixture
def product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that stands for the product."""
    place = tmp_path / "measured_product"
    (place / "__pycache__").mkdir(parents=True)
    (place / "__init__.py").write_text("")
    (place / "rules.toml").write_text("minimum = 15\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(builds, "PACKAGES", ("measured_product",))
    return place


@pytest.mark.parametrize("change", ["edited", "added", "gone", "renamed"])
def test_every_file_counts(product: Path, change: str) -> None:
    before, rules = measure_build(), product / "rules.toml"
    (product / "__pycache__" / "rules.pyc").write_bytes(b"compiled")
    assert measure_build() == before
    if change == "edited":
        rules.write_text("minimum = 14\n")
    elif change == "added":
        (product / "more.py").write_text("")
    elif change == "gone":
        rules.unlink()
    else:
        rules.rename(product / "other.toml")
    assert before.differing(measure_build()) == ["source"]


def test_a_link_is_not_measured_and_does_not_pass(product: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (product / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GridSecureError, match=r"build\.unreadable"):
        measure_build()


def test_libraries_count_with_those_that_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = builds._needed("gridsecure")
    assert {"numpy", "tenseal", "gmssl", "pycryptodomex"} <= set(needed)
    assert not {"gridsecure", "pytest", "ruff"} & set(needed)
    before = measure_build()
    monkeypatch.setattr(builds, "_needed", lambda _product: needed | {"numpy": "0.0.1"})
    assert before.differing(measure_build()) == ["dependencies"]


def test_a_product_that_is_not_installed_cannot_be_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(builds, "PACKAGES", ("no_such_package",))
    with pytest.raises(GridSecureError, match=r"build\.unreadable"):
        measure_build()


# --- a service's own build ---------------------------------------------------------------------


def test_the_makers_build_starts(tmp_path: Path, build: BuildStatement) -> None:
    own = open_build(settings(tmp_path, stated(build)), whose="the platform")
    assert (own.measured, own.maker) == (build, MAKER.public_key)
    assert Signed.parse(own.shows[0]).body_kind == "build"


@attack(
    "an edited file, under the statement of the released build",
    rule(
        "A service starts only as the build that its maker stated.",
        "build.changed",
        cut("gridsecure.builds:check_build", "if differing:", "if False:"),
    ),
)
def test_an_edited_file(tmp_path: Path, build: BuildStatement, attacked: Attacked) -> None:
    other = settings(tmp_path, stated(build, source="0" * 64))
    attacked.tries(lambda: open_build(other, whose="the platform"))


@attack(
    "a build that somebody else than its maker stated",
    rule(
        "A statement is signed with the maker's key that is pinned.",
        "build.signature",
        cut(
            "gridsecure.builds:open_statement",
            "open_message(envelope, expect=BuildStatement, trusted={maker.thumbprint: maker})",
            "BuildStatement.parse(envelope.body)",
        ),
    ),
)
def test_a_strangers_statement(tmp_path: Path, build: BuildStatement, attacked: Attacked) -> None:
    strangers = settings(tmp_path, stated(build, key=generate_private_key()))
    attacked.tries(lambda: open_build(strangers, whose="the platform"))


@pytest.mark.parametrize("part", ["version", "source", "dependencies", "parameters"])
def test_a_changed_build_does_not_start_and_says_what_differs(
    tmp_path: Path, build: BuildStatement, part: str
) -> None:
    other = stated(build, **{part: "0" * 64})
    with pytest.raises(AuthenticityError, match=rf"build\.changed.*platform.*: {part} differ"):
        open_build(settings(tmp_path, other), whose="the platform")


def test_no_statement_a_strangers_or_none_that_can_be_read(
    tmp_path: Path, build: BuildStatement
) -> None:
    with pytest.raises(AuthenticityError, match=r"build\.unstated"):
        open_build(settings(tmp_path, None), whose="the platform")
    strangers = stated(build, key=generate_private_key())
    with pytest.raises(AuthenticityError, match=r"build\.signature"):
        open_build(settings(tmp_path, strangers), whose="the platform")
    gone = BuildSettings(maker_public_key=point(MAKER), build_statement=tmp_path / "gone.json")
    with pytest.raises(StorageError, match=r"build\.file"):
        open_build(gone, whose="the platform")


# --- peers -------------------------------------------------------------------------------------


class Peer:
    """A service whose software may be changed, and what it was asked."""

    def __init__(self, build: BuildStatement, statement: Signed | None) -> None:
        self.own = OwnBuild(build, statement, None)
        self.asked: list[str] = []
        self.now = 0.0

    def connect(self) -> httpx.Client:
        carrier = AttestedTransport(
            httpx.MockTransport(self._answer),
            maker=MAKER.public_key,
            ticks=lambda: self.now,
            words=ServiceWords("service"),
        )
        return httpx.Client(transport=carrier, base_url="http://peer")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        app = new_app(
            ServiceDescription("platform", "t", "t", public_paths=frozenset({"/open"})),
            identity_key=KEYS.identity.public_key,
            max_body_bytes=1000,
            clock=TestClock(),
            build=self.own,
        )
        app.add_api_route("/open", lambda: "hello")
        with TestClient(app) as client:
            answer = client.get(request.url.path)
        return httpx.Response(answer.status_code, content=answer.content)


def test_a_released_build_is_talked_to_and_asked_again_now_and_then(build: BuildStatement) -> None:
    peer = Peer(build, stated(build))
    with peer.connect() as http:
        assert [http.get("/open").json() for _ in range(2)] == ["hello", "hello"]
        assert peer.asked == ["/about", "/open", "/open"]
        peer.now = RECHECK_S
        http.get("/open")
        assert peer.asked[3:] == ["/about", "/open"]
        peer.own = OwnBuild(build.model_copy(update={"source": "0" * 64}), peer.own.statement, None)
        peer.now = 2 * RECHECK_S
        with pytest.raises(AuthenticityError, match=r"build\.changed.*platform"):
            http.get("/open")
        assert peer.asked[5:] == ["/about"]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (lambda _build: None, "build.unstated"),
        (lambda build: stated(build, key=generate_private_key()), "build.signature"),
        (lambda build: stated(build, version="9"), "build.changed"),
    ],
    ids=["none", "a stranger's", "another build's"],
)
def test_nothing_is_sent_to_another_build(
    build: BuildStatement, statement: Callable[[BuildStatement], Signed | None], reason: str
) -> None:
    peer = Peer(build, statement(build))
    with peer.connect() as http:
        for _ in range(2):
            with pytest.raises(AuthenticityError) as refused:
                http.post("/open", content=b"something secret")
            assert refused.value.reason == reason
    assert set(peer.asked) == {"/about"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(503), httpx.RemoteProtocolError),
        (httpx.Response(200, content=b" " * (2 << 20)), GridSecureError),
        (httpx.Response(200, content=b"{}"), GridSecureError),
    ],
    ids=["not ready", "too long", "another shape"],
)
def test_who_does_not_say_what_it_runs_is_not_talked_to(
    answer: httpx.Response, error: type[Exception]
) -> None:
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return answer

    carrier = AttestedTransport(
        httpx.MockTransport(respond),
        maker=MAKER.public_key,
        ticks=lambda: 0.0,
        words=ServiceWords("service"),
    )
    with httpx.Client(transport=carrier, base_url="http://peer") as http, pytest.raises(error):
        http.get("/open")
    assert asked == ["/about"]


def test_a_peer_that_says_nothing_holds_up_nobody(build: BuildStatement) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        own = OwnBuild(build, stated(build), MAKER.public_key)
        with (
            connecting(own)(f"http://127.0.0.1:{port}", None) as http,
            pytest.raises(httpx.ReadTimeout),
        ):
            http.get("/open", timeout=0.2)


def test_peers_are_asked_only_where_a_maker_is_pinned(build: BuildStatement) -> None:
    for maker, expected in ((None, httpx.HTTPTransport), (MAKER.public_key, AttestedTransport)):
        with connecting(OwnBuild(build, stated(build), maker))("http://peer", None) as http:
            assert type(http._transport) is expected
    with new_client(base_url="http://peer") as plain:
        assert type(plain._transport) is httpx.HTTPTransport


def test_the_identity_service_gives_no_token_to_another_build(
    tmp_path: Path, build: BuildStatement
) -> None:
    clock = TestClock()
    own = settings(tmp_path, stated(build))
    app = identity_app(
        tmp_path / "identity",
        clock=clock,
        maker_public_key=own.maker_public_key,
        build_statement=own.build_statement,
    )

    def token(statement: str) -> str:
        with TestClient(app) as client:
            return ServiceLoginClient(client, KEYS.gateway, clock, statement).token("platform")[0]

    for statement in ("", stated(build, key=generate_private_key()).model_dump_json()):
        with pytest.raises(AuthenticityError, match=r"authenticity\.login-refused"):
            token(statement)
    assert token(stated(build).model_dump_json())


# --- policies -----------------------------------------------------------------------------------


def in_force(name: str) -> PolicyStated:
    pack = load_pack(name)
    return PolicyStated(name=pack.name, version=pack.version, digest=pack.digest)


class Platform:
    """A service that says which policy is in force, and its peer's own."""

    def __init__(self, build: BuildStatement, *, told: PolicyStated | None) -> None:
        self.own: PolicyStated | None = in_force("strict")
        self.told = told
        self.build = build
        self.asked: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        about = About(
            zone="platform", title="t", description="d", version="1", sm2_engines=[], logs={},
            build=self.build, build_statement=stated(self.build), policy=self.told,
        )  # fmt: skip
        return httpx.Response(200, content=about.model_dump_json())

    def connect(self) -> httpx.Client:
        carrier = AttestedTransport(
            httpx.MockTransport(self.answer),
            maker=MAKER.public_key,
            ticks=lambda: 0.0,
            words=ServiceWords("service"),
            policy=lambda: self.own,
        )
        return httpx.Client(transport=carrier, base_url="http://peer")


@attack(
    "a key authority that works with a platform under a looser policy",
    rule(
        "Services that must hold the same release policy compare it before they talk.",
        "policy.differs",
        cut(
            "gridsecure.wire.attested:check_policy",
            "(told and told.digest) != (own and own.digest)",
            "False",
        ),
    ),
)
def test_a_peer_under_a_looser_policy(build: BuildStatement, attacked: Attacked) -> None:
    with Platform(build, told=in_force("uniform-15")).connect() as http:
        attacked.tries(lambda: http.post("/uploads"))


def test_a_peer_is_asked_again_when_ones_own_policy_changed(build: BuildStatement) -> None:
    peer = Platform(build, told=in_force("strict"))
    with peer.connect() as http:
        for _ in range(2):
            assert http.get("/runs").status_code == 200
        peer.own = in_force("uniform-15")
        with pytest.raises(GridSecureError, match=r"policy\.differs.*is strict.*not uniform-15"):
            http.get("/runs")
        peer.own = None
        with pytest.raises(GridSecureError, match=r"policy\.differs.*not none"):
            http.get("/runs")
        peer.told = None
        assert http.get("/runs").status_code == 200
    assert peer.asked == [
        "/about", "/runs", "/runs", "/about", "/about", "/about", "/runs",
    ]  # fmt: skip


# --- the command -------------------------------------------------------------------------------


def test_the_command_signs_what_it_shows(tmp_path: Path, build: BuildStatement) -> None:
    runner = CliRunner()
    key, file = tmp_path / "maker.key", tmp_path / "build.json"
    key.write_bytes(MAKER.to_bytes())
    key.chmod(0o600)
    shown = json.loads(runner.invoke(command, ["build", "show", "--format", "json"]).output)
    assert shown == dict(build.parts)
    signed = runner.invoke(command, ["build", "sign", str(file), "--key", str(key)])
    assert point(MAKER) in signed.output
    assert open_build(settings(tmp_path, Signed.parse(file.read_text())), whose="it").maker
    again = runner.invoke(command, ["build", "sign", str(file), "--key", str(key)])
    assert (again.exit_code, "office.file" in again.output) == (1, True)


def test_the_command_says_which_policy_is_in_force_and_holds_it_to_another(
    build: BuildStatement, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Platform(build, told=in_force("strict"))

    def check(*options: str) -> tuple[int, str]:
        carrier = httpx.MockTransport(peer.answer)
        monkeypatch.setattr(online, "open_connection", lambda: httpx.Client(transport=carrier))
        words = ["build", "check", "http://platform", "--maker", point(MAKER), *options]
        done = CliRunner().invoke(command, words)
        return done.exit_code, done.output

    code, told = check("--policy", "strict", "--format", "json")
    pack = load_pack("strict")
    assert (code, json.loads(told)) == (
        0,
        dict(build.parts)
        | {"policy_name": "strict", "policy_version": pack.version, "policy_digest": pack.digest},
    )
    code, told = check("--policy", "uniform-15")
    assert (code, "policy.differs" in told, "is strict" in told) == (1, True, True)
    peer.told = None
    assert "policy" not in check()[1]
    assert check("--policy", "strict")[0] == 1
