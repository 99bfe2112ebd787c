"""The wheel: built twice to the same bytes, and tried where nothing else of the checkout is.

`make wheel` builds it from the checkout and from a copy elsewhere, whose files have other times
and permissions, and keeps it if both are the same. `make wheel-check` installs it, with the hashed
lock of the runtime, into an environment of its own, and runs commands of it in an empty folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
OUTPUT: Final = ROOT / "dist"
SOURCES: Final = ("src", "apps", "pyproject.toml", "README.md", "LICENSE", ".gitignore")
"""What the wheel is made of, and what says which files are none of it."""
READINGS: Final = "meter_point_id,date," + ",".join(f"p{hour}" for hour in range(1, 25))
BILLED_KWH: Final = "372"
"""Half a kWh in each hour of July."""
_MADE: Final = shutil.ignore_patterns("__pycache__", "*.pyc")


def main(arguments: Sequence[str]) -> None:
    """Build the wheel, or try the one that was built."""
    parser = argparse.ArgumentParser(prog="python -m tests.supply.wheel")
    parser.add_argument("--check", type=Path, metavar="ENVIRONMENT")
    options = parser.parse_args(arguments)
    if options.check is not None:
        try_commands(options.check.resolve() / "bin" / "gridsecure")
        return
    built = build_twice(OUTPUT)
    print(f"sha256:{hashlib.sha256(built.read_bytes()).hexdigest()}  {built.relative_to(ROOT)}")


def build_twice(output: Path) -> Path:
    """Build the wheel from the checkout and from a copy, and put it there if both are alike.

    Raises:
        SystemExit: They differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_sources(Path(folder) / "a copy")
        one, two = (build(place, Path(folder) / str(n)) for n, place in enumerate((ROOT, copy)))
        if one.read_bytes() != two.read_bytes():
            raise SystemExit("Two builds of the same sources gave different wheels.")
        output.mkdir(exist_ok=True)
        return Path(shutil.copy(one, output / one.name))


def copy_sources(target: Path) -> Path:
    """The sources with other times and permissions, as another machine would have them."""
    target.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=_MADE, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(ROOT / name, target / name)
    for path in target.rglob("*.py"):
        path.chmod(0o600)
        os.utime(path, (1, 1))
    return target


def build(root: Path, output: Path) -> Path:
    """Build the wheel of a checkout. Times in it are `SOURCE_DATE_EPOCH`, or the back end's own."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(output)]
    subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = output.glob("*.whl")
    return wheel


def try_commands(program: Path) -> None:
    """Ask an installed program for its version, and bill a home on ciphertext.

    Raises:
        SystemExit: It does another thing.
    """
    with tempfile.TemporaryDirectory() as folder:
        readings = Path(folder) / "readings.csv"
        days = [f"MP-1,2026-07-{day:02d}," + ",".join(["0.5"] * 24) for day in range(1, 32)]
        readings.write_text("\n".join([READINGS, *days, ""]), encoding="utf-8")
        version = _say(program, "--version", folder=folder)
        billed = json.loads(
            _say(
                program,
                *("bill", "--tariff", "flat", "--format", "json", "--readings"),
                str(readings),
                folder=folder,
            )
        )
    (period,) = billed["meters"]["MP-1"]["periods"]
    (line,) = period["lines"]
    print(f"{version.strip()}: {line['amount']} for {line['quantity']} kWh on {line['computed']}")
    if (line["quantity"], line["computed"]) != (BILLED_KWH, "ciphertext"):
        raise SystemExit("The installed program bills another energy.")


def _say(program: Path, *arguments: str, folder: str) -> str:
    """What it prints, in an empty folder and without what the shell says of Python."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(program), *arguments], cwd=folder, env=kept, check=True, capture_output=True, text=True
    )
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
