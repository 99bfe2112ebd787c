"""A member's client of the encryption service: keys, what was done under them, what was used.

It talks over an `httpx.Client` given from outside, and keeps no token. It moves no key and uses
none: that takes the own key of an officer or a user, on that person's own machine.
"""

from __future__ import annotations

from urllib.parse import quote

import httpx

from gridsecure.analyst.runs import check_month
from gridsecure.wire.answers import fetch_body, fetch_list
from gridsecure.wire.client import parse_answer
from gridsecure.wire.encryption import KeyUseTold, ManagedKeyTold
from gridsecure.wire.services import MonthUsage
from gridsecure.wire.sessions import ENCRYPTION, Session
from gridsecure.wire.words import PeopleWords


class ManagedKeyReader:
    """What a dashboard asks of the encryption service; all of it is of one's own organisation.

    Every method raises a GridSecureError with a reason and a remedy when the service refuses,
    cannot be reached or answers in another shape.

    Args:
        http: The connection; closing it is up to its owner.
        address: Base address of the service.
    """

    def __init__(self, http: httpx.Client, *, address: str) -> None:
        self._http = http
        self._address = address.rstrip("/")

    def keys(self, session: Session) -> list[ManagedKeyTold]:
        """The organisation's keys with their states, oldest first."""
        url, token = f"{self._address}/keys", session.token_for(ENCRYPTION)
        return list(fetch_list(self._http, url, ManagedKeyTold, service=ENCRYPTION, token=token))

    def uses(self, session: Session, key_id: str) -> list[KeyUseTold]:
        """What was done under a key, the newest first; never of what."""
        url = f"{self._address}/keys/{quote(key_id, safe='')}/uses"
        token = session.token_for(ENCRYPTION)
        found = fetch_list(self._http, url, KeyUseTold, service=ENCRYPTION, token=token)
        return list(found)[::-1]

    def usage(self, session: Session, *, month: str) -> MonthUsage:
        """What the organisation used in a month of UTC, by kind of use.

        Raises:
            InputError: Not a month.
        """
        url = f"{self._address}/usage?month={check_month(month)}"
        token = session.token_for(ENCRYPTION)
        content = fetch_body(self._http, "GET", url, service=ENCRYPTION, token=token)
        return parse_answer(content, MonthUsage, words=PeopleWords(ENCRYPTION))
