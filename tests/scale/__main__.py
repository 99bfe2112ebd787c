"""Measure every request at full size: `python -m tests.scale [ZONE...]`.

Needs some ten gigabytes in the folder for temporary files, and several minutes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.scale.filling import Size
from tests.scale.measuring import WORLDS, measure, tabulate

SMALL: Final = Size(uploads=1_000, seats=10_000, claims=100_000, entries=100_000)
LARGE: Final = Size(uploads=100_000, seats=1_000_000, claims=10_000_000, entries=10_000_000)


def main(zones: list[str]) -> None:
    """Print a table for each service."""
    for zone in zones or WORLDS:
        found = []
        for size in (SMALL, LARGE):
            with tempfile.TemporaryDirectory() as folder:
                found.append(measure(zone, size, Path(folder)))
        few, many = (sum(one.rows.values()) for one in found)
        print(f"\n{zone}: {few:,} and {many:,} rows\n\n{tabulate(*found)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
