"""Advisories of locked packages: looked up with a network, or in a dated copy without one.

`make audit` asks the advisory database of the package index by pip-audit. Where that cannot be
reached it says that nothing was looked up, and fails: silence would be taken for safety. With
`ADVISORIES=FILE`, a copy of the OSV database for PyPI (the archive of JSON files that OSV
publishes for each ecosystem, or a folder of them), it looks there instead, asks nobody, and says
how old the copy is. A copy older than `OLDEST` fails as well.

The rules of what is affected are those of the OSV schema, "Evaluation".
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tests.supply.locks import Locked, list_locks, read_lock

OLDEST: Final = timedelta(days=30)
NOT_LOOKED: Final = 3
FOUND: Final = 1
_AUDIT: Final = ("pip_audit", "--strict", "--require-hashes", "--disable-pip", "--format", "json")


@dataclass(frozen=True)
class Finding:
    """An advisory that a locked package has."""

    package: Locked
    advisory: str
    summary: str


@dataclass(frozen=True)
class Copy:
    """A copy of the database.

    Args:
        by_name: Advisories of each package, by its canonical name.
        newest: When the latest change of any of them was, aware.
    """

    by_name: Mapping[str, Sequence[Mapping[str, Any]]]
    newest: datetime


def main(arguments: Sequence[str]) -> int:
    """Look up, and return 0 only if everything was looked up and nothing found."""
    parser = argparse.ArgumentParser(prog="python -m tests.supply.advisories")
    parser.add_argument("--database", type=Path)
    parser.add_argument("--accept", action="append", default=[], metavar="ID")
    options = parser.parse_args(arguments)
    accepted = frozenset(options.accept)
    if options.database is None:
        return max(_ask_index(path, accepted) for path in list_locks())
    return look_up(options.database, accepted=accepted, now=datetime.now(UTC))


def _ask_index(lock: Path, accepted: frozenset[str]) -> int:
    ignored = [part for one in sorted(accepted) for part in ("--ignore-vuln", one)]
    command = [sys.executable, "-m", *_AUDIT, "-r", str(lock), *ignored]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        (*_, why) = done.stderr.strip().splitlines() or ["no answer"]
        return _not_looked(lock.name, why.partition(":")[0])
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    found = [(one["name"], vuln["id"]) for one in packages for vuln in one.get("vulns", ())]
    print(f"{lock.name}: {len(packages)} packages asked about, {len(found)} advisories")
    for name, advisory in found:
        print(f"  {name}: {advisory}")
    if skipped or done.returncode not in (0, FOUND):
        return _not_looked(lock.name, f"not known there: {', '.join(skipped)}")
    return FOUND if found else 0


def _not_looked(what: str, why: str) -> int:
    print(f"{what} WAS NOT LOOKED UP ({why}). This run says nothing about advisories.")
    print("Without a network: make audit ADVISORIES=FILE, a copy of the OSV database for PyPI.")
    return NOT_LOOKED


def look_up(database: Path, *, accepted: frozenset[str], now: datetime) -> int:
    """Look all locks up in a copy, and print what was found and how old the copy is.

    Args:
        accepted: Advisories that the Makefile gives with their impact.
        now: The present, aware.
    """
    try:
        copy = read_copy(database)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        return _not_looked(str(database), f"no copy of the database: {type(error).__name__}")
    packages = [package for path in list_locks() for package in read_lock(path)]
    found = [one for one in find_advisories(packages, copy) if one.advisory not in accepted]
    for one in found:
        print(f"{one.package.name} {one.package.version}: {one.advisory} {one.summary}")
    age = now - copy.newest
    print(
        f"{len(set(packages))} packages looked up in {database.name}, whose newest change is of"
        f" {copy.newest:%Y-%m-%d}, {age.days} days ago: {len(found)} advisories"
    )
    if age > OLDEST:
        return _not_looked("What came since", f"the copy is older than {OLDEST.days} days")
    return FOUND if found else 0


def read_copy(database: Path) -> Copy:
    """Read a copy.

    Raises:
        OSError, BadZipFile: It cannot be read.
        ValueError, KeyError: It holds no advisories.
    """
    by_name: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    newest = datetime.min.replace(tzinfo=UTC)
    for text in _documents(database):
        advisory = json.loads(text)
        newest = max(newest, datetime.fromisoformat(advisory["modified"]))
        names = {
            canonicalize_name(one["package"]["name"])
            for one in advisory.get("affected", ())
            if one.get("package", {}).get("ecosystem") == "PyPI"
        }
        for name in names if "withdrawn" not in advisory else ():
            by_name[name].append(advisory)
    if not by_name:
        raise ValueError("no advisories of PyPI")
    return Copy(by_name, newest)


def _documents(database: Path) -> Iterator[bytes]:
    if database.is_dir():
        yield from (path.read_bytes() for path in sorted(database.glob("*.json")))
        return
    with zipfile.ZipFile(database) as archive:
        yield from (archive.read(name) for name in archive.namelist() if name.endswith(".json"))


def find_advisories(packages: Sequence[Locked], copy: Copy) -> list[Finding]:
    """The advisories of packages, each once for a version."""
    found: dict[tuple[str, str, str], Finding] = {}
    for package in packages:
        for advisory in copy.by_name.get(package.name, ()):
            if any(_affects(part, package) for part in advisory.get("affected", ())):
                key = (package.name, package.version, advisory["id"])
                summary = str(advisory.get("summary", ""))
                found[key] = Finding(package, advisory["id"], summary)
    return list(found.values())


def _affects(part: Mapping[str, Any], package: Locked) -> bool:
    own = part.get("package", {})
    if own.get("ecosystem") != "PyPI" or canonicalize_name(own["name"]) != package.name:
        return False
    if package.version in part.get("versions", ()):
        return True
    ranges = [one for one in part.get("ranges", ()) if one.get("type") == "ECOSYSTEM"]
    return any(_is_in(Version(package.version), one["events"]) for one in ranges)


def _is_in(version: Version, events: Sequence[Mapping[str, str]]) -> bool:
    """Whether a version lies between an introduction and a fix; what is unreadable counts as in."""
    try:
        steps = sorted(
            (Version("0.dev0") if text == "0" else Version(text), kind)
            for event in events
            for kind, text in event.items()
        )
    except InvalidVersion:
        return True
    inside = False
    for at, kind in steps:
        match kind:
            case "introduced" if version >= at:
                inside = True
            case "fixed" if version >= at:
                inside = False
            case "last_affected" if version > at:
                inside = False
    return inside


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
