"""The readers of lists ask for every paged list of every service, and each lists something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.list_readers import Load, _figures, read_lists
from benchmarks.listed_rows import LISTS
from tests.apps.zone_apps import all_services

ZONES = ("authority", "gateway", "platform")


# Of one month, or of officers who are at work on something now: a few rows, for a few people.
SHORT = {
    *(("gateway", f"/months{rest}") for rest in ("", "/{month}/days", "/{month}/corrections")),
    ("gateway", "/months/{month}/bill-receipts"),
    ("gateway", "/months/{month}/readings-openings"),
    *(("identity", path) for path in ("/source-keys", "/warrants", "/person-searches")),
}


def test_every_list_is_read(tmp_path: Path) -> None:
    """Whatever answers with an array, but for those that are short by what they are."""
    with all_services(tmp_path) as services:
        lists = {
            (zone, path)
            for zone, client in services.items()
            for path, methods in client.app.openapi()["paths"].items()
            if is_list(methods.get("get", {}))
        }
    assert {(listed.zone, listed.path) for listed in LISTS} == lists - SHORT
    assert lists > SHORT
    assert {listed.zone for listed in LISTS} == set(ZONES)


def is_list(described: dict[str, Any]) -> bool:
    """Whether OpenAPI says of a request that an array answers it."""
    content = described.get("responses", {}).get("200", {}).get("content", {})
    return any(one.get("schema", {}).get("type") == "array" for one in content.values())


@pytest.mark.parametrize("zone", ZONES)
def test_lists_are_read_while_a_writer_commits(zone: str) -> None:
    """One that is refused or empty fails."""
    loads, _ = read_lists(zone, readers=1)
    assert [load.path for load in loads] == [one.path for one in LISTS if one.zone == zone]
    assert min(load.rate for load in loads) > 0


def test_the_slowest_list_of_a_service_is_told() -> None:
    quick = Load("/runs", (0.1,) * 100, seconds=10, worked=0.2)
    slow = Load("/release-requests", (0.1,) * 98 + (2.0,) * 2, seconds=20, worked=0.1)
    p99, rate, processor, memory = _figures("platform", [quick, slow], grown=-1, readers=2)
    assert (p99.value, p99.must, p99.meets_must, rate.value) == (2.0, 1.0, False, 5)
    assert "/release-requests" in p99.note
    assert (processor.value, memory.value) == (2.0, 0)
