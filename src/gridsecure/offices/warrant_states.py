"""Orders, openings and searches as the identity service shows them to the offices.

Invariants: who a pseudonym is appears in no repr; a name is a digest, so that it can stand in a
path and in a command that somebody copies into a shell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gridsecure.credentials.opening import OPENERS
from gridsecure.errors import InvalidMessageError
from gridsecure.wire.answers import Answer


@dataclass(frozen=True, slots=True)
class WarrantState:
    """An order to open a pseudonym, and where it stands.

    Args:
        hash: Of its entry in the evidence log, which is its name.
        index: The entry's place in the log.
        ordered_at: When, aware.
        ordered_by: Who, by the log.
        subject: The pseudonym.
        reference: The order's number in both offices' files.
        waiting_for: Offices whose share is missing; nobody while the result can be read.
        opened: How often it was opened, by the log.
    """

    hash: str
    index: int
    ordered_at: datetime
    ordered_by: str
    subject: str
    reference: str
    waiting_for: tuple[str, ...]
    opened: int

    @property
    def is_open(self) -> bool:
        """The result can be read now."""
        return not self.waiting_for

    @property
    def state(self) -> str:
        """In one word: `open`, `half` (one share), `past` (opened, forgotten) or `ordered`."""
        if self.is_open:
            return "open"
        if len(self.waiting_for) < len(OPENERS):
            return "half"
        return "past" if self.opened else "ordered"

    @classmethod
    def of(cls, answer: Answer) -> WarrantState:
        """Read one.

        Raises:
            InvalidMessageError: Another shape (`message.answer`).
        """
        entry = answer.part("entry")
        return cls(
            hash=entry.digest("hash"),
            index=entry.number("index"),
            ordered_at=entry.moment("at"),
            ordered_by=entry.text("actor"),
            subject=answer.digest("subject"),
            reference=answer.text("reference"),
            waiting_for=_offices(answer, "waiting_for"),
            opened=answer.number("opened"),
        )


@dataclass(frozen=True, slots=True)
class Opening:
    """Who a pseudonym is, for minutes.

    Args:
        subject: The pseudonym.
        identity: The reference in the utility's books.
        meter_point_id: From the books; empty if it is not in them, as name and address.
        expires_at: When the service forgets it, aware.
    """

    subject: str
    identity: str = field(repr=False)
    meter_point_id: str = field(repr=False)
    name: str = field(repr=False)
    address: str = field(repr=False)
    expires_at: datetime

    @classmethod
    def of(cls, answer: Answer) -> Opening:
        """Read one.

        Raises:
            InvalidMessageError: Another shape (`message.answer`).
        """
        account = answer.part("account")
        return cls(
            subject=answer.digest("subject"),
            identity=answer.text("identity"),
            meter_point_id=account.text("meter_point_id", ""),
            name=account.text("name", ""),
            address=account.text("address", ""),
            expires_at=answer.moment("expires_at"),
        )


@dataclass(frozen=True, slots=True)
class PersonSearch:
    """A search for a person's pseudonyms, and where it stands.

    Args:
        hash: Of its entry in the evidence log, which is its name.
        state: In one word of the service, or empty.
        waiting_for: Offices that have a step to do now.
        done: Pseudonyms tested.
        of: Of how many.
        found: How many matched and were revoked.
    """

    hash: str
    state: str
    waiting_for: tuple[str, ...]
    done: int
    of: int
    found: int

    @classmethod
    def of_answer(cls, answer: Answer) -> PersonSearch:
        """Read one, as listed in short or with its whole entry; other fields are left out.

        Raises:
            InvalidMessageError: Another shape (`message.answer`).
        """
        named = answer if answer.text("hash", "") else answer.part("entry")
        return cls(
            hash=named.digest("hash"),
            state=answer.text("state", ""),
            waiting_for=_offices(answer, "waiting_for"),
            done=answer.number("done", answer.number("tested", 0)),
            of=answer.number("of", answer.number("total", 0)),
            found=answer.count("found"),
        )


def _offices(answer: Answer, name: str) -> tuple[str, ...]:
    found = answer.texts(name)
    if not set(found) <= set(OPENERS):
        raise InvalidMessageError(
            f"The identity service names an unknown office: {name}.",
            reason="message.answer",
            remedy="Run the same release of every service.",
        )
    return found
