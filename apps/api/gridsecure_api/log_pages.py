"""A zone's log as everybody may see it: checkpoint and tiles, as c2sp.org/tlog-tiles lays them out.

No token is asked for, because a log that only its friends can read proves nothing to a stranger.
Entries are salted digests: what is told is how much was done, and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as FolderPath
from typing import Annotated, Final

from fastapi import FastAPI, Path
from fastapi.responses import Response
from sqlalchemy import Engine

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.store.database import read_session
from gridsecure.store.kept_heads import KeptHead, head_file
from gridsecure.store.log_tree import SignedLog, read_frontier, read_tile
from gridsecure.transparency.tiles import read_path
from gridsecure.zone_keys import load_log_signer

LOG: Final = "/log"
"""Where the log of a service that has one is."""

LOG_PATHS: Final = "/log/"
"""What the paths of every log begin with; they are public."""

_OCTETS: Final = "application/octet-stream"
_TEXT: Final = "text/plain; charset=utf-8"
_FOR_GOOD: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_FOR_NOW: Final = {"Cache-Control": "public, no-cache"}  # to be asked for again each time
_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}


@dataclass(frozen=True, slots=True)
class ServedLog:
    """A log, the database it is in, and the largest tree that it showed."""

    engine: Engine
    log: SignedLog
    head: KeptHead

    @property
    def keys(self) -> list[str]:
        """Its public keys, as texts."""
        return [key.text for key in self.log.signer.keys]


def open_log(engine: Engine, folder: FolderPath, *, name: str, key: Sm2PrivateKey) -> ServedLog:
    """A zone's log, with its keys from the zone's folder, and held to what it showed before.

    Args:
        name: The log's name in the house.
        key: The zone's signing key.

    Raises:
        StorageError: The folder or key cannot be used.
        AuditBrokenError: The database was set back (`log.rolled-back`).
    """
    log = SignedLog(load_log_signer(folder, log=name, key=key))
    return serve_log(engine, log, folder, name=name)


def serve_log(engine: Engine, log: SignedLog, folder: FolderPath, *, name: str) -> ServedLog:
    """A log whose signer is there already; as `open_log`."""
    head = KeptHead(head_file(folder, name))
    with read_session(engine) as session:
        head.check(session)
        head.keep(read_frontier(session))
    return ServedLog(engine, log, head)


def add_log_pages(app: FastAPI, path: str, served: ServedLog) -> None:
    """Serve a log.

    Args:
        path: Where, as `/log`.
    """

    @app.get(
        f"{path}/checkpoint",
        tags=["log"],
        response_class=Response,
        responses={200: {"content": {_TEXT: _BYTES}}},
    )
    def read_checkpoint() -> Response:
        """The log's size and root, signed with Ed25519 and with SM2 (c2sp.org/tlog-checkpoint)."""
        with read_session(served.engine) as session:
            tree = read_frontier(session)
        served.head.keep(tree)
        return Response(served.log.sign(tree), media_type=_TEXT, headers=_FOR_NOW)

    @app.get(
        f"{path}/tile/{{tile:path}}",
        tags=["log"],
        response_class=Response,
        responses={200: {"content": {_OCTETS: _BYTES}}},
    )
    def read_log_tile(tile: Annotated[str, Path(max_length=64)]) -> Response:
        """A tile of hashes or entries, which never changes (c2sp.org/tlog-tiles)."""
        with read_session(served.engine) as session:
            content = read_tile(session, read_path(tile))
        return Response(content, media_type=_OCTETS, headers=_FOR_GOOD)
