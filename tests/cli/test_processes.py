"""Services are started together, watched, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gridsecure.cli.home import BUILD, USERS, create_home
from gridsecure.cli.ports import claim_ports
from gridsecure.cli.processes import MOST_RESTARTS, Services, ServiceSpec, python_command
from gridsecure.cli.service_specs import service_specs
from gridsecure.errors import GridSecureError
from gridsecure_api.settings import (
    AuthoritySettings,
    GatewaySettings,
    IdentitySettings,
    PlatformSettings,
)

SERVER = """
import os, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *a): pass
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
with open(sys.argv[2], "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def spec(folder: Path, port: int, *, script: str = SERVER) -> ServiceSpec:
    return ServiceSpec(
        name="test",
        command=python_command("-c", script, str(port), str(folder / "pids")),
        environment={},
        ready_url=f"http://127.0.0.1:{port}/",
        log=folder / "test.log",
    )


def test_a_service_that_may_be_is_started_again_but_not_for_ever(tmp_path: Path) -> None:
    port = free_port()
    with Services() as services:
        services.start([replace(spec(tmp_path, port), restarts=True)])
        assert services.revive() == []
        for _ in range(MOST_RESTARTS):
            before = pids(tmp_path)
            os.kill(before[0], signal.SIGKILL)
            assert ended(before[:1])
            assert services.revive() == ["test"]
            assert pids(tmp_path)[0] != before[0]
            services.check()
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        assert ended(pids(tmp_path)[:1])
        with pytest.raises(GridSecureError, match="again and again"):
            services.revive()


def free_port() -> int:
    from socket import socket  # noqa: PLC0415

    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_running(pid: int) -> bool:
    """A zombie has ended; only its parent has not looked yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def pids(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def ended(numbers: list[int]) -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if not any(is_running(pid) for pid in numbers):
            return True
        time.sleep(0.05)
    return False


def test_leaving_stops_services_and_their_workers(tmp_path: Path) -> None:
    with Services() as services:
        services.start([spec(tmp_path, free_port())])
        numbers = pids(tmp_path)
        services.check()
        assert all(is_running(pid) for pid in numbers)
    assert ended(numbers)


def test_a_service_that_does_not_start_is_named_with_its_log(tmp_path: Path) -> None:
    broken = spec(tmp_path, free_port(), script="raise SystemExit('no')")
    with Services() as services, pytest.raises(GridSecureError) as failed:
        services.start([broken])
    assert failed.value.reason == "run.service"
    assert "test.log" in failed.value.remedy


def test_a_service_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    with Services() as services:
        services.start([spec(tmp_path, free_port())])
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        assert ended(pids(tmp_path)[:1])
        with pytest.raises(GridSecureError):
            services.check()


def test_services_die_with_a_killed_parent(tmp_path: Path) -> None:
    program = f"""
import time
from dataclasses import replace
from pathlib import Path
from tests.cli.test_processes import spec
from gridsecure.cli.processes import Services
services = Services()
services.start([spec(Path({str(tmp_path)!r}), {free_port()})])
print("ready", flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    server, worker = pids(tmp_path)
    assert ended([server])
    os.kill(worker, signal.SIGKILL)  # the test's own helper asked for no such thing


def test_two_runs_at_once_take_different_ports_and_give_them_back() -> None:
    """Neither has bound any yet: services do so seconds later."""
    with claim_ports(None) as first:
        with claim_ports(None) as second:
            assert not set(first.values()) & set(second.values())
        with pytest.raises(GridSecureError) as refused, claim_ports(first["dashboard"]):
            raise AssertionError("a port was claimed twice")
        assert refused.value.reason == "run.port"
    with socket.socket(socket.AF_UNIX) as claim:
        claim.bind(f"\0gridsecure-port-{second['dashboard']}")


def test_a_home_gives_each_zone_its_own_secrets(tmp_path: Path) -> None:
    with claim_ports(None) as ports:
        home = create_home(tmp_path, ports=ports)
    files = [path for path in home.folder.rglob("*") if path.is_file()]
    secrets = [path for path in files if path.name != BUILD]  # which every service reads
    assert len(secrets) >= 6
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets)
    assert len({path.read_bytes() for path in secrets}) == len(secrets)
    assert len(set(home.passwords.values())) == len(home.passwords)
    assert len(set(home.ports.values())) == len(home.ports)
    assert "scalar" not in repr(home)
    assert all(password not in repr(home) for password in home.passwords.values())


def test_a_run_leaves_the_stores_that_the_shell_names_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = [
        *("PLATFORM_DATABASE", "AUTHORITY_DATABASE", "GATEWAY_DATABASE"),
        *("PLATFORM_OBJECTS", "AUTHORITY_OBJECTS", "GATEWAY_OBJECTS"),
        *("IDENTITY_ENROLMENTS_URL", "IDENTITY_REGISTRATIONS_URL", "PLATFORM_ENGINE"),
    ]
    for name in elsewhere:
        monkeypatch.setenv(f"GRIDSECURE_{name}", "elsewhere")
    with claim_ports(None) as ports:
        home = create_home(tmp_path, ports=ports, has_dashboard=False)
    for service in service_specs(home, years=["2026"]):
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
    zones = (PlatformSettings(), AuthoritySettings(), GatewaySettings())
    urls = [url for zone in zones for url in (zone.database_url, zone.objects_url)]
    urls += [IdentitySettings().database_url(name) for name in ("enrolments", "registrations")]
    urls.append(zones[0].engine)
    assert [url for url in urls if url == "elsewhere"] == []
    assert len(urls) == len(elsewhere)


def test_a_run_without_a_dashboard_makes_no_passwords(tmp_path: Path) -> None:
    with claim_ports(None) as ports:
        home = create_home(tmp_path, ports=ports, has_dashboard=False)
    identity = next(spec for spec in service_specs(home, years=["2026"]) if spec.name == "identity")
    assert home.passwords == {}
    assert json.loads(identity.environment["GRIDSECURE_IDENTITY_USERS"]) == []
    assert len(json.loads(identity.environment["GRIDSECURE_IDENTITY_PEOPLE"])) == len(USERS)
