"""The vault gives up what it does not need: a vault that was taken over tries to get out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gridsecure.sandbox import SandboxWish
from gridsecure_api.settings import VaultSettings
from tests.grid_simulator import grid_keys
from tests.vault_services import running_vault, vault_settings, why_not_started

ATTEMPTS = {
    "the checker's key": "open(f'{beside}/signing.key')",
    "the users of the machine": "open('/etc/passwd')",
    "a file beside its folder": "open(f'{beside}/planted', 'w')",
    "a connection": "socket.create_connection(('127.0.0.1', 1))",
    "another service's socket": "socket.socket(socket.AF_UNIX).connect(f'{beside}/socket')",
    "another process": "os.fork() or os._exit(0)",
    "a program": "os.execv('/no/such/program', ['-'])",
}
KEPT = {
    "its folder": "open(f'{own}/key', 'w').write('x')",
    "its door": "socket.socket(socket.AF_UNIX).bind(f'{door}/socket')",
    "noise": "import gridsecure.key_authority.vault.laplace_noise as n; "
    "n.add_noise([1], sensitivity=2, epsilon=10**6)",
}
PROGRAM = """
import json, os, socket, sys
from gridsecure_api.settings import VaultSettings
from gridsecure_api.vault import confine_vault
settings = VaultSettings.model_validate_json(sys.argv[1])
confine_vault(settings)
import numpy
known = {"own": settings.folder, "door": settings.socket.parent, "beside": settings.folder.parent}
said = {}
for name, attempt in json.loads(sys.argv[2]).items():
    try:
        exec(attempt, globals() | known)
        said[name] = "done"
    except OSError as error:
        said[name] = type(error).__name__
print(json.dumps(said))
"""


def tried(settings: VaultSettings) -> dict[str, str]:
    """What came of each attempt in a process that confined itself as the vault does."""
    given = [settings.model_dump_json(), json.dumps(ATTEMPTS | KEPT)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *given], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("sandbox", ["required", "off"])
def test_the_kernel_refuses_what_a_vault_has_no_business_with(
    tmp_path: Path, sandbox: SandboxWish
) -> None:
    settings = vault_settings(tmp_path, grid_keys().authority, has_keys=False)
    (tmp_path / "signing.key").touch()
    said = tried(settings.model_copy(update={"sandbox": sandbox}))
    refused = {name for name, came in said.items() if came == "PermissionError"}
    assert refused == (set(ATTEMPTS) if sandbox == "required" else set())
    assert {said[name] for name in KEPT} == {"done"}


def states_of_threads(pid: int) -> Iterator[list[str]]:
    """What the kernel says of each thread of a process, but of one that ends meanwhile."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            yield (task / "status").read_text().split("\n")


def test_every_thread_of_a_running_vault_is_confined(tmp_path: Path) -> None:
    settings = vault_settings(tmp_path, grid_keys().authority)
    settings = settings.model_copy(update={"sandbox": "required"})
    with running_vault(settings) as vault:
        states = list(states_of_threads(vault.process.pid))
    assert len(states) > 1, "libraries started some"
    assert all({"NoNewPrivs:\t1", "Seccomp:\t2"} <= set(state) for state in states)


def test_a_setting_that_says_something_else_stops_the_start(tmp_path: Path) -> None:
    settings = vault_settings(tmp_path, grid_keys().authority, has_keys=False)
    assert "SANDBOX" in why_not_started(settings.model_copy(update={"sandbox": "perhaps"}))
