"""The desk of both offices: the one module where a name and a pseudonym are a step apart.

It needs both sides, because that is what the two offices order together:

1. An escrow that both opened holds a key; whose it is, only enrolments know.
2. A search by person begins with that person's keys, and blocks them.

What passes is narrow. Registrations are given keys and give one out; they learn no name. Enrolments
are asked for a key or a reference; they learn no pseudonym. The answer is in memory for a quarter
of an hour, for the two offices.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from sqlalchemy import Engine

from gridsecure.credentials.log_details import ACTOR
from gridsecure.credentials.opening import Opener
from gridsecure.credentials.suites import Suite
from gridsecure.identity.enrolments.blocking import block
from gridsecure.identity.enrolments.books import Enrolled, find_enrolled
from gridsecure.identity.enrolments.enrolled_keys import keys_to_search
from gridsecure.identity.registrations.person_searches import SearchDesk, SearchState
from gridsecure.identity.registrations.warrant_desk import WarrantDesk


class OfficeDesk:
    """Where both offices bring orders.

    Args:
        registrations: The database of registrations, with the log that orders are in.
        enrolments: The database of enrolments, with the books.
        published: What both openers published.

    Attributes:
        openings: Orders to open a pseudonym, and their shares.
        searches: Searches by person, once they are ordered.

    Raises:
        InvalidMessageError: A published key is malformed.
        SignatureError: It comes without proof of possession (`authenticity.opener-key`).
    """

    def __init__(
        self,
        registrations: Engine,
        enrolments: Engine,
        suite: Suite,
        published: Mapping[Opener, bytes],
    ) -> None:
        self.registrations = registrations
        self.enrolments = enrolments
        self.suite = suite
        self.openings: WarrantDesk[Enrolled] = WarrantDesk(
            registrations, suite, published, whose=partial(find_enrolled, enrolments)
        )
        self.searches = SearchDesk(registrations, suite, self.openings.public)

    def order_search(
        self,
        identity: str,
        *,
        reference: str,
        now: datetime,
        replaced: bool = False,
        actor: str = ACTOR,
    ) -> SearchState:
        """Order a search by person, and block the identity.

        Args:
            identity: The reference, as in the record of enrolments.
            reference: The order's number in both offices' files.
            now: The present, aware.
            replaced: Search for keys that were replaced only, and block nobody.

        Raises:
            NotFoundError: The identity has no such key here (`not-found.enrolment`).
        """
        keys = keys_to_search(self.enrolments, identity, replaced=replaced)
        state = self.searches.order(keys, reference=reference, now=now, actor=actor)
        if not replaced:
            block(self.enrolments, identity=identity, reference=reference, now=now, actor=actor)
        return state
