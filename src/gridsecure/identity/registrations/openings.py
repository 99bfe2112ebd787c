"""What the desk says of an order to open: where it stands, and who the pseudonym is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gridsecure.credentials.opening import Opener
from gridsecure.identity.enrolments.accounts import Account
from gridsecure.identity_messages import WarrantDocument
from gridsecure.store.evidence import EvidenceEntry


@dataclass(frozen=True, slots=True)
class Warrant:
    """An order and where it stands.

    Args:
        document: What an office needs for its share.
        entry: The log entry that holds the order.
        waiting_for: Openers whose share is not here; nobody while the result can be read.
        opened: How often it was opened, by the log.
    """

    document: WarrantDocument
    entry: EvidenceEntry
    waiting_for: tuple[Opener, ...]
    opened: int


@dataclass(frozen=True, slots=True)
class Opening:
    """Who a pseudonym is. For both offices, in this process only, until it ends.

    Args:
        subject: The pseudonym.
        identity: The reference in the utility's books.
        account: What the books say of it, if it is in them.
        expires_at: When this is forgotten.
    """

    subject: str
    identity: str = field(repr=False)
    account: Account | None = field(repr=False)
    expires_at: datetime
