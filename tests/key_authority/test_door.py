"""Messages at the socket between checker and vault: whole ones in time, or none."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from gridsecure.key_authority.door import MAX_MESSAGE_BYTES, Line

SECONDS = 0.4
LONGER_THAN_BUFFERS = bytes(8 << 20)


@pytest.fixture
def ends() -> Iterator[tuple[Line, socket.socket]]:
    own, other = socket.socketpair()
    with Line(own) as line, other:
        yield line, other


@pytest.mark.parametrize("data", [b"", b"order", LONGER_THAN_BUFFERS])
def test_a_message_arrives_whole(ends: tuple[Line, socket.socket], data: bytes) -> None:
    line, other = ends
    sender = threading.Thread(target=Line(other).send, args=(data,), kwargs={"seconds": 60})
    sender.start()
    assert line.receive(seconds=60) == data
    sender.join()
    assert not line.has_spoken()


def test_a_message_that_trickles_is_given_up_as_one_that_stops(
    ends: tuple[Line, socket.socket],
) -> None:
    """The time is the message's, and not that of each byte."""
    line, other = ends
    enough = threading.Event()

    def trickle() -> None:
        other.sendall(struct.pack(">Q", 1_000))
        while not enough.wait(SECONDS / 20):
            other.sendall(b"x")

    sender = threading.Thread(target=trickle)
    sender.start()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        line.receive(seconds=SECONDS)
    enough.set()
    sender.join()
    assert time.monotonic() - began >= SECONDS


def test_nobody_waits_for_one_who_does_not_read(ends: tuple[Line, socket.socket]) -> None:
    line, _ = ends
    with pytest.raises(TimeoutError):
        line.send(LONGER_THAN_BUFFERS, seconds=SECONDS)


def test_a_message_that_is_too_long_is_not_begun(ends: tuple[Line, socket.socket]) -> None:
    line, other = ends
    other.sendall(struct.pack(">Q", MAX_MESSAGE_BYTES + 1))
    with pytest.raises(OSError, match="too long"):
        line.receive(seconds=SECONDS)


@pytest.mark.parametrize("sent", [b"", b"\x00\x00", struct.pack(">Q", 3) + b"xx"])
def test_one_who_leaves_ends_the_message(ends: tuple[Line, socket.socket], sent: bytes) -> None:
    line, other = ends
    other.sendall(sent)
    other.close()
    assert line.has_spoken()
    with pytest.raises(EOFError):
        line.receive(seconds=SECONDS)
