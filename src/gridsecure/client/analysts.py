"""An analyst's questions in a program: asked sealed, under grants that name nobody.

    with Analyst(addresses, authority_key="04…", wallet=Path("wallet.json")) as analyst:
        found = analyst.ask({"measure": "energy", "period": {"month": "2026-07"}})
    found.answer.frame

`gridsecure query ask` asks through it. Questions that published releases answer take no service:
see `gridsecure.analyst.desk`, whose frames these are too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from gridsecure.analyst.asking import Asking
from gridsecure.analyst.desk import Joining, read_question
from gridsecure.analyst.grants import QueryAddresses
from gridsecure.analyst.queries import QueryProgress
from gridsecure.analyst.releases import pin_authority
from gridsecure.analyst.sealed_asking import SealedAnswer, ask_question
from gridsecure.client.closings import Closing, InCoroutines
from gridsecure.errors import GridSecureError
from gridsecure.queries.language import Question
from gridsecure.wire.connections import unlinked_client

TIMEOUT_S: Final = 120.0
"""Longest that one request may take [s]."""
LOOK_S: Final = 1.0
"""Pause between two looks at a query [s]."""
WAIT_S: Final = 600.0
"""How long an answer is waited for, unless another time is given [s]."""

Pause = Callable[[QueryProgress], None]
"""Called between two looks at a query; may raise to give up."""


def patience(seconds: float, *, tell: Pause = lambda _progress: None) -> Pause:
    """A pause that gives up in time (`query.waiting`); the grant is kept in the wallet.

    Args:
        seconds: After which to give up [s].
        tell: Told where the query stands, at every look.
    """
    until = time.monotonic() + seconds

    def pause(progress: QueryProgress) -> None:
        tell(progress)
        if time.monotonic() >= until:
            raise GridSecureError(
                "The answer is not released yet.",
                reason="query.waiting",
                remedy="Ask the same again, today: the grant is kept in the wallet.",
            )
        time.sleep(LOOK_S)

    return pause


class Analyst(Closing):
    """Whoever asks with a wallet of grants; enrolling is `gridsecure analyst enrol`.

    Args:
        addresses: Of the services that a query meets.
        authority_key: The key authority's key (130 digits).
        wallet: The wallet's file.
        query_key: Thumbprint of the authority's query keys that is taken in place of the wallet's.
        clock: Gives the time, aware.
        open_connection: Opens what requests go over: no name was ever said there, and by default
            each has a connection of its own.

    Raises:
        InputError: `authority_key` is no public key (`settings.authority-key`).
    """

    def __init__(
        self,
        addresses: QueryAddresses,
        *,
        authority_key: str,
        wallet: Path,
        query_key: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        open_connection: Callable[[], httpx.Client] = lambda: unlinked_client(timeout=TIMEOUT_S),
    ) -> None:
        self._authority = pin_authority(authority_key)
        self._addresses, self._wallet, self._query_key = addresses, wallet, query_key
        self._clock = clock
        self._http = open_connection()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def ask(
        self,
        question: Question | Mapping[str, Any] | str,
        *,
        size: int = 0,
        joining: Joining | None = None,
        pause: Pause | None = None,
    ) -> SealedAnswer:
        """Ask a question and wait for its answer: `answer.frame` of it has the numbers.

        Each period of the question takes a grant. Asked again, it goes on where it was given up.

        Args:
            size: The public size of the envelope [bytes]; by default the smallest that holds it.
            joining: Series that the question names; nobody is told of them.
            pause: By default `patience(WAIT_S)`.

        Raises:
            InputError: It is no question (`query.<what>`).
            ReleaseRefusedError: It was refused; with the reason that the authority tells its asker.
            GridSecureError: A service cannot be reached, or the answer was given up.
        """
        asking = Asking(
            self._http,
            self._addresses,
            self._authority,
            self._clock,
            pause or patience(WAIT_S),
            self._query_key,
        )
        asked = read_question(question)
        return ask_question(asking, self._wallet, asked, size=size, joining=joining)


class AsyncAnalyst(InCoroutines[Analyst]):
    """`Analyst` in coroutines: a question waits in a thread of its own."""

    async def ask(
        self,
        question: Question | Mapping[str, Any] | str,
        *,
        size: int = 0,
        joining: Joining | None = None,
        pause: Pause | None = None,
    ) -> SealedAnswer:
        """As `Analyst.ask`. If cancelled, it waits on to its end; asked again, it goes on."""
        return await asyncio.to_thread(
            self._own.ask, question, size=size, joining=joining, pause=pause
        )
