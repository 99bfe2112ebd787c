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
from gridsecure.identity_messages import Audience
from gridsecure.offices.officers import Call, sign_in_person

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
    _calls: dict[tuple[str, str], tuple[float, Call]] = field(default_factory=dict)

    def call(self, user: str, service: Audience, method: str, path: str, **options: Any) -> Any:
        """Call a service as a user and return its JSON answer, or bytes for binary answers.

        Raises:
            GridSecureError: The service refused; with its own reason and remedy.
        """
        made, call = self._calls.get((user, service), (float("-inf"), None))
        if call is None or time.monotonic() - made > _TOKEN_SECONDS:
            made, call = time.monotonic(), self._sign_in(user, service)
            self._calls[user, service] = made, call
        return call(service, method, path, **options)

    def _sign_in(self, user: str, service: Audience) -> Call:
        home = self.home
        return sign_in_person(
            self.http,
            home.url("identity"),
            key=home.people[user],
            services={service: home.url(service)},
            now=utc_now(),
        )

    def poll(
        self, user: str, service: Audience, path: str, *, each: Callable[[dict[str, Any]], None]
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
