"""What the routes of the offices take and show."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from gridsecure.credentials.opening import Opener
from gridsecure.identity.log_entries import shown_entry
from gridsecure.identity.openings import Opening, Warrant
from gridsecure.identity.search_states import SearchState
from gridsecure.identity_messages import LogEntry, SearchDocument, SearchWork
from gridsecure.messages import Signed

SUBJECT: Final = r"^[0-9a-f]{64}$"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class SubjectOrder(_Body):
    """To open or to revoke a pseudonym."""

    subject: str = Field(pattern=SUBJECT)
    reference: str = Field(min_length=1, max_length=256)


class IdentityOrder(_Body):
    """To block an identity."""

    identity: str = Field(min_length=1, max_length=256)
    reference: str = Field(min_length=1, max_length=256)


class SearchOrder(IdentityOrder):
    """To search for a person; or only for what it had before its key was replaced."""

    replaced: bool = False


class ShareGiven(_Body):
    """One office's share, in hexadecimal."""

    opener: Opener
    share: str = Field(pattern=r"^[0-9a-f]{194}$", repr=False)


class RekeyOrders(_Body):
    """The same order, signed by both offices."""

    orders: list[Signed] = Field(min_length=2, max_length=2)


class WarrantShown(_Body):
    """An order to open, what an office needs for its share, and who has not given one.

    `leaves` is what the log committed to when the pseudonym was registered; a list of orders leaves
    it out.
    """

    entry: LogEntry
    subject: str
    escrow: str
    reference: str
    leaves: list[str] = []
    waiting_for: list[Opener]
    opened: int


class AccountShown(_Body):
    """What the utility's books say."""

    meter_point_id: str
    name: str
    address: str


class OpeningShown(_Body):
    """Who a pseudonym is."""

    subject: str
    identity: str
    account: AccountShown | None
    expires_at: str


class Revoked(_Body):
    """How many pseudonyms are revoked by this order and were active before."""

    revoked: int


class SearchShown(_Body):
    """A search and where it stands; `found` was revoked."""

    entry: LogEntry
    document: SearchDocument
    tested: int
    total: int
    found: list[str]
    waiting_for: list[Opener]


class WorkShown(_Body):
    """The next batch that waits for the office that asks, if one does."""

    work: SearchWork | None


class Blocked(_Body):
    """Whether the identity was not blocked before."""

    blocked: bool


class EvidenceShown(_Body):
    """Entries of the log, in order; ask again after the last one until there are none."""

    entries: list[LogEntry]


class LeavesShown(_Body):
    """What one entry of registrations commits to."""

    leaves: list[str]


def shown_warrant(warrant: Warrant) -> WarrantShown:
    """An order as it is shown."""
    return WarrantShown(
        entry=shown_entry(warrant.entry),
        subject=warrant.document.subject,
        escrow=warrant.document.escrow,
        reference=warrant.document.reference,
        leaves=warrant.document.leaves,
        waiting_for=list(warrant.waiting_for),
        opened=warrant.opened,
    )


def shown_search(state: SearchState) -> SearchShown:
    """A search as it is shown."""
    return SearchShown(
        entry=shown_entry(state.entry),
        document=state.document,
        tested=state.tested,
        total=state.total,
        found=list(state.found),
        waiting_for=list(state.waiting_for),
    )


def shown_opening(found: Opening) -> OpeningShown:
    """Who a pseudonym is, as it is shown."""
    account = None
    if found.account is not None:
        account = AccountShown(
            meter_point_id=found.account.meter_point_id,
            name=found.account.name,
            address=found.account.address,
        )
    return OpeningShown(
        subject=found.subject,
        identity=found.identity,
        account=account,
        expires_at=found.expires_at.isoformat(),
    )
