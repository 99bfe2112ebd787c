"""What the locks in `requirements/` pin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER: Final = Path("requirements")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Locked:
    """A package as a lock pins it.

    Args:
        name: In its canonical spelling.
        marker: Where it is installed; empty for everywhere.
        hashes: SHA-256 of each file of it that may be installed, hexadecimal.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its name in bills of materials."""
        return f"pkg:pypi/{self.name}@{self.version}"


def list_locks(folder: Path = FOLDER) -> list[Path]:
    """The locks, the runtime's first."""
    return sorted(folder.glob("*.txt"), key=lambda path: (path.stem != "runtime", path.stem))


def read_lock(path: Path) -> list[Locked]:
    """The packages of a lock.

    Raises:
        ValueError: A line pins no version, or no hash of it.
    """
    found = []
    for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement, hashes = Requirement(line.split("--hash")[0].strip()), _HASH.findall(line)
        (pinned,) = requirement.specifier
        if pinned.operator != "==" or not hashes:
            raise ValueError(f"{path.name} does not pin {requirement.name}")
        marker = str(requirement.marker or "")
        name = canonicalize_name(requirement.name)
        found.append(Locked(name, pinned.version, marker, tuple(sorted(hashes))))
    return found
