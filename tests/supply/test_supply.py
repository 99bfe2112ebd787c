"""What a release is made of: its bill of materials, its wheel, and advisories of its packages."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from gridsecure.version import VERSION
from tests.supply import bill_of_materials
from tests.supply.advisories import FOUND, NOT_LOOKED, find_advisories, look_up, read_copy
from tests.supply.locks import Locked, list_locks, read_lock
from tests.supply.wheel import build_twice

NOW = datetime(2026, 8, 1, tzinfo=UTC)
HASH = "0" * 64
PACKAGE = Locked("some-package", "1.5", "", (HASH,))


def test_the_bill_has_every_locked_package_with_its_hashes_and_is_valid() -> None:
    packages = bill_of_materials.read_packages(list_locks())
    licences = bill_of_materials.read_licences(bill_of_materials._installed())
    text = bill_of_materials.write_bill(packages, licences=licences)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == bill_of_materials.write_bill(packages, licences=licences)
    parts = {one["bom-ref"]: one for one in json.loads(text)["components"]}
    runtime = read_lock(list_locks()[0])
    assert len(parts) == len(packages) > len(runtime) > 50
    fastapi = next(one for one in runtime if one.name == "fastapi")
    part = parts[fastapi.purl]
    (reference,) = part["externalReferences"]
    assert sorted(one["content"] for one in reference["hashes"]) == sorted(fastapi.hashes)
    assert part["scope"] == "required"
    assert parts[next(ref for ref in parts if "/pytest@" in ref)]["scope"] == "excluded"
    here = [one for one in runtime if not one.marker]
    assert all(parts[one.purl].get("licenses") for one in here)


def test_a_wheel_is_the_same_wherever_it_is_built(tmp_path: Path) -> None:
    wheel = build_twice(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert f"gridsecure-{VERSION}.dist-info/METADATA" in names
    assert {"gridsecure/cli/main.py", "gridsecure_api/serve.py"} < set(names)
    assert {"gridsecure/policy/packs/strict.toml", "gridsecure/portal/bill.html.jinja"} < set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]


def advisory(*events: dict[str, str], **said: Any) -> dict[str, Any]:
    part = {
        "package": {"ecosystem": "PyPI", "name": "Some_Package"},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        "versions": said.pop("versions", []),
    }
    return {"id": "PYSEC-1", "modified": "2026-07-31T00:00:00Z", "affected": [part], **said}


def write_copy(folder: Path, *advisories: dict[str, Any]) -> Path:
    for number, one in enumerate(advisories):
        (folder / f"{number}.json").write_text(json.dumps(one))
    return folder


@pytest.mark.parametrize(
    ("events", "is_affected"),
    [
        ([{"introduced": "0"}], True),
        ([{"introduced": "0"}, {"fixed": "1.5"}], False),
        ([{"introduced": "0"}, {"fixed": "1.10"}], True),
        ([{"introduced": "1.5"}, {"fixed": "1.6"}], True),
        ([{"introduced": "1.6"}], False),
        ([{"introduced": "1.0"}, {"last_affected": "1.5"}], True),
        ([{"introduced": "1.0"}, {"last_affected": "1.4"}], False),
        ([{"introduced": "1"}, {"fixed": "1.2"}, {"introduced": "1.4"}, {"fixed": "2"}], True),
        ([{"introduced": "0"}, {"fixed": "no version"}], True),
    ],
)
def test_what_is_affected_lies_between_an_introduction_and_a_fix(
    tmp_path: Path, events: list[dict[str, str]], is_affected: bool
) -> None:
    copy = read_copy(write_copy(tmp_path, advisory(*events)))
    assert bool(find_advisories([PACKAGE], copy)) == is_affected


def test_versions_by_name_count_and_what_was_withdrawn_does_not(tmp_path: Path) -> None:
    named = advisory(versions=["1.5"])
    other = advisory({"introduced": "0"}, withdrawn="2026-07-30T00:00:00Z")
    (found,) = find_advisories([PACKAGE], read_copy(write_copy(tmp_path, named, other)))
    assert found.advisory == "PYSEC-1"


def test_a_copy_tells_its_age_and_none_is_taken_for_safety(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = advisory({"introduced": "0"})
    everything["affected"][0]["package"]["name"] = "FastAPI"
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("PYSEC-1.json", json.dumps(everything))
    assert look_up(archive, accepted=frozenset(), now=NOW) == FOUND
    assert "2026-07-31, 1 days ago: 1 advisories" in capsys.readouterr().out
    assert look_up(archive, accepted=frozenset({"PYSEC-1"}), now=NOW) == 0
    later = datetime(2026, 10, 1, tzinfo=UTC)
    assert look_up(archive, accepted=frozenset({"PYSEC-1"}), now=later) == NOT_LOOKED
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "no-such-file", tmp_path / "empty"):
        assert look_up(nothing, accepted=frozenset(), now=NOW) == NOT_LOOKED
        assert "WAS NOT LOOKED UP" in capsys.readouterr().out
