"""The utility's books of accounts: which meter point is whose, and which gateway reads it.

Unlike records an account may change: customers move, gateways are replaced. Names and addresses are
in this table and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Field, Session, SQLModel, col, select

from gridsecure.store.database import create_missing

_PORTION: Final = 500  # as in `many_records`


class AccountRow(SQLModel, table=True):
    """One account as stored."""

    __tablename__ = "account"

    meter_point_id: str = Field(primary_key=True)
    gateway: str = Field(index=True)
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Account:
    """One account.

    Args:
        meter_point_id: The meter point.
        gateway: Thumbprint of the gateway that reads it.
        name: The customer.
        address: Where.
    """

    meter_point_id: str
    gateway: str
    name: str = field(repr=False)
    address: str = field(repr=False)


def create_account_table(engine: Engine) -> None:
    """Create the table where it is missing.

    Raises:
        StorageError: The database refuses.
    """
    create_missing(engine, [SQLModel.metadata.tables[str(AccountRow.__tablename__)]])


def put_accounts(session: Session, accounts: Sequence[Account]) -> None:
    """Write accounts, each in place of an earlier one of its meter point.

    Args:
        session: From `write_session`.
        accounts: The accounts.
    """
    for account in accounts:
        session.merge(
            AccountRow(
                meter_point_id=account.meter_point_id,
                gateway=account.gateway,
                name=account.name,
                address=account.address,
            )
        )
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
            found[row.meter_point_id] = Account(
                row.meter_point_id, row.gateway, row.name, row.address
            )
    return found
