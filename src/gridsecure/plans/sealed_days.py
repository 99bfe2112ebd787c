"""What makes an upload a sealed day: the public facts, checked alike by all.

A gateway seals a local day when it is over: one column with its intervals, in an upload whose
period is that day. It is there for load curves alone. Bills come with the upload of the month,
which has no columns of the days that were sealed.
"""

from __future__ import annotations

from datetime import datetime

from gridsecure.errors import InputError
from gridsecure.messages import RosterManifest, UploadManifest
from gridsecure.month_texts import day_text
from gridsecure.periods import BillingPeriod, is_day, month_around
from gridsecure.plans.load_curve import day_quantity


def is_sealed_day(upload: UploadManifest) -> bool:
    """Whether an upload is about one local day, and so for load curves alone."""
    return is_day(upload.start, upload.end)


def check_sealed_day(upload: UploadManifest) -> None:
    """Refuse an upload of a day with anything but that day's column.

    Raises:
        InputError: `upload.day`.
    """
    wanted = (day_quantity(day_text(upload.start)), upload.start, upload.end)
    held = [(column.quantity, column.start, column.end) for column in upload.columns]
    if held != [wanted] or upload.corrects is not None or upload.changed_slots:
        raise InputError(
            "An upload of a day holds something other than that day's intervals.",
            reason="upload.day",
            remedy="Send the day's column of intervals alone; a sealed day is never corrected.",
        )


def compared_period(
    upload: UploadManifest, roster: RosterManifest, *, timezone: str
) -> BillingPeriod:
    """The time in which what is told of an upload is compared: a day counts in its month.

    Args:
        timezone: Local time of the roster's tariff.
    """
    start, end = map(datetime.fromisoformat, (upload.start, upload.end))
    month = month_around(start, timezone=timezone, cycle_day=roster.cycle_day)
    return month if is_sealed_day(upload) else BillingPeriod(start, end)
