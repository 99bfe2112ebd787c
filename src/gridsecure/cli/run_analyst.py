"""The analyst's part of a run: enrol under a name, ask under none, read the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gridsecure.analyst.asking import Asking, QueryAnswer, enrol_analyst
from gridsecure.analyst.enrolment import IdentityService
from gridsecure.analyst.grants import QueryAddresses
from gridsecure.analyst.queries import QueryProgress
from gridsecure.analyst.releases import pin_authority
from gridsecure.analyst.runs import month_bounds
from gridsecure.cli.home import OFFICES, Home
from gridsecure.cli.online import open_connection, utc_now
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.errors import GridSecureError

WALLET: Final = "wallet.json"
POLL_SECONDS: Final = 0.2
NAME: Final = "analyst"


class _ComputedError(Exception):
    """Ends the waiting: the answer needs a release round, and the grant stays in the wallet."""


@dataclass(slots=True)
class RunAnalyst:
    """The analyst of a run, with a wallet in its own folder.

    Args:
        home: The run's folder, keys and addresses.
        last: Where the query stood when it was last looked at.
    """

    home: Home
    last: QueryProgress | None = None

    def enrol(self) -> None:
        """Get a credential under the analyst's name, over a connection of its own.

        Raises:
            GridSecureError: The identity service refused.
        """
        now = utc_now()
        service = IdentityService(
            url=self.home.url("identity"),
            key=self.home.keys["identity"].public_key,
            signers={opener: self.home.people[user].public_key for opener, user in OFFICES.items()},
        )
        with open_connection() as http:
            enrol_analyst(
                http,
                service=service,
                name=NAME,
                key=self.home.people[NAME],
                wallet=self.home.person(NAME) / WALLET,
                period=f"{now:%Y}",
                now=now,
            )

    def ask(self, month: str, *, each: Callable[[QueryProgress], None]) -> QueryProgress:
        """Ask for a month's load curve; return when it is computed and waits for its release.

        Args:
            month: YYYY-MM.
            each: Told where the query stands.

        Raises:
            GridSecureError: The query was refused, or its run failed.
        """

        def pause(progress: QueryProgress) -> None:
            self.last = progress
            each(progress)
            if progress.state == "done":
                raise _ComputedError
            time.sleep(POLL_SECONDS)

        with suppress(_ComputedError):
            self._ask(month, pause)
        if self.last is None:
            raise GridSecureError("A query was answered before it was asked.", reason="run.query")
        return self.last

    def read(self, month: str) -> QueryAnswer:
        """Read the released answer of a month, with the same grant.

        Raises:
            GridSecureError: It was not released.
        """

        def pause(_progress: QueryProgress) -> None:
            raise GridSecureError("The query was not released.", reason="release.refused")

        return self._ask(month, pause)

    def _ask(self, month: str, pause: Callable[[QueryProgress], None]) -> QueryAnswer:
        home = self.home
        addresses = QueryAddresses(*(home.url(s) for s in ("identity", "platform", "authority")))
        authority = pin_authority(home.point("authority"))
        with open_connection() as http:
            asking = Asking(http, addresses, authority, utc_now, pause)
            start, end = month_bounds(month, timezone=TIMEZONE)
            return asking.load_curve(home.person(NAME) / WALLET, start=start, end=end)
