"""Two bills of one account beside each other, charge by charge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from gridsecure.errors import InputError


def compare_bills(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts of each charge then and now, in the bill's currency, and what lies between.

    Args:
        before: One period of a bill document.
        now: Another one of the same currency.

    Raises:
        InputError: They are in different currencies (`delivery.currency`).
    """
    if _currency(before) != _currency(now):
        raise InputError(
            "The two bills are in different currencies.",
            reason="delivery.currency",
            remedy="Compare bills of one currency.",
        )
    old, new = _charges(before), _charges(now)
    lines = [
        {
            "charge": charge,
            "before": str(old[charge]),
            "now": str(new[charge]),
            "difference": _signed(new[charge] - old[charge]),
        }
        for charge in dict.fromkeys([*new, *old])
    ]
    return {
        "start": before["start"],
        "end": before["end"],
        "days_before": _days(before),
        "days": _days(now),
        "before": before["total"],
        "total": now["total"],
        "difference": _signed(Decimal(now["total"]) - Decimal(before["total"])),
        "lines": lines,
    }


def _charges(period: Mapping[str, Any]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(lambda: Decimal("0.00"))
    for line in period["lines"]:
        found[line["charge"]] += Decimal(line["amount"])
    return found


def _days(period: Mapping[str, Any]) -> int:
    own = period.get("served") or period
    first, end = (datetime.fromisoformat(own[name]).date() for name in ("start", "end"))
    return (end - first).days


def _signed(amount: Decimal) -> str:
    return f"{amount:+}" if amount else "0.00"


def _currency(period: Mapping[str, Any]) -> str:
    return str((period.get("tariff") or {}).get("currency", "CNY"))
