"""The utility's books for a demonstration: invented customers, some with several meter points."""

from __future__ import annotations

from typing import Final

import pandas as pd

_STREETS: Final = ("深南大道", "红荔路", "北环大道", "滨河大道", "皇岗路")
_SECOND_EVERY: Final = {"shop": 5, "factory": 5}
"""Every how many meter points of a class and zone one belongs to the customer of the one before."""
_SECOND_HOME_EVERY: Final = 20


def invented_accounts(contracts: pd.DataFrame, *, gateway: str) -> list[dict[str, str]]:
    """One account a meter point; the same every time.

    Args:
        contracts: Contract frame of the meter points.
        gateway: Thumbprint of the gateway whose area they are in.
    """
    seen: dict[tuple[str, str], tuple[int, int]] = {}  # cell -> its meter points, newest customer
    accounts = []
    columns = ("meter_point_id", "zone", "customer_class")
    rows = zip(*(contracts[column] for column in columns), strict=True)
    for number, (name, zone, customer_class) in enumerate(rows):
        count, customer = seen.get((zone, customer_class), (0, number))
        every = _SECOND_EVERY.get(customer_class, _SECOND_HOME_EVERY)
        if count % every != every - 1:
            customer = number
        seen[zone, customer_class] = (count + 1, customer)
        accounts.append(
            {
                "meter_point_id": name,
                "gateway": gateway,
                "name": f"演示用户{customer:05d}",
                "address": f"演示市{_STREETS[number % len(_STREETS)]}{number + 1}号",
                "customer_id": f"C{customer:05d}",
                "zone": zone,
                "customer_class": customer_class,
            }
        )
    return accounts
