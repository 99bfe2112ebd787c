"""Every number of a page's text, and whether a release holds it.

Here a reader's arithmetic is done anew and another way than the console does it: from certificates'
cells, in plain sums. What a page shows besides – dates, clock times, ids, a policy's minimum, how
many rows a list has, a gateway's counts – is taken out of the text or given as allowed.
"""

from __future__ import annotations

import re
from calendar import month_name
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal
from itertools import permutations
from typing import Final, NamedTuple

from gridsecure.messages import ReleaseCertificate

_LETTERS_OF_TIME_AND_IDS: Final = re.compile(
    r"\d{4}-\d{2}(-\d{2})?([ T]\d{2}:\d{2}(:\d{2})?)?( ?[+-]\d{2}:\d{2})?"
    r"|\d{2}-\d{2} \d{2}:\d{2}|\b\d{1,2}:\d{2}\b|\b[0-9a-f]{12,}\b|\b[a-z]+(-[a-z0-9]+)+\b"
    r"|https?://[^\s]+|\b\d{4}/\d+\b"
    rf"|\b\d{{4}} ?年 ?\d{{1,2}} ?月|\b(?:{'|'.join(month_name[1:])}) \d{{4}}\b|UTF-8|GB 18030"
)
_NUMBER: Final = re.compile(r"([-+−]?\d[\d,]*(?:\.\d+)?)\s*(亿|万|GWh|MWh|[kM](?![A-Za-z])|%)?")
_UNITS: Final = {
    "亿": 10**8, "万": 10**4, "GWh": 10**6, "MWh": 10**3, "k": 10**3, "M": 10**6,
}  # fmt: skip
_FEN: Final = Decimal("0.01")
_SMALL: Final = 12
"""Whole numbers up to here are those of steps, rows and months of a list."""

Group = tuple[str, str]


class Shown(NamedTuple):
    """A number as it is written: value, half a unit of its last digit, whether it is a ratio."""

    text: str
    value: Decimal
    half: Decimal
    is_ratio: bool


class Billed(NamedTuple):
    """Bills, energy [kWh] and amount [yuan]."""

    bills: Decimal
    energy: Decimal
    amount: Decimal


def numbers_of(text: str) -> Iterator[Shown]:
    """The numbers of a text, in their order, without those of dates and ids."""
    for digits, unit in _NUMBER.findall(_LETTERS_OF_TIME_AND_IDS.sub(" ", text)):
        plain = digits.replace(",", "").replace("−", "-")
        size = Decimal(_UNITS.get(unit, 1))
        places = len(plain.partition(".")[2])
        half = Decimal(5).scaleb(-places - 1) * size
        yield Shown(f"{digits} {unit}".strip(), Decimal(plain) * size, half, unit == "%")


def find_strange(
    text: str, certificates: Iterable[ReleaseCertificate], *, allowed: Iterable[float] = ()
) -> list[str]:
    """The numbers of a page that no release holds, and nothing that can be reckoned from one."""
    values, ratios = _reckoned(list(certificates))
    values |= {Decimal(str(number)) for number in allowed}
    return [
        shown.text
        for shown in numbers_of(text)
        if not (shown.value == int(shown.value) and 0 <= shown.value <= _SMALL)
        and not any(abs(shown.value - one) <= shown.half for one in _of(shown, values, ratios))
    ]


def _of(shown: Shown, values: set[Decimal], ratios: set[Decimal]) -> set[Decimal]:
    return ratios if shown.is_ratio else values


def _reckoned(certificates: list[ReleaseCertificate]) -> tuple[set[Decimal], set[Decimal]]:
    """Numbers in plain units, and ratios in percent."""
    values, ratios = set[Decimal](), set[Decimal]()
    months: dict[str, Mapping[Group, Billed]] = {}
    for one in certificates:
        values |= {Decimal(cell.members) for cell in one.cells}
        values.update(map(Decimal, (one.minimum_members, *_sizes(one))))
        if one.plan == "bill":
            months[one.start] = _billed(one)
        else:
            values |= set(_loads(one))
            ratios |= {Decimal(100) * mean / peak for mean, peak in _means_and_peaks(one)}
    for now in months.values():
        for part in _parts(now):
            values |= set(_figures(part))
    for now, then in permutations(months.values(), 2):
        values |= set(_bridge(now, then))
        both = now.keys() & then.keys()
        pairs = zip(
            _parts({g: now[g] for g in both}), _parts({g: then[g] for g in both}), strict=True
        )
        for new, old in pairs:
            ratios |= {
                (a / b - 1) * 100 for a, b in zip(_figures(new), _figures(old), strict=True) if b
            }
    return values, ratios


def _sizes(one: ReleaseCertificate) -> tuple[int, int]:
    """How many cells a list says that a release has, and how many without a value."""
    return len(one.cells), sum(cell.value is None for cell in one.cells)


def _billed(one: ReleaseCertificate) -> Mapping[Group, Billed]:
    """Groups of which each measure is told."""
    found: dict[Group, dict[str, Decimal]] = defaultdict(dict)
    for cell in one.cells:
        if cell.value is not None:
            found[cell.zone, cell.customer_class][cell.measure] = Decimal(cell.value)
    return {
        group: Billed(told["bills"], told["energy_wh"] / 1000, told["amount_fen"] / 100)
        for group, told in sorted(found.items())
        if len(told) == len(Billed._fields)
    }


def _parts(groups: Mapping[Group, Billed]) -> Iterator[Billed]:
    """All groups together, those of each zone, those of each class, and each alone."""
    yield _sum(groups.values())
    for index in (0, 1):
        for name in sorted({group[index] for group in groups}):
            yield _sum(billed for group, billed in groups.items() if group[index] == name)
    yield from groups.values()


def _sum(found: Iterable[Billed]) -> Billed:
    rows = list(found)
    return Billed(*(sum(column, Decimal(0)) for column in zip(*rows, strict=True)))


def _figures(one: Billed) -> tuple[Decimal, ...]:
    return (*one, one.amount / one.energy)


def _bridge(now: Mapping[Group, Billed], then: Mapping[Group, Billed]) -> Iterator[Decimal]:
    """The steps from one month's amount to another's, in yuan."""
    both = now.keys() & then.keys()
    more = ((now[g].energy / then[g].energy - 1) * then[g].amount for g in both)
    volume = sum((one.quantize(_FEN, rounding=ROUND_HALF_UP) for one in more), Decimal(0))
    changed = sum((now[g].amount - then[g].amount for g in both), Decimal(0))
    yield from (volume, changed - volume, changed)
    for month in (now, then):
        left_out = sum((month[g].amount for g in month.keys() - both), Decimal(0))
        yield from (left_out, -left_out)


def _loads(one: ReleaseCertificate) -> Iterator[Decimal]:
    """Energy [kWh] of each cell, day and all days; of days, mean and peak power [kW]."""
    yield from (Decimal(cell.value) / 1000 for cell in one.cells if cell.value is not None)
    days = [sum(day, Decimal(0)) for day in _days(one)]
    yield from (*days, sum(days, Decimal(0)))
    for mean, peak in _means_and_peaks(one):
        yield from (mean, peak)


def _means_and_peaks(one: ReleaseCertificate) -> Iterator[tuple[Decimal, Decimal]]:
    """Of each day, and of all days together."""
    days = _days(one)
    for day in days:
        yield sum(day, Decimal(0)) / 24, max(day) * len(day) / 24
    if days:
        whole, peak = sum(map(sum, days), Decimal(0)), max(max(day) * len(day) for day in days)
        yield whole / 24 / len(days), peak / 24


def _days(one: ReleaseCertificate) -> list[list[Decimal]]:
    """Energy [kWh] of each interval of each day, over all groups that are told."""
    days: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for cell in one.cells:
        if cell.value is not None:
            days[cell.start[:10]][cell.start] += Decimal(cell.value) / 1000
    return [list(day.values()) for day in days.values()]
