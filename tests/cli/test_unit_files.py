"""Units as systemd itself reads them: well formed, and as closed as the operator's guide says.

`systemd-analyze` reads files; no service manager need run, and none does where containers are
built. Where it is missing these tests are skipped, which a run's closing lines say.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gridsecure.cli.zone_units import PORTS, unit_text

ZONES = (*PORTS, "encryption", "vault")
SECCOMP = re.compile(r"^SystemCall.*\n", re.MULTILINE)
SERVICE, VAULT = 1.5, 0.7
"""Most exposure, of ten. The guide has what systemd 252 counts; other releases count otherwise."""


@pytest.fixture(scope="module")
def program() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("no systemd-analyze here: systemd has read no unit")
    return found


def write_unit(folder: Path, zone: str) -> Path:
    path = folder / f"gridsecure-{zone}.service"
    text = unit_text(
        zone,
        folder=folder,
        user="gridsecure",
        listen="127.0.0.1:8501",
        settings=folder / "settings.env",
        door="gridsecure-vault" if zone == "vault" else "",
    )
    path.write_text(text)
    return path


def complaints(program: str, *units: Path) -> list[str]:
    """What systemd says of these units, and not of those that the machine has."""
    done = subprocess.run(
        [program, "verify", "--man=no", *map(str, units)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [line for line in done.stderr.splitlines() if "gridsecure-" in line]


def exposure(program: str, unit: Path) -> float:
    command = [program, "security", "--offline=true", "--no-pager", str(unit)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (found,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", told)
    return float(found)


def test_systemd_reads_every_unit_and_finds_it_closed(program: str, tmp_path: Path) -> None:
    folder = tmp_path / "of % a zone"
    folder.mkdir()
    units = {zone: write_unit(folder, zone) for zone in ZONES}
    assert complaints(program, *units.values()) == []
    assert exposure(program, units["vault"]) <= VAULT
    assert {exposure(program, units[zone]) <= SERVICE for zone in ("gateway", "dashboard")} == {
        True
    }


def test_a_wrong_word_and_an_open_unit_are_noticed(program: str, tmp_path: Path) -> None:
    unit = write_unit(tmp_path, "gateway")
    text = unit.read_text()
    unit.write_text(text.replace("ProtectSystem=strict", "ProtectSystems=strict"))
    assert "ProtectSystems" in " ".join(complaints(program, unit))
    unit.write_text(SECCOMP.sub("", text))
    assert exposure(program, unit) > SERVICE
