"""The utility's books: which meter point is whose and where, who reads it when, who runs a gateway.

Unlike other rows an account may change: customers move, gateways are replaced. Names, addresses and
customers' numbers are in these tables and nowhere else.

A meter point that moves from one gateway to another has a name at each. Gateways do not know of
each other, and pseudonyms of two names have nothing in common, so these books alone can say that no
day of one meter point is two gateways'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Final

from sqlmodel import Session

from gridsecure.errors import InvalidMessageError
from gridsecure.identity.enrolments.tables import AccountRow, OwnerRow
from gridsecure.identity_messages import is_fact, meter_point_of
from gridsecure.store.rows import find_each, find_many, replace_all

_NEVER: Final = "9999-12-31"


@dataclass(frozen=True, slots=True)
class Account:
    """One account.

    Args:
        gateway: Thumbprint of the gateway that reads it.
        customer_id: Whose contract it is; meter points of one customer have the same.
        zone: Its zone in released tables; empty where the utility has none.
        valid_from: The first local day that the gateway has it, ISO 8601; empty, it always had.
        valid_to: The day after the last one; empty, it goes on.

    Raises:
        InvalidMessageError: No customer, or a zone or class that is long or does not print
            (`books.account`); days that are none, or end before they begin (`books.days`).
    """

    meter_point_id: str
    gateway: str
    name: str = field(repr=False)
    address: str = field(repr=False)
    customer_id: str = field(repr=False)
    zone: str
    customer_class: str
    valid_from: str = ""
    valid_to: str = ""

    def __post_init__(self) -> None:
        if not self.customer_id or not (is_fact(self.zone) and is_fact(self.customer_class)):
            raise InvalidMessageError(
                f"The account of {self.meter_point_id!r} has no customer, or a zone or class that"
                " is long, begins or ends with a blank, or does not print.",
                reason="books.account",
                remedy="Name the customer; keep zone and class short and printable.",
            )
        if not all(map(_is_day, self.days)) or not self.valid_from < self._end:
            raise InvalidMessageError(
                f"The account of {self.meter_point_id!r} has days that are none.",
                reason="books.days",
                remedy="Give valid_from and valid_to as 2026-07-16, the later one exclusive.",
            )

    @property
    def site(self) -> str:
        """The id of the meter point that it is about, whatever its own name."""
        return meter_point_of(self.meter_point_id)

    @property
    def days(self) -> tuple[str, str]:
        """The first day, and the day after the last one; empty where there is none."""
        return self.valid_from, self.valid_to

    @property
    def _end(self) -> str:
        return self.valid_to or _NEVER

    def collides(self, other: Account) -> bool:
        """Whether another gateway's account has a day of the same meter point."""
        others = self.site == other.site and self.gateway != other.gateway
        return others and self.valid_from < other._end and other.valid_from < self._end


def _is_day(text: str) -> bool:
    """Whether it is a day, or blank."""
    try:
        return text == "" or date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


_FIELDS: Final = tuple(one.name for one in fields(Account))


def put_accounts(session: Session, accounts: Sequence[Account]) -> None:
    """Write accounts, each in place of an earlier one of its meter point.

    Args:
        session: From `write_session`.
    """
    rows = [asdict(one) | {"site": one.site} for one in accounts]
    replace_all(session, AccountRow, rows, by="meter_point_id")


def find_accounts(session: Session, meter_point_ids: Sequence[str]) -> dict[str, Account]:
    """Those accounts that there are, by meter point."""
    found = find_many(session, AccountRow, meter_point_ids, by="meter_point_id")
    return {name: _account(row) for name, row in found.items()}


def find_colliding(session: Session, accounts: Sequence[Account]) -> list[Account]:
    """Those of some accounts whose meter point another gateway has on a day of theirs.

    Args:
        accounts: As they are in the books.
    """
    sites = sorted({one.site for one in accounts})
    beside: dict[str, list[Account]] = {}
    for row in find_each(session, AccountRow, sites, by="site"):
        beside.setdefault(row.site, []).append(_account(row))
    return [one for one in accounts if any(map(one.collides, beside[one.site]))]


def _account(row: AccountRow) -> Account:
    return Account(**{name: getattr(row, name) for name in _FIELDS})


def put_owners(session: Session, owners: Mapping[str, str]) -> None:
    """Write who runs gateways, each in place of what was written before.

    Args:
        session: From `write_session`.
        owners: Gateway -> who runs it; empty, it runs itself.
    """
    rows = [{"gateway": gateway, "owner": owner} for gateway, owner in owners.items()]
    replace_all(session, OwnerRow, rows, by="gateway")


def find_owners(session: Session, gateways: Sequence[str]) -> dict[str, str]:
    """Who runs those gateways that the books say it of.

    Args:
        gateways: Their thumbprints.
    """
    found = find_many(session, OwnerRow, gateways, by="gateway")
    return {gateway: row.owner for gateway, row in found.items()}
