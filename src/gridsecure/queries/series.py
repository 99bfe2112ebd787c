"""Series of others in a question: weather, calendars, floor areas, a feeder's readings.

A series is a table (CSV) with a header that names its owner, unit and time zone, who may use it for
what and when, and the table's digest. A question names it, and may pin the header's digest
(`weather@<64 digits>`). It is joined with totals at the asker's machine: nobody is told of it.

Invariants:
- The table is the one that the header names, or nothing of it is read.
- All series that are joined hold together: what one of them forbids is refused, and the largest
  minimum of meter points counts for the whole answer.
- No value is made up: a step has exactly the time that the table's rows in it have. Rows shorter
  than a step are put together only where the owner says how.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, NonNegativeInt

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError, NotFoundError, ReleaseRefusedError
from gridsecure.messages import Digest, Message
from gridsecure.queries.exact import Exact, Name, spell_number
from gridsecure.queries.forms import (
    MAX_GIVEN,
    SERIES_NAME,
    Given,
    Loss,
    Ratio,
    Regression,
    SeriesName,
)
from gridsecure.queries.language import Question
from gridsecure.queries.numbers import round_half_up
from gridsecure.queries.spans import Day, clock_minutes
from gridsecure.queries.totals import StepSpan, Totals, list_minutes

MAX_ROWS: Final = 50_000
_PLACES: Final = 9
_MINUTE: Final = timedelta(minutes=1)
_GROUPS: Final = ("zone", "customer_class", "tariff")
_FED_IN_UNIT: Final = "kWh"

Role = Literal["staff", "analyst"]
_Text = TypeVar("_Text", bound=str)


class SeriesPolicy(Message):
    """Who may use a series; what is left out restricts nothing.

    Args:
        first: The first day on which it may be used.
        until: The day from which on it may not.
        least_meter_points: Numbers of groups with fewer are withheld.
    """

    kind: ClassVar[str] = "series-policy"
    roles: Annotated[list[Role], Field(min_length=1)] | None = None
    purposes: Annotated[list[Name], Field(min_length=1)] | None = None
    first: Day | None = None
    until: Day | None = None
    least_meter_points: NonNegativeInt = 0


class SeriesHeader(Message):
    """What an owner says of a series.

    Args:
        table: SM3 of the CSV file.
        put_together: How values of shorter times become one of a longer: their sum, as of energy,
            or their mean over time, as of temperature.
    """

    kind: ClassVar[str] = "series"
    version: Literal[1] = 1
    name: Annotated[
        str, Field(pattern=SERIES_NAME, description="lower-case letters, digits and hyphens")
    ]
    owner: Name
    unit: Annotated[str, Field(max_length=40)]
    timezone: Annotated[str, Field(max_length=64)] = "Asia/Shanghai"
    put_together: Literal["sum", "mean"] | None = None
    table: Digest
    policy: SeriesPolicy = SeriesPolicy()

    @property
    def text(self) -> str:
        """As it stands in its file."""
        return self.model_dump_json(indent=2, exclude_defaults=True) + "\n"


class _Row(NamedTuple):
    # In UTC: differences of one zone's times are those of its clock, which is set twice a year.
    start: datetime
    end: datetime
    value: Fraction


@dataclass(frozen=True, slots=True)
class PublicSeries:
    """A series whose table is the one that its header names.

    Args:
        digest: SM3 of the header's text.
        rows: Values of times, in order; empty, if it is of groups.
        groups: Values of groups, by the values of what is grouped by.
        group_by: What that is, in order.
    """

    header: SeriesHeader
    digest: Digest
    rows: tuple[_Row, ...]
    groups: Mapping[tuple[str, ...], str]
    group_by: tuple[str, ...]


class _Value(Message):
    kind: ClassVar[str] = "series-value"
    value: Exact


def read_series(header: str, table: bytes) -> PublicSeries:
    """Read a series.

    Args:
        header: The header's text.
        table: The CSV: `day,value`, or `start,end,value`, or names of what is grouped by and
            `value`. Times without an offset are local.

    Raises:
        InputError: The table is another (`series.digest`), or has another shape (`series.shape`).
        InvalidMessageError: The header has another shape.
    """
    said = SeriesHeader.parse(header)
    if sm3_hex(table) != said.table:
        raise InputError(
            f"The table of the series {said.name} is not the one that its owner described.",
            reason="series.digest",
            remedy="Get table and header from the owner, and change neither.",
        )
    digest = sm3_hex(header.encode())
    try:
        zone = ZoneInfo(said.timezone)
        names, *lines = list(csv.reader(io.StringIO(table.decode("utf-8-sig"))))[: MAX_ROWS + 2]
    except (ValueError, OSError, ZoneInfoNotFoundError, csv.Error) as error:
        raise _misshapen(said, "It is no CSV in UTF-8, or its time zone is none.") from error
    if len(lines) > MAX_ROWS or any(len(line) != len(names) for line in lines):
        raise _misshapen(said, f"It has over {MAX_ROWS:,} rows, or rows of another length.")
    if names in (["day", "value"], ["start", "end", "value"]):
        rows = sorted(_read_row(said, line, zone=zone) for line in lines)
        if any(one.end > other.start for one, other in pairwise(rows)):
            raise _misshapen(said, "Two of its rows are of one time.")
        return PublicSeries(said, digest, tuple(rows), {}, ())
    (*group_by, last) = names or ("",)
    if last != "value" or not group_by or any(name not in _GROUPS for name in group_by):
        raise _misshapen(said, f"Its columns are not those of times, or of {', '.join(_GROUPS)}.")
    groups = {tuple(line[:-1]): _read_value(said, line[-1]) for line in lines}
    if len(groups) != len(lines) or not 0 < len(groups) <= MAX_GIVEN:
        raise _misshapen(said, f"It has two rows of one group, none, or over {MAX_GIVEN:,}.")
    return PublicSeries(said, digest, (), groups, tuple(group_by))


def _misshapen(header: SeriesHeader, why: str) -> InputError:
    return InputError(
        f"The table of the series {header.name} cannot be read. {why}",
        reason="series.shape",
        remedy="Write day,value or start,end,value or zone,value: numbers as in 0.65.",
    )


def _read_value(header: SeriesHeader, text: str) -> str:
    try:
        return _Value(value=text).value
    except InputError as error:
        raise _misshapen(header, "A value is no exact number.") from error


def _read_row(header: SeriesHeader, line: Sequence[str], *, zone: ZoneInfo) -> _Row:
    try:
        times = [datetime.fromisoformat(text) for text in line[:-1]]
        if len(times) == 1:
            if times[0].tzinfo is not None or clock_minutes(times[0]):
                raise _misshapen(header, "A day is none.")
            times.append(times[0] + timedelta(days=1))
        start, end = (_moment(header, moment, zone=zone) for moment in times)
    except (ValueError, OverflowError) as error:  # none, or of a year that has no other zone's
        raise _misshapen(header, "A time is none.") from error
    if start >= end:
        raise _misshapen(header, "A row ends before it begins.")
    return _Row(start, end, Fraction(_read_value(header, line[-1])))


def _moment(header: SeriesHeader, moment: datetime, *, zone: ZoneInfo) -> datetime:
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        raise _misshapen(header, "At a time the clock was set: write its offset, as in +08:00.")
    return first.astimezone(UTC)


def list_named(question: Question) -> tuple[SeriesName, ...]:
    """The series that a question names, each with the digest that it pins, if it does."""
    statistic = question.statistic
    fields: Iterable[object] = ()
    if isinstance(statistic, Regression):
        fields = statistic.series.values()
    elif isinstance(statistic, Loss):
        fields = (statistic.fed_in_kwh,)
    elif isinstance(statistic, Ratio):
        fields = (statistic.given,)
    return tuple(dict.fromkeys(field for field in fields if isinstance(field, str)))


def choose_series(
    question: Question,
    known: Iterable[PublicSeries],
    *,
    purpose: str,
    on: date,
    role: Role = "analyst",
) -> dict[SeriesName, PublicSeries]:
    """The series that a question names; all of them may be used.

    Args:
        on: The day of use.

    Raises:
        NotFoundError: One is not there, or is another than was pinned (`series.missing`).
        InputError: One has another unit (`series.unit`), or is of groups where times are wanted,
            or otherwise (`series.shape`).
        ReleaseRefusedError: A policy forbids it (`series.policy`); the message names the series.
    """
    by_name = {one.header.name: one for one in known}
    chosen = {}
    for named in list_named(question):
        name, _, pinned = named.partition("@")
        found = by_name.get(name)
        if found is None or pinned not in ("", found.digest):
            raise NotFoundError(
                f"The series {named} was not given.",
                reason="series.missing",
                remedy="Give its table with --series, its header beside it.",
            )
        chosen[named] = found
    for one in chosen.values():
        _check_use(one.header, role=role, purpose=purpose, on=on)
        _check_fit(question, one)
    return chosen


def _check_fit(question: Question, series: PublicSeries) -> None:
    """Refuse what cannot fit whatever the totals are, before they are asked for."""
    statistic = question.statistic
    if isinstance(statistic, Ratio):
        if series.group_by != tuple(question.group_by):
            wanted = ", ".join(question.group_by) or "the only group"
            raise _misshapen(series.header, f"It is not of {wanted}.")
        _check_unit(series, statistic.unit)
    elif series.group_by:
        raise _misshapen(series.header, "It is of groups, and not of times.")
    elif isinstance(statistic, Loss):
        _check_unit(series, _FED_IN_UNIT)


def _check_use(header: SeriesHeader, *, role: Role, purpose: str, on: date) -> None:
    policy, day = header.policy, on.isoformat()
    why = ""
    if policy.roles is not None and role not in policy.roles:
        why = f"the role {role}"
    elif policy.purposes is not None and purpose not in policy.purposes:
        why = f"the purpose {purpose}"
    elif not (policy.first or day) <= day < (policy.until or "9999"):
        why = f"use on {day}"
    if why:
        raise ReleaseRefusedError(
            f"The policy of the series {header.name} does not allow {why}.",
            reason="series.policy",
            remedy=f"Ask its owner, {header.owner}, or leave the series out.",
        )


def join_policies(policies: Iterable[SeriesPolicy]) -> SeriesPolicy:
    """What all of them allow: the terms of an answer that is made of them all."""
    found = list(policies)
    firsts = [one.first for one in found if one.first]
    untils = [one.until for one in found if one.until]
    return SeriesPolicy(
        roles=_meet([one.roles for one in found if one.roles]),
        purposes=_meet([one.purposes for one in found if one.purposes]),
        first=max(firsts, default=None),
        until=min(untils, default=None),
        least_meter_points=max((one.least_meter_points for one in found), default=0),
    )


def _meet(lists: Sequence[list[_Text]]) -> list[_Text] | None:
    """What is in each list; None of no list."""
    return [one for one in lists[0] if all(one in other for other in lists)] if lists else None


def fill_question(
    question: Question, series: Mapping[SeriesName, PublicSeries], totals: Totals
) -> Question:
    """A question with the values of the series that it names.

    Args:
        series: As `choose_series` gives them.
        totals: Those of the question's own period, whose steps the values are of.

    Raises:
        InputError: A series has no value for some time (`series.gap`), or several where its owner
            does not say how they are put together (`series.shape`).
    """
    statistic = question.statistic
    if not series:
        return question
    update: dict[str, object] = {}
    if isinstance(statistic, Regression):
        update["series"] = {
            name: _by_step(question, series[own], totals) if isinstance(own, str) else own
            for name, own in statistic.series.items()
        }
    if isinstance(statistic, Loss) and isinstance(statistic.fed_in_kwh, str):
        update["fed_in_kwh"] = _by_step(question, series[statistic.fed_in_kwh], totals)
    if isinstance(statistic, Ratio) and isinstance(statistic.given, str):
        groups = series[statistic.given].groups.items()
        update["given"] = [Given(group=list(group), amount=value) for group, value in groups]
    form = type(statistic).model_validate({**statistic.model_dump(), **update})
    return question.model_copy(update={"statistic": form})


def _check_unit(series: PublicSeries, unit: str) -> None:
    if series.header.unit != unit:
        raise InputError(
            f"The series {series.header.name} is in {series.header.unit}.",
            reason="series.unit",
            remedy=f"Give one in {unit}.",
        )


def _by_step(question: Question, series: PublicSeries, totals: Totals) -> list[str]:
    leg = question.legs[0]
    starts = [row.start for row in series.rows]
    found = []
    for step, minutes in zip(totals.steps, list_minutes(leg, totals), strict=True):
        rows = list(_rows_in(leg, series.rows, starts, step))
        if sum((row.end - row.start) // _MINUTE for row in rows) != minutes or not minutes:
            raise InputError(
                f"The series {series.header.name} has not all of the time from {step.start} on.",
                reason="series.gap",
                remedy="Ask about times that it covers, in steps that its rows do not cut across.",
            )
        found.append(_put_together(series.header, rows))
    return found


def _rows_in(
    leg: Question, rows: Sequence[_Row], starts: Sequence[datetime], step: StepSpan
) -> Iterator[_Row]:
    """Rows within a step, at times that the question asks about."""
    first, last = datetime.fromisoformat(step.start), datetime.fromisoformat(step.end)
    zone = leg.period.span.start.tzinfo
    for row in rows[bisect_left(starts, first) : bisect_left(starts, last)]:
        start = row.start.astimezone(zone)
        low = clock_minutes(start)
        high = low + (row.end - row.start) // _MINUTE
        windows = leg.when.windows if leg.when and leg.when.clock else None
        inside = windows is None or any(a <= low and high <= b for a, b in windows)
        if row.end <= last and inside and leg.has_day(start.date()):
            yield row


def _put_together(header: SeriesHeader, rows: Sequence[_Row]) -> str:
    if len(rows) == 1:
        number = rows[0].value
    elif header.put_together is None:
        raise InputError(
            f"The series {header.name} has several values for a step.",
            reason="series.shape",
            remedy="Ask for shorter steps, or the owner for how its values are put together.",
        )
    elif header.put_together == "sum":
        number = sum((row.value for row in rows), Fraction(0))
    else:
        minutes = [(row.end - row.start) // _MINUTE for row in rows]
        weighted = zip(minutes, rows, strict=True)
        number = sum((long * row.value for long, row in weighted), Fraction(0)) / sum(minutes)
    return spell_number(round_half_up(number, places=_PLACES))
