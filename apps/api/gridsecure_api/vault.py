"""The vault's program: `python -m gridsecure_api.vault`, started apart from the checker.

It starts locked, on a folder that `gridsecure vault init` made, and holds no key that decrypts
until custodians unlock it. It speaks through a Unix-domain socket and has no port.

It confines itself (`sandbox`) before it loads what computes: the libraries start threads, and those
that were there before would stay outside.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from gridsecure.errors import GridSecureError
from gridsecure.sandbox import Confinement, Walls, confine, find_walls, name_open
from gridsecure.zone_keys import make_zone_folder
from gridsecure_api.json_logs import log_as_json
from gridsecure_api.settings import VaultSettings
from gridsecure_api.start import read_settings

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The present."""
    return datetime.now(UTC)


def confine_vault(settings: VaultSettings) -> None:
    """Give up every file but the vault's, all sockets but its door, and other programs.

    Raises:
        InputError: A sandbox is required that this machine cannot make (`sandbox.unavailable`).
        GridSecureError: The kernel did not do what it said it could (`sandbox.failed`).
        StorageError: The vault's folder cannot be made.
    """
    named = (settings.policy, settings.build_statement, settings.level_file)
    reads = [str(path) for path in named if path]
    confinement = Confinement(
        settings.sandbox,
        reads=reads,
        writes=[str(make_zone_folder(settings.folder))],
        door=str(settings.socket.parent),
    )
    walls = find_walls() if settings.sandbox != "off" else Walls(0, seccomp=False)
    missing = name_open(walls, network=False)
    if missing:
        _log.warning("the vault is not kept from: %s (docs/deployment.md)", ", ".join(missing))
    confine(confinement)


def main(*, clock: Callable[[], datetime] = utc_now) -> None:
    """The vault as the environment describes it."""
    log_as_json("vault")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = read_settings(VaultSettings)
        confine_vault(settings)
        # Only now: these libraries start threads.
        from gridsecure_api.vault_service import serve_vault  # noqa: PLC0415

        serve_vault(settings, clock=clock)
    except GridSecureError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
