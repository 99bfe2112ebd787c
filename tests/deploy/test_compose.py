"""The compose files say what the run on loopback does, and their list names real settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from deploy.zones import DEPLOY, TOPOLOGY, containers, make_secrets, services
from gridsecure.cli.zone_units import read_settings_text
from gridsecure_api.serve import ZONES
from gridsecure_api.settings import DaskWorkerSettings, VaultSettings
from gridsecure_api.start import secret_names
from tests.supply.locks import read_lock

FILES = ("compose.yaml", "gateway.compose.yaml")
SETTINGS: Mapping[str, type[BaseSettings]] = {**ZONES, "vault": VaultSettings}
WRITES = {"vault": {"vault-door"}, "authority": {"vault-door"}}
"""What a service may write besides its own zone: the vault's door."""


def compose(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / file).read_text())
    return found


def listed(file: str) -> dict[str, dict[str, Any]]:
    return {name: said for name, said in services().items() if said["file"] == file}


CASES = [(file, name) for file in FILES for name in listed(file)]


def test_every_service_of_the_list_is_in_its_file_and_no_other() -> None:
    for file in FILES:
        assert compose(file)["services"].keys() - {"setup"} == listed(file).keys()


@pytest.mark.parametrize(("file", "name"), CASES)
def test_a_service_runs_what_the_list_says(file: str, name: str) -> None:
    found, said, place = compose(file)["services"][name], services()[name], containers()
    starts = [*said.get("reads", []), "--"] if "gridsecure" in found["image"] else []
    assert found["command"] == [place.fill(word) for word in [*starts, *said["command"]]]
    assert found.get("networks", []) == said["networks"]
    assert (found.get("network_mode") == "none") == (said["networks"] == [])
    assert found.get("secrets", []) == said.get("secrets", [])
    assert ("ports" in found) == said.get("published", False)
    for key, text in said.get("environment", {}).items():
        assert found["environment"][key] == place.fill(text)
    if "zone" in said:
        assert found["working_dir"] == place.fill(f"{{srv}}/{said['zone']}")


@pytest.mark.parametrize(("file", "name"), CASES)
def test_a_service_sees_its_own_and_may_change_little(file: str, name: str) -> None:
    found, said = compose(file)["services"][name], services()[name]
    mounts = [one.split(":") for one in found["volumes"]]
    seen = {Path(source).parts[1] for source, *_ in mounts if source.startswith("./srv/")}
    own = {said["zone"]} if "zone" in said else set()
    assert seen == set(said["sees"]) | own
    written = {Path(source).name for source, _, *mode in mounts if mode != ["ro"]}
    data = {name} & set(TOPOLOGY["data"])
    assert written == own | data | WRITES.get(name, set())
    assert "ca-key.pem" not in str(mounts)
    whole = {source for source, *_ in mounts if source.endswith("-ca")}
    assert not whole, "an authority's folder has its key"
    assert found["user"] == "10001:10001"
    assert found["read_only"]
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]


def test_every_setting_is_one_of_the_product() -> None:
    for zone, said in TOPOLOGY["zones"].items():
        kind = SETTINGS[zone]
        known = {*kind.model_fields, *(f"{name}_file" for name in secret_names(kind))}
        assert said.get("settings", {}).keys() <= known, zone
    told = read_settings_text(TOPOLOGY["secrets"]["objects.env"])
    ours = {name for name in told if name.startswith("GRIDSECURE_")}
    assert ours <= {f"GRIDSECURE_DASK_{name.upper()}" for name in DaskWorkerSettings.model_fields}
    objects = TOPOLOGY["zones"]["platform"]["settings"]["objects"]
    assert told["GRIDSECURE_DASK_OBJECTS"] == objects


def test_every_secret_is_a_file_that_somebody_reads() -> None:
    named = compose(FILES[0])["secrets"]
    assert named == {name: {"file": f"./secrets/{name}"} for name in TOPOLOGY["secrets"]}
    used = {one for said in services().values() for one in said.get("secrets", [])}
    assert used == TOPOLOGY["secrets"].keys()
    assert "secrets" not in compose(FILES[1])


def test_passwords_are_drawn_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    place = containers()
    here = type(place)(tmp_path / "srv", tmp_path / "secrets", place.hosts)
    make_secrets(here)
    before = {path.name: path.read_text() for path in here.secrets.iterdir()}
    (here.secrets / "platform-database").unlink()
    make_secrets(here)
    assert {path.name: path.read_text() for path in here.secrets.iterdir()} == before
    assert {path.stat().st_mode & 0o077 for path in here.secrets.iterdir()} == {0}
    password = before["postgres-password"].strip()
    assert f":{password}@postgres:5432/platform?sslmode=verify-full" in before["platform-database"]
    assert len(password) >= 32


def test_the_image_is_of_the_wheel_and_the_lock_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert re.search(r"^USER 10001:10001$", text, flags=re.MULTILINE)
    installs = [line for line in text.replace("\\\n", " ").splitlines() if " install " in line]
    assert all("--require-hashes" in one or "--no-deps --no-index" in one for one in installs)
    for source in re.findall(r"^COPY (?:--chmod=\d+ )?((?!--from)\S+) ", text, re.MULTILINE):
        assert source.startswith("dist/gridsecure-") or (DEPLOY.parent / source).is_file()
    dev = {one.name: one.version for one in read_lock(Path("requirements/dev.txt"))}
    cloud = {one.name: one.version for one in read_lock(Path("requirements/cloud.txt"))}
    assert cloud.items() <= dev.items(), "the cloud has other versions than were tested"
    assert {"distributed", "psycopg"} <= cloud.keys()
