"""What checker and vault agree on at the Unix-domain socket between them."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

OK: Final = b"ok"
REFUSED: Final = b"refused"
WANTED: Final = b"wanted"
"""The vault asks for an order's next file; nothing instead of it says that there is none."""
SEALED: Final = b"sealed"
"""The vault gives a roster's statements before it goes on."""
MAX_MESSAGE_BYTES: Final = 4 << 30
"""Longest order or answer that is read [bytes]."""

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: process, user, group


def read_peer_uid(peer: socket.socket) -> int:
    """The user at the other end of a Unix-domain socket, as the kernel tells it.

    Elsewhere than on Linux the socket's mode keeps other users away, so it is this process's own.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()
    told = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(told)[1])
