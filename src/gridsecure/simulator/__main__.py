"""Write the committed synthetic sample, or check that it regenerates byte for byte.

python -m gridsecure.simulator            writes data/synthetic/
python -m gridsecure.simulator --check    exits with status 1 if a byte differs
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gridsecure.simulator.synthetic_meters import simulate

DATA: Final = Path(__file__).parents[3] / "data" / "synthetic"

METERS: Final = 24
MONTH: Final = "2026-07"
INTERVAL_MINUTES: Final = 30
SEED: Final = 20260701


def sample_files() -> dict[str, bytes]:
    """The files of the committed sample by name, manifest included."""
    month = simulate(METERS, month=MONTH, interval_minutes=INTERVAL_MINUTES, seed=SEED)
    files = {"readings.csv": month.wide_csv(), "contracts.csv": month.contracts_csv()}
    manifest = {
        "meters": METERS,
        "month": MONTH,
        "interval_minutes": INTERVAL_MINUTES,
        "seed": SEED,
        "profiles": f"demandlib {version('demandlib')}: BDEW H0, G4, G3",
        "randomness": "Philox4x64-10 raw words, key = seed + meter * 2**64",
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    files["manifest.json"] = (json.dumps(manifest, indent=2) + "\n").encode()
    return files


def differing_files(folder: Path) -> list[str]:
    """Names of sample files that are absent from a folder or differ from a fresh simulation."""
    return [
        name
        for name, data in sample_files().items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != data
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gridsecure.simulator", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--folder", type=Path, default=DATA, help="where the sample is")
    options = parser.parse_args(arguments)
    if options.check:
        differing = differing_files(options.folder)
        for name in differing:
            print(f"{name} differs from what the simulator makes", file=sys.stderr)
        return 1 if differing else 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, data in sample_files().items():
        (options.folder / name).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
