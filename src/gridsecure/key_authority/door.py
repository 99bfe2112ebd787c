"""What checker and vault agree on at the Unix-domain socket between them."""

from __future__ import annotations

import io
import os
import socket
import struct
import time
from typing import Final, Self

OK: Final = b"ok"
REFUSED: Final = b"refused"
WANTED: Final = b"wanted"
"""The vault asks for an order's next file; nothing instead of it says that there is none."""
SEALED: Final = b"sealed"
"""The vault gives a roster's statements before it goes on."""
MAX_MESSAGE_BYTES: Final = 4 << 30
"""Longest order or answer that is read [bytes]."""
KEY_ORDERS: Final = frozenset(
    {
        "create-key-set",
        "revoke-ground",
        "read-life",
        "move-key-set",
        "hold-policy",
        "read-policy",
        "status",
        "challenge",
        "give-share",
        "hand-out-share",
        "lock",
    }
)
"""Orders that no file follows. They have a connection of their own, and wait for no other order."""

_LENGTH: Final = struct.Struct(">Q")
_AT_ONCE: Final = 1 << 20
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: process, user, group


def read_peer_uid(peer: socket.socket) -> int:
    """The user at the other end of a Unix-domain socket, as the kernel tells it.

    Elsewhere than on Linux the socket's mode keeps other users away, so it is this process's own.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()
    told = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(told)[1])


class Line:
    """One end of the socket: whole messages, each given or taken within a time.

    Args:
        peer: Connected; closed with this.
    """

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._peer.close()

    def send(self, data: bytes, *, seconds: float | None = None) -> None:
        """Give a message.

        Args:
            seconds: Longest for all of it; None for ever.

        Raises:
            OSError: The other end left, or did not take it in time (`TimeoutError`).
        """
        self._peer.settimeout(seconds)  # of all that is sent in one call
        self._peer.sendall(_LENGTH.pack(len(data)))
        self._peer.sendall(data)

    def receive(self, *, seconds: float | None = None) -> bytes:
        """Take a message.

        Args:
            seconds: Longest until all of it is there, however it trickles; None for ever.

        Raises:
            EOFError: The other end left.
            OSError: It did not end its message in time (`TimeoutError`), or began too long a one.
        """
        until = None if seconds is None else time.monotonic() + seconds
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size, until))
        if length > MAX_MESSAGE_BYTES:
            raise OSError("a message is too long")
        return self._take(length, until)

    def wait(self) -> None:
        """Wait, however long, until the other end speaks or leaves."""
        self._peer.settimeout(None)
        self._peer.recv(1, socket.MSG_PEEK)

    def has_spoken(self) -> bool:
        """Whether something can be read, if only the end."""
        self._peer.settimeout(0)
        try:
            self._peer.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def _take(self, size: int, until: float | None) -> bytes:
        taken = io.BytesIO()
        while (left := size - taken.tell()) > 0:
            if until is not None and (remaining := until - time.monotonic()) <= 0:
                raise TimeoutError("a message did not end in time")
            self._peer.settimeout(None if until is None else remaining)
            part = self._peer.recv(min(left, _AT_ONCE))
            if not part:
                raise EOFError
            taken.write(part)
        return taken.getvalue()
