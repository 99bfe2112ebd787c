"""The billing office's list of customers' keys: to whom a bill can be sealed.

It stays on the office's own machine. A key is entered with the customer's signed request, of which
somebody at the office knows that it is the customer's: seen on paper, or read out on the telephone
by its thumbprint.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.delivered_bills import read_request
from gridsecure.errors import ConflictError, NotFoundError
from gridsecure.messages import Digest, Message, Signed
from gridsecure.offices.own_lists import read_list, write_list


class Customer(Message):
    """A key that an account's bills are sealed to.

    Args:
        account: The name that its bills are under.
        request: The customer's signed request, which has the key.
    """

    kind: ClassVar[str] = "customer"
    account: str
    request: Signed

    @property
    def key(self) -> Sm2PublicKey:
        """The key.

        Raises:
            SignatureError: As `read_request`.
        """
        return read_request(self.request)[1]


class Customers(Message):
    """All customers who have a key.

    Args:
        withdrawn: Thumbprints of keys that were taken off the list, for good.
    """

    kind: ClassVar[str] = "customers"
    customers: list[Customer] = Field(default_factory=list)
    withdrawn: list[Digest] = Field(default_factory=list)

    def keys_of(self, account: str) -> list[Sm2PublicKey]:
        """The keys that an account's bills are sealed to; none where it has none."""
        return [one.key for one in self.customers if one.account == account]

    def add(self, request: Signed) -> tuple[Customers, Customer]:
        """The list with one key more.

        Raises:
            SignatureError: As `read_request`.
            ConflictError: The account has this key already (`customers.twice`), or it was withdrawn
                (`customers.withdrawn`).
        """
        account, key = read_request(request)
        if key.thumbprint in self.withdrawn:
            raise ConflictError(
                "This key was withdrawn, and nothing is sealed to it any more.",
                reason="customers.withdrawn",
                remedy="Have the customer make a new one with `gridsecure my key`.",
            )
        if any(one.thumbprint == key.thumbprint for one in self.keys_of(account)):
            raise ConflictError(
                f"{account} has this key already.",
                reason="customers.twice",
                remedy="Nothing is to be done.",
            )
        added = Customer(account=account, request=request)
        return self.model_copy(update={"customers": [*self.customers, added]}), added

    def without(self, account: str, thumbprint: str) -> Customers:
        """The list without a key; no later bill is sealed to it, and it cannot be entered again.

        Args:
            thumbprint: The key's, or how it begins.

        Raises:
            NotFoundError: The account has no such key, or several that begin so (`customers.key`).
        """
        found = [one for one in self.keys_of(account) if one.thumbprint.startswith(thumbprint)]
        if len(found) != 1:
            raise NotFoundError(
                f"{account} has no such key.",
                reason="customers.key",
                remedy="`gridsecure office customers` lists accounts and keys.",
            )
        gone = found[0].thumbprint
        kept = [one for one in self.customers if one.key.thumbprint != gone]
        return Customers(customers=kept, withdrawn=[*self.withdrawn, gone])

    def thumbprints(self) -> list[tuple[str, str]]:
        """Account and key's thumbprint of each, sorted."""
        return sorted((one.account, one.key.thumbprint) for one in self.customers)


def read_customers(path: Path) -> Customers:
    """The list in a file; an empty one where there is no file yet.

    Raises:
        StorageError: It cannot be read, or is no such list (`customers.file`).
    """
    return read_list(path, Customers(), reason="customers.file")


def write_customers(path: Path, customers: Customers) -> None:
    """Write the list in place of the earlier one, whole or not at all.

    Raises:
        StorageError: The disk refuses (`customers.file`).
    """
    write_list(path, customers, reason="customers.file")
