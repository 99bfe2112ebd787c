"""Exclusions: the meter points that are not billed this month, each with one reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from gridsecure.gateway.private_files import write_private

REASONS: Final = {
    "no-contract": "it has readings but no contract",
    "no-readings": "it has a contract but no readings",
    "two-intervals": "it has readings of two interval lengths for the same time",
    "net-metered": "it has readings below zero; energy fed in goes to export_kwh",
    "quarantined": "too few of its readings passed validation",
    "tariff-unknown": "no tariff file carries its contract's tariff id",
    "tariff-not-valid": "its tariff, or the tariff's price series, does not cover the month",
    "register-missing": "its tariff bills reactive energy or feed-in, and its readings have none",
    "interval-length": "an interval of its readings spans two prices of its tariff",
    "year-to-date": "its tariff counts energy over the year, and an earlier month of that"
    " year was not processed here",
    "tier-limit": "a tier limit with its household quota, or its free quota, is not whole kWh, or"
    " too large, or kWh count per kVA where the contract has none",
    "tier-energy": "its energy is above the most that a tier bill can count",
    "register-energy": "its energy is above the most that one register can count",
    "interval-energy": "an interval's energy is above the bound of its customer class",
    "books.zone": "its contract file and the utility's books put it into different zones",
    "books.class": "its contract file and the utility's books give it different customer classes",
    "identity.unknown-account": "the utility's books do not have it under this gateway",
    "identity.revoked": "its pseudonym was revoked",
    "identity.cloned": "another agent registered its pseudonym, and the alarm was raised",
    "identity.other-key": "the identity authority knows it under another secret than its agent's",
    "identity.refused": "the identity authority refused it",
}
"""Reason code -> what it says about a meter point; in order of precedence."""


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """Who is billed and who is not.

    Args:
        billed: Contract rows of the meter points to bill.
        excluded: `meter_point_id` and `reason` of the others, sorted by meter point.
    """

    billed: pd.DataFrame
    excluded: pd.DataFrame

    def counts(self) -> dict[str, int]:
        """Excluded meter points by reason, in the order of `REASONS`."""
        found = Counter(self.excluded["reason"])
        return {reason: found[reason] for reason in REASONS if found[reason]}

    def leave_out(self, refused: Mapping[str, str]) -> Admission:
        """The decision after the identity authority's: those it refused are not billed either.

        Args:
            refused: Meter point -> reason, of `REASONS`.
        """
        named = self.billed["meter_point_id"].map(refused)
        left_out = self.billed.loc[named.notna(), ["meter_point_id"]].assign(reason=named.dropna())
        excluded = pd.concat([self.excluded, left_out]).sort_values("meter_point_id")
        return Admission(
            billed=self.billed.loc[named.isna()].reset_index(drop=True),
            excluded=excluded.reset_index(drop=True),
        )


def write_exceptions(admission: Admission, *, path: Path) -> None:
    """Write the excluded meter points as CSV: `meter_point_id,reason`, no values.

    Args:
        path: The file to create or replace; only its owner may read it.

    Raises:
        StorageError: The disk could not take it; nothing half-written is left.
    """
    text = admission.excluded.to_csv(index=False, lineterminator="\n")
    write_private(path, [text.encode()], what="The exceptions file")
