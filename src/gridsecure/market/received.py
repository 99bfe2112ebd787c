"""A document as it came in: its text, what it says, who signed it, when it came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from gridsecure.circulation.documents import Member, moment
from gridsecure.circulation.trade import Need, Offer
from gridsecure.market import shelf
from gridsecure.market.tables import DocumentRow
from gridsecure.messages import Message, ReleaseCertificate, Signed

SaidT = TypeVar("SaidT", bound=Message)


@dataclass(frozen=True, slots=True)
class Received(Generic[SaidT]):
    """A document whose signature was verified.

    Args:
        certificate: The release certificate in it, whose signature was verified too.
        now: The present, aware.
    """

    envelope: Signed
    said: SaidT
    member: Member
    now: datetime
    certificate: ReleaseCertificate | None = None

    def row(
        self,
        name: str,
        *,
        organisation: str = "",
        counterpart: str = "",
        about: str = "",
        month: str = "",
        state: str = shelf.IN_FORCE,
    ) -> DocumentRow:
        """The row that keeps it.

        Args:
            organisation: Whose it is; its signer's, if left out.
        """
        ends = self.said.valid_until if isinstance(self.said, Offer | Need) else None
        return DocumentRow(
            message=self.envelope.model_dump_json(),
            digest=self.envelope.digest,
            kind=self.said.kind,
            name=name,
            organisation=organisation or self.member.organisation,
            counterpart=counterpart,
            about=about,
            month=month,
            state=state,
            until=None if ends is None else moment(ends),
            at=self.now,
        )
