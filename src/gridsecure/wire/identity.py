"""What the identity service answers: tokens, pseudonyms, and what the offices are shown."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gridsecure.credentials.opening import Opener
from gridsecure.identity_messages import Audience, LogEntry, SearchDocument, SearchWork
from gridsecure.messages import Signed
from gridsecure.wire.services import Answer

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A digest or 32 random bytes."""


class PersonTokens(Answer):
    """A person's tokens, by audience."""

    name: str
    roles: list[str]
    tokens: dict[Audience, str] = Field(repr=False)
    expires_at: str


class ServiceToken(Answer):
    """A service's token."""

    token: str = Field(repr=False)
    expires_at: str


class PersonToken(Answer):
    """A person's token."""

    token: str = Field(repr=False)
    expires_at: str
    roles: list[str]


class Session(Answer):
    """A session for one order."""

    session: Hex32


class Books(Answer):
    """How many accounts were written."""

    accounts: int


class GatewayBooks(Answer):
    """Of how many gateways it was written who runs them."""

    gateways: int


class Keys(Answer):
    """Enrolled keys Y by account, of those that have one."""

    keys: dict[str, str]


class SourceKeyShown(Answer):
    """A meter-data system's key: its thumbprint, and since when the system signs in with it."""

    name: str
    thumbprint: Hex32
    since: str


class SourceKeyWithdrawn(Answer):
    """Whether there was a key to withdraw."""

    withdrawn: bool


class AccountDays(Answer):
    """First day and day after the last one, blank if open, of accounts that are the gateway's."""

    days: dict[str, tuple[str, str]]


class Statements(Answer):
    """What the utility and the regulator say of the keys."""

    statements: list[Signed]


class Challenge(Answer):
    """A challenge, good once and for two minutes."""

    challenge: Hex32


class RegistrationResult(Answer):
    """A holder's pseudonyms of this period, or why there are none."""

    subjects: list[Hex32] | None = None
    reason: str | None = None


class RegistrationResults(Answer):
    """Results in the order of the presentations."""

    items: list[RegistrationResult]


class RegistrationList(Answer):
    """The identity authority's word on those that may act, and those that may not."""

    registrations: Signed | None
    refused: list[str]


class HolderToken(Answer):
    """A token bound to the holder's key."""

    token: str = Field(repr=False)
    expires_at: str


class Terms(Answer):
    """How many grants there are now."""

    period: str
    epoch: str
    limit: int


class Grant(Answer):
    """The tokens of a grant, by audience."""

    tokens: dict[Audience, str] = Field(repr=False)
    expires_at: str


class TrialPass(Answer):
    """The token of a pass for trials of questions."""

    token: str = Field(repr=False)
    expires_at: str


class WarrantShown(Answer):
    """An order to open, what an office needs for its share, and who has not given one.

    `leaves` is what the log committed to when the pseudonym was registered; a list of orders leaves
    it out.
    """

    entry: LogEntry
    subject: str
    escrow: str
    reference: str
    leaves: list[str] = Field(default=[])
    waiting_for: list[Opener]
    opened: int


class AccountShown(Answer):
    """What the utility's books say."""

    meter_point_id: str
    name: str
    address: str


class OpeningShown(Answer):
    """Who a pseudonym is."""

    subject: str
    identity: str
    account: AccountShown | None
    expires_at: str


class Revoked(Answer):
    """How many pseudonyms are revoked by this order and were active before."""

    revoked: int


class SearchShown(Answer):
    """A search and where it stands; `found` was revoked."""

    entry: LogEntry
    document: SearchDocument
    tested: int
    total: int
    found: list[str]
    waiting_for: list[Opener]


class WorkShown(Answer):
    """The next batch that waits for the office that asks, if one does."""

    work: SearchWork | None


class Blocked(Answer):
    """Whether the identity was not blocked before."""

    blocked: bool


class EvidenceShown(Answer):
    """Entries of the log, in order; ask again after the last one until there are none."""

    entries: list[LogEntry]


class LeavesShown(Answer):
    """What one entry of registrations commits to."""

    leaves: list[str]
