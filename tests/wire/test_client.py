"""What a person's program does about a connection that a service closes as it is used."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import httpx
import pytest

from gridsecure.errors import GridSecureError
from gridsecure.wire.client import Client
from gridsecure.wire.words import PeopleWords

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def service_that_closes(answers: list[int]) -> Iterator[tuple[httpx.Client, list[bytes]]]:
    """A service that answers so many requests of each connection, and closes it at the next."""
    heard: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        for count in answers:
            connection, _ = listening.accept()
            with connection:
                for _ in range(count):
                    heard.append(connection.recv(4096))
                    connection.sendall(ANSWER)
                heard.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        thread = Thread(target=serve, args=(listening,))
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as http:
            yield http, heard
        thread.join()


def test_what_is_only_read_is_asked_again_when_a_kept_connection_was_just_closed():
    with service_that_closes([1, 1]) as (http, heard):
        client = Client(http, PeopleWords("gateway"))
        assert client.get("/first").content == client.get("/second").content == b"{}"
    assert [line.split()[1] for line in heard if line] == [b"/first", b"/second", b"/second"]


@pytest.mark.parametrize(("method", "closings"), [("POST", [1]), ("GET", [1, 0])])
def test_an_order_is_not_repeated_and_a_service_that_stays_away_is_asked_twice(method, closings):
    with service_that_closes(closings) as (http, heard):
        client = Client(http, PeopleWords("gateway"))
        client.get("/first")
        with pytest.raises(GridSecureError) as lost:
            client.call(method, "/second")
    assert lost.value.reason == "service.unreachable"
    assert sum(b"/second" in line for line in heard) == len(closings)
