"""Reading and validating a month: steps 1 and 2 of the protocol in `months`. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from gridsecure.billing.rule_books import RuleBook, parse_kept_book
from gridsecure.billing.rule_policies import ValidationPolicy
from gridsecure.gateway.books.months import MonthContracts
from gridsecure.gateway.check_files import check_sums
from gridsecure.gateway.collection import (
    Collected,
    MonthFiles,
    collect,
    find_vouched,
    read_files,
)
from gridsecure.gateway.past_profiles import find_profiles
from gridsecure.periods import BillingPeriod


@dataclass(frozen=True, slots=True, eq=False)
class ValidatedMonth:
    """A month after steps 1 and 2.

    Args:
        books: What the books say of it.
        book: The rules that it was validated by.
    """

    books: MonthContracts
    book: RuleBook
    collected: Collected


def validate_month(
    files: MonthFiles,
    *,
    period: BillingPeriod,
    timezone: str,
    at: datetime,
    begin: Callable[[str], None],
) -> ValidatedMonth:
    """Read the month's files and batches and validate them.

    Args:
        files: What the operator handed in; its trace is told where each reading comes from.
        timezone: Local time of the files.
        begin: Told of each stage.

    Raises:
        InputError: A file is unusable.
        StorageError: A batch or an edit is gone or was altered.
    """
    # 1. Read.
    begin("read")
    books = files.contracts()
    known = replace(files, contracts=lambda: books)  # asked for each file
    sources = [
        replace(one, readings=books.name_holders(one.readings, timezone=timezone))
        for one in read_files(known, timezone=timezone, period=period)
    ]
    if files.trace is not None:
        sources = files.trace.finish(sources)
    # 2. Validate.
    begin("validate")
    book, months = parse_kept_book(files.rules), files.months or files.folder.parent
    past = find_profiles(months, month=files.month, rules=book.estimation)
    vouched = find_vouched(known, sources, timezone=timezone, period=period)
    policy = ValidationPolicy(book, books.contracts, files.waived, past, vouched)
    parts = books.parts(period)
    collected = check_sums(
        collect(sources, policy=policy, period=period, now=at, parts=parts),
        files=known,
        policy=policy,
        period=period,
        timezone=timezone,
    )
    return ValidatedMonth(books, book, collected)
