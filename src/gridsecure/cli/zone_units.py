"""How a zone's process is started: the command, the file of settings, and the unit for systemd.

`gridsecure run` starts the same commands. The file of settings is read by systemd and by a shell
(`set -a; . FILE`) alike: every value in double quotes, in which both know the same four escapes. A
unit takes from its process what it does not need, as far as systemd can from outside; worker
processes and the vault confine themselves further.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gridsecure.errors import InputError
from gridsecure.loopback import is_loopback

PORTS: Final = {
    "identity": 8441,
    "gateway": 8442,
    "platform": 8443,
    "authority": 8444,
    "market": 8445,
    "encryption": 8446,
    "dashboard": 8501,
}
"""Where services listen unless they are told otherwise."""

_ESCAPED: Final = re.compile(r'(["\\$`])')
_LINE: Final = re.compile(r'([A-Z][A-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

_HARDENED: Final = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallErrorNumber=EPERM
UMask=0077
LimitCORE=0"""
"""Not `MemoryDenyWriteExecute`: the foreign-function library makes code of its own at run time."""


def service_command(zone: str) -> list[str]:
    """The command line of a zone's process, for this very interpreter."""
    if zone in ("vault", "worker"):
        return [sys.executable, "-P", "-m", f"gridsecure_api.{zone}"]
    return [sys.executable, "-P", "-m", "gridsecure_api.serve", zone]


def dashboard_command(*, host: str, port: int) -> list[str]:
    """The command line of the dashboard, which has its address there and in no setting."""
    return [
        *(sys.executable, "-m", "streamlit", "run", str(_dashboard_script())),
        *(f"--server.address={host}", f"--server.port={port}"),
    ]


def split_listen(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, as `127.0.0.1:8442` or `[::1]:8442`.

    Raises:
        InputError: It is no such text (`setup.listen`).
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise InputError(
            "This is no place to listen at.",
            reason="setup.listen",
            remedy="Write it as HOST:PORT, for example 127.0.0.1:8442.",
        )
    return host.strip("[]"), int(port)


def check_places(zone: str, listen: str, address: str) -> None:
    """Refuse places that no service listens at, or is reached at.

    Raises:
        InputError: One is none (`setup.listen`, `setup.address`), or a dashboard's is reached from
            other machines (`setup.plain`).
    """
    host, _ = split_listen(listen)
    if zone == "dashboard" and not is_loopback(host):
        raise InputError(
            "The dashboard speaks plain HTTP, and would take passwords from other machines.",
            reason="setup.plain",
            remedy="Have it listen at 127.0.0.1, and a proxy that speaks TLS before it "
            "(docs/tls.md).",
        )
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise InputError(
            "This is no address of a service.",
            reason="setup.address",
            remedy="Write it as https://HOST, with a port where it needs one.",
        )


def settings_text(settings: Mapping[str, str]) -> str:
    """A file of settings."""
    lines = (f'{name}="{_ESCAPED.sub(_escape, text)}"\n' for name, text in settings.items())
    return "".join(lines)


def read_settings_text(text: str) -> dict[str, str]:
    """The variables in a file of settings as `settings_text` writes it.

    Raises:
        InputError: A line is of another form (`setup.settings`).
    """
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        read = _LINE.fullmatch(line)
        if read is None:
            raise InputError(
                "A line of the file of settings is not one that `gridsecure init` writes.",
                reason="setup.settings",
                remedy="Give settings of your own by `gridsecure join FOLDER --set NAME=VALUE`.",
            )
        found[read[1]] = re.sub(r"\\(.)", r"\1", read[2])
    return found


def unit_text(  # noqa: PLR0913 - one parameter for each thing that a unit says
    zone: str,
    *,
    folder: Path,
    user: str,
    listen: str,
    settings: Path,
    door: str = "",
    outside: Sequence[Path] = (),
) -> str:
    """A unit for systemd.

    Args:
        folder: Where the process works, and may write to.
        listen: Of a dashboard, as `split_listen` takes it.
        settings: The file of settings.
        door: Of a vault, the folder that its socket is in, below /run; else empty.
        outside: Other places that it may write to, as that of its objects.
    """
    if zone == "dashboard":
        host, port = split_listen(listen)
        command = dashboard_command(host=host, port=port)
    else:
        command = service_command(zone)
    lines = [
        "[Unit]",
        f"Description=GridSecure {zone}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=exec",
        f"User={user}",
        f"WorkingDirectory={_specified(folder)}",
        f"EnvironmentFile={_specified(settings)}",
        "ExecStart=" + " ".join(map(_quoted, command)),
        "Restart=always",
        "RestartSec=5",
        _HARDENED,
        f"ReadWritePaths={' '.join(_quoted(str(one)) for one in (folder, *outside))}",
        f"ReadOnlyPaths={_quoted(str(settings.parent))}",
    ]
    if zone == "vault":  # it has no port: a door in the file system, and no network
        lines += ["RestrictAddressFamilies=AF_UNIX", "PrivateNetwork=yes", "IPAddressDeny=any"]
        if door:
            lines += [f"RuntimeDirectory={door}", "RuntimeDirectoryMode=0711"]
    else:
        lines += ["RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "LimitNOFILE=65536"]
    return "\n".join([*lines, "", "[Install]", "WantedBy=multi-user.target", ""])


def _escape(found: re.Match[str]) -> str:
    return "\\" + found[1]


def _specified(path: Path) -> str:
    """A path where systemd takes the line as it is, but for its specifiers."""
    return str(path).replace("%", "%%")


def _quoted(word: str) -> str:
    """A word of a line that systemd splits."""
    plain = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", plain):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dashboard_script() -> Path:
    spec = find_spec("gridsecure_dashboard")  # found, not imported: the command stays below it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("gridsecure_dashboard")
    return Path(spec.origin).with_name("server.py")
