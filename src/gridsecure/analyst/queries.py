"""A query on its way: the grant for it, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gridsecure.credentials.queries import Query
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.wire.answers import Answer


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant for one query.

    Args:
        query: What it is for.
        content: What lies in the envelope of a sealed question; else empty.
        platform: Its token for the platform.
        authority: Its token for the key authority.
        expires_at: The end of both, aware.
        ticket: What the grant is taken back with if the question is refused; empty where it was
            taken, or there is none.
    """

    query: Query
    reader: Sm2PrivateKey = field(repr=False)
    platform: str = field(repr=False)
    authority: str = field(repr=False)
    expires_at: datetime
    content: str = field(default="", repr=False)
    ticket: bytes = field(default=b"", repr=False)

    @property
    def digest(self) -> bytes:
        """SM3 of the query."""
        return sm3_digest(self.query.text.encode())

    def is_valid(self, *, at: datetime) -> bool:
        """Not expired yet."""
        return at < self.expires_at


@dataclass(frozen=True, slots=True)
class QueryProgress:
    """Where a query stands at the platform.

    Args:
        state: Of its run: "running", "done" or "failed".
        of: Jobs in all.
        request_state: Of its release request: "", "waiting", "released" or "refused".
        reason: Why the run failed.
        message: Why, in a sentence.
    """

    state: str
    done: int
    of: int
    request_state: str
    reason: str
    message: str

    @classmethod
    def of_answer(cls, answer: Answer) -> QueryProgress:
        """Read an answer.

        Raises:
            InvalidMessageError: Another shape.
        """
        return cls(
            state=answer.text("state"),
            done=answer.number("done"),
            of=answer.number("of"),
            request_state=answer.text("request_state", ""),
            reason=answer.text("reason", ""),
            message=answer.text("message", ""),
        )
