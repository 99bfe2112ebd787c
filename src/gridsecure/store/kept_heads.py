"""The largest tree that a zone's log has shown, kept beside its database and not in it.

A database that was set back, to a backup or a snapshot, is whole in itself: its log holds, it is
only shorter, or goes on differently, than what strangers were shown. The file here tells it apart
at the next start. It is written before a checkpoint is shown, so that nothing that anybody was
shown through the log's page is forgotten with the database. Whoever sets the whole folder back sets
this file back, too; that, witnesses alone can tell (`check_shown`, with their checkpoints).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from sqlmodel import Session

from gridsecure.errors import AuditBrokenError, StorageError
from gridsecure.store.evidence import count_entries, read_nodes
from gridsecure.transparency.tree import Frontier, frontier_nodes, join_nodes
from gridsecure.whole_files import replace_file


def head_file(folder: Path, log: str) -> Path:
    """Where a log's file is in its zone's folder."""
    return folder / f"{log}.head"


@dataclass(slots=True)
class KeptHead:
    """The file of one log.

    Args:
        path: Where it is; its folder must exist.
    """

    path: Path
    _size: int = field(default=-1, init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def check(self, session: Session) -> None:
        """Hold the log to what was kept; nothing was, in a new zone and one of an earlier release.

        Raises:
            AuditBrokenError: The log is shorter, or another (`log.rolled-back`).
            StorageError: The file cannot be read (`log.head`).
        """
        size, root = self._read()
        if size < 0:
            return
        check_shown(session, size=size, root=root)
        self._size = size

    def keep(self, tree: Frontier) -> None:
        """Keep a tree before it is shown, unless a larger one is kept.

        Raises:
            StorageError: The disk refuses (`log.head`); show nothing.
        """
        with self._lock:
            if tree.size <= self._size:
                return
            # Another process on this folder, as while one takes another's place, may have more.
            self._size = max(self._size, self._read()[0])
            if tree.size <= self._size:
                return
            kept = json.dumps({"size": tree.size, "root": tree.root.hex()})
            try:
                replace_file(self.path, [kept.encode()])
            except OSError as error:
                raise self._unusable() from error
            self._size = tree.size

    def _read(self) -> tuple[int, bytes]:
        """Size and root in the file; -1 where there is none."""
        try:
            kept = json.loads(self.path.read_bytes())
            return int(kept["size"]), bytes.fromhex(kept["root"])
        except FileNotFoundError:
            return -1, b""
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._unusable() from error

    def _unusable(self) -> StorageError:
        return StorageError(
            f"The file {self.path.name}, which has the largest tree that the log showed, cannot be "
            "used.",
            reason="log.head",
            remedy="Check the folder's space and permissions. If the file is damaged, compare the "
            "log with a witness before you remove it.",
        )


def check_shown(session: Session, *, size: int, root: bytes) -> None:
    """Hold a log to a tree that it once showed.

    Raises:
        AuditBrokenError: It is shorter, or another (`log.rolled-back`).
    """
    has = count_entries(session)
    if has < size:
        raise _rolled_back(f"has {has} entries, and showed {size}")
    found = read_nodes(session, frontier_nodes(size))
    if join_nodes([found[node] for node in frontier_nodes(size)]) != root:
        raise _rolled_back(f"is not the log that it was when it had {size} entries")


def _rolled_back(how: str) -> AuditBrokenError:
    return AuditBrokenError(
        f"The evidence log of this database {how}: the database was set back.",
        reason="log.rolled-back",
        remedy="Put the newest database in place. What is lost is lost for witnesses, too: see "
        "'A database that was set back' in docs/operations.md before you go on.",
    )
