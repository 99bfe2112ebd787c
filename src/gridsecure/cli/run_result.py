"""What a run did, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gridsecure.analyst.reconciliation import Reconciliation
from gridsecure.cli.home import Home


@dataclass(frozen=True, slots=True)
class Stage:
    """One line of the closing table.

    Args:
        seconds: How long it took.
        count: How many, of what.
        size: Bytes written or sent.
    """

    name: str
    seconds: float
    count: str = ""
    size: int | None = None


@dataclass(slots=True)
class MonthResult:
    """What came of a month.

    Args:
        month: Which, YYYY-MM.
        report: The gateway's, from intake to upload.
        document: Its bills by meter point, as statements are made of.
        approvals: Who approved what was released.
        totals: The month's figures from intake to release, joined.
    """

    month: str
    report: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict, repr=False)
    bills: int = 0
    mismatches: int = 0
    cells: int = 0
    suppressed: int = 0
    approvals: list[str] = field(default_factory=list)
    totals: Reconciliation | None = None


@dataclass(slots=True)
class RunResult:
    """What a run did.

    Args:
        stages: Time and bytes by stage; of all months but the last, one line each.
        months: What came of each, in order.
    """

    home: Home
    stages: list[Stage]
    months: list[MonthResult] = field(default_factory=list)

    @property
    def bills(self) -> int:
        """How many were compared with the oracle."""
        return sum(month.bills for month in self.months)

    @property
    def mismatches(self) -> int:
        """How many of them differ."""
        return sum(month.mismatches for month in self.months)
