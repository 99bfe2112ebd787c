"""The docs' drawing and table are of the figures beside them; a figure past its limit is told."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from tests.slope import DRAWING, FIGURES, PARTIES, TABLE, draw, figures_of, tabulate


def test_drawing_and_table_are_of_the_figures() -> None:
    result = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert DRAWING.read_text(encoding="utf-8") == draw(result["measured"])
    assert TABLE.read_text(encoding="utf-8") == tabulate(result)


def test_a_dearer_meter_point_or_a_growing_party_misses_its_limit() -> None:
    one = {
        "meters": 4_096,
        "seconds": {"gateway: pack": 1.0, "platform: seats": 5.0, "authority: bill": 1.0},
        "memory_mb": {"gateway": 100.0, "platform": 100.0, "authority": 100.0},
    }
    double = {name: 2.1 * seconds for name, seconds in one["seconds"].items()}
    more = one | {"meters": 8_192, "seconds": double}
    assert [figure.meets_must for figure in figures_of([one, more])] == [True] * 4
    dearer = more | {"seconds": double | {"authority: bill": 2.6}}
    assert [figure.meets_must for figure in figures_of([one, dearer])] == [False, True, True, True]
    larger = more | {"memory_mb": one["memory_mb"] | {"platform": 121.0}}
    assert [figure.meets_must for figure in figures_of([one, larger])] == [True, True, False, True]


def test_a_small_grid_is_billed_by_all_parties(tmp_path: Path) -> None:
    """In this process; `make slope` gives each party one of its own."""
    told = [party(tmp_path, 128, defaultdict(float)) for party in PARTIES]
    assert told[0]["energy_wh"] == told[-1]["energy_wh"] > 0
