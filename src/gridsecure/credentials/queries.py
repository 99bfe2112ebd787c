"""Queries of analysts: their one spelling, and the grant that has to come with them.

A query is spelled in one way only. So nobody is told apart by a blank or the order of fields, and
no two parsers read it differently. It names a key that its result is sealed to, drawn for this
query alone: the grant travels through the platform, which must not read released figures with it.

A load curve is asked for in the open. Any other question travels sealed (`sealed_questions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from gridsecure.credentials.access import ISSUER, check_query
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims, verify_token
from gridsecure.errors import InvalidMessageError, SignatureError
from gridsecure.messages import Message

RESULT_PURPOSE: Final = "query-result"
"""What a result is sealed for."""

LONGEST_SEALED: Final = 90_000
"""Longest sealed question of any public size [base64 digits]."""
LONGEST_QUERY: Final = LONGEST_SEALED + 1024
"""Longest query as it is sent [characters]."""


class Query(Message):
    """What an analyst may ask.

    Args:
        sealed: The sealed question of the plan "query", base64; empty for a load curve, whose
            spelling does not have it.
    """

    kind: ClassVar[str] = "query"
    plan: Literal["load-curve", "query"]
    start: str = Field(min_length=10, max_length=40)
    end: str = Field(min_length=10, max_length=40)
    purpose: Literal["research"]
    reader: str = Field(pattern=r"^04[0-9a-f]{128}$")
    sealed: str = Field(default="", max_length=LONGEST_SEALED, repr=False)

    @model_validator(mode="after")
    def _is_sealed_or_open(self) -> Self:
        if (self.plan == "query") != bool(self.sealed):
            raise ValueError("a query of the plan query has a sealed question, and no other does")
        return self

    @property
    def text(self) -> str:
        """The query as it is sent: its one spelling, whose SM3 a grant is for."""
        return self.model_dump_json(exclude=None if self.sealed else {"sealed"})

    @property
    def reader_key(self) -> Sm2PublicKey:
        """Whom the result is sealed to.

        Raises:
            InvalidMessageError: Not a point of the curve.
        """
        return Sm2PublicKey(bytes.fromhex(self.reader))

    def asks_like(self, other: Query) -> bool:
        """Whether another query asks for the same, whoever reads it."""
        return self.model_copy(update={"reader": other.reader}) == other


def load_curve_query(start: str, end: str, *, reader: Sm2PublicKey) -> Query:
    """Ask for the load curve of a billing period, or of a sealed day.

    Args:
        start: Start of the period, ISO 8601 with offset.
        end: Its end, exclusive.
        reader: Whom the result is sealed to; a new key for each query.
    """
    point = reader.point.hex()
    return Query(plan="load-curve", start=start, end=end, purpose="research", reader=point)


def sealed_query(start: str, end: str, *, reader: Sm2PublicKey, sealed: str) -> Query:
    """Ask what a sealed question says, about a period that the platform sees.

    Args:
        start: Start of the period, ISO 8601 with the local offset: days of a closed month.
        end: Its end, exclusive.
        reader: Whom the question was sealed for.
        sealed: From `sealed_questions.seal_question`.
    """
    point = reader.point.hex()
    said = {"start": start, "end": end, "reader": point, "sealed": sealed}
    return Query(plan="query", purpose="research", **said)


def parse_query(text: str) -> Query:
    """Read a query.

    Raises:
        InvalidMessageError: Another shape, or another spelling (`query.spelling`); a reader that is
            no key.
    """
    query = Query.parse(text)
    _ = query.reader_key
    if query.text != text:
        raise InvalidMessageError(
            "The query is not in the canonical form.",
            reason="query.spelling",
            remedy="Send plan, start, end, purpose, reader and for the plan query sealed, in this "
            "order, as JSON without blanks.",
        )
    return query


def verify_grant_token(
    token: str,
    *,
    query: str,
    audience: str,
    trusted: Mapping[str, Sm2PublicKey],
    now: datetime,
) -> TokenClaims:
    """Check a grant's token: whose it is, for whom, when, and for which query.

    Args:
        query: The query as it was sent.
        trusted: The identity authority's key by thumbprint; while keys change there may be two.
        now: The present, aware.

    Raises:
        AuthenticityError: Another issuer, audience, time or query.
    """
    refused: SignatureError | None = None
    for key in trusted.values():
        try:
            claims = verify_token(token, key=key, audience=audience, issuer=ISSUER, now=now)
        except SignatureError as error:
            refused = error
            continue
        check_query(claims, query=query.encode())
        return claims
    raise refused or SignatureError("No identity authority is trusted here.")
