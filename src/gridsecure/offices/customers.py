"""The billing office's list of customers' keys: to whom a bill can be sealed.

It stays on the office's own machine. A key is entered with the customer's signed request, of which
somebody at the office knows that it is the customer's: seen on paper, or read out on the telephone
by its thumbprint.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Final

from pydantic import Field

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.delivered_bills import fetching_secret, read_request
from gridsecure.errors import ConflictError, InputError, NotFoundError, SignatureError
from gridsecure.messages import Digest, Message, Signed
from gridsecure.offices.own_lists import OwnList


class Customer(Message):
    """A key that an account's bills are sealed to.

    Args:
        account: The name that its bills are under.
        request: The customer's signed request, which has the key.
        entered_at: When the office entered it, ISO 8601; empty in lists of before this was kept.
    """

    kind: ClassVar[str] = "customer"
    account: str
    request: Signed
    entered_at: str = ""

    @property
    def key(self) -> Sm2PublicKey:
        """The key.

        Raises:
            SignatureError: As `read_request`, or its customer asked for another account
                (`authenticity.customer-key`).
        """
        account, key = read_request(self.request)
        if account != self.account:
            raise SignatureError(
                f"A key stands under {self.account} that was asked for under another account.",
                reason="authenticity.customer-key",
                remedy="Somebody changed the list: restore the file from its backup.",
            )
        return key


def require_account(request: Signed, account: str) -> None:
    """Hold a request to the account of whom somebody at the office spoke to.

    Who hands in a request writes its account, and a thumbprint that is read out says nothing of it.

    Raises:
        SignatureError: As `read_request`.
        InputError: It is for another account (`customers.account`).
    """
    asked, _ = read_request(request)
    if asked != account:
        raise InputError(
            f"The request is for {asked}, and not for {account}.",
            reason="customers.account",
            remedy="Enter it under no other account than the customer's own, whom you know; one who"
            " has several hands in a request for each.",
        )


class MovedOut(Message):
    """A key that an account's bills are sealed to no longer.

    Args:
        key: Its thumbprint.
    """

    kind: ClassVar[str] = "customer-moved-out"
    account: str
    key: Digest


class Customers(Message):
    """All customers who have a key.

    Args:
        withdrawn: Thumbprints of lost keys, which are sealed to for no account, for good.
        moved_out: Keys of accounts that have them no longer, for good; under other accounts they
            stay.
    """

    kind: ClassVar[str] = "customers"
    customers: list[Customer] = Field(default_factory=list)
    withdrawn: list[Digest] = Field(default_factory=list)
    moved_out: list[MovedOut] = Field(default_factory=list)

    def keys_of(self, account: str) -> list[Sm2PublicKey]:
        """The keys that an account's bills are sealed to; none where it has none."""
        return [one.key for one in self.customers if one.account == account]

    def entered_at(self, account: str, key: Digest) -> str:
        """When an account's key was entered, ISO 8601; empty where that was not kept.

        Args:
            key: Its thumbprint.
        """
        found = (one for one in self.customers if one.account == account)
        return next((one.entered_at for one in found if one.request.signer == key), "")

    def add(self, request: Signed, *, now: datetime) -> tuple[Customers, Customer]:
        """The list with one key more, or a key's newer request, by which bills can be fetched.

        Args:
            now: The present, aware.

        Raises:
            SignatureError: As `read_request`.
            ConflictError: The account has this key already (`customers.twice`), or it was withdrawn
                (`customers.withdrawn`).
        """
        account, key = read_request(request)
        moved = MovedOut(account=account, key=key.thumbprint)
        if key.thumbprint in self.withdrawn or moved in self.moved_out:
            raise ConflictError(
                f"This key was withdrawn: no bill of {account} is sealed to it any more.",
                reason="customers.withdrawn",
                remedy="Have the customer make a new one with `gridsecure my key`.",
            )
        before = self._entry(account, key)
        if before is not None:
            if fetching_secret(before.request) is None and fetching_secret(request) is not None:
                renewed = before.model_copy(update={"request": request})
                kept = [renewed if one is before else one for one in self.customers]
                return self.model_copy(update={"customers": kept}), renewed
            raise ConflictError(
                f"{account} has this key already.",
                reason="customers.twice",
                remedy="Nothing is to be done.",
            )
        added = Customer(account=account, request=request, entered_at=now.isoformat())
        return self.model_copy(update={"customers": [*self.customers, added]}), added

    def without(self, account: str, thumbprint: str) -> Customers:
        """The list without an account's key, which cannot be entered again for this account.

        Under other accounts the same key stays: one customer may have several. What is taken off is
        not verified first: an altered entry stops no withdrawal.

        Args:
            thumbprint: The key's, or how it begins.

        Raises:
            NotFoundError: The account has no such key, or several that begin so (`customers.key`).
        """
        gone = MovedOut(account=account, key=self._find(account, thumbprint))
        kept = [
            one
            for one in self.customers
            if (one.account, one.request.signer) != (account, gone.key)
        ]
        return self.model_copy(update={"customers": kept, "moved_out": [*self.moved_out, gone]})

    def without_lost(self, account: str, thumbprint: str) -> tuple[Customers, list[str]]:
        """The list without a lost key under any account, and the accounts that it was under.

        Args:
            account: One of them, or one that it was taken off before it was found lost.
            thumbprint: The key's, or how it begins.

        Raises:
            NotFoundError: As `without`.
        """
        moved = {one.key for one in self.moved_out if one.account == account}
        gone = self._find(account, thumbprint, also=moved)
        kept = [one for one in self.customers if one.request.signer != gone]
        accounts = sorted(one.account for one in self.customers if one.request.signer == gone)
        update = {"customers": kept, "withdrawn": [*self.withdrawn, gone]}
        return self.model_copy(update=update), accounts

    def _entry(self, account: str, key: Sm2PublicKey) -> Customer | None:
        """An account's entry with a key."""
        own = (one for one in self.customers if one.account == account)
        return next((one for one in own if one.key.thumbprint == key.thumbprint), None)

    def _find(self, account: str, thumbprint: str, *, also: Iterable[Digest] = ()) -> Digest:
        known = {*(one.request.signer for one in self.customers if one.account == account), *also}
        found = [one for one in known if one.startswith(thumbprint)]
        if len(found) != 1:
            raise NotFoundError(
                f"{account} has no such key.",
                reason="customers.key",
                remedy="`gridsecure office customers` lists accounts and keys.",
            )
        return found[0]

    def thumbprints(self) -> list[tuple[str, str]]:
        """Account and key's thumbprint of each, sorted."""
        return sorted((one.account, one.key.thumbprint) for one in self.customers)


CUSTOMER_LIST: Final = OwnList(
    "The list of customers' keys cannot be read or written, and stays as it is.",
    empty=Customers(),
    reason="customers.file",
    remedy="Check its path and the free space, or restore the file from its backup.",
)
"""The office's file of them."""
