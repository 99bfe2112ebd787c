"""Sealed queries of a simulated grid, and what plain pandas says of the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from gridsecure.analyst.releases import PinnedAuthority, Release, verify_release
from gridsecure.credentials.queries import RESULT_PURPOSE, Query
from gridsecure.credentials.sealed_questions import (
    SEALED_QUERY_VERSION,
    SealedQuestion,
    question_digest,
)
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.padding import unpad
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.key_authority.checker.answering import Outcome, answer_request
from gridsecure.key_authority.checker.grants import seal_result
from gridsecure.messages import QueriedUploads, Signed, open_message
from gridsecure.queries.language import parse_question
from gridsecure.sealed_answers import QueryAnswer
from tests.authority_simulator import Authority, answer_approved
from tests.grid_simulator import NOW, GridSimulator, GridUpload, grid_keys, registry
from tests.query_grants import grant_claims, grant_token, sealed_query_of


def question_of(**said: Any) -> str:
    """The one spelling of a question about the energy of July."""
    text = json.dumps({"measure": "energy", "period": {"month": "2026-07"}} | said)
    return parse_question(text).text


@dataclass
class Asked:
    """A query that was sent, and who reads its answer."""

    query: Query
    content: SealedQuestion
    request: Signed
    reader: Sm2PrivateKey

    @property
    def subject(self) -> str:
        return grant_claims(self.query.text).subject


@dataclass
class Asker:
    """Sends questions to an authority as its platform would.

    Args:
        lying: What the platform has; the grid's months by default.
    """

    authority: Authority
    lying: Sequence[GridUpload] = field(default=(), kw_only=True)

    @property
    def grid(self) -> GridSimulator:
        return self.authority.grid

    @property
    def uploads(self) -> list[GridUpload]:
        """In the order of their rosters."""
        own = self.lying or self.grid.uploads
        return sorted(own, key=lambda one: one.roster.manifest.roster_id)

    @property
    def span(self) -> tuple[str, str]:
        """What the list closes."""
        first = self.uploads[0].manifest
        return first.start, first.end

    def closing_again(self, *, number: int = 2) -> Signed:
        """A list that closes the month, of the same uploads."""
        start, end = self.span
        uploads = sorted(one.upload_id for one in self.uploads)
        return self.grid.closing_list(uploads, number=number, start=start, end=end)

    @property
    def closing(self) -> Signed:
        """The list that the authority's other requests come with as well."""
        lists = self.authority.lists
        name = (*self.span, *sorted(one.upload_id for one in self.uploads))
        if name not in lists:
            lists[name] = self.closing_again(number=len(lists) + 1)
        return lists[name]

    def queried(self) -> QueriedUploads:
        uploads = self.uploads
        return QueriedUploads(
            closings=[self.closing],
            uploads=[one.upload_id for one in uploads],
            rosters=[self.grid.signed_roster(one.roster).digest for one in uploads],
        )

    def ask(
        self,
        question: str,
        *,
        reader: Sm2PrivateKey | None = None,
        span: tuple[str, str] | None = None,
        **changes: Any,
    ) -> Asked:
        key = reader or grid_keys().holder
        given = {} if span is None else {"start": span[0], "end": span[1]}
        query, content = sealed_query_of(self.grid, question, reader=key.public_key, **given)
        return self.sent(query, content, key, **changes)

    def sent(
        self, query: Query, content: SealedQuestion, reader: Sm2PrivateKey, **changes: Any
    ) -> Asked:
        fields = {
            "plan": "query",
            "plan_version": SEALED_QUERY_VERSION,
            "start": query.start,
            "end": query.end,
            "purpose": "research",
            "requested_by": grant_claims(query.text).subject,
            "query": query.text,
            "grant": grant_token(query.text),
            "closing": None,
            "queried": self.queried(),
        }
        return Asked(query, content, self.authority.request([], **fields | changes), reader)

    def answered(self, asked: Asked, *, now: datetime = NOW) -> Outcome:
        view, zone = self.authority.view, self.authority.zone
        return answer_approved(zone, asked.request, view=view, clock=lambda: now)

    def unapproved(self, asked: Asked, *, clock: Callable[[], datetime] = lambda: NOW) -> Outcome:
        return answer_request(
            self.authority.zone, asked.request, view=self.authority.view, clock=clock
        )

    def sealed_answer(self, asked: Asked) -> bytes:
        """What whoever has the query and its grant can fetch."""
        claims = grant_claims(asked.query.text, audience="authority")
        return seal_result(self.authority.zone, claims, query=asked.query.text, now=NOW)

    def answer(self, asked: Asked) -> QueryAnswer:
        """What the asker reads."""
        blob = self.sealed_answer(asked)
        text = unpad(open_from(blob, private_key=asked.reader, purpose=RESULT_PURPOSE))
        assert text is not None
        own = registry(self.grid.authority_key)
        return open_message(Signed.parse(text), expect=QueryAnswer, trusted=own)

    def release(self, asked: Asked) -> Release:
        answer = self.answer(asked)
        assert answer.reason == "", answer
        key = PinnedAuthority(self.grid.authority_key.public_key)
        release = verify_release(answer.certificate.encode(), authority=key)
        assert answer.groups is not None
        assert release.question == question_digest(asked.content.question, salt=answer.groups.salt)
        return release

    def totals(self, asked: Asked) -> dict[tuple[tuple[str, ...], str], int | None]:
        """By group values and start of the step."""
        answer = self.answer(asked)
        assert answer.groups is not None
        return {
            (
                tuple(answer.groups.groups[int(c.customer_class)].values),
                c.start.isoformat(),
            ): c.value
            for c in self.release(asked).cells
        }

    def readings(self) -> pd.DataFrame:
        """What meters read on the days that were uploaded, with what contracts say."""
        contracts = self.grid.contracts.set_index("meter_point_id")
        readings = self.grid.readings.join(
            contracts[["zone", "customer_class"]], on="meter_point_id"
        )
        return readings[readings["start"].dt.day <= 2]


@dataclass
class DayAsker(Asker):
    """The same about one sealed day, which is all that was closed."""

    day: GridUpload

    @property
    def uploads(self) -> list[GridUpload]:
        return [self.day]

    @property
    def span(self) -> tuple[str, str]:
        return self.day.manifest.start, self.day.manifest.end

    def ask_about(self, pseudonyms: Sequence[str], *, every: str = "day") -> Asked:
        """How much some meter points used that day."""
        where = {"pseudonym": sorted(pseudonyms)}
        day = self.day.manifest.start[:10]
        return self.ask(question_of(where=where, period={"day": day}, every=every), span=self.span)
