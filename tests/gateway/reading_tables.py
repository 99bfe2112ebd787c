"""A simulated month as a table in the long layout, to be changed and sent."""

from __future__ import annotations

import pandas as pd

from tests.gateway.gateway_world import GatewayWorld


def long_table(world: GatewayWorld) -> pd.DataFrame:
    """The simulated month, one reading a row, as text."""
    readings = world.simulated.readings()
    wh = readings["energy_wh"]
    return pd.DataFrame(
        {
            "meter_point_id": readings["meter_point_id"].astype(str),
            "start": readings["start"].map(lambda at: at.isoformat()),
            "kwh": [f"{n // 1000}.{n % 1000:03d}" for n in wh],
        }
    )
