"""The server of a customer's portal: at this machine's own address, and it writes no log."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from gridsecure.errors import InputError
from gridsecure.portal.web import HOST


@contextmanager
def listen(port: int) -> Iterator[socket.socket]:
    """A socket at 127.0.0.1, closed when the block ends.

    Args:
        port: 0 for a free one.

    Raises:
        InputError: The port is taken, or may not be used (`portal.port`).
    """
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"Port {port} is in use, or may not be used.",
                reason="portal.port",
                remedy="Choose another --port, or leave it out.",
            ) from error
        listening.listen()  # whoever reads the address may come before the server begins
        yield listening


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answer until the process is interrupted.

    Paths have the token, so no request is logged.
    """
    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])
