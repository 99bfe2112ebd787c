"""Identity service and platform over real connections, and two officers with files of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from click.testing import Result
from fastapi import FastAPI
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.credentials.opening import OPENERS, Opener
from gridsecure.identity.enrolments.issuer import Issuer
from gridsecure.identity.office_desk import OfficeDesk
from gridsecure.identity.registrations.registrar import Registrar
from gridsecure.identity.registrations.token_service import TokenService
from gridsecure_api import identity_warrants
from gridsecure_api.deps import utc_now
from gridsecure_api.identity import create_identity_app
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import PersonEntry
from tests.apps.zone_apps import identity_settings, platform_settings, point
from tests.identity.identity_world import World, keys, suite

OFFICERS: dict[Opener, tuple[str, str]] = {
    "utility": ("lin", "custodian"),
    "regulator": ("wei", "regulator"),
}


@dataclass(frozen=True)
class Offices:
    """Both services, and where each officer keeps files."""

    world: World
    folder: Path
    identity: str
    platform: str

    def file(self, opener: str, name: str) -> Path:
        return self.folder / opener / name

    def run(self, opener: str, *arguments: str, tools: bool = False, url: bool = True) -> Result:
        """A command as an office's officer types it."""
        given = ["--key", str(self.file(opener, "signing.key"))]
        given += ["--url", self.identity + "/"] if url else []
        if tools:
            given += ["--opener-key", str(self.file(opener, "opener.key"))]
            given += ["--witness", str(self.file(opener, "witness.json"))]
        name, *rest = arguments
        wide = CliRunner(env={"COLUMNS": "200"})
        return wide.invoke(command, ["identity", name, *given, *rest])

    def done(self, opener: str, *arguments: str, tools: bool = False, url: bool = True) -> str:
        """What a command printed that did what it should."""
        result = self.run(opener, *arguments, tools=tools, url=url)
        assert result.exit_code == 0, result.output
        return result.stdout


def write_secret(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(data)
    path.chmod(0o600)


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """An application on a free port of this machine."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 120
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (socket,) = server.servers[0].sockets
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def identity_service(folder: Path) -> FastAPI:
    """The identity service with the offices' routes and officers."""
    people = [
        PersonEntry(name=name, roles=(role,), public_key=point(keys().staters[opener]))
        for opener, (name, role) in OFFICERS.items()
    ]
    people += [
        PersonEntry(name=name, roles=(role,), public_key=point(keys().people[whose]))
        for whose, name, role in (("clerk", "zhou", "billing"), ("ops", "ops", "operator"))
    ]
    app = create_identity_app(
        identity_settings(folder, people=tuple(people)),
        clock=utc_now,
    )
    zone = app.state.zone
    desk = OfficeDesk(zone.registrations, zone.enrolments, suite(), keys().published)
    app.include_router(identity_warrants.router)
    app.state.warrants = identity_warrants.WarrantService(desk, zone.clock, keys().signers)
    return app


def world_of(app: FastAPI) -> World:
    """The holders' side of a service, past its wire."""
    zone, made = app.state.zone, keys()
    return World(
        Issuer(suite(), made.issuer, zone.enrolments),
        Registrar(suite(), made.public, made.issuer, zone.registrations),
        TokenService(suite(), made.public, made.issuer, made.signer, zone.registrations),
        zone.registrations,
    )


@contextmanager
def two_offices(folder: Path) -> Iterator[Offices]:
    """Services that run, and officers whose files are in place."""
    for opener in OPENERS:
        write_secret(folder / opener / "signing.key", keys().staters[opener].to_bytes())
        half = keys().openers[opener].k.to_bytes(32, "big")
        write_secret(folder / opener / "opener.key", half)
    for whose in ("clerk", "ops"):
        write_secret(folder / whose / "signing.key", keys().people[whose].to_bytes())
    identity = identity_service(folder / "identity")
    platform = create_platform_app(platform_settings(folder / "platform"), clock=utc_now)
    with served(identity) as one, served(platform) as two:
        yield Offices(world_of(identity), folder, one, two)
