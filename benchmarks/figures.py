"""A measured figure, what it must be, and a run's result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Comparison = Literal["<=", ">=", "=="]

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Args:
        name: Stable key for scripts.
        title: The figure in words.
        unit: Unit of `value`, `must` and `try_for`.
        value: As measured.
        must: What the release is held to, or None for a figure that only informs.
        try_for: What it aims at, or None.
        comparison: How `value` stands to both.
        note: How it was measured.
    """

    name: str
    title: str
    unit: str
    value: float
    must: float | None = None
    try_for: float | None = None
    comparison: Comparison = "<="
    note: str = ""

    @property
    def meets_must(self) -> bool | None:
        """Whether the release holds it; None for a figure without such a limit."""
        return self._meets(self.must)

    @property
    def meets_try(self) -> bool | None:
        """Whether the aim is reached; None for a figure without one."""
        return self._meets(self.try_for)

    def _meets(self, limit: float | None) -> bool | None:
        return None if limit is None else _COMPARE[self.comparison](self.value, limit)


@dataclass(frozen=True, slots=True)
class BenchResult:
    """A run's figures with what they were measured on.

    Args:
        machine: Processor and versions; no host name and no path.
        figures: In the order of the report.
        seconds: Wall time of the whole run [s].
        stages: Where the time of a whole month goes, as lines of a table.
    """

    sizes: str
    machine: Mapping[str, str | int]
    figures: tuple[Figure, ...]
    seconds: float
    stages: tuple[str, ...] = ()

    @property
    def missed(self) -> tuple[Figure, ...]:
        """The figures that are not what they must be."""
        return tuple(figure for figure in self.figures if figure.meets_must is False)
