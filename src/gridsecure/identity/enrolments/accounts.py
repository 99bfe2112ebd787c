"""The utility's books: which meter point is whose and where, who reads it, who runs a gateway.

Unlike other rows an account may change: customers move, gateways are replaced. Names, addresses and
customers' numbers are in these tables and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from sqlmodel import Session

from gridsecure.errors import InvalidMessageError
from gridsecure.identity.enrolments.tables import AccountRow, OwnerRow
from gridsecure.identity_messages import is_fact
from gridsecure.store.rows import find_many, replace_all


@dataclass(frozen=True, slots=True)
class Account:
    """One account.

    Args:
        gateway: Thumbprint of the gateway that reads it.
        customer_id: Whose contract it is; meter points of one customer have the same.
        zone: Its zone in released tables; empty where the utility has none.

    Raises:
        InvalidMessageError: No customer, or a zone or class that is long or does not print
            (`books.account`).
    """

    meter_point_id: str
    gateway: str
    name: str = field(repr=False)
    address: str = field(repr=False)
    customer_id: str = field(repr=False)
    zone: str
    customer_class: str

    def __post_init__(self) -> None:
        if not self.customer_id or not (is_fact(self.zone) and is_fact(self.customer_class)):
            raise InvalidMessageError(
                f"The account of {self.meter_point_id!r} has no customer, or a zone or class that"
                " is long, begins or ends with a blank, or does not print.",
                reason="books.account",
                remedy="Name the customer; keep zone and class short and printable.",
            )


def put_accounts(session: Session, accounts: Sequence[Account]) -> None:
    """Write accounts, each in place of an earlier one of its meter point.

    Args:
        session: From `write_session`.
    """
    replace_all(session, AccountRow, [asdict(one) for one in accounts], by="meter_point_id")


def find_accounts(session: Session, meter_point_ids: Sequence[str]) -> dict[str, Account]:
    """Those accounts that there are, by meter point."""
    found = find_many(session, AccountRow, meter_point_ids, by="meter_point_id")
    return {name: Account(**row.model_dump()) for name, row in found.items()}


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
