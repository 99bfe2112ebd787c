"""Makes every zone of an industry cloud by `gridsecure`'s own commands, and prints each as a line.

    python deploy/zones.py secrets          passwords, before anything is started
    python deploy/zones.py certificates     what PostgreSQL and the object store start with
    python deploy/zones.py zones            keys, tables, settings; PostgreSQL must answer

For trying the whole of it out: here one operator makes all of them. In earnest each operator makes
the own zone by its lines alone, and gives the neighbours nothing but its card and its authority.
What is there stays as it is. What runs, and what it is told, is in `topology.toml`.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

DEPLOY: Final = Path(__file__).resolve().parent
TOPOLOGY: Final[dict[str, Any]] = tomllib.loads((DEPLOY / "topology.toml").read_text("utf-8"))
OFFICES: Final = ("utility", "regulator", "billing-office")
PEOPLE: Final[Mapping[str, tuple[str, ...]]] = {
    "ann": ("custodian",),
    "bob": ("custodian",),
    "cleo": ("billing", "operator"),
    "analyst": ("analyst",),
    "data-owner": ("data-owner",),
    "privacy-officer": ("privacy-officer",),
}
"""Who works there in a try: custodians of the vault's key, staff, an analyst, two officers."""

_NAMED: Final = re.compile(r"\{(\w+)(?::([\w-]+))?\}")
_DRAWN: Final = re.compile(r"\{((?:database|objects)-password)\}")

Call = Callable[[Sequence[str]], None]
"""Runs `gridsecure` with these words."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything is: in containers, or on loopback.

    Args:
        srv: The folder of the zones' folders.
        secrets: The folder of the secrets.
        hosts: Listener -> where others reach it, HOST:PORT.
        bind: The address that listeners listen at.
        deploy: The folder of the files that are beside this one.
        scratch: Where processes put what may be lost.
    """

    srv: Path
    secrets: Path
    hosts: Mapping[str, str]
    bind: str = "0.0.0.0"  # noqa: S104 - in a container of its own, over TLS
    deploy: Path = DEPLOY
    scratch: str = "/tmp"  # noqa: S108 - of a container, a file system of its own

    def fill(self, text: str) -> str:
        """A text of the topology, with what is meant by its names."""
        return _NAMED.sub(self._meant, text)

    def _meant(self, found: re.Match[str]) -> str:
        kind, name = found[1], found[2]
        if name is None:
            paths = {"srv": self.srv, "secrets": self.secrets, "deploy": self.deploy}
            return self.scratch if kind == "scratch" else str(paths[kind])
        host, _, port = self.hosts[name].rpartition(":")
        return {"at": f"{host}:{port}", "bind": f"{self.bind}:{port}", "port": port}[kind]


def containers() -> Place:
    """Where everything is in the containers of the compose files."""
    listeners: dict[str, int] = TOPOLOGY["listeners"]
    hosts = {name: f"{name}:{port}" for name, port in listeners.items()}
    return Place(Path("/srv/gridsecure"), Path("/run/secrets"), hosts, deploy=Path("/deploy"))


def services() -> dict[str, dict[str, Any]]:
    """What runs, by name, each with all that is said of it."""
    listed: dict[str, dict[str, Any]] = TOPOLOGY["services"]
    return {name: listed[one["as"]] if "as" in one else one for name, one in listed.items()}


def make_secrets(place: Place) -> None:
    """Draw the passwords and write the files that hold them, unless they are there.

    The folders of what is no product of ours come with them: its containers start before the rest.
    """
    for folder in (place.secrets, place.srv, *(place.srv / name for name in TOPOLOGY["data"])):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    drawn: dict[str, str] = {}
    for name, text in TOPOLOGY["secrets"].items():
        path = place.secrets / name
        if path.exists():
            if name == "postgres-password":
                drawn["database-password"] = path.read_text("utf-8").strip()
            if name == "objects-password":
                drawn["objects-password"] = path.read_text("utf-8").strip()
            continue
        whole = _DRAWN.sub(lambda found: _draw(drawn, found[1]), text)
        path.touch(mode=0o600)
        path.write_text(place.fill(whole), "utf-8")


@dataclass(slots=True)
class Making:
    """All zones, made in order.

    Args:
        call: Runs `gridsecure` with words; raises if that refuses.
        show: Told of each command as a shell has it.
    """

    place: Place
    call: Call
    show: Callable[[str], None] = print
    cards: dict[str, Path] = field(default_factory=dict)

    def make(self) -> None:
        """Everything that is not there yet."""
        self.make_certificates()
        for name, roles in PEOPLE.items():
            words = [word for role in roles for word in ("--role", role)]
            self._init("person", f"people/{name}", "--name", name, *words)
        for office in OFFICES:
            self._init(office, office)
        for zone, said in TOPOLOGY["zones"].items():
            self._init(zone, zone, *self._words(zone, said))
        for office in ("utility", "regulator"):
            self._join(office)
        for zone, said in TOPOLOGY["zones"].items():
            self._join(zone)
            for replica, listener in said.get("replicas", {}).items():
                self._copy(zone, replica, listener)

    def make_certificates(self) -> None:
        """An authority for each party, a certificate for each service, and whom all believe."""
        srv, signed = self.place.srv, TOPOLOGY["certificates"]
        for name, zone in TOPOLOGY["authorities"].items():
            own = [
                listener
                for said in signed.values()
                if said["authority"] == name
                for listener in said["listeners"]
            ]
            if not (srv / f"{name}-ca").exists():
                hosts = self._hosts(own)
                self._run("tls", "authority", f"{srv}/{name}-ca", "--zone", zone, *hosts)
        for folder, said in signed.items():
            signs = ["--authority", f"{srv}/{said['authority']}-ca", "--service", said["service"]]
            if not (srv / folder).exists():
                hosts = self._hosts(said["listeners"])
                self._run("tls", "issue", f"{srv}/{folder}", *signs, *hosts)
        parties = [srv / f"{name}-ca" / "ca.pem" for name in TOPOLOGY["zones"] if name != "vault"]
        self.show(f"cat {shlex.join(map(str, parties))} > {srv}/authorities.pem")
        (srv / "authorities.pem").write_bytes(b"".join(one.read_bytes() for one in parties))

    def _hosts(self, listeners: Sequence[str]) -> list[str]:
        """Options with the hosts of listeners, each once."""
        hosts = (self.place.hosts[one].rpartition(":")[0] for one in listeners)
        return [word for host in dict.fromkeys(hosts) for word in ("--host", host)]

    def _words(self, zone: str, said: Mapping[str, Any]) -> Iterator[str]:
        """What `init` is told of a zone."""
        fill, settings = self.place.fill, dict(said.get("settings", {}))
        if "listener" in said:
            listener = said["listener"]
            yield from ("--listen", fill(f"{{bind:{listener}}}"))
            yield from ("--address", "https://" + fill(f"{{at:{said.get('address', listener)}}}"))
        if zone == "vault":
            # Of a socket's folder others see nothing, and pass through.
            (self.place.srv / "vault-door").mkdir(mode=0o711, exist_ok=True)
            yield from (
                str(self.cards[name]) for name, roles in PEOPLE.items() if "custodian" in roles
            )
            yield str(self.cards["utility"])
            yield from ("--socket", said["socket"])
        if "policy" in said:
            yield from ("--policy", said["policy"])
        if zone == "identity":
            settings["periods"] = json.dumps(sorted({f"{datetime.now(UTC):%Y}", "2026"}))
        for name, text in settings.items():
            yield from ("--set", f"{name}={fill(text)}")

    def _init(self, zone: str, folder: str, *words: str) -> None:
        self._run("init", zone, f"{self.place.srv}/{folder}", *words)
        self.cards[Path(folder).name] = self.place.srv / folder / "setup" / "card.json"

    def _join(self, zone: str, *words: str, folder: str = "") -> None:
        others = [str(path) for name, path in self.cards.items() if name != zone]
        self._run("join", f"{self.place.srv}/{folder or zone}", *others, *words)

    def _copy(self, zone: str, replica: str, listener: str) -> None:
        """Another process of a zone: the same keys and settings, and where it listens itself."""
        srv = self.place.srv
        if not (srv / replica).exists():
            self.show(f"cp -a {srv}/{zone} {srv}/{replica}")
            shutil.copytree(srv / zone, srv / replica, copy_function=shutil.copy2)
        listen = self.place.fill(f"{{bind:{listener}}}")
        self._join(zone, "--listen", listen, folder=replica)

    def _run(self, *words: str) -> None:
        self.show(shlex.join(["gridsecure", *words]))
        self.call(words)


def call_here(words: Sequence[str]) -> None:
    """Run a command in this process: it begins in a moment instead of a second."""
    with redirect_stdout(io.StringIO()):
        status = _command()(list(words), standalone_mode=False)
    if status:  # why is on the error stream
        sys.exit(status)


@cache
def _command() -> Callable[..., Any]:
    """`gridsecure`, which Typer would make anew for every call."""
    from typer.main import get_command  # noqa: PLC0415 - `secrets` needs nothing of the product

    from gridsecure.cli.main import app  # noqa: PLC0415 - likewise

    return get_command(app)


def _draw(drawn: dict[str, str], name: str) -> str:
    return drawn.setdefault(name, secrets.token_urlsafe(24))


def main(arguments: list[str]) -> None:
    """Make the secrets, certificates or zones of the compose files."""
    place = containers()
    if arguments == ["secrets"]:
        make_secrets(place)
    elif arguments == ["certificates"]:
        Making(place, call_here).make_certificates()
    elif arguments == ["zones"]:
        Making(place, call_here).make()
    else:
        sys.exit("usage: python deploy/zones.py {secrets,certificates,zones}")


if __name__ == "__main__":
    main(sys.argv[1:])
