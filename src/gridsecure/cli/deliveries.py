"""A cycle's statements on their way: sealed to who has a key, to be printed for who has none.

    deliveries.csv            what was made for whom, and which way it goes
    invoices.csv              what an invoice system takes
    print/statement-….pdf     with the receipt beside it
    sealed/THUMBPRINT/….bill  named by the key alone: who carries it learns no meter point

Everything is read, checked and rendered before the first file is written.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from gridsecure.analyst.reports import harmless_label
from gridsecure.cli.statement import (
    RECEIPT,
    read_document,
    refuse_existing,
    write_whole,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.delivered_bills import bill_text, issue_bill, seal_delivery
from gridsecure.errors import ConflictError
from gridsecure.offices.customers import Customers
from gridsecure.portal.receipts import delivered_receipt, has_receipt
from gridsecure.statements.bill_document import Bill, read_bill
from gridsecure.statements.document import OTHER_ENERGY
from gridsecure.statements.options import RenderOptions
from gridsecure.statements.render import StatementOrder, choose_statements, render_statement

DELIVERIES: Final = "deliveries.csv"
INVOICES: Final = "invoices.csv"
SEALED: Final = "sealed"
PRINTED: Final = "print"
_FOLDER_LETTERS: Final = 16
_ITEM: Final = "电费"
_UNIT: Final = "kWh"


@dataclass(frozen=True, slots=True)
class DeliveryJob:
    """What is delivered, and where the files go.

    Args:
        bill: Bill file, as `gridsecure period bills` writes it.
        output: A folder, made if it is not there.
        key: The billing office's, which signs every bill.
        meter: Only this account.
        month: Only periods of this month, YYYY-MM.
        now: The present, aware.
    """

    bill: Path
    output: Path
    key: Sm2PrivateKey
    customers: Customers
    now: datetime
    meter: str | None = None
    month: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many bills went which way."""

    sealed: int
    printed: int


def deliver(job: DeliveryJob, *, options: RenderOptions) -> Delivered:
    """Write a cycle's statements as they leave the office.

    Raises:
        GridSecureError: A bill is none (`statement.…`), a file is there (`statement.exists`,
            `delivery.other-files`), or the disk refuses (`statement.output`).
    """
    chosen = choose_statements(read_document(job.bill), meter_point_id=job.meter, month=job.month)
    bills = [read_bill(order.period) for order in chosen]
    files: dict[Path, bytes] = {}
    rows: list[Sequence[str]] = []
    counted: Counter[Path] = Counter()
    sealed = 0
    for order, bill in zip(chosen, bills, strict=True):
        # What names the receipt goes with the bill, and is signed with it.
        issuer = options.issuer or ""
        code = issue_bill(order.meter_point_id, order.period, issuer=issuer, key=job.key)
        own = _sealed(job, order, code)
        own = {_place(path, bill, counted): content for path, content in own.items()}
        made = own or _printed(
            job, StatementOrder(order.meter_point_id, order.period, code), options
        )
        sealed += bool(own)
        files |= made
        way = SEALED if own else PRINTED
        rows += [_row(order, bill, way, path.relative_to(job.output)) for path in made]
    files[job.output / DELIVERIES] = _table(_DELIVERY_HEAD, rows)
    invoices = (_invoice(order, bill) for order, bill in zip(chosen, bills, strict=True))
    files[job.output / INVOICES] = _table(_INVOICE_HEAD, invoices)
    if not job.force:
        refuse_existing(list(files))
    _refuse_others(job.output, files)
    for path, content in files.items():
        write_whole(path, content)
    return Delivered(sealed, len(chosen) - sealed)


def _refuse_others(output: Path, files: Mapping[Path, bytes]) -> None:
    """Refuse a folder with other files: of who has a key by now, a statement in the clear, say.

    Raises:
        ConflictError: There is one (`delivery.other-files`).
    """
    there = (path for path in output.rglob("*") if not path.is_dir())
    other = next((path for path in there if path not in files), None)
    if other is not None:
        raise ConflictError(
            f"{other.relative_to(output)} is in the folder, and not of these deliveries.",
            reason="delivery.other-files",
            remedy="Give a new folder for each cycle, and after customers were entered or"
            " withdrawn.",
        )


def _sealed(job: DeliveryJob, order: StatementOrder, code: str) -> dict[Path, bytes]:
    """By folder of each key that its account has, the bill sealed to it."""
    return {
        job.output / SEALED / key.thumbprint[:_FOLDER_LETTERS]: seal_delivery(
            order.period, code=code, customer=key, now=job.now
        )
        for key in job.customers.keys_of(order.meter_point_id)
    }


def _place(folder: Path, bill: Bill, counted: Counter[Path]) -> Path:
    """A name that tells nothing of account and version, also where one key has several bills."""
    plain = folder / bill.month
    counted[plain] += 1
    return folder / f"{bill.month}-{counted[plain]}.bill"


def _printed(
    job: DeliveryJob, order: StatementOrder, options: RenderOptions
) -> Mapping[Path, bytes]:
    rendered = render_statement(order, options=options)
    place = job.output / PRINTED / rendered.name
    receipt = {place.with_suffix(RECEIPT): delivered_receipt(order)} if has_receipt(order) else {}
    return {place: rendered.content, **receipt}


_DELIVERY_HEAD: Final = ("account", "month", "version", "total", "currency", "way", "file", "bill")


def _row(order: StatementOrder, bill: Bill, way: str, file: Path) -> Sequence[str]:
    digest = sm3_hex(bill_text(order.period).encode())
    return (
        *(order.meter_point_id, bill.month, str(_version(bill)), str(bill.total), bill.currency),
        *(way, file.as_posix(), digest),
    )


_INVOICE_HEAD: Final = (
    *("account", "month", "version", "item", "unit", "quantity", "net", "vat_rate", "vat", "total"),
    *("currency", "replaces_version", "change"),
)


def _invoice(order: StatementOrder, bill: Bill) -> Sequence[str]:
    """The fields of an electronic invoice; net and tax are empty where the bill has no tax."""
    kwh: dict[str, Decimal] = defaultdict(Decimal)
    for line in bill.lines:
        if line.unit == _UNIT and line.charge not in OTHER_ENERGY:
            kwh[line.charge] += line.quantity
    # A component prices all energy, a surcharge of a tier a part of it.
    energy = max(kwh.values(), default=Decimal(0))
    vat = bill.vat
    tax = ("", "", "") if vat is None else (str(vat.net), str(vat.rate), str(vat.tax))
    change = "" if bill.cancels is None else str(bill.total - bill.cancels.total)
    return (
        *(order.meter_point_id, bill.month, str(_version(bill)), _ITEM, _UNIT, str(energy)),
        *(*tax, str(bill.total), bill.currency),
        *("" if bill.cancels is None else str(bill.cancels.version), change),
    )


def _version(bill: Bill) -> int:
    return bill.version or 1


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A CSV that spreadsheets open as UTF-8, and run no account of as a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows((harmless_label(account), *rest) for account, *rest in rows)
    return out.getvalue().encode("utf-8-sig")
