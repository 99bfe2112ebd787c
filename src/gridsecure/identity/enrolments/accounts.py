"""The utility's books: which meter point is whose and where, who reads it, who runs a gateway.

Unlike records an account may change: customers move, gateways are replaced. Names, addresses and
customers' numbers are in these tables and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Field, Session, SQLModel, col, select

from gridsecure.errors import InvalidMessageError
from gridsecure.identity_messages import is_fact
from gridsecure.store.database import create_missing

_PORTION: Final = 500  # as in `many_records`


class AccountRow(SQLModel, table=True):
    """One account as stored."""

    __tablename__ = "account"

    meter_point_id: str = Field(primary_key=True)
    gateway: str = Field(index=True)
    name: str
    address: str
    customer_id: str
    zone: str
    customer_class: str


class OwnerRow(SQLModel, table=True):
    """Who runs a gateway, as stored."""

    __tablename__ = "gateway_owner"

    gateway: str = Field(primary_key=True)
    owner: str


@dataclass(frozen=True, slots=True)
class Account:
    """One account.

    Args:
        meter_point_id: The meter point.
        gateway: Thumbprint of the gateway that reads it.
        name: The customer's name.
        address: Where.
        customer_id: Whose contract it is; meter points of one customer have the same.
        zone: Its zone in released tables; empty where the utility has none.
        customer_class: Its class there.

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


def create_account_tables(engine: Engine) -> None:
    """Create the tables where they are missing.

    Raises:
        StorageError: The database refuses.
    """
    tables = SQLModel.metadata.tables
    create_missing(engine, [tables[str(row.__tablename__)] for row in (AccountRow, OwnerRow)])


def put_accounts(session: Session, accounts: Sequence[Account]) -> None:
    """Write accounts, each in place of an earlier one of its meter point.

    Args:
        session: From `write_session`.
        accounts: The accounts.
    """
    for account in accounts:
        session.merge(AccountRow(**asdict(account)))
    session.flush()


def accounts_of(session: Session, meter_point_ids: Sequence[str]) -> dict[str, Account]:
    """Those accounts that there are, by meter point.

    Args:
        session: Any session.
        meter_point_ids: Whose.
    """
    found = {}
    for start in range(0, len(meter_point_ids), _PORTION):
        portion = meter_point_ids[start : start + _PORTION]
        for row in session.exec(
            select(AccountRow).where(col(AccountRow.meter_point_id).in_(portion))
        ):
            found[row.meter_point_id] = Account(**row.model_dump())
    return found


def put_owners(session: Session, owners: Mapping[str, str]) -> None:
    """Write who runs gateways, each in place of what was written before.

    Args:
        session: From `write_session`.
        owners: Gateway -> who runs it; empty, it runs itself.
    """
    for gateway, owner in owners.items():
        session.merge(OwnerRow(gateway=gateway, owner=owner))
    session.flush()


def owners_of(session: Session, gateways: Sequence[str]) -> dict[str, str]:
    """Who runs those gateways that the books say it of.

    Args:
        session: Any session.
        gateways: Their thumbprints.
    """
    found = select(OwnerRow).where(col(OwnerRow.gateway).in_(gateways))
    return {row.gateway: row.owner for row in session.exec(found)}
