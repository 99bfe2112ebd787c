"""Where a tariff's figures come from: every rate names a source, other figures may.

A rate row has its own `source`. Windows, tiers, the convention and the tax are figures too; the
table `[figure_sources]` names theirs, so that one that could not be confirmed is shown as such
wherever it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridsecure.tariffs.cells import check_keys, read_text, refusal
from gridsecure.tariffs.rows import SourceRow

FIGURE_SOURCES = "figure_sources"
FIGURES = (
    "windows",
    "demand_windows",
    "tiers",
    "days",
    "tier_convention",
    "tier_reset",
    "cycle_month",
    "vat_rate",
)
UNCONFIRMED = "unconfirmed"
PART_MONTH = "part_month"
"""The table of a tariff that says what limits and charges are for a part of a month."""


@dataclass(frozen=True, slots=True)
class FigureSource:
    """The source of a part of the tariff that is no rate.

    Args:
        figure: One of `FIGURES`: the table or header key that holds the figures.
    """

    figure: str
    source: str

    @property
    def row(self) -> str:
        """How refusals name it."""
        return f"{FIGURE_SOURCES}.{self.figure}"


def read_figure_sources(document: Mapping[str, Any]) -> tuple[FigureSource, ...]:
    """Read the `[figure_sources]` table; without it there are none.

    Raises:
        InvalidTariffError: It is no table, names something unknown, or something that the file
            does not have.
    """
    table = document.get(FIGURE_SOURCES, {})
    if not isinstance(table, dict):
        raise refusal(FIGURE_SOURCES, f"write it as [{FIGURE_SOURCES}]", "rows")
    check_keys(table, row=FIGURE_SOURCES, required=(), optional=FIGURES)
    for figure in table:
        if figure not in document:
            raise refusal(FIGURE_SOURCES, f"the tariff has no {figure}", "source")
    return tuple(
        FigureSource(figure, read_text(table, figure, row=FIGURE_SOURCES)) for figure in table
    )


def check_sources(sources: Sequence[SourceRow], *, named: Iterable[tuple[str, str]]) -> None:
    """Refuse a source that is listed twice, or named and not listed.

    Args:
        named: Pairs of a row's name and the source it names.

    Raises:
        InvalidTariffError: `tariff.source`.
    """
    known = {source.source_id for source in sources}
    if len(known) < len(sources):
        raise refusal("sources", "two sources have one id", "source")
    for row, source in named:
        if source not in known:
            raise refusal(row, f"source {source!r} is not listed", "source")
