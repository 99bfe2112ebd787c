"""Reconciliation: are the opened statements the bills that the plaintext readings give?

While the month is processed, the oracle settles the admitted readings itself (not from the columns
that are encrypted) and keeps one private file of settlements per roster, by pseudonym. Afterwards
the billing office hands in the statements it opened, which come under settlement pseudonyms, and
every one is compared with the oracle's bill: all lines, exact and rounded, and both totals. Out
comes a count and, of bills that differ, those pseudonyms; no value leaves the gateway, and not the
pseudonym that anything was uploaded under.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import Bills, compute_bills
from gridsecure.billing.settlements import settle
from gridsecure.billing.tariffs import Tariff, parse_tariff
from gridsecure.errors import InvalidMessageError, NotFoundError
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import settlement_names
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.month_plan import required_plan
from gridsecure.gateway.private_files import write_private
from gridsecure.gateway.rosters import Roster
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import RosterManifest
from gridsecure.plans.execution import billing_period, roster_contracts

MAX_NAMED: Final = 20
"""Differing pseudonyms that are named."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What the comparison found.

    Args:
        bills: Bills of the oracle.
        lines: Their lines.
        mismatches: Bills that differ in anything, plus bills on one side only.
        differing_pseudonyms: Settlement pseudonyms of the first `MAX_NAMED` of those the oracle
            knows, sorted.
    """

    bills: int
    lines: int
    mismatches: int
    differing_pseudonyms: tuple[str, ...]


def oracle_path(folder: Path, roster_id: str) -> Path:
    """Where a roster's settlements are kept in a month's folder for them."""
    return folder / f"{roster_id}.csv"


def write_oracle(
    readings: pd.DataFrame,
    *,
    roster: Roster,
    tariff: Tariff,
    interval: pd.Timedelta,
    contracts: pd.DataFrame,
    path: Path,
) -> None:
    """Settle a roster's readings and keep the settlements by pseudonym, mode 0600.

    Args:
        readings: Validated readings of the roster's meter points.
        roster: The roster.
        tariff: Its tariff.
        interval: Interval length.
        contracts: Contracts of the roster's meter points, with the energy since 1 January.
        path: The file to create or replace.

    Raises:
        InvalidReadingsError: As `settle`.
        StorageError: The disk could not take it.
    """
    settled = settle(readings, tariff=tariff, interval=interval, contracts=contracts)
    names = dict(zip(roster.meter_point_ids, roster.manifest.pseudonyms, strict=True))
    kept = settled.assign(meter_point_id=settled["meter_point_id"].map(names)).drop(
        columns=["period_start", "period_end"]
    )
    text = kept.to_csv(index=False, lineterminator="\n")
    write_private(path, [text.encode()], what="The plaintext oracle's file")


def expected_bills(zone: GatewayZone, files: MonthFiles) -> dict[str, Document]:
    """The oracle's bills: roster id -> settlement pseudonym -> the public JSON of its bill.

    Raises:
        NotFoundError: The month was not processed here (`month.not-processed`, `oracle.missing`),
            or not to the end of encryption (`outbox.missing`).
    """
    plan = required_plan(zone, files.month)
    rosters = [RosterManifest.parsed(outbox.required(zone, n).roster.body) for n in plan.names]
    settled = settlement_names(zone, plan.start)
    documents = {}
    for name, roster in zip(plan.rosters, rosters, strict=True):
        path = oracle_path(files.folder / "oracle", name)
        bills = oracle_bills(path, roster=roster, zone=zone, span=(plan.start, plan.end))
        found = bills_to_json([bills], tariff=roster_tariff(zone, roster))["meters"]
        documents[name] = renamed(found, settled)
    return documents


def renamed(meters: Document, names: Mapping[str, str]) -> Document:
    """Documents by other names than those they came under."""
    return {names[name]: document for name, document in meters.items()}


def roster_tariff(zone: GatewayZone, roster: RosterManifest) -> Tariff:
    """The tariff of a roster that this gateway made."""
    return parse_tariff(zone.objects.get(roster.tariff).decode())


def oracle_bills(
    path: Path, *, roster: RosterManifest, zone: GatewayZone, span: tuple[str, str]
) -> Bills:
    """The oracle's bills of a roster by pseudonym, from the settlements it kept.

    Args:
        path: Where they are kept.
        roster: The roster.
        zone: The gateway, which has its tariff.
        span: Start and end of the period.

    Raises:
        NotFoundError: They are not there (`oracle.missing`).
    """
    tariff = roster_tariff(zone, roster)
    period = billing_period(*span, tariff=tariff)
    return compute_bills(
        oracle_settlements(path).assign(period_start=pd.Timestamp(period.start)),
        tariff=tariff,
        contracts=roster_contracts(roster).assign(tariff_id=""),
        period=period,
    )


def oracle_settlements(path: Path) -> pd.DataFrame:
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
    return pd.read_csv(io.BytesIO(data), dtype={"meter_point_id": str})


def reconcile(expected: Mapping[str, Document], *, statements: Sequence[bytes]) -> Reconciliation:
    """Compare opened statements with the oracle's bills.

    Args:
        expected: Roster id -> settlement pseudonym -> bill, of all rosters of the month.
        statements: Statement documents as JSON, one per roster.

    Raises:
        InvalidMessageError: A document is not a statement, or a roster comes twice.
    """
    given: dict[str, Document] = {}
    for data in statements:
        roster_id, meters = _statement(data)
        if roster_id in given:
            raise _malformed("A roster's statements came twice.")
        given[roster_id] = meters
    differing = [
        (roster_id, pseudonym)
        for roster_id in sorted(expected.keys() | given.keys())
        for pseudonym in _differing(expected.get(roster_id, {}), given.get(roster_id, {}))
    ]
    bills = [bill for meters in expected.values() for bill in meters.values()]
    # A name that only the sender uses is counted and not repeated.
    known = [name for roster_id, name in differing if name in expected.get(roster_id, {})]
    return Reconciliation(
        bills=len(bills),
        lines=sum(len(period["lines"]) for bill in bills for period in bill["periods"]),
        mismatches=len(differing),
        differing_pseudonyms=tuple(sorted(known)[:MAX_NAMED]),
    )


def _differing(expected: Document, given: Document) -> list[str]:
    """Pseudonyms on one side only, or with another bill."""
    return [
        name
        for name in expected.keys() | given.keys()
        if name not in expected or name not in given or expected[name] != given[name]
    ]


def _statement(data: bytes) -> tuple[str, Document]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _malformed("A statement document is not JSON.") from error
    if not isinstance(document, dict) or set(document) != {"roster_id", "meters"}:
        raise _malformed("A statement document holds a roster_id and meters.")
    roster_id, meters = document["roster_id"], document["meters"]
    if not isinstance(roster_id, str) or not isinstance(meters, dict):
        raise _malformed("A statement document holds a roster_id and meters.")
    return roster_id, meters


def _malformed(message: str) -> InvalidMessageError:
    return InvalidMessageError(
        message,
        reason="message.statement",
        remedy="Send the opened statements as they came, one frame a roster.",
    )
