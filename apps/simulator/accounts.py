"""The utility's own books for a demonstration: an invented customer for every meter point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_STREETS: Final = ("深南大道", "红荔路", "北环大道", "滨河大道", "皇岗路")


def invented_accounts(meter_point_ids: Sequence[str], *, gateway: str) -> list[dict[str, str]]:
    """One account a meter point; the same every time.

    Args:
        meter_point_ids: The meter points.
        gateway: Thumbprint of the gateway whose area they are in.
    """
    return [
        {
            "meter_point_id": name,
            "gateway": gateway,
            "name": f"演示用户{number:05d}",
            "address": f"演示市{_STREETS[number % len(_STREETS)]}{number + 1}号",
        }
        for number, name in enumerate(meter_point_ids)
    ]
