"""A zone's database and objects, kept to begin other zones with.

What every world begins with, a key set taken in by the platform or published by the authority, is
done once a session by the product's own code; the other worlds get copies of the files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

DATABASE = "zone.db"


@dataclass(frozen=True)
class ZoneCopy:
    """The files of a zone by their paths in its folder."""

    files: dict[str, bytes]

    @classmethod
    def of(cls, make: Callable[[Path], None]) -> ZoneCopy:
        """What `make` leaves in an empty folder, its database closed."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            make(folder)
            found = {
                str(path.relative_to(folder)): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            }
        assert DATABASE in found
        return cls(found)

    def write(self, folder: Path) -> None:
        """Begin a zone in a folder, whose database, if there is one, is empty and closed."""
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
            (folder / name).unlink(missing_ok=True)
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
