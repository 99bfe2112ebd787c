"""Vaults as their operator starts them: the real program, its own settings, its own folder.

Its clock stands at the tests' time, in which officers approve.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.key_authority.checker.vault_client import VaultClient
from gridsecure_api.settings import VaultSettings
from tests.approving import ENTRIES
from tests.authority_simulator import keep_grid_keys
from tests.custodians import KEK, give_shares, init_with_kek
from tests.grid_simulator import NOW, OFFICE

START_SECONDS = 120.0


def vault_settings(
    folder: Path, checker: Sm2PrivateKey, *, has_keys: bool = True, kek: bytes = KEK
) -> VaultSettings:
    """Settings of a vault in a new folder, with the session's keys in it or none."""
    keys, door = folder / "vault", folder / "door"
    for path in (keys, door):
        path.mkdir(parents=True, mode=0o700)
    init_with_kek(keys, kek=kek)
    if has_keys:
        keep_grid_keys(keys, kek=kek)
    return VaultSettings(
        folder=keys,
        socket=door / "v",
        checker_public_key=checker.public_key.point.hex(),
        billing_office_public_key=OFFICE.public_key.point.hex(),
        policy="uniform-15",
        approvers=ENTRIES,
    )


def environment_of(settings: VaultSettings) -> Mapping[str, str]:
    given = settings.model_dump(mode="json", exclude_none=True)
    return {
        f"GRIDSECURE_VAULT_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
    }


def launch_vault(settings: VaultSettings) -> subprocess.Popen[bytes]:
    """Start a vault and do not wait for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.vault_at", NOW.isoformat()],
        env={**os.environ, **environment_of(settings)},
        cwd=Path(__file__).parents[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def why_not_started(settings: VaultSettings) -> str:
    """What a vault says that does not start."""
    process = launch_vault(settings)
    _, said = process.communicate(timeout=START_SECONDS)
    assert process.returncode == 1
    return said.decode()


class RunningVault:
    """A vault that answers, and may be killed and started again."""

    def __init__(self, settings: VaultSettings, *, is_locked: bool = False) -> None:
        self.settings = settings
        self.start(is_locked=is_locked)

    def start(self, *, is_locked: bool = False) -> None:
        """Start it; it is unlocked by two custodians, unless it is to stay locked."""
        self.settings.socket.unlink(missing_ok=True)
        self.process = launch_vault(self.settings)
        deadline = time.monotonic() + START_SECONDS
        while not self.settings.socket.exists():
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if not is_locked:
            try:
                with closing(self.client()) as client:
                    give_shares(client, self.settings.folder)
            except BaseException:
                self.kill()
                raise

    def kill(self) -> None:
        """As a power failure would; a second time changes nothing."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def client(self) -> VaultClient:
        return VaultClient(self.settings.socket, uid=os.geteuid())


@contextmanager
def running_vault(settings: VaultSettings, *, is_locked: bool = False) -> Iterator[RunningVault]:
    """A vault for as long as the test needs it."""
    vault = RunningVault(settings, is_locked=is_locked)
    try:
        yield vault
    finally:
        vault.kill()
