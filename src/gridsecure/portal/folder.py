"""A customer's folder: sealed bills and answers that came, questions that go out.

Files are looked at anew at every call, and each is opened once: a bill that was put there shows at
the next look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

from gridsecure.bill_questions import BillAnswer, Reason
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError, NotFoundError, StorageError
from gridsecure.portal.own_bills import CustomerKeys, OwnBill
from gridsecure.statements.bill_document import read_bill
from gridsecure.whole_files import create_file

BILL: Final = ".bill"
ANSWER: Final = ".answer"
QUESTION: Final = ".question"
"""What files end with."""
ID_LETTERS: Final = 16
_LARGEST: Final = 64 * 1024 * 1024
_MOST: Final = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that did not open, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What opened, by its id, and what did not."""

    opened: dict[str, T]
    refused: list[Refused]


@dataclass(slots=True)
class BillFolder:
    """The files of a folder, opened with the customer's key.

    Args:
        folder: With the sealed files, at any depth.
        accounts: Gives those that the customer asked for by now; without it, they stay as they are.
    """

    folder: Path
    keys: CustomerKeys
    accounts: Callable[[], frozenset[str] | None] | None = None
    _bills: dict[str, OwnBill | Refused] = field(default_factory=dict)
    _answers: dict[str, BillAnswer | Refused] = field(default_factory=dict)

    def bills(self) -> Found[OwnBill]:
        """Bills by id, the newest period first, and of one period its newest version."""
        self._ask_for_accounts()
        opened: dict[str, OwnBill] = {}
        known = self._bills  # another page may begin another one meanwhile
        refused = []
        for path, content in self._files(BILL):
            name = sm3_hex(content)
            if name not in known:
                known[name] = self._opened(path, content)
            found = known[name]
            if isinstance(found, Refused):
                refused.append(found)
            else:
                opened[sm3_hex(found.code.encode())[:ID_LETTERS]] = found
        newest = sorted(
            opened.items(),
            key=lambda one: (datetime.fromisoformat(one[1].facts.start), one[1].facts.version),
            reverse=True,
        )
        return Found(dict(newest), refused)

    def bill(self, name: str) -> OwnBill:
        """A bill by its id.

        Raises:
            NotFoundError: There is none here (`portal.bill`).
        """
        found = self.bills().opened.get(name)
        if found is None:
            raise NotFoundError("There is no such bill in the folder.", reason="portal.bill")
        return found

    def answers(self) -> Found[BillAnswer]:
        """What the office answered, the newest first."""
        self._ask_for_accounts()
        opened: dict[str, BillAnswer] = {}
        known = self._answers
        refused = []
        for path, content in self._files(ANSWER):
            name = sm3_hex(content)
            if name not in known:
                known[name] = self._answered(path, content)
            found = known[name]
            if isinstance(found, Refused):
                refused.append(found)
            else:
                opened[name[:ID_LETTERS]] = found
        newest = sorted(opened.items(), key=lambda one: one[1].answered_at, reverse=True)
        return Found(dict(newest), refused)

    def ask(self, bill: OwnBill, *, line: str, reason: Reason, text: str, now: datetime) -> Path:
        """Write a sealed question into the folder; where it is.

        Raises:
            InputError: As `CustomerKeys.ask`.
            StorageError: The disk refuses (`portal.question`).
        """
        sealed, digest = self.keys.ask(bill, line=line, reason=reason, text=text, now=now)
        path = self.folder / f"{digest[:ID_LETTERS]}{QUESTION}"
        try:
            create_file(path, sealed)
        except OSError as error:
            raise StorageError(
                "The question could not be written into the folder.",
                reason="portal.question",
                remedy="Make the folder writable, with enough free space.",
            ) from error
        return path

    def _ask_for_accounts(self) -> None:
        """Try files anew that did not open, once the customer asked for another account."""
        accounts = self.accounts() if self.accounts else self.keys.accounts
        if accounts != self.keys.accounts:
            self.keys = replace(self.keys, accounts=accounts)
            self._bills, self._answers = {}, {}

    def _files(self, ending: str) -> Iterator[tuple[Path, bytes]]:
        """Plain files that are no longer than a bill; no link leads out of the folder."""
        found = sorted(self.folder.rglob(f"*{ending}"))[:_MOST]
        for path in found:
            try:
                if path.is_file() and not path.is_symlink() and path.stat().st_size <= _LARGEST:
                    yield path, path.read_bytes()
            except OSError:
                continue

    def _opened(self, path: Path, content: bytes) -> OwnBill | Refused:
        try:
            found = self.keys.open_bill(content)
            read_bill(found.period)  # one that cannot be shown must not keep the others from it
        except GridSecureError as error:
            return Refused(path.name, error.reason)
        return found

    def _answered(self, path: Path, content: bytes) -> BillAnswer | Refused:
        try:
            return self.keys.open_answer(content)
        except GridSecureError as error:
            return Refused(path.name, error.reason)


def year_before(bill: OwnBill, bills: dict[str, OwnBill]) -> OwnBill | None:
    """The same account's newest bill that began in the same month of the year before."""
    start = datetime.fromisoformat(bill.facts.start)
    for one in bills.values():
        began = datetime.fromisoformat(one.facts.start)
        same = (began.year, began.month) == (start.year - 1, start.month)
        if same and one.facts.account == bill.facts.account:
            return one
    return None
