"""The plaintext oracle: the bills that the plaintext readings give, kept to check statements by.

While the month is processed, the oracle settles the admitted readings itself (not from the columns
that are encrypted) and keeps one private file of settlements per roster, by pseudonym. Bills that
are computed from it are told to nobody but as digests (`expected_bills`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import Bills, compute_bills
from gridsecure.errors import NotFoundError
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import map_settlement_names
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.correction_plan import find_first_uploads
from gridsecure.gateway.month_plan import load_plan
from gridsecure.gateway.private_files import write_private
from gridsecure.gateway.rosters import Roster, contract_frame
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import RosterManifest
from gridsecure.plans.execution import billing_period
from gridsecure.tariffs.tariff import Tariff, parse_tariff

Document = Mapping[str, Any]


def oracle_path(folder: Path, roster_id: str) -> Path:
    """Where a roster's settlements are kept in a month's folder for them."""
    return folder / f"{roster_id}.csv"


def write_oracle(settled: pd.DataFrame, *, roster: Roster, path: Path) -> None:
    """Keep a roster's settlements by pseudonym, mode 0600.

    Args:
        settled: The settlements of the roster's meter points in one period.
        path: The file to create or replace.

    Raises:
        StorageError: The disk could not take it.
    """
    names = dict(zip(roster.meter_point_ids, roster.manifest.pseudonyms, strict=True))
    kept = settled.assign(meter_point_id=settled["meter_point_id"].map(names)).drop(
        columns=["period_start", "period_end"]
    )
    text = kept.to_csv(index=False, lineterminator="\n")
    write_private(path, [text.encode()], what="The plaintext oracle's file")


def compute_expected_bills(zone: GatewayZone, files: MonthFiles) -> dict[str, Document]:
    """The oracle's bills: roster id -> settlement pseudonym -> the public JSON of its bill.

    Raises:
        NotFoundError: The month was not processed here (`month.not-processed`, `oracle.missing`),
            or not to the end of encryption (`outbox.missing`).
    """
    plan = load_plan(zone, files.month)
    settled = map_settlement_names(zone, plan.start)
    documents = {}
    for roster_id, (name, folder) in find_first_uploads(zone, files.month).items():
        roster = RosterManifest.parse(outbox.load_outgoing(zone, name).roster.body)
        path = oracle_path(folder / "oracle", roster_id)
        bills = compute_oracle_bills(path, roster=roster, zone=zone, span=(plan.start, plan.end))
        found = bills_to_json([bills], tariff=roster_tariff(zone, roster))["meters"]
        documents[roster_id] = rename_documents(found, settled)
    return documents


def rename_documents(meters: Document, names: Mapping[str, str]) -> Document:
    """Documents by other names than those they came under."""
    return {names[name]: document for name, document in meters.items()}


def roster_tariff(zone: GatewayZone, roster: RosterManifest) -> Tariff:
    """The tariff of a roster that this gateway made."""
    return parse_tariff(zone.objects.get(roster.tariff).decode())


def compute_oracle_bills(
    path: Path, *, roster: RosterManifest, zone: GatewayZone, span: tuple[str, str]
) -> Bills:
    """The oracle's bills of a roster by pseudonym, from the settlements it kept.

    Args:
        path: Where they are kept.
        zone: The gateway, which has its tariff.

    Raises:
        NotFoundError: They are not there (`oracle.missing`).
    """
    tariff = roster_tariff(zone, roster)
    period = billing_period(*span, tariff=tariff)
    return compute_bills(
        read_oracle(path).assign(period_start=pd.Timestamp(period.start)),
        tariff=tariff,
        contracts=contract_frame(roster).assign(tariff_id=""),
        period=period,
    )


def read_oracle(path: Path) -> pd.DataFrame:
    """Settlements by pseudonym as `write_oracle` kept them.

    Raises:
        NotFoundError: They are not there (`oracle.missing`).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            "The plaintext settlements of this month are not here.",
            reason="oracle.missing",
            remedy="Process the month on this gateway first.",
        ) from error
    # Copied into one block: a thousand columns of intervals are read as a thousand blocks.
    return pd.read_csv(io.BytesIO(data), dtype={"meter_point_id": str}).copy()
