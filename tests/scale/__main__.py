"""Measure every request at full size: `python -m tests.scale [ZONE...]`.

Needs some ten gigabytes in the folder for temporary files, and several minutes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.scale.filling import Size
from tests.scale.measuring import (
    AS_LONG_AS_IT_IS,
    WORLDS,
    Measured,
    list_background,
    list_growing,
    list_slower,
    measure,
    tabulate,
)

SMALL: Final = Size(uploads=1_000, seats=10_000, claims=100_000, entries=100_000)
LARGE: Final = Size(uploads=100_000, seats=1_000_000, claims=10_000_000, entries=10_000_000)


def main(zones: list[str]) -> None:
    """Print a table for each service; end with 1 where a request costs more by what there is."""
    breaches = 0
    for zone in zones or WORLDS:
        small, large = (measure_apart(zone, size) for size in (SMALL, LARGE))
        few, many = (sum(one.rows.values()) for one in (small, large))
        print(f"\n{zone}: {few:,} and {many:,} rows\n\n{tabulate(small, large)}", flush=True)
        slower = list_slower(small, large)
        if slower:  # once more, because a busy machine takes its time for anything
            again = list_slower(small, measure_apart(zone, LARGE))
            slower = {key: told for key, told in slower.items() if key in again}
        found = [
            *((" ".join(key), told) for key, told in list_growing(small, large).items()),
            *((" ".join(key), told) for key, told in slower.items()),
            *list_background(small, large).items(),
        ]
        for what, told in found:
            print(f"{what} {told}", flush=True)
        breaches += len(found)
    for key, why in AS_LONG_AS_IT_IS.items():
        if key[0] in (zones or WORLDS):
            print(f"may read more: {' '.join(key)}, which {why}")
    sys.exit(breaches > 0)


def measure_apart(zone: str, size: Size) -> Measured:
    """A service at a size, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(zone, size, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
