"""A signed-in client of the local services, as the commands use it.

People prove themselves with their SM2 keys; the passwords are for the browser only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from gridsecure.cli.home import Home
from gridsecure.errors import GridSecureError
from gridsecure.identity_messages import person_login

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
        headers = {"Authorization": f"Bearer {self._token(user, service)}"}
        headers |= options.pop("headers", {})
        return self.public(service, method, path, headers=headers, **options)

    def public(self, service: str, method: str, path: str, **options: Any) -> Any:
        """Call a service without a token, as `call`.

        Raises:
            GridSecureError: As `call`.
        """
        try:
            answer = self.http.request(method, self.home.url(service) + path, **options)
        except httpx.HTTPError as error:
            raise GridSecureError(
                f"The {service} service cannot be reached.",
                reason="run.connection",
                remedy=f"See {self.home.folder / service}.log.",
            ) from error
        return _answered(answer)

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
            login = person_login((service,), key=self.home.people[user], now=datetime.now(UTC))
            answer = self.public("identity", "POST", "/person-tokens", json=login.model_dump())
            token = answer["tokens"][service]
            self._tokens[user, service] = (time.monotonic(), token)
        return token


def _answered(answer: httpx.Response) -> Any:
    if answer.is_success:
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer.json() if is_json else answer.content
    try:
        body = answer.json()
    except ValueError:
        body = {}
    raise GridSecureError(
        body.get("message", "A service refused."),
        reason=body.get("reason", f"http.{answer.status_code}"),
        remedy=body.get("remedy", ""),
    )
