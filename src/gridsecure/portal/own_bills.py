"""Bills that a customer's key opens, and questions about them. Nothing is sent from here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gridsecure.bill_questions import (
    LONGEST_QUESTION,
    BillAnswer,
    BillQuestion,
    Reason,
    open_answer,
    require_line,
    require_text,
    seal_question,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.delivered_bills import IssuedBill, open_delivery, read_code
from gridsecure.errors import InputError
from gridsecure.messages import Digest


@dataclass(frozen=True, slots=True)
class OwnBill:
    """A bill that was opened, and that the office signed.

    Args:
        facts: What the office signed of it.
        code: The signed facts, for the QR code and for questions.
        period: One period of a bill document.
    """

    facts: IssuedBill
    code: str
    period: dict[str, Any]

    @property
    def charges(self) -> list[str]:
        """Names of its charges, each once, in the bill's order."""
        return list(dict.fromkeys(str(line["charge"]) for line in self.period["lines"]))


@dataclass(frozen=True, slots=True)
class CustomerKeys:
    """The customer's own key, and the office that bills are believed of.

    Args:
        accounts: Those that the customer asked to have sealed to this key; None where that was not
            kept.
    """

    own: Sm2PrivateKey
    office: Sm2PublicKey
    accounts: frozenset[str] | None = None

    def open_bill(self, sealed: bytes) -> OwnBill:
        """A bill that was sealed to this key.

        Anybody who has a genuine bill can seal it to anybody's key, so the account is looked at.

        Raises:
            InputError: It is of an account that the customer did not ask for (`delivery.account`).
            GridSecureError: As `delivered_bills.open_delivery`.
        """
        opened = OwnBill(*open_delivery(sealed, key=self.own, office=self.office))
        self._require_own(opened.facts.account)
        return opened

    def _require_own(self, account: str) -> None:
        if self.accounts is not None and account not in self.accounts:
            raise InputError(
                f"This is a bill of {account}, and you asked for no bills of it with this key.",
                reason="delivery.account",
                remedy="If the account is yours, ask for it with `gridsecure my key`; if not, tell"
                " the billing office who sent it.",
            )

    def ask(
        self, bill: OwnBill, *, line: str, reason: Reason, text: str, now: datetime
    ) -> tuple[bytes, Digest]:
        """A question about a bill, signed and sealed to the office; and its digest.

        Args:
            line: A charge of the bill, or empty.
            now: The present, aware.

        Raises:
            InputError: As `require_line` and `require_text`.
        """
        question = BillQuestion(
            code=bill.code,
            line=require_line(line, charges=bill.charges),
            reason=reason,
            text=require_text(text, longest=LONGEST_QUESTION),
            asked_at=now.isoformat(),
        )
        return seal_question(question, key=self.own, office=self.office, now=now)

    def open_answer(self, sealed: bytes) -> BillAnswer:
        """An answer to a question of this key, about a bill that the office issued.

        Raises:
            InputError: The bill is of an account that the customer did not ask for
                (`delivery.account`).
            GridSecureError: As `bill_questions.open_answer` and `delivered_bills.read_code`.
        """
        answer = open_answer(sealed, key=self.own, office=self.office)
        self._require_own(read_code(answer.code, office=self.office).account)
        return answer
