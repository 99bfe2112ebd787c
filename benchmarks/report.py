"""A benchmark's result as JSON for scripts and as a table for people."""

from __future__ import annotations

import json
from typing import Any, Final

from benchmarks.figures import BenchResult, Figure

_CAVEATS: Final = {"quick": "; limits are for full sizes and are not judged by these"}
_STACKED: Final = "Where the time of a whole month goes"
_HEADINGS: Final = ("figure", "value", "unit", "must", "try for", "")


def format_json(result: BenchResult) -> str:
    """The result as one JSON document; numbers unrounded, `null` where there is no limit."""
    document = {
        "sizes": result.sizes,
        "machine": dict(result.machine),
        "seconds": result.seconds,
        "figures": [_figure(figure) for figure in result.figures],
        "stages": result.stages,
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def format_table(result: BenchResult) -> str:
    """The result as a Markdown table, readable as it is: limits first, then what explains them."""
    held = [figure for figure in result.figures if figure.must is not None]
    others = [figure for figure in result.figures if figure.must is None]
    lines = [
        ", ".join(f"{name} {value}" for name, value in result.machine.items()),
        f"sizes {result.sizes}, {result.seconds:.0f} s in all{_CAVEATS.get(result.sizes, '')}",
        "",
        *_aligned([_HEADINGS, *(_row(figure) for figure in [*held, *others])]),
        "",
        *(f"* {figure.title}: {figure.note}." for figure in result.figures if figure.note),
        *(("", f"{_STACKED}:", "", *result.stages) if result.stages else ()),
    ]
    return "\n".join(lines)


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "title": figure.title,
        "unit": figure.unit,
        "value": figure.value,
        "must": figure.must,
        "try_for": figure.try_for,
        "comparison": figure.comparison,
        "meets_must": figure.meets_must,
        "meets_try": figure.meets_try,
        "note": figure.note,
    }


def _row(figure: Figure) -> tuple[str, ...]:
    verdict = "" if figure.must is None else "missed"
    if figure.meets_must:
        verdict = "met, aim reached" if figure.meets_try else "met"
    return (
        figure.title,
        _number(figure.value),
        figure.unit,
        _limit(figure, figure.must),
        _limit(figure, figure.try_for),
        verdict,
    )


def _limit(figure: Figure, limit: float | None) -> str:
    signs = {"<=": "≤ ", ">=": "≥ ", "==": ""}
    return "" if limit is None else f"{signs[figure.comparison]}{limit:,g}"


def _number(value: float) -> str:
    """About three digits that mean something, never an exponent; whole numbers in full."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
