"""A run that cannot begin says why before anything starts, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gridsecure.cli.home import HOME_FILE, create_home, open_home
from gridsecure.cli.main import app
from gridsecure.cli.online import utc_now
from gridsecure.cli.ports import SERVICES, USUAL_PORTS, claim_ports
from gridsecure.cli.processes import Services
from gridsecure.cli.run import Run, RunOrder, heed_ctrl_c, run_grid
from gridsecure.cli.run_folder import begin_record, find_run, hold_run, new_folder
from gridsecure.cli.run_order import RunMeters
from gridsecure.cli.service_specs import dashboard_spec
from gridsecure.errors import InputError, StorageError
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
    with suppress(InputError), claim_ports(first) as ports:
        return ports
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
    assert run.returncode == 1
    assert "Traceback" not in rest + said
    assert said.startswith("run.stopped Ctrl-C ended the run: stopped after 0 of 1 months.\n")
    assert "nothing was kept" in said
    assert not home.exists()


class Losing:
    """Presses Ctrl-C where Python ignores what is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_a_second_run_finds_one_of_its_settings_that_is_open_finished_or_half_made(
    june: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    record = begin_record(RunMeters(readings=(june,)))
    assert find_run(runs, like=record) is None
    now = utc_now()
    folders = []
    for _ in range(3):  # within one second
        with new_folder(runs, record, now=now) as folder:
            folder.is_kept = True
            folders.append(folder)
    finished, of_other_software, half_made = folders
    of_other_software.note(build="other", months=("2026-06",), is_finished=True)
    june.write_bytes(june.read_bytes() + b"\n")
    assert find_run(runs, like=begin_record(RunMeters(readings=(june,)))) is None
    found = find_run(runs, like=record)
    assert found is not None
    assert (found.folder, found.is_open) == (half_made.path, False)
    assert found.record.text == "stopped after 0 of 1 months"
    finished.note(meters=2, bills=2, months=("2026-06",), is_finished=True)
    found = find_run(runs, like=record)
    assert found is not None
    assert found.folder == finished.path
    assert found.record.text == "2 meter points, month 2026-06, 2 bills, 0 mismatches"
    with hold_run(half_made.path):
        found = find_run(runs, like=record)
        assert found is not None
        assert (found.folder, found.is_open) == (half_made.path, True)


def test_a_half_made_run_is_named_and_another_one_begins(tmp_path: Path) -> None:
    meters = RunMeters(meters=1, month="2026-13")
    with new_folder(tmp_path, begin_record(meters), now=utc_now()) as folder:
        folder.is_kept = True
    said = Console(file=io.StringIO(), width=200)
    with pytest.raises(InputError) as refused:
        run_grid(RunOrder(meters, None, serve=True), parent=tmp_path, console=said)
    assert refused.value.reason == "month.format"
    told = said.file.getvalue()
    assert f"{folder.path} was stopped after 0 of 1 months and cannot go on" in told
    assert f"rm -r {folder.path}" in told


def test_the_home_of_a_run_is_what_it_was_but_for_passwords(tmp_path: Path) -> None:
    made = create_home(tmp_path, ports={"gateway": 1})
    found = open_home(tmp_path, ports={"gateway": 2})
    assert {zone: found.point(zone) for zone in found.keys} == {
        zone: made.point(zone) for zone in made.keys
    }
    assert replace(found, passwords={}, ports={}, keys={}, people={}) == replace(
        made, passwords={}, ports={}, keys={}, people={}
    )
    assert found.passwords.keys() == made.passwords.keys()
    assert not {*found.passwords.values()} & {*made.passwords.values()}
    (tmp_path / HOME_FILE).unlink()
    with pytest.raises(StorageError) as damaged:
        open_home(tmp_path, ports={})
    assert damaged.value.reason == "run.damaged"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_python_loses_ends_the_run_before_its_next_stage(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    record = begin_record(RunMeters())
    with heed_ctrl_c() as pressed, new_folder(tmp_path, record, now=utc_now()) as folder:
        order = RunOrder(RunMeters(), None, serve=False)
        run = Run(order, folder=folder, ports={}, console=Console(), ctrl_c=pressed)
        Losing()
        with pytest.raises(KeyboardInterrupt):
            run.execute(Services())
        assert not folder.path.joinpath("input").exists(), "a stage began"
    assert signal.getsignal(signal.SIGINT) is before


def test_the_dashboard_has_the_port_asked_for_and_services_the_next(tmp_path: Path) -> None:
    ports = next(ports for ports in map(free_row, range(20000, 30000, 5)) if ports)
    first = ports["dashboard"]
    assert [ports[name] for name in SERVICES] == list(range(first + 1, first + 1 + len(SERVICES)))
    home = create_home(tmp_path, ports=ports)
    assert home.url("identity") == f"http://127.0.0.1:{first + 1}"
    assert f"--server.port={first}" in dashboard_spec(home).command


def test_a_port_behind_the_dashboards_that_is_taken_is_named() -> None:
    with taken_port() as taken, pytest.raises(InputError) as refused, claim_ports(taken - 2):
        pass
    assert refused.value.reason == "run.port"
    assert str(taken) in refused.value.message or str(taken - 2) in refused.value.message


def test_usual_ports_are_replaced_where_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with taken_port() as taken:
        monkeypatch.setitem(USUAL_PORTS, "gateway", taken)
        with claim_ports(None) as ports:
            pass
    assert ports["gateway"] not in {0, taken}
    assert len(set(ports.values())) == len(USUAL_PORTS)
