"""A member's client of the data market: documents, catalogue, workshop. It signs nothing.

It talks over an `httpx.Client` given from outside, and keeps no token. What a document says is the
market's word here; `gridsecure market show` and `catalogue fetch` have what is signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

import httpx

from gridsecure.analyst.runs import check_month
from gridsecure.circulation.kinds import kind_named
from gridsecure.messages import Message
from gridsecure.wire.answers import fetch_body, fetch_list
from gridsecure.wire.client import parse_answer
from gridsecure.wire.market import DocumentTold
from gridsecure.wire.services import MonthUsage
from gridsecure.wire.sessions import MARKET, Session
from gridsecure.wire.words import PeopleWords
from gridsecure.wire.workshop import (
    CardTold,
    ComponentsTold,
    ProductFiles,
    ProductPreviewed,
    ProductProven,
)

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class MarketPaper:
    """A document as the market tells of it.

    Args:
        said: What it says, parsed.
    """

    told: DocumentTold
    said: Message

    def text(self, name: str) -> str:
        """What it says in a field; empty where it has none."""
        found = getattr(self.said, name, "")
        return found if isinstance(found, str) else str(found)


class MarketReader:
    """What a dashboard asks of the market.

    Every method raises a GridSecureError with a reason and a remedy when the market refuses, cannot
    be reached or answers in another shape.

    Args:
        http: The connection; closing it is up to its owner.
        address: Base address of the market.
    """

    def __init__(self, http: httpx.Client, *, address: str) -> None:
        self._http = http
        self._address = address.rstrip("/")

    def documents(self, session: Session, kind: str, *, side: str) -> list[MarketPaper]:
        """Documents of a kind, the newest first.

        Args:
            side: `ours`, `to-us` or `everybody`; the last is all of them to regulators.
        """
        asked = urlencode({"kind": kind, "side": side})
        found = self._list(session, f"/documents?{asked}", DocumentTold)
        papers = [MarketPaper(one, kind_named(kind).parse(one.signed[0].body)) for one in found]
        return papers[::-1]

    def concerning(self, session: Session, kind: str) -> list[MarketPaper]:
        """Documents of one's own organisation and others' to it, the newest first."""
        found = {
            paper.told.digest: paper
            for side in ("ours", "to-us")
            for paper in self.documents(session, kind, side=side)
        }
        return sorted(found.values(), key=lambda paper: paper.told.at, reverse=True)

    def catalogue(self, session: Session) -> list[CardTold]:
        """All cards of the catalogue."""
        return list(self._list(session, "/catalogue", CardTold))

    def components(self, session: Session) -> ComponentsTold:
        """The component library."""
        return self._read(session, "GET", "/workshop/components", ComponentsTold)

    def products(self, session: Session) -> ProductFiles:
        """The products that ship."""
        return self._read(session, "GET", "/workshop/products", ProductFiles)

    def check(self, session: Session, file: str, *, period: str) -> ProductProven:
        """What is proven of a product's file."""
        body = {"file": file, "period": period}
        return self._read(session, "POST", "/workshop/checks", ProductProven, body=body)

    def preview(self, session: Session, file: str, *, period: str) -> ProductPreviewed:
        """A product's sample on synthetic readings."""
        body = {"file": file, "period": period}
        return self._read(session, "POST", "/workshop/previews", ProductPreviewed, body=body)

    def usage(self, session: Session, *, month: str) -> MonthUsage:
        """What one's own organisation did in a month; what all did, to a regulator.

        Raises:
            InputError: Not a month.
        """
        return self._read(session, "GET", f"/usage?month={check_month(month)}", MonthUsage)

    def _list(self, session: Session, path: str, kind: type[AnswerT]) -> list[AnswerT]:
        url, token = f"{self._address}{path}", session.token_for(MARKET)
        return fetch_list(self._http, url, kind, service=MARKET, token=token)

    def _read(
        self,
        session: Session,
        method: str,
        path: str,
        kind: type[AnswerT],
        *,
        body: Mapping[str, str] | None = None,
    ) -> AnswerT:
        content = fetch_body(
            self._http,
            method,
            f"{self._address}{path}",
            service=MARKET,
            token=session.token_for(MARKET),
            body=body,
        )
        return parse_answer(content, kind, words=PeopleWords(MARKET))
