"""The plaintext oracle: the bills that the plaintext readings give, kept to check statements by.

While the month is processed, the oracle settles the admitted readings itself (not from the columns
that are encrypted) and keeps one private file of settlements per roster, by pseudonym. When the key
authority has released bills, the billing office asks for the digests of the oracle's: by settlement
pseudonym, signed, sealed to the office, of released rosters alone (`statement_checks` says why). No
bill leaves the gateway, no statement comes to it, and the pseudonym that anything was uploaded
under is not told.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import Bills, compute_bills
from gridsecure.crypto.envelope import seal_to
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import InputError, NotFoundError
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import map_settlement_names
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.correction_plan import find_first_uploads
from gridsecure.gateway.month_plan import load_plan
from gridsecure.gateway.private_files import write_private
from gridsecure.gateway.rosters import Roster
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import (
    ReleaseCertificate,
    RosterManifest,
    Signed,
    open_message,
    sign_message,
)
from gridsecure.plans.execution import billing_period, roster_contracts
from gridsecure.statement_checks import EXPECTED_PURPOSE, ExpectedBills, bill_digests
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


def seal_expected(
    zone: GatewayZone,
    files: MonthFiles,
    *,
    certificates: Sequence[Signed],
    office: Sm2PublicKey,
    at: datetime,
) -> bytes:
    """Tell the billing office the digests of the oracle's bills, as far as bills were released.

    Returns:
        A signed `ExpectedBills`, sealed to the office.

    Raises:
        AuthenticityError: A certificate is not the key authority's.
        InputError: A certificate releases no bills of this month (`message.certificate`).
        NotFoundError: As `compute_expected_bills`.
    """
    plan = load_plan(zone, files.month)
    released: set[str] = set()
    for envelope in certificates:
        certificate = open_message(envelope, expect=ReleaseCertificate, trusted=zone.authority)
        released |= certificate.statements.keys()
        said = (certificate.plan, certificate.start, certificate.end)
        if said != ("bill", plan.start, plan.end):
            raise InputError(
                "A certificate does not release bills of this month.",
                reason="message.certificate",
                remedy="Send the certificates of the month's bill releases.",
            )
    bills = compute_expected_bills(zone, files)
    known = {name: meters for name, meters in bills.items() if name in released}
    told = ExpectedBills(month=files.month, rosters=bill_digests(known))
    return seal_to(
        sign_message(told, key=zone.signing_key).model_dump_json().encode(),
        recipient=office,
        purpose=EXPECTED_PURPOSE,
        owner=files.month,
        created_at=at,
    )


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
        contracts=roster_contracts(roster).assign(tariff_id=""),
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
