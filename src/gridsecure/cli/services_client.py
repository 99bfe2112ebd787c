"""A signed-in client of the local services, as the commands use it.

People prove themselves with their SM2 keys; the passwords are for the browser only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from gridsecure.cli.home import Home
from gridsecure.cli.online import utc_now
from gridsecure.errors import GridSecureError
from gridsecure.identity_messages import person_login
from gridsecure.wire.client import Client
from gridsecure.wire.identity import PersonTokens
from gridsecure.wire.words import PeopleWords

_TOKEN_SECONDS: Final = 120
"""Tokens are renewed well before the five minutes they last."""


@dataclass(slots=True)
class ServicesClient:
    """Calls the services as the people of the local demonstration.

    Args:
        home: The run's folder, passwords and addresses.
        http: The HTTP client; closed by whoever made it.
    """

    home: Home
    http: httpx.Client
    _tokens: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)

    def call(self, user: str, service: str, method: str, path: str, **options: Any) -> Any:
        """Call a service as a user and return its JSON answer, or bytes for binary answers.

        Raises:
            GridSecureError: The service refused; with its own reason and remedy.
        """
        return self.public(service, method, path, token=self._token(user, service), **options)

    def public(self, service: str, method: str, path: str, **options: Any) -> Any:
        """Call a service without a token, as `call`.

        Raises:
            GridSecureError: As `call`.
        """
        client = self._client(service)
        answer = client.call(method, path, **options)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return client.json(answer) if is_json else answer.content

    def _client(self, service: str) -> Client:
        words = PeopleWords(service, lost=lambda: self._lost(service))
        return Client(self.http, words, url=self.home.url(service))

    def _lost(self, service: str) -> GridSecureError:
        return GridSecureError(
            f"The {service} service cannot be reached.",
            reason="run.connection",
            remedy=f"See {self.home.folder / service}.log.",
        )

    def poll(
        self, user: str, service: str, path: str, *, each: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Ask until the answer's `state` is neither waiting nor running.

        Raises:
            GridSecureError: The work failed; with the reason the service gives.
        """
        while True:
            answer: dict[str, Any] = self.call(user, service, "GET", path)
            each(answer)
            if answer["state"] == "failed":
                raise GridSecureError(
                    answer.get("message") or "The work failed.",
                    reason=answer.get("reason") or "run.failed",
                    remedy=answer.get("remedy")
                    or f"Correct it and run again; the {service}'s folder and log are in"
                    f" {self.home.folder}.",
                )
            if answer["state"] not in {"waiting", "running", "new"}:
                return answer
            time.sleep(0.2)

    def _token(self, user: str, service: Any) -> str:
        made, token = self._tokens.get((user, service), (float("-inf"), ""))
        if time.monotonic() - made > _TOKEN_SECONDS:
            login = person_login((service,), key=self.home.people[user], now=utc_now())
            client = self._client("identity")
            answer = client.post("/person-tokens", json=login.model_dump())
            token = client.read(answer, PersonTokens).tokens[service]
            self._tokens[user, service] = (time.monotonic(), token)
        return token
