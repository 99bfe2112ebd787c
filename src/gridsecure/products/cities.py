"""A city in the open, for checks and previews: rosters as gateways sign them, invented readings.

Who makes one (the command, from the simulator) hands in what a gateway would have encrypted. It is
never a city with customers: previews are computed without any encryption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gridsecure.messages import Digest, RosterManifest
from gridsecure.tariffs.tariff import Tariff


@dataclass(frozen=True, slots=True, eq=False)
class OpenReadings:
    """What the meter points of a roster used in a month.

    Args:
        columns: By quantity, what a gateway would encrypt for bills [slots].
        days: By local day YYYY-MM-DD, the energy of each interval [intervals, slots] in Wh.
        times: Of each day, where its intervals begin, and the last one ends.
    """

    columns: Mapping[str, NDArray[Any]]
    days: Mapping[str, NDArray[Any]]
    times: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class OpenCity:
    """Meter points and their invented readings.

    Args:
        described: What it was made from, so that somebody else can make it again.
        tariffs: By digest.
        read: The readings of all rosters in a month YYYY-MM, in their order.
    """

    described: Mapping[str, str | int]
    rosters: tuple[RosterManifest, ...]
    tariffs: Mapping[Digest, Tariff]
    read: Callable[[str], tuple[OpenReadings, ...]]

    @property
    def tariff_names(self) -> dict[Digest, str]:
        """The name of each tariff, by digest."""
        return {digest: tariff.tariff_id for digest, tariff in self.tariffs.items()}
