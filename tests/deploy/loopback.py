"""An industry cloud as processes of this machine, from the list that its compose files are held to.

`make cloud` bills a month in it. What containers would have of images comes from this machine:
Debian's PostgreSQL and HAProxy, and moto's server for the object store. Everything is at 127.0.0.1,
over TLS, and started by the commands of `deploy/topology.toml` through `deploy/start.sh`.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import httpx
import psycopg
import pytest
from psycopg import sql

from deploy.zones import DEPLOY, TOPOLOGY, Making, Place, call_here, make_secrets, services
from gridsecure.cli.home import Home
from gridsecure.cli.ports import _claim_any
from gridsecure.cli.processes import Services, ServiceSpec
from gridsecure.wire.connections import TlsFiles, trust
from tests.postgres_server import PostgresServer, open_folder, require_server, server_account

HERE: Final = "127.0.0.1"
PARTIES: Final = ("identity", "gateway", "platform", "authority")
"""Listeners at which others than the own zone ask."""
PROXY: Final = "haproxy"
REQUIRED: Final = "GRIDSECURE_REQUIRE_PROXY"
START_SECONDS: Final = 300
BUCKET: Final = "gridsecure-platform"
_SIGNED: Final = "AWS4-HMAC-SHA256 Credential=gridsecure/20260803/us-east-1/s3/aws4_request"
_OURS: Final = ("GRIDSECURE_", "AWS_", "SSL_CERT_")
Links = Callable[[Sequence[int]], AbstractContextManager[str]]
"""Opens links to ports of this machine, and says at which address they begin."""


def no_links(ports: Sequence[int]) -> AbstractContextManager[str]:
    """Everybody is reached where they listen."""
    return nullcontext(HERE)


@dataclass(frozen=True, slots=True)
class CloudHome(Home):
    """Where its parties are reached.

    Args:
        host: Of all of them.
    """

    host: str = HERE

    def url(self, service: str) -> str:
        """A party's address."""
        return f"https://{self.host}:{self.ports[service]}"


@dataclass(slots=True)
class Cloud:
    """A cloud that runs.

    Args:
        folder: All of it.
        clocks: Service -> what its clock is started with, in its environment.
        services: Its processes but PostgreSQL's.
    """

    folder: Path
    place: Place
    clocks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    services: Services = field(default_factory=Services)

    @property
    def ports(self) -> dict[str, int]:
        """Listener -> port."""
        return {name: int(at.rpartition(":")[2]) for name, at in self.place.hosts.items()}

    @property
    def authorities(self) -> Path:
        """Whom everybody believes."""
        return self.place.srv / "authorities.pem"

    def spec(self, name: str) -> ServiceSpec:
        """How a service of the list is started."""
        said, fill = services()[name], self.place.fill
        zone = said.get("zone", "")
        told = {key: fill(text) for key, text in said.get("environment", {}).items()}
        at = self.place.hosts.get(name)
        return ServiceSpec(
            name=name,
            command=[
                str(DEPLOY / "start.sh"),
                *(*map(fill, said.get("reads", [])), "--"),
                *(_program(fill(word)) for word in said["command"]),
            ],
            environment=told | dict(self.clocks.get(name, {})),
            log=self.folder / f"{name}.log",
            ready_url=f"https://{at}/health" if zone and at else "",
            ready_path=self.place.srv / "vault-door" / "vault.sock" if name == "vault" else None,
            folder=self.place.srv / zone if zone else self.folder,
            restarts=True,
        )

    def start(self, *names: str) -> None:
        """Start services, and wait for those that answer."""
        self.services.start(self.spec(name) for name in names)

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """A service's process."""
        (found,) = (child for spec, child in self.services._running if spec.name == name)
        return found

    def is_ready(self, name: str) -> bool:
        """Whether a service says that it can do its work."""
        context = ssl.create_default_context(cafile=self.authorities)
        try:
            url = f"https://{self.place.hosts[name]}/ready"
            return httpx.get(url, verify=context, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def log(self, name: str) -> str:
        """What a service wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")


def missing_programs() -> list[str]:
    """What it needs of this machine's system and has not."""
    return [name for name in (PROXY,) if _system_program(name) is None]


def require_programs() -> None:
    """Skip the test, or fail it where the proxy is required, if anything is missing."""
    require_server()
    missing = missing_programs()
    if missing and os.environ.get(REQUIRED) == "1":
        pytest.fail(f"the cloud is not tried: {', '.join(missing)} missing, and {REQUIRED}=1")
    if missing:
        pytest.skip(f"the cloud is not tried: {', '.join(missing)} missing")


def wait_for(what: Callable[[], bool], *, seconds: float = START_SECONDS) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it does not come to that"
        time.sleep(0.05)


@contextmanager
def cloud(
    folder: Path,
    *,
    show: Callable[[str], None],
    links: Links = no_links,
    clocks: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Iterator[Cloud]:
    """Make an industry cloud and start all of it.

    Args:
        show: Told of each command that makes it.
        links: What lies between parties, from their ports; at that address they reach each other.
        clocks: As `Cloud`.
    """
    with ExitStack() as stack:
        stack.enter_context(_without(_OURS))
        ports = {name: _claim_any(stack) for name in TOPOLOGY["listeners"]}
        host = stack.enter_context(links([ports[name] for name in PARTIES]))
        hosts = {
            name: f"{host if name in PARTIES else HERE}:{port}" for name, port in ports.items()
        }
        place = Place(
            folder / "srv", folder / "secrets", hosts, HERE, scratch=str(folder / "scratch")
        )
        made = Cloud(folder, place, clocks)
        make_secrets(place)
        making = Making(place, call_here, show)
        making.make_certificates()
        stack.enter_context(made.services)
        made.services.launch([_object_store(made)])
        stack.enter_context(_postgres(made))
        making.make()
        wait_for(lambda: _makes_bucket(made))
        trust(TlsFiles(made.authorities))
        stack.callback(trust, TlsFiles())
        made.start("scheduler", "worker-1", "worker-2", "vault")
        made.start("platform-1", "platform-2", "identity", "authority", "gateway")
        made.start("platform")
        wait_for(lambda: made.is_ready("platform"))
        yield made


@contextmanager
def _postgres(made: Cloud) -> Iterator[None]:
    """Debian's server, with the options of the list, which may not run as the superuser."""
    folder, account = open_folder(), server_account()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        seen = folder / "srv"
        shutil.copytree(made.place.srv / "postgres-tls", seen / "postgres-tls")
        shutil.copy(DEPLOY / "pg_hba.conf", folder)
        shutil.copy(made.place.secrets / "postgres-password", folder)
        if account is not None:
            for path in (seen, *folder.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid)
        ours = Place(seen, folder, made.place.hosts)
        words = [ours.fill(word) for word in services()["postgres"]["command"][1:]]
        options = " ".join(words).replace(str(DEPLOY), str(folder))
        password = folder / "postgres-password"
        server = PostgresServer(
            folder,
            account,
            port=made.ports["postgres"],
            signs_in=("--auth=scram-sha-256", f"--pwfile={password}"),
            options=options,
        )
        server.initialise()
        server.start()
        stack.callback(server.stop, mode="immediate")
        with psycopg.connect(
            host=HERE,
            port=server.port,
            user="postgres",
            password=password.read_text().strip(),
            sslmode="verify-full",
            sslrootcert=str(made.place.srv / "cloud-ca" / "ca.pem"),
            autocommit=True,
        ) as connection:  # what the image does by POSTGRES_USER and POSTGRES_DB
            said = sql.Literal(password.read_text().strip())
            connection.execute(sql.SQL("CREATE ROLE platform LOGIN PASSWORD {}").format(said))
            connection.execute("CREATE DATABASE platform OWNER platform")
        yield


def _object_store(made: Cloud) -> ServiceSpec:
    shown = made.place.srv / "objects-tls"
    port = made.ports["objects"]
    return ServiceSpec(
        name="objects",
        command=[
            *(sys.executable, "-m", "moto.server", "-H", HERE, "-p", str(port)),
            *("-c", str(shown / "certificate.pem"), "-k", str(shown / "key.pem")),
        ],
        environment={},
        log=made.folder / "objects.log",
    )


def _makes_bucket(made: Cloud) -> bool:
    context = ssl.create_default_context(cafile=made.place.srv / "cloud-ca" / "ca.pem")
    url = f"https://{HERE}:{made.ports['objects']}/{BUCKET}"
    try:
        answer = httpx.put(url, headers={"Authorization": _SIGNED}, verify=context, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.is_success


def _program(word: str) -> str:
    """The programs of the images, as this machine has them."""
    return {"python": sys.executable, PROXY: _system_program(PROXY) or PROXY}.get(word, word)


def _system_program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


@contextmanager
def _without(beginnings: Sequence[str]) -> Iterator[None]:
    """Nothing of this machine's own settings meanwhile."""
    kept: Mapping[str, str] = {
        name: text for name, text in os.environ.items() if name.startswith(tuple(beginnings))
    }
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)
