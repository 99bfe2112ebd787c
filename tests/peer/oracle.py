"""The published cases and loads of `tests/vectors/oracle`, prices kept as they are written."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1] / "vectors" / "oracle" / "cases.json"


@cache
def oracle() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(CASES.read_text(encoding="utf-8"), parse_float=Decimal)
    return document


def case(case_id: str) -> dict[str, Any]:
    (found,) = [case for case in oracle()["cases"] if case["id"] == case_id]
    return found


def load_wh(name: str) -> list[int]:
    """Whole Wh per interval of a SAM year."""
    wh: list[int] = oracle()["loads"][name]["wh"]
    return wh


CASE_IDS = [case["id"] for case in oracle()["cases"]]
