"""What changed between two tariff files, by row, whatever way the rows are written.

Rows are compared by what they say: a rate by its charge, period, tier and month, hours by month and
type of day. Splitting a window in two or giving a rate by month instead of once is no change;
another price, source or confidence is one.

Not handled here: what a change costs a customer; bill the same readings with both files for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridsecure.tariffs.calendar import (
    clock,
    day_segments,
    group_months,
    months_text,
)
from gridsecure.tariffs.cells import ALL_MONTHS
from gridsecure.tariffs.rows import WindowRow
from gridsecure.tariffs.tariff import Tariff
from gridsecure.tariffs.urdb.rows import plain

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
_HEADER = (
    "tariff_id", "version", "name_en", "name_zh", "city", "timezone", "valid_from", "valid_to",
    "currency", "tier_convention", "tier_reset", "cycle_month", "vat_rate", "day_types",
)  # fmt: skip
MonthCells = dict[str, dict[int, str]]


@dataclass(frozen=True, slots=True)
class Change:
    """One row that differs.

    Args:
        part: The table it is in, as `rates`, or `header`.
        key: Which row, as `energy peak tier 2`.
        months: The months it differs in; empty where months do not matter.
        kind: `added`, `removed` or `changed`.
        before: What the first file says, or None.
        after: What the second file says, or None.
    """

    part: str
    key: str
    months: tuple[int, ...]
    kind: str
    before: str | None
    after: str | None

    def to_json(self) -> dict[str, object]:
        """Return the change as an object for scripts."""
        return {
            "part": self.part,
            "key": self.key,
            "months": list(self.months),
            "change": self.kind,
            "before": self.before,
            "after": self.after,
        }


def diff_tariffs(before: Tariff, after: Tariff) -> tuple[Change, ...]:
    """Return the rows that differ, in the order of a tariff file's parts.

    Args:
        after: The second one.
    """
    changes = _changes("header", _header(before), _header(after))
    changes += _changes("sources", _sources(before), _sources(after))
    changes += _changes("figure_sources", _figures(before), _figures(after))
    changes += _by_month("windows", _hours(before), _hours(after))
    changes += _by_month("demand_windows", _demand_hours(before), _demand_hours(after))
    changes += _by_month("tiers", _tiers(before), _tiers(after))
    changes += _by_month("rates", _rates(before), _rates(after))
    changes += _changes("days", _days(before), _days(after))
    for part in ("dynamic", "power_factor", "demand_ratchet", "part_month"):
        changes += _changes(part, _single(before, part), _single(after, part))
    return tuple(changes)


def change_kind(before: str | None, after: str | None) -> str:
    """Name a change.

    >>> change_kind(None, "0.05"), change_kind("0.05", "0.06")
    ('added', 'changed')
    """
    if before is None:
        return ADDED
    return REMOVED if after is None else CHANGED


def _changes(part: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """Compare cells whose month does not matter."""
    found = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old != new:
            found.append(Change(part, key, (), change_kind(old, new), old, new))
    return found


def _by_month(part: str, before: MonthCells, after: MonthCells) -> list[Change]:
    """Compare cells month by month, and tell months that changed alike in one row."""
    found = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key, {}), after.get(key, {})
        pairs = {month: (old.get(month), new.get(month)) for month in ALL_MONTHS}
        for (was, is_now), months in group_months(pairs).items():
            if was != is_now:
                found.append(Change(part, key, months, change_kind(was, is_now), was, is_now))
    return found


def _header(tariff: Tariff) -> dict[str, str]:
    cells = {name: getattr(tariff, name) for name in _HEADER}
    texts = {name: ", ".join(v) if isinstance(v, tuple) else str(v) for name, v in cells.items()}
    return {name: texts[name] for name, value in cells.items() if value is not None}


def _sources(tariff: Tariff) -> dict[str, str]:
    return {
        s.source_id: f"{s.title} ({s.confidence})" + (f" {s.document}" if s.document else "")
        for s in tariff.sources
    }


def _figures(tariff: Tariff) -> dict[str, str]:
    return {
        figure.figure: _sourced(tariff, figure.source).strip() for figure in tariff.figure_sources
    }


def _sourced(tariff: Tariff, source_id: str) -> str:
    confidence = {source.source_id: source.confidence for source in tariff.sources}
    return f" [{source_id}, {confidence[source_id]}]"


def _hours(tariff: Tariff) -> MonthCells:
    return _day_cells(tariff.windows, tariff.day_types)


def _demand_hours(tariff: Tariff) -> MonthCells:
    return _day_cells(tariff.demand_windows, tariff.day_types)


def _day_cells(windows: Sequence[WindowRow], day_types: Sequence[str]) -> MonthCells:
    cells: MonthCells = {}
    for day_type in day_types if windows else ():
        for month in ALL_MONTHS:
            segments = day_segments(windows, month=month, day_type=day_type)
            text = ", ".join(f"{clock(a)}-{clock(b)} {label}" for a, b, label in segments)
            cells.setdefault(day_type, {})[month] = text
    return cells


def _tiers(tariff: Tariff) -> MonthCells:
    cells: MonthCells = {}
    for tier in tariff.tiers:
        key = f"{tier.tou_period} tier {tier.tier}" if tier.tou_period else f"tier {tier.tier}"
        limit = "open" if tier.upper_limit is None else f"to {plain(tier.upper_limit)} {tier.unit}"
        cells.setdefault(key, {}).update(dict.fromkeys(tier.months, limit))
    return cells


def _rates(tariff: Tariff) -> MonthCells:
    cells: MonthCells = {}
    for rate in tariff.rates:
        key = " ".join(
            (rate.charge, *([rate.tou_period] if rate.tou_period else []),
             *([f"tier {rate.tier}"] if rate.tier else []))
        )  # fmt: skip
        least = f" from {rate.min_kwh_per_kva} kWh/kVA" if rate.min_kwh_per_kva else ""
        text = f"{plain(rate.rate)} {rate.unit}{least}{_sourced(tariff, rate.source)}"
        cells.setdefault(key, {}).update(dict.fromkeys(rate.months, text))
    return cells


def _days(tariff: Tariff) -> dict[str, str]:
    return {str(row.day): row.day_type for row in tariff.days}


def _single(tariff: Tariff, part: str) -> dict[str, str]:
    """The parts of which there is one at most, as their cells."""
    if part == "dynamic" and tariff.dynamic is not None:
        series = tariff.dynamic
        prices = {
            f"{series.start + n * series.interval:%Y-%m-%d %H:%M}": plain(rate)
            for n, rate in enumerate(series.rates)
        }
        source = _sourced(tariff, series.source).strip()
        return {"interval": str(series.interval), "source": source, **prices}
    if part == "power_factor" and tariff.power_factor is not None:
        rule = tariff.power_factor
        excludes = ", ".join(rule.excludes)
        source = _sourced(tariff, rule.source).strip()
        return {"standard": rule.standard, "excludes": excludes, "source": source}
    if part == "part_month" and tariff.part_month is not None:
        said = tariff.part_month
        return {
            "charges": said.charges or "none",
            "limits": said.limits or "none",
            "source": _sourced(tariff, said.source).strip(),
        }
    if part == "demand_ratchet" and tariff.ratchet is not None:
        ratchet = tariff.ratchet
        return {
            "percent": plain(ratchet.share),
            "months": months_text(ratchet.months) or "all",
            "range_months": str(ratchet.range_months),
            "source": _sourced(tariff, ratchet.source).strip(),
        }
    return {}
