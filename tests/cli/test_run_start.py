"""A run that cannot begin says why before anything starts, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gridsecure.cli.home import create_home
from gridsecure.cli.main import app
from gridsecure.cli.online import utc_now
from gridsecure.cli.ports import SERVICES, USUAL_PORTS, choose_ports
from gridsecure.cli.processes import Services
from gridsecure.cli.run import Run, RunOrder, heed_ctrl_c, new_folder
from gridsecure.cli.run_order import RunMeters
from gridsecure.cli.service_specs import dashboard_spec
from gridsecure.errors import InputError
from gridsecure.simulator.synthetic_meters import simulate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def june(tmp_path: Path) -> Path:
    path = tmp_path / "june.csv"
    path.write_bytes(simulate(2, month="2026-06", interval_minutes=60).wide_csv())
    return path


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def free_row(first: int) -> dict[str, int]:
    with suppress(InputError):
        return choose_ports(first)
    return {}


def left_below(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def started_run(home: Path, **settings: str) -> subprocess.Popen[str]:
    command = ["run", "--meters", "2", "--months", "1", "--home", str(home), "--no-serve"]
    return subprocess.Popen(
        [sys.executable, "-m", "gridsecure.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200", **settings},
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--month", "2026-13"], "month.format"),
        (["--month", "2199-01"], "month.not-over"),
        (["--readings", "{june}", "--month", "2026-05"], "run.no-readings"),
        (["--readings", "{june}", "--tariff", "nowhere"], "tariff.unknown"),
        (["--readings", "{june}", "--contract", "{june}"], "contract"),
        (["--port", "{taken}"], "run.port"),
    ],
)
def test_what_cannot_be_run_leaves_no_folder(
    options: list[str], reason: str, june: Path, tmp_path: Path
) -> None:
    home = tmp_path / "runs" / "mine"
    with taken_port() as taken:
        words = [option.format(june=june, taken=taken) for option in options]
        done = CliRunner().invoke(app, ["run", *words, "--home", str(home), "--no-serve"])
    assert done.exit_code == 1, done.output
    assert reason in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    home = tmp_path / "file" / "runs"
    done = CliRunner().invoke(app, ["run", "--home", str(home), "--no-serve"])
    assert done.exit_code == 1
    assert "run.folder" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_service_that_does_not_start_leaves_its_log_alone(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    with started_run(home, GRIDSECURE_PLATFORM_WORKERS="0") as run:
        _, said = run.communicate(timeout=240)
    assert run.returncode == 1
    assert "run.service" in said
    assert "platform.log" in said
    assert "Traceback" not in said
    assert left_below(home) == ["platform.log"]


def test_lines_are_written_as_they_come_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    with started_run(home) as run:
        assert run.stdout is not None
        assert run.stdout.readline().endswith("  prepare meters\n")
        assert run.poll() is None
        assert list(home.iterdir())
        line = run.stdout.readline()
        assert line.endswith("  start services\n")
        assert run.poll() is None
        run.send_signal(signal.SIGINT)
        rest, said = run.communicate(timeout=240)
    assert run.returncode != 0
    assert "Traceback" not in rest + said
    assert not home.exists()


class Losing:
    """Presses Ctrl-C where Python ignores what is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_python_loses_ends_the_run_before_its_next_stage(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with heed_ctrl_c() as pressed, new_folder(tmp_path, now=utc_now()) as folder:
        order = RunOrder(RunMeters(), {}, serve=False)
        run = Run(order, folder=folder, console=Console(), ctrl_c=pressed)
        Losing()
        with pytest.raises(KeyboardInterrupt):
            run.execute(Services())
        assert not folder.path.joinpath("input").exists(), "a stage began"
    assert signal.getsignal(signal.SIGINT) is before


def test_the_dashboard_has_the_port_asked_for_and_services_the_next(tmp_path: Path) -> None:
    ports = next(ports for ports in map(free_row, range(20000, 30000, 5)) if ports)
    first = ports["dashboard"]
    assert [ports[name] for name in SERVICES] == list(range(first + 1, first + 5))
    home = create_home(tmp_path, ports=ports)
    assert home.url("identity") == f"http://127.0.0.1:{first + 1}"
    assert f"--server.port={first}" in dashboard_spec(home).command


def test_a_port_behind_the_dashboards_that_is_taken_is_named() -> None:
    with taken_port() as taken, pytest.raises(InputError) as refused:
        choose_ports(taken - 2)
    assert refused.value.reason == "run.port"
    assert str(taken) in refused.value.message or str(taken - 2) in refused.value.message


def test_usual_ports_are_replaced_where_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with taken_port() as taken:
        monkeypatch.setitem(USUAL_PORTS, "gateway", taken)
        ports = choose_ports(None)
    assert ports["gateway"] not in {0, taken}
    assert len(set(ports.values())) == len(USUAL_PORTS)
