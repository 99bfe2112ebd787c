"""What the portal's pages show, from opened bills; every word in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import gridsecure.statements
from gridsecure.bill_questions import REASONS
from gridsecure.delivered_bills import read_code
from gridsecure.errors import InputError
from gridsecure.portal.comparisons import compare_bills
from gridsecure.portal.folder import BillFolder, year_before
from gridsecure.portal.own_bills import OwnBill
from gridsecure.portal.words import phrases
from gridsecure.statements.bill_document import moment_before
from gridsecure.statements.document import Addressee, make_statement
from gridsecure.statements.figures import money_text
from gridsecure.statements.wording import Language, Wording

_HERE: Final = Path(__file__).parent
_STATEMENTS: Final = Path(gridsecure.statements.__file__).parent
RECEIPT_NAME: Final = "receipt.json"


def stylesheet() -> bytes:
    """The statements' own style, and the portal's."""
    files = (_STATEMENTS / "statement.css", _HERE / "portal.css")
    return b"\n".join(path.read_bytes() for path in files)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader([_HERE, _STATEMENTS]),
        autoescape=True,
        undefined=StrictUndefined,
    )


@dataclass(frozen=True, slots=True)
class Message:
    """A page that says one thing.

    Args:
        back: Where to go on; empty for nowhere.
    """

    title: str
    text: str
    back: str = ""
    is_alarm: bool = False
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Pages:
    """The portal's pages in one language.

    Args:
        root: Path that all of them are below; it has the token.
        can_check: Whether receipts are checked here.
    """

    bills: BillFolder
    language: Language
    root: str
    can_check: bool = False

    @property
    def say(self) -> dict[str, str]:
        """Its phrases."""
        return phrases(self.language) | {"other_tag": self._other.tag}

    @property
    def home(self) -> str:
        """Path of the first page."""
        return f"{self.root}/{self.language}/"

    @property
    def _other(self) -> Language:
        chinese = self.language is Language.CHINESE
        return Language.ENGLISH if chinese else Language.CHINESE

    def link(self, name: str) -> str:
        """Path of a bill's page."""
        return f"{self.root}/{self.language}/bills/{name}"

    def listed(self) -> str:
        """All bills, what the office answered, and files that did not open."""
        found, answers = self.bills.bills(), self.bills.answers()
        rows = [
            {
                "link": self.link(name),
                "period": self._period(bill),
                "version": bill.facts.version,
                "account": bill.facts.account,
                "total": self._money(bill, bill.facts.total),
                "difference": self._against_last_year(bill, found.opened),
            }
            for name, bill in found.opened.items()
        ]
        told = [
            {
                "about": self._about(answer.code),
                "asked": answer.question.text,
                "times": self.say["answer_times"].format(
                    asked=answer.question.asked_at[:16], answered=answer.answered_at[:16]
                ),
                "text": answer.text,
            }
            for answer in answers.opened.values()
        ]
        refused = [*found.refused, *answers.refused]
        return self._list(bills=rows, answers=told, refused=refused)

    def message(self, message: Message) -> str:
        """A page that says one thing."""
        return self._list(message=message)

    def checked(self, found: Mapping[str, Any], *, back: str) -> str:
        """What a check of a receipt found.

        Args:
            found: As `gridsecure receipt verify` says it.
            back: Path of the bill's page.
        """
        say = self.say
        facts = [
            (say["check_readings"], f"{found['readings']:,}"),
            (say["check_estimated"], f"{found['estimated']:,}"),
            (say["check_logged"], f"{found['logged_at']}, {found['log']}"),
            *((name, str(value)) for name, value in found["facts"].items() if value != ""),
        ]
        if found["unchecked"]:
            facts.append((say["check_unchecked"], ", ".join(found["unchecked"])))
        told = Message(say["check_good"], say["check_good_note"], back=back, facts=tuple(facts))
        return self.message(told)

    def bill(self, name: str, *, beside: str = "") -> str:
        """A bill as its statement, with what was checked, a comparison and a form to ask.

        Args:
            beside: Id of the bill that it is compared with; by default that of last year.

        Raises:
            NotFoundError: There is none of these ids (`portal.bill`).
            InputError: As `make_statement`.
        """
        shown, others = self.bills.bill(name), self.bills.bills().opened
        earlier = self.bills.bill(beside) if beside else year_before(shown, others)
        addressee = Addressee(shown.facts.account, shown.facts.issuer or None, shown.code)
        statement = make_statement(shown.period, addressee=addressee, language=self.language)
        wording = self._wording(shown)
        choices = [
            {"id": other, "words": self._period(one), "is_chosen": one is earlier}
            for other, one in others.items()
            if other != name and one.facts.account == shown.facts.account
        ]
        return self._render(
            "bill.html.jinja",
            f"bills/{name}",
            it=statement,
            link=self.link(name),
            code_text=shown.code,
            has_receipt=shown.period.get("receipt") is not None,
            receipt_name=RECEIPT_NAME,
            can_check=self.can_check,
            choices=choices,
            **self._comparison(earlier, shown),
            charges=[(charge, wording.charge(charge)) for charge in shown.charges],
            reasons=[(reason, self.say[f"reason_{reason}"]) for reason in REASONS],
        )

    def _comparison(self, earlier: OwnBill | None, shown: OwnBill) -> dict[str, Any]:
        """The table of two bills, or why there is none."""
        compared, cannot = None, ""
        if earlier is not None:
            try:
                compared = self._compared(earlier, shown)
            except InputError:
                cannot = self.say["currency_differs"]
        return {"compared": compared, "cannot_compare": cannot}

    def _compared(self, earlier: OwnBill, shown: OwnBill) -> dict[str, Any]:
        found = compare_bills(earlier.period, shown.period)
        wording = self._wording(shown)
        rows = [
            (
                wording.charge(line["charge"]),
                *(_figure(line[key]) for key in ("before", "now", "difference")),
            )
            for line in found["lines"]
        ]
        total = tuple(_figure(found[key]) for key in ("before", "total", "difference"))
        then, now = found["days_before"], found["days"]
        days = "" if then == now else self.say["days"].format(then=then, now=now)
        return {"rows": rows, "total": total, "days": days}

    def _against_last_year(self, bill: OwnBill, bills: dict[str, OwnBill]) -> str:
        earlier = year_before(bill, bills)
        if earlier is None or earlier.facts.currency != bill.facts.currency:
            return "—"
        gap = Decimal(bill.facts.total) - Decimal(earlier.facts.total)
        return _figure(f"{gap:+}" if gap else "0.00")

    def _about(self, code: str) -> str:
        facts = read_code(code, office=self.bills.keys.office)
        start = Wording(self.language).date(datetime.fromisoformat(facts.start))
        return self.say["answer_about"].format(account=facts.account, start=start)

    def _period(self, bill: OwnBill) -> str:
        wording = self._wording(bill)
        start, end = (datetime.fromisoformat(at) for at in (bill.facts.start, bill.facts.end))
        first, last = wording.date(start), wording.date(moment_before(end))
        return wording.say("period_dates", first=first, last=last)

    def _money(self, bill: OwnBill, amount: str) -> str:
        return self._wording(bill).amount(_figure(amount))

    def _wording(self, bill: OwnBill) -> Wording:
        return Wording(self.language, bill.facts.currency)

    def _list(self, **values: Any) -> str:
        empty: dict[str, Any] = {"bills": [], "answers": [], "refused": [], "message": None}
        return self._render("list.html.jinja", "", **(empty | values))

    def _render(self, template: str, path: str, **values: Any) -> str:
        return (
            _templates()
            .get_template(template)
            .render(
                say=self.say,
                root=self.root,
                tag=self.language.tag,
                home=self.home,
                other=f"{self.root}/{self._other}/{path}",
                **values,
            )
        )


def _figure(amount: str) -> str:
    """Money with its sign and thousands."""
    shown = money_text(Decimal(amount))
    return f"+{shown}" if amount.startswith("+") else shown
