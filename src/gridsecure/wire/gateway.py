"""What the gateway answers: counts, states and proofs, never a reading."""

from __future__ import annotations

from typing import Literal

from gridsecure.wire.services import Answer


class FilesKept(Answer):
    """How many files of readings and how many contracts a month was handed in with."""

    readings_files: int
    contracts: int


class MonthReport(Answer):
    """What became of a month, in counts; sizes in bytes, times by stage in seconds.

    Accepted readings include the estimated ones: readings + estimated = accepted + quarantined.
    `bytes_uploaded` and `seconds` are of the run that finished.
    """

    readings: int
    accepted: int
    estimated: int
    quarantined: int
    problems: dict[str, int]
    meters: int
    billed_meters: int
    excluded: dict[str, int]
    rosters: int
    columns: int
    bytes_stored: int
    bytes_uploaded: int
    seconds: dict[str, float]


class MonthStatus(Answer):
    """Where a month stands.

    `stage` is the one at work, empty when none is; `of` is 0 when how much there is cannot be told.
    A month that is done has a report, one that failed a reason code and a sentence.
    """

    state: Literal["waiting", "running", "interrupted", "failed", "done"]
    stage: str = ""
    done: int = 0
    of: int = 0
    report: MonthReport | None = None
    reason: str | None = None
    message: str | None = None


class SettlementProofs(Answer):
    """Meter point -> proof in hexadecimal, as `credentials.settlement` checks it."""

    proofs: dict[str, str]
