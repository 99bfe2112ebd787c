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
class RunResult:
    """What a run did.

    Args:
        stages: Time and bytes by stage.
        approvals: Who approved what was released.
        totals: The month's figures from intake to release, joined.
    """

    home: Home
    stages: list[Stage] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    bills: int = 0
    mismatches: int = 0
    cells: int = 0
    suppressed: int = 0
    approvals: list[str] = field(default_factory=list)
    totals: Reconciliation | None = None
