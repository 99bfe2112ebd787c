"""Versions of a month at the gateway: the latest of each roster, and what lies between two.

A roster's chain begins with the month's first upload and goes on with every correction that changed
one of its slots. The oracle's settlements of each version lie in the folder of the month or of the
correction; nothing of an earlier version is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gridsecure.billing.corrections import correct_bills, corrections_to_json
from gridsecure.billing.reading_versions import find_changed_settlements
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import map_settlement_names
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.correction_plan import (
    CorrectionFiles,
    CorrectionPlan,
    PlannedRoster,
    find_first_uploads,
    list_corrections,
    make_correction_folder,
)
from gridsecure.gateway.month_plan import load_plan
from gridsecure.gateway.preparation import RosterMonth
from gridsecure.gateway.reconciliation import (
    Document,
    compute_oracle_bills,
    oracle_path,
    read_oracle,
    rename_documents,
    roster_tariff,
)
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import RosterManifest


@dataclass(frozen=True, slots=True)
class LatestVersion:
    """The latest version of a roster.

    Args:
        folder: Where its oracle is kept.
    """

    first: str
    outgoing: outbox.Outgoing
    folder: Path

    @property
    def roster(self) -> RosterManifest:
        """The roster as signed."""
        return RosterManifest.parse(self.outgoing.roster.body)

    @property
    def oracle(self) -> Path:
        """The oracle's settlements of this version."""
        return version_oracle(self.folder, self.roster.roster_id)


@dataclass(frozen=True, slots=True, eq=False)
class ChangedRoster:
    """A roster to be uploaded anew."""

    planned: PlannedRoster
    month: RosterMonth


def version_oracle(folder: Path, roster_id: str) -> Path:
    """Where a version's settlements lie in the folder of its month or correction."""
    return oracle_path(folder / "oracle", roster_id)


def find_correction(zone: GatewayZone, files: CorrectionFiles) -> CorrectionPlan | None:
    """The plan of a correction, or None while it is not fixed."""
    plans = {plan.files: plan for plan in list_corrections(zone, files.month)}
    return plans.get(files)


def list_earlier_corrections(zone: GatewayZone, files: CorrectionFiles) -> list[CorrectionPlan]:
    """The fixed corrections of the month before this one, in order."""
    plans = list_corrections(zone, files.month)
    names = [plan.files for plan in plans]
    return plans[: names.index(files)] if files in names else plans


def find_heads(
    zone: GatewayZone, files: MonthFiles, *, before: CorrectionFiles
) -> list[LatestVersion]:
    """The latest version of every roster before a correction.

    Raises:
        NotFoundError: The month, or an earlier correction, was not encrypted.
    """
    first = find_first_uploads(zone, files.month)
    own = find_correction(zone, before)
    found = {
        roster: LatestVersion(roster, outbox.load_outgoing(zone, name), folder)
        for roster, (name, folder) in first.items()
        if own is None or roster not in own.added
    }
    for correction in list_earlier_corrections(zone, before):
        folder = make_correction_folder(zone, correction.files)
        for item in correction.rosters:
            found[item.first] = LatestVersion(
                item.first, outbox.load_outgoing(zone, item.name), folder
            )
    return list(found.values())


def find_changed_names(before: Path, after: Path) -> set[str]:
    """Pseudonyms whose settlements differ between two versions of one roster and tariff.

    Raises:
        NotFoundError: A version is not there (`oracle.missing`).
    """
    # One period each, so any moment stands for it.
    old, new = (read_oracle(path).assign(period_start=pd.Timestamp(0)) for path in (before, after))
    return {name for name, _ in find_changed_settlements(old, new)}


def compute_expected_corrections(
    zone: GatewayZone, files: MonthFiles, *, correction: CorrectionFiles
) -> dict[str, Document]:
    """The oracle's correction documents: roster id -> settlement pseudonym -> document.

    Their digests are compared with opened statements by `statement_checks`, as those of bills are.

    Raises:
        NotFoundError: The month or correction was not processed here (`month.not-processed`,
            `outbox.missing`, `oracle.missing`).
    """
    month = load_plan(zone, files.month)
    span = (month.start, month.end)
    plan, settled = find_correction(zone, correction), map_settlement_names(zone, month.start)
    versions = {head.first: head for head in find_heads(zone, files, before=correction)}
    documents = {}
    for item in plan.rosters if plan else ():
        head = versions[item.first]
        roster = RosterManifest.parse(outbox.load_outgoing(zone, item.name).roster.body)
        path = version_oracle(make_correction_folder(zone, correction), roster.roster_id)
        changes = correct_bills(
            compute_oracle_bills(head.oracle, roster=head.roster, zone=zone, span=span),
            compute_oracle_bills(path, roster=roster, zone=zone, span=span),
        )
        names = {roster.pseudonyms[slot] for slot in item.corrected_slots}
        found = corrections_to_json(
            changes,
            version=item.revision,
            meter_point_ids=names,
            tariff=roster_tariff(zone, roster),
        )
        documents[roster.roster_id] = rename_documents(found["meters"], settled)
    return documents
