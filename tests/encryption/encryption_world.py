"""An encryption service with two organisations, whose people sign in at an identity service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from gridsecure.client.encryption import EncryptionService
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure_api.encryption import create_encryption_app
from gridsecure_api.identity import create_identity_app
from gridsecure_api.settings import EncryptionSettings, KeyPersonEntry, PersonEntry
from tests.apps.zone_apps import TestClock, bearer, identity_settings, point
from tests.cli.test_cli_keys import Carrier
from tests.grid_simulator import grid_keys

DUTIES = {"officer": ("officer", "auditor"), "user": ("user",), "auditor": ("auditor",)}
PEOPLE = {
    f"{organisation}-{duty}": organisation for organisation in ("acme", "rival") for duty in DUTIES
}
"""Each organisation has a person of each duty."""
SM2, HMAC, SM4 = "sm2", "hmac-sm3", "sm4"


@cache
def key_of(person: str) -> Sm2PrivateKey:
    return generate_private_key()


def duty_of(person: str) -> str:
    return person.rsplit("-", 1)[1]


def encryption_settings(folder: Path, **changes: object) -> EncryptionSettings:
    return EncryptionSettings(
        folder=folder,
        identity_public_key=point(grid_keys().identity),
        authority_public_key=point(grid_keys().authority),
        people=tuple(
            KeyPersonEntry(
                person=one,
                organisation=whose,
                duties=DUTIES[duty_of(one)],
                public_key=point(key_of(one)),
            )
            for one, whose in PEOPLE.items()
        ),
    ).model_copy(update=changes)


def encryption_app(folder: Path) -> FastAPI:
    return create_encryption_app(encryption_settings(folder), clock=TestClock())


class World:
    """A running service, over HTTP and by the SDK."""

    def __init__(self, app: FastAPI, client: TestClient, folder: Path) -> None:
        self.app, self.client, self.folder = app, client, folder
        self._identity: FastAPI | None = None

    def ask(self, person: str, method: str, path: str, body: object = None) -> Response:
        """One request as curl sends it."""
        headers = bearer("encryption", "member", person=person)
        return self.client.request(method, path, json=body, headers=headers)

    def told(self, person: str, method: str, path: str, body: object = None) -> Any:
        answer = self.ask(person, method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def reason(self, person: str, method: str, path: str, body: object = None) -> str:
        answer = self.ask(person, method, path, body)
        assert answer.status_code >= 400, answer.text
        return str(answer.json()["reason"])

    def create(self, algorithm: str, *, name: str = "", whose: str = "acme") -> str:
        """A key of an organisation; its id."""
        wanted = {"name": name or algorithm, "algorithm": algorithm}
        return str(self.told(f"{whose}-officer", "POST", "/keys", wanted)["key_id"])

    @property
    def carrier(self) -> Carrier:
        """Carries requests of SDK and command to this service and its identity service."""
        if self._identity is None:
            people = tuple(
                PersonEntry(name=one, roles=("member",), public_key=point(key_of(one)))
                for one in PEOPLE
            )
            settings = identity_settings(self.folder / "identity", people=people)
            self._identity = create_identity_app(settings, clock=TestClock())
        return Carrier({"identity": self._identity, "encryption": self.app})

    def key_file(self, person: str) -> Path:
        path = self.folder / f"{person}.key"
        if not path.exists():
            path.write_bytes(key_of(person).to_bytes())
            path.chmod(0o600)
        return path

    def sdk(self, person: str) -> EncryptionService:
        """The SDK as a program opens it."""
        return EncryptionService(
            "http://encryption",
            identity="http://identity",
            key=self.key_file(person),
            clock=TestClock(),
            open_connection=lambda: httpx.Client(transport=self.carrier),
        )


@contextmanager
def encryption_at(folder: Path) -> Iterator[World]:
    folder.mkdir(parents=True, exist_ok=True)
    app = encryption_app(folder / "encryption")
    with TestClient(app) as client:
        yield World(app, client, folder)
