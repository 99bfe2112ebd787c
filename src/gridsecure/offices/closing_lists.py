"""The billing office's closing lists: which uploads of a month are billed and totalled together."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import InputError, NotFoundError
from gridsecure.messages import ClosingList, Signed, sign_message
from gridsecure.month_texts import CALENDAR
from gridsecure.offices.officers import Call

PATH: Final = "/closing-lists"


def close_month(  # noqa: PLR0913 - what is closed, and two choices
    call: Call,
    *,
    key: Sm2PrivateKey,
    start: str,
    end: str,
    now: datetime,
    leave_out: Collection[str] = (),
    cycle_day: int = CALENDAR,
) -> int:
    """Sign and hand in a month's next list: all that is open, or a list in force less some uploads.

    Args:
        call: Calls the services as a member of the billing staff.
        start: Start of the month, ISO 8601.
        now: The present, aware.
        leave_out: Uploads that the list in force which names them is signed anew without.
        cycle_day: Day of the month that the billing periods of what is closed begin on; rosters of
            several cycles may have uploads of one day, which are totalled apart.

    Returns:
        How many uploads the list names.

    Raises:
        NotFoundError: Nothing is open (`period.nothing-open`).
        InputError: No one list in force names what is left out, or it names nothing else
            (`period.leave-out`).
        GridSecureError: The platform refused.
    """
    answer = call("platform", "GET", PATH, params={"start": start, "end": end})
    if leave_out:
        uploads = _remaining(answer, set(leave_out))
    else:
        uploads = [one["upload"] for one in answer["open"] if one["cycle_day"] == cycle_day]
    if not uploads:
        raise NotFoundError(
            "No committed upload of this month and cycle is open.",
            reason="period.nothing-open",
            remedy="Wait for the gateways' uploads. Uploads that are already closed can be run.",
        )
    number = len(answer["closed"]) + 1
    envelope = sign_closing_list(uploads, number=number, key=key, start=start, end=end, now=now)
    call("platform", "POST", PATH, json=envelope.model_dump())
    return len(uploads)


def sign_closing_list(
    uploads: Collection[str],
    *,
    number: int,
    key: Sm2PrivateKey,
    start: str,
    end: str,
    now: datetime,
) -> Signed:
    """Sign one of a month's closing lists.

    Args:
        number: The list's number, from 1.
        start: Start of the month, ISO 8601.
        now: The present, aware.
    """
    content = ClosingList(
        start=start, end=end, number=number, closed_at=now.isoformat(), uploads=sorted(uploads)
    )
    return sign_message(content, key=key)


def _remaining(answer: dict[str, Any], left_out: set[str]) -> list[str]:
    """The one list in force that names what is left out, without it."""
    lists = [Signed.model_validate(item) for item in answer["closed"]]
    named = [
        set(ClosingList.parse(item.body).uploads)
        for item in lists
        if item.digest in answer["in_force"]
    ]
    found = [uploads - left_out for uploads in named if left_out < uploads]
    if len(found) != 1:
        raise InputError(
            "No single closing list in force names all of these uploads.",
            reason="period.leave-out",
            remedy="Give the uploads of one list, by digest: gridsecure period show.",
        )
    return sorted(found[0])
