"""What the routes of the offices take, and how what they show is made."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from gridsecure.credentials.opening import Opener
from gridsecure.identity.enrolments.books import Enrolled
from gridsecure.identity.registrations.person_searches import SearchState
from gridsecure.identity.registrations.warrant_desk import Opening, Warrant
from gridsecure.messages import Signed
from gridsecure.store.log_entries import shown_entry
from gridsecure.wire.identity import AccountShown, OpeningShown, SearchShown, WarrantShown

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


def show_warrant(warrant: Warrant) -> WarrantShown:
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


def show_search(state: SearchState) -> SearchShown:
    """A search as it is shown."""
    return SearchShown(
        entry=shown_entry(state.entry),
        document=state.document,
        tested=state.tested,
        total=state.total,
        found=list(state.found),
        waiting_for=list(state.waiting_for),
    )


def show_opening(found: Opening[Enrolled]) -> OpeningShown:
    """Who a pseudonym is, as it is shown."""
    account = None
    if found.person.account is not None:
        account = AccountShown(
            meter_point_id=found.person.account.meter_point_id,
            name=found.person.account.name,
            address=found.person.account.address,
        )
    return OpeningShown(
        subject=found.subject,
        identity=found.person.identity,
        account=account,
        expires_at=found.expires_at.isoformat(),
    )
