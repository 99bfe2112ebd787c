"""What the platform says of a month's closing: its uploads, by list, and what a run would meet.

A list is signed by the billing office, whose key the platform and the key authority know; a reader
here sees what the platform tells and decides nothing by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gridsecure.analyst.releases import BILL, LOAD_CURVE
from gridsecure.messages import ClosingList, Signed
from gridsecure.wire.answers import Answer

OPEN: Final = "open"
IN_FORCE: Final = "in-force"
REPLACED: Final = "replaced"

READY: Final = "ready"
RELEASED: Final = "run.released"
NOT_CLOSED: Final = "run.not-closed"
EMPTY: Final = "run.empty"


@dataclass(frozen=True, slots=True)
class ClosedUpload:
    """A committed upload of a month, and the list that names it.

    Args:
        upload: Digest of the signed upload.
        gateway_id: Its gateway; empty if the platform does not have the upload any more.
        state: `open`, `in-force` or `replaced`, as the list that names it.
        number: That list's number; 0 for an open one.
        closed_at: When that list was signed, ISO 8601; empty for an open one.
    """

    upload: str
    gateway_id: str
    state: str
    number: int = 0
    closed_at: str = ""


@dataclass(frozen=True, slots=True)
class MonthClosing:
    """A month's uploads and what the next run of each plan would meet.

    Args:
        uploads: In the order of their lists, open ones last.
        next_runs: Plan -> `ready`, or the reason the platform would refuse a run for.
    """

    uploads: tuple[ClosedUpload, ...]
    next_runs: Mapping[str, str]

    @property
    def open_count(self) -> int:
        """How many uploads no list in force names."""
        return sum(item.state == OPEN for item in self.uploads)

    @classmethod
    def of_answer(cls, answer: Answer) -> MonthClosing:
        """Read the platform's answer.

        Raises:
            InvalidMessageError: Another shape.
        """
        known = {part.digest("upload"): part.text("gateway_id") for part in answer.parts("uploads")}
        in_force = set(answer.texts("in_force"))
        found = []
        for part in answer.parts("closed"):
            envelope = Signed(
                body_kind=part.text("body_kind"),
                body=part.text("body"),
                signer=part.digest("signer"),
                signature=part.text("signature"),
            )
            content = ClosingList.parse(envelope.body)
            state = IN_FORCE if envelope.digest in in_force else REPLACED
            found += [
                ClosedUpload(name, known.get(name, ""), state, content.number, content.closed_at)
                for name in content.uploads
            ]
        found += [
            ClosedUpload(part.digest("upload"), part.text("gateway_id"), OPEN)
            for part in answer.parts("open")
        ]
        told = answer.part("next")
        return cls(tuple(found), {plan: told.text(plan) for plan in (BILL, LOAD_CURVE)})
